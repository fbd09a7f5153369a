// SPDX-License-Identifier: Apache-2.0
// The linear summary against histograms, a Gaussian model and finite differences.
#include "slalom/modules/torch.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <cmath>
#include <numbers>
#include <vector>

#include "slalom/core/random.hpp"
#include "slalom/modules/autodiff.hpp"
#include "slalom/modules/linear_summary.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using at::Tensor;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

namespace {

/// 50 signal events at x = 1 and 1000 of background at x = 0, unit widths, on a grid; the
/// parameters are the signal strength, the background's position and its rate.
struct Gaussians {
  Tensor x, weights, slopes;
  Tensor prior = at::zeros({3}, at::kDouble);

  explicit Gaussians(std::int64_t n = 4001) : x(at::linspace(-9.0, 10.0, n, at::kDouble)) {
    const double step = 19.0 / static_cast<double>(n - 1);
    const auto density = [&](double mean) {
      return step / std::sqrt(2.0 * std::numbers::pi) * at::exp(-0.5 * (x - mean) * (x - mean));
    };
    const Tensor s = 50.0 * density(1.0), b = 1000.0 * density(0.0);
    weights = s + b;
    slopes = at::stack({s, b * x, 0.1 * b});
    prior[1] = 4.0;
    prior[2] = 1.0;
  }
  /// The information of all events, from the densities.
  Tensor unbinned() const {
    return (slopes / weights).matmul(slopes.t()) +
           slalom::linear_information(
               {at::ones({1, 1}, at::kDouble), at::zeros({3, 1}, at::kDouble)}, prior);
  }
};

double sigma_of(const Tensor& information) {
  return std::exp(slalom::log_uncertainty(information).item<double>());
}

}  // namespace

TEST_CASE("indicators of bins have the information of the histogram", "[modules][linear_summary]") {
  const Gaussians g;
  Tensor edges = at::zeros({3}, at::kDouble);
  edges[0] = -0.5;
  edges[1] = 0.3;
  edges[2] = 1.7;
  std::vector<Tensor> columns;  // the last bin follows from the constant
  for (int b = 0; b < 3; ++b) {
    Tensor inside = g.x < edges[b];
    if (b > 0) inside = inside.logical_and(g.x >= edges[b - 1]);
    columns.push_back(inside.to(at::kDouble));
  }
  const Tensor found = slalom::linear_information(
      slalom::linear_moments(at::stack(columns, 1), g.weights, g.slopes), g.prior, 0.0);
  const Tensor expected = slalom::binned_information(g.x, g.weights, g.slopes, g.prior, edges);
  CHECK((found - expected).abs().max().item<double>() <
        1e-11 * expected.abs().max().item<double>());
}

TEST_CASE("score functions have all information, and the efficient score is exact",
          "[modules][linear_summary]") {
  const Gaussians g;
  // t = d log nu / d theta spans the scores of all parameters.
  const Tensor t = (g.slopes / g.weights).t();
  const auto moments = slalom::linear_moments(t, g.weights, g.slopes);
  // Two of them make up the constant, so that C needs its ridge.
  const double ridge = 1e-12;
  const Tensor information = slalom::linear_information(moments, g.prior, ridge);
  const Tensor unbinned = g.unbinned();
  CHECK((information - unbinned).abs().max().item<double>() <
        1e-9 * unbinned.abs().max().item<double>());
  const Tensor c = slalom::efficient_score_coefficients(moments, g.prior, 0, ridge);
  const Tensor score = slalom::efficient_score(t, c);
  // The score alone, in fine bins, has the same uncertainty of the parameter of interest.
  slalom::EdgeOptions options{.bins = 40, .min_effective = 0.0};
  const Tensor edges = slalom::find_edges(score, g.weights, g.slopes, g.prior, options);
  CHECK(edges.size(0) == 39);
  const Tensor binned = slalom::binned_information(score, g.weights, g.slopes, g.prior, edges);
  CHECK_THAT(sigma_of(binned), WithinRel(sigma_of(unbinned), 2e-3));
  CHECK(sigma_of(binned) > sigma_of(unbinned));
  // Any other summary has less.
  CHECK(sigma_of(slalom::linear_information(slalom::linear_moments(g.x, g.weights, g.slopes),
                                            g.prior)) > sigma_of(unbinned));
}

