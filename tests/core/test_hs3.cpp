// SPDX-License-Identifier: Apache-2.0
// Round trips through HS3 keep the likelihood: same parameters, bounds, constraints, rates and
// log L; documents as ROOT writes them are read; what cannot be said is refused with its place.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "slalom/core/hs3.hpp"
#include "slalom/core/json.hpp"
#include "slalom/core/model.hpp"
#include "slalom/core/patch.hpp"
#include "support/catch.hpp"
#include "support/data.hpp"
#include "support/fails.hpp"
#include "support/models.hpp"
#include "support/workspaces.hpp"

using Catch::Matchers::WithinRel;
using nlohmann::json;
using slalom::ErrorKind;
using slalom::from_hs3;
using slalom::Hs3Options;
using slalom::parse_workspace;
using slalom::to_hs3;
using slalom::Warnings;
using slalom::Workspace;
using slalom::test::check_fails;

namespace {

slalom::ModelSpec spec_of(const Workspace& workspace, const std::string& measurement) {
  slalom::ModelOptions options;
  options.measurement = measurement;
  return slalom::make_model_spec(workspace, options);
}

void check_same_parameters(const slalom::ModelSpec& a, const slalom::ModelSpec& b) {
  REQUIRE(a.parameters.size() == b.parameters.size());
  for (std::size_t i = 0; i < a.parameters.size(); ++i) {
    const slalom::Parameter &p = a.parameters[i], &q = b.parameters[i];
    INFO("parameter " << p.name);
    CHECK(p.name == q.name);
    CHECK(p.init == q.init);
    CHECK(p.lower == q.lower);
    CHECK(p.upper == q.upper);
    CHECK(p.fixed == q.fixed);
    CHECK(p.constraint == q.constraint);
    CHECK_THAT(q.auxdata, WithinRel(p.auxdata, 1e-12));
    CHECK_THAT(q.sigma, WithinRel(p.sigma, 1e-12));
    CHECK_THAT(q.tau, WithinRel(p.tau, 1e-12));
  }
}

/// Both workspaces are the same likelihood under one measurement.
void check_same_model(const Workspace& before, const Workspace& after, const std::string& name) {
  INFO("measurement " << name);
  const slalom::ModelSpec a = spec_of(before, name), b = spec_of(after, name);
  check_same_parameters(a, b);
  CHECK(a.poi == b.poi);
  const slalom::Model first(a), second(b);
  for (const std::vector<double>& point : {a.initial(), slalom::test::second_reference_point(a)}) {
    const double expected = first.logpdf(point, a.data());
    const double found = second.logpdf(point, b.data());
    if (std::isfinite(expected)) {
      CHECK_THAT(found, WithinRel(expected, 1e-11));
    } else {
      CHECK(found == expected);
    }
  }
}

void check_round_trip(const Workspace& workspace, const Hs3Options& options = {}) {
  const json document = to_hs3(workspace, options);
  const Workspace back = from_hs3(slalom::parse_json(slalom::dump_json(document)), options);
  REQUIRE(back.measurements.size() == workspace.measurements.size());
  for (const slalom::Measurement& m : workspace.measurements) {
    check_same_model(workspace, back, m.name);
  }
}

json with(json value, const std::string& pointer, const json& content) {
  value[json::json_pointer(pointer)] = content;
  return value;
}

json without(json value, const std::string& parent, const std::string& key) {
  value[json::json_pointer(parent)].erase(key);
  return value;
}

/// The index of a modifier of the first sample's neighbour with that type.
json& modifier(json& value, const std::string& type) {
  for (json& channel : value["distributions"]) {
    if (channel["type"] != "histfactory_dist") continue;
    for (json& sample : channel["samples"]) {
      for (json& m : sample["modifiers"]) {
        if (m["type"] == type) return m;
      }
    }
  }
  FAIL("no modifier of type " << type);
  return value;
}

}  // namespace

TEST_CASE("a workspace survives the way through HS3", "[core][hs3]") {
  const Workspace workspace = parse_workspace(slalom::test::left_workspace());
  Hs3Options only;
  only.analysis = "nominal";  // "other" has no configuration of lumi
  Workspace one = workspace;
  one.measurements.resize(1);
  check_round_trip(one);
  Hs3Options absolute;
  absolute.shapesys = slalom::Hs3Uncertainty::absolute;
  absolute.histosys = slalom::Hs3Variation::differences;
  check_round_trip(one, absolute);
  const json chosen = to_hs3(workspace, only);
  CHECK(chosen == to_hs3(one));
}

