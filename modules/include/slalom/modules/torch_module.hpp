// SPDX-License-Identifier: Apache-2.0
#pragma once

/// \file
/// What a stage needs to be a torch::nn::Module with a handle: copies of a handle share one module.
#include "slalom/modules/torch.hpp"

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
