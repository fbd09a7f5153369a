// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "slalom/workflows/resonance_options.hpp"

/// \file
/// A resonance search from events to intervals: the density of the background from the sidebands,
/// its guard, and the methods side by side.
namespace slalom {

/// How a search is followed.
struct ResonanceHooks {
  /// Called now and then with the stage at work; returning false stops.
  std::function<bool(const std::string& stage, std::int64_t done, std::int64_t all)> progress = {};
};

/// Runs a search into a directory: experiment.json, stages/ with what each stage has found, and in
/// the end events.npz (scores of the events in the signal region), spectrum and result.json.
/// Stages that are there are not run again: a search that was stopped, or killed, goes on behind
/// the last one that was finished.
/// \returns the content of result.json (docs/resonance.md), or nothing if it was stopped
/// \throws Error (usage) for a directory of another search or a finished one, Error (usage, io) for
///   data with their place, Error (numerical) that names the stage
std::optional<nlohmann::ordered_json> run_resonance_in_directory(
    const ResonanceOptions& options, const std::filesystem::path& directory,
    const ResonanceHooks& hooks = {});

/// Whether a directory has a resonance search.
bool is_resonance(const std::filesystem::path& directory);
/// Its options. \throws Error (io, usage)
ResonanceOptions resonance_of(const std::filesystem::path& directory);

}  // namespace slalom
