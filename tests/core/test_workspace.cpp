// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "slalom/core/json.hpp"
#include "slalom/core/workspace.hpp"
#include "support/catch.hpp"
#include "support/data.hpp"
#include "support/fails.hpp"
#include "support/workspaces.hpp"

using slalom::ErrorKind;
using slalom::Json;
using slalom::ModifierType;
using slalom::parse_workspace;
using slalom::Warnings;
using slalom::Workspace;
using slalom::test::check_fails;
using slalom::test::left_workspace;

namespace {

// A document with one value replaced, or added if its parent is there.
Json with(const std::string& pointer, const std::string& value) {
  Json document = left_workspace();
  document[Json::json_pointer(pointer)] = slalom::parse_json(value);
  return document;
}

Json without(const std::string& pointer, const std::string& key) {
  Json document = left_workspace();
  document[Json::json_pointer(pointer)].erase(key);
  return document;
}

Warnings warnings_of(const Json& document) {
  Warnings warnings;
  parse_workspace(document, &warnings);
  return warnings;
}

// Appends modifiers to the background of the signal region.
void add_modifiers(Json& document, std::size_t count, const std::string& type, const Json& data) {
  for (std::size_t i = 0; i < count; ++i) {
    document["channels"][0]["samples"][1]["modifiers"].push_back(
        {{"name", type + std::to_string(i)}, {"type", type}, {"data", data}});
  }
}

}  // namespace

TEST_CASE("a workspace is read in file order", "[core][workspace]") {
  Warnings warnings;
  const Workspace workspace = parse_workspace(left_workspace(), &warnings);
  CHECK(warnings.empty());
  CHECK(workspace.version == "1.0.0");
  REQUIRE(workspace.channels.size() == 2);
  CHECK(workspace.channels[0].name == "SR");
  REQUIRE(workspace.channels[0].samples.size() == 2);
  const slalom::Sample& background = workspace.channels[0].samples[1];
  CHECK(background.data == std::vector<double>{50.0, 60.0});
  REQUIRE(background.modifiers.size() == 3);
  CHECK(background.modifiers[0].type == ModifierType::normsys);
  CHECK(background.modifiers[0].hi == 1.1);
  CHECK(background.modifiers[0].lo == 0.9);
  CHECK(background.modifiers[1].hi_data == std::vector<double>{51.0, 61.0});
  CHECK(background.modifiers[1].lo_data == std::vector<double>{49.0, 59.5});
  CHECK(background.modifiers[2].uncertainty == std::vector<double>{5.0, 1e-5});
  CHECK(workspace.observations[1].data == std::vector<double>{1010.0});
}

TEST_CASE("the configuration of parameters is read", "[core][workspace]") {
  const Workspace workspace = parse_workspace(left_workspace());
  REQUIRE(workspace.measurements.size() == 2);
  const slalom::Measurement& measurement = workspace.measurements[0];
  CHECK(measurement.poi == "mu");
  REQUIRE(measurement.parameters.size() == 2);
  const slalom::ParameterConfig& mu = measurement.parameters[0];
  CHECK(mu.inits == std::vector<double>{1.0});
  CHECK(mu.bounds == std::vector<std::pair<double, double>>{{0.0, 20.0}});
  CHECK_FALSE(mu.fixed.has_value());
  CHECK_FALSE(mu.sigmas.has_value());
  const slalom::ParameterConfig& lumi = measurement.parameters[1];
  CHECK(lumi.fixed == true);
  CHECK(lumi.auxdata == std::vector<double>{1.0});
  CHECK(lumi.sigmas == std::vector<double>{0.02});
}

TEST_CASE("modifier types have pyhf's names", "[core][workspace]") {
  for (const char* name :
       {"histosys", "lumi", "normfactor", "normsys", "shapefactor", "shapesys", "staterror"}) {
    REQUIRE(slalom::modifier_type(name).has_value());
    CHECK(std::string(to_string(*slalom::modifier_type(name))) == name);
  }
  CHECK_FALSE(slalom::modifier_type("Normsys").has_value());
  CHECK_FALSE(slalom::modifier_type("").has_value());
}

