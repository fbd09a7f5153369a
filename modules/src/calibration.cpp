// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/calibration.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/argsort.h>
#include <ATen/ops/bucketize.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/log.h>
#include <ATen/ops/log_sigmoid.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <cmath>
#include <vector>

#include "check.hpp"
#include "slalom/modules/binning.hpp"
#include "slalom/modules/criteria.hpp"
#include "slalom/modules/observable.hpp"

namespace slalom {

using detail::require;
using detail::shape_of;

namespace {

constexpr const char* k_where = "calibration";

/// Weights of both classes with the sum 1/2 each.
Tensor checked_weights(const Tensor& logit, const Tensor& labels, const Tensor& weights) {
  require(logit.dim() == 1 && labels.sizes() == logit.sizes() &&
              (!weights.defined() || weights.sizes() == logit.sizes()),
          "logits, labels and weights [n] expected, found " + shape_of(logit) + " and " +
              shape_of(labels),
          k_where);
  const bool binary = ((labels == 0).logical_or(labels == 1)).all().item<bool>();
  require(binary, "labels 0 and 1 expected", k_where);
  for (const int label : {0, 1}) {
    if ((labels == label).any().item<bool>()) continue;
    throw Error(ErrorKind::numerical, "there are no events of label " + std::to_string(label),
                k_where);
  }
  return balanced_weights(labels, weights).to(at::kDouble);
}

/// Sums of the logistic loss and of its derivatives by slope and offset.
struct Regression {
  double loss, g0, g1, h00, h01, h11;
};

Regression regression(const Tensor& x, const Tensor& sign, const Tensor& w, double a, double b) {
  const Tensor margin = sign * (a * x + b);
  const Tensor p = at::sigmoid(-margin), pull = -w * sign * p, curve = w * p * (1.0 - p);
  return {-(w * at::log_sigmoid(margin)).sum().item<double>(),
          (pull * x).sum().item<double>(),
          pull.sum().item<double>(),
          (curve * x * x).sum().item<double>(),
          (curve * x).sum().item<double>(),
          curve.sum().item<double>()};
}

}  // namespace

Tensor PlattCalibration::operator()(const Tensor& logit) const { return logit * slope + offset; }

PlattCalibration platt_calibration(const Tensor& logit, const Tensor& labels,
                                   const Tensor& weights) {
  constexpr int k_iterations = 100;
  constexpr double k_tolerance = 1e-13;  // decrease that is left, of the loss
  constexpr double k_separated = 1e-8;   // cross entropy of an event
  const at::NoGradGuard no_graph;
  const Tensor w = checked_weights(logit, labels, weights);
  const Tensor x = logit.to(at::kDouble), sign = 2.0 * labels.to(at::kDouble) - 1.0;
  PlattCalibration result;
  Regression now = regression(x, sign, w, result.slope, result.offset);
  // Newton's method with step halving: the loss is convex.
  for (int i = 0; i < k_iterations; ++i) {
    const double det = now.h00 * now.h11 - now.h01 * now.h01;
    if (!(det > 0.0) || !std::isfinite(det)) break;
    const double da = (now.h11 * now.g0 - now.h01 * now.g1) / det;
    const double db = (now.h00 * now.g1 - now.h01 * now.g0) / det;
    if (now.loss < k_separated) break;
    if (0.5 * (da * now.g0 + db * now.g1) < k_tolerance * now.loss) {
      // The last step squares what error is left.
      result.slope -= da;
      result.offset -= db;
      return result;
    }
    double share = 1.0;
    Regression next = regression(x, sign, w, result.slope - da, result.offset - db);
    while (!(next.loss <= now.loss) && share > 1e-10) {
      share *= 0.5;
      next = regression(x, sign, w, result.slope - share * da, result.offset - share * db);
    }
    // Rounding is all that is left.
    if (share <= 1e-10) return result;
    result.slope -= share * da;
    result.offset -= share * db;
    now = next;
  }
  throw Error(ErrorKind::numerical,
              "logistic regression does not converge: the classes are separated, or the logit does "
              "not vary",
              k_where);
}

Tensor BinnedCalibration::operator()(const Tensor& logit) const {
  const at::NoGradGuard no_graph;
  const Tensor place = at::bucketize(logit.to(at::kDouble).contiguous(), edges, false, true);
  return ratio.index_select(0, place);
}

BinnedCalibration binned_calibration(const Tensor& logit, const Tensor& labels,
                                     const Tensor& weights, std::int64_t bins) {
  require(bins > 0, "a positive number of bins expected", k_where);
  const at::NoGradGuard no_graph;
  const Tensor w = checked_weights(logit, labels, weights), x = logit.to(at::kDouble);
  const Tensor edges = quantile_edges(x, w, bins).to(at::kCPU).contiguous();
  const Tensor place = at::bucketize(x.contiguous(), edges.to(x.device()), false, true);
  const auto count = edges.size(0) + 1;
  const auto sums = [&](int label) {
    return sum_by_bin(place, w * (labels == label).to(at::kDouble), count)
        .to(at::kCPU)
        .contiguous();
  };
  const Tensor background = sums(0), signal = sums(1);
  const auto* b = background.data_ptr<double>();
  const auto* s = signal.data_ptr<double>();
  const auto* edge = edges.data_ptr<double>();
  // Groups of bins that have events of both classes; what is left at the end joins the last one.
  std::vector<double> kept, s_sums(1, 0.0), b_sums(1, 0.0);
  for (std::int64_t k = 0; k < count; ++k) {
    s_sums.back() += s[k];
    b_sums.back() += b[k];
    if (k + 1 == count || !(s_sums.back() > 0.0 && b_sums.back() > 0.0)) continue;
    kept.push_back(edge[k]);
    s_sums.push_back(0.0);
    b_sums.push_back(0.0);
  }
  if (!kept.empty() && !(s_sums.back() > 0.0 && b_sums.back() > 0.0)) {
    s_sums[kept.size() - 1] += s_sums.back();
    b_sums[kept.size() - 1] += b_sums.back();
    kept.pop_back();
  }
  std::vector<double> ratio;
  for (std::size_t k = 0; k <= kept.size(); ++k) ratio.push_back(std::log(s_sums[k] / b_sums[k]));
  return {at::tensor(kept, at::kDouble).to(x.device()),
          at::tensor(ratio, at::kDouble).to(x.device())};
}

namespace {

/// Events of neighbouring logits that share one ratio.
struct Step {
  double signal = 0.0, background = 0.0;  // weights
  double moment = 0.0;                    // sum of weight times logit
  /// Whether the ratio of this one is at least that of the next.
  bool violates(const Step& next) const {
    return signal * next.background >= next.signal * background;
  }
  Step& operator+=(const Step& other) {
    signal += other.signal;
    background += other.background;
    moment += other.moment;
    return *this;
  }
};

/// Steps of ascending ratio, each with events of both classes.
std::vector<Step> pool(const std::vector<Step>& events) {
  std::vector<Step> steps;
  for (const Step& event : events) {
    steps.push_back(event);
    while (steps.size() > 1 && steps[steps.size() - 2].violates(steps.back())) {
      const Step last = steps.back();
      steps.pop_back();
      steps.back() += last;
    }
  }
  if (steps.size() == 2 && !(steps[0].signal > 0.0) && !(steps[1].background > 0.0)) {
    throw Error(ErrorKind::numerical, "the classes are separated completely", k_where);
  }
  // Inside, a step without one class cannot be: only the first has no signal, only the last no
  // background.
  if (steps.size() > 1 && !(steps.front().signal > 0.0)) {
    steps[1] += steps[0];
    steps.erase(steps.begin());
  }
  if (steps.size() > 1 && !(steps.back().background > 0.0)) {
    steps[steps.size() - 2] += steps.back();
    steps.pop_back();
  }
  return steps;
}

}  // namespace

Tensor IsotonicCalibration::operator()(const Tensor& other) const {
  const Tensor x = other.to(at::kDouble);
  const std::int64_t points = logit.size(0);
  if (points == 1) return ratio[0] + 0.0 * x;
  const Tensor place =
      at::bucketize(x.detach().contiguous(), logit, false, true).clamp(1, points - 1).reshape({-1});
  const auto at_points = [&](const Tensor& values, const Tensor& which) {
    return values.index_select(0, which).reshape(x.sizes());
  };
  const Tensor x0 = at_points(logit, place - 1), x1 = at_points(logit, place),
               y0 = at_points(ratio, place - 1), y1 = at_points(ratio, place);
  return y0 + (y1 - y0) * ((x - x0) / (x1 - x0)).clamp(0.0, 1.0);
}

IsotonicCalibration isotonic_calibration(const Tensor& logit, const Tensor& labels,
                                         const Tensor& weights) {
  const at::NoGradGuard no_graph;
  const Tensor w = checked_weights(logit, labels, weights), x = logit.to(at::kDouble);
  const Tensor order = at::argsort(x);
  const Tensor xs = x.index_select(0, order).to(at::kCPU).contiguous(),
               ws = w.index_select(0, order).to(at::kCPU).contiguous(),
               ls = labels.index_select(0, order).to(at::kCPU, at::kDouble).contiguous();
  require(at::isfinite(xs).all().item<bool>(), "finite logits expected", k_where);
  std::vector<Step> events;
  for (std::int64_t i = 0; i < xs.size(0); ++i) {
    const double value = xs.data_ptr<double>()[i], weight = ws.data_ptr<double>()[i];
    const bool is_signal = ls.data_ptr<double>()[i] == 1.0;
    const Step event{is_signal ? weight : 0.0, is_signal ? 0.0 : weight, weight * value};
    // Equal logits are one event.
    if (i > 0 && value == xs.data_ptr<double>()[i - 1]) {
      events.back() += event;
    } else {
      events.push_back(event);
    }
  }
  std::vector<double> points, ratio;
  for (const Step& step : pool(events)) {
    points.push_back(step.moment / (step.signal + step.background));
    ratio.push_back(std::log(step.signal / step.background));
  }
  return {at::tensor(points, at::kDouble).to(x.device()),
          at::tensor(ratio, at::kDouble).to(x.device())};
}

}  // namespace slalom
