// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/criteria.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <ATen/ops/cholesky_inverse.h>
#include <ATen/ops/diag.h>
#include <ATen/ops/linalg_cholesky_ex.h>
#include <ATen/ops/linalg_eigvalsh.h>
#include <ATen/ops/log.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <string>
#include <tuple>

#include "slalom/core/error.hpp"

namespace slalom {

namespace {

void require(bool condition, const char* message, const char* where) {
  if (!condition) throw Error(ErrorKind::usage, message, where);
}

Tensor lower_factor(const Tensor& matrix) {
  Tensor factor, info;
  std::tie(factor, info) = at::linalg_cholesky_ex(matrix);
  if (info.item<int>() != 0) {
    throw Error(ErrorKind::numerical, "the information is not positive definite", "criteria");
  }
  return factor;
}

Tensor diagonal_sum(const Tensor& matrix) { return at::diag(matrix).sum(); }

/// log (tr V^p / k)^(1/p), p a power of 2, of a matrix scaled by its trace.
Tensor log_power_mean(const Tensor& covariance, std::int64_t power) {
  const Tensor scale = diagonal_sum(covariance);
  Tensor matrix = covariance / scale;
  for (std::int64_t p = 1; p < power; p *= 2) matrix = matrix.matmul(matrix);
  const auto k = static_cast<double>(covariance.size(0));
  return at::log(scale) + at::log(diagonal_sum(matrix) / k) / static_cast<double>(power);
}

Tensor weights_or_ones(const Tensor& weights, const Tensor& labels) {
  if (!weights.defined()) return at::ones({labels.size(0)}, labels.options().dtype(at::kDouble));
  require(weights.dim() == 1 && weights.size(0) == labels.size(0), "weights [n] expected",
          "cross_entropy");
  return weights.to(at::kDouble);
}

}  // namespace

Tensor profiled_covariance(const Tensor& information, const std::vector<std::int64_t>& interest) {
  require(information.dim() == 2 && information.size(0) == information.size(1),
          "a square matrix expected", "criteria");
  require(!interest.empty(), "no parameter of interest", "criteria");
  Tensor which = at::zeros({static_cast<std::int64_t>(interest.size())}, at::kLong);
  for (std::size_t i = 0; i < interest.size(); ++i) {
    require(interest[i] >= 0 && interest[i] < information.size(0), "no such parameter", "criteria");
    require(std::count(interest.begin(), interest.end(), interest[i]) == 1,
            "a parameter of interest comes twice", "criteria");
    which[static_cast<std::int64_t>(i)] = interest[i];
  }
  which = which.to(information.device());
  const Tensor inverse = at::cholesky_inverse(lower_factor(information));
  return inverse.index_select(0, which).index_select(1, which);
}

Tensor design_loss(const Tensor& information, const std::vector<std::int64_t>& interest,
                   const DesignOptions& options) {
  Tensor covariance = profiled_covariance(information, interest);
  const auto k = static_cast<std::int64_t>(interest.size());
  if (!options.units.empty()) {
    require(options.units.size() == interest.size(), "one unit per parameter expected", "units");
    Tensor units = at::zeros({k}, at::kDouble);
    for (std::int64_t i = 0; i < k; ++i) {
      const double unit = options.units[static_cast<std::size_t>(i)];
      require(unit > 0.0, "units have to be positive", "units");
      units[i] = unit;
    }
    units = units.to(covariance.device());
    covariance = covariance / (units.unsqueeze(0) * units.unsqueeze(1));
  }
  switch (options.criterion) {
    case Criterion::a:
      return 0.5 * at::log(diagonal_sum(covariance) / static_cast<double>(k));
    case Criterion::d:
      return at::log(at::diag(lower_factor(covariance))).sum() / static_cast<double>(k);
    case Criterion::e:
      break;
  }
  const std::int64_t p = options.power;
  require(p >= 0 && (p & (p - 1)) == 0, "0 or a power of 2 expected", "power");
  if (p == 0) return 0.5 * at::log(at::linalg_eigvalsh(covariance)[k - 1]);
  return 0.5 * log_power_mean(covariance, p);
}

Tensor cross_entropy(const Tensor& outputs, const Tensor& labels, const Tensor& weights) {
  require(labels.dim() == 1 && outputs.dim() >= 1 && outputs.size(0) == labels.size(0),
          "outputs and labels of the same events expected", "cross_entropy");
  const Tensor w = weights_or_ones(weights, labels);
  const Tensor total = w.sum();
  if (total.item<double>() == 0.0) {
    throw Error(ErrorKind::numerical, "the weights have the sum 0", "cross_entropy");
  }
  Tensor each;
  if (outputs.dim() == 1) {
    each = at::binary_cross_entropy_with_logits(outputs, labels.to(outputs.scalar_type()), {}, {},
                                                at::Reduction::None);
  } else {
    const Tensor log_p = at::log_softmax(outputs, 1);
    each = -log_p.gather(1, labels.to(at::kLong).unsqueeze(1)).squeeze(1);
  }
  return (w * each.to(at::kDouble)).sum() / total;
}

Tensor balanced_weights(const Tensor& labels, const Tensor& weights) {
  require(labels.dim() == 1 && labels.numel() > 0, "labels [n] expected", "cross_entropy");
  const Tensor w = weights_or_ones(weights, labels), index = labels.to(at::kLong);
  const std::int64_t classes = index.max().item<std::int64_t>() + 1;
  const Tensor sums = at::zeros({classes}, w.options()).index_add(0, index, w);
  if (!(sums > 0.0).all().item<bool>()) {
    throw Error(ErrorKind::numerical, "a label has no positive weight", "cross_entropy");
  }
  return w / (sums * static_cast<double>(classes)).index_select(0, index);
}

Tensor mixture(const std::vector<LossTerm>& terms, std::int64_t step) {
  Tensor sum;
  for (const LossTerm& term : terms) {
    const double weight = value_at(term.weight, step);
    if (weight == 0.0) continue;
    const Tensor value = weight * term.loss();
    sum = sum.defined() ? sum + value : value;
  }
  require(sum.defined(), "no loss has a weight at this step", "mixture");
  return sum;
}

Schedule until(std::int64_t step) { return {ScheduleShape::linear, 1.0, 0.0, 0, step, 1.0}; }

Schedule from(std::int64_t step) { return {ScheduleShape::linear, 0.0, 1.0, 0, step, 0.0}; }

}  // namespace slalom