TEST_CASE("a workspace that breaks a rule is refused with its place", "[core][workspace]") {
  struct Case {
    Json document;
    std::string where, fragment;
  };
  const std::string c0 = "/channels/0", s1 = "/channels/0/samples/1", m1 = s1 + "/modifiers";
  const std::string config = "/measurements/0/config", mu = config + "/parameters/0";
  const std::vector<Case> cases = {
      // the document
      {Json::array(), "", "an object expected, found an array"},
      {Json(nullptr), "", "an object expected, found null"},
      {Json::object(), "", "missing key 'channels'"},
      {without("", "measurements"), "", "missing key 'measurements'"},
      {without("", "observations"), "", "missing key 'observations'"},
      {without("", "version"), "", "missing key 'version'"},
      {with("/version", "\"1.0.1\""), "/version", "'1.0.0' of the schema expected, found '1.0.1'"},
      {with("/version", "1.0"), "/version", "a string expected, found a number"},
      {with("/chanels", "[]"), "/chanels", "did you mean 'channels'?"},
      {with("/a~1b", "[]"), "/a~1b", "unknown key 'a/b'; there is 'channels'"},
      // channels
      {with("/channels", "[]"), "/channels", "at least 1 element expected, found 0"},
      {with("/channels", "{}"), "/channels", "an array expected, found an object"},
      {with("/channels/0", "3"), c0, "an object expected, found a number"},
      {without(c0, "samples"), c0, "missing key 'samples'"},
      {without(c0, "name"), c0, "missing key 'name'"},
      {with(c0 + "/name", "\"\""), c0 + "/name", "a name expected, found an empty string"},
      {with(c0 + "/name", "null"), c0 + "/name", "a string expected, found null"},
      {with(c0 + "/name", "\"CR\""), "/channels/1/name",
       "a second channel named 'CR'; the first is at /channels/0"},
      {with(c0 + "/sample", "[]"), c0 + "/sample", "did you mean 'samples'?"},
      {with(c0 + "/samples", "[]"), c0 + "/samples", "at least 1 element"},
      // samples
      {with(s1, "\"x\""), s1, "an object expected, found a string"},
      {without(s1, "modifiers"), s1, "missing key 'modifiers'"},
      {without(s1, "data"), s1, "missing key 'data'"},
      {with(s1 + "/name", "\"signal\""), s1 + "/name", "a second sample named 'signal'"},
      {with(s1 + "/name", "\"\""), s1 + "/name", "a name expected"},
      {with(s1 + "/error", "[]"), s1 + "/error", "unknown key 'error'"},
      {with(s1 + "/data", "[1, 2, 3]"), s1 + "/data",
       "2 values expected as in /channels/0/samples/0/data, found 3"},
      {with(c0 + "/samples/0/data", "[]"), c0 + "/samples/0/data", "at least 1 element"},
      {with(s1 + "/data", "5"), s1 + "/data", "an array expected, found a number"},
      {with(s1 + "/data/1", "true"), s1 + "/data/1", "a number expected, found a boolean"},
      {with(s1 + "/data/1", "\"1\""), s1 + "/data/1", "a number expected, found a string"},
      {with(s1 + "/data/0", "null"), s1 + "/data/0", "a number expected, found null"},
      {with(s1 + "/modifiers", "null"), m1, "an array expected, found null"},
      // modifiers
      {with(m1 + "/0", "[]"), m1 + "/0", "an object expected, found an array"},
      {without(m1 + "/0", "type"), m1 + "/0", "missing key 'type'"},
      {without(m1 + "/0", "data"), m1 + "/0", "missing key 'data'"},
      {without(c0 + "/samples/0/modifiers/0", "data"), c0 + "/samples/0/modifiers/0",
       "missing key 'data'"},
      {with(m1 + "/0/dat", "1"), m1 + "/0/dat", "did you mean 'data'?"},
      {with(m1 + "/0/type", "\"normsyst\""), m1 + "/0/type", "did you mean 'normsys'?"},
      {with(m1 + "/0/type", "\"OverallSys\""), m1 + "/0/type", "there is 'histosys', 'lumi'"},
      {with(m1 + "/0/type", "7"), m1 + "/0/type", "a string expected"},
      {with(m1 + "/0/name", "\"\""), m1 + "/0/name", "a name expected"},
      {with(m1 + "/1/type", "\"normsys\""), m1 + "/1/data/hi_data", "unknown key 'hi_data'"},
      {with(m1 + "/1", R"({"name": "scale", "type": "normsys", "data": {"hi": 1, "lo": 1}})"),
       m1 + "/1", "a second normsys named 'scale'; the first is at " + m1 + "/0"},
      {with(m1 + "/0/data", "null"), m1 + "/0/data", "an object expected, found null"},
      {with(m1 + "/0/data", "{\"hi\": 1}"), m1 + "/0/data", "missing key 'lo'"},
      {with(m1 + "/0/data/hi", "[1.1]"), m1 + "/0/data/hi", "a number expected, found an array"},
      {with(m1 + "/0/data/high", "1"), m1 + "/0/data/high", "unknown key 'high'"},
      {without(m1 + "/1/data", "lo_data"), m1 + "/1/data", "missing key 'lo_data'"},
      {with(m1 + "/1/data/hi_data", "[1, 2, 3, 4]"), m1 + "/1/data/hi_data",
       "2 values expected as in " + s1 + "/data, found 4"},
      {with(m1 + "/1/data/lo_data", "[1]"), m1 + "/1/data/lo_data", "found 1"},
      {with(m1 + "/1/data/lo_data", "[]"), m1 + "/1/data/lo_data", "at least 1 element"},
      {with(m1 + "/2/data", "[1]"), m1 + "/2/data", "2 values expected"},
      {with(m1 + "/2/data", "null"), m1 + "/2/data", "an array expected, found null"},
      {with(m1 + "/2/data/0", "{}"), m1 + "/2/data/0", "a number expected, found an object"},
      {with(c0 + "/samples/0/modifiers/0/data", "1"), c0 + "/samples/0/modifiers/0/data",
       "null expected for a normfactor, found a number"},
      {with(c0 + "/samples/0/modifiers/1/data", "{}"), c0 + "/samples/0/modifiers/1/data",
       "null expected for a lumi, found an object"},
      {with(c0 + "/samples/0/modifiers/1/name", "\"Lumi\""), c0 + "/samples/0/modifiers/1/name",
       "must be named 'lumi', found 'Lumi'"},
      // measurements
      {with("/measurements", "[]"), "/measurements", "at least 1 element"},
      {with("/measurements/1/name", "\"nominal\""), "/measurements/1/name",
       "a second measurement named 'nominal'"},
      {with("/measurements/1/name", "1"), "/measurements/1/name", "a string expected"},
      {without("/measurements/0", "config"), "/measurements/0", "missing key 'config'"},
      {without(config, "poi"), config, "missing key 'poi'"},
      {without(config, "parameters"), config, "missing key 'parameters'"},
      {with(config + "/poi", "null"), config + "/poi", "a string expected, found null"},
      {with(config + "/parameters", "{}"), config + "/parameters", "an array expected"},
      {with(mu + "/name", "\"lumi\""), config + "/parameters/1/name",
       "a second configuration of a parameter named 'lumi'"},
      {without(mu, "name"), mu, "missing key 'name'"},
      {with(mu + "/bound", "[]"), mu + "/bound", "did you mean 'bounds'?"},
      {with(mu + "/init", "[]"), mu + "/init", "did you mean 'inits'?"},
      {with(mu + "/inits", "1"), mu + "/inits", "an array expected, found a number"},
      {with(mu + "/inits", "[]"), mu + "/inits", "at least 1 element"},
      {with(mu + "/inits", "[true]"), mu + "/inits/0", "a number expected, found a boolean"},
      {with(mu + "/bounds", "[0, 10]"), mu + "/bounds/0", "an array expected, found a number"},
      {with(mu + "/bounds", "[[0]]"), mu + "/bounds/0", "[lower, upper] expected, found 1 value"},
      {with(mu + "/bounds", "[[0, 1, 2]]"), mu + "/bounds/0", "found 3 values"},
      {with(mu + "/bounds", "[[3, -1.5]]"), mu + "/bounds/0",
       "the lower bound 3.0 is above the upper bound -1.5"},
      {with(mu + "/bounds", "[]"), mu + "/bounds", "at least 1 element"},
      {with(mu + "/sigmas", "[0.0]"), mu + "/sigmas/0", "a number above 0 expected, found 0.0"},
      {with(mu + "/sigmas", "[1, -1]"), mu + "/sigmas/1", "a number above 0 expected"},
      {with(mu + "/factors", "[0]"), mu + "/factors/0", "a number above 0 expected"},
      {with(mu + "/auxdata", "[null]"), mu + "/auxdata/0", "a number expected, found null"},
      {with(mu + "/fixed", "1"), mu + "/fixed", "true or false expected, found a number"},
      {with(mu + "/fixed", "[true]"), mu + "/fixed", "true or false expected, found an array"},
      // observations
      {with("/observations", "[]"), "/observations", "at least 1 element"},
      {with("/observations/1", "0"), "/observations/1", "an object expected"},
      {with("/observations/1/name", "\"SR\""), "/observations/1/name",
       "a second observation named 'SR'; the first is at /observations/0"},
      {with("/observations/1/name", "\"CRR\""), "/observations",
       "no observation for channel 'CR' (/channels/1); did you mean 'CRR'?"},
      {with("/observations/0/data", "[1]"), "/observations/0/data",
       "2 values expected as in /channels/0/samples/0/data, found 1"},
      {with("/observations/0/data", "[1, true]"), "/observations/0/data/1", "a number expected"},
      {with("/observations/0/data", "[1, -2]"), "/observations/0/data/1",
       "a count of at least 0 expected, found -2.0"},
      {without("/observations/0", "data"), "/observations/0", "missing key 'data'"},
      {with("/observations/0/bins", "2"), "/observations/0/bins", "unknown key 'bins'"},
  };
  CHECK(cases.size() >= 70);
  for (const Case& c : cases) {
    CAPTURE(c.where, c.fragment);
    check_fails(ErrorKind::workspace, c.where, c.fragment, [&] { parse_workspace(c.document); });
  }
}

