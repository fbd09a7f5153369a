// SPDX-License-Identifier: Apache-2.0
/// \file
/// cls, discovery and limit.
#include <cmath>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/command_line.hpp"
#include "support/data.hpp"

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

}  // namespace

TEST_CASE("the four-lepton signal is found", "[workflows][verbs_hypotest]") {
  const auto fixed = run({"discovery", k_h4l, "--json"}).json();
  CHECK_THAT(fixed.at("z_observed").get<double>(), WithinAbs(3.27, 0.005));
  CHECK_THAT(fixed.at("p0_observed").get<double>(), WithinAbs(5.4e-4, 0.2e-4));
  CHECK(fixed.at("z_expected").get<double>() > 3.0);
  CHECK(fixed.at("p0_expected").get<double>() > 0.0);
  CHECK(fixed.at("converged") == true);
  CHECK(fixed.at("poi") == "mu");
  const auto floating = run({"discovery", k_h4l, "--measurement", "zz_floating", "--json"}).json();
  CHECK_THAT(floating.at("z_observed").get<double>(), WithinAbs(2.84, 0.005));
  CHECK(contains(run({"discovery", k_h4l}).out, "sigma"));
}

TEST_CASE("cls has the observed value and the band", "[workflows][verbs_hypotest]") {
  const auto result = run({"cls", "-", "--mu", "2", "--json"}).json();
  CHECK(result.at("mu") == 2.0);
  CHECK(result.at("calculator") == "asymptotics");
  const auto band = result.at("cls_expected").get<std::vector<double>>();
  REQUIRE(band.size() == 5);
  for (std::size_t i = 1; i < 5; ++i) CHECK(band[i] > band[i - 1]);
  CHECK_THAT(result.at("cls_observed").get<double>(),
             WithinRel(result.at("clsb").get<double>() / result.at("clb").get<double>(), 1e-12));
  CHECK(result.at("test_statistic").get<double>() >= 0.0);
  CHECK(run({"cls", "-", "--json"}).json().at("mu") == 1.0);
  CHECK(contains(run({"cls", "-"}).out, "CLs expected (median)"));
  // Below zero the two statistics differ; the second measurement allows it.
  std::string deficit = small_workspace();
  deficit.replace(deficit.find("[53, 65]"), 8, "[40, 45]");
  const auto value = [&](const char* statistic) {
    return run({"cls", "-", "--measurement", "wide", "--test-stat", statistic, "--json"}, deficit)
        .json()
        .at("cls_observed")
        .get<double>();
  };
  CHECK(std::abs(value("q") - value("qtilde")) > 1e-6);
}

TEST_CASE("limit is where cls falls to the level", "[workflows][verbs_hypotest]") {
  const auto result = run({"limit", "-", "--json"}).json();
  CHECK(result.at("level") == 0.05);
  const auto expected = result.at("expected").get<std::vector<double>>();
  REQUIRE(expected.size() == 5);
  for (std::size_t i = 1; i < 5; ++i) CHECK(expected[i] > expected[i - 1]);
  const std::string limit = result.at("observed").dump();
  const auto test = run({"cls", "-", "--mu", limit, "--json"}).json();
  CHECK_THAT(test.at("cls_observed").get<double>(), WithinRel(0.05, 1e-6));
  const auto other = run({"limit", "-", "--level", "0.1", "--json"}).json();
  CHECK(other.at("observed").get<double>() < result.at("observed").get<double>());
  CHECK(contains(run({"limit", "-"}).out, "upper limit on mu"));
}

