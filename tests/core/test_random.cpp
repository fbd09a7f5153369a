// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <vector>

#include "slalom/core/error.hpp"
#include "slalom/core/random.hpp"
#include "support/catch.hpp"

using Catch::Matchers::WithinAbs;
using slalom::RandomStream;

TEST_CASE("the generator is Philox4x32-10", "[core][random]") {
  // Known answer of Random123 for key 0 and counter 0: 6627e8d5 e169c58d bc57ac4c 9b00dbd8.
  RandomStream random(0, 0);
  CHECK(random.bits() == 0xe169c58d6627e8d5U);
  CHECK(random.bits() == 0x9b00dbd8bc57ac4cU);
}

TEST_CASE("streams are reproducible and differ from each other", "[core][random]") {
  RandomStream a(1, 2), b(1, 2), other_index(1, 3), other_seed(2, 2), other_family(1, 2, 1);
  const std::uint64_t first = a.bits();
  CHECK(b.bits() == first);
  CHECK(other_index.bits() != first);
  CHECK(other_seed.bits() != first);
  CHECK(other_family.bits() != first);
}

TEST_CASE("normal numbers have the moments of the normal distribution", "[core][random]") {
  RandomStream random(5, 0);
  const int n = 200000;
  double sum = 0.0, sum2 = 0.0, sum4 = 0.0;
  for (int i = 0; i < n; ++i) {
    const double x = random.normal();
    sum += x;
    sum2 += x * x;
    sum4 += x * x * x * x;
  }
  CHECK_THAT(sum / n, WithinAbs(0.0, 5.0 / std::sqrt(n)));
  CHECK_THAT(sum2 / n, WithinAbs(1.0, 5.0 * std::sqrt(2.0 / n)));
  CHECK_THAT(sum4 / n, WithinAbs(3.0, 5.0 * std::sqrt(96.0 / n)));
}

TEST_CASE("Poisson numbers have the right moments at any mean", "[core][random]") {
  const int n = 100000;
  std::uint64_t index = 0;
  for (double mean : {0.03, 0.7, 4.5, 9.99, 10.01, 37.3, 1234.5, 1e6 + 0.25, 1.9e11, 1e15}) {
    RandomStream random(7, index++);
    double sum = 0.0, sum2 = 0.0;
    for (int i = 0; i < n; ++i) {
      const double k = random.poisson(mean);
      REQUIRE(k >= 0.0);
      REQUIRE(k == std::floor(k));
      const double pull = (k - mean) / std::sqrt(mean);
      sum += pull;
      sum2 += pull * pull;
    }
    CAPTURE(mean);
    CHECK_THAT(sum / n, WithinAbs(0.0, 5.0 / std::sqrt(n)));
    CHECK_THAT(sum2 / n, WithinAbs(1.0, 5.0 * std::sqrt((2.0 + 1.0 / mean) / n)));
  }
}

TEST_CASE("Poisson numbers follow the Poisson probabilities", "[core][random]") {
  const int n = 200000;
  for (double mean : {3.2, 14.6}) {
    RandomStream random(11, static_cast<std::uint64_t>(mean));
    std::vector<int> counts(80, 0);
    for (int i = 0; i < n; ++i) ++counts[static_cast<std::size_t>(random.poisson(mean))];
    double p = std::exp(-mean), chi2 = 0.0;
    int bins = 0;
    for (std::size_t k = 0; k < counts.size(); ++k) {
      const double expected = n * p;
      if (expected > 20.0) {
        chi2 += (counts[k] - expected) * (counts[k] - expected) / expected;
        ++bins;
      }
      p *= mean / static_cast<double>(k + 1);
    }
    CAPTURE(mean, chi2, bins);
    CHECK(chi2 < bins + 5.0 * std::sqrt(2.0 * bins));
  }
}

TEST_CASE("a mean that is no mean is an error", "[core][random]") {
  RandomStream random(0, 0);
  CHECK(random.poisson(0.0) == 0.0);
  CHECK_THROWS_AS(random.poisson(-1.0), slalom::Error);
  CHECK_THROWS_AS(random.poisson(std::nan("")), slalom::Error);
}
