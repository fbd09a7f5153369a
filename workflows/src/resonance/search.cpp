// SPDX-License-Identifier: Apache-2.0
#include "resonance/search.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/histc.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <tuple>

#include "experiment/to_vector.hpp"
#include "slalom/core/bump_hunt.hpp"
#include "slalom/core/error.hpp"
#include "slalom/core/on_off.hpp"
#include "slalom/core/random.hpp"
#include "slalom/core/signal_fraction.hpp"
#include "slalom/modules/calibration.hpp"
#include "slalom/modules/closure.hpp"
#include "slalom/modules/diagnostics.hpp"
#include "slalom/modules/flow.hpp"
#include "slalom/modules/flow_matching.hpp"
#include "slalom/modules/paws.hpp"
#include "slalom/modules/significance_improvement.hpp"
#include "slalom/modules/two_sample.hpp"
#include "slalom/workflows/ranode.hpp"

namespace slalom::resonance {

namespace {

using nlohmann::ordered_json;

/// Keeps draws of masses apart from others of the same seed.
constexpr std::uint32_t k_mass_family = 0x6d617373;
/// Seeds of the stages, so that none repeats what another has drawn.
enum StageSeed : std::uint64_t {
  k_of_background = 1,
  k_of_reference,
  k_of_guard,
  k_of_ranode,
  k_of_scan,
  k_of_detector,
  k_of_supervised,
  k_of_paws,
  k_stages = 16
};

std::uint64_t stage_seed(const ResonanceOptions& options, StageSeed stage) {
  return options.seed * k_stages + stage;
}

std::span<const double> span_of(const Tensor& values) {
  return {values.data_ptr<double>(), static_cast<std::size_t>(values.numel())};
}

ordered_json or_null(double value) {
  return std::isfinite(value) ? ordered_json(value) : ordered_json(nullptr);
}

ordered_json fraction_figures(const SignalFractionLikelihood& likelihood) {
  const SignalFractionFit fit = likelihood.fit();
  ordered_json figures;
  figures["converged"] = fit.converged();
  figures["fraction"] = fit.mu;
  figures["error"] = or_null(fit.error);
  if (fit.converged()) {
    const auto narrow = likelihood.interval(fit), wide = likelihood.interval(fit, k_drop_95);
    figures["lower"] = narrow.lower;
    figures["upper"] = narrow.upper;
    figures["lower_95"] = wide.lower;
    figures["upper_95"] = wide.upper;
  }
  figures["q0"] = or_null(fit.q0);
  figures["z"] = or_null(fit.z);
  return figures;
}

/// A Poisson number of events, drawn with replacement from a larger sample.
EventSampler pool_of(const Tensor& events, std::int64_t expected) {
  return [events, expected](RandomStream& random) {
    const auto n = static_cast<std::int64_t>(random.poisson(static_cast<double>(expected)));
    const Tensor places = at::empty({n}, at::kLong);
    auto* place = places.data_ptr<std::int64_t>();
    for (std::int64_t i = 0; i < n; ++i) {
      place[i] = std::min(
          static_cast<std::int64_t>(random.uniform() * static_cast<double>(events.size(0))),
          events.size(0) - 1);
    }
    return events.index_select(0, places);
  };
}

/// The score that a share of the reference is above.
double threshold_at(const Tensor& reference, double efficiency) {
  const Tensor sorted = std::get<0>(at::sort(reference, 0, /*descending=*/true));
  const auto n = static_cast<double>(sorted.size(0));
  const auto place = std::clamp<std::int64_t>(std::llround(efficiency * n), 1, sorted.size(0) - 1);
  return 0.5 * (sorted[place - 1].item<double>() + sorted[place].item<double>());
}

FlowOptions background_flow(const BackgroundOptions& background, std::int64_t features,
                            std::uint64_t seed) {
  FlowOptions options;
  options.features = features;
  options.conditions = 1;
  options.layers = background.layers;
  options.hidden = background.hidden;
  options.kind = background.flow;
  options.bins = background.bins;
  options.seed = seed;
  return options;
}

}  // namespace

Search::Search(ResonanceOptions options)
    : options_(std::move(options)), data_(search_events(options_)) {
  if (!options_.data.problem.empty()) problem_ = make_resonance_problem(options_.data.problem);
  FeatureTransformOptions maps;
  maps.maps = data_.maps;
  maps.low = data_.low;
  maps.high = data_.high;
  transform_ = FeatureTransform(maps);
  transform_->fit(data_.sidebands.matrix(data_.features()), {});
  const auto keep = [&](EventBatch& events) {
    const Tensor inside = transform_->inside(events.matrix(data_.features()));
    const std::int64_t before = events.size();
    events = events.select(inside);
    return before - events.size();
  };
  keep(data_.sidebands);
  out_of_range_ = keep(data_.region);
  if (data_.has_simulation()) {
    const Tensor inside = transform_->inside(data_.simulated.matrix(data_.features()));
    data_.simulated = data_.simulated.select(inside);
    if (data_.theta.defined())
      data_.theta = data_.theta.index_select(0, inside.nonzero().squeeze(1));
  }
  const std::int64_t used = std::min(options_.background.max_events, data_.sidebands.size());
  kept_back_ = std::llround(options_.background.validation * static_cast<double>(used));
  trained_ = used - kept_back_;
}

Tensor Search::transformed(const EventBatch& events) const {
  const at::NoGradGuard no_graph;
  return transform_.ptr()->forward(events.matrix(data_.features()));
}

EventBatch Search::transformed_events(const Tensor& z) const {
  return make_events(data_.features(), z.to(at::kFloat));
}

Tensor Search::condition(const EventBatch& events) const {
  const double middle = 0.5 * (options_.data.mass_low + options_.data.mass_high),
               half = 0.5 * (options_.data.mass_high - options_.data.mass_low);
  return ((events.column(options_.data.mass) - middle) / half).unsqueeze(1);
}

Tensor Search::exact_log_background(const EventBatch& events) const {
  const Tensor x = events.matrix(data_.features());
  return problem_->log_background(x, events.column(options_.data.mass)) -
         transform_.ptr()->log_jacobian(x).to(at::kDouble);
}

Density Search::make_background(std::uint64_t seed) const {
  const auto features = static_cast<std::int64_t>(data_.features().size());
  if (options_.background.type == BackgroundKind::flow) {
    return as_density(Flow(background_flow(options_.background, features, seed)).ptr());
  }
  FlowMatchingOptions matching;
  matching.features = features;
  matching.conditions = 1;
  matching.hidden = options_.background.hidden;
  matching.hidden_layers = options_.background.layers;
  matching.seed = seed;
  return as_density(FlowMatching(matching).ptr());
}

StageOutput Search::events() const {
  StageOutput result;
  ordered_json& figures = result.figures;
  figures["sidebands"] = data_.sidebands.size();
  figures["region"] = data_.region.size();
  figures["out_of_range"] = out_of_range_;
  if (data_.has_truth()) {
    const auto signal = (data_.region.labels == 1).sum().item<std::int64_t>();
    const std::int64_t background = data_.region.size() - signal;
    figures["signal"] = signal;
    figures["signal_fraction"] =
        static_cast<double>(signal) / static_cast<double>(data_.region.size());
    figures["s_over_sqrt_b"] =
        static_cast<double>(signal) / std::sqrt(static_cast<double>(background));
  }
  return result;
}

StageOutput Search::background(const StageProgress& progress) {
  StageOutput result;
  const EventBatch train = data_.sidebands.select(at::arange(trained_, at::kLong)),
                   kept = data_.sidebands.select(
                       at::arange(trained_, trained_ + kept_back_, at::kLong));
  Tensor region, held_out;
  if (options_.background.type == BackgroundKind::exact) {
    region = exact_log_background(data_.region);
    held_out = exact_log_background(kept);
  } else {
    std::vector<Density> members;
    const Tensor z = transformed(train), c = condition(train);
    for (std::int64_t k = 0; k < options_.background.ensemble; ++k) {
      const std::uint64_t seed =
          stage_seed(options_, k_of_background) + 0x10000ULL * static_cast<std::uint64_t>(k);
      Density density = make_background(seed);
      DensityTraining training;
      training.steps = options_.background.steps;
      training.batch_size = options_.background.batch_size;
      training.learning_rate = options_.background.learning_rate;
      training.seed = seed;
      // Velocities are learned from random times: the average over steps is much better than the
      // last one.
      constexpr double k_average = 0.999;
      if (options_.background.type == BackgroundKind::flow_matching) training.average = k_average;
      train_density(density, z, c, {}, training, [&](const DensityProgress& now) {
        return !progress ||
               progress(k * now.steps + now.step, options_.background.ensemble * now.steps);
      });
      for (const auto& [name, tensor] : named_tensors(*density)) {
        result.tensors[fmt::format("density.{}.{}", k, name)] = tensor;
      }
      members.push_back(density);
    }
    Density density =
        members.size() == 1 ? members.front() : as_density(DensityEnsemble(members).ptr());
    const at::NoGradGuard no_graph;
    region = density.ptr()->log_prob(transformed(data_.region), condition(data_.region));
    held_out = density.ptr()->log_prob(transformed(kept), condition(kept));
    const Tensor on_train = density.ptr()->log_prob(z, c);
    result.figures["train_nll"] = -on_train.mean().item<double>();
    result.figures["validation_nll"] = -held_out.mean().item<double>();
  }
  result.tensors["log_background"] = region.to(at::kDouble);
  result.tensors["log_held_out"] = held_out.to(at::kDouble);
  if (problem_ && data_.has_truth()) {
    const EventBatch background = data_.region.select(data_.region.labels == 0);
    const KlEstimate kl =
        kl_divergence(exact_log_background(background),
                      region.to(at::kDouble).masked_select(data_.region.labels == 0));
    result.figures["kl"] = kl.value;
    result.figures["kl_error"] = kl.error;
  }
  return result;
}

void Search::set_background(const StageOutput& background) {
  log_background_ = background.tensors.at("log_background");
  held_out_ = background.tensors.at("log_held_out");
  members_.clear();
  if (options_.background.type == BackgroundKind::exact) return;
  for (std::int64_t k = 0; k < options_.background.ensemble; ++k) {
    const std::string prefix = fmt::format("density.{}.", k);
    NamedTensors weights;
    for (const auto& [name, tensor] : background.tensors) {
      if (name.rfind(prefix, 0) == 0) weights[name.substr(prefix.size())] = tensor;
    }
    Density density = make_background(0);
    load_tensors(*density, weights);
    members_.push_back(density);
  }
}

StageOutput Search::reference() const {
  const std::int64_t n = data_.region.size() * options_.reference_factor;
  const std::uint64_t seed = stage_seed(options_, k_of_reference);
  StageOutput result;
  if (options_.background.type == BackgroundKind::exact) {
    // Events of the problem in the region, some more than are needed.
    const auto all =
        static_cast<std::int64_t>(1.05 * static_cast<double>(n) / problem_->region_share + 1000.0);
    const EventBatch events = problem_->background(all, seed);
    const Tensor mass = events.column(options_.data.mass);
    const EventBatch inside = events.select(
        (mass >= options_.data.region_low).logical_and(mass < options_.data.region_high));
    result.tensors["z"] = transformed(inside).slice(0, 0, n).contiguous();
    return result;
  }
  // Masses as the data have them: the signal among them is narrow, but rare.
  RandomStream random(seed, 0, k_mass_family);
  const Tensor places = at::empty({n}, at::kLong);
  auto* place = places.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < n; ++i) {
    place[i] = std::min(
        static_cast<std::int64_t>(random.uniform() * static_cast<double>(data_.region.size())),
        data_.region.size() - 1);
  }
  const at::NoGradGuard no_graph;
  result.tensors["z"] = density()
                            .ptr()
                            ->sample(n, condition(data_.region).index_select(0, places), seed)
                            .to(at::kDouble);
  return result;
}

