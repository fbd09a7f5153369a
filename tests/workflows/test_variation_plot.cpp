// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/variation_plot.hpp"
#include "support/plots.hpp"

namespace {

slalom::VariationPlot small_plot() {
  slalom::VariationPlot plot;
  plot.axis = "Score";
  plot.edges = {0.0, 0.5, 0.8, 1.0};
  plot.samples = {{"background", 0, {500.0, 300.0, 40.0}, {490.0, 305.0, 45.0}},
                  {"signal", -1, {5.0, 15.0, 30.0}, {6.0, 15.0, 29.0}}};
  plot.panels = {{.name = "energy_scale",
                  .up = {0.02, -0.01, -0.05},
                  .down = {-0.02, 0.01, 0.06},
                  .signal_up = {0.0, 0.01, 0.02},
                  .signal_down = {0.0, -0.01, -0.02}},
                 {.name = "rate", .up = {0.1, 0.1, 0.1}, .down = {-0.1, -0.1, -0.1}}};
  return plot;
}

}  // namespace

TEST_CASE("templates with what nuisance parameters do", "[workflows][variation_plot]") {
  const auto svg = slalom::test::drawn(slalom::picture(small_plot()));
  for (const char* text : {"Score", "Events", "background", "signal", "energy_scale", "rate",
                           "Hard bins", "Soft bins", "Change [%]", "+1σ", "−1σ"}) {
    INFO(text);
    CHECK(slalom::test::shows(svg, text));
  }
}

TEST_CASE("without soft bins and variations, empty bins, numbered bins",
          "[workflows][variation_plot]") {
  slalom::VariationPlot plot = small_plot();
  plot.panels.clear();
  plot.edges = {0.5, 1.5, 2.5, 3.5};
  plot.axis = "Bin";
  plot.samples = {{"background", 0, {500.0, 0.0, 0.001}}};
  const auto svg = slalom::test::drawn(slalom::picture(plot));
  CHECK(slalom::test::shows(svg, "Bin"));
  if (!svg.elements.empty()) CHECK_FALSE(svg.contains("Soft bins"));
  plot.samples.front().hard = {0.0, 0.0, 0.0};
  plot.panels = {{.name = "nothing", .up = {0.0, 0.0, 0.0}, .down = {0.0, 0.0, 0.0}}};
  slalom::test::drawn(slalom::picture(plot));
}
