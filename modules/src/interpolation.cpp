// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/interpolation.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/log.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <array>

namespace slalom {

namespace {

/// `value` where `mask` is true, and elsewhere a number at which nothing goes wrong.
Tensor masked(const Tensor& mask, const Tensor& value, double elsewhere) {
  return at::where(mask, value, at::full_like(value, elsewhere));
}

/// Written with |alpha|, whose derivative at the kink is 0: the mean of both sides.
Tensor code0(const Tensor& alpha, const Tensor& up, const Tensor& down) {
  return 0.5 * (alpha * (up + down) + at::abs(alpha) * (up - down));
}

Tensor code2(const Tensor& alpha, const Tensor& up, const Tensor& down) {
  const Tensor a = 0.5 * (up - down), b = 0.5 * (up + down);
  const Tensor inside = a * alpha * alpha + b * alpha;
  const Tensor above = (b + 2.0 * a) * (alpha - 1.0);
  const Tensor below = (b - 2.0 * a) * alpha;  // as pyhf 0.7 evaluates it, not as its docs say
  return at::where(alpha > 1.0, above, at::where(alpha < -1.0, below, inside));
}

Tensor code4p(const Tensor& alpha, const Tensor& up, const Tensor& down) {
  const Tensor s = 0.5 * (up + down), a = (up - down) / 16.0;
  const Tensor x2 = alpha * alpha;
  const Tensor inside = alpha * s + x2 * a * (15.0 + x2 * (3.0 * x2 - 10.0));
  return at::where(alpha > 1.0, alpha * up, at::where(alpha < -1.0, alpha * down, inside));
}

/// Rows of the inverse of the matrix that makes value, slope and curvature continuous at +-1.
constexpr std::array<std::array<double, 6>, 6> k_code4 = {{
    {15. / 16., -15. / 16., -7. / 16., -7. / 16., 1. / 16., -1. / 16.},
    {3. / 2., 3. / 2., -9. / 16., 9. / 16., 1. / 16., 1. / 16.},
    {-5. / 8., 5. / 8., 5. / 8., 5. / 8., -1. / 8., 1. / 8.},
    {-3. / 2., -3. / 2., 7. / 8., -7. / 8., -1. / 8., -1. / 8.},
    {3. / 16., -3. / 16., -3. / 16., -3. / 16., 1. / 16., -1. / 16.},
    {1. / 2., 1. / 2., -5. / 16., 5. / 16., 1. / 16., 1. / 16.},
}};

Tensor code4_inside(const Tensor& alpha, const Tensor& hi, const Tensor& lo, const Tensor& log_hi,
                    const Tensor& log_lo) {
  const std::array<Tensor, 6> b = {
      hi - 1.0, lo - 1.0, hi * log_hi, -lo * log_lo, hi * log_hi * log_hi, lo * log_lo * log_lo};
  Tensor sum = at::zeros_like(alpha * hi);
  for (std::size_t i = 6; i-- > 0;) {  // Horner's rule
    Tensor a = k_code4[i][0] * b[0];
    for (std::size_t j = 1; j < 6; ++j) a = a + k_code4[i][j] * b[j];
    sum = alpha * (sum + a);
  }
  return 1.0 + sum;
}

}  // namespace

Tensor histosys_delta(HistosysCode code, const Tensor& alpha, const Tensor& nominal,
                      const Tensor& hi, const Tensor& lo) {
  const Tensor up = hi - nominal, down = nominal - lo;
  switch (code) {
    case HistosysCode::code0:
      return code0(alpha, up, down);
    case HistosysCode::code2:
      return code2(alpha, up, down);
    case HistosysCode::code4p:
      break;
  }
  return code4p(alpha, up, down);
}

Tensor normsys_factor(NormsysCode code, const Tensor& alpha, const Tensor& hi, const Tensor& lo) {
  const Tensor log_hi = at::log(hi), log_lo = at::log(lo);
  if (code == NormsysCode::code1) {
    const Tensor up = at::exp(masked(alpha >= 0.0, alpha, 0.0) * log_hi);
    const Tensor down = at::exp(-masked(alpha <= 0.0, alpha, 0.0) * log_lo);
    return at::where(alpha > 0.0, up, at::where(alpha < 0.0, down, 0.5 * (up + down)));
  }
  const Tensor above = alpha >= 1.0, below = alpha <= -1.0, inside = ~(above | below);
  const Tensor outside = at::where(above, at::exp(masked(above, alpha, 0.0) * log_hi),
                                   at::exp(-masked(below, alpha, 0.0) * log_lo));
  return at::where(inside, code4_inside(masked(inside, alpha, 0.0), hi, lo, log_hi, log_lo),
                   outside);
}

}  // namespace slalom
