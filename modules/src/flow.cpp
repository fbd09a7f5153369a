// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/flow.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <cmath>
#include <numbers>
#include <ostream>
#include <string>
#include <utility>

#include "check.hpp"
#include "slalom/core/random.hpp"
#include "spline.hpp"
#include "to_tensor.hpp"

namespace slalom {

namespace {

using detail::require;
using detail::shape_of;
using detail::to_tensor;

constexpr const char* k_where = "flow";

// Families of random numbers of the seed.
constexpr std::uint32_t k_weight_family = 0xf1000001, k_sample_family = 0xf1000002;

at::ScalarType type_of(const FlowOptions& options) {
  return options.float64 ? at::kDouble : at::kFloat;
}

/// Numbers that a layer needs for each feature it changes.
std::int64_t numbers_of(const FlowOptions& options) {
  return options.kind == FlowKind::affine ? 2 : 3 * options.bins - 1;
}

/// Normal weights [out, in] of variance 1 / in.
Tensor initial_weights(std::int64_t out, std::int64_t in, const FlowOptions& options,
                       std::int64_t number) {
  RandomStream random(options.seed, static_cast<std::uint64_t>(number), k_weight_family);
  std::vector<double> values(static_cast<std::size_t>(out * in));
  const double sigma = 1.0 / std::sqrt(static_cast<double>(std::max<std::int64_t>(in, 1)));
  for (double& value : values) value = sigma * random.normal();
  return to_tensor(values).to(type_of(options)).reshape({out, in});
}

/// Whether a pair of layers tells a feature from others by a bit of its number: any two features
/// are told apart within log2(features) pairs. No matter of the seed, so that weights of any seed
/// fit.
bool is_first(std::int64_t feature, std::int64_t pair, std::int64_t features) {
  std::int64_t bits = 1;
  while ((std::int64_t{1} << bits) < features) ++bits;
  return (feature >> (bits - 1 - pair % bits)) % 2 == 0;
}

Tensor columns(const Tensor& x, const std::vector<std::int64_t>& places) {
  return x.index_select(1, to_tensor(places).to(x.device()));
}

}  // namespace

FlowImpl::FlowImpl(FlowOptions options) : options_(options) {
  require(options_.features > 0 && options_.layers > 0 && options_.hidden > 0 &&
              options_.hidden_layers >= 0 && options_.conditions >= 0,
          "sizes must be positive", k_where);
  require(options_.scale_limit > 0.0, "the limit of scales must be positive", k_where);
  require(options_.kind == FlowKind::affine ||
              (options_.bins > 0 && options_.bins <= 500 && options_.tail_bound > 0.0),
          "a spline needs 1 to 500 bins and a positive bound", k_where);
  for (std::int64_t layer = 0; layer < options_.layers; ++layer) {
    layers_.push_back(make_layer(layer));
  }
}

FlowImpl::Layer FlowImpl::make_layer(std::int64_t number) {
  Layer layer;
  for (std::int64_t feature = 0; feature < options_.features; ++feature) {
    // A single feature is changed by all layers.
    const bool changes = options_.features == 1 ||
                         is_first(feature, number / 2, options_.features) == (number % 2 == 1);
    (changes ? layer.changed : layer.kept).push_back(feature);
  }
  const std::string name = "layer" + std::to_string(number);
  auto in = static_cast<std::int64_t>(layer.kept.size()) + options_.conditions;
  for (std::int64_t k = 0; k <= options_.hidden_layers; ++k) {
    const bool last = k == options_.hidden_layers;
    const std::int64_t out =
        last ? static_cast<std::int64_t>(layer.changed.size()) * numbers_of(options_)
             : options_.hidden;
    // The last one starts at 0: the identity.
    const Tensor weights =
        last ? at::zeros({out, in}, type_of(options_))
             : initial_weights(out, in, options_, number * (options_.hidden_layers + 1) + k);
    const std::string end = std::to_string(k);
    layer.weights.push_back(register_parameter(name + "_weight" + end, weights));
    layer.biases.push_back(
        register_parameter(name + "_bias" + end, at::zeros({out}, type_of(options_))));
    in = out;
  }
  return layer;
}

void FlowImpl::check(const Tensor& x, const Tensor& condition) const {
  const std::int64_t c = options_.conditions;
  if (x.dim() != 2 || x.size(1) != options_.features) {
    require(false,
            "events [n, " + std::to_string(options_.features) + "] expected, found " + shape_of(x),
            k_where);
  }
  if (c == 0 && !condition.defined()) return;
  if (!condition.defined() || condition.dim() != 2 || condition.size(0) != x.size(0) ||
      condition.size(1) != c) {
    require(false,
            "conditions [" + std::to_string(x.size(0)) + ", " + std::to_string(c) +
                "] expected, found " + (condition.defined() ? shape_of(condition) : "none"),
            k_where);
  }
}

FlowImpl::Image FlowImpl::through(const Tensor& events, const Tensor& conditions, bool backwards) {
  check(events, conditions);
  Tensor x = events.to(type_of(options_));
  const Tensor condition = conditions.defined() ? conditions.to(x.scalar_type()) : conditions;
  Tensor log_det = at::zeros({x.size(0)}, x.options());
  for (std::size_t k = 0; k < layers_.size(); ++k) {
    const Layer& layer = layers_[backwards ? layers_.size() - 1 - k : k];
    const Tensor kept = columns(x, layer.kept), old = columns(x, layer.changed);
    const Tensor inputs = condition.defined() ? at::cat({kept, condition}, 1) : kept;
    const Tensor raw = mlp(inputs, layer.weights, layer.biases, options_.activation);
    const auto d = static_cast<std::int64_t>(layer.changed.size());
    Tensor changed;
    if (options_.kind == FlowKind::affine) {
      const double limit = options_.scale_limit;
      const Tensor s = at::tanh(raw.slice(1, 0, d) * (1.0 / limit)) * limit,
                   t = raw.slice(1, d, 2 * d);
      changed = backwards ? (old - t) * at::exp(-s) : old * at::exp(s) + t;
      log_det = backwards ? log_det - s.sum(1) : log_det + s.sum(1);
    } else {
      const detail::SplineImage image =
          detail::spline(old, raw.view({x.size(0), d, numbers_of(options_)}), options_.bins,
                         options_.tail_bound, backwards);
      changed = image.value;
      log_det = log_det + image.log_slope.sum(1);
    }
    std::vector<std::int64_t> places(static_cast<std::size_t>(options_.features));
    for (std::size_t i = 0; i < layer.kept.size(); ++i) {
      places[static_cast<std::size_t>(layer.kept[i])] = static_cast<std::int64_t>(i);
    }
    for (std::size_t i = 0; i < layer.changed.size(); ++i) {
      places[static_cast<std::size_t>(layer.changed[i])] =
          static_cast<std::int64_t>(layer.kept.size() + i);
    }
    x = columns(at::cat({kept, changed}, 1), places);
  }
  return {x, log_det};
}

FlowImpl::Image FlowImpl::forward(const Tensor& x, const Tensor& condition) {
  return through(x, condition, false);
}

FlowImpl::Image FlowImpl::inverse(const Tensor& z, const Tensor& condition) {
  return through(z, condition, true);
}

Tensor FlowImpl::log_prob(const Tensor& x, const Tensor& condition) {
  const Image image = forward(x, condition);
  const double constant =
      0.5 * static_cast<double>(options_.features) * std::log(2.0 * std::numbers::pi);
  return image.log_det - 0.5 * (image.value * image.value).sum(1) - constant;
}

Tensor FlowImpl::sample(std::int64_t n, const Tensor& condition, std::uint64_t seed) {
  const at::NoGradGuard no_graph;
  const Tensor z = normal_rows(n, options_.features, seed, k_sample_family);
  const at::Device device = parameters().front().device();
  return inverse(z.to(device), condition).value;
}

const std::vector<std::int64_t>& FlowImpl::changed(std::int64_t layer) const {
  require(layer >= 0 && layer < options_.layers, "no layer " + std::to_string(layer), k_where);
  return layers_[static_cast<std::size_t>(layer)].changed;
}

void FlowImpl::pretty_print(std::ostream& stream) const {
  stream << "slalom::Flow(" << options_.features << " features, " << options_.layers
         << (options_.kind == FlowKind::affine ? " affine" : " spline") << " layers of "
         << options_.hidden_layers << " x " << options_.hidden << ")";
}

}  // namespace slalom
