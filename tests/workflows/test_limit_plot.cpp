// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/limit_plot.hpp"
#include "support/plots.hpp"

namespace {

slalom::HypothesisTest test_at(double mu, bool converged = true) {
  slalom::HypothesisTest test;
  test.mu = mu;
  test.cls = 1.0 - 0.4 * mu;
  test.cls_expected = {0.1, 0.2, 0.3, 0.4, 0.5};
  test.converged = converged;
  return test;
}

}  // namespace

TEST_CASE("CLs is drawn in the order of mu", "[workflows][limit_plot]") {
  slalom::UpperLimit limit;
  limit.observed = 2.345;
  limit.expected = {1.0, 1.2, 1.5, 1.9, 2.5};
  limit.converged = true;
  auto plot = slalom::cls_plot("mu", {test_at(2.0), test_at(0.0), test_at(1.0, false)}, limit);
  REQUIRE(plot.points.size() == 2);
  CHECK(plot.points[0].x == 0.0);
  REQUIRE(plot.limit);
  const auto svg = slalom::test::drawn(slalom::picture(plot));
  for (const char* text : {"Observed", "Expected ± 1σ", "95 % CL upper limit on mu",
                           "observed 2.345", "+0.400", "−0.300"}) {
    INFO(text);
    CHECK(slalom::test::shows(svg, text));
  }
  plot.logarithmic = true;
  slalom::test::drawn(slalom::picture(plot));
  limit.converged = false;
  CHECK_FALSE(slalom::cls_plot("mu", {}, limit).limit);
  slalom::test::drawn(slalom::picture(slalom::cls_plot("mu", {}, limit)));
}

TEST_CASE("limits of a grid are drawn against its label", "[workflows][limit_plot]") {
  slalom::LimitPlot plot;
  plot.axis = "m_{X} [GeV]";
  plot.quantity = "Limit on μ";
  plot.points = {{100.0, 0.5, {0.2, 0.3, 0.4, 0.6, 0.9}}, {200.0, {}, {1.0, 2.0, 3.0, 4.0, 5.0}}};
  const auto svg = slalom::test::drawn(slalom::picture(plot));
  CHECK(slalom::test::shows(svg, "Limit on μ"));
  CHECK(slalom::test::shows(svg, "95 % CL upper limits"));
  plot.points[0].observed.reset();
  const auto expected = slalom::test::drawn(slalom::picture(plot));
  CHECK_FALSE(expected.contains("Observed"));
  plot.logarithmic = false;
  plot.excluded.reset();
  slalom::test::drawn(slalom::picture(plot));
}
