// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/soft_histogram.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/addcmul.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/diff.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/erfc.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <cmath>
#include <numbers>
#include <ostream>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <utility>

#include "check.hpp"
#include "histogram_kernel.hpp"
#include "to_tensor.hpp"

namespace slalom {

namespace {

using detail::require;
using detail::shape_of;
using detail::to_tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// With y = (x - e) / h and the distribution F of the kernel, the share of an event below an edge is
// F(-y) = [x < e] - U(y), where U(y) = -1/2 (1 + sign y) + ... = -sign(y) F(-|y|) is what leaks:
// odd, small far from the edge, and of derivative F'(y) everywhere if its jump is left out, as it
// must be: it makes up for that of [x < e]. At y = 0 the event counts as above the edge.

/// F(-|y|), with z = |y|.
Tensor tail(const Tensor& z, Kernel kernel) {
  if (kernel == Kernel::sigmoid) return at::sigmoid(-z);
  return 0.5 * at::erfc(z * (0.5 * std::numbers::sqrt2));
}

/// U(y), differentiable at y = 0 too.
Tensor leak(const Tensor& y, Kernel kernel) {
  const Tensor sign = at::where(y >= 0.0, at::ones_like(y), -at::ones_like(y));
  return -sign * tail(sign * y, kernel);
}

/// F'(y).
Tensor density(const Tensor& y, Kernel kernel) {
  if (kernel == Kernel::sigmoid) {
    const Tensor s = at::sigmoid(y);
    return s * (1.0 - s);
  }
  const Tensor log_norm = at::full({}, -0.5 * std::log(2.0 * std::numbers::pi), y.options());
  return at::exp(at::addcmul(log_norm, y, y, -0.5));
}

Tensor distances(const Tensor& x, const Tensor& edges, const Tensor& bandwidth) {
  return (x.unsqueeze(1) - edges) / bandwidth;
}

/// S [k, E] = sum_i w_ki U(y_ij): one pass over events and edges, without a graph of its own.
/// Edges come first in its tables [E, n], so that rows are long.
class LeakSums : public torch::autograd::Function<LeakSums> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weights,
                        const Tensor& edges, const Tensor& bandwidth, bool gaussian) {
    const Tensor y = (x - edges.unsqueeze(1)).mul_(bandwidth.reciprocal().unsqueeze(1));
    Tensor u = at::abs(y);
    if (gaussian) {
      u.mul_(0.5 * std::numbers::sqrt2).erfc_();
    } else {
      u.neg_().sigmoid_();
    }
    u.copysign_(y);
    ctx->save_for_backward({x, weights, edges, bandwidth, y});
    ctx->saved_data["gaussian"] = gaussian;
    return at::matmul(weights, u.t()).mul_(gaussian ? -0.5 : -1.0);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& cotangents) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &weights = saved[1], &edges = saved[2], &bandwidth = saved[3];
    const Kernel kernel = ctx->saved_data["gaussian"].toBool() ? Kernel::gaussian : Kernel::sigmoid;
    // The saved distances carry no graph: made anew where this is to be differentiated again.
    const Tensor y =
        at::GradMode::is_enabled() ? (x - edges.unsqueeze(1)) / bandwidth.unsqueeze(1) : saved[4];
    const Tensor scaled = cotangents[0] / bandwidth;
    variable_list result(5);
    if (x.requires_grad() || edges.requires_grad() || bandwidth.requires_grad()) {
      const Tensor slope = density(y, kernel);
      if (x.requires_grad()) result[0] = (at::matmul(scaled, slope) * weights).sum(0);
      if (edges.requires_grad()) result[2] = -(scaled * at::matmul(weights, slope.t())).sum(0);
      if (bandwidth.requires_grad()) {
        result[3] = -(scaled * at::matmul(weights, (slope * y).t())).sum(0);
      }
    }
    if (weights.requires_grad()) result[1] = at::matmul(cotangents[0], leak(y, kernel));
    return result;
  }
};

bool has_tangent(const Tensor& tensor) { return tensor._fw_grad(0).defined(); }

/// Arguments in float64 and in their full shapes.
struct Inputs {
  Tensor x, weights, edges, bandwidth;
};

