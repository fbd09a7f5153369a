// SPDX-License-Identifier: Apache-2.0
#include "support/biased_gaussians.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <numbers>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <tbb/parallel_for.h>

#include "support/data.hpp"

namespace slalom::test {

namespace {

constexpr double k_half = 2.0;  // of the window

std::vector<PlaneGaussian> read_gaussians(const std::string& relative) {
  std::ifstream file(data_path(relative));
  std::string line;
  std::getline(file, line);
  if (line.rfind("mean0,mean1,cov00,cov01,cov11", 0) != 0) {
    throw std::runtime_error(relative + ": other columns than expected");
  }
  std::vector<PlaneGaussian> result;
  while (std::getline(file, line)) {
    std::replace(line.begin(), line.end(), ',', ' ');
    std::istringstream in(line);
    PlaneGaussian g;
    double second = 0.0;
    if (!(in >> g.mean0 >> g.mean1 >> g.variance >> g.covariance >> second) ||
        std::abs(second - g.variance) > 1e-12) {
      throw std::runtime_error(relative + ": a line that is no Gaussian of equal variances");
    }
    result.push_back(g);
  }
  return result;
}

template <class Function>
PlaneGaussian combine(const PlaneGaussian& a, const PlaneGaussian& b, Function&& f) {
  return {f(a.mean0, b.mean0), f(a.mean1, b.mean1), f(a.variance, b.variance),
          f(a.covariance, b.covariance)};
}

double median(std::vector<double> values) {
  if (values.empty()) return 0.0;
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return 0.5 * (values[(n - 1) / 2] + values[n / 2]);
}

/// Integer in [0, n).
std::size_t integer(RandomStream& random, std::size_t n) {
  return static_cast<std::size_t>(random.uniform() * static_cast<double>(n));
}

}  // namespace

double PlaneGaussian::log_density(double x0, double x1) const {
  const double a = x0 - mean0, b = x1 - mean1;
  const double det = variance * variance - covariance * covariance;
  return -0.5 * (variance * (a * a + b * b) - 2.0 * covariance * a * b) / det -
         std::log(2.0 * std::numbers::pi * std::sqrt(det));
}

std::vector<PlanePair> published_pairs() {
  const std::vector<PlaneGaussian> s = read_gaussians("tamm/signal_msd_500.csv");
  const std::vector<PlaneGaussian> b = read_gaussians("tamm/background_msd_500.csv");
  if (s.size() != b.size()) throw std::runtime_error("tamm: lists of different lengths");
  std::vector<PlanePair> result;
  for (std::size_t i = 0; i < s.size(); ++i) result.push_back({s[i], b[i]});
  return result;
}

PlanePair mean_of(const std::vector<PlanePair>& pairs) {
  PlanePair sum{{0, 0, 0, 0}, {0, 0, 0, 0}};
  const auto add = [](double a, double b) { return a + b; };
  for (const PlanePair& p : pairs) {
    sum = {combine(sum.signal, p.signal, add), combine(sum.background, p.background, add)};
  }
  const double n = static_cast<double>(pairs.size());
  const auto divide = [n](double a, double) { return a / n; };
  return {combine(sum.signal, sum.signal, divide), combine(sum.background, sum.background, divide)};
}

PlanePair farther(const PlanePair& pair, const PlanePair& centre, double factor) {
  const auto move = [factor](double x, double c) { return c + factor * (x - c); };
  const PlanePair result = {combine(pair.signal, centre.signal, move),
                            combine(pair.background, centre.background, move)};
  for (const PlaneGaussian& g : {result.signal, result.background}) {
    if (!(g.variance > std::abs(g.covariance))) throw std::runtime_error("no Gaussian there");
  }
  return result;
}

PlaneBins::PlaneBins(std::size_t side) : side_(side) {}

std::vector<double> PlaneBins::measure() const {
  const double width = 2.0 * k_half / static_cast<double>(side_);
  return std::vector<double>(size(), width * width);
}

void PlaneBins::add_log_density(const PlaneGaussian& g, std::vector<double>& to) const {
  const double width = 2.0 * k_half / static_cast<double>(side_);
  for (std::size_t i = 0; i < side_; ++i) {
    for (std::size_t j = 0; j < side_; ++j) {
      to.push_back(g.log_density(-k_half + width * (static_cast<double>(i) + 0.5),
                                 -k_half + width * (static_cast<double>(j) + 0.5)));
    }
  }
}

std::vector<double> PlaneBins::contents(const PlaneGaussian& g) const {
  // Gauss and Legendre's rule of five points on both axes.
  constexpr std::array<double, 5> x = {-0.9061798459386640, -0.5384693101056831, 0.0,
                                       0.5384693101056831, 0.9061798459386640};
  constexpr std::array<double, 5> w = {0.2369268850561891, 0.4786286704993665, 0.5688888888888889,
                                       0.4786286704993665, 0.2369268850561891};
  const double half = k_half / static_cast<double>(side_);
  std::vector<double> result;
  for (std::size_t i = 0; i < side_; ++i) {
    for (std::size_t j = 0; j < side_; ++j) {
      const double c0 = -k_half + half * (2.0 * static_cast<double>(i) + 1.0);
      const double c1 = -k_half + half * (2.0 * static_cast<double>(j) + 1.0);
      double sum = 0.0;
      for (std::size_t a = 0; a < 5; ++a) {
        for (std::size_t b = 0; b < 5; ++b) {
          sum += w[a] * w[b] * std::exp(g.log_density(c0 + half * x[a], c1 + half * x[b]));
        }
      }
      result.push_back(sum * half * half);
    }
  }
  return result;
}

std::size_t PlaneBins::bin_of(double x0, double x1) const {
  const auto place = [this](double x) {
    const double at = (x + k_half) / (2.0 * k_half) * static_cast<double>(side_);
    return std::min(static_cast<std::size_t>(std::max(at, 0.0)), side_ - 1);
  };
  return place(x0) * side_ + place(x1);
}

BinSampler::BinSampler(const std::vector<double>& contents)
    : keep_(contents.size()), other_(contents.size()) {
  const double sum = std::accumulate(contents.begin(), contents.end(), 0.0);
  std::vector<std::size_t> small, large;
  for (std::size_t i = 0; i < contents.size(); ++i) {
    keep_[i] = contents[i] / sum * static_cast<double>(contents.size());
    other_[i] = static_cast<std::uint32_t>(i);
    (keep_[i] < 1.0 ? small : large).push_back(i);
  }
  while (!small.empty() && !large.empty()) {
    const std::size_t s = small.back(), l = large.back();
    small.pop_back();
    other_[s] = static_cast<std::uint32_t>(l);
    keep_[l] -= 1.0 - keep_[s];
    if (keep_[l] < 1.0) {
      large.pop_back();
      small.push_back(l);
    }
  }
  for (std::size_t i : small) keep_[i] = 1.0;
  for (std::size_t i : large) keep_[i] = 1.0;
}

void BinSampler::add(std::size_t events, RandomStream& random, std::vector<double>& counts) const {
  for (std::size_t e = 0; e < events; ++e) {
    const double u = random.uniform() * static_cast<double>(keep_.size());
    const std::size_t i = static_cast<std::size_t>(u);
    counts[u - static_cast<double>(i) < keep_[i] ? i : other_[i]] += 1.0;
  }
}

std::vector<double> draw_counts(const BinSampler& signal, const BinSampler& background,
                                RandomStream& random) {
  std::vector<double> counts(PlaneBins().size(), 0.0);
  signal.add(k_tamm_signal, random, counts);
  background.add(k_tamm_background, random, counts);
  return counts;
}

std::vector<std::array<double, 2>> draw_points(const PlanePair& truth, RandomStream& random) {
  std::vector<std::array<double, 2>> points;
  const auto add = [&](const PlaneGaussian& g, std::size_t events) {
    const double root = std::sqrt(g.variance), along = g.covariance / root;
    const double across = std::sqrt(g.variance - along * along);
    while (events > 0) {
      const double a = random.normal(), b = random.normal();
      const double x0 = g.mean0 + root * a, x1 = g.mean1 + along * a + across * b;
      if (std::abs(x0) > k_half || std::abs(x1) > k_half) continue;
      points.push_back({x0, x1});
      --events;
    }
  };
  add(truth.signal, k_tamm_signal);
  add(truth.background, k_tamm_background);
  return points;
}

// ------------------------------------------------------------------------------------------------
// Studies

namespace {

/// The mixture of one draw of simulations.
TemplateMixture make_mixture(const PlaneBins& bins, const std::vector<PlanePair>& pairs,
                             const MixtureStudyOptions& o) {
  std::vector<double> logs[2];
  for (const PlanePair& p : pairs) {
    bins.add_log_density(p.signal, logs[0]);
    bins.add_log_density(p.background, logs[1]);
  }
  const std::size_t k = pairs.size();
  if (o.prior == MixtureStudyOptions::Prior::ridge) {
    std::vector<ShapePrior> priors;
    if (k > 1) priors = {ridge_prior(1, k, o.lambda), ridge_prior(k, k, o.lambda)};
    return {exponential_mixture(logs[0], k), exponential_mixture(logs[1], k), bins.measure(),
            priors};
  }
  SpreadOptions directions;
  directions.max_directions = 4;
  const SimulationSpread s = simulation_spread(logs[0], bins.measure(), k, directions);
  const SimulationSpread b = simulation_spread(logs[1], bins.measure(), k, directions);
  return {spread_mixture(s),
          spread_mixture(b),
          bins.measure(),
          {population_prior(s.coordinates, k, 1, o.population),
           population_prior(b.coordinates, k, 1 + s.dimension, o.population)}};
}

/// K indices; without repetition for held-out truths, of which the last one is the truth.
std::vector<std::size_t> draw_indices(std::size_t n, const MixtureStudyOptions& o,
                                      RandomStream& random) {
  std::vector<std::size_t> chosen;
  const std::size_t k = o.k == 0 ? 0 : o.k;
  const std::size_t wanted = k + (o.held_out ? 1 : 0);
  while (chosen.size() < wanted) {
    const std::size_t i = integer(random, n);
    if (!o.held_out || std::find(chosen.begin(), chosen.end(), i) == chosen.end()) {
      chosen.push_back(i);
    }
  }
  return chosen;
}

MixtureFitOptions fit_options() {
  MixtureFitOptions o;
  o.kappa_low = -0.3;  // where the sum of both is still a density; a bound at 0 would spoil pulls
  o.kappa_high = 0.9;
  return o;
}

MixtureToy run_toy(TemplateMixture& mixture, const MixtureStudyOptions& o) {
  MixtureToy toy;
  const MixtureFitOptions options = fit_options();
  MixtureFit best = fit(mixture, options);
  toy.converged = best.converged() && best.laplace_error() > 0.0;
  if (!toy.converged) return toy;
  const std::vector<ShapePrior> given = mixture.priors();
  if (o.prior == MixtureStudyOptions::Prior::population) {
    const WidenedPrior widened = widen_priors(mixture, best, options, o.widening);
    toy.chi2_p = widened.before.p_value;
    toy.prior_p = widened.before.p_prior;
    best = widened.fit;
    toy.converged = best.converged() && best.laplace_error() > 0.0;
  }
  toy.kappa = best.kappa();
  toy.laplace = best.laplace_error();
  toy.sandwich = best.sandwich_error();
  if (!toy.converged) {
    // nothing to report
  } else if (o.interval == MixtureStudyOptions::Interval::profile) {
    const Interval i = profile_interval(mixture, best, options);
    toy.low = i.lower.value;
    toy.high = i.upper.value;
  } else if (o.interval == MixtureStudyOptions::Interval::marginal) {
    const KappaPosterior posterior = kappa_posterior(mixture, best, options, 27, 4.5);
    const Interval i = posterior.central();
    toy.low = i.lower.value;
    toy.high = i.upper.value;
    toy.median = posterior.median();
  }
  mixture.set_priors(given);
  return toy;
}

}  // namespace

MixtureStudy run_study(const std::vector<PlanePair>& pairs, const MixtureStudyOptions& o) {
  const PlaneBins bins;
  const PlanePair centre = mean_of(pairs);
  MixtureStudy study;
  study.draws = o.draws;
  study.toys = o.toys;
  study.results.resize(o.draws * o.toys);
  std::vector<TemplateMixture> all;  // one for all draws, if it is made from all simulations
  if (o.k == 0) all.push_back(make_mixture(bins, pairs, o));
  tbb::parallel_for(std::size_t{0}, o.draws, [&](std::size_t draw) {
    RandomStream choice(o.seed, draw, 1);
    const std::vector<std::size_t> chosen = draw_indices(pairs.size(), o, choice);
    PlanePair truth = k_tamm_truth;
    if (o.held_out) truth = farther(pairs[chosen.back()], centre, o.distance);
    std::vector<PlanePair> used;
    for (std::size_t i = 0; i < o.k; ++i) used.push_back(pairs[chosen[i]]);
    TemplateMixture mixture = all.empty() ? make_mixture(bins, used, o) : all[0];
    const BinSampler signal(bins.contents(truth.signal));
    const BinSampler background(bins.contents(truth.background));
    for (std::size_t t = 0; t < o.toys; ++t) {
      RandomStream random(o.seed, draw * o.toys + t, 2);
      mixture.set_data(draw_counts(signal, background, random));
      study.results[draw * o.toys + t] = run_toy(mixture, o);
    }
  });
  return study;
}

namespace {

template <class Function>
double mean_over(const std::vector<MixtureToy>& toys, Function&& f) {
  double sum = 0.0;
  std::size_t n = 0;
  for (const MixtureToy& t : toys) {
    if (!t.converged) continue;
    sum += f(t);
    ++n;
  }
  return n == 0 ? 0.0 : sum / static_cast<double>(n);
}

}  // namespace

double MixtureStudy::mean() const {
  return mean_over(results, [](const MixtureToy& t) { return t.kappa; });
}
double MixtureStudy::scatter_of_draws() const {
  std::vector<double> means;
  for (std::size_t d = 0; d < draws; ++d) {
    const std::vector<MixtureToy> part(
        results.begin() + static_cast<std::ptrdiff_t>(d * toys),
        results.begin() + static_cast<std::ptrdiff_t>((d + 1) * toys));
    means.push_back(mean_over(part, [](const MixtureToy& t) { return t.kappa; }));
  }
  const double n = static_cast<double>(means.size());
  const double mean = std::accumulate(means.begin(), means.end(), 0.0) / n;
  double square = 0.0;
  for (double m : means) square += (m - mean) * (m - mean);
  return std::sqrt(square / std::max(n - 1.0, 1.0));
}
double MixtureStudy::rms() const {
  const double m = mean();
  return std::sqrt(
      mean_over(results, [m](const MixtureToy& t) { return std::pow(t.kappa - m, 2); }));
}
double MixtureStudy::mean_laplace() const {
  return mean_over(results, [](const MixtureToy& t) { return t.laplace; });
}
double MixtureStudy::median_sandwich() const {
  std::vector<double> values;
  for (const MixtureToy& t : results) {
    if (t.converged) values.push_back(t.sandwich);
  }
  return median(std::move(values));
}
double MixtureStudy::pull_width(bool sandwich) const {
  const auto pull = [&](const MixtureToy& t) {
    return (t.kappa - truth) / (sandwich ? t.sandwich : t.laplace);
  };
  const double m = mean_over(results, pull);
  return std::sqrt(
      mean_over(results, [&](const MixtureToy& t) { return std::pow(pull(t) - m, 2); }));
}
double MixtureStudy::coverage(bool sandwich, double sigmas) const {
  return mean_over(results, [&](const MixtureToy& t) {
    return std::abs(t.kappa - truth) <= sigmas * (sandwich ? t.sandwich : t.laplace) ? 1.0 : 0.0;
  });
}
double MixtureStudy::interval_coverage() const {
  return mean_over(
      results, [&](const MixtureToy& t) { return t.low <= truth && truth <= t.high ? 1.0 : 0.0; });
}
double MixtureStudy::interval_coverage(bool flagged_ones, double p) const {
  double inside = 0.0, all = 0.0;
  for (const MixtureToy& t : results) {
    if (!t.converged || (t.chi2_p < p) != flagged_ones) continue;
    all += 1.0;
    inside += t.low <= truth && truth <= t.high ? 1.0 : 0.0;
  }
  return all > 0.0 ? inside / all : 0.0;
}
double MixtureStudy::mean_half_width() const {
  return mean_over(results, [](const MixtureToy& t) { return 0.5 * (t.high - t.low); });
}
double MixtureStudy::interval_bias() const {
  return mean_over(results, [](const MixtureToy& t) { return 0.5 * (t.low + t.high); }) - truth;
}
double MixtureStudy::median_bias() const {
  return mean_over(results, [](const MixtureToy& t) { return t.median; }) - truth;
}
double MixtureStudy::flagged(bool prior, double p) const {
  return mean_over(
      results, [&](const MixtureToy& t) { return (prior ? t.prior_p : t.chi2_p) < p ? 1.0 : 0.0; });
}
std::size_t MixtureStudy::failures() const {
  return static_cast<std::size_t>(std::count_if(results.begin(), results.end(),
                                                [](const MixtureToy& t) { return !t.converged; }));
}

std::string row_of(const std::string& name, const MixtureStudy& s) {
  char text[320];
  std::snprintf(text, sizeof text,
                "%-24s kappa %.4f scatter %.3f rms %.4f | S %.4f pull %.2f cov %.3f/%.3f | L %.4f "
                "pull %.2f cov %.3f/%.3f | failed %zu",
                name.c_str(), s.mean(), s.scatter_of_draws(), s.rms(), s.median_sandwich(),
                s.pull_width(true), s.coverage(true, 1.0), s.coverage(true, 1.96), s.mean_laplace(),
                s.pull_width(false), s.coverage(false, 1.0), s.coverage(false, 1.96), s.failures());
  return text;
}

}  // namespace slalom::test
