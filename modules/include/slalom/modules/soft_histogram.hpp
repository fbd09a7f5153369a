// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch_module.hpp"

#include <cstdint>
#include <string>
#include <vector>

#include "slalom/modules/binning.hpp"
#include "slalom/modules/schedule.hpp"

/// \file
/// Histograms with a derivative: every event is smeared with a kernel of cumulative distribution F
/// and bandwidth h, and bin j gets the exact integral
///
///     m_ij = F((e_j+1 - x_i) / h) - F((e_j - x_i) / h),   sumw_j = sum_i w_i m_ij,
///     sumw2_j = sum_i w_i^2 m_ij.
///
/// One F for each edge and event. Computed as the hard histogram less what leaks over the edges, so
/// that tails keep their digits, an empty bin far from all events holds exactly 0, and the limit h
/// -> 0 is the hard histogram. With FlowBins::keep or fold the sum of the bins is that of the
/// weights.
///
/// This is the border between a network's float32 and the likelihood's float64: results are float64
/// whatever the arguments are. Bins of several axes are flattened, the last axis fastest.
namespace slalom {

/// Distribution with which an event is smeared.
enum class Kernel {
  gaussian,  ///< F = Phi, bandwidth = standard deviation
  sigmoid,   ///< F = 1 / (1 + e^-z), bandwidth = scale (standard deviation 1.81 h)
};

/// What is done at and beyond the edges.
struct SmearingOptions {
  Kernel kernel = Kernel::gaussian;  ///< shape of the smearing
  FlowBins flow = FlowBins::fold;    ///< what becomes of underflow and overflow
  bool reflect = false;  ///< reflect at both ends what leaks over them; then events beyond the ends
                         ///< stay where they are, without derivatives
  /// Equal in all members.
  bool operator==(const SmearingOptions&) const = default;
};

/// Bandwidths [B + 1] of the edges from those of the bins [B]: the harmonic mean of both sides, so
/// that the narrower one decides. The smearing of an edge is shared by its two bins, hence weights
/// stay conserved. Where bandwidths differ, m_ij can be as low as -(1 - F(width / h)).
Tensor edge_bandwidth(const Tensor& bin_bandwidth);

/// Shares m [n, bins] of every event in every bin; plain operations, for products of axes.
/// \param x [n]
/// \param edges [B + 1], increasing
/// \param bandwidth > 0, one or [B + 1] of the edges
/// \throws Error (usage) for shapes, Error (numerical) for NaN in x
Tensor bin_membership(const Tensor& x, const Tensor& edges, const Tensor& bandwidth,
                      const SmearingOptions& options = {});

/// The smeared histogram. Differentiable twice in x, weights, edges and bandwidth. Fused: no graph
/// of its own inside, but if an argument carries a forward-mode tangent.
/// \param x [n] \param weights [n], or [k, n] for k sets of weights of the same events
/// \param edges [B + 1], increasing \param bandwidth > 0, one or [B + 1] of the edges
/// \throws Error (usage) for shapes, Error (numerical) for NaN in x
Histogram soft_histogram(const Tensor& x, const Tensor& weights, const Tensor& edges,
                         const Tensor& bandwidth, const SmearingOptions& options = {});

/// Softmax bins: m_ij = softmax(outputs_i / temperature)_j. The limit of a temperature of 0 is the
/// largest output's bin.
/// \param outputs [n, B] \param weights [n] or [k, n] \param temperature > 0
Histogram softmax_histogram(const Tensor& outputs, const Tensor& weights, double temperature);

/// A histogram for training, and what it stands for.
struct SoftHistogramResult {
  Tensor sumw;     ///< what to use: soft while training, hard in evaluation mode
  Tensor sumw2;    ///< the same for squared weights
  Histogram soft;  ///< smeared
  Histogram hard;  ///< counted
  /// Soft less hard sums of weights: the bias that annealing removes.
  Tensor difference() const;
};

/// One axis of a histogram.
struct AxisOptions {
  std::vector<double> edges = {0.0, 1.0};      ///< increasing; where learning starts
  double bandwidth = 0.1;                      ///< in units of the axis, or of bin widths; 0: hard
  bool relative = false;                       ///< whether the bandwidth is in units of bin widths
  std::vector<double> bandwidth_factors = {};  ///< per bin; empty: 1
  SmearingOptions smearing = {};               ///< kernel, flow, reflection
  bool learnable = false;                      ///< whether the inner edges are parameters
  double min_width = 1e-3;  ///< smallest width of learnable bins, as a share of the range
  /// Equal in all members.
  bool operator==(const AxisOptions&) const = default;
};

/// Options of SoftHistogram.
struct SoftHistogramOptions {
  std::vector<AxisOptions> axes = {AxisOptions{}};  ///< one or more; their product
  Schedule annealing = {};                          ///< factor of all bandwidths, by step
  bool straight_through = false;                    ///< hard values, soft derivatives
  /// Equal in all members.
  bool operator==(const SoftHistogramOptions&) const = default;
};

/// The smeared histogram as a stage; holds edges. In evaluation mode it counts.
class SoftHistogramImpl : public torch::nn::Module {
 public:
  /// \throws Error (usage) for options that make no sense
  explicit SoftHistogramImpl(SoftHistogramOptions options = {});

