// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "slalom/core/version.hpp"
#include "support/catch.hpp"

TEST_CASE("headers and library carry the same version", "[core][version]") {
  CHECK(slalom::version() == SLALOM_VERSION_STRING);
}

TEST_CASE("the version string is made of the version numbers", "[core][version]") {
  const std::string expected = std::to_string(SLALOM_VERSION_MAJOR) + "." +
                               std::to_string(SLALOM_VERSION_MINOR) + "." +
                               std::to_string(SLALOM_VERSION_PATCH);
  CHECK(slalom::version() == expected);
}
