// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>

#include "slalom/core/fit.hpp"

namespace slalom::detail {

/// Calls `task(i, fitter)` for i in [0, n) on several threads, each with a Fitter of its own that
/// starts with the data of the model. Tasks must not depend on what the Fitter did before.
/// \param threads 0 for as many as the machine has
/// \param progress called now and then, never by two threads at a time, with the number of finished
///   tasks; false stops the loop after the tasks that run
/// \returns the number of finished tasks
std::size_t parallel_fits(const Model& model, std::size_t n, std::size_t threads,
                          const std::function<bool(std::size_t, std::size_t)>& progress,
                          const std::function<void(std::size_t, Fitter&)>& task);

}  // namespace slalom::detail
