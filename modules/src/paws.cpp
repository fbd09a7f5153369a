// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/paws.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <utility>

#include "check.hpp"
#include "paws_events.hpp"
#include "paws_grid.hpp"
#include "slalom/core/minimize.hpp"

namespace slalom {

using detail::add_sum;
using detail::box_of;
using detail::EventSet;
using detail::PawsBox;
using detail::PawsGrid;
using detail::PawsTerm;
using detail::RatioMean;
using detail::RatioOnEvents;
using detail::require;
using detail::shape_of;
using detail::to_vector;

namespace {

constexpr const char* k_where = "paws";

/// Inverse of the information of the variables that are free and inside.
void set_covariance(const MinimizeResult& minimum, const std::vector<bool>& held, PawsFit& fit) {
  const std::size_t v = minimum.x.size();
  std::vector<std::size_t> free;
  for (std::size_t a = 0; a < v; ++a) {
    if (!held[a] && !minimum.at_bound[a]) free.push_back(a);
  }
  fit.at_bound = minimum.at_bound;
  fit.theta_errors.assign(v - 1, 0.0);
  fit.mu_error = 0.0;
  fit.covariance.clear();
  Eigen::MatrixXd information(free.size(), free.size());
  for (std::size_t i = 0; i < free.size(); ++i) {
    for (std::size_t j = 0; j < free.size(); ++j) {
      information(static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(j)) =
          minimum.hessian[free[i] * v + free[j]];
    }
  }
  const Eigen::LLT<Eigen::MatrixXd> factor(information);
  if (factor.info() != Eigen::Success) return;
  const Eigen::MatrixXd inverse =
      factor.solve(Eigen::MatrixXd::Identity(information.rows(), information.cols()));
  fit.covariance.assign(v * v, 0.0);
  for (std::size_t i = 0; i < free.size(); ++i) {
    for (std::size_t j = 0; j < free.size(); ++j) {
      fit.covariance[free[i] * v + free[j]] =
          inverse(static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(j));
    }
    const double error = std::sqrt(fit.covariance[free[i] * v + free[i]]);
    (free[i] == 0 ? fit.mu_error : fit.theta_errors[free[i] - 1]) = error;
  }
}

using Square = Eigen::Map<const Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic>>;

/// inverse * moments * inverse, all [v * v].
Eigen::MatrixXd between(const std::vector<double>& inverse, const std::vector<double>& moments,
                        std::size_t v) {
  const auto size = static_cast<Eigen::Index>(v);
  const Square outer(inverse.data(), size, size), middle(moments.data(), size, size);
  return outer * middle * outer;
}

/// Errors from the covariance and what is added to it; 0 stays 0.
void enlarge_errors(const std::vector<double>& added, PawsFit& fit) {
  const std::size_t v = fit.theta.size() + 1;
  const auto set = [&](double& error, std::size_t a) {
    if (error > 0.0) error = std::sqrt(fit.covariance[a * v + a] + added[a * v + a]);
  };
  set(fit.mu_error, 0);
  for (std::size_t a = 0; a + 1 < v; ++a) set(fit.theta_errors[a], a + 1);
}

/// The variance by the finite samples behind normalised ratios.
void add_reference(const EventSet& sample, PawsFit& fit) {
  if (!sample.sampled || fit.covariance.empty()) return;
  const std::size_t v = fit.theta.size() + 1;
  const Eigen::MatrixXd added =
      between(fit.covariance, detail::reference_moments(sample, fit.mu, fit.theta), v);
  fit.reference_covariance.assign(added.data(), added.data() + v * v);
  enlarge_errors(fit.reference_covariance, fit);
  if (fit.mu_error > 0.0) fit.reference_share = added(0, 0) / (fit.mu_error * fit.mu_error);
}

}  // namespace

struct PawsLikelihood::State {
  EventSet sample;
  std::vector<ParameterInput> parameters;