void Search::set_reference(const StageOutput& reference) { reference_ = reference.tensors.at("z"); }

Density Search::density() const {
  return members_.size() == 1 ? members_.front() : as_density(DensityEnsemble(members_).ptr());
}

RanodeOptions Search::ranode_options(std::uint64_t seed, const StageProgress& progress) const {
  const RanodeRunOptions& run = options_.ranode;
  RanodeOptions result;
  const auto features = static_cast<std::int64_t>(data_.features().size());
  result.make_signal = [run, features](std::uint64_t of_density) {
    FlowOptions flow;
    flow.features = features;
    flow.layers = run.layers;
    flow.hidden = run.hidden;
    flow.seed = of_density;
    return as_density(Flow(flow).ptr());
  };
  result.folds = run.folds;
  result.ensemble = run.ensemble;
  result.epochs = run.epochs;
  result.batch_size = run.batch_size;
  result.learning_rate = run.learning_rate;
  result.fraction_rate = run.fraction_rate;
  result.start = run.start;
  result.seed = seed;
  result.progress = progress;
  return result;
}

/// Histograms of each feature, of the events and of the density's.
ordered_json Search::closure_figures(const EventBatch& events, const Tensor& drawn) const {
  constexpr std::int64_t k_bins = 40;
  constexpr double k_tail = 0.005;  // of the events, left out on each side
  ordered_json result = ordered_json::array();
  const std::vector<std::string> features = data_.features();
  for (std::size_t c = 0; c < features.size(); ++c) {
    const Tensor x = events.column(features[c]).to(at::kDouble),
                 y = drawn.select(1, static_cast<std::int64_t>(c)).to(at::kDouble);
    const Tensor sorted = std::get<0>(at::sort(x));
    const std::int64_t n = sorted.size(0), out = std::llround(k_tail * static_cast<double>(n));
    const double low = sorted[out].item<double>(), high = sorted[n - 1 - out].item<double>();
    const auto counts = [&](const Tensor& values) {
      const Tensor histogram = at::histc(values, k_bins, low, high);
      return experiment::to_vector(histogram);
    };
    ordered_json one;
    one["feature"] = features[c];
    one["low"] = low;
    one["high"] = high;
    one["data"] = counts(x);
    one["density"] = counts(y);
    result.push_back(std::move(one));
  }
  return result;
}

