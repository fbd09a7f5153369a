// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <map>
#include <vector>

#include "slalom/core/goodness_of_fit.hpp"
#include "slalom/core/toy_store.hpp"
#include "support/catch.hpp"
#include "support/data.hpp"
#include "support/models.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::Fitter;
using slalom::GoodnessOfFit;
using slalom::Model;
using slalom::test::uncorrelated_background;

TEST_CASE("the saturated model is the best of all models", "[core][goodness_of_fit]") {
  const Model model = uncorrelated_background({12.0, 11.0}, {50.0, 52.0}, {3.0, 7.0}, {51.0, 48.0});
  Fitter fitter(model);
  const slalom::FitResult best = fitter.fit();
  const std::vector<double> data = model.spec().data();
  const GoodnessOfFit fit = slalom::goodness_of_fit(model, data, best);
  double saturated = 0.0;
  for (double n : data) saturated -= 2.0 * (n * std::log(n) - n - std::lgamma(n + 1.0));
  CHECK_THAT(fit.saturated_twice_nll, WithinRel(saturated, 1e-12));
  CHECK_THAT(fit.statistic, WithinAbs(24.98393520034148 - saturated, 1e-9));
  CHECK(fit.bins == 2);
  CHECK(fit.free_parameters == 1);
  CHECK(fit.degrees_of_freedom == 1);
  // chi2 above x with one degree of freedom
  CHECK_THAT(fit.p_value, WithinRel(std::erfc(std::sqrt(0.5 * fit.statistic)), 1e-9));
  CHECK(fit.converged);
}

TEST_CASE("data that the model fits exactly have statistic 0", "[core][goodness_of_fit]") {
  const Model model = uncorrelated_background({12.0, 11.0}, {50.0, 52.0}, {3.0, 7.0}, {62.0, 63.0});
  Fitter fitter(model);
  const GoodnessOfFit fit = slalom::goodness_of_fit(model, model.spec().data(), fitter.fit());
  CHECK_THAT(fit.statistic, WithinAbs(0.0, 1e-9));
  CHECK_THAT(fit.p_value, WithinAbs(1.0, 1e-4));
}

TEST_CASE("the saturated model handles held parameters of published models",
          "[core][goodness_of_fit]") {
  SLALOM_REQUIRE_DATA("workspaces/ttbar");
  const Model model = slalom::test::published_model("ttbar/ttbar_ljets_132par.json");
  Fitter fitter(model);
  const GoodnessOfFit fit = slalom::goodness_of_fit(model, model.spec().data(), fitter.fit());
  CHECK(fit.bins == 37);
  CHECK(fit.statistic > 0.0);
  CHECK(fit.statistic < 100.0);
  REQUIRE(fit.channels.size() == model.spec().channels.size());
  double sum = fit.constraints;
  for (const double part : fit.channels) {
    CHECK(part >= 0.0);
    sum += part;
  }
  CHECK(fit.constraints > 0.0);
  CHECK_THAT(sum, WithinAbs(fit.statistic, 1e-8));
}

TEST_CASE("goodness of fit of the AGC model against cabinetry", "[core][goodness_of_fit]") {
  SLALOM_REQUIRE_DATA("workspaces/agc");
  // cabinetry 0.6.0 with pyhf 0.7.6: fit.fit(model, data, goodness_of_fit=True)
  const Model model = slalom::test::published_model("agc/agc_34par.json");
  const GoodnessOfFit fit = slalom::goodness_of_fit(model, model.spec().data(), slalom::fit(model));
  CHECK(fit.degrees_of_freedom == 21);
  CHECK_THAT(1.0 - fit.p_value, WithinRel(1.0 - 0.9999999876695624, 1e-3));
}

