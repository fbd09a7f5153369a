// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "slalom/core/gaussian_process.hpp"
#include "slalom/core/random.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::CurveMaximum;
using slalom::ErrorKind;
using slalom::fit_gaussian_process;
using slalom::GaussianProcess;
using slalom::GaussianProcessOptions;
using slalom::GaussianProcessValue;
using slalom::test::check_fails;

TEST_CASE("two points in closed form", "[core][gaussian_process]") {
  GaussianProcessOptions options;
  options.length = 0.8;
  options.variance = 2.0;
  options.subtract_mean = false;
  const std::vector<double> x{0.0, 1.0}, y{1.0, -0.5}, noise{0.3, 0.7};
  const GaussianProcess process = fit_gaussian_process(x, y, noise, options);
  CHECK(process.converged);
  const auto k = [](double d) { return 2.0 * std::exp(-0.5 * d * d / 0.64); };
  const double a = 2.0 + 0.09, b = 2.0 + 0.49, c = k(1.0), det = a * b - c * c;
  const double at = 0.4, k0 = k(0.4), k1 = k(0.6);
  const double value = (k0 * (b * y[0] - c * y[1]) + k1 * (a * y[1] - c * y[0])) / det;
  const double variance = 2.0 - (k0 * (b * k0 - c * k1) + k1 * (a * k1 - c * k0)) / det;
  const GaussianProcessValue found = process.at(at);
  CHECK_THAT(found.value, WithinRel(value, 1e-12));
  CHECK_THAT(found.error, WithinRel(std::sqrt(variance), 1e-12));
  const double quadratic = (b * y[0] * y[0] - 2.0 * c * y[0] * y[1] + a * y[1] * y[1]) / det;
  CHECK_THAT(process.log_marginal,
             WithinRel(-0.5 * (quadratic + std::log(det) + 2.0 * std::log(2.0 * std::numbers::pi)),
                       1e-12));
  // Far away there is the prior only.
  CHECK_THAT(process.at(50.0).value, WithinAbs(0.0, 1e-12));
  CHECK_THAT(process.at(50.0).error, WithinRel(std::sqrt(2.0), 1e-12));
}

TEST_CASE("the mean is that of the points by their noise", "[core][gaussian_process]") {
  GaussianProcessOptions options;
  options.length = 0.1;
  options.variance = 1.0;
  const GaussianProcess process =
      fit_gaussian_process(std::vector<double>{0.0, 5.0}, std::vector<double>{1.0, 4.0},
                           std::vector<double>{1.0, 2.0}, options);
  CHECK_THAT(process.mean, WithinRel((1.0 + 4.0 / 4.0) / 1.25, 1e-12));
  CHECK_THAT(process.at(100.0).value, WithinRel(process.mean, 1e-12));
}

TEST_CASE("the largest marginal likelihood is one", "[core][gaussian_process]") {
  slalom::RandomStream random(3, 0);
  std::vector<double> x, y, noise;
  for (int i = 0; i < 25; ++i) {
    x.push_back(0.2 * i + 0.01 * (i % 3));
    noise.push_back(0.2 + 0.1 * (i % 2));
    y.push_back(3.0 * std::sin(x.back()) + noise.back() * random.normal());
  }
  const GaussianProcess best = fit_gaussian_process(x, y, noise);
  REQUIRE(best.converged);
  CHECK(best.length > 0.7);
  CHECK(best.length < 3.0);
  for (const double factor : {0.95, 1.05}) {
    for (const bool of_length : {false, true}) {
      GaussianProcessOptions options;
      options.length = best.length * (of_length ? factor : 1.0);
      options.variance = best.variance * (of_length ? 1.0 : factor);
      CHECK(fit_gaussian_process(x, y, noise, options).log_marginal < best.log_marginal);
    }
  }
  // One of the two given, the other one is found again.
  GaussianProcessOptions options;
  options.length = best.length;
  CHECK_THAT(fit_gaussian_process(x, y, noise, options).variance, WithinRel(best.variance, 1e-5));
  int inside = 0;
  for (int i = 0; i < 100; ++i) {
    const double place = 0.048 * i;
    const GaussianProcessValue value = best.at(place);
    CHECK(value.error < 0.3);
    if (std::abs(value.value - 3.0 * std::sin(place)) < 2.0 * value.error) ++inside;
  }
  CHECK(inside > 80);
}

TEST_CASE("maximum and interval of a parabola", "[core][gaussian_process]") {
  // Twenty points of a log-likelihood with sigma = 0.3 at -2.1: next to no noise.
  std::vector<double> x, y, noise;
  for (int i = 0; i < 20; ++i) {
    x.push_back(-3.0 + 0.1 * i);
    y.push_back(-0.5 * std::pow((x.back() + 2.1) / 0.3, 2));
    noise.push_back(1e-3);
  }
  const GaussianProcess process = fit_gaussian_process(x, y, noise);
  const CurveMaximum one = maximum_of(process, -3.0, -1.1, 0.5);
  CHECK_THAT(one.place, WithinAbs(-2.1, 2e-3));
  CHECK_THAT(one.value, WithinAbs(0.0, 2e-3));
  CHECK_THAT(one.lower, WithinAbs(-2.4, 3e-3));
  CHECK_THAT(one.upper, WithinAbs(-1.8, 3e-3));
  CHECK_FALSE(one.lower_at_end);
  CHECK_FALSE(one.upper_at_end);
  const CurveMaximum cut = maximum_of(process, -2.2, -1.1, 0.5);
  CHECK(cut.lower_at_end);
  CHECK(cut.lower == -2.2);
  const CurveMaximum end = maximum_of(process, -3.0, -2.5, 1.0);
  CHECK(end.place == -2.5);
  CHECK(end.upper_at_end);
  CHECK(end.upper == -2.5);
}

TEST_CASE("points that make no curve", "[core][gaussian_process]") {
  const std::vector<double> two{0.0, 1.0}, one{1.0};
  const auto fails = [](const std::string& where, const std::string& fragment,
                        const std::vector<double>& x, const std::vector<double>& y,
                        const std::vector<double>& noise,
                        const GaussianProcessOptions& options = {}) {
    check_fails(ErrorKind::usage, where, fragment,
                [&] { fit_gaussian_process(x, y, noise, options); });
  };
  fails("gaussian_process", "as many", two, one, two);
  fails("x", "2 to 2000", one, one, one);
  fails("noise[0]", "positive", {0.0, 1.0}, {1.0, 1.0}, {0.0, 1.0});
  fails("x[1]", "already", {1.0, 1.0}, {1.0, 2.0}, {1.0, 1.0});
  fails("y[1]", "finite", {0.0, 1.0}, {1.0, std::nan("")}, {1.0, 1.0});
  fails("length", "positive", {0.0, 1.0}, {1.0, 2.0}, {1.0, 1.0}, {.length = -1.0});
  const GaussianProcess process = fit_gaussian_process(two, two, std::vector<double>{1.0, 1.0},
                                                       {.length = 1.0, .variance = 1.0});
  check_fails(ErrorKind::usage, "place", "finite", [&] { process.at(std::nan("")); });
  check_fails(ErrorKind::usage, "maximum_of", "range", [&] { maximum_of(process, 1.0, 0.0, 1.0); });
  check_fails(ErrorKind::usage, "maximum_of", "positive",
              [&] { maximum_of(process, 0.0, 1.0, 0.0); });
}
