// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <cmath>
#include <limits>
#include <vector>

#include "slalom/modules/autodiff.hpp"
#include "slalom/modules/distributions.hpp"
#include "support/catch.hpp"

using at::Tensor;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::normal_log_prob;
using slalom::poisson_log_prob;

namespace {

Tensor scalar(double value) { return at::zeros({}, at::kDouble).fill_(value).requires_grad_(true); }

double poisson(double n, double rate) {
  return poisson_log_prob(scalar(n), scalar(rate)).item<double>();
}

double digamma(double x) {  // by the recurrence and its asymptotic series
  double sum = 0.0;
  for (; x < 20.0; x += 1.0) sum -= 1.0 / x;
  const double i2 = 1.0 / (x * x);
  return sum + std::log(x) - 0.5 / x - i2 * (1.0 / 12 - i2 * (1.0 / 120 - i2 / 252));
}

}  // namespace

TEST_CASE("the Poisson probability at small and at huge counts", "[modules][distributions]") {
  for (const double n : {0.0, 0.3, 1.0, 7.0, 15.9, 16.1, 250.0}) {
    for (const double rate : {1e-9, 0.4, 5.0, 40.0, 1e4}) {
      const double expected = n * std::log(rate) - rate - std::lgamma(n + 1.0);
      INFO("n = " << n << ", rate = " << rate);
      CHECK_THAT(poisson(n, rate), WithinRel(expected, 1e-12) || WithinAbs(expected, 1e-13));
    }
  }
  // At n = rate it is -log sqrt(2 pi n) - 1 / (12 n), where a plain lgamma has lost its digits.
  const double huge = 1.9e11;
  CHECK_THAT(poisson(huge, huge),
             WithinRel(-0.5 * std::log(2.0 * M_PI * huge) - 1.0 / (12.0 * huge), 1e-15));
}

TEST_CASE("rates of zero and below", "[modules][distributions]") {
  const double infinity = std::numeric_limits<double>::infinity();
  CHECK(poisson(0.0, 0.0) == 0.0);
  CHECK(poisson(1.0, 0.0) == -infinity);
  CHECK(poisson(0.0, -1.0) == -infinity);
  CHECK(poisson(3.0, -1.0) == -infinity);
}

TEST_CASE("derivatives of the Poisson probability by count and rate", "[modules][distributions]") {
  for (const double n : {0.0, 0.5, 3.0, 15.99, 16.0, 80.0}) {
    for (const double rate : {0.2, 4.0, 90.0}) {
      const Tensor k = scalar(n), r = scalar(rate);
      const Tensor value = poisson_log_prob(k, r);
      const Tensor by_rate = slalom::gradient(value, r, true);
      INFO("n = " << n << ", rate = " << rate);
      CHECK_THAT(by_rate.item<double>(), WithinAbs(n / rate - 1.0, 1e-12 * (1.0 + n / rate)));
      CHECK_THAT(slalom::gradient(value, k).item<double>(),
                 WithinAbs(std::log(rate) - digamma(n + 1.0), 1e-10));
      if (n == 0.0) continue;
      CHECK_THAT(slalom::gradient(by_rate, r).item<double>(), WithinRel(-n / (rate * rate), 1e-10));
      CHECK_THAT(slalom::gradient(by_rate, k).item<double>(), WithinRel(1.0 / rate, 1e-10));
    }
  }
}

TEST_CASE("an impossible bin does not spoil the gradient of its neighbours",
          "[modules][distributions]") {
  Tensor rate = at::zeros({3}, at::kDouble);
  rate[1] = 2.0;
  rate[2] = 5.0;
  rate.requires_grad_(true);
  Tensor n = at::zeros({3}, at::kDouble);
  n[1] = 3.0;
  const Tensor slope = slalom::gradient(poisson_log_prob(n, rate).sum(), rate);
  CHECK(slope[0].item<double>() == 0.0);
  CHECK_THAT(slope[1].item<double>(), WithinRel(0.5, 1e-14));
  CHECK_THAT(slope[2].item<double>(), WithinRel(-1.0, 1e-14));
}

TEST_CASE("the normal density", "[modules][distributions]") {
  const Tensor x = scalar(0.7), mean = scalar(0.2), sigma = scalar(0.4);
  const Tensor value = normal_log_prob(x, mean, sigma);
  CHECK_THAT(value.item<double>(),
             WithinRel(-0.5 * 1.25 * 1.25 - std::log(0.4 * std::sqrt(2.0 * M_PI)), 1e-14));
  CHECK_THAT(slalom::gradient(value, mean).item<double>(), WithinRel(0.5 / 0.16, 1e-13));
  CHECK_THAT(slalom::gradient(value, sigma).item<double>(),
             WithinRel((1.25 * 1.25 - 1.0) / 0.4, 1e-13));
}
