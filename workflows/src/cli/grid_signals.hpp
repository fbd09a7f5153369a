// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "slalom/core/patchset.hpp"
#include "slalom/core/signal_grid.hpp"

/// \file
/// The signals of a grid: patch sets, files with one patch each, and folders of such files.
namespace slalom::cli {

/// One signal before its patch is read.
struct GridSignal {
  std::string name;                ///< unique in the grid
  std::vector<PatchValue> values;  ///< one per label; none if it comes from a file of its own
  const LazyPatchSet* set;         ///< where it is, or null
  std::size_t index;               ///< in the set
  std::string path;                ///< of the set or of its own file
};

/// All signals of a grid, in the order of the command line.
class GridSignals {
 public:
  /// Reads patch sets but for their patches; looks at other files only to tell what they are.
  /// \param paths patch sets, patches, and folders, of which the files *.json that hold a patch are
  ///   taken in the order of their names
  /// \throws Error (io, json, patch, usage)
  GridSignals(Command& command, const std::vector<std::string>& paths);

  const std::vector<GridSignal>& signals() const { return signals_; }
  const std::vector<std::string>& labels() const { return labels_; }
  const std::vector<std::unique_ptr<LazyPatchSet>>& sets() const { return sets_; }
  /// Digest of all that was given, "sha256:...".
  const std::string& digest() const { return digest_; }
  /// Reads the patch of a signal. Any number of threads may do so.
  SignalPatch patch(std::size_t i) const;

 private:
  void add(Command& command, const std::string& path, bool in_folder, std::string& texts);
  void add_set(std::string text, const std::string& path);
  void check_names() const;

  std::vector<GridSignal> signals_;
  std::vector<std::string> labels_;
  std::vector<std::unique_ptr<LazyPatchSet>> sets_;
  std::string digest_;
};

}  // namespace slalom::cli
