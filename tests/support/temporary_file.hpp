// SPDX-License-Identifier: Apache-2.0
/// \file
/// A file that is gone when the test ends.
#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <system_error>

namespace slalom::test {

/// A file with that content, in a folder of its own.
class TemporaryFile {
 public:
  TemporaryFile(const std::string& name, const std::string& content) {
    std::random_device random;
    folder_ = std::filesystem::temp_directory_path() /
              ("slalom_test_" + std::to_string(random()) + std::to_string(random()));
    std::filesystem::create_directory(folder_);
    path_ = (folder_ / name).string();
    std::ofstream(path_, std::ios::binary) << content;
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  const std::string& path() const { return path_; }
  /// What is in it now.
  std::string content() const {
    std::ifstream stream(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  }

 private:
  std::filesystem::path folder_;
  std::string path_;
};

}  // namespace slalom::test
