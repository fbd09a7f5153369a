// SPDX-License-Identifier: Apache-2.0
#include "json_scanner.hpp"

#include <cstring>

namespace slalom::detail {

namespace {

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

bool ends_scalar(char c) { return is_space(c) || c == ',' || c == ']' || c == '}'; }

}  // namespace

void JsonScanner::skip_space() {
  while (at_ < text_.size() && is_space(text_[at_])) ++at_;
}

bool JsonScanner::take(char c) {
  skip_space();
  if (at_ >= text_.size() || text_[at_] != c) return false;
  ++at_;
  return true;
}

/// From behind the opening quote to behind the closing one.
bool JsonScanner::skip_string() {
  for (;;) {
    const void* found = std::memchr(text_.data() + at_, '"', text_.size() - at_);
    if (found == nullptr) return false;
    const auto quote = static_cast<std::size_t>(static_cast<const char*>(found) - text_.data());
    std::size_t backslashes = 0;
    while (backslashes < quote - at_ && text_[quote - 1 - backslashes] == '\\') ++backslashes;
    at_ = quote + 1;
    if (backslashes % 2 == 0) return true;
  }
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
      ++at_;
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
