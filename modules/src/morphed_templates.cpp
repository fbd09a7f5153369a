// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/morphed_templates.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/log.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>
#include <algorithm>
#include <cstdint>
#include <string>

#include "check.hpp"
#include "slalom/modules/interpolation.hpp"

namespace slalom {

namespace {

/// Weights [Z, G] as a function of z [Z] that has their value and their first two derivatives.
Tensor weights_at(MorphingKind kind, const std::vector<double>& grid, const Tensor& z) {
  const Tensor at = z.detach().to(at::kCPU).contiguous();
  const auto n = at.size(0), g = static_cast<std::int64_t>(grid.size());
  Tensor orders = at::empty({3, n, g}, at::kDouble);
  double* out = orders.data_ptr<double>();
  for (std::int64_t i = 0; i < n; ++i) {
    const MorphingWeights w = morphing_weights(kind, grid, at.data_ptr<double>()[i]);
    std::copy(w.value.begin(), w.value.end(), out + i * g);
    std::copy(w.first.begin(), w.first.end(), out + (n + i) * g);
    std::copy(w.second.begin(), w.second.end(), out + (2 * n + i) * g);
  }
  orders = orders.to(z.device());
  const Tensor step = (z - z.detach()).unsqueeze(1);  // 0, with a derivative
  return orders[0] + step * (orders[1] + 0.5 * step * orders[2]);
}

/// Which bins [B] are above 0 at all points.
Tensor positive_bins(const Tensor& templates) { return (templates.detach() > 0.0).all(0); }

/// alpha [Z, 1] of the codes.
Tensor alpha_of(const std::vector<double>& grid, const Tensor& z) {
  const Tensor below = at::full_like(z, 1.0 / (grid[1] - grid[0])).detach();
  const Tensor above = at::full_like(z, 1.0 / (grid[2] - grid[1])).detach();
  return ((z - grid[1]) * at::where(z.detach() < grid[1], below, above)).unsqueeze(1);
}

/// A product with code4 where all templates are above 0, code4p elsewhere. templates [3, B].
Tensor morph_code4(const std::vector<double>& grid, const Tensor& templates, const Tensor& z) {
  const Tensor alpha = alpha_of(grid, z), positive = positive_bins(templates);
  const Tensor safe = at::where(positive, templates, at::ones_like(templates));
  const Tensor product =
      safe[1] * normsys_factor(NormsysCode::code4, alpha, safe[2] / safe[1], safe[0] / safe[1]);
  const Tensor sum = templates[1] + histosys_delta(HistosysCode::code4p, alpha, templates[1],
                                                   templates[2], templates[0]);
  return at::where(positive, product, sum);
}

/// All other kinds. templates [G, B].
Tensor morph_weighted(MorphingKind kind, const std::vector<double>& grid, const Tensor& templates,
                      const Tensor& z) {
  const Tensor weights = weights_at(kind, grid, z);
  if (!is_logarithmic(kind)) return at::matmul(weights, templates);
  const Tensor positive = positive_bins(templates);
  const Tensor safe = at::where(positive, templates, at::ones_like(templates));
  return at::where(positive, at::exp(at::matmul(weights, at::log(safe))),
                   at::matmul(weights, templates));
}

}  // namespace

Tensor morph(MorphingKind kind, const std::vector<double>& grid, const Tensor& templates,
             const Tensor& z) {
  const char* where = "morph";
  morphing_weights(kind == MorphingKind::code4 ? MorphingKind::code4p : kind, grid, 0.0);
  detail::require(templates.defined() && z.defined(), "there are no templates, or no z", where);
  detail::require(templates.scalar_type() == at::kDouble && z.scalar_type() == at::kDouble,
                  "templates and z are float64", where);
  detail::require(templates.device() == z.device(), "templates and z are on different devices",
                  where);
  detail::require(z.dim() <= 1, "z is [] or [Z], not " + detail::shape_of(z), where);
  detail::require(
      templates.dim() >= 1 && templates.size(0) == static_cast<std::int64_t>(grid.size()),
      "the templates are [" + std::to_string(grid.size()) + ", ...], not " +
          detail::shape_of(templates),
      where);
  detail::require(z.detach().isfinite().all().item<bool>(), "the parameter is not finite", where);
  const Tensor points = z.dim() == 0 ? z.unsqueeze(0) : z;
  const Tensor flat = templates.reshape({templates.size(0), -1});
  const Tensor result = kind == MorphingKind::code4 ? morph_code4(grid, flat, points)
                                                    : morph_weighted(kind, grid, flat, points);
  std::vector<std::int64_t> shape = templates.sizes().vec();
  shape.erase(shape.begin());
  if (z.dim() == 1) shape.insert(shape.begin(), z.size(0));
  return result.reshape(shape);
}

}  // namespace slalom
