// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <vector>

#include "slalom/core/error.hpp"
#include "slalom/workflows/mass_spectrum_plot.hpp"
#include "support/fails.hpp"
#include "support/plots.hpp"

using slalom::mass_spectrum_plot;
using slalom::MassSpectrumPlot;

namespace {

struct Spectrum {
  std::vector<double> edges, counts;
  explicit Spectrum(double signal) {
    for (int i = 0; i <= 40; ++i) edges.push_back(2.5 + 0.05 * i);
    for (std::size_t b = 0; b < 40; ++b) {
      const double m = 0.5 * (edges[b] + edges[b + 1]);
      counts.push_back(std::round(4000.0 * std::exp(-2.2 * (m - 2.5)) +
                                  signal * std::exp(-50.0 * (m - 3.5) * (m - 3.5))));
    }
  }
};

}  // namespace

TEST_CASE("a bump hunt becomes a picture", "[workflows][mass_spectrum_plot]") {
  const Spectrum spectrum(200.0);
  const slalom::BumpHuntResult hunt = slalom::hunt_bump(spectrum.edges, spectrum.counts);
  REQUIRE(hunt.converged);
  MassSpectrumPlot plot = mass_spectrum_plot(spectrum.counts, hunt);
  CHECK(plot.data == spectrum.counts);
  CHECK(plot.background == hunt.sidebands.expected);
  REQUIRE(plot.signal.size() == 40);
  CHECK(plot.signal[19] == hunt.signal * hunt.shape[19]);
  REQUIRE(plot.window);
  CHECK(plot.window->low == hunt.window.low);
  plot.axis = "m_{JJ} [TeV]";
  const auto svg = slalom::test::drawn(slalom::picture(plot, {.title = "Dijets"}));
  for (const char* text : {"Data", "Fitted signal", "Background fit", "Uncertainty", "Dijets",
                           "S =", "Z =", "Events / 0.05 TeV", "(Data − bkg.) / σ"}) {
    INFO(text);
    CHECK(slalom::test::shows(svg, text));
  }
  plot.logarithmic = false;
  slalom::test::drawn(slalom::picture(plot));
}

TEST_CASE("a deficit is no signal that could be drawn", "[workflows][mass_spectrum_plot]") {
  const Spectrum spectrum(-100.0);
  const slalom::BumpHuntResult hunt = slalom::hunt_bump(spectrum.edges, spectrum.counts);
  REQUIRE(hunt.signal < 0.0);
  const MassSpectrumPlot plot = mass_spectrum_plot(spectrum.counts, hunt);
  CHECK(plot.signal.empty());
  if (slalom::test::has_gnuplot()) {
    CHECK_FALSE(slalom::test::drawn(slalom::picture(plot)).contains("Fitted signal"));
  }
}

TEST_CASE("empty bins and unequal ones", "[workflows][mass_spectrum_plot]") {
  MassSpectrumPlot plot;
  plot.edges = {1.0, 2.0, 4.0, 5.0};
  plot.data = {3.0, 0.0, 1.0};
  plot.background = {2.5, 0.5, 0.0};
  const auto svg = slalom::test::drawn(slalom::picture(plot));
  CHECK(slalom::test::shows(svg, "Events / bin"));
  plot.signal = {1.0};
  slalom::test::check_fails(slalom::ErrorKind::usage, "mass_spectrum_plot", "same bins",
                            [&] { slalom::picture(plot); });
}
