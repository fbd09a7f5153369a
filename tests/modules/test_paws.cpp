// SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/zeros.h>
#include <cmath>
#include <limits>
#include <vector>

#include "slalom/modules/autodiff.hpp"
#include "slalom/modules/mixture.hpp"
#include "slalom/modules/paws.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/tensors.hpp"

using at::Tensor;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::as_classifier;
using slalom::ErrorKind;
using slalom::FitStatus;
using slalom::FunctionClassifier;
using slalom::ParameterInput;
using slalom::ParameterisedRatio;
using slalom::PawsFit;
using slalom::PawsLikelihood;
using slalom::PawsOptions;
using slalom::RandomStream;
using slalom::test::check_fails;
using slalom::test::distance;
using slalom::test::sequence;
using slalom::test::tensor;
using slalom::test::values;

namespace {

constexpr double k_free = std::numeric_limits<double>::quiet_NaN();
const std::vector<ParameterInput> k_box{{"mean", -2.0, 2.0}};
const std::vector<ParameterInput> k_near{{"mean", 0.0, 2.0}};
const std::vector<ParameterInput> k_plane{{"a", -2.0, 2.0}, {"b", -2.0, 2.0}};

/// Signal N(theta, 1) on a background N(4, 1) in each of one or two dimensions, theta those means.
Tensor exact(const Tensor& x, const Tensor& theta) {
  Tensor sum;
  for (std::int64_t k = 0; k < x.size(1); ++k) {
    const Tensor t = theta.select(-1, k), y = x.select(1, k).to(at::kDouble);
    const Tensor part = y * (t - 4.0) + 0.5 * (16.0 - t * t);
    sum = sum.defined() ? sum + part : part;
  }
  return sum;
}

ParameterisedRatio exact_ratio(const std::vector<ParameterInput>& box = k_box) {
  const FunctionClassifier f(exact);
  return ParameterisedRatio(as_classifier(f.ptr()), box, 0);
}

Tensor events(std::int64_t n, double mu, const std::vector<double>& theta, RandomStream& random) {
  const auto d = static_cast<std::int64_t>(theta.size());
  Tensor result = at::zeros({n, d}, at::kDouble);
  auto* x = result.data_ptr<double>();
  for (std::int64_t i = 0; i < n; ++i) {
    const bool is_signal = random.uniform() < mu;
    for (const double t : theta) *x++ = (is_signal ? t : 4.0) + random.normal();
  }
  return result;
}

ParameterisedRatio polynomial_ratio(const std::vector<ParameterInput>& box, std::uint64_t seed) {
  slalom::MlpOptions options;
  options.inputs = static_cast<std::int64_t>(box.size());
  options.hidden = {6};
  options.activation = slalom::Activation::silu;
  options.parameters = box;
  options.float64 = true;
  options.seed = seed;
  const slalom::PolynomialRatio network(options, 3);
  ParameterisedRatio ratio(as_classifier(network.ptr()), box, 2);
  const auto terms = ratio->slope().size(0);
  ratio->set_calibration(0.5 + sequence(terms), sequence(terms, 0.2) - 0.5);
  return ratio;
}

/// The same ratio, of which PawsLikelihood does not know that it is a polynomial.
ParameterisedRatio disguised(ParameterisedRatio ratio) {
  const auto parameters = ratio->parameters();
  const FunctionClassifier f([ratio](const Tensor& x, const Tensor& theta) {
    ParameterisedRatio handle = ratio;
    return handle->log_ratio(x, theta);
  });
  return ParameterisedRatio(as_classifier(f.ptr()), parameters, 0);
}

PawsOptions only_theta(std::vector<double> held) {
  PawsOptions options;
  options.held = std::move(held);
  return options;
}

}  // namespace