StageOutput Search::guard(const StageProgress& progress) const {
  StageOutput result;
  const EventBatch kept =
      data_.sidebands.select(at::arange(trained_, trained_ + kept_back_, at::kLong));
  const Tensor z = transformed(kept);
  const RanodeFit fit = fit_ranode(z.to(at::kFloat), held_out_,
                                   ranode_options(stage_seed(options_, k_of_guard), progress));
  result.figures["q0"] = or_null(fit.fit.q0);
  result.figures["fraction"] = fit.fit.mu;
  bool passed = fit.fit.converged() && fit.fit.q0 <= options_.guard.max_q0;
  if (!members_.empty()) {
    // The classifier sees the mass as well: a density that is right on average only is found out.
    const at::NoGradGuard no_graph;
    const Tensor c = condition(kept);
    const Tensor drawn =
        density().ptr()->sample(kept.size(), c, stage_seed(options_, k_of_guard)).to(at::kFloat);
    std::vector<std::string> columns = data_.features();
    columns.push_back(options_.data.mass);
    const auto events = [&](const Tensor& features) {
      return make_events(columns, at::cat({features.to(at::kFloat), c.to(at::kFloat)}, 1));
    };
    ClosureOptions closure;
    closure.seed = stage_seed(options_, k_of_guard);
    SampleComparison comparison;
    {
      const at::AutoGradMode graph(true);
      comparison = compare_samples(events(drawn), events(z), closure);
    }
    result.figures["closure"] = closure_figures(kept, transform_.ptr()->inverse(drawn));
    result.figures["auc"] = comparison.auc;
    result.figures["auc_error"] = comparison.auc_error;
    passed = passed && comparison.auc <= options_.guard.max_auc;
  }
  result.figures["passed"] = passed;
  return result;
}

