// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "slalom/core/yields.hpp"
#include "support/catch.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

namespace {

/// Two channels; a factor on the first sample of both, a staterror-like parameter per bin.
slalom::ModelSpec two_channels() {
  slalom::Workspace workspace;
  const slalom::Modifier mu{"mu", slalom::ModifierType::normfactor, {}, {}};
  slalom::Modifier norm{"norm", slalom::ModifierType::normsys, {}, {}};
  norm.hi = 1.1;
  norm.lo = 0.9;
  workspace.channels = {
      {"a", {{"signal", {10.0, 20.0}, {mu}}, {"background", {100.0, 50.0}, {norm}}}},
      {"b", {{"signal", {5.0}, {mu}}, {"background", {40.0}, {}}}}};
  workspace.observations = {{"a", {112.0, 69.0}}, {"b", {46.0}}};
  workspace.measurements = {{"m", "mu", {}}};
  return slalom::make_model_spec(workspace);
}

}  // namespace

TEST_CASE("errors of expected rates follow the covariance", "[core][yields]") {
  const slalom::Model model(two_channels());
  slalom::Evaluator evaluator(model);
  const std::size_t mu = *model.spec().find("mu");
  const std::size_t norm = *model.spec().find("norm");
  slalom::Covariance covariance;
  covariance.valid = true;
  covariance.parameters = {std::min(mu, norm), std::max(mu, norm)};
  covariance.errors.assign(2, 0.0);
  const double s_mu = 0.5;
  const double s_norm = 0.8;
  const double rho = -0.3;
  const double first = mu < norm ? s_mu : s_norm;
  const double second = mu < norm ? s_norm : s_mu;
  covariance.matrix = {first * first, rho * first * second, rho * first * second, second * second};

  std::vector<double> point(2, 0.0);
  point[mu] = 1.0;
  const slalom::RateErrors errors = slalom::rate_errors(evaluator, point, covariance);

  // d kappa / d alpha of code4 with symmetric factors 1 +- 0.1 at alpha = 0
  slalom::Evaluator other(model);
  std::vector<double> up(3);
  std::vector<double> down(3);
  point[norm] = 1e-5;
  other.expected_main(point, up);
  point[norm] = -1e-5;
  other.expected_main(point, down);
  const auto error = [&](double by_mu, double by_norm) {
    const double a = by_mu * s_mu;
    const double b = by_norm * s_norm;
    return std::sqrt(a * a + b * b + 2.0 * rho * a * b);
  };
  const double d0 = (up[0] - down[0]) / 2e-5;
  const double d1 = (up[1] - down[1]) / 2e-5;
  REQUIRE(errors.bins.size() == 3);
  CHECK_THAT(errors.bins[0], WithinRel(error(10.0, d0), 1e-6));
  CHECK_THAT(errors.bins[1], WithinRel(error(20.0, d1), 1e-6));
  CHECK_THAT(errors.bins[2], WithinRel(error(5.0, 0.0), 1e-6));
  REQUIRE(errors.channels.size() == 2);
  CHECK_THAT(errors.channels[0], WithinRel(error(30.0, d0 + d1), 1e-6));
  CHECK_THAT(errors.channels[1], WithinRel(error(5.0, 0.0), 1e-6));
  CHECK_THAT(errors.total, WithinRel(error(35.0, d0 + d1), 1e-6));
}

TEST_CASE("no covariance, no errors", "[core][yields]") {
  const slalom::Model model(two_channels());
  slalom::Evaluator evaluator(model);
  const slalom::RateErrors errors =
      slalom::rate_errors(evaluator, model.spec().initial(), slalom::Covariance{});
  CHECK(errors.bins == std::vector<double>(3, 0.0));
  CHECK(errors.channels == std::vector<double>(2, 0.0));
  CHECK(errors.total == 0.0);
}

TEST_CASE("Garwood intervals", "[core][yields]") {
  // Particle Data Group, statistics review: table of Poisson limits at 68.27 % central
  const auto [low0, high0] = slalom::poisson_interval(0.0);
  CHECK(low0 == 0.0);
  CHECK_THAT(high0, WithinAbs(1.841, 1e-3));
  const auto [low1, high1] = slalom::poisson_interval(1.0);
  CHECK_THAT(low1, WithinAbs(0.173, 1e-3));
  CHECK_THAT(high1, WithinAbs(3.300, 1e-3));
  const auto [low7, high7] = slalom::poisson_interval(7.0);
  CHECK_THAT(low7, WithinAbs(4.419, 1e-3));
  CHECK_THAT(high7, WithinAbs(10.770, 1e-3));
  // The upper end for n excludes n with half of what is left: sum_{k<=n} Pois(k | upper)
  const auto [low3, high3] = slalom::poisson_interval(3.0, 0.9);
  double sum = 0.0;
  double term = std::exp(-high3);
  for (int k = 0; k <= 3; ++k) {
    sum += term;
    term *= high3 / (k + 1);
  }
  CHECK_THAT(sum, WithinRel(0.05, 1e-9));
  CHECK(low3 < 3.0);
}
