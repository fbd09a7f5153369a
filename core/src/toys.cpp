// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/toys.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "parallel_fits.hpp"
#include "parameter_of_interest.hpp"

namespace slalom {

namespace {

/// A fit below another one by more than this is a new minimum, not rounding.
constexpr double k_new_minimum = 1e-9;

/// Statistics of toys and data that agree to this are equal: fits end there.
constexpr double k_tie = 1e-7;

/// The lower of two fits; one that did not converge counts only if both did not.
const FitResult& lower(const FitResult& a, const FitResult& b) {
  const bool better =
      b.converged() && (!a.converged() || b.twice_nll < a.twice_nll - k_new_minimum);
  return better ? b : a;
}

/// `point` with held parameters where they are held and all others inside their bounds.
std::vector<double> inside_bounds(const ModelSpec& spec, std::span<const double> point) {
  std::vector<double> result(point.begin(), point.end());
  for (std::size_t i = 0; i < result.size(); ++i) {
    const Parameter& p = spec.parameters[i];
    if (!p.fixed) result[i] = std::clamp(result[i], p.lower, p.upper);
  }
  return result;
}

/// Fit from the start of the options, and from `near`; the lower one.
FitResult fit_twice(Fitter& fitter, const FitOptions& options, const std::vector<double>& near) {
  const FitResult cold = fitter.fit(options);
  FitOptions warm = options;
  warm.init = near;
  warm.search_minima = false;
  return lower(cold, fitter.fit(warm));
}

/// Fit from a point that is near the minimum.
FitResult fit_near(Fitter& fitter, const FitOptions& options, const std::vector<double>& near) {
  FitOptions warm = options;
  warm.init = near;
  warm.search_minima = false;
  warm.warm_start = true;
  return fitter.fit(warm);
}

/// Both fits of one toy.
Toy fit_toy(Fitter& fitter, const FitOptions& options, const FitOptions& held,
            const std::vector<double>& truth, std::size_t poi) {
  FitResult best = fit_twice(fitter, options, truth);
  FitResult at_mu = fit_twice(fitter, held, truth);
  if (at_mu.converged() && !(best.twice_nll <= at_mu.twice_nll)) {
    const std::vector<double> start = inside_bounds(fitter.model().spec(), at_mu.parameters);
    best = lower(best, fit_near(fitter, options, start));
  }
  Toy toy;
  toy.done = true;
  toy.free_status = best.status;
  toy.conditional_status = at_mu.status;
  toy.poi = best.parameters[poi];
  toy.free_twice_nll = best.twice_nll;
  toy.conditional_twice_nll = at_mu.twice_nll;
  return toy;
}

double limit_statistic(double poi, double t, double mu) { return poi <= mu ? t : 0.0; }
double discovery_statistic(double poi, double t) { return poi >= 0.0 ? t : 0.0; }

}  // namespace

double Toy::t() const { return std::max(0.0, conditional_twice_nll - free_twice_nll); }

std::vector<double> throw_toy(const Model& model, std::span<const double> parameters,
                              RandomStream& random, std::span<const double> auxiliary) {
  std::vector<double> data = model.expected_data(parameters);
  const ModelSpec& spec = model.spec();
  const std::size_t n_bins = model.n_bins();
  if (!auxiliary.empty() && auxiliary.size() != model.n_auxiliary()) {
    throw Error(ErrorKind::model, "one value per auxiliary datum expected", "auxiliary");
  }
  for (std::size_t i = 0; i < data.size(); ++i) {
    const Parameter* p = i < n_bins ? nullptr : &spec.parameters[spec.auxiliary[i - n_bins]];
    if (p != nullptr && !auxiliary.empty()) {
      data[i] = auxiliary[i - n_bins];
    } else if (p != nullptr && p->constraint == ConstraintType::gaussian) {
      data[i] += p->sigma * random.normal();
    } else {
      data[i] = random.poisson(data[i]);
    }
  }
  return data;
}

std::vector<Toy> run_toys(const Model& model, std::span<const double> parameters, double mu,
                          const ToyOptions& options, const FitOptions& fit, std::uint32_t family) {
  const std::size_t poi = detail::parameter_of_interest(model, fit);
  FitOptions held = fit;
  held.fixed.emplace_back(poi, mu);
  const std::vector<double> truth = inside_bounds(model.spec(), parameters);
  const std::vector<double> observed = model.spec().data();
  const std::span<const double> auxiliary =
      options.throw_auxiliary ? std::span<const double>()
                              : std::span<const double>(observed).subspan(model.n_bins());
  std::vector<Toy> toys(options.n_toys);
  const auto task = [&](std::size_t i, Fitter& fitter) {
    RandomStream random(options.seed, options.first + i, family);
    fitter.set_data(throw_toy(model, parameters, random, auxiliary));
    toys[i] = fit_toy(fitter, fit, held, truth, poi);
  };
  detail::parallel_fits(model, toys.size(), options.threads, options.progress, task);
  return toys;
}

namespace {

/// Families of random numbers of the ensembles.
constexpr std::uint32_t k_tested_family = 1, k_alternative_family = 2;

/// Samples at least as large as `value`, as a fraction.
double fraction_above(const std::vector<double>& sorted, double value) {
  if (sorted.empty()) return 0.0;
  const double least = value - k_tie * (1.0 + std::abs(value));
  const auto first = std::lower_bound(sorted.begin(), sorted.end(), least);
  return static_cast<double>(sorted.end() - first) / static_cast<double>(sorted.size());
}

std::vector<double> sorted(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values;
}

ToyProbability probability(double p, std::size_t n) {
  if (n == 0) return {};
  const auto toys = static_cast<double>(n);
  const double inside = std::clamp(p, 0.5 / toys, 1.0 - 0.5 / toys);
  return {p, std::sqrt(inside * (1.0 - inside) / toys)};
}

ToyProbability ratio(const ToyProbability& a, const ToyProbability& b) {
  if (b.value == 0.0) return {};
  const double value = a.value / b.value;
  return {value, std::hypot(a.error, value * b.error) / b.value};
}

/// Quantiles at -2, ... 2 sigma of a normal distribution, interpolated between values.
std::array<double, 5> band(std::vector<double> values) {
  std::array<double, 5> result{};
  if (values.empty()) return result;
  std::sort(values.begin(), values.end());
  for (std::size_t i = 0; i < 5; ++i) {
    const double p = 0.5 * std::erfc((2.0 - static_cast<double>(i)) / std::sqrt(2.0));
    const double place = p * static_cast<double>(values.size() - 1);
    const auto below = static_cast<std::size_t>(place);
    const std::size_t above = std::min(below + 1, values.size() - 1);
    result[i] = values[below] + (place - std::floor(place)) * (values[above] - values[below]);
  }
  return result;
}

std::string summary(const ToyCounts& tested, const ToyCounts& alternative) {
  const std::size_t failed = tested.failed + alternative.failed;
  const std::size_t done = tested.done + alternative.done;
  const std::size_t asked = tested.asked + alternative.asked;
  std::string text;
  if (done < asked) {
    text = "stopped after " + std::to_string(done) + " of " + std::to_string(asked) + " toys";
  }
  if (failed > 0) {
    text += text.empty() ? "" : "; ";
    text += "the fits of " + std::to_string(failed) + " of " + std::to_string(done) +
            " toys did not converge; they are left out";
  }
  return text;
}

}  // namespace

ToyCalculator::ToyCalculator(Fitter& fitter, ToyOptions toys, FitOptions options)
    : fitter_(fitter),
      toys_(std::move(toys)),
      options_(std::move(options)),
      poi_(detail::parameter_of_interest(fitter.model(), options_)),
      best_(fitter.fit(options_)) {}

FitResult ToyCalculator::conditional(double mu) {
  FitOptions held = options_;
  held.fixed.emplace_back(poi_, mu);
  FitResult fit = fit_twice(fitter_, held, best_.parameters);
  if (fit.converged() && fit.twice_nll < best_.twice_nll - k_new_minimum) {
    const std::vector<double> start = inside_bounds(fitter_.model().spec(), fit.parameters);
    best_ = FitResult(lower(best_, fit_near(fitter_, options_, start)));
  }
  return fit;
}

/// Toys at a conditional fit, with their statistic for the test of mu.
ToyCalculator::Ensemble ToyCalculator::ensemble(const FitResult& truth, double mu, bool discovery,
                                                std::uint32_t family) {
  Ensemble result;
  result.counts.asked = toys_.n_toys;
  const std::vector<Toy> toys =
      run_toys(fitter_.model(), truth.parameters, mu, toys_, options_, family);
  for (const Toy& toy : toys) {
    if (!toy.done) continue;
    ++result.counts.done;
    if (!toy.converged()) {
      ++result.counts.failed;
      continue;
    }
    result.samples.push_back(discovery ? discovery_statistic(toy.poi, toy.t())
                                       : limit_statistic(toy.poi, toy.t(), mu));
  }
  result.complete = result.counts.done == result.counts.asked;
  return result;
}

ToyHypothesisTest ToyCalculator::test(double mu) {
  if (!std::isfinite(mu)) throw Error(ErrorKind::model, "the tested value must be finite", "mu");
  ToyHypothesisTest result;
  result.mu = mu;
  const FitResult at_mu = conditional(mu);
  const FitResult at_zero = conditional(0.0);
  const double t = std::max(0.0, at_mu.twice_nll - best_.twice_nll);
  result.test_statistic = limit_statistic(best_.parameters[poi_], t, mu);
  if (!best_.converged() || !at_mu.converged() || !at_zero.converged()) {
    result.message = "a fit of the data did not converge";
    return result;
  }
  const Ensemble signal = ensemble(at_mu, mu, false, k_tested_family);
  const Ensemble background =
      signal.complete ? ensemble(at_zero, mu, false, k_alternative_family) : Ensemble{};
  result.signal = signal.counts;
  result.background = background.counts;
  result.background.asked = toys_.n_toys;
  result.signal_samples = signal.samples;
  result.background_samples = background.samples;
  const std::vector<double> s = sorted(signal.samples), b = sorted(background.samples);
  result.clsb = probability(fraction_above(s, result.test_statistic), s.size());
  result.clb = probability(fraction_above(b, result.test_statistic), b.size());
  result.cls = ratio(result.clsb, result.clb);
  std::vector<double> cls;
  for (double q : b) cls.push_back(fraction_above(s, q) / fraction_above(b, q));
  result.cls_expected = band(std::move(cls));
  result.converged = signal.complete && background.complete && !s.empty() && !b.empty();
  result.message = summary(result.signal, result.background);
  return result;
}

ToyDiscoveryTest ToyCalculator::discovery() {
  ToyDiscoveryTest result;
  const FitResult at_zero = conditional(0.0);
  const FitResult at_one = conditional(1.0);
  const double t = std::max(0.0, at_zero.twice_nll - best_.twice_nll);
  result.test_statistic = discovery_statistic(best_.parameters[poi_], t);
  if (!best_.converged() || !at_zero.converged() || !at_one.converged()) {
    result.message = "a fit of the data did not converge";
    return result;
  }
  const Ensemble background = ensemble(at_zero, 0.0, true, k_tested_family);
  const Ensemble signal =
      background.complete ? ensemble(at_one, 0.0, true, k_alternative_family) : Ensemble{};
  result.background = background.counts;
  result.signal = signal.counts;
  result.signal.asked = toys_.n_toys;
  result.background_samples = background.samples;
  result.signal_samples = signal.samples;
  const std::vector<double> b = sorted(background.samples);
  result.p0 = probability(fraction_above(b, result.test_statistic), b.size());
  std::vector<double> p0;
  for (double q : signal.samples) p0.push_back(fraction_above(b, q));
  result.p0_band = band(std::move(p0));
  result.converged =
      background.complete && signal.complete && !b.empty() && !signal.samples.empty();
  result.message = summary(result.background, result.signal);
  return result;
}

}  // namespace slalom
