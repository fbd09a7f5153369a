// SPDX-License-Identifier: Apache-2.0
#include "resonance/resonance_data.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <cmath>
#include <filesystem>
#include <fmt/format.h>

#include "slalom/core/error.hpp"
#include "slalom/core/random.hpp"
#include "slalom/modules/event_files.hpp"
#include "slalom/modules/lhco.hpp"

namespace slalom::resonance {

namespace {

namespace fs = std::filesystem;

/// Keep the draws of theta apart from those of events.
constexpr std::uint32_t k_theta_family = 0x74686574;
/// Seeds of the samples of one problem, so that none has events of another.
enum Sample : std::uint64_t { k_data = 0, k_injected = 1, k_simulated = 2, k_samples = 8 };

std::uint64_t sample_seed(const ResonanceOptions& options, Sample sample) {
  return options.data.seed * k_samples + sample;
}

/// Of two masses and two ratios, as the built-in problem and the LHC Olympics have them.
std::vector<FeatureMap> dijet_maps() {
  return {FeatureMap::cube_root, FeatureMap::cube_root, FeatureMap::logit, FeatureMap::logit};
}

/// Events in an order that depends on their number and the seed.
EventBatch shuffled(const EventBatch& events, std::uint64_t seed) {
  const EventLoader order(events, {.batch_size = events.size(), .seed = seed, .stratified = false});
  return events.select(order.indices({0, 0}));
}

Tensor inside(const EventBatch& events, const ResonanceDataOptions& data) {
  const Tensor mass = events.column(data.mass);
  return (mass >= data.region_low).logical_and(mass < data.region_high);
}

Tensor covered(const EventBatch& events, const ResonanceDataOptions& data) {
  const Tensor mass = events.column(data.mass);
  return (mass >= data.mass_low).logical_and(mass < data.mass_high);
}

/// theta of each simulated event, uniform over the ranges.
Tensor draw_theta(const std::vector<ParameterInput>& parameters, std::int64_t n,
                  std::uint64_t seed) {
  const auto p = static_cast<std::int64_t>(parameters.size());
  Tensor theta = at::empty({n, p}, at::kDouble);
  double* value = theta.data_ptr<double>();
  RandomStream random(seed, 0, k_theta_family);
  for (std::int64_t i = 0; i < n; ++i) {
    for (const ParameterInput& parameter : parameters) {
      *value++ = parameter.low + (parameter.high - parameter.low) * random.uniform();
    }
  }
  return theta;
}

SearchEvents from_problem(const ResonanceOptions& options) {
  const ResonanceDataOptions& data = options.data;
  const ResonanceProblem problem = make_resonance_problem(data.problem);
  SearchEvents result;
  const auto n = static_cast<double>(data.region_events);
  const EventBatch background =
      problem.background(std::llround(n / problem.region_share), sample_seed(options, k_data));
  const std::vector<double> theta = data.theta.empty() ? problem.theta : data.theta;
  const std::int64_t signal = std::llround(n * data.signal_fraction);
  EventBatch all = background;
  if (signal > 0) {
    all = concatenate({background, problem.signal(signal, at::tensor(theta, at::kDouble),
                                                  sample_seed(options, k_injected))});
  }
  all = shuffled(all, options.data.seed);
  const Tensor in = inside(all, data);
  result.region = all.select(in);
  result.sidebands = all.select(in.logical_not().logical_and(covered(all, data)));
  const Tensor drawn =
      draw_theta(problem.parameters, data.simulated, sample_seed(options, k_simulated));
  result.simulated = problem.signal(data.simulated, drawn, sample_seed(options, k_simulated));
  result.theta = drawn;
  result.parameters = problem.parameters;
  result.truth = theta;
  result.low.assign(problem.features.size(), 0.0);
  result.high.assign(problem.features.size(), 1.0);
  result.maps = data.maps.empty() ? dijet_maps() : data.maps;
  return result;
}

/// \param columns the mass and features; empty: all \param label column of the truth, or empty
EventBatch read_file(const std::string& path, const ResonanceOptions& options,
                     std::vector<std::string> columns, const std::string& label) {
  const fs::path file = options.base.empty() ? fs::path(path) : fs::path(options.base) / path;
  if (options.data.lhco) {
    const EventBatch events = read_lhco(file.string(), {.float64 = false});
    return columns.empty()
               ? events
               : make_events(columns, events.matrix(columns), events.weights, events.labels);
  }
  EventFileOptions read;
  read.columns = std::move(columns);
  read.label = label;
  return read_events(file.string(), read);
}

/// The data, the mass first.
EventBatch read_data(const ResonanceOptions& options) {
  const ResonanceDataOptions& data = options.data;
  std::vector<std::string> columns{data.mass};
  columns.insert(columns.end(), data.features.begin(), data.features.end());
  const EventBatch events = read_file(
      data.path, options, data.features.empty() ? std::vector<std::string>{} : columns, data.label);
  if (data.features.empty()) {
    for (const std::string& column : events.columns) {
      if (column != data.mass) columns.push_back(column);
    }
  }
  return make_events(columns, events.matrix(columns), events.weights, events.labels);
}

/// theta of the simulation, with its range.
void set_theta(SearchEvents& events, const Tensor& theta, const ResonanceDataOptions& data) {
  events.theta = theta.to(at::kDouble);
  for (std::size_t k = 0; k < data.parameters.size(); ++k) {
    const Tensor column = events.theta.select(1, static_cast<std::int64_t>(k));
    const double low = column.min().item<double>(), high = column.max().item<double>();
    if (!(low < high)) {
      throw Error(ErrorKind::usage, "it has one value only",
                  "/data/parameters/" + std::to_string(k));
    }
    events.parameters.push_back({data.parameters[k], low, high});
  }
}

SearchEvents from_files(const ResonanceOptions& options) {
  const ResonanceDataOptions& data = options.data;
  SearchEvents result;
  const EventBatch all = shuffled(read_data(options), options.data.seed);
  const Tensor in = inside(all, data);
  result.region = all.select(in);
  result.sidebands = all.select(in.logical_not().logical_and(covered(all, data)));
  if (!data.simulation.empty()) {
    std::vector<std::string> columns = result.region.columns;
    columns.insert(columns.end(), data.parameters.begin(), data.parameters.end());
    EventBatch simulated =
        shuffled(read_file(data.simulation, options, columns, ""), options.data.seed);
    simulated = simulated.select(inside(simulated, data));
    result.simulated = make_events(result.region.columns, simulated.matrix(result.region.columns),
                                   simulated.weights);
    if (!data.parameters.empty()) set_theta(result, simulated.matrix(data.parameters), data);
  }
  const std::size_t features = result.region.columns.size() - 1;
  result.maps = !data.maps.empty() ? data.maps
                : data.lhco && data.features.empty()
                    ? dijet_maps()
                    : std::vector<FeatureMap>(features, FeatureMap::linear);
  return result;
}

}  // namespace

std::vector<std::string> SearchEvents::features() const {
  return {region.columns.begin() + 1, region.columns.end()};
}

SearchEvents search_events(const ResonanceOptions& options) {
  SearchEvents result = options.data.problem.empty() ? from_files(options) : from_problem(options);
  if (!options.data.low.empty()) {
    result.low = options.data.low;
    result.high = options.data.high;
  }
  if (!result.low.empty() && result.low.size() != result.features().size()) {
    throw Error(ErrorKind::usage,
                fmt::format("expected one end for each of {} features, got {}",
                            result.features().size(), result.low.size()),
                "/data/low");
  }
  if (result.maps.size() != result.features().size()) {
    throw Error(ErrorKind::usage,
                fmt::format("expected one map for each of {} features, got {}",
                            result.features().size(), result.maps.size()),
                "/data/maps");
  }
  constexpr std::int64_t k_few = 100;
  if (result.region.size() < k_few || result.sidebands.size() < k_few) {
    throw Error(ErrorKind::usage,
                fmt::format("there are {} events in the signal region and {} in the sidebands; at "
                            "least {} are needed in each",
                            result.region.size(), result.sidebands.size(), k_few),
                "/data/region_low");
  }
  return result;
}

}  // namespace slalom::resonance
