// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

/// \file
/// Small helpers for the text of errors.
namespace slalom::detail {

/// Text in single quotes for a message: invalid UTF-8 and control characters are replaced by '?',
/// and what is longer than `limit` bytes is cut.
std::string in_quotes(std::string_view text, std::size_t limit = 80);

/// The candidate that `name` is most probably a misspelling of, or an empty string.
std::string nearest(std::string_view name, const std::vector<std::string>& candidates);

/// "; did you mean 'x'?" if a candidate is close, otherwise "; there is 'a', 'b', ..." with at most
/// `limit` of them, or nothing if there is none.
std::string suggestion(std::string_view name, const std::vector<std::string>& candidates,
                       std::size_t limit = 12);

/// Length in bytes of the UTF-8 sequence that starts at `at`, or 0 if it is not valid.
std::size_t utf8_length(std::string_view text, std::size_t at);

}  // namespace slalom::detail
