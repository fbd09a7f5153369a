// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <csignal>
#include <sstream>
#include <string>
#include <thread>

#include "slalom/workflows/progress.hpp"
#include "support/catch.hpp"

using slalom::clock_time;
using slalom::Interruption;
using slalom::progress_line;
using slalom::ProgressBar;

TEST_CASE("times are short and never negative", "[workflows][progress]") {
  CHECK(clock_time(0.0) == "0:00");
  CHECK(clock_time(6.2) == "0:07");
  CHECK(clock_time(754.0) == "12:34");
  CHECK(clock_time(12300.0) == "3:25:00");
  CHECK(clock_time(-1.0) == "0:00");
  CHECK(clock_time(1e300) == "100000:00:00");
}

TEST_CASE("a progress line has bar, counts, rate and time left", "[workflows][progress]") {
  // 150 of the 250 were done in 3 seconds: 50 per second, 750 to go.
  CHECK(progress_line("toys", {250, 1000, 100, 3.0}, 80) ==
        "toys  [#######.......................]  250/1000  50.0/s  0:15 left");
  CHECK(progress_line("toys", {250, 1000, 100, 3.0}, 50) ==
        "toys  [###..........]  250/1000  50.0/s  0:15 left");
  CHECK(progress_line("toys", {250, 1000, 100, 3.0}, 40) == "toys  250/1000  50.0/s  0:15 left");
  CHECK(progress_line("", {3, 10, 0, 60.0}, 80) ==
        "[#########.....................]  3/10  3.0/min  2:20 left");
  CHECK(progress_line("points", {7, 0, 0, 3.5}, 80) == "points  7  2.0/s");
  // Nothing is known about the rate yet; too many is all of them.
  CHECK(progress_line("toys", {5, 10, 5, 0.0}, 16) == "toys  5/10");
  CHECK(progress_line("toys", {12, 10, 0, 1.0}, 80) ==
        "toys  [##############################]  10/10  10.0/s  0:00 left");
  for (std::size_t width = 0; width < 90; ++width) {
    CHECK(progress_line("a long title", {99999, 100000, 0, 1e5}, width).size() <= width);
  }
}

TEST_CASE("a progress bar draws seldom, in place, and cleans up", "[workflows][progress]") {
  std::ostringstream terminal;
  {
    ProgressBar bar(&terminal, "work");
    for (std::size_t i = 1; i <= 100000; ++i) bar.update(i, 100000);
    CHECK(terminal.str().empty());  // too short to be worth a line
    bar.stage("more");
    const auto start = std::chrono::steady_clock::now();
    std::size_t i = 0;
    while (std::chrono::steady_clock::now() - start < std::chrono::milliseconds(700)) {
      bar.update(++i, 1000000000);
    }
    bar.clear();
    bar.clear();
  }
  const std::string text = terminal.str();
  std::size_t drawn = 0;
  for (std::size_t at = 0; (at = text.find("\rmore  ", at)) != std::string::npos; ++at) ++drawn;
  CHECK(drawn >= 1);
  CHECK(drawn <= 5);
  CHECK(text.find('\n') == std::string::npos);
  CHECK(text.ends_with("\x1b[K\r\x1b[K"));

  ProgressBar none(nullptr, "nothing");
  none.update(1, 2);
  none.clear();
}

TEST_CASE("the first signal is a wish, and is given back", "[workflows][progress]") {
  struct sigaction before {};  // the test framework has its own
  sigaction(SIGTERM, nullptr, &before);
  {
    const Interruption interruption;
    CHECK_FALSE(interruption.requested());
    std::raise(SIGINT);
    CHECK(interruption.requested());
    CHECK(interruption.exit_code() == 130);
    // The second one would end the program.
    struct sigaction now {};
    sigaction(SIGINT, nullptr, &now);
    CHECK(now.sa_handler == SIG_DFL);
  }
  {
    const Interruption interruption;
    CHECK_FALSE(interruption.requested());
    std::raise(SIGTERM);
    CHECK(interruption.exit_code() == 143);
  }
  struct sigaction after {};
  sigaction(SIGTERM, nullptr, &after);
  CHECK(after.sa_handler == before.sa_handler);
  const auto framework = std::signal(SIGINT, SIG_IGN);
  {
    const Interruption interruption;
    std::raise(SIGINT);
    CHECK_FALSE(interruption.requested());
  }
  std::signal(SIGINT, framework);
}
