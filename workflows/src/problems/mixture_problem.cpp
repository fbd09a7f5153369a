// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/mixture_problem.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "experiment/to_vector.hpp"
#include "slalom/core/error.hpp"
#include "slalom/core/random.hpp"
#include "slalom/modules/event_files.hpp"

namespace slalom {

namespace {

/// Keeps the draws of simulations apart from other streams of the same seed.
constexpr std::uint32_t k_pairs_family = 0x70616972;
/// Of the recipe.
constexpr double k_width = 0.1, k_shift = 0.1;
constexpr double k_wrong_mean = 0.1, k_wrong_variance = 0.1, k_wrong_covariance = 0.05;

bool is_gaussian(const PlaneGaussian& g) {
  return std::isfinite(g.mean0) && std::isfinite(g.mean1) && std::isfinite(g.variance) &&
         g.variance > std::abs(g.covariance);
}

bool wrong_enough(const PlaneGaussian& g, const PlaneGaussian& truth) {
  return std::hypot(g.mean0 - truth.mean0, g.mean1 - truth.mean1) > k_wrong_mean &&
         std::abs(g.variance - truth.variance) > k_wrong_variance &&
         std::abs(g.covariance - truth.covariance) > k_wrong_covariance;
}

/// The next simulation of a stream that is good. \param shift of the second mean
PlaneGaussian draw_gaussian(RandomStream& random, const PlaneGaussian& truth, double shift) {
  for (;;) {
    PlaneGaussian g;
    g.mean0 = truth.mean0 + k_width * random.normal();
    g.mean1 = truth.mean1 + shift + k_width * random.normal();
    g.variance = std::abs(truth.variance + k_width * random.normal());
    g.covariance = truth.covariance + k_width * random.normal();
    if (is_gaussian(g) && wrong_enough(g, truth)) return g;
  }
}

std::vector<PlaneGaussian> read_gaussians(const std::string& path) {
  EventFileOptions read;
  read.columns = {"mean0", "mean1", "cov00", "cov01", "cov11"};
  read.float64 = true;
  const std::vector<double> values = experiment::to_vector(read_csv(path, read).features);
  std::vector<PlaneGaussian> result;
  for (std::size_t i = 0; i < values.size(); i += read.columns.size()) {
    const PlaneGaussian g{values[i], values[i + 1], values[i + 2], values[i + 3]};
    if (!is_gaussian(g) || std::abs(values[i + 4] - g.variance) > 1e-12 * g.variance) {
      throw Error(ErrorKind::io, "this is no Gaussian of equal variances",
                  path + ":" + std::to_string(i / read.columns.size() + 2));
    }
    result.push_back(g);
  }
  if (result.empty()) throw Error(ErrorKind::io, "there is no simulation", path);
  return result;
}

template <class Function>
PlaneGaussian combine(const PlaneGaussian& a, const PlaneGaussian& b, const Function& f) {
  return {f(a.mean0, b.mean0), f(a.mean1, b.mean1), f(a.variance, b.variance),
          f(a.covariance, b.covariance)};
}

PlaneGaussian farther(const std::vector<BiasedPair>& pairs, std::size_t i,
                      PlaneGaussian BiasedPair::*process, double factor) {
  PlaneGaussian mean{0.0, 0.0, 0.0, 0.0};
  const double n = static_cast<double>(pairs.size());
  for (const BiasedPair& pair : pairs) {
    mean = combine(mean, pair.*process, [n](double a, double b) { return a + b / n; });
  }
  const PlaneGaussian result = combine(
      mean, pairs.at(i).*process, [factor](double m, double x) { return m + factor * (x - m); });
  if (!is_gaussian(result)) {
    throw Error(ErrorKind::numerical, "there is no Gaussian so far from the mean",
                "simulation " + std::to_string(i));
  }
  return result;
}

}  // namespace

double PlaneGaussian::log_density(double x0, double x1) const {
  const double a = x0 - mean0, b = x1 - mean1;
  const double determinant = variance * variance - covariance * covariance;
  return -0.5 * (variance * (a * a + b * b) - 2.0 * covariance * a * b) / determinant -
         std::log(2.0 * std::numbers::pi * std::sqrt(determinant));
}

std::vector<BiasedPair> draw_biased_pairs(std::size_t n, std::uint64_t seed) {
  if (n == 0) throw Error(ErrorKind::usage, "expected at least one", "biased pairs");
  RandomStream signal(seed, 0, k_pairs_family), background(seed, 0, k_pairs_family);
  std::vector<BiasedPair> result;
  for (std::size_t i = 0; i < n; ++i) {
    result.push_back({draw_gaussian(signal, k_biased_truth.signal, -k_shift),
                      draw_gaussian(background, k_biased_truth.background, k_shift)});
  }
  return result;
}

std::vector<BiasedPair> read_biased_pairs(const std::string& signal,
                                          const std::string& background) {
  const std::vector<PlaneGaussian> s = read_gaussians(signal), b = read_gaussians(background);
  if (s.size() != b.size()) {
    throw Error(ErrorKind::io,
                "there are " + std::to_string(b.size()) + " simulations, and " +
                    std::to_string(s.size()) + " of the signal",
                background);
  }
  std::vector<BiasedPair> result;
  for (std::size_t i = 0; i < s.size(); ++i) result.push_back({s[i], b[i]});
  return result;
}

BiasedPair farther_pair(const std::vector<BiasedPair>& pairs, std::size_t i, double factor) {
  return {farther(pairs, i, &BiasedPair::signal, factor),
          farther(pairs, i, &BiasedPair::background, factor)};
}

std::vector<double> plane_log_density(const PlaneGaussian& gaussian, std::size_t side) {
  const double width = 2.0 * k_biased_window / static_cast<double>(side);
  const auto centre = [&](std::size_t i) {
    return width * (static_cast<double>(i) + 0.5) - k_biased_window;
  };
  std::vector<double> result;
  result.reserve(side * side);
  for (std::size_t i = 0; i < side; ++i) {
    for (std::size_t j = 0; j < side; ++j) {
      result.push_back(gaussian.log_density(centre(i), centre(j)));
    }
  }
  return result;
}

std::vector<double> plane_contents(const PlaneGaussian& gaussian, std::size_t side) {
  // Gauss and Legendre's rule of five points along both axes of each bin.
  constexpr std::array<double, 5> x = {-0.9061798459386640, -0.5384693101056831, 0.0,
                                       0.5384693101056831, 0.9061798459386640};
  constexpr std::array<double, 5> w = {0.2369268850561891, 0.4786286704993665, 0.5688888888888889,
                                       0.4786286704993665, 0.2369268850561891};
  const double half = k_biased_window / static_cast<double>(side);
  const auto place = [&](std::size_t i, std::size_t a) {
    return half * (2.0 * static_cast<double>(i) + 1.0 + x[a]) - k_biased_window;
  };
  std::vector<double> result;
  result.reserve(side * side);
  for (std::size_t i = 0; i < side; ++i) {
    for (std::size_t j = 0; j < side; ++j) {
      double sum = 0.0;
      for (std::size_t a = 0; a < x.size(); ++a) {
        for (std::size_t b = 0; b < x.size(); ++b) {
          sum += w[a] * w[b] * std::exp(gaussian.log_density(place(i, a), place(j, b)));
        }
      }
      result.push_back(sum * half * half);
    }
  }
  return result;
}

}  // namespace slalom
