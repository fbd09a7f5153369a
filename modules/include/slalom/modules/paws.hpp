// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "slalom/core/fit.hpp"
#include "slalom/core/random.hpp"
#include "slalom/core/signal_fraction.hpp"
#include "slalom/core/toys.hpp"
#include "slalom/modules/density_ratio.hpp"

/// \file
/// PAWS (arXiv:2405.08889, 2506.00119): a signal's fraction mu and its parameters theta (masses,
/// decay modes) from unlabelled events, with a frozen ratio r(x | theta) that was trained before,
///
///     log L(mu, theta) = sum_i w_i log(1 + mu (r(x_i | theta) - 1)).
///
/// Gradient and Hessian are exact: log r is differentiated by theta for each event, the rest is
/// closed.
namespace slalom {

namespace detail {
class RatioMean;
}  // namespace detail

/// What a background stands for, with which ratios are normalised.
enum class PawsBackground {
  sample,      ///< simulated events: their statistics are part of the errors
  quadrature,  ///< points whose weights are those of an integral over the density: exact
};

/// What the likelihood is made of: frozen ratios (several of different splits or seeds: the mean of
/// their log L is taken), which may be divided by their mean over background events at each theta,
///
///     log r(x | theta) - log E_B[exp log r(. | theta)],
///
/// the published kappa(theta). A likelihood whose ratios have the mean 1 is that of a density,
/// right or wrong: an error of the ratio then costs sensitivity, and makes no signal out of
/// background. Where the signal lies beyond all background events that mean is not seen, and
/// calibrate() is the better choice. Copies share everything; the ratios must not be changed.
class PawsRatios {
 public:
  /// As they are. \throws Error (usage) for no ratio, or ratios of other parameters
  // Not explicit: plain ratios are what a likelihood takes wherever nothing is to be normalised.
  // NOLINTNEXTLINE(google-explicit-constructor)
  PawsRatios(std::vector<ParameterisedRatio> ratios);
  /// The same, written as a list.
  PawsRatios(std::initializer_list<ParameterisedRatio> ratios);
  /// Divided by their means. \param background [m, f] that the ratios were not trained with; the
  ///   variance of the result is larger by the ratio of events in the data to those in here
  /// \param weights [m] >= 0; undefined: 1 each \throws Error (usage) for shapes or no events
  PawsRatios(std::vector<ParameterisedRatio> ratios, const Tensor& background,
             const Tensor& weights = {}, PawsBackground kind = PawsBackground::sample);
  /// Undivided.
  const std::vector<ParameterisedRatio>& ratios() const { return ratios_; }
  /// Parameters of all of them.
  const std::vector<ParameterInput>& parameters() const { return parameters_; }
  /// True if they are divided by their means.
  bool normalised() const { return !means_.empty(); }
  /// log E_B[r] of one ratio; 0 if it is not divided. \param theta [p]
  double log_mean(const std::vector<double>& theta, std::size_t ratio = 0) const;
  /// Relative statistical error of that mean: where it is not small, a few events carry it. 0 for a
  /// quadrature.
  double mean_error(const std::vector<double>& theta, std::size_t ratio = 0) const;

