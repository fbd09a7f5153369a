// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "slalom/core/model.hpp"

/// \file
/// Maximum-likelihood fits: bounded, second order, with a report that says why the result may be
/// believed.
namespace slalom {

namespace detail {
struct FitState;
struct FitAccess;
}  // namespace detail

/// How a fit ended.
enum class FitStatus {
  converged,        ///< the KKT conditions hold to the tolerance and the curvature is positive
  iteration_limit,  ///< the limit of iterations was reached first
  stalled,          ///< no step improves the likelihood although the KKT conditions do not hold
  infeasible,       ///< no starting point with a finite likelihood was found
};

/// "converged", "iteration_limit", "stalled" or "infeasible".
const char* to_string(FitStatus status);

/// What to fit and how hard to try.
struct FitOptions {
  /// Starting point [P]; empty for the suggested one.
  std::vector<double> init{};
  /// Parameters held at a value, in addition to those that the model holds at their init.
  std::vector<std::pair<std::size_t, double>> fixed{};
  /// Parameters that the model holds and this fit lets float.
  std::vector<std::size_t> floating{};
  /// Largest projected gradient component of -log L in units of its expected uncertainty.
  double tolerance = 1e-8;
  /// Iterations of one start.
  int max_iterations = 500;
  /// Look for other minima where the model's variations make them possible.
  bool search_minima = true;
  /// The start is near the minimum: leave out the two careful first steps.
  bool warm_start = false;
};

/// A bin without events whose rate is none at a best fit: the likelihood has its end there, where a
/// negative signal takes all of the background away, and would rise beyond it.
struct EmptyBin {
  std::size_t bin = 0;  ///< in the main data
  double force = 0.0;   ///< Lagrange multiplier: what -log L would gain per event below zero
};

/// The outcome of a fit. `parameters` is the best point seen, whatever the status.
struct FitResult {
  FitStatus status = FitStatus::infeasible;  ///< look at it before using anything else
  std::string message;                       ///< in words, for people
  double twice_nll = 0.0;                    ///< -2 log L at `parameters`, constants included
  std::vector<double> parameters;            ///< [P]
  std::vector<bool> fixed;                   ///< held in this fit [P]
  std::vector<bool> at_bound;                ///< floating, and at one of its bounds [P]
  double kkt_residual = 0.0;                 ///< largest scaled component of the projected gradient
  double edm = 0.0;                          ///< estimated distance to the minimum in -log L
  double smallest_eigenvalue = 0.0;          ///< of the Hessian scaled to unit diagonal, free ones
  std::vector<EmptyBin> empty_bins;          ///< bins whose rate is held at (almost) zero
  int iterations = 0;                        ///< of all starts together
  int evaluations = 0;                       ///< of the likelihood, with or without derivatives
  int starts = 0;                            ///< starting points tried
  /// True if the result is a minimum to the tolerance.
  bool converged() const { return status == FitStatus::converged; }
};

/// Uncertainties from the exact Hessian at a minimum.
/// Parameters that are fixed or at a bound are held: their error is 0 and their rows are absent.
struct Covariance {
  std::vector<std::size_t> parameters;  ///< indices of those with an uncertainty [F]
  std::vector<double> matrix;           ///< covariance [F * F], row-major
  /// False if the Hessian is not positive definite; matrix is then empty.
  bool valid = false;
  /// sqrt of the diagonal for all parameters [P]; 0 for those that are held.
  std::vector<double> errors;
};

/// Fits one model to data again and again, reusing all memory. One per thread.
class Fitter {
 public:
  /// Starts with the observed data of the model.
  explicit Fitter(const Model& model);
  ~Fitter();
  /// Takes over the state of another fitter.
  Fitter(Fitter&&) noexcept;
  /// Takes over the state of another fitter.
  Fitter& operator=(Fitter&&) noexcept;

  /// The model that is fitted.
  const Model& model() const;
  /// Replaces the data [B + A]; see Evaluator::set_data.
  void set_data(std::span<const double> data);
  /// The data in use [B + A].
  std::span<const double> data() const;

  /// Minimises -2 log L. Never throws for a fit that does not converge: look at the status.
  /// \throws Error (model) for options that make no sense: lengths, an index out of range, a start
  ///   or a fixed value that is not finite, a start outside the bounds
  FitResult fit(const FitOptions& options = {});

  /// Errors of all parameters at a result (diagonal of the inverse Hessian) [P].
  /// Cheaper than covariance() for models with many per-bin parameters.
  std::vector<double> errors(const FitResult& result);
  /// Full covariance at a result.
  Covariance covariance(const FitResult& result);
  /// Solves H x = right [P], with H the exact Hessian of -log L at a result: what implicit
  /// differentiation of a fit needs. x is 0 for parameters that are fixed or at a bound, and their
  /// `right` does not matter. Empty if H is not positive definite.
  std::vector<double> solve(const FitResult& result, std::span<const double> right);

 private:
  friend struct detail::FitAccess;
  std::unique_ptr<detail::FitState> state_;
};

/// Data [B + A] of which a fit to `data` is an ordinary minimum. Bins where the likelihood ends get
/// `force * rate` events (less than 1e-9) in place of none, whose logarithm pushes as the end does:
/// derivatives of log L at the fit are then those of its Lagrangian, to 1e-9.
std::vector<double> stationary_data(const Model& model, std::span<const double> data,
                                    const FitResult& fit);

/// Fits `model` to its observed data. See Fitter::fit.
FitResult fit(const Model& model, const FitOptions& options = {});

}  // namespace slalom
