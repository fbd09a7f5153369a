// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "slalom/core/yields.hpp"
#include "support/catch.hpp"
#include "support/data.hpp"
#include "support/models.hpp"
#include "support/workspaces.hpp"

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
  const slalom::RateErrors errors = slalom::rate_errors(model, point, covariance);

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
  // Samples are sorted: background, signal.
  REQUIRE(errors.samples.size() == 6);
  CHECK_THAT(errors.samples[0], WithinRel(d0 * s_norm, 1e-6));
  CHECK_THAT(errors.samples[3], WithinRel(20.0 * s_mu, 1e-6));
  CHECK(errors.samples[4] == 0.0);
  REQUIRE(errors.sample_sums.size() == 4);
  CHECK_THAT(errors.sample_sums[0], WithinRel((d0 + d1) * s_norm, 1e-6));
  CHECK_THAT(errors.sample_sums[1], WithinRel(30.0 * s_mu, 1e-6));
}

namespace {

/// |d rate / d parameter| of every bin of every sample: errors for a covariance of 1.
std::vector<double> slopes_by(const slalom::Model& model, const std::vector<double>& point,
                              std::size_t parameter) {
  slalom::Covariance covariance;
  covariance.valid = true;
  covariance.parameters = {parameter};
  covariance.matrix = {1.0};
  return slalom::rate_errors(model, point, covariance).samples;
}

/// Compares them with central differences for all parameters.
void check_slopes(const slalom::Model& model, std::vector<double> point) {
  slalom::Evaluator evaluator(model);
  std::vector<double> up(slopes_by(model, point, 0).size());
  std::vector<double> down(up.size());
  for (std::size_t p = 0; p < point.size(); ++p) {
    const std::vector<double> slopes = slopes_by(model, point, p);
    const double centre = point[p];
    constexpr double k_step = 1e-5;
    point[p] = centre + k_step;
    evaluator.expected_samples(point, up);
    point[p] = centre - k_step;
    evaluator.expected_samples(point, down);
    point[p] = centre;
    for (std::size_t i = 0; i < up.size(); ++i) {
      const double slope = std::abs(up[i] - down[i]) / (2.0 * k_step);
      const double scale = std::max(std::abs(up[i]), 1.0);
      if (std::abs(slopes[i] - slope) <= 1e-6 * slope + 1e-8 * scale) continue;
      CAPTURE(model.spec().parameters[p].name, i, slope, slopes[i]);
      FAIL("derivative");
    }
  }
  SUCCEED();
}

}  // namespace

TEST_CASE("derivatives of all modifiers and interpolation codes", "[core][yields]") {
  for (const auto normsys : {slalom::NormsysCode::code1, slalom::NormsysCode::code4}) {
    for (const auto histosys :
         {slalom::HistosysCode::code0, slalom::HistosysCode::code2, slalom::HistosysCode::code4p}) {
      slalom::ModelOptions options;
      options.normsys_code = normsys;
      options.histosys_code = histosys;
      const slalom::Model model(slalom::make_model_spec(
          slalom::parse_workspace(slalom::test::left_workspace()), options));
      for (const double alpha : {-1.7, -0.6, 0.4, 1.3}) {
        CAPTURE(int(normsys), int(histosys), alpha);
        std::vector<double> point = model.spec().initial();
        for (double& value : point) value = value == 0.0 ? alpha : 0.9 * value;
        check_slopes(model, point);
      }
    }
  }
}

TEST_CASE("derivatives of published models", "[core][yields]") {
  SLALOM_REQUIRE_DATA("workspaces/ttbar");
  for (const char* file : {"ttbar/ttbar_ljets_132par.json", "agc/agc_34par.json"}) {
    const slalom::Model model = slalom::test::published_model(file);
    check_slopes(model, slalom::test::second_reference_point(model.spec()));
  }
}

TEST_CASE("a factor of zero does not lose its derivative", "[core][yields]") {
  const slalom::Model model(two_channels());
  const std::size_t mu = *model.spec().find("mu");
  std::vector<double> point = model.spec().initial();
  point[mu] = 0.0;
  CHECK(slopes_by(model, point, mu) == std::vector<double>{0.0, 0.0, 10.0, 20.0, 0.0, 5.0});
}

TEST_CASE("the table of yields", "[core][yields]") {
  const slalom::Model model(two_channels());
  const slalom::Covariance before = slalom::prefit_covariance(model);
  const std::size_t norm = *model.spec().find("norm");
  REQUIRE(before.parameters == std::vector<std::size_t>{norm});
  CHECK(before.matrix == std::vector<double>{1.0});
  CHECK(before.errors[norm] == 1.0);
  const auto point = model.spec().initial();
  const auto table = slalom::yields(model, point, before, model.spec().data());
  REQUIRE(table.size() == 2);
  CHECK(table[0].name == "a");
  REQUIRE(table[0].samples.size() == 2);
  CHECK(table[0].samples[1].name == "signal");
  CHECK(table[0].samples[1].bins[1].value == 20.0);
  CHECK(table[0].samples[1].sum.error == 0.0);  // no constraint, no pre-fit uncertainty
  CHECK_THAT(table[0].total.bins[0].value, WithinRel(110.0, 1e-15));
  CHECK_THAT(table[0].total.sum.value, WithinRel(180.0, 1e-15));
  CHECK_THAT(table[0].total.sum.error, WithinRel(table[0].samples[0].sum.error, 1e-15));
  CHECK(table[0].data == std::vector<double>{112.0, 69.0});
  CHECK(table[0].data_sum == 181.0);
  CHECK(table[1].total.sum.error == 0.0);
  const std::vector<double> little{1.0};
  CHECK_THROWS_AS(slalom::yields(model, point, before, little), slalom::Error);
  CHECK_THROWS_AS(slalom::yields(model, little, before, model.spec().data()), slalom::Error);
}

