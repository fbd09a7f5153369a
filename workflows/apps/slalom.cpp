// SPDX-License-Identifier: Apache-2.0
/// \file
/// The program `slalom`: everything happens in run_command_line.
#include <csignal>
#include <iostream>

#include "slalom/workflows/cli.hpp"

int main(int argc, char** argv) {
#ifdef SIGPIPE
  // A reader that has seen enough (`slalom fit ... | head -1`) is no failure.
  std::signal(SIGPIPE, SIG_IGN);
#endif
  std::ios::sync_with_stdio(false);
  std::cin.tie(nullptr);
  return slalom::run_command_line(argc, argv, std::cin, std::cout, std::cerr);
}