TEST_CASE("derivatives of the joint likelihood", "[modules][paws]") {
  const Tensor x = 4.0 * sequence(60).reshape({30, 2}), w = 0.5 + sequence(30, 0.3);
  const std::vector<ParameterisedRatio> ratios{exact_ratio(k_plane), polynomial_ratio(k_plane, 1),
                                               disguised(polynomial_ratio(k_plane, 2))};
  const std::vector<double> theta{0.7, -0.4};
  const auto reference = [&](const std::vector<ParameterisedRatio>& of, const Tensor& at) {
    Tensor sum = at::zeros({}, at::kDouble);
    for (ParameterisedRatio ratio : of) {
      const Tensor l = ratio->log_ratio(x, at.slice(0, 1));
      sum = sum + (w * slalom::mixture_log_ratio(l, at[0])).sum();
    }
    return sum / static_cast<double>(of.size());
  };
  for (const double mu : {0.0, 1e-3, 0.3, 1.0}) {
    for (std::size_t k = 0; k < 4; ++k) {
      CAPTURE(mu, k);
      const auto of = k == 3 ? ratios : std::vector<ParameterisedRatio>{ratios[k]};
      const Tensor at = tensor({mu, theta[0], theta[1]}).requires_grad_();
      const Tensor value = reference(of, at);
      const auto found = PawsLikelihood(of, x, w).evaluate(mu, theta);
      CHECK_THAT(found.value, WithinAbs(value.item<double>(), 1e-11));
      const Tensor g = slalom::gradient(value, at, true), h = slalom::hessian(value, at);
      const double size = 1.0 + h.abs().max().item<double>();
      CHECK(distance(tensor(found.gradient), g) < 1e-12 * size);
      CHECK(distance(tensor(found.hessian), h.reshape({-1})) < 1e-12 * size);
    }
  }
  // A polynomial is evaluated from its coefficients: the same numbers.
  const PawsLikelihood fast({ratios[1]}, x), slow({disguised(ratios[1])}, x);
  CHECK(distance(tensor(fast.log_ratio(theta)), tensor(slow.log_ratio(theta))) < 1e-13);
  CHECK_THAT(fast.fraction(theta).value(0.2), WithinAbs(fast.evaluate(0.2, theta).value, 1e-12));
}

TEST_CASE("fraction and mean of a signal", "[modules][paws]") {
  RandomStream random(1, 0);
  const Tensor x = events(20000, 0.02, {0.7}, random);
  const PawsLikelihood likelihood({exact_ratio()}, x);
  const PawsFit fit = likelihood.fit();
  REQUIRE(fit.converged());
  CHECK(fit.starts.size() == 3);
  for (const slalom::PawsStart& start : fit.starts) {
    CHECK(start.log_likelihood <= fit.log_likelihood + 1e-6);
  }
  CHECK(std::abs(fit.mu - 0.02) < 3.0 * fit.mu_error);
  CHECK(std::abs(fit.theta[0] - 0.7) < 3.0 * fit.theta_errors[0]);
  CHECK(fit.mu_error > 0.0005);
  CHECK(fit.mu_error < 0.002);
  CHECK(fit.covariance.size() == 4);
  CHECK_THAT(fit.q0, WithinRel(2.0 * fit.log_likelihood, 1e-14));
  CHECK_THAT(fit.z, WithinRel(std::sqrt(fit.q0), 1e-14));
  // The maximum: nothing to gain in any direction.
  const auto at = likelihood.evaluate(fit.mu, fit.theta);
  CHECK(std::abs(at.gradient[0]) * fit.mu_error < 1e-5);
  CHECK(std::abs(at.gradient[1]) * fit.theta_errors[0] < 1e-5);
  // fit_paws() is the same; a held theta leaves mu alone.
  CHECK(slalom::fit_paws(exact_ratio(), x).mu == fit.mu);
  const PawsFit held = likelihood.fit(only_theta({0.7}));
  CHECK(held.theta == std::vector<double>{0.7});
  CHECK(held.theta_errors == std::vector<double>{0.0});
  CHECK_THAT(held.mu, WithinRel(likelihood.fraction({0.7}).fit().mu, 1e-6));
  CHECK_THAT(held.mu_error, WithinRel(likelihood.fraction({0.7}).fit().error, 1e-5));
  CHECK(held.mu_error < fit.mu_error);
  // Weights count as repetitions.
  const PawsFit twice = slalom::fit_paws(exact_ratio(), x, {}, at::zeros({20000}) + 2.0);
  CHECK_THAT(twice.mu, WithinRel(fit.mu, 1e-6));
  CHECK_THAT(twice.q0, WithinRel(2.0 * fit.q0, 1e-9));
  // The mean of two equal likelihoods is either.
  const PawsFit mean = PawsLikelihood({exact_ratio(), exact_ratio()}, x).fit();
  CHECK_THAT(mean.mu, WithinRel(fit.mu, 1e-6));
  CHECK_THAT(mean.q0, WithinRel(fit.q0, 1e-9));
}

