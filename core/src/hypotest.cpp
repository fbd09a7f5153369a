// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/hypotest.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "parameter_of_interest.hpp"
#include "rising_root.hpp"
#include "slalom/core/normal.hpp"

namespace slalom {

using detail::CurvePoint;
using detail::RisingRoot;
using detail::solve_rising;

namespace {

/// A conditional fit below the free one by more than this is a new minimum, not rounding.
constexpr double k_new_minimum = 1e-9;

/// Whether a nuisance parameter differs by more than two pre-fit uncertainties.
bool far_apart(const ModelSpec& spec, const std::vector<double>& a, const std::vector<double>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double width = spec.parameters[i].prefit_uncertainty();
    if (width > 0.0 && std::abs(a[i] - b[i]) > 2.0 * width) return true;
  }
  return false;
}

std::string failure(const char* what, const FitResult& fit) {
  return fit.converged() ? "" : std::string(what) + ": " + fit.message;
}

/// The first of two messages that says something.
std::string first_of(const std::string& a, const std::string& b) { return a.empty() ? b : a; }

}  // namespace

AsymptoticCalculator::AsymptoticCalculator(Fitter& fitter, FitOptions options,
                                           TestStatistic statistic, BaseDistribution base)
    : fitter_(fitter),
      options_(std::move(options)),
      statistic_(statistic),
      base_(base),
      poi_(detail::parameter_of_interest(fitter.model(), options_)),
      data_(fitter.data().begin(), fitter.data().end()) {
  if (statistic == TestStatistic::q0) {
    throw Error(ErrorKind::usage, "q0 tests the absence of a signal only", "statistic");
  }
  best_ = fitter.fit(options_);
}

/// Fit with the POI at mu, from a point near another fit and, where that leads far away or nowhere,
/// from the start of the options; the lower one.
FitResult AsymptoticCalculator::conditional(double mu, const std::vector<double>& near) {
  FitOptions options = options_;
  options.fixed.emplace_back(poi_, mu);
  if (near.empty()) return fitter_.fit(options);
  options.init = near;
  options.warm_start = true;
  FitResult fit = fitter_.fit(options);
  if (fit.converged() && !far_apart(fitter_.model().spec(), fit.parameters, near)) return fit;
  options.init = options_.init;
  options.warm_start = options_.warm_start;
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
  const bool known = best_.converged() && best_.parameters[poi_] == mu;
  const FitResult fit = known ? best_ : conditional(mu, best_.parameters);
  improve_best(fit);
  result.converged = fit.converged();
  result.message = failure("the fit for the Asimov data", fit);
  result.parameters = fit.parameters;
  result.data = fitter_.model().expected_data(fit.parameters);
  for (double& n : result.data) {
    if (!std::isfinite(n)) n = 0.0;
  }
  // Where the likelihood ends almost nothing stands for nothing.
  for (const EmptyBin& empty : fit.empty_bins) result.data[empty.bin] = 0.0;
  if (result.converged) {
    result.twice_nll = -2.0 * fitter_.model().logpdf(fit.parameters, result.data);
  }
  return result;
}

/// Rise of -2 log L of Asimov data; of their own minimum the truth is the best fit.
AsymptoticCalculator::Rise AsymptoticCalculator::asimov_rise(const Asimov& asimov, double mu) {
  if (!asimov.converged) return {0.0, false, asimov.message};
  fitter_.set_data(asimov.data);
  const FitResult fit = conditional(mu, asimov.parameters);
  fitter_.set_data(data_);
  return {std::max(0.0, fit.twice_nll - asimov.twice_nll), fit.converged(),
          failure("the fit of the Asimov data", fit)};
}

/// Rise of -2 log L of the data.
AsymptoticCalculator::Rise AsymptoticCalculator::data_rise(double mu) {
  const FitResult fit = conditional(mu, best_.parameters);
  improve_best(fit);
  Rise rise{std::max(0.0, fit.twice_nll - best_.twice_nll), best_.converged() && fit.converged(),
            first_of(failure("the free fit", best_), failure("the fit at the tested value", fit))};
  const Parameter& poi = fitter_.model().spec().parameters[poi_];
  if (mu > poi.upper && best_.parameters[poi_] >= poi.upper) {
    rise.converged = false;
    rise.message = "the best fit of '" + poi.name + "' is at its upper bound, and the bound is " +
                   "below the tested value";
  }
  return rise;
}

