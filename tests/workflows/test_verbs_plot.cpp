// SPDX-License-Identifier: Apache-2.0
/// \file
/// Verbs that draw their result.
#include <cstdlib>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/command_line.hpp"
#include "support/xml.hpp"

using slalom::test::has_gnuplot;
using slalom::test::Outcome;
using slalom::test::read_xml;
using slalom::test::small_workspace;
using slalom::test::TemporaryFolder;
using slalom::test::text_of;
using Words = std::vector<std::string>;

namespace {

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

}  // namespace

TEST_CASE("fit draws what it found", "[workflows][verbs_plot]") {
  if (!has_gnuplot()) {
    WARN("SKIPPED: gnuplot is not installed");
    SUCCEED("skipped");
    return;
  }
  const TemporaryFolder folder;
  const Outcome outcome = slalom::test::slalom({"fit",
                                                "-",
                                                "--plot",
                                                folder.path("fit.svg"),
                                                "--plot-prefit",
                                                folder.path("prefit.svg"),
                                                "--plot-pulls",
                                                folder.path("pulls.svg"),
                                                "--plot-correlation",
                                                folder.path("corr.svg"),
                                                "--axis",
                                                "signal_region:m_{4l} [GeV]:0:6",
                                                "--label",
                                                "signal",
                                                "H",
                                                "--label",
                                                "scale",
                                                "Energy",
                                                "--title",
                                                "Example",
                                                "--json"},
                                               small_workspace());
  CHECK(outcome.code == slalom::exit_success);
  CHECK(outcome.json().at("converged") == true);
  CHECK(outcome.err.empty());
  const auto fit = read_xml(text_of(folder.path("fit.svg")));
  for (const char* text : {"Events / 3 GeV", "Example", "Post-fit", "mu = ", " ± "}) {
    INFO(text);
    CHECK(fit.contains(text));
  }
  CHECK(read_xml(text_of(folder.path("prefit.svg"))).contains("Pre-fit"));
  CHECK(read_xml(text_of(folder.path("pulls.svg"))).contains("Energy"));
  CHECK(read_xml(text_of(folder.path("corr.svg"))).contains("statistics[0]"));
}

TEST_CASE("fit draws one overview", "[workflows][verbs_plot]") {
  if (!has_gnuplot()) return;
  const TemporaryFolder folder;
  const std::string file = folder.path("fit.svg");
  const Outcome outcome = slalom::test::slalom(
      {"fit", "-", "--plot", file, "--overview", "--asimov", "1"}, small_workspace());
  CHECK(outcome.code == slalom::exit_success);
  const auto svg = read_xml(text_of(file));
  CHECK(svg.contains("Events / bin"));
  CHECK(svg.contains("Asimov data"));
}

TEST_CASE("scan and limit draw their curves", "[workflows][verbs_plot]") {
  if (!has_gnuplot()) return;
  const TemporaryFolder folder;
  Outcome outcome = slalom::test::slalom(
      {"scan", "-", "--plot", folder.path("scan.svg"), "--parabola", "--label", "mu", "μ"},
      small_workspace());
  CHECK(outcome.code == slalom::exit_success);
  const auto scan = read_xml(text_of(folder.path("scan.svg")));
  CHECK(scan.contains("Parabola"));
  CHECK(scan.contains("μ = "));
  outcome = slalom::test::slalom({"limit", "-", "--plot", folder.path("limit.svg"), "--log"},
                                 small_workspace());
  CHECK(outcome.code == slalom::exit_success);
  CHECK(read_xml(text_of(folder.path("limit.svg"))).contains("95 % CL upper limit on mu"));
}

