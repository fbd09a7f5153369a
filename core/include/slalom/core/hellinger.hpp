// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

/// \file
/// How far two histograms are from each other, whatever their sums.
///
///     H = sqrt(1 - sum_i sqrt(p_i q_i)),  p, q divided by their sums
namespace slalom {

/// Hellinger's distance, 0 (equal shapes) to 1 (no common bin).
/// \param p, q not negative, of equal length [P] \throws Error (model) for others, or ones without
///   a sum above 0
double hellinger_distance(std::span<const double> p, std::span<const double> q);

}  // namespace slalom
