// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/density.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <cmath>
#include <limits>
#include <utility>

#include "check.hpp"
#include "slalom/core/random.hpp"
#include "to_tensor.hpp"

namespace slalom {

namespace {

using detail::require;
using detail::shape_of;
using detail::to_tensor;

constexpr const char* k_where = "density";

// Families of random numbers of one seed.
constexpr std::uint32_t k_member_family = 0x0de50001, k_seed_family = 0x0de50002;

/// A seed for one of several that share a seed.
std::uint64_t seed_of(std::uint64_t seed, std::size_t number) {
  return RandomStream(seed, number, k_seed_family).bits();
}

/// Checked weights in float64 with the sum 1.
Tensor shares(const Tensor& weights, std::int64_t n, const at::TensorOptions& options) {
  if (!weights.defined()) return at::ones({n}, options) / static_cast<double>(n);
  require(weights.dim() == 1 && weights.size(0) == n, "weights [events] expected", k_where);
  const Tensor w = weights.to(options);
  const double total = w.sum().item<double>();
  if (!(total > 0.0) || !std::isfinite(total)) {
    throw Error(ErrorKind::numerical, "the weights have no positive sum", k_where);
  }
  return w / total;
}

/// A weighted mean and its standard error.
std::pair<double, double> mean_of(const Tensor& values, const Tensor& w) {
  const double mean = (w * values).sum().item<double>();
  const Tensor pull = w * (values - mean);
  return {mean, std::sqrt((pull * pull).sum().item<double>())};
}

}  // namespace

Tensor DensityImpl::losses(const Tensor& x, const Tensor& condition, std::uint64_t /*seed*/) {
  return -log_prob(x, condition);
}

Tensor DensityImpl::total_loss(const Tensor& x, const Tensor& condition, const Tensor& weights,
                               std::uint64_t seed) {
  return (losses(x, condition, seed) * weights).sum();
}

DensityTarget DensityImpl::target(const Tensor& x, const Tensor& condition) {
  return {this, x, condition};
}

TransformedDensityImpl::TransformedDensityImpl(FeatureTransform transform, Density density,
                                               std::int64_t conditions)
    : transform_(std::move(transform)), density_(std::move(density)), conditions_(conditions) {
  require(conditions_ >= 0, "the number of conditions must not be negative", k_where);
  register_module("transform", transform_);
  register_module("density", density_);
  condition_mean_ = register_buffer("condition_mean", at::zeros({conditions_}, at::kDouble));
  condition_scale_ = register_buffer("condition_scale", at::ones({conditions_}, at::kDouble));
}

Tensor TransformedDensityImpl::standardised(const Tensor& condition, std::int64_t n) {
  require(conditions_ > 0 || !condition.defined(), "a condition for a density without", k_where);
  if (conditions_ == 0) return {};
  require(condition.defined() && condition.dim() == 2 && condition.size(0) == n &&
              condition.size(1) == conditions_,
          "conditions [" + std::to_string(n) + ", " + std::to_string(conditions_) +
              "] expected, found " + (condition.defined() ? shape_of(condition) : "none"),
          k_where);
  return (condition.to(at::kDouble) - condition_mean_) / condition_scale_;
}

void TransformedDensityImpl::fit(const Tensor& x, const Tensor& condition, const Tensor& weights) {
  transform_->fit(x, weights);
  const at::NoGradGuard no_graph;
  condition_mean_.zero_();
  condition_scale_.fill_(1.0);
  const Tensor c = standardised(condition, x.size(0));
  if (!c.defined()) return;
  if (!at::isfinite(c).all().item<bool>()) {
    throw Error(ErrorKind::numerical, "conditions to fit to are not finite", k_where);
  }
  const Tensor w = shares(weights, x.size(0), c.options()).unsqueeze(1);
  const Tensor mean = (w * c).sum(0), variance = (w * (c - mean) * (c - mean)).sum(0);
  condition_mean_.copy_(mean);
  // As in the transform: one condition that does not vary keeps the scale 1.
  condition_scale_.copy_(
      at::where(variance > 1e-24 * (mean * mean), at::sqrt(variance), at::ones_like(variance)));
}

Tensor TransformedDensityImpl::log_prob(const Tensor& x, const Tensor& condition) {
  const Tensor c = standardised(condition, x.size(0));
  const Tensor inside = transform_->inside(x);
  if (inside.all().item<bool>()) {
    return density_->log_prob(transform_->forward(x), c).to(at::kDouble) +
           transform_->log_jacobian(x);
  }
  // Others are carried along at the centre, so that no NaN comes into the gradient of the rest.
  const Tensor centre =
      transform_->inverse(at::zeros({1, transform_->features()}, at::kDouble).to(x.device()));
  const Tensor safe = at::where(inside.unsqueeze(1), x.to(at::kDouble), centre);
  const Tensor value = density_->log_prob(transform_->forward(safe), c).to(at::kDouble) +
                       transform_->log_jacobian(safe);
  return at::where(inside, value, at::full_like(value, -std::numeric_limits<double>::infinity()));
}

Tensor TransformedDensityImpl::sample(std::int64_t n, const Tensor& condition, std::uint64_t seed) {
  const Tensor c = standardised(condition, n);
  return transform_->inverse(density_->sample(n, c, seed).to(at::kDouble));
}

Tensor TransformedDensityImpl::losses(const Tensor& x, const Tensor& condition,
                                      std::uint64_t seed) {
  return density_->losses(transform_->forward(x), standardised(condition, x.size(0)), seed);
}

DensityTarget TransformedDensityImpl::target(const Tensor& x, const Tensor& condition) {
  return density_->target(transform_->forward(x), standardised(condition, x.size(0)));
}

DensityEnsembleImpl::DensityEnsembleImpl(std::vector<Density> members)
    : members_(std::move(members)) {
  require(!members_.empty(), "an ensemble without members", k_where);
  for (std::size_t m = 0; m < members_.size(); ++m) {
    register_module("member" + std::to_string(m), members_[m]);
  }
}

Tensor DensityEnsembleImpl::log_probs(const Tensor& x, const Tensor& condition) {
  std::vector<Tensor> all;
  for (Density& member : members_) all.push_back(member->log_prob(x, condition));
  return at::stack(all);
}

Tensor DensityEnsembleImpl::log_prob(const Tensor& x, const Tensor& condition) {
  const double count = static_cast<double>(members_.size());
  return at::logsumexp(log_probs(x, condition), 0) - std::log(count);
}

Tensor DensityEnsembleImpl::sample(std::int64_t n, const Tensor& condition, std::uint64_t seed) {
  std::vector<std::vector<std::int64_t>> rows(members_.size());
  for (std::int64_t i = 0; i < n; ++i) {
    RandomStream random(seed, static_cast<std::uint64_t>(i), k_member_family);
    rows[random.bits() % rows.size()].push_back(i);
  }
  const at::NoGradGuard no_graph;
  Tensor result;
  for (std::size_t m = 0; m < members_.size(); ++m) {
    const Tensor places = to_tensor(rows[m]);
    const Tensor c =
        condition.defined() ? condition.index_select(0, places.to(condition.device())) : condition;
    const Tensor part = members_[m]->sample(places.size(0), c, seed_of(seed, m));
    if (!result.defined()) result = at::empty({n, part.size(1)}, part.options());
    result.index_copy_(0, places.to(part.device()), part);
  }
  return result;
}

FunctionDensityImpl::FunctionDensityImpl(LogProb log_prob, Sample sample)
    : log_prob_(std::move(log_prob)), sample_(std::move(sample)) {
  require(static_cast<bool>(log_prob_), "no function", k_where);
}

Tensor FunctionDensityImpl::log_prob(const Tensor& x, const Tensor& condition) {
  Tensor value = log_prob_(x, condition);
  require(value.dim() == 1 && value.size(0) == x.size(0),
          "the function returned " + shape_of(value) + " for events " + shape_of(x), k_where);
  return value;
}

Tensor FunctionDensityImpl::sample(std::int64_t n, const Tensor& condition, std::uint64_t seed) {
  require(static_cast<bool>(sample_), "this density has no function that samples it", k_where);
  Tensor x = sample_(n, condition, seed);
  require(x.dim() == 2 && x.size(0) == n,
          "the function returned " + shape_of(x) + " for " + std::to_string(n) + " events",
          k_where);
  return x;
}

Tensor normal_rows(std::int64_t n, std::int64_t k, std::uint64_t seed, std::uint32_t family) {
  require(n >= 0 && k >= 0, "negative numbers of events or features", k_where);
  Tensor result = at::empty({n, k}, at::kDouble);
  auto* place = result.data_ptr<double>();
  for (std::int64_t i = 0; i < n; ++i) {
    RandomStream random(seed, static_cast<std::uint64_t>(i), family);
    for (std::int64_t j = 0; j < k; ++j) *place++ = random.normal();
  }
  return result;
}

KlEstimate kl_divergence(const Tensor& log_p, const Tensor& log_q, const Tensor& weights) {
  require(log_p.dim() == 1 && log_p.size(0) > 0 && log_q.sizes() == log_p.sizes(),
          "log p and log q [events] expected, found " + shape_of(log_p) + " and " + shape_of(log_q),
          k_where);
  const at::NoGradGuard no_graph;
  const Tensor ratio = log_q.to(at::kDouble) - log_p.to(at::kDouble);
  if (!at::isfinite(ratio).all().item<bool>()) {
    throw Error(ErrorKind::numerical, "log p or log q is not finite at an event of p", k_where);
  }
  const Tensor w = shares(weights, ratio.size(0), ratio.options());
  KlEstimate result;
  std::tie(result.value, result.error) = mean_of(-ratio, w);
  std::tie(result.paired, result.paired_error) = mean_of(at::exp(ratio) - 1.0 - ratio, w);
  return result;
}

SampleComparison density_closure(Density& density, const EventBatch& events,
                                 const std::vector<std::string>& features,
                                 const std::vector<std::string>& conditions,
                                 const ClosureOptions& options) {
  require(!features.empty(), "no features to compare", k_where);
  const Tensor x = events.matrix(features),
               condition = conditions.empty() ? Tensor() : events.matrix(conditions);
  const Tensor sample =
      density->sample(events.size(), condition, seed_of(options.seed, 0)).detach();
  require(sample.sizes() == x.sizes(),
          "the density has events " + shape_of(sample) + " where " + shape_of(x) + " are compared",
          k_where);
  std::vector<std::string> columns = features;
  columns.insert(columns.end(), conditions.begin(), conditions.end());
  const auto whole = [&](const Tensor& part) {
    const Tensor same = part.to(x.scalar_type());
    return make_events(columns, conditions.empty() ? same : at::cat({same, condition}, 1),
                       events.weights);
  };
  return compare_samples(whole(sample), whole(x), options);
}

}  // namespace slalom
