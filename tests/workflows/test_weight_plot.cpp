// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/weight_plot.hpp"
#include "support/plots.hpp"

using slalom::WeightPanel;
using slalom::WeightPlot;
using slalom::WeightPrior;

TEST_CASE("weights beside their prior", "[workflows][weight_plot]") {
  WeightPlot plot;
  for (const char* name : {"Signal", "Background_1"}) {
    WeightPanel panel;
    panel.name = name;
    for (int i = 0; i < 10; ++i) {
      panel.points.push_back({0.1 + 0.05 * (i % 3), 0.04, WeightPrior{0.1, 0.2}});
    }
    panel.points.push_back({-0.3, 0.0, {}});
    plot.panels.push_back(panel);
  }
  const slalom::Picture page = slalom::picture(plot, {.title = "Weights"});
  CHECK(page.script.find("$bars_1 << EOD\n1 0.1 ") != std::string::npos);
  const auto svg = slalom::test::drawn(page);
  for (const char* text : {"Signal", "Background_1", "Simulation", "Weight", "Weights"}) {
    INFO(text);
    CHECK(slalom::test::shows(svg, text));
  }
  const double both = page.height;
  plot.panels.pop_back();
  CHECK(slalom::picture(plot).height < both - 200.0);
}

TEST_CASE("equal weights without a prior, and none", "[workflows][weight_plot]") {
  WeightPlot plot;
  plot.panels = {{"Signal", {{0.5, 0.0, {}}, {0.5, 0.0, {}}}}, {"Background", {}}};
  const slalom::Picture page = slalom::picture(plot);
  CHECK(page.script.find("using 1:2:3:4:5:6") == std::string::npos);
  slalom::test::drawn(page);
  slalom::test::drawn(slalom::picture(WeightPlot{}));
}
