// SPDX-License-Identifier: Apache-2.0
#include "experiment/study_commands.hpp"

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>

#include "cli/result.hpp"
#include "cli/text.hpp"
#include "experiment/report.hpp"
#include "mixture/mixture_report.hpp"
#include "resonance/resonance_report.hpp"
#include "slalom/workflows/cli.hpp"
#include "slalom/workflows/mixture_experiment.hpp"
#include "slalom/workflows/progress.hpp"
#include "slalom/workflows/resonance.hpp"
#include "slalom/workflows/study.hpp"

namespace slalom::experiment {

namespace {

namespace fs = std::filesystem;
using cli::Command;

StudyOptions load_study(Command& command, const std::string& file) {
  const bool input = file == "-";
  return read_study(parse_commented_json(command.read(file), input ? std::string("<stdin>") : file),
                    input ? std::string() : fs::path(file).parent_path().string());
}

std::size_t count_of(const std::vector<StudyRun>& runs, RunState state) {
  return static_cast<std::size_t>(std::count_if(
      runs.begin(), runs.end(), [state](const StudyRun& run) { return run.state == state; }));
}

std::string summary_line(const std::vector<StudyRun>& runs, const std::string& directory) {
  std::string text = fmt::format("  {} of {} finished", count_of(runs, RunState::finished),
                                 cli::count(runs.size(), "run"));
  for (const RunState state : {RunState::failed, RunState::stopped, RunState::waiting}) {
    const std::size_t n = count_of(runs, state);
    if (n > 0) text += fmt::format(", {} {}", n, to_string(state));
  }
  return text + fmt::format("; results in {}\n", directory);
}

void answer(Command& command, const StudyOptions& options, const std::vector<StudyRun>& runs,
            const StudyComparison& comparison, const std::string& directory) {
  for (const Warning& warning : comparison.warnings) command.note(warning);
  if (command.wants_json()) {
    command.answer(comparison_document(options, runs, comparison));
  } else {
    command.answer(comparison_text(options, comparison) + "\n" + summary_line(runs, directory));
  }
}

bool without_pictures(const StudyComparison& comparison) {
  return std::any_of(comparison.warnings.begin(), comparison.warnings.end(),
                     [](const Warning& warning) { return warning.where == "report"; });
}

int run_into(Command& command, const StudyOptions& options, const std::string& directory,
             const std::optional<long>& jobs) {
  ProgressBar bar(command.progress_stream());
  const Interruption interruption;
  StudyHooks hooks;
  hooks.jobs = static_cast<std::size_t>(jobs.value_or(0));
  const std::size_t n = options.variants.size() * options.seeds.size();
  std::string shown;
  hooks.progress = [&](std::size_t finished, std::int64_t steps, std::int64_t all) {
    const std::string title = fmt::format("{}/{} runs", finished, n);
    if (title != shown) bar.stage(shown = title);
    bar.update(static_cast<std::size_t>(steps), static_cast<std::size_t>(all));
    return !interruption.requested();
  };
  const std::vector<StudyRun> runs = run_study_in_directory(options, directory, hooks);
  bar.clear();
  for (const StudyRun& run : runs) {
    if (run.state != RunState::failed) continue;
    command.note({run.message, (fs::path(directory) / run.directory).string()});
  }
  const StudyComparison comparison = write_study_results(options, runs, directory);
  if (interruption.requested() || count_of(runs, RunState::stopped) > 0) {
    command.note({fmt::format("stopped; `slalom resume {}` goes on", directory), directory});
  }
  answer(command, options, runs, comparison, directory);
  if (interruption.requested()) return interruption.exit_code();
  const bool all = count_of(runs, RunState::finished) == runs.size();
  return all && !without_pictures(comparison) ? exit_success : exit_failure;
}

/// The page that -o names. \throws Error (usage) for other forms of output and other options
fs::path page_of(Command& command) {
  const std::vector<std::string>& words = command.words();
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "-o" || words[i] == "--output") {
      ++i;
    } else if (words[i].rfind("-", 0) == 0 && words[i] != "--json" && words[i] != "--quiet" &&
               words[i].rfind("--output=", 0) != 0) {
      throw Error(ErrorKind::usage, "is for the report of a workspace, not of a directory",
                  words[i]);
    }
  }
  std::string file = command.output;
  if (!file.empty() && !file.ends_with(".html") && !file.ends_with(".htm")) {
    throw Error(ErrorKind::usage, "the name must end in .html", file);
  }
  command.output.clear();
  return file;
}

}  // namespace

bool is_study_document(const Json& document) {
  return document.is_object() && document.contains("variants");
}

int study(Command& command, const cli::StudyArguments& arguments) {
  const StudyOptions options = load_study(command, arguments.document);
  std::string directory = arguments.directory;
  if (directory.empty()) {
    directory = arguments.document == "-" ? "study" : fs::path(arguments.document).stem().string();
  }
  return run_into(command, options, directory, arguments.jobs);
}

int resume_study(Command& command, const cli::ResumeArguments& arguments) {
  return run_into(command, study_of(arguments.directory), arguments.directory, arguments.jobs);
}

int report(Command& command, const std::string& directory) {
  const fs::path page = page_of(command);
  const std::string file =
      page.empty() ? (fs::path(directory) / "report.html").string() : page.string();
  std::string no_pictures;
  if (is_study(directory)) {
    const StudyOptions options = study_of(directory);
    const StudyComparison comparison =
        write_study_results(options, study_runs(options, directory), directory, page);
    for (const Warning& warning : comparison.warnings) command.note(warning);
    if (without_pictures(comparison)) no_pictures = "none";
  } else {
    no_pictures = is_resonance(directory) ? resonance::write_resonance_report(directory, page)
                  : is_mixture(directory) ? mixture::write_mixture_report(directory, page)
                                          : write_experiment_report(directory, page);
    if (!no_pictures.empty()) command.note({"there are no pictures: " + no_pictures, "report"});
  }
  if (command.wants_json()) {
    command.answer(nlohmann::ordered_json{{"report", file}});
  } else {
    command.answer(fmt::format("  {}\n", file));
  }
  return no_pictures.empty() ? exit_success : exit_failure;
}

int check_study(Command& command, const std::string& document) {
  const StudyOptions options = load_study(command, document);
  study_experiments(options);
  if (command.wants_json()) {
    command.answer(nlohmann::ordered_json{
        {"valid", true}, {"variants", options.variants.size()}, {"seeds", options.seeds.size()}});
  } else {
    command.answer(fmt::format("valid: {}, {}\n", cli::count(options.variants.size(), "variant"),
                               cli::count(options.seeds.size(), "seed")));
  }
  return exit_success;
}

}  // namespace slalom::experiment
