// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <string>
#include <sys/wait.h>

#include "slalom/core/error.hpp"
#include "slalom/core/hellinger.hpp"
#include "slalom/core/json.hpp"
#include "slalom/modules/tensor_files.hpp"
#include "slalom/workflows/mixture_experiment.hpp"
#include "slalom/workflows/mixture_problem.hpp"
#include "slalom/workflows/study.hpp"
#include "support/catch.hpp"
#include "support/command_line.hpp"
#include "support/fails.hpp"

namespace fs = std::filesystem;
using Catch::Matchers::WithinAbs;
using nlohmann::ordered_json;
using slalom::ErrorKind;
using slalom::Json;
using slalom::read_mixture;
using slalom::run_mixture_in_directory;
using slalom::test::check_fails;
using slalom::test::TemporaryFolder;

namespace {

/// A measurement that takes a fraction of a second.
Json small_mixture() {
  return Json::parse(R"({
    "kind": "mixture",
    "name": "small",
    "data": {"pairs": 12, "bins": [10], "signal_events": 1000, "background_events": 4000},
    "mixture": {"simulations": 7},
    "error": {"points": 15},
    "leave_one_out": {"simulations": [5, 6], "strengths": [0.5, 1], "toys": 1},
    "toys": {"draws": 3, "toys": 2, "levels": [0.5, 0.9]}
  })");
}

Json without_coverage(Json document) {
  document["leave_one_out"]["enabled"] = false;
  document["toys"]["enabled"] = false;
  return document;
}

std::optional<ordered_json> run(const Json& document, const fs::path& place,
                                const std::string& base = "") {
  return run_mixture_in_directory(read_mixture(document, base), place);
}

std::string text_of(const fs::path& file) { return slalom::read_text(file); }

/// A number that reads back exactly.
std::string exact(double value) { return Json(value).dump(); }

/// Columns of histograms of the toy: five simulations of each process, the truth, and counts.
std::string template_file(std::size_t side, std::optional<double> fourth = {}) {
  const auto pairs = slalom::draw_biased_pairs(5, 2);
  std::vector<std::vector<double>> columns;
  std::string header;
  for (std::size_t i = 0; i < 5; ++i) {
    columns.push_back(slalom::plane_contents(pairs[i].signal, side));
    columns.push_back(slalom::plane_contents(pairs[i].background, side));
    header += "s" + std::to_string(i) + ",b" + std::to_string(i) + ",";
  }
  columns.push_back(slalom::plane_contents(slalom::k_biased_truth.signal, side));
  columns.push_back(slalom::plane_contents(slalom::k_biased_truth.background, side));
  std::vector<double> counts;
  for (std::size_t i = 0; i < side * side; ++i) {
    counts.push_back(std::round(3000.0 * columns[10][i] + 40000.0 * columns[11][i]));
  }
  columns.push_back(counts);
  if (fourth) columns[0][3] = *fourth;
  std::string text = header + "truth_s,truth_b,counts\n";
  for (std::size_t i = 0; i < side * side; ++i) {
    for (std::size_t c = 0; c < columns.size(); ++c) {
      text += (c == 0 ? "" : ",") + exact(columns[c][i]);
    }
    text += "\n";
  }
  return text;
}

Json template_document() {
  return Json::parse(R"({
    "kind": "mixture",
    "data": {"problem": "", "templates": "templates.csv",
             "signal": ["s0", "s1", "s2", "s3", "s4"], "background": ["b0", "b1", "b2", "b3", "b4"],
             "true_signal": "truth_s", "true_background": "truth_b", "observed": "counts"},
    "densities": "binned",
    "mixture": {"simulations": 0},
    "error": {"points": 15},
    "leave_one_out": {"toys": 1},
    "toys": {"draws": 2, "toys": 2}
  })");
}

}  // namespace

