// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "slalom/workflows/training_plot.hpp"
#include "support/plots.hpp"

using Points = std::vector<std::pair<double, double>>;

namespace {

Points decay(double from, double to, int n = 100) {
  Points points;
  for (int i = 0; i <= n; ++i) points.emplace_back(i, to + (from - to) * std::exp(-0.1 * i));
  return points;
}

}  // namespace

TEST_CASE("many points become means, and both ends stay", "[workflows][training_plot]") {
  Points points;
  for (int i = 0; i < 1002; ++i) points.emplace_back(i, i % 2);
  const Points thin = slalom::thinned(points, 102);
  REQUIRE(thin.size() == 102);
  CHECK(thin.front() == points.front());
  CHECK(thin.back() == points.back());
  CHECK(thin[1] == std::pair<double, double>{5.5, 0.5});  // steps 1 to 10
  CHECK(slalom::thinned(points, 1002) == points);
  CHECK(slalom::thinned(points, 2) == points);
  CHECK(slalom::thinned({}, 10).empty());
  const Points odd = slalom::thinned(decay(2.0, 1.0), 7);
  REQUIRE(odd.size() == 7);
  for (std::size_t i = 1; i < odd.size(); ++i) CHECK(odd[i].first > odd[i - 1].first);
}

TEST_CASE("panels share the step, and a name is in the legend once", "[workflows][training_plot]") {
  slalom::TrainingPlot plot;
  plot.panels.push_back({.label = "Loss",
                         .curves = {{"Batches", -1, true, decay(3.0, -1.0)},
                                    {"Validation", 0, false, decay(2.0, -1.0)},
                                    {"Validation", 0, false, decay(2.5, -1.0)}}});
  plot.panels.push_back({.label = "σ(μ)", .curves = {{"", 0, false, decay(400.0, 15.0)}}});
  plot.best = 40.0;
  const auto svg = slalom::test::drawn(slalom::picture(plot, {.title = "Small & <simple>"}));
  for (const char* text : {"Loss", "σ(μ)", "Step", "Batches", "Validation", "100"}) {
    INFO(text);
    CHECK(slalom::test::shows(svg, text));
  }
  if (svg.elements.empty()) return;
  // gnuplot names each entry of the legend once more, as the title of its group.
  const auto times = [&](const std::string& word) {
    int n = 0;
    for (auto at = svg.text.find(word); at != std::string::npos; at = svg.text.find(word, at + 1)) {
      ++n;
    }
    return n;
  };
  CHECK(times("Validation") == times("Batches"));
  CHECK(svg.text.find("Step") == svg.text.rfind("Step"));
}

TEST_CASE("what there is little of can be drawn", "[workflows][training_plot]") {
  slalom::TrainingPlot plot;
  plot.panels.push_back({.label = "nothing", .curves = {}});
  slalom::test::drawn(slalom::picture(plot));
  plot.panels.push_back({.label = "one point", .curves = {{"a_b^{c}", 3, false, {{0.0, 5.0}}}}});
  plot.panels.push_back({.label = "constant", .curves = {{"", 1, true, {{0.0, 0.0}, {9.0, 0.0}}}}});
  const auto svg = slalom::test::drawn(slalom::picture(plot));
  CHECK(slalom::test::shows(svg, "a_b^{c}"));
}
