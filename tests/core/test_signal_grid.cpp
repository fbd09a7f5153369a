// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "slalom/core/json.hpp"
#include "slalom/core/patch.hpp"
#include "slalom/core/patchset.hpp"
#include "slalom/core/signal_grid.hpp"
#include "support/catch.hpp"
#include "support/data.hpp"
#include "support/fails.hpp"
#include "support/workspaces.hpp"

using Catch::Matchers::WithinAbs;
using slalom::ChannelSpec;
using slalom::ErrorKind;
using slalom::Json;
using slalom::ModelSpec;
using slalom::Parameter;
using slalom::parse_json;
using slalom::SampleSpec;
using slalom::SignalGrid;
using slalom::SignalGridOptions;
using slalom::SignalOptions;
using slalom::SignalResult;
using slalom::SignalStatus;
using slalom::test::data_path;
using slalom::test::error_of;
using slalom::test::left_workspace;

namespace {

/// Every number and name of a specification: equal texts are bit-identical models.
std::string fingerprint(const ModelSpec& spec) {
  Json all = Json::array();
  for (const Parameter& p : spec.parameters) {
    all.push_back({p.name, p.init, p.lower, p.upper, p.fixed, static_cast<int>(p.constraint),
                   p.auxdata, p.sigma, p.tau});
  }
  for (const slalom::ParameterSet& set : spec.sets) {
    all.push_back({set.name, static_cast<int>(set.type), set.first, set.size, set.scalar});
  }
  for (const ChannelSpec& channel : spec.channels) {
    all.push_back({channel.name, channel.first_bin, channel.n_bins});
    for (const SampleSpec& sample : channel.samples) {
      all.push_back({sample.name, sample.nominal});
      for (const auto& t : sample.histosys) all.push_back({"h", t.parameter, t.hi, t.lo});
      for (const auto& t : sample.normsys) all.push_back({"n", t.parameter, t.hi, t.lo});
      for (const auto& t : sample.factors) all.push_back({"f", t.parameter});
      for (const auto& t : sample.binwise) {
        all.push_back({"b", static_cast<int>(t.type), t.parameters, t.uncertainty});
      }
    }
  }
  all.push_back({spec.poi.value_or(1u << 30), static_cast<int>(spec.normsys_code),
                 static_cast<int>(spec.histosys_code), spec.observed, spec.auxiliary});
  return slalom::python_dumps(all);
}

ModelSpec whole_way(const Json& background, const Json& operations,
                    const slalom::ModelOptions& options = {}) {
  return slalom::make_model_spec(
      slalom::parse_workspace(slalom::apply_patch(background, operations)), options);
}

Json operations_of(const std::string& text) { return parse_json(text); }

const std::string k_signal = R"({"name": "new signal", "data": [3, 4.5], "modifiers": [
    {"name": "mu", "type": "normfactor", "data": null},
    {"name": "a new one", "type": "normsys", "data": {"hi": 1.1, "lo": 0.8}},
    {"name": "scale", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}},
    {"name": "stat", "type": "staterror", "data": [1, 2]}]})";

std::string add(const std::string& path, const std::string& value) {
  return R"({"op": "add", "path": ")" + path + R"(", "value": )" + value + "}";
}

SignalGrid published(const std::string& file, SignalGridOptions options = {}) {
  return SignalGrid(slalom::read_json(data_path("workspaces/" + file)), std::move(options));
}

}  // namespace

