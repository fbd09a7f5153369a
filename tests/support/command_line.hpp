// SPDX-License-Identifier: Apache-2.0
/// \file
/// Runs commands in-process, and makes files for them.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "slalom/workflows/cli.hpp"

namespace slalom::test {

/// What a command did.
struct Outcome {
  int code = -1;    ///< exit code
  std::string out;  ///< standard output
  std::string err;  ///< standard error

  /// Standard output as one JSON document; throws if it is none.
  nlohmann::ordered_json json() const { return nlohmann::ordered_json::parse(out); }
  /// The error document's member, e.g. "message".
  std::string error(const std::string& member) const {
    return json().at("error").at(member).get<std::string>();
  }
};

/// Runs `slalom words...`.
inline Outcome slalom(const std::vector<std::string>& words, const std::string& input = "") {
  std::vector<const char*> argv{"slalom"};
  for (const std::string& word : words) argv.push_back(word.c_str());
  std::istringstream in(input);
  std::ostringstream out;
  std::ostringstream err;
  const int code = run_command_line(static_cast<int>(argv.size()), argv.data(), in, out, err);
  return {code, out.str(), err.str()};
}

/// A folder that is removed at the end of the test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "slalom_XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  /// Path of a file in the folder.
  std::string path(const std::string& name) const { return (path_ / name).string(); }
  /// Writes a file and gives its path.
  std::string file(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name) << text;
    return path(name);
  }

 private:
  std::filesystem::path path_;
};

/// Text of a file.
inline std::string text_of(const std::string& path) {
  std::ifstream stream(path);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

/// A workspace with all that the commands distinguish: two channels, a signal, a constrained and a
/// per-bin parameter, two measurements.
inline std::string small_workspace() {
  return R"json({
  "channels": [
    {"name": "signal_region", "samples": [
      {"name": "signal", "data": [5, 10],
       "modifiers": [{"name": "mu", "type": "normfactor", "data": null}]},
      {"name": "background", "data": [50, 60],
       "modifiers": [{"name": "scale", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}},
                     {"name": "statistics", "type": "shapesys", "data": [5, 6]}]}]},
    {"name": "control_region", "samples": [
      {"name": "background", "data": [100],
       "modifiers": [{"name": "scale", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}]}]}
  ],
  "observations": [{"name": "signal_region", "data": [53, 65]},
                   {"name": "control_region", "data": [105]}],
  "measurements": [
    {"name": "nominal", "config": {"poi": "mu", "parameters": []}},
    {"name": "wide", "config": {"poi": "mu", "parameters": [
      {"name": "mu", "inits": [1], "bounds": [[-5, 20]]}]}}
  ],
  "version": "1.0.0"
})json";
}

}  // namespace slalom::test
