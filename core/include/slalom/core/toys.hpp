// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "slalom/core/fit.hpp"
#include "slalom/core/random.hpp"
#include "slalom/core/test_statistic.hpp"

/// \file
/// Pseudo-experiments (toys): throwing them, fitting them in parallel, and tests made from them.
namespace slalom {

class ToyStore;

/// How toys are thrown and run.
struct ToyOptions {
  std::size_t n_toys = 2000;  ///< of each ensemble
  std::uint64_t seed = 0;     ///< toys of different seeds are independent
  std::size_t first = 0;      ///< index of the first toy; continues an earlier run
  std::size_t threads = 0;    ///< 0 for all of the machine; the results do not depend on it
  /// Auxiliary data are thrown as well (unconditional); if not, they stay as observed.
  bool throw_auxiliary = true;
  /// Auxiliary data [A] of toys that do not throw them; empty for those of the model.
  std::vector<double> auxiliary{};
  /// Keep the best fit of all parameters with its errors in every toy.
  bool keep_parameters = false;
  /// Keeps finished toys, and has those of an earlier run, which are then not made again. Not
  /// owned; may be null.
  ToyStore* store = nullptr;
  /// Called after each toy with the number of finished and of all toys of the ensemble, never by
  /// two threads at a time, and once before the first one if the store has toys; returning false
  /// ends the run, which keeps the toys it has.
  std::function<bool(std::size_t done, std::size_t total)> progress{};
};

/// Throws data [B + A] at `parameters` [P]: main data from Poisson distributions; auxiliary data
/// from Gaussian and Poisson ones, or as in `auxiliary` [A] unless that is empty.
/// \throws Error (numerical) where an expected rate is negative or not finite
std::vector<double> throw_toy(const Model& model, std::span<const double> parameters,
                              RandomStream& random, std::span<const double> auxiliary = {});

/// Fit of a toy that `fitter` holds, by the strategy for toys, which often have several minima: see
/// docs/toys.md for it and for the fraction of global minima that it misses.
/// \param fitter holds the model and the toy's data
/// \param truth generating point [P]
/// \param options of the fit; its start is not used unless the fit from the generating point fails
FitResult fit_toy(Fitter& fitter, std::span<const double> truth, const FitOptions& options = {});

/// One toy and what its two fits found.
struct Toy {
  bool done = false;  ///< false for those that an interrupted run did not reach
  FitStatus free_status = FitStatus::infeasible;         ///< of the free fit
  FitStatus conditional_status = FitStatus::infeasible;  ///< of the fit with the POI held
  double poi = 0.0;                                      ///< best fit of the tested parameter
  double free_twice_nll = 0.0;                           ///< -2 log L of the free fit
  double conditional_twice_nll = 0.0;                    ///< -2 log L of the conditional fit
  std::vector<double> parameters{};                      ///< of the free fit [P], if they are kept
  std::vector<double> errors{};  ///< from its Hessian [P]; 0 for parameters at a bound
  /// Profile-likelihood ratio t_mu >= 0.
  double t() const;
  /// Statistic of an upper limit: t_mu if the best fit is at most mu, else 0.
  double q(double mu) const { return poi <= mu ? t() : 0.0; }
  /// Statistic of a discovery, for conditional fits at 0: t_0 if the best fit is >= 0, else 0.
  double q0() const { return poi >= 0.0 ? t() : 0.0; }
  /// Both fits converged.
  bool converged() const {
    return done && free_status == FitStatus::converged &&
           conditional_status == FitStatus::converged;
  }
};

/// Throws toys at `parameters` [P] and fits each one freely and with one parameter at `mu`.
///
/// Each fit starts at the generating point and looks for other minima from where it ends, as
/// fit_toy() does. If the conditional fit is below the free one, the free one is repeated from
/// there. docs/toys.md states the fraction of global minima that are missed.
/// \param model with a parameter of interest
/// \param parameters generating point [P]
/// \param parameter held in the conditional fits
/// \param mu its value there
/// \param fit options of all fits
/// \param family keeps ensembles of the same seed apart
/// \returns a toy per index, `options.first` first
/// \throws Error (model) if the parameter does not exist or is held in the free fits
std::vector<Toy> run_toys(const Model& model, std::span<const double> parameters,
                          std::size_t parameter, double mu, const ToyOptions& options,
                          const FitOptions& fit, std::uint32_t family);

/// The same with the parameter of interest at `mu`. \throws Error (model) also if there is none
std::vector<Toy> run_toys(const Model& model, std::span<const double> parameters, double mu,
                          const ToyOptions& options, const FitOptions& fit = {},
                          std::uint32_t family = 0);

/// A fraction of toys with its binomial uncertainty.
struct ToyProbability {
  double value = 0.0;  ///< fraction
  double error = 0.0;  ///< sqrt(p (1 - p) / n), at least that of half a toy
};

/// k of n toys as a fraction; a value of 0 with an error of 0 if there are none.
ToyProbability toy_fraction(std::size_t k, std::size_t n);

/// Quantiles of values at -2, -1, 0, 1, 2 sigma of a normal distribution (2.275, ... 97.725 %),
/// interpolated between neighbours; 0 for no values.
std::array<double, 5> toy_band(std::vector<double> values);

/// What became of the toys of one ensemble.
struct ToyCounts {
  std::size_t asked = 0;   ///< toys that were asked for
  std::size_t done = 0;    ///< toys that were fitted
  std::size_t failed = 0;  ///< toys of those with a fit that did not converge; they are left out
};

/// CLs test made from toys.
struct ToyHypothesisTest {
  double mu = 0.0;                             ///< tested value
  double test_statistic = 0.0;                 ///< q_mu of the data
  ToyProbability clsb;                         ///< p-value of the signal hypothesis
  ToyProbability clb;                          ///< the same under the background hypothesis
  ToyProbability cls;                          ///< their ratio
  std::array<double, 5> cls_expected{};        ///< at -2, -1, 0, 1, 2 sigma of the background
  std::array<double, 5> cls_expected_error{};  ///< statistical uncertainties of these
  ToyCounts signal;                            ///< ensemble at mu
  ToyCounts background;                        ///< ensemble at 0
  std::vector<double> signal_samples;          ///< q_mu of the signal toys that converged, by index
  std::vector<double> background_samples;      ///< of the background toys
  bool converged = false;  ///< all fits of the data converged and all toys are there
  std::string message;     ///< what did not, or how many toys failed
};

/// Test of the absence of a signal made from toys.
struct ToyDiscoveryTest {
  double test_statistic = 0.0;       ///< q_0 of the data
  ToyProbability p0;                 ///< observed p-value
  std::optional<double> z;           ///< its significance, >= 0; none if no toy reaches the data
  std::array<double, 5> p0_band{};   ///< at -2, ... 2 sigma of mu = 1, as pyhf orders its band
  std::optional<double> z_expected;  ///< significance of its median
  ToyCounts background;              ///< ensemble at mu = 0
  ToyCounts signal;                  ///< ensemble at mu = 1
  std::vector<double> background_samples;  ///< q_0 of the toys at 0 that converged
  std::vector<double> signal_samples;      ///< q_0 of the toys at 1 that converged
  bool converged = false;  ///< all fits of the data converged and all toys are there
  std::string message;     ///< what did not, or how many toys failed
};

/// Tests by toys, thrown as pyhf does: at the conditional best fits of the data, with p-values that
/// are fractions of toys whose statistic is at least the observed one. The statistic of test() is
/// q_mu or t_mu; as with pyhf the tilde lies in the bounds of the POI, not in the name.
class ToyCalculator {
 public:
  /// \param fitter holds model and data; only the fits of the data are made with it
  /// \throws Error (model) for a model without a POI, or with a POI that is held
  explicit ToyCalculator(Fitter& fitter, ToyOptions toys = {}, FitOptions options = {},
                         TestStatistic statistic = TestStatistic::qtilde);

  /// Tests mu by toys at mu and at 0. \throws Error (model) if mu is not finite
  ToyHypothesisTest test(double mu);
  /// Tests mu = 0 by toys at 0; the band by toys at 1.
  ToyDiscoveryTest discovery();
  /// The free fit of the data.
  const FitResult& best() const { return best_; }
  /// Index of the parameter of interest.
  std::size_t poi() const { return poi_; }

 private:
  struct Ensemble {
    ToyCounts counts;
    std::vector<double> samples;
    bool complete = false;
  };

  FitResult conditional(double mu);
  Ensemble ensemble(const FitResult& truth, double mu, bool discovery, std::uint32_t family);

  Fitter& fitter_;
  double statistic(const Toy& toy, double mu) const;

  ToyOptions toys_;
  FitOptions options_;
  TestStatistic statistic_;
  std::size_t poi_;
  FitResult best_;
};

}  // namespace slalom