TEST_CASE("ranking and gof draw their result", "[workflows][verbs_plot]") {
  if (!has_gnuplot()) return;
  const TemporaryFolder folder;
  Outcome outcome = slalom::test::slalom(
      {"ranking", "-", "--plot", folder.path("ranking.svg"), "--max", "1"}, small_workspace());
  CHECK(outcome.code == slalom::exit_success);
  const auto ranking = read_xml(text_of(folder.path("ranking.svg")));
  CHECK(ranking.contains("Impact on mu"));
  CHECK(ranking.contains("2 smaller: not shown"));
  for (const char* toys : {"0", "30"}) {
    Words words{"gof", "-", "--plot", folder.path("gof.svg"), "--note", "13 TeV"};
    if (*toys != '0') words.insert(words.end(), {"--toys", toys});
    outcome = slalom::test::slalom(words, small_workspace());
    CHECK(outcome.code == slalom::exit_success);
    const auto gof = read_xml(text_of(folder.path("gof.svg")));
    CHECK(gof.contains("13 TeV"));
    CHECK(gof.contains("30 toys") == (*toys != '0'));
  }
}

TEST_CASE("contour draws all levels", "[workflows][verbs_plot]") {
  if (!has_gnuplot()) return;
  const TemporaryFolder folder;
  const Outcome outcome =
      slalom::test::slalom({"contour", "-", "--x", "mu", "--y", "scale", "--measurement", "wide",
                            "--level", "0.95", "--level", "0.5", "--plot", folder.path("c.svg")},
                           small_workspace());
  CHECK(outcome.code == slalom::exit_success);
  const auto svg = read_xml(text_of(folder.path("c.svg")));
  for (const char* text : {"50 %", "95 %", "mu", "scale", "Best fit"}) {
    INFO(text);
    CHECK(svg.contains(text));
  }
  CHECK(svg.text.find("50 %") < svg.text.find("95 %"));  // from the inside out
}

TEST_CASE("without gnuplot no result is lost", "[workflows][verbs_plot]") {
  const TemporaryFolder folder;
  const EmptyPath nothing(folder.path(""));
  for (const char* verb : {"fit", "scan", "limit", "ranking", "gof", "contour"}) {
    INFO(verb);
    const Outcome outcome = slalom::test::slalom(
        {verb, "-", "--plot", folder.path("plot.svg"), "--json"}, small_workspace());
    CHECK(outcome.code == slalom::exit_failure);
    const auto document = outcome.json();
    CHECK(document.contains("measurement"));  // the result, not an error document
    CHECK(contains(document.at("warnings").at(0).at("message"), "gnuplot"));
    CHECK(contains(outcome.err, "gnuplot is needed for plots and is not installed"));
  }
}

TEST_CASE("options of plots are checked before the fit", "[workflows][verbs_plot]") {
  const auto where = [](Words words, const std::string& message) {
    words.insert(words.begin() + 1, {"-", "--json"});
    const Outcome outcome = slalom::test::slalom(words, small_workspace());
    CHECK(outcome.code == slalom::exit_usage);
    CHECK(outcome.error("type") == "usage");
    INFO(outcome.out);
    CHECK(contains(outcome.error("message"), message));
    return outcome.error("where");
  };
  CHECK(where({"fit", "--plot", "fit.eps"}, ".svg, .png or .pdf") == "fit.eps");
  CHECK(where({"fit", "--plot-pulls", "fit"}, ".svg, .png or .pdf") == "fit");
  CHECK(where({"fit", "--title", "x"}, "needs --plot") == "--title");
  CHECK(where({"fit", "--log"}, "needs --plot") == "--log");
  CHECK(where({"fit", "--overview"}, "needs --plot") == "--overview");
  CHECK(where({"fit", "--plot", "a.svg", "--axis", "nowhere:m:0:1"}, "no channel 'nowhere'") ==
        "--axis");
  CHECK(where({"fit", "--plot", "a.svg", "--label", "signl", "S"}, "did you mean 'signal'?") ==
        "--label");
  CHECK(where({"fit", "--plot", "a.svg", "--correlation-threshold", "0.1"},
              "needs --plot-correlation") == "--correlation-threshold");
  CHECK(where({"scan", "--parabola"}, "needs --plot") == "--parabola");
  CHECK(where({"scan", "--plot", "scan.gif"}, ".svg, .png or .pdf") == "scan.gif");
  CHECK(where({"limit", "--log"}, "needs --plot") == "--log");
  CHECK(where({"limit", "--note", "x"}, "needs --plot") == "--note");
}
