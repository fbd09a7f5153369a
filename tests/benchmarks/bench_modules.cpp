// SPDX-License-Identifier: Apache-2.0
/// \file
/// What the differentiable part costs, in one thread (set OMP_NUM_THREADS=1):
///
///   profile_loss/<figure>/<model>     the statistical part alone: a figure of merit and its
///   gradient
///                                     by all templates, which change a little from step to step
///   profile_loss/<figure>/<B>x<P>     the same for B bins and P nuisance parameters
///   step/<figure>/<network>           in turns a training step on cross entropy, 4 x 2,000 events:
///                                     forward, backward, Adam; and one on a figure, with five soft
///                                     bins for signal and for background nominal, up and down.
///                                     Counters: medians of CPU time and of the ratio
///   pipeline_step/<network>           the same with log sigma as a pipeline, which makes the
///   copies aware_step/<network>              in turns a training step on cross entropy of 4096
///   nominal
///                                     events, and one that draws a theta for each event, moves
///                                     them there and tells the network. The same counters
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <array>
#include <benchmark/benchmark.h>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#if defined(__GLIBC__)
#include <malloc.h>
#endif
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <torch/optim/adam.h>
#include <utility>
#include <vector>

#include "slalom/core/json.hpp"
#include "slalom/core/random.hpp"
#include "slalom/modules/classifier.hpp"
#include "slalom/modules/criteria.hpp"
#include "slalom/modules/loss.hpp"
#include "slalom/modules/pipeline.hpp"
#include "slalom/modules/soft_histogram.hpp"
#include "slalom/modules/variations.hpp"

namespace slalom::bench {

namespace {

/// B bins, signal and background with P histosys.
Workspace histogram_workspace(std::size_t bins, std::size_t nuisances) {
  RandomStream random(bins, nuisances);
  Json signal = Json::array(), background = Json::array(), modifiers = Json::array();
  for (std::size_t b = 0; b < bins; ++b) {
    const double x = (static_cast<double>(b) + 0.5) / static_cast<double>(bins);
    signal.push_back(20.0 * x);
    background.push_back(100.0 * std::exp(-2.0 * x) + 5.0);
  }
  for (std::size_t p = 0; p < nuisances; ++p) {
    Json up = Json::array(), down = Json::array();
    for (const Json& y : background) {
      const double shift = 0.05 * random.normal();
      up.push_back(y.get<double>() * (1.0 + shift));
      down.push_back(y.get<double>() * (1.0 - 0.9 * shift));
    }
    modifiers.push_back({{"name", "np" + std::to_string(p)},
                         {"type", "histosys"},
                         {"data", {{"hi_data", up}, {"lo_data", down}}}});
  }
  const Json workspace = {
      {"channels",
       {{{"name", "c"},
         {"samples",
          {{{"name", "signal"},
            {"data", signal},
            {"modifiers", {{{"name", "mu"}, {"type", "normfactor"}, {"data", nullptr}}}}},
           {{"name", "background"}, {"data", background}, {"modifiers", modifiers}}}}}}},
      {"measurements",
       {{{"name", "m"}, {"config", {{"poi", "mu"}, {"parameters", Json::array()}}}}}},
      {"observations", {{{"name", "c"}, {"data", background}}}},
      {"version", "1.0.0"}};
  return parse_workspace(workspace);
}

ModelSpec histogram_model(std::size_t bins, std::size_t nuisances) {
  return make_model_spec(histogram_workspace(bins, nuisances));
}

std::filesystem::path data_folder() {
  const char* chosen = std::getenv("SLALOM_DATA");
  return (chosen != nullptr && *chosen != '\0') ? chosen : SLALOM_DATA_DEFAULT;
}

/// The figure and its gradient by all templates at points that move like those of a training.
void run_profile_loss(benchmark::State& state, const ModelSpec& spec, Figure figure) {
  at::set_num_threads(1);
  const Likelihood likelihood(spec);
  ProfileLossOptions options;
  options.figure = figure;
  const ProfileLoss loss(likelihood, options);
  const at::Tensor plain = likelihood.templates().nominal;
  Templates t = likelihood.templates();
  const std::array<at::Tensor*, 6> leaves = {&t.nominal,    &t.histosys_hi, &t.histosys_lo,
                                             &t.normsys_hi, &t.normsys_lo,  &t.uncertainty};
  for (at::Tensor* leaf : leaves) *leaf = leaf->clone().requires_grad_(true);
  std::int64_t step = 0;
  for (auto _ : state) {
    // In place, without LibTorch: tensors made by the steps before are not part of the statistics.
    const double factor = 1.0 + 1e-3 * std::sin(0.1 * static_cast<double>(step++));
    for (std::int64_t i = 0; i < plain.numel(); ++i) {
      t.nominal.data_ptr<double>()[i] = factor * plain.data_ptr<double>()[i];
    }
    for (at::Tensor* leaf : leaves) leaf->mutable_grad().reset();
    const at::Tensor value = loss(t);
    value.backward();
    benchmark::DoNotOptimize(t.nominal.grad().data_ptr<double>());
  }
}

/// Signal, background, and background up and down: 2,000 events each.
struct Blobs {
  std::int64_t n = 2000;
  at::Tensor features, labels;
  Blobs() {
    RandomStream random(1, 0);
    const double means[4][2] = {{-1, 1}, {1, -1}, {2.5, 2}, {-2.5, -1.5}};
    features = at::zeros({4 * n, 2}, at::kFloat);
    labels = at::zeros({4 * n}, at::kLong);
    auto* x = features.data_ptr<float>();
    for (std::int64_t i = 0; i < 8 * n; ++i) {
      x[i] = static_cast<float>(means[i / (2 * n)][i % 2] + random.normal());
    }
    labels.slice(0, 0, n).fill_(1);
  }
};

Mlp network(std::int64_t width) {
  MlpOptions options;
  options.inputs = 2;
  options.hidden = {width, width};
  options.seed = 1;
  return Mlp(options);
}

/// One step of training on cross entropy.
class CrossEntropyStep {
 public:
  explicit CrossEntropyStep(std::int64_t width)
      : mlp_(network(width)), optimiser_(mlp_->parameters(), torch::optim::AdamOptions(1e-3)) {}

