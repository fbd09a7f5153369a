// SPDX-License-Identifier: Apache-2.0
// The di-Higgs study of arXiv:2604.02219 with templates digitised from its figures: one truth and
// five biased simulations of 10 x 10 bins, and a surrogate for the many more of the publication.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "slalom/core/leave_one_out.hpp"
#include "slalom/core/random.hpp"
#include "support/catch.hpp"
#include "support/data.hpp"

using Catch::Matchers::WithinAbs;
using namespace slalom;

namespace {

constexpr double k_kappa = 1.0 / 11.0, k_events = 55000.0;
constexpr std::size_t k_side = 10, k_bins = 100;
constexpr const char* k_file = "tamm/dihiggs_10x10_digitised.csv";

/// Smoothed probabilities of each bin, by column: "TD_signal", "MSD_background-3", ...
std::map<std::string, std::vector<double>> read_templates() {
  std::ifstream file(slalom::test::data_path(k_file));
  std::string line, cell;
  std::getline(file, line);
  std::erase(line, '\r');
  std::vector<std::string> names;
  for (std::istringstream in(line); std::getline(in, cell, ',');) names.push_back(cell);
  std::map<std::string, std::vector<double>> result;
  const std::string suffix = "_p_smooth";
  while (std::getline(file, line)) {
    std::size_t column = 0;
    for (std::istringstream in(line); std::getline(in, cell, ','); ++column) {
      const std::string& name = names.at(column);
      if (name.size() <= suffix.size() || !name.ends_with(suffix)) continue;
      result[name.substr(0, name.size() - suffix.size())].push_back(std::stod(cell));
    }
  }
  for (auto& [name, p] : result) {
    double sum = 0.0;
    for (double x : p) sum += x;
    if (p.size() != k_bins || !(sum > 0.0)) throw std::runtime_error(name + ": no 100 bins");
    for (double& x : p) x /= sum;
  }
  return result;
}

std::vector<double> log_of(const std::vector<double>& p) {
  std::vector<double> result;
  for (double x : p) result.push_back(std::log(x));
  return result;
}

/// log densities of the five simulations of a process, one after the other.
std::vector<double> five(const std::map<std::string, std::vector<double>>& templates,
                         const std::string& process) {
  std::vector<double> logs;
  for (int i = 0; i < 5; ++i) {
    const std::vector<double> l = log_of(templates.at("MSD_" + process + "-" + std::to_string(i)));
    logs.insert(logs.end(), l.begin(), l.end());
  }
  return logs;
}

double hellinger(const std::vector<double>& p, const std::vector<double>& q) {
  double sum = 0.0;
  for (std::size_t i = 0; i < p.size(); ++i) sum += std::sqrt(p[i] * q[i]);
  return std::sqrt(std::max(0.0, 1.0 - sum));
}

/// Products of Legendre's polynomials of order 1 to 2 together, on the bins [5 * P].
std::vector<double> low_orders() {
  const auto legendre = [](std::size_t n, double x) {
    return n == 0 ? 1.0 : n == 1 ? x : 0.5 * (3.0 * x * x - 1.0);
  };
  std::vector<double> f;
  for (std::size_t order = 1; order <= 2; ++order) {
    for (std::size_t a = 0; a <= order; ++a) {
      for (std::size_t i = 0; i < k_bins; ++i) {
        const double u = (static_cast<double>(i / k_side) + 0.5) / 5.0 - 1.0;
        const double v = (static_cast<double>(i % k_side) + 0.5) / 5.0 - 1.0;
        f.push_back(legendre(a, u) * legendre(order - a, v));
      }
    }
  }
  return f;
}

/// Simulations of the surrogate: truth + mean shift of the five + a random smooth function, whose
/// size gives the published mean Hellinger distance to the truth.
std::vector<double> surrogate(const std::map<std::string, std::vector<double>>& templates,
                              const std::string& process, double distance, std::size_t k,
                              std::uint32_t family) {
  const std::vector<double> truth = log_of(templates.at("TD_" + process));
  const std::vector<double> given = five(templates, process), f = low_orders();
  std::vector<double> mean(k_bins, 0.0);
  for (std::size_t i = 0; i < given.size(); ++i) mean[i % k_bins] += given[i] / 5.0;
  const auto make = [&](double size) {
    std::vector<double> logs;
    for (std::size_t s = 0; s < k; ++s) {
      RandomStream random(21, s, family);
      double a[5];
      for (double& x : a) x = size * random.normal();
      double sum = 0.0;
      for (std::size_t i = 0; i < k_bins; ++i) {
        double l = mean[i];
        for (std::size_t j = 0; j < 5; ++j) l += a[j] * f[j * k_bins + i];
        logs.push_back(l);
        sum += std::exp(l);
      }
      for (std::size_t i = logs.size() - k_bins; i < logs.size(); ++i) logs[i] -= std::log(sum);
    }
    return logs;
  };
  const auto mean_distance = [&](const std::vector<double>& logs) {
    double sum = 0.0;
    for (std::size_t s = 0; s < k; ++s) {
      std::vector<double> p;
      for (std::size_t i = 0; i < k_bins; ++i) p.push_back(std::exp(logs[s * k_bins + i]));
      sum += hellinger(p, templates.at("TD_" + process));
    }
    return sum / static_cast<double>(k);
  };
  double low = 0.0, high = 1.0;
  for (int i = 0; i < 30; ++i) {
    const double middle = 0.5 * (low + high);
    (mean_distance(make(middle)) < distance ? low : high) = middle;
  }
  return make(high);
}

std::vector<double> part_of(const std::vector<double>& logs, std::size_t first, std::size_t count) {
  const auto begin = logs.begin() + static_cast<std::ptrdiff_t>(first * k_bins);
  return {begin, begin + static_cast<std::ptrdiff_t>(count * k_bins)};
}

LeaveOneOutOptions options_of(std::size_t toys) {
  LeaveOneOutOptions o;
  o.kappa = k_kappa;
  o.events = k_events;
  o.toys = toys;
  o.population.shrinkage = Shrinkage::oas;
  o.fit.kappa_low = -0.3;
  o.fit.kappa_high = 0.9;
  o.scales = {1.0, 1.5};
  return o;
}

void print(const char* name, const std::vector<LeaveOneOut>& rows) {
  for (const LeaveOneOut& r : rows) {
    std::printf(
        "%-34s scale %.2f: coverage %.3f +- %.3f, half-width %.4f, bias %+.4f, failed %zu\n", name,
        r.scale, r.coverage_68, r.coverage_error, r.half_width, r.bias, r.failures);
  }
}

}  // namespace

