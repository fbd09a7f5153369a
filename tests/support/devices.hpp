// SPDX-License-Identifier: Apache-2.0
/// \file
/// The devices on which tests repeat what they did on the CPU.
#pragma once

#include <torch/cuda.h>
#include <vector>

#include "support/catch.hpp"
#include "support/emulated_device.hpp"

namespace slalom::test {

/// The emulated one, and a GPU where there is one; says so where there is none.
inline std::vector<at::Device> second_devices() {
  std::vector<at::Device> result{emulated_device()};
  if (torch::cuda::is_available()) {
    result.emplace_back(at::kCUDA, 0);
  } else {
    WARN("SKIPPED on a GPU: LibTorch has no CUDA device here (torch::cuda::is_available())");
  }
  return result;
}

}  // namespace slalom::test
