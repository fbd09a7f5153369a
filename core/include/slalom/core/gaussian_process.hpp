// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

/// \file
/// A noisy curve of a few points made smooth by a Gaussian process, k(x, x') = variance exp(-(x -
/// x')^2 / (2 length^2)) plus the noise of each point (Rasmussen and Williams, Gaussian Processes
/// for Machine Learning, 2006, algorithm 2.1), and its maximum with an interval: how a scan of a
/// likelihood whose points are trained networks is read.
namespace slalom {

/// What is known about the curve.
struct GaussianProcessOptions {
  /// Correlation length, in the unit of x; none: that of the largest marginal likelihood between
  /// half of the smallest distance of two points and ten times the range.
  std::optional<double> length{};
  /// Variance of the curve about its mean; none: that of the largest marginal likelihood.
  std::optional<double> variance{};
  /// The curve varies about the mean of the points, weighted by their noise; if not, about 0.
  bool subtract_mean = true;
};

/// Value of the curve, without the noise of the points.
struct GaussianProcessValue {
  double value = 0.0;  ///< posterior mean
  double error = 0.0;  ///< posterior standard deviation
};

/// A curve through N points.
struct GaussianProcess {
  bool converged = false;              ///< of the marginal likelihood; true if nothing was fitted
  std::string message{};               ///< why not
  double length = 0.0;                 ///< correlation length
  double variance = 0.0;               ///< of the curve
  double mean = 0.0;                   ///< about which it varies
  double log_marginal = 0.0;           ///< log of the marginal likelihood of the points
  std::vector<double> x{};             ///< of the points [N]
  std::vector<double> coefficients{};  ///< K^-1 (y - mean) [N]
  std::vector<double> inverse{};       ///< K^-1 [N * N]
  /// The curve at a place. \throws Error (usage) if it is not finite
  GaussianProcessValue at(double place) const;
};

/// Conditions a Gaussian process on points. Costs N^3.
/// \param x places, no two alike, in any order [N], 2 to 2000 \param y values [N]
/// \param noise standard deviations of the values, > 0 [N]
/// \throws Error (usage) for lengths, numbers that are not finite, equal places, options that are
/// not positive
GaussianProcess fit_gaussian_process(std::span<const double> x, std::span<const double> y,
                                     std::span<const double> noise,
                                     const GaussianProcessOptions& options = {});

/// The maximum of a curve and where it has fallen by some amount.
struct CurveMaximum {
  double place = 0.0;         ///< of the maximum
  double value = 0.0;         ///< there
  double lower = 0.0;         ///< next place below with value - drop, or the end of the range
  double upper = 0.0;         ///< next place above with it, or the end of the range
  bool lower_at_end = false;  ///< the curve does not fall that far below
  bool upper_at_end = false;  ///< nor above
};

/// Reads the maximum of the curve within a range, and the interval where it is less than `drop`
/// below it: 0.5 for 68 %, 1.92 for 95 % of a log-likelihood.
/// \param drop > 0 \param steps of the search, refined by bisection
/// \throws Error (usage) for an empty range, or a drop or steps that are not positive
CurveMaximum maximum_of(const GaussianProcess& curve, double low, double high, double drop,
                        std::size_t steps = 1000);

}  // namespace slalom
