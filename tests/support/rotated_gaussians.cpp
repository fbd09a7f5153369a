// SPDX-License-Identifier: Apache-2.0
#include "support/rotated_gaussians.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "slalom/core/normal.hpp"
#include "slalom/core/random.hpp"

namespace slalom::test {

namespace {

constexpr double k_infinity = std::numeric_limits<double>::infinity();

}  // namespace

std::vector<double> even_points(double low, double high, std::size_t n) {
  std::vector<double> points;
  for (std::size_t i = 0; i <= n; ++i) {
    points.push_back(low + (high - low) * static_cast<double>(i) / static_cast<double>(n));
  }
  return points;
}

std::vector<double> score_edges(std::size_t n, double slope) {
  std::vector<double> edges = even_points(0.0, 1.0, n);
  for (double& e : edges) e = std::log(e / (1.0 - e)) / slope;
  edges.front() = -k_infinity;
  edges.back() = k_infinity;
  return edges;
}

std::vector<double> quantile_edges(std::size_t n, double mean) {
  std::vector<double> edges = {-k_infinity};
  for (std::size_t i = 1; i < n; ++i) {
    const double p = static_cast<double>(i) / static_cast<double>(n);
    edges.push_back(mean + k_width * normal_quantile_of_log(std::log(p)));
  }
  edges.push_back(k_infinity);
  return edges;
}

std::vector<double> contents(const std::vector<double>& edges, double mean) {
  const auto below = [&](double edge) {
    return std::isinf(edge) ? (edge > 0.0 ? 1.0 : 0.0) : normal_cdf((edge - mean) / k_width);
  };
  std::vector<double> result;
  for (std::size_t i = 0; i + 1 < edges.size(); ++i) {
    // From the nearer tail, which keeps the digits.
    if (edges[i] > mean) {
      const double above =
          std::isinf(edges[i + 1]) ? 0.0 : normal_cdf((mean - edges[i + 1]) / k_width);
      result.push_back(normal_cdf((mean - edges[i]) / k_width) - above);
    } else {
      result.push_back(below(edges[i + 1]) - below(edges[i]));
    }
  }
  return result;
}

std::vector<double> Observable::expected(bool signal, double z) const {
  const double sign = signal ? 1.0 : -1.0;
  const double events = signal ? k_signal_events : k_background_events;
  const std::vector<double> u = contents(along, sign * std::cos(z - angle));
  const std::vector<double> v =
      across.empty() ? std::vector<double>{1.0} : contents(across, sign * std::sin(z - angle));
  std::vector<double> result;
  for (double p : u) {
    for (double q : v) result.push_back(events * p * q);
  }
  return result;
}

std::vector<double> Observable::expected_data(double mu, double z) const {
  std::vector<double> total = expected(true, z);
  const std::vector<double> background = expected(false, z);
  for (std::size_t b = 0; b < total.size(); ++b) total[b] = mu * total[b] + background[b];
  return total;
}

std::vector<MorphedSample> samples_of(const Observable& observable, const std::vector<double>& grid,
                                      MorphingKind kind) {
  std::vector<MorphedSample> samples;
  for (bool signal : {true, false}) {
    std::vector<double> templates;
    for (double z : grid) {
      const std::vector<double> t = observable.expected(signal, z);
      templates.insert(templates.end(), t.begin(), t.end());
    }
    MorphedSample sample;
    sample.name = signal ? "signal" : "background";
    sample.signal = signal;
    sample.effects.push_back({0, Morphing(kind, grid, std::move(templates))});
    samples.push_back(std::move(sample));
  }
  return samples;
}

MorphedParameter strength() { return {"mu", 1.0, 0.0, 5.0, {}, {}}; }

MorphedParameter rotation(double low, double high, bool constrained) {
  MorphedParameter z{"z", 0.5 * (low + high), low, high, {}, {}};
  if (constrained) {
    z.mean = 0.25 * k_pi;
    z.sigma = 0.5;
  }
  return z;
}

double Events::angle() const {
  const double sum_x = std::accumulate(x.begin(), x.end(), 0.0);
  return std::atan2(-std::accumulate(y.begin(), y.end(), 0.0), -sum_x);
}

std::vector<double> Events::histogram(const Observable& o) const {
  const double c = std::cos(o.angle), s = std::sin(o.angle);
  const std::size_t columns = o.across.empty() ? 1 : o.across.size() - 1;
  std::vector<double> counts((o.along.size() - 1) * columns, 0.0);
  const auto bin = [](const std::vector<double>& edges, double t) {
    std::size_t i = 0;
    for (std::size_t k = 1; k + 1 < edges.size(); ++k) i += t >= edges[k] ? 1U : 0U;
    return i;
  };
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t row = bin(o.along, x[i] * c + y[i] * s);
    const std::size_t column = columns == 1 ? 0 : bin(o.across, y[i] * c - x[i] * s);
    counts[row * columns + column] += 1.0;
  }
  return counts;
}

Events draw_events(double mu, double z, std::uint64_t seed, std::uint64_t index) {
  RandomStream random(seed, index);
  const double n_signal = random.poisson(mu * k_signal_events);
  const double n_background = random.poisson(k_background_events);
  Events events;
  const auto add = [&](double n, double sign) {
    for (double i = 0.0; i < n; i += 1.0) {
      events.x.push_back(sign * std::cos(z) + k_width * random.normal());
      events.y.push_back(sign * std::sin(z) + k_width * random.normal());
    }
  };
  add(n_signal, 1.0);
  add(n_background, -1.0);
  return events;
}

}  // namespace slalom::test
