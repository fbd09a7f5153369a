// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "slalom/core/simulation_spread.hpp"
#include "slalom/core/template_mixture.hpp"

/// \file
/// What the intervals of a template mixture cover, seen with the simulations alone: each in turn is
/// the truth, data are drawn from it, and the others make the mixture and its prior.
namespace slalom {

/// What to try.
struct LeaveOneOutOptions {
  double kappa = 0.1;    ///< true signal fraction
  double events = 1e4;   ///< expected, all together
  std::size_t toys = 4;  ///< data sets of each truth
  /// Widths of the prior to try, as factors on the estimated ones.
  std::vector<double> scales{0.7, 0.85, 1.0, 1.2, 1.5};
  PopulationOptions population{};  ///< its scale is multiplied by these
  SpreadOptions directions{};      ///< of the simulations that are left
  MixtureFitOptions fit{};         ///< its start is not used
  bool integrate = true;           ///< intervals of `kappa_posterior`; else Laplace's
  std::uint64_t seed = 1;          ///< of the data
};

/// What happened at one width.
struct LeaveOneOut {
  double scale = 1.0;           ///< factor on the widths
  double coverage_68 = 0.0;     ///< part of the central 68.27 % intervals that hold the truth
  double coverage_error = 0.0;  ///< from the scatter of the truths' coverages
  double bias = 0.0;            ///< mean of kappa (mean of the posterior, or best fit) - truth
  double half_width = 0.0;      ///< mean of the intervals
  std::size_t failures = 0;     ///< fits that are in none of these numbers
};

/// \param signal, background log densities of pairs of simulations [K * P]
/// \param measure q [P]: all points are bins or points of a quadrature
/// \returns one row per scale; parallel, and independent of the number of threads
/// \throws Error (model) as the mixture and its prior, of K - 1 simulations, and for options that
/// make
///   no sense
std::vector<LeaveOneOut> leave_one_out(const std::vector<double>& signal,
                                       const std::vector<double>& background,
                                       const std::vector<double>& measure, std::size_t k,
                                       const LeaveOneOutOptions& options = {});

}  // namespace slalom
