// SPDX-License-Identifier: Apache-2.0
/// \file
/// Patches, combine, prune, rename, sort, digest and patchset.
#include <cmath>
#include <string>
#include <vector>

#include "slalom/core/json.hpp"
#include "support/catch.hpp"
#include "support/command_line.hpp"
#include "support/data.hpp"

using nlohmann::json;
using slalom::test::Outcome;
using slalom::test::small_workspace;
using slalom::test::TemporaryFolder;
using slalom::test::text_of;
using Words = std::vector<std::string>;

namespace {

Outcome run(const Words& words, const std::string& input = small_workspace()) {
  return slalom::test::slalom(words, input);
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// A patch set for `workspace` with two signals that scale the nominal one.
std::string patchset_for(const std::string& workspace) {
  const std::string digest = slalom::digest(json::parse(workspace));
  json set = json::parse(R"json({
    "metadata": {"references": {"hepdata": "ins1234567"}, "digests": {},
                 "labels": ["mass", "flavour"], "description": "two signals"},
    "patches": [
      {"metadata": {"name": "light", "values": [100, "b"]},
       "patch": [{"op": "replace", "path": "/channels/0/samples/0/data", "value": [8, 4]}]},
      {"metadata": {"name": "heavy", "values": [200, "b"]},
       "patch": [{"op": "replace", "path": "/channels/0/samples/0/data", "value": [1, 2]}]}
    ],
    "version": "1.0.0"})json");
  set["metadata"]["digests"]["sha256"] = digest;
  return set.dump();
}

std::string error_where(Words words, const std::string& type, const std::string& message,
                        const std::string& input = small_workspace()) {
  words.push_back("--json");
  const Outcome outcome = run(words, input);
  INFO(outcome.out);
  CHECK(outcome.code == slalom::exit_usage);
  CHECK(outcome.error("type") == type);
  CHECK(contains(outcome.error("message"), message));
  return outcome.error("where");
}

std::vector<double> signal_yields(const Outcome& outcome) {
  return outcome.json().at("samples").at("signal_region").at("signal");
}

}  // namespace

TEST_CASE("patches apply to the whole workspace in their order", "[workflows][verbs_workspace]") {
  const TemporaryFolder folder;
  const auto first = folder.file(
      "1.json", R"([{"op": "replace", "path": "/channels/0/samples/0/data", "value": [1, 2]}])");
  const auto second = folder.file(
      "2.json", R"([{"op": "replace", "path": "/channels/0/samples/0/data/0", "value": 7}])");
  const Words expected{"expected", "-", "--samples", "--json"};
  const auto with = [&](const Words& more) {
    Words words = expected;
    words.insert(words.end(), more.begin(), more.end());
    return signal_yields(run(words));
  };
  CHECK(with({"--patch", first}) == std::vector<double>{1.0, 2.0});
  CHECK(with({"--patch", first, "--patch", second}) == std::vector<double>{7.0, 2.0});
  CHECK(with({"--patch", second, "--patch", first}) == std::vector<double>{1.0, 2.0});
  const auto workspace = folder.file("workspace.json", small_workspace());
  const Outcome from_input =
      run({"expected", workspace, "--patch", "-", "--samples", "--json"}, text_of(first));
  CHECK(signal_yields(from_input) == std::vector<double>{1.0, 2.0});
}

TEST_CASE("patches that cannot be applied name file and operation",
          "[workflows][verbs_workspace]") {
  const TemporaryFolder folder;
  const auto patch = [&](const std::string& text) {
    return Words{"fit", "-", "--patch", folder.file("patch.json", text)};
  };
  const std::string file = folder.path("patch.json");
  CHECK(error_where(patch(R"([{"op": "remove", "path": "/channels/9"}])"), "patch", "/channels/9")
            .rfind(file, 0) == 0);
  CHECK(error_where(patch(R"([{"op": "delete", "path": "/channels/0"}])"), "patch", "")
            .rfind(file, 0) == 0);
  CHECK(error_where(patch(R"({"op": "remove"})"), "patch", "").rfind(file, 0) == 0);
  CHECK(error_where(patch("[{]"), "json", "").rfind(file, 0) == 0);
  CHECK(error_where({"fit", "-", "--patch", "-"}, "usage", "standard input") == "-");
  CHECK_FALSE(error_where({"fit", "-", "--patch", folder.path("none.json")}, "io", "").empty());
}

