// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/hypotest.hpp"

#include <algorithm>
#include <boost/math/tools/toms748_solve.hpp>
#include <cmath>
#include <functional>
#include <optional>
#include <utility>

#include "parameter_of_interest.hpp"
#include "slalom/core/normal.hpp"

namespace slalom {

namespace {

/// A conditional fit below the free one by more than this is a new minimum, not rounding.
constexpr double k_new_minimum = 1e-9;

std::string failure(const char* what, const FitResult& fit) {
  return fit.converged() ? "" : std::string(what) + ": " + fit.message;
}

}  // namespace

AsymptoticCalculator::AsymptoticCalculator(Fitter& fitter, FitOptions options,
                                           TestStatistic statistic)
    : fitter_(fitter),
      options_(std::move(options)),
      statistic_(statistic),
      poi_(detail::parameter_of_interest(fitter.model(), options_)),
      data_(fitter.data().begin(), fitter.data().end()),
      best_(fitter.fit(options_)) {}

/// Fit with the POI at mu, from the given start and from that near another fit; the lower one.
FitResult AsymptoticCalculator::conditional(double mu, const std::vector<double>& near) {
  FitOptions options = options_;
  options.fixed.emplace_back(poi_, mu);
  FitResult fit = fitter_.fit(options);
  if (near.empty()) return fit;
  options.init = near;
  options.warm_start = true;
  options.search_minima = false;
  FitResult other = fitter_.fit(options);
  const bool better =
      other.converged() && (!fit.converged() || other.twice_nll < fit.twice_nll - k_new_minimum);
  return better ? other : fit;
}

/// A conditional fit below the best one shows that there is a better one.
void AsymptoticCalculator::improve_best(const FitResult& fit) {
  if (!fit.converged() || !(fit.twice_nll < best_.twice_nll - k_new_minimum)) return;
  const Parameter& p = fitter_.model().spec().parameters[poi_];
  FitOptions options = options_;
  options.init = fit.parameters;
  options.init[poi_] = std::clamp(options.init[poi_], p.lower, p.upper);
  FitResult better = fitter_.fit(options);
  if (better.converged() && better.twice_nll < best_.twice_nll) best_ = std::move(better);
}

/// Asimov data of the conditional fit at mu; their free fit is known without fitting.
const AsymptoticCalculator::Asimov& AsymptoticCalculator::asimov(double mu) {
  Asimov& result = mu == 0.0 ? background_ : signal_;
  if (!result.data.empty()) return result;
  const FitResult fit = conditional(mu, best_.parameters);
  improve_best(fit);
  result.converged = fit.converged();
  result.message = failure("the fit for the Asimov data", fit);
  result.parameters = fit.parameters;
  result.data = fitter_.model().expected_data(fit.parameters);
  for (double& n : result.data) {
    if (!std::isfinite(n)) n = 0.0;
  }
  if (result.converged) {
    result.twice_nll = -2.0 * fitter_.model().logpdf(fit.parameters, result.data);
  }
  return result;
}

double AsymptoticCalculator::asimov_statistic(const Asimov& asimov, double mu, bool* converged) {
  *converged = false;
  if (!asimov.converged) return 0.0;
  fitter_.set_data(asimov.data);
  const FitResult fit = conditional(mu, asimov.parameters);
  fitter_.set_data(data_);
  *converged = fit.converged();
  return std::max(0.0, fit.twice_nll - asimov.twice_nll);
}

HypothesisTest AsymptoticCalculator::test(double mu) {
  if (!std::isfinite(mu)) throw Error(ErrorKind::model, "the tested value must be finite", "mu");
  HypothesisTest result;
  result.mu = mu;
  const Asimov& background = asimov(0.0);
  const FitResult at_mu = conditional(mu, best_.parameters);
  improve_best(at_mu);
  bool asimov_converged = false;
  result.asimov_statistic = asimov_statistic(background, mu, &asimov_converged);
  if (best_.parameters[poi_] <= mu) {
    result.test_statistic = std::max(0.0, at_mu.twice_nll - best_.twice_nll);
  }
  result.converged = best_.converged() && at_mu.converged() && asimov_converged;
  for (const std::string& text :
       {failure("the free fit", best_), failure("the fit at mu", at_mu), background.message}) {
    if (result.message.empty()) result.message = text;
  }
  if (!result.converged && result.message.empty()) {
    result.message = "the fit of the Asimov data did not converge";
  }
  const double s = std::sqrt(result.test_statistic);
  const double a = std::sqrt(result.asimov_statistic);
  double t = s - a;
  if (statistic_ == TestStatistic::qtilde && s > a && a > 0.0) {
    t = (result.test_statistic - result.asimov_statistic) / (2.0 * a);
  }
  result.log_clsb = log_normal_cdf(-(t + a));
  result.log_clb = log_normal_cdf(-t);
  result.log_cls = result.log_clsb - result.log_clb;
  result.clsb = std::exp(result.log_clsb);
  result.clb = std::exp(result.log_clb);
  result.cls = std::exp(result.log_cls);
  for (std::size_t i = 0; i < 5; ++i) {
    const double n = 2.0 - static_cast<double>(i);
    result.log_cls_expected[i] = log_normal_cdf(-(n + a)) - log_normal_cdf(-n);
    result.cls_expected[i] = std::exp(result.log_cls_expected[i]);
  }
  return result;
}

DiscoveryTest AsymptoticCalculator::discovery() {
  DiscoveryTest result;
  const Asimov& signal = asimov(1.0);
  const FitResult at_zero = conditional(0.0, best_.parameters);
  improve_best(at_zero);
  bool asimov_converged = false;
  const double expected = asimov_statistic(signal, 0.0, &asimov_converged);
  if (best_.parameters[poi_] >= 0.0) {
    result.test_statistic = std::max(0.0, at_zero.twice_nll - best_.twice_nll);
  }
  result.converged = best_.converged() && at_zero.converged() && asimov_converged;
  for (const std::string& text :
       {failure("the free fit", best_), failure("the fit at mu = 0", at_zero), signal.message}) {
    if (result.message.empty()) result.message = text;
  }
  if (!result.converged && result.message.empty()) {
    result.message = "the fit of the Asimov data did not converge";
  }
  result.z = std::sqrt(result.test_statistic);
  result.log_p0 = log_normal_cdf(-result.z);
  result.p0 = std::exp(result.log_p0);
  result.z_expected = std::sqrt(expected);
  result.log_p0_expected = log_normal_cdf(-result.z_expected);
  result.p0_expected = std::exp(result.log_p0_expected);
  for (std::size_t i = 0; i < 5; ++i) {
    const double n = 2.0 - static_cast<double>(i);
    result.p0_band[i] = normal_cdf(-(n + result.z_expected));
  }
  return result;
}

namespace {

/// Root of a falling function above `low`, where it is positive; `scale` is a first guess.
std::optional<double> find_root(const std::function<double(double)>& f, double low, double scale) {
  double f_low = f(low);
  if (!(f_low > 0.0)) return std::nullopt;
  double high = std::max(low + scale, 1.5 * low);
  double f_high = f(high);
  for (int i = 0; i < 60 && f_high > 0.0; ++i) {
    low = high;
    f_low = f_high;
    high = 2.0 * high;
    f_high = f(high);
  }
  if (!(f_high <= 0.0)) return std::nullopt;
  std::uintmax_t most = 60;
  const auto precise = [](double a, double b) { return std::abs(b - a) <= 1e-10 * std::abs(b); };
  const auto [a, b] = boost::math::tools::toms748_solve(f, low, high, f_low, f_high, precise, most);
  return 0.5 * (a + b);
}

}  // namespace

UpperLimit AsymptoticCalculator::upper_limit(double level) {
  if (!(level > 0.0 && level < 1.0)) {
    throw Error(ErrorKind::usage, "the level must lie between 0 and 1", "level");
  }
  UpperLimit limit;
  limit.level = level;
  limit.converged = true;
  const double log_level = std::log(level);
  const auto solve = [&](const std::function<double(const HypothesisTest&)>& value, double low,
                         double scale, const char* what) {
    const auto f = [&](double mu) {
      const HypothesisTest t = test(mu);
      if (!t.converged) {
        limit.converged = false;
        if (limit.message.empty()) limit.message = t.message;
      }
      return value(t) - log_level;
    };
    const std::optional<double> root = find_root(f, low, scale);
    if (!root) {
      limit.converged = false;
      if (limit.message.empty()) limit.message = std::string("no ") + what + " limit was found";
    }
    return root.value_or(0.0);
  };
  // The statistic grows about as (mu / sigma)^2: its value at one point gives the scale.
  const Parameter& poi = fitter_.model().spec().parameters[poi_];
  double probe = poi.upper > 0.0 ? std::min(1.0, poi.upper) : 1.0;
  double statistic = test(probe).asimov_statistic;
  for (int i = 0; i < 40 && statistic < 1e-3; ++i) {
    probe *= 4.0;
    statistic = test(probe).asimov_statistic;
  }
  const double sigma = statistic > 0.0 ? probe / std::sqrt(statistic) : 1.0;
  for (std::size_t i = 0; i < 5; ++i) {
    const auto value = [i](const HypothesisTest& t) { return t.log_cls_expected[i]; };
    limit.expected[i] = solve(value, 0.0, (0.5 + static_cast<double>(i)) * sigma, "expected");
  }
  const auto value = [](const HypothesisTest& t) { return t.log_cls; };
  limit.observed = solve(value, std::max(0.0, best_.parameters[poi_]), 2.0 * sigma, "observed");
  return limit;
}

}  // namespace slalom
