// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>
#include <vector>

/// \file
/// From tensors to numbers.
namespace slalom::experiment {

/// All elements in order, on the CPU, without a graph.
inline std::vector<double> to_vector(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.detach().to(at::kCPU, at::kDouble).contiguous().flatten();
  const auto* first = flat.data_ptr<double>();
  return {first, first + flat.numel()};
}

}  // namespace slalom::experiment
