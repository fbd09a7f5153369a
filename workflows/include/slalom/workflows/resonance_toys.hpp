// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <cstdint>
#include <string>
#include <vector>

#include "slalom/core/random.hpp"
#include "slalom/modules/density_ratio.hpp"

/// \file
/// Toys of resonance searches with exact density ratios: what the estimates of signal_fraction.hpp
/// and paws.hpp are held to. Signals are Gaussian, theta moves some of their means.
namespace slalom {

/// A Gaussian of any dimension d, or independent exponentials.
struct ToyDensity {
  std::vector<double> mean;  ///< [d]; of exponentials their scales
  std::vector<double>
      factor;  ///< lower Cholesky factor of the covariance [d * d]; empty: exponentials
};

/// A toy. Its events are float64 [n, d].
struct ResonanceToy {
  std::string name;                        ///< "gaussian_1d", ...
  std::string summary;                     ///< one sentence
  ToyDensity signal;                       ///< at `truth`
  ToyDensity background;                   ///< does not depend on theta
  std::vector<ParameterInput> parameters;  ///< theta with the box it is searched in
  std::vector<std::int64_t> moved;  ///< theta_k is the mean of the signal along this axis [p]
  std::vector<double> truth;        ///< published theta [p]
  double background_events = 0.0;   ///< published

  /// Signal events [n, d], each at its own theta [n, p].
  Tensor draw_signal(const Tensor& theta, RandomStream& random) const;
  /// Background events [n, d].
  Tensor draw_background(std::int64_t n, RandomStream& random) const;
  /// n events [n, d], each of them signal with probability mu. \param theta [p]
  Tensor draw_mixture(std::int64_t n, double mu, const std::vector<double>& theta,
                      RandomStream& random) const;
  /// Exact log r [n], differentiable. \param features [n, d] \param theta [p] or [n, p]
  Tensor log_ratio(const Tensor& features, const Tensor& theta) const;
  /// The same as a ratio, to fit with.
  ParameterisedRatio exact_ratio() const;
  /// Batches with theta uniform in the box. \param batch_size events of a class
  RatioBatches batches(std::int64_t batch_size, std::uint64_t seed) const;
};

/// Names that make_resonance_toy() knows: "gaussian_1d", "gaussian_3d", "correlated_2d",
/// "resonance_2d" (docs/paws.md).
const std::vector<std::string>& resonance_toy_names();
/// A toy by its name. \throws Error (usage) for one that does not exist, with the nearest name
ResonanceToy make_resonance_toy(const std::string& name);

}  // namespace slalom
