// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "slalom/core/hmc.hpp"
#include "slalom/core/template_mixture.hpp"

/// \file
/// The posterior of a template mixture by Hamiltonian Monte Carlo: without Laplace's approximation,
/// which is poor where weights of a linear mixture meet their bound.
namespace slalom {

/// Draws of the parameters of a mixture.
struct MixturePosterior {
  std::vector<double>
      samples{};              ///< kappa, signal, background [draws * N]; linear weights sum to 1
  std::size_t dimension = 0;  ///< N
  ChainSummary kappa{};       ///< of the signal fraction
  HmcResult
      chains{};  ///< diagnostics; its variables are those that the sampler moves, without bounds
  /// Central interval of kappa. \param probability inside
  Interval central(double probability = 0.6827) const;
  /// Shortest interval of kappa.
  Interval shortest(double probability = 0.6827) const;
};

/// kappa is flat between its bounds and moved through a logistic function, weights of linear
/// processes are moved through a softmax with their Dirichlet priors, and those of exponential ones
/// as they are; all with their Jacobians.
/// \param best a fit to start from, converged or not
/// \param options its bounds of kappa count \throws as `sample`
MixturePosterior sample_posterior(const TemplateMixture& mixture, const MixtureFit& best,
                                  const MixtureFitOptions& options = {},
                                  const HmcOptions& sampling = {});

}  // namespace slalom
