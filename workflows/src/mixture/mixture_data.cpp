// SPDX-License-Identifier: Apache-2.0
#include "mixture/mixture_data.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fmt/format.h>
#include <numeric>

#include "experiment/to_vector.hpp"
#include "slalom/core/error.hpp"
#include "slalom/core/mixture_toys.hpp"
#include "slalom/core/random.hpp"
#include "slalom/modules/event_files.hpp"
#include "slalom/workflows/mixture_problem.hpp"

namespace slalom::mixture {

namespace {

namespace fs = std::filesystem;
using Numbers = std::vector<double>;

/// Keeps simulated events apart from other streams of the same seed.
constexpr std::uint32_t k_simulated_family = 0x73696d75;

[[noreturn]] void fail(const std::string& message, const std::string& where) {
  throw Error(ErrorKind::usage, message, where);
}

std::string path_of(const MixtureExperimentOptions& options, const std::string& path) {
  return options.base.empty() ? path : (fs::path(options.base) / path).string();
}

double sum_of(const Numbers& values) { return std::accumulate(values.begin(), values.end(), 0.0); }

/// Shares of bins. \param where of a histogram without entries, or with negative ones
Numbers shares_of(Numbers counts, double epsilon, const std::string& where) {
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (!(counts[i] >= 0.0)) fail(fmt::format("bin {} is negative", i), where);
  }
  const double sum = sum_of(counts);
  if (!(sum > 0.0)) fail("the histogram has no entries", where);
  const double all = 1.0 + epsilon * static_cast<double>(counts.size());
  for (double& c : counts) c = (c / sum + epsilon) / all;
  return counts;
}

/// Adds log(share / measure). \param where of a bin that is empty
void add_logs(const Numbers& shares, const Numbers& measure, const std::string& where,
              Numbers& to) {
  for (std::size_t i = 0; i < shares.size(); ++i) {
    if (!(shares[i] > 0.0)) {
      fail(fmt::format("bin {} is empty, which has no logarithm: see epsilon", i), where);
    }
    to.push_back(std::log(shares[i] / measure[i]));
  }
}

// ------------------------------------------------------------------------------------------------
// The built-in problem

const PlaneGaussian& process_of(const BiasedPair& pair, std::size_t process) {
  return process == 0 ? pair.signal : pair.background;
}

Simulations from_problem(const MixtureExperimentOptions& options) {
  const MixtureDataOptions& data = options.data;
  const auto side = static_cast<std::size_t>(data.bins.front());
  const std::vector<BiasedPair> pairs =
      data.signal_pairs.empty() ? draw_biased_pairs(static_cast<std::size_t>(data.pairs), data.seed)
                                : read_biased_pairs(path_of(options, data.signal_pairs),
                                                    path_of(options, data.background_pairs));
  Simulations result;
  result.count = pairs.size();
  const double width = 2.0 * k_biased_window / static_cast<double>(side);
  result.measure.assign(side * side, width * width);
  for (std::size_t p = 0; p < 2; ++p) {
    result.target[p] = plane_contents(process_of(k_biased_truth, p), side);
    result.logs[p].reserve(pairs.size() * side * side);
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      result.names[p].push_back(fmt::format("{} {}", p == 0 ? "signal" : "background", i));
      const PlaneGaussian& gaussian = process_of(pairs[i], p);
      if (options.densities == MixtureDensities::exact) {
        const Numbers logs = plane_log_density(gaussian, side);
        result.logs[p].insert(result.logs[p].end(), logs.begin(), logs.end());
        continue;
      }
      RandomStream random(data.seed, 2 * i + p, k_simulated_family);
      const Numbers contents = plane_contents(gaussian, side);
      const Numbers counts = draw_mixture_data(contents, contents,
                                               static_cast<std::size_t>(data.simulated), 0, random);
      add_logs(shares_of(counts, data.epsilon, "/data/simulated"), result.measure, "/data/epsilon",
               result.logs[p]);
    }
  }
  result.held_out = [pairs, side, distance = data.distance](std::size_t process, std::size_t i) {
    return plane_contents(process_of(farther_pair(pairs, i, distance), process), side);
  };
  return result;
}

// ------------------------------------------------------------------------------------------------
// Files

/// Columns of the file of templates, or binned events, by their names in the document.
class Histograms {
 public:
  explicit Histograms(const MixtureExperimentOptions& options) : options_(options) {
    const MixtureDataOptions& data = options.data;
    if (data.templates.empty()) return;
    EventFileOptions read;
    read.float64 = true;
    for (const auto* names : {&data.signal, &data.background}) {
      read.columns.insert(read.columns.end(), names->begin(), names->end());
    }
    for (const std::string& name : {data.true_signal, data.true_background, data.observed}) {
      if (!name.empty()) read.columns.push_back(name);
    }
    std::sort(read.columns.begin(), read.columns.end());
    read.columns.erase(std::unique(read.columns.begin(), read.columns.end()), read.columns.end());
    table_ = read_csv(path_of(options, data.templates), read);
  }

