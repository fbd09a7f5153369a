// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <atomic>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <string>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

#include "slalom/core/error.hpp"
#include "slalom/core/json.hpp"

namespace slalom {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const std::string& message, const std::string& where) {
  throw Error(ErrorKind::io, message, where);
}

[[noreturn]] void fail_system(const std::string& message, const std::string& where) {
  fail(message + ": " + std::generic_category().message(errno), where);
}

// A descriptor that is closed whatever happens.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (number_ > STDERR_FILENO) ::close(number_);
  }
  int get() const { return number_; }
  bool close() {
    const int number = number_;
    number_ = -1;
    return ::close(number) == 0;
  }

 private:
  int number_;
};

std::string read_all(int descriptor, const std::string& where) {
  std::string text;
  std::array<char, 1 << 16> buffer;
  for (;;) {
    const ssize_t count = ::read(descriptor, buffer.data(), buffer.size());
    if (count == 0) return text;
    if (count > 0) {
      text.append(buffer.data(), static_cast<std::size_t>(count));
    } else if (errno != EINTR) {
      fail_system("cannot be read", where);
    }
  }
}

void write_all(int descriptor, std::string_view text, const std::string& where) {
  while (!text.empty()) {
    const ssize_t count = ::write(descriptor, text.data(), text.size());
    if (count >= 0) {
      text.remove_prefix(static_cast<std::size_t>(count));
    } else if (errno != EINTR) {
      fail_system("cannot be written", where);
    }
  }
}

// The file beside the target that becomes the target once it is complete.
class TemporaryFile {
 public:
  explicit TemporaryFile(const fs::path& target)
      : path_(unused_name(target)), descriptor_(::open(path_.c_str(), flags, 0666)) {
    if (descriptor_.get() < 0) fail_system("cannot be written", target.string());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (!renamed_) ::unlink(path_.c_str());
  }

  void set_mode(mode_t mode) { ::fchmod(descriptor_.get(), mode); }

  void write(std::string_view text, const std::string& where) {
    write_all(descriptor_.get(), text, where);
    if (::fsync(descriptor_.get()) != 0 || !descriptor_.close()) {
      fail_system("cannot be written", where);
    }
  }

  void rename(const fs::path& target) {
    if (::rename(path_.c_str(), target.c_str()) != 0) {
      fail_system("cannot be written", target.string());
    }
    renamed_ = true;
  }

 private:
  static constexpr int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;

  // Names of other processes and threads differ; leftovers of a crash are passed over.
  static std::string unused_name(const fs::path& target) {
    static std::atomic<unsigned> counter{0};
    std::string name;
    std::error_code ignored;
    do {
      name =
          target.string() + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
    } while (fs::exists(name, ignored));
    return name;
  }

  std::string path_;
  Descriptor descriptor_;
  bool renamed_ = false;
};

void write_in_place(const fs::path& path, std::string_view text) {
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (file.get() < 0) fail_system("cannot be written", path.string());
  write_all(file.get(), text, path.string());
}

}  // namespace

std::string read_text(const std::filesystem::path& path) {
  if (path == "-") return read_all(STDIN_FILENO, "<stdin>");
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) fail_system("cannot be read", path.string());
  return read_all(file.get(), path.string());
}

void write_text(const std::filesystem::path& path, std::string_view text) {
  if (path.empty()) fail("cannot be written: the name of the file is empty", "");
  std::error_code ignored;
  // A link stays a link: what it points to is replaced.
  const fs::path target = fs::is_symlink(path, ignored) ? fs::weakly_canonical(path) : path;
  struct stat status {};
  const bool exists = ::stat(target.c_str(), &status) == 0;
  if (exists && S_ISDIR(status.st_mode)) {
    fail("cannot be written: it is a directory", path.string());
  }
  // Pipes and devices cannot be replaced by a file.
  if (exists && !S_ISREG(status.st_mode)) return write_in_place(target, text);
  TemporaryFile file(target);
  if (exists) file.set_mode(status.st_mode & 07777);
  file.write(text, path.string());
  file.rename(target);
}

}  // namespace slalom
