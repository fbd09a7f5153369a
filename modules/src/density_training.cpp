// SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/ones.h>
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <torch/csrc/autograd/autograd.h>
#include <utility>

#include "check.hpp"
#include "slalom/core/random.hpp"
#include "slalom/modules/density.hpp"
#include "slalom/modules/schedule.hpp"
#include "to_tensor.hpp"
#include "training.hpp"

namespace slalom {

namespace {

using detail::AdamW;
using detail::FlatParameters;
using detail::OneThread;
using detail::permutation;
using detail::require;
using detail::to_tensor;

constexpr const char* k_where = "density training";

// Families of random numbers of the seed.
constexpr std::uint32_t k_split_family = 0x0de50010, k_order_family = 0x0de50011,
                        k_loss_family = 0x0de50012, k_validation_family = 0x0de50013;

/// Events that one thread takes at a time, whatever the number of threads: sums of their gradients
/// in a fixed order make results independent of it.
constexpr std::int64_t k_chunk = 1024;
constexpr std::int64_t k_validation_chunk = 8192;

/// Events as the target takes them, on one device and in the type of its weights.
struct Sample {
  Tensor x, condition, weights;

  std::int64_t size() const { return x.size(0); }
  Sample picked(const Tensor& rows) const {
    const Tensor places = rows.to(x.device());
    return {x.index_select(0, places),
            condition.defined() ? condition.index_select(0, places) : condition,
            weights.index_select(0, places)};
  }
  Sample slice(std::int64_t first, std::int64_t last) const {
    return {x.slice(0, first, last),
            condition.defined() ? condition.slice(0, first, last) : condition,
            weights.slice(0, first, last)};
  }
};

/// Calls for chunks 0 ... count - 1, several at once.
void for_chunks(std::int64_t count, const std::function<void(std::int64_t)>& call) {
  if (count == 1) {
    const OneThread guard;
    call(0);
    return;
  }
  at::parallel_for(0, count, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t chunk = first; chunk < last; ++chunk) call(chunk);
  });
}

class Training {
 public:
  Training(DensityImpl& density, const Sample& training, const Sample& validation,
           const DensityTraining& options)
      : density_(density),
        training_(training),
        validation_(validation),
        options_(options),
        flat_(density.parameters()),
        optimizer_(flat_.values, options.weight_decay),
        batches_(std::max<std::int64_t>(
            1, (training.size() + options.batch_size - 1) / options.batch_size)),
        steps_(options.steps > 0 ? options.steps : options.epochs * batches_) {
    if (options_.average > 0.0) average_ = flat_.values.clone();
  }

  DensityFit run(const std::function<bool(const DensityProgress&)>& progress) {
    const Schedule rate{
        .shape = ScheduleShape::cosine,
        .start = options_.learning_rate,
        .end = 0.0,
        .steps = std::max<std::int64_t>(1, steps_ - options_.warm_up),
        .warm_up = options_.warm_up,
        .warm_up_from = options_.learning_rate / static_cast<double>(options_.warm_up + 1)};
    const std::int64_t every = options_.validate_every > 0 ? options_.validate_every : batches_;
    double sum = 0.0;
    std::int64_t count = 0, worse = 0;
    for (std::int64_t step = 0; step < steps_; ++step) {
      sum += one_step(step, value_at(rate, step));
      ++count;
      ++fit_.steps;
      if ((step + 1) % every != 0 && step + 1 != steps_) continue;
      const bool better = validate(sum / static_cast<double>(count));
      worse = better ? 0 : worse + 1;
      sum = 0.0;
      count = 0;
      fit_.stopped_early = options_.patience > 0 && worse >= options_.patience;
      if ((progress && !progress(fit_.history.back())) || fit_.stopped_early) break;
    }
    const at::NoGradGuard no_graph;
    flat_.values.copy_(best_);
    return fit_;
  }

