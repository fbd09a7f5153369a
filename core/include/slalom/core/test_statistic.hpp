// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string>

#include "slalom/core/model_spec.hpp"

/// \file
/// Test statistics of a parameter of interest mu, and their asymptotic distributions.
/// Equations of Cowan, Cranmer, Gross and Vitells (arXiv:1007.1727), with pyhf's conventions.
///
/// Two numbers describe a test: the statistic of the data, and the statistic of the Asimov data of
/// the alternative hypothesis, whose square root `a` is the distance of the hypotheses in standard
/// deviations of the best fit.
namespace slalom {

/// What a test looks at. With t = -2 log L(mu) + 2 log L(best), never below zero:
enum class TestStatistic {
  t,       ///< t (eq. 8): two-sided
  ttilde,  ///< t (eq. 11) for a mu that has a lower bound of 0
  q,       ///< t, but 0 for a best fit above mu (eq. 14): for upper limits
  qtilde,  ///< the same (eq. 16) for a mu that has a lower bound of 0
  q0,      ///< t at mu = 0, but 0 for a best fit below 0 (eq. 12): for a discovery
};

/// "t", "ttilde", "q", "qtilde" or "q0".
const char* to_string(TestStatistic statistic);

/// t and ttilde: both sides of mu count against it.
bool is_two_sided(TestStatistic statistic);

/// Value of a statistic.
/// \param mu tested value; q0 is that of 0 whatever mu is
/// \param best_mu best fit, within the bounds of mu
/// \param rise -2 log L at mu (at 0 for q0), minimised over all else, minus that of the best fit
double test_statistic(TestStatistic statistic, double mu, double best_mu, double rise);

/// Why a statistic does not suit the bounds of a parameter of interest; empty if it does. The tilde
/// is in the lower bound alone: statistics with and without it are computed in the same way.
std::string statistic_mismatch(TestStatistic statistic, const Parameter& poi);

/// Distribution that an expected band assumes for the best fit.
enum class BaseDistribution {
  normal,          ///< normal; the statistic that belongs to a best fit above mu is below zero
  clipped_normal,  ///< the same, but the statistic ends at zero, as its definition says
};

/// "normal" or "clipped_normal".
const char* to_string(BaseDistribution distribution);

/// Probabilities of a statistic at least as large as a given one, as natural logarithms, which are
/// exact to rounding where the probabilities themselves underflow.
struct LogPValues {
  double tested = 0.0;       ///< under the tested hypothesis: CLs+b, p_mu, or p0
  double alternative = 0.0;  ///< under the alternative (mu = 0; mu = 1 for q0): CLb
  double complement = 0.0;   ///< of 1 - CLb, the p-value of the alternative
  /// Of CLs.
  double ratio() const { return tested - alternative; }
};

/// p-values of data.
///
/// One-sided (sections 3.5 to 3.7): CLs+b = 1 - Phi(T + a), CLb = 1 - Phi(T), T = sqrt(value) - a,
/// but T = (value - a^2) / (2 a) for qtilde with value > a^2.
///
/// Two-sided (sections 3.3, 3.4): p = 2 - 2 Phi(sqrt(value)), CLb = 2 - Phi(sqrt(value) + a) -
/// Phi(sqrt(value) - a); for ttilde with value > a^2 the second argument of Phi is
/// (value + a^2) / (2 a) in p, and (value - a^2) / (2 a) in CLb.
/// \param value of the statistic, >= 0
/// \param asimov_value of the statistic of the Asimov data, a^2 >= 0
LogPValues asymptotic_p_values(TestStatistic statistic, double value, double asimov_value);

/// p-values of data whose best fit is -2, -1, 0, 1, 2 standard deviations from the alternative.
/// For q0 the order is that of pyhf: the first one is the smallest p-value.
/// \param distribution of no effect on two-sided statistics
std::array<LogPValues, 5> asymptotic_band(TestStatistic statistic, double asimov_value,
                                          BaseDistribution distribution = BaseDistribution::normal);

/// Rise of -2 log L that bounds a confidence region: the quantile of chi squared.
/// \param level confidence level between 0 and 1
/// \param n_parameters 1 or 2
/// \throws Error (usage) otherwise
double rise_at_level(double level, int n_parameters);

}  // namespace slalom
