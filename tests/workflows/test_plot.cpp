// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "slalom/core/json.hpp"
#include "slalom/core/yields.hpp"
#include "slalom/workflows/plot.hpp"
#include "support/catch.hpp"
#include "support/command_line.hpp"

using Catch::Matchers::WithinAbs;
using slalom::test::Outcome;
using slalom::test::small_workspace;
using slalom::test::TemporaryFolder;
using slalom::test::text_of;
using Words = std::vector<std::string>;

namespace {

slalom::Model small_model() {
  return slalom::Model(
      slalom::make_model_spec(slalom::parse_workspace(slalom::parse_json(small_workspace()))));
}

std::vector<slalom::ChannelPlot> fitted_plots(const slalom::PlotOptions& options = {}) {
  const slalom::Model model = small_model();
  slalom::Fitter fitter(model);
  const slalom::FitResult result = fitter.fit();
  return slalom::channel_plots(model, result.parameters, fitter.covariance(result), fitter.data(),
                               options);
}

bool has_gnuplot() { return std::system("gnuplot --version > /dev/null 2>&1") == 0; }

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// PATH without any program, until the end of the test.
class EmptyPath {
 public:
  explicit EmptyPath(const std::string& folder) : path_(std::getenv("PATH")) {
    setenv("PATH", folder.c_str(), 1);
  }
  ~EmptyPath() { setenv("PATH", path_.c_str(), 1); }
  EmptyPath(const EmptyPath&) = delete;
  EmptyPath& operator=(const EmptyPath&) = delete;

 private:
  std::string path_;
};

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

TEST_CASE("channels are stacked with the signal on top", "[workflows][plot]") {
  slalom::PlotOptions options;
  options.axes = {{"signal_region", "m [GeV]", 100.0, 300.0}};
  options.labels = {{"signal", "H{/Symbol g}"}};
  const auto plots = fitted_plots(options);
  REQUIRE(plots.size() == 2);
  CHECK(plots[0].channel == "control_region");
  CHECK(plots[0].axis.empty());
  CHECK(plots[0].edges == std::vector<double>{0.5, 1.5});
  const slalom::ChannelPlot& region = plots[1];
  CHECK(region.axis == "m [GeV]");
  CHECK(region.edges == std::vector<double>{100.0, 200.0, 300.0});
  CHECK(region.data == std::vector<double>{53.0, 65.0});
  REQUIRE(region.samples.size() == 2);
  CHECK(region.samples[0].label == "background");
  CHECK_FALSE(region.samples[0].markup);
  CHECK(region.samples[1].label == "H{/Symbol g}");
  CHECK(region.samples[1].markup);
  CHECK(region.samples[1].colour == -1);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK_THAT(region.samples[0].yields[i] + region.samples[1].yields[i],
               WithinAbs(region.total[i], 1e-10));
    // A fit with a free signal follows the data, and is about as uncertain as they are.
    CHECK(region.total_error[i] > 0.0);
    CHECK(region.total_error[i] < std::sqrt(region.data[i]));
  }
}

TEST_CASE("many samples share one colour", "[workflows][plot]") {
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
  const auto plots = slalom::channel_plots(model, model.spec().initial(), {}, model.spec().data());
  REQUIRE(plots.size() == 1);
  REQUIRE(plots[0].samples.size() == 10);
  CHECK(plots[0].samples.front().label == "other");
  CHECK(plots[0].samples.front().yields[0] == 2.0 + 3.0 + 4.0 + 5.0 + 6.0);
  CHECK(plots[0].samples.back().label == "s0");
  CHECK(plots[0].total_error[0] == 0.0);
}