void check(const Tensor& x, const Tensor& weights, const Tensor& edges, const Tensor& bandwidth) {
  // Texts are made only where they are needed: this is called for every histogram of a training.
  const auto refuse = [](const std::string& message) { require(false, message, "soft_histogram"); };
  if (x.dim() != 1) refuse("[events] expected, found " + shape_of(x));
  if (edges.dim() != 1 || edges.size(0) <= 1) refuse("edges " + shape_of(edges));
  if (bandwidth.numel() != 1 && bandwidth.sizes() != edges.sizes()) {
    refuse("bandwidths " + shape_of(bandwidth) + " for edges " + shape_of(edges));
  }
  if (weights.dim() < 1 || weights.dim() > 2 || weights.size(-1) != x.size(0)) {
    refuse("weights " + shape_of(weights) + " for events " + shape_of(x));
  }
}

Inputs prepare(const Tensor& x, const Tensor& weights, const Tensor& edges,
               const Tensor& bandwidth) {
  check(x, weights, edges, bandwidth);
  const Tensor w = weights.to(at::kDouble);
  return {x.to(at::kDouble), w.dim() == 1 ? w.unsqueeze(0) : w, edges.to(at::kDouble),
          bandwidth.to(at::kDouble).reshape({-1}).expand({edges.size(0)})};
}

/// What leaks over the edges and what comes back, as a sum over the edges and their mirror images:
/// `sums` does the work for any edges.
template <class Sums>
Tensor over_edges(const Inputs& in, const SmearingOptions& options, const Sums& sums) {
  const std::int64_t last = in.edges.size(0) - 1;
  if (!options.reflect && options.flow != FlowBins::fold) return sums(in.edges, in.bandwidth);
  const Tensor inner = in.edges.slice(0, 1, last), h = in.bandwidth.slice(0, 1, last);
  if (!options.reflect) return sums(inner, h);
  const Tensor all = sums(at::cat({inner, 2.0 * in.edges[0] - inner, 2.0 * in.edges[last] - inner}),
                          at::cat({h, h, h}));
  const std::int64_t n = last - 1;
  return all.narrow(-1, 0, n) - all.narrow(-1, n, n) - all.narrow(-1, 2 * n, n);
}

/// What every bin gets from leaks [.., edges] over its two edges.
Tensor to_bins(const Tensor& leaks, const SmearingOptions& options) {
  std::vector<std::int64_t> shape = leaks.sizes().vec();
  // Nothing leaks over ends that are not there, and nothing over ends that reflect.
  shape.back() = options.flow == FlowBins::keep && options.reflect ? 2 : 1;
  if (options.flow == FlowBins::drop && !options.reflect) return -at::diff(leaks);
  const Tensor none = at::zeros(shape, leaks.options());
  return -at::diff(at::cat({none, leaks, none}, -1));
}

Tensor inside(const Inputs& in) {
  return ((in.x >= in.edges[0]) & (in.x <= in.edges[-1])).to(at::kDouble).detach();
}

/// Events exactly at the last edge, which belong below it: their leak has the other sign.
Tensor at_last_edge(const Inputs& in) { return (in.x == in.edges[-1]).to(at::kDouble).detach(); }

bool uses_ends(const SmearingOptions& options) {
  return !options.reflect && options.flow != FlowBins::fold;
}

Tensor smeared_sums(const Inputs& in, const SmearingOptions& options) {
  const Tensor weights = options.reflect ? in.weights * inside(in) : in.weights;
  Tensor leaks = over_edges(in, options, [&](const Tensor& edges, const Tensor& h) {
    return LeakSums::apply(in.x, weights, edges, h, options.kernel == Kernel::gaussian);
  });
  if (uses_ends(options)) {
    const Tensor extra = at::matmul(weights, at_last_edge(in)).unsqueeze(1);
    leaks = at::cat({leaks.slice(1, 0, -1), leaks.slice(1, -1) + extra}, 1);
  }
  return to_bins(leaks, options);
}

Tensor membership(const Inputs& in, const Tensor& index, const SmearingOptions& options) {
  Tensor leaks = over_edges(in, options, [&](const Tensor& edges, const Tensor& h) {
    return leak(distances(in.x, edges, h), options.kernel);
  });
  if (options.reflect) leaks = leaks * inside(in).unsqueeze(1);
  if (uses_ends(options)) {
    leaks = at::cat({leaks.slice(1, 0, -1), leaks.slice(1, -1) + at_last_edge(in).unsqueeze(1)}, 1);
  }
  const std::int64_t bins = number_of_bins(in.edges.size(0), options.flow);
  const Tensor place = at::where(index < 0, bins, index).unsqueeze(1);
  const Tensor hard =
      at::zeros({in.x.size(0), bins + 1}, in.x.options()).scatter(1, place, 1.0).narrow(1, 0, bins);
  return hard + to_bins(leaks, options);
}

