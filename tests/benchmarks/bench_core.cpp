// SPDX-License-Identifier: Apache-2.0
/// \file
/// What slalom::core costs on published likelihoods and on synthetic ones:
///
///   read_compile/<model>      file -> JSON (-> patch) -> workspace -> compiled model
///   logpdf/<model>            log L at two points in turn
///   logpdf_gradient/<model>   with all first derivatives
///   hessian/<model>           with gradient and exact Hessian
///   fit/<model>               full fit from the suggested start, in the memory of a reused Fitter
///   sensitivity_sigma/<model> expected sigma(mu) with its derivatives by all inputs: Asimov fit
///   from
///                             the last one, as in a training loop, a new calculator each time
///   sensitivity_limit/<model> the same for the expected median upper limit
///   stream/<model>            for comparison: multiply-add over as many doubles as the model has
///                             template coefficients (two per bin of each histosys)
///
/// Published models are read from the folder in the environment variable SLALOM_DATA, or
/// `../shared/data` beside the source tree; those that are not there are left out.
#include <array>
#include <benchmark/benchmark.h>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <unistd.h>
#include <vector>

#include "benchmarks/registry.hpp"
#include "slalom/core/fit.hpp"
#include "slalom/core/json.hpp"
#include "slalom/core/patch.hpp"
#include "slalom/core/patchset.hpp"
#include "slalom/core/sensitivity.hpp"
#include "support/synthetic.hpp"

namespace slalom::bench {

namespace {

namespace fs = std::filesystem;

struct Published {
  const char* name;
  const char* workspace;   // below the folder `workspaces` of the data
  const char* patch;       // JSON patch or patch set, or ""
  const char* patch_name;  // in the patch set, or ""
};

constexpr std::array published = {
    Published{"2bin", "pyhf/2-bin_1-channel.json", "", ""},
    Published{"agc_34par", "agc/agc_34par.json", "", ""},
    Published{"sbottom_a", "sbottom/RegionA/BkgOnly.json",
              "sbottom/RegionA/patch.sbottom_1300_205_60.json", ""},
    Published{"3lrjr", "3LRJR/BkgOnly.json", "3LRJR/patchset.json", "ERJR_100p0_20p0"},
    Published{"ttbar_ljets_132par", "ttbar/ttbar_ljets_132par.json", "", ""},
    Published{"agc_ml_187par", "agc/agc_ml_187par.json", "", ""},
};

fs::path data_folder() {
  const char* chosen = std::getenv("SLALOM_DATA");
  return (chosen != nullptr && *chosen != '\0') ? chosen : SLALOM_DATA_DEFAULT;
}

// A file that is gone when the program ends.
class TemporaryFile {
 public:
  explicit TemporaryFile(fs::path path) : path_(std::move(path)) {}
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// One model, read and compiled when it is first needed.
class Source {
 public:
  Source(std::string name, fs::path workspace, fs::path patch, std::string patch_name)
      : name_(std::move(name)),
        workspace_(std::move(workspace)),
        patch_(std::move(patch)),
        patch_name_(std::move(patch_name)) {}
  explicit Source(const test::SyntheticOptions& options) : name_(options.name), synthetic_(true) {}

  const std::string& name() const { return name_; }

  Model compile() {
    prepare();
    Json document = read_json(workspace_);
    if (!patch_name_.empty()) {
      const PatchSet set = parse_patchset(read_json(patch_));
      document = apply_patch(std::move(document), find_patch(set, patch_name_).operations);
    } else if (!patch_.empty()) {
      document = apply_patch(std::move(document), read_json(patch_));
    }
    return Model(make_model_spec(parse_workspace(document)));
  }

  const Model& model() {
    if (!model_) model_ = std::make_unique<Model>(compile());
    return *model_;
  }

 private:
  void prepare() {
    if (!synthetic_ || file_) return;
    const std::string unique = "slalom_" + name_ + "_" + std::to_string(getpid()) + ".json";
    file_ = std::make_unique<TemporaryFile>(fs::temp_directory_path() / unique);
    workspace_ = file_->path();
    const Json document = test::synthetic_workspace(test::synthetic_model(name_));
    write_text(workspace_, dump_json(document, -1));
  }