TEST_CASE("two parameters of a signal", "[modules][paws]") {
  RandomStream random(2, 0);
  const Tensor x = events(5000, 0.05, {1.0, -0.5}, random);
  const PawsFit fit = slalom::fit_paws(exact_ratio(k_plane), x);
  REQUIRE(fit.converged());
  CHECK(std::abs(fit.mu - 0.05) < 3.0 * fit.mu_error);
  CHECK(std::abs(fit.theta[0] - 1.0) < 3.0 * fit.theta_errors[0]);
  CHECK(std::abs(fit.theta[1] + 0.5) < 3.0 * fit.theta_errors[1]);
  // Bounds of theta.
  PawsOptions options;
  options.lower = {-2.0, 0.0};
  options.upper = {2.0, 2.0};
  const PawsFit bounded = slalom::fit_paws(exact_ratio(k_plane), x, options);
  CHECK(bounded.converged());
  CHECK(bounded.theta[1] == 0.0);
  CHECK(bounded.at_bound[2]);
  CHECK(bounded.theta_errors[1] == 0.0);
}

TEST_CASE("data without a signal", "[modules][paws]") {
  std::size_t at_zero = 0;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    RandomStream random(3, seed);
    const Tensor x = events(2000, 0.0, {0.0}, random);
    const PawsLikelihood likelihood({exact_ratio()}, x);
    const PawsFit fit = likelihood.fit();
    REQUIRE(fit.converged());
    CHECK(fit.q0 < 12.0);
    CHECK(std::isfinite(fit.mu_error));
    if (fit.mu > 0.0) continue;
    ++at_zero;
    CHECK(fit.at_bound[0]);
    CHECK(fit.q0 == 0.0);
    CHECK(fit.theta_errors == std::vector<double>{0.0});
    // No other theta prefers a signal either.
    for (double theta = -2.0; theta <= 2.0; theta += 0.1) {
      CHECK(likelihood.fraction({theta}).fit().q0 < 1e-6);
    }
    PawsFit best = fit;
    const auto interval = slalom::paws_interval(likelihood, best, slalom::k_drop_95);
    CHECK(interval.lower == 0.0);
    CHECK(interval.lower_at_bound);
    CHECK(interval.upper > 0.0);
  }
  CHECK(at_zero > 0);
}

TEST_CASE("profiles, intervals and scans of the joint likelihood", "[modules][paws]") {
  RandomStream random(4, 0);
  const Tensor x = events(5000, 0.03, {0.5}, random);
  const PawsLikelihood likelihood({exact_ratio()}, x);
  PawsFit best = likelihood.fit();
  REQUIRE(best.converged());
  const auto interval = slalom::paws_interval(likelihood, best);
  CHECK_THAT(0.5 * (interval.upper - interval.lower), WithinRel(best.mu_error, 0.05));
  const std::vector<double> mu{0.0, interval.lower, best.mu, interval.upper};
  const auto profile = slalom::paws_profile(likelihood, best, mu);
  CHECK_THAT(profile[0], WithinRel(-0.5 * best.q0, 1e-9));
  CHECK_THAT(profile[1], WithinAbs(-0.5, 1e-5));
  CHECK_THAT(profile[2], WithinAbs(0.0, 1e-9));
  CHECK_THAT(profile[3], WithinAbs(-0.5, 1e-5));
  // Theta moves along: the profile is above the section at the best theta.
  const double section =
      likelihood.evaluate(interval.upper, best.theta).value - best.log_likelihood;
  CHECK(section < -0.5);
  CHECK_THAT(likelihood.fit_at(interval.upper).log_likelihood - best.log_likelihood,
             WithinAbs(-0.5, 1e-5));
  // A fit that is not the best one is replaced.
  PawsFit worse = likelihood.fit(only_theta({-1.5}));
  slalom::paws_profile(likelihood, worse, {best.mu});
  CHECK_THAT(worse.log_likelihood, WithinAbs(best.log_likelihood, 1e-6));
  const auto scan = slalom::paws_scan(likelihood, best, {1, 0}, {{{0.2, 0.5}, {0.02, 0.03, 0.04}}});
  REQUIRE(scan.log_likelihood.size() == 6);
  CHECK_THAT(scan.log_likelihood[4],
             WithinAbs(likelihood.evaluate(0.03, {0.5}).value - best.log_likelihood, 1e-9));
  RandomStream other(5, 0);
  const Tensor y = events(1000, 0.1, {0.5, 0.0}, other);
  const PawsLikelihood plane({exact_ratio(k_plane)}, y);
  PawsOptions coarse;
  coarse.grid = 4;
  const PawsFit fit = plane.fit(coarse);
  const auto map = slalom::paws_scan(plane, fit, {1, 2}, {{{0.3, 0.6}, {-0.2, 0.2}}}, coarse);
  CHECK_THAT(map.log_likelihood[1],
             WithinAbs(plane.fraction({0.3, 0.2}).fit().log_likelihood - fit.log_likelihood, 1e-6));
  const auto one = slalom::paws_scan(plane, fit, {2, 0}, {{{0.2}, {0.1}}}, coarse);
  CHECK_THAT(
      one.log_likelihood[0],
      WithinAbs(plane.fit_at(0.1, only_theta({k_free, 0.2})).log_likelihood - fit.log_likelihood,
                1e-6));
}

