// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

/// \file
/// Walks over JSON text without reading it. Nothing is checked beyond what finding the way needs:
/// the text has to be parsed by someone else.
namespace slalom::detail {

/// A position in JSON text. Functions return false where the text is not what they look for; the
/// position is then of no use any more.
class JsonScanner {
 public:
  explicit JsonScanner(std::string_view text) : text_(text) {}

  /// The next byte to look at.
  std::size_t position() const { return at_; }
  /// Skips white space.
  void skip_space();
  /// Skips white space and goes over `c` if it is next.
  bool take(char c);
  /// Goes over a string and gives what is between its quotes, escapes as they are.
  bool string(std::string_view& content);
  /// Goes over a value of any kind.
  bool skip_value();

 private:
  bool skip_string();

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace slalom::detail