TEST_CASE("a patched background is the model that the whole way gives", "[core][signal_grid]") {
  const std::vector<std::string> patches = {
      "",
      add("/channels/0/samples/-", k_signal),
      add("/channels/0/samples/0", k_signal) + "," + add("/channels/0/samples/0/data/0", "7") +
          R"(,{"op": "remove", "path": "/channels/0/samples/0/data/1"})",
      R"({"op": "remove", "path": "/channels/1"})",
      R"({"op": "remove", "path": "/channels/1"},)" + add("/channels/0/samples/1", k_signal),
      R"({"op": "replace", "path": "/channels/0/samples/0", "value": )" + k_signal + "}",
      R"({"op": "replace", "path": "/channels/0/samples/0/data", "value": [1, 2]})",
      R"({"op": "replace", "path": "/channels/0/samples/0/data/1", "value": 2})",
      add("/channels/0/samples/1/modifiers/-",
          R"({"name": "s", "type": "staterror", "data": [1, 2]})"),
      R"({"op": "remove", "path": "/channels/0/samples/1/modifiers/2"})",
      add("/measurements/0/config/parameters/-",
          R"({"name": "scale", "inits": [0.5], "fixed": true})"),
      R"({"op": "replace", "path": "/measurements/0/config/parameters/0/bounds/0/1", "value": 7})",
      R"({"op": "replace", "path": "/measurements/0/config/poi", "value": ""})",
      R"({"op": "replace", "path": "/observations/0/data", "value": [1, 2]})",
      R"({"op": "move", "from": "/channels/0", "path": "/channels/1"})",
      R"({"op": "move", "from": "/channels/0/samples/0", "path": "/channels/0/samples/1"})",
      R"({"op": "copy", "from": "/channels/1/samples/0", "path": "/channels/1/samples/1"},
         {"op": "replace", "path": "/channels/1/samples/1/name", "value": "copy"})",
      R"({"op": "test", "path": "/channels/1/samples/0/name", "value": "background"},
         {"op": "test", "path": "/version", "value": "1.0.0"})",
      R"({"op": "replace", "path": "/version", "value": "1.0.0"})",
      R"({"op": "copy", "from": "/channels", "path": "/old"},
         {"op": "remove", "path": "/channels/1"},
         {"op": "move", "from": "/old", "path": "/channels"})",
      R"({"op": "test", "path": "/channels/0/samples", "value": )" +
          slalom::python_dumps(left_workspace()["channels"][0]["samples"]) + "}",
      R"({"op": "replace", "path": "", "value": )" +
          slalom::python_dumps(slalom::test::left_workspace()) + "}",
  };
  const Json background = left_workspace();
  const SignalGrid grid(background);
  for (const std::string& text : patches) {
    CAPTURE(text);
    const Json operations = operations_of("[" + text + "]");
    CHECK(fingerprint(grid.spec(operations)) == fingerprint(whole_way(background, operations)));
  }
  SECTION("and the background is as it was") {
    CHECK(fingerprint(grid.spec(Json::array())) ==
          fingerprint(slalom::make_model_spec(slalom::parse_workspace(background))));
  }
}

TEST_CASE("a patch that is wrong fails as on the whole way", "[core][signal_grid]") {
  const std::vector<std::string> patches = {
      R"({"op": "remove", "path": "/channels/7"})",
      R"({"op": "remove", "path": "/channels/0/samples/7"})",
      R"({"op": "remove", "path": "/channels/0/samples/0/dat"})",
      R"({"op": "remove", "path": "/channels/0/sample"})",
      R"({"op": "remove", "path": "/channels/0/samples/0/data/0/1"})",
      R"({"op": "test", "path": "/channels/0/samples/0/data", "value": [1, 2]})",
      R"({"op": "test", "path": "/observations", "value": []})",
      R"({"op": "nonsense", "path": "/channels/0"})",
      R"({"op": "move", "from": "/channels/0", "path": "/channels/0/samples/0"})",
      R"({"op": "move", "from": "/channels/0/samples/0", "path": "/observations/0"})",
      R"({"op": "move", "from": "/observations", "path": "/channels/0/samples/0"})",
      R"({"op": "copy", "from": "/channels/0", "path": "/channels/1"})",
      R"({"op": "copy", "from": "/channels/0/samples/0", "path": "/channels/1/samples/0"})",
      R"({"op": "copy", "from": "/channels/0/samples/0", "path": "/channels/0/samples/0"})",
      R"({"op": "replace", "path": "/observations/1/name", "value": "SR"})",
      R"({"op": "replace", "path": "/channels/0/samples/0/data", "value": [1]})",
      R"({"op": "replace", "path": "/channels/1/samples/0/data", "value": [1, 2]})",
      R"({"op": "remove", "path": "/observations/0"})",
      R"({"op": "move", "from": "/measurements/1", "path": "/measurements/0"})",
      R"({"op": "copy", "from": "/channels/0", "path": "/channels/0/samples/0/data/0"})",
      R"({"op": "copy", "from": "/channels/0", "path": "/channels/0/samples/0/name"})",
      R"({"op": "copy", "from": "/measurements", "path": "/channels"})",
      R"({"op": "remove", "path": "/measurements/0"},{"op": "remove", "path": "/measurements/0"})",
      R"({"op": "remove", "path": "/channels/0/samples/0"})",
      R"({"op": "remove", "path": "/measurements/0/config/parameters/1"})",
      add("/channels/0/samples/-", "5"),
      add("/channels/0/samples/-", k_signal) + "," + add("/channels/0/samples/-", k_signal),
      add("/channels/1/samples/-", k_signal),
      add("/channels/0/samples/0/modifiers/-",
          R"({"name": "unc", "type": "shapesys", "data": [1, 2]})"),
      add("/channels/1/samples/0/modifiers/-",
          R"({"name": "mu", "type": "normsys", "data": {"hi": 1, "lo": 2}})"),
      add("/nonsense", "1"),
  };
  const Json background = left_workspace();
  const SignalGrid grid(background);
  for (const std::string& text : patches) {
    CAPTURE(text);
    const Json operations = operations_of("[" + text + "]");
    const auto expected = error_of([&] { whole_way(background, operations); });
    const auto found = error_of([&] { grid.spec(operations); });
    REQUIRE(expected.has_value());
    REQUIRE(found.has_value());
    CHECK(std::string(found->what()) == expected->what());
    CHECK(found->kind() == expected->kind());
  }
  CHECK_THROWS_AS(grid.spec(Json::object()), slalom::Error);
}