 private:
  friend class PawsLikelihood;
  std::vector<ParameterisedRatio> ratios_;
  std::vector<ParameterInput> parameters_;
  std::vector<std::shared_ptr<const detail::RatioMean>> means_;
  PawsBackground kind_ = PawsBackground::quadrature;
};

/// What is fitted, and how hard it is tried.
struct PawsOptions {
  double mu_upper = 1.0;        ///< largest fraction, at most 1; the smallest is 0
  std::vector<double> lower{};  ///< smallest theta [p]; empty for the box of the ratio
  std::vector<double> upper{};  ///< largest theta [p]; the same
  std::vector<double> held{};   ///< theta that is not fitted [p]; NaN or empty: it is
  /// Points along each axis of theta where mu alone is fitted first. The best of these that are
  /// maxima among their neighbours are where the joint fits start.
  std::int64_t grid = 9;
  std::int64_t starts = 3;      ///< joint fits, at most; the best is kept
  std::vector<double> start{};  ///< one more of them, at this theta [p]; empty: none
  double tolerance = 1e-6;      ///< see MinimizeOptions
  int max_iterations = 100;     ///< of one joint fit
};

/// One joint fit.
struct PawsStart {
  std::vector<double> theta;                 ///< where it started
  FitStatus status = FitStatus::infeasible;  ///< how it ended
  double log_likelihood = 0.0;               ///< where it ended
};

/// The best fit. At mu = 0 the likelihood does not depend on theta: theta is then where log L is
/// steepest in mu among the points of the grid, and has no error.
struct PawsFit {
  FitStatus status = FitStatus::infeasible;  ///< look at it before using anything else
  std::string message;                       ///< in words, for people
  double mu = 0.0;                           ///< fraction
  std::vector<double> theta;                 ///< [p]
  double mu_error = 0.0;                     ///< sqrt of the diagonal of both covariances below
  std::vector<double> theta_errors;          ///< the same [p]; 0 for what is held or at a bound
  /// Inverse Hessian of (mu, theta) [(1 + p)^2]; empty if not positive definite.
  std::vector<double> covariance;
  /// What the finite background sample of normalised ratios adds to it; empty without one.
  std::vector<double> reference_covariance;
  std::vector<bool> at_bound;   ///< of (mu, theta) [1 + p]
  double log_likelihood = 0.0;  ///< above that of mu = 0
  double q0 = 0.0;              ///< 2 log L, maximised over theta
  /// Part of the variance of mu that is due to the finite background sample of normalised ratios.
  double reference_share = 0.0;
  double z = 0.0;                 ///< sqrt(q0 (1 - reference_share)): local, without look-elsewhere
  std::vector<PawsStart> starts;  ///< all joint fits
  /// True if the best fit is a maximum to the tolerance.
  bool converged() const { return status == FitStatus::converged; }
};

/// log L of one set of events. Where a ratio is a PolynomialRatio its network is evaluated once,
/// here. Const functions may be called from several threads.
class PawsLikelihood {
 public:
  /// log L and its derivatives by (mu, theta).
  struct Point {
    double value = 0.0;            ///< log L(mu, theta) - log L(0)
    std::vector<double> gradient;  ///< [1 + p]
    std::vector<double> hessian;   ///< [(1 + p)^2]
  };

  /// \param events features [n, f] \param weights [n] >= 0; undefined: 1 each
  /// \throws Error (usage) for shapes or no events
  PawsLikelihood(const PawsRatios& ratios, const Tensor& events, const Tensor& weights = {});
  ~PawsLikelihood();
  /// Moves. Not copied.
  PawsLikelihood(PawsLikelihood&&) noexcept;

  /// Number of parameters p.
  std::size_t parameters() const;
  /// log L, gradient and Hessian. \param theta [p]
  Point evaluate(double mu, const std::vector<double>& theta) const;
  /// log r of every event by one of the ratios, normalised where they are [n].
  std::vector<double> log_ratio(const std::vector<double>& theta, std::size_t ratio = 0) const;
  /// The likelihood of mu alone for one theta. \throws Error (numerical) for NaN
  SignalFractionLikelihood fraction(const std::vector<double>& theta) const;
  /// Covariance of (mu, theta) [(1 + p)^2] at a fit of weighted events, A^-1 B A^-1 with B = sum_i
  /// w_i^2 of the outer products of scores; empty where the fit has no covariance.
  std::vector<double> sandwich(const PawsFit& fit) const;
  /// Best mu and theta. \throws Error (usage) for options
  PawsFit fit(const PawsOptions& options = {}) const;
  /// Best theta for one mu; `PawsFit::log_likelihood` is what a profile needs.
  PawsFit fit_at(double mu, const PawsOptions& options = {}) const;
  /// See fit_paws_weakly(); the reference is the likelihood of background events with these ratios.
  PawsFit fit_weakly(const PawsLikelihood& reference, const PawsOptions& options = {}) const;

