// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "slalom/core/error.hpp"
#include "slalom/core/random.hpp"
#include "slalom/core/template_mixture.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::ErrorKind;
using slalom::exponential_mixture;
using slalom::Interval;
using slalom::kappa_posterior;
using slalom::KappaPosterior;
using slalom::linear_mixture;
using slalom::MixtureFit;
using slalom::MixtureFitOptions;
using slalom::MixtureProcess;
using slalom::pull_test;
using slalom::PullTest;
using slalom::RandomStream;
using slalom::ridge_prior;
using slalom::ShapePrior;
using slalom::TemplateMixture;
using slalom::test::check_fails;

namespace {

constexpr std::size_t k_points = 40;

double centre(std::size_t i) { return -2.0 + 4.0 * (static_cast<double>(i) + 0.5) / k_points; }

std::vector<double> measure() { return std::vector<double>(k_points, 4.0 / k_points); }

/// log of Gaussians with these means and widths, not normalised in the window.
std::vector<double> log_gaussians(const std::vector<std::pair<double, double>>& shapes) {
  std::vector<double> result;
  for (auto [mean, width] : shapes) {
    for (std::size_t i = 0; i < k_points; ++i) {
      const double t = (centre(i) - mean) / width;
      result.push_back(-0.5 * t * t);
    }
  }
  return result;
}

/// The same as densities.
std::vector<double> gaussians(const std::vector<std::pair<double, double>>& shapes) {
  std::vector<double> result = log_gaussians(shapes);
  for (std::size_t k = 0; k < shapes.size(); ++k) {
    double sum = 0.0;
    for (std::size_t i = 0; i < k_points; ++i) {
      double& x = result[k * k_points + i];
      x = std::exp(x);
      sum += x * 4.0 / k_points;
    }
    for (std::size_t i = 0; i < k_points; ++i) result[k * k_points + i] /= sum;
  }
  return result;
}

const std::vector<std::pair<double, double>> k_signal = {{-0.1, 0.5}, {0.2, 0.6}, {0.05, 0.45}};
const std::vector<std::pair<double, double>> k_background = {{0.8, 1.5}, {1.2, 1.8}, {1.0, 1.4}};

/// Expected counts of a fraction of `signal` in `background`.
std::vector<double> expected(double events, double fraction, const std::vector<double>& signal,
                             const std::vector<double>& background) {
  std::vector<double> n;
  for (std::size_t i = 0; i < k_points; ++i) {
    n.push_back(events * 4.0 / k_points *
                (fraction * signal[i] + (1.0 - fraction) * background[i]));
  }
  return n;
}

std::vector<double> some_data() {
  std::vector<double> n = expected(5000.0, 0.2, gaussians({{0.05, 0.55}}), gaussians({{1.1, 1.6}}));
  RandomStream random(3, 0);
  for (double& x : n) x = random.poisson(x);
  return n;
}

/// Gradient and Hessian against central differences of value and gradient, to `tolerance` of the
/// largest element.
void check_derivatives(const TemplateMixture& m, const std::vector<double>& x,
                       double tolerance = 1e-7) {
  const std::size_t n = m.size();
  std::vector<double> g(n), h(n * n), unused(n * n), up(n), down(n);
  const double value = m.nll(x, g, h);
  CHECK_THAT(m.nll(x), WithinRel(value, 1e-13));
  double largest_g = 1.0, largest_h = 1.0;
  for (double v : g) largest_g = std::max(largest_g, std::abs(v));
  for (double v : h) largest_h = std::max(largest_h, std::abs(v));
  for (std::size_t i = 0; i < n; ++i) {
    const double step = 1e-5;
    std::vector<double> a = x, b = x;
    a[i] += step;
    b[i] -= step;
    const double slope = (m.nll(a, up) - m.nll(b, down)) / (2.0 * step);
    INFO("parameter " << i);
    CHECK_THAT(g[i], WithinAbs(slope, tolerance * largest_g));
    for (std::size_t j = 0; j < n; ++j) {
      INFO("and " << j);
      CHECK_THAT(h[i * n + j], WithinAbs((up[j] - down[j]) / (2.0 * step), tolerance * largest_h));
      CHECK_THAT(h[i * n + j], WithinAbs(h[j * n + i], 1e-11 * largest_h));
    }
  }
}

}  // namespace

