// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/flow.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/dot.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <cmath>
#include <numbers>
#include <ostream>
#include <string>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <utility>

#include "check.hpp"
#include "density_check.hpp"
#include "flow_kernel.hpp"
#include "slalom/core/random.hpp"
#include "spline.hpp"
#include "to_tensor.hpp"

namespace slalom {

namespace {

using detail::require;
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

Tensor columns(const Tensor& x, const std::vector<std::int64_t>& places) {
  return x.index_select(1, to_tensor(places).to(x.device()));
}

/// All layers as tensor operations. \param weights of all steps of all layers, weight and bias
FlowImpl::Image graph(const FlowOptions& options, const Tensor& events, const Tensor& condition,
                      const std::vector<Tensor>& all_weights, bool backwards) {
  const std::int64_t n = events.size(0);
  const auto steps = static_cast<std::size_t>(options.hidden_layers) + 1;
  Tensor x = events, log_det = at::zeros({n}, events.options());
  for (std::int64_t k = 0; k < options.layers; ++k) {
    const std::int64_t number = backwards ? options.layers - 1 - k : k;
    const detail::FlowSplit split = detail::flow_split(options.features, number);
    std::vector<Tensor> weights, biases;
    for (std::size_t step = 0; step < steps; ++step) {
      const std::size_t place = 2 * (static_cast<std::size_t>(number) * steps + step);
      weights.push_back(all_weights[place]);
      biases.push_back(all_weights[place + 1]);
    }
    const Tensor kept = columns(x, split.kept), old = columns(x, split.changed);
    const Tensor raw = mlp(condition.defined() ? at::cat({kept, condition}, 1) : kept, weights,
                           biases, options.activation);
    const auto d = static_cast<std::int64_t>(split.changed.size());
    Tensor changed;
    if (options.kind == FlowKind::affine) {
      const double limit = options.scale_limit;
      const Tensor s = at::tanh(raw.slice(1, 0, d) * (1.0 / limit)) * limit,
                   t = raw.slice(1, d, 2 * d);
      changed = backwards ? (old - t) * at::exp(-s) : old * at::exp(s) + t;
      log_det = backwards ? log_det - s.sum(1) : log_det + s.sum(1);
    } else {
      const detail::SplineImage image = detail::spline(old, raw.view({n, d, numbers_of(options)}),
                                                       options.bins, options.tail_bound, backwards);
      changed = image.value;
      log_det = log_det + image.log_slope.sum(1);
    }
    std::vector<std::int64_t> places(static_cast<std::size_t>(options.features));
    std::int64_t place = 0;
    for (const auto* features : {&split.kept, &split.changed}) {
      for (const std::int64_t feature : *features) {
        places[static_cast<std::size_t>(feature)] = place++;
      }
    }
    x = columns(at::cat({kept, changed}, 1), places);
  }
  return {x, log_det};
}

/// log_det - |z|^2 / 2.
Tensor graph_log_prob(const FlowOptions& options, const Tensor& x, const Tensor& condition,
                      const std::vector<Tensor>& weights) {
  const FlowImpl::Image image = graph(options, x, condition, weights, false);
  return image.log_det - 0.5 * (image.value * image.value).sum(1);
}

/// Tensors of a call: x, the condition if there is one, weights; and back.
struct Parts {
  Tensor x, condition;
  std::vector<Tensor> weights;

