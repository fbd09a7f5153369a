// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cli/report/page.hpp"
#include "slalom/core/json.hpp"

/// \file
/// What the inferences of an experiment, or of several ones, look like.
namespace slalom::experiment {

/// Tables of intervals and toys, profiles over each other, shapes of templates.
/// \param result result.json \param poi name of the parameter of interest
/// \returns "" without inferences
std::string inferences_section(const Json& result, const std::string& poi, cli::Pictures& pictures);

/// For each inference and truth, the profiles of all experiments over each other.
/// \param results name of the variant and its result.json
/// \returns "" without inferences
std::string overlaid_profiles(const std::vector<std::pair<std::string, Json>>& results,
                              cli::Pictures& pictures);

}  // namespace slalom::experiment