TEST_CASE("a measurement runs all stages and writes what they found",
          "[workflows][mixture_experiment]") {
  const TemporaryFolder folder;
  const fs::path place = folder.path("small");
  const auto result = run(small_mixture(), place);
  REQUIRE(result.has_value());
  CHECK(ordered_json::parse(text_of(place / "result.json")) == *result);
  const ordered_json& fit = result->at("fit");
  REQUIRE(fit.at("converged") == true);
  CHECK(fit.at("events") == 5000.0);
  CHECK(fit.at("truth") == 0.2);
  CHECK_THAT(fit.at("interval").at("kappa").get<double>(), WithinAbs(0.2, 0.25));
  CHECK(fit.at("pulls").at("degrees").get<std::size_t>() > 0);
  for (const char* process : {"signal", "background"}) {
    INFO(process);
    CHECK(fit.at(process).at("parameters") == "coordinates");
    CHECK(fit.at(process).at("value").size() == fit.at(process).at("prior_width").size());
    CHECK(fit.at(process).at("simulations").size() == 7);
    CHECK(fit.at(process).at("distance").at("simulations").size() == 7);
  }
  REQUIRE(result->at("leave_one_out").at("rows").size() == 4);
  CHECK(result->at("leave_one_out").at("rows").at(1).at("simulations") == 5);
  CHECK(result->at("leave_one_out").at("rows").at(1).at("strength") == 1.0);
  // Twice the prior's width: longer intervals.
  for (const std::size_t row : {std::size_t{0}, std::size_t{2}}) {
    CHECK(result->at("leave_one_out").at("rows").at(row).at("half_width").get<double>() <
          result->at("leave_one_out").at("rows").at(row + 1).at("half_width").get<double>());
  }
  const ordered_json& toys = result->at("toys");
  CHECK(toys.at("draws") == 3);
  CHECK(toys.at("truth") == 0.2);
  CHECK(toys.at("curve").size() == 2);
  const slalom::NamedTensors tensors = slalom::read_npz((place / "toys.npz").string());
  for (const char* name : {"valid", "kappa", "error", "lower", "upper", "needed", "best_fit",
                           "laplace", "sandwich", "p_value", "signal_distance"}) {
    INFO(name);
    REQUIRE(tensors.count(name) == 1);
    CHECK(tensors.at(name).sizes() == std::vector<std::int64_t>{3, 2});
  }
  CHECK_THAT(tensors.at("kappa").mean().item<double>(),
             WithinAbs(toys.at("mean").get<double>(), 1e-12));
  CHECK(slalom::is_mixture(place));
  CHECK(mixture_document(slalom::mixture_of(place)).at("name") == "small");
  check_fails(ErrorKind::usage, place.string(), "there is a result already",
              [&] { run(small_mixture(), place); });
}

TEST_CASE("a measurement that was stopped goes on with the same result",
          "[workflows][mixture_experiment]") {
  const TemporaryFolder folder;
  const fs::path whole = folder.path("whole"), parts = folder.path("parts");
  REQUIRE(run(small_mixture(), whole));
  for (const char* stage : {"leave_one_out", "toys"}) {
    slalom::MixtureHooks hooks;
    hooks.progress = [&](const std::string& at_work, std::int64_t, std::int64_t) {
      return at_work != stage;
    };
    INFO(stage);
    CHECK_FALSE(run_mixture_in_directory(read_mixture(small_mixture()), parts, hooks).has_value());
    CHECK_FALSE(fs::exists(parts / "result.json"));
    // What a process that was killed may leave of the stage it was at.
    if (std::string(stage) == "toys") std::ofstream(parts / "stages/toys.npz") << "half a file";
  }
  Json other = small_mixture();
  other["seed"] = 2;
  check_fails(ErrorKind::usage, parts.string(), "another experiment", [&] { run(other, parts); });
  REQUIRE(run_mixture_in_directory(slalom::mixture_of(parts), parts));
  CHECK(text_of(parts / "result.json") == text_of(whole / "result.json"));
  CHECK(text_of(parts / "toys.npz") == text_of(whole / "toys.npz"));
}

TEST_CASE("a measurement does not depend on threads", "[workflows][mixture_experiment]") {
  const TemporaryFolder folder;
  Json document = small_mixture();
  REQUIRE(run(document, folder.path("one")));
  document["threads"] = 4;
  REQUIRE(run(document, folder.path("four")));
  CHECK(text_of(folder.path("one") + "/result.json") ==
        text_of(folder.path("four") + "/result.json"));
  CHECK(text_of(folder.path("one") + "/toys.npz") == text_of(folder.path("four") + "/toys.npz"));
}

