// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <filesystem>
#include <sys/wait.h>
#include <vector>

#include "cli/text.hpp"
#include "experiment/report.hpp"
#include "experiment/templates_plot.hpp"
#include "experiments/experiments.hpp"
#include "slalom/workflows/experiment.hpp"
#include "support/catch.hpp"
#include "support/command_line.hpp"
#include "support/fails.hpp"
#include "support/xml.hpp"

using namespace slalom;
using namespace slalom::test;
namespace fs = std::filesystem;

namespace {

int shell(const TemporaryFolder& folder, const std::string& words) {
  const std::string line =
      "cd '" + folder.path("") + "' && '" SLALOM_EXECUTABLE "' " + words + " > stdout 2> stderr";
  const int status = std::system(line.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Json with(Json document, const std::vector<std::string>& assignments) {
  for (const std::string& assignment : assignments) set_value(document, assignment);
  return document;
}

}  // namespace

TEST_CASE("a finished run has its page, which can be made again",
          "[workflows][experiment_report]") {
  const TemporaryFolder folder;
  const std::string place = folder.path("run");
  Json document = with(small_experiment(), {"evaluation.mu=[1, 0]", "name=\"Wunsch & <toy>\"",
                                            "description=\"What it's for\""});
  const auto result = run_in_directory(read_experiment(document), place);
  REQUIRE(result.has_value());
  CHECK(write_experiment_report(place).empty() == has_gnuplot());
  const std::string text = text_of(place + "/report.html");
  const Xml page = read_xml(text);
  INFO(page.error);
  REQUIRE(page.error.empty());
  for (const char* section : {"summary", "guards", "training", "templates", "nuisances", "result",
                              "document", "provenance"}) {
    INFO(section);
    CHECK(page.ids.contains(section));
  }
  for (const char* words :
       {"Wunsch & <toy>", "What it", "mu = 0", "shift", "Test events, soft bins",
        "Fit of workspace.json", "\"batch_size\": 200", "LibTorch"}) {
    INFO(words);
    CHECK(page.contains(words));
  }
  CHECK(text.find("src=") == std::string::npos);  // nothing outside is loaded
  if (has_gnuplot()) {
    CHECK(page.elements.contains("svg"));
    for (const char* name : {"training", "templates", "prefit", "postfit", "scan"}) {
      const Xml svg = read_xml(text_of(place + "/plots/" + name + ".svg"));
      INFO(name);
      CHECK(svg.error.empty());
      CHECK(svg.elements.contains("svg"));
    }
  }
  fs::remove(place + "/report.html");
  CHECK(shell(folder, "report run") == 0);
  CHECK(text_of(place + "/report.html") == text);
  CHECK(shell(folder, "report run -o other.html --json") == 0);
  CHECK(text_of(folder.path("other.html")) == text);
  CHECK(Json::parse(text_of(folder.path("stdout")))["report"] == "other.html");
  CHECK(shell(folder, "report run --toys 10") == 2);
  CHECK(shell(folder, "report run -o page.txt") == 2);
}

TEST_CASE("the page of a network that knows its nuisance parameter",
          "[workflows][experiment_report][inference]") {
  const TemporaryFolder folder;
  const std::string place = folder.path("run");
  const Json document =
      with(small_learning("parameterised"),
           {"evaluation.auc=[-0.5, 0]", "evaluation.at=[0.5]", "evaluation.fit=false",
            R"(inferences=[{"name": "one & <1>", "observable": "score", "toys": 3,
          "parameters": [{"name": "z", "prior": 0.5, "grid": [-0.8, -0.4, 0, 0.4, 0.8]}]},
         {"name": "pair", "observable": "frozen", "binning": "equal_signal", "slope_bins": 3,
          "parameters": [{"name": "z", "grid": [-0.8, -0.4, 0, 0.4, 0.8]}]}])"});
  REQUIRE(run_in_directory(read_experiment(document), place).has_value());
  CHECK(write_experiment_report(place).empty() == has_gnuplot());
  const Xml page = read_xml(text_of(place + "/report.html"));
  INFO(page.error);
  REQUIRE(page.error.empty());
  for (const char* section : {"learning", "inferences"}) CHECK(page.ids.contains(section));
  for (const char* words : {"one & <1>", "pair", "Half-width", "Coverage of 68.27 %",
                            "Area under the curve", "Templates of pair"}) {
    INFO(words);
    CHECK(page.contains(words));
  }
  if (!has_gnuplot()) return;
  for (const char* name : {"profile_1", "contour_1", "templates_pair"}) {
    INFO(name);
    CHECK(read_xml(text_of(place + "/plots/" + name + ".svg")).elements.contains("svg"));
  }
}

TEST_CASE("the page of folds has the errors of the bootstraps", "[workflows][experiment_report]") {
  const TemporaryFolder folder;
  const std::string place = folder.path("run");
  Json document = small_folds(folder.file("e.csv", labelled_rows()));
  document["selection"] = {
      {"cuts", Json::array({{{"column", "y"}, {"threshold", -3.0}, {"learnable", false}}})}};
  folder.file("folds.json", document.dump());
  REQUIRE(shell(folder, "run folds.json -d run") == 0);
  const Json result = read_json(place + "/result.json");
  const auto error = cli::brief(result["bootstrap"]["error"].get<double>(), 2);
  const std::string said = text_of(folder.path("stdout"));
  CHECK(said.find("20 bootstraps of the test events: sigma(1) +- " + error) != std::string::npos);
  CHECK(said.find("95 % in [" + cli::brief(result["bootstrap"]["low"].get<double>(), 4)) !=
        std::string::npos);
  const Xml page = read_xml(text_of(place + "/report.html"));
  INFO(page.error);
  REQUIRE(page.error.empty());
  for (const std::string& words :
       {std::string("Bootstraps: 20"), "±" + error, std::string("Central 95 %"),
        std::string("Efficiency of the cuts, signal"), std::string("Fold 2")}) {
    INFO(words);
    const bool of_picture = words.find("Fold") == 0;
    if (!of_picture || has_gnuplot()) CHECK(page.contains(words));
  }
  // Without bootstraps there is nothing to say.
  document["evaluation"] = {{"bootstrap", 0}};
  REQUIRE(run_in_directory(read_experiment(document), folder.path("none")).has_value());
  write_experiment_report(folder.path("none"));
  CHECK_FALSE(read_xml(text_of(folder.path("none/report.html"))).contains("Bootstraps"));
}

TEST_CASE("a page of a run that has not ended", "[workflows][experiment_report]") {
  const TemporaryFolder folder;
  RunHooks stop;
  stop.progress = [](const Metrics& now, std::int64_t) { return now.step != 5; };
  CHECK_FALSE(
      run_in_directory(read_experiment(small_experiment()), folder.path("run"), stop).has_value());
  CHECK_FALSE(fs::exists(folder.path("run/report.html")));
  write_experiment_report(folder.path("run"));
  const Xml page = read_xml(text_of(folder.path("run/report.html")));
  CHECK(page.error.empty());
  CHECK(page.contains("Not finished: step 5 of 12."));
  CHECK_FALSE(page.ids.contains("summary"));
}

TEST_CASE("many bins, no nuisance parameters and no fit", "[workflows][experiment_report]") {
  const TemporaryFolder folder;
  const Json document =
      with(small_experiment(), {"summary.bins=15", "evaluation.fit=false", "nuisances=[]"});
  run_in_directory(read_experiment(document), folder.path("run"));
  write_experiment_report(folder.path("run"));
  const Xml page = read_xml(text_of(folder.path("run/report.html")));
  CHECK(page.error.empty());
  CHECK_FALSE(page.ids.contains("result"));
  CHECK_FALSE(page.ids.contains("nuisances"));
}

TEST_CASE("directories that are no results", "[workflows][experiment_report]") {
  const TemporaryFolder folder;
  check_fails(ErrorKind::io, folder.path(""), "not a result directory",
              [&] { write_experiment_report(folder.path("")); });
  run_in_directory(read_experiment(small_experiment()), folder.path("run"));
  folder.file("run/result.json", "{\"mu\": [1]}");
  check_fails(ErrorKind::json, folder.path("run/result.json"), "not what an experiment writes",
              [&] { write_experiment_report(folder.path("run")); });
  CHECK_FALSE(fs::exists(folder.path("run/report.html")));
}

TEST_CASE("variations of a workspace relative to its templates", "[workflows][experiment_report]") {
  const Json workspace = Json::parse(R"({"channels": [
    {"name": "other", "samples": []},
    {"name": "SR", "samples": [
      {"name": "signal", "data": [2, 4], "modifiers": [
        {"name": "mu", "type": "normfactor", "data": null},
        {"name": "rate", "type": "normsys", "data": {"hi": 1.5, "lo": 0.5}}]},
      {"name": "background", "data": [10, 20], "modifiers": [
        {"name": "rate", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}},
        {"name": "shape", "type": "histosys",
         "data": {"hi_data": [11, 20], "lo_data": [9, 22]}},
        {"name": "rate", "type": "histosys",
         "data": {"hi_data": [12, 20], "lo_data": [10, 20]}}]},
      {"name": "rest", "data": [10, 0], "modifiers": []}]}]})");
  const Json result = Json::parse(
      R"({"edges": [0.0, 0.5, 1.0], "soft_yields": {"signal": [2.5, 3.5], "background": [9, 21]}})");
  ExperimentOptions options = read_experiment(small_experiment());
  options.model.channel = "SR";
  options.nuisances = {{.name = "shape"}, {.name = "rate"}, {.name = "absent"}};
  const VariationPlot plot = experiment::templates_plot(options, workspace, result);
  REQUIRE(plot.samples.size() == 3);
  CHECK(plot.samples[0].colour == -1);
  CHECK(plot.samples[0].soft == std::vector<double>{2.5, 3.5});
  CHECK(plot.samples[2].soft.empty());
  CHECK(plot.axis == "Score");
  REQUIRE(plot.panels.size() == 2);
  CHECK(plot.panels[0].up[0] == Approx(1.0 / 20.0));
  CHECK(plot.panels[0].down[1] == Approx(2.0 / 20.0));
  CHECK(plot.panels[0].signal_up.empty());
  CHECK(plot.panels[1].up[0] == Approx((1.1 * 12.0 - 10.0) / 20.0));
  CHECK(plot.panels[1].down[1] == Approx(-0.1));
  CHECK(plot.panels[1].signal_down[0] == Approx(-0.5));
  // Bins that cannot be drawn to scale are numbered.
  Json wide = result;
  wide["edges"] = {-1000.0, 0.5, 1.0};
  CHECK(experiment::templates_plot(options, workspace, wide).edges ==
        std::vector<double>{0.5, 1.5, 2.5});
}
