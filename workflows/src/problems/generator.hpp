// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "slalom/core/random.hpp"
#include "slalom/workflows/problem.hpp"

/// \file
/// What the sources of the built-in problems share.
namespace slalom::detail {

/// Draws one event of a process: its features, in the order of the columns.
using Draw = void (*)(RandomStream& random, std::size_t process, double* event);

/// Sets `generate`: event i of a process is the i-th that `draw` takes from the stream named by the
/// seed and the process, so that it is the same however many follow.
void set_generator(Problem& problem, Draw draw);

/// theta of a variation, one element, without dimensions. \throws Error (usage) for more
Tensor scalar(const Tensor& theta, const std::string& name);
/// The same, checked to keep 1 + relative theta positive. \throws Error (usage)
Tensor scalar_above(const Tensor& theta, double relative, const std::string& name);

/// Index of the processes of the problems here, which have two.
constexpr std::size_t k_background = 0, k_signal = 1;
/// Both, in that order.
std::vector<ProblemProcess> two_processes(double background, double signal);

Problem inferno();
Problem blobs();
Problem wunsch();
Problem joint();
Problem cuts();
Problem gaussian();

}  // namespace slalom::detail
