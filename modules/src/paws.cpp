// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/paws.hpp"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/stack.h>
#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <utility>

#include "check.hpp"
#include "polynomial.hpp"
#include "slalom/core/minimize.hpp"
#include "slalom/modules/autodiff.hpp"
#include "to_tensor.hpp"

namespace slalom {

using detail::PolynomialJets;
using detail::Polynomials;
using detail::require;
using detail::shape_of;
using detail::to_tensor;

namespace {

constexpr const char* k_where = "paws";
constexpr std::int64_t k_chunk = 16384;  ///< events at a time
/// Grids of theta with more points than this are a mistake.
constexpr std::size_t k_most_points = 100000;

std::vector<double> to_vector(const Tensor& tensor) {
  const Tensor flat = tensor.to(at::kCPU, at::kDouble).contiguous();
  const auto* begin = flat.data_ptr<double>();
  return {begin, begin + flat.numel()};
}

/// log r of some events with its derivatives by theta.
struct Jets {
  std::vector<double> value;     ///< [n]
  std::vector<double> gradient;  ///< [n][p]
  std::vector<double> hessian;   ///< [n][p][p]
};

/// One ratio on one set of events.
class RatioOnEvents {
 public:
  RatioOnEvents(ParameterisedRatio ratio, const Tensor& events)
      : ratio_(std::move(ratio)), events_(events) {
    Classifier network = ratio_->network();
    auto* polynomial = dynamic_cast<PolynomialRatioImpl*>(network.get());
    if (polynomial == nullptr) return;
    const at::NoGradGuard no_graph;
    basis_ = Polynomials(polynomial->parameters(), polynomial->degree());
    calibration_ = Polynomials(ratio_->parameters(), ratio_->degree());
    slope_ = to_vector(ratio_->slope());
    offset_ = to_vector(ratio_->offset());
    for (std::int64_t begin = 0; begin < events.size(0); begin += k_chunk) {
      const std::vector<double> part = to_vector(polynomial->coefficients(
          events.slice(0, begin, std::min(begin + k_chunk, events.size(0)))));
      coefficients_.insert(coefficients_.end(), part.begin(), part.end());
    }
  }

  /// log r [n].
  std::vector<double> log_ratio(const std::vector<double>& theta) const {
    std::vector<double> result;
    result.reserve(size());
    for (std::size_t begin = 0; begin < size(); begin += k_step) {
      const std::size_t end = std::min(begin + k_step, size());
      if (basis_.terms() > 0) {
        const Jets part = polynomial_jets(theta, begin, end, false);
        result.insert(result.end(), part.value.begin(), part.value.end());
        continue;
      }
      const at::NoGradGuard no_graph;
      ParameterisedRatio ratio = ratio_;
      const std::vector<double> part =
          to_vector(ratio->log_ratio(chunk(begin, end), tensor(theta)));
      result.insert(result.end(), part.begin(), part.end());
    }
    return result;
  }

  /// The same with derivatives, of a part of the events.
  Jets jets(const std::vector<double>& theta, std::size_t begin, std::size_t end) const {
    if (basis_.terms() > 0) return polynomial_jets(theta, begin, end, true);
    return graph_jets(theta, begin, end);
  }

  std::size_t size() const { return static_cast<std::size_t>(events_.size(0)); }
  static constexpr std::size_t k_step = static_cast<std::size_t>(k_chunk);

 private:
  Tensor chunk(std::size_t begin, std::size_t end) const {
    return events_.slice(0, static_cast<std::int64_t>(begin), static_cast<std::int64_t>(end));
  }
  Tensor tensor(const std::vector<double>& theta) const {
    return to_tensor(theta).to(events_.device());
  }

  Jets graph_jets(const std::vector<double>& theta, std::size_t begin, std::size_t end) const {
    const at::AutoGradMode graph(true);
    ParameterisedRatio ratio = ratio_;
    const auto n = static_cast<std::int64_t>(end - begin),
               p = static_cast<std::int64_t>(theta.size());
    // A theta of its own for each event: one backward pass gives the derivatives of all.
    const Tensor leaf = tensor(theta).unsqueeze(0).expand({n, p}).clone().requires_grad_();
    const Tensor value = ratio->log_ratio(chunk(begin, end), leaf);
    Jets result;
    result.value = to_vector(value.detach());
    if (!value.requires_grad()) {
      result.gradient.assign(static_cast<std::size_t>(n * p), 0.0);
      result.hessian.assign(static_cast<std::size_t>(n * p * p), 0.0);
      return result;
    }
    const Tensor first = gradient(value.sum(), leaf, true);
    result.gradient = to_vector(first.detach());
    if (!first.requires_grad()) {
      result.hessian.assign(static_cast<std::size_t>(n * p * p), 0.0);
      return result;
    }
    std::vector<Tensor> second;
    for (std::int64_t a = 0; a < p; ++a) {
      second.push_back(gradient(first.select(1, a).sum(), leaf, a + 1 < p).detach());
    }
    result.hessian = to_vector(at::stack(second, 1));
    return result;
  }

