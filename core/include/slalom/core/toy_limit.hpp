// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string>
#include <vector>

#include "slalom/core/toys.hpp"

/// \file
/// Upper limits by toys: where CLs, made from toys as ToyCalculator does, falls to a level.
///
/// CLs is computed at a few values of mu around each of the six limits, first at those of the
/// asymptotic formulae; log CLs is interpolated linearly between the two values of mu that
/// enclose the level. All values of mu share their random numbers: the background toys are the same
/// data sets, fitted at another mu, so that CLs changes smoothly with mu.
namespace slalom {

/// How precisely limits are found.
struct ToyLimitOptions {
  double level = 0.05;  ///< value of CLs at the limit, between 0 and 1
  /// Distance of the two values of mu, relative to the limit, between which log CLs is
  /// interpolated.
  double spacing = 0.15;
  int max_points = 60;  ///< values of mu that may be tested
};

/// One limit.
struct ToyLimit {
  double value = 0.0;  ///< mu
  /// Its uncertainty from the number of toys: that of log CLs over the slope of the asymptotic
  /// curve there.
  double error = 0.0;
  bool converged = false;  ///< the level is enclosed as closely as asked for
};

/// Observed and expected upper limits.
struct ToyUpperLimit {
  double level = 0.05;                    ///< value of CLs at the limits
  ToyLimit observed;                      ///< of the data
  std::array<ToyLimit, 5> expected{};     ///< at -2, -1, 0, 1, 2 sigma of the background
  double best_fit = 0.0;                  ///< of the parameter of interest
  std::vector<ToyHypothesisTest> points;  ///< tests by rising mu, without their samples
  ToyCounts toys;                         ///< of all points together
  bool interrupted = false;               ///< progress ended the run
  bool converged = false;                 ///< all fits of the data and all six limits converged
  std::string message;                    ///< what did not, or how many toys failed
};

/// Upper limits on the parameter of interest of the data that `fitter` holds.
/// \param toys `n_toys` of each of the two ensembles at every value of mu
/// \throws Error (usage) for a level outside (0, 1), (model) without a POI
ToyUpperLimit upper_limit_by_toys(Fitter& fitter, const ToyLimitOptions& options,
                                  const ToyOptions& toys, const FitOptions& fit = {});

}  // namespace slalom