 private:
  /// The loss of a batch before the step.
  double one_step(std::int64_t step, double rate) {
    const std::int64_t epoch = step / batches_, number = step % batches_, n = training_.size();
    if (number == 0) {
      epoch_ = training_.picked(to_tensor(
          permutation(n, options_.seed, static_cast<std::uint64_t>(epoch), k_order_family)));
    }
    const Sample batch = epoch_.slice(number * n / batches_, (number + 1) * n / batches_);
    const auto [loss, gradient] = slope_of(batch, step);
    if (!std::isfinite(loss)) {
      throw Error(ErrorKind::numerical, "the loss is not finite at step " + std::to_string(step),
                  k_where);
    }
    const at::NoGradGuard no_graph;
    const double norm = gradient.norm().item<double>();
    if (!std::isfinite(norm)) {
      throw Error(ErrorKind::numerical,
                  "the gradient is not finite at step " + std::to_string(step), k_where);
    }
    if (options_.clip_norm > 0.0 && norm > options_.clip_norm) {
      Tensor(gradient).mul_(options_.clip_norm / norm);
    }
    optimizer_.step(gradient, rate);
    if (average_.defined()) {
      // The start is no part of a mean of few steps.
      const double share = std::max(1.0 - options_.average, 1.0 / static_cast<double>(step + 1));
      average_.lerp_(flat_.values, share);
    }
    return loss;
  }

  std::pair<double, Tensor> slope_of(const Sample& batch, std::int64_t step) {
    const std::int64_t n = batch.size(), chunks = (n + k_chunk - 1) / k_chunk;
    std::vector<double> losses(static_cast<std::size_t>(chunks));
    std::vector<Tensor> slopes(losses.size());
    for_chunks(chunks, [&](std::int64_t chunk) {
      const at::AutoGradMode with_graph(true);
      const Sample part = batch.slice(chunk * n / chunks, (chunk + 1) * n / chunks);
      RandomStream random(options_.seed, static_cast<std::uint64_t>(step * chunks + chunk),
                          k_loss_family);
      const Tensor loss = density_.total_loss(part.x, part.condition, part.weights, random.bits()) /
                          static_cast<double>(n);
      std::vector<Tensor> pieces;
      for (const Tensor& piece :
           torch::autograd::grad({loss}, flat_.parameters(), {}, false, false, false)) {
        pieces.push_back(piece.flatten());
      }
      const auto place = static_cast<std::size_t>(chunk);
      losses[place] = loss.item<double>();
      slopes[place] = at::cat(pieces);
    });
    const at::NoGradGuard no_graph;
    for (std::size_t chunk = 1; chunk < slopes.size(); ++chunk) slopes[0].add_(slopes[chunk]);
    return {std::accumulate(losses.begin(), losses.end(), 0.0), slopes[0]};
  }

  /// Whether the weights are the best so far, which are kept.
  bool validate(double training_loss) {
    const Tensor now = average_.defined() ? average_ : flat_.values;
    double loss = std::numeric_limits<double>::quiet_NaN();
    if (validation_.size() > 0) {
      loss = validation_loss(now);
      if (!std::isfinite(loss)) {
        throw Error(ErrorKind::numerical,
                    "the validation loss is not finite after step " + std::to_string(fit_.steps),
                    k_where);
      }
    }
    fit_.history.push_back({fit_.steps, steps_, training_loss, loss});
    const bool better = validation_.size() == 0 || !best_.defined() || loss < fit_.best_loss;
    if (!better) return false;
    best_ = now.clone();
    fit_.best_loss = validation_.size() > 0 ? loss : training_loss;
    fit_.best_step = fit_.steps;
    return true;
  }

  double validation_loss(const Tensor& weights) {
    const at::NoGradGuard no_graph;
    const Tensor kept = average_.defined() ? flat_.values.clone() : Tensor();
    if (kept.defined()) flat_.values.copy_(weights);
    const std::int64_t n = validation_.size(),
                       chunks = (n + k_validation_chunk - 1) / k_validation_chunk;
    std::vector<double> sums(static_cast<std::size_t>(chunks));
    for_chunks(chunks, [&](std::int64_t chunk) {
      const at::NoGradGuard no_graph_here;
      const Sample part = validation_.slice(chunk * n / chunks, (chunk + 1) * n / chunks);
      RandomStream random(options_.seed, static_cast<std::uint64_t>(chunk), k_validation_family);
      sums[static_cast<std::size_t>(chunk)] =
          density_.total_loss(part.x, part.condition, part.weights, random.bits()).item<double>();
    });
    if (kept.defined()) flat_.values.copy_(kept);
    return std::accumulate(sums.begin(), sums.end(), 0.0) /
           validation_.weights.sum().item<double>();
  }

