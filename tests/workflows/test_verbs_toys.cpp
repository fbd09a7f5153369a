// SPDX-License-Identifier: Apache-2.0
/// \file
/// toys, feldman-cousins, and cls, discovery and limit with --toys.
#include <algorithm>
#include <cmath>
#include <csignal>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/command_line.hpp"

using Catch::Matchers::WithinAbs;
using slalom::test::Outcome;
using slalom::test::small_workspace;
using slalom::test::TemporaryFolder;
using slalom::test::text_of;
using Words = std::vector<std::string>;

namespace {

const std::string k_h4l = SLALOM_SOURCE_DIR "/workflows/examples/h4l/workspace.json";

Outcome run(const Words& words) { return slalom::test::slalom(words, small_workspace()); }

nlohmann::ordered_json json_of(Words words) {
  words.push_back("--json");
  const Outcome outcome = run(words);
  INFO(outcome.out << outcome.err);
  CHECK(outcome.code == slalom::exit_success);
  return outcome.json();
}

std::string error_where(Words words) {
  words.push_back("--json");
  const Outcome outcome = run(words);
  INFO(outcome.out);
  CHECK(outcome.code == slalom::exit_usage);
  CHECK(outcome.error("type") == "usage");
  return outcome.error("where");
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("toys have results and a summary", "[workflows][verbs_toys]") {
  const auto result = json_of({"toys", "-", "--toys", "200", "--seed", "4", "--all", "--data"});
  CHECK(result.at("at") == "best");
  CHECK(result.at("poi") == "mu");
  CHECK(result.at("seed") == 4);
  CHECK(result.at("conditional") == false);
  CHECK(result.at("interrupted") == false);
  CHECK(result.at("converged") == true);
  const auto& toys = result.at("toys");
  for (const char* name : {"index", "best_fit", "error", "t", "q", "converged"}) {
    INFO(name);
    CHECK(toys.at(name).size() == 200);
  }
  CHECK(result.at("mu") == result.at("truth").at("mu"));
  const auto& summary = result.at("summary");
  CHECK(summary.at("done") == 200);
  CHECK(summary.at("failed") == 0);
  double mean = 0.0;
  for (const double value : toys.at("best_fit")) mean += value / 200.0;
  CHECK_THAT(summary.at("best_fit").at("mean").get<double>(), WithinAbs(mean, 1e-12));
  CHECK(summary.at("pulls").contains("statistics[1]"));
  CHECK(result.at("parameters").at("mu") == toys.at("best_fit"));
  CHECK(result.at("errors").at("mu") == toys.at("error"));
  // The data are those that were fitted: three bins and three auxiliary data, and not all the same.
  const auto& data = result.at("data");
  REQUIRE(data.size() == 200);
  CHECK(data[0].size() == 6);
  CHECK(data[0] != data[1]);
  CHECK(data[0][0].get<double>() == std::floor(data[0][0].get<double>()));
  CHECK(contains(run({"toys", "-", "--toys", "50"}).out, "pull mu"));
  const std::string csv = run({"toys", "-", "--toys", "50", "--csv"}).out;
  CHECK(csv.starts_with("index,best_fit,error,t,q,converged\n0,"));
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 51);
}

TEST_CASE("toys are thrown where they are asked for", "[workflows][verbs_toys]") {
  CHECK(json_of({"toys", "-", "--toys", "5", "--at", "2"}).at("truth").at("mu") == 2.0);
  const auto initial = json_of(
      {"toys", "-", "--toys", "5", "--at", "initial", "--mu", "0", "--conditional", "--data"});
  CHECK(initial.at("truth").at("mu") == 1.0);
  CHECK(initial.at("truth").at("scale") == 0.0);
  CHECK(initial.at("mu") == 0.0);
  CHECK(initial.at("toys").contains("q0"));
  CHECK(initial.at("conditional") == true);
  const auto expected = run({"expected", "-", "--json"}).json().at("auxiliary");
  for (const auto& data : initial.at("data")) {
    for (std::size_t i = 0; i < 3; ++i) CHECK(data[3 + i] == expected[i]);
  }
}

TEST_CASE("toys do not depend on the number of threads, in any verb", "[workflows][verbs_toys]") {
  for (const Words& words :
       {Words{"toys", k_h4l, "--toys", "60"}, Words{"cls", k_h4l, "--toys", "60"},
        Words{"discovery", k_h4l, "--toys", "60"}, Words{"limit", k_h4l, "--toys", "100"},
        Words{"feldman-cousins", k_h4l, "--toys", "500"}}) {
    INFO(words[0]);
    Words one = words, three = words;
    one.insert(one.end(), {"--threads", "1", "--json", "--quiet"});
    three.insert(three.end(), {"--threads", "3", "--json", "--quiet"});
    CHECK(run(one).out == run(three).out);
    one.insert(one.end(), {"--seed", "1"});
    CHECK(run(one).out != run(three).out);
  }
}

TEST_CASE("cls, discovery and limit by toys are near the asymptotic ones",
          "[workflows][verbs_toys]") {
  const auto asymptotic = json_of({"cls", "-"});
  const auto cls = json_of({"cls", "-", "--toys", "2000"});
  CHECK(cls.at("calculator") == "toys");
  CHECK(cls.at("background_toys").at("done") == 2000);
  const auto value = [](const auto& document, const char* name) {
    return document.at(name).template get<double>();
  };
  CHECK_THAT(value(cls, "test_statistic"), WithinAbs(value(asymptotic, "test_statistic"), 1e-8));
  CHECK_THAT(value(cls, "cls_observed"), WithinAbs(value(asymptotic, "cls_observed"),
                                                   4.0 * value(cls, "cls_observed_error") + 0.01));
  CHECK(cls.at("cls_expected").size() == 5);
  CHECK(cls.at("cls_expected_errors").size() == 5);

  // Two-sided: best fits above mu count as well.
  const auto two_sided = json_of({"cls", "-", "--toys", "500", "--test-stat", "t"});
  CHECK(two_sided.at("test_stat") == "t");
  CHECK_THAT(value(two_sided, "clsb"),
             WithinAbs(value(json_of({"cls", "-", "--test-stat", "t"}), "clsb"),
                       4.0 * value(two_sided, "clsb_error") + 0.03));

  const auto discovery = json_of({"discovery", "-", "--toys", "2000"});
  CHECK_THAT(value(discovery, "p0_observed"),
             WithinAbs(value(json_of({"discovery", "-"}), "p0_observed"),
                       4.0 * value(discovery, "p0_observed_error") + 0.01));
  CHECK(value(discovery, "z_observed") >= 0.0);

  const auto limit = json_of({"limit", "-", "--toys", "500"});
  CHECK_THAT(value(limit, "observed"), WithinAbs(value(json_of({"limit", "-"}), "observed"),
                                                 4.0 * value(limit, "observed_error") + 0.1));
  CHECK(limit.at("expected").size() == 5);
  CHECK(limit.at("points").size() > 5);
  for (const char* verb : {"cls", "discovery", "limit"}) {
    CHECK(contains(run({verb, "-", "--toys", "100"}).out, "by toys"));
  }
}

TEST_CASE("a Feldman-Cousins interval has ends with errors", "[workflows][verbs_toys]") {
  const auto result =
      json_of({"feldman-cousins", "-", "--parameter", "scale", "--confidence", "0.68"});
  CHECK(result.at("parameter") == "scale");
  CHECK(result.at("lower").get<double>() < result.at("best_fit").get<double>());
  CHECK(result.at("upper").get<double>() > result.at("best_fit").get<double>());
  CHECK(result.at("upper_error").get<double>() > 0.0);
  CHECK(result.at("points").size() >= 4);
  CHECK(contains(run({"feldman-cousins", "-"}).out, "95 % interval of mu"));
  // Not enough toys is a status.
  const Outcome few = run({"feldman-cousins", "-", "--toys", "250", "--tolerance", "0.001"});
  CHECK(few.code == slalom::exit_not_converged);
  CHECK(contains(few.err, "more toys"));
  CHECK(contains(few.out, "NOT CONVERGED"));
}

TEST_CASE("a file of toys lets a run go on", "[workflows][verbs_toys]") {
  const TemporaryFolder folder;
  const std::string file = folder.path("toys.jsonl");
  const auto whole = json_of({"cls", "-", "--toys", "120", "--toy-file", file});
  CHECK(whole.at("reused_toys") == 0);
  CHECK(error_where({"cls", "-", "--toys", "120", "--toy-file", file}) == file);
  // Half of the file is lost, in the middle of a line.
  const std::string text = text_of(file);
  folder.file("toys.jsonl", text.substr(0, text.size() / 2 + 7));
  auto again = json_of({"cls", "-", "--toys", "120", "--toy-file", file, "--resume"});
  CHECK(again.at("reused_toys").get<int>() > 60);
  CHECK(again.at("reused_toys").get<int>() < 200);
  again["reused_toys"] = 0;
  CHECK(again == whole);
  CHECK(error_where({"cls", "-", "--toys", "9", "--toy-file", file, "--resume", "--seed", "1"}) ==
        file);
}

TEST_CASE("options of toys that make no sense are refused", "[workflows][verbs_toys]") {
  CHECK(error_where({"cls", "-", "--resume"}) == "--resume");
  CHECK(error_where({"limit", "-", "--toy-file", "x"}) == "--toy-file");
  CHECK(error_where({"discovery", "-", "--conditional"}) == "--conditional");
  CHECK(error_where({"toys", "-", "--resume"}) == "--resume");
  CHECK(error_where({"limit", "-", "--toys", "9", "--plot", "x.svg"}) == "--plot");
  CHECK(error_where({"cls", "-", "--toys", "9", "--base-dist", "clipped_normal"}) == "--base-dist");
  CHECK(error_where({"cls", "-", "--toys", "9", "--mu", "-1"}) == "--mu");
  CHECK(error_where({"toys", "-", "--toys", "0"}) == "--toys");
  CHECK(error_where({"toys", "-", "--at", "somewhere"}) == "--at");
  CHECK(error_where({"feldman-cousins", "-", "--confidence", "1"}) == "--confidence");
  CHECK(error_where({"feldman-cousins", "-", "--tolerance", "-1"}) == "--tolerance");
  CHECK(error_where({"feldman-cousins", "-", "--parameter", "nobody"}) == "--parameter");
  const Outcome held = run({"feldman-cousins", "-", "--fix", "scale=0", "--parameter", "scale"});
  CHECK(held.code == slalom::exit_usage);
  CHECK(run({"toys", "-", "--poi", "none"}).code == slalom::exit_usage);
}
