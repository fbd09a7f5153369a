// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom run`, `slalom resume`, `slalom study`, `slalom schema`.
#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <filesystem>
#include <system_error>
#include <unistd.h>

#include "cli/experiment_verbs.hpp"
#include "slalom/workflows/cli.hpp"

namespace slalom::cli {

namespace {

constexpr const char* k_companion = "slalom-train";

/// The companion in the folder of this program.
std::filesystem::path companion() {
  std::error_code failure;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", failure);
  return failure ? std::filesystem::path(k_companion) : self.parent_path() / k_companion;
}

void declare_set(Arguments& arguments, std::vector<std::string>& set) {
  arguments.texts("--set", set, "KEY.KEY=VALUE",
                  "Replace a value of the document, for example optimizer.learning_rate=1e-3; "
                  "elements of lists are numbered from 0");
}

}  // namespace

ExperimentVerbs& experiment_verbs() {
  static ExperimentVerbs verbs;
  return verbs;
}

void start_companion(const Command& command, const std::string& verb) {
  const std::filesystem::path program = companion();
  std::vector<std::string> words{program.string(), verb};
  words.insert(words.end(), command.words().begin(), command.words().end());
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  ::execv(program.c_str(), pointers.data());
  const std::string reason = errno == ENOENT ? "this slalom was built without LibTorch, which "
                                               "training needs (there is no " +
                                                   program.string() + ")"
                                             : std::generic_category().message(errno);
  throw Error(ErrorKind::usage, reason, "slalom " + verb);
}

bool looks_like_experiment(const std::string& text) {
  if (text.find("\"channels\"") != std::string::npos) return false;
  constexpr std::array words{"\"summary\"",  "\"loss\"",      "\"classifier\"", "\"training\"",
                             "\"variants\"", "\"resonance\"", "\"mixture\""};
  return std::any_of(words.begin(), words.end(),
                     [&](const char* word) { return text.find(word) != std::string::npos; });
}

int run_run(Command& command) {
  RunArguments options;
  Arguments& arguments = command.arguments;
  arguments.positional("EXPERIMENT", options.document,
                       "Experiment as JSON, comments allowed; `-` is standard input");
  arguments.text("-d,--directory", options.directory, "DIR",
                 "Directory of the results; default is the name of the document without suffix. "
                 "One with a checkpoint is gone on with");
  declare_set(arguments, options.set);
  arguments.flag("--check", options.check, "Read the events and build the stages, do not train");
  arguments.flag("--resolved", options.resolved, "Print the document with all defaults");
  arguments.example("slalom run workflows/experiments/wunsch.json --set training.steps=100");
  if (!command.parse()) return exit_success;
  if (experiment_verbs().run == nullptr) start_companion(command, "run");
  return experiment_verbs().run(command, options);
}

int run_resume(Command& command) {
  ResumeArguments options;
  Arguments& arguments = command.arguments;
  arguments.positional("DIR", options.directory, "Directory of an interrupted run or study");
  arguments.integer("-j,--jobs", options.jobs, 1, "N",
                    "Study: processes at a time; default all cores");
  arguments.example("slalom resume wunsch");
  if (!command.parse()) return exit_success;
  if (experiment_verbs().resume == nullptr) start_companion(command, "resume");
  return experiment_verbs().resume(command, options);
}

int run_study(Command& command) {
  StudyArguments options;
  Arguments& arguments = command.arguments;
  arguments.positional("STUDY", options.document, "Study as JSON, comments allowed");
  arguments.text("-d,--directory", options.directory, "DIR",
                 "Directory of the results; default is the name of the document without suffix");
  arguments.integer("-j,--jobs", options.jobs, 1, "N", "Processes at a time; default all cores");
  arguments.example("slalom study workflows/experiments/wunsch_study.json --jobs 2");
  if (!command.parse()) return exit_success;
  if (experiment_verbs().study == nullptr) start_companion(command, "study");
  return experiment_verbs().study(command, options);
}

int run_schema(Command& command) {
  std::string kind;
  command.arguments.positional_choice("KIND", kind, {"experiment", "study", "resonance", "mixture"},
                                      "Which document");
  command.arguments.example("slalom schema experiment");
  if (!command.parse()) return exit_success;
  if (experiment_verbs().schema == nullptr) start_companion(command, "schema");
  return experiment_verbs().schema(command, kind);
}

}  // namespace slalom::cli
