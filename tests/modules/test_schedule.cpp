// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "slalom/modules/schedule.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using Catch::Matchers::WithinRel;
using slalom::Schedule;
using slalom::ScheduleShape;
using slalom::value_at;

TEST_CASE("schedules start, arrive and stay", "[modules][schedule]") {
  for (const ScheduleShape shape :
       {ScheduleShape::linear, ScheduleShape::geometric, ScheduleShape::cosine}) {
    const Schedule s{.shape = shape, .start = 1.0, .end = 0.1, .steps = 80};
    CHECK_THAT(value_at(s, 0), WithinRel(1.0, 1e-15));
    CHECK(value_at(s, 80) == 0.1);
    CHECK(value_at(s, 1000) == 0.1);
    for (int step = 1; step <= 80; ++step) CHECK(value_at(s, step) < value_at(s, step - 1));
  }
  CHECK(value_at(Schedule{.start = 0.3, .end = 7.0, .steps = 5}, 100) == 0.3);
  CHECK(value_at(Schedule{.shape = ScheduleShape::linear, .start = 1.0, .end = 2.0}, 0) == 2.0);
}

TEST_CASE("half way of a schedule is its mean", "[modules][schedule]") {
  Schedule s{.shape = ScheduleShape::linear, .start = 4.0, .end = 1.0, .steps = 10};
  CHECK_THAT(value_at(s, 5), WithinRel(2.5, 1e-15));
  s.shape = ScheduleShape::cosine;
  CHECK_THAT(value_at(s, 5), WithinRel(2.5, 1e-15));
  s.shape = ScheduleShape::geometric;
  CHECK_THAT(value_at(s, 5), WithinRel(2.0, 1e-15));
  s.start = -4.0, s.end = -1.0;
  CHECK_THAT(value_at(s, 5), WithinRel(-2.0, 1e-15));
}

TEST_CASE("a warm-up comes before the way, or waits", "[modules][schedule]") {
  Schedule s{.shape = ScheduleShape::linear, .start = 1.0, .end = 0.0, .steps = 10, .warm_up = 4};
  CHECK(value_at(s, 0) == 0.0);
  CHECK(value_at(s, 1) == 0.25);
  CHECK(value_at(s, 4) == 1.0);
  CHECK(value_at(s, 9) == 0.5);
  CHECK(value_at(s, 14) == 0.0);
  s.warm_up_from = 1.0;
  CHECK(value_at(s, 3) == 1.0);
}

TEST_CASE("schedules that make no sense are refused", "[modules][schedule]") {
  using slalom::ErrorKind;
  using slalom::test::check_fails;
  check_fails(ErrorKind::usage, "schedule", "negative", [] { value_at(Schedule{}, -1); });
  check_fails(ErrorKind::usage, "schedule", "negative", [] { value_at(Schedule{.steps = -1}, 0); });
  check_fails(ErrorKind::usage, "schedule", "finite", [] { value_at(Schedule{.end = NAN}, 0); });
  for (const double end : {0.0, -1.0}) {
    check_fails(ErrorKind::usage, "schedule", "one sign", [&] {
      value_at(Schedule{.shape = ScheduleShape::geometric, .start = 1.0, .end = end}, 0);
    });
  }
}
