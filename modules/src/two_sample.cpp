// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/two_sample.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <string>
#include <torch/optim/adamw.h>

#include "check.hpp"
#include "slalom/modules/criteria.hpp"
#include "slalom/modules/schedule.hpp"

namespace slalom {

namespace {

using detail::require;

constexpr const char* k_where = "two_sample";

void check(const EventBatch& first, const EventBatch& second, const TwoSampleOptions& options) {
  require(first.columns == second.columns, "the samples have other columns", k_where);
  require(options.steps > 0 && options.learning_rate > 0.0 && options.batch_size > 0 &&
              options.ensemble > 0 && options.weight_decay >= 0.0,
          "options must be positive", k_where);
}

/// Events of both samples with their labels, of equal sums of weights.
EventBatch labelled(const EventBatch& first, const EventBatch& second) {
  const auto part = [](const EventBatch& events, std::int64_t label) {
    return make_events(events.columns, events.features, events.weights,
                       at::full({events.size()}, label, events.weights.options().dtype(at::kLong)));
  };
  EventBatch events = concatenate({part(first, 0), part(second, 1)});
  return events.with_weights(balanced_weights(events.labels, events.weights));
}

Mlp train_member(const EventBatch& events, const TwoSampleOptions& options, std::uint64_t seed) {
  Mlp network(MlpOptions{.inputs = static_cast<std::int64_t>(events.columns.size()),
                         .hidden = options.hidden,
                         .activation = Activation::silu,
                         .seed = seed});
  network->fit_normalisation(events.features);
  network->to(events.features.device());
  const EventLoader loader(events, {.batch_size = options.batch_size, .seed = seed});
  torch::optim::AdamW optimizer(
      network->parameters(),
      torch::optim::AdamWOptions(options.learning_rate).weight_decay(options.weight_decay));
  const Schedule rate{.shape = ScheduleShape::cosine,
                      .start = options.learning_rate,
                      .end = 0.0,
                      .steps = options.steps};
  for (std::int64_t step = 0; step < options.steps; ++step) {
    optimizer.param_groups().front().options().set_lr(value_at(rate, step));
    optimizer.zero_grad();
    const EventBatch batch = loader.batch({step / loader.batches(), step % loader.batches()});
    cross_entropy(network->outputs(batch.features, {}).squeeze(1), batch.labels, batch.weights)
        .backward();
    optimizer.step();
  }
  return network;
}

Tensor logits_of(const Classifier& classifier, const EventBatch& events) {
  const at::NoGradGuard no_graph;
  return classifier.ptr()->outputs(events.features, {}).squeeze(1).to(at::kDouble);
}

}  // namespace

Classifier train_two_sample(const EventBatch& first, const EventBatch& second,
                            const TwoSampleOptions& options) {
  check(first, second, options);
  const EventBatch events = labelled(first, second);
  std::vector<Classifier> members;
  for (std::int64_t k = 0; k < options.ensemble; ++k) {
    // Members differ in seeds that are far apart: the next one belongs to the caller's next run.
    const std::uint64_t seed = options.seed + 0x10000ULL * static_cast<std::uint64_t>(k);
    members.push_back(as_classifier(train_member(events, options, seed).ptr()));
  }
  return members.size() == 1 ? members.front() : as_classifier(Ensemble(std::move(members)).ptr());
}

Tensor fold_indices(std::int64_t n, std::int64_t folds, std::int64_t fold, bool complement) {
  require(folds > 1 && fold >= 0 && fold < folds,
          "a fold from 0 to less than their number expected", k_where);
  const Tensor all = at::arange(n, at::kLong), inside = all.remainder(folds) == fold;
  return all.masked_select(complement ? inside.logical_not() : inside);
}

TwoSampleLogits cross_fitted_logits(const EventBatch& first, const EventBatch& second,
                                    std::int64_t folds, const TwoSampleOptions& options) {
  check(first, second, options);
  require(folds > 1, "at least 2 folds expected, found " + std::to_string(folds), k_where);
  require(first.size() >= folds && second.size() >= folds, "fewer events than folds", k_where);
  TwoSampleLogits result{at::empty({first.size()}, first.weights.options()),
                         at::empty({second.size()}, second.weights.options())};
  for (std::int64_t fold = 0; fold < folds; ++fold) {
    const auto rest = [&](const EventBatch& events) {
      return events.select(fold_indices(events.size(), folds, fold, /*complement=*/true));
    };
    const Classifier network = train_two_sample(rest(first), rest(second), options);
    const auto fill = [&](const EventBatch& events, const Tensor& logits) {
      const Tensor places = fold_indices(events.size(), folds, fold).to(events.features.device());
      logits.index_copy_(0, places, logits_of(network, events.select(places)));
    };
    fill(first, result.first);
    fill(second, result.second);
  }
  return result;
}

}  // namespace slalom
