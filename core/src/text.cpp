// SPDX-License-Identifier: Apache-2.0
#include "text.hpp"

#include <algorithm>
#include <cctype>
#include <utility>

namespace slalom::detail {
namespace {

unsigned char byte_at(std::string_view text, std::size_t at) {
  return static_cast<unsigned char>(text[at]);
}

char lower(char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); }

// Number of letters to change, insert, remove or swap with their neighbour, without regard to case.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> above(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  const auto same = [&](std::size_t i, std::size_t j) { return lower(a[i]) == lower(b[j]); };
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::swap(before, above);
    std::swap(above, row);
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      row[j + 1] = std::min({above[j] + (same(i, j) ? 0 : 1), above[j + 1] + 1, row[j] + 1});
      if (i > 0 && j > 0 && same(i, j - 1) && same(i - 1, j)) {
        row[j + 1] = std::min(row[j + 1], before[j - 1] + 1);
      }
    }
  }
  return row[b.size()];
}

}  // namespace

std::size_t utf8_length(std::string_view text, std::size_t at) {
  const unsigned char first = byte_at(text, at);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || at + length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte_at(text, at + i) & 0xC0) != 0x80) return 0;
  }
  const unsigned char second = byte_at(text, at + 1);
  // Overlong forms, surrogates and values beyond U+10FFFF show in the second byte.
  const bool invalid = (first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) ||
                       (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F);
  return invalid ? 0 : length;
}

std::string in_quotes(std::string_view text, std::size_t limit) {
  std::string result = "'";
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text, i);
    if (i + std::max<std::size_t>(length, 1) > limit) return result + "...'";
    if (length == 0 || byte_at(text, i) < 0x20 || byte_at(text, i) == 0x7F) {
      result += '?';
      ++i;
    } else {
      result += text.substr(i, length);
      i += length;
    }
  }
  return result + "'";
}

std::string nearest(std::string_view name, const std::vector<std::string>& candidates) {
  // A third of the letters may be wrong, which is about where suggestions turn into noise. The
  // distance is at least the difference of the lengths, so most candidates cost nothing.
  constexpr std::size_t longest = 200;
  if (name.empty() || name.size() > longest) return {};
  std::size_t best = std::max<std::size_t>(name.size() / 3, 1) + 1;
  std::string found;
  for (const std::string& candidate : candidates) {
    const std::size_t a = name.size();
    const std::size_t b = candidate.size();
    if ((a > b ? a - b : b - a) >= best) continue;
    const std::size_t distance = edit_distance(name, candidate);
    if (distance < best) {
      best = distance;
      found = candidate;
    }
  }
  return found;
}

std::string suggestion(std::string_view name, const std::vector<std::string>& candidates,
                       std::size_t limit) {
  if (candidates.empty()) return {};
  const std::string close = nearest(name, candidates);
  if (!close.empty()) return "; did you mean " + in_quotes(close) + "?";
  std::string list;
  for (std::size_t i = 0; i < std::min(limit, candidates.size()); ++i) {
    list += (i == 0 ? "" : ", ") + in_quotes(candidates[i]);
  }
  if (candidates.size() > limit) {
    list += " and " + std::to_string(candidates.size() - limit) + " more";
  }
  return "; there is " + list;
}

}  // namespace slalom::detail
