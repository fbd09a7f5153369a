// SPDX-License-Identifier: Apache-2.0
#include "experiment/child_process.hpp"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <system_error>
#include <thread>
#include <unistd.h>

#include "slalom/core/error.hpp"

namespace slalom::experiment {

namespace {

/// What a shell says of a program that cannot be started.
constexpr int k_not_started = 127;

ProcessEnd end_of(int status) {
  if (WIFEXITED(status)) return {WEXITSTATUS(status), 0};
  return {128 + WTERMSIG(status), WTERMSIG(status)};
}

/// The part that runs in the child before the program: only what is allowed after fork().
[[noreturn]] void become(char* const* words, int output, int kept, pid_t parent) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(k_not_started);  // it ended before it could be watched
  const int input = ::open("/dev/null", O_RDONLY);
  ::dup2(input, STDIN_FILENO);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  if (kept >= 0) ::fcntl(kept, F_SETFD, 0);
  ::execv(words[0], words);
  constexpr char k_text[] = "the program could not be started\n";
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, k_text, sizeof k_text - 1);
  ::_exit(k_not_started);
}

}  // namespace

FolderLock::FolderLock(const std::filesystem::path& folder) {
  descriptor_ = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor_ < 0)
    throw Error(ErrorKind::io, std::generic_category().message(errno), folder.string());
  constexpr int k_tries = 100;
  constexpr std::chrono::milliseconds k_pause{100};
  for (int i = 0; ::flock(descriptor_, LOCK_EX | LOCK_NB) != 0; ++i) {
    const int reason = errno;
    // File systems that have no locks are not worth refusing to work on.
    if (reason == ENOTSUP || reason == ENOLCK || reason == EINVAL) return;
    if (i == k_tries || (reason != EWOULDBLOCK && reason != EINTR)) {
      ::close(descriptor_);
      if (reason != EWOULDBLOCK)
        throw Error(ErrorKind::io, std::generic_category().message(reason), folder.string());
      throw Error(ErrorKind::usage, "another process is at work in the directory", folder.string());
    }
    std::this_thread::sleep_for(k_pause);
  }
}

FolderLock::~FolderLock() { ::close(descriptor_); }

ChildProcess::ChildProcess(const std::vector<std::string>& words, const std::filesystem::path& log,
                           int kept) {
  std::vector<std::string> copies = words;
  std::vector<char*> pointers;
  pointers.reserve(copies.size() + 1);
  for (std::string& word : copies) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  const int output = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (output < 0) throw Error(ErrorKind::io, std::generic_category().message(errno), log.string());
  const pid_t parent = ::getpid();
  process_ = ::fork();
  if (process_ == 0) become(pointers.data(), output, kept, parent);
  const int reason = errno;
  ::close(output);
  if (process_ < 0)
    throw Error(ErrorKind::io, std::generic_category().message(reason), words.front());
}

std::optional<ProcessEnd> ChildProcess::end() {
  int status = 0;
  const pid_t answer = ::waitpid(process_, &status, WNOHANG);
  if (answer == 0 || (answer < 0 && errno == EINTR)) return std::nullopt;
  if (answer < 0) return ProcessEnd{k_not_started, 0};
  return end_of(status);
}

ProcessEnd ChildProcess::wait() {
  int status = 0;
  while (::waitpid(process_, &status, 0) < 0) {
    if (errno != EINTR) return {k_not_started, 0};
  }
  return end_of(status);
}

void ChildProcess::interrupt() const { ::kill(process_, SIGTERM); }

std::filesystem::path this_program() {
  std::error_code failure;
  std::filesystem::path path = std::filesystem::read_symlink("/proc/self/exe", failure);
  if (failure) throw Error(ErrorKind::io, failure.message(), "/proc/self/exe");
  return path;
}

}  // namespace slalom::experiment
