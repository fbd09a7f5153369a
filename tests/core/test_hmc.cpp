// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>

#include "slalom/core/error.hpp"
#include "slalom/core/hmc.hpp"
#include "slalom/core/random.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::ChainSummary;
using slalom::ErrorKind;
using slalom::HmcOptions;
using slalom::HmcResult;
using slalom::LogDensity;
using slalom::RandomStream;
using slalom::sample;
using slalom::summarise_chains;
using slalom::test::check_fails;

namespace {

/// Independent normal numbers of means 1, 2, ... and widths 1, 10, 100, ..., of which each has .9
/// of the one before added: correlated, and of very different scales.
double chained_normals(std::span<const double> x, std::span<double> g) {
  double sum = 0.0, width = 1.0;
  for (double& v : g) v = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i, width *= 10.0) {
    const double before = i == 0 ? 0.0 : 0.9 * x[i - 1];
    const double t = (x[i] - before - static_cast<double>(i + 1)) / width;
    sum -= 0.5 * t * t;
    g[i] -= t / width;
    if (i > 0) g[i - 1] += 0.9 * t / width;
  }
  return sum;
}

/// x ~ N(0, 3), y ~ N(0, exp(x / 2)): no step size fits all of it.
double funnel(std::span<const double> x, std::span<double> g) {
  const double precision = std::exp(-x[0]);
  g[0] = -x[0] / 9.0 - 0.5 * 8.0;
  double sum = -x[0] * x[0] / 18.0 - 0.5 * 8.0 * x[0];
  for (std::size_t i = 1; i < 9; ++i) {
    sum -= 0.5 * precision * x[i] * x[i];
    g[0] += 0.5 * precision * x[i] * x[i];
    g[i] = -precision * x[i];
  }
  return sum;
}

std::vector<double> autoregressive(std::size_t chains, std::size_t n, double phi, double shift) {
  std::vector<double> result;
  for (std::size_t c = 0; c < chains; ++c) {
    RandomStream random(11, c);
    double x = random.normal();
    for (std::size_t i = 0; i < n; ++i) {
      x = phi * x + std::sqrt(1.0 - phi * phi) * random.normal();
      result.push_back(x + (c == 0 ? shift : 0.0));
    }
  }
  return result;
}

}  // namespace

TEST_CASE("a correlated Gaussian of many scales", "[core][hmc]") {
  HmcOptions o;
  o.draws = 2000;
  const HmcResult r = sample(chained_normals, {0.0, 0.0, 0.0}, o);
  CHECK(r.divergences == 0);
  CHECK(r.trustworthy());
  REQUIRE(r.samples.size() == 4 * 2000 * 3);
  double mean = 0.0, variance = 0.0, width = 1.0;
  for (std::size_t d = 0; d < 3; ++d, width *= 10.0) {
    mean = 0.9 * mean + static_cast<double>(d + 1);
    variance = 0.81 * variance + width * width;
    const ChainSummary& s = r.summaries[d];
    INFO("variable " << d << ", " << s.ess << " effective draws, R-hat " << s.r_hat);
    CHECK(s.ess > 1000.0);
    CHECK(s.r_hat < 1.01);
    const double sigma = std::sqrt(variance);
    CHECK_THAT(s.mean, WithinAbs(mean, 4.0 * sigma / std::sqrt(s.ess)));
    CHECK_THAT(s.sigma, WithinRel(sigma, 4.0 / std::sqrt(s.ess)));
  }
  for (double a : r.acceptance) CHECK_THAT(a, WithinAbs(0.8, 0.12));
}

TEST_CASE("tails are those of the density", "[core][hmc]") {
  // Quantiles of a Gaussian, and of an exponential distribution written in its logarithm.
  const LogDensity log_exponential = [](std::span<const double> x, std::span<double> g) {
    g[0] = 1.0 - std::exp(x[0]);
    return x[0] - std::exp(x[0]);
  };
  HmcOptions o;
  o.draws = 4000;
  const HmcResult r = sample(log_exponential, {0.0}, o);
  CHECK(r.trustworthy());
  for (double p : {0.01, 0.1, 0.5, 0.9, 0.99}) {
    const double cut = std::log(-std::log(1.0 - p));
    double below = 0.0;
    for (double x : r.samples) below += x < cut ? 1.0 : 0.0;
    below /= static_cast<double>(r.samples.size());
    INFO("quantile " << p);
    CHECK_THAT(below, WithinAbs(p, 5.0 * std::sqrt(p * (1.0 - p) / 3000.0)));
  }
}