void Search::add_improvement(StageOutput& output, const Tensor& score) const {
  if (!data_.has_truth()) return;
  const auto signal = (data_.region.labels == 1).sum().item<std::int64_t>();
  if (signal == 0) return;
  SignificanceImprovementOptions options;
  options.points = 40;
  const SignificanceImprovementCurve curve =
      significance_improvement(score, data_.region.labels, {}, options);
  ordered_json& figures = output.figures["sic"];
  figures["max"] = curve.best.value;
  figures["error"] = or_null(curve.best.error);
  figures["signal_efficiency"] = curve.best.signal_efficiency;
  figures["background_efficiency"] = curve.best.background_efficiency;
  figures["curve"] = ordered_json::array();
  for (const SignificanceImprovement& point : curve.points) {
    figures["curve"].push_back({point.signal_efficiency, point.value, or_null(point.error)});
  }
}

std::vector<double> Search::signal_spectrum(const Tensor& log_ratio, double fraction) const {
  const Tensor share = fraction > 0.0
                           ? at::sigmoid(log_ratio + std::log(fraction) - std::log1p(-fraction))
                           : at::zeros_like(log_ratio);
  const std::vector<double> all = mass_spectrum({}).second,
                            without = mass_spectrum(1.0 - share).second;
  std::vector<double> result;
  for (std::size_t i = 0; i < all.size(); ++i) result.push_back(all[i] - without[i]);
  return result;
}