/// Sums of weights and of squared weights, with the dimensions of the weights.
Histogram split(const Tensor& sums, const Tensor& weights) {
  if (weights.dim() == 1) return {sums[0], sums[1]};
  const std::int64_t k = weights.size(0);
  return {sums.narrow(0, 0, k), sums.narrow(0, k, k)};
}

Tensor with_squares(const Tensor& weights) { return at::cat({weights, weights * weights}); }

/// Weights [k, n] and their squares below each other.
Tensor stacked(const Tensor& weights) {
  const Tensor w = weights.to(at::kDouble);
  return with_squares(w.dim() == 1 ? w.unsqueeze(0) : w);
}

/// Smeared sums [k, bins], with the hard ones at hand.
Tensor smear(const Inputs& in, const SmearingOptions& options, const Tensor& hard,
             const Tensor& index) {
  if (has_tangent(in.x) || has_tangent(in.weights) || has_tangent(in.edges) ||
      has_tangent(in.bandwidth)) {
    return at::matmul(in.weights, membership(in, index, options));
  }
  return hard + smeared_sums(in, options);
}

struct Both {
  Histogram soft, hard;
};

/// By tensor operations: on any device, for every option, to any order.
Both by_operations(const Tensor& x, const Tensor& weights, const Tensor& edges,
                   const Tensor& bandwidth, const SmearingOptions& options) {
  Inputs in = prepare(x, weights, edges, bandwidth);
  in.weights = with_squares(in.weights);
  const Tensor index = bin_index(x, edges, options.flow);
  const Tensor hard = sum_by_bin(index, in.weights, number_of_bins(edges.size(0), options.flow));
  return {split(smear(in, options, hard, index), weights), split(hard, weights)};
}

/// The same in one pass on the CPU. Its second derivatives are those of by_operations().
class FusedHistogram : public torch::autograd::Function<FusedHistogram> {
 public:
  static variable_list forward(AutogradContext* ctx, const Tensor& x, const Tensor& weights,
                               const Tensor& edges, const Tensor& bandwidth, std::int64_t kernel,
                               std::int64_t flow) {
    ctx->save_for_backward({x, weights, edges, bandwidth});
    ctx->saved_data["kernel"] = kernel;
    ctx->saved_data["flow"] = flow;
    ctx->set_materialize_grads(false);
    const detail::HistogramSums sums =
        detail::histogram_sums(flat(x, weights, edges, bandwidth, options_of(ctx)));
    return {sums.soft_sumw, sums.soft_sumw2, sums.hard_sumw, sums.hard_sumw2};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& cotangents) {
    const variable_list in = ctx->get_saved_variables();
    const SmearingOptions options = options_of(ctx);
    variable_list result(6);
    if (at::GradMode::is_enabled()) {
      again(in, cotangents, options, result);
      return result;
    }
    const Tensor &x = in[0], &weights = in[1], &edges = in[2], &bandwidth = in[3];
    const detail::HistogramInputs inputs = flat(x, weights, edges, bandwidth, options);
    detail::HistogramGradients g;
    if (x.requires_grad()) g.x = at::empty_like(inputs.x);
    if (weights.requires_grad()) g.weights = at::zeros_like(inputs.weights);
    if (edges.requires_grad()) g.edges = at::zeros_like(inputs.edges);
    if (bandwidth.requires_grad()) g.bandwidth = at::zeros_like(inputs.edges);
    const auto cotangent = [&](std::size_t i) {
      return cotangents[i].defined() ? cotangents[i].to(at::kDouble).contiguous() : Tensor();
    };
    detail::histogram_gradients(inputs, {cotangent(0), cotangent(1), cotangent(2), cotangent(3)},
                                g);
    if (g.x.defined()) result[0] = g.x.to(x.scalar_type());
    if (g.weights.defined()) {
      result[1] = g.weights.reshape(weights.sizes()).to(weights.scalar_type());
    }
    if (g.edges.defined()) result[2] = g.edges.to(edges.scalar_type());
    if (g.bandwidth.defined()) {
      const bool one = bandwidth.numel() == 1;
      result[3] = (one ? g.bandwidth.sum().reshape(bandwidth.sizes()) : g.bandwidth)
                      .to(bandwidth.scalar_type());
    }
    return result;
  }

