// SPDX-License-Identifier: Apache-2.0
#include "cli/grid_signals.hpp"

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>
#include <map>
#include <nlohmann/json.hpp>

#include "slalom/core/digest.hpp"
#include "slalom/core/json.hpp"

namespace slalom::cli {

namespace {

namespace fs = std::filesystem;

/// The first character that is no white space, behind a byte order mark; 0 if there is none.
char first_character(const std::string& text) {
  const std::size_t begin = text.starts_with("\xEF\xBB\xBF") ? 3 : 0;
  const std::size_t at = text.find_first_not_of(" \t\r\n", begin);
  return at == std::string::npos ? '\0' : text[at];
}

std::vector<std::string> json_files(const std::string& folder) {
  std::vector<std::string> paths;
  std::error_code failed;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, failed)) {
    if (entry.path().extension() == ".json") paths.push_back(entry.path().string());
  }
  if (failed) throw Error(ErrorKind::io, "cannot be read: " + failed.message(), folder);
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace

GridSignals::GridSignals(Command& command, const std::vector<std::string>& paths) {
  std::string digests;
  for (const std::string& path : paths) {
    std::error_code ignored;
    if (!fs::is_directory(path, ignored)) {
      add(command, path, false, digests);
      continue;
    }
    const std::size_t before = signals_.size();
    for (const std::string& file : json_files(path)) add(command, file, true, digests);
    if (signals_.size() == before) {
      throw Error(ErrorKind::usage, "the folder has no file *.json that holds a JSON patch", path);
    }
  }
  check_names();
  digest_ = "sha256:" + text_digest(digests);
}

void GridSignals::add(Command& command, const std::string& path, bool in_folder,
                      std::string& digests) {
  std::string text = command.read(path);
  const bool is_patch = first_character(text) == '[';
  if (in_folder && !is_patch) return;
  if (is_patch && path == "-") {
    throw Error(ErrorKind::usage, "only a patch set can be read from standard input", path);
  }
  digests += text_digest(text) + "\n";
  if (is_patch) {
    signals_.push_back({fs::path(path).stem().string(), {}, nullptr, 0, path});
  } else {
    add_set(std::move(text), path == "-" ? "<stdin>" : path);
  }
}

void GridSignals::add_set(std::string text, const std::string& path) {
  sets_.push_back(std::make_unique<LazyPatchSet>(std::move(text), path));
  const LazyPatchSet& set = *sets_.back();
  if (sets_.size() == 1) labels_ = set.set().labels;
  if (labels_ != set.set().labels) {
    throw Error(ErrorKind::usage, "its labels are not those of the first patch set", path);
  }
  for (std::size_t i = 0; i < set.set().patches.size(); ++i) {
    const Patch& patch = set.set().patches[i];
    signals_.push_back({patch.name, patch.values, &set, i, path});
  }
}

void GridSignals::check_names() const {
  std::map<std::string, const GridSignal*> known;
  for (const GridSignal& signal : signals_) {
    const auto [first, is_new] = known.emplace(signal.name, &signal);
    if (is_new) continue;
    throw Error(ErrorKind::usage,
                fmt::format("a second signal named '{}'; the first is in {}", signal.name,
                            first->second->path),
                signal.path);
  }
}

SignalPatch GridSignals::patch(std::size_t i) const {
  const GridSignal& signal = signals_.at(i);
  if (signal.set == nullptr) return {read_json(signal.path), signal.path + "#"};
  return {signal.set->operations(signal.index),
          fmt::format("{}#/patches/{}/patch", signal.path, signal.index)};
}

}  // namespace slalom::cli
