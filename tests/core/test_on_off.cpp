// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>

#include "slalom/core/error.hpp"
#include "slalom/core/on_off.hpp"
#include "slalom/core/random.hpp"
#include "support/catch.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::count_on_off;

TEST_CASE("on-off counting reproduces the published example", "[core][on_off]") {
  // n_on = 150, n_off = 200 and tau = 2 (Li and Ma's alpha = 1/2) by their equation 17.
  const double n = 150.0, m = 200.0, alpha = 0.5;
  const double expected =
      std::sqrt(2.0) * std::sqrt(n * std::log(3.0 * n / (n + m)) + m * std::log(1.5 * m / (n + m)));
  const auto result = count_on_off(n, m, 1.0 / alpha);
  CHECK_THAT(result.z, WithinRel(expected, 1e-12));
  CHECK_THAT(result.signal, WithinAbs(50.0, 1e-12));
  CHECK_THAT(result.signal_error, WithinRel(std::sqrt(200.0), 1e-12));
}

TEST_CASE("on-off counting becomes simple counting for a well-known background", "[core][on_off]") {
  const double b = 100.0, n = 130.0, tau = 1e9;
  const double asimov = std::sqrt(2.0 * (n * std::log(n / b) - (n - b)));
  CHECK_THAT(count_on_off(n, b * tau, tau).z, WithinRel(asimov, 1e-6));
}

TEST_CASE("on-off counting at its edges", "[core][on_off]") {
  CHECK(count_on_off(0.0, 0.0, 1.0).q0 == 0.0);
  CHECK(count_on_off(3.0, 9.0, 3.0).q0 == 0.0);
  CHECK(count_on_off(2.0, 9.0, 3.0).signal == 0.0);
  // No background event at all: both counts share one rate.
  CHECK_THAT(count_on_off(4.0, 0.0, 3.0).q0, WithinRel(8.0 * std::log(4.0), 1e-12));
  CHECK_THROWS_AS(count_on_off(-1.0, 1.0, 1.0), slalom::Error);
  CHECK_THROWS_AS(count_on_off(1.0, std::numeric_limits<double>::quiet_NaN(), 1.0), slalom::Error);
  CHECK_THROWS_AS(count_on_off(1.0, 1.0, 0.0), slalom::Error);
}

TEST_CASE("q0 of on-off counting is distributed as half a chi-square", "[core][on_off]") {
  slalom::RandomStream random(7, 0);
  const int toys = 4000;
  int above = 0;
  for (int i = 0; i < toys; ++i) {
    above += count_on_off(random.poisson(60.0), random.poisson(240.0), 4.0).q0 > 2.706 ? 1 : 0;
  }
  CHECK_THAT(above / double(toys), WithinAbs(0.05, 0.012));
}
