// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/meshgrid.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <cmath>

#include "slalom/core/error.hpp"
#include "slalom/workflows/resonance_problem.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::EventBatch;
using slalom::make_resonance_problem;
using slalom::ResonanceProblem;
using slalom::Tensor;

namespace {

/// Mean of exp(log q - log p) over events of p: 1 if both are normalised and p covers q.
double mean_ratio(const Tensor& log_q, const Tensor& log_p) {
  return at::exp(log_q - log_p).mean().item<double>();
}

}  // namespace

TEST_CASE("dijets: the share of the signal region is that of the LHC Olympics sample",
          "[workflows][resonance_problem]") {
  const ResonanceProblem problem = make_resonance_problem("dijets");
  // 121,980 of 1,000,000 (arXiv:2101.08320's R&D sample between 3.3 and 3.7 TeV).
  CHECK_THAT(problem.region_share, WithinAbs(0.12198, 1e-4));
  const std::int64_t n = 100000;
  const EventBatch events = problem.background(n, 3);
  const Tensor mass = events.column(problem.mass);
  const auto inside = (mass >= problem.region_low)
                          .logical_and(mass < problem.region_high)
                          .sum()
                          .item<std::int64_t>();
  CHECK_THAT(static_cast<double>(inside) / n, WithinAbs(problem.region_share, 4e-3));
  CHECK(mass.min().item<double>() >= problem.mass_low);
  CHECK(mass.max().item<double>() <= problem.mass_high);
  CHECK((events.labels == 0).all().item<bool>());
}

TEST_CASE("dijets: the densities are those of the events", "[workflows][resonance_problem]") {
  const ResonanceProblem problem = make_resonance_problem("dijets");
  const Tensor theta = at::tensor(problem.theta, at::kDouble);
  const EventBatch background = problem.background(200000, 4);
  const EventBatch signal = problem.signal(100000, theta, 4);
  const auto features = [&](const EventBatch& events) { return events.matrix(problem.features); };
  // At events of the signal the background is nowhere far above it, and is seen only in part; at
  // events of the background, all of the signal is: E_B[s/b] = 1.
  const Tensor log_b =
                   problem.log_background(features(background), background.column(problem.mass)),
               log_s = problem.log_signal(features(background), theta);
  CHECK_THAT(mean_ratio(log_s, log_b), WithinAbs(1.0, 0.15));
  // The same of a background at another mass: E[b(m') / b(m)] = 1, a narrow check of its slope.
  const Tensor other = at::full({background.size()}, 3.5, at::kDouble);
  const Tensor near = (background.column(problem.mass) - 3.5).abs() < 0.2;
  CHECK_THAT(mean_ratio(problem.log_background(features(background), other).masked_select(near),
                        log_b.masked_select(near)),
             WithinAbs(1.0, 0.01));
  // Entropy: the mean of -log p over events of p is what quadrature of each factor gives; here
  // against a second sample.
  const EventBatch again = problem.background(200000, 5);
  const double first = log_b.mean().item<double>(),
               second = problem.log_background(features(again), again.column(problem.mass))
                            .mean()
                            .item<double>();
  CHECK_THAT(first, WithinAbs(second, 0.02));
  CHECK((signal.labels == 1).all().item<bool>());
  CHECK(signal.column(problem.mass).min().item<double>() > problem.region_low);
}

TEST_CASE("dijets: each factor of the densities is normalised", "[workflows][resonance_problem]") {
  const ResonanceProblem problem = make_resonance_problem("dijets");
  // Product of four factors: the integral over two features with the others held is proportional to
  // the others' factor; over all four it is a product of two such integrals by one value.
  const auto axis = [](double low, double high, std::int64_t n) {
    const double step = (high - low) / static_cast<double>(n);
    return std::pair(at::linspace(low + 0.5 * step, high - 0.5 * step, n, at::kDouble), step);
  };
  const auto [m, dm] = axis(0.0, 0.8, 500);
  const auto [d, dd] = axis(0.0, 2.0, 500);
  const auto [t, dt] = axis(0.0, 1.0, 400);
  const Tensor theta = at::tensor({0.06, 0.15}, at::kDouble);
  const auto integral = [&](bool masses, bool signal) {
    const auto grid = masses ? at::meshgrid({m, d}, "ij") : at::meshgrid({t, t}, "ij");
    const std::int64_t n = grid[0].numel();
    const Tensor a = grid[0].reshape({n}), b = grid[1].reshape({n}),
                 held = at::full({n}, masses ? 0.4 : 0.1, at::kDouble);
    const Tensor x = masses ? at::stack({a, b, held, held}, 1) : at::stack({held, held, a, b}, 1);
    const Tensor mass = at::full({n}, 2.9, at::kDouble);
    const Tensor log_p = signal ? problem.log_signal(x, theta) : problem.log_background(x, mass);
    return at::exp(log_p).sum().item<double>() * (masses ? dm * dd : dt * dt);
  };
  for (const bool signal : {false, true}) {
    const Tensor x = at::tensor({0.1, 0.1, 0.4, 0.4}, at::kDouble).unsqueeze(0),
                 mass = at::full({1}, 2.9, at::kDouble);
    const double at_point = std::exp(
        (signal ? problem.log_signal(x, theta) : problem.log_background(x, mass)).item<double>());
    CHECK_THAT(integral(true, signal) * integral(false, signal) / at_point, WithinRel(1.0, 1e-3));
  }
}

TEST_CASE("resonance problems: the first events do not depend on how many follow",
          "[workflows][resonance_problem]") {
  const ResonanceProblem problem = make_resonance_problem("dijets");
  const EventBatch few = problem.background(50, 9), many = problem.background(500, 9);
  CHECK(few.features.equal(many.features.slice(0, 0, 50)));
  CHECK_FALSE(few.features.equal(problem.background(50, 10).features));
}

TEST_CASE("resonance problems: bad input", "[workflows][resonance_problem]") {
  slalom::test::check_fails(slalom::ErrorKind::usage, "", "did you mean 'dijets'",
                            [] { make_resonance_problem("dijet"); });
  const ResonanceProblem problem = make_resonance_problem("dijets");
  CHECK_THROWS_AS(problem.background(0, 1), slalom::Error);
  CHECK_THROWS_AS(problem.signal(5, at::tensor({0.1}, at::kDouble), 1), slalom::Error);
}
