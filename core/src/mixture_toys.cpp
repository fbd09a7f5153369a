// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/mixture_toys.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include "slalom/core/error.hpp"
#include "slalom/core/hellinger.hpp"

namespace slalom {

namespace {

/// Keeps the data sets apart from other streams of the same seed.
constexpr std::uint32_t k_data_family = 0x746f7973;
/// Data sets that one copy of a mixture is used for.
constexpr std::size_t k_block = 4;

[[noreturn]] void refuse(const std::string& what, const std::string& where) {
  throw Error(ErrorKind::model, what, where);
}

/// Bins by their probabilities: Walker's alias method.
class BinTable {
 public:
  BinTable(const std::vector<double>& contents, std::size_t points, const std::string& where)
      : keep_(contents.size()), other_(contents.size()) {
    double sum = 0.0;
    for (double c : contents) {
      if (!(c >= 0.0)) refuse("a bin of the truth is negative", where);
      sum += c;
    }
    if (contents.size() != points || !(sum > 0.0 && std::isfinite(sum))) {
      refuse("the truth has " + std::to_string(contents.size()) + " bins for " +
                 std::to_string(points) + ", or no sum above 0",
             where);
    }
    std::vector<std::size_t> below, above;
    for (std::size_t i = 0; i < contents.size(); ++i) {
      keep_[i] = contents[i] / sum * static_cast<double>(contents.size());
      other_[i] = i;
      (keep_[i] < 1.0 ? below : above).push_back(i);
    }
    while (!below.empty() && !above.empty()) {
      const std::size_t low = below.back(), high = above.back();
      below.pop_back();
      other_[low] = high;
      keep_[high] -= 1.0 - keep_[low];
      if (keep_[high] >= 1.0) continue;
      above.pop_back();
      below.push_back(high);
    }
    for (std::size_t i : below) keep_[i] = 1.0;  // by rounding only
  }

  void draw(std::size_t events, RandomStream& random, std::vector<double>& counts) const {
    for (std::size_t e = 0; e < events; ++e) {
      const double u = random.uniform() * static_cast<double>(keep_.size());
      const std::size_t i = std::min(static_cast<std::size_t>(u), keep_.size() - 1);
      counts[u - static_cast<double>(i) < keep_[i] ? i : other_[i]] += 1.0;
    }
  }

