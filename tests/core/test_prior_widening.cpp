// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <vector>

#include "slalom/core/prior_widening.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using namespace slalom;

namespace {

constexpr std::size_t k_points = 20;

/// A background with one free direction, and a signal that is known.
TemplateMixture mixture() {
  MixtureProcess signal, background;
  for (std::size_t i = 0; i < k_points; ++i) {
    const double x = (static_cast<double>(i) + 0.5) / k_points;
    signal.base.push_back(-0.5 * std::pow((x - 0.5) / 0.1, 2));
    background.base.push_back(-x);
    background.columns.push_back(x * x);
  }
  background.start = {0.0};
  ShapePrior prior;
  prior.mean = {0.0};
  prior.precision = {1.0 / (0.1 * 0.1)};
  return {signal, background, std::vector<double>(k_points, 1.0 / k_points), {prior}};
}

/// Expected counts at a shape of the background.
std::vector<double> counts(const TemplateMixture& m, double shape, double events = 1e5) {
  const std::vector<double> x{0.1, shape};
  const std::vector<double> s = m.density(0, x), b = m.density(1, x);
  std::vector<double> n;
  for (std::size_t i = 0; i < k_points; ++i)
    n.push_back(events / k_points * (0.1 * s[i] + 0.9 * b[i]));
  return n;
}

}  // namespace

TEST_CASE("pulls that are expected leave the prior alone", "[core][prior_widening]") {
  TemplateMixture m = mixture();
  m.set_data(counts(m, 0.1));  // one width
  const MixtureFit best = fit(m);
  REQUIRE(best.converged());
  const WidenedPrior w = widen_priors(m, best);
  CHECK_FALSE(w.widened);
  CHECK(w.settled);
  CHECK(w.factor == 1.0);
  CHECK(w.fit.parameters == best.parameters);
  CHECK(m.priors()[0].precision == std::vector<double>{1.0 / (0.1 * 0.1)});
}

TEST_CASE("larger pulls widen it until they are expected", "[core][prior_widening]") {
  TemplateMixture m = mixture();
  m.set_data(counts(m, 0.5));  // five widths
  const MixtureFit best = fit(m);
  REQUIRE(best.converged());
  const WidenedPrior w = widen_priors(m, best);
  CHECK(w.widened);
  CHECK(w.settled);
  CHECK(w.before.p_value < 0.01);
  // One direction: pull^2 = 1 - posterior variance / prior variance, which data make nearly 1.
  CHECK_THAT(w.factor, WithinRel(5.0, 0.03));
  CHECK_THAT(m.priors()[0].precision[0] * 0.01 * w.factor * w.factor, WithinRel(1.0, 1e-12));
  CHECK_THAT(pull_test(m, w.fit).chi2, WithinAbs(1.0, 0.01));
  CHECK(std::abs(w.fit.kappa() - 0.1) < std::abs(best.kappa() - 0.1));
  CHECK(w.fit.laplace_error() > best.laplace_error());

  TemplateMixture more = mixture();
  more.set_data(m.data());
  WideningOptions options;
  options.more = 1.5;
  const WidenedPrior further = widen_priors(more, best, {}, options);
  CHECK_THAT(further.factor, WithinRel(1.5 * w.factor, 1e-9));
}

TEST_CASE("pulls that are too small do not narrow it", "[core][prior_widening]") {
  TemplateMixture m = mixture();
  m.set_data(counts(m, 0.02));
  const MixtureFit best = fit(m);
  WideningOptions options;
  options.below = 2.0;  // always
  const WidenedPrior w = widen_priors(m, best, {}, options);
  CHECK(w.widened);
  CHECK(w.settled);
  CHECK(w.factor == 1.0);
}

TEST_CASE("widening that makes no sense", "[core][prior_widening]") {
  TemplateMixture m = mixture();
  m.set_data(counts(m, 0.1));
  const MixtureFit best = fit(m);
  WideningOptions options;
  options.more = 0.5;
  slalom::test::check_fails(ErrorKind::usage, "widening", "factor below 1",
                            [&] { widen_priors(m, best, {}, options); });
  slalom::test::check_fails(ErrorKind::usage, "pull test", "converged",
                            [&] { widen_priors(m, MixtureFit{}); });
}
