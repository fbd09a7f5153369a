// SPDX-License-Identifier: Apache-2.0
#include "cli/scan_points.hpp"

#include <algorithm>

namespace slalom::cli {

namespace {

constexpr long k_curve_points = 41;
/// How far a curve of CLs goes beyond the largest limit.
constexpr double k_beyond = 1.15;

}  // namespace

std::array<double, 2> scan_range(Fitter& fitter, const FitResult& best, std::size_t parameter,
                                 double reach) {
  const Parameter& declared = fitter.model().spec().parameters[parameter];
  const double value = best.parameters[parameter];
  const double distance = reach * fitter.errors(best)[parameter];
  std::array<double, 2> range{value - distance, value + distance};
  if (!(distance > 0.0)) {
    const Interval interval = minos(fitter, best, parameter, {}, reach * reach);
    range = {interval.lower.value, interval.upper.value};
  }
  range[0] = std::max(range[0], declared.lower);
  range[1] = std::min(range[1], declared.upper);
  if (!(range[0] < range[1])) range = {declared.lower, declared.upper};
  return range;
}

std::vector<double> evenly(const std::array<double, 2>& range, long points) {
  std::vector<double> values(static_cast<std::size_t>(points));
  for (long i = 0; i < points; ++i) {
    const double fraction = static_cast<double>(i) / static_cast<double>(points - 1);
    values[static_cast<std::size_t>(i)] = range[0] + fraction * (range[1] - range[0]);
  }
  values.back() = range[1];
  return values;
}

std::vector<HypothesisTest> cls_curve(AsymptoticCalculator& calculator, const Parameter& poi,
                                      const UpperLimit& limit) {
  const double largest = std::max(limit.expected.back(), limit.observed);
  const double low = std::max(poi.lower, 0.0);
  const double high = std::min(k_beyond * largest, poi.upper);
  std::vector<HypothesisTest> tests;
  if (!(low < high)) return tests;
  for (const double mu : evenly({low, high}, k_curve_points)) {
    tests.push_back(calculator.test(mu));
  }
  return tests;
}

}  // namespace slalom::cli
