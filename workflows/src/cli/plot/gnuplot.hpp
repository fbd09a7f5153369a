// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

/// \file
/// gnuplot as a program: a folder of its own, a script, and what it said.
namespace slalom::cli {

/// A new folder that is removed with everything in it.
class TemporaryFolder {
 public:
  /// \throws Error (io)
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  /// Where it is.
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Runs `gnuplot script` in a folder. \throws Error (io) if it is missing or fails
void run_gnuplot(const std::filesystem::path& folder, const std::string& script);

}  // namespace slalom::cli