TEST_CASE("patches made at random end in the same model or the same error", "[core][signal_grid]") {
  const std::vector<std::string> paths = {"",
                                          "/channels",
                                          "/channels/0",
                                          "/channels/1",
                                          "/channels/-",
                                          "/channels/0/name",
                                          "/channels/0/samples",
                                          "/channels/0/samples/0",
                                          "/channels/0/samples/1",
                                          "/channels/0/samples/-",
                                          "/channels/1/samples/0",
                                          "/channels/0/samples/0/data",
                                          "/channels/0/samples/0/data/0",
                                          "/channels/0/samples/1/modifiers/0",
                                          "/channels/0/samples/1/modifiers/-",
                                          "/channels/0/samples/0/name",
                                          "/measurements",
                                          "/measurements/0",
                                          "/measurements/1",
                                          "/measurements/0/config/parameters/0",
                                          "/observations",
                                          "/observations/0",
                                          "/observations/1",
                                          "/observations/0/data/0",
                                          "/old"};
  const Json background = left_workspace();
  const SignalGrid grid(background);
  std::mt19937 random(20240);  // NOLINT: the same patches every time
  const auto pick = [&](std::size_t n) { return random() % n; };
  const Json values = {3.0,
                       "a name",
                       parse_json(k_signal),
                       background["channels"][0],
                       background["channels"][0]["samples"][1],
                       background["measurements"][0],
                       background["observations"][1],
                       Json::array({4.0, 5.0})};
  const std::vector<std::string> names = {"add",  "add",  "remove", "replace",
                                          "move", "copy", "test"};
  std::size_t models = 0;
  for (int trial = 0; trial < 3000; ++trial) {
    Json operations = Json::array();
    for (std::size_t i = 0; i <= pick(3); ++i) {
      operations.push_back({{"op", names[pick(names.size())]},
                            {"path", paths[pick(paths.size())]},
                            {"from", paths[pick(paths.size())]},
                            {"value", values[pick(values.size())]}});
    }
    CAPTURE(operations.dump());
    std::string whole, difference;
    const auto expected = error_of([&] { whole = fingerprint(whole_way(background, operations)); });
    const auto found = error_of([&] { difference = fingerprint(grid.spec(operations)); });
    REQUIRE(expected.has_value() == found.has_value());
    if (expected) {
      REQUIRE(std::string(found->what()) == expected->what());
    } else {
      REQUIRE(difference == whole);
      ++models;
    }
  }
  CHECK(models > 50);
}

TEST_CASE("NaN in a patch made by a program is no seal", "[core][signal_grid]") {
  const SignalGrid grid(left_workspace());
  Json operations = Json::array(
      {{{"op", "replace"}, {"path", "/channels/0/samples/0"}, {"value", std::nan("7")}}});
  CHECK(error_of([&] { grid.spec(operations); })->where() == "/channels/0/samples/0");
}

TEST_CASE("a background that is no workspace may become one", "[core][signal_grid]") {
  const Json whole = left_workspace();
  Json background = whole;
  const Json samples = background["channels"][1]["samples"];
  background["channels"][1]["samples"] = Json::array();
  const SignalGrid grid(background);
  CHECK(grid.warnings().empty());
  const Json patch = {{{"op", "replace"}, {"path", "/channels/1/samples"}, {"value", samples}}};
  CHECK(fingerprint(grid.spec(patch)) ==
        fingerprint(slalom::make_model_spec(slalom::parse_workspace(whole))));
  CHECK_THROWS_AS(grid.spec(Json::array()), slalom::Error);
  CHECK_THROWS_AS(SignalGrid(Json(3)).spec(Json::array()), slalom::Error);
}

