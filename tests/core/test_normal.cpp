// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "slalom/core/normal.hpp"
#include "support/catch.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::log_normal_cdf;
using slalom::normal_cdf;
using slalom::normal_quantile_of_log;

TEST_CASE("the normal distribution has its textbook values", "[core][normal]") {
  CHECK_THAT(normal_cdf(0.0), WithinRel(0.5, 1e-15));
  CHECK_THAT(normal_cdf(-1.959963984540054), WithinRel(0.025, 1e-13));
  CHECK_THAT(normal_cdf(-5.0), WithinRel(2.866515718791939e-7, 1e-13));
}

TEST_CASE("tails do not underflow", "[core][normal]") {
  // mpmath: log(ncdf(-40)), log(ncdf(-100))
  CHECK_THAT(log_normal_cdf(-40.0), WithinRel(-804.6084420137538, 1e-13));
  CHECK_THAT(log_normal_cdf(-100.0), WithinRel(-5005.5242086942050, 1e-13));
  CHECK_THAT(log_normal_cdf(-20.0 + 1e-9), WithinAbs(log_normal_cdf(-20.0 - 1e-9), 1e-7));
  CHECK_THAT(log_normal_cdf(10.0), WithinRel(-7.619853024160527e-24, 1e-12));
}

TEST_CASE("quantiles invert the logarithm everywhere", "[core][normal]") {
  for (double x : {-200.0, -38.0, -34.0, -20.0, -5.0, -1.0, 0.0, 1.0, 5.0, 7.0}) {
    CHECK_THAT(normal_quantile_of_log(log_normal_cdf(x)),
               WithinAbs(x, 1e-11 * (1.0 + std::abs(x))));
  }
  CHECK(std::isinf(normal_quantile_of_log(0.0)));
}
