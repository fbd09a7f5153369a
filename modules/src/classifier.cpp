// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/classifier.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/elu.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/isnan.h>
#include <ATen/ops/leaky_relu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <cmath>
#include <ostream>
#include <utility>

#include "check.hpp"
#include "slalom/core/random.hpp"
#include "to_tensor.hpp"

namespace slalom {

namespace {

using detail::require;
using detail::shape_of;
using detail::to_tensor;

constexpr const char* k_where = "classifier";

/// Initial weights [out, in], from a stream of their own.
Tensor initial_weights(std::int64_t in, std::int64_t out, const MlpOptions& options,
                       std::uint64_t layer) {
  const bool he = options.initialisation == Initialisation::he_normal ||
                  options.initialisation == Initialisation::he_uniform;
  const bool uniform = options.initialisation == Initialisation::he_uniform ||
                       options.initialisation == Initialisation::xavier_uniform;
  const double sigma = std::sqrt(2.0 / static_cast<double>(he ? in : in + out));
  RandomStream random(options.seed, layer);
  std::vector<double> values(static_cast<std::size_t>(in * out));
  for (double& value : values) {
    value = sigma * (uniform ? std::sqrt(3.0) * (2.0 * random.uniform() - 1.0) : random.normal());
  }
  return to_tensor(values).to(options.float64 ? at::kDouble : at::kFloat).reshape({out, in});
}

/// Parameters [n, p] of n events.
Tensor rows(const Tensor& theta, std::int64_t n, std::int64_t p) {
  require(theta.defined() && (theta.dim() == 1 || theta.dim() == 2) && theta.size(-1) == p &&
              (theta.dim() == 1 || theta.size(0) == n),
          "theta [" + std::to_string(p) + "] or [" + std::to_string(n) + ", " + std::to_string(p) +
              "] expected, found " + (theta.defined() ? shape_of(theta) : "none"),
          k_where);
  return theta.dim() == 1 ? theta.unsqueeze(0).expand({n, p}) : theta;
}

}  // namespace

bool is_piecewise_linear(Activation activation) {
  return activation == Activation::relu || activation == Activation::leaky_relu;
}

Tensor activate(const Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::relu:
      return at::relu(x);
    case Activation::leaky_relu:
      return at::leaky_relu(x, 0.01);
    case Activation::elu:
      return at::elu(x);
    case Activation::silu:
      return at::silu(x);
    case Activation::gelu:
      return at::gelu(x);
    case Activation::softplus:
      return at::softplus(x);
    case Activation::tanh:
      return at::tanh(x);
    case Activation::sigmoid:
      break;
  }
  return at::sigmoid(x);
}

Tensor to_score(const Tensor& outputs, Score score, double temperature) {
  require(outputs.dim() == 2, "outputs [events, K] expected, found " + shape_of(outputs), k_where);
  require(temperature > 0.0, "the temperature must be positive", k_where);
  const Tensor scaled = temperature == 1.0 ? outputs : outputs / temperature;
  const Tensor result = score == Score::sigmoid   ? at::sigmoid(scaled)
                        : score == Score::softmax ? at::softmax(scaled, 1)
                                                  : scaled;
  return result.size(1) == 1 ? result.squeeze(1) : result;
}

Tensor mlp(const Tensor& x, const std::vector<Tensor>& weights, const std::vector<Tensor>& biases,
           Activation activation) {
  Tensor value = x;
  for (std::size_t layer = 0; layer < weights.size(); ++layer) {
    value = at::linear(value, weights[layer], biases[layer]);
    if (layer + 1 < weights.size()) value = activate(value, activation);
  }
  return value;
}

Tensor ClassifierImpl::forward(const Tensor& features, const Tensor& theta) {
  return to_score(outputs(features, theta), score, temperature);
}

