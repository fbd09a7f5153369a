// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "slalom/core/mixture_interval.hpp"
#include "slalom/core/random.hpp"
#include "slalom/core/template_mixture.hpp"

/// \file
/// What estimates of template mixtures are worth: draws of simulations, data sets of each from a
/// truth that is known, and how often the intervals hold its fraction.
namespace slalom {

/// One draw: a mixture of simulations, and where its data come from.
struct MixtureDraw {
  TemplateMixture mixture;           ///< of bins; its data are replaced
  std::vector<double> signal{};      ///< true shape, any norm [P]
  std::vector<double> background{};  ///< true shape, any norm [P]
  std::vector<double> measure{};     ///< that of the mixture, for distances [P]; empty: none
};

/// A truth like simulation i, but farther from the mean of all: probabilities of bins of
/// mean ln p + factor (ln p_i - mean ln p) [P]. \param log_densities [K * P] \param measure q [P]
/// \throws Error (model) for shapes that do not fit together, or a factor that is not finite
std::vector<double> farther_simulation(const std::vector<double>& log_densities,
                                       const std::vector<double>& measure, std::size_t i,
                                       double factor);

/// Counts of one data set [P]. \param signal, background shapes, any norm [P]
/// \throws Error (model) for shapes of different lengths, or ones that are no shapes
std::vector<double> draw_mixture_data(const std::vector<double>& signal,
                                      const std::vector<double>& background,
                                      std::size_t signal_events, std::size_t background_events,
                                      RandomStream& random);

/// How to draw and judge.
struct MixtureToysOptions {
  std::size_t draws = 30;            ///< of simulations
  std::size_t toys = 20;             ///< data sets of each
  std::size_t signal_events = 5000;  ///< of a data set, exactly: its fraction does not fluctuate
  std::size_t background_events = 50000;  ///< of a data set, exactly
  std::uint64_t seed = 1;                 ///< of the data
  MixtureIntervalOptions interval{};      ///< what is quoted
  bool flags = false;                     ///< pull test of each fit; needs priors of all parameters
  /// Called between groups of draws by the thread that called; returning false ends the toys.
  std::function<bool(std::size_t done, std::size_t all)> progress{};
};

/// What became of one data set.
struct MixtureToy {
  bool valid = false;               ///< nothing else counts if not
  double best = 0.0;                ///< best fit of kappa
  double laplace = 0.0;             ///< its error
  double sandwich = 0.0;            ///< its error
  MixtureInterval interval{};       ///< what is quoted
  double p_value = 1.0;             ///< of the pulls, where asked for
  double distance[2] = {0.0, 0.0};  ///< Hellinger's, of the fitted signal, background to the truth
};

/// Draws times data sets.
struct MixtureToys {
  std::size_t draws = 0;            ///< D
  std::size_t toys = 0;             ///< T, of each
  double truth = 0.0;               ///< kappa
  std::vector<MixtureToy> results;  ///< [D * T]; empty if it was ended
};

/// \param make a draw, by its number; called by several threads at once
/// \returns the same for any number of threads
/// \throws Error (model) for shapes that do not fit together; whatever `make` throws
MixtureToys run_mixture_toys(const std::function<MixtureDraw(std::size_t draw)>& make,
                             const MixtureToysOptions& options = {});

/// What symmetric errors of the best fit cover, kappa +- z error.
struct ErrorCoverage {
  double mean = 0.0;         ///< of the errors
  double median = 0.0;       ///< of the errors
  double pull_mean = 0.0;    ///< of (best - truth) / error
  double pull_width = 0.0;   ///< standard deviation of those
  double coverage_68 = 0.0;  ///< within one error
  double coverage_95 = 0.0;  ///< within 1.96
};

/// One point of a coverage curve.
struct CoveragePoint {
  double nominal = 0.0;   ///< probability of the intervals
  double coverage = 0.0;  ///< part of them that hold the truth
  double error = 0.0;     ///< from the scatter of draws; with one draw, binomial
};

/// Of all valid data sets.
struct MixtureCoverage {
  std::size_t failures = 0;            ///< data sets that are in none of these numbers
  double mean = 0.0;                   ///< of the quoted kappa
  double bias = 0.0;                   ///< mean - truth
  double bias_error = 0.0;             ///< from the scatter of draws
  double scatter = 0.0;                ///< standard deviation of the means of draws
  double rms = 0.0;                    ///< of kappa about its mean, all data sets
  double error = 0.0;                  ///< mean of the quoted ones
  double half_width = 0.0;             ///< mean of the 68.27 % intervals
  double pull_mean = 0.0;              ///< of (kappa - truth) / error
  double pull_width = 0.0;             ///< standard deviation of those
  CoveragePoint at_68{};               ///< of the quoted intervals
  CoveragePoint at_95{};               ///< of the quoted intervals
  std::vector<CoveragePoint> curve{};  ///< of the quoted intervals, at the levels asked for
  ErrorCoverage laplace{};             ///< beside it
  ErrorCoverage sandwich{};            ///< beside it
  double flagged = 0.0;                ///< part with a p-value of the pulls below .05
  double distance[2] = {0.0, 0.0};     ///< mean of Hellinger's, signal and background
};

/// \param levels nominal probabilities of the curve, above 0 and below 1
MixtureCoverage mixture_coverage(const MixtureToys& toys, const std::vector<double>& levels = {});

}  // namespace slalom
