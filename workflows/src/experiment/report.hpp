// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

/// \file
/// The page of an experiment, from the files of its directory.
namespace slalom {

/// Writes plots/ and the page. Without result.json it shows the training so far.
/// \param directory of a run: experiment.json, metrics.jsonl, and if it is finished result.json and
///   workspace.json
/// \param page the file; empty: report.html in the directory
/// \returns why there are no pictures; empty if there are
/// \throws Error (io, json, usage) for files that are missing or no such documents
std::string write_experiment_report(const std::filesystem::path& directory,
                                    const std::filesystem::path& page = {});

namespace experiment {

/// Lines of text as they are. \param text line breaks are kept
std::string preformatted(const std::string& text);

}  // namespace experiment
}  // namespace slalom
