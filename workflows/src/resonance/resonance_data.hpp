// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "slalom/modules/events.hpp"
#include "slalom/workflows/resonance_options.hpp"
#include "slalom/workflows/resonance_problem.hpp"

/// \file
/// The events of a search.
namespace slalom::resonance {

/// What a search has. All batches have the same columns, the mass first.
struct SearchEvents {
  EventBatch sidebands;  ///< data outside of the signal region, in random order
  EventBatch region;     ///< data inside, in random order; labels where the truth is known
  EventBatch simulated;  ///< simulated signal in the region; features undefined without
  Tensor theta;          ///< of each simulated event [n, parameters]; undefined if all are the same
  std::vector<FeatureMap> maps;            ///< of the features
  std::vector<double> low, high;           ///< ranges of the features; empty: from the sidebands
  std::vector<ParameterInput> parameters;  ///< of the simulated signal
  std::vector<double> truth;               ///< their true values, where they are known

  /// Columns without the mass.
  std::vector<std::string> features() const;
  /// Whether there is simulated signal.
  bool has_simulation() const { return simulated.features.defined(); }
  /// Whether it is known which events are signal.
  bool has_truth() const { return region.labels.defined(); }
};

/// Generates or reads the events. \throws Error (usage, io) with the place in the document or file
SearchEvents search_events(const ResonanceOptions& options);

}  // namespace slalom::resonance
