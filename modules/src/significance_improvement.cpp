// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/significance_improvement.hpp"

#include <ATen/ops/isfinite.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/sort.h>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <tuple>

#include "check.hpp"
#include "slalom/core/error.hpp"

namespace slalom {

namespace {

constexpr const char* k_where = "significance_improvement";

/// Sums of weights and of their squares.
struct Sum {
  double w = 0.0, w2 = 0.0;
  void add(double weight) {
    w += weight;
    w2 += weight * weight;
  }
  double effective_events() const { return w2 > 0.0 ? w * w / w2 : 0.0; }
};

struct Event {
  double score, weight;
  bool signal;
};

/// Checked events, those with the largest scores first.
std::vector<Event> sorted_events(const Tensor& scores, const Tensor& labels,
                                 const Tensor& weights) {
  detail::require(scores.dim() == 1 && labels.sizes() == scores.sizes() &&
                      (!weights.defined() || weights.sizes() == scores.sizes()),
                  "scores, labels and weights [n] expected", k_where);
  const Tensor x = scores.detach().to(at::kCPU, at::kDouble).contiguous();
  const Tensor w = weights.defined() ? weights.detach().to(at::kCPU, at::kDouble).contiguous()
                                     : at::ones_like(x);
  const Tensor y = labels.to(at::kCPU, at::kDouble).contiguous();
  std::vector<Event> events;
  events.reserve(static_cast<std::size_t>(x.size(0)));
  for (std::int64_t i = 0; i < x.size(0); ++i) {
    const double score = x.data_ptr<double>()[i], weight = w.data_ptr<double>()[i];
    if (!std::isfinite(score) || !std::isfinite(weight) || weight < 0.0) {
      throw Error(ErrorKind::numerical, "finite scores and weights >= 0 expected",
                  std::string(k_where) + "[" + std::to_string(i) + "]");
    }
    events.push_back({score, weight, y.data_ptr<double>()[i] == 1.0});
  }
  std::stable_sort(events.begin(), events.end(),
                   [](const Event& a, const Event& b) { return a.score > b.score; });
  return events;
}

struct Totals {
  Sum signal, background;
};

Totals totals_of(const std::vector<Event>& events) {
  Totals totals;
  for (const Event& event : events) {
    (event.signal ? totals.signal : totals.background).add(event.weight);
  }
  if (totals.signal.w > 0.0 && totals.background.w > 0.0) return totals;
  throw Error(ErrorKind::numerical, "signal and background need weights", k_where);
}

/// (d eps / eps)^2 of an efficiency.
double relative_variance(double efficiency, const Sum& all) {
  return std::max(0.0, 1.0 - efficiency) / (efficiency * all.effective_events());
}

SignificanceImprovement at_cut(double threshold, const Totals& passed, const Totals& all) {
  SignificanceImprovement point;
  point.threshold = threshold;
  point.signal_efficiency = passed.signal.w / all.signal.w;
  point.background_efficiency = passed.background.w / all.background.w;
  if (!(point.background_efficiency > 0.0)) return point;
  point.value = point.signal_efficiency / std::sqrt(point.background_efficiency);
  if (!(point.signal_efficiency > 0.0)) return point;
  point.error = point.value *
                std::sqrt(relative_variance(point.signal_efficiency, all.signal) +
                          0.25 * relative_variance(point.background_efficiency, all.background));
  return point;
}

}  // namespace

SignificanceImprovementCurve significance_improvement(
    const Tensor& scores, const Tensor& labels, const Tensor& weights,
    const SignificanceImprovementOptions& options) {
  detail::require(
      options.min_background_efficiency > 0.0 && options.min_background_efficiency <= 1.0,
      "min_background_efficiency must be above 0 and at most 1", k_where);
  detail::require(options.points >= 2, "at least two points of the curve expected", k_where);
  const std::vector<Event> events = sorted_events(scores, labels, weights);
  const Totals all = totals_of(events);
  std::vector<SignificanceImprovement> cuts;  // at every score, tightest first
  Totals passed;
  // Rounding of sums must not lose the cut at the limit itself.
  const double least = options.min_background_efficiency * (1.0 - 1e-12);
  for (std::size_t i = 0; i < events.size();) {
    const double threshold = events[i].score;
    for (; i < events.size() && events[i].score == threshold; ++i) {
      (events[i].signal ? passed.signal : passed.background).add(events[i].weight);
    }
    if (passed.background.w / all.background.w >= least) {
      cuts.push_back(at_cut(threshold, passed, all));
    }
  }
  SignificanceImprovementCurve curve;
  const auto better = [](const SignificanceImprovement& a, const SignificanceImprovement& b) {
    return a.value < b.value;
  };
  curve.best = *std::max_element(cuts.begin(), cuts.end(), better);
  // The first cut that reaches each of the evenly spaced signal efficiencies.
  const double low = cuts.front().signal_efficiency;
  std::size_t at = 0;
  for (std::size_t i = 0; i < options.points; ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(options.points - 1);
    const double wanted = (low + (1.0 - low) * share) * (1.0 - 1e-12);
    while (at + 1 < cuts.size() && cuts[at].signal_efficiency < wanted) ++at;
    if (curve.points.empty() || curve.points.back().threshold != cuts[at].threshold) {
      curve.points.push_back(cuts[at]);
    }
  }
  if (curve.points.back().threshold != cuts.back().threshold) curve.points.push_back(cuts.back());
  std::reverse(curve.points.begin(), curve.points.end());
  return curve;
}

SignificanceImprovement significance_improvement_at(const Tensor& scores, const Tensor& labels,
                                                    double threshold, const Tensor& weights) {
  detail::require(std::isfinite(threshold), "a finite threshold expected", k_where);
  const std::vector<Event> events = sorted_events(scores, labels, weights);
  const Totals all = totals_of(events);
  Totals passed;
  for (const Event& event : events) {
    if (event.score < threshold) break;
    (event.signal ? passed.signal : passed.background).add(event.weight);
  }
  return at_cut(threshold, passed, all);
}

double score_threshold(const Tensor& scores, double efficiency) {
  detail::require(scores.dim() == 1 && scores.size(0) > 1,
                  "scores of two events and more expected, found " + detail::shape_of(scores),
                  k_where);
  detail::require(efficiency > 0.0 && efficiency < 1.0, "an efficiency between 0 and 1 expected",
                  k_where);
  const Tensor x = scores.detach().to(at::kCPU, at::kDouble);
  const Tensor sorted = std::get<0>(at::sort(x, 0, /*descending=*/true)).contiguous();
  const auto n = static_cast<double>(sorted.size(0));
  const auto place = std::clamp<std::int64_t>(std::llround(efficiency * n), 1, sorted.size(0) - 1);
  const auto* score = sorted.data_ptr<double>();
  return 0.5 * (score[place - 1] + score[place]);
}

}  // namespace slalom
