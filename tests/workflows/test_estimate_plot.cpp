// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "slalom/workflows/estimate_plot.hpp"
#include "support/plots.hpp"

using slalom::EstimatePlot;

TEST_CASE("estimates of draws against their truth", "[workflows][estimate_plot]") {
  EstimatePlot plot;
  plot.truth = 0.09;
  for (int d = 0; d < 5; ++d) {
    plot.columns.push_back({{0.08 + 0.01 * d, 0.1, 0.09}, 0.09 + 0.003 * d, 0.02});
  }
  plot.columns.push_back({{}, 0.0, 0.0});
  const slalom::Picture page = slalom::picture(plot, {.title = "Ten simulations"});
  const std::size_t from = page.script.find("$values << EOD\n"),
                    to = page.script.find("EOD\n$means");
  REQUIRE(from != std::string::npos);
  REQUIRE(to != std::string::npos);
  CHECK(std::count(page.script.begin() + static_cast<std::ptrdiff_t>(from),
                   page.script.begin() + static_cast<std::ptrdiff_t>(to), '\n') == 1 + 15);
  const auto svg = slalom::test::drawn(page);
  for (const char* text : {"Draw of simulations", "Signal fraction", "Ten simulations"}) {
    INFO(text);
    CHECK(slalom::test::shows(svg, text));
  }
}

TEST_CASE("estimates of one data set each, and none", "[workflows][estimate_plot]") {
  EstimatePlot plot;
  for (int d = 0; d < 200; ++d) plot.columns.push_back({{0.1 + 1e-4 * d}, 0.1 + 1e-4 * d, 0.02});
  // Points of data sets would hide the means.
  CHECK(slalom::picture(plot).script.find("$values using") == std::string::npos);
  slalom::test::drawn(slalom::picture(plot));
  slalom::test::drawn(slalom::picture(EstimatePlot{}));
}
