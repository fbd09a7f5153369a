// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros_like.h>

#include "experiment/learning.hpp"
#include "experiment/state.hpp"
#include "slalom/modules/criteria.hpp"

namespace slalom {

using experiment::ThetaUse;

/// Events at theta; nominal ones if it is undefined. For a ratio: those of a process twice, nominal
/// with label 0 and moved with label 1.
LearningBatch Experiment::State::moved(const EventBatch& nominal, const Tensor& theta) const {
  if (!theta.defined()) return {nominal, theta};
  if (options.learning.strategy == Strategy::reweighting) {
    const Tensor mask = nominal.process == nominal.process_index(options.learning.process);
    const EventBatch chosen = nominal.select(mask);
    const Tensor place = theta.index_select(0, mask.nonzero().squeeze(1));
    EventBatch both =
        concatenate({chosen, experiment::events_at(options, variations, chosen, place)});
    both.labels = at::cat({at::zeros_like(chosen.labels), at::ones_like(chosen.labels)});
    return {both, at::cat({place, place})};
  }
  return {experiment::events_at(options, variations, nominal, theta), theta};
}

/// Training events of a batch's number, at the theta of that number.
LearningBatch Experiment::State::batch_at(std::int64_t number) const {
  const EventBatch nominal =
      shuffled->batch({number / shuffled->batches(), number % shuffled->batches()});
  if (options.learning.strategy == Strategy::nominal) return {nominal, {}};
  return moved(nominal, experiment::draw_theta(options, nominal.size(), number, ThetaUse::training,
                                               experiment::side_of(options, number)));
}

/// The same theta at all validations.
LearningBatch Experiment::State::validation_batch() const {
  if (options.learning.strategy == Strategy::nominal) return {data.validation, {}};
  return moved(data.validation,
               experiment::draw_theta(options, data.validation.size(), 0, ThetaUse::validation));
}

/// [n], of the network that is told theta if it has to be.
Tensor Experiment::State::outputs_of(const LearningBatch& batch) {
  const auto& chosen = options.classifier.features;
  return classifier
      ->outputs(chosen.empty() ? batch.events.features : batch.events.matrix(chosen),
                experiment::knows_theta(options) ? batch.theta : Tensor())
      .squeeze(1);
}

Tensor Experiment::State::cross_entropy_of(const LearningBatch& batch) {
  return cross_entropy(outputs_of(batch), batch.events.labels,
                       balanced_weights(batch.events.labels, batch.events.weights));
}

/// Of two networks, the one that is not trained in this step keeps its weights: no gradient.
void Experiment::State::choose_network() {
  const experiment::Side side = experiment::side_of(options, step);
  if (side == experiment::Side::both) return;
  auto* two = dynamic_cast<TwoNetworksImpl*>(classifier.ptr().get());
  if (two == nullptr) return;
  const Mlp& other = side == experiment::Side::above ? two->below : two->above;
  for (Tensor& parameter : other->parameters()) parameter.mutable_grad() = Tensor();
}

}  // namespace slalom
