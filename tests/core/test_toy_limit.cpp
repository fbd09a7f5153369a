// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <vector>

#include "slalom/core/hypotest.hpp"
#include "slalom/core/toy_limit.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/models.hpp"

using Catch::Matchers::WithinAbs;
using slalom::Fitter;
using slalom::Model;
using slalom::ToyOptions;
using slalom::ToyUpperLimit;
using slalom::upper_limit_by_toys;
using slalom::test::uncorrelated_background;

namespace {

ToyOptions toy_options(std::size_t n, std::size_t threads = 2) {
  ToyOptions options;
  options.n_toys = n;
  options.seed = 3;
  options.threads = threads;
  return options;
}

/// Poisson probability of at most n.
double poisson_cdf(int n, double mean) {
  double term = std::exp(-mean), sum = term;
  for (int k = 1; k <= n; ++k) sum += term *= mean / k;
  return sum;
}

/// CLs of n counts above a known background b: P(<= n | s + b) / P(<= n | b).
double counting_limit(int n, double b, double level) {
  double low = 0.0, high = 100.0;
  for (int i = 0; i < 100; ++i) {
    const double s = 0.5 * (low + high);
    (poisson_cdf(n, s + b) / poisson_cdf(n, b) > level ? low : high) = s;
  }
  return low;
}

}  // namespace

TEST_CASE("limits by toys are near the asymptotic ones", "[core][toy_limit]") {
  const Model model = uncorrelated_background({12.0, 11.0}, {50.0, 52.0}, {3.0, 7.0}, {51.0, 48.0});
  Fitter fitter(model);
  const slalom::UpperLimit expected = slalom::AsymptoticCalculator(fitter).upper_limit();
  const ToyUpperLimit limit = upper_limit_by_toys(fitter, {}, toy_options(3000));
  CAPTURE(limit.message, limit.points.size());
  REQUIRE(limit.converged);
  CHECK_FALSE(limit.interrupted);
  CHECK(limit.toys.failed == 0);
  CHECK(limit.toys.done == limit.points.size() * 6000);
  // The asymptotic formulae are good to a few per cent here.
  CHECK(limit.observed.error > 0.0);
  CHECK(limit.observed.error < 0.06);
  CHECK_THAT(limit.observed.value,
             WithinAbs(expected.observed, 4.0 * limit.observed.error + 0.03 * expected.observed));
  for (std::size_t i = 0; i < 5; ++i) {
    CAPTURE(i, limit.expected[i].value, expected.expected[i], limit.expected[i].error);
    CHECK(limit.expected[i].error > 0.0);
    CHECK_THAT(limit.expected[i].value,
               WithinAbs(expected.expected[i],
                         4.0 * limit.expected[i].error + 0.05 * expected.expected[i]));
    if (i > 0) CHECK(limit.expected[i].value > limit.expected[i - 1].value);
  }
  // Tests at both sides of the limit enclose the level.
  for (std::size_t i = 1; i < limit.points.size(); ++i) {
    CHECK(limit.points[i].mu > limit.points[i - 1].mu);
  }
}

TEST_CASE("limits on counts without uncertainties are the exact ones", "[core][toy_limit]") {
  for (const int n : {1, 4}) {
    // A background that is known: its parameter is held.
    slalom::ModelSpec spec =
        uncorrelated_background({1.0}, {3.0}, {1.0}, {static_cast<double>(n)}).spec();
    spec.parameters[0].upper = 50.0;
    spec.parameters[1].fixed = true;
    const Model wide(spec);
    Fitter fitter(wide);
    const ToyUpperLimit limit = upper_limit_by_toys(fitter, {}, toy_options(3000));
    CAPTURE(n, limit.message);
    REQUIRE(limit.converged);
    // q orders the counts as they are, up to those above b + s, which all have q = 0.
    CHECK_THAT(limit.observed.value,
               WithinAbs(counting_limit(n, 3.0, 0.05), 4.0 * limit.observed.error));
  }
}

TEST_CASE("limits do not depend on threads, and end when they are told to", "[core][toy_limit]") {
  const Model model = uncorrelated_background({10.0}, {50.0}, {7.0}, {55.0});
  Fitter fitter(model);
  const ToyUpperLimit one = upper_limit_by_toys(fitter, {}, toy_options(300, 1));
  const ToyUpperLimit three = upper_limit_by_toys(fitter, {}, toy_options(300, 3));
  CHECK(one.observed.value == three.observed.value);
  CHECK(one.observed.error == three.observed.error);
  for (std::size_t i = 0; i < 5; ++i) CHECK(one.expected[i].value == three.expected[i].value);
  ToyOptions options = toy_options(300, 1);
  std::size_t calls = 0;
  options.progress = [&](std::size_t, std::size_t) { return ++calls < 1000; };
  const ToyUpperLimit part = upper_limit_by_toys(fitter, {}, options);
  CHECK(part.interrupted);
  CHECK_FALSE(part.converged);
  CHECK(part.toys.done == 1000);
  CHECK(part.message == "stopped after 1000 toys");
  slalom::test::check_fails(slalom::ErrorKind::usage, "level", "between 0 and 1",
                            [&] { upper_limit_by_toys(fitter, {1.0}, options); });
}
