// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/sensitivity.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <functional>
#include <numbers>
#include <utility>

#include "fit_state.hpp"
#include "parameter_of_interest.hpp"
#include "slalom/core/normal.hpp"

namespace slalom {

namespace {

/// A fit below another one by more than this is a new minimum, not rounding.
constexpr double k_new_minimum = 1e-9;
/// Where variations cancel the nominal yields of a bin to this fraction, too few digits of its rate
/// are left for third derivatives.
constexpr double k_vanishing_rate = 1e-8;

/// phi(x) / Phi(x), the derivative of log Phi.
double mills(double x) {
  static const double log_sqrt_two_pi = 0.5 * std::log(2.0 * std::numbers::pi);
  return std::exp(-0.5 * x * x - log_sqrt_two_pi - log_normal_cdf(x));
}

/// log CLs with its derivatives by q of the data and by q of the Asimov data.
struct LogCls {
  double value, d_q, d_asimov;
};

LogCls log_cls_of(double q, double q_asimov, TestStatistic statistic) {
  const double s = std::sqrt(q), a = std::sqrt(q_asimov);
  double by_s = 0.0, by_a = 0.0;
  LogCls result{0.0, 0.0, 0.0};
  if (statistic == TestStatistic::qtilde && s > a && a > 0.0) {
    const double low = -(q + q_asimov) / (2.0 * a), high = -(q - q_asimov) / (2.0 * a);
    result.value = log_normal_cdf(low) - log_normal_cdf(high);
    by_s = (mills(high) - mills(low)) * s / a;
    by_a = mills(low) * (0.5 * q / q_asimov - 0.5) - mills(high) * (0.5 * q / q_asimov + 0.5);
  } else {
    result.value = log_normal_cdf(-s) - log_normal_cdf(a - s);
    by_s = mills(a - s) - mills(-s);
    by_a = -mills(a - s);
  }
  // A statistic of 0 is the flat side of max(0, .).
  if (s > 0.0) result.d_q = by_s / (2.0 * s);
  if (a > 0.0) result.d_asimov = by_a / (2.0 * a);
  return result;
}

/// Derivatives of a figure, by the inputs but data and by data.
struct Cotangents {
  std::vector<double> inputs;
  std::vector<double> data;
};

/// Value and slope of a falling function.
struct FallingPoint {
  double value = 0.0;
  double slope = 0.0;
  std::string failure{};
};

using Falling = std::function<FallingPoint(double)>;

/// Root above `low`, where the function is positive, by Newton's method within a bracket. On
/// failure the reason is in `failure`. The last call of `f` is at the root.
double falling_root(const Falling& f, double low, double guess, std::string& failure) {
  constexpr double k_precision = 1e-10;
  constexpr double k_good_enough = 1e-8;  // where rounding of -2 log L keeps steps from shrinking
  double lower = low, upper = 0.0, x = guess;
  bool bracketed = false;
  for (int i = 0; i < 100; ++i) {
    const FallingPoint p = f(x);
    if (!p.failure.empty()) {
      failure = p.failure;
      return x;
    }
    if (p.value > 0.0) {
      lower = x;
    } else {
      upper = x;
      bracketed = true;
    }
    double next = p.slope < 0.0 ? x - p.value / p.slope : lower;
    if (std::abs(next - x) <= k_precision * std::abs(x)) return x;
    if (i > 40 && std::abs(p.value) < k_good_enough) return x;
    const double farthest = bracketed ? upper : low + 4.0 * (x - low);
    if (!(next > lower && next < farthest)) {
      next = bracketed ? 0.5 * (lower + upper) : low + 2.0 * (x - low);
    }
    x = next;
  }
  failure = "no limit was found";
  return x;
}

std::string failure_of(const char* what, const FitResult& fit) {
  return fit.converged() ? "" : std::string(what) + ": " + fit.message;
}

void check_length(std::size_t expected, std::size_t found, const char* what) {
  if (found == 0 || found == expected) return;
  throw Error(ErrorKind::model,
              std::to_string(expected) + " values expected, found " + std::to_string(found), what);
}

void add(std::vector<double>& sum, double weight, std::span<const double> terms) {
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += weight * terms[i];
}

}  // namespace

/// The fits, and the steps of the chain rule backwards through them.
struct SensitivityCalculator::Fits {
  /// Asimov data with the fit that they are expected at.
  struct Asimov {
    double mu;
    FitResult truth;
    std::vector<double> data;
    double twice_nll;  ///< at the truth, which is the best fit
    std::string failure;
  };
  /// A conditional fit of Asimov data and the statistic.
  struct AsimovTest {
    FitResult fit;
    double q;
  };

  Model model;
  SensitivityOptions options;
  std::size_t poi;
  Fitter fitter;
  detail::EngineState state;
  TemplateDerivatives templates;
  std::vector<double> origin;      ///< data that do not depend on anything
  std::vector<double> data;        ///< those of the fits
  std::vector<double> stationary;  ///< see data_of()
  std::optional<FitResult> best;
  std::deque<Asimov> asimovs;
  bool owns_model = false;  ///< no other model shares the arrays

