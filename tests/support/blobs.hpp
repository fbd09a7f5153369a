// SPDX-License-Identifier: Apache-2.0
/// \file
/// Events of workflows/examples/blobs.
#pragma once

#include "slalom/modules/torch.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <cstdint>

#include "slalom/core/random.hpp"
#include "slalom/modules/events.hpp"

namespace slalom::test {

/// 40 signal and 400 background events from n simulated ones each, in turns; features float64.
inline EventBatch blobs(std::int64_t n, std::uint64_t seed) {
  RandomStream random(seed, 0);
  Tensor x = at::zeros({2 * n, 2}, at::kDouble), w = at::zeros({2 * n}, at::kDouble),
         process = at::zeros({2 * n}, at::kLong);
  for (std::int64_t i = 0; i < 2 * n; ++i) {
    const bool signal = i % 2 == 0;
    x[i][0] = random.normal() + (signal ? -0.4 : 1.0);
    x[i][1] = random.normal() + (signal ? 1.0 : 0.3);
    w[i] = (signal ? 40.0 : 400.0) / static_cast<double>(n);
    process[i] = signal ? 1 : 0;
  }
  return make_events({"x", "y"}, x, w, {}, process, {"background", "signal"});
}

}  // namespace slalom::test
