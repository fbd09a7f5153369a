// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/signal_fraction.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <limits>
#include <mutex>
#include <optional>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#include <utility>

#include "slalom/core/error.hpp"
#include "slalom/core/normal.hpp"

namespace slalom {

namespace {

constexpr double k_infinity = std::numeric_limits<double>::infinity();
constexpr const char* k_where = "signal_fraction";
/// Sums are kept in as many parts as a wide register has numbers, so that compilers vectorise them
/// without a licence to reorder others.
constexpr std::size_t k_lanes = 8;
/// Width of a bracket, in units of its ends, that rounding leaves nothing of.
constexpr double k_narrow = 4.0 * std::numeric_limits<double>::epsilon();
/// exp(-700) is still a normal number. What a log ratio has beyond is left out of sums until the
/// end.
constexpr double k_largest = 700.0;
/// How far the first guess goes down from the upper end of a bracket that begins at 0.
constexpr double k_first_guess = 1e-2;

using Lanes = std::array<double, k_lanes>;

double total(const Lanes& lanes) {
  double sum = 0.0;
  for (const double x : lanes) sum += x;
  return sum;
}

[[noreturn]] void refuse(const std::string& message) {
  throw Error(ErrorKind::usage, message, k_where);
}

void check_bounds(const SignalFractionOptions& options) {
  if (options.lower <= 0.0 && options.lower < options.upper && options.upper <= 1.0) return;
  refuse("bounds of the fraction lower <= 0 and lower < upper <= 1 expected, found " +
         std::to_string(options.lower) + " and " + std::to_string(options.upper));
}

void check_event(double log_ratio, double weight, std::size_t i) {
  if (!std::isnan(log_ratio) && weight >= 0.0 && std::isfinite(weight)) return;
  const std::string event = "event " + std::to_string(i);
  if (std::isnan(log_ratio)) {
    throw Error(ErrorKind::numerical, "the log ratio of " + event + " is not a number", k_where);
  }
  refuse("the weight of " + event + " is " + std::to_string(weight) +
         ": weights must be finite and not negative");
}

}  // namespace

SignalFractionLikelihood::SignalFractionLikelihood(std::span<const double> log_ratio,
                                                   std::span<const double> weights) {
  const std::size_t n = log_ratio.size();
  if (n == 0) refuse("there are no events to fit a fraction to");
  if (!weights.empty() && weights.size() != n) {
    refuse("one weight per event expected, found " + std::to_string(weights.size()) + " for " +
           std::to_string(n) + " events");
  }
  base_.resize(n);
  slope_.resize(n);
  log_scale_.resize(n);
  if (!weights.empty()) weights_.resize(n);
  double largest = -k_infinity;
  std::size_t used = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const double l = log_ratio[i], w = weights.empty() ? 1.0 : weights[i];
    check_event(l, w, i);
    if (w == 0.0) continue;
    // The larger of both densities is taken out: (1 - mu) min(1, 1/r) + mu min(1, r).
    const double smaller = std::exp(-std::abs(l));
    base_[used] = l > 0.0 ? smaller : 1.0;
    slope_[used] = l > 0.0 ? 1.0 - smaller : smaller - 1.0;
    log_scale_[used] = std::clamp(l, 0.0, k_largest);
    if (!weights.empty()) weights_[used] = w;
    excess_ += w * std::max(l - k_largest, 0.0);
    largest = std::max(largest, l);
    sum_of_weights_ += w;
    ++used;
  }
  if (used == 0) refuse("the weights of all events are 0");
  base_.resize(used);
  slope_.resize(used);
  log_scale_.resize(used);
  if (!weights.empty()) weights_.resize(used);
  lowest_ = largest > 0.0 ? -1.0 / std::expm1(largest) : -k_infinity;
}

double SignalFractionLikelihood::value(double mu) const {
  if (mu == 0.0) return 0.0;
  const double rest = relative(mu);
  return rest == -k_infinity ? rest : rest + excess_;
}

