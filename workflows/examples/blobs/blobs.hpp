// SPDX-License-Identifier: Apache-2.0
// Events of the examples: 40 of signal and 400 of background, from n simulated ones each.
#pragma once

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <nlohmann/json.hpp>
#include <slalom/modules/events.hpp>
#include <slalom/modules/torch.hpp>

inline slalom::EventBatch blobs(std::int64_t n, std::uint64_t seed) {
  at::manual_seed(seed);
  const at::Tensor signal = at::arange(2 * n, at::kLong).remainder(2);
  const at::Tensor x = at::randn({2 * n}, at::kFloat) + 1.0 - 1.4 * signal,
                   y = at::randn({2 * n}, at::kFloat) + 0.3 + 0.7 * signal;
  const at::Tensor weights = (400 - 360 * signal).to(at::kDouble) / static_cast<double>(n);
  return slalom::make_events({"x", "y"}, at::stack({x, y}, 1), weights, signal, signal,
                             {"background", "signal"});
}
