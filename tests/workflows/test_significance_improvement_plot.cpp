// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>

#include "slalom/workflows/significance_improvement_plot.hpp"
#include "support/plots.hpp"

using slalom::SignificanceImprovementLine;
using slalom::SignificanceImprovementPlot;

TEST_CASE("methods over each other", "[workflows][significance_improvement_plot]") {
  SignificanceImprovementPlot plot;
  for (int c = 0; c < 3; ++c) {
    SignificanceImprovementLine curve;
    curve.name = c == 0 ? "Supervised" : c == 1 ? "Scan_1" : "No events";
    curve.colour = c - 1;
    curve.dashed = c == 0;
    for (int i = 100; i > 0 && c < 2; --i) {
      const double e = 0.01 * i;
      curve.points.push_back({e, 1.0 + (6.0 - 3.0 * c) * 4.0 * e * (1.0 - e), 0.3});
    }
    plot.curves.push_back(curve);
  }
  const slalom::Picture page = slalom::picture(plot);
  // Twelve bars, evenly spaced.
  const std::size_t from = page.script.find("$bars_0 << EOD\n"),
                    to = page.script.find("EOD\n$", from);
  REQUIRE(from != std::string::npos);
  const std::string block = page.script.substr(from, to - from);
  CHECK(std::count(block.begin(), block.end(), '\n') == 1 + 12);
  CHECK(page.script.find("$curve_2") == std::string::npos);
  const auto svg = slalom::test::drawn(page);
  for (const char* text : {"Supervised", "Scan_1", "Signal efficiency"}) {
    INFO(text);
    CHECK(slalom::test::shows(svg, text));
  }
  plot.error_bars = 0;
  CHECK(slalom::picture(plot).script.find("$bars_") == std::string::npos);
  slalom::test::drawn(slalom::picture(SignificanceImprovementPlot{}));
}