  Fits(const Model& m, SensitivityOptions o)
      : model(m),
        options(std::move(o)),
        poi(detail::parameter_of_interest(m, options.fit)),
        fitter(m),
        state(model.engine(), false),
        templates(m) {
    restart();
  }

  /// Forgets all results.
  void restart() {
    origin = options.data.empty() ? model.spec().data() : options.data;
    check_length(model.n_bins() + model.n_auxiliary(), origin.size(), "data");
    check_length(model.n_parameters(), options.asimov_point.size(), "asimov_point");
    best.reset();
    asimovs.clear();
    data = options.asimov_point.empty() ? origin : expected_data(options.asimov_point);
    fitter.set_data(data);
  }

  /// The same as Model::expected_data() without memory of its own.
  std::vector<double> expected_data(const std::vector<double>& point) {
    std::vector<double> result(model.n_bins() + model.n_auxiliary());
    expected_main(point, result);
    std::size_t next = model.n_bins();
    for (const std::size_t i : model.spec().auxiliary) {
      const Parameter& p = model.spec().parameters[i];
      result[next++] = p.constraint == ConstraintType::poisson ? p.tau * point[i] : point[i];
    }
    return result;
  }

  void expected_main(const std::vector<double>& point, std::span<double> rates) {
    state.set_parameters(point);
    state.engine.kernels->rates(state.engine.arrays, state.arrays);
    for (const detail::ChannelLayout& c : state.engine.channels) {
      std::copy_n(state.arrays.rate + c.bin0, c.n_bins,
                  rates.begin() + static_cast<std::ptrdiff_t>(c.data0));
    }
  }

  double logpdf(const std::vector<double>& point, const std::vector<double>& of) {
    state.set_data(of);
    state.set_parameters(point);
    return state.evaluate(detail::Mode::full, detail::Level::value) ? -state.arrays.nll : -INFINITY;
  }

  // --- fits

  FitResult conditional(double mu, const std::vector<double>& near) {
    FitOptions how = options.fit;
    how.fixed.emplace_back(poi, mu);
    FitOptions warm = how;
    warm.init = near;
    warm.warm_start = true;
    warm.search_minima = false;
    if (!options.fit.search_minima && !near.empty()) {
      FitResult fit = fitter.fit(warm);
      if (fit.converged()) return fit;
    }
    FitResult fit = fitter.fit(how);
    if (near.empty() || !options.fit.search_minima) return fit;
    FitResult other = fitter.fit(warm);
    const bool better =
        other.converged() && (!fit.converged() || other.twice_nll < fit.twice_nll - k_new_minimum);
    return better ? other : fit;
  }

  const FitResult& free_fit() {
    if (!best) best = fitter.fit(options.fit);
    return *best;
  }

  /// Conditional fit of the data; the free fit follows where it is lower.
  FitResult at(double mu) {
    FitResult fit = conditional(mu, free_fit().parameters);
    if (!fit.converged() || !(fit.twice_nll < best->twice_nll - k_new_minimum)) return fit;
    const Parameter& p = model.spec().parameters[poi];
    FitOptions how = options.fit;
    how.init = fit.parameters;
    how.init[poi] = std::clamp(how.init[poi], p.lower, p.upper);
    FitResult better = fitter.fit(how);
    if (better.converged() && better.twice_nll < best->twice_nll) best = std::move(better);
    return fit;
  }

  /// Data that are those expected somewhere have their lowest minimum there.
  bool expected_at_asimov_point(double mu) const {
    if (options.asimov_point.empty() || options.asimov_point[poi] != mu) return false;
    const std::vector<Parameter>& parameters = model.spec().parameters;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const double value = options.asimov_point[i];
      if (value < parameters[i].lower || value > parameters[i].upper) return false;
    }
    return std::all_of(options.fit.fixed.begin(), options.fit.fixed.end(), [&](const auto& held) {
      return options.asimov_point[held.first] == held.second;
    });
  }

  /// Conditional fit of the data, at which the Asimov data are expected.
  FitResult asimov_truth(double mu) {
    if (expected_at_asimov_point(mu)) {
      FitOptions how = options.fit;
      how.fixed.emplace_back(poi, mu);
      how.init = options.asimov_point;
      how.warm_start = true;
      how.search_minima = false;
      FitResult fit = fitter.fit(how);
      if (fit.converged()) return fit;
    }
    return options.fit.search_minima ? at(mu) : conditional(mu, {});
  }