  Jets polynomial_jets(const std::vector<double>& theta, std::size_t begin, std::size_t end,
                       bool derivatives) const {
    const std::size_t n = end - begin, p = theta.size(), terms = basis_.terms();
    const PolynomialJets m = basis_.jets(theta), c = calibration_.jets(theta);
    const auto dot = [](const double* x, const double* y, std::size_t size) {
      return std::inner_product(x, x + size, y, 0.0);
    };
    const std::size_t k = calibration_.terms();
    // log r = a f + b: both polynomials are multiplied once, not for each event.
    const double a = dot(slope_.data(), c.value.data(), k);
    std::vector<double> first(p * terms), second(p * p * terms), value(terms), da(p), db(p),
        dda(p * p), ddb(p * p);
    for (std::size_t i = 0; i < p; ++i) {
      da[i] = dot(slope_.data(), &c.gradient[i * k], k);
      db[i] = dot(offset_.data(), &c.gradient[i * k], k);
    }
    for (std::size_t i = 0; i < p * p; ++i) {
      dda[i] = dot(slope_.data(), &c.hessian[i * k], k);
      ddb[i] = dot(offset_.data(), &c.hessian[i * k], k);
    }
    for (std::size_t t = 0; t < terms; ++t) {
      value[t] = a * m.value[t];
      for (std::size_t i = 0; i < p; ++i) {
        first[i * terms + t] = a * m.gradient[i * terms + t] + da[i] * m.value[t];
        for (std::size_t j = 0; j < p; ++j) {
          const std::size_t ij = i * p + j;
          second[ij * terms + t] = a * m.hessian[ij * terms + t] +
                                   da[i] * m.gradient[j * terms + t] +
                                   da[j] * m.gradient[i * terms + t] + dda[ij] * m.value[t];
        }
      }
    }
    const double b = dot(offset_.data(), c.value.data(), k);
    Jets result;
    result.value.resize(n);
    if (derivatives) {
      result.gradient.resize(n * p);
      result.hessian.resize(n * p * p);
    }
    for (std::size_t i = 0; i < n; ++i) {
      const double* f = &coefficients_[(begin + i) * terms];
      result.value[i] = b + dot(f, value.data(), terms);
      if (!derivatives) continue;
      for (std::size_t j = 0; j < p; ++j) {
        result.gradient[i * p + j] = db[j] + dot(f, &first[j * terms], terms);
      }
      for (std::size_t j = 0; j < p * p; ++j) {
        result.hessian[i * p * p + j] = ddb[j] + dot(f, &second[j * terms], terms);
      }
    }
    return result;
  }

