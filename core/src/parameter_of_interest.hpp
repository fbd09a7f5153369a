// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "slalom/core/fit.hpp"

namespace slalom::detail {

/// Index of the parameter of interest.
/// \throws Error (model) if the model has none, or if it is held in fits with `options`
std::size_t parameter_of_interest(const Model& model, const FitOptions& options);

}  // namespace slalom::detail