  const Asimov& asimov(double mu) {
    for (const Asimov& known : asimovs) {
      if (known.mu == mu) return known;
    }
    Asimov made{mu, asimov_truth(mu), {}, 0.0, {}};
    made.failure = failure_of("the fit for the Asimov data", made.truth);
    if (made.failure.empty()) {
      made.data = expected_data(made.truth.parameters);
      made.twice_nll = -2.0 * logpdf(made.truth.parameters, made.data);
      if (!std::isfinite(made.twice_nll)) made.failure = "the Asimov data are negative in some bin";
    }
    asimovs.push_back(std::move(made));
    return asimovs.back();
  }

  AsimovTest test_asimov(const Asimov& asimov, double mu, const std::vector<double>& near) {
    fitter.set_data(asimov.data);
    AsimovTest test{conditional(mu, near), 0.0};
    fitter.set_data(data);
    test.q = std::max(0.0, test.fit.twice_nll - asimov.twice_nll);
    return test;
  }

  /// The data of a fit, or those of which it is an ordinary minimum if it is where the likelihood
  /// ends: all derivatives at a fit are by these.
  const std::vector<double>& data_of(const FitResult& fit, const std::vector<double>& of) {
    if (fit.empty_bins.empty()) return of;
    stationary = stationary_data(model, of, fit);
    return stationary;
  }

  /// d(-2 log L) / d mu at a conditional fit.
  double slope(const FitResult& fit, const std::vector<double>& of) {
    state.set_data(data_of(fit, of));
    state.set_parameters(fit.parameters);
    state.evaluate(detail::Mode::full, detail::Level::gradient);
    const detail::ParameterPlace place = state.engine.places[poi];
    return 2.0 * (place.local ? state.arrays.local_gradient : state.arrays.gradient)[place.index];
  }

  // --- chain rule

  std::size_t n_templates() const { return templates.size() - data.size(); }
  Cotangents none() const {
    return {std::vector<double>(n_templates(), 0.0), std::vector<double>(data.size(), 0.0)};
  }
  void add_inputs(double weight, const std::vector<double>& all, Cotangents& c) const {
    add(c.inputs, weight, all);
    add(c.data, weight, std::span(all).subspan(n_templates()));
  }

  /// weight * (-2 log L) at an optimum.
  void add_twice_nll(double weight, const FitResult& fit, const std::vector<double>& of,
                     Cotangents& c) {
    if (weight == 0.0) return;
    add_inputs(-2.0 * weight, templates.logpdf(fit.parameters, data_of(fit, of)), c);
  }

  /// weights * data expected at `point`; returns what that means for the point.
  std::vector<double> add_expected(const std::vector<double>& point,
                                   const std::vector<double>& weights, Cotangents& c) const {
    const std::span<const double> main = std::span(weights).first(model.n_bins());
    RateDerivatives rates = templates.rates(point, main);
    add(c.inputs, 1.0, rates.inputs);
    std::vector<double> result = std::move(rates.parameters);
    const std::vector<std::size_t>& auxiliary = model.spec().auxiliary;
    for (std::size_t i = 0; i < auxiliary.size(); ++i) {
      const Parameter& p = model.spec().parameters[auxiliary[i]];
      const double weight = weights[model.n_bins() + i];
      if (p.constraint == ConstraintType::poisson) {
        c.inputs[c.inputs.size() - auxiliary.size() + i] += weight * point[auxiliary[i]];
        result[auxiliary[i]] += p.tau * weight;
      } else {
        result[auxiliary[i]] += weight;
      }
    }
    return result;
  }

  /// weights * parameters of a fit. \return false without a positive Hessian
  bool add_fit(const FitResult& fit, const std::vector<double>& of,
               const std::vector<double>& weights, Cotangents& c) {
    fitter.set_data(of);
    const std::vector<double> direction = fitter.solve(fit, weights);
    fitter.set_data(data);
    if (direction.empty()) return false;
    add_inputs(1.0, templates.logpdf_mixed(fit.parameters, data_of(fit, of), direction), c);
    return true;
  }

  /// Names a bin with events whose rate is what is left of much larger yields, or "". The
  /// curvature there is n / rate^2: nothing that hangs on it can be trusted.
  std::string vanishing_rate(const FitResult& fit, const std::vector<double>& of) {
    std::vector<double> rates(model.n_bins());
    expected_main(fit.parameters, rates);
    for (const ChannelSpec& channel : model.spec().channels) {
      for (std::size_t b = 0; b < channel.n_bins; ++b) {
        double nominal = 0.0;
        for (const SampleSpec& sample : channel.samples) nominal += std::abs(sample.nominal[b]);
        const double rate = rates[channel.first_bin + b];
        if (of[channel.first_bin + b] > 0.0 && rate <= k_vanishing_rate * nominal) {
          return "the expected rate in bin " + std::to_string(b) + " of channel '" + channel.name +
                 "' almost vanishes against its yields: the curvature is not known";
        }
      }
    }
    return "";
  }

