// SPDX-License-Identifier: Apache-2.0
// PAWS on toys with known densities (arXiv:2405.08889, 2506.00119): the published toy in one
// dimension with exact ratios and with trained ones, its errors, coverage and false positives.
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <numbers>
#include <vector>

#include "slalom/core/random.hpp"
#include "slalom/core/signal_fraction.hpp"
#include "support/catch.hpp"

#if SLALOM_HAS_MODULES
#include "slalom/modules/torch.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linspace.h>

#include "slalom/modules/calibration.hpp"
#include "slalom/modules/paws.hpp"
#include "slalom/workflows/resonance_toys.hpp"
#endif

using Catch::Matchers::WithinRel;
using slalom::RandomStream;
using slalom::SignalFractionFit;
using slalom::SignalFractionLikelihood;

namespace {

constexpr double k_background = 1e5;  // events of background in every data set
constexpr double k_signal_at = 3.0, k_background_at = 6.0;

double log_ratio(double x) {
  return (k_signal_at - k_background_at) * x +
         0.5 * (k_background_at * k_background_at - k_signal_at * k_signal_at);
}

double draw(double mu, RandomStream& random) {
  return (random.uniform() < mu ? k_signal_at : k_background_at) + random.normal();
}

slalom::LogRatioSampler exact_data(double mu) {
  return [mu](RandomStream& random) {
    std::vector<double> l(static_cast<std::size_t>(k_background / (1.0 - mu)));
    for (double& x : l) x = log_ratio(draw(mu, random));
    return l;
  };
}

/// sigma(mu) of k_background / (1 - mu) events: the information of one event by quadrature, through
/// the code under test, with the density as weights.
double asimov_error(double mu) {
  constexpr int k_points = 20000;
  constexpr double k_low = -6.0, k_high = 14.0, k_step = (k_high - k_low) / k_points;
  const double scale = k_background / (1.0 - mu) * k_step / std::sqrt(2.0 * std::numbers::pi);
  std::vector<double> l, w;
  for (int i = 0; i < k_points; ++i) {
    const double x = k_low + (i + 0.5) * k_step, s = x - k_signal_at, b = x - k_background_at;
    l.push_back(log_ratio(x));
    w.push_back(scale * (mu * std::exp(-0.5 * s * s) + (1.0 - mu) * std::exp(-0.5 * b * b)));
  }
  const SignalFractionFit fit = SignalFractionLikelihood(l, w).fit();
  CHECK(fit.converged());
  CHECK_THAT(fit.mu, WithinRel(mu, 1e-6));
  return fit.error;
}

/// Pulls of toys.
struct Pulls {
  double n = 0.0, sum = 0.0, squares = 0.0, inside_68 = 0.0, inside_95 = 0.0;
  void add(double found, double truth, double error) {
    const double pull = (found - truth) / error;
    n += 1.0;
    sum += pull;
    squares += pull * pull;
    inside_68 += std::abs(pull) < 1.0 ? 1.0 : 0.0;
    inside_95 += std::abs(pull) < 1.96 ? 1.0 : 0.0;
  }
  double mean() const { return sum / n; }
  double width() const { return std::sqrt(squares / n - mean() * mean()); }
  void print(const char* what, double mu) const {
    std::printf("%s, mu = %g: %.0f toys, pull %.2f, width %.2f, covered %.2f/%.2f\n", what, mu, n,
                mean(), width(), inside_68 / n, inside_95 / n);
  }
};

}  // namespace

TEST_CASE("errors of the published toy", "[validation][paws]") {
  // Tabled with five decimals at most: half a unit of the last one is up to 1.1 %.
  const std::array<std::array<double, 2>, 10> table{{{.01, .00045},
                                                     {.0155, .00053},
                                                     {.0239, .00063},
                                                     {.0369, .00074},
                                                     {.057, .00087},
                                                     {.088, .00102},
                                                     {.136, .00117},
                                                     {.21, .00130},
                                                     {.324, .00137},
                                                     {.501, .00125}}};
  for (const auto& [mu, sigma] : table) {
    const double found = asimov_error(mu);
    std::printf("mu = %.4f: sigma %.6f, tabled %.5f\n", mu, found, sigma);
    CHECK_THAT(found, WithinRel(sigma, 0.02));
  }
}

namespace {

void check_toys(const std::vector<double>& fractions) {
  for (const double mu : fractions) {
    slalom::SignalFractionToyOptions options;
    options.n_toys = 300;
    options.seed = 1;
    Pulls pulls;
    double covered = 0.0;
    const auto toys = run_signal_fraction_toys(exact_data(mu), options);
    for (const SignalFractionFit& toy : toys) {
      REQUIRE(toy.converged());
      pulls.add(toy.mu, mu, toy.error);
    }
    // Intervals by the likelihood itself, of some of the same toys.
    for (std::size_t i = 0; i < 60; ++i) {
      RandomStream random(options.seed, i, options.family);
      const SignalFractionLikelihood likelihood(exact_data(mu)(random));
      const auto interval = likelihood.interval(toys[i]);
      if (interval.lower < mu && mu < interval.upper) covered += 1.0 / 60.0;
    }
    pulls.print("exact ratio", mu);
    CHECK(std::abs(pulls.mean()) < 0.2);
    CHECK(pulls.width() > 0.85);
    CHECK(pulls.width() < 1.15);
    CHECK(pulls.inside_68 / pulls.n > 0.60);
    CHECK(pulls.inside_68 / pulls.n < 0.77);
    CHECK(pulls.inside_95 / pulls.n > 0.92);
    CHECK(covered > 0.50);
    CHECK(covered < 0.87);
  }
}

}  // namespace

