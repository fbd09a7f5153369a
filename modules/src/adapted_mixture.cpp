// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/adapted_mixture.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clamp_max.h>
#include <ATen/ops/clamp_min.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/log.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "check.hpp"
#include "slalom/modules/autodiff.hpp"
#include "to_tensor.hpp"

namespace slalom {

using detail::require;
using detail::shape_of;
using detail::to_tensor;

namespace {

constexpr const char* k_where = "adapted_mixture";
constexpr double k_infinity = std::numeric_limits<double>::infinity();

void check_sample(const AdaptedSample& sample, const char* what) {
  require(sample.signal.defined() && sample.background.defined() && sample.signal.dim() == 2 &&
              sample.background.dim() == 2 && sample.signal.size(0) == sample.background.size(0) &&
              sample.signal.size(1) > 0 && sample.background.size(1) > 0,
          std::string("log ratios [events, simulations] of both processes of the ") + what +
              " expected",
          k_where);
}

void check_options(const AdaptedLossOptions& o) {
  require(o.penalty >= 0.0 && o.ridge >= 0.0 && o.floor >= 0.0 && std::isfinite(o.penalty) &&
              std::isfinite(o.ridge) && std::isfinite(o.floor),
          "a penalty, a ridge and a floor that are not negative expected", k_where);
}

/// c_s r_s and c_b r_b [n].
std::pair<Tensor, Tensor> ratios_of(const AdaptedParameters& p, const AdaptedSample& sample,
                                    MixtureFamily family) {
  return {p.signal_norm * at::exp(adapted_log_ratio(sample.signal, p.signal_weights, family)),
          p.background_norm *
              at::exp(adapted_log_ratio(sample.background, p.background_weights, family))};
}

Tensor ridge_of(const Tensor& weights) {
  const Tensor d = weights - 1.0 / static_cast<double>(weights.size(0));
  return (d * d).sum();
}

}  // namespace

Tensor affine_weights(const Tensor& free_weights) {
  require(free_weights.defined() && free_weights.dim() == 1, "free weights [K - 1] expected",
          k_where);
  const Tensor w = free_weights.to(at::kDouble);
  return at::cat({w, (1.0 - w.sum()).unsqueeze(0)}, 0);
}

Tensor adapted_log_ratio(const Tensor& log_ratios, const Tensor& weights, MixtureFamily family) {
  require(log_ratios.dim() == 2 && weights.dim() == 1 && weights.size(0) == log_ratios.size(1) &&
              weights.size(0) > 0,
          "log ratios [events, simulations] and as many weights expected, found " +
              shape_of(log_ratios) + " and " + shape_of(weights),
          k_where);
  const Tensor l = log_ratios.to(at::kDouble), w = weights.to(at::kDouble);
  if (family == MixtureFamily::exponential) return l.matmul(w);
  require((w >= 0.0).all().item<bool>() && (w > 0.0).any().item<bool>(),
          "weights of a linear mixture that are not negative, nor all 0, expected", k_where);
  if (l.size(0) == 0) return l.matmul(w);
  // The largest ratio with a weight is taken out.
  const Tensor top = at::where(w > 0.0, l, at::full_like(l, -k_infinity)).amax({1}, true).detach();
  constexpr double k_largest = 700.0;  // without a weight there is no upper end
  return at::log((w * at::exp(at::clamp_max(l - top, k_largest))).sum(1)) + top.squeeze(1);
}

Tensor adapted_ratio(const Tensor& signal, const Tensor& background, const Tensor& kappa) {
  return kappa * signal + (1.0 - kappa) * background;
}

AdaptedParameters adapted_parameters(const Tensor& x, std::int64_t signal,
                                     std::int64_t background) {
  require(
      signal > 0 && background > 0 && x.dim() == 1 && x.size(0) == 1 + signal + background,
      "parameters [" + std::to_string(1 + signal + background) + "] expected, found " + shape_of(x),
      k_where);
  return {x[0], x[1], x[2], affine_weights(x.slice(0, 3, 2 + signal)),
          affine_weights(x.slice(0, 2 + signal))};
}

Tensor adapted_loss(const AdaptedParameters& parameters, const AdaptedSample& data,
                    const AdaptedSample& reference, const AdaptedLossOptions& options) {
  check_options(options);
  check_sample(data, "data");
  check_sample(reference, "reference");
  require(reference.signal.size(0) > 0, "a reference without events", k_where);
  const Tensor ridge =
      0.5 * options.ridge *
      (ridge_of(parameters.signal_weights) + ridge_of(parameters.background_weights));
  const auto n = static_cast<double>(data.signal.size(0));
  if (data.signal.size(0) == 0) return ridge;
  const auto [s, b] = ratios_of(parameters, data, options.family);
  const Tensor log_r = at::log(at::clamp_min(adapted_ratio(s, b, parameters.kappa), options.floor));
  const auto [s_ref, b_ref] = ratios_of(parameters, reference, options.family);
  const Tensor mean_s = s_ref.mean(), mean_b = b_ref.mean(), difference = mean_b - mean_s;
  return -log_r.sum() + n * (adapted_ratio(mean_s, mean_b, parameters.kappa) - 1.0) +
         0.5 * options.penalty * n * difference * difference + ridge;
}

Tensor symmetrised_mlc_loss(const Tensor& numerator, const Tensor& denominator) {
  require(numerator.dim() == 1 && denominator.dim() == 1 && numerator.size(0) > 0 &&
              denominator.size(0) > 0,
          "log ratios [events] of two samples expected, found " + shape_of(numerator) + " and " +
              shape_of(denominator),
          k_where);
  const Tensor p = numerator.to(at::kDouble), q = denominator.to(at::kDouble);
  return (at::exp(-p) - p - 1.0).mean() + (at::exp(q) + q - 1.0).mean();
}

MinimizeResult fit_adapted(const AdaptedSample& data, const AdaptedSample& reference,
                           const AdaptedFitOptions& options) {
  check_options(options.loss);
  check_sample(data, "data");
  check_sample(reference, "reference");
  require(options.loss.family == MixtureFamily::exponential,
          "linear mixtures are fitted by TemplateMixture", k_where);
  const std::int64_t signal = reference.signal.size(1), background = reference.background.size(1);
  require(data.signal.size(1) == signal && data.background.size(1) == background,
          "data and reference with the same simulations expected", k_where);
  require(options.kappa_low < options.kappa_high && options.kappa >= options.kappa_low &&
              options.kappa <= options.kappa_high,
          "a start of kappa within its bounds expected", k_where);
  const Objective loss = [&](std::span<const double> x, std::span<double> g, std::span<double> h) {
    const Tensor at_x = to_tensor(std::vector<double>(x.begin(), x.end()))
                            .to(data.signal.device())
                            .requires_grad_(!g.empty() || !h.empty());
    const Tensor value =
        adapted_loss(adapted_parameters(at_x, signal, background), data, reference, options.loss);
    const double number = value.item<double>();
    if (!std::isfinite(number)) return k_infinity;
    const auto copy = [](const Tensor& from, std::span<double> to) {
      const Tensor flat = from.detach().to(at::kCPU).contiguous();
      std::copy_n(flat.data_ptr<double>(), flat.numel(), to.data());
    };
    if (!g.empty()) copy(gradient(value, at_x), g);
    if (!h.empty()) copy(hessian(value, at_x), h);
    return number;
  };
  std::vector<double> start = {options.kappa, 1.0, 1.0};
  for (const std::int64_t k : {signal, background}) {
    start.insert(start.end(), static_cast<std::size_t>(k - 1), 1.0 / static_cast<double>(k));
  }
  MinimizeOptions how;
  how.tolerance = options.tolerance;
  how.lower.assign(start.size(), -k_infinity);
  how.upper.assign(start.size(), k_infinity);
  how.lower[0] = options.kappa_low;
  how.upper[0] = options.kappa_high;
  how.lower[1] = how.lower[2] = 0.0;
  how.held.assign(start.size(), false);
  how.held[0] = true;
  const MinimizeResult nuisances = minimize(loss, start, how);
  how.held[0] = false;
  return minimize(loss, nuisances.x.empty() ? start : nuisances.x, how);
}

}  // namespace slalom
