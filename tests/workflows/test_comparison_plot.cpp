// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/comparison_plot.hpp"
#include "support/plots.hpp"

TEST_CASE("variants are rows under their names", "[workflows][comparison_plot]") {
  slalom::ComparisonPlot plot{.label = "σ(μ), test events",
                              .rows = {{"cross_entropy", 0, {0.44, 0.45, 0.46}, 0.45},
                                       {"bins", 1, {0.375}, 0.375},
                                       {"none yet", 2, {}, {}}}};
  const slalom::Picture page = slalom::picture(plot, {.title = "Study"});
  const auto svg = slalom::test::drawn(page);
  for (const char* text : {"σ(μ), test events", "cross_entropy", "bins", "none yet", "Study"}) {
    INFO(text);
    CHECK(slalom::test::shows(svg, text));
  }
  plot.rows.push_back({"one more", 3, {0.4}, 0.4});
  CHECK(slalom::picture(plot).height > page.height - 30.0);
}

TEST_CASE("equal values, and none at all", "[workflows][comparison_plot]") {
  slalom::test::drawn(
      slalom::picture(slalom::ComparisonPlot{.label = "x", .rows = {{"a", 0, {0.0, 0.0}, 0.0}}}));
  slalom::test::drawn(
      slalom::picture(slalom::ComparisonPlot{.label = "x", .rows = {{"a", 0, {}, {}}}}));
}
