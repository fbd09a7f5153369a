// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <cstdint>

#include "slalom/core/minimize.hpp"
#include "slalom/core/template_mixture.hpp"

/// \file
/// Mixtures of simulations as tensor functions, from log ratios to one reference; differentiable to
/// any order in weights and log ratios (TAMM, arXiv:2604.02219).
///
///     R = kappa c_s r_s + (1 - kappa) c_b r_b
///     exponential: log r = sum_k w_k log r_k,   linear: r = sum_k w_k r_k,   sum_k w_k = 1
///
/// Norms c of both processes are parameters, so that no integral is needed: the published loss
/// makes R a density. `template_mixture.hpp` of the core normalises exactly and is much faster;
/// both have their minimum at the same kappa and weights.
namespace slalom {

/// The last of K weights that sum to 1, appended. \param free_weights [K - 1], may be empty
/// \returns [K]
Tensor affine_weights(const Tensor& free_weights);

/// log r [n] of a process. \param log_ratios [n, K] \param weights [K]; linear: not negative, not
/// all 0 \throws Error (usage) for shapes, negative linear weights
Tensor adapted_log_ratio(const Tensor& log_ratios, const Tensor& weights,
                         MixtureFamily family = MixtureFamily::exponential);

/// R [n]. kappa = 0 and 1 are allowed, and so is one outside, where R may be negative.
/// \param signal c_s r_s [n] \param background c_b r_b [n] \param kappa scalar
Tensor adapted_ratio(const Tensor& signal, const Tensor& background, const Tensor& kappa);

/// The parameters of a mixture, each with or without a graph.
struct AdaptedParameters {
  Tensor kappa;               ///< scalar
  Tensor signal_norm;         ///< c_s, scalar
  Tensor background_norm;     ///< c_b, scalar
  Tensor signal_weights;      ///< [K_s], sum 1
  Tensor background_weights;  ///< [K_b], sum 1
};

/// From one vector: kappa, c_s, c_b, K_s - 1 and K_b - 1 free weights [1 + K_s + K_b].
/// \throws Error (usage) for another length
AdaptedParameters adapted_parameters(const Tensor& x, std::int64_t signal, std::int64_t background);

/// Log ratios of events to the reference, for the simulations of both processes.
struct AdaptedSample {
  Tensor signal;      ///< [n, K_s]
  Tensor background;  ///< [n, K_b]
};

/// Options of adapted_loss().
struct AdaptedLossOptions {
  MixtureFamily family = MixtureFamily::exponential;  ///< of both processes
  double penalty = 1.0;                               ///< of norms that differ, not negative
  double ridge = 1.0;                                 ///< of weights, not negative
  double floor = 1e-8;                                ///< least R of which a logarithm is taken
};

/// The maximum-likelihood-classifier loss with its penalties,
///
///     L = -sum_data ln R + n_data ( <R> - 1 ) + penalty n_data / 2 ( c_b <r_b> - c_s <r_s> )^2
///         + ridge / 2 sum_k (w_k - 1/K)^2 of both processes,
///
/// <> being the mean over the reference. Scalar, float64. Without data only the ridge is left.
/// \throws Error (usage) for shapes, an empty reference or options that are negative
Tensor adapted_loss(const AdaptedParameters& parameters, const AdaptedSample& data,
                    const AdaptedSample& reference, const AdaptedLossOptions& options = {});

/// The symmetrised maximum-likelihood-classifier loss of a log ratio t of two samples, mean over
/// the numerator of -t + exp(-t) - 1 plus mean over the denominator of t + exp(t) - 1: least at the
/// true log ratio (arXiv:2506.00113). Scalar, float64. \param numerator t [n] \param denominator t
/// [m] \throws Error (usage) for shapes or an empty sample
Tensor symmetrised_mlc_loss(const Tensor& numerator, const Tensor& denominator);

/// How to fit.
struct AdaptedFitOptions {
  AdaptedLossOptions loss{};  ///< what is minimised; of the exponential family
  double kappa = 0.1;         ///< start
  double kappa_low = 0.0;     ///< bound
  double kappa_high = 1.0;    ///< bound
  double tolerance = 1e-7;    ///< as in MinimizeOptions
};

/// Minimises adapted_loss() from equal weights by core's minimiser, with gradient and Hessian of
/// autograd: first with kappa held, then in everything. For linear mixtures take
/// `template_mixture.hpp`, whose parameters have simple bounds.
/// \returns parameters as in adapted_parameters(); a fit that does not converge is a status
/// \throws Error (usage) for shapes and options
MinimizeResult fit_adapted(const AdaptedSample& data, const AdaptedSample& reference,
                           const AdaptedFitOptions& options = {});

}  // namespace slalom
