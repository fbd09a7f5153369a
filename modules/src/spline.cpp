// SPDX-License-Identifier: Apache-2.0
#include "spline.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/clamp_min.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/log.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <cmath>

namespace slalom::detail {

namespace {

/// Least share of a bin, and least slope: nothing is divided by 0.
constexpr double k_least_share = 1e-3, k_least_slope = 1e-3;

/// Inner and outer ends of bins [n, d, bins + 1], from -bound to bound.
Tensor knots(const Tensor& raw, std::int64_t bins, double bound) {
  const double rest = 1.0 - k_least_share * static_cast<double>(bins);
  const Tensor share = k_least_share + rest * at::softmax(raw, -1);
  const Tensor inner = at::cumsum(share.slice(-1, 0, bins - 1), -1) * (2.0 * bound) - bound;
  return at::constant_pad_nd(at::constant_pad_nd(inner, {1, 0}, -bound), {0, 1}, bound);
}

/// What of a knot's property [n, d, bins + 1] belongs to the bin's lower end, or its upper one.
Tensor at_bin(const Tensor& all, const Tensor& bin, std::int64_t end) {
  return at::gather(all, 2, bin + end).squeeze(2);
}

}  // namespace

SplineImage spline(const Tensor& x, const Tensor& raw, std::int64_t bins, double bound,
                   bool backwards) {
  const Tensor x_knots = knots(raw.slice(2, 0, bins), bins, bound),
               y_knots = knots(raw.slice(2, bins, 2 * bins), bins, bound);
  // Of slope 1 where raw numbers are 0, and at the ends, where the straight lines go on.
  const double offset = std::log(std::expm1(1.0 - k_least_slope));
  const Tensor inner = k_least_slope + at::softplus(raw.slice(2, 2 * bins) + offset);
  const Tensor slopes = at::constant_pad_nd(inner, {1, 1}, 1.0);

  const Tensor inside = (x > -bound).logical_and(x < bound);
  const Tensor held = at::clamp(x, -bound, bound);
  const Tensor ends = (backwards ? y_knots : x_knots).slice(2, 1, bins);
  const Tensor bin = (held.unsqueeze(2) >= ends.detach()).sum(-1, true);
  const Tensor x_0 = at_bin(x_knots, bin, 0), y_0 = at_bin(y_knots, bin, 0),
               width = at_bin(x_knots, bin, 1) - x_0, height = at_bin(y_knots, bin, 1) - y_0,
               d_0 = at_bin(slopes, bin, 0), d_1 = at_bin(slopes, bin, 1), s = height / width,
               bend = d_0 + d_1 - 2.0 * s;
  Tensor t, value;
  if (backwards) {
    const Tensor rise = held - y_0;
    const Tensor a = height * (s - d_0) + rise * bend, b = height * d_0 - rise * bend,
                 c = -s * rise;
    // b > 0, for which this root loses no digits.
    t = 2.0 * c / (-b - at::sqrt(at::clamp_min(b * b - 4.0 * a * c, 1e-300)));
    value = x_0 + t * width;
  } else {
    t = (held - x_0) / width;
    value = y_0 + height * (s * t * t + d_0 * t * (1.0 - t)) / (s + bend * t * (1.0 - t));
  }
  const Tensor u = 1.0 - t, below = s + bend * t * u;
  Tensor log_slope =
      at::log(s * s * (d_1 * t * t + 2.0 * s * t * u + d_0 * u * u)) - 2.0 * at::log(below);
  if (backwards) log_slope = -log_slope;
  return {at::where(inside, value, x), at::where(inside, log_slope, at::zeros_like(log_slope))};
}

}  // namespace slalom::detail
