// SPDX-License-Identifier: Apache-2.0
#pragma once

/// \file
/// The standard normal distribution, accurate far into its tails.
namespace slalom {

/// log Phi(x), finite for all finite x (Phi itself underflows below x = -38).
double log_normal_cdf(double x);

/// Phi(x).
double normal_cdf(double x);

/// x with log Phi(x) = log_p: the significance of a p-value is its negative.
/// \param log_p <= 0; -infinity gives -infinity, 0 gives +infinity
double normal_quantile_of_log(double log_p);

}  // namespace slalom
