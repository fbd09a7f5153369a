// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "slalom/core/json.hpp"

/// \file
/// What a network knows of its nuisance parameters, for the page of an experiment.
namespace slalom::experiment {

/// Separation and uncertainty at several theta, the adversary, closure of a reweighting.
/// \param result result.json \param poi name of the parameter of interest
/// \returns "" if the result has none of them
std::string learning_section(const Json& result, const std::string& poi);

}  // namespace slalom::experiment