  /// \param x [n], or [n, axes] \param weights [n] or [k, n]
  SoftHistogramResult forward(const Tensor& x, const Tensor& weights);

  /// Bin of every event [n] in the hard histogram, -1 for one that is dropped; the last axis runs
  /// fastest. \param x as forward()
  Tensor bin_of(const Tensor& x) const;
  /// Edges [B + 1] of an axis; a node of the graph if they are learned.
  Tensor edges(std::size_t axis = 0) const;
  /// Bandwidths [B + 1] of the edges at the current step.
  Tensor bandwidth(std::size_t axis = 0) const;
  /// Bins of the result.
  std::int64_t bins() const;
  /// Sets the annealing to that of a step.
  void set_step(std::int64_t step);
  /// Factor of all bandwidths.
  double annealing() const { return annealing_; }
  /// As given.
  const SoftHistogramOptions& options() const { return options_; }
  /// One line for people.
  void pretty_print(std::ostream& stream) const override;

 private:
  SoftHistogramOptions options_;
  std::vector<Tensor> edges_;       // or raw numbers of learnable edges
  std::vector<Tensor> bandwidths_;  // of the edges; of the bins, in widths, if they move with them
  double annealing_ = 1.0;
};
/// Handle of a SoftHistogramImpl; copies share it.
TORCH_MODULE(SoftHistogram);

/// Options of SoftmaxHistogram.
struct SoftmaxHistogramOptions {
  double temperature = 1.0;       ///< > 0
  Schedule annealing = {};        ///< factor of the temperature, by step
  bool straight_through = false;  ///< hard values, soft derivatives
  /// Equal in all members.
  bool operator==(const SoftmaxHistogramOptions&) const = default;
};

/// Softmax bins as a stage. In evaluation mode the largest output has the event.
class SoftmaxHistogramImpl : public torch::nn::Module {
 public:
  /// \throws Error (usage) for a temperature that is not positive
  explicit SoftmaxHistogramImpl(SoftmaxHistogramOptions options = {});

  /// \param outputs [n, B] \param weights [n] or [k, n]
  SoftHistogramResult forward(const Tensor& outputs, const Tensor& weights);

  /// Sets the annealing to that of a step.
  void set_step(std::int64_t step);
  /// Temperature at the current step.
  double temperature() const { return options_.temperature * annealing_; }
  /// As given.
  const SoftmaxHistogramOptions& options() const { return options_; }
  /// One line for people.
  void pretty_print(std::ostream& stream) const override;

 private:
  SoftmaxHistogramOptions options_;
  double annealing_ = 1.0;
};
/// Handle of a SoftmaxHistogramImpl; copies share it.
TORCH_MODULE(SoftmaxHistogram);

}  // namespace slalom
