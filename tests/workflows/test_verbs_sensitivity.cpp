// SPDX-License-Identifier: Apache-2.0
/// \file
/// sensitivity.
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

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

nlohmann::ordered_json figure_of(const Outcome& outcome, const std::string& name) {
  const auto document = outcome.json();
  for (const auto& figure : document.at("figures")) {
    if (figure.at("figure") == name) return figure;
  }
  return nullptr;
}

}  // namespace

TEST_CASE("sensitivity ranks what the expected results hang on", "[workflows][verbs_sensitivity]") {
  const Outcome outcome = run({"sensitivity", "-", "--json"});
  REQUIRE(outcome.code == slalom::exit_success);
  const auto result = outcome.json();
  CHECK(result.at("poi") == "mu");
  CHECK(result.at("step") == 0.01);
  REQUIRE(result.at("figures").size() == 3);
  const auto limit = figure_of(outcome, "expected_limit");
  const auto expected = run({"limit", "-", "--json"}).json().at("expected");
  CHECK_THAT(limit.at("value").get<double>(), WithinRel(expected[2].get<double>(), 1e-8));
  const auto z = run({"discovery", "-", "--json"}).json().at("z_expected");
  CHECK_THAT(figure_of(outcome, "expected_significance").at("value").get<double>(),
             WithinRel(z.get<double>(), 1e-8));
  REQUIRE(limit.at("samples").size() == 3);
  // Twice the signal is half the limit: d limit / d log signal = -limit.
  for (const auto& sample : limit.at("samples")) {
    if (sample.at("sample") != "signal") continue;
    CHECK_THAT(sample.at("effect").get<double>(),
               WithinRel(-0.01 * limit.at("value").get<double>(), 1e-7));
  }
  double previous = 1e300;
  for (const auto& bin : limit.at("bins")) {
    CHECK(std::abs(bin.at("effect").get<double>()) <= previous);
    previous = std::abs(bin.at("effect").get<double>());
  }
  CHECK(limit.at("parameters").size() == 2);
  CHECK_FALSE(limit.contains("derivatives"));
}