TEST_CASE("a Gaussian of known position has the information of its events",
          "[modules][linear_summary]") {
  // nu = N gauss(x - theta): t = x, C = N, D = N, I = N + prior.
  const Tensor x = at::linspace(-10.0, 10.0, 2001, at::kDouble);
  const Tensor nu = 0.01 * 400.0 / std::sqrt(2.0 * std::numbers::pi) * at::exp(-0.5 * x * x);
  const Tensor prior = at::ones({1}, at::kDouble) * 9.0;
  const Tensor information =
      slalom::linear_information(slalom::linear_moments(x, nu, (nu * x).unsqueeze(0)), prior, 0.0);
  CHECK_THAT(information.item<double>(), WithinRel(409.0, 1e-10));
  CHECK_THAT(sigma_of(information), WithinRel(1.0 / std::sqrt(409.0), 1e-10));
  // Copies shifted by +-h in the place of slopes: the same to order h^2, here exactly.
  const double h = 0.1;
  const Tensor none = at::zeros_like(nu);
  const Tensor outputs = at::cat({x, x + h, x - h}), weights = at::cat({nu, none, none}),
               slopes = at::cat({none, nu / (2.0 * h), -nu / (2.0 * h)}).unsqueeze(0);
  CHECK_THAT(
      slalom::linear_information(slalom::linear_moments(outputs, weights, slopes), prior, 0.0)
          .item<double>(),
      WithinRel(409.0, 1e-10));
}

TEST_CASE("the gradient of the linear loss is that of finite differences",
          "[modules][linear_summary]") {
  const Gaussians g(201);
  Tensor phi = at::linspace(-1.0, 1.2, 6, at::kDouble).reshape({2, 3}).requires_grad_(true);
  const auto loss = [&](const Tensor& w) {
    const Tensor features = at::stack({g.x, at::cos(g.x), at::ones_like(g.x)}, 1);
    const Tensor t = at::tanh(features.matmul(w.t()));
    return slalom::log_uncertainty(
        slalom::linear_information(slalom::linear_moments(t, g.weights, g.slopes), g.prior));
  };
  const Tensor found = slalom::gradient(loss(phi), phi).reshape({-1});
  for (std::int64_t i = 0; i < 6; ++i) {
    const auto at = [&](double step) {
      Tensor moved = phi.detach().clone();
      moved.reshape({-1})[i] += step;
      return loss(moved).item<double>();
    };
    const double h = 1e-3;
    const double expected = (8.0 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12.0 * h);
    CHECK_THAT(found[i].item<double>(), WithinAbs(expected, 1e-9));
  }
}

TEST_CASE("edges are a minimum along every edge", "[modules][linear_summary]") {
  const Gaussians g(1201);
  const slalom::EdgeOptions options{.bins = 4, .candidates = 0, .min_effective = 0.0};
  const Tensor edges = slalom::find_edges(g.x, g.weights, g.slopes, g.prior, options);
  const auto variance = [&](const Tensor& e) {
    return sigma_of(slalom::binned_information(g.x, g.weights, g.slopes, g.prior, e));
  };
  const double best = variance(edges);
  const Tensor even = at::linspace(-0.7, 0.8, 3, at::kDouble);
  CHECK(best < variance(even));
  for (std::int64_t j = 0; j < 3; ++j) {
    for (const double step : {-0.4, -0.05, -0.02, 0.02, 0.05, 0.4}) {
      Tensor moved = edges.clone();
      moved[j] += step;
      CHECK(variance(moved) >= best * (1.0 - 1e-12));
    }
  }
}

