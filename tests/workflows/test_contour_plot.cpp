// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/contour_plot.hpp"
#include "support/plots.hpp"

TEST_CASE("curves of one level share an entry of the legend", "[workflows][contour_plot]") {
  slalom::ContourPlot plot;
  plot.parameters = {"mu", "zz_norm"};
  plot.best = {1.0, 2.0};
  plot.expected = {0.0, 0.0};
  plot.curves = {{"68.3 %", {{0.5, 1.5}, {1.5, 1.5}, {1.0, 2.5}}, true},
                 {"95.4 %", {{0.0, 1.0}, {2.0, 1.0}, {1.0, 3.0}}, true},
                 {"95.4 %", {{3.0, 1.0}, {3.1, 1.1}}, false},
                 {"99.7 %", {}, true}};
  const slalom::Picture picture = slalom::picture(plot);
  const auto svg = slalom::test::drawn(picture);
  for (const char* text : {"68.3 %", "95.4 %", "Best fit", "Expected", "mu", "zz_norm"}) {
    INFO(text);
    CHECK(slalom::test::shows(svg, text));
  }
  CHECK(picture.script.find("title '95.4 %'") == picture.script.rfind("title '95.4 %'"));
  CHECK(picture.script.find("99.7") == std::string::npos);
  // A closed curve returns to its start, an open one does not.
  CHECK(picture.script.find("1 2.5\n0.5 1.5\nEOD") != std::string::npos);
  CHECK(picture.script.find("3.1 1.1\nEOD") != std::string::npos);
}