TEST_CASE("every model of the comparison with pyhf survives the way through HS3", "[core][hs3]") {
  const json golden =
      slalom::read_json(std::string(SLALOM_SOURCE_DIR) + "/tests/validation/golden.json");
  std::size_t converted = 0;
  for (const json& entry : golden.at("cases")) {
    INFO("model " << entry.at("name"));
    Workspace workspace = parse_workspace(entry.at("workspace"));
    const std::string name = entry.at("measurement");
    std::erase_if(workspace.measurements, [&](const auto& m) { return m.name != name; });
    try {
      to_hs3(workspace);
    } catch (const slalom::Error& error) {
      // The only thing that HS3 has no place for.
      CHECK(error.message().find("HS3 has no place for it") != std::string::npos);
      continue;
    }
    check_round_trip(workspace);
    ++converted;
  }
  CHECK(converted >= 60);
}

TEST_CASE("published likelihoods survive the way through HS3", "[core][hs3]") {
  const std::vector<std::pair<std::string, std::string>> published = {
      {"pyhf/2-bin_1-channel.json", ""},
      {"agc/agc_34par.json", ""},
      {"agc/agc_ml_187par.json", ""},
      {"ttbar/ttbar_ljets_132par.json", ""},
      {"ttbar/three_sr_13par.json", ""},
      {"sbottom/RegionA/BkgOnly.json", "sbottom/RegionA/patch.sbottom_1300_205_60.json"},
      {"sbottom/RegionC/BkgOnly.json", "sbottom/RegionC/patch.sbottom_1600_850_60.json"}};
  for (const auto& [file, patch] : published) {
    SLALOM_REQUIRE_DATA("workspaces/" + file);
    INFO(file);
    json content = slalom::read_json(slalom::test::data_path("workspaces/" + file));
    if (!patch.empty()) {
      content = slalom::apply_patch(
          content, slalom::read_json(slalom::test::data_path("workspaces/" + patch)));
    }
    check_round_trip(parse_workspace(content));
  }
}

TEST_CASE("an HS3 document has the parts that the standard names", "[core][hs3]") {
  const Workspace workspace = parse_workspace(slalom::test::left_workspace());
  Warnings warnings;
  Workspace one = workspace;
  one.measurements.resize(1);
  const json hs3 = to_hs3(one, {}, &warnings);
  CHECK(warnings.empty());
  CHECK(hs3.at("metadata").at("hs3_version") == "0.2");
  CHECK(hs3.at("distributions").size() == 3);  // two channels, the constraint of lumi
  const json& channel = hs3.at("distributions").at(0);
  CHECK(channel.at("axes").at(0) ==
        json({{"name", "obs_x_SR"}, {"min", 0.0}, {"max", 2.0}, {"nbins", 2}}));
  const json& lumi = channel.at("samples").at(0).at("modifiers").at(1);
  CHECK(lumi.at("type") == "normfactor");
  CHECK(lumi.at("constraint_name") == "lumi_constraint");
  CHECK(hs3.at("distributions").at(2).at("sigma") == 0.02);
  CHECK(hs3.at("likelihoods").at(0).at("data") == json({"obsData_SR", "obsData_CR"}));
  CHECK(hs3.at("likelihoods").at(0).at("aux_distributions") == json({"lumi_constraint"}));
  CHECK(hs3.at("analyses").at(0).at("parameters_of_interest") == json({"mu"}));
  const json& shapesys = channel.at("samples").at(1).at("modifiers").at(2);
  CHECK_THAT(shapesys.at("data").at("vals").at(0).get<double>(), WithinRel(0.1, 1e-15));
}

TEST_CASE("measurements with other constraint terms are left out with a warning", "[core][hs3]") {
  json content = slalom::test::left_workspace();
  json second = content["measurements"][0];
  second["name"] = "precise";
  second["config"]["parameters"][1]["sigmas"] = {0.01};
  content["measurements"][1] = second;
  Warnings warnings;
  const json hs3 = to_hs3(parse_workspace(content), {}, &warnings);
  CHECK(hs3.at("analyses").size() == 1);
  REQUIRE(warnings.size() == 1);
  CHECK(warnings.front().where == "precise");
}

