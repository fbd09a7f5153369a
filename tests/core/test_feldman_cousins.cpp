// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <vector>

#include "slalom/core/feldman_cousins.hpp"
#include "slalom/core/interval.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/models.hpp"

using Catch::Matchers::WithinAbs;
using slalom::feldman_cousins;
using slalom::FeldmanCousinsInterval;
using slalom::FeldmanCousinsOptions;
using slalom::Fitter;
using slalom::Model;
using slalom::ToyOptions;
using slalom::test::uncorrelated_background;

namespace {

double log_poisson(int n, double mean) { return n * std::log(mean) - mean - std::lgamma(n + 1.0); }

/// -2 log of the ratio by which the paper orders counts.
double rank(int n, double mu, double b) {
  return -2.0 * (log_poisson(n, mu + b) - log_poisson(n, std::max(0.0, n - b) + b));
}

/// Whether n0 is in the acceptance region of mu: the counts of higher rank do not fill it.
bool accepted(int n0, double mu, double b, double confidence) {
  double higher = 0.0;
  for (int n = 0; n < 60; ++n) {
    if (rank(n, mu, b) < rank(n0, mu, b) - 1e-9) higher += std::exp(log_poisson(n, mu + b));
  }
  return higher < confidence;
}

struct Range {
  double lower, upper;
};

/// The construction of the paper on a grid of 0.005, as there.
Range exact_interval(int n0, double b, double confidence) {
  Range range{-1.0, -1.0};
  for (int i = 0; i <= 3000; ++i) {
    const double mu = 0.005 * i;
    if (!accepted(n0, mu, b, confidence)) continue;
    if (range.lower < 0.0) range.lower = mu;
    range.upper = mu;
  }
  return range;
}

/// n counts above a background of b without uncertainty, mu in events, up to 40.
Model counting(int n, double b) {
  slalom::ModelSpec spec =
      uncorrelated_background({1.0}, {b}, {1.0}, {static_cast<double>(n)}).spec();
  spec.parameters[0].upper = 40.0;
  spec.parameters[1].fixed = true;
  return Model(spec);
}

ToyOptions toy_options(std::size_t n, std::size_t threads = 2) {
  ToyOptions options;
  options.n_toys = n;
  options.seed = 5;
  options.threads = threads;
  return options;
}

}  // namespace

TEST_CASE("the exact construction gives the published table", "[core][feldman_cousins]") {
  // arXiv:physics/9711021v2, table IV: 90 % confidence, b = 3.0; n0 = 0 is left out, where the
  // paper lengthens the interval (to 1.08) so that it does not shrink with a growing background.
  const Range published[] = {{0.00, 1.88},  {0.00, 3.04}, {0.00, 4.42}, {0.00, 5.60},
                             {0.00, 6.99},  {0.15, 8.47}, {0.89, 9.53}, {1.51, 10.99},
                             {1.88, 12.30}, {2.63, 13.50}};
  for (int n0 = 1; n0 <= 10; ++n0) {
    CAPTURE(n0);
    const Range exact = exact_interval(n0, 3.0, 0.9);
    CHECK_THAT(exact.lower, WithinAbs(published[n0 - 1].lower, 0.0101));
    CHECK_THAT(exact.upper, WithinAbs(published[n0 - 1].upper, 0.0101));
  }
}

TEST_CASE("toys give the exact construction", "[core][feldman_cousins]") {
  FeldmanCousinsOptions options;
  options.confidence = 0.9;
  options.tolerance = 0.05;
  for (const int n0 : {0, 1, 6, 8, 10}) {
    const Model model = counting(n0, 3.0);
    Fitter fitter(model);
    const FeldmanCousinsInterval interval = feldman_cousins(fitter, 0, options, toy_options(20000));
    const Range exact = exact_interval(n0, 3.0, 0.9);
    CAPTURE(n0, interval.message, interval.lower.value, interval.lower.error, interval.upper.value,
            interval.upper.error, exact.lower, exact.upper);
    REQUIRE(interval.converged);
    CHECK_THAT(interval.best_fit, WithinAbs(std::max(0.0, n0 - 3.0), 1e-6));
    CHECK(interval.upper.error > 0.0);
    CHECK(interval.upper.error < 0.15);
    // Errors are half-widths of brackets whose ends are a standard deviation of p away.
    CHECK_THAT(interval.upper.value, WithinAbs(exact.upper, 0.005 + 2.0 * interval.upper.error));
    CHECK(interval.lower.at_bound == (exact.lower == 0.0));
    CHECK_THAT(interval.lower.value, WithinAbs(exact.lower, 0.005 + 2.0 * interval.lower.error));
  }
}

