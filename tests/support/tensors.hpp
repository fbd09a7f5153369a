// SPDX-License-Identifier: Apache-2.0
/// \file
/// Tensors from numbers and back.
#pragma once

#include "slalom/modules/torch.hpp"

#include <ATen/ops/from_blob.h>
#include <cmath>
#include <cstdint>
#include <vector>

namespace slalom::test {

/// float64 vector.
inline Tensor tensor(const std::vector<double>& values) {
  return at::from_blob(const_cast<double*>(values.data()),
                       {static_cast<std::int64_t>(values.size())}, at::kDouble)
      .clone();
}

/// The numbers of a tensor, in order.
inline std::vector<double> values(const Tensor& tensor) {
  const Tensor flat = tensor.detach().to(at::kCPU, at::kDouble).contiguous();
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

/// Largest absolute difference of two tensors of one size.
inline double distance(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = values(a), y = values(b);
  if (x.size() != y.size()) return INFINITY;
  double worst = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) worst = std::max(worst, std::abs(x[i] - y[i]));
  return worst;
}

/// n numbers of a fixed sequence that fills (0, 1) evenly.
inline Tensor sequence(std::int64_t n, double start = 0.5) {
  std::vector<double> result;
  double x = start;
  for (std::int64_t i = 0; i < n; ++i) result.push_back(x = std::fmod(x + 0.6180339887498949, 1.0));
  return tensor(result);
}

}  // namespace slalom::test
