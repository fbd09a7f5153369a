// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <numeric>

#include "slalom/core/mixture_weights.hpp"
#include "slalom/core/simulation_spread.hpp"
#include "support/bump_mixture.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::fit;
using slalom::MixtureFit;
using slalom::MixtureWeights;
using slalom::TemplateMixture;
using namespace slalom::test;
using Numbers = std::vector<double>;

namespace {

/// The last simulation first.
Numbers rotated(const Numbers& logs) {
  Numbers result = logs;
  std::rotate(result.begin(), result.end() - k_bump_bins, result.end());
  return result;
}

double sum_of(const Numbers& values) { return std::accumulate(values.begin(), values.end(), 0.0); }

}  // namespace

TEST_CASE("weights do not depend on which simulation is the last", "[core][mixture_weights]") {
  constexpr double k_lambda = 4.0;
  const auto weights_of = [&](const Numbers& signal, const Numbers& background) {
    TemplateMixture mixture(
        slalom::exponential_mixture(signal, 3), slalom::exponential_mixture(background, 3),
        bump_measure(), {slalom::ridge_prior(1, 3, k_lambda), slalom::ridge_prior(3, 3, k_lambda)});
    mixture.set_data(bump_data(2000.0, 8000.0));
    const MixtureFit best = fit(mixture, {.tolerance = 1e-10});
    REQUIRE(best.converged());
    return std::pair(mixture_weights(mixture, best, 0, true),
                     mixture_weights(mixture, best, 1, true));
  };
  const Numbers s = bump_simulations(0), b = bump_simulations(1);
  const auto given = weights_of(s, b), other = weights_of(rotated(s), rotated(b));
  for (const auto& [one, two] :
       {std::pair{given.first, other.first}, {given.second, other.second}}) {
    REQUIRE(one.value.size() == 3);
    CHECK_THAT(sum_of(one.value), WithinAbs(1.0, 1e-12));
    for (std::size_t i = 0; i < 3; ++i) {
      CHECK_THAT(one.value[i], WithinAbs(two.value[(i + 1) % 3], 1e-5));
      CHECK_THAT(one.error[i], WithinRel(two.error[(i + 1) % 3], 1e-4));
      CHECK_THAT(one.prior_mean[i], WithinRel(1.0 / 3.0, 1e-12));
      CHECK_THAT(one.prior_width[i], WithinRel(std::sqrt((1.0 - 1.0 / 3.0) / k_lambda), 1e-9));
      CHECK(one.error[i] <= one.prior_width[i]);
    }
  }
}

TEST_CASE("linear weights and coordinates", "[core][mixture_weights]") {
  Numbers densities = bump_simulations(1);
  for (double& x : densities) x = std::exp(x);
  for (auto row = densities.begin(); row != densities.end(); row += k_bump_bins) {
    const double norm = 0.1 * std::accumulate(row, row + k_bump_bins, 0.0);
    std::for_each(row, row + k_bump_bins, [norm](double& x) { x /= norm; });
  }
  const slalom::SimulationSpread spread =
      slalom::simulation_spread(bump_simulations(0), bump_measure(), 3);
  slalom::PopulationOptions population;
  population.shrinkage = slalom::Shrinkage::oas;
  const slalom::ShapePrior prior = slalom::population_prior(spread.coordinates, 3, 1, population);
  TemplateMixture mixture(slalom::spread_mixture(spread), slalom::linear_mixture(densities, 3, 2.0),
                          bump_measure(), {prior});
  mixture.set_data(bump_data(2000.0, 8000.0));
  const MixtureFit best = fit(mixture);
  REQUIRE(best.converged());
  const MixtureWeights shape = mixture_weights(mixture, best, 0);
  REQUIRE(shape.value.size() == spread.dimension);
  for (std::size_t d = 0; d < spread.dimension; ++d) {
    CHECK(shape.value[d] == best.parameters[1 + d]);
    CHECK_THAT(shape.error[d],
               WithinRel(std::sqrt(best.covariance[(1 + d) * (mixture.size() + 1)]), 1e-12));
    CHECK(shape.prior_mean[d] == prior.mean[d]);
    CHECK(shape.prior_width[d] > (1.0 - 1e-9) * shape.error[d]);  // equal without data
  }
  CHECK(shape.prior_width[0] > 1.2 * shape.error[0]);
  const MixtureWeights linear = mixture_weights(mixture, best, 1);
  CHECK_THAT(sum_of(linear.value), WithinAbs(1.0, 1e-12));
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK_THAT(linear.prior_mean[i], WithinRel(1.0 / 3.0, 1e-12));
    // Beta(2, 4): its variance is 8 / (36 * 7).
    CHECK_THAT(linear.prior_width[i], WithinRel(std::sqrt(8.0 / 252.0), 1e-12));
    CHECK(linear.error[i] >= 0.0);
  }
}

TEST_CASE("weights of what was not fitted", "[core][mixture_weights]") {
  TemplateMixture mixture = bump_mixture();
  mixture.set_data(bump_data(2000.0, 8000.0));
  const auto fails = [&](const MixtureFit& best, std::size_t process) {
    check_fails(slalom::ErrorKind::usage, "mixture weights", "another mixture",
                [&] { mixture_weights(mixture, best, process); });
  };
  fails({}, 0);
  fails(fit(mixture), 2);
  TemplateMixture linear(slalom::linear_mixture(bump_truth(0), 1),
                         slalom::linear_mixture(bump_truth(1), 1), bump_measure());
  linear.set_data(bump_data(10.0, 10.0));
  const MixtureFit best = fit(linear);
  check_fails(slalom::ErrorKind::usage, "mixture weights", "no weight beside",
              [&] { mixture_weights(linear, best, 0, true); });
}
