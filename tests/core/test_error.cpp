// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "slalom/core/error.hpp"
#include "support/catch.hpp"

using slalom::Error;
using slalom::ErrorKind;

TEST_CASE("kinds of errors have stable names", "[core][error]") {
  using slalom::to_string;
  CHECK(std::string(to_string(ErrorKind::usage)) == "usage");
  CHECK(std::string(to_string(ErrorKind::io)) == "io");
  CHECK(std::string(to_string(ErrorKind::json)) == "json");
  CHECK(std::string(to_string(ErrorKind::workspace)) == "workspace");
  CHECK(std::string(to_string(ErrorKind::patch)) == "patch");
  CHECK(std::string(to_string(ErrorKind::model)) == "model");
  CHECK(std::string(to_string(ErrorKind::numerical)) == "numerical");
}

TEST_CASE("an error keeps message and place apart, and what() has both", "[core][error]") {
  const Error error(ErrorKind::workspace, "a number expected", "/channels/0");
  CHECK(error.kind() == ErrorKind::workspace);
  CHECK(error.message() == "a number expected");
  CHECK(error.where() == "/channels/0");
  CHECK(std::string(error.what()) == "/channels/0: a number expected");
}

TEST_CASE("an error without a place is its message", "[core][error]") {
  const Error error(ErrorKind::usage, "nothing to do");
  CHECK(error.where().empty());
  CHECK(std::string(error.what()) == "nothing to do");
}

TEST_CASE("an error survives being copied and caught as a standard exception", "[core][error]") {
  const Error error(ErrorKind::io, "cannot be read", "file");
  const Error copy = error;
  CHECK(std::string(copy.what()) == "file: cannot be read");
  CHECK_THROWS_AS(throw copy, std::runtime_error);
}

TEST_CASE("warnings are compared by text and place", "[core][error]") {
  const slalom::Warning warning{"negative", "/a"};
  CHECK(warning == slalom::Warning{"negative", "/a"});
  CHECK_FALSE(warning == slalom::Warning{"negative", "/b"});
}
