// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

/// \file
/// Logarithms of probability densities, elementwise and differentiable in all arguments to any
/// order. float64; arguments broadcast against each other.
namespace slalom {

/// log of rate^n e^-rate / Gamma(n + 1), the Poisson probability continued to real n >= 0.
///
/// Computed as n (log1p(e) - e) - r(n) with e = (rate - n) / n and r(n) = lgamma(n + 1) - n log n +
/// n, so that constraints with 10^11 counts keep their digits, where a plain lgamma loses 10^-3.
/// -infinity for a negative rate, and for rate 0 with n > 0; 0 for both 0.
Tensor poisson_log_prob(const Tensor& n, const Tensor& rate);

/// log of the normal density with the given mean and sigma > 0.
Tensor normal_log_prob(const Tensor& x, const Tensor& mean, const Tensor& sigma);

}  // namespace slalom