TEST_CASE("cls has all statistics and both base distributions", "[workflows][verbs_hypotest]") {
  std::string excess = small_workspace();
  excess.replace(excess.find("[53, 65]"), 8, "[70, 90]");
  const auto cls = [&](const Words& more) {
    Words words = {"cls", "-", "--json"};
    words.insert(words.end(), more.begin(), more.end());
    return run(words, excess).json();
  };
  const auto two = cls({"--test-stat", "ttilde"}), one = cls({});
  CHECK(two.at("test_stat") == "ttilde");
  // The best fit is above 1, so only a two-sided test sees a difference.
  CHECK(one.at("test_statistic") == 0.0);
  CHECK(two.at("test_statistic").get<double>() > 0.0);
  CHECK_THAT(one.at("clb").get<double>() + one.at("one_minus_clb").get<double>(),
             WithinRel(1.0, 1e-14));
  CHECK_THAT(one.at("log_clsb").get<double>(), WithinRel(std::log(0.5), 1e-14));
  CHECK(one.at("clb_expected").size() == 5);
  const auto clipped = cls({"--base-dist", "clipped_normal"});
  CHECK(clipped.at("base_dist") == "clipped_normal");
  CHECK(clipped.at("cls_expected").at(4) < one.at("cls_expected").at(4));
  CHECK(clipped.at("cls_expected").at(0) == one.at("cls_expected").at(0));
  CHECK(error_where({"cls", "-", "--test-stat", "t", "--base-dist", "clipped_normal"}, "usage") ==
        "--base-dist");
  // pyhf warns in the same two cases
  CHECK(cls({"--test-stat", "q"}).contains("warnings"));
  CHECK(cls({"--measurement", "wide"}).contains("warnings"));
  CHECK_FALSE(cls({"--measurement", "wide", "--test-stat", "q"}).contains("warnings"));
  CHECK_FALSE(one.contains("warnings"));
}

TEST_CASE("tests beyond the bounds say what the bounds do", "[workflows][verbs_hypotest]") {
  CHECK(error_where({"cls", "-", "--mu", "-1"}, "usage") == "--mu");
  const Outcome above = run({"cls", "-", "--mu", "12", "--json"});
  CHECK(above.code == slalom::exit_success);
  CHECK(above.json().at("warnings").size() == 1);
  // A weak signal: all limits are above mu = 10.
  std::string weak = small_workspace();
  weak.replace(weak.find("[5, 10]"), 7, "[0.5, 1]");
  const Outcome limit = run({"limit", "-", "--json"}, weak);
  CHECK(limit.code == slalom::exit_success);
  CHECK(limit.json().at("beyond_bound") == true);
  CHECK(limit.json().at("warnings").size() == 1);
  CHECK(limit.json().at("observed").get<double>() > 10.0);
  // An excess that mu cannot describe: there is no observed limit.
  weak.replace(weak.find("[53, 65]"), 8, "[90, 95]");
  const Outcome none = run({"limit", "-", "--json"}, weak);
  CHECK(none.code == slalom::exit_not_converged);
  CHECK(none.json().at("observed").is_null());
  CHECK(none.json().at("expected").at(2).get<double>() > 10.0);
  CHECK(none.json().at("converged") == false);
  CHECK(contains(run({"limit", "-"}, weak).out, "not found"));
}

TEST_CASE("tests refuse what makes no sense", "[workflows][verbs_hypotest]") {
  for (const char* verb : {"cls", "discovery", "limit"}) {
    INFO(verb);
    CHECK(error_where({verb, "-", "--poi", "none"}, "model") == "--poi");
    error_where({verb, "-", "--fix", "mu=1"}, "model");
    CHECK(error_where({verb, "-", "--measurement", "nothing"}, "model") == "/measurements");
  }
  CHECK(error_where({"cls", "-", "--mu", "inf"}, "usage") == "--mu");
  CHECK(error_where({"cls", "-", "--test-stat", "q0"}, "usage") == "--test-stat");
  for (const char* level : {"0", "1", "-0.1"}) {
    const Outcome outcome = run({"limit", "-", "--level", level, "--json"});
    CHECK(outcome.code == slalom::exit_usage);
  }
}

TEST_CASE("published exclusions come out", "[workflows][verbs_hypotest]") {
  SLALOM_REQUIRE_DATA("workspaces/sbottom/RegionA");
  const auto path = [](const std::string& name) {
    return slalom::test::data_path("workspaces/sbottom/RegionA/" + name).string();
  };
  const Outcome outcome = run({"cls", path("BkgOnly.json"), "--patch",
                               path("patch.sbottom_1300_205_60.json"), "--json", "--quiet"});
  CHECK(outcome.code == slalom::exit_success);
  CHECK_THAT(outcome.json().at("cls_observed").get<double>(), WithinAbs(0.244436962724, 1e-8));
}
