// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/distributions.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/lgamma.h>
#include <ATen/ops/log.h>
#include <ATen/ops/log1p.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <cmath>
#include <limits>
#include <numbers>

namespace slalom {

namespace {

/// `value` where `mask` is true, and elsewhere a number at which nothing goes wrong.
Tensor masked(const Tensor& mask, const Tensor& value, double elsewhere) {
  return at::where(mask, value, at::full_like(value, elsewhere));
}

/// lgamma(n + 1) - n log n + n for n > 0. Above 16 by Stirling's series, whose next term is 1e-14.
Tensor stirling_remainder(const Tensor& n) {
  constexpr double k_series_from = 16.0;
  const Tensor large = n >= k_series_from;
  const Tensor m = masked(large, n, k_series_from);
  const Tensor i = 1.0 / m, i2 = i * i;
  const Tensor series =
      0.5 * at::log(2.0 * std::numbers::pi * m) +
      i * (1.0 / 12.0 + i2 * (-1.0 / 360.0 + i2 * (1.0 / 1260.0 - i2 * (1.0 / 1680.0))));
  const Tensor s = masked(~large, n, 1.0);
  return at::where(large, series, at::lgamma(s + 1.0) - s * at::log(s) + s);
}

}  // namespace

Tensor poisson_log_prob(const Tensor& n, const Tensor& rate) {
  const Tensor some = (n > 0.0) & (rate > 0.0), none = (n <= 0.0) & (rate > 0.0);
  // Broadcast before masking, so that every branch sees its own elements only.
  const Tensor zero = at::zeros_like(n * rate.detach());
  const Tensor n_all = n + zero, rate_all = rate + zero;
  const Tensor k = masked(some, n_all, 1.0), r = masked(some, rate_all, 1.0);
  const Tensor e = (r - k) / k;
  // Far below n, 1 + e has lost the digits of the rate.
  const Tensor far = e < -0.5;
  const Tensor log_ratio = at::where(far, at::log(masked(far, r, 1.0) / masked(far, k, 1.0)),
                                     at::log1p(masked(~far, e, 0.0)));
  const Tensor with_events = k * (log_ratio - e) - stirling_remainder(k);
  // n = 0: the derivative by n is that of n log rate - lgamma(n + 1).
  const Tensor k0 = masked(none, n_all, 0.0), r0 = masked(none, rate_all, 1.0);
  const Tensor without_events = k0 * at::log(r0) - r0 - at::lgamma(k0 + 1.0);
  const Tensor both_zero = (n_all == 0.0) & (rate_all == 0.0);
  const Tensor impossible =
      at::where(both_zero, zero, at::full_like(zero, -std::numeric_limits<double>::infinity()));
  return at::where(some, with_events, at::where(none, without_events, impossible));
}

Tensor normal_log_prob(const Tensor& x, const Tensor& mean, const Tensor& sigma) {
  const Tensor pull = (x - mean) / sigma;
  const double log_sqrt_2pi = 0.5 * std::log(2.0 * std::numbers::pi);
  return -0.5 * pull * pull - at::log(sigma) - log_sqrt_2pi;
}

}  // namespace slalom
