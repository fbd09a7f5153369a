// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "slalom/core/fit.hpp"

/// \file
/// A bounded minimiser for smooth functions of up to some 100 variables that are given with
/// gradient and Hessian: Newton's method in a trust region, with an active set for the bounds.
namespace slalom {

/// A function to minimise: returns its value at x [N], and fills the gradient [N] and the Hessian
/// [N * N] (both triangles) where these are not empty. It may return infinity outside of its
/// domain; what it fills does not matter there.
using Objective = std::function<double(std::span<const double> x, std::span<double> gradient,
                                       std::span<double> hessian)>;

/// Bounds and precision of a minimisation.
struct MinimizeOptions {
  std::vector<double> lower{};  ///< lower bounds [N], may be -infinity; empty for none
  std::vector<double> upper{};  ///< upper bounds [N], may be infinity; empty for none
  std::vector<bool> held{};     ///< variables that stay at their start [N]; empty for none
  /// Largest component of the projected gradient, each in units of the square root of its
  /// curvature.
  double tolerance = 1e-8;
  int max_iterations = 200;  ///< steps that are accepted or refused
};

/// Outcome of a minimisation. `x` is the best point seen, whatever the status.
struct MinimizeResult {
  FitStatus status = FitStatus::infeasible;  ///< look at it before using anything else
  std::string message;                       ///< in words, for people
  double value = 0.0;                        ///< of the function at x; infinity if infeasible
  std::vector<double> x;                     ///< [N]
  std::vector<double> gradient;              ///< at x [N]
  std::vector<double> hessian;               ///< at x [N * N]
  std::vector<bool> at_bound;                ///< free, and pressed against one of its bounds [N]
  double kkt_residual = 0.0;                 ///< largest scaled component of the projected gradient
  double edm = 0.0;     ///< expected decrease of the function by a further step
  int iterations = 0;   ///< steps tried
  int evaluations = 0;  ///< of the function
  /// True if the result is a minimum to the tolerance.
  bool converged() const { return status == FitStatus::converged; }
};

/// Minimises `f` from `start`, which is moved into the bounds first. Each step minimises the
/// quadratic model in a ball whose axes are scaled by the curvatures (More and Sorensen, SIAM J.
/// Sci. Stat. Comput. 4 (1983) 553, on the eigenvectors), so that directions of negative curvature
/// are followed downwards; a variable that meets its bound stays there for the rest of the step.
/// Points where the function is infinite shrink the ball. The result is a local minimum: a function
/// that is convex, or started near its minimum, has no other. Deterministic. \throws Error (usage)
/// for lengths that differ, empty bounds, or a start that is not finite
MinimizeResult minimize(const Objective& f, std::vector<double> start,
                        const MinimizeOptions& options = {});

}  // namespace slalom
