// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "cli/command.hpp"

/// \file
/// The option of verbs that give confidence intervals or regions.
namespace slalom::cli {

/// Declares --level, repeatable.
void declare_levels(Command& command, std::vector<std::string>& levels);

/// The levels as numbers, ascending; 1 and 2 standard deviations without the option.
/// \throws Error (usage) for one that is not between 0 and 1
std::vector<double> parse_levels(const std::vector<std::string>& levels);

/// "68.27 %".
std::string percent(double level);

}  // namespace slalom::cli