TEST_CASE("no covariance, no errors", "[core][yields]") {
  const slalom::Model model(two_channels());
  const slalom::RateErrors errors =
      slalom::rate_errors(model, model.spec().initial(), slalom::Covariance{});
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

namespace {

/// cabinetry's yield_stdev of the sums of channels: half differences over one standard deviation.
std::vector<double> half_difference_errors(const slalom::Model& model,
                                           const std::vector<double>& point,
                                           const slalom::Covariance& covariance) {
  const auto& channels = model.spec().channels;
  const std::size_t n = covariance.parameters.size();
  std::vector<std::vector<double>> halves(channels.size(), std::vector<double>(n));
  for (std::size_t j = 0; j < n; ++j) {
    const std::size_t p = covariance.parameters[j];
    std::vector<double> up = point;
    std::vector<double> down = point;
    up[p] += covariance.errors[p];
    down[p] -= covariance.errors[p];
    const auto high = model.expected_data(up, false);
    const auto low = model.expected_data(down, false);
    for (std::size_t c = 0; c < channels.size(); ++c) {
      for (std::size_t b = 0; b < channels[c].n_bins; ++b) {
        halves[c][j] += 0.5 * (high[channels[c].first_bin + b] - low[channels[c].first_bin + b]) /
                        covariance.errors[p];
      }
    }
  }
  std::vector<double> errors;
  for (const auto& half : halves) {
    double variance = 0.0;
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j)
        variance += half[i] * covariance.matrix[i * n + j] * half[j];
    }
    errors.push_back(std::sqrt(variance));
  }
  return errors;
}

}  // namespace

TEST_CASE("yields of the AGC model against cabinetry", "[core][yields]") {
  SLALOM_REQUIRE_DATA("workspaces/agc");
  // cabinetry 0.6.0 with pyhf 0.7.6: model_utils.prediction before and after fit.fit
  const slalom::Model model = slalom::test::published_model("agc/agc_34par.json");
  const std::vector<double> data = model.spec().data();
  const std::vector<double> point = model.spec().initial();
  const slalom::Covariance before = slalom::prefit_covariance(model);
  const auto table = slalom::yields(model, point, before, data);
  REQUIRE(table.size() == 2);
  REQUIRE(table[0].name == "4j1b CR");
  CHECK_THAT(table[0].total.sum.value, WithinRel(28287.37391720887, 1e-12));
  CHECK_THAT(table[1].total.sum.value, WithinRel(51842.812679886156, 1e-12));
  const auto half = half_difference_errors(model, point, before);
  CHECK_THAT(half[0], WithinRel(9007.058541222257, 1e-10));
  CHECK_THAT(half[1], WithinRel(16633.175689444914, 1e-10));
  // Where a parameter moves normalisation and shape, the derivative differs a little.
  CHECK_THAT(table[0].total.sum.error, WithinRel(half[0], 6e-3));
  CHECK_THAT(table[1].total.sum.error, WithinRel(half[1], 6e-3));
  REQUIRE(table[1].samples[4].name == "ttbar");
  CHECK_THAT(table[1].samples[4].sum.error, WithinRel(15463.717299817166, 9e-3));

  slalom::Fitter fitter(model);
  const slalom::FitResult best = fitter.fit();
  const slalom::Covariance covariance = fitter.covariance(best);
  const auto after = slalom::yields(model, best.parameters, covariance, data);
  CHECK_THAT(after[0].total.sum.value, WithinRel(30173.22598772491, 1e-4));
  CHECK_THAT(after[1].total.sum.value, WithinRel(51103.61586324464, 1e-4));
  const auto half_after = half_difference_errors(model, best.parameters, covariance);
  CHECK_THAT(half_after[0], WithinRel(176.88886723769716, 0.03));
  CHECK_THAT(half_after[1], WithinRel(256.94871453539764, 0.03));
  // The fit knows the sums about as well as their counts do. Half differences miss that by up to
  // 14 %: what they add to each derivative does not cancel between correlated parameters.
  CHECK_THAT(after[0].total.sum.error, WithinRel(std::sqrt(after[0].data_sum), 0.05));
  CHECK_THAT(after[1].total.sum.error, WithinRel(std::sqrt(after[1].data_sum), 0.05));
}