TEST_CASE("an axis is read from its four parts", "[workflows][plot]") {
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

TEST_CASE("formats are known by their suffix", "[workflows][plot]") {
  CHECK_NOTHROW(slalom::check_plot_format("a.svg"));
  CHECK_NOTHROW(slalom::check_plot_format("a.b.png"));
  CHECK_NOTHROW(slalom::check_plot_format("folder/a.pdf"));
  CHECK_THROWS_AS(slalom::check_plot_format("a.eps"), slalom::Error);
  CHECK_THROWS_AS(slalom::check_plot_format("svg"), slalom::Error);
}

TEST_CASE("gnuplot draws all formats", "[workflows][plot]") {
  if (!has_gnuplot()) {
    WARN("SKIPPED: gnuplot is not installed");
    SUCCEED("skipped");
    return;
  }
  const TemporaryFolder folder;
  slalom::PlotOptions options;
  options.title = "it's a `title` {/:Italic m}_{T} \"quoted\"";
  options.note = "13 TeV";
  options.lines = {"mu_SIG = 1"};
  const auto plots = fitted_plots(options);
  slalom::draw(plots, options, folder.path("plot.svg"));
  const std::string svg = text_of(folder.path("plot.svg"));
  CHECK(contains(svg, "<svg"));
  CHECK(contains(svg, "mu_SIG = 1"));
  CHECK(contains(svg, "signal_region"));
  CHECK(contains(svg, "background"));
  CHECK(contains(svg, "`title`"));
  options.logarithmic = true;
  slalom::draw(plots, options, folder.path("plot.png"));
  CHECK(text_of(folder.path("plot.png")).substr(1, 3) == "PNG");
  slalom::draw(plots, options, folder.path("plot.pdf"));
  CHECK(text_of(folder.path("plot.pdf")).substr(0, 4) == "%PDF");
  CHECK_THROWS_AS(slalom::draw(plots, options, folder.path("no/folder.svg")), slalom::Error);
}

TEST_CASE("fit draws what it found", "[workflows][plot]") {
  if (!has_gnuplot()) return;
  const TemporaryFolder folder;
  const std::string file = folder.path("fit.svg");
  const Outcome outcome =
      slalom::test::slalom({"fit", "-", "--plot", file, "--axis", "signal_region:m_{4l} [GeV]:0:6",
                            "--label", "signal", "H", "--title", "Example", "--json"},
                           small_workspace());
  CHECK(outcome.code == slalom::exit_success);
  CHECK(outcome.json().at("converged") == true);
  CHECK(outcome.err.empty());
  const std::string svg = text_of(file);
  CHECK(contains(svg, "Events / 3 GeV"));
  CHECK(contains(svg, "mu = "));
  CHECK(contains(svg, "Example"));
}

TEST_CASE("without gnuplot the fit is not lost", "[workflows][plot]") {
  const TemporaryFolder folder;
  const EmptyPath nothing(folder.path(""));
  const Words words{"fit", "-", "--plot", folder.path("fit.svg"), "--json"};
  const Outcome outcome = slalom::test::slalom(words, small_workspace());
  CHECK(outcome.code == slalom::exit_failure);
  const auto document = outcome.json();
  CHECK(document.at("converged") == true);
  CHECK(contains(document.at("warnings").at(0).at("message"), "gnuplot"));
  CHECK(contains(outcome.err, "gnuplot is needed for plots and is not installed"));
}

TEST_CASE("options of plots are checked before the fit", "[workflows][plot]") {
  const auto where = [](Words words, const std::string& message) {
    words.insert(words.begin(), {"fit", "-", "--json"});
    const Outcome outcome = slalom::test::slalom(words, small_workspace());
    CHECK(outcome.code == slalom::exit_usage);
    CHECK(outcome.error("type") == "usage");
    INFO(outcome.out);
    CHECK(contains(outcome.error("message"), message));
    return outcome.error("where");
  };
  CHECK(where({"--plot", "fit.eps"}, ".svg, .png or .pdf") == "fit.eps");
  CHECK(where({"--title", "x"}, "needs --plot") == "--title");
  CHECK(where({"--log"}, "needs --plot") == "--log");
  CHECK(where({"--plot", "a.svg", "--axis", "nowhere:m:0:1"}, "no channel 'nowhere'") == "--axis");
  CHECK(where({"--plot", "a.svg", "--label", "signl", "S"}, "did you mean 'signal'?") == "--label");
}