MlpImpl::MlpImpl(MlpOptions options) : options_(std::move(options)) {
  score = options_.score;
  temperature = options_.temperature;
  require(options_.inputs > 0 && options_.outputs > 0, "sizes must be positive", k_where);
  require(temperature > 0.0, "the temperature must be positive", k_where);
  const at::ScalarType type = options_.float64 ? at::kDouble : at::kFloat;
  mean_ = register_buffer("mean", at::zeros({options_.inputs}, type));
  scale_ = register_buffer("scale", at::ones({options_.inputs}, type));
  std::vector<double> mid, half;
  for (const ParameterInput& parameter : options_.parameters) {
    require(parameter.low < parameter.high, "an empty range of parameter '" + parameter.name + "'",
            k_where);
    mid.push_back(0.5 * (parameter.low + parameter.high));
    half.push_back(0.5 * (parameter.high - parameter.low));
  }
  parameter_mid_ = register_buffer("parameter_mid", to_tensor(mid).to(type));
  parameter_half_ = register_buffer("parameter_half", to_tensor(half).to(type));
  std::vector<std::int64_t> sizes = options_.hidden;
  sizes.push_back(options_.outputs);
  std::int64_t in = options_.inputs + static_cast<std::int64_t>(options_.parameters.size());
  for (std::size_t layer = 0; layer < sizes.size(); ++layer) {
    require(sizes[layer] > 0, "sizes must be positive", k_where);
    const std::string number = std::to_string(layer);
    weights_.push_back(
        register_parameter("weight" + number, initial_weights(in, sizes[layer], options_, layer)));
    biases_.push_back(register_parameter("bias" + number, at::zeros({sizes[layer]}, type)));
    in = sizes[layer];
  }
}

Tensor MlpImpl::outputs(const Tensor& features, const Tensor& theta) {
  require(features.dim() == 2 && features.size(1) == options_.inputs,
          "features [events, " + std::to_string(options_.inputs) + "] expected, found " +
              shape_of(features),
          k_where);
  const at::ScalarType type = weights_.front().scalar_type();
  Tensor x = (features.to(type) - mean_) / scale_;
  const auto p = static_cast<std::int64_t>(options_.parameters.size());
  require(p > 0 || !theta.defined(), "theta for a network without parameters", k_where);
  if (p > 0) {
    const Tensor all = rows(theta, features.size(0), p).to(type);
    x = at::cat({x, (all - parameter_mid_) / parameter_half_}, 1);
  }
  return mlp(x, weights_, biases_, options_.activation);
}

bool MlpImpl::piecewise_linear() const {
  return !options_.hidden.empty() && is_piecewise_linear(options_.activation);
}

void MlpImpl::fit_normalisation(const Tensor& features, const Tensor& weights) {
  require(features.dim() == 2 && features.size(1) == options_.inputs && features.size(0) > 0,
          "features [events, " + std::to_string(options_.inputs) + "] expected, found " +
              shape_of(features),
          k_where);
  const at::NoGradGuard guard;
  const Tensor x = features.to(at::kDouble);
  if (at::isnan(x).any().item<bool>()) {
    throw Error(ErrorKind::numerical, "NaN in the features to normalise by", k_where);
  }
  Tensor w = weights.defined() ? weights.to(at::kDouble).abs() : at::ones({x.size(0)}, x.options());
  w = (w / w.sum()).unsqueeze(1);
  const Tensor mean = (w * x).sum(0), variance = (w * (x - mean) * (x - mean)).sum(0);
  // A constant feature differs from its mean by rounding only.
  const Tensor varies = variance > 1e-24 * (mean * mean);
  mean_.copy_(mean);
  scale_.copy_(at::where(varies, at::sqrt(variance), at::ones_like(variance)));
}

void MlpImpl::pretty_print(std::ostream& stream) const {
  stream << "slalom::Mlp("
         << options_.inputs + static_cast<std::int64_t>(options_.parameters.size());
  for (const std::int64_t width : options_.hidden) stream << "-" << width;
  stream << "-" << options_.outputs << ")";
}