double SignalFractionLikelihood::relative(double mu) const {
  if (mu == 0.0) return -excess_;
  double sum = 0.0;
  for (std::size_t i = 0; i < size(); ++i) {
    const double density = base_[i] + mu * slope_[i];
    // Rounding may leave a little below 0 at the lowest mu.
    const double log_density = density > 0.0 ? std::log(density) + log_scale_[i] : -k_infinity;
    sum += weights_.empty() ? log_density : weights_[i] * log_density;
  }
  return sum;
}

SignalFractionLikelihood::Point SignalFractionLikelihood::derivatives(double mu) const {
  Lanes score{}, information{};
  const std::size_t n = size(), whole = n - n % k_lanes;
  const double* base = base_.data();
  const double* slope = slope_.data();
  const double* weight = weights_.empty() ? nullptr : weights_.data();
  for (std::size_t i = 0; i < whole; i += k_lanes) {
    for (std::size_t k = 0; k < k_lanes; ++k) {
      const double u = slope[i + k] / (base[i + k] + mu * slope[i + k]);
      const double wu = weight == nullptr ? u : weight[i + k] * u;
      score[k] += wu;
      information[k] += wu * u;
    }
  }
  for (std::size_t i = whole; i < n; ++i) {
    const double u = slope[i] / (base[i] + mu * slope[i]);
    const double wu = weight == nullptr ? u : weight[i] * u;
    score[0] += wu;
    information[0] += wu * u;
  }
  return {0.0, total(score), total(information)};
}

SignalFractionLikelihood::Point SignalFractionLikelihood::evaluate(double mu) const {
  Point result = derivatives(mu);
  result.value = value(mu);
  return result;
}

/// Where Newton's method begins in a bracket: fractions are small more often than not.
double SignalFractionLikelihood::start(double low, double high) const {
  if (low < 0.0 && high > 0.0)
    return derivatives(0.0).score > 0.0 ? k_first_guess * high : 0.1 * low;
  return low >= 0.0 ? low + k_first_guess * (high - low) : 0.5 * (low + high);
}

SignalFractionFit SignalFractionLikelihood::fit(const SignalFractionOptions& options) const {
  check_bounds(options);
  SignalFractionFit result;
  result.events = size();
  result.sum_of_weights = sum_of_weights_;
  double low = std::max(options.lower, lowest_), high = options.upper;
  if (!std::isfinite(low)) {
    refuse(
        "no ratio is above 1, so that the events allow any negative fraction: a finite lower "
        "bound expected");
  }
  const auto finish = [&](double mu, const Point& at, FitStatus status, const char* message) {
    result.status = status;
    result.message = message;
    result.mu = mu;
    result.score = at.score;
    result.error = at.information > 0.0 ? 1.0 / std::sqrt(at.information) : k_infinity;
    result.log_likelihood = value(mu);
    result.q0 = mu > 0.0 ? std::max(0.0, 2.0 * result.log_likelihood) : 0.0;
    result.z = std::sqrt(result.q0);
    double squares = 0.0;
    for (std::size_t i = 0; i < size(); ++i) {
      const double u = slope_[i] / (base_[i] + mu * slope_[i]);
      const double wu = weights_.empty() ? u : weights_[i] * u;
      squares += wu * wu;
    }
    result.sandwich_error = at.information > 0.0 ? std::sqrt(squares) / at.information : k_infinity;
    return result;
  };
  ++result.iterations;
  const Point at_low = derivatives(low);
  if (at_low.score == 0.0 && at_low.information == 0.0) {
    return finish(std::max(low, 0.0), at_low, FitStatus::stalled,
                  "all ratios are 1: the events say nothing about the fraction");
  }
  // The end of the domain itself is never a maximum: a density is 0 there.
  if (low > lowest_ && at_low.score <= 0.0) {
    result.at_bound = at_low.score < 0.0;
    return finish(low, at_low, FitStatus::converged, "the best fraction is the smallest allowed");
  }
  ++result.iterations;
  const Point at_high = derivatives(high);
  if (at_high.score >= 0.0) {
    result.at_bound = at_high.score > 0.0;
    return finish(high, at_high, FitStatus::converged, "the best fraction is the largest allowed");
  }
  double mu = start(low, high);
  Point at;
  while (result.iterations < options.max_iterations) {
    ++result.iterations;
    at = derivatives(mu);
    (at.score > 0.0 ? low : high) = mu;
    double next = mu + at.score / at.information;
    if (std::abs(next - mu) * std::sqrt(at.information) <= options.tolerance || at.score == 0.0) {
      return finish(mu, at, FitStatus::converged, "converged");
    }
    if (high - low <= k_narrow * std::max(std::abs(low), std::abs(high))) {
      return finish(mu, at, FitStatus::converged, "converged to rounding");
    }
    if (!(next > low && next < high)) {
      next = low > 0.0 ? std::sqrt(low * high) : low == 0.0 ? 0.1 * high : 0.5 * (low + high);
    }
    mu = next;
  }
  return finish(mu, at, FitStatus::iteration_limit, "the limit of iterations was reached");
}

