// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "slalom/core/fit.hpp"
#include "slalom/core/random.hpp"
#include "slalom/core/toys.hpp"

/// \file
/// The fraction mu of events that are signal, by the unbinned likelihood of a mixture,
///
///     log L(mu) = sum_i w_i log(1 + mu (r_i - 1)),   r_i = p_S(x_i) / p_B(x_i),
///
/// from the logarithms l_i = log r_i [n] that a network or a pair of densities gives. log L(0) is
/// 0; it is concave in mu. All is computed from l: one that is huge does no harm, -infinity is an
/// event that no signal makes (r = 0), +infinity one that no background makes.
namespace slalom {

/// Drop of log L at the ends of an interval of one parameter of 68.27 % (Wilks).
inline constexpr double k_drop_68 = 0.5;
/// The same of 95 %.
inline constexpr double k_drop_95 = 1.9207294103470620;
/// ln 2, with which arXiv:2506.00119 marks what it calls 95 %: it is 76 %, for comparisons only.
inline constexpr double k_drop_published = 0.69314718055994531;

/// Where mu may be, and how precisely it is found.
struct SignalFractionOptions {
  /// Smallest fraction. A negative one is moved up to where the density of no event becomes
  /// negative, mu > -1 / (r - 1) for the largest r, which is next to 0 if r is large.
  double lower = 0.0;
  double upper = 1.0;        ///< largest fraction, at most 1
  double tolerance = 1e-10;  ///< last step in units of the error of mu
  int max_iterations = 200;  ///< passes over the events
};

/// A fitted fraction.
struct SignalFractionFit {
  FitStatus status = FitStatus::infeasible;  ///< look at it before using anything else
  std::string message;                       ///< in words, for people
  double mu = 0.0;                           ///< the maximum between the bounds
  /// 1 / sqrt(observed information) at mu; infinity if the ratios say nothing. At mu = 0 the
  /// information is that of a parabola through the boundary, and dominated by the largest r: it
  /// is no uncertainty then, take an interval.
  double error = 0.0;
  /// The same for weighted events, sqrt(sum w^2 u^2) / sum w u^2 with the scores u: equal to
  /// `error` on average if all weights are 1.
  double sandwich_error = 0.0;
  bool at_bound = false;        ///< log L still rises beyond the bound where mu is
  double score = 0.0;           ///< d log L / d mu at mu: 0 within the bounds
  double log_likelihood = 0.0;  ///< log L(mu) - log L(0)
  double q0 = 0.0;              ///< 2 log L(mu) - 2 log L(0) for mu > 0, else 0
  double z = 0.0;               ///< sqrt(q0): the asymptotic significance
  int iterations = 0;           ///< passes over the events
  std::size_t events = 0;       ///< with a weight other than 0
  double sum_of_weights = 0.0;  ///< of all events
  /// True if mu is the maximum to the tolerance.
  bool converged() const { return status == FitStatus::converged; }
};

/// The values of mu where log L is at most `drop` below its maximum between the bounds.
struct SignalFractionInterval {
  double lower = 0.0;           ///< lower end
  double upper = 0.0;           ///< upper end
  bool lower_at_bound = false;  ///< the drop is not reached before the bound of mu
  bool upper_at_bound = false;  ///< the same above
  double drop = 0.0;            ///< as asked for
};

/// log L of one set of events, prepared so that a pass over them is some ten operations each. Const
/// functions may be called from several threads.
class SignalFractionLikelihood {
 public:
  /// log L and its derivatives.
  struct Point {
    double value = 0.0;        ///< log L(mu) - log L(0)
    double score = 0.0;        ///< d log L / d mu
    double information = 0.0;  ///< -d^2 log L / d mu^2 >= 0
  };

  /// \param log_ratio l [n] \param weights w [n] >= 0; empty for 1 each
  /// \throws Error (usage) for no events, other lengths, or weights that are negative, not finite
  ///   or all 0; Error (numerical) for NaN. Both name the first such event
  explicit SignalFractionLikelihood(std::span<const double> log_ratio,
                                    std::span<const double> weights = {});

  /// Smallest mu at which all densities are >= 0: -1 / (max r - 1), or -infinity if no r is
  /// above 1.
  double lowest() const { return lowest_; }
  /// Number of events with a weight other than 0.
  std::size_t size() const { return base_.size(); }
  /// log L(mu) - log L(0) for mu in [lowest(), 1]: -infinity where an event has no density;
  /// infinity for mu > 0 if there are events with r = infinity.
  double value(double mu) const;
  /// The same with score and information; both may be infinite at the ends.
  Point evaluate(double mu) const;

