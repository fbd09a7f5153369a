// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "slalom/core/fit.hpp"

/// \file
/// Profile-likelihood intervals and scans.
namespace slalom {

/// One side of a profile-likelihood interval.
struct IntervalSide {
  double value = 0.0;      ///< parameter where 2 Delta NLL reaches the level, or the bound
  bool at_bound = false;   ///< the bound came first: the interval ends there
  bool converged = false;  ///< all fits on the way converged and the crossing was found
  std::string message;     ///< why not, or a new minimum that was found on the way
};

/// Where the profiled -2 log L rises by `level` above its minimum (MINOS).
struct Interval {
  IntervalSide lower;  ///< below the best fit
  IntervalSide upper;  ///< above it
};

/// Profile-likelihood interval of one parameter, by root finding on exact conditional fits.
/// \param fitter holds model and data
/// \param best a converged free fit of the same data
/// \param parameter index
/// \param options fixed and floating parameters of `best`
/// \param level rise of -2 log L: 1 for 68.27 %, 3.8415 for 95 %
Interval minos(Fitter& fitter, const FitResult& best, std::size_t parameter,
               const FitOptions& options = {}, double level = 1.0);

/// The same, but if the profile leads to a lower minimum it begins again from there.
/// \param best replaced by the lower minimum
Interval profile_interval(Fitter& fitter, FitResult& best, std::size_t parameter,
                          const FitOptions& options = {}, double level = 1.0);

/// A profile of -2 log L along one parameter.
struct Scan {
  std::size_t parameter = 0;            ///< index
  std::vector<double> values;           ///< scanned values
  std::vector<double> delta_twice_nll;  ///< above the lowest value found, scan points included
  std::vector<FitResult> fits;          ///< conditional fit at each value
  FitResult best;                       ///< the free fit, improved if the scan found a lower point
};

/// Conditional fits at the given values, away from the best fit, every other one with a search for
/// other minima. Where neighbours do not lie on a smooth curve, all points are fitted again from
/// their neighbours on both sides, so that a change of the lower branch is followed.
/// \param values within the bounds of the parameter; any order
Scan profile_scan(Fitter& fitter, std::size_t parameter, const std::vector<double>& values,
                  const FitOptions& options = {});

}  // namespace slalom
