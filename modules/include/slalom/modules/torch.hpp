// SPDX-License-Identifier: Apache-2.0
#pragma once

/// \file
/// The narrowest view of LibTorch that public headers need, and the differences between its
/// versions (1.13 and newer). Every header of slalom::modules includes it before anything else.

#ifdef __clang__
// Without this one first, clang cannot parse LibTorch 1.13 in C++20 mode.
#include <ATen/core/ivalue.h>
#endif
#include <ATen/core/Tensor.h>

namespace slalom {

/// Tensors of LibTorch. Copies share their values.
using at::Tensor;

}  // namespace slalom
