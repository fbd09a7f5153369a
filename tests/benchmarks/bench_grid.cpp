// SPDX-License-Identifier: Apache-2.0
/// \file
/// What one signal of a grid costs, on published grids; one signal per iteration, all in turn:
///
///   grid_read/<grid>      text of the patch -> operations
///   grid_spec/<grid>      operations -> specification: apply, read what is new, resolve
///   grid_compile/<grid>   specification -> compiled model
///   grid_fitter/<grid>    compiled model -> Fitter
///   grid_cls/<grid>       CLs with band, from the background's fit
///   grid_signal/<grid>    all of it: text -> CLs with band
///   grid_whole/<grid>     the whole grid from its files on one thread; see `ms_per_signal`
///
/// Of the grid of sbottom three signals are published as files: they stand for one of 60, each file
/// read 20 times, so that the background is as small a part as it is in a search.
/// Grids that are not in the folder of the data (see bench_core.cpp) are left out.
#include <array>
#include <benchmark/benchmark.h>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "benchmarks/registry.hpp"
#include "slalom/core/hypotest.hpp"
#include "slalom/core/json.hpp"
#include "slalom/core/model.hpp"
#include "slalom/core/patchset.hpp"
#include "slalom/core/signal_grid.hpp"

namespace slalom::bench {

namespace {

namespace fs = std::filesystem;

struct Published {
  const char* name;
  const char* background;              // below the folder `workspaces` of the data
  const char* patchset;                // likewise, or ""
  std::array<const char*, 3> patches;  // likewise, without a patch set
  std::size_t copies = 1;              // how often each patch is a signal of the whole grid
};

constexpr std::array published = {
    Published{"2l0j", "2L0J/BkgOnly.json", "2L0J/patchset.json", {}},
    Published{"3lrjr", "3LRJR/BkgOnly.json", "3LRJR/patchset.json", {}},
    Published{"sbottom_a",
              "sbottom/RegionA/BkgOnly.json",
              "",
              {"sbottom/RegionA/patch.sbottom_1300_205_60.json",
               "sbottom/RegionA/patch.sbottom_1400_950_60.json",
               "sbottom/RegionA/patch.sbottom_1500_850_60.json"},
              20},
};

fs::path workspaces() {
  const char* chosen = std::getenv("SLALOM_DATA");
  const bool given = chosen != nullptr && *chosen != '\0';
  return fs::path(given ? chosen : SLALOM_DATA_DEFAULT) / "workspaces";
}

// The texts of all signals.
class Signals {
 public:
  explicit Signals(const Published& grid) {
    if (*grid.patchset != '\0') {
      set_ = std::make_unique<LazyPatchSet>(read_text(workspaces() / grid.patchset));
      return;
    }
    for (const char* patch : grid.patches) texts_.push_back(read_text(workspaces() / patch));
  }

  // The same from the file of the patch.
  Json from_file(const Published& grid, std::size_t i) const {
    return set_ ? set_->operations(i) : read_json(workspaces() / grid.patches[i]);
  }

  std::size_t size() const { return set_ ? set_->set().patches.size() : texts_.size(); }
  Json operations(std::size_t i) const {
    return set_ ? set_->operations(i) : parse_json(texts_[i]);
  }

 private:
  std::unique_ptr<LazyPatchSet> set_;
  std::vector<std::string> texts_;
};

// What the steps begin with, made when the first benchmark of a grid runs.
struct Grid {
  explicit Grid(const Published& published_grid)
      : signals(published_grid), grid(read_json(workspaces() / published_grid.background)) {
    for (std::size_t i = 0; i < signals.size(); ++i) {
      operations.push_back(signals.operations(i));
      specs.push_back(grid.spec(operations.back()));
      models.emplace_back(specs.back());
    }
  }