TEST_CASE("toys of joint fits", "[modules][paws]") {
  slalom::PawsToyOptions options;
  options.n_toys = 60;
  options.seed = 6;
  const auto with = [](double mu) {
    return [mu](RandomStream& random) { return events(2000, mu, {0.5}, random); };
  };
  const auto toys = slalom::run_paws_toys({exact_ratio()}, with(0.05), options);
  REQUIRE(toys.size() == 60);
  double sum = 0.0, squares = 0.0;
  for (const PawsFit& toy : toys) {
    REQUIRE(toy.converged());
    const double pull = (toy.mu - 0.05) / toy.mu_error;
    sum += pull / 60.0;
    squares += pull * pull / 60.0;
  }
  CHECK(std::abs(sum) < 0.4);
  CHECK(std::abs(std::sqrt(squares - sum * sum) - 1.0) < 0.3);
  // Without a signal; the look-elsewhere effect is in them.
  const auto none = slalom::run_paws_toys({exact_ratio()}, with(0.0), options);
  CHECK(slalom::paws_p_value(none, 0.0).value == 1.0);
  CHECK(slalom::paws_p_value(none, 25.0).value == 0.0);
  CHECK(slalom::paws_p_value(none, 2.71).value < 0.3);
  // Threads do not matter.
  const int threads = at::get_num_threads();
  at::set_num_threads(threads == 1 ? 2 : 1);
  options.n_toys = 5;
  const auto again = slalom::run_paws_toys({exact_ratio()}, with(0.05), options);
  at::set_num_threads(threads);
  for (std::size_t i = 0; i < 5; ++i) CHECK(again[i].mu == toys[i].mu);
}

TEST_CASE("bootstrap of the data", "[modules][paws]") {
  RandomStream random(7, 0);
  const Tensor x = events(3000, 0.05, {0.5}, random);
  const PawsFit fit = slalom::fit_paws(exact_ratio(), x);
  slalom::PawsToyOptions options;
  options.n_toys = 100;
  const auto toys = slalom::run_paws_toys({exact_ratio()}, slalom::bootstrap_sampler(x), options);
  double sum = 0.0, squares = 0.0;
  for (const PawsFit& toy : toys) {
    sum += toy.mu / 100.0;
    squares += toy.mu * toy.mu / 100.0;
  }
  CHECK(std::abs(sum - fit.mu) < 0.4 * fit.mu_error);
  CHECK_THAT(std::sqrt(squares - sum * sum), WithinRel(fit.mu_error, 0.3));
}

TEST_CASE("a wrong ratio is corrected by simulation", "[modules][paws]") {
  // A slope of .97 and an offset of .1: biases of several standard deviations.
  const FunctionClassifier f(exact);
  ParameterisedRatio wrong(as_classifier(f.ptr()), k_box, 0);
  wrong->set_calibration(tensor({0.97}), tensor({0.1}));
  RandomStream random(9, 0);
  const Tensor x = events(40000, 0.1, {0.5}, random);
  const PawsFit right = slalom::fit_paws(exact_ratio(), x), fit = slalom::fit_paws(wrong, x);
  CHECK(std::abs(fit.mu - right.mu) > 0.7 * right.mu_error);
  const Tensor s = events(200000, 1.0, {fit.theta[0]}, random),
               b = events(400000, 0.0, {0.0}, random);
  const auto corrected = slalom::correct_paws({wrong}, fit, s, b);
  CHECK(std::abs(corrected.fit.mu - right.mu) < 0.6 * right.mu_error);
  CHECK(std::abs(corrected.fit.theta[0] - right.theta[0]) < 0.6 * right.theta_errors[0]);
  CHECK_THAT(corrected.fit.mu, WithinRel(fit.mu - corrected.shift[0], 1e-12));
  // Ten times the background: a twentieth more error or so.
  CHECK(corrected.fit.mu_error > fit.mu_error);
  CHECK(corrected.fit.mu_error < 1.15 * fit.mu_error);
  CHECK(corrected.fit.theta_errors[0] > fit.theta_errors[0]);
  // The sandwich of unweighted events is the inverse information.
  const PawsLikelihood likelihood({exact_ratio()}, x);
  CHECK_THAT(std::sqrt(likelihood.sandwich(right)[0]), WithinRel(right.mu_error, 0.05));
}