  /// The best fraction. Newton's method on the score within a bracket: the likelihood is concave,
  /// so there is one maximum. \throws Error (usage) for bounds that are not lower < upper <= 1, a
  /// lower one above 0, or one of -infinity where no r is above 1
  SignalFractionFit fit(const SignalFractionOptions& options = {}) const;
  /// Interval by the drop of log L, aware of the bounds. Its coverage is that of Wilks' theorem for
  /// mu away from them; at mu = 0 it covers more. \throws Error (usage) for a drop that is not
  /// positive, or a fit that has not converged
  SignalFractionInterval interval(const SignalFractionFit& fit, double drop = k_drop_68,
                                  const SignalFractionOptions& options = {}) const;
  /// One-sided upper limit: log L drops by z^2 / 2 with Phi(z) = level. The maximum is that between
  /// the bounds, as in qtilde. \throws Error (usage) for a level outside of (0.5, 1)
  double upper_limit(const SignalFractionFit& fit, double level = 0.95,
                     const SignalFractionOptions& options = {}) const;
  /// log L at each mu [m], above that of the best fit: <= 0. \throws Error (usage) for mu outside
  /// of [lowest(), 1]
  std::vector<double> profile(const SignalFractionFit& fit, std::span<const double> mu) const;

 private:
  Point derivatives(double mu) const;
  /// value(mu) without the excess, which is 0 or beyond all scales.
  double relative(double mu) const;
  double crossing(const SignalFractionFit& fit, double bound, double target) const;
  double start(double low, double high) const;

  // The density of an event is scale * (base + mu * slope), all of size 1 or less.
  std::vector<double> base_, slope_, log_scale_, weights_;
  double sum_of_weights_ = 0.0;
  double lowest_ = 0.0;
  double excess_ = 0.0;  // part of log r above 700, summed
};

/// The best fraction for one set of events; see SignalFractionLikelihood, which to use for more
/// than one question about them.
SignalFractionFit fit_signal_fraction(std::span<const double> log_ratio,
                                      std::span<const double> weights = {},
                                      const SignalFractionOptions& options = {});

/// Makes the log ratios of one pseudo-experiment. Called from several threads at once; must depend
/// on nothing but the random numbers.
using LogRatioSampler = std::function<std::vector<double>(RandomStream& random)>;

/// What pool_sampler() draws.
struct PoolOptions {
  double events = 0.0;    ///< expected; 0 for as many as there are in the background's pool
  bool poisson = true;    ///< the number of events is thrown; if not, it is `events`, rounded
  double fraction = 0.0;  ///< of events that are drawn from the pool of the signal
};

/// A sampler that draws, with replacement, from simulated events (or from the data: a bootstrap).
/// The toys fluctuate about the pool, not about the truth: one of k times the events of a toy moves
/// all of them by about 1 / sqrt(k) of their error in common, so that p-values want k of 100 and
/// more. Holds copies.
/// \throws Error (usage) for an empty background, a fraction without a signal, or options out of
///   range
LogRatioSampler pool_sampler(std::span<const double> background,
                             std::span<const double> signal = {}, const PoolOptions& options = {});

/// How toys of the fraction are run.
struct SignalFractionToyOptions {
  std::size_t n_toys = 1000;    ///< number of them
  std::uint64_t seed = 0;       ///< toys of different seeds are independent
  std::uint32_t family = 0;     ///< keeps ensembles of one seed apart
  std::size_t threads = 0;      ///< 0 for all of the machine; the results do not depend on it
  SignalFractionOptions fit{};  ///< of every toy
  /// Called with the number of finished toys, never by two threads at a time; false ends the run.
  std::function<bool(std::size_t done, std::size_t total)> progress{};
};

/// Toys in order, without those that an interrupted run did not reach; one without any event has
/// the status `infeasible`. \throws Error (usage) for no toys; whatever the sampler throws
std::vector<SignalFractionFit> run_signal_fraction_toys(
    const LogRatioSampler& sampler, const SignalFractionToyOptions& options = {});

/// P(q0 >= observed) among toys that converged: the p-value of the background where the sampler
/// makes nothing else. A toy without events counts as q0 = 0.
ToyProbability signal_fraction_p_value(const std::vector<SignalFractionFit>& toys, double q0);

}  // namespace slalom