StageOutput Search::ranode(const StageProgress& progress) const {
  StageOutput result;
  const Tensor z = transformed(data_.region).to(at::kFloat);
  const std::vector<double>& fractions = options_.ranode.scan;
  // One joint fit takes about as long as one point of the scan.
  const auto parts = static_cast<std::int64_t>(fractions.size()) + 1;
  const RanodeOptions joint_options =
      ranode_options(stage_seed(options_, k_of_ranode), [&](std::int64_t done, std::int64_t all) {
        return !progress || progress(done, parts * all);
      });
  const RanodeFit joint = fit_ranode(z, log_background_, joint_options);
  result.figures["joint"] =
      fraction_figures(SignalFractionLikelihood(span_of(joint.signal.log_ratio)));
  result.figures["joint"]["in_sample"] = joint.signal.fractions;
  result.tensors["score"] = joint.signal.log_ratio;
  result.figures["spectrum"] = signal_spectrum(joint.signal.log_ratio, joint.fit.mu);
  add_improvement(result, joint.signal.log_ratio);
  if (!fractions.empty()) {
    const RanodeOptions scan_options =
        ranode_options(stage_seed(options_, k_of_scan), [&](std::int64_t done, std::int64_t all) {
          const std::int64_t one = all / static_cast<std::int64_t>(fractions.size());
          return !progress || progress(one + done, one + all);
        });
    const RanodeScan scan =
        scan_ranode(z, log_background_, fractions, scan_options, options_.ranode.bootstraps);
    ordered_json& figures = result.figures["scan"];
    figures["fraction"] = scan.best;
    figures["largest"] = scan.largest;
    figures["lower"] = scan.lower;
    figures["upper"] = scan.upper;
    figures["lower_95"] = scan.lower_95;
    figures["upper_95"] = scan.upper_95;
    figures["upper_reached"] = scan.upper_reached;
    figures["q0"] = scan.q0;
    figures["z"] = scan.z;
    figures["fractions"] = scan.fraction;
    figures["gain"] = scan.gain;
    figures["gain_error"] = scan.error;
    result.tensors["scan_score"] = scan.log_ratio;
  }
  return result;
}

StageOutput Search::score_figures(const Tensor& region, const Tensor& reference) const {
  StageOutput result;
  const double threshold = threshold_at(reference, options_.background_efficiency);
  const auto on = static_cast<double>((region > threshold).sum().item<std::int64_t>()),
             off = static_cast<double>((reference > threshold).sum().item<std::int64_t>());
  const double tau = static_cast<double>(reference.size(0)) / static_cast<double>(region.size(0));
  const OnOffResult count = count_on_off(on, off, tau);
  result.figures["threshold"] = threshold;
  result.figures["observed"] = on;
  result.figures["background"] = count.background;
  result.figures["q0"] = count.q0;
  result.figures["z"] = count.z;
  add_improvement(result, region);
  result.tensors["score"] = region;
  result.tensors["passes"] = (region > threshold).to(at::kDouble);
  return result;
}

StageOutput Search::anomaly_detector(const StageProgress& progress) const {
  const ScoreRunOptions& run = options_.anomaly_detector;
  if (progress) progress(0, 1);
  const TwoSampleLogits logits = cross_fitted_logits(
      transformed_events(reference_), transformed_events(transformed(data_.region)), run.folds,
      two_sample_options(run, stage_seed(options_, k_of_detector)));
  return score_figures(logits.second, logits.first);
}

TwoSampleOptions Search::two_sample_options(const ScoreRunOptions& run, std::uint64_t seed) {
  TwoSampleOptions result;
  result.hidden = run.hidden;
  result.steps = run.steps;
  result.batch_size = run.batch_size;
  result.learning_rate = run.learning_rate;
  result.weight_decay = run.weight_decay;
  result.ensemble = run.ensemble;
  result.seed = seed;
  return result;
}

