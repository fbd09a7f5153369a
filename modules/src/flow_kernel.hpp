// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <cstdint>
#include <vector>

#include "slalom/modules/flow.hpp"

/// \file
/// Affine flows on the CPU, a block of events at a time through all layers: what lies between two
/// layers stays in the cache, and there is one pass instead of a hundred tensor operations. Blocks
/// and the order of all sums are fixed: results do not depend on the number of threads.
namespace slalom::detail {

/// Which features a layer keeps and which it changes.
struct FlowSplit {
  std::vector<std::int64_t> kept, changed;
};
/// Of a layer. Pairs of layers split by a bit of the features' numbers, so that any two features
/// are told apart within log2(features) pairs; no matter of the seed, so that weights of any seed
/// fit.
FlowSplit flow_split(std::int64_t features, std::int64_t layer);

/// Whether this flow and these tensors are for the kernel.
bool has_flow_kernel(const FlowOptions& options, const Tensor& x);

/// Results of the kernel.
struct FlowValues {
  Tensor value, log_det;  ///< [n, f], [n]
};
/// z of x, or backwards. Arguments: CPU, contiguous, of the type of the weights; condition may be
/// undefined. weights: of all layers in turn, weight [out, in] and bias [out] of each step.
FlowValues flow_values(const FlowOptions& options, const Tensor& x, const Tensor& condition,
                       const std::vector<Tensor>& weights, bool backwards);

/// log p of x, without its constant: log_det - |z|^2 / 2.
Tensor flow_log_prob(const FlowOptions& options, const Tensor& x, const Tensor& condition,
                     const std::vector<Tensor>& weights);

/// Sums over events of cotangents times derivatives of log p.
struct FlowGradients {
  Tensor x, condition;          ///< [n, f], [n, c] or undefined
  std::vector<Tensor> weights;  ///< as given
  Tensor log_prob;              ///< [n], of the pass forward
};
/// \param cotangent [n] of log p; with a pass forward of its own
FlowGradients flow_gradients(const FlowOptions& options, const Tensor& x, const Tensor& condition,
                             const std::vector<Tensor>& weights, const Tensor& cotangent);

}  // namespace slalom::detail
