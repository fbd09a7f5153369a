// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <string>

#include "slalom/core/error.hpp"
#include "slalom/core/mixture_posterior.hpp"
#include "slalom/core/random.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::exponential_mixture;
using slalom::HmcOptions;
using slalom::Interval;
using slalom::linear_mixture;
using slalom::MixtureFit;
using slalom::MixtureFitOptions;
using slalom::MixturePosterior;
using slalom::sample_posterior;
using slalom::TemplateMixture;

namespace {

constexpr std::size_t k_points = 24;

/// Two shapes of a process, normalised sums of which are its densities.
std::vector<double> two_peaks(double first, double second, double width) {
  std::vector<double> t;
  for (double mean : {first, second}) {
    double sum = 0.0;
    for (std::size_t i = 0; i < k_points; ++i) {
      const double x = (static_cast<double>(i) - mean) / width;
      t.push_back(std::exp(-0.5 * x * x) + 0.02);
      sum += t.back();
    }
    for (std::size_t i = t.size() - k_points; i < t.size(); ++i) t[i] /= sum;
  }
  return t;
}

std::vector<double> data_of(const TemplateMixture& m, const std::vector<double>& x, double events) {
  const std::vector<double> s = m.density(0, x), b = m.density(1, x);
  std::vector<double> n;
  slalom::RandomStream random(2, 0);
  for (std::size_t i = 0; i < k_points; ++i) {
    n.push_back(random.poisson(events * (x[0] * s[i] + (1.0 - x[0]) * b[i])));
  }
  return n;
}

}  // namespace

TEST_CASE("a linear mixture, against integration on a grid", "[core][mixture_posterior]") {
  for (double concentration : {1.0, 2.0}) {
    TemplateMixture m(linear_mixture(two_peaks(6.0, 10.0, 3.0), 2, concentration),
                      linear_mixture(two_peaks(12.0, 17.0, 6.0), 2, concentration),
                      std::vector<double>(k_points, 1.0));
    m.set_data(data_of(m, {0.3, 0.9, 0.1, 0.5, 0.5}, 300.0));
    const MixtureFit best = fit(m);
    REQUIRE(best.converged());
    // Midpoints of kappa and one weight of each process.
    const std::size_t points = 60;
    double sum = 0.0, mean[3] = {0, 0, 0}, square[3] = {0, 0, 0};
    for (std::size_t a = 0; a < points; ++a) {
      for (std::size_t b = 0; b < points; ++b) {
        for (std::size_t c = 0; c < points; ++c) {
          const double u[3] = {(static_cast<double>(a) + 0.5) / points,
                               (static_cast<double>(b) + 0.5) / points,
                               (static_cast<double>(c) + 0.5) / points};
          const double p = std::exp(
              best.nll - m.nll(std::vector<double>{u[0], u[1], 1.0 - u[1], u[2], 1.0 - u[2]}));
          sum += p;
          for (int i = 0; i < 3; ++i) {
            mean[i] += p * u[i];
            square[i] += p * u[i] * u[i];
          }
        }
      }
    }
    HmcOptions o;
    o.draws = 2000;
    o.target_accept = 0.9;
    const MixturePosterior posterior = sample_posterior(m, best, {}, o);
    INFO("concentration " << concentration << ", " << posterior.chains.divergences
                          << " divergences, R-hat " << posterior.kappa.r_hat << ", "
                          << posterior.kappa.ess << " effective draws");
    CHECK(posterior.chains.divergences == 0);
    CHECK(posterior.kappa.r_hat < 1.01);
    REQUIRE(posterior.kappa.ess > 1000.0);
    const std::size_t places[3] = {0, 1, 3};
    for (int i = 0; i < 3; ++i) {
      const double grid = mean[i] / sum;
      const double sigma = std::sqrt(square[i] / sum - grid * grid);
      double found = 0.0, found_square = 0.0;
      const std::size_t draws = posterior.samples.size() / 5;
      for (std::size_t d = 0; d < draws; ++d) {
        const double x = posterior.samples[d * 5 + places[i]];
        found += x / static_cast<double>(draws);
        found_square += x * x / static_cast<double>(draws);
      }
      CHECK_THAT(found, WithinAbs(grid, 0.12 * sigma));
      CHECK_THAT(std::sqrt(found_square - found * found), WithinRel(sigma, 0.08));
    }
    const Interval central = posterior.central(), shortest = posterior.shortest();
    CHECK(shortest.upper.value - shortest.lower.value <=
          central.upper.value - central.lower.value + 1e-12);
  }
}

TEST_CASE("an exponential mixture, against Laplace's approximation", "[core][mixture_posterior]") {
  std::vector<double> s = two_peaks(6.0, 7.0, 3.0), b = two_peaks(13.0, 15.0, 7.0);
  for (double& x : s) x = std::log(x);
  for (double& x : b) x = std::log(x);
  TemplateMixture m(exponential_mixture(s, 2), exponential_mixture(b, 2),
                    std::vector<double>(k_points, 1.0),
                    {slalom::ridge_prior(1, 2, 5.0), slalom::ridge_prior(2, 2, 5.0)});
  m.set_data(data_of(m, {0.4, 0.5, 0.3}, 1e5));
  const MixtureFit best = fit(m);
  REQUIRE(best.converged());
  const MixturePosterior posterior = sample_posterior(m, best);
  CHECK(posterior.chains.trustworthy());
  CHECK_THAT(posterior.kappa.mean, WithinAbs(best.kappa(), 0.2 * best.laplace_error()));
  CHECK_THAT(posterior.kappa.sigma, WithinRel(best.laplace_error(), 0.1));
  slalom::test::check_fails(slalom::ErrorKind::usage, "posterior", "another mixture",
                            [&] { sample_posterior(m, MixtureFit{}); });
}
