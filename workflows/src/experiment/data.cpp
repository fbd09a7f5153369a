// SPDX-License-Identifier: Apache-2.0
#include "experiment/data.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fmt/format.h>

#include "cli/suggest.hpp"
#include "cli/text.hpp"
#include "slalom/core/random.hpp"
#include "slalom/workflows/higgsml.hpp"
#include "slalom/workflows/problem.hpp"

namespace slalom::experiment {

namespace {

/// A free parameter is constrained to so many units of theta: none of its own, as good as.
constexpr double k_free = 30.0;
/// Family of random streams for splits.
constexpr std::uint32_t k_split_family = 0x5B117;

/// Streams of the three samples of a problem.
std::uint64_t sample_seed(std::uint64_t seed, std::uint64_t sample) { return 3 * seed + sample; }

[[noreturn]] void fail(const std::string& message, const std::string& where) {
  throw Error(ErrorKind::usage, message, where);
}

Tensor of_process(const EventBatch& events, std::size_t process) {
  return events.process == static_cast<std::int64_t>(process);
}

/// Weights of each process scaled to a sum.
EventBatch scaled(const EventBatch& events, const std::vector<double>& yields,
                  const std::string& what) {
  Tensor weights = events.weights.clone();
  for (std::size_t k = 0; k < yields.size(); ++k) {
    const Tensor mask = of_process(events, k);
    const double sum = events.weights.masked_select(mask).sum().item<double>();
    if (!(sum > 0.0)) {
      fail(fmt::format("the {} events of process '{}' have no positive sum of weights", what,
                       events.processes[k]),
           "/data");
    }
    weights.masked_fill_(mask, 0.0);
    weights += events.weights * mask.to(at::kDouble) * (yields[k] / sum);
  }
  return events.with_weights(weights);
}

ExperimentData generate(const DataOptions& options) {
  const Problem problem = make_problem(options.problem);
  ExperimentData data;
  data.train = problem.events(options.train, sample_seed(options.seed, 0));
  data.validation = problem.events(options.validation, sample_seed(options.seed, 1));
  if (options.test_sampling == TestSampling::lattice) {
    const auto axes = static_cast<double>(problem.columns.size());
    const double points = std::pow(static_cast<double>(options.test), 1.0 / axes);
    data.test = problem.lattice_events(std::max<std::int64_t>(std::llround(points), 2));
  } else {
    data.test = problem.events(options.test, sample_seed(options.seed, 2));
  }
  data.test_ids = at::arange(data.test.size(), at::kLong);
  for (const ProblemProcess& process : problem.processes) data.processes.push_back(process.name);
  return data;
}

/// Weights of each process of a file scaled to its yield, if it has one.
EventBatch with_yields(const EventBatch& events, const std::vector<FileProcess>& processes,
                       const std::string& where) {
  Tensor weights = events.weights.clone();
  for (std::size_t k = 0; k < processes.size(); ++k) {
    const Tensor mask = of_process(events, k);
    const std::string place = fmt::format("{}/processes/{}", where, k);
    if (!mask.any().item<bool>()) fail("there are no events of the process", place);
    if (!processes[k].yield) continue;
    const double sum = events.weights.masked_select(mask).sum().item<double>();
    if (!(sum > 0.0)) fail("the weights have no positive sum", place);
    weights.masked_fill_(mask, 0.0);
    weights += events.weights * mask.to(at::kDouble) * (*processes[k].yield / sum);
  }
  return events.with_weights(weights);
}

EventBatch read_file(const ExperimentOptions& options, std::size_t i) {
  const DataFile& file = options.data.files[i];
  EventFileOptions read = file.read;
  for (const FileProcess& process : file.processes) {
    read.processes.push_back(process.value.empty() ? process.name : process.value);
  }
  EventBatch events = read_events(resolve(options, file.path), read);
  if (!file.processes.empty()) {
    for (std::size_t k = 0; k < file.processes.size(); ++k) {
      events.processes[k] = file.processes[k].name;
    }
    events = with_yields(events, file.processes, fmt::format("/data/files/{}", i));
  }
  if (!file.process.empty()) {
    events.processes = {file.process};
    events.process = at::zeros_like(events.weights, at::kLong);
  }
  if (file.yield) {
    const double sum = events.weights.sum().item<double>();
    if (!(sum > 0.0)) {
      fail("the weights have no positive sum", fmt::format("/data/files/{}", i));
    }
    events = events.with_weights(events.weights * (*file.yield / sum));
  }
  return events;
}

/// A number in (0, 1) for each event.
Tensor uniform_of(std::uint64_t seed, std::int64_t n, std::uint32_t family) {
  Tensor result = at::zeros({n}, at::kDouble);
  auto* place = result.data_ptr<double>();
  for (std::int64_t i = 0; i < n; ++i) {
    place[i] = RandomStream(seed, static_cast<std::uint64_t>(i), family).uniform();
  }
  return result;
}

std::vector<double> yields_of(const EventBatch& events) {
  std::vector<double> yields;
  for (std::size_t k = 0; k < events.processes.size(); ++k) {
    const double sum = events.weights.masked_select(of_process(events, k)).sum().item<double>();
    if (!(sum > 0.0)) {
      fail(fmt::format("process '{}' has no positive sum of weights", events.processes[k]),
           "/data");
    }
    yields.push_back(sum);
  }
  return yields;
}

/// Training, validation and test events by the shares.
ExperimentData split(const DataOptions& options, const EventBatch& all) {
  const std::vector<double> yields = yields_of(all);
  const Tensor u = uniform_of(options.seed, all.size(), k_split_family);
  const double first = options.split[0], second = options.split[0] + options.split[1];
  ExperimentData data;
  data.processes = all.processes;
  data.train = scaled(all.select(u < first), yields, "training");
  if (options.split[1] > 0.0) {
    data.validation =
        scaled(all.select((u >= first).logical_and(u < second)), yields, "validation");
  }
  const Tensor test = u >= second;
  data.test = scaled(all.select(test), yields, "test");
  data.test_ids = at::arange(all.size(), at::kLong).masked_select(test);
  return data;
}

/// One fold's events to test, with their own weights, so that all folds together have all events;
/// the others to train and to validate.
ExperimentData split_folds(const DataOptions& options, const EventBatch& all) {
  const std::vector<double> yields = yields_of(all);
  const Tensor place =
      uniform_of(options.seed, all.size(), k_split_family) * static_cast<double>(options.folds);
  const Tensor test = place.floor() == static_cast<double>(options.fold);
  const double share = options.split[1] / (options.split[0] + options.split[1]);
  const Tensor u = uniform_of(options.seed, all.size(), k_split_family + 1);
  const Tensor validation = (u < share).logical_and(test.logical_not());
  ExperimentData data;
  data.processes = all.processes;
  data.train = scaled(all.select(test.logical_or(validation).logical_not()), yields, "training");
  if (share > 0.0) data.validation = scaled(all.select(validation), yields, "validation");
  data.test = all.select(test);
  data.test_ids = at::arange(all.size(), at::kLong).masked_select(test);
  return data;
}

EventBatch read_all(const ExperimentOptions& options) {
  if (!options.data.higgsml.empty()) return read_higgsml(resolve(options, options.data.higgsml));
  std::vector<EventBatch> parts;
  for (std::size_t i = 0; i < options.data.files.size(); ++i) {
    parts.push_back(read_file(options, i));
    EventBatch& part = parts.back();
    if (part.columns != parts.front().columns) {
      fail("the columns are not those of the first file", fmt::format("/data/files/{}", i));
    }
    if (part.size() == 0) fail("there are no events", fmt::format("/data/files/{}", i));
    part.labels = Tensor();
  }
  return concatenate(parts);
}

ExperimentData read_files(const ExperimentOptions& options) {
  const EventBatch all = read_all(options);
  return options.data.folds > 0 ? split_folds(options.data, all) : split(options.data, all);
}

/// 1 for events of the signal, and everything on the device.
void finish(EventBatch& events, std::size_t signal, const ExperimentOptions& options) {
  if (!events.features.defined()) return;
  if (!at::isfinite(events.features).all().item<bool>()) {
    fail("there are features that are not finite", "/data");
  }
  events.labels = of_process(events, signal).to(at::kLong);
  if (options.device != "cpu") events = events.to(at::Device(options.device));
}

Variation rescaled(const Variation& variation, double unit) {
  Variation result = variation;
  result.apply = [apply = variation.apply, unit](const EventBatch& events, const Tensor& theta) {
    return apply(events, theta * unit);
  };
  if (variation.score) {
    result.score = [score = variation.score, unit](const EventBatch& events) {
      return score(events) * unit;
    };
  }
  return result;
}

Variation of_problem(const ExperimentOptions& options, const NuisanceOptions& nuisance,
                     const std::string& where) {
  const Problem problem = make_problem(options.data.problem);
  const std::string& name = nuisance.variation.empty() ? nuisance.name : nuisance.variation;
  std::vector<std::string> names;
  for (const Variation& variation : problem.variations) {
    if (variation.name == name) return variation;
    names.push_back(variation.name);
  }
  fail(fmt::format("the problem has no variation '{}'{}; it has {}", name,
                   cli::did_you_mean(name, names), cli::listing(names)),
       where + (nuisance.variation.empty() ? "/name" : "/variation"));
}

Variation plain_variation(const ExperimentOptions& options, const NuisanceOptions& nuisance,
                          const std::string& where) {
  const auto column = [name = nuisance.columns](const EventBatch& events) {
    return events.column(name.front()).to(at::kDouble);
  };
  const double amount = nuisance.amount;
  switch (nuisance.effect) {
    case NuisanceEffect::scale:
      return scale_variation(nuisance.name, nuisance.columns, amount);
    case NuisanceEffect::shift:
      return shift_variation(nuisance.name, nuisance.columns, amount);
    case NuisanceEffect::log_weight:
      return exponential_reweighting(nuisance.name, column);
    case NuisanceEffect::weight_slope:
      return linear_reweighting(nuisance.name, column);
    case NuisanceEffect::normalisation:
      return linear_reweighting(nuisance.name, [amount](const EventBatch& events) {
        return at::full_like(events.weights, amount);
      });
    case NuisanceEffect::tau_energy_scale:
      return tau_energy_scale(amount);
    case NuisanceEffect::problem:
      break;
  }
  return of_problem(options, nuisance, where);
}

/// A variation that leaves all events as they are is a mistake.
void check_effect(const Variation& variation, double step, const EventBatch& events,
                  const std::string& where) {
  const EventBatch nominal = events.select(concerned_events(events, variation));
  const EventBatch moved = shifted_copies(nominal, variation, step).up;
  if (at::equal(moved.features, nominal.features) && at::equal(moved.weights, nominal.weights)) {
    fail("it changes neither features nor weights", where);
  }
}

void check_columns(const std::vector<std::string>& wanted, const EventBatch& events,
                   const std::string& where) {
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (std::find(events.columns.begin(), events.columns.end(), wanted[i]) !=
        events.columns.end()) {
      continue;
    }
    fail(fmt::format("there is no column '{}'{}", wanted[i],
                     cli::did_you_mean(wanted[i], events.columns)),
         fmt::format("{}/columns/{}", where, i));
  }
}

}  // namespace

