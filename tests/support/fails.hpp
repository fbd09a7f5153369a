// SPDX-License-Identifier: Apache-2.0
/// \file
/// Checks of errors: their kind, their place and a part of their message.
#pragma once

#include <optional>
#include <string>

#include "slalom/core/error.hpp"
#include "support/catch.hpp"

namespace slalom::test {

/// The slalom::Error that a function throws; nothing if it throws none.
template <class Function>
std::optional<Error> error_of(Function&& function) {
  try {
    function();
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

/// Checks that a function throws an Error of that kind, at that place, with that fragment of text.
template <class Function>
void check_fails(ErrorKind kind, const std::string& where, const std::string& fragment,
                 Function&& function) {
  const std::optional<Error> error = error_of(function);
  REQUIRE(error.has_value());
  CAPTURE(error->what());
  CHECK(std::string(to_string(error->kind())) == to_string(kind));
  CHECK(error->where() == where);
  INFO("expected in the message: " << fragment);
  CHECK(error->message().find(fragment) != std::string::npos);
}

}  // namespace slalom::test
