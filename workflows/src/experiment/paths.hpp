// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/workflows/experiment_options.hpp"

/// \file
/// Where the files of an experiment are.
namespace slalom {

/// The options with paths that are right from any folder, and no base.
ExperimentOptions with_absolute_paths(ExperimentOptions options);

namespace experiment {

/// The document of a variant, in its folder.
inline constexpr const char* k_variant = "variant.json";

}  // namespace experiment
}  // namespace slalom
