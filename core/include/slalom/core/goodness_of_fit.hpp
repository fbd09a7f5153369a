// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "slalom/core/fit.hpp"
#include "slalom/core/toys.hpp"

/// \file
/// Goodness of fit against the saturated model.
namespace slalom {

/// Goodness of fit: small p-values mean that the model does not describe the data.
struct GoodnessOfFit {
  double statistic = 0.0;            ///< 2 (NLL of the fit - NLL of the saturated model), >= 0
  double saturated_twice_nll = 0.0;  ///< -2 log L of the saturated model
  std::size_t bins = 0;              ///< of the main data
  std::size_t free_parameters = 0;   ///< unconstrained ones that float
  /// bins - free_parameters, or 0 if there are more parameters than bins.
  std::size_t degrees_of_freedom = 0;
  double p_value = 0.0;    ///< asymptotic: chi2 above the statistic; 1 for 0 degrees of freedom
  bool converged = false;  ///< the fit converged
  /// Parts of the statistic, each >= 0: of every channel in the order of the spec, and of all
  /// constraint terms. They tell where a bad fit is bad; they do not follow chi2 distributions
  /// each.
  std::vector<double> channels;
  double constraints = 0.0;  ///< see channels
};

/// Goodness of fit by toys.
struct ToyGoodnessOfFit {
  GoodnessOfFit observed;       ///< of the data
  ToyProbability p_value;       ///< fraction of toys with at least the statistic of the data
  ToyCounts toys;               ///< what became of them
  std::vector<double> samples;  ///< statistic of the toys that converged, by index
  bool converged = false;       ///< the fit of the data converged and all toys are there
  std::string message;          ///< what did not, or how many toys failed
};

/// -2 log L of the saturated model of `data` [B + A], in which every bin expects what was observed
/// and every auxiliary datum is fitted exactly. Parameters that are held have nothing to fit: their
/// constraint is evaluated where they are.
/// \param fit says which parameters are held and where
double saturated_twice_nll(const Model& model, const std::vector<double>& data,
                           const FitResult& fit);

/// Goodness of a fit of `data` [B + A], by the asymptotic chi2 distribution (as cabinetry).
/// \throws Error (model) for data of another length
GoodnessOfFit goodness_of_fit(const Model& model, const std::vector<double>& data,
                              const FitResult& fit);

/// Fits the data that `fitter` holds, throws toys at the best fit, and fits each one.
/// \param toys `throw_auxiliary` false keeps the auxiliary data of the fitter; with a `store` the
///   toys are kept there, and an interrupted run goes on
ToyGoodnessOfFit goodness_of_fit_by_toys(Fitter& fitter, const ToyOptions& toys,
                                         const FitOptions& options = {});

}  // namespace slalom
