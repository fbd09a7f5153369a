// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "slalom/modules/observable.hpp"
#include "slalom/modules/pipeline.hpp"
#include "slalom/workflows/experiment.hpp"

/// \file
/// Likelihoods of mu and theta from a trained experiment.
namespace slalom::experiment {

/// One training and the events it is tested with; with folds there are several.
struct InferencePart {
  Pipeline stages{nullptr};  ///< trained
  EventBatch test;           ///< templates and data are made of these
  Tensor test_ids;           ///< [n] their numbers, for bootstraps
  EventBatch train;          ///< quantiles are taken of these
  EventBatch validation;     ///< ratios are calibrated with these; may be undefined: with `train`
  /// Linear summary: efficient scores of mu and of a nuisance parameter, its place in the document,
  /// for events at any theta; empty for any other summary.
  std::function<Observable::Pair(const EventBatch& reference, std::size_t nuisance)> linear = {};
};

/// Checks what can be checked without events. \throws Error (usage) with the JSON pointer
void check_inferences(const ExperimentOptions& options);

/// All inferences of the options, in their order.
/// \param variations of the experiment, in units of the standard deviations of their constraints
std::vector<InferenceResult> run_inferences(const ExperimentOptions& options,
                                            const std::vector<Variation>& variations,
                                            std::vector<InferencePart> parts);

}  // namespace slalom::experiment
