// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <vector>

#include "slalom/core/morphing.hpp"

/// \file
/// Templates between the points of a grid as tensors, differentiable in the templates and in z.
///
/// The weights are those of `core` (morphing.hpp): sum_k w_k(z) t_k, or exp(sum_k w_k(z) ln t_k),
/// so that an analysis that is trained through its templates is fitted with the same interpolation.
namespace slalom {

/// Templates at z. First and second derivatives by z and by the templates, mixed ones included, are
/// exact; higher derivatives by z are not (the weights are expanded to second order). A bin that is
/// 0 or negative at some point is interpolated without the logarithm, as in Morphing; a bin for
/// which that changes has a jump there. \param grid [G] as in morphing_weights \param templates [G,
/// ...] float64 \param z [] or [Z] float64, finite \returns [...] or [Z, ...] \throws Error (usage)
/// for shapes and types that do not fit, and grids that the kind does not take
Tensor morph(MorphingKind kind, const std::vector<double>& grid, const Tensor& templates,
             const Tensor& z);

}  // namespace slalom
