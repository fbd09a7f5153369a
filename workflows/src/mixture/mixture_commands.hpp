// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/command.hpp"
#include "slalom/workflows/mixture_options.hpp"

/// \file
/// `slalom run` and `slalom resume` for measurements with mixtures.
namespace slalom::mixture {

/// Runs into a directory and answers. \returns an exit code
int run_into(cli::Command& command, const MixtureExperimentOptions& options,
             const std::string& directory);
/// Reads or generates the simulations, and says how many there are. \returns an exit code
int check(cli::Command& command, const MixtureExperimentOptions& options);

}  // namespace slalom::mixture