TEST_CASE("names and conventions of ROOT are read", "[core][hs3]") {
  // Names of modifiers and parameters differ, staterror has one name everywhere, the constraint of
  // the luminosity names a nominal value.
  const json root = slalom::parse_json(R"({
    "metadata": {"hs3_version": "0.2.0"},
    "distributions": [
      {"name": "model_SR", "type": "histfactory_dist",
       "axes": [{"name": "obs_x_SR", "edges": [0, 1, 3]}],
       "samples": [
         {"name": "signal", "data": {"contents": [5, 6], "errors": [1, 1]}, "modifiers": [
            {"name": "Lumi", "parameter": "Lumi", "type": "normfactor",
             "constraint_name": "lumiConstraint"},
            {"name": "mu", "parameter": "mu", "type": "normfactor"},
            {"name": "syst1", "parameter": "alpha_syst1", "type": "normsys",
             "constraint_name": "alpha_syst1Constraint", "data": {"hi": 1.1, "lo": 0.95}}]},
         {"name": "bkg", "data": {"contents": [50, 60], "errors": [2, 3]}, "modifiers": [
            {"name": "mcstat", "type": "staterror", "constraint": "Gauss",
             "parameters": ["gamma_stat_SR_bin_0", "gamma_stat_SR_bin_1"]},
            {"name": "syst1", "parameter": "alpha_syst1", "type": "histosys", "constraint": "Gauss",
             "data": {"hi": {"contents": [51, 63]}, "lo": {"contents": [49, 57]}}},
            {"name": "shape", "type": "shapesys", "constraint": "Poisson",
             "parameters": ["gamma_shape_bin_0", "gamma_shape_bin_1"],
             "data": {"vals": [0.1, 0.0]}}]}]},
      {"name": "model_CR", "type": "histfactory_dist", "axes": [{"name": "obs_x_CR", "nbins": 1,
       "min": 0, "max": 1}],
       "samples": [
         {"name": "other", "data": {"contents": [70], "errors": [4]}, "modifiers": [
            {"name": "mcstat", "type": "staterror", "constraint": "Gauss",
             "parameters": ["gamma_stat_CR_bin_0"]}]}]},
      {"name": "lumiConstraint", "type": "gaussian_dist", "mean": "Lumi", "sigma": 0.05,
       "x": "nominalLumi"},
      {"name": "alpha_syst1Constraint", "type": "gaussian_dist", "mean": "alpha_syst1",
       "sigma": 1.0, "x": "nom_alpha_syst1"}],
    "data": [
      {"name": "obsData_SR", "type": "binned", "contents": [58, 64], "axes": []},
      {"name": "obsData_CR", "type": "binned", "contents": [69], "axes": []}],
    "likelihoods": [{"name": "l", "distributions": ["model_SR", "model_CR"],
                     "data": ["obsData_SR", "obsData_CR"]}],
    "domains": [{"name": "d", "type": "product_domain", "axes": [
        {"name": "mu", "min": -3, "max": 5}, {"name": "Lumi", "min": 0.5, "max": 1.5}]}],
    "parameter_points": [{"name": "p", "parameters": [
        {"name": "mu", "value": 1}, {"name": "Lumi", "value": 1},
        {"name": "nominalLumi", "value": 1, "const": true},
        {"name": "nom_alpha_syst1", "value": 0, "const": true}]}],
    "analyses": [{"name": "meas", "likelihood": "l", "domains": ["d"], "init": "p",
                  "parameters_of_interest": ["mu"]}],
    "misc": {"ROOT_internal": {}}})");
  Warnings warnings;
  const Workspace workspace = from_hs3(root, {}, &warnings);
  REQUIRE(warnings.size() == 1);
  CHECK(warnings.front().message == "parameter 'Lumi' is called 'lumi', as pyhf asks");
  const slalom::ModelSpec spec = slalom::make_model_spec(workspace);
  std::vector<std::string> names;
  for (const auto& p : spec.parameters) names.push_back(p.name);
  CHECK(names == std::vector<std::string>{"syst1", "lumi", "mu", "shape[0]", "shape[1]",
                                          "mcstat_model_CR[0]", "mcstat_model_SR[0]",
                                          "mcstat_model_SR[1]"});
  CHECK(spec.parameters[1].sigma == 0.05);
  CHECK(spec.parameters[2].lower == -3.0);
  CHECK_THAT(spec.parameters[3].tau, WithinRel(100.0, 1e-12));
  CHECK(spec.parameters[4].fixed);
  CHECK_THAT(spec.parameters[7].sigma, WithinRel(3.0 / 60.0, 1e-12));
  CHECK(spec.observed == std::vector<double>{69.0, 58.0, 64.0});
}