  void operator()() {
    optimiser_.zero_grad();
    cross_entropy(mlp_->outputs(blobs_.features, {}).squeeze(1), blobs_.labels).backward();
    optimiser_.step();
  }

 private:
  Blobs blobs_;
  Mlp mlp_;
  torch::optim::Adam optimiser_;
};

SoftHistogram soft_bins() {
  AxisOptions axis;
  axis.edges = {0.0, 0.2, 0.4, 0.6, 0.8, 1.0};
  axis.bandwidth = 0.1;
  SoftHistogramOptions options;
  options.axes = {axis};
  return SoftHistogram(options);
}

/// One step of training on a figure of merit.
class FigureStep {
 public:
  FigureStep(std::int64_t width, Figure figure)
      : mlp_(network(width)),
        optimiser_(mlp_->parameters(), torch::optim::AdamOptions(1e-3)),
        likelihood_(histogram_model(5, 1)),
        loss_(likelihood_, options_of(figure)),
        signal_(likelihood_.systematics().nominal_range("c", "signal")),
        background_(likelihood_.systematics().nominal_range("c", "background")),
        histogram_(soft_bins()) {
    for (std::int64_t k = 0; k < 4; ++k) {
      weights_.push_back(at::full({blobs_.n}, (k == 0 ? 20.0 : 100.0) / 2000.0, at::kDouble));
    }
  }

  void operator()() {
    optimiser_.zero_grad();
    const std::vector<at::Tensor> parts = mlp_->forward(blobs_.features).split(blobs_.n);
    std::vector<at::Tensor> yields;
    for (std::size_t k = 0; k < 4; ++k) {
      yields.push_back(histogram_->forward(parts[k], weights_[k]).sumw);
    }
    Templates t = likelihood_.templates();
    t.nominal = replace_range(replace_range(t.nominal, signal_, yields[0]), background_, yields[1]);
    t.histosys_hi = yields[2];
    t.histosys_lo = yields[3];
    loss_(t).backward();
    optimiser_.step();
  }

 private:
  static ProfileLossOptions options_of(Figure figure) {
    ProfileLossOptions options;
    options.figure = figure;
    return options;
  }
  Blobs blobs_;
  Mlp mlp_;
  torch::optim::Adam optimiser_;
  Likelihood likelihood_;
  ProfileLoss loss_;
  Range signal_, background_;
  SoftHistogram histogram_;
  std::vector<at::Tensor> weights_;
};

/// The same step as a user writes it: a pipeline that makes the shifted copies.
class PipelineStep {
 public:
  explicit PipelineStep(std::int64_t width)
      : events_(events()),
        pipeline_(pipeline(width)),
        optimiser_(pipeline_->parameters(), torch::optim::AdamOptions(1e-3)) {}