  static Parts of(const FlowOptions& options, const std::vector<Tensor>& inputs) {
    const bool conditional = options.conditions > 0;
    return {inputs.front(),
            conditional ? inputs[1] : Tensor(),
            {inputs.begin() + (conditional ? 2 : 1), inputs.end()}};
  }
  std::vector<Tensor> all() const {
    std::vector<Tensor> inputs{x};
    if (condition.defined()) inputs.push_back(condition);
    inputs.insert(inputs.end(), weights.begin(), weights.end());
    return inputs;
  }
};

void save_options(const FlowOptions& options, torch::autograd::AutogradContext* context) {
  auto& saved = context->saved_data;
  saved["features"] = options.features;
  saved["conditions"] = options.conditions;
  saved["layers"] = options.layers;
  saved["hidden_layers"] = options.hidden_layers;
  saved["activation"] = static_cast<std::int64_t>(options.activation);
  saved["scale_limit"] = options.scale_limit;
  saved["float64"] = options.float64;
}

FlowOptions saved_options(torch::autograd::AutogradContext* context) {
  auto& saved = context->saved_data;
  return {.features = saved["features"].toInt(),
          .conditions = saved["conditions"].toInt(),
          .layers = saved["layers"].toInt(),
          .hidden_layers = saved["hidden_layers"].toInt(),
          .scale_limit = saved["scale_limit"].toDouble(),
          .activation = static_cast<Activation>(saved["activation"].toInt()),
          .float64 = saved["float64"].toBool()};
}

/// Slopes of all inputs by tensor operations, to be differentiated again. \param cotangent [n]
torch::autograd::variable_list graph_slopes(const FlowOptions& options,
                                            const torch::autograd::variable_list& inputs,
                                            const Tensor& cotangent) {
  const Parts parts = Parts::of(options, inputs);
  const Tensor value = graph_log_prob(options, parts.x, parts.condition, parts.weights);
  torch::autograd::variable_list wanted, result;
  for (const Tensor& input : inputs) {
    if (input.requires_grad()) wanted.push_back(input);
  }
  const auto slopes = torch::autograd::grad({value}, wanted, {cotangent}, true, true, true);
  auto next = slopes.begin();
  for (const Tensor& input : inputs) result.push_back(input.requires_grad() ? *next++ : Tensor());
  return result;
}

torch::autograd::variable_list kernel_slopes(const FlowOptions& options, const Parts& parts,
                                             const Tensor& cotangent, Tensor& log_prob) {
  detail::FlowGradients slopes = detail::flow_gradients(options, parts.x, parts.condition,
                                                        parts.weights, cotangent.contiguous());
  log_prob = slopes.log_prob;
  return Parts{slopes.x, slopes.condition, std::move(slopes.weights)}.all();
}

/// log_det - |z|^2 / 2 by the kernel, with its gradient.
class KernelLogProb : public torch::autograd::Function<KernelLogProb> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context, at::TensorList inputs,
                        const FlowOptions& options) {
    context->save_for_backward(inputs.vec());
    save_options(options, context);
    const Parts parts = Parts::of(options, inputs.vec());
    return detail::flow_log_prob(options, parts.x, parts.condition, parts.weights);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& cotangents) {
    const FlowOptions options = saved_options(context);
    const torch::autograd::variable_list inputs = context->get_saved_variables();
    Tensor log_prob;
    torch::autograd::variable_list result =
        at::GradMode::is_enabled()
            ? graph_slopes(options, inputs, cotangents[0])
            : kernel_slopes(options, Parts::of(options, inputs), cotangents[0], log_prob);
    result.emplace_back();  // of the options
    return result;
  }
};

/// sum_i w_i (log_det - |z|^2 / 2)_i, whose gradient is taken on the way: one pass forward less.
class KernelTotal : public torch::autograd::Function<KernelTotal> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context, at::TensorList inputs,
                        const Tensor& event_weights, const FlowOptions& options) {
    Tensor log_prob;
    std::vector<Tensor> saved =
        kernel_slopes(options, Parts::of(options, inputs.vec()), event_weights, log_prob);
    saved.push_back(log_prob);
    saved.insert(saved.end(), inputs.begin(), inputs.end());
    saved.push_back(event_weights);
    context->save_for_backward(saved);
    save_options(options, context);
    return at::dot(log_prob, event_weights);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& cotangents) {
    const FlowOptions options = saved_options(context);
    const torch::autograd::variable_list saved = context->get_saved_variables();
    const auto count = static_cast<std::ptrdiff_t>(saved.size() / 2 - 1);
    const torch::autograd::variable_list slopes(saved.begin(), saved.begin() + count),
        inputs(saved.begin() + count + 1, saved.end() - 1);
    const Tensor& by = cotangents[0];
    torch::autograd::variable_list result;
    if (at::GradMode::is_enabled()) {
      result = graph_slopes(options, inputs, by * saved.back());
      result.push_back(by * saved[static_cast<std::size_t>(count)]);
    } else {
      for (const Tensor& slope : slopes) result.push_back(slope * by);
      result.push_back(saved[static_cast<std::size_t>(count)] * by);
    }
    result.emplace_back();  // of the options
    return result;
  }
};

}  // namespace

FlowImpl::FlowImpl(FlowOptions options) : options_(options) {
  require(options_.features > 0 && options_.layers > 0 && options_.hidden > 0 &&
              options_.hidden_layers >= 0 && options_.conditions >= 0,
          "sizes must be positive", k_where);
  require(options_.scale_limit > 0.0, "the limit of scales must be positive", k_where);
  require(options_.kind == FlowKind::affine ||
              (options_.bins > 0 && options_.bins <= 500 && options_.tail_bound > 0.0),
          "a spline needs 1 to 500 bins and a positive bound", k_where);
  for (std::int64_t layer = 0; layer < options_.layers; ++layer) add_layer(layer);
}

