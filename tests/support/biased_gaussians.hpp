// SPDX-License-Identifier: Apache-2.0
/// \file
/// The Gaussian toy of arXiv:2604.02219 with exact densities: signal N((0, 0), 1) and background
/// N((0, 1), [[3, .4], [.4, 3]]) in the window |x0|, |x1| <= 2, and the 500 published pairs of
/// simulations, none of which is right. 50 x 50 bins stand for the plane.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "slalom/core/prior_widening.hpp"
#include "slalom/core/random.hpp"
#include "slalom/core/simulation_spread.hpp"
#include "slalom/core/template_mixture.hpp"

namespace slalom::test {

inline constexpr double k_tamm_kappa = 1.0 / 11.0;
inline constexpr std::size_t k_tamm_signal = 5000, k_tamm_background = 50000;

/// A Gaussian in the plane with equal variances.
struct PlaneGaussian {
  double mean0 = 0.0, mean1 = 0.0, variance = 1.0, covariance = 0.0;
  /// log density in the whole plane.
  double log_density(double x0, double x1) const;
};
/// Signal and background of a simulation, or of the truth.
struct PlanePair {
  PlaneGaussian signal, background;
};
/// The published truth.
inline constexpr PlanePair k_tamm_truth = {{0.0, 0.0, 1.0, 0.0}, {0.0, 1.0, 3.0, 0.4}};

/// The 500 published pairs. Needs the published data.
std::vector<PlanePair> published_pairs();
/// Mean over pairs of each parameter.
PlanePair mean_of(const std::vector<PlanePair>& pairs);
/// centre + factor (pair - centre); throws if that is no Gaussian.
PlanePair farther(const PlanePair& pair, const PlanePair& centre, double factor);

/// Square bins of the window.
class PlaneBins {
 public:
  explicit PlaneBins(std::size_t side = 50);
  std::size_t size() const { return side_ * side_; }
  /// Area of each bin [P].
  std::vector<double> measure() const;
  /// log density at the centres, appended to `to`.
  void add_log_density(const PlaneGaussian& g, std::vector<double>& to) const;
  /// Probability of each bin, not divided by that of the window [P].
  std::vector<double> contents(const PlaneGaussian& g) const;
  /// Bin of a point of the window.
  std::size_t bin_of(double x0, double x1) const;

 private:
  std::size_t side_;
};

/// Draws bins (Walker's alias method).
class BinSampler {
 public:
  explicit BinSampler(const std::vector<double>& contents);
  void add(std::size_t events, RandomStream& random, std::vector<double>& counts) const;

 private:
  std::vector<double> keep_;
  std::vector<std::uint32_t> other_;
};

/// 5,000 signal and 50,000 background events in bins.
std::vector<double> draw_counts(const BinSampler& signal, const BinSampler& background,
                                RandomStream& random);
/// The same as points [55,000], signal first.
std::vector<std::array<double, 2>> draw_points(const PlanePair& truth, RandomStream& random);

/// What became of one data set.
struct MixtureToy {
  bool converged = false;
  double kappa = 0.0, laplace = 0.0, sandwich = 0.0;
  double low = 0.0, high = 0.0;  ///< interval, where one was asked for
  double median = 0.0;           ///< of the marginal posterior, where it was asked for
  double chi2_p = 1.0, prior_p = 1.0;
};
/// Draws of simulations times data sets.
struct MixtureStudy {
  std::size_t draws = 0, toys = 0;
  std::vector<MixtureToy> results;  ///< [draws * toys]

  double truth = k_tamm_kappa;
  double mean() const;
  double scatter_of_draws() const;  ///< standard deviation of the means of draws
  double rms() const;               ///< of kappa about its mean
  double mean_laplace() const;
  double median_sandwich() const;
  double pull_width(bool sandwich) const;  ///< standard deviation of pulls
  double coverage(bool sandwich, double sigmas) const;
  double interval_coverage() const;
  /// Of those that are flagged, or not.
  double interval_coverage(bool flagged_ones, double p = 0.05) const;
  double mean_half_width() const;
  double interval_bias() const;  ///< mean of the middles - truth
  double median_bias() const;    ///< mean of the medians - truth
  double flagged(bool prior, double p = 0.05) const;
  std::size_t failures() const;
};

/// Which mixture, from which simulations, on which data.
struct MixtureStudyOptions {
  enum class Prior { ridge, population };
  enum class Interval { none, profile, marginal };
  std::size_t k = 10;  ///< simulations of a draw; 0: all of them
  std::size_t draws = 30, toys = 60;
  std::uint64_t seed = 1;
  Prior prior = Prior::ridge;
  double lambda = 1.0;             ///< of the ridge
  PopulationOptions population{};  ///< of the prior of natural parameters
  Interval interval = Interval::none;
  bool held_out = false;  ///< the truth of each draw is a pair that it does not contain
  double distance = 1.0;  ///< factor on the distance of a held-out truth from the mean
  /// Of the prior of natural parameters; not at all by default.
  WideningOptions widening{.below = 0.0};
};

/// Parallel over draws; the result does not depend on the number of threads.
MixtureStudy run_study(const std::vector<PlanePair>& pairs, const MixtureStudyOptions& options);

/// A row of a table: what it is, then mean, scatter, sandwich (median, pull width, coverage of 68
/// and 95 %) and Laplace (mean, coverage).
std::string row_of(const std::string& name, const MixtureStudy& study);

}  // namespace slalom::test
