// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <string>
#include <vector>

#include "slalom/core/json.hpp"
#include "slalom/workflows/distribution_plot.hpp"
#include "support/plots.hpp"

using Catch::Matchers::WithinAbs;
using slalom::test::small_workspace;

namespace {

slalom::Model small_model() {
  return slalom::Model(
      slalom::make_model_spec(slalom::parse_workspace(slalom::parse_json(small_workspace()))));
}

slalom::DistributionPlot fitted_plot(const std::vector<slalom::PlotAxis>& axes = {}) {
  const slalom::Model model = small_model();
  slalom::Fitter fitter(model);
  const slalom::FitResult result = fitter.fit();
  return slalom::distribution_plot(model, result.parameters, fitter.covariance(result),
                                   fitter.data(), axes);
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string usage_message(const std::string& axis) {
  try {
    slalom::parse_plot_axis(axis, small_model().spec());
  } catch (const slalom::Error& error) {
    CHECK(error.kind() == slalom::ErrorKind::usage);
    return error.message();
  }
  return "";
}

}  // namespace

TEST_CASE("channels are stacked with the signal on top", "[workflows][distribution_plot]") {
  const auto plots = fitted_plot({{"signal_region", "m [GeV]", 100.0, 300.0}}).channels;
  REQUIRE(plots.size() == 2);
  CHECK(plots[0].channel == "control_region");
  CHECK(plots[0].axis.empty());
  CHECK(plots[0].edges == std::vector<double>{0.5, 1.5});
  const slalom::ChannelPlot& region = plots[1];
  CHECK(region.axis == "m [GeV]");
  CHECK(region.edges == std::vector<double>{100.0, 200.0, 300.0});
  CHECK(region.data == std::vector<double>{53.0, 65.0});
  REQUIRE(region.samples.size() == 2);
  CHECK(region.samples[0].name == "background");
  CHECK(region.samples[1].name == "signal");
  CHECK(region.samples[1].colour == -1);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK_THAT(region.samples[0].yields[i] + region.samples[1].yields[i],
               WithinAbs(region.total[i], 1e-10));
    // A fit with a free signal follows the data, and is about as uncertain as they are.
    CHECK(region.total_error[i] > 0.0);
    CHECK(region.total_error[i] < std::sqrt(region.data[i]));
  }
}

TEST_CASE("many samples share one colour", "[workflows][distribution_plot]") {
  slalom::Workspace workspace;
  slalom::Channel channel{"c", {}};
  for (int i = 0; i < 14; ++i) {
    channel.samples.push_back({"s" + std::to_string(i), {1.0 + i}, {}});
  }
  channel.samples[0].modifiers = {{"mu", slalom::ModifierType::normfactor, {}, {}}};
  workspace.channels = {channel};
  workspace.observations = {{"c", {105.0}}};
  workspace.measurements = {{"m", "mu", {}}};
  const slalom::Model model(slalom::make_model_spec(workspace));
  const auto plots =
      slalom::distribution_plot(model, model.spec().initial(), {}, model.spec().data()).channels;
  REQUIRE(plots.size() == 1);
  REQUIRE(plots[0].samples.size() == 10);
  CHECK(plots[0].samples.front().name == "smaller samples");
  CHECK(plots[0].samples.front().yields[0] == 2.0 + 3.0 + 4.0 + 5.0 + 6.0);
  CHECK(plots[0].samples.back().name == "s0");
  CHECK(plots[0].total_error[0] == 0.0);
}

TEST_CASE("an axis is read from its four parts", "[workflows][distribution_plot]") {
  const auto spec = small_model().spec();
  const auto axis = slalom::parse_plot_axis("signal_region:m: all [GeV]:-1.5:2e2", spec);
  CHECK(axis.channel == "signal_region");
  CHECK(axis.label == "m: all [GeV]");
  CHECK(axis.low == -1.5);
  CHECK(axis.high == 200.0);
  CHECK(contains(usage_message("signal_region"), "CHANNEL:LABEL:LOW:HIGH"));
  CHECK(contains(usage_message("signal_region:0:1"), "CHANNEL:LABEL:LOW:HIGH"));
  CHECK(contains(usage_message("signal_regio:m:0:1"), "did you mean 'signal_region'?"));
  CHECK(contains(usage_message("signal_region:m:x:1"), "finite number"));
  CHECK(contains(usage_message("signal_region:m:1:1"), "LOW must be below HIGH"));
}

TEST_CASE("distributions are drawn with the texts of their style",
          "[workflows][distribution_plot]") {
  slalom::PlotStyle style;
  style.title = "it's a `title` {/:Italic m}_{T} \"quoted\"";
  style.note = "139 fb^{-1}, 13 TeV";
  style.lines = {"mu_SIG = 1 <&>"};
  style.labels = {{"signal", "H_{125}"}};
  auto plot = fitted_plot({{"signal_region", "m_{4l} [GeV]", 0.0, 6.0}});
  const auto svg = slalom::test::drawn(slalom::picture(plot, style));
  for (const char* text : {"`title`", "\"quoted\"", "it's", "139 fb", "mu_SIG = 1 <&>",
                           "background", "125", "Uncertainty", "Events / 3 GeV", "signal_region",
                           "control_region", "Data / model", "Bin of control_region"}) {
    INFO(text);
    CHECK(slalom::test::shows(svg, text));
  }
  plot.logarithmic = true;
  slalom::test::drawn(slalom::picture(plot));
}

TEST_CASE("an overview has the bins of all channels", "[workflows][distribution_plot]") {
  const auto plot = slalom::overview(fitted_plot());
  REQUIRE(plot.channels.size() == 1);
  CHECK(plot.logarithmic);
  const slalom::ChannelPlot& all = plot.channels[0];
  CHECK(all.data == std::vector<double>{105.0, 53.0, 65.0});
  REQUIRE(all.groups.size() == 2);
  CHECK(all.groups[0].name == "control_region");
  CHECK(all.groups[1].n_bins == 2);
  CHECK(all.edges == std::vector<double>{0.5, 1.5, 2.5, 3.5});
  REQUIRE(all.samples.size() == 2);
  CHECK(all.samples[1].name == "signal");
  CHECK(all.samples[1].yields[0] == 0.0);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK_THAT(all.samples[0].yields[i] + all.samples[1].yields[i], WithinAbs(all.total[i], 1e-10));
  }
  const auto svg = slalom::test::drawn(slalom::picture(plot));
  CHECK(slalom::test::shows(svg, "control_region"));
  CHECK(slalom::test::shows(svg, "Events / bin"));
}

TEST_CASE("bins without events and rates are drawn", "[workflows][distribution_plot]") {
  slalom::ChannelPlot empty;
  empty.channel = "nothing";
  empty.edges = {0.5, 1.5, 2.5};
  empty.samples = {{"none", 0, {0.0, 0.0}}};
  empty.total = {0.0, 0.0};
  empty.total_error = {0.0, 0.0};
  empty.data = {0.0, 3.0};
  slalom::test::drawn(slalom::picture(slalom::DistributionPlot{{empty}, false}));
  slalom::test::drawn(slalom::picture(slalom::DistributionPlot{{empty}, true}));
}