 private:
  static SmearingOptions options_of(AutogradContext* ctx) {
    return {static_cast<Kernel>(ctx->saved_data["kernel"].toInt()),
            static_cast<FlowBins>(ctx->saved_data["flow"].toInt()), false};
  }

  static Tensor plain(const Tensor& tensor) { return tensor.to(at::kDouble).contiguous(); }

  static detail::HistogramInputs flat(const Tensor& x, const Tensor& weights, const Tensor& edges,
                                      const Tensor& bandwidth, const SmearingOptions& options) {
    const bool known = x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble;
    return {known ? x.contiguous() : x.to(at::kDouble).contiguous(),
            plain(weights),
            plain(edges),
            plain(bandwidth).reshape({-1}),
            options.kernel,
            options.flow};
  }

  /// First derivatives that can be differentiated again.
  static void again(const variable_list& in, const variable_list& cotangents,
                    const SmearingOptions& options, variable_list& result) {
    const Both both = by_operations(in[0], in[1], in[2], in[3], options);
    variable_list values, factors, inputs;
    std::size_t i = 0;
    for (const Tensor& value : {both.soft.sumw, both.soft.sumw2, both.hard.sumw, both.hard.sumw2}) {
      if (cotangents[i].defined() && value.requires_grad()) {
        values.push_back(value);
        factors.push_back(cotangents[i]);
      }
      ++i;
    }
    for (const Tensor& input : in) {
      if (input.requires_grad()) inputs.push_back(input);
    }
    if (values.empty() || inputs.empty()) return;
    const variable_list found = torch::autograd::grad(values, inputs, factors, true, true, true);
    std::size_t next = 0;
    for (std::size_t j = 0; j < in.size(); ++j) {
      if (in[j].requires_grad()) result[j] = found[next++];
    }
  }
};

bool on_cpu(const Tensor& tensor) { return tensor.device().is_cpu(); }

Both both_histograms(const Tensor& x, const Tensor& weights, const Tensor& edges,
                     const Tensor& bandwidth, const SmearingOptions& options) {
  check(x, weights, edges, bandwidth);
  const bool tangents =
      has_tangent(x) || has_tangent(weights) || has_tangent(edges) || has_tangent(bandwidth);
  if (options.reflect || tangents || !on_cpu(x) || !on_cpu(weights) || !on_cpu(edges) ||
      !on_cpu(bandwidth)) {
    return by_operations(x, weights, edges, bandwidth, options);
  }
  const variable_list sums =
      FusedHistogram::apply(x, weights, edges, bandwidth, static_cast<std::int64_t>(options.kernel),
                            static_cast<std::int64_t>(options.flow));
  return {{sums[0], sums[1]}, {sums[2], sums[3]}};
}

SoftHistogramResult choose(const Histogram& soft, const Histogram& hard, bool training,
                           bool straight_through) {
  SoftHistogramResult result{soft.sumw, soft.sumw2, soft, hard};
  if (!training) {
    result.sumw = hard.sumw;
    result.sumw2 = hard.sumw2;
  } else if (straight_through) {
    result.sumw = hard.sumw.detach() + (soft.sumw - soft.sumw.detach());
    result.sumw2 = hard.sumw2.detach() + (soft.sumw2 - soft.sumw2.detach());
  }
  return result;
}

void check(const AxisOptions& axis) {
  const char* where = "soft_histogram";
  require(axis.edges.size() > 1, "an axis needs at least two edges", where);
  for (std::size_t i = 0; i < axis.edges.size(); ++i) {
    require(std::isfinite(axis.edges[i]), "edges must be finite", where);
    require(i == 0 || axis.edges[i] > axis.edges[i - 1], "edges must increase", where);
  }
  require(axis.bandwidth >= 0.0 && std::isfinite(axis.bandwidth), "bandwidths must not be negative",
          where);
  require(axis.bandwidth_factors.empty() || axis.bandwidth_factors.size() + 1 == axis.edges.size(),
          "one factor of the bandwidth for each bin expected", where);
  for (const double factor : axis.bandwidth_factors) {
    require(factor > 0.0 && std::isfinite(factor), "factors of the bandwidth must be positive",
            where);
  }
}