StageOutput Search::supervised(const StageProgress& progress) const {
  const ScoreRunOptions& run = options_.supervised;
  if (progress) progress(0, 1);
  const std::uint64_t seed = stage_seed(options_, k_of_supervised);
  // Signal as it is injected, where that is known; half of the reference to train with.
  EventBatch signal = data_.simulated;
  if (problem_) {
    signal = problem_->signal(data_.simulated.size(), at::tensor(data_.truth, at::kDouble), seed);
    signal = signal.select(transform_.ptr()->inside(signal.matrix(data_.features())));
  }
  const EventBatch fresh = signal.select(at::arange(signal.size() / 2, signal.size(), at::kLong));
  signal = signal.select(at::arange(signal.size() / 2, at::kLong));
  const Tensor train = reference_.slice(0, 0, reference_.size(0) / 2).contiguous(),
               rest = reference_.slice(0, reference_.size(0) / 2).contiguous();
  const Classifier network =
      train_two_sample(transformed_events(train), transformed_events(transformed(signal)),
                       two_sample_options(run, seed));
  const at::NoGradGuard no_graph;
  const auto logit = [&](const Tensor& z) {
    return network.ptr()->outputs(z.to(at::kFloat), {}).squeeze(1).to(at::kDouble);
  };
  const Tensor region = logit(transformed(data_.region)), background = logit(rest);
  StageOutput result = score_figures(region, background);
  // As a ratio: calibrated with events that the network has not seen.
  const Tensor signal_logit = logit(transformed(fresh));
  const PlattCalibration platt = platt_calibration(
      at::cat({signal_logit, background}), at::cat({at::ones({signal_logit.size(0)}, at::kLong),
                                                    at::zeros({background.size(0)}, at::kLong)}));
  const Tensor log_ratio = platt(region).to(at::kDouble).contiguous();
  result.figures["fit"] = fraction_figures(SignalFractionLikelihood(span_of(log_ratio)));
  return result;
}

StageOutput Search::paws(const StageProgress& progress) const {
  const PawsRunOptions& run = options_.paws;
  const std::uint64_t seed = stage_seed(options_, k_of_paws);
  // Events to train with, and others to calibrate with.
  const auto parts = [](const Tensor& all, double share) {
    const std::int64_t n = std::llround(share * static_cast<double>(all.size(0)));
    return std::pair(all.slice(0, 0, n).contiguous(), all.slice(0, n).contiguous());
  };
  constexpr double k_train = 0.6;
  const auto [signal, fresh_signal] = parts(transformed(data_.simulated), k_train);
  const auto [theta, fresh_theta] = parts(data_.theta, k_train);
  const auto [background, fresh_background] = parts(reference_, k_train);
  MlpOptions network;
  network.inputs = signal.size(1);
  network.hidden = run.hidden;
  network.activation = Activation::silu;
  network.seed = seed;
  network.parameters = data_.parameters;
  PolynomialRatio polynomial(network, run.degree);
  polynomial->fit_normalisation(at::cat({signal, background}).to(at::kFloat));
  RatioTraining training;
  training.steps = run.steps;
  training.learning_rate = run.learning_rate;
  constexpr std::int64_t k_reports = 20;
  training.report_every = std::max<std::int64_t>(run.steps / k_reports, 1);
  training.progress = [&](std::int64_t step, double) {
    return !progress || progress(step, run.steps);
  };
  const double loss = train_ratio(
      *polynomial, batches_from_samples(signal, theta, background, run.batch_size, seed), training);
  ParameterisedRatio ratio(as_classifier(polynomial.ptr()), data_.parameters);
  const std::int64_t batches = std::max<std::int64_t>(fresh_background.size(0) / run.batch_size, 1);
  calibrate(*ratio,
            batches_from_samples(fresh_signal, fresh_theta, fresh_background, run.batch_size, seed),
            batches);
  const Tensor region = transformed(data_.region);
  PawsOptions fit_options;
  fit_options.mu_upper = 0.5;
  fit_options.starts = run.starts;
  const PawsLikelihood likelihood({ratio}, region);
  PawsFit fit = likelihood.fit(fit_options);
  StageOutput result = paws_figures(likelihood, fit, fit_options);
  result.figures["loss"] = loss;
  if (run.toys > 0) {
    PawsToyOptions toys;
    toys.n_toys = static_cast<std::size_t>(run.toys);
    toys.seed = seed;
    toys.fit = fit_options;
    // Toys of the background that the ratio was not trained with, as many events as the data have.
    const ToyProbability p = paws_p_value(
        run_paws_toys({ratio}, pool_of(fresh_background, region.size(0)), toys), fit.q0);
    result.figures["p_value"] = p.value;
    result.figures["p_value_error"] = p.error;
  }
  return result;
}

