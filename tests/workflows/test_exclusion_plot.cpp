// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "slalom/core/error.hpp"
#include "slalom/workflows/exclusion_plot.hpp"
#include "support/plots.hpp"

using Catch::Matchers::WithinAbs;

TEST_CASE("measures of exclusion are zero at the edge", "[workflows][exclusion_plot]") {
  CHECK_THAT(slalom::exclusion_by_cls(0.05, 0.05), WithinAbs(0.0, 1e-12));
  CHECK_THAT(slalom::exclusion_by_cls(0.00134989803163, 0.05), WithinAbs(3.0 - 1.644853627, 1e-7));
  CHECK(slalom::exclusion_by_cls(0.5, 0.05) < 0.0);
  CHECK(slalom::exclusion_by_cls(0.0, 0.05) == 10.0);
  CHECK(slalom::exclusion_by_cls(1.0, 0.05) == -10.0);
  CHECK_THAT(slalom::exclusion_by_limit(1.0, 1.0), WithinAbs(0.0, 1e-15));
  CHECK(slalom::exclusion_by_limit(0.5, 1.0) > 0.0);
  CHECK(slalom::exclusion_by_limit(0.5, 0.4) < 0.0);
}

TEST_CASE("excluded regions are drawn", "[workflows][exclusion_plot]") {
  slalom::ExclusionPlot plot;
  plot.axes = {"m_{X} [GeV]", "m_{Y} [GeV]"};
  plot.caption = "μ = 1";
  for (int i = 0; i < 6; ++i) {
    for (int j = 0; j < i; ++j) {
      const double distance = 3.3 - std::hypot(i - 1.0, j);
      plot.points.push_back(
          {100.0 * i, 50.0 * j, distance, {distance + 1.0, distance + 0.2, distance - 1.0}});
    }
  }
  const auto svg = slalom::test::drawn(slalom::picture(plot, {.note = "139 fb^{-1}"}));
  for (const char* text :
       {"Observed", "Expected ± 1σ", "95 % CL exclusion", "μ = 1", "Excluded", "139 fb"}) {
    INFO(text);
    CHECK(slalom::test::shows(svg, text));
  }
  // Nothing is excluded: no lines, but a picture.
  for (auto& point : plot.points) {
    point.observed = -1.0;
    point.expected = {-1.0, -2.0, -3.0};
  }
  slalom::test::drawn(slalom::picture(plot));
  plot.points.push_back(plot.points.front());
  CHECK_THROWS_AS(slalom::picture(plot), slalom::Error);
  plot.points = {{0, 0, 1, {}}, {1, 1, 1, {}}, {2, 2, 1, {}}};
  CHECK_THROWS_AS(slalom::picture(plot), slalom::Error);
}