TEST_CASE("a patch set gives its patch by name", "[workflows][verbs_workspace]") {
  const TemporaryFolder folder;
  const auto set = folder.file("set.json", patchset_for(small_workspace()));
  const Words words{"expected", "-", "--samples", "--json", "--patchset", set};
  Words named = words;
  named.insert(named.end(), {"--patch-name", "heavy"});
  CHECK(signal_yields(run(named)) == std::vector<double>{1.0, 2.0});
  named.back() = "heavi";
  CHECK_FALSE(error_where(named, "patch", "heavy").empty());
  CHECK_FALSE(error_where(words, "usage", "").empty());
  CHECK_FALSE(error_where({"fit", "-", "--patch-name", "heavy"}, "usage", "--patchset").empty());
}

TEST_CASE("patchset lists, inspects, verifies, extracts and applies",
          "[workflows][verbs_workspace]") {
  const TemporaryFolder folder;
  const auto set = folder.file("set.json", patchset_for(small_workspace()));
  const auto workspace = folder.file("workspace.json", small_workspace());
  const auto list = run({"patchset", "list", set, "--json"}).json();
  CHECK(list.at("labels") == Words{"mass", "flavour"});
  CHECK(list.at("patches").at(1).at("name") == "heavy");
  CHECK(list.at("patches").at(1).at("values").at(0) == 200.0);
  CHECK(list.at("patches").at(1).at("values").at(1) == "b");
  CHECK(contains(run({"patchset", "list", set}).out, "heavy"));
  CHECK(contains(run({"patchset", "inspect", set}).out, "two signals"));
  CHECK(run({"patchset", "inspect", set, "--json"}).json().at("description") == "two signals");
  CHECK(run({"patchset", "verify", workspace, set}).code == slalom::exit_success);
  const Outcome extracted = run({"patchset", "extract", set, "--name", "light"});
  CHECK(extracted.json().at(0).at("op") == "replace");
  const Outcome applied = run({"patchset", "apply", workspace, set, "--name", "light"});
  CHECK(applied.json().at("channels").at(0).at("samples").at(0).at("data") ==
        std::vector<int>{8, 4});
  const auto patch = folder.file("patch.json", extracted.out);
  CHECK(signal_yields(run({"expected", workspace, "--patch", patch, "--samples", "--json"})) ==
        std::vector<double>{8.0, 4.0});
}

TEST_CASE("patchset refuses what does not belong together", "[workflows][verbs_workspace]") {
  const TemporaryFolder folder;
  const auto set = folder.file("set.json", patchset_for(small_workspace()));
  json changed = json::parse(small_workspace());
  changed["observations"][0]["data"][0] = 54;
  const auto other = folder.file("other.json", changed.dump());
  error_where({"patchset", "verify", other, set}, "patch", "");
  error_where({"patchset", "apply", other, set, "--name", "light"}, "patch", "");
  error_where({"patchset", "apply", other, set}, "usage", "");
  error_where({"patchset", "extract", set, "--name", "lite"}, "patch", "light");
  error_where({"patchset", "list", other}, "patch", "");
  CHECK(error_where({"patchset", "lst", set}, "usage", "did you mean 'list'?") ==
        "slalom patchset");
  CHECK(contains(run({"patchset"}).err, "a verb is missing after 'patchset'"));
  CHECK(contains(run({"patchset", "--help"}).out, "extract"));
}

TEST_CASE("prune and rename change what they name", "[workflows][verbs_workspace]") {
  const auto pruned = run({"prune", "-", "--channel", "control_region", "--measurement", "wide",
                           "--modifier-type", "shapesys"})
                          .json();
  CHECK(pruned.at("channels").size() == 1);
  CHECK(pruned.at("observations").size() == 1);
  CHECK(pruned.at("measurements").size() == 1);
  CHECK(pruned.at("channels").at(0).at("samples").at(1).at("modifiers").size() == 1);
  CHECK(
      run({"prune", "-", "--sample", "signal"}).json().at("channels").at(0).at("samples").size() ==
      1);
  const Outcome renamed =
      run({"rename", "-", "--channel", "control_region", "CR", "--modifier", "mu", "strength",
           "--measurement", "wide", "broad", "--sample", "background", "bkg"});
  CHECK(renamed.json().at("channels").at(1).at("name") == "CR");
  CHECK(renamed.json().at("measurements").at(0).at("config").at("poi") == "strength");
  CHECK(renamed.json().at("measurements").at(1).at("name") == "broad");
  CHECK(run({"validate", "-"}, renamed.out).code == slalom::exit_success);
  const auto where = [](const Words& words) { return error_where(words, "usage", ""); };
  where({"prune", "-", "--channel", "nowhere"});
  CHECK(where({"prune", "-", "--modifier-type", "normsis"}) == "--modifier-type");
  where({"rename", "-", "--sample", "sygnal", "s"});
  CHECK(where({"rename", "-", "--sample", "signal", "a", "--sample", "signal", "b"}) == "--sample");
}

