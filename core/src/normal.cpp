// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/normal.hpp"

#include <boost/math/special_functions/erf.hpp>
#include <cmath>
#include <limits>
#include <numbers>

namespace slalom {

namespace {

const double k_log_sqrt_two_pi = 0.5 * std::log(2.0 * std::numbers::pi);

/// Asymptotic series of Phi(x) |x| / phi(x) for x < -20, where ten terms are exact to rounding.
double tail_series(double x) {
  const double inverse = 1.0 / (x * x);
  double term = 1.0, sum = 1.0;
  for (int k = 1; k <= 10; ++k) {
    term *= -(2.0 * k - 1.0) * inverse;
    sum += term;
  }
  return sum;
}

}  // namespace

double log_normal_cdf(double x) {
  if (x < -20.0) {
    return -0.5 * x * x - std::log(-x) - k_log_sqrt_two_pi + std::log(tail_series(x));
  }
  if (x > 0.0) return std::log1p(-0.5 * std::erfc(x / std::numbers::sqrt2));
  return std::log(0.5 * std::erfc(-x / std::numbers::sqrt2));
}

double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }

double normal_quantile_of_log(double log_p) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (!(log_p < 0.0)) return log_p == 0.0 ? infinity : std::numeric_limits<double>::quiet_NaN();
  if (log_p == -infinity) return -infinity;
  if (log_p > -600.0) {
    // erfc_inv wants 2 p below 2; near p = 1 the complement keeps the digits.
    const double p = std::exp(log_p);
    if (p < 0.9) return -std::numbers::sqrt2 * boost::math::erfc_inv(2.0 * p);
    return std::numbers::sqrt2 * boost::math::erfc_inv(-2.0 * std::expm1(log_p));
  }
  double x = -std::sqrt(-2.0 * log_p);
  for (int i = 0; i < 50; ++i) {  // Newton's method on log Phi, whose slope is phi / Phi
    const double value = log_normal_cdf(x);
    const double slope = std::exp(-0.5 * x * x - k_log_sqrt_two_pi - value);
    const double step = (log_p - value) / slope;
    x += step;
    if (std::abs(step) < 1e-15 * std::abs(x)) break;
  }
  return x;
}

}  // namespace slalom
