// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include "slalom/core/fit.hpp"
#include "slalom/modules/likelihood.hpp"

/// \file
/// Maximum-likelihood fits as nodes of a graph.
///
/// The fit itself runs on core's compiled engine. Its derivative is that of the implicit function
/// theorem on the free parameters F that are not at a bound,
///
///     d theta_F / dT = -H_FF^-1 d^2 (-log L) / d theta_F dT,
///
/// put into the graph as one Newton step theta_F - H_FF^-1 g_F, whose value is the optimum and
/// whose derivative is the above. Templates and data may both be nodes of the graph.
namespace slalom {

/// How a fit enters the graph.
struct ProfileFitOptions {
  FitOptions fit{};  ///< held and floating parameters, start, tolerance
  /// Derivatives of this order are exact: 1, or 2 (a second Newton step with the Hessian in the
  /// graph, P times as expensive).
  int order = 1;
};

/// A fit as nodes of a graph.
struct ProfileFit {
  Tensor parameters;  ///< best fit [P], float64; held parameters and those at bounds are constants
  Tensor twice_nll;   ///< -2 log L there, a scalar
  FitResult result;   ///< what core's fit says: look at its status
};

/// The best fit of `data` [B + A] for given templates.
/// \throws Error (numerical) if the fit does not converge: a gradient of a point that is no optimum
///   would be wrong without notice
ProfileFit profile_fit(const Likelihood& likelihood, const Templates& templates, const Tensor& data,
                       const ProfileFitOptions& options = {});

/// Covariance [F, F] of the parameters `free` (indices, int64 [F]) from the Hessian of -log L in
/// the graph: the inverse of its block. \throws Error (numerical) if it is not positive definite
Tensor covariance(const Likelihood& likelihood, const Templates& templates, const Tensor& data,
                  const Tensor& parameters, const Tensor& free);

/// Fisher information [P, P] of the main data and the constraints at `parameters`, which is the
/// Hessian of -log L for Asimov data of that point. It needs first derivatives of the rates only.
Tensor fisher_information(const Likelihood& likelihood, const Templates& templates,
                          const Tensor& parameters);

/// Indices of the parameters that float in a fit and are not at a bound, int64 [F], CPU.
Tensor free_parameters(const FitResult& result);

}  // namespace slalom
