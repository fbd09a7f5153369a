// SPDX-License-Identifier: Apache-2.0
/// \file
/// Published data that tests may use but the repository does not hold. The folder is the
/// environment variable SLALOM_DATA, or else `../shared/data` beside the source tree.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "support/catch.hpp"

namespace slalom::test {

/// The folder with the published data; it may not exist.
inline std::filesystem::path data_folder() {
  const char* chosen = std::getenv("SLALOM_DATA");
  return (chosen != nullptr && *chosen != '\0') ? chosen : SLALOM_DATA_DEFAULT;
}

/// Path of a file or folder below data_folder(); it may not exist.
inline std::filesystem::path data_path(const std::string& relative) {
  return data_folder() / relative;
}

/// Whether data_path(relative) is there.
inline bool has_data(const std::string& relative) {
  std::error_code ignored;
  return std::filesystem::exists(data_path(relative), ignored);
}

}  // namespace slalom::test

/// Ends the test case with a plain message when the published data are not on this machine:
/// `SLALOM_REQUIRE_DATA("workspaces/sbottom");` as its first statement. (Catch2 2 has no SKIP.)
#define SLALOM_REQUIRE_DATA(relative)                                                            \
  do {                                                                                           \
    if (!slalom::test::has_data(relative)) {                                                     \
      WARN("SKIPPED: " << slalom::test::data_path(relative).string()                             \
                       << " is not on this machine; set SLALOM_DATA to a folder that holds it"); \
      SUCCEED("skipped");                                                                        \
      return;                                                                                    \
    }                                                                                            \
  } while (false)