/// Where log L falls through the target between the best fraction and a bound that is below it:
/// Newton's method, which comes down monotonically from outside since log L is concave, in a
/// bracket.
double SignalFractionLikelihood::crossing(const SignalFractionFit& fit, double bound,
                                          double target) const {
  constexpr int k_steps = 100;
  constexpr double k_precise = 1e-9;  // of the error of mu
  double inside = fit.mu, outside = bound;
  const double step = fit.error * std::sqrt(2.0 * (relative(fit.mu) - target));
  double x = fit.mu + std::copysign(step, bound - fit.mu);
  for (int i = 0; i < k_steps; ++i) {
    if (!(x > std::min(inside, outside) && x < std::max(inside, outside))) {
      x = 0.5 * (inside + outside);
    }
    const double f = relative(x) - target;
    (f > 0.0 ? inside : outside) = x;
    const double next = x - f / derivatives(x).score;
    if (std::abs(next - x) <= k_precise * fit.error) return x;
    if (std::abs(outside - inside) <= k_narrow * std::max(std::abs(inside), std::abs(outside))) {
      return x;
    }
    x = next;
  }
  return x;
}

SignalFractionInterval SignalFractionLikelihood::interval(
    const SignalFractionFit& fit, double drop, const SignalFractionOptions& options) const {
  check_bounds(options);
  if (!(drop > 0.0) || !std::isfinite(drop)) refuse("a positive drop of log L expected");
  if (!fit.converged()) refuse("an interval needs a fit that has converged: " + fit.message);
  const double target = relative(fit.mu) - drop;
  SignalFractionInterval result;
  result.drop = drop;
  const auto side = [&](double bound, bool& at_bound) {
    at_bound = bound == fit.mu || relative(bound) >= target;
    return at_bound ? bound : crossing(fit, bound, target);
  };
  result.lower = side(std::max(options.lower, lowest_), result.lower_at_bound);
  result.upper = side(options.upper, result.upper_at_bound);
  return result;
}

double SignalFractionLikelihood::upper_limit(const SignalFractionFit& fit, double level,
                                             const SignalFractionOptions& options) const {
  if (!(level > 0.5 && level < 1.0)) refuse("a confidence level between 0.5 and 1 expected");
  const double z = normal_quantile_of_log(std::log(level));
  return interval(fit, 0.5 * z * z, options).upper;
}

std::vector<double> SignalFractionLikelihood::profile(const SignalFractionFit& fit,
                                                      std::span<const double> mu) const {
  const double best = relative(fit.mu);
  std::vector<double> result;
  result.reserve(mu.size());
  for (const double x : mu) {
    if (!(x >= lowest_ && x <= 1.0)) {
      refuse("no density is negative for fractions from " + std::to_string(lowest_) +
             " to 1, not for " + std::to_string(x));
    }
    result.push_back(x == fit.mu ? 0.0 : relative(x) - best);
  }
  return result;
}

