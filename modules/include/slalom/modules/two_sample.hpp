// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <cstdint>
#include <vector>

#include "slalom/modules/classifier.hpp"
#include "slalom/modules/events.hpp"

/// \file
/// A classifier that learns to tell two samples apart, and what it says about events that it has
/// not seen: the closure of a simulation, the search for an anomaly in data beside a reference
/// (arXiv:1708.02949), or the best classifier that simulated signal can give.
namespace slalom {

/// A network, and its training with balanced cross entropy (Adam, cosine).
struct TwoSampleOptions {
  std::vector<std::int64_t> hidden = {32, 32};  ///< of the network (SiLU)
  std::int64_t steps = 500;                     ///< of its training
  std::int64_t batch_size = 4096;               ///< events of a batch
  double learning_rate = 5e-3;                  ///< at first
  double weight_decay = 0.0;                    ///< of Adam, decoupled
  std::int64_t ensemble = 1;                    ///< networks whose logits are averaged
  std::uint64_t seed = 1;                       ///< of weights and batches
};

/// Networks trained to give logits above 0 for events of the second sample; the sums of weights are
/// made equal. \throws Error (usage) for columns that differ or options that are not positive,
/// Error (numerical) for weights without a positive sum
Classifier train_two_sample(const EventBatch& first, const EventBatch& second,
                            const TwoSampleOptions& options = {});

/// Logits of all events of both samples.
struct TwoSampleLogits {
  Tensor first;   ///< [n], float64
  Tensor second;  ///< [m], float64
};

/// Cross-fitting: event i is in fold i modulo `folds`, and gets the logit of networks that were
/// trained without its fold. The events must come in no particular order.
/// \param folds > 1 \throws Error (usage) as train_two_sample(), and for fewer events than folds
TwoSampleLogits cross_fitted_logits(const EventBatch& first, const EventBatch& second,
                                    std::int64_t folds, const TwoSampleOptions& options = {});

/// Places [n] of the events in a fold, or with `complement` of all others; on the CPU.
Tensor fold_indices(std::int64_t n, std::int64_t folds, std::int64_t fold, bool complement = false);

}  // namespace slalom
