// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <vector>

#include "slalom/core/toy_summary.hpp"
#include "support/catch.hpp"
#include "support/models.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::Distribution;
using slalom::distribution;
using slalom::Toy;
using slalom::ToyOptions;
using slalom::ToySummary;

TEST_CASE("a distribution has moments and quantiles", "[core][toy_summary]") {
  std::vector<double> values;
  for (int i = 100; i >= 0; --i) values.push_back(i);
  const Distribution d = distribution(values);
  CHECK(d.n == 101);
  CHECK_THAT(d.mean, WithinRel(50.0, 1e-12));
  CHECK_THAT(d.width, WithinRel(std::sqrt(101.0 * 102.0 / 12.0), 1e-12));  // n (n + 1) / 12
  CHECK_THAT(d.mean_error, WithinRel(d.width / std::sqrt(101.0), 1e-12));
  CHECK_THAT(d.width_error, WithinRel(d.width / std::sqrt(200.0), 1e-12));
  CHECK_THAT(d.band[2], WithinAbs(50.0, 1e-12));
  CHECK_THAT(d.band[0], WithinAbs(2.2750131948, 1e-8));
  CHECK_THAT(d.band[3], WithinAbs(84.1344746069, 1e-8));
  const Distribution one = distribution({3.0});
  CHECK(one.mean == 3.0);
  CHECK(one.width == 0.0);
  CHECK(one.band[4] == 3.0);
  CHECK(distribution({}).n == 0);
}

TEST_CASE("fractions of toys have honest errors", "[core][toy_summary]") {
  CHECK_THAT(slalom::toy_fraction(25, 100).value, WithinRel(0.25, 1e-15));
  CHECK_THAT(slalom::toy_fraction(25, 100).error, WithinRel(std::sqrt(0.25 * 0.75 / 100), 1e-12));
  CHECK(slalom::toy_fraction(0, 100).error > 0.0);
  CHECK(slalom::toy_fraction(100, 100).error > 0.0);
  CHECK(slalom::toy_fraction(0, 0).error == 0.0);
}

TEST_CASE("pulls of toys are standard normal", "[core][toy_summary]") {
  // Large counts, so that the fit is linear and no bound is near.
  const slalom::Model model = slalom::test::uncorrelated_background(
      {4000.0, 5000.0}, {50000.0, 52000.0}, {1000.0, 2000.0}, {54000.0, 57000.0});
  const std::vector<double> truth = {1.0, 1.0, 1.0};
  ToyOptions options;
  options.n_toys = 2000;
  options.seed = 11;
  options.keep_parameters = true;
  const std::vector<Toy> toys = run_toys(model, truth, 1.0, options);
  const ToySummary summary = summarise(toys, truth, 1.0);
  CHECK(summary.counts.asked == 2000);
  CHECK(summary.counts.done == 2000);
  CHECK(summary.counts.failed == 0);
  REQUIRE(summary.pulls.size() == 3);
  for (const Distribution& pull : summary.pulls) {
    CHECK(pull.n >= 1990);
    CHECK_THAT(pull.mean, WithinAbs(0.0, 4.0 / std::sqrt(2000.0)));
    CHECK_THAT(pull.width, WithinAbs(1.0, 4.0 / std::sqrt(4000.0)));
  }
  CHECK_THAT(summary.within_one_sigma.value,
             WithinAbs(0.6827, 4.0 * summary.within_one_sigma.error));
  CHECK_THAT(summary.within_95.value, WithinAbs(0.95, 4.0 * summary.within_95.error));
  CHECK_THAT(summary.t.mean, WithinAbs(1.0, 4.0 * std::sqrt(2.0 / 2000.0)));
  CHECK_THAT(summary.best_fit.mean, WithinAbs(1.0, 4.0 * summary.best_fit.mean_error));
  CHECK(summary.q.band[1] == 0.0);  // half of the toys are above mu
}

TEST_CASE("failed toys are in the counts and in nothing else", "[core][toy_summary]") {
  std::vector<Toy> toys(4);
  for (std::size_t i = 0; i < 3; ++i) {
    toys[i].done = true;
    toys[i].free_status = toys[i].conditional_status = slalom::FitStatus::converged;
    toys[i].poi = 1.0;
    toys[i].conditional_twice_nll = 2.0;
  }
  toys[1].free_status = slalom::FitStatus::stalled;
  toys[1].poi = 1e9;
  const ToySummary summary = summarise(toys, {1.0}, 0.5);
  CHECK(summary.counts.asked == 4);
  CHECK(summary.counts.done == 3);
  CHECK(summary.counts.failed == 1);
  CHECK(summary.free_failed == 1);
  CHECK(summary.conditional_failed == 0);
  CHECK(summary.best_fit.n == 2);
  CHECK(summary.best_fit.mean == 1.0);
  CHECK(summary.t.mean == 2.0);
  CHECK(summary.q.mean == 0.0);
  CHECK(summary.within_one_sigma.value == 0.0);
  CHECK(summary.within_95.value == 1.0);
  CHECK(summary.pulls.empty());
}
