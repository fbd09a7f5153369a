// SPDX-License-Identifier: Apache-2.0
#include "resonance/search.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/histc.h>
#include <ATen/ops/sort.h>
#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <tuple>

#include "cli/result.hpp"
#include "experiment/to_vector.hpp"
#include "resonance/stage_seeds.hpp"
#include "slalom/core/error.hpp"
#include "slalom/core/random.hpp"
#include "slalom/modules/closure.hpp"
#include "slalom/modules/diagnostics.hpp"
#include "slalom/modules/flow.hpp"
#include "slalom/modules/flow_matching.hpp"
#include "slalom/modules/two_sample.hpp"
#include "slalom/workflows/ranode.hpp"

namespace slalom::resonance {

namespace {

using cli::number_or_null;
using nlohmann::ordered_json;

/// Keeps draws of masses apart from others of the same seed.
constexpr std::uint32_t k_mass_family = 0x6d617373;
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
  result.figures["q0"] = number_or_null(fit.fit.q0);
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

}  // namespace slalom::resonance
