// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/goodness_of_fit_plot.hpp"
#include "support/plots.hpp"

TEST_CASE("toys, data and chi2 are drawn", "[workflows][goodness_of_fit_plot]") {
  slalom::ToyGoodnessOfFit test;
  test.observed.statistic = 12.5;
  test.observed.degrees_of_freedom = 9;
  test.observed.p_value = 0.187;
  test.p_value = {0.21, 0.02};
  for (int i = 0; i < 300; ++i) test.samples.push_back(2.0 + 0.06 * i);
  auto plot = slalom::goodness_of_fit_plot(test);
  CHECK(plot.samples.size() == 300);
  CHECK(plot.asymptotic_p_value == 0.187);
  const auto svg = slalom::test::drawn(slalom::picture(plot));
  for (const char* text : {"observed 12.5 for 9 degrees of freedom", "p = 0.187",
                           "p = 0.2100 ± 0.0200 (300 toys)", "Data", "Toys"}) {
    INFO(text);
    CHECK(slalom::test::shows(svg, text));
  }
  plot.samples.clear();
  CHECK_FALSE(slalom::test::drawn(slalom::picture(plot)).contains("Toys"));
  plot.degrees_of_freedom = 0;
  slalom::test::drawn(slalom::picture(plot));
  plot.samples = {3.0, 3.0};
  slalom::test::drawn(slalom::picture(plot));
}
