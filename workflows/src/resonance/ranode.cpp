// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/ranode.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/stack.h>
#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <span>
#include <torch/nn/utils/clip_grad.h>
#include <torch/optim/adam.h>
#include <utility>

#include "experiment/bootstrap.hpp"
#include "slalom/core/error.hpp"
#include "slalom/core/morphing.hpp"
#include "slalom/modules/events.hpp"
#include "slalom/modules/mixture.hpp"
#include "slalom/modules/schedule.hpp"
#include "slalom/modules/two_sample.hpp"

namespace slalom {

namespace {

constexpr const char* k_where = "ranode";

void require(bool condition, const std::string& message) {
  if (!condition) throw Error(ErrorKind::usage, message, k_where);
}

void check(const Tensor& features, const Tensor& log_background, const RanodeOptions& options) {
  require(static_cast<bool>(options.make_signal), "nothing makes the signal's density");
  require(options.folds > 1, "cross-fitting needs at least 2 folds");
  require(options.ensemble > 0 && options.epochs > 0 && options.batch_size > 0,
          "sizes must be positive");
  require(options.learning_rate > 0.0 && options.clip_norm >= 0.0, "rates must be positive");
  require(options.fraction_rate > 0.0 && options.fraction_rate <= 1.0,
          "the rate of the fraction must be in (0, 1]");
  require(options.start > 0.0 && options.start < 1.0, "the fraction starts between 0 and 1");
  require(features.dim() == 2 && log_background.dim() == 1 &&
              log_background.size(0) == features.size(0),
          "features [n, d] and log p_B [n] expected");
  require(features.size(0) >= 2 * options.folds, "too few events for the folds");
  if (!at::isfinite(log_background).all().item<bool>()) {
    const auto bad = at::isfinite(log_background).logical_not().nonzero();
    throw Error(ErrorKind::numerical,
                fmt::format("log p_B of event {} is not finite", bad[0][0].item<std::int64_t>()),
                k_where);
  }
}

/// Trains one density with the fraction held or fitted.
class Trainer {
 public:
  Trainer(const Tensor& features, const Tensor& log_background, const RanodeOptions& options,
          std::uint64_t seed)
      : features_(features),
        log_background_(log_background),
        options_(options),
        density_(options.make_signal(seed)),
        loader_(make_events({"index"}, at::empty({features.size(0), 1}, at::kFloat)),
                {.batch_size = options.batch_size, .seed = seed}) {}

  /// \returns w in the end
  double train(double fraction, const std::function<void()>& epoch_done) {
    const bool joint = fraction < 0.0;
    double w = joint ? options_.start : fraction;
    torch::optim::Adam optimizer(density_->parameters(),
                                 torch::optim::AdamOptions(options_.learning_rate));
    const std::int64_t batches = loader_.batches(), steps = options_.epochs * batches;
    const Schedule rate{.shape = ScheduleShape::cosine,
                        .start = options_.learning_rate,
                        .end = 0.0,
                        .steps = steps};
    for (std::int64_t step = 0; step < steps; ++step) {
      optimizer.param_groups().front().options().set_lr(value_at(rate, step));
      optimizer.zero_grad();
      const Batch batch = take(loader_.indices({step / batches, step % batches}));
      const Tensor loss =
          mixture_nll(batch.log_signal, batch.log_background, at::full({}, w, at::kDouble));
      if (!std::isfinite(loss.item<double>())) {
        throw Error(ErrorKind::numerical,
                    fmt::format("the density of the signal is not finite in step {}", step),
                    k_where);
      }
      loss.backward();
      if (options_.clip_norm > 0.0) {
        torch::nn::utils::clip_grad_norm_(density_->parameters(), options_.clip_norm);
      }
      optimizer.step();
      if (joint) w += options_.fraction_rate * (mean_responsibility(batch, w) - w);
      if ((step + 1) % batches == 0) epoch_done();
    }
    return w;
  }

  const Density& density() const { return density_; }

 private:
  struct Batch {
    Tensor log_signal, log_background;
  };

  Batch take(const Tensor& which) {
    return {density_.ptr()->log_prob(features_.index_select(0, which), {}).to(at::kDouble),
            log_background_.index_select(0, which)};
  }

  /// The share of signal in the events as the mixture sees it: where expectation maximisation would
  /// put w.
  static double mean_responsibility(const Batch& batch, double w) {
    const double logit = std::log(w) - std::log1p(-w);
    return at::sigmoid(batch.log_signal.detach() - batch.log_background + logit)
        .mean()
        .item<double>();
  }

