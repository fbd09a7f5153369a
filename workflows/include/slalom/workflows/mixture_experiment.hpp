// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "slalom/workflows/mixture_options.hpp"

/// \file
/// A measurement with a template-adapted mixture: the fit, the choice of K and of the prior's
/// strength by leaving simulations out, and toys that say what its intervals cover.
namespace slalom {

/// How a measurement is followed.
struct MixtureHooks {
  /// Called now and then with the stage at work; returning false stops.
  std::function<bool(const std::string& stage, std::int64_t done, std::int64_t all)> progress = {};
};

/// Runs a measurement into a directory: experiment.json, stages/ with what each stage has found,
/// and in the end toys.npz (a number of each data set) and result.json. Stages that are there are
/// not run again: a measurement that was stopped, or killed, goes on behind the last one that was
/// finished.
/// \returns the content of result.json (docs/mixture_experiments.md), or nothing if it was stopped
/// \throws Error (usage) for a directory of another experiment or a finished one, Error (usage, io)
///   for data with their place, Error (model, numerical) for what no mixture can be made of
std::optional<nlohmann::ordered_json> run_mixture_in_directory(
    const MixtureExperimentOptions& options, const std::filesystem::path& directory,
    const MixtureHooks& hooks = {});

/// Whether a directory has a measurement with a mixture.
bool is_mixture(const std::filesystem::path& directory);
/// Its options. \throws Error (io, usage)
MixtureExperimentOptions mixture_of(const std::filesystem::path& directory);

}  // namespace slalom