SignalFractionFit fit_signal_fraction(std::span<const double> log_ratio,
                                      std::span<const double> weights,
                                      const SignalFractionOptions& options) {
  return SignalFractionLikelihood(log_ratio, weights).fit(options);
}

LogRatioSampler pool_sampler(std::span<const double> background, std::span<const double> signal,
                             const PoolOptions& options) {
  if (background.empty()) refuse("a pool without background events");
  if (!(options.fraction >= 0.0 && options.fraction <= 1.0)) {
    refuse("a fraction of signal between 0 and 1 expected");
  }
  if (options.fraction > 0.0 && signal.empty()) refuse("a pool without signal events");
  if (!(options.events >= 0.0) || !std::isfinite(options.events)) {
    refuse("a number of events that is finite and not negative expected");
  }
  const double events =
      options.events > 0.0 ? options.events : static_cast<double>(background.size());
  return [b = std::vector<double>(background.begin(), background.end()),
          s = std::vector<double>(signal.begin(), signal.end()), events, poisson = options.poisson,
          fraction = options.fraction](RandomStream& random) {
    const double number = poisson ? random.poisson(events) : std::round(events);
    std::vector<double> result(static_cast<std::size_t>(number));
    for (double& l : result) {
      const bool is_signal = fraction > 0.0 && random.uniform() < fraction;
      const std::vector<double>& pool = is_signal ? s : b;
      const double place = random.uniform() * static_cast<double>(pool.size());
      l = pool[std::min(static_cast<std::size_t>(place), pool.size() - 1)];
    }
    return result;
  };
}

std::vector<SignalFractionFit> run_signal_fraction_toys(const LogRatioSampler& sampler,
                                                        const SignalFractionToyOptions& options) {
  if (options.n_toys == 0) refuse("a positive number of toys expected");
  check_bounds(options.fit);
  std::vector<std::optional<SignalFractionFit>> found(options.n_toys);
  std::size_t done = 0;
  std::atomic<bool> stop{false};
  std::mutex reporting;
  const auto toy = [&](std::size_t i) {
    if (stop) return;
    RandomStream random(options.seed, i, options.family);
    const std::vector<double> log_ratio = sampler(random);
    found[i].emplace();
    if (log_ratio.empty()) {
      found[i]->message = "there are no events";
    } else {
      *found[i] = fit_signal_fraction(log_ratio, {}, options.fit);
    }
    if (!options.progress) return;
    const std::lock_guard<std::mutex> lock(reporting);
    if (!stop && !options.progress(++done, options.n_toys)) stop = true;
  };
  // oneTBB has no more threads than the machine has cores unless it is told so.
  std::optional<tbb::global_control> limit;
  if (options.threads > 1) {
    limit.emplace(tbb::global_control::max_allowed_parallelism, options.threads);
  }
  tbb::task_arena arena(options.threads == 0 ? tbb::task_arena::automatic
                                             : static_cast<int>(options.threads));
  arena.execute([&] { tbb::parallel_for(std::size_t{0}, options.n_toys, toy); });
  std::vector<SignalFractionFit> result;
  for (std::optional<SignalFractionFit>& fit : found) {
    if (fit) result.push_back(std::move(*fit));
  }
  return result;
}

ToyProbability signal_fraction_p_value(const std::vector<SignalFractionFit>& toys, double q0) {
  std::size_t usable = 0, above = 0;
  for (const SignalFractionFit& toy : toys) {
    if (!toy.converged() && toy.events > 0) continue;
    ++usable;
    if (toy.q0 >= q0) ++above;
  }
  return toy_fraction(above, usable);
}

}  // namespace slalom
