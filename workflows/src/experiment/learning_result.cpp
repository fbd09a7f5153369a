// SPDX-License-Identifier: Apache-2.0
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/zeros.h>
#include <cmath>
#include <numbers>

#include "experiment/learning.hpp"
#include "experiment/state.hpp"
#include "slalom/modules/diagnostics.hpp"

namespace slalom {

namespace {

using experiment::ThetaUse;

double variance_of(const LearningParameter& parameter) {
  const double half = 0.5 * (parameter.high - parameter.low);
  return parameter.distribution == ThetaDistribution::normal ? half * half : half * half / 3.0;
}

double entropy_of_gaussian(double variance) {
  return 0.5 * std::log(2.0 * std::numbers::pi * std::numbers::e * variance);
}

double entropy_of(const LearningParameter& parameter) {
  return parameter.distribution == ThetaDistribution::normal
             ? entropy_of_gaussian(variance_of(parameter))
             : std::log(parameter.high - parameter.low);
}

/// The smallest loss of an adversary to which the score says nothing.
double blind_loss(AdversaryKind type, const LearningParameter& parameter) {
  if (type == AdversaryKind::mse) return variance_of(parameter);
  return type == AdversaryKind::gaussian ? entropy_of_gaussian(variance_of(parameter))
                                         : entropy_of(parameter);
}

}  // namespace

/// theta of the learning parameters: that of the first, 0 for the others [p].
Tensor Experiment::State::first_theta(double value) const {
  Tensor theta = at::zeros({static_cast<std::int64_t>(options.learning.parameters.size())},
                           data.test.weights.options());
  theta[0] = value;
  return theta;
}

/// Separation of test events at theta.
AucResult Experiment::State::auc_at(Pipeline& pipeline, double value) const {
  const at::NoGradGuard no_graph;
  const auto& chosen = options.classifier.features;
  const Tensor theta = first_theta(value);
  const EventBatch events = experiment::events_at(options, variations, data.test, theta);
  const Tensor features = chosen.empty() ? events.features : events.matrix(chosen);
  const auto separation = [&](const Tensor& told) {
    const Tensor scores = pipeline->classifier->outputs(features, told).select(1, 0);
    return area_under_curve(scores, events.labels, events.weights);
  };
  if (!experiment::knows_theta(options) || linear()) return {value, separation({}), std::nullopt};
  return {value, separation(theta), separation({})};
}

ThetaPoint Experiment::State::first_point(double value) const {
  const std::size_t nuisance = experiment::learning_places(options).front();
  return {static_cast<std::int64_t>(nuisance), value};
}

/// Hard sums of test events at theta; a network that knows it is told.
Tensor Experiment::State::sums_there(Pipeline& pipeline, double value) const {
  const Tensor told = experiment::knows_theta(options) ? first_theta(value) : Tensor();
  return hard_sums(pipeline, data.test, false, first_point(value), told);
}

/// Of test events of one process, half of which stay where they are.
ClosureResult Experiment::State::closure_at(double value) const {
  const auto& chosen = options.classifier.features;
  const Tensor theta = first_theta(value);
  const EventBatch all = data.test.of_process(options.learning.process);
  const auto half = [&](std::int64_t first) {
    return all.select(at::arange(first, all.size(), 2, all.weights.options().dtype(at::kLong)));
  };
  const auto seen = [&](const EventBatch& events) {
    return chosen.empty() ? events : make_events(chosen, events.matrix(chosen), events.weights);
  };
  const EventBatch nominal = seen(half(0)),
                   there = seen(experiment::events_at(options, variations, half(1), theta));
  ClosureOptions comparison;
  comparison.seed = options.seed;
  return {value, compare_samples(nominal, there, comparison),
          compare_samples(reweighted(nominal, classifier, theta), there, comparison)};
}

/// What the adversary finds in test events at random theta.
AdversaryResult Experiment::State::adversary_in_the_end() {
  const Tensor theta = experiment::draw_theta(options, data.test.size(), 0, ThetaUse::diagnostics);
  AdversaryResult found{.loss = adversary_on(moved(data.test, theta))};
  for (const LearningParameter& parameter : options.learning.parameters) {
    found.blind += blind_loss(options.learning.adversary.network.type, parameter);
    found.entropy += entropy_of(parameter);
  }
  return found;
}

/// What is said of one network.
void Experiment::State::describe_learning(Pipeline& pipeline, ExperimentResult& result) {
  for (const double value : options.evaluation.auc) {
    result.auc.push_back(auc_at(pipeline, value));
  }
  for (const double value : options.evaluation.closure) {
    result.closure.push_back(closure_at(value));
  }
  if (!adversary.is_empty()) result.adversary = adversary_in_the_end();
}

}  // namespace slalom