TEST_CASE("ratios divided by their means", "[modules][paws]") {
  const Tensor x = 4.0 * sequence(60).reshape({30, 2}), w = 0.5 + sequence(30, 0.3);
  const Tensor b = 4.0 * sequence(80, 0.4).reshape({40, 2}), v = 0.2 + sequence(40, 0.9);
  const std::vector<ParameterisedRatio> ratios{exact_ratio(k_plane), polynomial_ratio(k_plane, 1),
                                               disguised(polynomial_ratio(k_plane, 2))};
  const std::vector<double> theta{0.7, -0.4};
  const auto log_mean = [&](ParameterisedRatio ratio, const Tensor& at) {
    return at::logsumexp(ratio->log_ratio(b, at) + v.log(), {0}) - v.sum().log();
  };
  // Value and derivatives by the graph, of one ratio and of all.
  for (const double mu : {0.0, 1e-3, 0.3, 1.0}) {
    const Tensor at = tensor({mu, theta[0], theta[1]}).requires_grad_();
    Tensor value = at::zeros({}, at::kDouble);
    for (ParameterisedRatio ratio : ratios) {
      const Tensor l = ratio->log_ratio(x, at.slice(0, 1)) - log_mean(ratio, at.slice(0, 1));
      value = value + (w * slalom::mixture_log_ratio(l, at[0])).sum() / 3.0;
    }
    const auto found = PawsLikelihood(slalom::PawsRatios(ratios, b, v), x, w).evaluate(mu, theta);
    CAPTURE(mu);
    CHECK_THAT(found.value, WithinAbs(value.item<double>(), 1e-11));
    const Tensor g = slalom::gradient(value, at, true), h = slalom::hessian(value, at);
    const double size = 1.0 + h.abs().max().item<double>();
    CHECK(distance(tensor(found.gradient), g) < 1e-12 * size);
    CHECK(distance(tensor(found.hessian), h.reshape({-1})) < 1e-12 * size);
  }
  const slalom::PawsRatios one({ratios[1]}, b, v);
  CHECK(one.normalised());
  CHECK_THAT(one.log_mean(theta),
             WithinAbs(log_mean(ratios[1], tensor(theta)).item<double>(), 1e-13));
  const PawsLikelihood likelihood(one, x);
  CHECK_THAT(likelihood.fraction(theta).value(0.2),
             WithinAbs(likelihood.evaluate(0.2, theta).value, 1e-12));
  const slalom::PawsRatios plain{ratios[1]};
  CHECK_FALSE(plain.normalised());
  CHECK(plain.log_mean(theta) == 0.0);
  CHECK(plain.mean_error(theta) == 0.0);
  // The error of the mean, of weighted events.
  const Tensor
      share = v / v.sum(),
      r = (ParameterisedRatio(ratios[1])->log_ratio(b, tensor(theta)) - one.log_mean(theta)).exp();
  CHECK_THAT(one.mean_error(theta),
             WithinRel((share * (r - 1.0)).square().sum().sqrt().item<double>(), 1e-12));
}

