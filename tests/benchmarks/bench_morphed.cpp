// SPDX-License-Identifier: Apache-2.0
/// \file
/// Morphed likelihoods, on the frozen two-dimensional observable of rotated Gaussians (60 bins, two
/// samples, 21 points of z):
///
///   morphed_nll/<kind>       -log L with gradient and Hessian
///   morphed_fit/<kind>       a fit with a scan of z, from no knowledge
///   morphed_interval/<kind>  the profile-likelihood interval of mu
#include <benchmark/benchmark.h>
#include <cmath>
#include <string>
#include <vector>

#include "benchmarks/registry.hpp"
#include "support/rotated_gaussians.hpp"

namespace slalom::bench {

namespace {

MorphedLikelihood likelihood(MorphingKind kind) {
  using namespace slalom::test;  // NOLINT(google-build-using-namespace): of one function
  const Observable observable{0.25 * k_pi, quantile_edges(10, 1.0), quantile_edges(6, 0.0)};
  MorphedChannel channel;
  channel.samples = samples_of(observable, even_points(0.0, 0.5 * k_pi, 20), kind);
  channel.data = observable.expected_data(1.1, 0.9);
  for (double& n : channel.data) n = std::round(n);
  return {strength(), {rotation(0.0, 0.5 * k_pi)}, {channel}};
}

void nll(benchmark::State& state, MorphingKind kind) {
  const MorphedLikelihood l = likelihood(kind);
  std::vector<double> x = {1.0, 0.8}, gradient(2), hessian(4);
  for ([[maybe_unused]] auto _ : state) {
    x[1] = 1.7 - x[1];
    benchmark::DoNotOptimize(l.nll(x, gradient, hessian));
  }
}

void morphed_fit(benchmark::State& state, MorphingKind kind) {
  const MorphedLikelihood l = likelihood(kind);
  for ([[maybe_unused]] auto _ : state) benchmark::DoNotOptimize(fit(l).twice_nll);
}

void interval(benchmark::State& state, MorphingKind kind) {
  const MorphedLikelihood l = likelihood(kind);
  const MorphedFit best = fit(l);
  for ([[maybe_unused]] auto _ : state) {
    benchmark::DoNotOptimize(profile_interval(l, best, 0).upper.value);
  }
}

}  // namespace

void register_morphed_benchmarks() {
  for (MorphingKind kind : {MorphingKind::linear, MorphingKind::log_spline}) {
    using Function = void (*)(benchmark::State&, MorphingKind);
    const std::vector<std::pair<std::string, Function>> steps = {
        {"nll", nll}, {"fit", morphed_fit}, {"interval", interval}};
    for (const auto& [name, function] : steps) {
      const std::string title = "morphed_" + name + "/" + to_string(kind);
      benchmark::RegisterBenchmark(title.c_str(), [kind, f = function](auto& state) {
        f(state, kind);
      })->Unit(benchmark::kMicrosecond);
    }
  }
}

}  // namespace slalom::bench
