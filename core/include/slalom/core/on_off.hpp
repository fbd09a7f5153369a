// SPDX-License-Identifier: Apache-2.0
#pragma once

/// \file
/// Counting with a background that is itself a count: n_on events where the signal is, n_off events
/// of background alone, of which tau are expected for each one of background in n_on.
namespace slalom {

/// The profile likelihood of n_on ~ Pois(s + b), n_off ~ Pois(tau b).
struct OnOffResult {
  double signal = 0.0;        ///< best fit n_on - n_off / tau, not below 0
  double background = 0.0;    ///< n_off / tau
  double signal_error = 0.0;  ///< sqrt(n_on + n_off / tau^2)
  double q0 = 0.0;            ///< -2 ln of the likelihood ratio of s = 0; 0 without an excess
  double z = 0.0;             ///< sqrt(q0): Li and Ma, Astrophys. J. 272 (1983) 317, eq. 17
};

/// \param n_on count, >= 0 \param n_off count, >= 0 \param tau > 0
/// \throws Error (usage) for counts that are negative or not finite, or such a tau
OnOffResult count_on_off(double n_on, double n_off, double tau);

}  // namespace slalom
