// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

/// \file
/// Bins: ordered edges that can be learned, and the hard histogram.
///
/// Bins are half open, [e_j, e_j+1), but the last one holds its upper edge, as in numpy.
namespace slalom {

/// What becomes of events below the first and above the last edge.
enum class FlowBins {
  fold,  ///< added to the first and last bin: B bins
  keep,  ///< kept as two more bins: underflow, B bins, overflow
  drop,  ///< lost
};

/// Sums of weights and of squared weights, [bins] or [k, bins], float64.
struct Histogram {
  Tensor sumw;   ///< sums of weights
  Tensor sumw2;  ///< sums of squared weights
};

/// Bins that a histogram of B + 1 edges has.
std::int64_t number_of_bins(std::int64_t number_of_edges, FlowBins flow);

/// Edges [B + 1] from B free numbers, in order whatever these are: the widths are shares
/// `min_width` + (1 - B `min_width`) softmax(raw) of the range. The ends are fixed and exact.
/// \param raw [B], any numbers; adding a constant changes nothing
/// \param min_width smallest share of a bin, in [0, 1 / B)
/// \throws Error (usage)
Tensor ordered_edges(const Tensor& raw, double low, double high, double min_width = 0.0);

/// Numbers [B] from which ordered_edges() makes these edges.
/// \throws Error (usage) for edges that do not increase or a width below the smallest
Tensor raw_edges(const Tensor& edges, double min_width = 0.0);

/// Bin of every event, -1 for one that is dropped.
/// \param x [n]
/// \param edges [B + 1], increasing
/// \throws Error (numerical) for NaN in x
Tensor bin_index(const Tensor& x, const Tensor& edges, FlowBins flow);

/// Sums of weights by bin, [bins] or [k, bins]. Differentiable in the weights.
/// \param index [n], see bin_index(); negative: left out
/// \param weights [n], or [k, n] for k sets of weights; float64
Tensor sum_by_bin(const Tensor& index, const Tensor& weights, std::int64_t bins);

/// sum_by_bin() of weights and of squared weights.
Histogram fill_histogram(const Tensor& index, const Tensor& weights, std::int64_t bins);

/// The hard histogram: bin_index() and fill_histogram().
Histogram hard_histogram(const Tensor& x, const Tensor& weights, const Tensor& edges,
                         FlowBins flow);

}  // namespace slalom
