// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/progress.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <fmt/format.h>
#include <ostream>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utility>

#include "cli/text.hpp"

namespace slalom {

namespace {

using namespace std::chrono_literals;

constexpr auto k_first_drawing = 300ms;
constexpr auto k_between_drawings = 100ms;
constexpr std::size_t k_longest_bar = 30;
constexpr std::size_t k_shortest_bar = 8;
constexpr std::size_t k_default_width = 80;

std::size_t terminal_width() {
  winsize size{};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : k_default_width;
}

std::string bar(double fraction, std::size_t length) {
  const auto full = static_cast<std::size_t>(fraction * static_cast<double>(length));
  return '[' + std::string(full, '#') + std::string(length - full, '.') + ']';
}

std::string rate_text(double rate) {
  if (rate >= 100.0) return fmt::format("{:.0f}/s", rate);
  if (rate >= 1.0) return fmt::format("{:.1f}/s", rate);
  return fmt::format("{:.1f}/min", 60.0 * rate);
}

}  // namespace

std::string clock_time(double seconds) {
  constexpr double k_longest = 3.6e8;  // "100000:00:00", beyond which nobody waits
  const auto s = static_cast<long>(std::ceil(std::clamp(seconds, 0.0, k_longest)));
  if (s < 3600) return fmt::format("{}:{:02d}", s / 60, s % 60);
  return fmt::format("{}:{:02d}:{:02d}", s / 3600, s / 60 % 60, s % 60);
}

std::string progress_line(const std::string& title, const Progress& progress, std::size_t width) {
  const bool bounded = progress.total > 0;
  const std::size_t done = bounded ? std::min(progress.done, progress.total) : progress.done;
  std::string counts =
      bounded ? fmt::format("{}/{}", done, progress.total) : fmt::format("{}", done);
  const double fresh = static_cast<double>(done - std::min(done, progress.before));
  if (fresh > 0.0 && progress.seconds > 0.0) {
    const double rate = fresh / progress.seconds;
    counts += "  " + rate_text(rate);
    if (bounded) {
      counts +=
          fmt::format("  {} left", clock_time(static_cast<double>(progress.total - done) / rate));
    }
  }
  std::string line = title.empty() ? "" : title + "  ";
  const std::size_t used = cli::display_width(line) + counts.size() + 4;  // brackets, two blanks
  if (bounded && width >= used + k_shortest_bar) {
    const std::size_t length = std::min(width - used, k_longest_bar);
    const double fraction = static_cast<double>(done) / static_cast<double>(progress.total);
    line += bar(fraction, length) + "  ";
  }
  line += counts;
  if (cli::display_width(line) <= width) return line;
  constexpr std::size_t k_readable = 8;
  return width < k_readable ? counts.substr(0, width) : cli::shorten(line, width);
}

ProgressBar::ProgressBar(std::ostream* terminal, std::string title)
    : terminal_(terminal), title_(std::move(title)) {}

ProgressBar::~ProgressBar() { clear(); }

void ProgressBar::restart(std::size_t done) {
  started_ = true;
  // The first unit of a fresh run was made before anybody looked at the clock.
  progress_.before = done;
  start_ = Clock::now();
  next_ = drawn_ ? start_ + k_between_drawings : start_ + k_first_drawing;
}

void ProgressBar::stage(std::string title) {
  title_ = std::move(title);
  started_ = false;
}

void ProgressBar::update(std::size_t done, std::size_t total) {
  if (terminal_ == nullptr) return;
  if (!started_ || done < progress_.done) restart(done);
  progress_.done = done;
  progress_.total = total;
  const Clock::time_point now = Clock::now();
  if (now < next_) return;
  next_ = now + k_between_drawings;
  progress_.seconds = std::chrono::duration<double>(now - start_).count();
  // The last column stays empty: some terminals wrap when it is written.
  const std::size_t width = terminal_width() - 1;
  *terminal_ << '\r' + progress_line(title_, progress_, width) + "\x1b[K" << std::flush;
  drawn_ = true;
}

void ProgressBar::clear() {
  if (drawn_) *terminal_ << "\r\x1b[K" << std::flush;
  drawn_ = false;
}

namespace {

std::atomic<int> g_signal{0};
static_assert(std::atomic<int>::is_always_lock_free);

void keep_signal(int number) { g_signal = number; }

}  // namespace

Interruption::Interruption() {
  g_signal = 0;
  struct sigaction action {};
  action.sa_handler = keep_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &interrupt_);
  sigaction(SIGTERM, &action, &terminate_);
  // A program that was told to ignore a signal (nohup, background jobs) goes on ignoring it.
  if (interrupt_.sa_handler == SIG_IGN) sigaction(SIGINT, &interrupt_, nullptr);
  if (terminate_.sa_handler == SIG_IGN) sigaction(SIGTERM, &terminate_, nullptr);
}

Interruption::~Interruption() {
  sigaction(SIGINT, &interrupt_, nullptr);
  sigaction(SIGTERM, &terminate_, nullptr);
}

int Interruption::signal() const { return g_signal; }

}  // namespace slalom
