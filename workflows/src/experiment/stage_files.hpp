// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "experiment/documents.hpp"
#include "slalom/core/json.hpp"
#include "slalom/modules/tensor_files.hpp"

/// \file
/// Work in stages, each of which leaves its files, so that what was stopped goes on behind the last
/// one that was finished.
namespace slalom::experiment {

/// The document of a directory, and what comes out in the end.
inline constexpr const char* k_stages_document = "experiment.json";
inline constexpr const char* k_stages_result = "result.json";

/// What a stage has found.
struct StageOutput {
  nlohmann::ordered_json figures;  ///< object
  NamedTensors tensors;            ///< by name
};

/// Called with how far the stage at work is; returning false stops it.
using StageProgress = std::function<bool(std::int64_t done, std::int64_t all)>;
/// The same, with the name of the stage.
using StageHook =
    std::function<bool(const std::string& stage, std::int64_t done, std::int64_t all)>;

/// Thrown through a stage that is to stop.
struct StageStopped {};

/// What stages have found, in files.
class StageFiles {
 public:
  /// \param hook kept by reference
  StageFiles(std::filesystem::path directory, const StageHook& hook)
      : directory_(std::move(directory)), hook_(hook) {
    make_directory(directory_);
  }

  /// The output of a stage: from its files if it has been run.
  template <class Run>
  StageOutput get(const std::string& name, const Run& run) {
    namespace fs = std::filesystem;
    const fs::path figures = directory_ / (name + ".json"), tensors = directory_ / (name + ".npz");
    if (fs::exists(figures)) {
      StageOutput output{nlohmann::ordered_json::parse(read_text(figures)), {}};
      if (fs::exists(tensors)) output.tensors = read_npz(tensors.string());
      return output;
    }
    const StageOutput output = run([&](std::int64_t done, std::int64_t all) {
      if (hook_ && !hook_(name, done, all)) throw StageStopped{};
      return true;
    });
    // The figures come last: where they are, the stage is complete.
    if (!output.tensors.empty()) write_npz(tensors.string(), output.tensors);
    write_text(figures, output.figures.dump(2) + "\n");
    return output;
  }

 private:
  std::filesystem::path directory_;
  const StageHook& hook_;
};

/// Makes the directory, and looks that it has no result and no other document.
/// \throws Error (usage) if it has, Error (io)
inline void check_stages_directory(const std::filesystem::path& directory,
                                   const std::string& document) {
  namespace fs = std::filesystem;
  make_directory(directory);
  if (fs::exists(directory / k_stages_result)) {
    throw Error(ErrorKind::usage, "there is a result already: choose another directory",
                directory.string());
  }
  const fs::path file = directory / k_stages_document;
  if (fs::exists(file) && read_text(file) != document) {
    throw Error(ErrorKind::usage, "there is another experiment already: choose another directory",
                directory.string());
  }
}

/// The document of a directory. \throws Error (io, json)
inline Json stages_document(const std::filesystem::path& directory) {
  const std::filesystem::path file = directory / k_stages_document;
  if (!std::filesystem::exists(file)) {
    throw Error(ErrorKind::io, "there is no experiment.json: not a result directory",
                directory.string());
  }
  return read_json(file);
}

}  // namespace slalom::experiment