/// Whether the bandwidths of an axis follow edges that are learned.
bool moves(const AxisOptions& axis) { return axis.relative && axis.learnable; }

}  // namespace

Tensor edge_bandwidth(const Tensor& bin_bandwidth) {
  const Tensor left = bin_bandwidth.slice(0, 0, -1), right = bin_bandwidth.slice(0, 1);
  const Tensor inner = 2.0 / (1.0 / left + 1.0 / right);  // 0 if one of them is 0
  return at::cat({bin_bandwidth.slice(0, 0, 1), inner, bin_bandwidth.slice(0, -1)});
}

Tensor bin_membership(const Tensor& x, const Tensor& edges, const Tensor& bandwidth,
                      const SmearingOptions& options) {
  const Inputs in = prepare(x, x.detach(), edges, bandwidth);
  return membership(in, bin_index(x, edges, options.flow), options);
}

Histogram soft_histogram(const Tensor& x, const Tensor& weights, const Tensor& edges,
                         const Tensor& bandwidth, const SmearingOptions& options) {
  return both_histograms(x, weights, edges, bandwidth, options).soft;
}

Histogram softmax_histogram(const Tensor& outputs, const Tensor& weights, double temperature) {
  require(outputs.dim() == 2, "[events, bins] expected, found " + shape_of(outputs),
          "softmax_histogram");
  require(temperature > 0.0, "the temperature must be positive", "softmax_histogram");
  require(weights.dim() >= 1 && weights.dim() <= 2 && weights.size(-1) == outputs.size(0),
          "weights " + shape_of(weights) + " for outputs " + shape_of(outputs),
          "softmax_histogram");
  const Tensor shares = at::softmax(outputs.to(at::kDouble) / temperature, 1);
  return split(at::matmul(stacked(weights), shares), weights);
}

Tensor SoftHistogramResult::difference() const { return (soft.sumw - hard.sumw).detach(); }

SoftHistogramImpl::SoftHistogramImpl(SoftHistogramOptions options) : options_(std::move(options)) {
  require(!options_.axes.empty(), "at least one axis expected", "soft_histogram");
  for (std::size_t a = 0; a < options_.axes.size(); ++a) {
    const AxisOptions& axis = options_.axes[a];
    check(axis);
    const std::string number = std::to_string(a);
    const Tensor edges = to_tensor(axis.edges);
    edges_.push_back(
        axis.learnable ? register_parameter("raw_edges" + number, raw_edges(edges, axis.min_width))
                       : register_buffer("edges" + number, edges));
    Tensor bandwidths = (axis.bandwidth_factors.empty() ? at::ones({edges.size(0) - 1}, at::kDouble)
                                                        : to_tensor(axis.bandwidth_factors)) *
                        axis.bandwidth;
    if (!moves(axis)) {
      bandwidths = edge_bandwidth(axis.relative ? bandwidths * at::diff(edges) : bandwidths);
    }
    bandwidths_.push_back(register_buffer("bandwidths" + number, bandwidths));
  }
  set_step(0);
}

Tensor SoftHistogramImpl::edges(std::size_t axis) const {
  const AxisOptions& options = options_.axes.at(axis);
  if (!options.learnable) return edges_[axis].to(at::kDouble);
  return ordered_edges(edges_[axis], options.edges.front(), options.edges.back(),
                       options.min_width);
}

Tensor SoftHistogramImpl::bandwidth(std::size_t axis) const {
  const Tensor plain = bandwidths_.at(axis).to(at::kDouble);
  const Tensor bandwidths = annealing_ == 1.0 ? plain : plain * annealing_;
  return moves(options_.axes[axis]) ? edge_bandwidth(bandwidths * at::diff(edges(axis)))
                                    : bandwidths;
}

std::int64_t SoftHistogramImpl::bins() const {
  std::int64_t product = 1;
  for (const AxisOptions& axis : options_.axes) {
    product *= number_of_bins(static_cast<std::int64_t>(axis.edges.size()), axis.smearing.flow);
  }
  return product;
}

void SoftHistogramImpl::set_step(std::int64_t step) {
  annealing_ = value_at(options_.annealing, step);
  require(annealing_ >= 0.0, "the factor of the bandwidth must not be negative", "soft_histogram");
}