TEST_CASE("numbers that are not finite are refused", "[core][workspace]") {
  Json document = left_workspace();
  document["channels"][1]["samples"][0]["data"][0] = std::numeric_limits<double>::infinity();
  check_fails(ErrorKind::workspace, "/channels/1/samples/0/data/0", "a finite number expected",
              [&] { parse_workspace(document); });
}

TEST_CASE("what is unusual but legal is read without a warning", "[core][workspace]") {
  CHECK(warnings_of(with("/channels/1/samples/0/data", "[-1.0]")).empty());
  CHECK(warnings_of(with("/observations/0/data", "[0, 2.5]")).empty());
  CHECK(warnings_of(with("/measurements/0/config/parameters/0/bounds", "[[1, 1]]")).empty());
  CHECK(warnings_of(with("/channels/0/samples/0/modifiers", "[]")).empty());
}

TEST_CASE("probable mistakes are warnings with their place", "[core][workspace]") {
  const std::string modifiers = "/channels/0/samples/1/modifiers";
  struct Case {
    Json document;
    std::string where, fragment;
  };
  const std::vector<Case> cases = {
      {with(modifiers + "/0/data/hi", "0"), modifiers + "/0/data/hi",
       "found 0.0; 0.01 is used instead"},
      {with(modifiers + "/0/data/lo", "-0.5"), modifiers + "/0/data/lo", "found -0.5"},
      {with(modifiers + "/2/data/1", "-3"), modifiers + "/2/data/1",
       "the uncertainty -3.0 of shapesys 'unc' is negative"},
      {with(modifiers + "/1/data", R"({"hi_data": [51, 61], "lo_data": [50.5, 60.5]})"),
       modifiers + "/1/data", "'scale' lie on the same side"},
      {with(modifiers + "/1/data", R"({"hi_data": [51, 59], "lo_data": [50.5, 58]})"),
       modifiers + "/1/data", "'scale' lie on the same side"},
      {with("/observations/2", R"({"name": "VR", "data": [1, 2, 3]})"), "/observations/2/name",
       "observation for 'VR', which is no channel"},
      {with("/measurements/1/name", "\"\""), "/measurements/1/name", "empty name"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.where);
    const Warnings warnings = warnings_of(c.document);
    REQUIRE(warnings.size() == 1);
    CHECK(warnings[0].where == c.where);
    CAPTURE(warnings[0].message);
    CHECK(warnings[0].message.find(c.fragment) != std::string::npos);
    CHECK_NOTHROW(parse_workspace(c.document, nullptr));
  }
}