HypothesisTest AsymptoticCalculator::test(double mu) {
  const Parameter& poi = fitter_.model().spec().parameters[poi_];
  if (!std::isfinite(mu)) throw Error(ErrorKind::model, "the tested value must be finite", "mu");
  if (mu < std::min(poi.lower, 0.0)) {
    throw Error(ErrorKind::model, "the tested value is below the lower bound of '" + poi.name + "'",
                "mu");
  }
  HypothesisTest result;
  result.mu = mu;
  const Asimov& background = asimov(0.0);
  const Rise data = data_rise(mu);
  const Rise expected = asimov_rise(background, mu);
  result.converged = data.converged && expected.converged;
  result.message = first_of(data.message, expected.message);
  result.test_statistic = test_statistic(statistic_, mu, best_.parameters[poi_], data.value);
  result.asimov_statistic = test_statistic(statistic_, mu, 0.0, expected.value);
  const LogPValues p =
      asymptotic_p_values(statistic_, result.test_statistic, result.asimov_statistic);
  result.log_clsb = p.tested;
  result.log_clb = p.alternative;
  result.log_one_minus_clb = p.complement;
  result.log_cls = p.ratio();
  result.clsb = std::exp(p.tested);
  result.clb = std::exp(p.alternative);
  result.cls = std::exp(p.ratio());
  const auto band = asymptotic_band(statistic_, result.asimov_statistic, base_);
  for (std::size_t i = 0; i < band.size(); ++i) {
    result.log_cls_expected[i] = band[i].ratio();
    result.cls_expected[i] = std::exp(band[i].ratio());
    result.clsb_expected[i] = std::exp(band[i].tested);
    result.clb_expected[i] = std::exp(band[i].alternative);
  }
  return result;
}

DiscoveryTest AsymptoticCalculator::discovery() {
  DiscoveryTest result;
  const Asimov& signal = asimov(1.0);
  const Rise data = data_rise(0.0);
  const Rise expected = asimov_rise(signal, 0.0);
  result.converged = data.converged && expected.converged;
  result.message = first_of(data.message, expected.message);
  result.test_statistic =
      test_statistic(TestStatistic::q0, 0.0, best_.parameters[poi_], data.value);
  result.asimov_statistic = expected.value;
  const LogPValues p =
      asymptotic_p_values(TestStatistic::q0, result.test_statistic, result.asimov_statistic);
  result.z = std::sqrt(result.test_statistic);
  result.log_p0 = p.tested;
  result.p0 = std::exp(p.tested);
  result.log_clb = p.alternative;
  result.z_expected = std::sqrt(expected.value);
  result.log_p0_expected = log_normal_cdf(-result.z_expected);
  result.p0_expected = std::exp(result.log_p0_expected);
  const auto band = asymptotic_band(TestStatistic::q0, expected.value, base_);
  for (std::size_t i = 0; i < band.size(); ++i) {
    result.log_p0_band[i] = band[i].tested;
    result.p0_band[i] = std::exp(band[i].tested);
  }
  return result;
}

/// Standard deviation of the best fit of background-only data, from the statistic at one value
/// where it is neither tiny nor huge; 0 if there is no such value.
double AsymptoticCalculator::error_scale() {
  const Asimov& background = asimov(0.0);
  const Parameter& poi = fitter_.model().spec().parameters[poi_];
  double probe = poi.upper > 0.0 ? std::min(1.0, poi.upper) : 1.0;
  for (int i = 0; i < 60; ++i) {
    const Rise rise = asimov_rise(background, probe);
    if (rise.converged && rise.value > 1e-2 && rise.value < 1e3) {
      return probe / std::sqrt(rise.value);
    }
    probe *= !rise.converged || rise.value >= 1e3 ? 0.3 : 4.0;
  }
  return 0.0;
}

namespace {

/// sqrt of the Asimov statistic at which the expected CLs for a background fluctuation is the
/// level: the band in closed form, solved for it.
double expected_distance(double log_level, double fluctuation, BaseDistribution base) {
  const double log_clsb = log_level + log_normal_cdf(-fluctuation);
  if (base == BaseDistribution::clipped_normal && log_clsb > std::log(0.5)) {
    return normal_quantile_of_log(std::log(0.5) - log_level);
  }
  return -normal_quantile_of_log(log_clsb) - fluctuation;
}

/// A number that rises almost linearly where CLs falls. The floor keeps it finite where CLs is 1.
double height(double log_cls) { return std::max(-normal_quantile_of_log(log_cls), -50.0); }

}  // namespace

