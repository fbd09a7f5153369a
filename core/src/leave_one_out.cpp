// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/leave_one_out.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <tbb/parallel_for.h>

#include "slalom/core/error.hpp"
#include "slalom/core/random.hpp"

namespace slalom {

namespace {

constexpr double k_inside = 0.6827;

/// One data set at one width.
struct Outcome {
  bool converged = false, covered = false;
  double error = 0.0, half_width = 0.0;
};

std::vector<double> without(const std::vector<double>& all, std::size_t row, std::size_t points) {
  std::vector<double> rest = all;
  const auto begin = rest.begin() + static_cast<std::ptrdiff_t>(row * points);
  rest.erase(begin, begin + static_cast<std::ptrdiff_t>(points));
  return rest;
}

/// Probability of each bin.
std::vector<double> contents(const std::vector<double>& logs, std::size_t row,
                             const std::vector<double>& measure) {
  const std::size_t points = measure.size();
  const auto begin = logs.begin() + static_cast<std::ptrdiff_t>(row * points);
  const double top = *std::max_element(begin, begin + static_cast<std::ptrdiff_t>(points));
  std::vector<double> p(points);
  double sum = 0.0;
  for (std::size_t i = 0; i < points; ++i) {
    p[i] = measure[i] * std::exp(logs[row * points + i] - top);
    sum += p[i];
  }
  for (double& x : p) x /= sum;
  return p;
}

Outcome outcome_of(const TemplateMixture& mixture, const LeaveOneOutOptions& o) {
  MixtureFitOptions options = o.fit;
  options.init.clear();
  Outcome result;
  const MixtureFit best = fit(mixture, options);
  if (!best.converged() || (!o.integrate && !(best.laplace_error() > 0.0))) return result;
  double low = best.kappa() - best.laplace_error(), high = best.kappa() + best.laplace_error();
  double centre = best.kappa();
  if (o.integrate) {
    try {
      const KappaPosterior posterior = kappa_posterior(mixture, best, options);
      const Interval interval = posterior.central(k_inside);
      low = interval.lower.value;
      high = interval.upper.value;
      centre = posterior.mean;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::numerical) throw;
      return result;  // a conditional fit failed
    }
  }
  result.converged = true;
  result.covered = low <= o.kappa && o.kappa <= high;
  result.error = centre - o.kappa;
  result.half_width = 0.5 * (high - low);
  return result;
}

void check(std::size_t points, std::size_t k, std::size_t signal, std::size_t background,
           const LeaveOneOutOptions& o) {
  const auto refuse = [](const std::string& what) {
    throw Error(ErrorKind::model, what, "leave one out");
  };
  if (k < 3 || points == 0 || signal != k * points || background != k * points) {
    refuse("there are no " + std::to_string(k) + " pairs of log densities of " +
           std::to_string(points) + " points, or fewer than 3");
  }
  if (o.toys == 0 || o.scales.empty()) refuse("there are no toys, or no scales");
  if (!(std::isfinite(o.events) && o.events > 0.0 && o.kappa >= 0.0 && o.kappa <= 1.0)) {
    refuse("events are above 0, and a fraction is 0 to 1");
  }
}

}  // namespace

std::vector<LeaveOneOut> leave_one_out(const std::vector<double>& signal,
                                       const std::vector<double>& background,
                                       const std::vector<double>& measure, std::size_t k,
                                       const LeaveOneOutOptions& options) {
  const std::size_t points = measure.size(), widths = options.scales.size();
  check(points, k, signal.size(), background.size(), options);
  std::vector<Outcome> outcomes(k * options.toys * widths);
  tbb::parallel_for(std::size_t{0}, k, [&](std::size_t truth) {
    const SimulationSpread s =
        simulation_spread(without(signal, truth, points), measure, k - 1, options.directions);
    const SimulationSpread b =
        simulation_spread(without(background, truth, points), measure, k - 1, options.directions);
    TemplateMixture mixture(spread_mixture(s), spread_mixture(b), measure);
    const std::vector<double> p = contents(signal, truth, measure);
    const std::vector<double> q = contents(background, truth, measure);
    for (std::size_t w = 0; w < widths; ++w) {
      PopulationOptions population = options.population;
      population.scale *= options.scales[w];
      mixture.set_priors({population_prior(s.coordinates, k - 1, 1, population),
                          population_prior(b.coordinates, k - 1, 1 + s.dimension, population)});
      for (std::size_t t = 0; t < options.toys; ++t) {
        RandomStream random(options.seed, truth * options.toys + t);  // the same for all widths
        std::vector<double> n(points);
        for (std::size_t i = 0; i < points; ++i) {
          n[i] = random.poisson(options.events *
                                (options.kappa * p[i] + (1.0 - options.kappa) * q[i]));
        }
        mixture.set_data(std::move(n));
        outcomes[(w * k + truth) * options.toys + t] = outcome_of(mixture, options);
      }
    }
  });

  std::vector<LeaveOneOut> rows;
  for (std::size_t w = 0; w < widths; ++w) {
    LeaveOneOut row;
    row.scale = options.scales[w];
    std::vector<double> coverages;
    double n = 0.0;
    for (std::size_t truth = 0; truth < k; ++truth) {
      double covered = 0.0, good = 0.0;
      for (std::size_t t = 0; t < options.toys; ++t) {
        const Outcome& o = outcomes[(w * k + truth) * options.toys + t];
        if (!o.converged) {
          ++row.failures;
          continue;
        }
        good += 1.0;
        covered += o.covered ? 1.0 : 0.0;
        row.bias += o.error;
        row.half_width += o.half_width;
      }
      n += good;
      if (good > 0.0) coverages.push_back(covered / good);
    }
    if (n > 0.0) {
      row.bias /= n;
      row.half_width /= n;
      const double m = static_cast<double>(coverages.size());
      double square = 0.0;
      for (double c : coverages) row.coverage_68 += c / m;
      for (double c : coverages) square += std::pow(c - row.coverage_68, 2);
      row.coverage_error = m > 1.0 ? std::sqrt(square / (m - 1.0) / m) : 0.0;
    }
    rows.push_back(row);
  }
  return rows;
}

}  // namespace slalom
