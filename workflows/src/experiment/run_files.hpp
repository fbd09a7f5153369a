// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <utility>
#include <vector>

#include "slalom/core/json.hpp"
#include "slalom/workflows/experiment.hpp"

/// \file
/// What a result directory has, as pictures and pages need it.
namespace slalom::experiment {

/// Where the metrics and checkpoints of a run are: its directory, or those of its folds that have
/// been started. Empty if nothing has been.
std::vector<std::filesystem::path> training_directories(const std::filesystem::path& directory);

/// Lines of metrics.jsonl; those that are not complete are left out. \throws Error (io)
std::vector<Metrics> read_metrics(const std::filesystem::path& directory);

/// Step and value, where there is one.
using Curve = std::vector<std::pair<double, double>>;
/// The loss of batches.
Curve loss_curve(const std::vector<Metrics>& metrics);
/// The loss on validation events.
Curve validation_curve(const std::vector<Metrics>& metrics);
/// sigma(mu) on validation events.
Curve sigma_curve(const std::vector<Metrics>& metrics);

}  // namespace slalom::experiment
