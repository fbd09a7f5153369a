// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <cstdint>
#include <functional>
#include <vector>

#include "slalom/modules/schedule.hpp"

/// \file
/// Losses besides those of one parameter of interest: criteria of optimal design for several, cross
/// entropy for the start of a training, and mixtures of losses.
///
/// With V = [I^-1] the covariance block of the parameters of interest, all others profiled:
///
///     A: 1/2 log (tr V / k)    D: 1/2 log (det V) / k    E: 1/2 log (largest eigenvalue of V)
///
/// For k = 1 all three are log sigma.
namespace slalom {

/// What is made small for several parameters of interest.
enum class Criterion {
  a,  ///< the mean variance
  d,  ///< the volume of the confidence region; does not depend on units
  e,  ///< the longest axis of the confidence region
};

/// Options of design_loss().
struct DesignOptions {
  Criterion criterion = Criterion::d;  ///< which of them
  std::vector<double> units = {};      ///< unit of each parameter of interest; empty: 1 each
  /// E: the largest eigenvalue as (tr V^p / k)^(1/p), a power of 2, which has a derivative where
  /// eigenvalues are equal; 0: exact, where the derivative then is that of one of them.
  std::int64_t power = 16;
};

/// Covariance [k, k] of some parameters from an information matrix [P, P], the others profiled.
/// \param interest indices, no two alike \throws Error (numerical) if not positive definite
Tensor profiled_covariance(const Tensor& information, const std::vector<std::int64_t>& interest);

/// The criterion, a scalar. \param information [P, P], for example of fisher_information() or
/// linear_information() \throws Error (usage) for options, Error (numerical) as above
Tensor design_loss(const Tensor& information, const std::vector<std::int64_t>& interest,
                   const DesignOptions& options = {});

/// Weighted mean cross entropy, float64.
/// \param outputs real outputs (logits) [n] of a signal, label 1, against background, label 0; or
///   [n, K] of K classes
/// \param labels [n], integers \param weights [n], or undefined: 1 each; all classes may be given
///   equal weight with balanced_weights()
/// \throws Error (usage) for shapes, Error (numerical) for weights of sum 0
Tensor cross_entropy(const Tensor& outputs, const Tensor& labels, const Tensor& weights = {});

/// Weights scaled so that each of the labels 0 ... K - 1 has the sum 1 / K.
/// \throws Error (numerical) for a label whose weights have no positive sum
Tensor balanced_weights(const Tensor& labels, const Tensor& weights = {});

/// One term of a mixture.
struct LossTerm {
  std::function<Tensor()> loss;  ///< a scalar
  Schedule weight = {};          ///< its factor, by step
};

/// sum_k weight_k(step) loss_k. A term whose weight is 0 is not evaluated.
/// \throws Error (usage) for no term with a weight
Tensor mixture(const std::vector<LossTerm>& terms, std::int64_t step);

/// 1 before a step, 0 from it on: the weight of a warm-up's loss.
Schedule until(std::int64_t step);
/// 0 before a step, 1 from it on: the weight of the loss that follows a warm-up.
Schedule from(std::int64_t step);

}  // namespace slalom
