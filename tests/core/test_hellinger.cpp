// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <vector>

#include "slalom/core/hellinger.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::ErrorKind;
using slalom::hellinger_distance;
using slalom::test::check_fails;
using Numbers = std::vector<double>;

TEST_CASE("Hellinger's distance of shapes", "[core][hellinger]") {
  const Numbers p{1.0, 2.0, 3.0}, q{10.0, 20.0, 30.0};
  CHECK_THAT(hellinger_distance(p, q), WithinAbs(0.0, 1e-15));
  CHECK(hellinger_distance(Numbers{1.0, 0.0}, Numbers{0.0, 5.0}) == 1.0);
  // By the definition, and the same both ways.
  const Numbers r{3.0, 2.0, 1.0};
  const double sum = (std::sqrt(3.0) + 2.0 + std::sqrt(3.0)) / 6.0;
  CHECK_THAT(hellinger_distance(p, r), WithinRel(std::sqrt(1.0 - sum), 1e-12));
  CHECK(hellinger_distance(p, r) == hellinger_distance(r, p));
  // Two Poisson-like neighbours: small distances do not cancel.
  const Numbers near{1.0, 1.0 + 1e-9};
  CHECK_THAT(hellinger_distance(Numbers{1.0, 1.0}, near), WithinRel(1e-9 / std::sqrt(32.0), 1e-6));
}

TEST_CASE("Hellinger's distance of what has no shape", "[core][hellinger]") {
  const auto fails = [](const Numbers& p, const Numbers& q, const char* message) {
    check_fails(ErrorKind::model, "Hellinger distance", message, [&] { hellinger_distance(p, q); });
  };
  fails({1.0}, {1.0, 2.0}, "1 and 2 bins");
  fails({}, {}, "0 and 0 bins");
  fails({1.0, -1.0}, {1.0, 1.0}, "bin 1 is negative");
  fails({1.0, 1.0}, {0.0, 0.0}, "empty");
  fails({1.0, NAN}, {1.0, 1.0}, "bin 1");
}
