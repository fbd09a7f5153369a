// SPDX-License-Identifier: Apache-2.0
#include "json_scanner.hpp"

#include <cstdint>
#include <cstring>

namespace slalom::detail {

namespace {

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

/// Behind the white space at `at`. Indented texts are mostly blanks: eight of them in one step.
std::size_t end_of_space(std::string_view text, std::size_t at) {
  constexpr std::uint64_t k_blanks = 0x2020202020202020;
  for (std::uint64_t eight = 0; at + sizeof eight <= text.size(); at += sizeof eight) {
    std::memcpy(&eight, text.data() + at, sizeof eight);
    if (eight != k_blanks) break;
  }
  while (at < text.size() && is_space(text[at])) ++at;
  return at;
}

bool ends_scalar(char c) { return is_space(c) || c == ',' || c == ']' || c == '}'; }

/// Behind the quote that closes a string whose content begins at `begin`; npos if none does.
std::size_t end_of_string(std::string_view text, std::size_t begin) {
  for (std::size_t at = begin;;) {
    const void* found = std::memchr(text.data() + at, '"', text.size() - at);
    if (found == nullptr) return std::string_view::npos;
    const auto quote = static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
    std::size_t backslashes = 0;
    while (backslashes < quote - begin && text[quote - 1 - backslashes] == '\\') ++backslashes;
    at = quote + 1;
    if (backslashes % 2 == 0) return at;
  }
}

}  // namespace

void JsonScanner::skip_space() { at_ = end_of_space(text_, at_); }

bool JsonScanner::take(char c) {
  skip_space();
  if (at_ >= text_.size() || text_[at_] != c) return false;
  ++at_;
  return true;
}

bool JsonScanner::skip_string() {
  const std::size_t end = end_of_string(text_, at_);
  if (end == std::string_view::npos) return false;
  at_ = end;
  return true;
}

bool JsonScanner::string(std::string_view& content) {
  if (!take('"')) return false;
  const std::size_t begin = at_;
  if (!skip_string()) return false;
  content = text_.substr(begin, at_ - 1 - begin);
  return true;
}

bool JsonScanner::skip_value() {
  skip_space();
  const std::size_t begin = at_;
  std::size_t depth = 0;
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (c == '"') {
      ++at_;
      if (!skip_string()) return false;
    } else if (c == '[' || c == '{') {
      ++depth;
      ++at_;
      continue;
    } else if (c == ']' || c == '}') {
      if (depth == 0) return at_ > begin;
      --depth;
      ++at_;
    } else if (depth > 0) {
      at_ = c == '\n' ? end_of_space(text_, at_ + 1) : at_ + 1;
      continue;
    } else if (ends_scalar(c)) {
      return at_ > begin;
    } else {
      while (at_ < text_.size() && !ends_scalar(text_[at_])) ++at_;
    }
    if (depth == 0) return true;
  }
  return at_ > begin && depth == 0;
}

}  // namespace slalom::detail
