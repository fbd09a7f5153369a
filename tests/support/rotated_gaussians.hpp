// SPDX-License-Identifier: Apache-2.0
/// \file
/// The toy of arXiv:2105.08742 with exact answers: two Gaussians of width 0.7 in the plane, the
/// signal at c(z) = (cos z, sin z), the background at -c(z), 500 and 50,000 events. Along the
/// direction c(a) signal and background are N(+-cos(z - a), 0.7), across it N(+-sin(z - a), 0.7),
/// independently, so that the contents of every bin here are differences of normal distribution
/// functions.
#pragma once

#include <numbers>
#include <vector>

#include "slalom/core/morphed_likelihood.hpp"

namespace slalom::test {

inline constexpr double k_pi = std::numbers::pi;
inline constexpr double k_width = 0.7, k_signal_events = 500.0, k_background_events = 5e4;
/// logit of s / (s + b) per unit of the coordinate along c(a): 2 / 0.7^2.
inline constexpr double k_slope = 2.0 / (k_width * k_width);

/// n + 1 points, evenly.
std::vector<double> even_points(double low, double high, std::size_t n);

/// Edges along c(a), with infinite ends, of n equal bins of sigmoid(slope t) in [0, 1].
std::vector<double> score_edges(std::size_t n, double slope = k_slope);
/// Edges, with infinite ends, of n bins of equal content of N(mean, 0.7).
std::vector<double> quantile_edges(std::size_t n, double mean);

/// Probability of each bin for N(mean, 0.7) [edges - 1].
std::vector<double> contents(const std::vector<double>& edges, double mean);

/// Bins of an observable: along c(angle), and across it where there are edges for that.
struct Observable {
  double angle;
  std::vector<double> along;
  std::vector<double> across{};
  /// Expected events of signal or background that is rotated by z.
  std::vector<double> expected(bool signal, double z) const;
  /// The same of both, with a signal strength.
  std::vector<double> expected_data(double mu, double z) const;
};

/// Samples on a grid of z, for one fixed observable.
std::vector<MorphedSample> samples_of(const Observable& observable, const std::vector<double>& grid,
                                      MorphingKind kind = MorphingKind::log_spline);

/// Parameters of the toy: 0 < mu < 5, and z with or without the constraint N(pi/4, 0.5).
MorphedParameter strength();
MorphedParameter rotation(double low, double high, bool constrained = false);

/// Events of one toy.
struct Events {
  std::vector<double> x, y;
  /// Estimate of z: the angle of -mean, since nearly all is background.
  double angle() const;
  /// Counts in the bins of an observable.
  std::vector<double> histogram(const Observable& observable) const;
};
/// Poisson numbers of signal (times mu) and background events. \param index of the toy
Events draw_events(double mu, double z, std::uint64_t seed, std::uint64_t index);

}  // namespace slalom::test
