// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "slalom/core/error.hpp"
#include "slalom/core/json.hpp"
#include "slalom/modules/events.hpp"
#include "slalom/modules/tensor_files.hpp"
#include "slalom/workflows/resonance.hpp"
#include "slalom/workflows/resonance_problem.hpp"
#include "support/catch.hpp"
#include "support/command_line.hpp"
#include "support/fails.hpp"

namespace fs = std::filesystem;
using Catch::Matchers::WithinAbs;
using nlohmann::ordered_json;
using slalom::ErrorKind;
using slalom::Json;
using slalom::read_resonance;
using slalom::ResonanceOptions;
using slalom::run_resonance_in_directory;
using slalom::test::check_fails;
using slalom::test::TemporaryFolder;

namespace {

/// A search that takes a second or two, and finds little.
Json small_search() {
  return Json::parse(R"({
    "kind": "resonance",
    "name": "small",
    "data": {"region_events": 1500, "signal_fraction": 0.05, "simulated": 2000},
    "background": {"layers": 2, "hidden": 8, "steps": 60, "batch_size": 512},
    "reference_factor": 2,
    "guard": {"max_q0": 1e6, "max_auc": 1},
    "ranode": {"hidden": 8, "epochs": 2, "batch_size": 256, "scan": [0.01, 0.03, 0.1], "bootstraps": 5},
    "paws": {"hidden": [8], "steps": 40, "batch_size": 256, "starts": 1},
    "anomaly_detector": {"folds": 2, "ensemble": 1, "hidden": [8], "steps": 20},
    "supervised": {"ensemble": 1, "hidden": [8], "steps": 60},
    "bump_hunt": {"bins": 25},
    "background_efficiency": 0.02
  })");
}

ResonanceOptions small_options(const std::string& set = "") {
  Json document = small_search();
  if (!set.empty()) slalom::set_value(document, set);
  return read_resonance(document);
}

std::string text_of(const fs::path& file) { return slalom::read_text(file); }

}  // namespace

TEST_CASE("a search runs all methods and writes what they found", "[workflows][resonance]") {
  const TemporaryFolder folder;
  const fs::path place = folder.path("search");
  const auto result = run_resonance_in_directory(small_options(), place);
  REQUIRE(result.has_value());
  CHECK(result->at("events").at("signal") == 75);
  for (const char* method :
       {"ranode", "paws", "anomaly_detector", "supervised", "bump_hunt", "exact"}) {
    INFO(method);
    CHECK(result->at("methods").contains(method));
  }
  CHECK(ordered_json::parse(text_of(place / "result.json")) == *result);
  const slalom::NamedTensors events = slalom::read_npz((place / "events.npz").string());
  const auto n = result->at("events").at("region").get<std::int64_t>();
  for (const char* column : {"mass", "label", "ranode_score", "paws_score",
                             "anomaly_detector_score", "supervised_score", "exact_score"}) {
    INFO(column);
    REQUIRE(events.count(column) == 1);
    CHECK(events.at(column).size(0) == n);
  }
  REQUIRE(result->at("warnings").size() == 1);
  CHECK(result->at("warnings").at(0).at("where") == "paws");
  // The exact densities know the fraction even here.
  CHECK_THAT(result->at("methods").at("exact").at("fraction").get<double>(), WithinAbs(0.05, 0.02));
  CHECK(slalom::is_resonance(place));
  CHECK(resonance_document(slalom::resonance_of(place)).at("name") == "small");
  check_fails(ErrorKind::usage, place.string(), "there is a result already",
              [&] { run_resonance_in_directory(small_options(), place); });
}