  DensityImpl& density_;
  Sample training_, validation_;
  DensityTraining options_;
  FlatParameters flat_;
  AdamW optimizer_;
  std::int64_t batches_, steps_;
  Sample epoch_;
  Tensor average_, best_;
  DensityFit fit_;
};

void check(const DensityTraining& o) {
  require(o.steps >= 0 && o.epochs >= 0 && o.steps + o.epochs > 0, "no steps", k_where);
  require(o.batch_size > 0, "the batch size must be positive", k_where);
  require(o.learning_rate > 0.0 && std::isfinite(o.learning_rate),
          "the learning rate must be positive", k_where);
  require(o.warm_up >= 0 && o.validate_every >= 0 && o.patience >= 0 && o.weight_decay >= 0.0 &&
              o.clip_norm >= 0.0,
          "options must not be negative", k_where);
  require(o.average >= 0.0 && o.average < 1.0, "the average must lie in [0, 1)", k_where);
  require(o.validation_share >= 0.0 && o.validation_share < 1.0,
          "the share of validation events must lie in [0, 1)", k_where);
}

/// Weights of mean 1.
Tensor event_weights(const Tensor& weights, std::int64_t n, const at::TensorOptions& options) {
  if (!weights.defined()) return at::ones({n}, options);
  require(weights.dim() == 1 && weights.size(0) == n, "weights [events] expected", k_where);
  const Tensor w = weights.detach().to(options);
  require(w.min().item<double>() >= 0.0, "weights must not be negative", k_where);
  const double mean = w.mean().item<double>();
  if (!(mean > 0.0) || !std::isfinite(mean)) {
    throw Error(ErrorKind::numerical, "the weights have no positive sum", k_where);
  }
  return w / mean;
}

/// Checked events as the target takes them.
Sample sample_of(const DensityTarget& target, const Tensor& weights) {
  const std::vector<Tensor> parameters = target.density->parameters();
  require(!parameters.empty(), "the density has no weights to train", k_where);
  const at::TensorOptions options = parameters.front().options().requires_grad(false);
  for (const Tensor& parameter : parameters) {
    require(parameter.scalar_type() == options.dtype().toScalarType() && parameter.requires_grad(),
            "all weights must be trained, and of one type", k_where);
  }
  const std::int64_t n = target.x.size(0);
  const Tensor weight = event_weights(weights, n, options.dtype(at::kDouble)).to(options);
  Sample result{
      target.x.detach().to(options).contiguous(),
      target.condition.defined() ? target.condition.detach().to(options).contiguous() : Tensor(),
      weight};
  for (const Tensor& tensor : {result.x, result.condition}) {
    if (!tensor.defined() || at::isfinite(tensor).all().item<bool>()) continue;
    throw Error(ErrorKind::numerical, "events or conditions are not finite", k_where);
  }
  return result;
}

}  // namespace

DensityFit train_density(Density& density, const Tensor& x, const Tensor& condition,
                         const Tensor& weights, const DensityTraining& options,
                         const std::function<bool(const DensityProgress&)>& progress) {
  check(options);
  require(x.defined() && x.dim() == 2 && x.size(0) > 1, "two or more events [n, features] expected",
          k_where);
  require(!condition.defined() || (condition.dim() == 2 && condition.size(0) == x.size(0)),
          "conditions [events, conditions] expected", k_where);
  const DensityTarget target = [&] {
    const at::NoGradGuard no_graph;
    return density->target(x, condition);
  }();
  const Sample all = sample_of(target, weights);
  const std::int64_t n = all.size();
  const auto held = std::min<std::int64_t>(
      n - 1, static_cast<std::int64_t>(options.validation_share * static_cast<double>(n)));
  const Tensor order = to_tensor(permutation(n, options.seed, 0, k_split_family));
  const Sample validation = all.picked(order.slice(0, 0, held)),
               training = all.picked(order.slice(0, held, n));
  for (const Sample* part : {&training, &validation}) {
    if (part->size() == 0 || part->weights.sum().item<double>() > 0.0) continue;
    throw Error(ErrorKind::numerical, "all weights of one part of the events are 0", k_where);
  }
  return Training(*target.density, training, validation, options).run(progress);
}

}  // namespace slalom