TEST_CASE("derivatives of exponential mixtures", "[core][template_mixture]") {
  TemplateMixture m(exponential_mixture(log_gaussians(k_signal), 3),
                    exponential_mixture(log_gaussians(k_background), 3), measure(),
                    {ridge_prior(1, 3), ridge_prior(3, 3, 2.0)});
  m.set_data(some_data());
  check_derivatives(m, m.start(0.2));
  check_derivatives(m, {0.4, 1.2, -0.7, -0.3, 2.1});
  check_derivatives(m, {-0.02, 0.3, 0.3, 0.3, 0.3});
}

TEST_CASE("derivatives of linear mixtures and mixed ones", "[core][template_mixture]") {
  TemplateMixture linear(linear_mixture(gaussians(k_signal), 3),
                         linear_mixture(gaussians(k_background), 3, 2.5), measure());
  linear.set_data(some_data());
  check_derivatives(linear, {0.2, 0.5, 0.3, 0.2, 0.2, 0.2, 0.6});
  check_derivatives(linear, {0.7, 0.2, 0.3, 0.2, 0.9, 0.1, 0.3});

  TemplateMixture mixed(linear_mixture(gaussians(k_signal), 3),
                        exponential_mixture(log_gaussians(k_background), 3), measure(),
                        {ridge_prior(4, 3)});
  mixed.set_data(some_data());
  check_derivatives(mixed, {0.2, 0.5, 0.3, 0.2, 0.2, -0.4});
}

TEST_CASE("derivatives of Student's t", "[core][template_mixture]") {
  ShapePrior t;
  t.mean = {0.1, -0.2, 0.3, 0.4};
  t.precision = {40, 3, 2, 1, 3, 30, 5, 4, 2, 5, 20, 6, 1, 4, 6, 10};
  t.degrees = 3.0;
  TemplateMixture m(exponential_mixture(log_gaussians(k_signal), 3),
                    exponential_mixture(log_gaussians(k_background), 3), measure(), {t});
  // Without data, the prior alone: 1.5 (degrees + M) ... by hand.
  const std::vector<double> x = {0.3, 0.6, -0.2, 0.3, 0.4};
  CHECK_THAT(m.nll(x), WithinRel(3.5 * std::log(1.0 + 40 * 0.25 / 3.0), 1e-13));
  check_derivatives(m, x);
  check_derivatives(m, {0.3, 0.9, 0.5, -0.8, 1.4});
}

TEST_CASE("an exponential mixture contains all Gaussians", "[core][template_mixture]") {
  // Two natural parameters: three Gaussians with weights that sum to one reach any other one.
  TemplateMixture m(exponential_mixture(log_gaussians(k_signal), 3),
                    exponential_mixture(log_gaussians(k_background), 3), measure());
  const std::vector<double> s = gaussians({{0.1, 0.52}}), b = gaussians({{0.9, 1.55}});
  m.set_data(expected(1e5, 0.3, s, b));
  const MixtureFit best = fit(m);
  INFO(best.message);
  REQUIRE(best.converged());
  CHECK_THAT(best.kappa(), WithinAbs(0.3, 1e-6));
  for (std::size_t c = 0; c < 2; ++c) {
    const std::vector<double> found = m.density(c, best.parameters);
    for (std::size_t i = 0; i < k_points; ++i) {
      CHECK_THAT(found[i], WithinAbs((c == 0 ? s : b)[i], 1e-5));
    }
  }
  CHECK(best.laplace_error() > 0.0);
}

TEST_CASE("densities are normalised, and scales of log densities do not matter",
          "[core][template_mixture]") {
  std::vector<double> logs = log_gaussians(k_signal);
  const TemplateMixture m(exponential_mixture(logs, 3), linear_mixture(gaussians(k_background), 3),
                          measure());
  for (std::size_t i = 0; i < k_points; ++i) logs[i] += 700.0;
  const TemplateMixture shifted(exponential_mixture(logs, 3),
                                linear_mixture(gaussians(k_background), 3), measure());
  const std::vector<double> x = {0.1, 3.0, -1.5, 0.2, 0.1, 0.4};
  for (std::size_t c = 0; c < 2; ++c) {
    const std::vector<double> p = m.density(c, x), other = shifted.density(c, x);
    CHECK_THAT(std::accumulate(p.begin(), p.end(), 0.0) * 4.0 / k_points, WithinRel(1.0, 1e-12));
    for (std::size_t i = 0; i < k_points; ++i) CHECK_THAT(other[i], WithinRel(p[i], 1e-10));
  }
}

