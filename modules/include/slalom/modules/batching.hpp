// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <cstdint>
#include <functional>

/// \file
/// Losses of sums over events, batch by batch.
///
/// Yields are sums over events, y = sum_b y_b(phi), but a loss l(y) is not. Its gradient by the
/// weights phi of a network is
///
///     dl / dphi = sum_b (dl / dy) dy_b / dphi,
///
/// and dl / dy needs the sums of all batches, but no graph of any. Whatever a loss needs (sums of
/// weights, of squared weights, of shifted copies) goes into one tensor of yields.
///
/// All functions add gradients to `.grad` of the leaves, as a plain backward pass does.
namespace slalom {

/// Yields of one batch, a tensor of any shape, the same for all. Called twice for each of several
/// batches, it has to give the same numbers: no dropout, no batch normalisation in training mode.
using BatchYields = std::function<Tensor(std::int64_t batch)>;
/// A scalar loss of the yields.
using YieldLoss = std::function<Tensor(const Tensor& yields)>;

/// The exact gradient of l(sum_b y_b) with the memory of one batch: yields without graphs, one
/// derivative of the loss by the yields, and that cotangent back through each batch. What the loss
/// depends on besides the yields gets its gradient as well. One batch needs one pass.
/// \param batches > 0, number of batches \returns the loss of all events
/// \throws Error (usage) for no batches, Error (numerical) if the second pass has other yields than
///   the first or the loss is not finite
double two_pass_backward(std::int64_t batches, const BatchYields& yields, const YieldLoss& loss);

/// Cotangents from yields that are averaged exponentially over batches,
///
///     a <- a + r (y - a),  r = max(rate, 1 / number of batches so far),
///
/// for one pass over the events only: much less biased than the naive form, not exact. Yields are
/// those of a batch scaled to all events.
class AveragedYields {
 public:
  /// What a checkpoint has to hold.
  struct State {
    Tensor average;          ///< undefined before the first batch
    std::int64_t steps = 0;  ///< batches so far
  };

  /// \param rate in (0, 1]; 1 is the naive form \throws Error (usage)
  explicit AveragedYields(double rate = 0.01);
  /// Takes the yields of a batch into the average, and sends dl / da back through the batch.
  /// \param yields with a graph, scaled to all events \returns the loss of the average
  /// \throws Error (usage) for yields of another shape, Error (numerical) if not finite
  double backward(const Tensor& yields, const YieldLoss& loss);
  /// Where it stands.
  const State& state() const { return state_; }
  /// Goes on from there.
  void restore(const State& state);

 private:
  double rate_;
  State state_;
};

/// The naive form: l(y_b scaled to all events) of one batch. Its expectation is not the gradient of
/// the loss: for batches of 100 events it may point elsewhere altogether. For comparisons.
/// \returns the loss of the batch \throws Error (numerical) if it is not finite
double naive_backward(const Tensor& yields, const YieldLoss& loss);

}  // namespace slalom