TEST_CASE("all kinds of mixtures and errors", "[workflows][mixture_experiment]") {
  struct Kind {
    const char *family, *prior, *error, *parameters;
    std::size_t numbers;
  };
  const TemporaryFolder folder;
  int count = 0;
  for (const Kind& kind : {Kind{"exponential", "ridge", "sandwich", "weights", 5},
                           Kind{"exponential", "ridge", "profile", "weights", 5},
                           Kind{"exponential", "population", "laplace", "coordinates", 4},
                           Kind{"linear", "dirichlet", "marginal", "weights", 5},
                           Kind{"topics", "dirichlet", "hmc", "topics", 3}}) {
    CAPTURE(kind.family, kind.prior, kind.error);
    Json document = without_coverage(small_mixture());
    document["mixture"] = {
        {"family", kind.family},
        {"prior", kind.prior},
        {"simulations", 5},
        {"strength", 2.0},  // flat linear weights at their bounds have no minimum
        {"topics", {{"count", 3}, {"method", "lda"}, {"iterations", 50}}}};
    document["error"] = {
        {"type", kind.error}, {"points", 15}, {"chains", 2}, {"warmup", 100}, {"draws", 50}};
    const auto result = run(document, folder.path(std::to_string(count++)));
    REQUIRE(result.has_value());
    const ordered_json& fit = result->at("fit");
    REQUIRE(fit.at("converged") == true);
    CHECK(fit.at("background").at("parameters") == kind.parameters);
    CHECK(fit.at("background").at("value").size() == kind.numbers);
    CHECK(fit.contains("pulls") == (std::string(kind.prior) == "population"));
    CHECK(fit.contains("hmc") == (std::string(kind.error) == "hmc"));
    if (std::string(kind.parameters) != "coordinates") {
      const auto weights = fit.at("signal").at("value").get<std::vector<double>>();
      CHECK_THAT(std::accumulate(weights.begin(), weights.end(), 0.0), WithinAbs(1.0, 1e-9));
    }
    CHECK_FALSE(result->contains("toys"));
    CHECK_FALSE(result->contains("leave_one_out"));
  }
}

TEST_CASE("one pair has nothing to adapt", "[workflows][mixture_experiment]") {
  const TemporaryFolder folder;
  Json document = small_mixture();
  document["mixture"] = {{"prior", "ridge"}, {"simulations", 1}};
  document["error"]["type"] = "sandwich";
  const auto result = run(document, folder.path("one"));
  REQUIRE(result.has_value());
  // The weight that is left is 1, without an error.
  CHECK(result->at("fit").at("signal").at("value") == ordered_json::array({1.0}));
  CHECK(result->at("fit").at("signal").at("error") == ordered_json::array({0.0}));
  REQUIRE(result->at("warnings").size() == 1);
  CHECK(result->at("warnings").at(0).at("where") == "leave_one_out");
  CHECK_FALSE(result->contains("leave_one_out"));
}

TEST_CASE("truths that are held out, and farther away", "[workflows][mixture_experiment]") {
  const TemporaryFolder folder;
  Json document = small_mixture();
  document["leave_one_out"]["enabled"] = false;
  document["data"]["truth"] = "held_out";
  document["toys"] = {{"draws", 6}, {"toys", 1}};
  const auto near = run(document, folder.path("near"));
  document["data"]["distance"] = 2.0;
  const auto far = run(document, folder.path("far"));
  REQUIRE(near.has_value());
  REQUIRE(far.has_value());
  const auto distance = [](const ordered_json& result) {
    double sum = 0.0;
    for (const auto& d : result.at("fit").at("background").at("distance").at("simulations")) {
      sum += d.get<double>();
    }
    return sum;
  };
  CHECK(distance(*far) > 1.2 * distance(*near));
  // As many as there are leave none to hold out.
  document["mixture"]["simulations"] = 12;
  check_fails(ErrorKind::usage, "/mixture/simulations", "one is held out",
              [&] { run(document, folder.path("all")); });
  document["data"]["distance"] = 1.0;
  document["mixture"]["simulations"] = 11;
  document["toys"]["draws"] = 3;
  CHECK(run(document, folder.path("but one")).has_value());
}

