// SPDX-License-Identifier: Apache-2.0
#include "experiment/inference_channel.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bincount.h>
#include <ATen/ops/full.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <algorithm>

#include "experiment/bootstrap.hpp"
#include "experiment/data.hpp"
#include "experiment/to_vector.hpp"
#include "slalom/core/random.hpp"
#include "slalom/modules/binning.hpp"

namespace slalom::experiment {

namespace {

constexpr std::uint32_t k_toy_family = 0x1F37;

Tensor scalar_theta(double theta) { return at::full({1}, theta, at::kDouble); }

}  // namespace

InferenceEvents::InferenceEvents(const ExperimentOptions& options,
                                 const std::vector<Variation>& variations,
                                 std::vector<InferencePart> parts)
    : options_(options),
      variations_(variations),
      parts_(std::move(parts)),
      samples_(parts_.front().stages->samples()) {}

std::size_t InferenceEvents::nuisance(const std::string& name) const {
  for (std::size_t v = 0; v < options_.nuisances.size(); ++v) {
    if (options_.nuisances[v].name == name) return v;
  }
  throw Error(ErrorKind::usage, "there is no nuisance parameter '" + name + "'", "inferences");
}

bool InferenceEvents::acts_on(const std::string& name, const std::string& sample) const {
  return concerns(variations_[nuisance(name)], sample);
}

EventBatch InferenceEvents::move(const EventBatch& events, const std::string& name,
                                 double theta) const {
  if (theta == 0.0) return events;
  const std::size_t v = nuisance(name);
  // Variations are in units of their constraints.
  return apply_variation(events, variations_[v],
                         scalar_theta(theta / prior_of(options_.nuisances[v])));
}

const EventBatch& InferenceEvents::test_at(std::size_t part, const std::string& name,
                                           double theta) {
  const auto key = key_of(name, theta);
  auto found = moved_.find(key);
  if (found == moved_.end()) {
    const at::NoGradGuard no_graph;
    std::vector<EventBatch> all;
    for (const InferencePart& p : parts_) all.push_back(move(p.test, name, theta));
    found = moved_.emplace(key, std::move(all)).first;
  }
  return found->second[part];
}

EventBatch InferenceEvents::calibration_at(std::size_t part, const std::string& name,
                                           double theta) const {
  const at::NoGradGuard no_graph;
  const InferencePart& p = parts_[part];
  const EventBatch moved =
      move(p.validation.features.defined() ? p.validation : p.train, name, theta);
  Pipeline stages = p.stages;
  return moved.select(stages->passes(moved, network_theta(name, theta)));
}

Tensor InferenceEvents::bootstrap_counts(std::size_t part, std::int64_t bootstrap) const {
  return experiment::bootstrap_counts(parts_[part].test_ids, options_.data.seed, bootstrap);
}

Tensor InferenceEvents::network_theta(const std::string& name, double theta) const {
  const LearningOptions& learning = options_.learning;
  if (learning.strategy != Strategy::parameterised) return {};
  std::vector<double> values;
  for (const LearningParameter& parameter : learning.parameters) {
    values.push_back(parameter.name == name ? theta : 0.0);
  }
  Tensor result = at::zeros({static_cast<std::int64_t>(values.size())}, at::kDouble);
  for (std::size_t p = 0; p < values.size(); ++p) result[static_cast<std::int64_t>(p)] = values[p];
  return result.to(at::Device(options_.device));
}

/// Events that quantiles and moments are taken of: some 10^5 of those trained with are enough, and
/// none are needed for fixed bins.
EventBatch InferenceEvents::reference_at(std::size_t part, const std::string& name, double theta,
                                         const ObservableOptions& settings) const {
  constexpr std::int64_t k_enough = 200000;
  const EventBatch& train = parts_[part].train;
  const bool fixed = settings.binning == ScoreBinning::equal_width && settings.slope_bins == 0;
  const std::int64_t step = std::max<std::int64_t>(train.size() / k_enough, 1);
  const std::int64_t n = fixed ? 1 : train.size();
  const EventBatch some =
      train.select(at::arange(0, n, step, train.weights.options().dtype(at::kLong)));
  return move(some.with_weights(some.weights * static_cast<double>(step)), name, theta);
}

View InferenceEvents::frozen(const InferenceOptions& inference, double theta) const {
  const std::string& name = inference.parameters.front().name;
  ObservableOptions settings{
      .bins = inference.bins, .binning = inference.binning, .slope_bins = inference.slope_bins};
  const auto& learned = options_.learning.parameters;
  for (std::size_t p = 0; p < learned.size(); ++p) {
    if (learned[p].name == name) settings.parameter = static_cast<std::int64_t>(p);
  }
  View view{.theta = theta, .bins = 0, .observables = {}};
  for (std::size_t part = 0; part < parts_.size(); ++part) {
    Pipeline stages = parts_[part].stages;
    EventBatch reference = reference_at(part, name, theta, settings);
    if (parts_[part].linear) {
      view.observables.emplace_back(parts_[part].linear(reference, nuisance(name)), settings,
                                    reference);
      view.bins = std::max(view.bins, view.observables.back().bins());
      continue;
    }
    reference = reference.select(stages->passes(reference, network_theta(name, theta)));
    view.observables.emplace_back(stages->classifier, options_.classifier.features,
                                  network_theta(name, theta), settings, reference);
    view.bins = std::max(view.bins, view.observables.back().bins());
  }
  return view;
}

View InferenceEvents::summary() const {
  const Pipeline& stages = parts_.front().stages;
  const std::int64_t bins =
      stages->histogram.is_empty() ? options_.summary.bins : stages->histogram->bins();
  return {.theta = 0.0, .bins = bins, .observables = {}};
}

Tensor InferenceEvents::bins_of(View& view, std::size_t part, const std::string& name,
                                double theta) {
  const at::NoGradGuard no_graph;
  auto& kept = view.bins_at[key_of(name, theta)];
  kept.resize(parts_.size());
  if (kept[part].defined()) return kept[part];
  const EventBatch& events = test_at(part, name, theta);
  Pipeline stages = parts_[part].stages;
  if (view.observables.empty()) {
    kept[part] = stages->bin_of(events);
  } else {
    const Tensor passed = stages->passes(events, view.observables[part].theta());
    kept[part] = at::where(passed, view.observables[part].bin_of(events), -1);
  }
  return kept[part];
}

Tensor InferenceEvents::fill(View& view, const std::string& name, double theta,
                             const std::vector<Tensor>& factors) {
  const at::NoGradGuard no_graph;
  Tensor total;
  for (std::size_t part = 0; part < parts_.size(); ++part) {
    const EventBatch& events = test_at(part, name, theta);
    const Tensor index = bins_of(view, part, name, theta);
    const Tensor& weights = events.weights;
    std::vector<Tensor> rows;
    for (const std::string& sample : samples_) {
      const Tensor w = weights * (events.process == events.process_index(sample)).to(at::kDouble);
      Tensor both = at::stack({w, w * w});
      // Numbers of copies: n of them add n squared weights.
      if (!factors.empty()) both = both * factors[part].to(weights.device());
      rows.push_back(sum_by_bin(index, both, view.bins));
    }
    const Tensor sums = at::stack(rows).to(at::kCPU);
    total = total.defined() ? total + sums : sums;
  }
  return total;
}

std::vector<double> InferenceEvents::count(View& view, const std::string& name,
                                           const Dataset& data) {
  const at::NoGradGuard no_graph;
  std::vector<double> result(static_cast<std::size_t>(view.bins), 0.0);
  for (std::size_t part = 0; part < parts_.size(); ++part) {
    const Tensor index = bins_of(view, part, name, data.truth).to(at::kCPU).contiguous();
    if (data.drawn.empty()) {
      const std::vector<double> sums =
          to_vector(sum_by_bin(index, data.weights[part].to(at::kCPU), view.bins));
      for (std::size_t b = 0; b < result.size(); ++b) result[b] += sums[b];
      continue;
    }
    const auto* bin = index.data_ptr<std::int64_t>();
    for (const std::int64_t event : data.drawn[part]) {
      if (bin[event] >= 0) result[static_cast<std::size_t>(bin[event])] += 1.0;
    }
  }
  return result;
}

Dataset InferenceEvents::asimov(const std::string& name, double theta, double mu) {
  Dataset data{.truth = theta};
  for (std::size_t part = 0; part < parts_.size(); ++part) {
    const EventBatch& events = test_at(part, name, theta);
    const Tensor signal = (events.labels == 1).to(at::kDouble);
    data.weights.push_back(events.weights * (1.0 + (mu - 1.0) * signal));
  }
  return data;
}

Dataset InferenceEvents::draw(const Dataset& asimov, std::uint64_t toy) const {
  Dataset data{.truth = asimov.truth};
  for (std::size_t part = 0; part < parts_.size(); ++part) {
    RandomStream random(options_.data.seed, toy, k_toy_family + static_cast<std::uint32_t>(part));
    const Tensor sums = asimov.weights[part].to(at::kCPU).cumsum(0).contiguous();
    const auto* first = sums.data_ptr<double>();
    const auto* last = first + sums.size(0);
    if ((asimov.weights[part] < 0.0).any().item<bool>()) {
      throw Error(ErrorKind::usage, "toys need weights that are not negative", "inferences");
    }
    const double total = sums.size(0) > 0 ? *(last - 1) : 0.0;
    const auto n = static_cast<std::size_t>(random.poisson(total));
    std::vector<std::int64_t> drawn(n);
    for (std::int64_t& event : drawn) {
      // The first event whose cumulative weight is beyond: one of weight 0 is never drawn.
      event = std::min(std::upper_bound(first, last, random.uniform() * total), last - 1) - first;
    }
    data.drawn.push_back(std::move(drawn));
  }
  return data;
}

}  // namespace slalom::experiment