  /// Fraction at one theta from all ratios: the mean of log L is log L of their events with
  /// weights.
  SignalFractionLikelihood fraction(const std::vector<double>& theta) const;
  /// The joint fit of a function of (mu, theta) in a box.
  PawsFit fit(const Objective& objective, const PawsOptions& options, const double* held_mu) const;
};

SignalFractionLikelihood PawsLikelihood::State::fraction(const std::vector<double>& theta) const {
  std::vector<double> l, w;
  for (std::size_t k = 0; k < sample.ratios.size(); ++k) {
    const std::vector<double> part = sample.log_ratio(theta, k);
    l.insert(l.end(), part.begin(), part.end());
  }
  const auto number = static_cast<double>(sample.ratios.size());
  if (sample.ratios.size() > 1 || !sample.weights.empty()) {
    w.reserve(sample.ratios.size() * sample.ratios.front().size());
    for (std::size_t k = 0; k < sample.ratios.size(); ++k) {
      for (std::size_t i = 0; i < sample.ratios.front().size(); ++i) {
        w.push_back((sample.weights.empty() ? 1.0 : sample.weights[i]) / number);
      }
    }
  }
  return SignalFractionLikelihood(l, w);
}

PawsFit PawsLikelihood::State::fit(const Objective& objective, const PawsOptions& options,
                                   const double* held_mu) const {
  const PawsBox box = box_of(parameters, options);
  const std::size_t p = parameters.size();
  PawsGrid grid = detail::make_grid(box, options.grid);
  const std::size_t given = grid.theta.size();
  if (!options.start.empty()) {
    grid.theta.push_back(options.start);
    for (std::size_t a = 0; a < p; ++a) {
      double& x = grid.theta.back()[a];
      x = std::isnan(box.held[a]) ? std::clamp(x, box.lower[a], box.upper[a]) : box.held[a];
    }
  }
  SignalFractionOptions fraction_options;
  fraction_options.upper = options.mu_upper;
  for (const std::vector<double>& theta : grid.theta) {
    const SignalFractionLikelihood here = fraction(theta);
    if (held_mu != nullptr) {
      grid.mu.push_back(*held_mu);
      grid.log_likelihood.push_back(here.value(*held_mu));
      grid.slope.push_back(0.0);
      continue;
    }
    const SignalFractionFit best = here.fit(fraction_options);
    grid.mu.push_back(best.mu);
    grid.log_likelihood.push_back(best.log_likelihood);
    grid.slope.push_back(best.mu > 0.0 ? 0.0 : best.score);
  }
  std::vector<bool> held(p + 1, held_mu != nullptr);
  MinimizeOptions minimization;
  minimization.tolerance = options.tolerance;
  minimization.max_iterations = options.max_iterations;
  minimization.lower = {0.0};
  minimization.upper = {options.mu_upper};
  for (std::size_t a = 0; a < p; ++a) {
    minimization.lower.push_back(box.lower[a]);
    minimization.upper.push_back(box.upper[a]);
    held[1 + a] = !std::isnan(box.held[a]);
  }
  minimization.held = held;
  std::vector<std::size_t> order = detail::starts_of(grid, options.starts);
  if (!options.start.empty()) order.push_back(given);
  const double events = sample.total_weight();
  PawsFit result;
  MinimizeResult best;
  for (const std::size_t at : order) {
    // One event of signal where the grid prefers none: the maximum may lie between its points.
    std::vector<double> start{grid.mu[at]};
    if (held_mu == nullptr && start[0] == 0.0) start[0] = std::min(1.0 / events, options.mu_upper);
    start.insert(start.end(), grid.theta[at].begin(), grid.theta[at].end());
    MinimizeResult found = minimize(objective, start, minimization);
    result.starts.push_back({grid.theta[at], found.status, -found.value});
    const bool first = result.starts.size() == 1;
    const bool usable = found.converged() || !best.converged();
    if (first ||
        (usable && (found.value < best.value || (found.converged() && !best.converged())))) {
      best = std::move(found);
    }
  }
  result.status = best.status;
  result.message = best.message;
  result.mu = best.x[0];
  result.theta.assign(best.x.begin() + 1, best.x.end());
  result.log_likelihood = -best.value;
  const bool none = held_mu == nullptr && (result.mu <= 0.0 || result.log_likelihood <= 0.0);
  if (none || (held_mu != nullptr && *held_mu == 0.0)) {
    // The boundary: theta means nothing there.
    const std::size_t top = order.front();
    best.x.assign(1, 0.0);
    best.x.insert(best.x.end(), grid.theta[top].begin(), grid.theta[top].end());
    best.hessian.assign((p + 1) * (p + 1), 0.0);
    best.at_bound.assign(p + 1, false);
    result.theta = grid.theta[top];
    result.mu = 0.0;
    result.log_likelihood = 0.0;
    result.status = FitStatus::converged;
    result.message = "the best fraction is 0, where theta has no meaning";
    result.mu_error = fraction(result.theta).fit(fraction_options).error;
    result.theta_errors.assign(p, 0.0);
    result.at_bound.assign(p + 1, false);
    result.at_bound[0] = true;
    return result;
  }
  set_covariance(best, held, result);
  add_reference(sample, result);
  result.q0 = std::max(0.0, 2.0 * result.log_likelihood);
  result.z = std::sqrt(result.q0 * (1.0 - result.reference_share));
  return result;
}

namespace {

EventSet make_sample(const PawsRatios& ratios, const Tensor& events, const Tensor& weights) {
  require(events.dim() == 2 && events.size(0) > 0,
          "events [n, columns] expected, found " + shape_of(events), k_where);
  require(!weights.defined() || (weights.dim() == 1 && weights.size(0) == events.size(0)),
          "one weight per event expected", k_where);
  EventSet result;
  for (const ParameterisedRatio& ratio : ratios.ratios()) result.ratios.emplace_back(ratio, events);
  if (weights.defined()) result.weights = to_vector(weights);
  return result;
}

/// A sum over events as something to minimise.
void negate_into(const PawsLikelihood::Point& point, std::span<double> gradient,
                 std::span<double> hessian) {
  for (std::size_t i = 0; i < gradient.size(); ++i) gradient[i] = -point.gradient[i];
  for (std::size_t i = 0; i < hessian.size(); ++i) hessian[i] = -point.hessian[i];
}

}  // namespace

PawsRatios::PawsRatios(std::vector<ParameterisedRatio> ratios) : ratios_(std::move(ratios)) {
  require(!ratios_.empty(), "at least one ratio expected", k_where);
  parameters_ = ratios_.front()->parameters();
  for (const ParameterisedRatio& ratio : ratios_) {
    require(ratio->parameters() == parameters_, "ratios of the same parameters expected", k_where);
  }
}

PawsRatios::PawsRatios(std::initializer_list<ParameterisedRatio> ratios)
    : PawsRatios(std::vector<ParameterisedRatio>(ratios)) {}

PawsRatios::PawsRatios(std::vector<ParameterisedRatio> ratios, const Tensor& background,
                       const Tensor& weights, PawsBackground kind)
    : PawsRatios(std::move(ratios)) {
  kind_ = kind;
  const EventSet sample = make_sample(*this, background, weights);
  require(sample.total_weight() > 0.0, "background with a positive sum of weights expected",
          k_where);
  for (const RatioOnEvents& ratio : sample.ratios) {
    means_.push_back(std::make_shared<const RatioMean>(ratio, sample.weights));
  }
}

double PawsRatios::log_mean(const std::vector<double>& theta, std::size_t ratio) const {
  require(theta.size() == parameters_.size(), "theta of another length", k_where);
  require(ratio < ratios_.size(), "no such ratio", k_where);
  return means_.empty() ? 0.0 : means_[ratio]->value(theta);
}

double PawsRatios::mean_error(const std::vector<double>& theta, std::size_t ratio) const {
  require(theta.size() == parameters_.size(), "theta of another length", k_where);
  require(ratio < ratios_.size(), "no such ratio", k_where);
  return kind_ == PawsBackground::quadrature ? 0.0 : means_[ratio]->error(theta);
}

PawsLikelihood::PawsLikelihood(const PawsRatios& ratios, const Tensor& events,
                               const Tensor& weights) {
  auto state = std::make_unique<State>();
  state->sample = make_sample(ratios, events, weights);
  state->sample.means = ratios.means_;
  state->sample.sampled = ratios.kind_ == PawsBackground::sample;
  state->parameters = ratios.parameters();
  state_ = std::move(state);
}

PawsLikelihood::~PawsLikelihood() = default;
PawsLikelihood::PawsLikelihood(PawsLikelihood&&) noexcept = default;

std::size_t PawsLikelihood::parameters() const { return state_->parameters.size(); }

PawsLikelihood::Point PawsLikelihood::evaluate(double mu, const std::vector<double>& theta) const {
  require(theta.size() == parameters(), "theta of another length", k_where);
  require(mu >= 0.0 && mu <= 1.0, "a fraction between 0 and 1 expected", k_where);
  const std::size_t v = theta.size() + 1;
  Point result{0.0, std::vector<double>(v), std::vector<double>(v * v)};
  add_sum(state_->sample, mu, theta, PawsTerm::likelihood, 1.0, result);
  return result;
}

std::vector<double> PawsLikelihood::log_ratio(const std::vector<double>& theta,
                                              std::size_t ratio) const {
  require(theta.size() == parameters(), "theta of another length", k_where);
  require(ratio < state_->sample.ratios.size(), "no such ratio", k_where);
  return state_->sample.log_ratio(theta, ratio);
}

SignalFractionLikelihood PawsLikelihood::fraction(const std::vector<double>& theta) const {
  require(theta.size() == parameters(), "theta of another length", k_where);
  return state_->fraction(theta);
}

PawsFit PawsLikelihood::fit(const PawsOptions& options) const {
  const Objective objective = [this](std::span<const double> x, std::span<double> gradient,
                                     std::span<double> hessian) {
    const Point point = evaluate(x[0], {x.begin() + 1, x.end()});
    negate_into(point, gradient, hessian);
    return -point.value;
  };
  return state_->fit(objective, options, nullptr);
}

PawsFit PawsLikelihood::fit_at(double mu, const PawsOptions& options) const {
  require(mu >= 0.0 && mu <= options.mu_upper, "a fraction within its bounds expected", k_where);
  const Objective objective = [this](std::span<const double> x, std::span<double> gradient,
                                     std::span<double> hessian) {
    const Point point = evaluate(x[0], {x.begin() + 1, x.end()});
    negate_into(point, gradient, hessian);
    return -point.value;
  };
  return state_->fit(objective, options, &mu);
}

PawsFit fit_paws(const ParameterisedRatio& ratio, const Tensor& events, const PawsOptions& options,
                 const Tensor& weights) {
  return PawsLikelihood({ratio}, events, weights).fit(options);
}

std::vector<double> PawsLikelihood::sandwich(const PawsFit& fit) const {
  require(fit.theta.size() == parameters(), "theta of another length", k_where);
  const std::size_t v = parameters() + 1;
  if (fit.covariance.empty()) return {};
  Point sum{0.0, std::vector<double>(v), std::vector<double>(v * v)};
  std::vector<double> moments(v * v);
  add_sum(state_->sample, fit.mu, fit.theta, PawsTerm::likelihood, 1.0, sum, &moments);
  // All ratios see the same events: their scores are taken to be the same.
  const Eigen::MatrixXd result =
      static_cast<double>(state_->sample.ratios.size()) * between(fit.covariance, moments, v);
  return {result.data(), result.data() + result.size()};
}

PawsCorrection correct_paws(const PawsRatios& ratios, const PawsFit& fit, const Tensor& signal,
                            const Tensor& background, const PawsOptions& options) {
  require(fit.converged(), "a fit that has converged expected: " + fit.message, k_where);
  require(signal.dim() == 2 && background.dim() == 2 && signal.size(0) > 0 &&
              background.size(0) > 0 && signal.size(1) == background.size(1),
          "simulated events [n, columns] of both classes expected, found " + shape_of(signal) +
              " and " + shape_of(background),
          k_where);
  const std::size_t p = fit.theta.size();
  PawsCorrection result{fit, {}, std::vector<double>(1 + p, 0.0)};
  if (fit.mu <= 0.0) return result;
  const auto n = static_cast<double>(signal.size(0)), m = static_cast<double>(background.size(0));
  const Tensor weights = at::cat({at::full({signal.size(0)}, fit.mu * m / n, at::kDouble),
                                  at::full({background.size(0)}, 1.0 - fit.mu, at::kDouble)},
                                 0);
  PawsOptions near = options;
  near.start = fit.theta;
  near.starts = 1;
  const PawsLikelihood mixture(ratios, at::cat({signal, background}, 0), weights);
  result.simulated = mixture.fit(near);
  require(result.simulated.converged(),
          "the fit of the simulated mixture did not converge: " + result.simulated.message,
          k_where);
  const PawsBox box = box_of(ratios.parameters(), options);
  const auto shifted = [&](double value, double found, double low, double high, double& shift) {
    shift = found - value;
    return std::clamp(value - shift, low, high);
  };
  result.fit.mu = shifted(fit.mu, result.simulated.mu, 0.0, options.mu_upper, result.shift.front());
  for (std::size_t a = 0; a < p; ++a) {
    if (!std::isnan(box.held[a])) continue;
    result.fit.theta[a] = shifted(fit.theta[a], result.simulated.theta[a], box.lower[a],
                                  box.upper[a], result.shift[1 + a]);
  }
  const std::vector<double> added = mixture.sandwich(result.simulated);
  if (added.empty() || fit.covariance.empty()) return result;
  // A background sample that normalises the ratios moves both fits alike.
  result.fit.reference_covariance.clear();
  result.fit.reference_share = 0.0;
  enlarge_errors(added, result.fit);
  for (std::size_t a = 0; a < added.size(); ++a) result.fit.covariance[a] += added[a];
  return result;
}

std::vector<double> paws_profile(const PawsLikelihood& likelihood, PawsFit& best,
                                 const std::vector<double>& mu, const PawsOptions& options) {
  std::vector<double> result;
  for (const double x : mu) {
    const PawsFit fit = likelihood.fit_at(x, options);
    result.push_back(fit.log_likelihood);
    if (!fit.converged() || fit.log_likelihood <= best.log_likelihood) continue;
    // A higher maximum: the joint fit is taken up from there.
    PawsOptions near = options;
    near.start = fit.theta;
    PawsFit again = likelihood.fit(near);
    if (again.log_likelihood > best.log_likelihood) best = std::move(again);
  }
  for (double& value : result) value -= best.log_likelihood;
  return result;
}

SignalFractionInterval paws_interval(const PawsLikelihood& likelihood, PawsFit& best, double drop,
                                     const PawsOptions& options) {
  require(drop > 0.0 && std::isfinite(drop), "a positive drop of log L expected", k_where);
  require(best.converged(), "an interval needs a fit that has converged", k_where);
  constexpr int k_steps = 60;
  constexpr double k_precise = 1e-6;  // of the drop
  // A profile moves little from one mu to the next: the best point of the grid, and the last theta.
  PawsOptions near = options;
  near.starts = 1;
  near.start = best.theta;
  SignalFractionInterval result;
  result.drop = drop;
  drop /= 1.0 - best.reference_share;
  const auto side = [&](double bound, bool& at_bound) {
    double inside = best.mu, outside = bound;
    const auto above = [&](const PawsFit& fit) {
      return fit.log_likelihood - best.log_likelihood + drop;
    };
    at_bound = bound == best.mu || above(likelihood.fit_at(bound, near)) >= 0.0;
    if (at_bound) return bound;
    const double guess = best.mu_error > 0.0 && std::isfinite(best.mu_error)
                             ? best.mu_error * std::sqrt(2.0 * drop)
                             : 0.01 * std::abs(bound - best.mu);
    double x = best.mu + std::copysign(guess, bound - best.mu);
    for (int i = 0; i < k_steps; ++i) {
      if (!(x > std::min(inside, outside) && x < std::max(inside, outside))) {
        x = 0.5 * (inside + outside);
      }
      const PawsFit fit = likelihood.fit_at(x, near);
      near.start = fit.theta;
      const double f = above(fit);
      if (std::abs(f) <= k_precise * drop) break;
      (f > 0.0 ? inside : outside) = x;
      // The slope of a profile is that of log L where it was maximised.
      x -= f / likelihood.evaluate(x, fit.theta).gradient[0];
    }
    return x;
  };
  result.lower = side(0.0, result.lower_at_bound);
  result.upper = side(options.mu_upper, result.upper_at_bound);
  return result;
}

PawsScan paws_scan(const PawsLikelihood& likelihood, const PawsFit& best,
                   std::array<std::size_t, 2> axes, std::array<std::vector<double>, 2> values,
                   const PawsOptions& options) {
  const std::size_t p = likelihood.parameters();
  require(axes[0] <= p && axes[1] <= p && axes[0] != axes[1],
          "two different axes of (mu, theta) expected", k_where);
  PawsScan result{axes, std::move(values), {}};
  for (const double x : result.values[0]) {
    for (const double y : result.values[1]) {
      PawsOptions point = options;
      if (point.held.empty()) point.held.assign(p, std::numeric_limits<double>::quiet_NaN());
      const double* mu = nullptr;
      for (const std::size_t k : {std::size_t{0}, std::size_t{1}}) {
        const double& value = k == 0 ? x : y;
        if (axes[k] == 0) {
          mu = &value;
        } else {
          point.held[axes[k] - 1] = value;
        }
      }
      const PawsFit fit = mu != nullptr ? likelihood.fit_at(*mu, point) : likelihood.fit(point);
      result.log_likelihood.push_back(fit.log_likelihood - best.log_likelihood);
    }
  }
  return result;
}

PawsFit fit_paws_weakly(const ParameterisedRatio& ratio, const Tensor& events,
                        const Tensor& reference, const PawsOptions& options) {
  const PawsLikelihood likelihood({ratio}, events);
  return likelihood.fit_weakly(PawsLikelihood({ratio}, reference), options);
}

PawsFit PawsLikelihood::fit_weakly(const PawsLikelihood& reference,
                                   const PawsOptions& options) const {
  require(reference.state_->parameters == state_->parameters,
          "a reference with the same ratio expected", k_where);
  const auto total = [](const EventSet& sample) {
    if (sample.weights.empty()) return static_cast<double>(sample.ratios.front().size());
    return std::accumulate(sample.weights.begin(), sample.weights.end(), 0.0);
  };
  // In units of log L: the number of events times the cross entropy, less that of mu = 0.
  const double n = total(state_->sample), m = total(reference.state_->sample);
  const std::size_t v = parameters() + 1;
  const Objective objective = [&](std::span<const double> x, std::span<double> gradient,
                                  std::span<double> hessian) {
    const std::vector<double> theta(x.begin() + 1, x.end());
    Point sum{0.0, std::vector<double>(v), std::vector<double>(v * v)};
    add_sum(state_->sample, x[0], theta, PawsTerm::data, 1.0, sum);
    add_sum(reference.state_->sample, x[0], theta, PawsTerm::reference, n / m, sum);
    negate_into(sum, gradient, hessian);
    return -sum.value - 2.0 * n * std::log(2.0);
  };
  PawsFit result = state_->fit(objective, options, nullptr);
  result.log_likelihood = evaluate(result.mu, result.theta).value;
  result.q0 = 0.0;
  result.z = 0.0;
  result.covariance.clear();
  result.reference_covariance.clear();
  result.reference_share = 0.0;
  result.mu_error = 0.0;
  std::fill(result.theta_errors.begin(), result.theta_errors.end(), 0.0);
  return result;
}

}  // namespace slalom