TEST_CASE("histograms of simulated events", "[workflows][mixture_experiment]") {
  const TemporaryFolder folder;
  Json document = without_coverage(small_mixture());
  document["mixture"]["directions"] = 2;
  const auto exact = run(document, folder.path("exact"));
  document["densities"] = "binned";
  document["data"]["simulated"] = 1000000;
  const auto binned = run(document, folder.path("binned"));
  REQUIRE(exact.has_value());
  REQUIRE(binned.has_value());
  const auto kappa = [](const ordered_json& result) {
    return result.at("fit").at("interval").at("kappa").get<double>();
  };
  CHECK(kappa(*exact) != kappa(*binned));
  CHECK_THAT(
      kappa(*exact),
      WithinAbs(kappa(*binned), 0.5 * exact->at("fit").at("interval").at("error").get<double>()));
}

TEST_CASE("a measurement with templates of the user's", "[workflows][mixture_experiment]") {
  const TemporaryFolder folder;
  folder.file("templates.csv", template_file(10));
  const auto result = run(template_document(), folder.path("out"), folder.path(""));
  REQUIRE(result.has_value());
  const ordered_json& fit = result->at("fit");
  CHECK_FALSE(fit.contains("truth"));  // of observed data
  CHECK_FALSE(fit.at("signal").contains("distance"));
  CHECK(fit.at("distance").at("simulations").size() == 5);
  CHECK_THAT(fit.at("interval").at("kappa").get<double>(),
             WithinAbs(3000.0 * 0.9111 / fit.at("events").get<double>(), 0.12));
  CHECK(result->at("leave_one_out").at("rows").at(0).at("simulations") == 4);
  CHECK(result->at("toys").at("draws") == 2);

  // The counts as events, and the simulations as weighted ones, are the same measurement.
  const auto events = [&](const std::string& name, const std::vector<double>& weights, bool once) {
    std::string text = once ? "x,y\n" : "x,y,w\n";
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const double x = -1.8 + 0.4 * static_cast<double>(i / 10),
                   y = -1.8 + 0.4 * static_cast<double>(i % 10);
      for (double n = once ? weights[i] : 1.0; n > 0.5; n -= 1.0) {
        text += exact(x) + "," + exact(y) + (once ? "" : "," + exact(weights[i])) + "\n";
      }
    }
    if (once) text += "2.5,0\n";
    folder.file(name, text);
  };
  const auto pairs = slalom::draw_biased_pairs(5, 2);
  Json document = without_coverage(template_document());
  document["data"] = {{"problem", ""},
                      {"features", {"x", "y"}},
                      {"low", {-2, -2}},
                      {"high", {2, 2}},
                      {"bins", {10}},
                      {"observed", "data.csv"},
                      {"weight", "w"},
                      {"signal", Json::array()},
                      {"background", Json::array()}};
  std::vector<double> counts;
  const auto s = slalom::plane_contents(slalom::k_biased_truth.signal, 10),
             b = slalom::plane_contents(slalom::k_biased_truth.background, 10);
  for (std::size_t i = 0; i < s.size(); ++i) {
    counts.push_back(std::round(3000.0 * s[i] + 40000.0 * b[i]));
  }
  events("data.csv", counts, true);
  for (std::size_t i = 0; i < 5; ++i) {
    events("s" + std::to_string(i) + ".csv", slalom::plane_contents(pairs[i].signal, 10), false);
    events("b" + std::to_string(i) + ".csv", slalom::plane_contents(pairs[i].background, 10),
           false);
    document["data"]["signal"].push_back("s" + std::to_string(i) + ".csv");
    document["data"]["background"].push_back("b" + std::to_string(i) + ".csv");
  }
  const auto same = run(document, folder.path("events"), folder.path(""));
  REQUIRE(same.has_value());
  CHECK(same->at("fit").at("events") == fit.at("events"));
  CHECK_THAT(same->at("fit").at("interval").at("kappa").get<double>(),
             WithinAbs(fit.at("interval").at("kappa").get<double>(), 1e-6));
  CHECK(same->at("fit").at("outside") == 1.0);
  REQUIRE(same->at("warnings").size() == 1);
  CHECK(same->at("warnings").at(0).at("where") == "data");
}