TEST_CASE("only the warnings of the signal are reported with it", "[core][signal_grid]") {
  Json background = left_workspace();
  background["observations"].push_back({{"name", "unused"}, {"data", {1}}});
  const SignalGrid grid(background);
  REQUIRE(grid.warnings().size() == 1);
  slalom::Warnings warnings;
  grid.spec(Json::array(), "", &warnings);
  CHECK(warnings.empty());
  const Json patch = operations_of(R"([{"op": "remove", "path": "/channels/1"}])");
  grid.spec(patch, "", &warnings);
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0].where == "/observations/1/name");
}

TEST_CASE("specifications can be adjusted, and start from the background's fit",
          "[core][signal_grid]") {
  SignalGridOptions options;
  options.adjust = [](ModelSpec& spec) {
    if (const auto scale = spec.find("scale")) spec.parameters[*scale].fixed = true;
  };
  const SignalGrid fixed(left_workspace(), options);
  CHECK(fixed.spec(Json::array()).parameters[*fixed.spec(Json::array()).find("scale")].fixed);

  const SignalGrid grid(left_workspace());
  const ModelSpec spec = grid.spec(Json::array());
  const std::vector<double> start = grid.start(spec);
  REQUIRE(start.size() == spec.parameters.size());
  CHECK(start[*spec.find("scale")] != 0.0);
  SignalGridOptions cold;
  cold.warm_start = false;
  CHECK(SignalGrid(left_workspace(), cold).start(spec).empty());
}

TEST_CASE("a signal that fails says why and has no numbers", "[core][signal_grid]") {
  const SignalGrid grid(left_workspace());
  const SignalResult bad =
      grid.test(operations_of(R"([{"op": "remove", "path": "/channels/7"}])"), {}, "file#");
  CHECK(bad.status == SignalStatus::failed);
  CHECK(bad.where == "file#/0");
  CHECK(bad.message.find("there is no index '7'") != std::string::npos);
  const SignalResult no_poi = grid.test(
      operations_of(R"([{"op": "replace", "path": "/measurements/0/config/poi", "value": ""}])"));
  CHECK(no_poi.status == SignalStatus::failed);
  CHECK_FALSE(no_poi.message.empty());
  const SignalResult good = grid.test(Json::array());
  CHECK(good.status == SignalStatus::ok);
  CHECK(good.poi == "mu");
  CHECK(good.test.cls > 0.0);
}

TEST_CASE("signals are tested in parallel with the same results", "[core][signal_grid]") {
  const SignalGrid grid(left_workspace());
  const auto patch = [](std::size_t i) -> slalom::SignalPatch {
    if (i == 3) throw slalom::Error(ErrorKind::io, "cannot be read", "3.json");
    Json operations = operations_of(R"([{"op": "replace", "path": "/channels/0/samples/0/data",
                                         "value": [5, 10]}])");
    operations[0]["value"][0] = static_cast<double>(i) + 1.0;
    return {operations};
  };
  SignalOptions options;
  options.limit = options.discovery = true;
  std::vector<std::size_t> signals;
  for (std::size_t i = 0; i < 20; ++i) signals.push_back(i);
  std::map<std::size_t, std::map<std::size_t, SignalResult>> results;
  for (const std::size_t threads : {1u, 2u, 5u}) {
    const std::size_t done =
        test_signals(grid, signals, patch, options, threads, [&](const SignalResult& r) {
          results[threads][r.index] = r;
          return true;
        });
    CHECK(done == signals.size());
  }
  REQUIRE(results[1].size() == signals.size());
  CHECK(results[1][3].status == SignalStatus::failed);
  CHECK(results[1][3].where == "3.json");
  for (const std::size_t i : signals) {
    if (i == 3) continue;
    const SignalResult& one = results[1][i];
    REQUIRE(one.status == SignalStatus::ok);
    CHECK(one.seconds > 0.0);
    for (const std::size_t threads : {2u, 5u}) {
      const SignalResult& other = results[threads][i];
      CHECK(other.test.cls == one.test.cls);
      CHECK(other.test.cls_expected == one.test.cls_expected);
      CHECK(other.limit->observed == one.limit->observed);
      CHECK(other.discovery->z == one.discovery->z);
      CHECK(other.best_fit == one.best_fit);
    }
  }
}

TEST_CASE("work on a grid can be stopped", "[core][signal_grid]") {
  const SignalGrid grid(left_workspace());
  const auto patch = [](std::size_t) { return slalom::SignalPatch{Json::array()}; };
  const std::vector<std::size_t> signals(50, 0);
  std::size_t seen = 0;
  const auto stop_at_five = [&](const SignalResult&) { return ++seen < 5; };
  CHECK(test_signals(grid, signals, patch, {}, 2, stop_at_five) == 5);
  CHECK(seen == 5);
  const auto throws = [](const SignalResult&) -> bool { throw std::runtime_error("full"); };
  CHECK_THROWS_AS(test_signals(grid, signals, patch, {}, 2, throws), std::runtime_error);
}

