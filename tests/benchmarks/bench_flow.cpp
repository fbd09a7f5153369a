// SPDX-License-Identifier: Apache-2.0
/// \file
/// A flow of 8 affine layers with networks of 2 x 64 (four features, one condition, float32) in one
/// thread, CPU time, the least of all calls in `best_ms`; compare/flow_pytorch.py is the same in
/// PyTorch:
///
///   flow/log_prob        log p of 60,000 events, without a graph
///   flow/training_step   2,048 events: log p, gradient, clipping, AdamW
///   flow/log_prob_spline, flow/training_step_spline   the same with 4 layers of splines of 8 bins
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <algorithm>
#include <benchmark/benchmark.h>
#include <ctime>
#include <limits>

#include "benchmarks/registry.hpp"
#include "slalom/modules/flow.hpp"

namespace slalom::bench {

namespace {

constexpr std::int64_t k_events = 60000, k_batch = 2048, k_features = 4;

Flow make_flow(FlowKind kind) {
  Flow flow(FlowOptions{.features = k_features,
                        .conditions = 1,
                        .layers = kind == FlowKind::affine ? 8 : 4,
                        .kind = kind,
                        .seed = 1});
  const at::NoGradGuard no_graph;
  std::uint32_t family = 0;
  for (Tensor& parameter : flow->parameters()) {
    parameter.add_(0.05 * normal_rows(1, parameter.numel(), 1, ++family)
                              .view(parameter.sizes())
                              .to(parameter.scalar_type()));
  }
  return flow;
}

double cpu_ms() { return 1e3 * static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

void run_log_prob(benchmark::State& state, FlowKind kind) {
  at::set_num_threads(1);
  Flow flow = make_flow(kind);
  const Tensor x = normal_rows(k_events, k_features, 2).to(at::kFloat),
               c = normal_rows(k_events, 1, 3).to(at::kFloat);
  const at::NoGradGuard no_graph;
  double best = std::numeric_limits<double>::infinity();
  for (auto _ : state) {
    const double start = cpu_ms();
    benchmark::DoNotOptimize(flow->log_prob(x, c));
    best = std::min(best, cpu_ms() - start);
  }
  state.counters["best_ms"] = best;
}

/// Steps of train_density() itself, timed between its validations (there are no events for them).
void run_training_step(benchmark::State& state, FlowKind kind) {
  at::set_num_threads(1);
  Density density = as_density(make_flow(kind).ptr());
  const Tensor x = normal_rows(16 * k_batch, k_features, 2), c = normal_rows(16 * k_batch, 1, 3);
  double best = std::numeric_limits<double>::infinity();
  for (auto _ : state) {
    double start = 0.0;
    train_density(density, x, c, {},
                  {.steps = 12,
                   .batch_size = k_batch,
                   .learning_rate = 1e-3,
                   .validation_share = 0.0,
                   .validate_every = 1},
                  [&](const DensityProgress& now) {
                    const double here = cpu_ms();
                    if (now.step > 1) best = std::min(best, here - start);
                    start = here;
                    return true;
                  });
  }
  state.counters["best_ms"] = best;
}

}  // namespace

void register_flow_benchmarks() {
  for (const FlowKind kind : {FlowKind::affine, FlowKind::spline}) {
    const std::string end = kind == FlowKind::affine ? "" : "_spline";
    benchmark::RegisterBenchmark(("flow/log_prob" + end).c_str(), [=](benchmark::State& s) {
      run_log_prob(s, kind);
    })->Unit(benchmark::kMillisecond);
    benchmark::RegisterBenchmark(("flow/training_step" + end).c_str(), [=](benchmark::State& s) {
      run_training_step(s, kind);
    })->Unit(benchmark::kMillisecond);
  }
}

}  // namespace slalom::bench
