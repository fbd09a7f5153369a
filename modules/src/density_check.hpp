// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "check.hpp"

/// \file
/// What densities with weights take.
namespace slalom::detail {

/// \throws Error (usage) unless x is [n, features] and the condition [n, conditions], or undefined
/// where there are none
inline void require_density_inputs(const Tensor& x, const Tensor& condition, std::int64_t features,
                                   std::int64_t conditions, const char* where) {
  if (x.dim() != 2 || x.size(1) != features) {
    require(false, "events [n, " + std::to_string(features) + "] expected, found " + shape_of(x),
            where);
  }
  if (conditions == 0 && !condition.defined()) return;
  if (!condition.defined() || condition.dim() != 2 || condition.size(0) != x.size(0) ||
      condition.size(1) != conditions) {
    require(false,
            "conditions [" + std::to_string(x.size(0)) + ", " + std::to_string(conditions) +
                "] expected, found " + (condition.defined() ? shape_of(condition) : "none"),
            where);
  }
}

}  // namespace slalom::detail