TEST_CASE("combine joins as asked", "[workflows][verbs_workspace]") {
  const TemporaryFolder folder;
  const auto left = folder.file("left.json", small_workspace());
  const Outcome other =
      run({"rename", "-", "--channel", "signal_region", "SR2", "--channel", "control_region", "CR2",
           "--measurement", "wide", "wide2", "--measurement", "nominal", "nominal2"});
  const auto right = folder.file("right.json", other.out);
  const auto both = run({"combine", left, right}).json();
  CHECK(both.at("channels").size() == 4);
  CHECK(both.at("measurements").size() == 4);
  CHECK(run({"combine", left, left, "--join", "outer"}).json() == json::parse(small_workspace()));
  CHECK(run({"combine", left, "-", "--join", "left-outer"}).code == slalom::exit_success);
  CHECK(run({"combine", left, "-", "-j", "right-outer"}).code == slalom::exit_success);
  error_where({"combine", left, left}, "workspace", "");
  error_where({"combine", left, left, "--merge-channels"}, "usage", "");
  CHECK(error_where({"combine", left, left, "--join", "inner"}, "usage", "inner") == "--join");
}

TEST_CASE("sort and digest do not depend on formatting", "[workflows][verbs_workspace]") {
  const auto sorted = run({"sort", "-"}).json();
  CHECK(sorted.at("channels").at(0).at("name") == "control_region");
  const Outcome plain = run({"digest", "-"});
  CHECK(plain.out.rfind("sha256:", 0) == 0);
  CHECK(run({"digest", "-"}, json::parse(small_workspace()).dump()).out == plain.out);
  const auto digests = run({"digest", "-", "--json", "-a", "md5", "--algorithm", "sha256"}).json();
  CHECK(digests.at("md5").get<std::string>().size() == 32);
  CHECK(digests.at("sha256").get<std::string>().size() == 64);
  CHECK(error_where({"digest", "-", "-a", "md6"}, "usage", "md6") == "--algorithm");
}

TEST_CASE("published signals can be applied and fitted", "[workflows][verbs_workspace]") {
  SLALOM_REQUIRE_DATA("workspaces/3LRJR");
  const std::string workspace = slalom::test::data_path("workspaces/3LRJR/BkgOnly.json").string();
  const std::string set = slalom::test::data_path("workspaces/3LRJR/patchset.json").string();
  CHECK(run({"patchset", "verify", workspace, set}).code == slalom::exit_success);
  const Outcome fit = run({"fit", workspace, "--patchset", set, "--patch-name", "ERJR_100p0_20p0",
                           "--json", "--quiet"});
  CHECK(fit.code == slalom::exit_success);
  CHECK_THAT(fit.json().at("twice_nll").get<double>(), Catch::Matchers::WithinAbs(267.4576, 1e-3));
}

