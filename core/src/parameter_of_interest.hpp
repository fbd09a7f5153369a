// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "slalom/core/fit.hpp"

namespace slalom::detail {

/// Index of the parameter of interest.
/// \throws Error (model) if the model has none, or if it is held in fits with `options`
std::size_t parameter_of_interest(const Model& model, const FitOptions& options);

/// \throws Error (model) if there is no such parameter, or if it is held in fits with `options`
void require_floating(const Model& model, const FitOptions& options, std::size_t parameter);

}  // namespace slalom::detail
