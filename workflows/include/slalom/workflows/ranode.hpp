// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "slalom/core/signal_fraction.hpp"
#include "slalom/modules/density.hpp"

/// \file
/// RANODE (arXiv:2312.11629, 2506.00119): the density of an unknown signal and its fraction w in a
/// signal region, fitted jointly to the data beside a known density of the background,
///
///     L = sum_i log(w p_S(x_i) + (1 - w) p_B(x_i)).
///
/// p_S is a network without any knowledge of a signal: on the events that it was trained with, it
/// finds one always. All numbers here come from events that it has not seen (cross-fitting).
///
/// Densities are those of any coordinates, as long as p_S and p_B have the same.
namespace slalom {

/// How p_S is made and trained.
struct RanodeOptions {
  /// A new signal density of the features, by its seed; float32 or float64.
  std::function<Density(std::uint64_t seed)> make_signal = {};
  std::int64_t folds = 2;          ///< of the cross-fitting, > 1: event i is in fold i modulo them
  std::int64_t ensemble = 1;       ///< signal densities of each fold, averaged
  std::int64_t epochs = 30;        ///< of a training
  std::int64_t batch_size = 1024;  ///< events of a batch
  double learning_rate = 2e-3;     ///< of Adam for p_S, falling to 0 as a cosine
  /// Joint fit: w goes this share of the way to the mean responsibility of the signal in a batch,
  /// a step of expectation maximisation, in (0, 1]. The likelihood hardly cares for a w that is too
  /// large, with background in p_S: how far w drifts there is a matter of how fast it may.
  double fraction_rate = 0.03;
  double clip_norm = 1.0;  ///< of the gradient of p_S; 0: not clipped
  double start = 1e-3;     ///< w at first: small, since p_S absorbs background upwards
  std::uint64_t seed = 1;  ///< of weights and batches
  /// Called after each epoch with how many of all are done; false ends with an Error (usage).
  std::function<bool(std::int64_t done, std::int64_t all)> progress = {};
};

/// One cross-fitted signal.
struct RanodeSignal {
  std::vector<Density> densities;  ///< [folds], each trained without its fold
  std::vector<double> fractions;   ///< w in the end, in-sample [folds * ensemble]: biased upwards
  Tensor log_ratio;                ///< log p_S / p_B [n] of densities that have not seen the event
};

/// Trains p_S for each fold. \param features [n, d], in no particular order
/// \param log_background log p_B [n], float64, finite \param fraction w held there; negative: w is
/// fitted jointly
/// \throws Error (usage) for options and shapes, Error (numerical) if a density is not finite
RanodeSignal train_ranode(const Tensor& features, const Tensor& log_background,
                          const RanodeOptions& options, double fraction = -1.0);

/// The joint fit, and the fraction of the held-out likelihood.
struct RanodeFit {
  RanodeSignal signal;              ///< and its ratios
  SignalFractionFit fit;            ///< of the held-out ratios; q0 and z with it
  SignalFractionInterval interval;  ///< of 68 %, with p_S held
};

/// Trains p_S and w jointly and fits w again to the held-out ratios. The interval holds p_S as it
/// is and misses what its training adds: of 11 intervals at 95 % it covered 8 (docs/ranode.md).
RanodeFit fit_ranode(const Tensor& features, const Tensor& log_background,
                     const RanodeOptions& options);

/// The held-out likelihood of trainings with w held.
struct RanodeScan {
  std::vector<double> fraction;  ///< w of each training, rising
  std::vector<double> gain;      ///< log L(w) - log L(0), held out
  std::vector<double> error;     ///< standard deviation of gain - largest gain over bootstraps
  double largest = 0.0;          ///< w of the largest gain of the curve; 0 if none is above 0
  /// The smallest w whose gain is less than its error below the largest one. Towards larger w the
  /// curve is flat: p_S holds background then, which the likelihood does not mind, and where its
  /// largest gain lies is chance. 0 if that w includes 0.
  double best = 0.0;
  double lower = 0.0;          ///< end of the 68 % interval, 1/2 below the gain of `best`; 0 if not
                               ///< reached
  double upper = 0.0;          ///< end above; the last w if not reached
  double lower_95 = 0.0;       ///< the same of 95 %, 1.92 below
  double upper_95 = 0.0;       ///< end above
  bool upper_reached = false;  ///< `upper` lies before the last w
  double q0 = 0.0;             ///< 2 x the largest gain; 0 if it is negative
  double z = 0.0;              ///< sqrt(q0)
  Tensor log_ratio;            ///< held-out ratios [n] of the training next to the best w
};

/// Trains p_S at each w and evaluates the likelihood of the same w on the events held out: the
/// default result. Between the points the curve is a cubic spline in log w.
/// \param fractions in (0, 1), rising, at least 3 \throws Error as train_ranode()
RanodeScan scan_ranode(const Tensor& features, const Tensor& log_background,
                       const std::vector<double>& fractions, const RanodeOptions& options,
                       std::int64_t bootstraps = 100);

}  // namespace slalom