TEST_CASE("error with the shapes known", "[validation][dihiggs_mixture]") {
  SLALOM_REQUIRE_DATA("tamm/dihiggs_10x10_digitised.csv");
  const auto templates = read_templates();
  const std::vector<double>& s = templates.at("TD_signal");
  const std::vector<double>& b = templates.at("TD_background");
  TemplateMixture m(exponential_mixture(log_of(s), 1), exponential_mixture(log_of(b), 1),
                    std::vector<double>(k_bins, 1.0));
  std::vector<double> n;
  for (std::size_t i = 0; i < k_bins; ++i) {
    n.push_back(k_events * (k_kappa * s[i] + (1.0 - k_kappa) * b[i]));
  }
  m.set_data(n);
  const MixtureFit best = fit(m);
  REQUIRE(best.converged());
  // Contrast of the digitised templates is known to 8 to 10 %; published .032 for one simulation.
  CHECK_THAT(best.laplace_error(), WithinAbs(0.033, 0.003));
}

TEST_CASE("the five digitised simulations, each in turn the truth",
          "[validation][dihiggs_mixture][slow]") {
  SLALOM_REQUIRE_DATA("tamm/dihiggs_10x10_digitised.csv");
  const auto templates = read_templates();
  const std::vector<double> measure(k_bins, 1.0);
  LeaveOneOutOptions o = options_of(40);
  for (std::size_t directions : {std::size_t{1}, std::size_t{2}, std::size_t{3}}) {
    o.directions.max_directions = directions;
    print(("five, directions " + std::to_string(directions)).c_str(),
          leave_one_out(five(templates, "signal"), five(templates, "background"), measure, 5, o));
  }
}

