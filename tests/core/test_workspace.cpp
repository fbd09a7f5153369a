// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "slalom/core/json.hpp"
#include "slalom/core/workspace.hpp"
#include "support/bad_workspaces.hpp"
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
using slalom::test::with;

namespace {

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
  const std::vector<slalom::test::BadWorkspace> cases = slalom::test::bad_workspaces();
  CHECK(cases.size() >= 70);
  for (const slalom::test::BadWorkspace& c : cases) {
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
