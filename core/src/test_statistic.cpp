// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/test_statistic.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "slalom/core/error.hpp"
#include "slalom/core/normal.hpp"

namespace slalom {

namespace {

/// log(exp(a) + exp(b)).
double log_sum(double a, double b) {
  const double high = std::max(a, b);
  return high == -std::numeric_limits<double>::infinity()
             ? high
             : high + std::log1p(std::exp(std::min(a, b) - high));
}

/// log(1 - exp(a)) for a <= 0.
double log_complement(double a) {
  if (!(a < 0.0)) return -std::numeric_limits<double>::infinity();
  return a > -std::numbers::ln2 ? std::log(-std::expm1(a)) : std::log1p(-std::exp(a));
}

/// One-sided p-values of the shifted statistic T, which is normal around 0 under the alternative
/// and around -a under the tested hypothesis.
LogPValues one_sided(double shifted, double a) {
  return {log_normal_cdf(-(shifted + a)), log_normal_cdf(-shifted), log_normal_cdf(shifted)};
}

LogPValues two_sided(TestStatistic statistic, double value, double asimov_value) {
  const double s = std::sqrt(value), a = std::sqrt(asimov_value);
  double lower_tested = log_normal_cdf(-s), lower_alternative = log_normal_cdf(-(s - a));
  // Best fits below zero: ttilde is linear in them, so their tail begins elsewhere.
  if (statistic == TestStatistic::ttilde && value > asimov_value) {
    const double nowhere = -std::numeric_limits<double>::infinity();
    const double width = 2.0 * a;
    lower_tested = a > 0.0 ? log_normal_cdf(-(value + asimov_value) / width) : nowhere;
    lower_alternative = a > 0.0 ? log_normal_cdf(-(value - asimov_value) / width) : nowhere;
  }
  LogPValues result;
  result.tested = std::min(0.0, log_sum(log_normal_cdf(-s), lower_tested));
  result.alternative = std::min(0.0, log_sum(log_normal_cdf(-(s + a)), lower_alternative));
  result.complement = log_complement(result.alternative);
  return result;
}

}  // namespace

const char* to_string(TestStatistic statistic) {
  switch (statistic) {
    case TestStatistic::t:
      return "t";
    case TestStatistic::ttilde:
      return "ttilde";
    case TestStatistic::q:
      return "q";
    case TestStatistic::qtilde:
      return "qtilde";
    case TestStatistic::q0:
      break;
  }
  return "q0";
}

const char* to_string(BaseDistribution distribution) {
  return distribution == BaseDistribution::normal ? "normal" : "clipped_normal";
}

bool is_two_sided(TestStatistic statistic) {
  return statistic == TestStatistic::t || statistic == TestStatistic::ttilde;
}

double test_statistic(TestStatistic statistic, double mu, double best_mu, double rise) {
  const bool other_side = statistic == TestStatistic::q0 ? best_mu < 0.0 : best_mu > mu;
  if (!is_two_sided(statistic) && other_side) return 0.0;
  return std::max(0.0, rise);
}

std::string statistic_mismatch(TestStatistic statistic, const Parameter& poi) {
  const bool bounded = poi.lower == 0.0;
  const std::string name = to_string(statistic);
  if (bounded && (statistic == TestStatistic::t || statistic == TestStatistic::q)) {
    return "the lower bound of '" + poi.name + "' is 0, for which " + name + "tilde is made, not " +
           name;
  }
  if (!bounded && (statistic == TestStatistic::ttilde || statistic == TestStatistic::qtilde)) {
    return name + " is made for a parameter with a lower bound of 0, which '" + poi.name +
           "' has not";
  }
  return "";
}

LogPValues asymptotic_p_values(TestStatistic statistic, double value, double asimov_value) {
  if (is_two_sided(statistic)) return two_sided(statistic, value, asimov_value);
  const double a = std::sqrt(asimov_value);
  if (statistic == TestStatistic::qtilde && value > asimov_value && a > 0.0) {
    return one_sided((value - asimov_value) / (2.0 * a), a);
  }
  return one_sided(std::sqrt(value) - a, a);
}

std::array<LogPValues, 5> asymptotic_band(TestStatistic statistic, double asimov_value,
                                          BaseDistribution distribution) {
  const double a = std::sqrt(asimov_value);
  std::array<LogPValues, 5> band;
  for (std::size_t i = 0; i < band.size(); ++i) {
    // The best fit is `below` standard deviations below the alternative.
    const double below = 2.0 - static_cast<double>(i);
    if (is_two_sided(statistic)) {
      const bool linear = statistic == TestStatistic::ttilde && below > 0.0;
      const double value = linear ? asimov_value + 2.0 * a * below : (a + below) * (a + below);
      band[i] = two_sided(statistic, value, asimov_value);
    } else {
      const bool clipped = distribution == BaseDistribution::clipped_normal;
      band[i] = one_sided(clipped ? std::max(below, -a) : below, a);
    }
  }
  return band;
}

double rise_at_level(double level, int n_parameters) {
  if (!(level > 0.0 && level < 1.0)) {
    throw Error(ErrorKind::usage, "the level must lie between 0 and 1", "level");
  }
  if (n_parameters == 2) return -2.0 * std::log1p(-level);
  if (n_parameters != 1) {
    throw Error(ErrorKind::usage, "only one or two parameters have levels", "n_parameters");
  }
  const double z = normal_quantile_of_log(std::log1p(-level) - std::numbers::ln2);
  return z * z;
}

}  // namespace slalom
