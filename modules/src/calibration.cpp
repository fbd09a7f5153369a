// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/calibration.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/bucketize.h>
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
  constexpr double k_tolerance = 1e-12;
  constexpr double k_separated = 1e-8;  // cross entropy of an event
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
    if (0.5 * (da * now.g0 + db * now.g1) < k_tolerance * k_tolerance) return result;
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

}  // namespace slalom
