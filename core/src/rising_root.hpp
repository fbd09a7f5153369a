// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

namespace slalom::detail {

/// A function at one place, and whether it can be trusted there.
struct CurvePoint {
  double value = 0.0;
  bool converged = false;
  std::string message{};  ///< why not
};

/// Where a function reaches a value.
struct RisingRoot {
  double x = 0.0;
  bool found = false;   ///< the function has the value there
  bool at_end = false;  ///< the function is below the value up to the end of its range
  std::string message;  ///< why neither
};

/// Solves f(x) = target for 0 < x <= end, for a function that rises about in proportion to x.
/// Where f has not converged, the search turns back; a root next to such a place is not found.
/// \param guess where to begin, in (0, end]
/// \param scale rise of x that makes f rise by about 1
/// \param end may be infinite
RisingRoot solve_rising(const std::function<CurvePoint(double)>& f, double target, double guess,
                        double scale, double end);

}  // namespace slalom::detail
