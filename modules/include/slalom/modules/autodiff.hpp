// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <functional>
#include <vector>

/// \file
/// Derivatives of tensor functions.
///
/// All of them go through `torch::autograd::grad`, which leaves `.grad` of the leaves alone:
/// `backward(create_graph = true)` would tie parameters and gradients into a cycle that is never
/// freed.
namespace slalom {

/// Gradient of a scalar with respect to tensors.
/// \param value one element, with a graph
/// \param inputs leaves or nodes of that graph; one that does not take part gets zeros
/// \param create_graph whether the result can be differentiated again
/// \returns one tensor per input, with its shape
/// \throws Error (numerical) if `value` has no graph or more than one element
std::vector<Tensor> gradients(const Tensor& value, const std::vector<Tensor>& inputs,
                              bool create_graph = false);

/// Gradient of a scalar with respect to one tensor. See gradients().
Tensor gradient(const Tensor& value, const Tensor& input, bool create_graph = false);

/// Hessian [n, n] of a scalar with respect to a vector [n]; a row per backward pass.
/// \param create_graph whether the result can be differentiated again
Tensor hessian(const Tensor& value, const Tensor& input, bool create_graph = false);

/// Jacobian [m, n] of a vector [m] with respect to a vector [n]; a row per backward pass.
/// \param create_graph whether the result can be differentiated again
Tensor jacobian(const Tensor& values, const Tensor& input, bool create_graph = false);

}  // namespace slalom
