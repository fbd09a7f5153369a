// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "slalom/workflows/fraction_scan_plot.hpp"
#include "support/plots.hpp"

using slalom::FractionScanPlot;

TEST_CASE("points, curve, best and interval", "[workflows][fraction_scan_plot]") {
  FractionScanPlot plot;
  plot.points.push_back({0.0, 0.0, 1.0});  // not on a logarithmic axis
  for (int i = 0; i < 12; ++i) {
    const double t = -4.0 + 0.25 * i;
    plot.points.push_back({std::pow(10.0, t), 60.0 - 30.0 * (t + 2.0) * (t + 2.0), 4.0});
  }
  for (int i = 0; i <= 100; ++i) {
    const double t = -4.0 + 0.0275 * i;
    plot.curve.push_back({std::pow(10.0, t), 60.0 - 30.0 * (t + 2.0) * (t + 2.0), 2.0});
  }
  plot.best = 0.01;
  plot.interval = {0.0, 0.0123};  // reaches beyond the axis
  plot.truth = 0.011;
  plot.level = 58.08;
  const auto svg = slalom::test::drawn(slalom::picture(plot));
  for (const char* text :
       {"Best: 0.01 (0 to 0.0123)", "True: 0.011", "Smoothed", "Scan", "Signal fraction"}) {
    INFO(text);
    CHECK(slalom::test::shows(svg, text));
  }
  plot.logarithmic = false;
  slalom::test::drawn(slalom::picture(plot));
}

TEST_CASE("scans of nothing and of one point", "[workflows][fraction_scan_plot]") {
  FractionScanPlot plot;
  slalom::test::drawn(slalom::picture(plot));
  plot.points.push_back({0.01, 1.0, 0.0});
  slalom::test::drawn(slalom::picture(plot));
  plot.logarithmic = false;
  plot.points[0].x = 0.0;
  slalom::test::drawn(slalom::picture(plot));
}
