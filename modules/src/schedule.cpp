// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "slalom/core/error.hpp"

namespace slalom {

namespace {

void check(const Schedule& s, std::int64_t step) {
  const auto fail = [](const char* message) { throw Error(ErrorKind::usage, message, "schedule"); };
  if (step < 0 || s.steps < 0 || s.warm_up < 0) fail("steps must not be negative");
  if (!std::isfinite(s.start) || !std::isfinite(s.end) || !std::isfinite(s.warm_up_from)) {
    fail("values must be finite");
  }
  if (s.shape == ScheduleShape::geometric && !(s.start * s.end > 0.0)) {
    fail("a geometric schedule needs two values of one sign, neither of them 0");
  }
}

}  // namespace

double value_at(const Schedule& schedule, std::int64_t step) {
  const Schedule& s = schedule;
  check(s, step);
  if (step < s.warm_up) {
    const double t = static_cast<double>(step) / static_cast<double>(s.warm_up);
    return s.warm_up_from + (s.start - s.warm_up_from) * t;
  }
  const double done = static_cast<double>(step - s.warm_up);
  const double t = s.steps == 0 ? 1.0 : std::min(done / static_cast<double>(s.steps), 1.0);
  switch (s.shape) {
    case ScheduleShape::linear:
      return t == 1.0 ? s.end : s.start + (s.end - s.start) * t;
    case ScheduleShape::geometric:
      return t == 1.0 ? s.end : s.start * std::pow(s.end / s.start, t);
    case ScheduleShape::cosine:
      return t == 1.0 ? s.end
                      : s.end + 0.5 * (s.start - s.end) * (1.0 + std::cos(std::numbers::pi * t));
    case ScheduleShape::constant:
      break;
  }
  return s.start;
}

}  // namespace slalom