TEST_CASE("edges are the best of all, where all can be tried", "[modules][linear_summary]") {
  // Noisy slopes of two parameters: many local minima.
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    slalom::RandomStream random(seed, 11);
    constexpr std::int64_t n = 48;
    Tensor x = at::zeros({n}, at::kDouble), slopes = at::zeros({2, n}, at::kDouble);
    for (std::int64_t i = 0; i < n; ++i) {
      x[i] = static_cast<double>(i) + 0.1 * random.uniform();
      slopes[0][i] = random.normal() + 0.03 * static_cast<double>(i);
      slopes[1][i] = random.normal() - 0.5;
    }
    const Tensor weights = at::ones({n}, at::kDouble), prior = at::ones({2}, at::kDouble);
    const slalom::EdgeOptions options{.bins = 3, .candidates = 0, .min_effective = 0.0};
    const auto variance = [&](double first, double second) {
      Tensor edges = at::zeros({2}, at::kDouble);
      edges[0] = first;
      edges[1] = second;
      return sigma_of(slalom::binned_information(x, weights, slopes, prior, edges));
    };
    double best = HUGE_VAL;
    for (std::int64_t i = 1; i < n - 1; ++i) {
      for (std::int64_t j = i + 1; j < n; ++j) {
        best = std::min(best, variance(x[i].item<double>(), x[j].item<double>()));
      }
    }
    const Tensor found = slalom::find_edges(x, weights, slopes, prior, options);
    CAPTURE(seed);
    CHECK(variance(found[0].item<double>(), found[1].item<double>()) <= best * (1.0 + 1e-3));
  }
}

TEST_CASE("bins keep their simulated events", "[modules][linear_summary]") {
  slalom::RandomStream random(5, 0);
  const std::int64_t n = 400;
  Tensor x = at::zeros({n}, at::kDouble), slopes = at::zeros({1, n}, at::kDouble);
  for (std::int64_t i = 0; i < n; ++i) {
    x[i] = random.normal() + (i % 2 == 0 ? 2.0 : 0.0);
    if (i % 2 == 0) slopes[0][i] = 1.0;
  }
  const Tensor weights = at::ones({n}, at::kDouble), prior = at::zeros({1}, at::kDouble);
  const slalom::EdgeOptions options{.bins = 5, .candidates = 0, .min_effective = 30.0};
  const Tensor edges = slalom::find_edges(x, weights, slopes, prior, options);
  for (std::int64_t j = -1; j < edges.size(0); ++j) {
    Tensor inside = at::ones({n}, at::kBool);
    if (j >= 0) inside = inside.logical_and(x >= edges[j]);
    if (j + 1 < edges.size(0)) inside = inside.logical_and(x < edges[j + 1]);
    CHECK(inside.sum().item<double>() >= 30.0);
  }
  slalom::test::check_fails(slalom::ErrorKind::usage, "find_edges", "too few", [&] {
    slalom::find_edges(x, weights, slopes, prior, {.bins = 20, .min_effective = 30.0});
  });
}

TEST_CASE("moments of other shapes are refused", "[modules][linear_summary]") {
  using slalom::test::check_fails;
  const Tensor x = at::ones({3}, at::kDouble);
  check_fails(slalom::ErrorKind::usage, "linear_summary", "weights", [&] {
    slalom::linear_moments(x, at::ones({2}), at::ones({1, 3}));
  });
  check_fails(slalom::ErrorKind::usage, "linear_summary", "slopes",
              [&] { slalom::linear_moments(x, x, x); });
  check_fails(slalom::ErrorKind::numerical, "linear_summary", "not positive definite", [&] {
    slalom::linear_information(slalom::linear_moments(x, x, x.unsqueeze(0)),
                               at::ones({1}, at::kDouble), 0.0);
  });
}
