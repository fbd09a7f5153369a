// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "slalom/workflows/resonance_options.hpp"

/// \file
/// Random numbers of the stages of a search.
namespace slalom::resonance {

/// Seeds of the stages, so that none repeats what another has drawn.
enum StageSeed : std::uint64_t {
  k_of_background = 1,
  k_of_reference,
  k_of_guard,
  k_of_ranode,
  k_of_scan,
  k_of_detector,
  k_of_supervised,
  k_of_paws,
  k_of_correction,
  k_stages = 16
};

/// Of one stage.
inline std::uint64_t stage_seed(const ResonanceOptions& options, StageSeed stage) {
  return options.seed * k_stages + stage;
}

}  // namespace slalom::resonance