 private:
  std::vector<double> keep_;
  std::vector<std::size_t> other_;
};

double fitted_distance(const TemplateMixture& mixture, const MixtureFit& best, std::size_t process,
                       const std::vector<double>& measure, const std::vector<double>& truth) {
  std::vector<double> p = mixture.density(process, best.parameters);
  for (std::size_t i = 0; i < p.size(); ++i) p[i] *= measure[i];
  return hellinger_distance(p, truth);
}

MixtureToy toy_of(const TemplateMixture& mixture, const MixtureDraw& draw,
                  const MixtureToysOptions& options, double truth) {
  MixtureToy toy;
  const MixtureFit best = fit(mixture, options.interval.fit);
  if (best.parameters.empty()) return toy;
  toy.best = best.kappa();
  toy.laplace = best.laplace_error();
  toy.sandwich = best.sandwich_error();
  toy.interval = mixture_interval(mixture, best, options.interval, truth);
  toy.valid = toy.interval.valid;
  if (!toy.valid) return toy;
  if (options.flags && best.converged() && best.laplace_error() > 0.0)
    toy.p_value = pull_test(mixture, best).p_value;
  if (!draw.measure.empty()) {
    toy.distance[0] = fitted_distance(mixture, best, 0, draw.measure, draw.signal);
    toy.distance[1] = fitted_distance(mixture, best, 1, draw.measure, draw.background);
  }
  return toy;
}

/// All data sets of one draw.
void run_draw(const MixtureDraw& draw, std::size_t number, const MixtureToysOptions& options,
              MixtureToys& toys) {
  const std::size_t points = draw.mixture.points();
  if (!draw.measure.empty() && draw.measure.size() != points) {
    refuse("the measure has " + std::to_string(draw.measure.size()) + " bins", "measure");
  }
  const BinTable signal(draw.signal, points, "signal"),
      background(draw.background, points, "background");
  const std::size_t blocks = (options.toys + k_block - 1) / k_block;
  tbb::parallel_for(std::size_t{0}, blocks, [&](std::size_t block) {
    TemplateMixture mixture = draw.mixture;
    const std::size_t end = std::min(options.toys, (block + 1) * k_block);
    for (std::size_t t = block * k_block; t < end; ++t) {
      const std::size_t place = number * options.toys + t;
      RandomStream random(options.seed, place, k_data_family);
      std::vector<double> counts(points, 0.0);
      signal.draw(options.signal_events, random, counts);
      background.draw(options.background_events, random, counts);
      mixture.set_data(std::move(counts));
      toys.results[place] = toy_of(mixture, draw, options, toys.truth);
    }
  });
}

// ------------------------------------------------------------------------------------------------
// Summaries

double mean_of(const std::vector<double>& values) {
  if (values.empty()) return 0.0;
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// Standard deviation. \param ddof subtracted from their number
double deviation_of(const std::vector<double>& values, double ddof) {
  const double n = static_cast<double>(values.size()), mean = mean_of(values);
  double square = 0.0;
  for (double v : values) square += (v - mean) * (v - mean);
  return n > ddof ? std::sqrt(square / (n - ddof)) : 0.0;
}

double median_of(std::vector<double> values) {
  if (values.empty()) return 0.0;
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return 0.5 * (values[(n - 1) / 2] + values[n / 2]);
}

ErrorCoverage coverage_of(const std::vector<MixtureToy>& toys, double truth,
                          double MixtureToy::*error) {
  ErrorCoverage result;
  std::vector<double> errors, pulls;
  for (const MixtureToy& toy : toys) {
    if (!toy.valid || !(toy.*error > 0.0)) continue;
    errors.push_back(toy.*error);
    pulls.push_back((toy.best - truth) / toy.*error);
  }
  const auto within = [&](double z) {
    return static_cast<double>(std::count_if(pulls.begin(), pulls.end(),
                                             [z](double p) { return std::abs(p) <= z; })) /
           static_cast<double>(std::max<std::size_t>(pulls.size(), 1));
  };
  result.mean = mean_of(errors);
  result.median = median_of(errors);
  result.pull_mean = mean_of(pulls);
  result.pull_width = deviation_of(pulls, 0.0);
  result.coverage_68 = within(1.0);
  result.coverage_95 = within(1.96);
  return result;
}

CoveragePoint coverage_at(const MixtureToys& toys, double level) {
  CoveragePoint point;
  point.nominal = level;
  std::vector<double> of_draws;
  double inside = 0.0, all = 0.0;
  for (std::size_t d = 0; d < toys.draws; ++d) {
    double here = 0.0, n = 0.0;
    for (std::size_t t = 0; t < toys.toys; ++t) {
      const MixtureToy& toy = toys.results[d * toys.toys + t];
      if (!toy.valid) continue;
      n += 1.0;
      here += toy.interval.holds(level) ? 1.0 : 0.0;
    }
    inside += here;
    all += n;
    if (n > 0.0) of_draws.push_back(here / n);
  }
  if (all == 0.0) return point;
  point.coverage = inside / all;
  point.error = of_draws.size() > 1
                    ? deviation_of(of_draws, 1.0) / std::sqrt(static_cast<double>(of_draws.size()))
                    : std::sqrt(point.coverage * (1.0 - point.coverage) / all);
  return point;
}

/// Means of kappa over the valid data sets of each draw that has any.
std::vector<double> draw_means(const MixtureToys& toys) {
  std::vector<double> means;
  for (std::size_t d = 0; d < toys.draws; ++d) {
    std::vector<double> kappa;
    for (std::size_t t = 0; t < toys.toys; ++t) {
      const MixtureToy& toy = toys.results[d * toys.toys + t];
      if (toy.valid) kappa.push_back(toy.interval.kappa);
    }
    if (!kappa.empty()) means.push_back(mean_of(kappa));
  }
  return means;
}

}  // namespace

std::vector<double> farther_simulation(const std::vector<double>& log_densities,
                                       const std::vector<double>& measure, std::size_t i,
                                       double factor) {
  const std::size_t points = measure.size();
  if (points == 0 || log_densities.size() % points != 0 ||
      (i + 1) * points > log_densities.size() || !std::isfinite(factor)) {
    refuse("there is no such simulation, or the factor is not finite", "farther simulation");
  }
  const double n = static_cast<double>(log_densities.size() / points);
  std::vector<double> result(points, 0.0);
  for (std::size_t j = 0; j < log_densities.size(); ++j) {
    result[j % points] += (1.0 - factor) * log_densities[j] / n;
  }
  for (std::size_t j = 0; j < points; ++j) result[j] += factor * log_densities[i * points + j];
  const double top = *std::max_element(result.begin(), result.end());
  double sum = 0.0;
  for (std::size_t j = 0; j < points; ++j) {
    result[j] = measure[j] * std::exp(result[j] - top);
    sum += result[j];
  }
  for (double& x : result) x /= sum;
  return result;
}

std::vector<double> draw_mixture_data(const std::vector<double>& signal,
                                      const std::vector<double>& background,
                                      std::size_t signal_events, std::size_t background_events,
                                      RandomStream& random) {
  std::vector<double> counts(signal.size(), 0.0);
  BinTable(signal, counts.size(), "signal").draw(signal_events, random, counts);
  BinTable(background, counts.size(), "background").draw(background_events, random, counts);
  return counts;
}

MixtureToys run_mixture_toys(const std::function<MixtureDraw(std::size_t)>& make,
                             const MixtureToysOptions& options) {
  if (options.draws == 0 || options.toys == 0) refuse("there are no draws, or no toys", "toys");
  const std::size_t events = options.signal_events + options.background_events;
  if (events == 0) refuse("a data set has no events", "toys");
  MixtureToys toys;
  toys.draws = options.draws;
  toys.toys = options.toys;
  toys.truth = static_cast<double>(options.signal_events) / static_cast<double>(events);
  toys.results.resize(options.draws * options.toys);
  const std::size_t group = 4 * static_cast<std::size_t>(tbb::this_task_arena::max_concurrency());
  for (std::size_t first = 0; first < options.draws; first += group) {
    if (options.progress && !options.progress(first, options.draws)) {
      toys.results.clear();
      return toys;
    }
    tbb::parallel_for(first, std::min(first + group, options.draws),
                      [&](std::size_t draw) { run_draw(make(draw), draw, options, toys); });
  }
  return toys;
}

MixtureCoverage mixture_coverage(const MixtureToys& toys, const std::vector<double>& levels) {
  MixtureCoverage result;
  if (toys.results.size() != toys.draws * toys.toys) {
    refuse("the toys were ended before they had finished", "coverage");
  }
  std::vector<double> kappa, errors, widths, pulls;
  double flagged = 0.0, distance[2] = {0.0, 0.0};
  for (const MixtureToy& toy : toys.results) {
    if (!toy.valid) {
      ++result.failures;
      continue;
    }
    kappa.push_back(toy.interval.kappa);
    errors.push_back(toy.interval.error);
    widths.push_back(0.5 * (toy.interval.upper - toy.interval.lower));
    if (toy.interval.error > 0.0) {
      pulls.push_back((toy.interval.kappa - toys.truth) / toy.interval.error);
    }
    flagged += toy.p_value < 0.05 ? 1.0 : 0.0;
    for (std::size_t p = 0; p < 2; ++p) distance[p] += toy.distance[p];
  }
  const double n = static_cast<double>(std::max<std::size_t>(kappa.size(), 1));
  result.mean = mean_of(kappa);
  result.bias = result.mean - toys.truth;
  const std::vector<double> means = draw_means(toys);
  result.scatter = deviation_of(means, 1.0);
  result.rms = deviation_of(kappa, 0.0);
  result.bias_error = means.size() > 1
                          ? result.scatter / std::sqrt(static_cast<double>(means.size()))
                          : result.rms / std::sqrt(n);
  result.error = mean_of(errors);
  result.half_width = mean_of(widths);
  result.pull_mean = mean_of(pulls);
  result.pull_width = deviation_of(pulls, 0.0);
  constexpr double k_68 = 0.682689492137086, k_95 = 0.95;
  result.at_68 = coverage_at(toys, k_68);
  result.at_95 = coverage_at(toys, k_95);
  for (double level : levels) {
    if (!(level > 0.0 && level < 1.0)) refuse("a level is above 0 and below 1", "coverage");
    result.curve.push_back(coverage_at(toys, level));
  }
  result.laplace = coverage_of(toys.results, toys.truth, &MixtureToy::laplace);
  result.sandwich = coverage_of(toys.results, toys.truth, &MixtureToy::sandwich);
  result.flagged = flagged / n;
  for (std::size_t p = 0; p < 2; ++p) result.distance[p] = distance[p] / n;
  return result;
}

}  // namespace slalom
