// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/command.hpp"

/// \file
/// The verbs that train. Their arguments are declared here, without LibTorch; the work is done by
/// another program beside this one, which is started only then, or by functions that were put in
/// its place.
namespace slalom::cli {

/// `slalom run`.
struct RunArguments {
  std::string document;          ///< experiment; `-` is the standard input
  std::string directory;         ///< of the results; empty: beside, by the document's name
  std::vector<std::string> set;  ///< KEY.KEY=VALUE
  bool check = false;            ///< read and build, do not train
  bool resolved = false;         ///< print the document in full
};

/// `slalom resume`.
struct ResumeArguments {
  std::string directory;     ///< of a run or a study
  std::optional<long> jobs;  ///< study: processes at a time; absent: all cores
};

/// `slalom study`.
struct StudyArguments {
  std::string document;      ///< study
  std::string directory;     ///< of the results; empty: beside, by the document's name
  std::optional<long> jobs;  ///< processes at a time; absent: all cores
};

/// What does the work. \returns an exit code
struct ExperimentVerbs {
  int (*run)(Command&, const RunArguments&) = nullptr;              ///< experiment into a directory
  int (*resume)(Command&, const ResumeArguments&) = nullptr;        ///< go on
  int (*study)(Command&, const StudyArguments&) = nullptr;          ///< many of them
  int (*report)(Command&, const std::string& directory) = nullptr;  ///< pictures and page anew
  int (*schema)(Command&, const std::string& kind) = nullptr;       ///< of a document
};

/// Null functions in the program that has no LibTorch: it starts the other one.
ExperimentVerbs& experiment_verbs();

/// Replaces this process by the program that has LibTorch, with the same arguments.
/// \throws Error (usage) if there is none
[[noreturn]] void start_companion(const Command& command, const std::string& verb);

/// Whether a text is an experiment or a study rather than a workspace.
bool looks_like_experiment(const std::string& text);

}  // namespace slalom::cli