 private:
  struct State;
  std::unique_ptr<const State> state_;
};

/// PawsLikelihood::fit() of one ratio.
PawsFit fit_paws(const ParameterisedRatio& ratio, const Tensor& events,
                 const PawsOptions& options = {}, const Tensor& weights = {});

/// A fit with the bias of its ratio taken off, and that bias.
struct PawsCorrection {
  PawsFit fit;                ///< mu and theta corrected, within their bounds, errors enlarged
  PawsFit simulated;          ///< of the simulated mixture at the uncorrected mu and theta
  std::vector<double> shift;  ///< what was taken off (mu, theta) [1 + p]
};

/// Fits the mixture of simulated events that the fit claims to have seen, signal at its theta with
/// the weight mu, background with the rest, and takes the difference off: whatever is wrong with
/// the ratio, shape or normalisation, cancels to first order (indirect inference, one step). The
/// variance of the result is larger by the ratio of events in the data to those simulated. A fit at
/// mu = 0 is returned as it is. \param signal [k, f] drawn at `fit.theta` \param background [m, f]
/// \throws Error (usage) for a fit that has not converged, or no events
PawsCorrection correct_paws(const PawsRatios& ratios, const PawsFit& fit, const Tensor& signal,
                            const Tensor& background, const PawsOptions& options = {});

/// log L maximised over theta at each mu [m], above that of the best fit: <= 0. A point that lies
/// higher than the fit replaces it in `best`.
std::vector<double> paws_profile(const PawsLikelihood& likelihood, PawsFit& best,
                                 const std::vector<double>& mu, const PawsOptions& options = {});

/// Interval of mu where the profile of log L is at most `drop` below its maximum, or
/// drop / (1 - reference_share) with normalised ratios; the lower end is 0 where that is not
/// reached. \throws Error (usage) for a fit that has not converged
SignalFractionInterval paws_interval(const PawsLikelihood& likelihood, PawsFit& best,
                                     double drop = k_drop_68, const PawsOptions& options = {});

/// A scan of two of (mu, theta_1, ...): log L maximised over the others, above the best fit.
struct PawsScan {
  std::array<std::size_t, 2> axes{};          ///< 0: mu, 1 + k: theta_k
  std::array<std::vector<double>, 2> values;  ///< along both
  std::vector<double> log_likelihood;         ///< [first * second], <= 0 but for rounding
};

/// Wilks' contours of two parameters are at -1.15 (68.27 %) and -3.00 (95 %).
PawsScan paws_scan(const PawsLikelihood& likelihood, const PawsFit& best,
                   std::array<std::size_t, 2> axes, std::array<std::vector<double>, 2> values,
                   const PawsOptions& options = {});

/// Makes the events [n, f] of one pseudo-experiment; called from several threads at once.
using EventSampler = std::function<Tensor(RandomStream& random)>;

/// Events drawn from `events` [n, f] with replacement, a Poisson number of them: the bootstrap.
/// \param expected number; 0 for n \throws Error (usage) for no events, or a negative number
EventSampler bootstrap_sampler(const Tensor& events, double expected = 0.0);

/// How toys are run.
struct PawsToyOptions {
  std::size_t n_toys = 300;  ///< number of them
  std::uint64_t seed = 0;    ///< toys of different seeds are independent
  std::uint32_t family = 0;  ///< keeps ensembles of one seed apart
  PawsOptions fit{};         ///< of every toy
};

/// Fits of toys, in order. On as many threads as LibTorch may use (at::set_num_threads); the result
/// does not depend on it.
std::vector<PawsFit> run_paws_toys(const PawsRatios& ratios, const EventSampler& sampler,
                                   const PawsToyOptions& options = {});

/// P(q0 >= observed) among toys that converged, q0 maximised over theta in both: a global p-value,
/// with the look-elsewhere effect, where the sampler makes background only.
ToyProbability paws_p_value(const std::vector<PawsFit>& toys, double q0);

/// The estimate of the published method: (mu, theta) that minimise weak_cross_entropy() of the data
/// against a background reference, through the frozen ratio. `log_likelihood` is that of the data,
/// `q0` and errors are 0: take those of bootstraps.
/// \param reference background events [m, f]
PawsFit fit_paws_weakly(const ParameterisedRatio& ratio, const Tensor& events,
                        const Tensor& reference, const PawsOptions& options = {});

}  // namespace slalom