TEST_CASE("a wrong ratio makes no signal once it is divided by its mean", "[modules][paws]") {
  const auto shape = [](const Tensor& x, const Tensor& theta) {
    return 0.8 * exact(x, theta) + 0.3 * (3.0 * x.select(1, 0)).sin() + 0.5;
  };
  const FunctionClassifier f(shape);
  const ParameterisedRatio wrong(as_classifier(f.ptr()), k_near, 0);
  RandomStream random(21, 0);
  const slalom::PawsRatios ratios({wrong}, events(400000, 0.0, {0.0}, random));
  double found = 0.0;
  for (int toy = 0; toy < 10; ++toy) {
    const Tensor x = events(20000, 0.0, {0.0}, random);
    CHECK(slalom::fit_paws(wrong, x).q0 > 50.0);
    const PawsFit fit = PawsLikelihood(ratios, x).fit();
    REQUIRE(fit.converged());
    found += fit.q0 > 2.71 ? 1.0 : 0.0;
    CHECK(fit.q0 < 12.0);
  }
  CHECK(found <= 4.0);
  // An offset means nothing any more.
  ParameterisedRatio shifted(as_classifier(f.ptr()), k_near, 0);
  shifted->set_calibration(tensor({1.0}), tensor({3.0}));
  const Tensor b = events(30000, 0.0, {0.0}, random), x = events(5000, 0.05, {1.0}, random);
  CHECK_THAT(PawsLikelihood(slalom::PawsRatios({shifted}, b), x).fit().mu,
             WithinRel(PawsLikelihood(slalom::PawsRatios({wrong}, b), x).fit().mu, 1e-7));
}

TEST_CASE("the variance of the background behind a mean", "[modules][paws]") {
  // One data set, many background samples: the scatter of the fits is what the errors say.
  const ParameterisedRatio ratio = exact_ratio({{"mean", 1.0, 3.5}});
  RandomStream random(22, 0);
  constexpr std::int64_t k_events = 20000;
  const auto background = [&](std::int64_t n) { return events(n, 0.0, {0.0}, random); };
  const Tensor x = events(k_events, 0.2, {2.5}, random);
  constexpr int k_samples = 60;
  double sum[2] = {}, squares[2] = {}, expected[2] = {};
  PawsFit fit;
  for (int i = 0; i < k_samples; ++i) {
    fit = PawsLikelihood(slalom::PawsRatios({ratio}, background(k_events)), x).fit();
    REQUIRE(fit.converged());
    REQUIRE(fit.reference_covariance.size() == 4);
    const double at[2] = {fit.mu, fit.theta[0]};
    for (std::size_t k = 0; k < 2; ++k) {
      sum[k] += at[k] / k_samples;
      squares[k] += at[k] * at[k] / k_samples;
      expected[k] += fit.reference_covariance[3 * k] / k_samples;
    }
  }
  // 60 samples: 9 % of a width.
  for (std::size_t k = 0; k < 2; ++k) {
    CHECK_THAT(std::sqrt(squares[k] - sum[k] * sum[k]), WithinRel(std::sqrt(expected[k]), 0.3));
  }
  CHECK_THAT(fit.reference_share,
             WithinRel(fit.reference_covariance[0] / (fit.mu_error * fit.mu_error), 1e-12));
  CHECK_THAT(fit.mu_error * fit.mu_error,
             WithinRel(fit.covariance[0] + fit.reference_covariance[0], 1e-12));
  CHECK_THAT(fit.z, WithinRel(std::sqrt(fit.q0 * (1.0 - fit.reference_share)), 1e-12));
  // An interval knows it as well.
  const PawsLikelihood likelihood(slalom::PawsRatios({ratio}, background(k_events)), x);
  fit = likelihood.fit();
  const auto interval = slalom::paws_interval(likelihood, fit);
  CHECK_THAT(0.5 * (interval.upper - interval.lower), WithinRel(fit.mu_error, 0.1));
  // Points of a quadrature have no statistics.
  const slalom::PawsRatios few({ratio}, background(k_events / 4)),
      integral({ratio}, background(500), {}, slalom::PawsBackground::quadrature);
  CHECK(integral.mean_error({2.0}) == 0.0);
  CHECK(PawsLikelihood(integral, x).fit().reference_covariance.empty());
  // Without a signal, m events for n of data add n / m to the variance.
  const Tensor none = events(k_events, 0.001, {3.0}, random);
  const double part = PawsLikelihood(slalom::PawsRatios({ratio}, background(4 * k_events)), none)
                          .fit(only_theta({3.0}))
                          .reference_share;
  CHECK_THAT(part, WithinAbs(0.2, 0.06));
  // A correction by simulation has it in both fits, where it cancels.
  const PawsFit moved = PawsLikelihood(few, x).fit(), exact_fit = slalom::fit_paws(ratio, x);
  const auto corrected = slalom::correct_paws(
      few, moved, events(200000, 1.0, {moved.theta[0]}, random), background(400000));
  CHECK(corrected.fit.reference_covariance.empty());
  CHECK(corrected.fit.mu_error < moved.mu_error);
  CHECK(std::abs(corrected.fit.mu - exact_fit.mu) < 0.6 * exact_fit.mu_error);
}

