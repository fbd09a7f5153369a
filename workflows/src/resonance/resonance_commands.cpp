// SPDX-License-Identifier: Apache-2.0
#include "resonance/resonance_commands.hpp"

#include <fmt/format.h>

#include "cli/text.hpp"
#include "experiment/stage_commands.hpp"
#include "resonance/resonance_report.hpp"
#include "resonance/search.hpp"
#include "slalom/workflows/resonance.hpp"

namespace slalom::resonance {

using nlohmann::ordered_json;

int run_into(cli::Command& command, const ResonanceOptions& options, const std::string& directory) {
  return experiment::run_stages_command(
      command, options.name, directory,
      [&](const experiment::StageHook& hook) {
        return run_resonance_in_directory(options, directory, {hook});
      },
      [&] { return write_resonance_report(directory); }, result_text);
}

int check(cli::Command& command, const ResonanceOptions& options) {
  const Search search(options);
  const SearchEvents& data = search.data();
  if (command.wants_json()) {
    command.answer(ordered_json{
        {"valid", true}, {"sidebands", data.sidebands.size()}, {"region", data.region.size()}});
  } else {
    command.answer(fmt::format("valid: {} events in the sidebands, {} in the signal region, {}\n",
                               data.sidebands.size(), data.region.size(),
                               cli::count(data.features().size(), "feature")));
  }
  return exit_success;
}

}  // namespace slalom::resonance
