// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <ATen/ops/empty.h>
#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

/// \file
/// Vectors of numbers as tensors.
namespace slalom::detail {

/// A copy of the values [n] on the CPU: float64 of double, int64 of std::int64_t.
template <class Number>
Tensor to_tensor(const std::vector<Number>& values) {
  static_assert(std::is_same_v<Number, double> || std::is_same_v<Number, std::int64_t>);
  constexpr bool real = std::is_same_v<Number, double>;
  Tensor result =
      at::empty({static_cast<std::int64_t>(values.size())}, real ? at::kDouble : at::kLong);
  std::copy(values.begin(), values.end(), result.data_ptr<Number>());
  return result;
}

}  // namespace slalom::detail
