// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "slalom/core/fit.hpp"

/// \file
/// Confidence regions of two parameters: the curve on which the profiled -2 log L is higher than
/// its minimum by a given amount, and profiles on a grid.
namespace slalom {

/// One point of the boundary of a region.
struct ContourPoint {
  double x = 0.0;          ///< first parameter
  double y = 0.0;          ///< second parameter
  double twice_nll = 0.0;  ///< -2 log L, minimised over all other parameters
  /// The region ends here because a parameter does: the rise of -2 log L is below the level.
  bool at_bound = false;
  bool converged = false;  ///< the conditional fit converged, and to the level unless at a bound
};

/// The boundary of the confidence region that holds the best fit, anticlockwise.
struct Contour {
  std::size_t x = 0;                 ///< index of the first parameter
  std::size_t y = 0;                 ///< index of the second parameter
  double level = 0.0;                ///< confidence level
  double delta = 0.0;                ///< rise of -2 log L on the curve
  std::vector<ContourPoint> points;  ///< in order; the first one is not repeated at the end
  bool closed = false;               ///< the last point is next to the first one
  FitResult best;                    ///< the free fit, improved if the curve led to a lower point
  bool converged = false;            ///< closed, and all points converged
  std::string message;               ///< why not
};

/// How a contour is drawn.
struct ContourOptions {
  /// Points of a contour that is an ellipse; others get fewer or more of them, as their shape asks.
  std::size_t points = 40;
};

/// Follows the curve where the doubly profiled -2 log L is `rise_at_level(level, 2)` above its
/// minimum, from the highest allowed x on. Where a parameter reaches a bound the boundary goes on
/// along the bound. Only the part of the region that is connected to that point is followed: other
/// parts and holes are not found (profile_grid shows them).
/// \param best a converged free fit of the data that `fitter` holds
/// \param x, y indices of two parameters that float in `best`
/// \param level confidence level between 0 and 1
/// \param fit fixed and floating parameters of `best`
/// \throws Error (model) for indices that make no sense, Error (usage) for such a level
Contour contour(Fitter& fitter, const FitResult& best, std::size_t x, std::size_t y, double level,
                const ContourOptions& options = {}, const FitOptions& fit = {});

/// Whether a region has a point inside: the polygon of its boundary holds it.
bool encloses(const Contour& contour, double x, double y);

/// The floating parameter that is most strongly correlated with another one at a fit. If that one
/// is at a bound its curvature there counts.
/// \throws Error (model) for an index that makes no sense, or if no other parameter floats
std::size_t most_correlated(Fitter& fitter, const FitResult& best, std::size_t parameter);

/// A profile of -2 log L over two parameters.
struct ProfileGrid {
  std::size_t x = 0;                    ///< index of the first parameter
  std::size_t y = 0;                    ///< index of the second parameter
  std::vector<double> x_values;         ///< [X]
  std::vector<double> y_values;         ///< [Y]
  std::vector<double> delta_twice_nll;  ///< above the lowest value found [X * Y], y runs fastest
  std::vector<bool> converged;          ///< of each conditional fit [X * Y]
  FitResult best;                       ///< the free fit, improved if the grid led to a lower one
};

/// Conditional fits on a grid, rows of equal x in parallel. Points are fitted again from their
/// neighbours on all sides, so that a change of the lower branch is followed. The result does not
/// depend on the number of threads.
/// \param best a converged free fit of the data that `fitter` holds
/// \param x_values, y_values within the bounds of the parameters, ascending
/// \param threads 0 for all of the machine
/// \throws Error (model) for indices that make no sense
ProfileGrid profile_grid(Fitter& fitter, const FitResult& best, std::size_t x, std::size_t y,
                         const std::vector<double>& x_values, const std::vector<double>& y_values,
                         const FitOptions& fit = {}, std::size_t threads = 0);

}  // namespace slalom