TEST_CASE("a search that was stopped goes on with the same result", "[workflows][resonance]") {
  const TemporaryFolder folder;
  const fs::path whole = folder.path("whole"), parts = folder.path("parts");
  REQUIRE(run_resonance_in_directory(small_options(), whole));
  for (const char* stage : {"background", "ranode", "paws"}) {
    slalom::ResonanceHooks hooks;
    hooks.progress = [&](const std::string& at_work, std::int64_t, std::int64_t) {
      return at_work != stage;
    };
    INFO(stage);
    CHECK_FALSE(run_resonance_in_directory(small_options(), parts, hooks).has_value());
    CHECK_FALSE(fs::exists(parts / "result.json"));
    // What a process that was killed may leave of the stage it was at.
    std::ofstream(parts / "stages" / (std::string(stage) + ".npz")) << "half a file";
  }
  check_fails(ErrorKind::usage, parts.string(), "another experiment",
              [&] { run_resonance_in_directory(small_options("seed=2"), parts); });
  REQUIRE(run_resonance_in_directory(slalom::resonance_of(parts), parts));
  CHECK(text_of(parts / "result.json") == text_of(whole / "result.json"));
  CHECK(text_of(parts / "events.npz") == text_of(whole / "events.npz"));
}

TEST_CASE("the guard refuses a density that is not that of the sidebands",
          "[workflows][resonance]") {
  const TemporaryFolder folder;
  Json document = small_search();
  document["guard"] = {{"max_q0", 9}, {"max_auc", 0.51}};
  document["background"]["steps"] = 3;
  for (const char* method : {"paws", "anomaly_detector", "supervised", "bump_hunt", "ranode"}) {
    document[method]["enabled"] = false;
  }
  document["data"]["region_events"] = 4000;
  const auto result = run_resonance_in_directory(read_resonance(document), folder.path("bad"));
  REQUIRE(result.has_value());
  CHECK(result->at("guard").at("passed") == false);
  REQUIRE(result->at("warnings").size() == 1);
  CHECK(result->at("warnings").at(0).at("where") == "guard");
}

TEST_CASE("a search in files of the user's", "[workflows][resonance]") {
  const TemporaryFolder folder;
  const slalom::ResonanceProblem problem = slalom::make_resonance_problem("dijets");
  const auto write = [&](const slalom::EventBatch& events, const std::string& file) {
    std::ofstream stream(folder.path(file));
    stream << "mjj,mj_min,delta_mj,tau21_1,tau21_2,truth\n";
    for (std::int64_t i = 0; i < events.size(); ++i) {
      for (std::int64_t c = 0; c < 5; ++c) stream << events.features[i][c].item<float>() << ",";
      stream << events.labels[i].item<std::int64_t>() << "\n";
    }
  };
  const slalom::Tensor theta = at::tensor(problem.theta, at::kDouble);
  write(slalom::concatenate({problem.background(4000, 1), problem.signal(60, theta, 2)}),
        "data.csv");
  write(problem.signal(500, theta, 3), "signal.csv");
  Json document = small_search();
  document["data"] = {{"problem", ""},
                      {"path", "data.csv"},
                      {"simulation", "signal.csv"},
                      {"features", {"mj_min", "delta_mj", "tau21_1", "tau21_2"}},
                      {"maps", {"cube_root", "cube_root", "logit", "logit"}},
                      {"low", {0, 0, 0, 0}},
                      {"high", {1, 1, 1, 1}},
                      {"label", "truth"}};
  document["bump_hunt"]["enabled"] = false;
  const ResonanceOptions options = read_resonance(document, folder.path(""));
  const auto result = run_resonance_in_directory(options, folder.path("search"));
  REQUIRE(result.has_value());
  CHECK(result->at("events").at("signal") == 60);
  CHECK(result->at("methods").contains("supervised"));
  CHECK_FALSE(result->at("methods").contains("paws"));
  CHECK_FALSE(result->at("methods").contains("exact"));
  document["data"]["maps"] = {"linear"};
  check_fails(ErrorKind::usage, "/data/maps", "one map for each of 4 features", [&] {
    run_resonance_in_directory(read_resonance(document, folder.path("")), folder.path("maps"));
  });
  document["data"]["maps"] = Json::array();
  document["data"]["region_low"] = 4.9;
  document["data"]["region_high"] = 4.95;
  check_fails(ErrorKind::usage, "/data/region_low", "at least 100 are needed", [&] {
    run_resonance_in_directory(read_resonance(document, folder.path("")), folder.path("few"));
  });
}
