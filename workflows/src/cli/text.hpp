// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

/// \file
/// Text for people: numbers with sensible digits, and columns that line up.
namespace slalom::cli {

/// Columns that a readable table may take.
constexpr std::size_t k_page_width = 100;

/// The text with line breaks and other control characters turned into blanks.
std::string one_line(std::string text);
/// Columns that UTF-8 text takes (code points, which is right for names in practice).
std::size_t display_width(std::string_view text);
/// The text, shortened with ".." in the middle if it is wider than `width`.
std::string shorten(const std::string& text, std::size_t width);
/// "1 bin", "3 bins".
std::string count(std::size_t n, const std::string& noun);
/// Names joined with ", ", cut after `limit` of them.
std::string listing(const std::vector<std::string>& names, std::size_t limit = 8);

/// The shortest text that reads back exactly.
std::string exact(double value);
/// About `digits` significant digits without needless zeros.
std::string brief(double value, int digits = 6);
/// Digits after the point that show `error` with three significant digits.
int decimals_for(double error);
/// A value with that many digits after the point, in exponent form if it would be too wide.
std::string fixed_point(double value, int decimals);

/// The text with "+-" as a plus-minus sign, and minus signs in place of hyphens before digits.
std::string typeset(const std::string& text);

/// Rows of cells, padded into columns when printed.
class Table {
 public:
  /// One character per column: 'l' left, 'r' right.
  explicit Table(std::string alignment) : alignment_(std::move(alignment)) {}
  /// Adds a row; missing cells are empty.
  void row(std::vector<std::string> cells);
  /// Adds an empty line.
  void gap() { rows_.emplace_back(); }
  /// The rows, indented, with `space` blanks between columns and none at the end of a line.
  std::string str(std::size_t indent = 2, std::size_t space = 2) const;

 private:
  std::string alignment_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace slalom::cli