  void operator()() {
    optimiser_.zero_grad();
    benchmark::DoNotOptimize(pipeline_->backward({events_}));
    optimiser_.step();
  }

 private:
  static EventBatch events() {
    const Blobs blobs;
    const at::Tensor features = blobs.features.slice(0, 0, 2 * blobs.n);
    const at::Tensor is_signal = blobs.labels.slice(0, 0, 2 * blobs.n);
    return make_events({"x", "y"}, features, (100.0 - 80.0 * is_signal.to(at::kDouble)) / 2000.0,
                       {}, is_signal, {"background", "signal"});
  }
  static Pipeline pipeline(std::int64_t width) {
    const Mlp mlp = network(width);
    PipelineOptions options;
    options.variations = {shift_variation("np0", {"x", "y"}, 1.5)};
    options.variations[0].processes = {"background"};
    return Pipeline(histogram_workspace(5, 1), as_classifier(mlp.ptr()), nullptr, soft_bins(),
                    options);
  }

  EventBatch events_;
  Pipeline pipeline_;
  torch::optim::Adam optimiser_;
};

/// Milliseconds of this thread.
double cpu_time() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return 1e3 * static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_nsec);
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Events at random angles, which the network is told or not moved at all.
class AwareStep {
 public:
  AwareStep(std::int64_t width, bool aware)
      : aware_(aware),
        mlp_(MlpOptions{.inputs = 2,
                        .hidden = {width, width},
                        .activation = Activation::silu,
                        .parameters = aware ? std::vector<ParameterInput>{{"z", -1.0, 1.0}}
                                            : std::vector<ParameterInput>{}}),
        optimiser_(mlp_->parameters(), torch::optim::AdamOptions(1e-3)) {
    RandomStream random(1, 0);
    at::Tensor x = at::zeros({k_events, 2}), labels = at::zeros({k_events}, at::kLong);
    for (std::int64_t i = 0; i < k_events; ++i) {
      const double centre = i % 2 == 0 ? 0.7 : -0.7;
      x[i][0] = centre + 0.7 * random.normal();
      x[i][1] = centre + 0.7 * random.normal();
      labels[i] = 1 - i % 2;
    }
    events_ = make_events({"x", "y"}, x, {}, labels);
    turn_.name = "z";
    turn_.apply = [](const EventBatch& events, const at::Tensor& theta) {
      const at::Tensor c = at::cos(theta), s = at::sin(theta), a = events.column("x"),
                       b = events.column("y");
      return events.with_column("x", c * a - s * b).with_column("y", s * a + c * b);
    };
  }

  void operator()() {
    optimiser_.zero_grad();
    EventBatch events = events_;
    at::Tensor theta;
    if (aware_) {
      theta = at::empty({k_events}, at::kDouble);
      RandomStream random(2, step_++);
      auto* place = theta.data_ptr<double>();
      for (std::int64_t i = 0; i < k_events; ++i) place[i] = 2.0 * random.uniform() - 1.0;
      events = apply_variation(events, turn_, theta);
      theta = theta.unsqueeze(1);
    }
    cross_entropy(mlp_->outputs(events.features, theta).squeeze(1), events.labels).backward();
    optimiser_.step();
  }

