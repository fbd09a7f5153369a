// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <vector>

#include "slalom/workflows/pull_plot.hpp"
#include "support/plots.hpp"

namespace {

slalom::ModelSpec spec_with(std::size_t n) {
  slalom::ModelSpec spec;
  for (std::size_t i = 0; i < n; ++i) {
    slalom::Parameter parameter;
    parameter.name = "theta_" + std::to_string(i);
    parameter.constraint = i == 0 ? slalom::ConstraintType::none : slalom::ConstraintType::gaussian;
    spec.parameters.push_back(parameter);
  }
  return spec;
}

std::vector<slalom::Pull> pulls_with(std::size_t n) {
  std::vector<slalom::Pull> pulls(n);
  for (std::size_t i = 0; i < n; ++i) pulls[i] = {i, 0.0, 1.0, 0.0, 1.0};
  return pulls;
}

}  // namespace

TEST_CASE("pulls of constrained parameters are drawn", "[workflows][pull_plot]") {
  auto pulls = pulls_with(4);
  pulls[2].pull = 9.0;   // outside any frame
  pulls[3].pull = -9.0;  // likewise
  const auto plot = slalom::pull_plot(spec_with(4), pulls);
  REQUIRE(plot.points.size() == 3);
  CHECK(plot.points[0].name == "theta_1");
  CHECK(plot.points[1].pull == 9.0);
  CHECK(plot.hidden == 0);
  slalom::PlotStyle style;
  style.labels = {{"theta_1", "θ_{one}"}};
  const auto svg = slalom::test::drawn(slalom::picture(plot, style));
  CHECK(slalom::test::shows(svg, "theta_2"));
  CHECK(slalom::test::shows(svg, "one"));
  CHECK_FALSE(svg.contains("theta_1"));
}

TEST_CASE("of many pulls the strongest are kept in order", "[workflows][pull_plot]") {
  auto pulls = pulls_with(200);
  pulls[150].pull = -1.5;
  pulls[20].constraint = 0.1;
  const auto plot = slalom::pull_plot(spec_with(200), pulls, 2);
  REQUIRE(plot.points.size() == 2);
  CHECK(plot.points[0].name == "theta_20");
  CHECK(plot.points[1].name == "theta_150");
  CHECK(plot.hidden == 197);
  const auto svg = slalom::test::drawn(slalom::picture(plot));
  CHECK(slalom::test::shows(svg, "197 less pulled or constrained"));
  const auto wide = slalom::picture(slalom::pull_plot(spec_with(100), pulls_with(100)));
  CHECK(wide.width > 2.0 * slalom::picture(plot).width);  // three columns
  slalom::test::drawn(wide);
}

TEST_CASE("no pulls are an empty frame", "[workflows][pull_plot]") {
  slalom::test::drawn(slalom::picture(slalom::PullPlot{}));
}
