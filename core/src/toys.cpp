// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/toys.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "fit_state.hpp"
#include "parameter_of_interest.hpp"
#include "slalom/core/normal.hpp"
#include "toy_ensemble.hpp"
#include "toy_statistics.hpp"

namespace slalom {

namespace {

/// A fit below another one by more than this is a new minimum, not rounding.
constexpr double k_new_minimum = 1e-9;

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

/// Fit from `near`; if that fails, from the start of the options as well. The lower one.
FitResult fit_twice(Fitter& fitter, const FitOptions& options, const std::vector<double>& near) {
  FitOptions from_truth = options;
  from_truth.init = near;
  const FitResult fit = detail::run_fit(fitter, from_truth, detail::FirstFactor::reference);
  return fit.converged() ? fit : lower(fitter.fit(options), fit);
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
            const std::vector<double>& truth, std::size_t poi, bool keep_parameters) {
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
  if (keep_parameters) {
    toy.errors = fitter.errors(best);
    toy.errors.resize(best.parameters.size(), 0.0);  // there are none where the Hessian is singular
    toy.parameters = std::move(best.parameters);
  }
  return toy;
}

/// The data as if they were a toy.
Toy observed_toy(const FitResult& best, const FitResult& held, std::size_t poi) {
  Toy toy;
  toy.done = true;
  toy.free_status = best.status;
  toy.conditional_status = held.status;
  toy.poi = best.parameters[poi];
  toy.free_twice_nll = best.twice_nll;
  toy.conditional_twice_nll = held.twice_nll;
  return toy;
}

}  // namespace

FitResult fit_toy(Fitter& fitter, std::span<const double> truth, const FitOptions& options) {
  return fit_twice(fitter, options, inside_bounds(fitter.model().spec(), truth));
}

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

namespace {

std::vector<double> auxiliary_of(const Model& model, const ToyOptions& options) {
  if (options.throw_auxiliary) return {};
  if (!options.auxiliary.empty()) return options.auxiliary;
  const std::vector<double> data = model.spec().data();
  return {data.begin() + static_cast<std::ptrdiff_t>(model.n_bins()), data.end()};
}

}  // namespace

std::vector<Toy> run_toys(const Model& model, std::span<const double> parameters,
                          std::size_t parameter, double mu, const ToyOptions& options,
                          const FitOptions& fit, std::uint32_t family) {
  detail::require_floating(model, fit, parameter);
  FitOptions held = fit;
  held.fixed.emplace_back(parameter, mu);
  const std::vector<double> truth = inside_bounds(model.spec(), parameters);
  ToyEnsemble ensemble;
  ensemble.parameters.assign(parameters.begin(), parameters.end());
  ensemble.parameter = parameter;
  ensemble.value = mu;
  ensemble.seed = options.seed;
  ensemble.family = family;
  ensemble.auxiliary = auxiliary_of(model, options);
  ensemble.keep_parameters = options.keep_parameters;
  if (options.store != nullptr) ensemble.model = fingerprint(model.spec(), fit);
  return detail::run_ensemble(model, ensemble, options, [&](std::size_t index, Fitter& fitter) {
    RandomStream random(options.seed, index, family);
    fitter.set_data(throw_toy(model, parameters, random, ensemble.auxiliary));
    return fit_toy(fitter, fit, held, truth, parameter, options.keep_parameters);
  });
}

std::vector<Toy> run_toys(const Model& model, std::span<const double> parameters, double mu,
                          const ToyOptions& options, const FitOptions& fit, std::uint32_t family) {
  const std::size_t poi = detail::parameter_of_interest(model, fit);
  return run_toys(model, parameters, poi, mu, options, fit, family);
}

namespace {

/// Families of random numbers of the ensembles.
constexpr std::uint32_t k_tested_family = 1, k_alternative_family = 2;

/// Number of samples at least as large as `value`.
std::size_t count_above(const std::vector<double>& sorted, double value) {
  const auto first = std::lower_bound(sorted.begin(), sorted.end(), detail::least_above(value));
  return static_cast<std::size_t>(sorted.end() - first);
}

/// Samples at least as large as `value`, as a fraction.
double fraction_above(const std::vector<double>& sorted, double value) {
  if (sorted.empty()) return 0.0;
  return static_cast<double>(count_above(sorted, value)) / static_cast<double>(sorted.size());
}

std::vector<double> sorted(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values;
}

ToyProbability ratio(const ToyProbability& a, const ToyProbability& b) {
  if (b.value == 0.0) return {};
  const double value = a.value / b.value;
  return {value, std::hypot(a.error, value * b.error) / b.value};
}

/// Value of a fraction `p` of sorted values, interpolated between neighbours.
double quantile(const std::vector<double>& sorted, double p) {
  const double place = std::clamp(p, 0.0, 1.0) * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - std::floor(place)) * (sorted[above] - sorted[below]);
}

/// Probability below -2, -1, 0, 1, 2 sigma.
double normal_probability(std::size_t i) { return normal_cdf(static_cast<double>(i) - 2.0); }

/// CLs at every background toy, with the uncertainty of its quantiles: that of the place of the
/// quantile among the background toys, and that of CLs+b there.
void expect_cls(const std::vector<double>& signal, const std::vector<double>& background,
                ToyHypothesisTest& result) {
  std::vector<double> cls;
  cls.reserve(background.size());
  for (const double q : background) {
    cls.push_back(fraction_above(signal, q) / fraction_above(background, q));
  }
  if (cls.empty() || signal.empty()) return;
  std::sort(cls.begin(), cls.end());
  const auto n = static_cast<double>(cls.size());
  for (std::size_t i = 0; i < 5; ++i) {
    const double p = normal_probability(i);
    const double width = std::sqrt(p * (1.0 - p) / n);
    const double value = quantile(cls, p);
    const double place = 0.5 * (quantile(cls, p + width) - quantile(cls, p - width));
    // The toys with the larger statistic have the smaller CLs: p of them are beyond the quantile.
    const auto n_signal = static_cast<double>(signal.size());
    const double clsb = std::clamp(value * p, 0.5 / n_signal, 1.0 - 0.5 / n_signal);
    const double counting = std::sqrt(clsb * (1.0 - clsb) / n_signal) / p;
    result.cls_expected[i] = value;
    result.cls_expected_error[i] = std::hypot(place, counting);
  }
}

/// Nothing for a p-value of 0, and 0 for those above one half.
std::optional<double> significance(double p) {
  if (p <= 0.0) return std::nullopt;
  return std::max(0.0, -normal_quantile_of_log(std::log(p)));
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

ToyProbability toy_fraction(std::size_t k, std::size_t n) {
  if (n == 0) return {};
  const auto toys = static_cast<double>(n);
  const double p = static_cast<double>(k) / toys;
  const double inside = std::clamp(p, 0.5 / toys, 1.0 - 0.5 / toys);
  return {p, std::sqrt(inside * (1.0 - inside) / toys)};
}

std::array<double, 5> toy_band(std::vector<double> values) {
  std::array<double, 5> result{};
  if (values.empty()) return result;
  std::sort(values.begin(), values.end());
  for (std::size_t i = 0; i < 5; ++i) result[i] = quantile(values, normal_probability(i));
  return result;
}

ToyCalculator::ToyCalculator(Fitter& fitter, ToyOptions toys, FitOptions options,
                             TestStatistic statistic)
    : fitter_(fitter),
      toys_(std::move(toys)),
      options_(std::move(options)),
      statistic_(statistic),
      poi_(detail::parameter_of_interest(fitter.model(), options_)),
      best_(fitter.fit(options_)) {
  // What is not thrown stays as in the data of the fitter, which need not be those of the model.
  if (toys_.auxiliary.empty()) {
    const auto begin = fitter.data().begin() + static_cast<std::ptrdiff_t>(fitter.model().n_bins());
    toys_.auxiliary.assign(begin, fitter.data().end());
  }
}

double ToyCalculator::statistic(const Toy& toy, double mu) const {
  return is_two_sided(statistic_) ? toy.t() : toy.q(mu);
}

FitResult ToyCalculator::conditional(double mu) {
  FitOptions held = options_;
  held.fixed.emplace_back(poi_, mu);
  // Few fits of the data decide about many toys: both starts.
  FitResult fit = lower(fitter_.fit(held), fit_twice(fitter_, held, best_.parameters));
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
    result.samples.push_back(discovery ? toy.q0() : statistic(toy, mu));
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
  result.test_statistic = statistic(observed_toy(best_, at_mu, poi_), mu);
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
  result.clsb = toy_fraction(count_above(s, result.test_statistic), s.size());
  result.clb = toy_fraction(count_above(b, result.test_statistic), b.size());
  result.cls = ratio(result.clsb, result.clb);
  expect_cls(s, b, result);
  result.converged = signal.complete && background.complete && !s.empty() && !b.empty();
  result.message = summary(result.signal, result.background);
  return result;
}

ToyDiscoveryTest ToyCalculator::discovery() {
  ToyDiscoveryTest result;
  const FitResult at_zero = conditional(0.0);
  const FitResult at_one = conditional(1.0);
  result.test_statistic = observed_toy(best_, at_zero, poi_).q0();
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
  result.p0 = toy_fraction(count_above(b, result.test_statistic), b.size());
  std::vector<double> p0;
  for (double q : signal.samples) p0.push_back(fraction_above(b, q));
  result.p0_band = toy_band(std::move(p0));
  result.z = significance(result.p0.value);
  result.z_expected = significance(result.p0_band[2]);
  result.converged =
      background.complete && signal.complete && !b.empty() && !signal.samples.empty();
  result.message = summary(result.background, result.signal);
  return result;
}

}  // namespace slalom