TEST_CASE("a Poisson staterror becomes what pyhf has, or an error", "[core][hs3]") {
  json content = slalom::test::left_workspace();
  for (const char* sample : {"/channels/0/samples/0", "/channels/0/samples/1"}) {
    content[json::json_pointer(std::string(sample) + "/modifiers")].push_back(
        {{"name", "stat"}, {"type", "staterror"}, {"data", {1.0, 2.0}}});
  }
  content["measurements"].erase(1);
  json hs3 = to_hs3(parse_workspace(content));
  for (json& sample : hs3["distributions"][0]["samples"]) {
    for (json& m : sample["modifiers"]) {
      if (m["type"] == "staterror") m["constraint"] = "Poisson";
    }
  }
  check_fails(ErrorKind::workspace, "/distributions/0/samples/0/modifiers/2",
              "--gaussian-staterror", [&] { from_hs3(hs3); });
  Hs3Options gaussian;
  gaussian.gaussian_staterror = true;
  Warnings warnings;
  check_same_model(parse_workspace(content), from_hs3(hs3, gaussian, &warnings), "nominal");
  CHECK(warnings.size() == 2);
  hs3["distributions"][0]["samples"][0]["modifiers"].erase(2);
  const Workspace single = from_hs3(hs3);
  CHECK(single.channels[0].samples[1].modifiers.back().type == slalom::ModifierType::shapesys);
}

TEST_CASE("malformed and unsupported HS3 documents name their place", "[core][hs3]") {
  json one = slalom::test::left_workspace();
  one["measurements"].erase(1);
  const json good = to_hs3(parse_workspace(one));
  const auto fails = [&](const json& value, const std::string& where, const std::string& text) {
    check_fails(ErrorKind::workspace, where, text, [&] { from_hs3(value); });
  };
  fails(json::array(), "", "an object expected");
  fails(json::object(), "", "'distributions'");
  fails(with(good, "/distributions", 3), "/distributions", "an array expected");
  fails(with(good, "/distributions/1/name", "SR"), "/distributions/1/name", "second component");
  fails(with(good, "/distributions/0/type", "gauss"), "/distributions/0/type", "histfactory_dist");
  fails(with(good, "/likelihoods/0/distributions/0", "SX"), "/likelihoods/0/distributions/0",
        "did you mean 'SR'?");
  fails(with(good, "/likelihoods/0/data", {"obsData_SR"}), "/likelihoods/0/data",
        "at least 2 elements");
  fails(with(good, "/data/0/contents", {1}), "/data/0/contents", "2 bins expected, found 1");
  fails(with(good, "/data/0/type", "unbinned"), "/data/0/type", "'binned' expected");
  fails(without(good, "/distributions/0/samples/0", "data"), "/distributions/0/samples/0",
        "missing key 'data'");
  const std::string m = "/distributions/0/samples/1/modifiers/";
  fails(with(good, m + "0/type", "custom"), m + "0/type", "a modifier of HistFactory");
  fails(with(good, m + "0/constraint", "LogNormal"), m + "0/constraint", "'Gauss', 'Const'");
  fails(with(good, m + "0/data/hi", "big"), m + "0/data/hi", "a number expected");
  fails(with(good, m + "1/data/hi/contents", {1}), m + "1/data/hi/contents", "2 bins expected");
  fails(with(good, m + "2/parameters", {"a"}), m + "2/parameters", "one per bin");
  fails(with(good, m + "2/constraint", "Flat"), m + "2", "'Gauss' or 'Poisson'");
  fails(with(good, "/distributions/2/sigma", "width"), "/distributions/2/sigma",
        "a number or a parameter with a value");
  fails(with(good, "/distributions/2/sigma", -1), "/distributions/2/sigma", "above 0");
  fails(with(good, "/distributions/2/x", "other"), "/distributions/2", "a constraint of 'lumi'");
  fails(with(good, "/analyses/0/parameters_of_interest", {"nu"}),
        "/analyses/0/parameters_of_interest/0", "no modifier has the parameter 'nu'");
  fails(with(good, "/analyses/0/init", "nothing"), "/analyses/0/init", "no parameter point");
  fails(with(good, "/analyses/0/domains/0", "nothing"), "/analyses/0/domains", "no domain");
  fails(with(good, "/parameter_points/0/parameters/0/value", "x"),
        "/parameter_points/0/parameters/0/value", "a number expected");
  Hs3Options other;
  other.analysis = "missing";
  check_fails(ErrorKind::workspace, "/analyses", "no analysis named 'missing'",
              [&] { from_hs3(good, other); });
  json wide = good;
  modifier(wide, "normsys")["constraint_name"] = "wide";
  wide["distributions"].push_back(
      {{"name", "wide"}, {"type", "gaussian_dist"}, {"x", "scale"}, {"mean", 0}, {"sigma", 2}});
  fails(wide, m + "0", "a width of 2");
}

TEST_CASE("what HS3 cannot say is refused when writing", "[core][hs3]") {
  json one = slalom::test::left_workspace();
  one["measurements"].erase(1);
  one["measurements"][0]["config"]["parameters"].push_back(
      {{"name", "unc"}, {"auxdata", {100.0, 1e12}}});
  check_fails(ErrorKind::model, "nominal", "configured auxdata",
              [&] { to_hs3(parse_workspace(one)); });
}
