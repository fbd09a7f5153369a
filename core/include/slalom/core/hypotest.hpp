// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "slalom/core/fit.hpp"

/// \file
/// Asymptotic hypothesis tests of the parameter of interest mu: CLs, discovery and upper limits.
/// Formulae of Cowan, Cranmer, Gross and Vitells (arXiv:1007.1727), with pyhf's conventions.
namespace slalom {

/// Statistic for an upper limit on mu. They differ only where the best fit is below zero: qtilde
/// assumes that mu has a lower bound of 0 (eq. 16 there), q does not (eq. 14).
enum class TestStatistic { q, qtilde };

/// Test of one value of mu. Probabilities are given with their logarithms, which stay finite.
struct HypothesisTest {
  double mu = 0.0;                       ///< tested value
  double test_statistic = 0.0;           ///< q_mu of the data, >= 0
  double asimov_statistic = 0.0;         ///< q_mu of the background-only Asimov data, >= 0
  double clsb = 0.0;                     ///< p-value of the signal hypothesis
  double clb = 0.0;                      ///< the same probability under the background hypothesis
  double cls = 0.0;                      ///< clsb / clb
  double log_clsb = 0.0;                 ///< natural logarithm of clsb
  double log_clb = 0.0;                  ///< natural logarithm of clb
  double log_cls = 0.0;                  ///< natural logarithm of cls
  std::array<double, 5> cls_expected{};  ///< at -2, -1, 0, 1, 2 sigma of the background
  std::array<double, 5> log_cls_expected{};  ///< natural logarithms
  bool converged = false;                    ///< all fits behind these numbers converged
  std::string message;                       ///< which one did not
};

/// Test of the absence of a signal.
struct DiscoveryTest {
  double test_statistic = 0.0;   ///< q_0, >= 0; 0 for a deficit
  double p0 = 0.0;               ///< observed p-value
  double log_p0 = 0.0;           ///< its natural logarithm
  double z = 0.0;                ///< observed significance
  double p0_expected = 0.0;      ///< median p-value for mu = 1
  double log_p0_expected = 0.0;  ///< its natural logarithm
  double z_expected = 0.0;       ///< median significance for mu = 1
  /// p-value at -2, -1, 0, 1, 2 sigma of the signal hypothesis, as pyhf orders its band.
  std::array<double, 5> p0_band{};
  bool converged = false;  ///< all fits behind these numbers converged
  std::string message;     ///< which one did not
};

/// Upper limit on mu.
struct UpperLimit {
  double level = 0.05;               ///< value of CLs at the limit
  double observed = 0.0;             ///< mu where CLs falls to the level
  std::array<double, 5> expected{};  ///< at -2, -1, 0, 1, 2 sigma of the background
  bool converged = false;            ///< all fits and all root findings succeeded
  std::string message;               ///< what did not
};

/// Asymptotic tests of one model and data set. The free fit and the Asimov data are made once; each
/// further value of mu costs two fits.
class AsymptoticCalculator {
 public:
  /// \param fitter holds model and data; it is used, and its data are put back after each call
  /// \param options floating and fixed nuisance parameters, start and tolerance of all fits
  /// \throws Error (model) for a model without a POI, or with a POI that is held
  AsymptoticCalculator(Fitter& fitter, FitOptions options = {},
                       TestStatistic statistic = TestStatistic::qtilde);

  /// Tests mu. \throws Error (model) if mu is not finite
  HypothesisTest test(double mu);
  /// Tests mu = 0 against mu > 0.
  DiscoveryTest discovery();
  /// Solves CLs(mu) = level on the exact curve, to a relative precision of about 1e-9.
  /// \param level between 0 and 1
  UpperLimit upper_limit(double level = 0.05);
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

  FitResult conditional(double mu, const std::vector<double>& near);
  void improve_best(const FitResult& fit);
  const Asimov& asimov(double mu);
  double asimov_statistic(const Asimov& asimov, double mu, bool* converged);

  Fitter& fitter_;
  FitOptions options_;
  TestStatistic statistic_;
  std::size_t poi_;
  std::vector<double> data_;
  FitResult best_;
  Asimov background_, signal_;
};

}  // namespace slalom