  /// sigma of the POI at a point; `theta` is what moving the point does. \return 0 without one
  double add_error(const FitResult& fit, const std::vector<double>& of, Cotangents& c,
                   std::vector<double>& theta) {
    std::vector<double> unit(model.n_parameters(), 0.0);
    unit[poi] = 1.0;
    fitter.set_data(of);
    const std::vector<double> v = fitter.solve(fit, unit);
    fitter.set_data(data);
    if (v.empty() || !(v[poi] > 0.0)) return 0.0;
    const double sigma = std::sqrt(v[poi]);
    const LogpdfCurvature curvature =
        templates.logpdf_curvature(fit.parameters, data_of(fit, of), v);
    add_inputs(0.5 / sigma, curvature.inputs, c);
    theta.assign(model.n_parameters(), 0.0);
    add(theta, 0.5 / sigma, curvature.parameters);
    return sigma;
  }

  /// What derivatives by Asimov data, and by the point they are expected at, mean.
  bool add_asimov(const Asimov& asimov, const Cotangents& of_asimov, std::vector<double> theta,
                  Cotangents& c) {
    add(c.inputs, 1.0, of_asimov.inputs);
    const std::vector<double> by_data = add_expected(asimov.truth.parameters, of_asimov.data, c);
    if (theta.empty()) theta.assign(by_data.size(), 0.0);
    add(theta, 1.0, by_data);
    return add_fit(asimov.truth, data, theta, c);
  }

  Sensitivity failed(const std::string& message) const {
    return {0.0, std::vector<double>(templates.size(), 0.0), false, message};
  }
  Sensitivity no_hessian() const { return failed("the Hessian at a best fit is not positive"); }

  /// A figure, once its derivatives by templates and by the data of the fits are known.
  Sensitivity finish(double value, Cotangents c) {
    if (!options.asimov_point.empty()) {
      const std::vector<double> by_data = std::exchange(c.data, std::vector<double>(data.size()));
      const std::vector<double> theta = add_expected(options.asimov_point, by_data, c);
      if (options.asimov_fit && !add_fit(*options.asimov_fit, origin, theta, c)) {
        return no_hessian();
      }
    }
    c.inputs.insert(c.inputs.end(), c.data.begin(), c.data.end());
    const auto finite = [](double x) { return std::isfinite(x); };
    if (!std::isfinite(value) || !std::all_of(c.inputs.begin(), c.inputs.end(), finite)) {
      return failed("a derivative is not finite");
    }
    return {value, std::move(c.inputs), true, ""};
  }

  // --- figures

  /// sqrt(q0) of the data, or log p0.
  Sensitivity discovery(bool log_p) {
    const FitResult at_zero = at(0.0);
    for (const std::string& text :
         {failure_of("the free fit", *best), failure_of("the fit at mu = 0", at_zero)}) {
      if (!text.empty()) return failed(text);
    }
    double q = std::max(0.0, at_zero.twice_nll - best->twice_nll);
    if (best->parameters[poi] <= 0.0)
      q = 0.0;  // at the bound both fits are the same but for rounding
    const double z = std::sqrt(q);
    const double weight = z > 0.0 ? (log_p ? -mills(-z) : 1.0) / (2.0 * z) : 0.0;
    Cotangents c = none();
    add_twice_nll(weight, at_zero, data, c);
    add_twice_nll(-weight, *best, data, c);
    return finish(log_p ? log_normal_cdf(-z) : z, std::move(c));
  }

  Sensitivity expected_discovery(double mu, bool log_p) {
    const Asimov& signal = asimov(mu);
    if (!signal.failure.empty()) return failed(signal.failure);
    const AsimovTest zero = test_asimov(signal, 0.0, signal.truth.parameters);
    if (!zero.fit.converged()) return failed(failure_of("the fit of the Asimov data", zero.fit));
    const double z = std::sqrt(zero.q);
    const double weight = z > 0.0 ? (log_p ? -mills(-z) : 1.0) / (2.0 * z) : 0.0;
    Cotangents c = none(), of_asimov = none();
    add_asimov_statistic(weight, signal, zero, of_asimov);
    if (!add_asimov(signal, of_asimov, {}, c)) return no_hessian();
    return finish(log_p ? log_normal_cdf(-z) : z, std::move(c));
  }

  void add_asimov_statistic(double weight, const Asimov& asimov, const AsimovTest& test,
                            Cotangents& c) {
    if (weight == 0.0) return;
    add_twice_nll(weight, test.fit, asimov.data, c);
    // Of its own data the truth is an ordinary minimum.
    add_inputs(2.0 * weight, templates.logpdf(asimov.truth.parameters, asimov.data), c);
  }

  /// Everything about the observed CLs at one mu.
  struct ClsPoint {
    FitResult fit;
    AsimovTest asimov;
    LogCls log_cls;
    bool flat;  ///< mu is below the best fit: q is 0
    std::string failure;
  };

