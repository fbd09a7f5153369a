// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/zeros_like.h>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "slalom/core/random.hpp"

/// \file
/// What trainings share that give the same result for any number of threads.
namespace slalom::detail {

/// 0 ... n - 1 in an order of its own.
inline std::vector<std::int64_t> permutation(std::int64_t n, std::uint64_t seed,
                                             std::uint64_t index, std::uint32_t family) {
  std::vector<std::int64_t> result(static_cast<std::size_t>(n));
  std::iota(result.begin(), result.end(), 0);
  RandomStream random(seed, index, family);
  for (std::size_t i = result.size(); i > 1; --i) {
    std::swap(result[i - 1], result[random.bits() % i]);  // bias below 2^-40
  }
  return result;
}

/// All weights of a module as one vector, of which its parameters are views, until it is destroyed.
class FlatParameters {
 public:
  explicit FlatParameters(std::vector<Tensor> parameters) : parameters_(std::move(parameters)) {
    std::vector<Tensor> pieces;
    for (const Tensor& parameter : parameters_) pieces.push_back(parameter.detach().flatten());
    values = at::cat(pieces);
    std::int64_t place = 0;
    for (Tensor& parameter : parameters_) {
      const std::int64_t next = place + parameter.numel();
      parameter.set_data(values.slice(0, place, next).view(parameter.sizes()));
      place = next;
    }
  }
  FlatParameters(const FlatParameters&) = delete;
  FlatParameters& operator=(const FlatParameters&) = delete;
  ~FlatParameters() {
    for (Tensor& parameter : parameters_) parameter.set_data(parameter.detach().clone());
  }
  const std::vector<Tensor>& parameters() const { return parameters_; }

  Tensor values;

 private:
  std::vector<Tensor> parameters_;
};

/// Loshchilov and Hutter's, arXiv:1711.05101, on one vector.
class AdamW {
 public:
  AdamW(const Tensor& values, double weight_decay)
      : values_(values),
        first_(at::zeros_like(values)),
        second_(at::zeros_like(values)),
        weight_decay_(weight_decay) {}

  void step(const Tensor& gradient, double rate) {
    constexpr double k_first = 0.9, k_second = 0.999, k_epsilon = 1e-8;
    const auto t = static_cast<double>(++steps_);
    first_.mul_(k_first).add_(gradient, 1.0 - k_first);
    second_.mul_(k_second).addcmul_(gradient, gradient, 1.0 - k_second);
    const Tensor width =
        at::sqrt(second_).mul_(1.0 / std::sqrt(1.0 - std::pow(k_second, t))).add_(k_epsilon);
    if (weight_decay_ > 0.0) values_.mul_(1.0 - rate * weight_decay_);
    values_.addcdiv_(first_, width, -rate / (1.0 - std::pow(k_first, t)));
  }

 private:
  Tensor values_, first_, second_;
  double weight_decay_;
  std::int64_t steps_ = 0;
};

/// One thread for what cannot be cut in chunks.
class OneThread {
 public:
  OneThread() : before_(at::get_num_threads()) {
    if (before_ != 1) at::set_num_threads(1);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;
  ~OneThread() {
    if (before_ != 1) at::set_num_threads(before_);
  }

 private:
  int before_;
};

}  // namespace slalom::detail