TwoNetworksImpl::TwoNetworksImpl(const MlpOptions& options, std::int64_t parameter,
                                 double threshold)
    : parameter_(parameter), threshold_(threshold) {
  require(parameter >= 0 && parameter < static_cast<std::int64_t>(options.parameters.size()),
          "no parameter number " + std::to_string(parameter) + " to choose a network by", k_where);
  score = options.score;
  temperature = options.temperature;
  MlpOptions lower = options;
  ++lower.seed;
  above = register_module("above", Mlp(options));
  below = register_module("below", Mlp(lower));
}

Tensor TwoNetworksImpl::outputs(const Tensor& features, const Tensor& theta) {
  const auto p = static_cast<std::int64_t>(above->options().parameters.size());
  const Tensor all = rows(theta, features.size(0), p);
  // One network is enough where all events have one theta.
  const Tensor is_above = all.select(1, parameter_).detach() >= threshold_;
  if (theta.dim() == 1 && features.size(0) > 0) {
    return is_above[0].item<bool>() ? above->outputs(features, theta)
                                    : below->outputs(features, theta);
  }
  return at::where(is_above.unsqueeze(1), above->outputs(features, theta),
                   below->outputs(features, theta));
}

bool TwoNetworksImpl::piecewise_linear() const { return above->piecewise_linear(); }

void TwoNetworksImpl::fit_normalisation(const Tensor& features, const Tensor& weights) {
  above->fit_normalisation(features, weights);
  below->fit_normalisation(features, weights);
}

EnsembleImpl::EnsembleImpl(std::vector<Classifier> members) : members_(std::move(members)) {
  require(!members_.empty(), "an ensemble without members", k_where);
  score = members_.front()->score;
  temperature = members_.front()->temperature;
  for (std::size_t i = 0; i < members_.size(); ++i) {
    register_module("member" + std::to_string(i), members_[i]);
  }
}

Tensor EnsembleImpl::outputs(const Tensor& features, const Tensor& theta) {
  Tensor sum = members_.front()->outputs(features, theta);
  for (std::size_t i = 1; i < members_.size(); ++i) {
    sum = sum + members_[i]->outputs(features, theta);
  }
  return sum / static_cast<double>(members_.size());
}

bool EnsembleImpl::piecewise_linear() const {
  for (const Classifier& member : members_) {
    if (member->piecewise_linear()) return true;
  }
  return false;
}

Tensor EnsembleImpl::spread(const Tensor& features, const Tensor& theta) {
  std::vector<Tensor> all;
  for (Classifier& member : members_) all.push_back(member->outputs(features, theta));
  const Tensor stacked = at::stack(all), deviation = stacked - stacked.mean({0}, true);
  const auto degrees = static_cast<double>(std::max<std::size_t>(members_.size() - 1, 1));
  return at::sqrt((deviation * deviation).sum(0) / degrees);
}

FrozenClassifierImpl::FrozenClassifierImpl(Classifier network, const Tensor& theta)
    : network_(std::move(network)), theta_(theta) {
  require(theta_.defined() && theta_.dim() == 1, "theta [p] expected", k_where);
  score = network_->score;
  temperature = network_->temperature;
  register_module("network", network_);
}

Tensor FrozenClassifierImpl::outputs(const Tensor& features, const Tensor& theta) {
  return network_->outputs(features, theta.defined() ? theta : theta_.to(features.device()));
}

bool FrozenClassifierImpl::piecewise_linear() const { return network_->piecewise_linear(); }

FunctionClassifierImpl::FunctionClassifierImpl(Function function, Score score_of,
                                               bool piecewise_linear)
    : function_(std::move(function)), piecewise_linear_(piecewise_linear) {
  score = score_of;
}

Tensor FunctionClassifierImpl::outputs(const Tensor& features, const Tensor& theta) {
  const Tensor value = function_(features, theta);
  require((value.dim() == 1 || value.dim() == 2) && value.size(0) == features.size(0),
          "the function returned " + shape_of(value) + " for features " + shape_of(features),
          k_where);
  return value.dim() == 1 ? value.unsqueeze(1) : value;
}

}  // namespace slalom
