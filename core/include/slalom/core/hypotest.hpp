// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "slalom/core/fit.hpp"
#include "slalom/core/interval.hpp"
#include "slalom/core/test_statistic.hpp"

/// \file
/// Asymptotic hypothesis tests of the parameter of interest mu: CLs, discovery, upper limits and
/// two-sided intervals. `test_statistic.hpp` has the statistics and their distributions.
namespace slalom {

/// Test of one value of mu. Probabilities are given with their logarithms, which stay finite.
///
/// With a two-sided statistic, clsb is the two-sided p-value of mu, clb the probability of the same
/// under the background hypothesis, and cls still their ratio: a measure of evidence against mu on
/// both sides, from which no upper limit follows.
struct HypothesisTest {
  double mu = 0.0;                 ///< tested value
  double test_statistic = 0.0;     ///< of the data, >= 0
  double asimov_statistic = 0.0;   ///< of the background-only Asimov data, >= 0
  double clsb = 0.0;               ///< p-value of the signal hypothesis
  double clb = 0.0;                ///< the same probability under the background hypothesis
  double cls = 0.0;                ///< clsb / clb
  double log_clsb = 0.0;           ///< natural logarithm of clsb
  double log_clb = 0.0;            ///< natural logarithm of clb
  double log_cls = 0.0;            ///< natural logarithm of cls
  double log_one_minus_clb = 0.0;  ///< natural logarithm of 1 - clb, the p-value of the background
  std::array<double, 5> cls_expected{};   ///< for best fits at -2, -1, 0, 1, 2 sigma of background
  std::array<double, 5> clsb_expected{};  ///< the same of clsb
  std::array<double, 5> clb_expected{};   ///< the same of clb
  std::array<double, 5> log_cls_expected{};  ///< natural logarithms
  bool converged = false;                    ///< all fits behind these numbers converged
  std::string message;                       ///< which one did not
};

/// Test of the absence of a signal.
struct DiscoveryTest {
  double test_statistic = 0.0;    ///< q_0, >= 0; 0 for a deficit
  double asimov_statistic = 0.0;  ///< q_0 of the Asimov data for mu = 1
  double p0 = 0.0;                ///< observed p-value
  double log_p0 = 0.0;            ///< its natural logarithm
  double z = 0.0;                 ///< observed significance
  double p0_expected = 0.0;       ///< median p-value for mu = 1
  double log_p0_expected = 0.0;   ///< its natural logarithm
  double z_expected = 0.0;        ///< median significance for mu = 1
  double log_clb = 0.0;           ///< log of the probability of such a q_0 or more for mu = 1
  /// p-value at -2, -1, 0, 1, 2 sigma of the signal hypothesis, as pyhf orders its band.
  std::array<double, 5> p0_band{};
  std::array<double, 5> log_p0_band{};  ///< natural logarithms
  bool converged = false;               ///< all fits behind these numbers converged
  std::string message;                  ///< which one did not
};

/// Upper limit on mu.
struct UpperLimit {
  double level = 0.05;                   ///< value of CLs at the limit
  double observed = 0.0;                 ///< mu where CLs falls to the level
  std::array<double, 5> expected{};      ///< at -2, -1, 0, 1, 2 sigma of the background
  bool observed_found = false;           ///< the observed limit may be used
  std::array<bool, 5> expected_found{};  ///< the expected ones may be used
  /// A limit lies above the upper bound of mu. The bound then only restricts the best fit; the
  /// limits are those of a wider one.
  bool beyond_bound = false;
  bool converged = false;  ///< all fits and all root findings succeeded
  std::string message;     ///< what did not
};

/// Asymptotic tests of one model and data set. The free fit and the Asimov data are made once; each
/// further value of mu costs two fits.
class AsymptoticCalculator {
 public:
  /// \param fitter holds model and data; it is used, and its data are put back after each call
  /// \param options floating and fixed nuisance parameters, start and tolerance of all fits
  /// \param statistic not q0, which discovery() uses whatever is chosen here
  /// \param base of the expected bands
  /// \throws Error (model) for a model without a POI, or with a POI that is held; Error (usage) for
  ///   q0
  explicit AsymptoticCalculator(Fitter& fitter, FitOptions options = {},
                                TestStatistic statistic = TestStatistic::qtilde,
                                BaseDistribution base = BaseDistribution::normal);

  /// Tests mu. Above the upper bound of mu the bound restricts the best fit only.
  /// \throws Error (model) if mu is not finite, or below its lower bound
  HypothesisTest test(double mu);
  /// Tests mu = 0 against mu > 0.
  DiscoveryTest discovery();
  /// Solves CLs(mu) = level on the exact curve, to a relative precision of about 1e-9.
  /// \param level between 0 and 1
  /// \throws Error (usage) for another level, or for a two-sided statistic
  UpperLimit upper_limit(double level = 0.05);
  /// Ends of the values of mu that a two-sided test accepts: where its p-value is 1 - level. For t
  /// this is the profile-likelihood interval; for ttilde the distribution near mu = 0 counts.
  /// \param level confidence level between 0 and 1
  /// \throws Error (usage) for another level, or for a one-sided statistic
  Interval interval(double level);
  /// The free fit of the data.
  const FitResult& best() const { return best_; }

 private:
  struct Asimov {
    std::vector<double> data;
    double twice_nll = 0.0;          ///< at its own truth, which is its best fit
    std::vector<double> parameters;  ///< that truth
    bool converged = false;
    std::string message;
  };
  struct Rise {
    double value = 0.0;  ///< of -2 log L above the best fit
    bool converged = false;
    std::string message;
  };

  FitResult conditional(double mu, const std::vector<double>& near);
  void improve_best(const FitResult& fit);
  const Asimov& asimov(double mu);
  Rise asimov_rise(const Asimov& asimov, double mu);
  Rise data_rise(double mu);
  double error_scale();
  void find_expected(UpperLimit& limit, double sigma);
  void find_observed(UpperLimit& limit, double sigma);

  Fitter& fitter_;
  FitOptions options_;
  TestStatistic statistic_;
  BaseDistribution base_;
  std::size_t poi_;
  std::vector<double> data_;
  FitResult best_;
  Asimov background_, signal_;
};

}  // namespace slalom
