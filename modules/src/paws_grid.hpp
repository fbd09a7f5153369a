// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "slalom/modules/paws.hpp"

/// \file
/// Where the joint fits of PAWS may go, and where they start.
namespace slalom::detail {

/// Bounds of theta, and what of it is held.
struct PawsBox {
  std::vector<double> lower, upper, held;  ///< NaN: not held
};

/// \throws Error (usage) for options that make no sense
PawsBox box_of(const std::vector<ParameterInput>& parameters, const PawsOptions& options);

/// Points of theta in a box with the best fraction at each.
struct PawsGrid {
  std::vector<std::vector<double>> theta;
  std::vector<std::vector<std::size_t>> place;  ///< along each axis
  std::vector<double> mu, log_likelihood, slope;
};

/// Centres of cells, `points` along each axis that is not held. \throws Error (usage) for too many
PawsGrid make_grid(const PawsBox& box, std::int64_t points);

/// Points to start from: maxima among their neighbours first, best first, then the others.
std::vector<std::size_t> starts_of(const PawsGrid& grid, std::int64_t number);

}  // namespace slalom::detail
