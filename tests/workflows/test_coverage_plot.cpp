// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/coverage_plot.hpp"
#include "support/plots.hpp"

using slalom::CoveragePlot;

TEST_CASE("kinds of intervals against what they claim", "[workflows][coverage_plot]") {
  CoveragePlot plot;
  plot.curves = {
      {"Sandwich_errors", 1, false, {{0.95, 0.85, 0.02}, {0.6827, 0.57, 0.03}}},
      {"Integrated", 0, true, {{0.2, 0.21, 0.03}, {0.6827, 0.69, 0.03}, {0.95, 0.94, 0.02}}},
      {"Nothing yet", 2, true, {}}};
  const slalom::Picture page = slalom::picture(plot);
  // Points are sorted.
  CHECK(page.script.find("$curve_0 << EOD\n0.6827 ") != std::string::npos);
  CHECK(page.script.find("$curve_2") == std::string::npos);
  CHECK(page.script.find("$curve_0 using 1:2 with points ") != std::string::npos);
  CHECK(page.script.find("$curve_1 using 1:2 with linespoints ") != std::string::npos);
  CHECK(page.alternative == "Coverage of 3 kinds of intervals");
  const auto svg = slalom::test::drawn(page);
  for (const char* text : {"Sandwich_errors", "Integrated", "Nominal probability", "Coverage"}) {
    INFO(text);
    CHECK(slalom::test::shows(svg, text));
  }
  slalom::test::drawn(slalom::picture(CoveragePlot{}));
}