TEST_CASE("small variations are pruned with a report", "[workflows][verbs_workspace]") {
  const TemporaryFolder folder;
  std::string workspace = small_workspace();
  const std::string scale = R"("data": [100],
       "modifiers": [{"name": "scale", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}])";
  REQUIRE(contains(workspace, scale));
  workspace.replace(workspace.find(scale), scale.size(), R"("data": [100],
       "modifiers": [{"name": "scale", "type": "normsys", "data": {"hi": 1.001, "lo": 0.999}}])");
  const std::string file = folder.path("light.json");
  const Outcome outcome = run({"prune", "-", "--below-norm", "0.005", "--below-shape", "0.01",
                               "--refit", "-o", file, "--json"},
                              workspace);
  REQUIRE(outcome.code == slalom::exit_success);
  const auto report = outcome.json();
  REQUIRE(report.at("pruned").size() == 1);
  CHECK(report.at("pruned")[0].at("channel") == "control_region");
  CHECK(report.at("pruned")[0].at("part") == "all");
  CHECK(report.at("parameters").empty());
  const auto& before = report.at("refit").at("before");
  const auto& after = report.at("refit").at("after");
  CHECK(before.at("n_parameters") == after.at("n_parameters"));
  CHECK(before.at("best_fit") != after.at("best_fit"));
  // The fit verb agrees on the pruned file.
  const auto fit = run({"fit", file, "--json"}).json();
  CHECK(std::abs(fit.at("parameters").at("mu").at("value").get<double>() -
                 after.at("best_fit").get<double>()) < 1e-8);
  // As text, to a file, and with the workspace on standard output.
  const std::string text = folder.path("report.txt");
  const Outcome piped = run({"prune", "-", "--below-norm", "0.2", "--report", text}, workspace);
  CHECK(json::parse(piped.out).at("channels").size() == 2);
  CHECK(contains(text_of(text), "gone: scale"));
  CHECK(contains(text_of(text), "2 of 2 variations"));
  // Without the options nothing but the workspace comes.
  CHECK(run({"prune", "-", "--channel", "control_region", "-o", file}).out.empty());
  CHECK(run({"prune", "-", "--report", text, "--json"}).code == slalom::exit_usage);
  CHECK(run({"prune", "-", "--below-norm", "-1", "--json"}).code == slalom::exit_usage);
}

TEST_CASE("parameters are decorrelated", "[workflows][verbs_workspace]") {
  const Outcome outcome = run({"decorrelate", "-", "--modifier", "scale", "--into", "a,b"});
  REQUIRE(outcome.code == slalom::exit_success);
  const Outcome inspected = run({"inspect", "-", "--json"}, outcome.out);
  CHECK(contains(inspected.out, "\"a\""));
  CHECK_FALSE(contains(inspected.out, "\"scale\""));
  const Outcome bins = run({"decorrelate", "-", "--modifier", "scale", "--by", "bins", "--channel",
                            "signal_region", "--bins", "0,1"});
  REQUIRE(bins.code == slalom::exit_success);
  CHECK(contains(bins.err, "became histosys"));
  CHECK(contains(bins.out, "scale_bin1"));
  CHECK(run({"decorrelate", "-", "--modifier", "scale", "--by", "bins", "--channel",
             "signal_region", "--strict"})
            .code == slalom::exit_usage);
  const Outcome partly = run({"decorrelate", "-", "--modifier", "scale", "--correlation", "0.5",
                              "--by", "sample", "--sample", "background"});
  CHECK(contains(partly.out, "scale_background"));
  for (const Words& wrong :
       {Words{"--modifier", "mu"}, Words{}, Words{"--modifier", "scale", "--bins", "0-1"},
        Words{"--modifier", "scale", "--by", "bins", "--bins", "0-x", "--channel", "signal_region"},
        Words{"--modifier", "scale", "--by", "region"}}) {
    Words words = {"decorrelate", "-", "--json"};
    words.insert(words.end(), wrong.begin(), wrong.end());
    const Outcome refused = run(words);
    INFO(refused.out);
    CHECK(refused.code == slalom::exit_usage);
    CHECK(refused.error("type") == "usage");
  }
}

namespace {

std::string alternatives_document() {
  return R"json({"alternatives": [{"name": "generator", "nominal": "own", "replaces": ["scale"],
    "samples": [
      {"channel": "signal_region", "sample": "background",
       "simulations": {"a": [52, 57], "b": [47, 64]}},
      {"channel": "control_region", "sample": "background", "simulations": {"a": [104], "b": [97]}}
    ]}]})json";
}

}  // namespace

