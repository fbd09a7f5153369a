// SPDX-License-Identifier: Apache-2.0
/// \file
/// A bump on a slope in 40 bins, with simulations that are all a little wrong.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

#include "slalom/core/template_mixture.hpp"

namespace slalom::test {

inline constexpr std::size_t k_bump_bins = 40;

/// Measure of the bins.
inline std::vector<double> bump_measure() { return std::vector<double>(k_bump_bins, 0.1); }

/// log densities of a bump at `place` (process 0), or of a slope (process 1), at the centres.
inline std::vector<double> bump_logs(std::size_t process, double place, double slope) {
  std::vector<double> logs;
  for (std::size_t i = 0; i < k_bump_bins; ++i) {
    const double x = 0.1 * (static_cast<double>(i) + 0.5);
    logs.push_back(process == 0 ? -2.0 * (x - place) * (x - place) : -slope * x);
  }
  return logs;
}

/// Three simulations of a process [3 * bins].
inline std::vector<double> bump_simulations(std::size_t process) {
  std::vector<double> logs;
  for (const double shift : {-0.1, 0.02, 0.15}) {
    const std::vector<double> one = bump_logs(process, 2.0 + shift, 0.5 + 0.5 * shift);
    logs.insert(logs.end(), one.begin(), one.end());
  }
  return logs;
}

/// Probabilities of the true bump and slope, up to their norms.
inline std::vector<double> bump_truth(std::size_t process) {
  std::vector<double> p = bump_logs(process, 2.05, 0.52);
  for (double& x : p) x = std::exp(x);
  return p;
}

/// The three with a ridge.
inline TemplateMixture bump_mixture(double lambda = 1.0) {
  return {exponential_mixture(bump_simulations(0), 3),
          exponential_mixture(bump_simulations(1), 3),
          bump_measure(),
          {ridge_prior(1, 3, lambda), ridge_prior(3, 3, lambda)}};
}

/// What is expected of the truth.
inline std::vector<double> bump_data(double signal, double background) {
  const std::vector<double> s = bump_truth(0), b = bump_truth(1);
  double all_s = 0.0, all_b = 0.0;
  for (std::size_t i = 0; i < k_bump_bins; ++i) {
    all_s += s[i];
    all_b += b[i];
  }
  std::vector<double> n;
  for (std::size_t i = 0; i < k_bump_bins; ++i) {
    n.push_back(signal * s[i] / all_s + background * b[i] / all_b);
  }
  return n;
}

}  // namespace slalom::test