TEST_CASE("variations on one side in some bins only are no warning", "[core][workspace]") {
  const std::string data = "/channels/0/samples/1/modifiers/1/data";
  CHECK(warnings_of(with(data, R"({"hi_data": [51, 61], "lo_data": [50.5, 59]})")).empty());
  CHECK(warnings_of(with(data, R"({"hi_data": [50, 60], "lo_data": [50, 60]})")).empty());
}

TEST_CASE("more than five warnings of a kind are told in one", "[core][workspace]") {
  Json document = left_workspace();
  add_modifiers(document, 5, "normsys", {{"hi", 1.0}, {"lo", 0.0}});
  CHECK(warnings_of(document).size() == 5);
  document = left_workspace();
  add_modifiers(document, 6, "normsys", {{"hi", 1.0}, {"lo", 0.0}});
  add_modifiers(document, 1, "staterror", {1.0, -1.0});
  const Warnings warnings = warnings_of(document);
  REQUIRE(warnings.size() == 2);
  const std::string prefix = "/channels/0/samples/1/modifiers/";
  CHECK(warnings[0].where == prefix + "3/data/lo");
  CHECK(warnings[0].message.find("(6 places like this, the next are " + prefix + "4/data/lo, " +
                                 prefix + "5/data/lo)") != std::string::npos);
  CHECK(warnings[1].where == prefix + "9/data/1");
}

