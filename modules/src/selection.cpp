// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/selection.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/sort.h>
#include <cmath>
#include <ostream>
#include <tuple>
#include <utility>

#include "check.hpp"

namespace slalom {

namespace {

using detail::require;
using detail::shape_of;

constexpr const char* k_where = "selection";

void check_sample(const Tensor& x, const Tensor& weights, double efficiency) {
  require(x.dim() == 1 && x.size(0) > 0 && weights.sizes() == x.sizes(),
          "values " + shape_of(x) + " with weights " + shape_of(weights), k_where);
  require(efficiency > 0.0 && efficiency < 1.0, "the efficiency must be between 0 and 1", k_where);
  require((weights >= 0.0).all().item<bool>() && (weights > 0.0).any().item<bool>(),
          "a quantile needs weights that are not negative, and not all 0", k_where);
}

}  // namespace

Tensor soft_cut(const Tensor& x, const Tensor& threshold, double slope, Keep keep) {
  const double sign = keep == Keep::above ? 1.0 : -1.0;
  return at::sigmoid((x.to(at::kDouble) - threshold.to(at::kDouble)) * (sign * slope));
}

Tensor hard_cut(const Tensor& x, const Tensor& threshold, Keep keep) {
  const Tensor above = x.detach().to(at::kDouble) >= threshold.detach().to(at::kDouble);
  return (keep == Keep::above ? above : ~above).to(at::kDouble);
}

Tensor mean_efficiency(const Tensor& efficiency, const Tensor& weights) {
  const Tensor sum = weights.to(at::kDouble).sum();
  if (sum.item<double>() == 0.0) {
    throw Error(ErrorKind::numerical, "the weights add up to 0", k_where);
  }
  return (weights.to(at::kDouble) * efficiency).sum() / sum;
}

Tensor efficiency_penalty(const Tensor& efficiency, double target, Bound bound, double width) {
  require(width > 0.0, "the width of a penalty must be positive", k_where);
  const Tensor excess = (efficiency - target) / width;
  const Tensor wrong = bound == Bound::equal     ? excess
                       : bound == Bound::at_most ? at::relu(excess)
                                                 : at::relu(-excess);
  return wrong * wrong;
}

Tensor soft_quantile(const Tensor& x, const Tensor& weights, double efficiency, double slope,
                     Keep keep) {
  check_sample(x, weights, efficiency);
  require(slope > 0.0, "slopes must be positive", k_where);
  const Tensor values = x.to(at::kDouble), w = weights.to(at::kDouble);
  // Beyond these ends the efficiency is on one side of its target whatever the events are.
  const double reach = (40.0 - std::log(std::min(efficiency, 1.0 - efficiency))) / slope;
  double low = values.min().item<double>() - reach, high = values.max().item<double>() + reach;
  {
    const at::NoGradGuard guard;
    const Tensor v = values.detach(), u = w.detach() / w.detach().sum();
    for (int i = 0; i < 200 && high - low > 1e-15 * (std::abs(low) + std::abs(high)); ++i) {
      const double middle = 0.5 * (low + high);
      const Tensor threshold = at::full({}, middle, v.options());
      const bool many = (u * soft_cut(v, threshold, slope, keep)).sum().item<double>() > efficiency;
      // Kept above: a higher threshold keeps less.
      (many == (keep == Keep::above) ? low : high) = middle;
      if (middle == low && middle == high) break;
    }
  }
  // Two steps of Newton from the solution carry derivatives of two orders. Their values are
  // rounding errors, large ones where nearly no event is at the threshold, and left out.
  Tensor threshold = at::full({}, 0.5 * (low + high), values.options());
  const double sign = keep == Keep::above ? 1.0 : -1.0;
  for (int i = 0; i < 2; ++i) {
    const Tensor p = soft_cut(values, threshold, slope, keep);
    const Tensor excess = (w * p).sum() - efficiency * w.sum();
    const Tensor step = sign * excess / (slope * (w * p * (1.0 - p)).sum());
    threshold = threshold + (step - step.detach());
  }
  return threshold;
}

double hard_quantile(const Tensor& x, const Tensor& weights, double efficiency, Keep keep) {
  check_sample(x, weights, efficiency);
  const Tensor values = x.detach().to(at::kDouble);
  const auto [sorted, order] = at::sort(values, 0, keep == Keep::above);
  const Tensor kept = at::cumsum(weights.detach().to(at::kDouble).index_select(0, order), 0);
  const double wanted = efficiency * kept[-1].item<double>();
  const std::int64_t needed =
      std::min((kept < wanted * (1.0 - 1e-12)).sum().item<std::int64_t>(), x.size(0) - 1);
  const double last = sorted[needed].item<double>();
  // Kept below means less than the threshold.
  return keep == Keep::above ? last : std::nextafter(last, INFINITY);
}

SelectionImpl::SelectionImpl(SelectionOptions options) : options_(std::move(options)) {
  for (std::size_t i = 0; i < options_.cuts.size(); ++i) {
    const CutOptions& cut = options_.cuts[i];
    require(cut.slope > 0.0 && std::isfinite(cut.slope), "slopes must be positive", k_where);
    require(std::isfinite(cut.threshold), "thresholds must be finite", k_where);
    const std::string name = "threshold" + std::to_string(i);
    const Tensor start = at::full({}, cut.threshold, at::kDouble);
    thresholds_.push_back(cut.learnable ? register_parameter(name, start)
                                        : register_buffer(name, start));
  }
  set_step(0);
}

void SelectionImpl::set_step(std::int64_t step) {
  sharpness_ = value_at(options_.sharpness, step);
  require(sharpness_ > 0.0, "the sharpness must be positive", k_where);
}

void SelectionImpl::check(const Tensor& x) const {
  const auto n = static_cast<std::int64_t>(options_.cuts.size());
  require(x.dim() == 2 && x.size(1) == n,
          "[events, " + std::to_string(n) + "] expected, found " + shape_of(x), k_where);
}

Tensor SelectionImpl::hard(const Tensor& x) const {
  check(x);
  Tensor pass = at::ones({x.size(0)}, x.options().dtype(at::kDouble));
  for (std::size_t i = 0; i < options_.cuts.size(); ++i) {
    pass = pass * hard_cut(x.select(1, static_cast<std::int64_t>(i)), thresholds_[i],
                           options_.cuts[i].keep);
  }
  return pass;
}

Tensor SelectionImpl::forward(const Tensor& x) {
  if (!is_training()) return hard(x);
  check(x);
  Tensor pass = at::ones({x.size(0)}, x.options().dtype(at::kDouble));
  for (std::size_t i = 0; i < options_.cuts.size(); ++i) {
    const CutOptions& cut = options_.cuts[i];
    pass = pass * soft_cut(x.select(1, static_cast<std::int64_t>(i)), thresholds_[i],
                           cut.slope * sharpness_, cut.keep);
  }
  return pass;
}

Tensor SelectionImpl::forward(const EventBatch& events) {
  std::vector<std::string> names;
  for (const CutOptions& cut : options_.cuts) names.push_back(cut.column);
  return forward(events.matrix(names));
}

void SelectionImpl::pretty_print(std::ostream& stream) const {
  stream << "slalom::Selection(";
  for (std::size_t i = 0; i < options_.cuts.size(); ++i) {
    const CutOptions& cut = options_.cuts[i];
    stream << (i == 0 ? "" : ", ") << cut.column << (cut.keep == Keep::above ? " >= " : " < ")
           << thresholds_[i].item<double>();
  }
  stream << ")";
}

}  // namespace slalom
