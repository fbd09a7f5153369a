// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

#include "slalom/core/contour.hpp"

namespace slalom::detail {

/// A rise of -2 log L below zero by more than this is a new minimum, not rounding.
constexpr double k_contour_new_minimum = 1e-6;

/// A place or a direction in the plane of two parameters.
using Vector2 = std::array<double, 2>;

/// A conditional fit in the plane.
struct Place {
  Vector2 at{};        ///< x, y
  double rise = 0.0;   ///< of -2 log L, above the best fit
  Vector2 gradient{};  ///< of the rise with respect to x and y: by the envelope theorem the partial
  bool converged = false;
  std::vector<double> parameters{};
};

/// Conditional fits with two parameters held.
class Plane {
 public:
  Plane(Fitter& fitter, const FitResult& best, std::array<std::size_t, 2> axes,
        const FitOptions& options);

  /// Fits at a place, from the fit at another one or, where that fails, from the usual start.
  Place at(const Vector2& where, const std::vector<double>& near);
  /// Keeps a fit that is lower than the best one.
  void note_lower(const FitResult& result);
  /// The lowest point below the best fit; empty if there was none.
  const std::vector<double>& lower() const { return lower_; }

  double bound(std::size_t axis, bool upper) const {
    const Parameter& p = fitter_.model().spec().parameters[axes_[axis]];
    return upper ? p.upper : p.lower;
  }
  const FitResult& best() const { return best_; }
  Fitter& fitter() { return fitter_; }

 private:
  Fitter& fitter_;
  Evaluator evaluator_;
  FitOptions options_;
  std::array<std::size_t, 2> axes_;
  const FitResult& best_;
  double lowest_;
  std::vector<double> lower_;
  std::vector<double> gradient_;
};

/// Linear map that makes the region about a unit circle.
struct Metric {
  Vector2 centre{}, width{1.0, 1.0};
  double rho = 0.0;

  double across() const { return std::sqrt(1.0 - rho * rho); }
  Vector2 scaled(const Vector2& p) const {
    const double u = (p[0] - centre[0]) / width[0], v = (p[1] - centre[1]) / width[1];
    return {u, (v - rho * u) / across()};
  }
  Vector2 plain(const Vector2& z) const {
    return {centre[0] + width[0] * z[0], centre[1] + width[1] * (rho * z[0] + across() * z[1])};
  }
  Vector2 gradient(const Vector2& g) const {
    return {g[0] * width[0] + g[1] * width[1] * rho, g[1] * width[1] * across()};
  }
  /// Length of x or y that has the scaled length `step`.
  double length(std::size_t axis, double step) const { return step * width[axis] * across(); }
};

/// The sides of the rectangle of allowed values, anticlockwise.
enum class Edge { right, top, left, bottom };

/// Follows the boundary of the region from one place back to it, and fills the points, `closed` and
/// `message` of a contour. Ends early when a point below the best fit is found.
/// \param points of a contour that is a circle in the metric
/// \param on_edge the first place is on that side and inside the region
void trace_boundary(Plane& plane, const Metric& metric, double delta, std::size_t points,
                    Place first, bool on_edge, Edge edge, Contour& contour);

}  // namespace slalom::detail
