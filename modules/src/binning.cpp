// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/binning.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/bucketize.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/diff.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isnan.h>
#include <ATen/ops/log.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <cmath>

#include "check.hpp"

namespace slalom {

using detail::require;
using detail::shape_of;

std::int64_t number_of_bins(std::int64_t number_of_edges, FlowBins flow) {
  return flow == FlowBins::keep ? number_of_edges + 1 : number_of_edges - 1;
}

Tensor ordered_edges(const Tensor& raw, double low, double high, double min_width) {
  require(raw.dim() == 1 && raw.size(0) > 0, "[bins] expected, found " + shape_of(raw), "edges");
  const auto bins = static_cast<double>(raw.size(0));
  require(low < high, "the range must not be empty", "edges");
  require(min_width >= 0.0 && min_width * bins < 1.0, "the smallest width must be in [0, 1 / bins)",
          "edges");
  const Tensor shares = min_width + (1.0 - bins * min_width) * at::softmax(raw, 0, at::kDouble);
  const Tensor inner = low + (high - low) * at::cumsum(shares, 0).slice(0, 0, -1);
  return at::cat(
      {at::full({1}, low, inner.options()), inner, at::full({1}, high, inner.options())});
}

Tensor raw_edges(const Tensor& edges, double min_width) {
  require(edges.dim() == 1 && edges.size(0) > 1, "[bins + 1] expected, found " + shape_of(edges),
          "edges");
  const Tensor widths = at::diff(edges.to(at::kDouble));
  const Tensor free = widths / widths.sum() - min_width;
  require((free > 0.0).all().item<bool>(), "edges must increase, by more than the smallest width",
          "edges");
  return at::log(free);
}

Tensor bin_index(const Tensor& x, const Tensor& edges, FlowBins flow) {
  require(x.dim() == 1, "[events] expected, found " + shape_of(x), "histogram");
  const std::int64_t bins = edges.size(0) - 1;
  const Tensor values = x.detach().to(at::kDouble).contiguous(),
               bounds = edges.detach().to(at::kDouble).contiguous();
  if (values.size(0) > 0 && std::isnan(values.max().item<double>())) {  // NaN are greatest
    throw Error(ErrorKind::numerical,
                std::to_string(at::isnan(values).sum().item<std::int64_t>()) + " of " +
                    std::to_string(values.size(0)) + " values are NaN",
                "histogram");
  }
  // Number of edges at or below x: 0 for underflow, bins + 1 for overflow.
  const Tensor below = at::bucketize(values, bounds, false, true);
  if (flow == FlowBins::fold) return (below - 1).clamp_(0, bins - 1);
  Tensor closed = below - (values == bounds[bins]).to(at::kLong);
  if (flow == FlowBins::keep) return closed;
  return at::where(closed > bins, at::full({}, -1, closed.options()), closed - 1);
}

Tensor sum_by_bin(const Tensor& index, const Tensor& weights, std::int64_t bins) {
  require(weights.dim() >= 1 && weights.dim() <= 2 && weights.size(-1) == index.size(0),
          "weights " + shape_of(weights) + " for " + std::to_string(index.size(0)) + " events",
          "histogram");
  // What is left out goes to a bin of its own that is cut off.
  const Tensor place = at::where(index < 0, bins, index);
  std::vector<std::int64_t> shape = weights.sizes().vec();
  shape.back() = bins + 1;
  return at::zeros(shape, weights.options()).index_add(-1, place, weights).narrow(-1, 0, bins);
}

Histogram fill_histogram(const Tensor& index, const Tensor& weights, std::int64_t bins) {
  const Tensor w = weights.to(at::kDouble);
  return {sum_by_bin(index, w, bins), sum_by_bin(index, w * w, bins)};
}

Histogram hard_histogram(const Tensor& x, const Tensor& weights, const Tensor& edges,
                         FlowBins flow) {
  return fill_histogram(bin_index(x, edges, flow), weights, number_of_bins(edges.size(0), flow));
}

}  // namespace slalom
