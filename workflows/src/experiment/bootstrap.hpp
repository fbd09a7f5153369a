// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <cstdint>

/// \file
/// Poisson bootstraps of events.
namespace slalom::experiment {

/// Numbers of Poisson(1), one for each event [n], float64. They depend on the event's number, the
/// seed and the bootstrap alone. \param ids [n] int64
Tensor bootstrap_counts(const Tensor& ids, std::uint64_t seed, std::int64_t bootstrap);

}  // namespace slalom::experiment
