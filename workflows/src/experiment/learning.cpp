// SPDX-License-Identifier: Apache-2.0
#include "experiment/learning.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <algorithm>

#include "experiment/data.hpp"
#include "slalom/core/random.hpp"

namespace slalom::experiment {

namespace {

double draw(RandomStream& random, const LearningParameter& parameter) {
  const double middle = 0.5 * (parameter.low + parameter.high),
               half = 0.5 * (parameter.high - parameter.low);
  return parameter.distribution == ThetaDistribution::normal
             ? middle + half * random.normal()
             : parameter.low + 2.0 * half * random.uniform();
}

/// Draws until it lies on the side.
double draw_on_side(RandomStream& random, const LearningParameter& parameter, double threshold,
                    Side side) {
  for (;;) {
    const double theta = draw(random, parameter);
    if (side == Side::both || (side == Side::above) == (theta >= threshold)) return theta;
  }
}

}  // namespace

Side side_of(const ExperimentOptions& options, std::int64_t step) {
  const std::int64_t alone = options.learning.alone;
  if (step >= 2 * alone) return Side::both;
  return step < alone ? Side::above : Side::below;
}

bool knows_theta(const ExperimentOptions& options) {
  return options.learning.strategy == Strategy::parameterised ||
         options.learning.strategy == Strategy::reweighting;
}

std::vector<std::size_t> learning_places(const ExperimentOptions& options) {
  std::vector<std::size_t> result;
  for (const LearningParameter& parameter : options.learning.parameters) {
    const auto found = std::find_if(
        options.nuisances.begin(), options.nuisances.end(),
        [&](const NuisanceOptions& nuisance) { return nuisance.name == parameter.name; });
    result.push_back(static_cast<std::size_t>(found - options.nuisances.begin()));
  }
  return result;
}

Classifier observable(const ExperimentOptions& options, const Classifier& classifier) {
  return observable(options, classifier,
                    std::vector<double>(options.learning.parameters.size(), 0.0));
}

Classifier observable(const ExperimentOptions& options, const Classifier& classifier,
                      const std::vector<double>& theta) {
  if (!knows_theta(options)) return classifier;
  Tensor point = at::empty({static_cast<std::int64_t>(theta.size())}, at::kDouble);
  std::copy(theta.begin(), theta.end(), point.data_ptr<double>());
  return as_classifier(std::make_shared<FrozenClassifierImpl>(classifier, point));
}

Tensor draw_theta(const ExperimentOptions& options, std::int64_t n, std::int64_t step, ThetaUse use,
                  Side side) {
  const auto& parameters = options.learning.parameters;
  const Tensor result = at::empty({n, static_cast<std::int64_t>(parameters.size())}, at::kDouble);
  auto* place = result.data_ptr<double>();
  RandomStream random(options.seed, static_cast<std::uint64_t>(step),
                      static_cast<std::uint32_t>(use));
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::size_t p = 0; p < parameters.size(); ++p) {
      *place++ = draw_on_side(random, parameters[p], options.classifier.threshold,
                              p == 0 ? side : Side::both);
    }
  }
  return result.to(at::Device(options.device));
}

EventBatch events_at(const ExperimentOptions& options, const std::vector<Variation>& variations,
                     const EventBatch& events, const Tensor& theta) {
  EventBatch result = events;
  const std::vector<std::size_t> places = learning_places(options);
  for (std::size_t p = 0; p < places.size(); ++p) {
    const Tensor units =
        theta.select(-1, static_cast<std::int64_t>(p)) / prior_of(options.nuisances[places[p]]);
    result = apply_variation(result, variations[places[p]], units);
  }
  return result;
}

}  // namespace slalom::experiment
