// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/observable.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bucketize.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isnan.h>
#include <ATen/ops/logit.h>
#include <ATen/ops/searchsorted.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/unique_consecutive.h>
#include <ATen/ops/zeros_like.h>
#include <algorithm>
#include <tuple>
#include <utility>

#include "check.hpp"
#include "slalom/modules/autodiff.hpp"

namespace slalom {

using detail::require;
using detail::shape_of;

namespace {

constexpr const char* k_where = "observable";

Tensor features_of(const EventBatch& events, const std::vector<std::string>& names) {
  return names.empty() ? events.features : events.matrix(names);
}

Tensor one_output(const Tensor& outputs) {
  require(outputs.dim() == 1 || (outputs.dim() == 2 && outputs.size(1) == 1),
          "a classifier of one output expected, found outputs " + shape_of(outputs), k_where);
  return outputs.dim() == 1 ? outputs : outputs.squeeze(1);
}

/// f without its derivative.
Tensor logits(ClassifierImpl& classifier, const Tensor& features, const Tensor& theta,
              std::int64_t chunk) {
  const at::NoGradGuard no_graph;
  std::vector<Tensor> parts;
  for (std::int64_t begin = 0; begin < features.size(0); begin += chunk) {
    const Tensor part = features.slice(0, begin, begin + chunk);
    parts.push_back(one_output(classifier.outputs(part, theta)).to(at::kDouble));
  }
  return parts.empty() ? at::empty({0}, features.options().dtype(at::kDouble)) : at::cat(parts);
}

/// Bin of each value among inner edges; a value at an edge is above it.
Tensor place_of(const Tensor& values, const Tensor& inner) {
  return at::bucketize(values.contiguous(), inner.to(values.device()), false, true);
}

}  // namespace

LogitSlope logit_and_slope(ClassifierImpl& classifier, const Tensor& features, const Tensor& theta,
                           std::int64_t parameter, std::int64_t chunk) {
  require(features.dim() == 2, "features [n, f] expected, found " + shape_of(features), k_where);
  require(theta.defined() && theta.dim() == 1, "theta [p] expected", k_where);
  require(parameter >= 0 && parameter < theta.size(0), "no such parameter in theta", k_where);
  require(chunk > 0, "a positive number of events expected", k_where);
  const at::AutoGradMode with_graph(true);
  std::vector<Tensor> logit, slope;
  for (std::int64_t begin = 0; begin < features.size(0); begin += chunk) {
    const Tensor part = features.slice(0, begin, begin + chunk).detach();
    // Each event has a theta of its own, so that one pass gives the derivatives of all.
    const Tensor own = theta.detach().expand({part.size(0), theta.size(0)}).clone();
    own.requires_grad_(true);
    const Tensor value = one_output(classifier.outputs(part, own));
    logit.push_back(value.detach().to(at::kDouble));
    slope.push_back(value.requires_grad()
                        ? gradient(value.sum(), own).select(1, parameter).to(at::kDouble)
                        : at::zeros_like(logit.back()));
  }
  const Tensor none = at::empty({0}, features.options().dtype(at::kDouble));
  return {logit.empty() ? none : at::cat(logit), slope.empty() ? none : at::cat(slope)};
}

Tensor quantile_edges(const Tensor& values, const Tensor& weights, std::int64_t bins) {
  require(bins > 0, "a positive number of bins expected", k_where);
  require(
      values.dim() == 1 && weights.sizes() == values.sizes(),
      "values and weights [n] expected, found " + shape_of(values) + " and " + shape_of(weights),
      k_where);
  const auto [sorted, order] = at::sort(values.to(at::kDouble));
  const Tensor sums = at::cumsum(weights.to(at::kDouble).index_select(0, order), 0);
  const bool some = sums.size(0) > 0 && sums[-1].item<double>() > 0.0;
  require(some, "the weights of the events have no positive sum", k_where);
  const Tensor wanted =
      at::arange(1, bins, sums.options()) * (sums[-1] / static_cast<double>(bins));
  // The edge lies at the first value beyond the share, which belongs to the bin above.
  const Tensor place = at::searchsorted(sums, wanted, false, true).clamp_max(sums.size(0) - 1);
  return std::get<0>(at::unique_consecutive(sorted.index_select(0, place)));
}

Observable::Observable(Pair pair, const ObservableOptions& options, const EventBatch& reference)
    : pair_(std::move(pair)), options_(options) {
  make_bins(reference);
}

Observable::Observable(Classifier classifier, std::vector<std::string> features,
                       const Tensor& theta, const ObservableOptions& options,
                       const EventBatch& reference)
    : theta_(theta), options_(options) {
  require(options.slope_bins == 0 || theta.defined(),
          "a derivative by a nuisance parameter needs a classifier that has it", k_where);
  constexpr std::int64_t k_chunk = 65536;
  pair_ = [classifier = std::move(classifier), names = std::move(features), theta,
           options](const EventBatch& events) -> LogitSlope {
    const Tensor x = features_of(events, names);
    const Tensor there = theta.defined() ? theta.to(x.device()) : theta;
    if (options.slope_bins > 0) {
      return logit_and_slope(*classifier.ptr(), x, there, options.parameter, k_chunk);
    }
    return {logits(*classifier.ptr(), x, there, k_chunk), {}};
  };
  make_bins(reference);
}

void Observable::make_bins(const EventBatch& reference) {
  require(options_.bins > 0, "a positive number of bins expected", k_where);
  require(options_.slope_bins >= 0, "a number of slope bins that is not negative expected",
          k_where);
  if (options_.binning == ScoreBinning::equal_width) {
    const auto bins = static_cast<double>(options_.bins);
    const Tensor places = at::arange(1, options_.bins, at::TensorOptions(at::kDouble));
    logit_edges_ = at::logit(places / bins);
    if (reference.features.defined()) logit_edges_ = logit_edges_.to(reference.features.device());
  }
  if (options_.binning == ScoreBinning::equal_signal || options_.slope_bins > 0) {
    take_quantiles(reference);
  }
}

void Observable::take_quantiles(const EventBatch& reference) {
  const LogitSlope at_reference = evaluate(reference);
  if (options_.binning == ScoreBinning::equal_signal) {
    require(reference.labels.defined(), "labels are needed for bins of equal signal", k_where);
    const Tensor signal = reference.labels == 1;
    logit_edges_ = quantile_edges(at_reference.logit.masked_select(signal),
                                  reference.weights.masked_select(signal), options_.bins);
  }
  if (options_.slope_bins == 0) return;
  const Tensor place = place_of(at_reference.logit, logit_edges_);
  for (std::int64_t b = 0; b <= logit_edges_.size(0); ++b) {
    const Tensor here = place == b;
    // A bin without events needs no edges: all that comes goes to its first bin.
    const Tensor weights = reference.weights.masked_select(here);
    slope_edges_.push_back(
        weights.size(0) > 0 && weights.sum().item<double>() > 0.0
            ? quantile_edges(at_reference.slope.masked_select(here), weights, options_.slope_bins)
            : at::empty({0}, logit_edges_.options()));
  }
}

LogitSlope Observable::evaluate(const EventBatch& events) const { return pair_(events); }

Tensor Observable::bin_of(const EventBatch& events) const {
  const LogitSlope values = evaluate(events);
  const bool bad = at::isnan(values.logit).any().item<bool>() ||
                   (values.slope.defined() && at::isnan(values.slope).any().item<bool>());
  if (bad) throw Error(ErrorKind::numerical, "the score of an event is NaN", k_where);
  Tensor place = place_of(values.logit, logit_edges_);
  if (options_.slope_bins == 0) return place;
  Tensor index = place * options_.slope_bins;
  for (std::size_t b = 0; b < slope_edges_.size(); ++b) {
    const Tensor here = (place == static_cast<std::int64_t>(b)).nonzero().squeeze(1);
    if (here.size(0) == 0) continue;
    const Tensor slope = values.slope.index_select(0, here);
    index.index_add_(0, here, place_of(slope, slope_edges_[b]));
  }
  return index;
}

std::int64_t Observable::bins() const {
  return (logit_edges_.size(0) + 1) * std::max<std::int64_t>(options_.slope_bins, 1);
}

}  // namespace slalom