  ClsPoint cls_point(double mu, const std::vector<double>& near) {
    const Asimov& background = asimov(0.0);
    ClsPoint p{at(mu), {}, {}, false, background.failure};
    if (p.failure.empty()) p.failure = failure_of("the free fit", *best);
    if (p.failure.empty()) p.failure = failure_of("the fit at mu", p.fit);
    if (!p.failure.empty()) return p;
    p.asimov = test_asimov(background, mu, near.empty() ? background.truth.parameters : near);
    p.failure = failure_of("the fit of the Asimov data", p.asimov.fit);
    p.flat = best->parameters[poi] > mu;
    const double q = p.flat ? 0.0 : std::max(0.0, p.fit.twice_nll - best->twice_nll);
    p.log_cls = log_cls_of(q, p.asimov.q, options.statistic);
    return p;
  }

  double slope(const ClsPoint& p) {
    return p.log_cls.d_q * (p.flat ? 0.0 : slope(p.fit, data)) +
           p.log_cls.d_asimov * slope(p.asimov.fit, asimov(0.0).data);
  }

  bool add_cls(double weight, const ClsPoint& p, Cotangents& c) {
    add_twice_nll(weight * p.log_cls.d_q, p.fit, data, c);
    add_twice_nll(-weight * p.log_cls.d_q, *best, data, c);
    Cotangents of_asimov = none();
    add_asimov_statistic(weight * p.log_cls.d_asimov, asimov(0.0), p.asimov, of_asimov);
    return add_asimov(asimov(0.0), of_asimov, {}, c);
  }

  /// sigma of the background-only Asimov data: a first guess of where limits are; 1 without one.
  double scale_of_limits() {
    const Asimov& background = asimov(0.0);
    FitResult free = background.truth;
    free.fixed[poi] = free.at_bound[poi] = false;
    free.empty_bins.clear();  // of the data; in the Asimov data those bins have events
    std::vector<double> unit(model.n_parameters(), 0.0);
    unit[poi] = 1.0;
    fitter.set_data(background.data);
    const std::vector<double> column = fitter.solve(free, unit);
    fitter.set_data(data);
    const bool known = !column.empty() && column[poi] > 0.0 && std::isfinite(column[poi]);
    return known ? std::sqrt(column[poi]) : 1.0;
  }
};

SensitivityCalculator::SensitivityCalculator(const Model& model, SensitivityOptions options)
    : fits_(std::make_unique<Fits>(model, std::move(options))) {}
SensitivityCalculator::~SensitivityCalculator() = default;
SensitivityCalculator::SensitivityCalculator(SensitivityCalculator&&) noexcept = default;
SensitivityCalculator& SensitivityCalculator::operator=(SensitivityCalculator&&) noexcept = default;

void SensitivityCalculator::update(const std::function<void(ModelSpec&)>& change) {
  Fits& f = *fits_;
  if (!f.owns_model) {
    fits_ = std::make_unique<Fits>(Model(f.model.spec()), f.options);
    fits_->owns_model = true;
    return update(change);
  }
  detail::Engine& engine = detail::exclusive_engine(f.model);
  change(engine.spec);
  if (engine.refill()) {
    detail::refresh(f.fitter);
    f.state.refresh();
    f.restart();
    return;
  }
  fits_ = std::make_unique<Fits>(Model(engine.spec), f.options);
  fits_->owns_model = true;
}

const Model& SensitivityCalculator::model() const { return fits_->model; }
const TemplateDerivatives& SensitivityCalculator::templates() const { return fits_->templates; }

Sensitivity SensitivityCalculator::best_fit() {
  Fits& f = *fits_;
  const FitResult& best = f.free_fit();
  if (!best.converged()) return f.failed(failure_of("the free fit", best));
  std::vector<double> unit(f.model.n_parameters(), 0.0);
  unit[f.poi] = 1.0;
  Cotangents c = f.none();
  if (!f.add_fit(best, f.data, unit, c)) return f.no_hessian();
  return f.finish(best.parameters[f.poi], std::move(c));
}

Sensitivity SensitivityCalculator::error() {
  Fits& f = *fits_;
  const FitResult& best = f.free_fit();
  if (!best.converged()) return f.failed(failure_of("the free fit", best));
  if (best.at_bound[f.poi]) return f.failed("the parameter of interest is at a bound");
  const std::string problem = f.vanishing_rate(best, f.data);
  if (!problem.empty()) return f.failed(problem);
  Cotangents c = f.none();
  std::vector<double> theta;
  const double sigma = f.add_error(best, f.data, c, theta);
  if (!(sigma > 0.0) || !f.add_fit(best, f.data, theta, c)) return f.no_hessian();
  return f.finish(sigma, std::move(c));
}

Sensitivity SensitivityCalculator::significance() { return fits_->discovery(false); }
Sensitivity SensitivityCalculator::log_p0() { return fits_->discovery(true); }

Sensitivity SensitivityCalculator::log_cls(double mu) {
  Fits& f = *fits_;
  const Fits::ClsPoint p = f.cls_point(mu, {});
  if (!p.failure.empty()) return f.failed(p.failure);
  Cotangents c = f.none();
  if (!f.add_cls(1.0, p, c)) return f.no_hessian();
  return f.finish(p.log_cls.value, std::move(c));
}

