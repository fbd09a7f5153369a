// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "slalom/core/toys.hpp"

/// \file
/// What an ensemble of toys says: distributions of the best fit, of its pull, and of the statistic.
namespace slalom {

/// A set of numbers in a few.
struct Distribution {
  std::size_t n = 0;             ///< how many there are; all members are 0 without any
  double mean = 0.0;             ///< arithmetic mean
  double mean_error = 0.0;       ///< standard_deviation / sqrt(n)
  double width = 0.0;            ///< standard deviation, with n - 1
  double width_error = 0.0;      ///< its uncertainty for a normal distribution
  std::array<double, 5> band{};  ///< quantiles at -2, -1, 0, 1, 2 sigma, see toy_band()
};

/// Mean, width and quantiles of values.
Distribution distribution(std::vector<double> values);

/// Summary of an ensemble whose conditional fits hold the parameter at its true value or elsewhere.
struct ToySummary {
  ToyCounts counts;                    ///< toys with a fit that failed are in nothing else
  std::size_t free_failed = 0;         ///< toys whose free fit did not converge
  std::size_t conditional_failed = 0;  ///< toys whose conditional fit did not
  Distribution best_fit;               ///< of the tested parameter
  Distribution t;                      ///< profile-likelihood ratio
  Distribution q;                      ///< statistic of an upper limit
  /// Fraction with t <= 1: at the true value, the coverage of 68.27 % intervals.
  ToyProbability within_one_sigma;
  /// The same for t <= 3.8415 and 95 %.
  ToyProbability within_95;
  /// (best fit - truth) / error of each parameter [P]; toys in which it is at a bound are left out.
  /// Empty unless the toys have their parameters.
  std::vector<Distribution> pulls;
  /// Toys that are left out of a pull [P].
  std::vector<std::size_t> without_pull;
};

/// \param toys of run_toys()
/// \param truth where they were thrown [P]
/// \param value of the parameter in the conditional fits
ToySummary summarise(const std::vector<Toy>& toys, const std::vector<double>& truth, double value);

}  // namespace slalom
