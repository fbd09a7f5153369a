// SPDX-License-Identifier: Apache-2.0
#include "cli/text.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace slalom::cli {

namespace {

bool starts_code_point(char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }

/// The part of UTF-8 text between two code points.
std::string code_points(const std::string& text, std::size_t from, std::size_t to) {
  std::string part;
  std::size_t n = 0;
  for (const char c : text) {
    if (starts_code_point(c)) ++n;
    if (n > from && n <= to) part += c;
  }
  return part;
}

}  // namespace

std::string one_line(std::string text) {
  for (char& c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (code < 0x20U || code == 0x7FU) c = ' ';
  }
  return text;
}

std::size_t display_width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), starts_code_point));
}

std::string shorten(const std::string& text, std::size_t width) {
  const std::size_t length = display_width(text);
  if (length <= width) return text;
  const std::size_t head = (width - 2) / 2;
  const std::size_t tail = width - 2 - head;
  return code_points(text, 0, head) + ".." + code_points(text, length - tail, length);
}

std::string count(std::size_t n, const std::string& noun) {
  return fmt::format("{} {}{}", n, noun, n == 1 ? "" : "s");
}

std::string listing(const std::vector<std::string>& names, std::size_t limit) {
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < limit; ++i) {
    text += (i == 0 ? "" : ", ") + names[i];
  }
  if (names.size() > limit) text += fmt::format(", ... ({} in all)", names.size());
  return text;
}

std::string exact(double value) { return fmt::format("{}", value); }

std::string brief(double value, int digits) { return fmt::format("{:.{}g}", value, digits); }

int decimals_for(double error) {
  if (!(error > 0.0) || !std::isfinite(error)) return 4;
  return std::clamp(2 - static_cast<int>(std::floor(std::log10(error))), 0, 9);
}

std::string fixed_point(double value, int decimals) {
  if (std::abs(value) >= 1e7 || !std::isfinite(value)) {
    return fmt::format("{:.3e}", value);
  }
  const std::string text = fmt::format("{:.{}f}", value, decimals);
  const bool zero = text.find_first_not_of("-0.") == std::string::npos;
  return zero && text.front() == '-' ? text.substr(1) : text;
}

std::string typeset(const std::string& text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool sign = text[i] == '-' && (i == 0 || text[i - 1] == ' ') && i + 1 < text.size() &&
                      text[i + 1] >= '0' && text[i + 1] <= '9';
    if (text.compare(i, 2, "+-") == 0) {
      result += "±";
      ++i;
    } else {
      result += sign ? "−" : std::string(1, text[i]);
    }
  }
  return result;
}

void Table::row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

std::string Table::str(std::size_t indent, std::size_t space) const {
  std::vector<std::size_t> widths(alignment_.size(), 0);
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], display_width(row[i]));
    }
  }
  std::string text;
  for (const auto& row : rows_) {
    std::string line(indent, ' ');
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string blanks(widths[i] - display_width(row[i]), ' ');
      line += alignment_[i] == 'r' ? blanks + row[i] : row[i] + blanks;
      line.append(space, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

}  // namespace slalom::cli
