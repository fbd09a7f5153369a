// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/experiment_verbs.hpp"

/// \file
/// The work of `slalom study`, and of verbs that also take the directory of a study.
namespace slalom::experiment {

/// `slalom study`. \returns an exit code
int study(cli::Command& command, const cli::StudyArguments& arguments);
/// `slalom resume` for the directory of a study. \returns an exit code
int resume_study(cli::Command& command, const cli::ResumeArguments& arguments);
/// `slalom report` for a directory of either kind. \returns an exit code
int report(cli::Command& command, const std::string& directory);
/// `slalom validate` for a study: all its experiments are read. \returns an exit code
int check_study(cli::Command& command, const std::string& document);
/// Whether a document is a study rather than an experiment.
bool is_study_document(const Json& document);

}  // namespace slalom::experiment