TEST_CASE("fractions of toys with the exact ratio", "[validation][paws]") { check_toys({.01}); }

TEST_CASE("small and large fractions with the exact ratio", "[validation][paws][slow]") {
  check_toys({.001, .1});
}

TEST_CASE("false positives with the exact ratio", "[validation][paws]") {
  slalom::SignalFractionToyOptions options;
  options.n_toys = 1000;
  options.seed = 2;
  const auto toys = run_signal_fraction_toys(exact_data(0.0), options);
  const double p = signal_fraction_p_value(toys, 2.71).value;
  std::printf("mu = 0: P(mu > 0) = %.2f, P(q0 > 2.71) = %.3f, > 3.84 %.3f, > 9 %.3f\n",
              signal_fraction_p_value(toys, 1e-9).value, p,
              signal_fraction_p_value(toys, 3.84).value, signal_fraction_p_value(toys, 9.0).value);
  CHECK(p > 0.025);
  CHECK(p < 0.065);
  CHECK(signal_fraction_p_value(toys, 9.0).value < 0.008);
}

#if SLALOM_HAS_MODULES

namespace {

using at::Tensor;

slalom::MlpOptions network_options(const slalom::ResonanceToy& toy, std::uint64_t seed) {
  slalom::MlpOptions options;
  options.inputs = static_cast<std::int64_t>(toy.background.mean.size());
  options.hidden = {64, 32};
  options.activation = slalom::Activation::silu;
  options.seed = seed;
  return options;
}

/// Every signal event at the published theta, which the network does not see.
slalom::RatioBatches at_truth(const slalom::ResonanceToy& toy, std::int64_t size,
                              std::uint64_t seed) {
  return [=](std::int64_t step) {
    RandomStream random(seed, static_cast<std::uint64_t>(step));
    const Tensor theta = at::full({size, 1}, toy.truth[0], at::kDouble);
    const Tensor s = toy.draw_signal(theta, random);
    return slalom::RatioBatch{s, {}, toy.draw_background(size, random)};
  };
}

Tensor data_of(const slalom::ResonanceToy& toy, double mu, RandomStream& random) {
  const auto n = static_cast<std::int64_t>(toy.background_events / (1.0 - mu));
  return toy.draw_mixture(n, mu, toy.truth, random);
}

/// A polynomial ratio, trained and calibrated as docs/paws.md advises.
slalom::ParameterisedRatio trained_ratio(const slalom::ResonanceToy& toy, std::uint64_t seed) {
  slalom::MlpOptions options = network_options(toy, seed);
  options.parameters = toy.parameters;
  slalom::PolynomialRatio network(options, 3);
  const slalom::RatioBatch both = toy.batches(20000, 7000 + seed)(0);
  network->fit_normalisation(at::cat({both.signal, both.background}, 0));
  slalom::train_ratio(*network, toy.batches(4096, 1000 + seed));
  slalom::ParameterisedRatio ratio(slalom::as_classifier(network.ptr()), toy.parameters, 3);
  slalom::calibrate(*ratio, toy.batches(65536, 2000 + seed), 16);
  return ratio;
}

}  // namespace

TEST_CASE("joint fits with the exact ratio", "[validation][paws]") {
  const slalom::ResonanceToy toy = slalom::make_resonance_toy("gaussian_1d");
  Pulls mu_pulls, theta_pulls;
  slalom::PawsToyOptions options;
  options.n_toys = 20;
  options.seed = 3;
  options.fit.grid = 5;
  const auto fits = slalom::run_paws_toys(
      {toy.exact_ratio()}, [&](RandomStream& random) { return data_of(toy, .01, random); },
      options);
  for (const slalom::PawsFit& fit : fits) {
    REQUIRE(fit.converged());
    mu_pulls.add(fit.mu, .01, fit.mu_error);
    theta_pulls.add(fit.theta[0], 3.0, fit.theta_errors[0]);
  }
  mu_pulls.print("joint fit, exact ratio, mu", .01);
  theta_pulls.print("joint fit, exact ratio, theta", .01);
  // 20 toys: three standard deviations of their mean.
  CHECK(std::abs(mu_pulls.mean()) < 0.67);
  CHECK(std::abs(theta_pulls.mean()) < 0.67);
  CHECK(mu_pulls.width() < 1.5);
}