  ParameterisedRatio ratio_;
  Tensor events_;
  // Of a polynomial in theta.
  Polynomials basis_, calibration_;
  std::vector<double> slope_, offset_, coefficients_;
};

/// Function of t = log(1 + mu (r - 1)) that is summed over events.
enum class Term {
  likelihood,  ///< t
  data,        ///< -softplus(-t), the data's part of the weak cross entropy
  reference,   ///< -softplus(t), that of the reference
};

struct TermValue {
  double value, first, second;
};

TermValue evaluate_term(Term term, double t) {
  if (term == Term::likelihood) return {t, 1.0, 0.0};
  const double sign = term == Term::data ? -1.0 : 1.0;
  const double s = sign * t, e = std::exp(-std::abs(s));
  const double softplus = std::max(s, 0.0) + std::log1p(e);
  const double sigmoid = s >= 0.0 ? 1.0 / (1.0 + e) : e / (1.0 + e);
  return {-softplus, -sign * sigmoid, -sigmoid * (1.0 - sigmoid)};
}

/// Events with one or more ratios on them, and weights.
struct EventSet {
  std::vector<RatioOnEvents> ratios;
  std::vector<double> weights;  ///< empty: 1 each
};

/// Adds factor * sum_i w_i term(t_i) and its derivatives.
/// \param moments if not null: sum_i w_i^2 of the outer products of gradients is added [(1 + p)^2]
void add_sum(const EventSet& sample, double mu, const std::vector<double>& theta, Term term,
             double factor, PawsLikelihood::Point& sum, std::vector<double>* moments = nullptr) {
  const std::size_t p = theta.size(), v = p + 1;
  const double share_of_each = factor / static_cast<double>(sample.ratios.size());
  std::vector<double> t_first(v), t_second(v * v);
  for (const RatioOnEvents& ratio : sample.ratios) {
    for (std::size_t begin = 0; begin < ratio.size(); begin += RatioOnEvents::k_step) {
      const std::size_t end = std::min(begin + RatioOnEvents::k_step, ratio.size());
      const Jets jets = ratio.jets(theta, begin, end);
      for (std::size_t i = 0; i < end - begin; ++i) {
        const double l = jets.value[i];
        const double* l_first = &jets.gradient[i * p];
        const double* l_second = &jets.hessian[i * p * p];
        // The larger of both densities is taken out.
        const double e = std::exp(-std::abs(l));
        const double base = l > 0.0 ? e : 1.0, ratio_part = l > 0.0 ? 1.0 : e;
        const double slope = ratio_part - base, density = base + mu * slope;
        const double t = mu == 0.0 ? 0.0 : std::log(density) + std::max(l, 0.0);
        const double share = mu * ratio_part / density, u = slope / density;
        const double cross = base * ratio_part / (density * density);
        t_first[0] = u;
        t_second[0] = -u * u;
        for (std::size_t a = 0; a < p; ++a) {
          t_first[1 + a] = share * l_first[a];
          t_second[1 + a] = t_second[(1 + a) * v] = cross * l_first[a];
          for (std::size_t b = 0; b < p; ++b) {
            t_second[(1 + a) * v + 1 + b] =
                share * l_second[a * p + b] + share * (1.0 - share) * l_first[a] * l_first[b];
          }
        }
        const double weight =
            share_of_each * (sample.weights.empty() ? 1.0 : sample.weights[begin + i]);
        const TermValue f = evaluate_term(term, t);
        sum.value += weight * f.value;
        for (std::size_t a = 0; a < v; ++a) {
          sum.gradient[a] += weight * f.first * t_first[a];
          for (std::size_t b = 0; b < v; ++b) {
            sum.hessian[a * v + b] +=
                weight * (f.first * t_second[a * v + b] + f.second * t_first[a] * t_first[b]);
            if (moments == nullptr) continue;
            const double pull = weight * f.first;
            (*moments)[a * v + b] += pull * pull * t_first[a] * t_first[b];
          }
        }
      }
    }
  }
}

/// Bounds of theta, and what of it is held.
struct Box {
  std::vector<double> lower, upper, held;  ///< NaN: not held
};

Box box_of(const std::vector<ParameterInput>& parameters, const PawsOptions& options) {
  const std::size_t p = parameters.size();
  const auto check = [&](const std::vector<double>& values, const char* what) {
    require(values.empty() || values.size() == p,
            std::string(what) + " of " + std::to_string(p) + " parameters expected, found " +
                std::to_string(values.size()),
            k_where);
  };
  check(options.lower, "lower bounds");
  check(options.upper, "upper bounds");
  check(options.held, "values to hold");
  check(options.start, "a start");
  require(options.mu_upper > 0.0 && options.mu_upper <= 1.0,
          "a largest fraction above 0 and at most 1 expected", k_where);
  require(options.grid > 0 && options.starts > 0, "a grid and starts above 0 expected", k_where);
  Box box{options.lower, options.upper, options.held};
  if (box.held.empty()) box.held.assign(p, std::numeric_limits<double>::quiet_NaN());
  for (std::size_t a = 0; a < p; ++a) {
    if (options.lower.empty()) box.lower.push_back(parameters[a].low);
    if (options.upper.empty()) box.upper.push_back(parameters[a].high);
    require(box.lower[a] < box.upper[a], "an empty range of parameter '" + parameters[a].name + "'",
            k_where);
    require(std::isnan(box.held[a]) || (box.held[a] >= box.lower[a] && box.held[a] <= box.upper[a]),
            "parameter '" + parameters[a].name + "' is held outside of its range", k_where);
  }
  return box;
}

/// Points of theta in a box with the best fraction at each.
struct Grid {
  std::vector<std::vector<double>> theta;
  std::vector<std::vector<std::size_t>> place;  ///< along each axis
  std::vector<double> mu, log_likelihood, slope;
};

Grid make_grid(const Box& box, std::int64_t points) {
  const std::size_t p = box.lower.size();
  Grid grid{{{}}, {{}}, {}, {}, {}};
  for (std::size_t a = 0; a < p; ++a) {
    const std::size_t n = std::isnan(box.held[a]) ? static_cast<std::size_t>(points) : 1;
    require(grid.theta.size() * n <= k_most_points, "a grid of theta with too many points",
            k_where);
    Grid next;
    for (std::size_t i = 0; i < grid.theta.size(); ++i) {
      for (std::size_t k = 0; k < n; ++k) {
        // Centres of cells: the ends of the box are where the ratio is known worst.
        const double x = (static_cast<double>(k) + 0.5) / static_cast<double>(n);
        next.theta.push_back(grid.theta[i]);
        next.theta.back().push_back(std::isnan(box.held[a])
                                        ? box.lower[a] + x * (box.upper[a] - box.lower[a])
                                        : box.held[a]);
        next.place.push_back(grid.place[i]);
        next.place.back().push_back(k);
      }
    }
    grid = std::move(next);
  }
  return grid;
}

bool are_neighbours(const std::vector<std::size_t>& a, const std::vector<std::size_t>& b) {
  for (std::size_t k = 0; k < a.size(); ++k) {
    if (a[k] > b[k] + 1 || b[k] > a[k] + 1) return false;
  }
  return true;
}

/// Points to start from: maxima among their neighbours first, best first, then the others.
std::vector<std::size_t> starts_of(const Grid& grid, std::int64_t number) {
  const std::size_t n = grid.place.size();
  // Where no signal is preferred anywhere, the slope at mu = 0 tells where it is least unwelcome.
  const auto better = [&](std::size_t i, std::size_t j) {
    if (grid.log_likelihood[i] != grid.log_likelihood[j]) {
      return grid.log_likelihood[i] > grid.log_likelihood[j];
    }
    return grid.slope[i] > grid.slope[j];
  };
  std::vector<bool> top(n, true);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n && top[i]; ++j) {
      if (i != j && are_neighbours(grid.place[i], grid.place[j]) && better(j, i)) top[i] = false;
    }
  }
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) {
    return top[i] != top[j] ? top[i] : better(i, j);
  });
  order.resize(std::min(n, static_cast<std::size_t>(number)));
  return order;
}

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
  for (const RatioOnEvents& ratio : sample.ratios) {
    const std::vector<double> part = ratio.log_ratio(theta);
    l.insert(l.end(), part.begin(), part.end());
  }
  const auto number = static_cast<double>(sample.ratios.size());
  if (sample.ratios.size() > 1 || !sample.weights.empty()) {
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
  const Box box = box_of(parameters, options);
  const std::size_t p = parameters.size();
  Grid grid = make_grid(box, options.grid);
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
  std::vector<std::size_t> order = starts_of(grid, options.starts);
  if (!options.start.empty()) order.push_back(given);
  double events = 0.0;
  for (const double w : sample.weights) events += w;
  if (sample.weights.empty()) events = static_cast<double>(sample.ratios.front().size());
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
  result.q0 = std::max(0.0, 2.0 * result.log_likelihood);
  result.z = std::sqrt(result.q0);
  return result;
}