namespace {

double checked_log(double level) {
  if (level > 0.0 && level < 1.0) return std::log(level);
  throw Error(ErrorKind::usage, "the level must lie between 0 and 1", "level");
}

}  // namespace

Sensitivity SensitivityCalculator::upper_limit(double level) {
  Fits& f = *fits_;
  const double log_level = checked_log(level);
  if (!f.asimov(0.0).failure.empty()) return f.failed(f.asimov(0.0).failure);
  Fits::ClsPoint p;
  const Falling log_cls = [&](double mu) -> FallingPoint {
    p = f.cls_point(mu, p.asimov.fit.parameters);
    if (!p.failure.empty()) return {0.0, 0.0, p.failure};
    return {p.log_cls.value - log_level, f.slope(p)};
  };
  const double low = std::max(0.0, f.free_fit().parameters[f.poi]);
  std::string failure;
  const double mu = falling_root(log_cls, low, low + 1.7 * f.scale_of_limits(), failure);
  if (!failure.empty()) return f.failed(failure);
  Cotangents c = f.none();
  if (!f.add_cls(-1.0 / f.slope(p), p, c)) return f.no_hessian();
  return f.finish(mu, std::move(c));
}

Sensitivity SensitivityCalculator::expected_error(double mu) {
  Fits& f = *fits_;
  const Fits::Asimov& asimov = f.asimov(mu);
  if (!asimov.failure.empty()) return f.failed(asimov.failure);
  const std::string problem = f.vanishing_rate(asimov.truth, asimov.data);
  if (!problem.empty()) return f.failed(problem);
  FitResult free = asimov.truth;
  free.fixed[f.poi] = free.at_bound[f.poi] = false;
  Cotangents c = f.none(), of_asimov = f.none();
  std::vector<double> theta;
  const double sigma = f.add_error(free, asimov.data, of_asimov, theta);
  if (!(sigma > 0.0) || !f.add_asimov(asimov, of_asimov, theta, c)) return f.no_hessian();
  return f.finish(sigma, std::move(c));
}

Sensitivity SensitivityCalculator::expected_significance(double mu) {
  return fits_->expected_discovery(mu, false);
}
Sensitivity SensitivityCalculator::expected_log_p0(double mu) {
  return fits_->expected_discovery(mu, true);
}

Sensitivity SensitivityCalculator::expected_log_cls(double mu, double n_sigma) {
  Fits& f = *fits_;
  const Fits::Asimov& background = f.asimov(0.0);
  if (!background.failure.empty()) return f.failed(background.failure);
  const Fits::AsimovTest test = f.test_asimov(background, mu, background.truth.parameters);
  if (!test.fit.converged()) return f.failed(failure_of("the fit of the Asimov data", test.fit));
  const double a = std::sqrt(test.q);
  Cotangents c = f.none(), of_asimov = f.none();
  f.add_asimov_statistic(a > 0.0 ? -mills(n_sigma - a) / (2.0 * a) : 0.0, background, test,
                         of_asimov);
  if (!f.add_asimov(background, of_asimov, {}, c)) return f.no_hessian();
  return f.finish(log_normal_cdf(n_sigma - a) - log_normal_cdf(n_sigma), std::move(c));
}

Sensitivity SensitivityCalculator::expected_upper_limit(double level, double n_sigma) {
  Fits& f = *fits_;
  // CLs = Phi(n - a) / Phi(n) is the level where a = sqrt(q) has this value.
  const double a = n_sigma - normal_quantile_of_log(checked_log(level) + log_normal_cdf(n_sigma));
  const Fits::Asimov& background = f.asimov(0.0);
  if (!background.failure.empty()) return f.failed(background.failure);
  Fits::AsimovTest test{background.truth, 0.0};
  const Falling rest = [&](double mu) -> FallingPoint {
    test = f.test_asimov(background, mu, test.fit.parameters);
    if (!test.fit.converged()) {
      return {0.0, 0.0, failure_of("the fit of the Asimov data", test.fit)};
    }
    const double root = std::sqrt(test.q);
    const double slope = root > 0.0 ? -f.slope(test.fit, background.data) / (2.0 * root) : 0.0;
    return {a - root, slope};
  };
  std::string failure;
  const double mu = falling_root(rest, 0.0, a * f.scale_of_limits(), failure);
  if (!failure.empty()) return f.failed(failure);
  Cotangents c = f.none(), of_asimov = f.none();
  f.add_asimov_statistic(-1.0 / f.slope(test.fit, background.data), background, test, of_asimov);
  if (!f.add_asimov(background, of_asimov, {}, c)) return f.no_hessian();
  return f.finish(mu, std::move(c));
}