TEST_CASE("equal seeds give equal chains, others do not", "[core][hmc]") {
  HmcOptions o;
  o.warmup = 100;
  o.draws = 50;
  const HmcResult a = sample(chained_normals, {0.0, 0.0}, o);
  CHECK(sample(chained_normals, {0.0, 0.0}, o).samples == a.samples);
  o.seed = 2;
  CHECK(sample(chained_normals, {0.0, 0.0}, o).samples != a.samples);
}

TEST_CASE("a good guess of the covariance spares the learning", "[core][hmc]") {
  HmcOptions o;
  o.warmup = 50;  // too short to learn scales of 1, 10 and 100
  o.draws = 1000;
  const double c01 = 0.9, v1 = 0.81 + 100.0, c02 = 0.9 * c01, c12 = 0.9 * v1;
  const double v2 = 0.81 * v1 + 1e4;
  o.covariance = {1.0, c01, c02, c01, v1, c12, c02, c12, v2};
  const HmcResult r = sample(chained_normals, {1.0, 2.9, 5.6}, o);
  CHECK(r.trustworthy());
  CHECK(r.at_max_depth == 0);
}

TEST_CASE("a funnel is not sampled silently", "[core][hmc]") {
  const HmcResult r = sample(funnel, std::vector<double>(9, 0.0));
  CHECK(r.divergences > 0);
  CHECK_FALSE(r.trustworthy());
}

TEST_CASE("effective size and R-hat of known series", "[core][hmc]") {
  for (double phi : {0.0, 0.5, 0.9}) {
    const ChainSummary s = summarise_chains(autoregressive(4, 5000, phi, 0.0), 4);
    INFO("autocorrelation " << phi);
    CHECK_THAT(s.ess, WithinRel(20000.0 * (1.0 - phi) / (1.0 + phi), 0.15));
    CHECK(s.r_hat < 1.01);
  }
  // One chain of four is elsewhere by a width: halves' means have a variance of 3 / 14.
  CHECK_THAT(summarise_chains(autoregressive(4, 1000, 0.0, 1.0), 4).r_hat,
             WithinAbs(std::sqrt(1.0 + 3.0 / 14.0), 0.03));
  // One is stuck.
  std::vector<double> narrow = autoregressive(4, 1000, 0.0, 0.0);
  for (std::size_t i = 0; i < 1000; ++i) narrow[i] *= 0.1;
  CHECK(summarise_chains(narrow, 4).r_hat > 1.1);
  // Anticorrelated draws are worth more than independent ones, within reason.
  CHECK(summarise_chains(autoregressive(4, 1000, -0.5, 0.0), 4).ess > 6000.0);
  check_fails(ErrorKind::usage, "chains", "7 draws",
              [] { summarise_chains(std::vector<double>(7), 2); });
}

TEST_CASE("what cannot be sampled is refused", "[core][hmc]") {
  const auto refused = [](std::vector<double> start, const HmcOptions& o, const char* text) {
    check_fails(ErrorKind::usage, "hmc", text, [&] { sample(chained_normals, start, o); });
  };
  HmcOptions o;
  refused({}, o, "no variables");
  refused({std::numeric_limits<double>::infinity()}, o, "not finite");
  o.chains = 0;
  refused({0.0}, o, "one chain");
  o = {};
  o.target_accept = 1.0;
  refused({0.0}, o, "acceptance");
  o = {};
  o.covariance = {1.0, 2.0, 2.0, 1.0};
  refused({0.0, 0.0}, o, "not positive");
  const LogDensity nowhere = [](std::span<const double>, std::span<double>) {
    return -std::numeric_limits<double>::infinity();
  };
  check_fails(ErrorKind::numerical, "hmc", "around the start", [&] { sample(nowhere, {0.0}, {}); });
}