void FlowImpl::add_layer(std::int64_t number) {
  const detail::FlowSplit split = detail::flow_split(options_.features, number);
  const std::string name = "layer" + std::to_string(number);
  auto in = static_cast<std::int64_t>(split.kept.size()) + options_.conditions;
  for (std::int64_t k = 0; k <= options_.hidden_layers; ++k) {
    const bool last = k == options_.hidden_layers;
    const std::int64_t out =
        last ? static_cast<std::int64_t>(split.changed.size()) * numbers_of(options_)
             : options_.hidden;
    // The last one starts at 0: the identity.
    const Tensor weights =
        last ? at::zeros({out, in}, type_of(options_))
             : initial_weights(out, in, options_, number * (options_.hidden_layers + 1) + k);
    const std::string end = std::to_string(k);
    weights_.push_back(register_parameter(name + "_weight" + end, weights));
    weights_.push_back(
        register_parameter(name + "_bias" + end, at::zeros({out}, type_of(options_))));
    in = out;
  }
}

void FlowImpl::check(const Tensor& x, const Tensor& condition) const {
  detail::require_density_inputs(x, condition, options_.features, options_.conditions, k_where);
}

Tensor FlowImpl::in_type(const Tensor& tensor) const {
  return tensor.defined() ? tensor.to(type_of(options_)).contiguous() : tensor;
}

FlowImpl::Image FlowImpl::through(const Tensor& events, const Tensor& conditions, bool backwards) {
  check(events, conditions);
  const Tensor x = in_type(events), condition = in_type(conditions);
  if (at::GradMode::is_enabled() || !detail::has_flow_kernel(options_, x)) {
    return graph(options_, x, condition, weights_, backwards);
  }
  const detail::FlowValues image = detail::flow_values(options_, x, condition, weights_, backwards);
  return {image.value, image.log_det};
}

FlowImpl::Image FlowImpl::forward(const Tensor& x, const Tensor& condition) {
  return through(x, condition, false);
}

FlowImpl::Image FlowImpl::inverse(const Tensor& z, const Tensor& condition) {
  return through(z, condition, true);
}

double FlowImpl::constant() const {
  return 0.5 * static_cast<double>(options_.features) * std::log(2.0 * std::numbers::pi);
}

Tensor FlowImpl::log_prob(const Tensor& events, const Tensor& conditions) {
  check(events, conditions);
  const Parts parts{in_type(events), in_type(conditions), weights_};
  if (!detail::has_flow_kernel(options_, parts.x)) {
    return graph_log_prob(options_, parts.x, parts.condition, weights_) - constant();
  }
  if (!at::GradMode::is_enabled()) {
    return detail::flow_log_prob(options_, parts.x, parts.condition, weights_).sub_(constant());
  }
  const std::vector<Tensor> inputs = parts.all();
  return KernelLogProb::apply(at::TensorList(inputs), options_) - constant();
}

Tensor FlowImpl::total_loss(const Tensor& events, const Tensor& conditions, const Tensor& weights,
                            std::uint64_t seed) {
  check(events, conditions);
  const Parts parts{in_type(events), in_type(conditions), weights_};
  if (!at::GradMode::is_enabled() || !detail::has_flow_kernel(options_, parts.x)) {
    return DensityImpl::total_loss(events, conditions, weights, seed);
  }
  const std::vector<Tensor> inputs = parts.all();
  const Tensor w = in_type(weights);
  return w.sum() * constant() - KernelTotal::apply(at::TensorList(inputs), w, options_);
}

Tensor FlowImpl::sample(std::int64_t n, const Tensor& condition, std::uint64_t seed) {
  const at::NoGradGuard no_graph;
  const Tensor z = normal_rows(n, options_.features, seed, k_sample_family);
  const at::Device device = parameters().front().device();
  return inverse(z.to(device), condition).value;
}

std::vector<std::int64_t> FlowImpl::changed(std::int64_t layer) const {
  require(layer >= 0 && layer < options_.layers, "no layer " + std::to_string(layer), k_where);
  return detail::flow_split(options_.features, layer).changed;
}

void FlowImpl::pretty_print(std::ostream& stream) const {
  stream << "slalom::Flow(" << options_.features << " features, " << options_.layers
         << (options_.kind == FlowKind::affine ? " affine" : " spline") << " layers of "
         << options_.hidden_layers << " x " << options_.hidden << ")";
}

}  // namespace slalom
