// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/feature_transform.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/clamp_min.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/isnan.h>
#include <ATen/ops/log.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <string>
#include <utility>

#include "check.hpp"
#include "to_tensor.hpp"

namespace slalom {

namespace {

using detail::require;
using detail::shape_of;
using detail::to_tensor;

constexpr const char* k_where = "feature_transform";

/// Below it a cube root is a straight line, and so is its inverse.
constexpr double k_smallest_cube = 1e-12;
const double k_smallest_root = std::cbrt(k_smallest_cube);

std::string number(double value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

/// u(x) of one feature.
Tensor map_one(const Tensor& x, FeatureMap map, const Tensor& low, const Tensor& high) {
  switch (map) {
    case FeatureMap::linear:
      break;
    case FeatureMap::log:
      return at::log(x);
    case FeatureMap::cube_root:
      return x * at::pow(at::clamp_min(at::abs(x), k_smallest_cube), -2.0 / 3.0);
    case FeatureMap::logit:
      return at::log(x - low) - at::log(high - x);
  }
  return x;
}

/// x(u) of one feature.
Tensor unmap_one(const Tensor& u, FeatureMap map, const Tensor& low, const Tensor& high) {
  switch (map) {
    case FeatureMap::linear:
      break;
    case FeatureMap::log:
      return at::exp(u);
    case FeatureMap::cube_root: {
      const Tensor root = at::clamp_min(at::abs(u), k_smallest_root);
      return u * root * root;
    }
    case FeatureMap::logit:
      return low + (high - low) * at::sigmoid(u);
  }
  return u;
}

/// log |u'(x)| of one feature; undefined where it is 0.
Tensor log_slope(const Tensor& x, FeatureMap map, const Tensor& low, const Tensor& high) {
  switch (map) {
    case FeatureMap::linear:
      break;
    case FeatureMap::log:
      return -at::log(x);
    case FeatureMap::cube_root: {
      const Tensor size = at::abs(x);
      const Tensor slope = -2.0 / 3.0 * at::log(at::clamp_min(size, k_smallest_cube));
      return at::where(size > k_smallest_cube, slope - std::log(3.0), slope);
    }
    case FeatureMap::logit:
      return at::log(high - low) - at::log(x - low) - at::log(high - x);
  }
  return {};
}

/// The ends as given, NaN where they are not; 0 and 1 for features without any.
std::vector<double> ends_of(const FeatureTransformOptions& options, const std::vector<double>& ends,
                            double other) {
  std::vector<double> result;
  for (std::size_t i = 0; i < options.maps.size(); ++i) {
    const double missing = std::numeric_limits<double>::quiet_NaN();
    const double end = ends.empty() ? missing : ends[i];
    result.push_back(options.maps[i] == FeatureMap::logit ? end : other);
  }
  return result;
}

}  // namespace

FeatureTransformImpl::FeatureTransformImpl(FeatureTransformOptions options)
    : options_(std::move(options)) {
  const std::size_t f = options_.maps.size();
  require(f > 0, "no features", k_where);
  require((options_.low.empty() || options_.low.size() == f) &&
              (options_.high.empty() || options_.high.size() == f),
          "ends of a range for each of " + std::to_string(f) + " features expected", k_where);
  require(options_.margin > 0.0 && std::isfinite(options_.margin), "the margin must be positive",
          k_where);
  const std::vector<double> low = ends_of(options_, options_.low, 0.0),
                            high = ends_of(options_, options_.high, 1.0);
  for (std::size_t i = 0; i < f; ++i) {
    require(!(low[i] >= high[i]) && !std::isinf(low[i]) && !std::isinf(high[i]),
            "an empty range of feature " + std::to_string(i), k_where);
  }
  low_ = register_buffer("low", to_tensor(low));
  high_ = register_buffer("high", to_tensor(high));
  mean_ = register_buffer("mean", at::zeros({features()}, at::kDouble));
  scale_ = register_buffer("scale", at::ones({features()}, at::kDouble));
}

Tensor FeatureTransformImpl::checked(const Tensor& x) {
  require(x.dim() == 2 && x.size(1) == features(),
          "[events, " + std::to_string(features()) + "] expected, found " + shape_of(x), k_where);
  require(!at::isnan(low_).any().item<bool>() && !at::isnan(high_).any().item<bool>(),
          "the range of a logit is not known yet: fit() comes first", k_where);
  return x.to(at::kDouble);
}

Tensor FeatureTransformImpl::inside(const Tensor& events) {
  const at::NoGradGuard no_graph;
  const Tensor x = checked(events.detach());
  Tensor result = at::isfinite(x).all(1);
  for (std::int64_t i = 0; i < features(); ++i) {
    const FeatureMap map = options_.maps[static_cast<std::size_t>(i)];
    if (map == FeatureMap::log) result = result.logical_and(x.select(1, i) > 0.0);
    if (map != FeatureMap::logit) continue;
    result = result.logical_and(x.select(1, i) > low_[i]).logical_and(x.select(1, i) < high_[i]);
  }
  return result;
}

void FeatureTransformImpl::require_inside(const Tensor& x) {
  if (inside(x).all().item<bool>()) return;
  for (std::int64_t i = 0; i < features(); ++i) {
    const Tensor column = x.detach().select(1, i);
    const FeatureMap map = options_.maps[static_cast<std::size_t>(i)];
    Tensor good = at::isfinite(column);
    std::string range = "finite";
    if (map == FeatureMap::log) {
      good = good.logical_and(column > 0.0);
      range = "positive";
    } else if (map == FeatureMap::logit) {
      good = good.logical_and(column > low_[i]).logical_and(column < high_[i]);
      range = "inside (" + number(low_[i].item<double>()) + ", " + number(high_[i].item<double>()) +
              ")";
    }
    const auto bad = good.logical_not().sum().item<std::int64_t>();
    if (bad == 0) continue;
    throw Error(
        ErrorKind::numerical,
        "feature " + std::to_string(i) + " of " + std::to_string(bad) + " events is not " + range,
        k_where);
  }
}

Tensor FeatureTransformImpl::mapped(const Tensor& x) {
  std::vector<Tensor> columns;
  for (std::int64_t i = 0; i < features(); ++i) {
    columns.push_back(
        map_one(x.select(1, i), options_.maps[static_cast<std::size_t>(i)], low_[i], high_[i]));
  }
  return at::stack(columns, 1);
}

void FeatureTransformImpl::set_range(const Tensor& x) {
  for (std::size_t k = 0; k < options_.maps.size(); ++k) {
    if (options_.maps[k] != FeatureMap::logit) continue;
    const auto i = static_cast<std::int64_t>(k);
    const double least = x.select(1, i).min().item<double>(),
                 most = x.select(1, i).max().item<double>();
    const double margin = options_.margin * (most > least ? most - least : 1.0);
    const bool has_low = !options_.low.empty() && !std::isnan(options_.low[k]),
               has_high = !options_.high.empty() && !std::isnan(options_.high[k]);
    if (!has_low) low_[i].fill_(least - margin);
    if (!has_high) high_[i].fill_(most + margin);
    require(low_[i].item<double>() < high_[i].item<double>(),
            "an empty range of feature " + std::to_string(k), k_where);
  }
}

void FeatureTransformImpl::fit(const Tensor& events, const Tensor& weights) {
  const at::NoGradGuard no_graph;
  require(events.dim() == 2 && events.size(1) == features() && events.size(0) > 0,
          "[events, " + std::to_string(features()) + "] expected, found " + shape_of(events),
          k_where);
  require(!weights.defined() || (weights.dim() == 1 && weights.size(0) == events.size(0)),
          "weights [events] expected", k_where);
  const Tensor x = events.to(at::kDouble);
  Tensor w = weights.defined() ? weights.to(at::kDouble) : at::ones({x.size(0)}, x.options());
  require(w.min().item<double>() >= 0.0, "weights must not be negative", k_where);
  const double total = w.sum().item<double>();
  if (!(total > 0.0) || !std::isfinite(total)) {
    throw Error(ErrorKind::numerical, "the weights have no positive sum", k_where);
  }
  if (!at::isfinite(x).all().item<bool>()) {
    throw Error(ErrorKind::numerical, "events to fit to are not finite", k_where);
  }
  set_range(x);
  require_inside(x);
  w = (w / total).unsqueeze(1);
  const Tensor u = mapped(x), mean = (w * u).sum(0);
  const Tensor variance = (w * (u - mean) * (u - mean)).sum(0);
  // A constant feature differs from its mean by rounding only.
  const Tensor varies = variance > 1e-24 * (mean * mean);
  mean_.copy_(mean);
  scale_.copy_(at::where(varies, at::sqrt(variance), at::ones_like(variance)));
}

Tensor FeatureTransformImpl::forward(const Tensor& events) {
  const Tensor x = checked(events);
  require_inside(x);
  return (mapped(x) - mean_) / scale_;
}

Tensor FeatureTransformImpl::inverse(const Tensor& z) {
  const Tensor u = checked(z) * scale_ + mean_;
  std::vector<Tensor> columns;
  for (std::int64_t i = 0; i < features(); ++i) {
    columns.push_back(
        unmap_one(u.select(1, i), options_.maps[static_cast<std::size_t>(i)], low_[i], high_[i]));
  }
  return at::stack(columns, 1);
}

Tensor FeatureTransformImpl::log_jacobian(const Tensor& events) {
  const Tensor x = checked(events);
  require_inside(x);
  Tensor result = -at::log(scale_).sum().expand({x.size(0)});
  for (std::int64_t i = 0; i < features(); ++i) {
    const Tensor slope =
        log_slope(x.select(1, i), options_.maps[static_cast<std::size_t>(i)], low_[i], high_[i]);
    if (slope.defined()) result = result + slope;
  }
  return result;
}

}  // namespace slalom
