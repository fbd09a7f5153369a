// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "slalom/core/minimize.hpp"
#include "slalom/core/random.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using Catch::Matchers::WithinAbs;
using slalom::FitStatus;
using slalom::minimize;
using slalom::MinimizeOptions;
using slalom::MinimizeResult;

namespace {

constexpr double k_infinity = std::numeric_limits<double>::infinity();

double rosenbrock(std::span<const double> x, std::span<double> g, std::span<double> h) {
  const double a = 1.0 - x[0], b = x[1] - x[0] * x[0];
  if (!g.empty()) {
    g[0] = -2.0 * a - 400.0 * x[0] * b;
    g[1] = 200.0 * b;
  }
  if (!h.empty()) {
    h[0] = 2.0 - 400.0 * b + 800.0 * x[0] * x[0];
    h[1] = h[2] = -400.0 * x[0];
    h[3] = 200.0;
  }
  return a * a + 100.0 * b * b;
}

/// c . x + x' A x / 2 with A = identity + the outer product of v with itself.
struct Quadratic {
  std::vector<double> c, v;
  double operator()(std::span<const double> x, std::span<double> g, std::span<double> h) const {
    const std::size_t n = c.size();
    double vx = 0.0, value = 0.0;
    for (std::size_t i = 0; i < n; ++i) vx += v[i] * x[i];
    for (std::size_t i = 0; i < n; ++i) {
      value += c[i] * x[i] + 0.5 * x[i] * x[i];
      g[i] = c[i] + x[i] + v[i] * vx;
      for (std::size_t j = 0; j < n; ++j) h[i * n + j] = v[i] * v[j] + (i == j ? 1.0 : 0.0);
    }
    return value + 0.5 * vx * vx;
  }
};

}  // namespace

TEST_CASE("Rosenbrock's valley is followed to its end", "[core][minimize]") {
  for (const std::vector<double>& start :
       {std::vector<double>{-1.2, 1.0}, {5.0, -7.0}, {1.0, 100.0}, {0.0, 0.0}}) {
    MinimizeOptions options;
    options.tolerance = 1e-10;  // the valley is 50 times as long as it is wide
    const MinimizeResult result = minimize(rosenbrock, start, options);
    CHECK(result.converged());
    CHECK_THAT(result.x[0], WithinAbs(1.0, 1e-8));
    CHECK_THAT(result.x[1], WithinAbs(1.0, 1e-8));
    CHECK(result.kkt_residual <= 1e-10);
    CHECK(result.edm < 1e-15);
    CHECK(result.iterations < 60);
    CHECK(result.value < 1e-15);
  }
}

TEST_CASE("a minimum may lie on a bound", "[core][minimize]") {
  MinimizeOptions options;
  options.lower = {-2.0, -2.0};
  options.upper = {0.5, 2.0};
  const MinimizeResult right = minimize(rosenbrock, {-1.2, 1.0}, options);
  CHECK(right.converged());
  CHECK(right.x[0] == 0.5);  // exactly, and the other one as if x[0] were held
  CHECK_THAT(right.x[1], WithinAbs(0.25, 1e-10));
  CHECK(right.at_bound == std::vector<bool>{true, false});

  options.lower = {1.5, -2.0};  // a start outside is moved in
  options.upper = {3.0, 2.0};
  const MinimizeResult corner = minimize(rosenbrock, {-1.2, 1.0}, options);
  CHECK(corner.converged());
  CHECK(corner.x == std::vector<double>{1.5, 2.0});
  CHECK(corner.at_bound == std::vector<bool>{true, true});
}

TEST_CASE("random bounded quadratic problems satisfy the KKT conditions", "[core][minimize]") {
  std::size_t n_active = 0;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    slalom::RandomStream random(seed, 1);
    const std::size_t n = 2 + seed % 20;
    Quadratic f;
    MinimizeOptions options;
    for (std::size_t i = 0; i < n; ++i) {
      f.c.push_back(3.0 * random.normal());
      f.v.push_back(2.0 * random.normal());
      options.lower.push_back(-1.0 - random.uniform());
      options.upper.push_back(random.uniform());
    }
    const MinimizeResult result = minimize(f, std::vector<double>(n, 0.0), options);
    INFO("seed " << seed << ": " << result.message);
    REQUIRE(result.converged());
    for (std::size_t i = 0; i < n; ++i) {
      if (result.x[i] == options.lower[i]) {
        CHECK(result.gradient[i] >= 0.0);
        ++n_active;
      } else if (result.x[i] == options.upper[i]) {
        CHECK(result.gradient[i] <= 0.0);
        ++n_active;
      } else {
        CHECK(std::abs(result.gradient[i]) < 1e-7);
      }
    }
    CHECK(result.iterations <= 3 * static_cast<int>(n) + 5);
  }
  CHECK(n_active > 100);  // the bounds were tried
}

