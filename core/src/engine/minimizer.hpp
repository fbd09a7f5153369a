// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "engine/engine.hpp"
#include "slalom/core/fit.hpp"

/// \file
/// A bounded second-order minimiser for the profiled -log L, a function of the shared parameters
/// only (local ones are minimised in closed form at every evaluation).
namespace slalom::detail {

/// A part of one block of memory. Assignment copies the values: a fitter of a tiny model would
/// otherwise spend more time on the memory of its vectors than on its fit.
class Slice {
 public:
  Slice() = default;
  Slice(const Slice&) = delete;
  Slice& operator=(const Slice& other) { return *this = std::span<const double>(other); }
  Slice& operator=(std::span<const double> values) {
    std::copy(values.begin(), values.end(), first_);
    return *this;
  }
  void place(double* first, std::size_t size) {
    first_ = first;
    size_ = size;
  }
  double& operator[](std::size_t i) { return first_[i]; }
  double operator[](std::size_t i) const { return first_[i]; }
  double* data() { return first_; }
  double* begin() { return first_; }
  double* end() { return first_ + size_; }
  const double* begin() const { return first_; }
  const double* end() const { return first_ + size_; }
  std::size_t size() const { return size_; }

 private:
  double* first_ = nullptr;
  std::size_t size_ = 0;
};

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
/// often. Near a minimum the Hessian hardly changes any more: a factor is used for several steps,
/// which then cost a gradient each, as long as each of them shrinks the gradient well.
class Minimizer {
 public:
  explicit Minimizer(EngineState& state);

  /// A factor and what it belongs to.
  struct Factor {
    AlignedVector matrix;
    AlignedVector hessian;  ///< what it was made of, if that was kept
    std::size_t ld = 0;
    std::vector<std::size_t> solved;
    std::vector<double> scale;
    bool exact = false;  ///< of the Hessian, not of the expected information
    bool valid = false;
  };

  /// Bounds and held parameters of the shared ones; set before run().
  Slice lower, upper;
  std::vector<char> held;
  double tolerance = 1e-8;
  int max_iterations = 500;
  /// Steps with the expected information at the start.
  int fisher_steps = 2;
  /// Begin with the factor that the last run or restore() left, if it has the same free parameters.
  bool reuse_factor = false;
  /// If not null: a run that will not end below this minimum is given up (status stalled).
  const LocalMinimum* known = nullptr;

  /// A run is given up (status stalled) after so many trials with a negative rate in a bin without
  /// events: it crawls along the end of the likelihood.
  static constexpr int k_beyond_edge = 60;
  int most_beyond_edge = k_beyond_edge;

  /// Minimises from `start` [n_shared], which must lie inside the bounds.
  void run(const std::vector<double>& start, LocalMinimum& result);

  /// Computes the factor of the expected information at `point`, as a first factor for runs that
  /// start there. False if it cannot be had.
  bool prepare(const std::vector<double>& point, Factor& factor);
  /// The factor of the Hessian near the minimum that the last run found.
  void save(Factor& factor, bool with_hessian) const;
  /// From a factor saved with its Hessian: that of all its parameters but `p`, for runs that hold
  /// it, and the change of all of them per unit of p along the profile. False if there is none.
  bool hold(const Factor& factor, std::size_t p, Factor& result, std::vector<double>& slope);
  /// Makes a factor the one that the next run may begin with.
  void restore(const Factor& factor);

  /// Makes a minimum found before the current point again, with the factor saved there.
  void resume(const LocalMinimum& minimum, const Factor& factor);

  /// After a run that converged: a start for another run, with parameter `p` at `target` and a
  /// Newton step of all others. False if p did not float, or if -log L there is expected to rise as
  /// it must around a single minimum.
  bool promising_start(std::size_t p, double target, std::vector<double>& start);

  /// Whether the last run ended with this parameter held at 0 by a kink.
  bool at_kink(std::size_t i) const { return at_kink_[i] != 0; }

  /// Whether the last run was given up at the end of the likelihood.
  bool at_edge() const { return beyond_edge_ > most_beyond_edge; }

  /// Counted over all runs until reset.
  int iterations = 0;
  int evaluations = 0;

 private:
  bool evaluate(std::span<const double> x, Level level);
  void accept(Level level);
  void place_memory();
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
  bool beyond_edge() const;
  void solve_corrected(std::span<double> b);
  bool factor_covers() const;
  bool chord_step(double* predicted);
  double residual_at(const Slice& x, const double* gradient) const;
  void remember_step();
  bool try_chord();
  bool make_exact();
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
  AlignedVector memory_;             ///< of all of these:
  Slice x_, gradient_, scale_, fisher_, step_, trial_, work_, eigen_, gamma_, matrix_;
  double* hessian_;  ///< at x_; exchanged with that of the state when a step is accepted
  std::size_t matrix_ld_ = 0;
  /// A step since the factor was made, and the change of the gradient along it.
  struct Pair {
    std::vector<double> step, change;
    double inverse = 0.0;  ///< 1 / (step . change)
    double share = 0.0;    ///< scratch of solve_corrected()
  };
  /// A parameter whose step is given, and the response of all others to a force on it.
  struct Pin {
    std::size_t place = 0;  ///< in solved_
    double target = 0.0;    ///< its step
    std::vector<double> column;
  };
  static constexpr std::size_t k_most_pins = 3;
  std::array<Pin, k_most_pins> pins_;
  std::size_t n_pins_ = 0;
  static constexpr std::size_t k_most_pairs = 8;
  std::array<Pair, k_most_pairs> pairs_;
  std::size_t n_pairs_ = 0;
  std::size_t column_of_ = 0;  ///< parameter whose column of the inverse is in eigen_, or n_
  double f_ = 0.0;
  double last_decrease_ = 0.0;
  int beyond_edge_ = 0;  ///< trials of this run with a negative rate in a bin without events
  double step_damping_ = 0.0;
  bool clipped_ = false;   ///< step_ was shortened by a bound
  bool exact_ = false;     ///< hessian_ is the exact one
  bool current_ = false;   ///< hessian_ belongs to x_, not to a point before it
  bool factored_ = false;  ///< matrix_ is the factor for solved_, all that were free, undamped
  bool factor_exact_ = false;
  bool of_factor_ = false;  ///< hessian_ is what the factor was made of
  double shrinkage_ = 1.0;  ///< of the residual in the last step
};

}  // namespace slalom::detail
