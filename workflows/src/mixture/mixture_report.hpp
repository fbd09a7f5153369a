// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

/// \file
/// What a measurement has found, for people.
namespace slalom::mixture {

/// Tables for the terminal. \param result content of result.json
std::string result_text(const nlohmann::ordered_json& result);

/// Writes plots/ and the page from the files of a finished measurement.
/// \param page the file; empty: report.html in the directory
/// \returns why there are no pictures; empty if there are \throws Error (io, json, usage)
std::string write_mixture_report(const std::filesystem::path& directory,
                                 const std::filesystem::path& page = {});

}  // namespace slalom::mixture