TEST_CASE("alternative simulations are mixed", "[workflows][verbs_workspace]") {
  const TemporaryFolder folder;
  const auto alternatives = folder.file("alternatives.json", alternatives_document());
  const Outcome mixed = run({"mix", "-", alternatives});
  REQUIRE(mixed.code == slalom::exit_success);
  CHECK(contains(mixed.out, "generator_2"));
  CHECK_FALSE(contains(mixed.out, "\"scale\""));

  // Fits to the result and with the option are the same; the option adds what it says of weights.
  const auto file = folder.file("mixed.json", mixed.out);
  const Outcome from_file = run({"fit", file, "--json"});
  const Outcome with_option = run({"fit", "-", "--alternatives", alternatives, "--json"});
  REQUIRE(from_file.code == slalom::exit_success);
  REQUIRE(with_option.code == slalom::exit_success);
  CHECK(with_option.json().at("parameters") == from_file.json().at("parameters"));
  CHECK_FALSE(from_file.json().contains("mixtures"));
  const auto mixture = with_option.json().at("mixtures").at(0);
  CHECK(mixture.at("name") == "generator");
  CHECK(mixture.at("directions").size() == 2);
  double sum = 0.0;
  for (const auto& [name, weight] : mixture.at("weights").items()) {
    sum += weight.at("weight").get<double>();
    CHECK(weight.at("error").get<double>() > 0.0);
  }
  CHECK(std::abs(sum - 1.0) < 1e-12);
  CHECK(mixture.at("weights_unique") == true);
  const Outcome table = run({"fit", "-", "--alternatives", alternatives});
  CHECK(contains(table.out, "own"));
  CHECK(contains(table.out, "narrowest"));
  // All verbs that build a model have the option.
  CHECK(run({"limit", "-", "--alternatives", alternatives}).code == slalom::exit_success);
  const Outcome page = run({"report", "-", "--alternatives", alternatives, "-o", "-", "--without",
                            "distributions", "--no-date"});
  INFO(page.err);
  CHECK(contains(page.out, "Mixtures of simulations"));
  CHECK(contains(page.out, "Narrowest combination"));
  const Outcome expected = run({"inspect", "-", "--alternatives", alternatives, "--json"});
  CHECK(contains(expected.out, "generator_1"));

  const auto out = folder.path("out.json"), report = folder.path("weights.json");
  REQUIRE(run({"mix", "-", alternatives, "-o", out, "--report", report}).code ==
          slalom::exit_success);
  CHECK(text_of(out) == mixed.out);
  const json weights = json::parse(text_of(report)).at("mixtures").at(0);
  CHECK(weights.at("simulations") == json({"own", "a", "b"}));
  CHECK(weights.at("directions").at(0).at("weights").size() == 3);
  CHECK(contains(run({"mix", "-", alternatives, "-o", out}).out, "part of the variance"));
}

TEST_CASE("data that nearly decide between simulations are a warning",
          "[workflows][verbs_workspace]") {
  const TemporaryFolder folder;
  json document = json::parse(alternatives_document());
  document["alternatives"][0]["samples"].erase(0);
  document["alternatives"][0].erase("replaces");
  document["alternatives"][0]["samples"][0]["simulations"] = {{"a", {400}}};
  const auto alternatives = folder.file("alternatives.json", document.dump());
  const Outcome fit = run({"fit", "-", "--alternatives", alternatives, "--json"});
  REQUIRE(fit.code == slalom::exit_success);
  const auto mixture = fit.json().at("mixtures").at(0);
  CHECK(mixture.at("over_constrained") == true);
  CHECK(mixture.at("channel") == "control_region");
  CHECK(contains(fit.err, "of the prior's width"));
  CHECK(contains(fit.out, "\"warnings\""));
}

TEST_CASE("wrong alternatives have a file and a place", "[workflows][verbs_workspace]") {
  const TemporaryFolder folder;
  json document = json::parse(alternatives_document());
  document["alternatives"][0]["samples"][1]["channel"] = "control_regio";
  const auto channel = folder.file("channel.json", document.dump());
  CHECK(error_where({"mix", "-", channel}, "usage", "did you mean 'control_region'") ==
        channel + "#/alternatives/0/samples/1/channel");
  CHECK(error_where({"fit", "-", "--alternatives", channel}, "usage", "there is no channel") ==
        channel + "#/alternatives/0/samples/1/channel");
  const auto right = folder.file("right.json", alternatives_document());
  CHECK(error_where({"fit", "-", "--alternatives", right, "--histosys-code", "code2"}, "usage",
                    "code2 jumps") == "--histosys-code");
  const auto list = folder.file("list.json", "[]");
  CHECK(error_where({"mix", "-", list}, "usage", "an object expected") == list + "#");
  CHECK(run({"mix", "-", folder.path("none.json"), "--json"}).error("type") == "io");
  CHECK(run({"mix", "-", "--json"}).error("type") == "usage");
}