TEST_CASE("known shapes: the errors are those of a fraction", "[core][template_mixture]") {
  const std::vector<double> s = gaussians({k_signal[0]}), b = gaussians({k_background[0]});
  TemplateMixture m(exponential_mixture(log_gaussians({k_signal[0]}), 1),
                    exponential_mixture(log_gaussians({k_background[0]}), 1), measure());
  REQUIRE(m.size() == 1);
  m.set_data(expected(2e4, 0.25, s, b));
  const MixtureFit best = fit(m);
  REQUIRE(best.converged());
  CHECK_THAT(best.kappa(), WithinAbs(0.25, 1e-7));
  double information = 0.0;
  for (std::size_t i = 0; i < k_points; ++i) {
    information +=
        2e4 * 4.0 / k_points * (s[i] - b[i]) * (s[i] - b[i]) / (0.25 * s[i] + 0.75 * b[i]);
  }
  CHECK_THAT(best.laplace_error(), WithinRel(1.0 / std::sqrt(information), 1e-6));
  // The model is right, so that the sandwich agrees.
  CHECK_THAT(best.sandwich_error(), WithinRel(best.laplace_error(), 1e-6));
}

TEST_CASE("events with a quadrature agree with bins", "[core][template_mixture]") {
  // The events of a bin at its centre: the same sums, once as counts and once as points.
  const std::vector<double> n = some_data();
  TemplateMixture binned(exponential_mixture(log_gaussians(k_signal), 3),
                         exponential_mixture(log_gaussians(k_background), 3), measure(),
                         {ridge_prior(1, 3), ridge_prior(3, 3)});
  binned.set_data(n);
  const auto with_events = [&](const std::vector<double>& logs) {
    std::vector<double> result;
    for (std::size_t k = 0; k < 3; ++k) {
      const auto at = logs.begin() + static_cast<std::ptrdiff_t>(k * k_points);
      for (std::size_t i = 0; i < k_points; ++i) {
        result.insert(result.end(), static_cast<std::size_t>(n[i]), at[static_cast<long>(i)]);
      }
      result.insert(result.end(), at, at + k_points);
    }
    return result;
  };
  const std::size_t events = static_cast<std::size_t>(std::accumulate(n.begin(), n.end(), 0.0));
  std::vector<double> q(events, 0.0), counts(events, 1.0);
  q.insert(q.end(), k_points, 4.0 / k_points);
  counts.insert(counts.end(), k_points, 0.0);
  TemplateMixture unbinned(exponential_mixture(with_events(log_gaussians(k_signal)), 3),
                           exponential_mixture(with_events(log_gaussians(k_background)), 3), q,
                           {ridge_prior(1, 3), ridge_prior(3, 3)});
  unbinned.set_data(counts);
  const MixtureFit a = fit(binned), b = fit(unbinned);
  REQUIRE(a.converged());
  REQUIRE(b.converged());
  CHECK_THAT(b.nll, WithinRel(a.nll, 1e-11));
  CHECK_THAT(b.kappa(), WithinAbs(a.kappa(), 1e-7));
  CHECK_THAT(b.laplace_error(), WithinRel(a.laplace_error(), 1e-5));
  CHECK_THAT(b.sandwich_error(), WithinRel(a.sandwich_error(), 1e-5));
}

TEST_CASE("linear mixtures stop at the edge of the simplex", "[core][template_mixture]") {
  const std::vector<double> s = gaussians(k_signal), b = gaussians(k_background);
  TemplateMixture m(linear_mixture(s, 3), linear_mixture(b, 3), measure());
  // The truth is a corner for the signal and an edge for the background.
  const std::vector<double> truth = {0.3, 1.0, 0.0, 0.0, 0.6, 0.4, 0.0};
  m.set_data(expected(1e6, 0.3, m.density(0, truth), m.density(1, truth)));
  const MixtureFit best = fit(m);
  INFO(best.message);
  REQUIRE(best.converged());
  for (std::size_t i = 0; i < truth.size(); ++i) {
    INFO(i);
    CHECK_THAT(best.parameters[i], WithinAbs(truth[i], 2e-3));
  }
  CHECK_THAT(best.parameters[1] + best.parameters[2] + best.parameters[3], WithinAbs(1.0, 1e-6));
  // A concentration above 1 keeps away from the edge.
  TemplateMixture inside(linear_mixture(s, 3, 3.0), linear_mixture(b, 3, 3.0), measure());
  inside.set_data(m.data());
  const MixtureFit kept = fit(inside);
  REQUIRE(kept.converged());
  for (std::size_t i = 1; i < truth.size(); ++i) CHECK(kept.parameters[i] > 1e-7);
}