void check_process(const std::string& process, const ExperimentData& data,
                   const std::string& where) {
  const auto& known = data.processes;
  if (std::find(known.begin(), known.end(), process) != known.end()) return;
  fail(fmt::format("there is no process '{}'{}", process, cli::did_you_mean(process, known)),
       where);
}

double prior_of(const NuisanceOptions& nuisance) { return nuisance.prior.value_or(k_free); }

double step_of(const NuisanceOptions& nuisance) { return nuisance.step / prior_of(nuisance); }

SlopeMethod slope_of(const NuisanceOptions& nuisance) {
  const bool linear = nuisance.effect == NuisanceEffect::normalisation ||
                      nuisance.effect == NuisanceEffect::weight_slope;
  return linear ? SlopeMethod::score : nuisance.slope;
}

std::string resolve(const ExperimentOptions& options, const std::string& path) {
  const std::filesystem::path file(path);
  return file.is_absolute() || options.base.empty()
             ? path
             : (std::filesystem::path(options.base) / file).string();
}

ExperimentData load_data(const ExperimentOptions& options) {
  ExperimentData data = options.data.problem.empty() ? read_files(options) : generate(options.data);
  const auto signal = std::find(data.processes.begin(), data.processes.end(), options.data.signal);
  if (signal == data.processes.end()) {
    fail(fmt::format("there is no process '{}'{}; there are {}", options.data.signal,
                     cli::did_you_mean(options.data.signal, data.processes),
                     cli::listing(data.processes)),
         "/data/signal");
  }
  const auto index = static_cast<std::size_t>(signal - data.processes.begin());
  for (EventBatch* events : {&data.train, &data.validation, &data.test}) {
    finish(*events, index, options);
  }
  return data;
}

std::vector<Variation> make_variations(const ExperimentOptions& options,
                                       const ExperimentData& data) {
  std::vector<Variation> result;
  for (std::size_t i = 0; i < options.nuisances.size(); ++i) {
    const NuisanceOptions& nuisance = options.nuisances[i];
    const std::string where = fmt::format("/nuisances/{}", i);
    check_columns(nuisance.columns, data.train, where);
    Variation variation = plain_variation(options, nuisance, where);
    variation.name = nuisance.name;
    if (!nuisance.processes.empty()) variation.processes = nuisance.processes;
    for (std::size_t p = 0; p < variation.processes.size(); ++p) {
      check_process(variation.processes[p], data, fmt::format("{}/processes/{}", where, p));
    }
    if (nuisance.slope == SlopeMethod::score && !variation.score) {
      fail("this effect has no score: use copies", where + "/slope");
    }
    check_effect(variation, nuisance.step, data.train, where);
    result.push_back(rescaled(variation, prior_of(nuisance)));
  }
  return result;
}

}  // namespace slalom::experiment
