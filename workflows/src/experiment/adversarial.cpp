// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>
#include <algorithm>
#include <torch/optim/adam.h>

#include "experiment/data.hpp"
#include "experiment/learning.hpp"
#include "experiment/state.hpp"
#include "slalom/modules/criteria.hpp"

namespace slalom {

namespace {

/// Seeds of adversaries are far from those of classifiers.
constexpr std::uint64_t k_adversary_seed = std::uint64_t{1} << 48U;

bool is_pretraining(const AdversarialOptions& game, std::int64_t step) {
  return step < game.pretraining;
}

bool is_adversary_only(const AdversarialOptions& game, std::int64_t step) {
  return !is_pretraining(game, step) && step < game.pretraining + game.adversary_only;
}

/// Batches that the steps before use: several in each step of an alternating game.
std::int64_t batches_before(const AdversarialOptions& game, std::int64_t step) {
  const std::int64_t single = std::min(step, game.pretraining + game.adversary_only);
  const std::int64_t each =
      game.schedule == AdversarialSchedule::alternating ? game.adversary_steps + 1 : 1;
  return single + (step - single) * each;
}

}  // namespace

void Experiment::State::make_adversary() {
  AdversaryOptions network = options.learning.adversary.network;
  network.inputs = 1;
  network.seed = options.seed + k_adversary_seed;
  network.parameters.clear();
  for (const LearningParameter& parameter : options.learning.parameters) {
    network.parameters.push_back({parameter.name, parameter.low, parameter.high});
  }
  const auto& wanted = options.learning.adversary.processes;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    experiment::check_process(wanted[i], data,
                              "/learning/adversary/processes/" + std::to_string(i));
  }
  adversary = Adversary(network);
  if (options.device != "cpu") adversary->to(at::Device(options.device));
  adversary_optimizer = std::make_unique<torch::optim::Adam>(
      adversary->parameters(), torch::optim::AdamOptions(options.learning.adversary.learning_rate));
}

/// L_r. \param scores of the batch [n]
Tensor Experiment::State::adversary_loss_of(const LearningBatch& batch, const Tensor& scores) {
  const EventBatch& events = batch.events;
  Tensor weights = balanced_weights(events.labels, events.weights);
  const auto& wanted = options.learning.adversary.processes;
  if (!wanted.empty()) {
    Tensor seen = at::zeros_like(weights);
    for (const std::string& process : wanted) {
      seen += (events.process == events.process_index(process)).to(at::kDouble);
    }
    weights = weights * seen;
  }
  return adversary->loss(scores, batch.theta, weights);
}

/// L_r without a graph.
double Experiment::State::adversary_on(const LearningBatch& batch) {
  const at::NoGradGuard no_graph;
  const Tensor scores =
      to_score(outputs_of(batch).unsqueeze(1), classifier->score, classifier->temperature);
  return adversary_loss_of(batch, scores).item<double>();
}

/// A step of the adversary against the classifier as it is. \returns L_f
double Experiment::State::train_adversary(const LearningBatch& batch) {
  Tensor scores;
  double loss = 0.0;
  {
    const at::NoGradGuard no_graph;
    const Tensor outputs = outputs_of(batch);
    scores = to_score(outputs.unsqueeze(1), classifier->score, classifier->temperature);
    loss = cross_entropy(outputs, batch.events.labels,
                         balanced_weights(batch.events.labels, batch.events.weights))
               .item<double>();
  }
  adversary_optimizer->zero_grad();
  adversary_loss_of(batch, scores).backward();
  adversary_optimizer->step();
  return loss;
}

/// One step of the game. The adversary has moved when this returns, the classifier has gradients,
/// unless it is the adversary's turn alone.
double Experiment::State::backward_adversarial() {
  const AdversarialOptions& game = options.learning.adversary;
  const bool against = !is_pretraining(game, step);
  const bool reversal = game.schedule == AdversarialSchedule::reversal;
  const double weight = weight_of(LossKind::cross_entropy, step);
  std::int64_t number = batches_before(game, step);
  if (is_adversary_only(game, step)) return weight * train_adversary(batch_at(number));
  for (std::int64_t k = 0; against && !reversal && k < game.adversary_steps; ++k) {
    train_adversary(batch_at(number++));
  }
  const LearningBatch batch = batch_at(number);
  const Tensor outputs = outputs_of(batch);
  const Tensor entropy =
      weight * cross_entropy(outputs, batch.events.labels,
                             balanced_weights(batch.events.labels, batch.events.weights));
  if (!against) {
    entropy.backward();
    return entropy.item<double>();
  }
  const double strength = weight * game.strength;
  const Tensor scores = to_score(outputs.unsqueeze(1), classifier->score, classifier->temperature);
  adversary_optimizer->zero_grad();
  const Tensor found =
      adversary_loss_of(batch, reversal ? reverse_gradient(scores, strength) : scores);
  (reversal ? entropy + found : entropy - strength * found).backward();
  if (reversal) adversary_optimizer->step();
  return entropy.item<double>() - strength * found.item<double>();
}

}  // namespace slalom