  Signals signals;
  SignalGrid grid;
  std::vector<Json> operations;
  std::vector<ModelSpec> specs;
  std::vector<Model> models;
};

const Grid& prepared(const Published& p) {
  static std::array<std::unique_ptr<Grid>, published.size()> grids;
  std::unique_ptr<Grid>& grid = grids[static_cast<std::size_t>(&p - published.data())];
  if (!grid) grid = std::make_unique<Grid>(p);
  return *grid;
}

// Calls step(grid, i) for all signals in turn.
template <typename Step>
void in_turn(benchmark::State& state, const Published& p, const Step& step) {
  const Grid& grid = prepared(p);
  std::size_t i = 0;
  for (auto _ : state) {
    step(grid, i);
    i = (i + 1) % grid.signals.size();
  }
  state.counters["signals"] = static_cast<double>(grid.signals.size());
}

void read(benchmark::State& state, const Published& p) {
  in_turn(state, p, [](const Grid& g, std::size_t i) {
    const Json operations = g.signals.operations(i);
    benchmark::DoNotOptimize(&operations);
  });
}

// The copy that is moved away is made outside of the time.
void spec(benchmark::State& state, const Published& p) {
  in_turn(state, p, [&](const Grid& g, std::size_t i) {
    state.PauseTiming();
    Json operations = g.operations[i];
    state.ResumeTiming();
    const ModelSpec spec = g.grid.spec(std::move(operations));
    benchmark::DoNotOptimize(&spec);
  });
}

void compile(benchmark::State& state, const Published& p) {
  in_turn(state, p, [&](const Grid& g, std::size_t i) {
    state.PauseTiming();
    ModelSpec copy = g.specs[i];
    state.ResumeTiming();
    const Model model(std::move(copy));
    benchmark::DoNotOptimize(&model);
  });
}

void make_fitter(benchmark::State& state, const Published& p) {
  in_turn(state, p, [](const Grid& g, std::size_t i) {
    const Fitter fitter(g.models[i]);
    benchmark::DoNotOptimize(&fitter);
  });
}

void cls(benchmark::State& state, const Published& p) {
  const Grid& grid = prepared(p);
  std::vector<Fitter> fitters;
  for (const Model& model : grid.models) fitters.emplace_back(model);
  in_turn(state, p, [&](const Grid& g, std::size_t i) {
    FitOptions options;
    options.init = g.grid.start(g.specs[i]);
    const HypothesisTest test = AsymptoticCalculator(fitters[i], options).test(1.0);
    if (!test.converged) state.SkipWithError("a fit did not converge");
    benchmark::DoNotOptimize(&test);
  });
}

void signal(benchmark::State& state, const Published& p) {
  in_turn(state, p, [&](const Grid& g, std::size_t i) {
    const SignalResult result = g.grid.test(g.signals.operations(i));
    if (result.status != SignalStatus::ok) state.SkipWithError("a signal failed");
    benchmark::DoNotOptimize(&result);
  });
}

void whole(benchmark::State& state, const Published& p) {
  std::size_t n = 0, wrong = 0;
  for (auto _ : state) {
    const Signals signals(p);
    const SignalGrid grid(read_json(workspaces() / p.background));
    std::vector<std::size_t> all(p.copies * signals.size());
    std::iota(all.begin(), all.end(), std::size_t{0});
    n = test_signals(
        grid, all,
        [&](std::size_t i) { return SignalPatch{signals.from_file(p, i % signals.size())}; }, {}, 1,
        [&](const SignalResult& result) {
          wrong += result.status == SignalStatus::ok ? 0 : 1;
          return true;
        });
  }
  if (wrong > 0) state.SkipWithError("a signal failed");
  state.counters["signals"] = static_cast<double>(n);
  // A rate of 1000 signals, inverted: milliseconds per signal.
  state.counters["ms_per_signal"] = benchmark::Counter(
      static_cast<double>(n) / 1000.0,
      benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

bool is_there(const Published& p) {
  if (!fs::exists(workspaces() / p.background)) return false;
  if (*p.patchset != '\0') return fs::exists(workspaces() / p.patchset);
  for (const char* patch : p.patches) {
    if (!fs::exists(workspaces() / patch)) return false;
  }
  return true;
}

}  // namespace

void register_grid_benchmarks() {
  using Function = void (*)(benchmark::State&, const Published&);
  const std::vector<std::pair<std::string, Function>> steps = {
      {"read", read},          {"spec", spec}, {"compile", compile},
      {"fitter", make_fitter}, {"cls", cls},   {"signal", signal}};
  for (const Published& p : published) {
    if (!is_there(p)) continue;
    for (const auto& [name, function] : steps) {
      const std::string title = "grid_" + name + "/" + p.name;
      benchmark::RegisterBenchmark(title.c_str(), [&p, f = function](auto& state) {
        f(state, p);
      })->Unit(benchmark::kMicrosecond);
    }
    const std::string title = "grid_whole/" + std::string(p.name);
    benchmark::RegisterBenchmark(title.c_str(), [&p](auto& state) {
      whole(state, p);
    })->Unit(benchmark::kMillisecond);
  }
}

}  // namespace slalom::bench