TEST_CASE("weakly supervised fits", "[modules][paws]") {
  RandomStream random(8, 0);
  const Tensor x = events(20000, 0.03, {0.5}, random), b = events(60000, 0.0, {0.5}, random);
  const PawsFit full = slalom::fit_paws(exact_ratio(), x);
  const PawsFit weak = slalom::fit_paws_weakly(exact_ratio(), x, b);
  REQUIRE(weak.converged());
  CHECK(std::abs(weak.mu - full.mu) < 2.0 * full.mu_error);
  // Strong events of signal count less there: theta is about three times less precise.
  CHECK(std::abs(weak.theta[0] - 0.5) < 6.0 * full.theta_errors[0]);
  CHECK(weak.mu_error == 0.0);
  // It is the minimum of that loss.
  const auto loss = [&](double mu, double theta) {
    ParameterisedRatio ratio = exact_ratio();
    return slalom::weak_cross_entropy(ratio->log_ratio(x, tensor({theta})),
                                      ratio->log_ratio(b, tensor({theta})), tensor({mu})[0])
        .item<double>();
  };
  const double best = loss(weak.mu, weak.theta[0]);
  CHECK(loss(weak.mu * 1.02, weak.theta[0]) > best);
  CHECK(loss(weak.mu * 0.98, weak.theta[0]) > best);
  CHECK(loss(weak.mu, weak.theta[0] + 0.02) > best);
  CHECK(loss(weak.mu, weak.theta[0] - 0.02) > best);
}

TEST_CASE("fits that make no sense are refused", "[modules][paws]") {
  const Tensor x = sequence(4).reshape({4, 1});
  check_fails(ErrorKind::usage, "paws", "events [n, columns]",
              [&] { PawsLikelihood({exact_ratio()}, sequence(4)); });
  check_fails(ErrorKind::usage, "paws", "at least one ratio", [&] { PawsLikelihood({}, x); });
  check_fails(ErrorKind::usage, "paws", "one weight per event",
              [&] { PawsLikelihood({exact_ratio()}, x, sequence(3)); });
  check_fails(ErrorKind::usage, "paws", "events [n, columns]",
              [&] { slalom::PawsRatios({exact_ratio()}, sequence(3)); });
  check_fails(ErrorKind::usage, "paws", "a positive sum of weights",
              [&] { slalom::PawsRatios({exact_ratio()}, x, at::zeros({4}, at::kDouble)); });
  check_fails(ErrorKind::usage, "paws", "the same parameters", [&] {
    PawsLikelihood({exact_ratio(), exact_ratio({{"other", 0.0, 1.0}})}, x);
  });
  const PawsLikelihood likelihood({exact_ratio()}, x);
  PawsOptions options;
  options.lower = {1.0, 2.0};
  check_fails(ErrorKind::usage, "paws", "lower bounds of 1 parameters expected, found 2",
              [&] { likelihood.fit(options); });
  options = {};
  options.upper = {-3.0};
  check_fails(ErrorKind::usage, "paws", "empty range of parameter 'mean'",
              [&] { likelihood.fit(options); });
  check_fails(ErrorKind::usage, "paws", "held outside", [&] { likelihood.fit(only_theta({5.0})); });
  options = {};
  options.mu_upper = 2.0;
  check_fails(ErrorKind::usage, "paws", "largest fraction", [&] { likelihood.fit(options); });
  check_fails(ErrorKind::usage, "paws", "theta of another length", [&] {
    likelihood.evaluate(0.1, {1.0, 2.0});
  });
  check_fails(ErrorKind::usage, "paws", "two different axes", [&] {
    slalom::paws_scan(likelihood, likelihood.fit(), {1, 1}, {{{0.0}, {0.0}}});
  });
  Tensor bad = x.clone();
  bad[2][0] = NAN;
  check_fails(ErrorKind::numerical, "signal_fraction", "event 2",
              [&] { PawsLikelihood({exact_ratio()}, bad).fit(); });
  PawsFit none;
  check_fails(ErrorKind::usage, "paws", "has converged",
              [&] { slalom::paws_interval(likelihood, none); });
}
