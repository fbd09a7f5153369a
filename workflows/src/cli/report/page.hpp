// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "cli/report/report.hpp"

/// \file
/// What pages have in common: their look, their pictures, and the sections about a fit.
namespace slalom::cli {

/// Draws pictures until the first one fails.
class Pictures {
 public:
  /// \param folder where each picture is written as well, as NAME.svg; empty for nowhere
  explicit Pictures(std::filesystem::path folder = {}) : folder_(std::move(folder)) {}
  /// A figure, or nothing where pictures cannot be drawn.
  /// \param name of its file, without suffix
  std::string figure(const std::string& name, const std::function<Picture()>& make,
                     const std::string& caption = "");
  /// Why there are no pictures.
  const std::string& failure() const { return failure_; }

 private:
  std::filesystem::path folder_;
  std::size_t count_ = 0;
  std::string failure_;
};

/// Two columns: what it is, and its value.
std::string key_table(const std::vector<std::vector<std::string>>& rows);

/// A list of warnings, the first 50 of them; empty if there are none.
std::string warnings_list(const Warnings& warnings);

/// The page around its sections, with links to them.
/// \param title of the window
/// \param head elements at the top
std::string html_page(const std::string& title, const std::string& head,
                      const std::string& sections);

/// The sections about a fit and its parameter of interest. \param title of the first of them
std::string fit_sections(const Report& report, const ReportOptions& options,
                         const ReportStyle& style, Pictures& pictures, const std::string& title);

}  // namespace slalom::cli