TEST_CASE("the derivatives are those of changing a number in the file",
          "[workflows][verbs_sensitivity]") {
  const Outcome outcome =
      run({"sensitivity", "-", "--figure", "limit", "--figure", "error", "--all", "--json"});
  REQUIRE(outcome.code == slalom::exit_success);
  const auto derivative = [&](const std::string& figure, const std::string& kind,
                              const std::string& channel, int bin) {
    const auto chosen = figure_of(outcome, figure);
    for (const auto& d : chosen.at("derivatives")) {
      if (d.at("kind") != kind || d.at("channel") != channel) continue;
      if (d.contains("bin") && d.at("bin") != bin) continue;
      if (d.contains("sample") && d.at("sample") != "background") continue;
      return d.at("derivative").get<double>();
    }
    return std::nan("");
  };
  const auto limit = [](const std::string& from, const std::string& to) {
    return run({"limit", "-", "--json"}, replaced(small_workspace(), from, to))
        .json()
        .at("observed")
        .get<double>();
  };
  const auto error = [](const std::string& from, const std::string& to) {
    return run({"fit", "-", "--json"}, replaced(small_workspace(), from, to))
        .json()
        .at("parameters")
        .at("mu")
        .at("error")
        .get<double>();
  };
  CHECK_THAT(derivative("limit", "observed", "signal_region", 1),
             WithinRel((limit("[53, 65]", "[53, 65.01]") - limit("[53, 65]", "[53, 64.99]")) / 0.02,
                       1e-4));
  CHECK_THAT(derivative("limit", "nominal", "signal_region", 0),
             WithinRel((limit("[50, 60]", "[50.01, 60]") - limit("[50, 60]", "[49.99, 60]")) / 0.02,
                       1e-4));
  CHECK_THAT(derivative("limit", "uncertainty", "signal_region", 0),
             WithinRel((limit("[5, 6]", "[5.01, 6]") - limit("[5, 6]", "[4.99, 6]")) / 0.02, 1e-4));
  CHECK_THAT(derivative("error", "uncertainty", "signal_region", 1),
             WithinRel((error("[5, 6]", "[5, 6.01]") - error("[5, 6]", "[5, 5.99]")) / 0.02, 1e-4));
  CHECK_THAT(derivative("error", "normsys_hi", "control_region", 0),
             WithinRel((error(R"("data": [100],
       "modifiers": [{"name": "scale", "type": "normsys", "data": {"hi": 1.1)",
                              R"("data": [100],
       "modifiers": [{"name": "scale", "type": "normsys", "data": {"hi": 1.101)") -
                        error(R"("data": [100],
       "modifiers": [{"name": "scale", "type": "normsys", "data": {"hi": 1.1)",
                              R"("data": [100],
       "modifiers": [{"name": "scale", "type": "normsys", "data": {"hi": 1.099)")) /
                           0.002,
                       1e-4));
}

TEST_CASE("sensitivity speaks to people", "[workflows][verbs_sensitivity]") {
  const Outcome table = run({"sensitivity", k_h4l, "--measurement", "zz_floating"});
  CHECK(table.code == slalom::exit_success);
  CHECK(contains(table.out, "expected upper limit on mu where CLs = 0.05"));
  CHECK(contains(table.out, "hzz_mH125"));
  CHECK(contains(table.out, "more: --max 0"));
  CHECK_FALSE(contains(run({"sensitivity", k_h4l, "--max", "0"}).out, "more: --max 0"));
  CHECK(contains(run({"sensitivity", "-", "--figure", "best_fit"}).out, "sqrt(n) more data"));
}

TEST_CASE("sensitivity as comma-separated values", "[workflows][verbs_sensitivity]") {
  const Outcome effects = run({"sensitivity", "-", "--figure", "limit", "--csv"});
  CHECK(effects.code == slalom::exit_success);
  CHECK(effects.out.starts_with("figure,what,channel,sample,bin,parameter,effect,data\n"));
  CHECK(contains(effects.out, "limit,bin,control_region,,0,,"));
  CHECK(contains(effects.out, "limit,width,,,,statistics,"));
  const Outcome all = run({"sensitivity", "-", "--figure", "limit", "--csv", "--all"});
  CHECK(all.out.starts_with("figure,kind,channel,sample,bin,parameter,value,derivative\n"));
  CHECK(contains(all.out, "limit,normsys_hi,control_region,background,,scale,1.1,"));
}

TEST_CASE("sensitivity of Asimov data", "[workflows][verbs_sensitivity]") {
  for (const Words& data : {Words{"--asimov", "1"}, Words{"--asimov-fit", "best"}}) {
    Words words = {"sensitivity", "-", "--figure", "error", "--figure", "expected_limit", "--json"};
    words.insert(words.end(), data.begin(), data.end());
    const Outcome outcome = run(words);
    INFO(outcome.out);
    REQUIRE(outcome.code == slalom::exit_success);
    // Data made at a fixed point do not know the observed ones; those made at a fit do.
    double data_effect = 0.0;
    const auto error = figure_of(outcome, "error");
    for (const auto& bin : error.at("bins")) {
      data_effect += std::abs(bin.at("data").get<double>());
    }
    CHECK((data_effect > 1e-6) == (data[0] == "--asimov-fit"));
  }
}

TEST_CASE("sensitivity says what it cannot do", "[workflows][verbs_sensitivity]") {
  const std::string deficit = replaced(small_workspace(), "[53, 65]", "[40, 45]");
  const Outcome at_bound = run({"sensitivity", "-", "--figure", "error", "--json"}, deficit);
  CHECK(at_bound.code == slalom::exit_not_converged);
  const auto figure = figure_of(at_bound, "error");
  CHECK(figure.at("converged") == false);
  CHECK(contains(figure.at("message").get<std::string>(), "at a bound"));
  CHECK_FALSE(figure.contains("value"));
  CHECK(contains(run({"sensitivity", "-", "--figure", "error"}, deficit).out, "NOT CONVERGED"));
  CHECK(run({"sensitivity", "-", "--figure", "best_fit", "--json"}, deficit).code == 0);
  for (const Words& wrong :
       {Words{"--figure", "limits"}, Words{"--level", "2"}, Words{"--poi", "none"}}) {
    Words words = {"sensitivity", "-", "--json"};
    words.insert(words.end(), wrong.begin(), wrong.end());
    CHECK(run(words).code == slalom::exit_usage);
  }
}
