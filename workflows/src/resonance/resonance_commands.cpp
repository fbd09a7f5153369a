// SPDX-License-Identifier: Apache-2.0
#include "resonance/resonance_commands.hpp"

#include <fmt/format.h>

#include "cli/result.hpp"
#include "cli/text.hpp"
#include "resonance/resonance_report.hpp"
#include "resonance/search.hpp"
#include "slalom/core/error.hpp"
#include "slalom/workflows/cli.hpp"
#include "slalom/workflows/progress.hpp"

namespace slalom::resonance {

namespace {

using nlohmann::ordered_json;

void note_warnings(cli::Command& command, const ordered_json& result) {
  for (const auto& warning : result.at("warnings")) {
    command.note(
        {warning.at("message").get<std::string>(), warning.at("where").get<std::string>()});
  }
}

/// A page that cannot be written is no reason to lose a result.
void write_page(cli::Command& command, const std::string& directory) {
  try {
    const std::string no_pictures = write_resonance_report(directory);
    if (!no_pictures.empty()) command.note({"there are no pictures: " + no_pictures, "report"});
  } catch (const Error& error) {
    command.note({error.what(), "report"});
  }
}

}  // namespace

int run_into(cli::Command& command, const ResonanceOptions& options, const std::string& directory) {
  ProgressBar bar(command.progress_stream(), options.name);
  const Interruption interruption;
  ResonanceHooks hooks;
  std::string shown;
  hooks.progress = [&](const std::string& stage, std::int64_t done, std::int64_t all) {
    if (stage != shown) bar.stage(shown = stage);
    bar.update(static_cast<std::size_t>(done), static_cast<std::size_t>(all));
    return !interruption.requested();
  };
  const auto result = run_resonance_in_directory(options, directory, hooks);
  bar.clear();
  if (!result) {
    command.note({fmt::format("stopped; `slalom resume {}` goes on", directory), directory});
    return interruption.exit_code();
  }
  note_warnings(command, *result);
  write_page(command, directory);
  if (command.wants_json()) {
    ordered_json document = *result;
    document.erase("warnings");
    command.answer(std::move(document));
  } else {
    command.answer(result_text(*result) + fmt::format("\n  results in {}\n", directory));
  }
  return exit_success;
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
