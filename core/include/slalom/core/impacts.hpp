// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "slalom/core/fit.hpp"

/// \file
/// Pulls, constraints, impacts of nuisance parameters on another parameter (usually the parameter
/// of interest), and the breakdown of its uncertainty by groups.
namespace slalom {

/// What the data say about one nuisance parameter.
struct Pull {
  std::size_t parameter = 0;  ///< index
  double value = 0.0;         ///< best fit
  double error = 0.0;         ///< post-fit uncertainty; 0 if held or at a bound
  /// (best fit - pre-fit value) / pre-fit uncertainty; 0 without a constraint.
  double pull = 0.0;
  double constraint = 0.0;  ///< post-fit / pre-fit uncertainty; 0 without a constraint
};

/// Pulls of all parameters that float in a fit, in the order of the parameters. The pre-fit value
/// is the auxiliary measurement (divided by tau for a Poisson constraint).
/// \param errors of the fit [P], from Fitter::errors
/// \param target parameter that is left out; none by default
/// \param data main and auxiliary data of the fit [B + A]; those of the model by default
/// \throws Error (model) for data of another length
std::vector<Pull> pulls(const Model& model, const FitResult& best,
                        const std::vector<double>& errors, std::optional<std::size_t> target = {},
                        std::span<const double> data = {});

/// Change of the target's best fit when one nuisance parameter is moved and held.
struct Impact {
  std::size_t parameter = 0;  ///< index of the nuisance parameter
  double prefit_up = 0.0;     ///< moved by + its pre-fit uncertainty; 0 without a constraint
  double prefit_down = 0.0;   ///< moved by - its pre-fit uncertainty
  double postfit_up = 0.0;    ///< moved by + its post-fit uncertainty
  double postfit_down = 0.0;  ///< moved by - its post-fit uncertainty
  /// Covariance with the target over the parameter's error: the linear form of postfit_up.
  double linear_postfit = 0.0;
  /// d target / d auxiliary datum times the standard deviation of the datum: what the external
  /// measurement contributes. The squares of all of them and of the data's part add up to the
  /// variance of the target. 0 without a constraint.
  double linear_global = 0.0;
  bool converged = false;  ///< all its re-fits were made and converged, or none was asked for
  std::string message;     ///< which one did not
};

/// How impacts are computed.
struct ImpactOptions {
  bool refit = true;        ///< four fits per parameter; if not, the linear forms only
  std::size_t threads = 1;  ///< of the re-fits; 0 for all of the machine
  /// Called after the re-fits of each parameter with the number of finished and of all parameters,
  /// never by two threads at a time; returning false ends the run, which keeps what it has.
  std::function<bool(std::size_t done, std::size_t total)> progress{};
};

/// Impacts on one parameter.
struct Impacts {
  std::size_t target = 0;       ///< index of the parameter of interest
  double value = 0.0;           ///< its best fit
  double error = 0.0;           ///< its uncertainty; 0 if it is at a bound
  FitResult best;               ///< the free fit
  std::vector<double> errors;   ///< uncertainties of all parameters [P]; empty if there are none
  std::vector<Impact> impacts;  ///< of all nuisance parameters that float, largest first
  bool converged = false;  ///< the free fit converged, its Hessian is positive, and all re-fits
  std::string message;     ///< what did not
};

/// Impacts on `target` of every parameter that floats in a fit of the data that `fitter` holds.
///
/// Re-fits hold the parameter at its best fit +- an uncertainty, or at its bound if that is nearer.
/// They follow the branch of the best fit; other minima are looked for only where -2 log L rises by
/// less than half or more than twice as much as the errors say.
/// The linear forms are exact derivatives at the best fit (implicit function theorem):
/// d theta-hat / d a_j = H^-1 e_j / sigma_j^2 for a Gaussian datum of standard deviation sigma_j,
/// H^-1 e_j / theta_j for a Poisson one of standard deviation sqrt(a_j), with H the Hessian of
/// -log L of the parameters that float and are not at a bound.
/// They mean nothing if the target itself is at a bound: `error` is then 0. The order is by the
/// larger of the post-fit impacts (the linear one without re-fits). \throws Error (model) for an
/// index out of range or a target that is held
Impacts impacts(Fitter& fitter, std::size_t target, const FitOptions& options = {},
                const ImpactOptions& how = {});

/// Parameters whose uncertainty is to be stated together.
struct ParameterGroup {
  std::string name;                     ///< for people
  std::vector<std::size_t> parameters;  ///< indices; those that are held anyway do not matter
};

/// Contribution of one group to the uncertainty of the target, in three conventions.
struct GroupContribution {
  std::string name;           ///< of the group
  double contribution = 0.0;  ///< sqrt(total^2 - frozen^2): this group held, all others floating
  double frozen_error = 0.0;  ///< uncertainty with the group held at its best fit
  /// The same difference with all groups before this one held as well (Combine's convention):
  /// depends on the order, adds up.
  double cumulative = 0.0;
  /// What the auxiliary data of the group contribute (global impacts): independent of the order,
  /// adds up; 0 for parameters without a constraint.
  double global = 0.0;
};

/// Breakdown of an uncertainty. For groups without common parameters
///   total^2 = rest^2 + sum of cumulative^2, and
///   total^2 = data^2 + sum of global^2   if every constrained parameter is in a group;
/// the contributions of correlated groups do not add up in quadrature.
struct UncertaintyBreakdown {
  double total = 0.0;        ///< uncertainty with everything floating
  double statistical = 0.0;  ///< with all constrained parameters held
  double systematic = 0.0;   ///< sqrt(total^2 - statistical^2)
  double rest = 0.0;         ///< with all groups held
  /// What the main data contribute (global impacts), and the target's own constraint if it has one.
  double data = 0.0;
  std::vector<GroupContribution> groups;  ///< in the order of the argument
  bool valid = false;                     ///< the fit converged and all Hessians are positive
  std::string message;                    ///< why not; the numbers then mean nothing
};

/// Freezes one group after the other at the best fit and takes the uncertainty of the target from
/// the exact Hessian of the rest: holding parameters at their best fit does not move the others, so
/// no fit is needed. The target itself is never held.
/// \param best a converged fit of the data that `fitter` holds
/// \throws Error (model) for an index out of range or a target that is held
UncertaintyBreakdown uncertainty_breakdown(Fitter& fitter, const FitResult& best,
                                           std::size_t target,
                                           const std::vector<ParameterGroup>& groups);

}  // namespace slalom