StageOutput Search::paws_figures(const PawsLikelihood& likelihood, PawsFit& fit,
                                 const PawsOptions& options) const {
  StageOutput result;
  ordered_json& figures = result.figures;
  figures["converged"] = fit.converged();
  if (!fit.converged()) figures["message"] = fit.message;
  figures["fraction"] = fit.mu;
  figures["error"] = or_null(fit.mu_error);
  if (fit.converged()) {
    const SignalFractionInterval narrow = paws_interval(likelihood, fit, k_drop_68, options),
                                 wide = paws_interval(likelihood, fit, k_drop_95, options);
    figures["lower"] = narrow.lower;
    figures["upper"] = narrow.upper;
    figures["lower_95"] = wide.lower;
    figures["upper_95"] = wide.upper;
  }
  figures["q0"] = fit.q0;
  figures["z"] = fit.z;
  for (std::size_t k = 0; k < fit.theta.size(); ++k) {
    ordered_json& theta = figures["theta"][data_.parameters[k].name];
    theta["value"] = fit.theta[k];
    theta["error"] = or_null(fit.theta_errors[k]);
    if (k < data_.truth.size()) theta["truth"] = data_.truth[k];
  }
  const Tensor score = at::tensor(likelihood.log_ratio(fit.theta), at::kDouble);
  figures["spectrum"] = signal_spectrum(score, fit.mu);
  add_improvement(result, score);
  result.tensors["score"] = score;
  return result;
}

StageOutput Search::bump_hunt() const {
  const BumpHuntRunOptions& run = options_.bump_hunt;
  StageOutput result;
  const auto [edges, counts] = mass_spectrum({});
  BumpHuntOptions hunt;
  hunt.background.parameters = static_cast<std::size_t>(run.parameters);
  hunt.mass = run.mass;
  hunt.width = run.width;
  const BumpHuntResult bump = hunt_bump(edges, counts, hunt);
  ordered_json& figures = result.figures;
  figures["converged"] = bump.converged;
  if (!bump.converged) figures["message"] = bump.message;
  figures["signal"] = bump.signal;
  figures["signal_error"] = or_null(bump.signal_error);
  figures["q0"] = bump.q0;
  figures["z"] = bump.z;
  figures["background_p_value"] = bump.background.p_value;
  if (bump.upper_limit) figures["upper_limit"] = *bump.upper_limit;
  figures["edges"] = edges;
  figures["counts"] = counts;
  // Of the sidebands alone: what a spectrum of any method is shown with.
  figures["sideband_background"] = bump.sidebands.expected;
  figures["sideband_background_error"] = bump.sidebands.error;
  figures["background"] = bump.background_with_signal;
  figures["total"] = bump.total;
  figures["window"] = {bump.window.low, bump.window.high};
  return result;
}

std::pair<std::vector<double>, std::vector<double>> Search::mass_spectrum(
    const Tensor& region_weights) const {
  const auto bins = static_cast<std::size_t>(options_.bump_hunt.bins);
  const double low = options_.data.mass_low, high = options_.data.mass_high;
  std::vector<double> edges, counts(bins, 0.0);
  for (std::size_t i = 0; i <= bins; ++i) {
    edges.push_back(low + (high - low) * static_cast<double>(i) / static_cast<double>(bins));
  }
  const auto fill = [&](const EventBatch& events, const Tensor& weights) {
    const Tensor mass = events.column(options_.data.mass).to(at::kDouble).contiguous();
    for (std::int64_t i = 0; i < mass.size(0); ++i) {
      const double place =
          (mass.data_ptr<double>()[i] - low) / (high - low) * static_cast<double>(bins);
      const auto bin = std::min(static_cast<std::size_t>(std::max(place, 0.0)), bins - 1);
      counts[bin] += weights.defined() ? weights.data_ptr<double>()[i] : 1.0;
    }
  };
  fill(data_.sidebands, {});
  fill(data_.region, region_weights);
  return {edges, counts};
}

StageOutput Search::exact() const {
  StageOutput result;
  const Tensor x = data_.region.matrix(data_.features());
  const Tensor ratio = (problem_->log_signal(x, at::tensor(data_.truth, at::kDouble)) -
                        problem_->log_background(x, data_.region.column(options_.data.mass)))
                           .contiguous();
  result.figures = fraction_figures(SignalFractionLikelihood(span_of(ratio)));
  add_improvement(result, ratio);
  result.tensors["score"] = ratio;
  return result;
}

}  // namespace slalom::resonance
