// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "slalom/core/toys.hpp"

/// \file
/// Confidence intervals by Neyman's construction with the ordering of Feldman and Cousins
/// (arXiv:physics/9711021), acceptance by toys, other parameters profiled.
///
/// The statistic is t(mu) = 2 NLL(mu, conditional fit) - 2 NLL(best fit), the best fit within the
/// bounds of the parameter (for mu >= 0: t-tilde). mu belongs to the interval if the fraction
/// of toys at the conditional fit of the data at mu with t >= t of the data exceeds 1 - confidence.
/// With no other parameters this is their construction; with them, coverage is exact where the
/// data put them.
namespace slalom {

/// What interval, and how precisely.
struct FeldmanCousinsOptions {
  double confidence = 0.95;  ///< confidence level, between 0 and 1
  /// Uncertainty wanted for each end, in units of the standard deviation that the asymptotic
  /// interval gives on that side.
  double tolerance = 0.1;
};

/// A scanned value of the parameter.
struct FeldmanCousinsPoint {
  double value = 0.0;      ///< of the parameter
  double statistic = 0.0;  ///< t of the data
  ToyProbability p_value;  ///< fraction of toys with at least that
  ToyCounts toys;          ///< thrown there
};

/// One end of an interval.
struct FeldmanCousinsEnd {
  double value = 0.0;  ///< of the parameter
  /// Half the distance of the values on both sides of it whose p-values are, by a standard
  /// deviation of their toys or more, above and below 1 - confidence. 0 at a bound.
  double error = 0.0;
  bool at_bound = false;   ///< the bound of the parameter belongs to the interval
  bool converged = false;  ///< found to the tolerance
};

/// An interval.
struct FeldmanCousinsInterval {
  double confidence = 0.95;                 ///< confidence level
  double best_fit = 0.0;                    ///< of the parameter
  FeldmanCousinsEnd lower;                  ///< end below the best fit
  FeldmanCousinsEnd upper;                  ///< end above it
  std::vector<FeldmanCousinsPoint> points;  ///< scanned values in rising order
  ToyCounts toys;                           ///< of all points together
  bool interrupted = false;                 ///< progress ended the run
  bool converged = false;                   ///< both ends converged
  std::string message;                      ///< what did not, or how many toys failed
};

/// Interval of one parameter for the data that `fitter` holds.
///
/// Each end is enclosed, from the asymptotic one outwards, and bisected. At each value toys are
/// thrown until p differs from 1 - confidence by four standard deviations, or to the number that
/// gives the end to the tolerance where p falls as the asymptotic formula says; where it falls more
/// slowly, the number is raised up to `n_toys`. If p crosses 1 - confidence more than once, as it
/// does for small counts, the search prefers the outermost crossing, as the paper does.
/// \param fitter holds model and data
/// \param parameter index; it must float
/// \param options confidence level and tolerance
/// \param toys `n_toys` is the most for one value; `first` must be 0
/// \param fit options of all fits
/// \throws Error (usage) for options out of range, (model) for a parameter that is held
FeldmanCousinsInterval feldman_cousins(Fitter& fitter, std::size_t parameter,
                                       const FeldmanCousinsOptions& options, const ToyOptions& toys,
                                       const FitOptions& fit = {});

}  // namespace slalom
