// SPDX-License-Identifier: Apache-2.0
/// \file
/// Tests that need a GPU. They build everywhere, and say so where there is none.
#pragma once

#include <torch/cuda.h>

#include "support/catch.hpp"

/// Ends the test case with a plain message where LibTorch has no CUDA device:
/// `SLALOM_REQUIRE_CUDA();` as its first statement. (Catch2 2 has no SKIP.)
#define SLALOM_REQUIRE_CUDA()                                                          \
  do {                                                                                 \
    if (!torch::cuda::is_available()) {                                                \
      WARN("SKIPPED: LibTorch has no CUDA device here (torch::cuda::is_available())"); \
      SUCCEED("skipped");                                                              \
      return;                                                                          \
    }                                                                                  \
  } while (false)
