// SPDX-License-Identifier: Apache-2.0
#include "mixture/mixture_model.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "slalom/core/error.hpp"
#include "slalom/core/random.hpp"
#include "slalom/core/simulation_spread.hpp"
#include "slalom/core/topics.hpp"

namespace slalom::mixture {

namespace {

using Chosen = std::vector<std::size_t>;

/// Keeps draws of simulations apart from other streams of the same seed.
constexpr std::uint32_t k_draw_family = 0x64726177;
/// Entries of the histograms that topics are found in.
constexpr double k_topic_entries = 1e5;

TemplateMixture population_mixture(const Simulations& simulations, const Chosen& chosen,
                                   const MixtureModelOptions& options) {
  SpreadOptions directions;
  directions.max_directions = static_cast<std::size_t>(options.directions);
  PopulationOptions population;
  population.shrinkage = options.shrinkage;
  population.student = options.student;
  population.scale = options.strength;
  MixtureProcess processes[2];
  std::vector<ShapePrior> priors;
  std::size_t first = 1;
  for (std::size_t p = 0; p < 2; ++p) {
    const SimulationSpread spread = simulation_spread(
        simulations.logs_of(p, chosen), simulations.measure, chosen.size(), directions);
    processes[p] = spread_mixture(spread);
    priors.push_back(population_prior(spread.coordinates, chosen.size(), first, population));
    first += spread.dimension;
  }
  return {std::move(processes[0]), std::move(processes[1]), simulations.measure, std::move(priors)};
}

TemplateMixture ridge_mixture(const Simulations& simulations, const Chosen& chosen,
                              const MixtureModelOptions& options) {
  const std::size_t k = chosen.size();
  std::vector<ShapePrior> priors;
  if (k > 1) priors = {ridge_prior(1, k, options.strength), ridge_prior(k, k, options.strength)};
  return {exponential_mixture(simulations.logs_of(0, chosen), k),
          exponential_mixture(simulations.logs_of(1, chosen), k), simulations.measure,
          std::move(priors)};
}

/// Densities that are added up [K * P]: those of simulations, or their topics.
MixtureProcess linear_process(const Simulations& simulations, std::size_t process,
                              const Chosen& chosen, const MixtureModelOptions& options,
                              std::uint64_t seed) {
  const std::size_t points = simulations.points();
  std::vector<double> contents;
  for (std::size_t i : chosen) {
    const std::vector<double> one = simulations.contents(process, i);
    contents.insert(contents.end(), one.begin(), one.end());
  }
  std::size_t k = chosen.size();
  if (options.family == MixtureShape::topics) {
    for (double& x : contents) x *= k_topic_entries;
    TopicOptions find;
    find.seed = seed;
    find.starts = static_cast<int>(options.topics.starts);
    find.max_iterations = static_cast<int>(options.topics.iterations);
    k = static_cast<std::size_t>(options.topics.count);
    contents = (options.topics.method == TopicMethod::nmf ? nmf_topics(contents, points, k, find)
                                                          : lda_topics(contents, points, k, find))
                   .topics;
  }
  for (std::size_t i = 0; i < contents.size(); ++i) contents[i] /= simulations.measure[i % points];
  return linear_mixture(std::move(contents), k, options.strength);
}

}  // namespace

TemplateMixture make_mixture(const Simulations& simulations, const Chosen& chosen,
                             const MixtureModelOptions& options, std::uint64_t seed) {
  if (options.family == MixtureShape::exponential) {
    return options.prior == MixturePrior::ridge ? ridge_mixture(simulations, chosen, options)
                                                : population_mixture(simulations, chosen, options);
  }
  return {linear_process(simulations, 0, chosen, options, seed),
          linear_process(simulations, 1, chosen, options, seed), simulations.measure};
}

bool has_last_weight(const MixtureModelOptions& options) {
  return options.family == MixtureShape::exponential && options.prior == MixturePrior::ridge;
}

const char* parameters_of(const MixtureModelOptions& options) {
  return options.family == MixtureShape::topics      ? "topics"
         : options.prior == MixturePrior::population ? "coordinates"
                                                     : "weights";
}

Chosen draw_simulations(std::size_t n, std::size_t wanted, std::uint64_t seed, std::uint64_t draw) {
  Chosen all(n);
  std::iota(all.begin(), all.end(), std::size_t{0});
  if (wanted >= n) return all;
  RandomStream random(seed, draw, k_draw_family);
  for (std::size_t i = 0; i < wanted; ++i) {  // Fisher and Yates
    const auto step = static_cast<std::size_t>(random.uniform() * static_cast<double>(n - i));
    std::swap(all[i], all[std::min(i + step, n - 1)]);
  }
  all.resize(wanted);
  return all;
}

MixtureIntervalOptions interval_options(const MixtureExperimentOptions& options) {
  MixtureIntervalOptions result;
  result.error = options.error.type;
  result.fit.kappa_low = options.mixture.kappa_low;
  result.fit.kappa_high = options.mixture.kappa_high;
  result.points = static_cast<std::size_t>(options.error.points);
  result.range = options.error.range;
  result.sampling.chains = static_cast<std::size_t>(options.error.chains);
  result.sampling.warmup = static_cast<std::size_t>(options.error.warmup);
  result.sampling.draws = static_cast<std::size_t>(options.error.draws);
  result.sampling.seed = options.seed;
  return result;
}

}  // namespace slalom::mixture