TEST_CASE("fixed theta with trained ratios", "[validation][paws][slow]") {
  const slalom::ResonanceToy toy = slalom::make_resonance_toy("gaussian_1d");
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    slalom::SkipMlp network(network_options(toy, seed));
    RandomStream random(seed, 0, 1);
    const slalom::RatioBatch both = at_truth(toy, 20000, 8000 + seed)(0);
    network->fit_normalisation(at::cat({both.signal, both.background}, 0));
    // The network has no theta of its own.
    const slalom::FunctionClassifier without_theta(
        [&](const Tensor& x, const Tensor&) { return network->outputs(x, {}); });
    slalom::ParameterisedRatio ratio(slalom::as_classifier(without_theta.ptr()), toy.parameters, 0);
    slalom::train_ratio(*network, at_truth(toy, 4096, 3000 + seed));
    const Tensor theta = at::full({1}, 3.0, at::kDouble);
    slalom::calibrate_at(*ratio, theta,
                         toy.draw_signal(at::full({1000000, 1}, 3.0, at::kDouble), random),
                         toy.draw_background(1000000, random));
    for (const double mu : {.001, .01, .1}) {
      Pulls pulls;
      for (std::uint64_t i = 0; i < 50; ++i) {
        RandomStream of_toy(4000 + seed, i);
        const slalom::PawsLikelihood likelihood({ratio}, data_of(toy, mu, of_toy));
        const SignalFractionFit fit = likelihood.fraction({3.0}).fit();
        pulls.add(fit.mu, mu, fit.error);
      }
      std::printf("seed %d: ", static_cast<int>(seed));
      pulls.print("skip network and Platt", mu);
      CHECK(std::abs(pulls.mean()) < 0.5);
      CHECK(pulls.inside_68 / pulls.n > 0.58);
    }
  }
}

namespace {

/// The background's density on points of a quadrature.
slalom::PawsRatios normalised(const slalom::ParameterisedRatio& ratio) {
  constexpr std::int64_t k_points = 4000;
  const Tensor x = at::linspace(-2.0, 14.0, k_points, at::kDouble);
  return slalom::PawsRatios({ratio}, x.unsqueeze(1), (-0.5 * (x - k_background_at).square()).exp(),
                            slalom::PawsBackground::quadrature);
}

}  // namespace

TEST_CASE("joint fits with trained ratios", "[validation][paws][slow]") {
  const slalom::ResonanceToy toy = slalom::make_resonance_toy("gaussian_1d");
  Pulls all;
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    const slalom::ParameterisedRatio ratio = trained_ratio(toy, seed);
    const slalom::PawsRatios divided = normalised(ratio);
    for (const double mu : {.01, .1}) {
      Pulls plain, normal, corrected;
      for (std::uint64_t i = 0; i < 40; ++i) {
        RandomStream random(5000 + seed, i);
        const Tensor data = data_of(toy, mu, random);
        const slalom::PawsFit fit = slalom::fit_paws(ratio, data);
        REQUIRE(fit.converged());
        plain.add(fit.mu, mu, fit.mu_error);
        const slalom::PawsFit of_density = slalom::PawsLikelihood(divided, data).fit();
        REQUIRE(of_density.converged());
        normal.add(of_density.mu, mu, of_density.mu_error);
        const Tensor theta = at::full({300000, 1}, fit.theta[0], at::kDouble);
        const auto correction = slalom::correct_paws({ratio}, fit, toy.draw_signal(theta, random),
                                                     toy.draw_background(500000, random));
        corrected.add(correction.fit.mu, mu, correction.fit.mu_error);
        all.add(correction.fit.mu, mu, correction.fit.mu_error);
      }
      std::printf("seed %d: ", static_cast<int>(seed));
      plain.print("polynomial, calibrated", mu);
      std::printf("seed %d: ", static_cast<int>(seed));
      normal.print("polynomial, normalised", mu);
      std::printf("seed %d: ", static_cast<int>(seed));
      corrected.print("polynomial, corrected", mu);
      std::fflush(stdout);
      CHECK(std::abs(corrected.mean()) < 1.2);
      CHECK(corrected.inside_95 / corrected.n > 0.8);
    }
  }
  std::printf("all: ");
  all.print("corrected, with mu = .1", .01);
  CHECK(std::abs(all.mean()) < 0.35);
}

TEST_CASE("look-elsewhere effect of joint fits", "[validation][paws][slow]") {
  // q0 maximised over theta exceeds what one theta gives, and the tests by toys know.
  const slalom::ResonanceToy toy = slalom::make_resonance_toy("gaussian_1d");
  slalom::PawsToyOptions options;
  options.n_toys = 200;
  options.seed = 6;
  const auto toys = slalom::run_paws_toys(
      {toy.exact_ratio()}, [&](RandomStream& random) { return toy.draw_background(20000, random); },
      options);
  const double p = slalom::paws_p_value(toys, 2.71).value;
  std::printf("mu = 0, theta free: P(q0 > 2.71) = %.3f, > 9 %.3f\n", p,
              slalom::paws_p_value(toys, 9.0).value);
  CHECK(p > 0.05);
  CHECK(p < 0.35);
}

#endif
