// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "slalom/modules/classifier.hpp"
#include "slalom/modules/variations.hpp"
#include "slalom/workflows/experiment_options.hpp"

/// \file
/// Events at random theta, and networks that are told.
namespace slalom::experiment {

/// Whether the classifier has theta as an input.
bool knows_theta(const ExperimentOptions& options);
/// The nuisance parameter of each learning parameter, as its place in the document.
std::vector<std::size_t> learning_places(const ExperimentOptions& options);
/// The classifier as one of features alone: a parameterised one at theta = 0.
Classifier observable(const ExperimentOptions& options, const Classifier& classifier);
/// The same at theta of the learning parameters [p], in units of theta.
Classifier observable(const ExperimentOptions& options, const Classifier& classifier,
                      const std::vector<double>& theta);

/// Which of two networks a step trains.
enum class Side { both, above, below };
/// Both but for the first steps of a staged training.
Side side_of(const ExperimentOptions& options, std::int64_t step);

/// Which events' theta: every stream of numbers has a name.
enum class ThetaUse : std::uint32_t { training = 0x7E7A0, validation, reweighting, diagnostics };
/// theta of n events [n, p], p learning parameters in units of theta: what the number of the step
/// says, whatever was drawn before. \param side of the threshold that the first of them lies on
Tensor draw_theta(const ExperimentOptions& options, std::int64_t n, std::int64_t step, ThetaUse use,
                  Side side = Side::both);
/// Events at theta [n, p], or [p] for all of them.
/// \param variations of all nuisance parameters, in units of their constraints
EventBatch events_at(const ExperimentOptions& options, const std::vector<Variation>& variations,
                     const EventBatch& events, const Tensor& theta);

}  // namespace slalom::experiment
