// SPDX-License-Identifier: Apache-2.0
#include "cli/plot/gnuplot.hpp"

#include <cerrno>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

#include "cli/text.hpp"
#include "slalom/core/error.hpp"
#include "slalom/core/json.hpp"

extern char** environ;

namespace slalom::cli {

namespace {

constexpr const char* k_log = "log.txt";

/// Waits for a program. \return its exit status, or 128 + signal
int wait_for(pid_t process) {
  int status = 0;
  while (waitpid(process, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// Starts a program with its output in a file. \return an error number
int spawn(const char* const* arguments, const std::string& log, pid_t& process) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log.c_str(),
                                   O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  const int error = posix_spawnp(&process, arguments[0], &actions, nullptr,
                                 const_cast<char* const*>(arguments), environ);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

}  // namespace

TemporaryFolder::TemporaryFolder() {
  std::error_code error;
  std::filesystem::path base = std::filesystem::temp_directory_path(error);
  if (error) base = ".";
  std::string name = (base / "slalom-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) {
    throw Error(ErrorKind::io, std::generic_category().message(errno), "temporary folder " + name);
  }
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void run_gnuplot(const std::filesystem::path& folder, const std::string& script) {
  const std::string script_path = (folder / "plot.gp").string();
  const std::string log_path = (folder / k_log).string();
  write_text(script_path, script);
  const char* const arguments[] = {"gnuplot", "-d", script_path.c_str(), nullptr};
  pid_t process = 0;
  const int error = spawn(arguments, log_path, process);
  const int status = error == 0 ? wait_for(process) : -1;
  if (error == ENOENT || status == 127) {
    throw Error(ErrorKind::io,
                "gnuplot is needed for plots and is not installed (Debian: gnuplot-nox)",
                "gnuplot");
  }
  if (error != 0) throw Error(ErrorKind::io, std::generic_category().message(error), "gnuplot");
  if (status == 0) return;
  throw Error(ErrorKind::io,
              "failed with status " + std::to_string(status) + ": " + one_line(read_text(log_path)),
              "gnuplot");
}

}  // namespace slalom::cli
