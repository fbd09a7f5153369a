// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "slalom/workflows/experiment_options.hpp"
#include "slalom/workflows/mixture_options.hpp"
#include "slalom/workflows/resonance_options.hpp"
#include "slalom/workflows/study.hpp"

/// \file
/// Where the files of an experiment are.
namespace slalom {

/// The options with paths that are right from any folder, and no base.
ExperimentOptions with_absolute_paths(ExperimentOptions options);
/// The same of a search.
ResonanceOptions with_absolute_paths(ResonanceOptions options);
/// The same of a measurement with a mixture.
MixtureExperimentOptions with_absolute_paths(MixtureExperimentOptions options);

namespace experiment {

/// The document of a variant, in its folder.
inline constexpr const char* k_variant = "variant.json";

/// What a study runs, of a document. \param base folder that relative paths are relative to
/// \throws Error (usage) with a JSON pointer
StudyExperiment study_experiment(const Json& document, const std::string& base);

}  // namespace experiment
}  // namespace slalom
