// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/toy_summary.hpp"

#include <cmath>
#include <utility>

namespace slalom {

namespace {

/// 95 % quantile of the chi2 distribution with one degree of freedom.
constexpr double k_chi2_95 = 3.841458820694124;

/// Pulls of one parameter over all toys.
Distribution pull_of(const std::vector<const Toy*>& toys, std::size_t parameter, double truth) {
  std::vector<double> pulls;
  for (const Toy* toy : toys) {
    const double error = toy->errors[parameter];
    if (error > 0.0) pulls.push_back((toy->parameters[parameter] - truth) / error);
  }
  return distribution(std::move(pulls));
}

}  // namespace

Distribution distribution(std::vector<double> values) {
  Distribution result;
  result.n = values.size();
  if (values.empty()) return result;
  const auto n = static_cast<double>(values.size());
  for (const double value : values) result.mean += value / n;
  double squares = 0.0;
  for (const double value : values) squares += (value - result.mean) * (value - result.mean);
  if (values.size() > 1) {
    result.width = std::sqrt(squares / (n - 1.0));
    result.width_error = result.width / std::sqrt(2.0 * (n - 1.0));
    result.mean_error = result.width / std::sqrt(n);
  }
  result.band = toy_band(std::move(values));
  return result;
}

ToySummary summarise(const std::vector<Toy>& toys, const std::vector<double>& truth, double value) {
  ToySummary summary;
  summary.counts.asked = toys.size();
  std::vector<const Toy*> good;
  std::vector<double> best, t, q;
  std::size_t within_one = 0, within_95 = 0;
  for (const Toy& toy : toys) {
    if (!toy.done) continue;
    ++summary.counts.done;
    if (toy.free_status != FitStatus::converged) ++summary.free_failed;
    if (toy.conditional_status != FitStatus::converged) ++summary.conditional_failed;
    if (!toy.converged()) {
      ++summary.counts.failed;
      continue;
    }
    good.push_back(&toy);
    best.push_back(toy.poi);
    t.push_back(toy.t());
    q.push_back(toy.q(value));
    if (toy.t() <= 1.0) ++within_one;
    if (toy.t() <= k_chi2_95) ++within_95;
  }
  summary.within_one_sigma = toy_fraction(within_one, good.size());
  summary.within_95 = toy_fraction(within_95, good.size());
  summary.best_fit = distribution(std::move(best));
  summary.t = distribution(std::move(t));
  summary.q = distribution(std::move(q));
  if (good.empty() || good.front()->parameters.empty()) return summary;
  for (std::size_t p = 0; p < truth.size(); ++p) {
    summary.pulls.push_back(pull_of(good, p, truth[p]));
    summary.without_pull.push_back(good.size() - summary.pulls.back().n);
  }
  return summary;
}

}  // namespace slalom