TEST_CASE("profile, Laplace and marginal agree where -log L is a parabola",
          "[core][template_mixture]") {
  TemplateMixture m(exponential_mixture(log_gaussians(k_signal), 3),
                    exponential_mixture(log_gaussians(k_background), 3), measure(),
                    {ridge_prior(1, 3, 20.0), ridge_prior(3, 3, 20.0)});
  std::vector<double> n = expected(1e6, 0.2, gaussians({{0.02, 0.52}}), gaussians({{1.02, 1.55}}));
  m.set_data(n);
  const MixtureFit best = fit(m);
  REQUIRE(best.converged());
  const double sigma = best.laplace_error();
  const Interval profile = profile_interval(m, best);
  REQUIRE(profile.lower.converged);
  REQUIRE(profile.upper.converged);
  CHECK_THAT(0.5 * (profile.upper.value - profile.lower.value), WithinRel(sigma, 0.02));
  // The ends are where the profile has risen by 1.
  MixtureFitOptions held;
  held.hold_kappa = true;
  held.init = best.parameters;
  held.init[0] = profile.upper.value;
  CHECK_THAT(2.0 * (fit(m, held).nll - best.nll), WithinAbs(1.0, 1e-4));
  const KappaPosterior posterior = kappa_posterior(m, best);
  CHECK_THAT(posterior.sigma, WithinRel(sigma, 0.03));
  CHECK_THAT(posterior.mean, WithinAbs(best.kappa(), 0.2 * sigma));
  const Interval central = posterior.central();
  CHECK_THAT(posterior.median(), WithinAbs(posterior.central(1e-9).lower.value, 1e-9));
  CHECK(posterior.median() > central.lower.value);
  CHECK(posterior.median() < central.upper.value);
  check_fails(ErrorKind::usage, "median", "no density", [] { KappaPosterior{}.median(); });
  CHECK_THAT(0.5 * (central.upper.value - central.lower.value), WithinRel(sigma, 0.04));
  // Bounds end both.
  MixtureFitOptions bounded;
  bounded.kappa_low = best.kappa() - 0.5 * sigma;
  const Interval cut = profile_interval(m, best, bounded);
  CHECK(cut.lower.at_bound);
  CHECK_THAT(cut.lower.value, WithinAbs(bounded.kappa_low, 1e-12));
  // A best fit at a bound has no error, but a posterior: half of a Gaussian.
  bounded.kappa_low = best.kappa() + 0.001 * sigma;
  const MixtureFit pressed = fit(m, bounded);
  REQUIRE(pressed.converged());
  CHECK(pressed.at_bound[0]);
  CHECK(pressed.laplace_error() == 0.0);
  const KappaPosterior half = kappa_posterior(m, pressed, bounded);
  CHECK_THAT(half.mean - best.kappa(), WithinAbs(0.798 * sigma, 0.06 * sigma));
}

