// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/adversary.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/ones.h>
#include <cmath>
#include <numbers>
#include <torch/csrc/autograd/custom_function.h>
#include <utility>

#include "check.hpp"
#include "to_tensor.hpp"

namespace slalom {

namespace {

using detail::require;
using detail::shape_of;
using detail::to_tensor;

constexpr const char* k_where = "adversary";
/// Widths between e^-7 and e^7 of half a range: an adversary that becomes sure of itself shall not
/// end in numbers that are not finite.
constexpr double k_log_width = 7.0;

class ReverseGradient : public torch::autograd::Function<ReverseGradient> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x, double scale) {
    context->saved_data["scale"] = scale;
    return x.view_as(x);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    return {gradients.front() * -context->saved_data["scale"].toDouble(), Tensor()};
  }
};

std::int64_t outputs_of(const AdversaryOptions& options) {
  const auto p = static_cast<std::int64_t>(options.parameters.size());
  switch (options.type) {
    case AdversaryKind::mse:
      return p;
    case AdversaryKind::gaussian:
      return 2 * p;
    case AdversaryKind::mixture:
      break;
  }
  return options.components * (1 + 2 * p);
}

/// -log of a Gaussian, element by element.
Tensor minus_log_gauss(const Tensor& x, const Tensor& mean, const Tensor& raw_log_width) {
  const Tensor log_width = at::clamp(raw_log_width, -k_log_width, k_log_width),
               pull = (x - mean) * at::exp(-log_width);
  return 0.5 * pull * pull + log_width + 0.5 * std::log(2.0 * std::numbers::pi);
}

}  // namespace

Tensor reverse_gradient(const Tensor& x, double scale) { return ReverseGradient::apply(x, scale); }

AdversaryImpl::AdversaryImpl(AdversaryOptions options) : options_(std::move(options)) {
  require(!options_.parameters.empty(), "no parameter to tell", k_where);
  require(options_.inputs > 0 && options_.components > 0, "sizes must be positive", k_where);
  std::vector<double> middle, half;
  for (const ParameterInput& parameter : options_.parameters) {
    require(parameter.low < parameter.high, "an empty range of parameter '" + parameter.name + "'",
            k_where);
    middle.push_back(0.5 * (parameter.low + parameter.high));
    half.push_back(0.5 * (parameter.high - parameter.low));
  }
  middle_ = register_buffer("parameter_mid", to_tensor(middle));
  half_ = register_buffer("parameter_half", to_tensor(half));
  network_ = register_module("network", Mlp(MlpOptions{.inputs = options_.inputs,
                                                       .hidden = options_.hidden,
                                                       .outputs = outputs_of(options_),
                                                       .activation = options_.activation,
                                                       .seed = options_.seed,
                                                       .score = Score::linear,
                                                       .float64 = options_.float64}));
  // Widths start near half a range, whatever the scores are: -log q of a network that is sure of
  // itself by accident is in the thousands.
  const at::NoGradGuard no_graph;
  network_->named_parameters()["weight" + std::to_string(options_.hidden.size())].mul_(0.1);
}

Tensor AdversaryImpl::outputs(const Tensor& scores) {
  return network_->outputs(scores.dim() == 1 ? scores.unsqueeze(1) : scores, {});
}

Tensor AdversaryImpl::losses(const Tensor& scores, const Tensor& theta) {
  const auto p = static_cast<std::int64_t>(options_.parameters.size());
  require(theta.dim() == 2 && theta.size(0) == scores.size(0) && theta.size(1) == p,
          "theta [" + std::to_string(scores.size(0)) + ", " + std::to_string(p) +
              "] expected, found " + shape_of(theta),
          k_where);
  const Tensor out = outputs(scores).to(at::kDouble), x = (theta - middle_) / half_;
  if (options_.type == AdversaryKind::mse) {
    const Tensor distance = (x - out) * half_;
    return (distance * distance).sum(1);
  }
  const Tensor units = at::log(half_).sum();
  if (options_.type == AdversaryKind::gaussian) {
    return minus_log_gauss(x, out.slice(1, 0, p), out.slice(1, p)).sum(1) + units;
  }
  const std::int64_t n = scores.size(0), k = options_.components;
  const Tensor shares = at::log_softmax(out.slice(1, 0, k), 1),
               mean = out.slice(1, k, k + k * p).reshape({n, k, p}),
               log_width = out.slice(1, k + k * p).reshape({n, k, p}),
               each = minus_log_gauss(x.unsqueeze(1), mean, log_width).sum(2);
  return units - at::logsumexp(shares - each, {1});
}

Tensor AdversaryImpl::loss(const Tensor& scores, const Tensor& theta, const Tensor& weights) {
  const Tensor each = losses(scores, theta);
  if (!weights.defined()) return each.mean();
  require(weights.sizes() == each.sizes(), "weights [n] expected", k_where);
  const Tensor total = weights.sum();
  if (!(total.item<double>() > 0.0)) {
    throw Error(ErrorKind::numerical, "the weights have no positive sum", k_where);
  }
  return (weights * each).sum() / total;
}

}  // namespace slalom
