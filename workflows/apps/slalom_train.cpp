// SPDX-License-Identifier: Apache-2.0
/// \file
/// The program `slalom-train`, which `slalom` starts for the verbs that need LibTorch.
#include <csignal>
#include <iostream>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "experiment/commands.hpp"
#include "slalom/workflows/cli.hpp"

int main(int argc, char** argv) {
#ifdef SIGPIPE
  // A reader that has seen enough (`slalom fit ... | head -1`) is no failure.
  std::signal(SIGPIPE, SIG_IGN);
#endif
#ifdef __GLIBC__
  // Every step needs the same large blocks again: they are kept.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
  slalom::experiment::install_verbs();
  std::ios::sync_with_stdio(false);
  std::cin.tie(nullptr);
  return slalom::run_command_line(argc, argv, std::cin, std::cout, std::cerr);
}