void AsymptoticCalculator::find_expected(UpperLimit& limit, double sigma) {
  const Asimov& background = asimov(0.0);
  const auto curve = [&](double mu) {
    const Rise rise = asimov_rise(background, mu);
    return CurvePoint{std::sqrt(rise.value), rise.converged, rise.message};
  };
  for (std::size_t i = 0; i < limit.expected.size(); ++i) {
    const double distance =
        expected_distance(std::log(limit.level), 2.0 - static_cast<double>(i), base_);
    const RisingRoot root = solve_rising(curve, distance, distance * sigma, sigma,
                                         std::numeric_limits<double>::infinity());
    limit.expected[i] = root.x;
    limit.expected_found[i] = root.found;
    if (!root.found) {
      limit.message = first_of(limit.message, "no expected limit was found: " + root.message);
    }
  }
}

void AsymptoticCalculator::find_observed(UpperLimit& limit, double sigma) {
  const auto curve = [&](double mu) {
    const HypothesisTest t = test(mu);
    return CurvePoint{height(t.log_cls), t.converged, t.message};
  };
  const double target = height(std::log(limit.level));
  double lowest = 0.0;
  RisingRoot root;
  // A lower minimum that is found on the way moves the curve: once more.
  for (int attempt = 0; attempt < 3; ++attempt) {
    lowest = best_.twice_nll;
    const double guess = std::max(0.0, best_.parameters[poi_]) + std::max(target, 0.5) * sigma;
    root = solve_rising(curve, target, guess, sigma, std::numeric_limits<double>::infinity());
    if (best_.twice_nll == lowest) break;
  }
  limit.observed = root.x;
  limit.observed_found = root.found;
  if (!root.found) {
    limit.message = first_of(limit.message, "no observed limit was found: " + root.message);
  }
}

UpperLimit AsymptoticCalculator::upper_limit(double level) {
  if (!(level > 0.0 && level < 1.0)) {
    throw Error(ErrorKind::usage, "the level must lie between 0 and 1", "level");
  }
  if (is_two_sided(statistic_)) {
    throw Error(ErrorKind::usage,
                std::string(to_string(statistic_)) + " is two-sided: it gives intervals, no limits",
                "statistic");
  }
  UpperLimit limit;
  limit.level = level;
  const double sigma = error_scale();
  if (!(sigma > 0.0)) {
    const Asimov& background = asimov(0.0);
    const std::string& name = fitter_.model().spec().parameters[poi_].name;
    limit.message = background.converged ? "the model does not depend on '" + name +
                                               "', or its fits fail: there is no limit"
                                         : background.message;
    return limit;
  }
  find_expected(limit, sigma);
  find_observed(limit, sigma);
  const double bound = fitter_.model().spec().parameters[poi_].upper;
  limit.converged = limit.observed_found;
  limit.beyond_bound = limit.observed_found && limit.observed > bound;
  for (std::size_t i = 0; i < limit.expected.size(); ++i) {
    limit.converged = limit.converged && limit.expected_found[i];
    limit.beyond_bound =
        limit.beyond_bound || (limit.expected_found[i] && limit.expected[i] > bound);
  }
  return limit;
}

Interval AsymptoticCalculator::interval(double level) {
  if (!is_two_sided(statistic_)) {
    throw Error(ErrorKind::usage,
                std::string(to_string(statistic_)) + " is one-sided: it gives limits, no intervals",
                "statistic");
  }
  const double rise = rise_at_level(level, 1);
  if (statistic_ == TestStatistic::t) return minos(fitter_, best_, poi_, options_, rise);
  Interval interval;
  const Parameter& poi = fitter_.model().spec().parameters[poi_];
  double sigma = error_scale();
  if (!(sigma > 0.0)) sigma = 0.1 * (poi.upper - poi.lower);
  for (IntervalSide* side : {&interval.lower, &interval.upper}) {
    const double bound = side == &interval.lower ? poi.lower : poi.upper;
    const double best = best_.parameters[poi_];
    const double direction = bound < best ? -1.0 : 1.0;
    if (!best_.converged() || bound == best) {
      *side = {best, bound == best, best_.converged(), failure("the free fit", best_)};
      continue;
    }
    const auto curve = [&](double distance) {
      const double mu = best + direction * distance;
      const HypothesisTest t = test(direction > 0.0 ? std::min(mu, bound) : std::max(mu, bound));
      const bool moved = best_.parameters[poi_] != best;
      return CurvePoint{-normal_quantile_of_log(t.log_clsb - std::log(2.0)), t.converged && !moved,
                        moved ? "a lower minimum was found on the way" : t.message};
    };
    const double end = std::abs(bound - best);
    const double target = std::sqrt(rise);
    const RisingRoot root = solve_rising(curve, target, target * sigma, sigma, end);
    side->value = root.at_end ? bound : best + direction * root.x;
    side->at_bound = root.at_end;
    side->converged = root.found || root.at_end;
    side->message = root.message;
  }
  return interval;
}

}  // namespace slalom
