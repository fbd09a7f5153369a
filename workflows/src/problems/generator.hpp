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

/// A Gaussian in the plane: mean + (a u, b u + c v) of independent standard normal u and v.
struct PlaneGaussian {
  double x, y;                       ///< mean
  double a = 1.0, b = 0.0, c = 1.0;  ///< lower factor of the covariance
};
/// Sets `lattice`. \param shapes of the processes, in their order
void set_lattice(Problem& problem, const std::vector<PlaneGaussian>& shapes);
/// theta of one variation, a column of all of them, or 0.
Tensor theta_at(const Tensor& theta, std::int64_t variation);

/// theta_of(), checked to keep 1 + relative theta positive. \throws Error (usage)
Tensor theta_above(const Tensor& theta, const EventBatch& events, double relative,
                   const std::string& name);

/// Index of the processes of the problems here, which have two.
constexpr std::size_t k_background = 0, k_signal = 1;
/// Both, in that order.
std::vector<ProblemProcess> two_processes(double background, double signal);

Problem inferno();
Problem blobs();
Problem wunsch();
Problem joint();
Problem cuts();
Problem exponential_cut();
Problem gaussian();
Problem pivot();

}  // namespace slalom::detail
