// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom version`, also `slalom --version`.
#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/result.hpp"
#include "slalom/core/version.hpp"
#include "slalom/workflows/cli.hpp"

namespace slalom::cli {

int run_version(Command& command) {
  command.arguments.example("slalom --version");
  if (!command.parse()) return exit_success;
  if (command.wants_json()) {
    command.answer(OrderedJson{{"name", "slalom"}, {"version", version()}});
  } else {
    command.answer(fmt::format("slalom {}\n", version()));
  }
  return exit_success;
}

}  // namespace slalom::cli
