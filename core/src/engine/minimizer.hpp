// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

#include "engine/engine.hpp"
#include "slalom/core/fit.hpp"

/// \file
/// A bounded second-order minimiser for the profiled -log L, a function of the shared parameters
/// only (local ones are minimised in closed form at every evaluation).
namespace slalom::detail {

/// Outcome of one start.
struct LocalMinimum {
  FitStatus status = FitStatus::infeasible;
  double nll = 0.0;
  std::vector<double> theta;  ///< shared parameters
  std::vector<double> gamma;  ///< local parameters, padded
  double kkt_residual = 0.0;
  double edm = 0.0;
  double smallest_eigenvalue = 0.0;
};

/// Newton's method with the exact Hessian, damped as in Levenberg-Marquardt, with an active set for
/// the bounds. The first two steps use the expected information instead of the Hessian: it is
/// positive definite everywhere, and where several minima exist it leads to the lowest one more
/// often.
class Minimizer {
 public:
  explicit Minimizer(EngineState& state);

  /// Bounds and held parameters of the shared ones; set before run().
  std::vector<double> lower, upper;
  std::vector<char> held;
  double tolerance = 1e-8;
  int max_iterations = 500;
  /// Steps with the expected information at the start.
  int fisher_steps = 2;
  /// If not null: a run that will not end below this minimum is given up (status stalled).
  const LocalMinimum* known = nullptr;

  /// Minimises from `start` [n_shared], which must lie inside the bounds.
  void run(const std::vector<double>& start, LocalMinimum& result);

  /// Makes a minimum found before the current point again.
  void resume(const LocalMinimum& minimum);

  /// After a run that converged: a start for another run, with parameter `p` at `target` and a
  /// Newton step of all others. False if p did not float, or if -log L there is expected to rise as
  /// it must around a single minimum.
  bool promising_start(std::size_t p, double target, std::vector<double>& start);

  /// Counted over all runs until reset.
  int iterations = 0;
  int evaluations = 0;

 private:
  bool evaluate(const std::vector<double>& x, Level level);
  void accept(Level level);
  void find_kinks();
  void settle_kinks(Level level);
  double bound_below(std::size_t i) const;
  double bound_above(std::size_t i) const;
  void find_free();
  double residual(const double* gradient) const;
  void set_scale(Level level);
  bool factorise(double damping);
  bool solve_step(double damping);
  double predicted_decrease(double fraction) const;
  bool escape_saddle();
  bool prove_minimum();
  bool hopeless() const;
  bool try_steps(Level next, double* damping, bool* rounding);
  double newton_decrement();
  double smallest_eigenvalue();
  void finish(LocalMinimum& result, FitStatus status);

  EngineState& s_;
  const EngineArrays& m_;
  std::size_t n_;
  std::vector<char> kinked_;  ///< not differentiable at 0 (code0, code1)
  bool any_kinks_ = false;
  std::vector<char> at_kink_;  ///< held at 0 by a kink
  std::vector<std::size_t> free_;
  std::vector<std::size_t> solved_;  ///< free parameters that are not clipped in this step
  std::vector<double> x_, gradient_, scale_, fisher_, step_, trial_, work_, eigen_, gamma_;
  AlignedVector hessian_memory_;
  double* hessian_;  ///< at x_; exchanged with that of the state when a step is accepted
  AlignedVector matrix_;
  std::size_t matrix_ld_ = 0;
  double f_ = 0.0;
  double last_decrease_ = 0.0;
  bool exact_ = false;  ///< hessian_ is the exact one
};

}  // namespace slalom::detail
