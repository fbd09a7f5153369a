// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>

#include "slalom/core/error.hpp"
#include "slalom/core/random.hpp"
#include "slalom/core/simulation_spread.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::ErrorKind;
using slalom::population_prior;
using slalom::PopulationOptions;
using slalom::RandomStream;
using slalom::ShapePrior;
using slalom::Shrinkage;
using slalom::simulation_spread;
using slalom::SimulationSpread;
using slalom::SpreadOptions;
using slalom::test::check_fails;

namespace {

constexpr std::size_t k_points = 60;

/// K Gaussians of random means and widths, each with another constant.
std::vector<double> simulations(std::size_t k) {
  std::vector<double> logs;
  for (std::size_t s = 0; s < k; ++s) {
    RandomStream random(5, s);
    const double mean = 0.2 * random.normal(), width = 0.8 + 0.1 * random.normal();
    const double constant = random.normal();
    for (std::size_t i = 0; i < k_points; ++i) {
      const double t = (-2.0 + 4.0 * (static_cast<double>(i) + 0.5) / k_points - mean) / width;
      logs.push_back(constant - 0.5 * t * t);
    }
  }
  return logs;
}

std::vector<double> measure() { return std::vector<double>(k_points, 4.0 / k_points); }

/// K draws of D independent normal numbers of the given widths.
std::vector<double> draws(std::size_t k, const std::vector<double>& widths, std::uint64_t seed) {
  std::vector<double> a;
  RandomStream random(seed, 0);
  for (std::size_t i = 0; i < k; ++i) {
    for (double w : widths) a.push_back(w * random.normal());
  }
  return a;
}

}  // namespace

TEST_CASE("directions are orthonormal and hold all simulations", "[core][simulation_spread]") {
  const std::vector<double> logs = simulations(8);
  const SimulationSpread spread = simulation_spread(logs, measure(), 8);
  // Gaussians have two natural parameters.
  REQUIRE(spread.dimension == 2);
  REQUIRE(spread.simulations == 8);
  std::vector<double> p;
  double sum = 0.0;
  for (double m : spread.mean) {
    p.push_back(std::exp(m));
    sum += p.back();
  }
  for (std::size_t d = 0; d < 2; ++d) {
    for (std::size_t e = 0; e < 2; ++e) {
      double product = 0.0;
      for (std::size_t i = 0; i < k_points; ++i) {
        product +=
            p[i] / sum * spread.directions[d * k_points + i] * spread.directions[e * k_points + i];
      }
      CHECK_THAT(product, WithinAbs(d == e ? 1.0 : 0.0, 1e-9));
    }
  }
  double total[2] = {0.0, 0.0};
  for (std::size_t s = 0; s < 8; ++s) {
    double constant = 0.0;
    for (std::size_t i = 0; i < k_points; ++i) {
      double rebuilt = spread.mean[i];
      for (std::size_t d = 0; d < 2; ++d) {
        rebuilt += spread.coordinates[s * 2 + d] * spread.directions[d * k_points + i];
      }
      const double left = logs[s * k_points + i] - rebuilt;
      if (i == 0) constant = left;
      CHECK_THAT(left, WithinAbs(constant, 1e-8));
    }
    for (std::size_t d = 0; d < 2; ++d) total[d] += std::pow(spread.coordinates[s * 2 + d], 2);
  }
  CHECK(total[0] > total[1]);  // by falling variance

  SpreadOptions one;
  one.max_directions = 1;
  CHECK(simulation_spread(logs, measure(), 8, one).dimension == 1);
  const slalom::MixtureProcess process = spread_mixture(spread);
  CHECK(process.base == spread.mean);
  CHECK(process.start == std::vector<double>{0.0, 0.0});
}

TEST_CASE("the prior of one more draw", "[core][simulation_spread]") {
  const std::vector<double> a = {1.0, 2.0, 4.0, 1.0, 2.0, 5.0};  // six draws of one number
  const ShapePrior prior = population_prior(a, 6, 3);
  CHECK(prior.first == 3);
  REQUIRE(prior.mean.size() == 1);
  CHECK_THAT(prior.mean[0], WithinRel(2.5, 1e-14));
  // Sample variance 2.7, times (1 + 1/6) (5/5).
  CHECK_THAT(1.0 / prior.precision[0], WithinRel(2.7 * 7.0 / 6.0, 1e-13));
  CHECK(std::isinf(prior.degrees));
  PopulationOptions o;
  o.student = true;
  o.scale = 2.0;
  const ShapePrior t = population_prior(a, 6, 0, o);
  CHECK_THAT(t.degrees, WithinRel(5.0, 1e-14));
  CHECK_THAT(t.precision[0], WithinRel(0.25 * prior.precision[0], 1e-13));
}

TEST_CASE("shrinkage helps with few draws and leaves many alone", "[core][simulation_spread]") {
  const std::vector<double> widths = {1.0, 0.8, 0.6, 0.7};
  // Mean squared error of the covariance, over samples of 10.
  const auto loss = [&](Shrinkage kind) {
    double sum = 0.0;
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
      PopulationOptions o;
      o.shrinkage = kind;
      const ShapePrior prior = population_prior(draws(10, widths, seed), 10, 1, o);
      // Inverse of the precision by Cramer would be long: compare log determinants of 1 x 1 blocks
      // through the trace of precision times truth, which is D for the truth.
      double trace = 0.0;
      for (std::size_t i = 0; i < 4; ++i) trace += prior.precision[i * 5] * widths[i] * widths[i];
      sum += std::pow(trace - 4.0, 2);
    }
    return sum;
  };
  const double plain = loss(Shrinkage::none);
  CHECK(loss(Shrinkage::oas) < 0.7 * plain);
  CHECK(loss(Shrinkage::ledoit_wolf) < 0.7 * plain);

  const std::vector<double> many = draws(20000, {1.0, 0.2}, 1);
  for (Shrinkage kind : {Shrinkage::oas, Shrinkage::ledoit_wolf}) {
    PopulationOptions o;
    o.shrinkage = kind;
    const ShapePrior prior = population_prior(many, 20000, 1, o);
    CHECK_THAT(prior.precision[0], WithinRel(1.0, 0.03));
    CHECK_THAT(prior.precision[3], WithinRel(25.0, 0.03));
  }
}

TEST_CASE("what makes no prior is refused", "[core][simulation_spread]") {
  check_fails(ErrorKind::model, "population prior", "too few", [] {
    population_prior(draws(5, {1, 1, 1, 1}, 1), 5, 1);
  });
  check_fails(ErrorKind::model, "population prior", "singular", [] {
    population_prior({1, 1, 2, 2, 3, 3, 5, 5, 6, 6}, 5, 1);
  });
  check_fails(ErrorKind::model, "population prior", "7 numbers",
              [] { population_prior(std::vector<double>(7), 2, 1); });
  check_fails(ErrorKind::model, "simulation spread", "equal",
              [] { simulation_spread(std::vector<double>(120, 0.0), measure(), 2); });
  std::vector<double> logs = simulations(3);
  check_fails(ErrorKind::model, "simulation spread", "180 numbers",
              [&] { simulation_spread(logs, measure(), 4); });
  logs[4] = -std::numeric_limits<double>::infinity();
  check_fails(ErrorKind::model, "simulation spread", "finite",
              [&] { simulation_spread(logs, measure(), 3); });
}
