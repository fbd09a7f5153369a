// SPDX-License-Identifier: Apache-2.0
#include "rising_root.hpp"

#include <algorithm>
#include <boost/math/tools/toms748_solve.hpp>
#include <cmath>
#include <cstdint>

namespace slalom::detail {

namespace {

constexpr int k_most_steps = 80;
/// Steps back from a place where the fits fail.
constexpr int k_most_retreats = 6;
constexpr double k_relative_precision = 1e-11;
/// A root at which the function is off by more than this is a jump.
constexpr double k_jump = 1e-6;
/// Overshoot of a linear extrapolation, so that the next step brackets the root.
constexpr double k_overshoot = 1.1;

/// A function that rises through the target between two places.
struct Bracket {
  double low = 0.0, high = 0.0, f_low = 0.0, f_high = 0.0;
  bool has_low = false, has_high = false;
};

/// Walks to both sides of the target. True if it succeeded; otherwise `root` says what happened.
bool find_bracket(const std::function<CurvePoint(double)>& f, double target, double guess,
                  double scale, double end, Bracket& b, RisingRoot& root) {
  double x = std::min(guess, end);
  double wall = end;
  int retreats = 0;
  for (int step = 0; step < k_most_steps && !(b.has_low && b.has_high); ++step) {
    const CurvePoint point = f(x);
    if (!point.converged || std::isnan(point.value)) {
      root.message = point.message;
      if (++retreats > k_most_retreats) return false;
      wall = x;
      x = 0.5 * (b.low + x);
      continue;
    }
    if (point.value < target) {
      b.low = x;
      b.f_low = point.value;
      b.has_low = true;
      root.at_end = x >= end;
      if (root.at_end) return false;
      const double next = x + k_overshoot * (target - point.value) * scale;
      x = std::min(std::clamp(next, 1.01 * x, 4.0 * x), end);
      if (x >= wall && wall < end) x = 0.5 * (b.low + wall);
    } else {
      b.high = x;
      b.f_high = point.value;
      b.has_high = true;
      const double next = x - k_overshoot * (point.value - target) * scale;
      x = std::clamp(next, 0.25 * x, 0.99 * x);
    }
    if (!(x < 1e300 && x > 1e-300)) break;
  }
  return b.has_low && b.has_high;
}

}  // namespace

RisingRoot solve_rising(const std::function<CurvePoint(double)>& f, double target, double guess,
                        double scale, double end) {
  RisingRoot root;
  Bracket b;
  if (!find_bracket(f, target, guess, scale, end, b, root)) {
    root.x = root.at_end ? end : b.low;
    if (!root.at_end && root.message.empty()) root.message = "the level is never reached";
    return root;
  }
  double smallest = std::min(target - b.f_low, b.f_high - target);
  root.x = target - b.f_low < b.f_high - target ? b.low : b.high;
  root.found = true;
  const auto difference = [&](double x) {
    const CurvePoint point = f(x);
    const double d = point.value - target;
    if (std::abs(d) <= smallest || !point.converged) {
      smallest = std::abs(d);
      root.x = x;
      root.found = point.converged;
      root.message = point.message;
    }
    return d;
  };
  const auto precise = [](double low, double high) {
    return high - low <= k_relative_precision * high;
  };
  if (smallest > 0.0) {
    std::uintmax_t most = k_most_steps;
    boost::math::tools::toms748_solve(difference, b.low, b.high, b.f_low - target,
                                      b.f_high - target, precise, most);
  }
  if (root.found && !(smallest <= k_jump * (1.0 + std::abs(target)))) {
    root.found = false;
    root.message = "the curve jumps over the level at " + std::to_string(root.x);
  }
  return root;
}

}  // namespace slalom::detail