TEST_CASE("held-out simulations of the surrogate", "[validation][dihiggs_mixture][slow]") {
  SLALOM_REQUIRE_DATA("tamm/dihiggs_10x10_digitised.csv");
  const auto templates = read_templates();
  const std::vector<double> measure(k_bins, 1.0);
  const std::size_t k = 21, groups = 10;
  const std::vector<double> s = surrogate(templates, "signal", 0.075, k * groups, 1);
  const std::vector<double> b = surrogate(templates, "background", 0.014, k * groups, 2);
  for (bool integrate : {false, true}) {
    std::vector<LeaveOneOut> sum;
    LeaveOneOutOptions o = options_of(2);
    o.integrate = integrate;
    for (std::size_t g = 0; g < groups; ++g) {
      o.seed = 100 + g;
      const std::vector<LeaveOneOut> rows =
          leave_one_out(part_of(s, g * k, k), part_of(b, g * k, k), measure, k, o);
      if (sum.empty()) sum.resize(rows.size());
      for (std::size_t r = 0; r < rows.size(); ++r) {
        const double part = 1.0 / static_cast<double>(groups);
        sum[r].scale = rows[r].scale;
        sum[r].coverage_68 += part * rows[r].coverage_68;
        sum[r].coverage_error +=
            part * rows[r].coverage_error / std::sqrt(static_cast<double>(groups));
        sum[r].half_width += part * rows[r].half_width;
        sum[r].bias += part * rows[r].bias;
        sum[r].failures += rows[r].failures;
      }
    }
    print(integrate ? "surrogate, K = 20, integrated" : "surrogate, K = 20, Laplace", sum);
    if (integrate) CHECK(sum[0].coverage_68 > 0.6);
  }
}

TEST_CASE("a prior of four hundred simulations of the surrogate",
          "[validation][dihiggs_mixture][slow]") {
  SLALOM_REQUIRE_DATA("tamm/dihiggs_10x10_digitised.csv");
  const auto templates = read_templates();
  const std::size_t k = 400, truths = 100;
  const std::vector<double> measure(k_bins, 1.0);
  const std::vector<double> signal = surrogate(templates, "signal", 0.075, k + truths, 1);
  const std::vector<double> background = surrogate(templates, "background", 0.014, k + truths, 2);
  SpreadOptions directions;
  directions.max_directions = 5;
  const SimulationSpread s = simulation_spread(part_of(signal, 0, k), measure, k, directions);
  const SimulationSpread b = simulation_spread(part_of(background, 0, k), measure, k, directions);
  TemplateMixture m(
      spread_mixture(s), spread_mixture(b), measure,
      {population_prior(s.coordinates, k, 1), population_prior(b.coordinates, k, 1 + s.dimension)});
  MixtureFitOptions options;
  options.kappa_low = -0.3;
  options.kappa_high = 0.9;
  double laplace = 0.0, inside = 0.0, width = 0.0, maximum = 0.0, mean = 0.0, sigma = 0.0;
  for (std::size_t t = 0; t < truths; ++t) {
    RandomStream random(41, t);
    const std::vector<double> p = part_of(signal, k + t, 1), q = part_of(background, k + t, 1);
    std::vector<double> counts;
    for (std::size_t i = 0; i < k_bins; ++i) {
      const double n = k_events * (k_kappa * std::exp(p[i]) + (1.0 - k_kappa) * std::exp(q[i]));
      counts.push_back(random.poisson(n));
    }
    m.set_data(counts);
    const MixtureFit best = fit(m, options);
    REQUIRE(best.converged());
    const KappaPosterior posterior = kappa_posterior(m, best, options);
    const Interval i = posterior.central();
    const double part = 1.0 / static_cast<double>(truths);
    laplace += std::abs(best.kappa() - k_kappa) <= best.laplace_error() ? part : 0.0;
    inside += i.lower.value <= k_kappa && k_kappa <= i.upper.value ? part : 0.0;
    width += 0.5 * part * (i.upper.value - i.lower.value);
    maximum += part * (best.kappa() - k_kappa);
    mean += part * (posterior.mean - k_kappa);
    sigma += part * posterior.sigma;
  }
  std::printf(
      "surrogate, prior of 400: Laplace %.2f, maximum %+.4f; integrated %.2f, half-width "
      "%.4f, mean %+.4f, sigma %.4f\n",
      laplace, maximum, inside, width, mean, sigma);
  CHECK(inside > 0.6);
  CHECK(width < 0.1);
}
