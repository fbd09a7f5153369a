// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "cli/arguments.hpp"

/// \file
/// Completion scripts, made from what the verbs declare.
namespace slalom::cli {

/// One verb as the scripts need it.
struct CompletionVerb {
  std::vector<std::string> path;        ///< {"fit"} or {"patchset", "list"}
  std::string summary;                  ///< one sentence
  std::vector<ArgumentInfo> arguments;  ///< empty for a verb that only has children
};

/// Script for bash.
std::string bash_completion(const std::vector<CompletionVerb>& verbs);
/// Script for zsh.
std::string zsh_completion(const std::vector<CompletionVerb>& verbs);
/// Script for fish.
std::string fish_completion(const std::vector<CompletionVerb>& verbs);

}  // namespace slalom::cli