TEST_CASE("warnings are appended to those that are there", "[core][workspace]") {
  Warnings warnings = {{"first", "somewhere"}};
  parse_workspace(with("/measurements/1/name", "\"\""), &warnings);
  REQUIRE(warnings.size() == 2);
  CHECK(warnings[0].message == "first");
}

TEST_CASE("a workspace is written as it was read", "[core][workspace]") {
  for (const Json& document : {left_workspace(), slalom::test::right_workspace()}) {
    const Json written = to_json(parse_workspace(document));
    CHECK(written == document);
    CHECK(to_json(parse_workspace(written)) == written);
  }
}

TEST_CASE("a measurement is found by its name", "[core][workspace]") {
  const Workspace workspace = parse_workspace(left_workspace());
  CHECK(&find_measurement(workspace) == &workspace.measurements[0]);
  CHECK(&find_measurement(workspace, "other") == &workspace.measurements[1]);
  check_fails(ErrorKind::model, "/measurements", "'nominl'; did you mean 'nominal'?",
              [&] { find_measurement(workspace, "nominl"); });
  check_fails(ErrorKind::model, "/measurements", "there is 'nominal', 'other'",
              [&] { find_measurement(workspace, "x"); });
  check_fails(ErrorKind::model, "", "no measurement", [] { find_measurement(Workspace{}); });
}

TEST_CASE("published workspaces are read and written back unchanged", "[core][workspace]") {
  SLALOM_REQUIRE_DATA("workspaces");
  std::size_t count = 0;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(slalom::test::data_path("workspaces"))) {
    if (entry.path().extension() != ".json") continue;
    const Json document = slalom::read_json(entry.path());
    if (!document.is_object() || !document.contains("measurements")) continue;
    CAPTURE(entry.path().filename().string());
    Warnings warnings;
    const Workspace workspace = parse_workspace(document, &warnings);
    CHECK(to_json(workspace) == document);
    CHECK(warnings.size() <= 2);
    ++count;
  }
  CHECK(count >= 14);
}
