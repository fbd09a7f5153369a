// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/mixture.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/log.h>
#include <ATen/ops/log_sigmoid.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include "check.hpp"

namespace slalom {

using detail::require;
using detail::shape_of;

namespace {

constexpr const char* k_where = "mixture";
/// exp(-700) is still a normal number; a fraction below that is 0.
constexpr double k_largest = 700.0;

void check_fraction(const Tensor& mu) {
  require(mu.defined() && mu.dim() <= 1, "a fraction, or one per event, expected", k_where);
  const Tensor inside = ((mu >= 0.0).logical_and(mu <= 1.0)).all();
  require(inside.item<bool>(), "a fraction between 0 and 1 expected", k_where);
}

/// log(mu exp(s) + (1 - mu) exp(b)). The larger density is taken out; both branches are finite
/// wherever they are not used, so that no NaN gets into gradients.
Tensor log_mixture(const Tensor& s, const Tensor& b, const Tensor& mu) {
  const Tensor l = s - b, other = 1.0 - mu;
  const Tensor below = at::clamp(-l, 0.0, k_largest), above = at::clamp(l, 0.0, k_largest);
  // Where the larger density has no share, the smaller one counts however small it is.
  const Tensor low = at::where(mu < 1.0, b, s + below), high = at::where(mu > 0.0, s, b + above);
  return at::where(l > 0.0, high + at::log(mu + other * at::exp(-above)),
                   low + at::log(other + mu * at::exp(-below)));
}

Tensor mean(const Tensor& values, const Tensor& weights) {
  if (!weights.defined()) return values.mean();
  require(weights.sizes() == values.sizes(),
          "one weight per event expected, found " + shape_of(weights) + " for " + shape_of(values),
          k_where);
  const Tensor w = weights.to(at::kDouble), sum = w.sum();
  if (!(sum.item<double>() > 0.0)) {
    throw Error(ErrorKind::numerical, "weights with a positive sum expected", k_where);
  }
  return (w * values).sum() / sum;
}

void check_events(const Tensor& a, const Tensor& b) {
  require(
      a.dim() == 1 && a.sizes() == b.sizes() && a.size(0) > 0,
      "logarithms of two densities [events] expected, found " + shape_of(a) + " and " + shape_of(b),
      k_where);
}

/// Values of which all are finite. \throws Error (numerical) with the first that is not
Tensor checked(Tensor values, const char* what) {
  const Tensor bad = at::isfinite(values).logical_not();
  if (bad.any().item<bool>()) {
    const Tensor where = at::nonzero(bad);
    throw Error(ErrorKind::numerical,
                std::string(what) + " of " + std::to_string(where.size(0)) +
                    " events is not finite, first of event " +
                    std::to_string(where[0][0].item<std::int64_t>()),
                k_where);
  }
  return values;
}

}  // namespace

Tensor mixture_log_ratio(const Tensor& log_ratio, const Tensor& mu) {
  check_fraction(mu);
  const Tensor l = log_ratio.to(at::kDouble);
  return log_mixture(l, at::zeros_like(l), mu.to(at::kDouble));
}

Tensor signal_probability(const Tensor& log_ratio, const Tensor& mu) {
  // Ratios beyond all numbers would be multiplied by 0 at the ends of mu.
  const Tensor l = at::clamp(log_ratio, -k_largest, k_largest);
  return mu * at::exp(l - mixture_log_ratio(l, mu));
}

Tensor mixture_nll(const Tensor& log_signal, const Tensor& log_background, const Tensor& mu,
                   const Tensor& weights) {
  check_events(log_signal, log_background);
  check_fraction(mu);
  require(mu.numel() == 1, "one fraction for all events expected", k_where);
  const Tensor value =
      log_mixture(log_signal.to(at::kDouble), log_background.to(at::kDouble), mu.to(at::kDouble));
  return -mean(checked(value, "the density"), weights);
}

Tensor weak_cross_entropy(const Tensor& data, const Tensor& reference, const Tensor& mu,
                          const Tensor& data_weights, const Tensor& reference_weights) {
  require(data.dim() == 1 && reference.dim() == 1 && data.size(0) > 0 && reference.size(0) > 0,
          "log ratios [events] of data and reference expected, found " + shape_of(data) + " and " +
              shape_of(reference),
          k_where);
  require(mu.defined() && mu.numel() == 1, "one fraction for all events expected", k_where);
  const Tensor of_data = mixture_log_ratio(data, mu),
               of_reference = mixture_log_ratio(reference, mu);
  const Tensor data_loss = -at::log_sigmoid(checked(of_data, "the ratio of data")),
               reference_loss = -at::log_sigmoid(-checked(of_reference, "the reference's ratio"));
  return 0.5 * (mean(data_loss, data_weights) + mean(reference_loss, reference_weights));
}

}  // namespace slalom
