// SPDX-License-Identifier: Apache-2.0
#include "cli/csv.hpp"

#include <cmath>
#include <stdexcept>

#include "cli/text.hpp"

namespace slalom::cli {

std::string csv_cell(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += c;
    quoted += c;
  }
  return quoted + '"';
}

std::string csv_cell(double value) { return std::isfinite(value) ? exact(value) : std::string(); }

std::string csv_cell(const std::optional<double>& value) {
  return value ? csv_cell(*value) : std::string();
}

std::string csv_flag(bool value) { return value ? "true" : "false"; }

Csv::Csv(const std::vector<std::string>& columns) : columns_(columns.size()) {
  std::vector<std::string> cells;
  cells.reserve(columns.size());
  for (const std::string& column : columns) cells.push_back(csv_cell(column));
  add(cells);
}

void Csv::row(const std::vector<std::string>& cells) {
  if (cells.size() != columns_) throw std::logic_error("a row of another length than the header");
  add(cells);
}

void Csv::add(const std::vector<std::string>& cells) {
  for (std::size_t i = 0; i < cells.size(); ++i) {
    if (i > 0) text_ += ',';
    text_ += cells[i];
  }
  text_ += '\n';
}

}  // namespace slalom::cli