SoftHistogramResult SoftHistogramImpl::forward(const Tensor& x, const Tensor& weights) {
  const auto n_axes = static_cast<std::int64_t>(options_.axes.size());
  require(x.dim() == 2 ? x.size(1) == n_axes : x.dim() == 1 && n_axes == 1,
          "[events, " + std::to_string(n_axes) + "] expected, found " + shape_of(x),
          "soft_histogram");
  const AxisOptions& first = options_.axes.front();
  if (n_axes == 1 && first.bandwidth * annealing_ > 0.0) {
    const Both both = both_histograms(x.dim() == 1 ? x : x.select(1, 0), weights, edges(),
                                      bandwidth(), first.smearing);
    return choose(both.soft, both.hard, is_training(), options_.straight_through);
  }
  const Tensor index = bin_of(x);
  Tensor shares;  // of the axes so far
  for (std::size_t a = 0; n_axes > 1 && a < options_.axes.size(); ++a) {
    const AxisOptions& axis = options_.axes[a];
    const Tensor column = x.select(1, static_cast<std::int64_t>(a)), bounds = edges(a);
    const std::int64_t n = number_of_bins(bounds.size(0), axis.smearing.flow);
    // A bandwidth of 0 is the hard histogram.
    const bool smeared = axis.bandwidth * annealing_ > 0.0;
    const Tensor one = smeared ? bin_membership(column, bounds, bandwidth(a), axis.smearing)
                               : (bin_index(column, bounds, axis.smearing.flow).unsqueeze(1) ==
                                  at::arange(n, index.options()))
                                     .to(at::kDouble);
    shares = a == 0 ? one : (shares.unsqueeze(2) * one.unsqueeze(1)).flatten(1);
  }
  const Histogram hard = fill_histogram(index, weights, bins());
  const Histogram soft = n_axes == 1 ? hard : split(at::matmul(stacked(weights), shares), weights);
  return choose(soft, hard, is_training(), options_.straight_through);
}

Tensor SoftHistogramImpl::bin_of(const Tensor& x) const {
  const auto n_axes = static_cast<std::int64_t>(options_.axes.size());
  require(x.dim() == 2 ? x.size(1) == n_axes : x.dim() == 1 && n_axes == 1,
          "[events, " + std::to_string(n_axes) + "] expected, found " + shape_of(x),
          "soft_histogram");
  Tensor index;
  for (std::size_t a = 0; a < options_.axes.size(); ++a) {
    const FlowBins flow = options_.axes[a].smearing.flow;
    const Tensor column = x.dim() == 1 ? x : x.select(1, static_cast<std::int64_t>(a));
    const Tensor bounds = edges(a), place = bin_index(column, bounds, flow);
    const std::int64_t n = number_of_bins(bounds.size(0), flow);
    index = a == 0 ? place : at::where((index < 0) | (place < 0), -1, index * n + place);
  }
  return index;
}

void SoftHistogramImpl::pretty_print(std::ostream& stream) const {
  stream << "slalom::SoftHistogram(" << options_.axes.size() << " axes, " << bins() << " bins)";
}

SoftmaxHistogramImpl::SoftmaxHistogramImpl(SoftmaxHistogramOptions options)
    : options_(std::move(options)) {
  require(options_.temperature > 0.0 && std::isfinite(options_.temperature),
          "the temperature must be positive", "softmax_histogram");
  set_step(0);
}

void SoftmaxHistogramImpl::set_step(std::int64_t step) {
  annealing_ = value_at(options_.annealing, step);
  require(annealing_ > 0.0, "the factor of the temperature must be positive", "softmax_histogram");
}

SoftHistogramResult SoftmaxHistogramImpl::forward(const Tensor& outputs, const Tensor& weights) {
  const Histogram soft = softmax_histogram(outputs, weights, temperature());
  if (!outputs.detach().isfinite().all().item<bool>()) {
    throw Error(ErrorKind::numerical, "outputs that are not finite", "softmax_histogram");
  }
  const Histogram hard = fill_histogram(at::argmax(outputs.detach(), 1), weights, outputs.size(1));
  return choose(soft, hard, is_training(), options_.straight_through);
}

void SoftmaxHistogramImpl::pretty_print(std::ostream& stream) const {
  stream << "slalom::SoftmaxHistogram(temperature " << options_.temperature << ")";
}

}  // namespace slalom
