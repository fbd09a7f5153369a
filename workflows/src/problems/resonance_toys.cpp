// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/resonance_toys.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/erfc.h>
#include <ATen/ops/full.h>
#include <ATen/ops/log.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <utility>

#include "cli/suggest.hpp"
#include "slalom/core/error.hpp"

namespace slalom {

namespace {

constexpr double k_log_two_pi = 1.8378770664093454836;

Tensor matrix_of(std::int64_t rows, std::size_t columns) {
  return at::empty({rows, static_cast<std::int64_t>(columns)}, at::kDouble);
}

/// One event with its mean shifted to `mean` [d].
void draw(const ToyDensity& density, const double* mean, RandomStream& random, double* event) {
  const std::size_t d = density.mean.size();
  if (density.factor.empty()) {
    for (std::size_t i = 0; i < d; ++i) event[i] = -mean[i] * std::log(random.uniform());
    return;
  }
  std::vector<double> u(d);
  for (double& x : u) x = random.normal();
  for (std::size_t i = 0; i < d; ++i) {
    event[i] = mean[i];
    for (std::size_t j = 0; j <= i; ++j) event[i] += density.factor[i * d + j] * u[j];
  }
}

/// One of the signal, which has nothing where the background has nothing.
void draw_signal_event(const ResonanceToy& toy, const double* mean, RandomStream& random,
                       double* event) {
  const bool cut = toy.background.factor.empty();
  do {
    draw(toy.signal, mean, random, event);
  } while (cut && *std::min_element(event, event + toy.signal.mean.size()) < 0.0);
}

/// log Phi(x), the part of a Gaussian above 0 at a distance x.
Tensor log_part_above(const Tensor& x) {
  return at::log(0.5 * at::erfc(x * (-1.0 / std::numbers::sqrt2)));
}

/// log of the density of events whose coordinates less their mean are `x`, each [n] or [1].
Tensor log_gaussian(const std::vector<Tensor>& x, const std::vector<double>& factor) {
  const std::size_t d = x.size();
  std::vector<Tensor> u;
  double constant = -0.5 * k_log_two_pi * static_cast<double>(d);
  Tensor squares;
  for (std::size_t i = 0; i < d; ++i) {
    Tensor rest = x[i];
    for (std::size_t j = 0; j < i; ++j) rest = rest - factor[i * d + j] * u[j];
    u.push_back(rest / factor[i * d + i]);
    constant -= std::log(factor[i * d + i]);
    squares = squares.defined() ? squares + u[i] * u[i] : u[i] * u[i];
  }
  return constant - 0.5 * squares;
}

std::vector<Tensor> columns_of(const Tensor& features) {
  std::vector<Tensor> result;
  for (std::int64_t k = 0; k < features.size(1); ++k) {
    result.push_back(features.select(1, k).to(at::kDouble));
  }
  return result;
}

/// log of the background's density.
Tensor log_background(const ToyDensity& density, const Tensor& features) {
  std::vector<Tensor> x = columns_of(features);
  if (!density.factor.empty()) {
    for (std::size_t k = 0; k < x.size(); ++k) x[k] = x[k] - density.mean[k];
    return log_gaussian(x, density.factor);
  }
  Tensor result = at::zeros_like(x[0]);
  for (std::size_t k = 0; k < x.size(); ++k) {
    result = result - x[k] / density.mean[k] - std::log(density.mean[k]);
    result = at::where(x[k] >= 0.0, result,
                       -std::numeric_limits<double>::infinity() * at::ones_like(result));
  }
  return result;
}

std::vector<double> identity(std::size_t d) {
  std::vector<double> result(d * d, 0.0);
  for (std::size_t i = 0; i < d; ++i) result[i * d + i] = 1.0;
  return result;
}

/// Lower Cholesky factor of [[a, b], [b, c]].
std::vector<double> factor_of(double a, double b, double c) {
  const double first = std::sqrt(a), below = b / first;
  return {first, 0.0, below, std::sqrt(c - below * below)};
}

ResonanceToy gaussian_1d() {
  ResonanceToy toy;
  toy.name = "gaussian_1d";
  toy.summary = "A Gaussian at 3 on one at 6, both of unit width.";
  toy.signal = {{3.0}, identity(1)};
  toy.background = {{6.0}, identity(1)};
  toy.parameters = {{"mean", 1.0, 5.0}};
  toy.moved = {0};
  toy.truth = {3.0};
  toy.background_events = 1e5;
  return toy;
}

ResonanceToy gaussian_3d() {
  ResonanceToy toy;
  toy.name = "gaussian_3d";
  toy.summary = "Gaussians of unit covariance in three dimensions, 5.9 apart.";
  toy.signal = {{1.0, 3.0, 5.0}, identity(3)};
  toy.background = {{6.0, 4.0, 2.0}, identity(3)};
  toy.parameters = {{"mean_1", 0.0, 2.0}, {"mean_3", 4.0, 6.0}};
  toy.moved = {0, 2};
  toy.truth = {1.0, 5.0};
  toy.background_events = 2e5;
  return toy;
}

ResonanceToy correlated_2d() {
  ResonanceToy toy;
  toy.name = "correlated_2d";
  toy.summary = "Gaussians in the plane with nearly the same mean and opposite correlations.";
  toy.signal = {{1.0, 3.0}, factor_of(5.0, 4.5, 5.0)};
  toy.background = {{1.5, 3.5}, factor_of(3.0, -2.7, 3.0)};
  toy.parameters = {{"mean_1", -1.0, 3.0}, {"mean_2", 1.0, 5.0}};
  toy.moved = {0, 1};
  toy.truth = {1.0, 3.0};
  toy.background_events = 1e5;
  return toy;
}

ResonanceToy resonance_2d() {
  // Background falls by a factor of 10 over 9 units of each axis.
  const double scale = 9.0 / std::numbers::ln10;
  ResonanceToy toy;
  toy.name = "resonance_2d";
  toy.summary =
      "A round Gaussian, cut off at 0, on exponentials in the plane: two masses to be found.";
  toy.signal = {{3.0, 3.0}, identity(2)};
  toy.background = {{scale, scale}, {}};
  toy.parameters = {{"mass_1", 1.0, 7.0}, {"mass_2", 1.0, 7.0}};
  toy.moved = {0, 1};
  toy.truth = {3.0, 3.0};
  toy.background_events = 1e5;
  return toy;
}

}  // namespace

Tensor ResonanceToy::draw_signal(const Tensor& theta, RandomStream& random) const {
  const std::size_t d = signal.mean.size();
  if (theta.dim() != 2 || theta.size(1) != static_cast<std::int64_t>(moved.size())) {
    throw Error(ErrorKind::usage, "theta [events, parameters] expected", "resonance_toys");
  }
  const Tensor values = theta.to(at::kCPU, at::kDouble).contiguous();
  const auto* t = values.data_ptr<double>();
  Tensor result = matrix_of(theta.size(0), d);
  auto* event = result.data_ptr<double>();
  std::vector<double> mean = signal.mean;
  for (std::int64_t i = 0; i < theta.size(0); ++i) {
    for (const std::int64_t axis : moved) mean[static_cast<std::size_t>(axis)] = *t++;
    draw_signal_event(*this, mean.data(), random, event);
    event += d;
  }
  return result;
}

Tensor ResonanceToy::draw_background(std::int64_t n, RandomStream& random) const {
  const std::size_t d = background.mean.size();
  Tensor result = matrix_of(n, d);
  auto* event = result.data_ptr<double>();
  for (std::int64_t i = 0; i < n; ++i, event += d) {
    draw(background, background.mean.data(), random, event);
  }
  return result;
}

Tensor ResonanceToy::draw_mixture(std::int64_t n, double mu, const std::vector<double>& theta,
                                  RandomStream& random) const {
  if (theta.size() != moved.size() || !(mu >= 0.0 && mu <= 1.0)) {
    throw Error(ErrorKind::usage, "a fraction between 0 and 1 and theta [parameters] expected",
                "resonance_toys");
  }
  const std::size_t d = background.mean.size();
  std::vector<double> mean = signal.mean;
  for (std::size_t k = 0; k < moved.size(); ++k) {
    mean[static_cast<std::size_t>(moved[k])] = theta[k];
  }
  Tensor result = matrix_of(n, d);
  auto* event = result.data_ptr<double>();
  for (std::int64_t i = 0; i < n; ++i, event += d) {
    const bool is_signal = random.uniform() < mu;
    if (is_signal) {
      draw_signal_event(*this, mean.data(), random, event);
    } else {
      draw(background, background.mean.data(), random, event);
    }
  }
  return result;
}

Tensor ResonanceToy::log_ratio(const Tensor& features, const Tensor& theta) const {
  std::vector<Tensor> x = columns_of(features);
  Tensor cut = at::zeros({}, at::kDouble);
  for (std::size_t k = 0; k < x.size(); ++k) {
    Tensor mean;
    for (std::size_t j = 0; j < moved.size(); ++j) {
      if (moved[j] != static_cast<std::int64_t>(k)) continue;
      mean = theta.to(at::kDouble).select(-1, static_cast<std::int64_t>(j));
    }
    if (!mean.defined()) mean = at::full({}, signal.mean[k], at::kDouble);
    x[k] = x[k] - mean;
    // Exponential backgrounds come with independent axes.
    const std::size_t diagonal = k * (x.size() + 1);
    if (background.factor.empty()) cut = cut + log_part_above(mean / signal.factor[diagonal]);
  }
  return log_gaussian(x, signal.factor) - cut - log_background(background, features);
}

ParameterisedRatio ResonanceToy::exact_ratio() const {
  const ResonanceToy toy = *this;
  const FunctionClassifier exact([toy](const Tensor& features, const Tensor& theta) {
    return toy.log_ratio(features, theta);
  });
  return ParameterisedRatio(as_classifier(exact.ptr()), parameters, 0);
}

RatioBatches ResonanceToy::batches(std::int64_t batch_size, std::uint64_t seed) const {
  const ResonanceToy toy = *this;
  return [toy, batch_size, seed](std::int64_t step) {
    RandomStream random(seed, static_cast<std::uint64_t>(step));
    Tensor theta = matrix_of(batch_size, toy.moved.size());
    auto* t = theta.data_ptr<double>();
    for (std::int64_t i = 0; i < batch_size; ++i) {
      for (const ParameterInput& p : toy.parameters) {
        *t++ = p.low + (p.high - p.low) * random.uniform();
      }
    }
    const Tensor s = toy.draw_signal(theta, random);
    return RatioBatch{s, theta, toy.draw_background(batch_size, random)};
  };
}

const std::vector<std::string>& resonance_toy_names() {
  static const std::vector<std::string> names{"gaussian_1d", "gaussian_3d", "correlated_2d",
                                              "resonance_2d"};
  return names;
}

ResonanceToy make_resonance_toy(const std::string& name) {
  for (ResonanceToy (*make)() : {gaussian_1d, gaussian_3d, correlated_2d, resonance_2d}) {
    ResonanceToy toy = make();
    if (toy.name == name) return toy;
  }
  std::string known;
  for (const std::string& other : resonance_toy_names()) {
    known += (known.empty() ? " " : ", ") + other;
  }
  throw Error(ErrorKind::usage,
              "no resonance toy of this name (there are:" + known + ")" +
                  cli::did_you_mean(name, resonance_toy_names()),
              name);
}

}  // namespace slalom
