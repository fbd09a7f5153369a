// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "slalom/core/error.hpp"
#include "slalom/core/leave_one_out.hpp"
#include "slalom/core/random.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using Catch::Matchers::WithinAbs;
using slalom::ErrorKind;
using slalom::leave_one_out;
using slalom::LeaveOneOut;
using slalom::LeaveOneOutOptions;
using slalom::test::check_fails;

namespace {

constexpr std::size_t k_points = 30;

/// K log densities: Gaussians whose means and widths scatter by `spread`.
std::vector<double> simulations(double mean, double width, double spread, std::size_t k,
                                std::uint64_t seed) {
  std::vector<double> logs;
  for (std::size_t s = 0; s < k; ++s) {
    slalom::RandomStream random(seed, s);
    const double m = mean + spread * random.normal();
    const double w = width * std::exp(0.5 * spread * random.normal());
    for (std::size_t i = 0; i < k_points; ++i) {
      const double t = (-2.0 + 4.0 * (static_cast<double>(i) + 0.5) / k_points - m) / w;
      logs.push_back(-0.5 * t * t);
    }
  }
  return logs;
}

std::vector<double> measure() { return std::vector<double>(k_points, 4.0 / k_points); }

}  // namespace

TEST_CASE("wider priors cover more, at a price", "[core][leave_one_out]") {
  LeaveOneOutOptions o;
  o.scales = {0.05, 1.0, 3.0};
  o.events = 1e5;
  o.kappa = 0.2;
  o.fit.kappa_low = -0.2;
  const std::vector<double> s = simulations(0.0, 0.6, 0.15, 40, 1);
  const std::vector<double> b = simulations(0.5, 1.5, 0.15, 40, 2);
  const std::vector<LeaveOneOut> rows = leave_one_out(s, b, measure(), 40, o);
  REQUIRE(rows.size() == 3);
  for (const LeaveOneOut& row : rows) {
    CHECK(row.failures == 0);
    CHECK(row.coverage_error < 0.08);
  }
  CHECK(rows[0].half_width < rows[1].half_width);
  CHECK(rows[1].half_width < rows[2].half_width);
  CHECK(rows[0].coverage_68 < 0.5);  // far too narrow
  CHECK_THAT(rows[1].coverage_68, WithinAbs(0.6827, 2.5 * rows[1].coverage_error));
  CHECK(rows[2].coverage_68 >= rows[1].coverage_68);
  CHECK(leave_one_out(s, b, measure(), 40, o)[1].bias == rows[1].bias);

  o.integrate = false;
  o.scales = {1.0};
  const LeaveOneOut laplace = leave_one_out(s, b, measure(), 40, o)[0];
  CHECK(laplace.half_width > 0.5 * rows[1].half_width);
  CHECK(laplace.half_width < 2.0 * rows[1].half_width);
}

TEST_CASE("nothing to leave out is refused", "[core][leave_one_out]") {
  const std::vector<double> s = simulations(0.0, 0.6, 0.1, 6, 1);
  check_fails(ErrorKind::model, "leave one out", "no 5 pairs",
              [&] { leave_one_out(s, s, measure(), 5); });
  LeaveOneOutOptions o;
  o.scales.clear();
  check_fails(ErrorKind::model, "leave one out", "no scales",
              [&] { leave_one_out(s, s, measure(), 6, o); });
  o = {};
  o.events = 0.0;
  check_fails(ErrorKind::model, "leave one out", "events",
              [&] { leave_one_out(s, s, measure(), 6, o); });
}
