// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include "slalom/modules/soft_histogram.hpp"

/// \file
/// The smeared histogram of one axis in one pass over the events, on the CPU: counts, leaks over
/// the edges, and their first derivatives, in blocks that stay in the cache. LibTorch does erfc and
/// exp, plain loops the rest: as tensor operations it is five times slower.
namespace slalom::detail {

/// Arguments: CPU, contiguous, float64; x [n] may be float32. weights [k, n] or [n], edges [B + 1],
/// bandwidth [B + 1] or one for all.
struct HistogramInputs {
  Tensor x, weights, edges, bandwidth;
  Kernel kernel;
  FlowBins flow;
};

/// Sums [k, bins] or [bins], as the weights.
struct HistogramSums {
  Tensor soft_sumw, soft_sumw2, hard_sumw, hard_sumw2;
};

/// \throws Error (numerical) for NaN in x
HistogramSums histogram_sums(const HistogramInputs& in);

/// Which derivatives are wanted, and where they are put; undefined: not wanted. That by x has the
/// type of x, the others are float64 and zeros; that by one bandwidth for all edges is left as that
/// of each edge.
struct HistogramGradients {
  Tensor x, weights, edges, bandwidth;
};

/// Puts into `out` the products of cotangents (float64, contiguous; undefined: 0) and first
/// derivatives.
void histogram_gradients(const HistogramInputs& in, const HistogramSums& cotangents,
                         HistogramGradients& out);

}  // namespace slalom::detail