TEST_CASE("published signals give the models of the whole way", "[core][signal_grid]") {
  SLALOM_REQUIRE_DATA("workspaces/2L0J");
  for (const char* analysis : {"2L0J", "3LRJR"}) {
    CAPTURE(analysis);
    const auto folder = data_path("workspaces") / analysis;
    const Json background = slalom::read_json(folder / "BkgOnly.json");
    const SignalGrid grid(background);
    const slalom::LazyPatchSet set(slalom::read_text(folder / "patchset.json"));
    for (std::size_t i = 0; i < set.set().patches.size(); ++i) {
      const Json operations = set.operations(i);
      CAPTURE(set.set().patches[i].name);
      REQUIRE(fingerprint(grid.spec(operations)) == fingerprint(whole_way(background, operations)));
    }
  }
  const std::vector<std::string> patches = {
      "RegionA/patch.sbottom_1300_205_60.json", "RegionA/patch.sbottom_1400_950_60.json",
      "RegionB/patch.sbottom_1400_550_60.json", "RegionC/patch.sbottom_1600_850_60.json"};
  for (const std::string& signal : patches) {
    CAPTURE(signal);
    const auto folder = data_path("workspaces/sbottom");
    const Json background =
        slalom::read_json(folder / signal.substr(0, signal.find('/')) / "BkgOnly.json");
    const Json operations = slalom::read_json(folder / signal);
    CHECK(fingerprint(SignalGrid(background).spec(operations)) ==
          fingerprint(whole_way(background, operations)));
  }
}

TEST_CASE("warm starts end where cold ones do", "[core][signal_grid]") {
  SLALOM_REQUIRE_DATA("workspaces/3LRJR");
  SignalGridOptions cold_options;
  cold_options.warm_start = false;
  const SignalGrid warm = published("3LRJR/BkgOnly.json");
  const SignalGrid cold = published("3LRJR/BkgOnly.json", cold_options);
  const slalom::LazyPatchSet set(slalom::read_text(data_path("workspaces/3LRJR/patchset.json")));
  for (std::size_t i = 0; i < set.set().patches.size(); ++i) {
    CAPTURE(set.set().patches[i].name);
    const SignalResult a = warm.test(set.operations(i));
    const SignalResult b = cold.test(set.operations(i));
    REQUIRE(a.status == SignalStatus::ok);
    REQUIRE(b.status == SignalStatus::ok);
    CHECK_THAT(a.test.cls, WithinAbs(b.test.cls, 1e-8));
    for (std::size_t k = 0; k < 5; ++k) {
      CHECK_THAT(a.test.cls_expected[k], WithinAbs(b.test.cls_expected[k], 1e-8));
    }
    if (set.set().patches[i].name == "ERJR_100p0_20p0") {
      CHECK_THAT(a.test.cls, WithinAbs(0.14863165, 5e-9));
    }
  }
}

TEST_CASE("the 2L0J grid has the published CLs", "[core][signal_grid]") {
  SLALOM_REQUIRE_DATA("workspaces/2L0J");
  const SignalGrid grid = published("2L0J/BkgOnly.json");
  const slalom::LazyPatchSet set(slalom::read_text(data_path("workspaces/2L0J/patchset.json")));
  std::map<std::vector<slalom::PatchValue>, double> expected;
  const Json published = slalom::read_json(data_path("workspaces/2L0J/published_CLs.json"));
  for (const Json& entry : published) {
    expected[{entry["m1"].get<double>(), entry["m2"].get<double>()}] = entry["CLs"].get<double>();
  }
  std::vector<std::size_t> signals(set.set().patches.size());
  for (std::size_t i = 0; i < signals.size(); ++i) signals[i] = i;
  std::vector<SignalResult> results;
  test_signals(
      grid, signals, [&](std::size_t i) { return slalom::SignalPatch{set.operations(i)}; }, {}, 2,
      [&](const SignalResult& result) {
        results.push_back(result);
        return true;
      });
  REQUIRE(results.size() == 106);
  for (const SignalResult& result : results) {
    CAPTURE(set.set().patches[result.index].name, result.message);
    CHECK(result.status == SignalStatus::ok);
    const auto known = expected.find(set.set().patches[result.index].values);
    REQUIRE(known != expected.end());
    CHECK_THAT(result.test.cls, WithinAbs(known->second, 5e-5));
  }
}
