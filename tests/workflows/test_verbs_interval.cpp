// SPDX-License-Identifier: Apache-2.0
/// \file
/// interval and contour.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/command_line.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::test::Outcome;
using slalom::test::small_workspace;
using Words = std::vector<std::string>;

namespace {

const std::string k_h4l = SLALOM_SOURCE_DIR "/workflows/examples/h4l/workspace.json";

Outcome run(const Words& words, const std::string& input = small_workspace()) {
  return slalom::test::slalom(words, input);
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string error_where(Words words, const std::string& type) {
  words.push_back("--json");
  const Outcome outcome = run(words);
  INFO(outcome.out);
  CHECK(outcome.code == slalom::exit_usage);
  CHECK(outcome.error("type") == type);
  return outcome.error("where");
}

double number(const nlohmann::ordered_json& document, const char* pointer) {
  return document.at(nlohmann::ordered_json::json_pointer(pointer)).get<double>();
}

}  // namespace

TEST_CASE("interval has the published four-lepton values", "[workflows][verbs_interval]") {
  const auto result = run({"interval", k_h4l, "--json"}).json();
  CHECK(result.at("parameter") == "mu");
  CHECK(result.at("test_stat") == "t");
  CHECK(result.at("converged") == true);
  REQUIRE(result.at("intervals").size() == 2);
  CHECK_THAT(number(result, "/best/value"), WithinAbs(0.922, 5e-4));
  CHECK_THAT(number(result, "/intervals/0/lower"), WithinAbs(0.560, 1e-3));
  CHECK_THAT(number(result, "/intervals/0/upper"), WithinAbs(1.359, 1e-3));
  CHECK_THAT(number(result, "/intervals/0/delta_twice_nll"), WithinRel(1.0, 1e-12));
  CHECK_THAT(number(result, "/intervals/1/delta_twice_nll"), WithinRel(4.0, 1e-12));
  // fit --minos gives the same
  const auto fit = run({"fit", k_h4l, "--minos", "--json"}).json();
  CHECK(fit.at("parameters").at("mu").at("minos").at(0) ==
        result.at("intervals").at(0).at("lower"));
  CHECK(contains(run({"interval", k_h4l}).out, "68.27 %"));
}

TEST_CASE("interval knows levels, parameters and bounds", "[workflows][verbs_interval]") {
  const auto result =
      run({"interval", "-", "--level", "0.95", "--level", "0.5", "--parameter", "scale", "--json"})
          .json();
  REQUIRE(result.at("intervals").size() == 2);
  CHECK(number(result, "/intervals/0/level") == 0.5);
  CHECK(number(result, "/intervals/0/lower") > number(result, "/intervals/1/lower"));
  CHECK(number(result, "/intervals/0/upper") < number(result, "/intervals/1/upper"));
  const Outcome bounded = run({"interval", "-", "--level", "0.999", "--json"});
  CHECK(bounded.code == slalom::exit_success);
  CHECK(bounded.json().at("intervals").at(0).at("lower_at_bound") == true);
  CHECK(number(bounded.json(), "/intervals/0/lower") == 0.0);
  CHECK(contains(run({"interval", "-", "--level", "0.999"}).out, "(bound)"));
  // An end is where the two-sided p-value of cls is the rest.
  for (const char* statistic : {"t", "ttilde"}) {
    const auto mine = run({"interval", "-", "--level", "0.9", "--test-stat", statistic, "--json"});
    const std::string end = mine.json().at("intervals").at(0).at("upper").dump();
    const auto test = run({"cls", "-", "--mu", end, "--test-stat", statistic, "--json"}).json();
    INFO(statistic);
    CHECK_THAT(test.at("clsb").get<double>(), WithinRel(0.1, 1e-6));
  }
}

TEST_CASE("contour goes around the best fit", "[workflows][verbs_interval]") {
  const auto result =
      run({"contour", k_h4l, "--measurement", "zz_floating", "--points", "60", "--json"}).json();
  CHECK(result.at("x") == "mu");
  CHECK(result.at("y") == "zz_norm");
  CHECK(result.at("converged") == true);
  REQUIRE(result.at("contours").size() == 2);
  const auto& contour = result.at("contours").at(0);
  CHECK_THAT(contour.at("delta_twice_nll").get<double>(), WithinRel(2.295748928898636, 1e-12));
  CHECK(contour.at("closed") == true);
  const auto points = contour.at("points").get<std::vector<std::array<double, 2>>>();
  CHECK(points.size() >= 50);
  double left = 1e9, right = -1e9;
  for (const auto& p : points) {
    left = std::min(left, p[0]);
    right = std::max(right, p[0]);
  }
  CHECK(left < number(result, "/best/x"));
  CHECK(right > number(result, "/best/x"));
  const std::string x = std::to_string(points[7][0]), y = std::to_string(points[7][1]);
  const auto held = run({"fit", k_h4l, "--measurement", "zz_floating", "--fix", "mu=" + x, "--fix",
                         "zz_norm=" + y, "--json"})
                        .json();
  CHECK_THAT(number(held, "/twice_nll") - number(result, "/best/twice_nll"),
             WithinAbs(2.295748928898636, 1e-4));
  CHECK(contains(run({"contour", k_h4l, "--measurement", "zz_floating"}).out, "68.27 % region"));
}

TEST_CASE("contour has a grid that does not depend on the threads", "[workflows][verbs_interval]") {
  const Words words = {"contour", "-", "--y", "scale", "--grid", "5", "4", "--json", "--threads"};
  Words one = words, three = words;
  one.push_back("1");
  three.push_back("3");
  const Outcome result = run(one);
  CHECK(result.code == slalom::exit_success);
  CHECK(result.out == run(three).out);
  const auto grid = result.json().at("grid");
  CHECK(grid.at("x").size() == 5);
  CHECK(grid.at("y").size() == 4);
  REQUIRE(grid.at("delta_twice_nll").size() == 5);
  CHECK(grid.at("delta_twice_nll").at(0).size() == 4);
  for (const auto& row : grid.at("delta_twice_nll")) {
    for (const auto& value : row) CHECK(value.get<double>() >= 0.0);
  }
  CHECK_FALSE(result.json().contains("warnings"));
}

TEST_CASE("interval and contour as comma-separated values", "[workflows][verbs_interval]") {
  const std::string interval = run({"interval", "-", "--csv"}).out;
  CHECK(interval.substr(0, 23) == "parameter,level,best,lo");
  CHECK(std::count(interval.begin(), interval.end(), '\n') == 3);
  const std::string contour = run({"contour", "-", "--csv", "--level", "0.9"}).out;
  CHECK(contour.substr(0, 30) == "level,x,y,at_bound,converged\n0");
  CHECK(std::count(contour.begin(), contour.end(), '\n') > 20);
}

TEST_CASE("interval and contour refuse what makes no sense", "[workflows][verbs_interval]") {
  for (const char* verb : {"interval", "contour"}) {
    INFO(verb);
    CHECK(error_where({verb, "-", "--poi", "none"}, "model") == "--poi");
    CHECK(error_where({verb, "-", "--level", "1"}, "usage") == "--level");
    CHECK(error_where({verb, "-", "--level", "x"}, "usage") == "--level");
  }
  CHECK(error_where({"interval", "-", "--parameter", "nothing"}, "usage") == "--parameter");
  CHECK(error_where({"interval", "-", "--parameter", "scale", "--fix", "scale=0"}, "usage") ==
        "--parameter");
  CHECK(error_where({"interval", "-", "--parameter", "scale", "--test-stat", "ttilde"}, "usage") ==
        "--test-stat");
  CHECK(error_where({"contour", "-", "--y", "mu"}, "usage") == "--y");
  CHECK(error_where({"contour", "-", "--x", "nothing"}, "usage") == "--x");
  CHECK(error_where({"contour", "-", "--points", "3"}, "usage") == "--points");
  CHECK(error_where({"contour", "-", "--grid", "1", "4"}, "usage") == "--grid");
  CHECK(error_where({"contour", "-", "--y", "scale", "--fix", "scale=0"}, "usage") == "--y");
}
