// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <numeric>

#include "slalom/workflows/mixture_problem.hpp"
#include "support/catch.hpp"
#include "support/command_line.hpp"
#include "support/data.hpp"
#include "support/fails.hpp"

using Catch::Matchers::WithinAbs;
using slalom::BiasedPair;
using slalom::ErrorKind;
using slalom::k_biased_truth;
using slalom::PlaneGaussian;
using slalom::test::check_fails;

namespace {

double sum_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

/// Mean and standard deviation over pairs.
std::pair<double, double> spread_of(const std::vector<BiasedPair>& pairs,
                                    PlaneGaussian BiasedPair::*process,
                                    double PlaneGaussian::*parameter) {
  double sum = 0.0, square = 0.0;
  for (const BiasedPair& pair : pairs) {
    const double x = (pair.*process).*parameter;
    sum += x;
    square += x * x;
  }
  const double n = static_cast<double>(pairs.size()), mean = sum / n;
  return {mean, std::sqrt(square / n - mean * mean)};
}

}  // namespace

TEST_CASE("biased Gaussians: efficiencies and densities", "[workflows][mixture_problem]") {
  // Published: .9111 and .5101.
  CHECK_THAT(sum_of(slalom::plane_contents(k_biased_truth.signal, 60)), WithinAbs(0.9111, 5e-5));
  CHECK_THAT(sum_of(slalom::plane_contents(k_biased_truth.background, 60)),
             WithinAbs(0.5101, 5e-5));
  // At a bin's centre times its area, up to the curvature within.
  const auto logs = slalom::plane_log_density(k_biased_truth.background, 50),
             contents = slalom::plane_contents(k_biased_truth.background, 50);
  for (std::size_t i = 0; i < logs.size(); i += 37) {
    CHECK_THAT(contents[i] / std::exp(logs[i]), WithinAbs(0.0064, 2e-6));
  }
  // x0 is the slower index: the background is higher at large x1.
  CHECK(logs[49] > logs[0]);
}

TEST_CASE("biased Gaussians: the recipe's spread", "[workflows][mixture_problem]") {
  const std::vector<BiasedPair> pairs = slalom::draw_biased_pairs(4000, 3);
  // Published, over 500 pairs: mean0 .112, mean1 .097 about -.128 / +.127, variance .158,
  // covariance .126.
  const auto check = [&](double PlaneGaussian::*parameter, double shift, double width) {
    for (const auto& [process, sign, truth] :
         {std::tuple{&BiasedPair::signal, -1.0, k_biased_truth.signal},
          {&BiasedPair::background, 1.0, k_biased_truth.background}}) {
      const auto [mean, deviation] = spread_of(pairs, process, parameter);
      CHECK_THAT(mean - truth.*parameter, WithinAbs(sign * shift, 0.012));
      CHECK_THAT(deviation, WithinAbs(width, 0.012));
    }
  };
  check(&PlaneGaussian::mean0, 0.0, 0.112);
  check(&PlaneGaussian::mean1, 0.1275, 0.097);
  check(&PlaneGaussian::variance, 0.0, 0.158);
  check(&PlaneGaussian::covariance, 0.0, 0.126);
  for (const BiasedPair& pair : pairs) {
    CHECK(std::abs(pair.signal.variance - 1.0) > 0.1);
    CHECK(std::abs(pair.background.covariance - 0.4) > 0.05);
  }
  const std::vector<BiasedPair> few = slalom::draw_biased_pairs(5, 3);
  for (std::size_t i = 0; i < few.size(); ++i) {
    CHECK(few[i].signal.mean0 == pairs[i].signal.mean0);
    CHECK(few[i].background.covariance == pairs[i].background.covariance);
  }
  CHECK(slalom::draw_biased_pairs(1, 4)[0].signal.mean0 != few[0].signal.mean0);
}

TEST_CASE("biased Gaussians: pairs that lie farther away", "[workflows][mixture_problem]") {
  const std::vector<BiasedPair> pairs = slalom::draw_biased_pairs(30, 5);
  const BiasedPair itself = slalom::farther_pair(pairs, 7, 1.0),
                   mean = slalom::farther_pair(pairs, 7, 0.0),
                   twice = slalom::farther_pair(pairs, 7, 2.0);
  CHECK_THAT(itself.signal.mean1, WithinAbs(pairs[7].signal.mean1, 1e-14));
  CHECK_THAT(twice.background.variance - mean.background.variance,
             WithinAbs(2.0 * (itself.background.variance - mean.background.variance), 1e-12));
  // The narrowest signal, far enough away, has no positive variance.
  std::size_t narrow = 0;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (pairs[i].signal.variance < pairs[narrow].signal.variance) narrow = i;
  }
  check_fails(ErrorKind::numerical, "simulation " + std::to_string(narrow), "no Gaussian",
              [&] { slalom::farther_pair(pairs, narrow, 100.0); });
  check_fails(ErrorKind::usage, "biased pairs", "at least one",
              [] { slalom::draw_biased_pairs(0, 1); });
}

TEST_CASE("biased Gaussians: pairs from files", "[workflows][mixture_problem]") {
  const slalom::test::TemporaryFolder folder;
  const std::string header = "mean0,mean1,cov00,cov01,cov11\n";
  const std::string good = folder.file("good.csv", header + "0.1,-0.2,0.8,0.2,0.8\n"),
                    two = folder.file("two.csv", header + "0,1,3,.4,3\n.1,1.2,2.8,.5,2.8\n"),
                    unequal = folder.file("unequal.csv", header + "0,1,3,.4,3\n0,1,3,.4,2\n"),
                    empty = folder.file("empty.csv", header);
  const std::vector<BiasedPair> pairs = slalom::read_biased_pairs(good, good);
  REQUIRE(pairs.size() == 1);
  CHECK(pairs[0].background.covariance == 0.2);
  check_fails(ErrorKind::io, two, "2 simulations, and 1 of the signal",
              [&] { slalom::read_biased_pairs(good, two); });
  check_fails(ErrorKind::io, unequal + ":3", "no Gaussian of equal variances",
              [&] { slalom::read_biased_pairs(unequal, two); });
  CHECK_THROWS_AS(slalom::read_biased_pairs(empty, empty), slalom::Error);
}

TEST_CASE("biased Gaussians: the published pairs", "[workflows][mixture_problem]") {
  SLALOM_REQUIRE_DATA("tamm/signal_msd_500.csv");
  const std::vector<BiasedPair> pairs =
      slalom::read_biased_pairs(slalom::test::data_path("tamm/signal_msd_500.csv"),
                                slalom::test::data_path("tamm/background_msd_500.csv"));
  REQUIRE(pairs.size() == 500);
  CHECK_THAT(spread_of(pairs, &BiasedPair::signal, &PlaneGaussian::variance).second,
             WithinAbs(0.158, 0.002));
}