  /// Entries of each bin; what is in no bin is added to `outside`.
  Numbers get(const std::string& name, double& outside, bool simulated = true) const {
    if (!options_.data.templates.empty()) return experiment::to_vector(table_.column(name));
    const MixtureDataOptions& data = options_.data;
    EventFileOptions read;
    read.columns = data.features;
    read.float64 = true;
    if (simulated) read.weight = data.weight;
    const EventBatch events = read_events(path_of(options_, name), read);
    const Numbers x = experiment::to_vector(events.matrix(data.features)),
                  weights = experiment::to_vector(events.weights);
    const std::size_t d = data.features.size();
    const auto bins_of = [&](std::size_t k) {
      return static_cast<std::size_t>(data.bins[data.bins.size() == 1 ? 0 : k]);
    };
    std::size_t all = 1;
    for (std::size_t k = 0; k < d; ++k) all *= bins_of(k);
    Numbers result(all, 0.0);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      std::size_t bin = 0;
      bool inside = true;
      for (std::size_t k = 0; k < d && inside; ++k) {
        const double value = x[i * d + k];
        inside = value >= data.low[k] && value < data.high[k];
        if (!inside) break;
        const double place =
            (value - data.low[k]) / (data.high[k] - data.low[k]) * static_cast<double>(bins_of(k));
        bin = bin * bins_of(k) + std::min(static_cast<std::size_t>(place), bins_of(k) - 1);
      }
      (inside ? result[bin] : outside) += weights[i];
    }
    return result;
  }

 private:
  const MixtureExperimentOptions& options_;
  EventBatch table_;
};

Simulations from_files(const MixtureExperimentOptions& options) {
  const MixtureDataOptions& data = options.data;
  const Histograms histograms(options);
  Simulations result;
  result.count = data.signal.size();
  double ignored = 0.0;
  for (std::size_t p = 0; p < 2; ++p) {
    const std::string key = p == 0 ? "signal" : "background";
    const std::vector<std::string>& names = p == 0 ? data.signal : data.background;
    for (std::size_t i = 0; i < names.size(); ++i) {
      const std::string where = fmt::format("/data/{}/{}", key, i);
      const Numbers shares = shares_of(histograms.get(names[i], ignored), data.epsilon, where);
      if (result.measure.empty()) result.measure.assign(shares.size(), 1.0);
      add_logs(shares, result.measure, where, result.logs[p]);
    }
    result.names[p] = names;
    const std::string& truth = p == 0 ? data.true_signal : data.true_background;
    if (!truth.empty()) {
      result.target[p] = shares_of(histograms.get(truth, ignored), 0.0, "/data/true_" + key);
    }
  }
  if (!data.observed.empty()) {
    result.observed = histograms.get(data.observed, result.outside, false);
    shares_of(result.observed, 0.0, "/data/observed");
  }
  result.held_out = [logs = std::vector<Numbers>{result.logs[0], result.logs[1]},
                     measure = result.measure,
                     distance = data.distance](std::size_t process, std::size_t i) {
    return farther_simulation(logs[process], measure, i, distance);
  };
  return result;
}

/// Whether there are enough simulations, and a truth where one is needed.
void check(const MixtureExperimentOptions& options, const Simulations& simulations) {
  const MixtureDataOptions& data = options.data;
  const bool held_out = data.truth == MixtureTruth::held_out;
  const std::size_t wanted =
      static_cast<std::size_t>(options.mixture.simulations) + (held_out ? 1 : 0);
  if (wanted > simulations.count) {
    fail(fmt::format("there are {} simulations{}", simulations.count,
                     held_out ? ", of which one is held out" : ""),
         "/mixture/simulations");
  }
  const bool drawn = simulations.observed.empty() || options.toys.enabled;
  if (!held_out && drawn && simulations.target[0].empty()) {
    fail(simulations.observed.empty()
             ? "expected observed data, or a truth that they are drawn from"
             : "toys need a truth: name it, or take truth = held_out, or no toys",
         "/data/true_signal");
  }
  if (options.mixture.prior == MixturePrior::population && simulations.count < 2) {
    fail("a population needs at least 2 simulations", "/data/signal");
  }
}

}  // namespace

Numbers Simulations::logs_of(std::size_t process, const std::vector<std::size_t>& chosen) const {
  Numbers result;
  result.reserve(chosen.size() * points());
  for (std::size_t i : chosen) {
    const auto begin = logs[process].begin() + static_cast<std::ptrdiff_t>(i * points());
    result.insert(result.end(), begin, begin + static_cast<std::ptrdiff_t>(points()));
  }
  return result;
}

Numbers Simulations::contents(std::size_t process, std::size_t i) const {
  Numbers result;
  for (std::size_t j = 0; j < points(); ++j) {
    result.push_back(measure[j] * std::exp(logs[process][i * points() + j]));
  }
  const double sum = sum_of(result);
  for (double& x : result) x /= sum;
  return result;
}

Simulations read_simulations(const MixtureExperimentOptions& options) {
  Simulations result = options.data.problem.empty() ? from_files(options) : from_problem(options);
  check(options, result);
  return result;
}

}  // namespace slalom::mixture
