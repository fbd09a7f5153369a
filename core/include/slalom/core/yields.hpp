// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <utility>
#include <vector>

#include "slalom/core/fit.hpp"

/// \file
/// Uncertainties of expected and observed numbers of events, as tables and plots show them.
///
/// To first order the variance of a rate is J C J^T, with the covariance C of the fitted parameters
/// and the derivatives J of the rate by them.
namespace slalom {

/// Uncertainties of expected rates, correlations included.
struct RateErrors {
  std::vector<double> bins;      ///< of every bin of the main data [B]
  std::vector<double> channels;  ///< of the sum of every channel, in the order of the spec
  double total = 0.0;            ///< of the sum over all bins
};

/// Propagates the covariance of a fit to the expected rates. The derivatives are central
/// differences over a thousandth of each parameter's error.
/// \param evaluator its model is used; its data are not
/// \param parameters best fit [P]
/// \param covariance of that fit; invalid or empty gives zeros
RateErrors rate_errors(Evaluator& evaluator, std::span<const double> parameters,
                       const Covariance& covariance);

/// Central interval of a Poisson mean for an observed count (Garwood): each side excludes the count
/// with half of 1 - level. The lower end is 0 for count 0.
/// \param count observed, >= 0; need not be an integer (gamma functions continue the sums)
/// \param level probability content, in (0, 1)
std::pair<double, double> poisson_interval(double count, double level = 0.682689492137086);

}  // namespace slalom
