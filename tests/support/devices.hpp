// SPDX-License-Identifier: Apache-2.0
/// \file
/// The devices on which tests repeat what they did on the CPU, and the comparison of both.
#pragma once

#include "slalom/modules/torch.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/sum.h>
#include <cmath>
#include <cstddef>
#include <functional>
#include <torch/cuda.h>
#include <vector>

#include "slalom/modules/autodiff.hpp"
#include "support/catch.hpp"
#include "support/emulated_device.hpp"
#include "support/tensors.hpp"

namespace slalom::test {

/// The emulated one where LibTorch is not built for CUDA, and a GPU where there is one; says so
/// where there is none.
inline std::vector<at::Device> second_devices() {
  std::vector<at::Device> result;
  if (has_emulated_device()) result.push_back(emulated_device());
  if (torch::cuda::is_available()) {
    result.emplace_back(at::kCUDA, 0);
  } else {
    WARN("SKIPPED on a GPU: LibTorch has no CUDA device here (torch::cuda::is_available())");
  }
  return result;
}

/// Calls on all of them.
inline void on_second_devices(const std::function<void(const at::Device&)>& call) {
  for (const at::Device& device : second_devices()) {
    INFO("on " << device);
    call(device);
  }
}

/// Largest difference of two lists of one length, relative to the largest number in the second.
inline double deviation(const std::vector<double>& found, const std::vector<double>& expected) {
  if (found.size() != expected.size()) return INFINITY;
  double worst = 0.0, largest = 1e-12;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i] == expected[i]) continue;  // infinities
    if (!std::isfinite(found[i]) || !std::isfinite(expected[i])) return INFINITY;
    worst = std::max(worst, std::abs(found[i] - expected[i]));
  }
  for (const double x : expected) {
    if (std::isfinite(x)) largest = std::max(largest, std::abs(x));
  }
  return worst / largest;
}

/// The same of tensors, wherever they are.
inline double deviation(const Tensor& found, const Tensor& expected) {
  return found.sizes() == expected.sizes() ? deviation(values(found), values(expected)) : INFINITY;
}

/// Some of a value's numbers and its gradients by all `inputs`.
inline std::vector<Tensor> with_gradients(const Tensor& value, const std::vector<Tensor>& inputs) {
  // Fixed numbers of no particular pattern, so that every element counts.
  const Tensor by = at::cos(at::arange(1, value.numel() + 1, at::kDouble) * 1.7)
                        .reshape(value.sizes())
                        .to(value.options());
  std::vector<Tensor> result{value.detach()};
  for (const Tensor& gradient : gradients((value * by).sum(), inputs)) result.push_back(gradient);
  return result;
}

/// A copy on a device, as a leaf of a graph.
inline Tensor leaf(const Tensor& tensor, const at::Device& device) {
  return tensor.detach().to(device).clone().requires_grad_(true);
}

/// `run` on the device gives what it gives on the CPU, and its tensors lie on the device.
inline void compare(const at::Device& device,
                    const std::function<std::vector<Tensor>(const at::Device&)>& run,
                    double tolerance = 1e-10) {
  const std::vector<Tensor> expected = run(at::kCPU), found = run(device);
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    INFO("tensor " << i);
    CHECK(found[i].device() == device);
    CHECK(found[i].scalar_type() == expected[i].scalar_type());
    CHECK(deviation(found[i], expected[i]) < tolerance);
  }
}

/// `run` on the device gives the numbers that it gives on the CPU.
inline void compare_numbers(const at::Device& device,
                            const std::function<std::vector<double>(const at::Device&)>& run,
                            double tolerance = 1e-10) {
  CHECK(deviation(run(device), run(at::kCPU)) < tolerance);
}

}  // namespace slalom::test