TEST_CASE("simulations that no mixture can be made of", "[workflows][mixture_experiment]") {
  const TemporaryFolder folder;
  folder.file("templates.csv", template_file(10));
  int count = 0;
  const auto fails = [&](const Json& document, ErrorKind kind, const std::string& where,
                         const std::string& message) {
    check_fails(kind, where, message,
                [&] { run(document, folder.path(std::to_string(count++)), folder.path("")); });
  };
  Json document = template_document();
  document["mixture"]["simulations"] = 6;
  fails(document, ErrorKind::usage, "/mixture/simulations", "there are 5 simulations");
  document = template_document();
  document["data"]["true_signal"] = document["data"]["true_background"] = "";
  fails(document, ErrorKind::usage, "/data/true_signal", "toys need a truth");
  document["data"]["observed"] = "";
  fails(document, ErrorKind::usage, "/data/true_signal", "expected observed data");
  document = template_document();
  document["leave_one_out"]["simulations"] = {5};
  fails(document, ErrorKind::usage, "/leave_one_out/simulations/0", "4 are left");
  document = template_document();
  document["data"]["templates"] = "nothing.csv";
  CHECK_THROWS_AS(run(document, folder.path("no file"), folder.path("")), slalom::Error);
  document = template_document();
  document["data"]["observed"] = "count";
  fails(document, ErrorKind::io, folder.path("") + "templates.csv:1", "count");
  document = template_document();
  document["mixture"]["shrinkage"] = "none";
  fails(document, ErrorKind::model, "population prior", "too few");
  folder.file("templates.csv", template_file(10, 0.0));
  document = template_document();
  document["data"]["epsilon"] = 0.0;
  fails(document, ErrorKind::usage, "/data/signal/0", "bin 3 is empty");
  folder.file("templates.csv", template_file(10, -0.5));
  CHECK_THROWS_AS(run(template_document(), folder.path("negative"), folder.path("")),
                  slalom::Error);
}

TEST_CASE("measurements at the command line, and in studies", "[workflows][mixture_experiment]") {
  const TemporaryFolder folder;
  folder.file("small.json", "// comments\n" + small_mixture().dump());
  folder.file("study.json", R"({"experiment": "small.json", "seeds": [1, 2],
    "figures": ["/toys/coverage_68", "/toys/bias", "/fit/interval/kappa"],
    "variants": [{"name": "K5", "set": ["mixture.simulations=5", "leave_one_out.enabled=false"]},
                 {"name": "ridge", "set": ["mixture.prior=ridge", "leave_one_out.enabled=false"]}]})");
  const auto shell = [&](const std::string& words) {
    const std::string line =
        "cd '" + folder.path("") + "' && '" SLALOM_EXECUTABLE "' " + words + " > stdout 2> stderr";
    const int status = std::system(line.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  };
  const auto out = [&] { return text_of(folder.path("stdout")); };
  CHECK(shell("run small.json --check") == 0);
  CHECK(out().find("12 simulations of each process, 100 bins") != std::string::npos);
  CHECK(shell("validate small.json --json") == 0);
  CHECK(shell("run small.json --resolved --set data.pairs=13") == 0);
  CHECK(Json::parse(out()).at("data").at("pairs") == 13);
  CHECK(shell("schema mixture") == 0);
  CHECK(Json::parse(out()).at("title") == "slalom mixture of simulations");
  CHECK(shell("run small.json -d out") == 0);
  CHECK(out().find("signal fraction") != std::string::npos);
  CHECK(out().find("left out: K") != std::string::npos);
  CHECK(fs::exists(folder.path("out") + "/report.html"));
  fs::remove(folder.path("out") + "/report.html");
  shell("report out");  // 1 where there is no gnuplot
  CHECK(text_of(folder.path("out") + "/report.html").find("Leaving simulations out") !=
        std::string::npos);
  CHECK(shell("run small.json -d bad --set mixture.simulations=40") == 2);
  shell("study study.json -d study --jobs 2");
  const Json comparison = slalom::read_json(folder.path("study") + "/comparison.json");
  for (const auto& variant : comparison.at("variants")) {
    CHECK(variant.at("summary").at("/toys/coverage_68").at("n") == 2);
  }
}
