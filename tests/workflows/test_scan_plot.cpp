// SPDX-License-Identifier: Apache-2.0
#include <utility>
#include <vector>

#include "slalom/workflows/scan_plot.hpp"
#include "support/plots.hpp"

TEST_CASE("a scan is sorted, and failed fits are kept apart", "[workflows][scan_plot]") {
  slalom::ModelSpec spec;
  spec.parameters.resize(1);
  spec.parameters[0].name = "mu_SIG";
  slalom::Scan scan;
  scan.values = {2.0, 0.0, 1.0};
  scan.delta_twice_nll = {4.0, 4.0, 0.0};
  scan.fits.resize(3);
  scan.fits[1].status = slalom::FitStatus::converged;
  scan.fits[2].status = slalom::FitStatus::converged;
  scan.best.parameters = {1.0};
  const auto plot = slalom::scan_plot(spec, scan);
  CHECK(plot.points == std::vector<std::pair<double, double>>{{0.0, 4.0}, {1.0, 0.0}});
  CHECK(plot.failed == std::vector<std::pair<double, double>>{{2.0, 4.0}});
  const auto svg = slalom::test::drawn(slalom::picture(plot));
  CHECK(slalom::test::shows(svg, "mu_SIG = 1"));
  CHECK(slalom::test::shows(svg, "Not converged"));
}

TEST_CASE("lines, interval and parabola", "[workflows][scan_plot]") {
  slalom::ScanPlot plot;
  plot.parameter = "mu";
  plot.best = 1.0;
  for (int i = 0; i <= 20; ++i) {
    const double x = -1.0 + 0.2 * i;
    plot.points.emplace_back(x, (x - 1.0) * (x - 1.0) / 0.25);
  }
  plot.error = 0.5;
  plot.interval = {0.4, 1.5};
  const auto svg = slalom::test::drawn(slalom::picture(plot));
  for (const char* text : {"1σ", "2σ", "3σ", "Parabola (Hessian)", "+0.500", "−0.600"}) {
    INFO(text);
    CHECK(slalom::test::shows(svg, text));
  }
  slalom::test::drawn(slalom::picture(slalom::ScanPlot{}));
}
