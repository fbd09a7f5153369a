// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/report/page.hpp"

/// \file
/// Pages of work in stages.
namespace slalom::experiment {

/// What differs from page to page.
struct StagePage {
  std::string name;                 ///< heading
  std::string description;          ///< below it; may be empty
  std::string alarm;                ///< below that, in the colour of errors; may be empty
  std::string summary;              ///< text as it is
  std::string sections;             ///< elements
  nlohmann::ordered_json document;  ///< in full
};

/// Writes plots/ and the page from result.json. \param page the file; empty: report.html in the
/// directory \param make from the content of result.json; what it does not find there is an error
/// \returns why there are no pictures; empty if there are \throws Error (io, json)
std::string write_stage_page(const std::filesystem::path& directory,
                             const std::filesystem::path& page,
                             const std::function<StagePage(const nlohmann::ordered_json& result,
                                                           cli::Pictures& pictures)>& make);

}  // namespace slalom::experiment