namespace {

/// The width of a shapesys or staterror parameter as its uncertainties give it.
struct Width {
  double yield = 0.0;     ///< sum of nominal yields
  double variance = 0.0;  ///< sum of squared uncertainties
  bool used = false;      ///< some binwise modifier with an uncertainty acts on the parameter
};

constexpr double k_same = 1e-9;

bool same(double a, double b) { return std::abs(a - b) <= k_same * std::abs(b); }

/// Visits (channel, sample, term, bin) of all binwise factors with an uncertainty.
template <typename Visit>
void for_each_uncertainty(const ModelSpec& spec, const Visit& visit) {
  for (std::size_t c = 0; c < spec.channels.size(); ++c) {
    for (std::size_t s = 0; s < spec.channels[c].samples.size(); ++s) {
      const SampleSpec& sample = spec.channels[c].samples[s];
      for (std::size_t t = 0; t < sample.binwise.size(); ++t) {
        const BinwiseTerm& term = sample.binwise[t];
        for (std::size_t b = 0; b < term.uncertainty.size(); ++b) {
          visit(Input{InputKind::uncertainty, c, s, t, b, term.parameters[b]}, sample, term);
        }
      }
    }
  }
}

/// Widths that follow from uncertainties, by parameter; `used` is false for all others.
std::vector<Width> following_widths(const ModelSpec& spec) {
  std::vector<Width> widths(spec.parameters.size());
  for_each_uncertainty(spec, [&](const Input& i, const SampleSpec& sample, const BinwiseTerm& t) {
    Width& width = widths[i.parameter];
    width.yield += sample.nominal[i.bin];
    width.variance += t.uncertainty[i.bin] * t.uncertainty[i.bin];
    width.used = true;
  });
  for (std::size_t p = 0; p < widths.size(); ++p) {
    Width& w = widths[p];
    const Parameter& parameter = spec.parameters[p];
    const bool poisson = parameter.constraint == ConstraintType::poisson;
    w.used = w.used && w.yield > 0.0 && w.variance > 0.0 &&
             (poisson ? same(w.yield * w.yield / w.variance, parameter.tau)
                      : same(std::sqrt(w.variance) / w.yield, parameter.sigma));
  }
  return widths;
}

double value_of(const ModelSpec& spec, const Input& input) {
  const auto sample = [&]() -> const SampleSpec& {
    return spec.channels[input.channel].samples[input.sample];
  };
  switch (input.kind) {
    case InputKind::nominal:
      return sample().nominal[input.bin];
    case InputKind::histosys_hi:
      return sample().histosys[input.term].hi[input.bin];
    case InputKind::histosys_lo:
      return sample().histosys[input.term].lo[input.bin];
    case InputKind::normsys_hi:
      return sample().normsys[input.term].hi;
    case InputKind::normsys_lo:
      return sample().normsys[input.term].lo;
    case InputKind::sigma:
      return spec.parameters[input.parameter].sigma;
    case InputKind::tau:
      return spec.parameters[input.parameter].tau;
    case InputKind::observed:
      return spec.observed[spec.channels[input.channel].first_bin + input.bin];
    case InputKind::auxiliary:
      return spec.parameters[input.parameter].auxdata;
    case InputKind::uncertainty:
      break;
  }
  return sample().binwise[input.term].uncertainty[input.bin];
}

}  // namespace

WorkspaceSensitivity workspace_sensitivity(const Model& model, const TemplateDerivatives& templates,
                                           const Sensitivity& figure) {
  const ModelSpec& spec = model.spec();
  const std::vector<Width> widths = following_widths(spec);
  std::vector<double> by_width(widths.size(), 0.0), extra(templates.size(), 0.0);
  for (std::size_t i = 0; i < templates.size(); ++i) {
    const Input& input = templates.inputs()[i];
    const Parameter& p = spec.parameters[input.parameter];
    const bool width = input.kind == InputKind::sigma || input.kind == InputKind::tau;
    // The auxiliary data of a shapesys are its tau unless the measurement sets them.
    const bool follows = input.kind == InputKind::auxiliary &&
                         p.constraint == ConstraintType::poisson && same(p.auxdata, p.tau);
    if (width || follows) by_width[input.parameter] += figure.derivatives[i];
  }
  // d width / d yield and d width / d uncertainty.
  std::vector<double> by_yield(widths.size(), 0.0), by_variance(widths.size(), 0.0);
  for (std::size_t p = 0; p < widths.size(); ++p) {
    const Width& w = widths[p];
    if (!w.used) continue;
    const bool poisson = spec.parameters[p].constraint == ConstraintType::poisson;
    const double width = poisson ? spec.parameters[p].tau : spec.parameters[p].sigma;
    by_yield[p] = by_width[p] * (poisson ? 2.0 : -1.0) * width / w.yield;
    by_variance[p] = by_width[p] * (poisson ? -1.0 : 0.5) * width / w.variance;
  }
  std::vector<std::vector<std::vector<double>>> nominal;  // [channel][sample][bin]
  for (const ChannelSpec& channel : spec.channels) {
    nominal.emplace_back(channel.samples.size(), std::vector<double>(channel.n_bins, 0.0));
  }
  WorkspaceSensitivity uncertainties;
  for_each_uncertainty(spec, [&](const Input& i, const SampleSpec&, const BinwiseTerm& t) {
    if (!widths[i.parameter].used) return;
    nominal[i.channel][i.sample][i.bin] += by_yield[i.parameter];
    uncertainties.inputs.push_back(i);
    uncertainties.derivatives.push_back(2.0 * t.uncertainty[i.bin] * by_variance[i.parameter]);
  });
  WorkspaceSensitivity result;
  for (std::size_t i = 0; i < templates.size(); ++i) {
    const Input& input = templates.inputs()[i];
    const bool width = input.kind == InputKind::sigma || input.kind == InputKind::tau;
    if (width && widths[input.parameter].used) continue;
    double derivative = figure.derivatives[i];
    if (input.kind == InputKind::nominal) {
      derivative += nominal[input.channel][input.sample][input.bin];
    }
    result.inputs.push_back(input);
    result.derivatives.push_back(derivative);
  }
  result.inputs.insert(result.inputs.end(), uncertainties.inputs.begin(),
                       uncertainties.inputs.end());
  result.derivatives.insert(result.derivatives.end(), uncertainties.derivatives.begin(),
                            uncertainties.derivatives.end());
  for (const Input& input : result.inputs) result.values.push_back(value_of(spec, input));
  return result;
}

