// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "cli/command.hpp"
#include "cli/result.hpp"
#include "experiment/stage_files.hpp"
#include "slalom/workflows/cli.hpp"
#include "slalom/workflows/progress.hpp"

/// \file
/// Work in stages at the command line: a progress bar, Ctrl-C, the page, the answer.
namespace slalom::experiment {

/// \param run into the directory with a hook \returns the result, or nothing if it was stopped
/// \param page writes the page, and returns why it has no pictures
/// \param text of a result, for people \returns an exit code
template <class Run, class Page, class Text>
int run_stages_command(cli::Command& command, const std::string& name, const std::string& directory,
                       const Run& run, const Page& page, const Text& text) {
  ProgressBar bar(command.progress_stream(), name);
  const Interruption interruption;
  std::string shown;
  const StageHook hook = [&](const std::string& stage, std::int64_t done, std::int64_t all) {
    if (stage != shown) bar.stage(shown = stage);
    bar.update(static_cast<std::size_t>(done), static_cast<std::size_t>(all));
    return !interruption.requested();
  };
  const std::optional<nlohmann::ordered_json> result = run(hook);
  bar.clear();
  if (!result) {
    command.note({fmt::format("stopped; `slalom resume {}` goes on", directory), directory});
    return interruption.exit_code();
  }
  for (const auto& warning : result->at("warnings")) {
    command.note(
        {warning.at("message").get<std::string>(), warning.at("where").get<std::string>()});
  }
  try {  // a page that cannot be written is no reason to lose a result
    const std::string no_pictures = page();
    if (!no_pictures.empty()) command.note({"there are no pictures: " + no_pictures, "report"});
  } catch (const Error& error) {
    command.note({error.what(), "report"});
  }
  if (command.wants_json()) {
    nlohmann::ordered_json document = *result;
    document.erase("warnings");
    command.answer(std::move(document));
  } else {
    command.answer(text(*result) + fmt::format("\n  results in {}\n", directory));
  }
  return exit_success;
}

}  // namespace slalom::experiment
