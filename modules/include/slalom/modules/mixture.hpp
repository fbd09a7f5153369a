// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

/// \file
/// Losses of a mixture of signal and background, p(x) = mu p_S(x) + (1 - mu) p_B(x), from
/// logarithms of densities or of their ratio: differentiable in all arguments to any order,
/// float64, finite whatever the size of the logarithms. No small numbers are added anywhere.
///
/// What these functions are not is a fit: for the fraction alone take `signal_fraction.hpp` of the
/// core, which needs no graph.
namespace slalom {

/// log((1 - mu) + mu r) of each event, log r = `log_ratio`: the logarithm of the mixture's density
/// over that of the background, whose sum is log L(mu) - log L(0). Broadcasts.
/// \param log_ratio [n], may be infinite with either sign: -infinity gives log(1 - mu), infinity at
///   mu = 0 gives 0; NaN stays NaN \param mu in [0, 1], both ends included; a scalar, or [n]
/// \throws Error (usage) for mu outside of [0, 1]
Tensor mixture_log_ratio(const Tensor& log_ratio, const Tensor& mu);

/// Probability of each event to be signal, mu r / (1 + mu (r - 1)): its weight in a picture of the
/// signal, and whose mean is where expectation maximisation puts mu. Differentiable at both ends of
/// mu. \param log_ratio [n], may be infinite; NaN stays NaN \param mu as in mixture_log_ratio()
/// \throws Error (usage) for mu outside of [0, 1]
Tensor signal_probability(const Tensor& log_ratio, const Tensor& mu);

/// Mean of -log(mu p_S + (1 - mu) p_B) over events, what R-ANODE trains p_S with (arXiv:2312.11629,
/// 2506.00119), as a sum of exponentials that does not underflow.
/// \param log_signal log p_S [n] \param log_background log p_B [n] \param mu in [0, 1], a scalar
/// \param weights [n] of the events; undefined: 1 each
/// \throws Error (usage) for shapes or mu, Error (numerical) for weights without a positive sum, or
///   an event with NaN or without any density, which it names
Tensor mixture_nll(const Tensor& log_signal, const Tensor& log_background, const Tensor& mu,
                   const Tensor& weights = {});

/// Cross entropy of data against a background reference, with the classifier that is known to be
/// optimal for a mixture, D / (D + B) with D / B = 1 + mu (r - 1): the weakly supervised loss of
/// PAWS (arXiv:2405.08889). Both samples have the same weight. In terms of t =
/// mixture_log_ratio(log r, mu) it is [mean_data softplus(-t) + mean_reference softplus(t)] / 2;
/// log 2 at mu = 0. Its minimum is a consistent estimate of mu and of the parameters of r, with the
/// variance of the reference added to that of the data.
/// \param data log r of the data [n] \param reference log r of background events [m]
/// \param mu in [0, 1], a scalar \param data_weights [n], or undefined \param reference_weights [m]
/// \throws Error as mixture_nll()
Tensor weak_cross_entropy(const Tensor& data, const Tensor& reference, const Tensor& mu,
                          const Tensor& data_weights = {}, const Tensor& reference_weights = {});

}  // namespace slalom
