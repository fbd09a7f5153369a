// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <array>
#include <cmath>
#include <cstddef>

#include "slalom/core/mass_spectrum.hpp"

namespace slalom::detail {

/// Gauss-Legendre on [-1, 1], exact for polynomials up to degree 9.
inline constexpr std::array<double, 5> k_gauss_nodes = {
    -0.90617984593866399280, -0.53846931010568309104, 0.0, 0.53846931010568309104,
    0.90617984593866399280};
inline constexpr std::array<double, 5> k_gauss_weights = {
    0.23692688505618908751, 0.47862867049936646804, 0.56888888888888888889, 0.47862867049936646804,
    0.23692688505618908751};

/// The terms phi_k of the logarithm of a background function.
struct SpectrumTerms {
  SpectrumFamily family;
  std::size_t parameters;
  double sqrt_s;
  double low, high;  // range in which u goes from -1 to 1

  /// [parameters] at a mass.
  Eigen::RowVectorXd at(double mass) const {
    Eigen::RowVectorXd result(static_cast<Eigen::Index>(parameters));
    result[0] = 1.0;
    if (family == SpectrumFamily::exponential_polynomial) {
      const double u = (2.0 * mass - low - high) / (high - low);
      for (Eigen::Index k = 1; k < result.size(); ++k) result[k] = result[k - 1] * u;
      return result;
    }
    const double x = mass / sqrt_s;
    const double log_x = std::log(x);
    if (result.size() > 1) result[1] = std::log1p(-x);
    if (result.size() > 2) result[2] = -log_x;
    for (Eigen::Index k = 3; k < result.size(); ++k) result[k] = result[k - 1] * log_x;
    return result;
  }
};

}  // namespace slalom::detail
