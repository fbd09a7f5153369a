// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/command.hpp"
#include "slalom/workflows/resonance_options.hpp"

/// \file
/// `slalom run` and `slalom resume` for resonance searches.
namespace slalom::resonance {

/// Runs into a directory and answers. \returns an exit code
int run_into(cli::Command& command, const ResonanceOptions& options, const std::string& directory);
/// Reads or generates the events, and says how many there are. \returns an exit code
int check(cli::Command& command, const ResonanceOptions& options);

}  // namespace slalom::resonance
