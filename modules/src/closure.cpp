// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/closure.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bucketize.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/zeros.h>
#include <cmath>
#include <tuple>

#include "check.hpp"
#include "slalom/modules/diagnostics.hpp"
#include "slalom/modules/two_sample.hpp"

namespace slalom {

namespace {

using detail::require;

constexpr const char* k_where = "closure";

/// Shares of bins [bins], and their variances as if the total were free: the sum of chi^2 over
/// bins then is one less than their number in the mean.
struct Shares {
  Tensor value, variance;
};

Shares shares_of(const Tensor& place, const Tensor& weights, std::int64_t bins) {
  const double total = weights.sum().item<double>();
  if (!(total > 0.0)) {
    throw Error(ErrorKind::numerical, "the weights have no positive sum", k_where);
  }
  const Tensor w = weights / total, none = at::zeros({bins}, w.options());
  return {none.index_add(0, place, w), none.index_add(0, place, w * w)};
}

/// Every other event.
EventBatch half(const EventBatch& events, std::int64_t first) {
  return events.select(
      at::arange(first, events.size(), 2, events.weights.options().dtype(at::kLong)));
}

/// Events of both samples, labelled, of equal sums of weights.
EventBatch labelled(const EventBatch& first, const EventBatch& second) {
  const auto part = [](const EventBatch& events, std::int64_t label) {
    return make_events(
        events.columns, events.features, events.weights,
        at::zeros({events.size()}, events.weights.options().dtype(at::kLong)) + label);
  };
  return concatenate({part(first, 0), part(second, 1)});
}

double effective_number(const Tensor& weights) {
  const double sum = weights.sum().item<double>();
  return sum * sum / (weights * weights).sum().item<double>();
}

}  // namespace

double shape_chi2(const Tensor& first, const Tensor& first_weights, const Tensor& second,
                  const Tensor& second_weights, std::int64_t bins, std::int64_t& ndf) {
  require(first.dim() == 1 && second.dim() == 1 && first_weights.sizes() == first.sizes() &&
              second_weights.sizes() == second.sizes(),
          "features and weights [n] expected", k_where);
  require(bins > 1 && second.size(0) >= bins, "too few events for the bins", k_where);
  const at::NoGradGuard no_graph;
  const Tensor x = first.to(at::kDouble).contiguous(), y = second.to(at::kDouble).contiguous();
  const Tensor sorted = std::get<0>(at::sort(y, /*dim=*/0));
  const Tensor places = at::arange(1, bins, y.options().dtype(at::kLong)) * second.size(0);
  const Tensor edges = sorted.index_select(0, places.floor_divide(bins));
  const Shares p = shares_of(at::bucketize(x, edges, false, true), first_weights, bins),
               q = shares_of(at::bucketize(y, edges, false, true), second_weights, bins);
  const Tensor variance = p.variance + q.variance, filled = variance > 0.0;
  const Tensor difference = (p.value - q.value).masked_select(filled);
  ndf = filled.sum().item<std::int64_t>() - 1;
  return (difference * difference / variance.masked_select(filled)).sum().item<double>();
}

SampleComparison compare_samples(const EventBatch& first, const EventBatch& second,
                                 const ClosureOptions& options) {
  require(first.columns == second.columns, "the samples have other columns", k_where);
  require(options.steps > 0 && options.learning_rate > 0.0, "options must be positive", k_where);
  require(first.size() >= 4 && second.size() >= 4, "too few events", k_where);
  SampleComparison result;
  result.columns = first.columns;
  for (std::size_t c = 0; c < first.columns.size(); ++c) {
    const auto column = static_cast<std::int64_t>(c);
    std::int64_t ndf = 0;
    result.chi2.push_back(shape_chi2(first.features.select(1, column), first.weights,
                                     second.features.select(1, column), second.weights,
                                     options.bins, ndf));
    result.ndf.push_back(ndf);
  }
  const Classifier network = train_two_sample(half(first, 0), half(second, 0),
                                              {.hidden = options.hidden,
                                               .steps = options.steps,
                                               .batch_size = options.batch_size,
                                               .learning_rate = options.learning_rate,
                                               .seed = options.seed});
  const at::NoGradGuard no_graph;
  const EventBatch rest = labelled(half(first, 1), half(second, 1));
  result.auc = area_under_curve(network.ptr()->outputs(rest.features, {}).squeeze(1), rest.labels,
                                rest.weights);
  result.auc_error = std::sqrt((1.0 / effective_number(half(first, 1).weights) +
                                1.0 / effective_number(half(second, 1).weights)) /
                               12.0);
  return result;
}

EventBatch reweighted(const EventBatch& events, const Classifier& ratio, const Tensor& theta) {
  const at::NoGradGuard no_graph;
  const Tensor log_ratio = ratio.ptr()->outputs(events.features, theta).to(at::kDouble);
  require(log_ratio.size(1) == 1, "a ratio has one output", k_where);
  return events.with_weights(events.weights * at::exp(log_ratio.squeeze(1)));
}

}  // namespace slalom
