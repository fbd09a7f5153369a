// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <csignal>
#include <cstddef>
#include <iosfwd>
#include <string>

/// \file
/// What long work shows and obeys: a progress bar on a terminal, and Ctrl-C as a wish to end.
namespace slalom {

/// How far a piece of work is.
struct Progress {
  std::size_t done = 0;    ///< finished units of work
  std::size_t total = 0;   ///< all units; 0 if that is not known
  std::size_t before = 0;  ///< units that were finished when the clock started
  double seconds = 0.0;    ///< since then
};

/// One line of text, at most `width` columns: title, bar, counts, rate and time left. What does not
/// fit is left out, the bar first. Rate and time left count the units done since the clock started.
std::string progress_line(const std::string& title, const Progress& progress, std::size_t width);

/// "0:07", "12:34", "3:25:00".
std::string clock_time(double seconds);

/// Draws a progress line in place, at most ten times a second, each in a single write that ends
/// with erasing the rest of the line, so that nothing flickers. Work that takes less than a third
/// of a second shows nothing. Not for two threads at a time.
class ProgressBar {
 public:
  /// \param terminal null for a bar that never draws
  /// \param title of the first piece of work
  explicit ProgressBar(std::ostream* terminal, std::string title = {});
  /// Erases the line.
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// A new piece of work: another title, and a new clock.
  void stage(std::string title);
  /// Tells how far it is, and draws if it is time to. A first call with done > 1 means that work
  /// was done before; a smaller count than at the last call starts the clock anew.
  void update(std::size_t done, std::size_t total);
  /// Erases the line, so that something else can be printed.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  void restart(std::size_t done);

  std::ostream* terminal_;
  std::string title_;
  Progress progress_{};
  bool started_ = false;
  bool drawn_ = false;
  Clock::time_point start_{};
  Clock::time_point next_{};
};

/// While one lives, the first SIGINT (Ctrl-C) or SIGTERM is kept as a wish to end; the second one
/// ends the program at once, as without it. Not to be nested.
class Interruption {
 public:
  Interruption();
  /// Gives the signals back to who had them.
  ~Interruption();
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  /// True once a signal has come.
  bool requested() const { return signal() != 0; }
  /// The signal that came, or 0.
  int signal() const;
  /// What a program that ends early returns: 128 + the number of the signal, as shells say it.
  int exit_code() const { return 128 + signal(); }

 private:
  struct sigaction interrupt_ {};
  struct sigaction terminate_ {};
};

}  // namespace slalom
