// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <string>

#include "slalom/core/error.hpp"

/// \file
/// Contracts of the stages, checked where they are entered.
namespace slalom::detail {

/// "[2, 3]"
inline std::string shape_of(const Tensor& tensor) {
  std::string text = "[";
  for (std::int64_t i = 0; i < tensor.dim(); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(tensor.size(i));
  }
  return text + "]";
}

/// \throws Error (usage) with that message and place unless the condition holds
inline void require(bool condition, const std::string& message, const char* where) {
  if (!condition) throw Error(ErrorKind::usage, message, where);
}

}  // namespace slalom::detail
