// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/flow_matching.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <string>
#include <utility>

#include "check.hpp"
#include "density_check.hpp"
#include "slalom/core/random.hpp"
#include "to_tensor.hpp"

namespace slalom {

namespace {

using detail::require;
using detail::to_tensor;

constexpr const char* k_where = "flow_matching";

// Families of random numbers of the seed.
constexpr std::uint32_t k_weight_family = 0xf2000001, k_sample_family = 0xf2000002,
                        k_path_family = 0xf2000003, k_time_family = 0xf2000004;

at::ScalarType type_of(const FlowMatchingOptions& options) {
  return options.float64 ? at::kDouble : at::kFloat;
}

bool is_smooth(Activation activation) {
  return activation == Activation::silu || activation == Activation::tanh ||
         activation == Activation::sigmoid || activation == Activation::softplus;
}

/// The derivative of a smooth activation.
Tensor slope_of(const Tensor& x, Activation activation) {
  Tensor s = at::sigmoid(activation == Activation::tanh ? 2.0 * x : x);
  switch (activation) {
    case Activation::silu:
      return s + s * x * (1.0 - s);
    case Activation::tanh:
      return 4.0 * s * (1.0 - s);
    case Activation::sigmoid:
      return s * (1.0 - s);
    default:
      break;
  }
  return s;  // softplus
}

/// One node of a Runge-Kutta step: where it is, and its share of the whole step.
struct Node {
  double time;    // in steps, also the factor of the node before it
  double weight;  // of its slope
};

std::vector<Node> nodes_of(OdeMethod method) {
  if (method == OdeMethod::midpoint) return {{0.0, 0.0}, {0.5, 1.0}};
  return {{0.0, 1.0 / 6.0}, {0.5, 1.0 / 3.0}, {0.5, 1.0 / 3.0}, {1.0, 1.0 / 6.0}};
}

/// Uniform numbers [n], of which row i follows from seed and i.
Tensor uniform_rows(std::int64_t n, std::uint64_t seed) {
  Tensor result = at::empty({n}, at::kDouble);
  auto* place = result.data_ptr<double>();
  for (std::int64_t i = 0; i < n; ++i) {
    place[i] = RandomStream(seed, static_cast<std::uint64_t>(i), k_time_family).uniform();
  }
  return result;
}

}  // namespace

FlowMatchingImpl::FlowMatchingImpl(FlowMatchingOptions options) : options_(options) {
  require(options_.features > 0 && options_.hidden > 0 && options_.hidden_layers >= 0 &&
              options_.conditions >= 0 && options_.frequencies >= 0,
          "sizes must be positive", k_where);
  require(is_smooth(options_.activation),
          "the activation must be smooth: silu, tanh, sigmoid or softplus", k_where);
  std::int64_t in = options_.features + options_.conditions + 1 + 2 * options_.frequencies;
  for (std::int64_t k = 0; k <= options_.hidden_layers; ++k) {
    const bool last = k == options_.hidden_layers;
    const std::int64_t out = last ? options_.features : options_.hidden;
    RandomStream random(options_.seed, static_cast<std::uint64_t>(k), k_weight_family);
    std::vector<double> values(static_cast<std::size_t>(in * out));
    const double sigma = 1.0 / std::sqrt(static_cast<double>(in));
    for (double& value : values) value = sigma * random.normal();
    const Tensor weights = to_tensor(values).to(type_of(options_)).reshape({out, in});
    const std::string number = std::to_string(k);
    weights_.push_back(register_parameter("weight" + number, weights));
    biases_.push_back(register_parameter("bias" + number, at::zeros({out}, type_of(options_))));
    in = out;
  }
}

void FlowMatchingImpl::check(const Tensor& x, const Tensor& condition) const {
  detail::require_density_inputs(x, condition, options_.features, options_.conditions, k_where);
}

Tensor FlowMatchingImpl::inputs(const Tensor& x, const Tensor& t, const Tensor& condition) const {
  // x first: flux() takes its derivative by the first columns of the weights.
  std::vector<Tensor> columns{x};
  if (condition.defined()) columns.push_back(condition.to(x.scalar_type()));
  const Tensor time = t.to(x.scalar_type()).unsqueeze(1);
  columns.push_back(time);
  if (options_.frequencies > 0) {
    const Tensor k = at::arange(1, options_.frequencies + 1, x.options());
    const Tensor phase = time * (k * std::numbers::pi).unsqueeze(0);
    columns.push_back(at::sin(phase));
    columns.push_back(at::cos(phase));
  }
  return at::cat(columns, 1);
}

Tensor FlowMatchingImpl::velocity(const Tensor& events, const Tensor& t, const Tensor& condition) {
  check(events, condition);
  require(t.dim() == 1 && t.size(0) == events.size(0), "times [n] expected", k_where);
  const Tensor x = events.to(type_of(options_));
  return mlp(inputs(x, t, condition), weights_, biases_, options_.activation);
}

FlowMatchingImpl::Flux FlowMatchingImpl::flux(const Tensor& events, double t,
                                              const Tensor& condition) {
  check(events, condition);
  const Tensor x = events.to(type_of(options_));
  const std::int64_t n = x.size(0), f = options_.features;
  Tensor value = inputs(x, at::full({n}, t, x.options()), condition);
  // Derivatives by the f features, one after the other [f, n, width].
  Tensor tangent;
  for (std::size_t k = 0; k < weights_.size(); ++k) {
    const Tensor raw = at::linear(value, weights_[k], biases_[k]);
    tangent = k == 0 ? weights_[0].slice(1, 0, f).t().unsqueeze(1).expand({f, n, raw.size(1)})
                     : at::matmul(tangent, weights_[k].t());
    value = raw;
    if (k + 1 == weights_.size()) break;
    value = activate(raw, options_.activation);
    tangent = tangent * slope_of(raw, options_.activation);
  }
  return {value, tangent.diagonal(0, 0, 2).sum(1)};
}

Tensor FlowMatchingImpl::log_prob(const Tensor& events, const Tensor& condition) {
  check(events, condition);
  require(options_.steps > 0, "the number of steps must be positive", k_where);
  const std::vector<Node> nodes = nodes_of(options_.method);
  Tensor x = events.to(type_of(options_)), change = at::zeros({x.size(0)}, x.options());
  const double step = 1.0 / static_cast<double>(options_.steps);
  for (std::int64_t k = 0; k < options_.steps; ++k) {  // from t = 1 to 0
    const double start = 1.0 - static_cast<double>(k) * step;
    Tensor slope, sum;
    for (const Node& node : nodes) {
      const Tensor here = node.time > 0.0 ? x - (node.time * step) * slope : x;
      const Flux now = flux(here, start - node.time * step, condition);
      slope = now.velocity;
      if (node.weight == 0.0) continue;
      sum = sum.defined() ? sum + node.weight * slope : node.weight * slope;
      change = change + (node.weight * step) * now.divergence;
    }
    x = x - step * sum;
  }
  const double constant =
      0.5 * static_cast<double>(options_.features) * std::log(2.0 * std::numbers::pi);
  return -0.5 * (x * x).sum(1) - constant - change;
}

Tensor FlowMatchingImpl::sample(std::int64_t n, const Tensor& condition, std::uint64_t seed) {
  require(options_.steps > 0, "the number of steps must be positive", k_where);
  const at::NoGradGuard no_graph;
  const std::vector<Node> nodes = nodes_of(options_.method);
  Tensor x = normal_rows(n, options_.features, seed, k_sample_family)
                 .to(weights_.front().device(), type_of(options_));
  check(x, condition);
  const double step = 1.0 / static_cast<double>(options_.steps);
  for (std::int64_t k = 0; k < options_.steps; ++k) {
    const double start = static_cast<double>(k) * step;
    Tensor slope, sum;
    for (const Node& node : nodes) {
      const Tensor here = node.time > 0.0 ? x + (node.time * step) * slope : x;
      slope = velocity(here, at::full({n}, start + node.time * step, x.options()), condition);
      if (node.weight == 0.0) continue;
      sum = sum.defined() ? sum + node.weight * slope : node.weight * slope;
    }
    x = x + step * sum;
  }
  return x;
}

Tensor FlowMatchingImpl::losses(const Tensor& events, const Tensor& condition, std::uint64_t seed) {
  check(events, condition);
  const std::int64_t n = events.size(0);
  const at::TensorOptions options = weights_.front().options().requires_grad(false);
  return path_losses(events, condition, uniform_rows(n, seed).to(options),
                     normal_rows(n, options_.features, seed, k_path_family).to(options));
}

Tensor FlowMatchingImpl::path_losses(const Tensor& events, const Tensor& condition, const Tensor& t,
                                     const Tensor& x_0) {
  check(events, condition);
  require(x_0.sizes() == events.sizes() && t.dim() == 1 && t.size(0) == events.size(0),
          "times [n] and normal numbers [n, f] expected", k_where);
  const Tensor x_1 = events.to(type_of(options_)), time = t.unsqueeze(1),
               x_t = (1.0 - time) * x_0 + time * x_1;
  const Tensor miss = velocity(x_t, t, condition) - (x_1 - x_0);
  return (miss * miss).sum(1);
}

}  // namespace slalom