TEST_CASE("parts of the statistic by hand", "[core][goodness_of_fit]") {
  const Model model = uncorrelated_background({12.0, 11.0}, {50.0, 52.0}, {3.0, 7.0}, {51.0, 48.0});
  Fitter fitter(model);
  const std::vector<double> data = model.spec().data();
  slalom::FitOptions options;
  for (const bool held : {false, true}) {
    // A held parameter's constraint is the same in the saturated model.
    if (held) options.fixed = {{1, 1.3}};
    const slalom::FitResult best = fitter.fit(options);
    const GoodnessOfFit fit = slalom::goodness_of_fit(model, data, best);
    const std::vector<double> mean = model.expected_data(best.parameters);
    double parts[2] = {0.0, 0.0};
    for (std::size_t i = held ? 1 : 0; i < 2; ++i) {
      parts[1] +=
          2.0 * (data[2 + i] * std::log(data[2 + i] / mean[2 + i]) + mean[2 + i] - data[2 + i]);
    }
    for (std::size_t i = 0; i < 2; ++i) {
      parts[0] += 2.0 * (data[i] * std::log(data[i] / mean[i]) + mean[i] - data[i]);
    }
    REQUIRE(fit.channels.size() == 1);
    CHECK_THAT(fit.channels[0], WithinAbs(parts[0], 1e-10));
    CHECK_THAT(fit.constraints, WithinAbs(parts[1], 1e-10));
    CHECK_THAT(fit.statistic, WithinAbs(parts[0] + parts[1], 1e-10));
  }
}

TEST_CASE("toys are kept and used again", "[core][goodness_of_fit]") {
  /// Keeps toys in memory and counts what it is asked to keep.
  struct Memory : slalom::ToyStore {
    std::map<std::size_t, slalom::Toy> begin(const slalom::ToyEnsemble& ensemble) override {
      asked = ensemble;
      return toys;
    }
    void keep(std::size_t index, const slalom::Toy& toy) override {
      toys[index] = toy;
      ++kept;
    }
    void end() override {}
    slalom::ToyEnsemble asked;
    std::map<std::size_t, slalom::Toy> toys;
    std::size_t kept = 0;
  } store;
  const Model model = uncorrelated_background({12.0, 11.0}, {50.0, 52.0}, {3.0, 7.0}, {51.0, 48.0});
  Fitter fitter(model);
  slalom::ToyOptions options;
  options.n_toys = 60;
  options.seed = 5;
  options.threads = 2;
  const auto plain = slalom::goodness_of_fit_by_toys(fitter, options);
  options.store = &store;
  options.n_toys = 25;
  slalom::goodness_of_fit_by_toys(fitter, options);
  CHECK(store.kept == 25);
  CHECK(store.asked.auxiliary.empty());
  CHECK(store.asked.model == slalom::fingerprint(model.spec()));
  options.n_toys = 60;
  const auto resumed = slalom::goodness_of_fit_by_toys(fitter, options);
  CHECK(store.kept == 60);
  CHECK(resumed.samples == plain.samples);
  CHECK(resumed.p_value.value == plain.p_value.value);
  CHECK(resumed.toys.done == 60);
  options.throw_auxiliary = false;
  slalom::goodness_of_fit_by_toys(fitter, options);
  CHECK(store.asked.auxiliary.size() == 2);
}

TEST_CASE("toys agree with the asymptotic goodness of fit", "[core][goodness_of_fit]") {
  const Model model = uncorrelated_background({12.0, 11.0}, {50.0, 52.0}, {3.0, 7.0}, {70.0, 55.0});
  Fitter fitter(model);
  slalom::ToyOptions options;
  options.n_toys = 3000;
  options.threads = 2;
  const slalom::ToyGoodnessOfFit result = slalom::goodness_of_fit_by_toys(fitter, options);
  REQUIRE(result.converged);
  CHECK(result.toys.failed == 0);
  CHECK(result.samples.size() == 3000);
  CHECK_THAT(result.p_value.value,
             WithinAbs(result.observed.p_value, 4.0 * result.p_value.error + 0.02));
  options.threads = 1;
  CHECK(slalom::goodness_of_fit_by_toys(fitter, options).samples == result.samples);
}
