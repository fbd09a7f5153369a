// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

/// \file
/// Programs that are started, watched and asked to end; a folder that only one of them works in.
namespace slalom::experiment {

/// A folder that belongs to this process and to those it starts, as long as any of them lives.
class FolderLock {
 public:
  /// Waits a little for processes that are about to end.
  /// \throws Error (usage) if others are at work there, Error (io)
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  /// What children keep open.
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_ = -1;
};

/// How a process ended.
struct ProcessEnd {
  int code = 0;    ///< exit code
  int signal = 0;  ///< what ended it; 0 if it ended itself
};

/// A process of its own process group, so that Ctrl-C does not reach it; it gets SIGTERM when the
/// one that started it ends.
class ChildProcess {
 public:
  /// \param words program and arguments \param log its output is added there
  /// \param kept a descriptor that it inherits; negative for none
  /// \throws Error (io)
  ChildProcess(const std::vector<std::string>& words, const std::filesystem::path& log, int kept);
  /// Its end, if it has come.
  std::optional<ProcessEnd> end();
  /// Waits for it.
  ProcessEnd wait();
  /// Asks it to end.
  void interrupt() const;

 private:
  pid_t process_ = 0;
};

/// The program of this process.
std::filesystem::path this_program();

}  // namespace slalom::experiment
