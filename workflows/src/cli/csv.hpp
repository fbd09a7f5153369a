// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// \file
/// Comma-separated values: quoted as in RFC 4180, lines end with a line feed alone, numbers read
/// back exactly.
namespace slalom::cli {

/// One cell as it is written: in quotes if it holds a comma, a quote or a line break.
std::string csv_cell(std::string_view text);
/// A number that reads back exactly; empty if it is not finite.
std::string csv_cell(double value);
/// Empty if there is none.
std::string csv_cell(const std::optional<double>& value);
/// "true" or "false".
std::string csv_flag(bool value);

/// A table with a header line.
class Csv {
 public:
  /// \param columns names of the columns
  explicit Csv(const std::vector<std::string>& columns);
  /// Adds a line; every cell comes from csv_cell. \throws std::logic_error for a wrong number of
  /// cells
  void row(const std::vector<std::string>& cells);
  /// The whole table.
  const std::string& str() const { return text_; }

 private:
  void add(const std::vector<std::string>& cells);

  std::size_t columns_;
  std::string text_;
};

}  // namespace slalom::cli