TEST_CASE("a saddle and a ridge are left downwards", "[core][minimize]") {
  // (x^2 - 1)^2 + (y + x/4)^2: from the saddle at 0 exactly, and from the ridge beside it.
  const auto two_wells = [](std::span<const double> x, std::span<double> g, std::span<double> h) {
    const double w = x[0] * x[0] - 1.0, u = x[1] + 0.25 * x[0];
    g[0] = 4.0 * x[0] * w + 0.5 * u;
    g[1] = 2.0 * u;
    h[0] = 12.0 * x[0] * x[0] - 4.0 + 0.125;
    h[1] = h[2] = 0.5;
    h[3] = 2.0;
    return w * w + u * u;
  };
  for (const std::vector<double>& start :
       {std::vector<double>{0.0, 0.0}, {0.1, -3.0}, {-0.3, 2.0}}) {
    const MinimizeResult result = minimize(two_wells, start);
    CHECK(result.converged());
    CHECK_THAT(std::abs(result.x[0]), WithinAbs(1.0, 1e-8));
    CHECK_THAT(result.x[1], WithinAbs(-0.25 * result.x[0], 1e-8));
  }
  const MinimizeResult again = minimize(two_wells, {0.0, 0.0});
  CHECK(again.x == minimize(two_wells, {0.0, 0.0}).x);
}

TEST_CASE("the function may be infinite outside of its domain", "[core][minimize]") {
  // x - 3 ln x + y^2 of a domain x > 0 that no bound says
  const auto poisson = [](std::span<const double> x, std::span<double> g, std::span<double> h) {
    if (!(x[0] > 0.0)) return k_infinity;
    g[0] = 1.0 - 3.0 / x[0];
    g[1] = 2.0 * x[1];
    h[0] = 3.0 / (x[0] * x[0]);
    h[1] = h[2] = 0.0;
    h[3] = 2.0;
    return x[0] - 3.0 * std::log(x[0]) + x[1] * x[1];
  };
  for (double start : {1e-6, 0.1, 7.0, 1e3}) {
    const MinimizeResult result = minimize(poisson, {start, 5.0});
    INFO("start " << start);
    CHECK(result.converged());
    CHECK_THAT(result.x[0], WithinAbs(3.0, 1e-6));
  }
  const MinimizeResult outside = minimize(poisson, {-1.0, 0.0});
  CHECK(outside.status == FitStatus::infeasible);
  CHECK(outside.message.find("start") != std::string::npos);
}

TEST_CASE("held variables stay", "[core][minimize]") {
  MinimizeOptions options;
  options.held = {true, false};
  const MinimizeResult result = minimize(rosenbrock, {-1.2, 1.0}, options);
  CHECK(result.converged());
  CHECK(result.x[0] == -1.2);
  CHECK_THAT(result.x[1], WithinAbs(1.44, 1e-10));
  CHECK(result.at_bound == std::vector<bool>{false, false});
  options.held = {true, true};
  CHECK(minimize(rosenbrock, {-1.2, 1.0}, options).converged());
}

TEST_CASE("what is no minimum is not called one", "[core][minimize]") {
  // |x| with the derivative of one side at 0
  const auto kink = [](std::span<const double> x, std::span<double> g, std::span<double> h) {
    g[0] = x[0] >= 0.0 ? 1.0 : -1.0;
    h[0] = 1.0;
    return std::abs(x[0]);
  };
  const MinimizeResult stalled = minimize(kink, {0.3});
  CHECK(stalled.status == FitStatus::stalled);
  CHECK(std::abs(stalled.x[0]) < 1e-6);
  // exp(-x) has none
  const auto falling = [](std::span<const double> x, std::span<double> g, std::span<double> h) {
    h[0] = std::exp(-x[0]);
    g[0] = -h[0];
    return h[0];
  };
  MinimizeOptions few;
  few.max_iterations = 5;
  CHECK(minimize(falling, {0.0}, few).status == FitStatus::iteration_limit);
  // flat in one direction: a minimum, with a remark
  const auto trough = [](std::span<const double> x, std::span<double> g, std::span<double> h) {
    const double s = x[0] + x[1] - 1.0;
    g[0] = g[1] = 2.0 * s;
    h[0] = h[1] = h[2] = h[3] = 2.0;
    return s * s;
  };
  const MinimizeResult flat = minimize(trough, {3.0, -1.0});
  CHECK(flat.converged());
  CHECK(flat.message.find("no curvature") != std::string::npos);
}

TEST_CASE("minimisations that make no sense are refused", "[core][minimize]") {
  const auto fails = [](MinimizeOptions options, const char* where, const char* fragment) {
    slalom::test::check_fails(slalom::ErrorKind::usage, where, fragment, [&] {
      minimize(rosenbrock, {0.0, 0.0}, options);
    });
  };
  MinimizeOptions options;
  options.lower = {0.0};
  fails(options, "lower", "2 variables, but 1");
  options = {};
  options.lower = {0.0, 1.0};
  options.upper = {1.0, 0.0};
  fails(options, "lower[1]", "above");
  options = {};
  options.tolerance = 0.0;
  fails(options, "tolerance", "above 0");
  slalom::test::check_fails(slalom::ErrorKind::usage, "start[1]", "not finite", [] {
    minimize(rosenbrock, {0.0, std::nan("")});
  });
}