namespace {

template <typename Effects, typename Size>
void sort_by(Effects& effects, const Size& size) {
  std::stable_sort(effects.begin(), effects.end(), [&](const auto& a, const auto& b) {
    return std::abs(size(a)) > std::abs(size(b));
  });
}

}  // namespace

SensitivityRanking rank(const Model& model, const WorkspaceSensitivity& figure) {
  const ModelSpec& spec = model.spec();
  SensitivityRanking ranking;
  std::vector<std::size_t> first_sample, set_of(spec.parameters.size(), 0);
  for (std::size_t c = 0; c < spec.channels.size(); ++c) {
    first_sample.push_back(ranking.samples.size());
    for (std::size_t s = 0; s < spec.channels[c].samples.size(); ++s) {
      ranking.samples.push_back({c, s, 0.0});
    }
    for (std::size_t b = 0; b < spec.channels[c].n_bins; ++b) {
      ranking.bins.push_back({c, b, 0.0, 0.0});
    }
  }
  std::vector<SensitivityRanking::ParameterEffect> sets;
  for (std::size_t i = 0; i < spec.sets.size(); ++i) {
    sets.push_back({i, 0.0, 0.0, 0.0});
    for (std::size_t k = 0; k < spec.sets[i].size; ++k) set_of[spec.sets[i].first + k] = i;
  }
  for (std::size_t i = 0; i < figure.inputs.size(); ++i) {
    const Input& input = figure.inputs[i];
    const double derivative = figure.derivatives[i], value = figure.values[i];
    auto& set = sets[set_of[input.parameter]];
    auto& bin = ranking.bins[spec.channels[input.channel].first_bin + input.bin];
    auto& sample = ranking.samples[first_sample[input.channel] + input.sample];
    const Parameter& p = spec.parameters[input.parameter];
    switch (input.kind) {
      case InputKind::histosys_hi:
      case InputKind::histosys_lo:
        set.variations +=
            derivative *
            (value - spec.channels[input.channel].samples[input.sample].nominal[input.bin]);
        [[fallthrough]];
      case InputKind::nominal:
        sample.effect += derivative * value;
        bin.effect += derivative * value;
        break;
      case InputKind::uncertainty:
        sample.effect += derivative * value;
        bin.effect += derivative * value;
        set.width += derivative * value;
        break;
      case InputKind::normsys_hi:
      case InputKind::normsys_lo:
        set.variations += derivative * (value - 1.0);
        break;
      case InputKind::sigma:
        set.width += derivative * value;
        break;
      case InputKind::tau:  // the relative width is 1 / sqrt(tau)
        set.width += -2.0 * derivative * value;
        break;
      case InputKind::observed:
        bin.datum += derivative * std::sqrt(std::max(value, 0.0));
        break;
      case InputKind::auxiliary: {
        const bool poisson = p.constraint == ConstraintType::poisson;
        const double step = derivative * (poisson ? std::sqrt(p.tau) : p.sigma);
        set.datum = spec.sets[set.set].size == 1 ? step : std::hypot(set.datum, step);
        break;
      }
    }
  }
  for (const auto& set : sets) {
    if (spec.parameters[spec.sets[set.set].first].constraint != ConstraintType::none) {
      ranking.parameters.push_back(set);
    }
  }
  sort_by(ranking.samples, [](const auto& e) { return e.effect; });
  sort_by(ranking.bins, [](const auto& e) { return e.effect; });
  sort_by(ranking.parameters, [](const auto& e) { return e.width; });
  return ranking;
}

}  // namespace slalom