  Tensor features_, log_background_;
  const RanodeOptions& options_;
  Density density_;
  EventLoader loader_;
};

/// log of the mean of the members' densities.
Tensor log_mean(const std::vector<Density>& members, const Tensor& features) {
  const at::NoGradGuard no_graph;
  std::vector<Tensor> all;
  for (const Density& member : members) {
    all.push_back(member.ptr()->log_prob(features, {}).to(at::kDouble));
  }
  return at::logsumexp(at::stack(all), {0}) - std::log(static_cast<double>(members.size()));
}

std::span<const double> span_of(const Tensor& values) {
  return {values.data_ptr<double>(), static_cast<std::size_t>(values.numel())};
}

/// Sums of log(1 - w + w r) over bootstrap samples of the events, for all w with the same samples.
std::vector<std::vector<double>> bootstrap_gains(const std::vector<Tensor>& events,
                                                 std::int64_t bootstraps, std::uint64_t seed) {
  const Tensor ids = at::arange(events.front().size(0), at::kLong);
  std::vector<std::vector<double>> result;
  for (std::int64_t b = 0; b < bootstraps; ++b) {
    const Tensor counts = experiment::bootstrap_counts(ids, seed, b);
    std::vector<double> gains;
    for (const Tensor& each : events) gains.push_back((each * counts).sum().item<double>());
    result.push_back(std::move(gains));
  }
  return result;
}

}  // namespace

RanodeSignal train_ranode(const Tensor& features, const Tensor& log_background,
                          const RanodeOptions& options, double fraction) {
  check(features, log_background, options);
  require(fraction < 1.0, "the fraction must be below 1");
  const std::int64_t n = features.size(0), all = options.folds * options.ensemble * options.epochs;
  RanodeSignal result;
  result.log_ratio = at::empty({n}, at::kDouble);
  std::int64_t done = 0;
  const auto epoch_done = [&] {
    ++done;
    if (options.progress && !options.progress(done, all)) {
      throw Error(ErrorKind::usage, "stopped", k_where);
    }
  };
  for (std::int64_t fold = 0; fold < options.folds; ++fold) {
    const Tensor rest = fold_indices(n, options.folds, fold, /*complement=*/true),
                 kept = fold_indices(n, options.folds, fold);
    std::vector<Density> members;
    for (std::int64_t k = 0; k < options.ensemble; ++k) {
      const auto seed = options.seed + 0x10000ULL * static_cast<std::uint64_t>(k) +
                        0x1000000ULL * static_cast<std::uint64_t>(fold);
      Trainer trainer(features.index_select(0, rest), log_background.index_select(0, rest), options,
                      seed);
      result.fractions.push_back(trainer.train(fraction, epoch_done));
      members.push_back(trainer.density());
    }
    result.log_ratio.index_copy_(
        0, kept,
        log_mean(members, features.index_select(0, kept)) - log_background.index_select(0, kept));
    result.densities.push_back(members.size() == 1
                                   ? members.front()
                                   : as_density(DensityEnsemble(std::move(members)).ptr()));
  }
  return result;
}

RanodeFit fit_ranode(const Tensor& features, const Tensor& log_background,
                     const RanodeOptions& options) {
  RanodeFit result;
  result.signal = train_ranode(features, log_background, options);
  const SignalFractionLikelihood likelihood(span_of(result.signal.log_ratio));
  result.fit = likelihood.fit();
  if (result.fit.converged()) result.interval = likelihood.interval(result.fit);
  return result;
}

namespace {

constexpr int k_curve_points = 2001;  // between the first and the last w

/// The gain over log w, a cubic spline, and its error, straight between the points; tabulated.
struct GainCurve {
  std::vector<double> fraction, gain, error;
};

GainCurve curve_through(const RanodeScan& scan) {
  std::vector<double> x;
  for (const double w : scan.fraction) x.push_back(std::log(w));
  const Morphing spline(MorphingKind::spline, x, scan.gain),
      lines(MorphingKind::linear, x, scan.error);
  GainCurve result;
  for (int i = 0; i < k_curve_points; ++i) {
    const double at = x.front() + (x.back() - x.front()) * i / (k_curve_points - 1);
    double gain = 0.0, error = 0.0;
    spline.evaluate(at, {&gain, 1});
    lines.evaluate(at, {&error, 1});
    result.fraction.push_back(std::exp(at));
    result.gain.push_back(gain);
    result.error.push_back(error);
  }
  return result;
}

/// Ends of the region around the top of the curve that is above a level.
struct Region {
  double lower, upper;
  bool reached;  // it ends before the last point
};

Region region_of(const GainCurve& curve, std::size_t top, double level) {
  std::size_t low = top, high = top;
  while (low > 0 && curve.gain[low] >= level) --low;
  while (high + 1 < curve.gain.size() && curve.gain[high] >= level) ++high;
  // At w = 0 the gain is 0: where that is above the level, 0 is part of the interval.
  const bool with_zero = curve.gain[low] >= level || level <= 0.0;
  return {with_zero ? 0.0 : curve.fraction[low], curve.fraction[high], curve.gain[high] < level};
}

void read_curve(RanodeScan& scan) {
  const GainCurve curve = curve_through(scan);
  const auto top = static_cast<std::size_t>(std::max_element(curve.gain.begin(), curve.gain.end()) -
                                            curve.gain.begin());
  const double most = curve.gain[top];
  if (most <= 0.0) {
    // Nothing is better than w = 0, whose gain is 0.
    scan.upper = region_of(curve, 0, -k_drop_68).upper;
    scan.upper_95 = region_of(curve, 0, -k_drop_95).upper;
    scan.upper_reached = curve.gain.back() < -k_drop_68;
    return;
  }
  scan.largest = curve.fraction[top];
  scan.q0 = 2.0 * most;
  scan.z = std::sqrt(scan.q0);
  // The smallest w that the errors do not tell from the largest gain.
  std::size_t best = 0;
  while (curve.gain[best] < most - curve.error[best]) ++best;
  const bool zero = most <= scan.error.front();
  scan.best = zero ? 0.0 : curve.fraction[best];
  const double plateau = zero ? 0.0 : curve.gain[best];
  const Region narrow = region_of(curve, top, plateau - k_drop_68),
               wide = region_of(curve, top, plateau - k_drop_95);
  scan.lower = narrow.lower;
  scan.upper = narrow.upper;
  scan.upper_reached = narrow.reached;
  scan.lower_95 = wide.lower;
  scan.upper_95 = wide.upper;
}

/// Scatter of each gain below the largest one, over bootstraps.
std::vector<double> scatter(const std::vector<std::vector<double>>& draws, std::size_t points) {
  std::vector<double> sum(points, 0.0), squares(points, 0.0);
  for (const std::vector<double>& draw : draws) {
    const double top = *std::max_element(draw.begin(), draw.end());
    for (std::size_t k = 0; k < points; ++k) {
      sum[k] += draw[k] - top;
      squares[k] += (draw[k] - top) * (draw[k] - top);
    }
  }
  std::vector<double> result(points, 0.0);
  if (draws.size() < 2) return result;
  const auto n = static_cast<double>(draws.size());
  for (std::size_t k = 0; k < points; ++k) {
    result[k] = std::sqrt(std::max(squares[k] - sum[k] * sum[k] / n, 0.0) / (n - 1.0));
  }
  return result;
}

}  // namespace

RanodeScan scan_ranode(const Tensor& features, const Tensor& log_background,
                       const std::vector<double>& fractions, const RanodeOptions& options,
                       std::int64_t bootstraps) {
  require(fractions.size() >= 3, "a scan needs at least 3 fractions");
  require(std::is_sorted(fractions.begin(), fractions.end(), std::less_equal<>()) &&
              fractions.front() > 0.0 && fractions.back() < 1.0,
          "the fractions of a scan must rise, between 0 and 1");
  RanodeScan result;
  result.fraction = fractions;
  std::vector<Tensor> events, ratios;
  RanodeOptions each = options;
  for (std::size_t k = 0; k < fractions.size(); ++k) {
    if (options.progress) {
      each.progress = [&](std::int64_t done, std::int64_t all) {
        return options.progress(static_cast<std::int64_t>(k) * all + done,
                                static_cast<std::int64_t>(fractions.size()) * all);
      };
    }
    const RanodeSignal signal = train_ranode(features, log_background, each, fractions[k]);
    ratios.push_back(signal.log_ratio);
    events.push_back(mixture_log_ratio(signal.log_ratio, at::full({}, fractions[k], at::kDouble)));
    result.gain.push_back(events.back().sum().item<double>());
  }
  result.error = scatter(bootstrap_gains(events, bootstraps, options.seed), fractions.size());
  read_curve(result);
  const auto nearest = std::max_element(result.gain.begin(), result.gain.end());
  result.log_ratio = ratios[static_cast<std::size_t>(nearest - result.gain.begin())];
  return result;
}

}  // namespace slalom
