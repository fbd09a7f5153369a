// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/autodiff.hpp"

#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/autograd.h>

#include "slalom/core/error.hpp"

namespace slalom {

std::vector<Tensor> gradients(const Tensor& value, const std::vector<Tensor>& inputs,
                              bool create_graph) {
  if (value.numel() != 1) {
    throw Error(ErrorKind::numerical,
                "a scalar expected, found " + std::to_string(value.numel()) + " elements",
                "gradient");
  }
  if (!value.requires_grad()) {
    throw Error(ErrorKind::numerical,
                "the value does not depend on anything that requires a "
                "gradient",
                "gradient");
  }
  std::vector<Tensor> result = torch::autograd::grad({value}, inputs, {}, true, create_graph, true);
  for (std::size_t i = 0; i < result.size(); ++i) {
    if (!result[i].defined()) result[i] = at::zeros_like(inputs[i]);
  }
  return result;
}

Tensor gradient(const Tensor& value, const Tensor& input, bool create_graph) {
  return gradients(value, {input}, create_graph).front();
}

Tensor jacobian(const Tensor& values, const Tensor& input, bool create_graph) {
  if (values.numel() == 0) return at::zeros({0, input.numel()}, input.options());
  const Tensor flat = values.reshape({-1});
  std::vector<Tensor> rows;
  for (std::int64_t i = 0; i < flat.numel(); ++i) {
    const Tensor element = flat[i];
    rows.push_back(element.requires_grad() ? gradient(element, input, create_graph).reshape({-1})
                                           : at::zeros_like(input).reshape({-1}));
  }
  return at::stack(rows);
}

Tensor hessian(const Tensor& value, const Tensor& input, bool create_graph) {
  return jacobian(gradient(value, input, true), input, create_graph);
}

}  // namespace slalom