TEST_CASE("fitted pulls have the scatter that the prior predicts", "[core][template_mixture]") {
  // Truths drawn from the prior: chi2 is distributed as it says; twice as far away it is not.
  ShapePrior prior;
  prior.mean = {1.0 / 3, 1.0 / 3, 1.0 / 3, 1.0 / 3};
  prior.precision.assign(16, 0.0);
  const double width = 0.25;
  for (std::size_t i = 0; i < 4; ++i) prior.precision[i * 5] = 1.0 / (width * width);
  TemplateMixture m(exponential_mixture(log_gaussians(k_signal), 3),
                    exponential_mixture(log_gaussians(k_background), 3), measure(), {prior});
  const std::size_t toys = 300;
  const auto rejected = [&](double scale, double& mean) {
    std::size_t count = 0;
    double sum = 0.0;
    for (std::size_t t = 0; t < toys; ++t) {
      RandomStream random(17, t);
      std::vector<double> x = m.start(0.2);
      for (std::size_t i = 1; i < 5; ++i) x[i] += scale * width * random.normal();
      std::vector<double> n = expected(2e4, 0.2, m.density(0, x), m.density(1, x));
      for (double& c : n) c = random.poisson(c);
      m.set_data(n);
      const MixtureFit best = fit(m);
      REQUIRE(best.converged());
      const PullTest test = pull_test(m, best);
      REQUIRE(test.degrees >= 2);
      CHECK(test.chi2 >= test.chi2_prior * (1.0 - 1e-12) * (test.degrees == 4 ? 1.0 : 0.0));
      sum += test.chi2 / static_cast<double>(test.degrees);
      if (test.p_value < 0.05) ++count;
    }
    mean = sum / toys;
    return static_cast<double>(count) / toys;
  };
  double mean = 0.0;
  const double nominal = rejected(1.0, mean);
  CHECK_THAT(mean, WithinAbs(1.0, 0.15));
  CHECK(nominal > 0.01);
  CHECK(nominal < 0.10);
  const double outside = rejected(2.0, mean);
  CHECK(outside > 0.3);
}

TEST_CASE("mixtures that make no sense are refused", "[core][template_mixture]") {
  const MixtureProcess s = exponential_mixture(log_gaussians(k_signal), 3);
  const MixtureProcess b = linear_mixture(gaussians(k_background), 3);
  const auto make = [&](MixtureProcess signal, MixtureProcess background) {
    return [=] { TemplateMixture(signal, background, measure()); };
  };
  MixtureProcess bad = s;
  bad.base.pop_back();
  check_fails(ErrorKind::model, "signal", "base has 39", make(bad, b));
  bad = s;
  bad.columns[3] = std::numeric_limits<double>::quiet_NaN();
  check_fails(ErrorKind::model, "signal", "element 3", make(bad, b));
  bad = b;
  bad.columns[5] = -1.0;
  check_fails(ErrorKind::model, "background", "element 5", make(s, bad));
  bad = b;
  bad.concentration = 0.5;
  check_fails(ErrorKind::model, "background", "below 1", make(s, bad));
  check_fails(ErrorKind::model, "exponential mixture", "7 numbers",
              [] { exponential_mixture(std::vector<double>(7), 2); });
  check_fails(ErrorKind::model, "ridge", "two", [] { ridge_prior(1, 1); });

  TemplateMixture m(s, b, measure());
  ShapePrior prior = ridge_prior(4, 4);
  check_fails(ErrorKind::model, "prior 0", "fit into 6", [&] { m.set_priors({prior}); });
  prior = ridge_prior(1, 3);
  prior.precision[1] = 7.0;
  check_fails(ErrorKind::model, "prior 1", "symmetric", [&] {
    m.set_priors({ridge_prior(1, 3), prior});
  });
  prior.precision = {1.0, 2.0, 2.0, 1.0};
  check_fails(ErrorKind::model, "prior 0", "negative", [&] { m.set_priors({prior}); });
  check_fails(ErrorKind::model, "data", "3 numbers", [&] { m.set_data({1, 2, 3}); });
  std::vector<double> n(k_points, 1.0);
  n[7] = -1.0;
  check_fails(ErrorKind::model, "data", "element 7", [&] { m.set_data(n); });
  MixtureFitOptions o;
  o.kappa_low = 2.0;
  check_fails(ErrorKind::model, "kappa", "rising", [&] { fit(m, o); });
  check_fails(ErrorKind::usage, "template mixture", "3 numbers", [&] {
    m.nll(std::vector<double>{1, 2, 3});
  });
}

TEST_CASE("data where there is no density", "[core][template_mixture]") {
  std::vector<double> s = gaussians({k_signal[0]}), b = gaussians({k_background[0]});
  s[0] = b[0] = 0.0;
  TemplateMixture m(linear_mixture(s, 1), linear_mixture(b, 1), measure());
  std::vector<double> n(k_points, 10.0);
  n[0] = 0.0;
  m.set_data(n);
  CHECK(fit(m).converged());
  n[0] = 1.0;
  m.set_data(n);
  CHECK(std::isinf(m.nll(m.start())));
  CHECK(fit(m).status == slalom::FitStatus::infeasible);
}
