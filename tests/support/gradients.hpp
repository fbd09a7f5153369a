// SPDX-License-Identifier: Apache-2.0
/// \file
/// Autograd against finite differences, in float64.
#pragma once

#include "slalom/modules/torch.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/sum.h>
#include <cmath>
#include <functional>
#include <vector>

#include "slalom/modules/autodiff.hpp"
#include "support/catch.hpp"

namespace slalom::test {

/// What check_gradients() does and accepts.
struct GradientCheck {
  double step = 1e-3;        ///< of the inputs
  double tolerance = 1e-8;   ///< relative to the largest derivative of an input, or to 1
  bool second_order = true;  ///< whether derivatives of derivatives are checked too
  double second_tolerance = 1e-7;
};

namespace detail {

/// Fixed numbers of no particular pattern, so that every element of a result counts.
inline Tensor cotangent(const Tensor& like, double phase) {
  return at::cos(at::arange(1, like.numel() + 1, like.options()) * 1.7 + phase)
      .reshape(like.sizes());
}

using Scalar = std::function<Tensor(const std::vector<Tensor>&)>;

/// d f / d inputs[i][j] from values at four points, correct to the fourth power of the step.
inline double central_difference(const Scalar& f, std::vector<Tensor> inputs, std::size_t i,
                                 std::int64_t j, double step) {
  const Tensor original = inputs[i];
  const auto at_distance = [&](double distance) {
    Tensor moved = original.detach().clone();
    {
      at::NoGradGuard guard;
      moved.reshape({-1})[j] += distance;
    }
    inputs[i] = moved.requires_grad_();
    return f(inputs).item<double>();
  };
  return (8.0 * (at_distance(step) - at_distance(-step)) -
          (at_distance(2.0 * step) - at_distance(-2.0 * step))) /
         (12.0 * step);
}

inline void compare(const Scalar& f, const std::vector<Tensor>& inputs,
                    const std::vector<Tensor>& found, double step, double tolerance) {
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Tensor flat = found[i].detach().reshape({-1});
    std::vector<double> expected;
    double scale = 1.0;
    for (std::int64_t j = 0; j < flat.numel(); ++j) {
      expected.push_back(central_difference(f, inputs, i, j, step));
      scale = std::max(scale, std::abs(expected.back()));
    }
    for (std::int64_t j = 0; j < flat.numel(); ++j) {
      INFO("input " << i << ", element " << j);
      CHECK_THAT(
          flat[j].item<double>(),
          Catch::Matchers::WithinAbs(expected[static_cast<std::size_t>(j)], tolerance * scale));
    }
  }
}

}  // namespace detail

/// Checks the derivatives of `f` at `inputs` (float64) in all elements against central differences.
/// \param f any number of values; they are contracted with fixed numbers
inline void check_gradients(const std::function<Tensor(const std::vector<Tensor>&)>& f,
                            const std::vector<Tensor>& inputs, const GradientCheck& check = {}) {
  std::vector<Tensor> leaves;
  for (const Tensor& input : inputs) {
    REQUIRE(input.scalar_type() == at::kDouble);
    leaves.push_back(input.detach().clone().requires_grad_());
  }
  const detail::Scalar scalar = [&](const std::vector<Tensor>& at_inputs) {
    const Tensor value = f(at_inputs);
    return (value * detail::cotangent(value, 0.3)).sum();
  };
  const auto first = gradients(scalar(leaves), leaves);
  detail::compare(scalar, leaves, first, check.step, check.tolerance);
  if (!check.second_order) return;
  const detail::Scalar slope = [&](const std::vector<Tensor>& at_inputs) {
    const std::vector<Tensor> g = gradients(scalar(at_inputs), at_inputs, true);
    Tensor sum = (g[0] * detail::cotangent(g[0], 0.9)).sum();
    for (std::size_t i = 1; i < g.size(); ++i) {
      sum = sum + (g[i] * detail::cotangent(g[i], 0.9 + static_cast<double>(i))).sum();
    }
    return sum;
  };
  const Tensor value = slope(leaves);
  if (!value.requires_grad()) {  // linear in everything
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      CHECK_THAT(detail::central_difference(slope, leaves, i, 0, check.step),
                 Catch::Matchers::WithinAbs(0.0, check.second_tolerance));
    }
    return;
  }
  detail::compare(slope, leaves, gradients(value, leaves), check.step, check.second_tolerance);
}

}  // namespace slalom::test