TEST_CASE("an end where p is flat has the uncertainty that it has", "[core][feldman_cousins]") {
  // p falls from 0.101 at 5.55 to 0.097 at 5.95 only, and then jumps to 0.078.
  const Model model = counting(4, 3.0);
  Fitter fitter(model);
  FeldmanCousinsOptions options;
  options.confidence = 0.9;
  options.tolerance = 0.01;
  const FeldmanCousinsInterval interval = feldman_cousins(fitter, 0, options, toy_options(10000));
  CAPTURE(interval.upper.value, interval.upper.error);
  CHECK_FALSE(interval.converged);
  CHECK(interval.message.find("more toys") != std::string::npos);
  CHECK(interval.upper.error > 0.1);
  CHECK_THAT(interval.upper.value, WithinAbs(5.597, 1.5 * interval.upper.error));
}

TEST_CASE("intervals of a parameter with others profiled are near MINOS",
          "[core][feldman_cousins]") {
  const Model model =
      uncorrelated_background({400.0, 500.0}, {5000.0, 5200.0}, {100.0, 200.0}, {5400.0, 5700.0});
  Fitter fitter(model);
  const slalom::FitResult best = fitter.fit();
  FeldmanCousinsOptions options;
  options.confidence = 0.6826894921;
  for (const std::size_t parameter : {std::size_t{0}, std::size_t{1}}) {
    const slalom::Interval expected = minos(fitter, best, parameter);
    const FeldmanCousinsInterval interval =
        feldman_cousins(fitter, parameter, options, toy_options(20000));
    CAPTURE(parameter, interval.message);
    REQUIRE(interval.converged);
    CHECK(interval.toys.failed == 0);
    const double sigma = 0.5 * (expected.upper.value - expected.lower.value);
    CHECK(interval.lower.error <= 0.1 * sigma * 1.1);
    CHECK_THAT(interval.lower.value,
               WithinAbs(expected.lower.value, 4.0 * interval.lower.error + 0.03 * sigma));
    CHECK_THAT(interval.upper.value,
               WithinAbs(expected.upper.value, 4.0 * interval.upper.error + 0.03 * sigma));
    CHECK(interval.lower.value < interval.best_fit);
    CHECK(interval.upper.value > interval.best_fit);
  }
}

TEST_CASE("the interval does not depend on threads, and ends when told to",
          "[core][feldman_cousins]") {
  const Model model = counting(6, 3.0);
  Fitter fitter(model);
  const FeldmanCousinsInterval one = feldman_cousins(fitter, 0, {}, toy_options(2000, 1));
  const FeldmanCousinsInterval three = feldman_cousins(fitter, 0, {}, toy_options(2000, 3));
  CHECK(one.lower.value == three.lower.value);
  CHECK(one.upper.value == three.upper.value);
  CHECK(one.upper.error == three.upper.error);
  CHECK(one.toys.done == three.toys.done);
  // Too few toys for the tolerance: an interval with its uncertainty, not called converged.
  FeldmanCousinsOptions strict;
  strict.tolerance = 1e-3;
  const FeldmanCousinsInterval few = feldman_cousins(fitter, 0, strict, toy_options(300));
  CHECK_FALSE(few.converged);
  CHECK_FALSE(few.interrupted);
  CHECK(few.message.find("more toys") != std::string::npos);
  ToyOptions stopping = toy_options(2000, 1);
  std::size_t calls = 0;
  stopping.progress = [&](std::size_t, std::size_t) { return ++calls < 100; };
  const FeldmanCousinsInterval part = feldman_cousins(fitter, 0, {}, stopping);
  CHECK(part.interrupted);
  CHECK_FALSE(part.converged);
  CHECK(part.toys.done == 100);
}

TEST_CASE("what makes no sense is refused", "[core][feldman_cousins]") {
  using slalom::ErrorKind;
  const Model model = counting(6, 3.0);
  Fitter fitter(model);
  slalom::test::check_fails(ErrorKind::usage, "confidence", "between 0 and 1", [&] {
    feldman_cousins(fitter, 0, {1.0, 0.05}, toy_options(10));
  });
  slalom::test::check_fails(ErrorKind::usage, "tolerance", "positive", [&] {
    feldman_cousins(fitter, 0, {0.9, 0.0}, toy_options(10));
  });
  slalom::test::check_fails(ErrorKind::usage, "toys", "needed",
                            [&] { feldman_cousins(fitter, 0, {}, toy_options(0)); });
  slalom::test::check_fails(ErrorKind::model, model.spec().parameters[1].name, "is held",
                            [&] { feldman_cousins(fitter, 1, {}, toy_options(10)); });
  slalom::test::check_fails(ErrorKind::model, "parameter", "no parameter has index 7",
                            [&] { feldman_cousins(fitter, 7, {}, toy_options(10)); });
}
