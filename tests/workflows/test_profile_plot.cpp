// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/profile_plot.hpp"
#include "support/plots.hpp"

TEST_CASE("profiles lie over each other", "[workflows][profile_plot]") {
  slalom::ProfilePlot plot;
  plot.parameter = "mu";
  plot.truth = 1.0;
  for (const double width : {0.1, 0.2}) {
    slalom::ProfileCurve curve{width < 0.15 ? "narrow & <good>" : "wide", width < 0.15 ? 0 : 1};
    for (int i = -30; i <= 30; ++i) {
      const double x = 1.0 + 0.02 * i;
      curve.points.emplace_back(x, (x - 1.0) * (x - 1.0) / (width * width));
    }
    plot.curves.push_back(curve);
  }
  plot.curves.push_back({"empty", 2, {}});
  const auto svg = slalom::test::drawn(slalom::picture(plot, {.title = "Overlay"}));
  for (const char* text : {"narrow & <good>", "wide", "mu", "Overlay", "1σ", "3σ"}) {
    INFO(text);
    CHECK(slalom::test::shows(svg, text));
  }
  CHECK_FALSE(slalom::test::shows(svg, "empty"));
}

TEST_CASE("shapes of templates lie over each other", "[workflows][profile_plot]") {
  slalom::ShapePlot plot{.label = "Events", .axis = "Bin of the score", .curves = {}};
  plot.curves.push_back({"signal", 0, false, {1.0, 2.0, 4.0}});
  plot.curves.push_back({"background", 1, true, {1e5, 0.0, 10.0}});
  const auto svg = slalom::test::drawn(slalom::picture(plot));
  for (const char* text : {"signal", "background", "Events", "Bin of the score"}) {
    INFO(text);
    CHECK(slalom::test::shows(svg, text));
  }
}
