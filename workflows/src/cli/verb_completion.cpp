// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom completion`.
#include <iostream>

#include "cli/command.hpp"
#include "cli/completion.hpp"
#include "slalom/workflows/cli.hpp"

namespace slalom::cli {

namespace {

/// What every verb declares: each is run as far as its declarations and no further.
void collect(const std::vector<Verb>& list, const std::vector<std::string>& parent,
             std::vector<CompletionVerb>& found) {
  for (const Verb& verb : list) {
    std::vector<std::string> path = parent;
    path.emplace_back(verb.name);
    std::vector<ArgumentInfo> arguments;
    if (verb.run != nullptr) {
      Command command(verb, verb.name, {}, {std::cin, std::cout, std::cerr}, true);
      verb.run(command);
      arguments = command.arguments.declared();
    }
    found.push_back({path, verb.summary, std::move(arguments)});
    collect(verb.children, path, found);
  }
}

}  // namespace

int run_completion(Command& command) {
  std::string shell;
  command.arguments.positional_choice("SHELL", shell, {"bash", "zsh", "fish"},
                                      "Shell to write the script for");
  command.arguments.example("eval \"$(slalom completion bash)\"");
  if (!command.parse()) return exit_success;
  std::vector<CompletionVerb> found;
  collect(verbs(), {}, found);
  if (shell == "bash") command.answer(bash_completion(found));
  if (shell == "zsh") command.answer(zsh_completion(found));
  if (shell == "fish") command.answer(fish_completion(found));
  return exit_success;
}

}  // namespace slalom::cli
