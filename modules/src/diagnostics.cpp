// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/diagnostics.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cholesky_inverse.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linalg_cholesky_ex.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <cmath>
#include <tuple>

#include "slalom/core/error.hpp"
#include "slalom/modules/profile_fit.hpp"

namespace slalom {

namespace {

/// numerator / denominator, 0 without a derivative where the denominator is not positive.
Tensor ratio_or_zero(const Tensor& numerator, const Tensor& denominator) {
  const Tensor good = denominator > 0.0;
  const Tensor safe = at::where(good, denominator, at::ones_like(denominator));
  return at::where(good, numerator / safe, at::zeros_like(denominator));
}

Tensor shift_of_mean(const Tensor& nominal, const Tensor& up, const Tensor& down) {
  return 0.5 * (up + down) - nominal;
}

}  // namespace

Tensor one_sidedness(const Tensor& expected, const Tensor& nominal, const Tensor& up,
                     const Tensor& down) {
  const Tensor root = at::sqrt(at::clamp(expected.detach(), 0.0));
  return ratio_or_zero(shift_of_mean(nominal, up, down), root);
}

Tensor one_sidedness_penalty(const Tensor& expected, const Tensor& nominal, const Tensor& up,
                             const Tensor& down) {
  const Tensor shift = shift_of_mean(nominal, up, down);
  return ratio_or_zero(shift * shift, expected).sum();
}

Tensor one_sided_events(const Tensor& signal, const Tensor& nominal, const Tensor& up,
                        const Tensor& down) {
  const Tensor a = up - nominal, b = down - nominal;
  const Tensor shift = at::minimum(a.abs(), b.abs()) * (a * b > 0.0).to(a.scalar_type());
  return ratio_or_zero((signal * shift).sum(), signal.sum());
}

Tensor effective_entries(const Tensor& sumw, const Tensor& sumw2) {
  return ratio_or_zero(sumw * sumw, sumw2);
}

Tensor effective_entries_penalty(const Tensor& sumw, const Tensor& sumw2, double minimum) {
  if (!(minimum > 0.0)) throw Error(ErrorKind::usage, "a positive number expected", "minimum");
  const Tensor missing = at::clamp(1.0 - effective_entries(sumw, sumw2) / minimum, 0.0);
  return (missing * missing).sum();
}

double area_under_curve(const Tensor& scores, const Tensor& labels, const Tensor& weights) {
  const char* where = "area_under_curve";
  const bool fit = scores.dim() == 1 && labels.sizes() == scores.sizes() &&
                   (!weights.defined() || weights.sizes() == scores.sizes());
  if (!fit) throw Error(ErrorKind::usage, "scores, labels and weights [n] expected", where);
  const at::NoGradGuard no_graph;
  const Tensor x = scores.to(at::kCPU, at::kDouble),
               all = weights.defined() ? weights.to(at::kCPU, at::kDouble) : at::ones_like(x);
  const bool good = at::isfinite(x).all().item<bool>() && at::isfinite(all).all().item<bool>() &&
                    (all >= 0.0).all().item<bool>();
  if (!good) {
    throw Error(ErrorKind::numerical, "finite scores and weights >= 0 expected", where);
  }
  Tensor sorted, order;
  std::tie(sorted, order) = at::sort(x, /*dim=*/0);
  sorted = sorted.contiguous();
  const Tensor signal = (labels.to(at::kCPU) == 1).index_select(0, order).contiguous(),
               w = all.index_select(0, order).contiguous();
  const auto* score = sorted.data_ptr<double>();
  const auto* weight = w.data_ptr<double>();
  const auto* is_signal = signal.data_ptr<bool>();
  const std::int64_t n = x.size(0);
  double background = 0.0, total = 0.0, sum = 0.0;
  for (std::int64_t i = 0; i < n;) {
    double s = 0.0, b = 0.0;  // of all with this score
    const double here = score[i];
    for (; i < n && score[i] == here; ++i) (is_signal[i] ? s : b) += weight[i];
    sum += s * (background + 0.5 * b);
    background += b;
    total += s;
  }
  if (!(background > 0.0 && total > 0.0)) {
    throw Error(ErrorKind::numerical, "signal and background need weights", where);
  }
  return sum / (total * background);
}

std::vector<ParameterConstraint> parameter_constraints(const Likelihood& likelihood,
                                                       const Templates& templates, double mu) {
  const ModelSpec& spec = likelihood.spec();
  if (!spec.poi) {
    throw Error(ErrorKind::model, "the model has no parameter of interest", "diagnostics");
  }
  const auto n_parameters = static_cast<std::int64_t>(spec.parameters.size());
  std::vector<std::int64_t> floating;
  for (std::int64_t i = 0; i < n_parameters; ++i) {
    if (!spec.parameters[static_cast<std::size_t>(i)].fixed) floating.push_back(i);
  }
  Tensor free = at::zeros({static_cast<std::int64_t>(floating.size())}, at::kLong);
  std::int64_t poi = -1;
  for (std::size_t k = 0; k < floating.size(); ++k) {
    free[static_cast<std::int64_t>(k)] = floating[k];
    if (floating[k] == static_cast<std::int64_t>(*spec.poi)) poi = static_cast<std::int64_t>(k);
  }
  if (poi < 0) throw Error(ErrorKind::model, "the parameter of interest is held", "diagnostics");
  Tensor point = likelihood.initial().clone();
  point[static_cast<std::int64_t>(*spec.poi)] = mu;
  free = free.to(point.device());
  const Tensor information = fisher_information(likelihood, templates, point)
                                 .detach()
                                 .index_select(0, free)
                                 .index_select(1, free);
  Tensor factor, info;
  std::tie(factor, info) = at::linalg_cholesky_ex(information);
  if (info.item<int>() != 0) {
    throw Error(ErrorKind::numerical, "the information is not positive definite", "diagnostics");
  }
  const Tensor covariance = at::cholesky_inverse(factor).to(at::kCPU);
  std::vector<ParameterConstraint> result;
  for (std::size_t k = 0; k < floating.size(); ++k) {
    const Parameter& p = spec.parameters[static_cast<std::size_t>(floating[k])];
    if (p.constraint == ConstraintType::none) continue;
    const auto row = static_cast<std::int64_t>(k);
    const double sigma = std::sqrt(covariance[row][row].item<double>());
    const double prior = p.prefit_uncertainty();
    result.push_back({p.name, prior, sigma, sigma / prior,
                      std::abs(covariance[row][poi].item<double>()) / sigma});
  }
  return result;
}

}  // namespace slalom
