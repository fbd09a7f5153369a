// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/goodness_of_fit.hpp"

#include <algorithm>
#include <boost/math/special_functions/gamma.hpp>
#include <cmath>
#include <numbers>

#include "toy_ensemble.hpp"

namespace slalom {

namespace {

/// Family of random numbers of these toys.
constexpr std::uint32_t k_family = 3;

/// log Poisson(n | n), without the cancellation of its terms for large n.
double log_poisson_at_mode(double n) {
  if (n <= 0.0) return 0.0;
  // n^n e^-n / Gamma(n + 1) is the derivative of the regularised gamma function P(n + 1, x) at n.
  return std::log(boost::math::gamma_p_derivative(n + 1.0, n));
}

double twice_gaussian_constant(double sigma) {
  return 2.0 * std::log(sigma) + std::log(2.0 * std::numbers::pi);
}

/// 2 log Poisson(n | n) - 2 log Poisson(n | rate) >= 0.
double poisson_deviance(double n, double rate) {
  return 2.0 * (n > 0.0 ? n * std::log(n / rate) + (rate - n) : rate);
}

/// -2 log of a constraint term at `value`, above its best value.
double constraint_deviance(const Parameter& p, double datum, double value) {
  if (p.constraint == ConstraintType::poisson) return poisson_deviance(datum, p.tau * value);
  const double pull = (datum - value) / p.sigma;
  return pull * pull;
}

/// -2 log of a constraint term at its datum, or at the parameter if that is held.
double twice_constraint(const Parameter& p, double datum, bool held, double value) {
  const double best = p.constraint == ConstraintType::gaussian ? twice_gaussian_constant(p.sigma)
                                                               : -2.0 * log_poisson_at_mode(datum);
  return held ? best + constraint_deviance(p, datum, value) : best;
}

void add_parts(const Model& model, const std::vector<double>& data, const FitResult& fit,
               GoodnessOfFit& result) {
  const ModelSpec& spec = model.spec();
  const std::vector<double> rates = model.expected_data(fit.parameters, false);
  for (const ChannelSpec& channel : spec.channels) {
    double sum = 0.0;
    for (std::size_t b = channel.first_bin; b < channel.first_bin + channel.n_bins; ++b) {
      sum += poisson_deviance(data[b], rates[b]);
    }
    result.channels.push_back(sum);
  }
  for (std::size_t i = 0; i < spec.auxiliary.size(); ++i) {
    const std::size_t p = spec.auxiliary[i];
    if (fit.fixed[p]) continue;
    result.constraints +=
        constraint_deviance(spec.parameters[p], data[spec.n_bins() + i], fit.parameters[p]);
  }
}

/// The toy of a fit. The saturated model takes the place of the free fit, and the fit that of the
/// conditional one: the statistic is their ratio, as everywhere.
Toy toy_of(const FitResult& fit, double saturated) {
  Toy toy;
  toy.done = true;
  toy.free_status = FitStatus::converged;
  toy.conditional_status = fit.status;
  toy.free_twice_nll = saturated;
  toy.conditional_twice_nll = fit.twice_nll;
  return toy;
}

/// Counts toys, collects their statistics, and says how many are as large as that of the data.
void summarise(const std::vector<Toy>& toys, ToyGoodnessOfFit& result) {
  result.toys.asked = toys.size();
  std::size_t above = 0;
  for (const Toy& toy : toys) {
    if (!toy.done) continue;
    ++result.toys.done;
    if (!toy.converged()) {
      ++result.toys.failed;
      continue;
    }
    result.samples.push_back(toy.t());
    if (toy.t() >= result.observed.statistic) ++above;
  }
  if (!result.samples.empty()) {
    const auto n = static_cast<double>(result.samples.size());
    const double p = static_cast<double>(above) / n;
    const double inside = std::clamp(p, 0.5 / n, 1.0 - 0.5 / n);
    result.p_value = {p, std::sqrt(inside * (1.0 - inside) / n)};
  }
  result.converged = result.toys.done == result.toys.asked && !result.samples.empty();
  if (result.toys.done < result.toys.asked) {
    result.message = "stopped after " + std::to_string(result.toys.done) + " of " +
                     std::to_string(result.toys.asked) + " toys";
  } else if (result.toys.failed > 0) {
    result.message = "the fits of " + std::to_string(result.toys.failed) + " of " +
                     std::to_string(result.toys.done) + " toys did not converge";
  }
}

}  // namespace

double saturated_twice_nll(const Model& model, const std::vector<double>& data,
                           const FitResult& fit) {
  const ModelSpec& spec = model.spec();
  const std::size_t n_bins = model.n_bins();
  if (data.size() != n_bins + model.n_auxiliary()) {
    throw Error(ErrorKind::model, "main and auxiliary data expected", "data");
  }
  double result = 0.0;
  for (std::size_t i = 0; i < n_bins; ++i) result -= 2.0 * log_poisson_at_mode(data[i]);
  for (std::size_t i = 0; i < spec.auxiliary.size(); ++i) {
    const std::size_t p = spec.auxiliary[i];
    result += twice_constraint(spec.parameters[p], data[n_bins + i], fit.fixed.at(p),
                               fit.parameters.at(p));
  }
  return result;
}

GoodnessOfFit goodness_of_fit(const Model& model, const std::vector<double>& data,
                              const FitResult& fit) {
  GoodnessOfFit result;
  result.saturated_twice_nll = saturated_twice_nll(model, data, fit);
  result.statistic = std::max(0.0, fit.twice_nll - result.saturated_twice_nll);
  result.bins = model.n_bins();
  for (std::size_t i = 0; i < model.n_parameters(); ++i) {
    const bool constrained = model.spec().parameters[i].constraint != ConstraintType::none;
    if (!constrained && !fit.fixed[i]) ++result.free_parameters;
  }
  result.degrees_of_freedom = result.bins - std::min(result.bins, result.free_parameters);
  result.p_value = 1.0;
  if (result.degrees_of_freedom > 0) {
    result.p_value = boost::math::gamma_q(0.5 * static_cast<double>(result.degrees_of_freedom),
                                          0.5 * result.statistic);
  }
  result.converged = fit.converged();
  add_parts(model, data, fit, result);
  return result;
}

ToyGoodnessOfFit goodness_of_fit_by_toys(Fitter& fitter, const ToyOptions& toys,
                                         const FitOptions& options) {
  const Model& model = fitter.model();
  const std::vector<double> data(fitter.data().begin(), fitter.data().end());
  const FitResult best = fitter.fit(options);
  ToyGoodnessOfFit result;
  result.observed = goodness_of_fit(model, data, best);
  if (!best.converged()) {
    result.message = "the fit of the data: " + best.message;
    return result;
  }
  ToyEnsemble ensemble;
  ensemble.parameters = best.parameters;
  ensemble.seed = toys.seed;
  ensemble.family = k_family;
  if (!toys.throw_auxiliary) {
    ensemble.auxiliary.assign(data.begin() + static_cast<std::ptrdiff_t>(model.n_bins()),
                              data.end());
  }
  if (toys.store != nullptr) ensemble.model = fingerprint(model.spec(), options);
  const auto make = [&](std::size_t index, Fitter& with) {
    RandomStream random(toys.seed, index, k_family);
    const std::vector<double> toy = throw_toy(model, best.parameters, random, ensemble.auxiliary);
    with.set_data(toy);
    const FitResult fit = fit_toy(with, best.parameters, options);
    return toy_of(fit, saturated_twice_nll(model, toy, fit));
  };
  summarise(detail::run_ensemble(model, ensemble, toys, make), result);
  return result;
}

}  // namespace slalom