 private:
  static constexpr std::int64_t k_events = 4096;
  bool aware_;
  Mlp mlp_;
  torch::optim::Adam optimiser_;
  EventBatch events_;
  Variation turn_;
  std::uint64_t step_ = 0;
};

/// Steps of both kinds in turns, so that whatever else the machine does meets both. Counters: the
/// medians, and the median of the ratios of neighbours with its standard error.
template <class First, class Second>
void run_in_turns(benchmark::State& state, First& first, Second& second, const char* first_name,
                  const char* second_name) {
  at::set_num_threads(1);
  // A network that has learned its lesson sends back gradients below 1e-38, which processors
  // multiply a hundred times more slowly than others: steps became five times slower.
  at::globalContext().setFlushDenormal(true);
#if defined(__GLIBC__)
  // Otherwise memory goes back to the system and comes again, in one kind of step or the other,
  // as chance will have it: with the small network that is a third of the time.
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
#endif
  first();
  second();
  std::vector<double> plain, whole, ratios;
  for (auto _ : state) {
    const double a = cpu_time();
    first();
    const double b = cpu_time();
    second();
    const double c = cpu_time();
    plain.push_back(b - a);
    whole.push_back(c - b);
    ratios.push_back((c - b) / (b - a));
  }
  const double ratio = median(ratios);
  std::vector<double> deviations;
  for (const double r : ratios) deviations.push_back(std::abs(r - ratio));
  // 1.4826: a normal distribution's standard deviation from its median deviation; 1.25: of medians.
  const double error =
      1.25 * 1.4826 * median(deviations) / std::sqrt(static_cast<double>(ratios.size()));
  state.counters[first_name] = median(plain);
  state.counters[second_name] = median(whole);
  state.counters["ratio"] = ratio;
  state.counters["ratio_error"] = error;
}

void run_step(benchmark::State& state, std::int64_t width, Figure figure) {
  CrossEntropyStep cross_entropy_step(width);
  FigureStep figure_step(width, figure);
  run_in_turns(state, cross_entropy_step, figure_step, "cross_entropy_ms", "figure_ms");
}

void run_pipeline_step(benchmark::State& state, std::int64_t width) {
  CrossEntropyStep cross_entropy_step(width);
  PipelineStep pipeline_step(width);
  run_in_turns(state, cross_entropy_step, pipeline_step, "cross_entropy_ms", "pipeline_ms");
}

void run_aware_step(benchmark::State& state, std::int64_t width) {
  AwareStep plain(width, false), aware(width, true);
  run_in_turns(state, plain, aware, "plain_ms", "aware_ms");
}

const char* name_of(Figure figure) {
  switch (figure) {
    case Figure::log_cls:
      return "log_cls";
    case Figure::upper_limit:
      return "upper_limit";
    default:
      return "log_sigma";
  }
}

}  // namespace

void register_module_benchmarks() {
  const auto statistical = [](Figure figure, const std::string& name, const ModelSpec& spec) {
    benchmark::RegisterBenchmark(
        ("profile_loss/" + std::string(name_of(figure)) + "/" + name).c_str(),
        [=](benchmark::State& s) { run_profile_loss(s, spec, figure); })
        ->Unit(benchmark::kMicrosecond);
  };
  for (const Figure figure : {Figure::log_sigma, Figure::log_cls, Figure::upper_limit}) {
    statistical(figure, "4x1", histogram_model(4, 1));
    statistical(figure, "10x5", histogram_model(10, 5));
    const std::filesystem::path agc = data_folder() / "workspaces/agc/agc_34par.json";
    if (std::filesystem::exists(agc)) {
      statistical(figure, "agc_34par", make_model_spec(parse_workspace(read_json(agc.string()))));
    }
  }
  for (const std::size_t nuisances : {1U, 5U, 20U, 50U, 100U, 200U}) {
    statistical(Figure::log_sigma, "20x" + std::to_string(nuisances),
                histogram_model(20, nuisances));
  }
  for (const std::size_t bins : {5U, 20U, 50U, 100U, 200U}) {
    statistical(Figure::log_sigma, std::to_string(bins) + "x10", histogram_model(bins, 10));
  }
  for (const std::int64_t width : {32, 64}) {
    benchmark::RegisterBenchmark(("aware_step/2x" + std::to_string(width)).c_str(),
                                 [=](benchmark::State& s) { run_aware_step(s, width); })
        ->Unit(benchmark::kMillisecond);
  }
  for (const std::int64_t width : {64, 1024}) {
    const std::string network_name = "2x" + std::to_string(width);
    benchmark::RegisterBenchmark(("pipeline_step/" + network_name).c_str(),
                                 [=](benchmark::State& s) { run_pipeline_step(s, width); })
        ->Unit(benchmark::kMillisecond);
    for (const Figure figure : {Figure::log_sigma, Figure::log_cls}) {
      benchmark::RegisterBenchmark(
          ("step/" + std::string(name_of(figure)) + "/" + network_name).c_str(),
          [=](benchmark::State& s) { run_step(s, width, figure); })
          ->Unit(benchmark::kMillisecond);
    }
  }
}

}  // namespace slalom::bench
