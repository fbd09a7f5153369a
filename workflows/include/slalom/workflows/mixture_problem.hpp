// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

/// \file
/// The toy of template-adapted mixtures (arXiv:2604.02219): two Gaussians in a window, and many
/// simulations of them that are all biased.
///
///     signal N((0, 0), [[1, 0], [0, 1]]), background N((0, 1), [[3, .4], [.4, 3]]), |x0|, |x1| <=
///     2
namespace slalom {

/// A Gaussian in the plane with equal variances.
struct PlaneGaussian {
  double mean0 = 0.0;       ///< of x0
  double mean1 = 0.0;       ///< of x1
  double variance = 1.0;    ///< of both
  double covariance = 0.0;  ///< of x0 and x1
  /// log density in the whole plane.
  double log_density(double x0, double x1) const;
};

/// Signal and background of a simulation, or of the truth.
struct BiasedPair {
  PlaneGaussian signal;      ///< of the signal
  PlaneGaussian background;  ///< of the background
};

/// Half the side of the window.
inline constexpr double k_biased_window = 2.0;
/// The truth of the publication.
inline constexpr BiasedPair k_biased_truth = {{0.0, 0.0, 1.0, 0.0}, {0.0, 1.0, 3.0, 0.4}};

/// Draws simulations by the publication's recipe: means N(m0, .1) and N(m1 -+ .1, .1), |N(v, .1)|
/// and N(c, .1), of which only those are taken that are wrong enough: |mean - true| > .1,
/// |variance - true| > .1, |covariance - true| > .05. Signal and background use the same random
/// numbers, as the published ones do. \param n at least 1; pair i does not depend on n
std::vector<BiasedPair> draw_biased_pairs(std::size_t n, std::uint64_t seed);
/// Pairs from two CSV files with the columns mean0, mean1, cov00, cov01, cov11 of equal lengths.
/// \throws Error (io) with `file:line` for a line that is no Gaussian of equal variances
std::vector<BiasedPair> read_biased_pairs(const std::string& signal, const std::string& background);
/// mean + factor (pair - mean of all pairs), parameter by parameter.
/// \throws Error (numerical) if that is no Gaussian
BiasedPair farther_pair(const std::vector<BiasedPair>& pairs, std::size_t i, double factor);

/// log density at the centres of side x side bins of the window [side * side].
std::vector<double> plane_log_density(const PlaneGaussian& gaussian, std::size_t side);
/// Probability of each bin, not divided by that of the window [side * side].
std::vector<double> plane_contents(const PlaneGaussian& gaussian, std::size_t side);

}  // namespace slalom