  std::string name_;
  fs::path workspace_;
  fs::path patch_;
  std::string patch_name_;
  bool synthetic_ = false;
  std::unique_ptr<TemporaryFile> file_;
  std::unique_ptr<Model> model_;
};

// The suggested start, and a point at which no parameter that floats has its initial value. The
// comparison with other tools uses the same two.
std::array<std::vector<double>, 2> two_points(const ModelSpec& spec) {
  std::array<std::vector<double>, 2> points = {spec.initial(), spec.initial()};
  for (std::size_t i = 0; i < spec.parameters.size(); ++i) {
    if (spec.parameters[i].fixed) continue;
    double& value = points[1][i];
    const double wave = std::sin(static_cast<double>(i) + 1.0);
    value = value == 0.0 ? 0.3 * wave : value * (1.0 + 0.05 * wave);
  }
  return points;
}

std::size_t template_coefficients(const ModelSpec& spec) {
  std::size_t n = 0;
  for (const ChannelSpec& channel : spec.channels) {
    for (const SampleSpec& sample : channel.samples)
      n += 2 * channel.n_bins * sample.histosys.size();
  }
  return n;
}

void read_compile(benchmark::State& state, Source& source) {
  source.model();
  for (auto _ : state) {
    const Model model = source.compile();
    benchmark::DoNotOptimize(&model);
  }
}

enum class Order { value, gradient, hessian };

void evaluate(benchmark::State& state, Source& source, Order order) {
  const Model& model = source.model();
  const auto points = two_points(model.spec());
  Evaluator evaluator(model);
  const std::size_t n = model.n_parameters();
  std::vector<double> gradient(n);
  std::vector<double> hessian(order == Order::hessian ? n * n : 0);
  std::size_t turn = 0;
  double value = 0.0;
  for (auto _ : state) {
    const std::vector<double>& point = points[turn];
    turn = 1 - turn;
    switch (order) {
      case Order::value:
        value = evaluator.logpdf(point);
        break;
      case Order::gradient:
        value = evaluator.logpdf(point, gradient);
        break;
      case Order::hessian:
        value = evaluator.logpdf(point, gradient, hessian);
        break;
    }
    benchmark::DoNotOptimize(value);
    benchmark::ClobberMemory();
  }
  state.counters["parameters"] = static_cast<double>(n);
  state.counters["twice_nll_0"] = -2.0 * evaluator.logpdf(points[0]);
  state.counters["twice_nll_1"] = -2.0 * evaluator.logpdf(points[1]);
}

void fit_model(benchmark::State& state, Source& source) {
  const Model& model = source.model();
  Fitter fitter(model);
  FitResult result;
  for (auto _ : state) {
    result = fitter.fit();
    benchmark::DoNotOptimize(&result);
  }
  state.counters["parameters"] = static_cast<double>(model.n_parameters());
  state.counters["twice_nll"] = result.twice_nll;
  state.counters["converged"] = result.converged() ? 1.0 : 0.0;
  state.counters["iterations"] = result.iterations;
  state.counters["evaluations"] = result.evaluations;
}

void differentiate(benchmark::State& state, Source& source, bool limit) {
  const Model& model = source.model();
  if (!model.spec().poi) {
    state.SkipWithError("no parameter of interest");
    return;
  }
  SensitivityOptions options;
  options.fit.fixed = {{*model.spec().poi, limit ? 0.0 : 1.0}};
  options.fit.init = fit(model, options.fit).parameters;
  options.fit.init[*model.spec().poi] = limit ? 0.0 : 1.0;
  options.fit.fixed.clear();
  options.fit.warm_start = true;
  options.fit.search_minima = false;
  Sensitivity result;
  for (auto _ : state) {
    SensitivityCalculator calculator(model, options);
    result = limit ? calculator.expected_upper_limit() : calculator.expected_error();
    benchmark::DoNotOptimize(&result);
  }
  state.counters["inputs"] = static_cast<double>(result.derivatives.size());
  state.counters["value"] = result.value;
  state.counters["converged"] = result.converged ? 1.0 : 0.0;
}

// Vectorised as the library's kernels are: for AVX2 where there is one.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
[[gnu::target_clones("avx2", "default")]]
#endif
double
multiply_add(const double* values, std::size_t n, double factor) {
  constexpr std::size_t lanes = 16;
  std::array<double, lanes> sums{};
  for (std::size_t i = 0; i < n; i += lanes) {
    for (std::size_t j = 0; j < lanes; ++j) sums[j] += factor * values[i + j];
  }
  double sum = 0.0;
  for (const double part : sums) sum += part;
  return sum;
}

void stream(benchmark::State& state, Source& source) {
  const std::size_t n = template_coefficients(source.model().spec());
  const std::vector<double> values((n + 15) / 16 * 16, 1.0);
  double factor = 1.0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(factor);
    double sum = multiply_add(values.data(), values.size(), factor);
    benchmark::DoNotOptimize(sum);
  }
  state.counters["coefficients"] = static_cast<double>(n);
}

template <typename Function, typename... Arguments>
void add(const std::string& what, Source& source, benchmark::TimeUnit unit, Function function,
         Arguments... arguments) {
  const std::string name = what + "/" + source.name();
  benchmark::RegisterBenchmark(name.c_str(), [&source, function, arguments...](auto& state) {
    function(state, source, arguments...);
  })->Unit(unit);
}

}  // namespace

void register_core_benchmarks() {
  static std::vector<std::unique_ptr<Source>> sources;
  for (const Published& p : published) {
    const fs::path folder = data_folder() / "workspaces";
    const fs::path patch = *p.patch == '\0' ? fs::path() : folder / p.patch;
    if (!fs::exists(folder / p.workspace) || (!patch.empty() && !fs::exists(patch))) {
      std::cerr << p.name << " is left out: " << (folder / p.workspace).string()
                << " (or its patch) is not on this machine; see SLALOM_DATA\n";
      continue;
    }
    sources.push_back(std::make_unique<Source>(p.name, folder / p.workspace, patch, p.patch_name));
  }
  for (const test::SyntheticOptions& options : test::synthetic_models()) {
    sources.push_back(std::make_unique<Source>(options));
  }
  for (const auto& source : sources) {
    add("read_compile", *source, benchmark::kMillisecond, read_compile);
    add("stream", *source, benchmark::kMicrosecond, stream);
    add("logpdf", *source, benchmark::kMicrosecond, evaluate, Order::value);
    add("logpdf_gradient", *source, benchmark::kMicrosecond, evaluate, Order::gradient);
    add("hessian", *source, benchmark::kMicrosecond, evaluate, Order::hessian);
    add("fit", *source, benchmark::kMillisecond, fit_model);
    add("sensitivity_sigma", *source, benchmark::kMillisecond, differentiate, false);
    add("sensitivity_limit", *source, benchmark::kMillisecond, differentiate, true);
  }
}

}  // namespace slalom::bench