namespace {

EventSet make_sample(const std::vector<ParameterisedRatio>& ratios, const Tensor& events,
                     const Tensor& weights) {
  require(!ratios.empty(), "at least one ratio expected", k_where);
  require(events.dim() == 2 && events.size(0) > 0,
          "events [n, columns] expected, found " + shape_of(events), k_where);
  require(!weights.defined() || (weights.dim() == 1 && weights.size(0) == events.size(0)),
          "one weight per event expected", k_where);
  EventSet result;
  for (const ParameterisedRatio& ratio : ratios) {
    require(ratio->parameters() == ratios.front()->parameters(),
            "ratios of the same parameters expected", k_where);
    result.ratios.emplace_back(ratio, events);
  }
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

PawsLikelihood::PawsLikelihood(std::vector<ParameterisedRatio> ratios, const Tensor& events,
                               const Tensor& weights) {
  auto state = std::make_unique<State>();
  state->sample = make_sample(ratios, events, weights);
  state->parameters = ratios.front()->parameters();
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
  add_sum(state_->sample, mu, theta, Term::likelihood, 1.0, result);
  return result;
}

std::vector<double> PawsLikelihood::log_ratio(const std::vector<double>& theta,
                                              std::size_t ratio) const {
  require(theta.size() == parameters(), "theta of another length", k_where);
  require(ratio < state_->sample.ratios.size(), "no such ratio", k_where);
  return state_->sample.ratios[ratio].log_ratio(theta);
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
  add_sum(state_->sample, fit.mu, fit.theta, Term::likelihood, 1.0, sum, &moments);
  using Square = Eigen::Map<const Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic>>;
  const auto size = static_cast<Eigen::Index>(v);
  const Square inverse(fit.covariance.data(), size, size), middle(moments.data(), size, size);
  // All ratios see the same events: their scores are taken to be the same.
  const Eigen::MatrixXd result =
      static_cast<double>(state_->sample.ratios.size()) * inverse * middle * inverse;
  return {result.data(), result.data() + result.size()};
}

PawsCorrection correct_paws(const std::vector<ParameterisedRatio>& ratios, const PawsFit& fit,
                            const Tensor& signal, const Tensor& background,
                            const PawsOptions& options) {
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
  const Box box = box_of(ratios.front()->parameters(), options);
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
  for (std::size_t a = 0; a < added.size(); ++a) result.fit.covariance[a] += added[a];
  const auto enlarge = [&](double& error, std::size_t a) {
    if (error > 0.0) error = std::sqrt(result.fit.covariance[a * (p + 1) + a]);
  };
  enlarge(result.fit.mu_error, 0);
  for (std::size_t a = 0; a < p; ++a) enlarge(result.fit.theta_errors[a], a + 1);
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
  SignalFractionInterval result;
  result.drop = drop;
  const auto side = [&](double bound, bool& at_bound) {
    double inside = best.mu, outside = bound;
    const auto above = [&](const PawsFit& fit) {
      return fit.log_likelihood - best.log_likelihood + drop;
    };
    at_bound = bound == best.mu || above(likelihood.fit_at(bound, options)) >= 0.0;
    if (at_bound) return bound;
    const double guess = best.mu_error > 0.0 && std::isfinite(best.mu_error)
                             ? best.mu_error * std::sqrt(2.0 * drop)
                             : 0.01 * std::abs(bound - best.mu);
    double x = best.mu + std::copysign(guess, bound - best.mu);
    for (int i = 0; i < k_steps; ++i) {
      if (!(x > std::min(inside, outside) && x < std::max(inside, outside))) {
        x = 0.5 * (inside + outside);
      }
      const PawsFit fit = likelihood.fit_at(x, options);
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

EventSampler bootstrap_sampler(const Tensor& events) {
  require(events.dim() == 2 && events.size(0) > 0,
          "events [n, columns] expected, found " + shape_of(events), k_where);
  return [events](RandomStream& random) {
    const auto n = static_cast<double>(events.size(0));
    std::vector<std::int64_t> which(static_cast<std::size_t>(random.poisson(n)));
    for (std::int64_t& i : which) {
      i = std::min(static_cast<std::int64_t>(random.uniform() * n), events.size(0) - 1);
    }
    return events.index_select(0, to_tensor(which).to(events.device()));
  };
}

std::vector<PawsFit> run_paws_toys(const std::vector<ParameterisedRatio>& ratios,
                                   const EventSampler& sampler, const PawsToyOptions& options) {
  require(options.n_toys > 0, "a positive number of toys expected", k_where);
  require(!ratios.empty(), "at least one ratio expected", k_where);
  box_of(ratios.front()->parameters(), options.fit);
  std::vector<PawsFit> result(options.n_toys);
  at::parallel_for(
      0, static_cast<std::int64_t>(options.n_toys), 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          RandomStream random(options.seed, static_cast<std::uint64_t>(i), options.family);
          const Tensor events = sampler(random);
          PawsFit& fit = result[static_cast<std::size_t>(i)];
          if (events.size(0) == 0) {
            fit.message = "there are no events";
            continue;
          }
          fit = PawsLikelihood(ratios, events).fit(options.fit);
        }
      });
  return result;
}

ToyProbability paws_p_value(const std::vector<PawsFit>& toys, double q0) {
  std::size_t usable = 0, above = 0;
  for (const PawsFit& toy : toys) {
    if (!toy.converged()) continue;
    ++usable;
    if (toy.q0 >= q0) ++above;
  }
  return toy_fraction(above, usable);
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
    add_sum(state_->sample, x[0], theta, Term::data, 1.0, sum);
    add_sum(reference.state_->sample, x[0], theta, Term::reference, n / m, sum);
    negate_into(sum, gradient, hessian);
    return -sum.value - 2.0 * n * std::log(2.0);
  };
  PawsFit result = state_->fit(objective, options, nullptr);
  result.log_likelihood = evaluate(result.mu, result.theta).value;
  result.q0 = 0.0;
  result.z = 0.0;
  result.covariance.clear();
  result.mu_error = 0.0;
  std::fill(result.theta_errors.begin(), result.theta_errors.end(), 0.0);
  return result;
}

}  // namespace slalom
