// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "slalom/core/json.hpp"
#include "slalom/core/model_spec.hpp"
#include "slalom/core/workspace.hpp"
#include "support/catch.hpp"
#include "support/data.hpp"
#include "support/fails.hpp"

using Catch::Matchers::WithinRel;
using slalom::ConstraintType;
using slalom::ErrorKind;
using slalom::Json;
using slalom::make_model_spec;
using slalom::ModelOptions;
using slalom::ModelSpec;
using slalom::ModifierType;
using slalom::test::check_fails;

namespace {

// Every modifier, with names and channels out of order, so that pyhf's order shows.
Json example() {
  return slalom::parse_json(R"({"channels": [
    {"name": "b", "samples": [
      {"name": "s2", "data": [10.0, 20.0], "modifiers": [
        {"name": "zz", "type": "staterror", "data": [1.0, 2.0]},
        {"name": "shape", "type": "shapesys", "data": [2.0, 0.0]},
        {"name": "both", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}},
        {"name": "both", "type": "histosys", "data": {"hi_data": [11, 21], "lo_data": [9, 19]}},
        {"name": "lumi", "type": "lumi", "data": null}]},
      {"name": "s1", "data": [5.0, 0.0], "modifiers": [
        {"name": "zz", "type": "staterror", "data": [0.5, 0.0]},
        {"name": "mu", "type": "normfactor", "data": null},
        {"name": "free", "type": "shapefactor", "data": null},
        {"name": "norm", "type": "normsys", "data": {"hi": 1.2, "lo": 0.8}}]}]},
    {"name": "A", "samples": [
      {"name": "s3", "data": [30.0], "modifiers": [
        {"name": "aa", "type": "staterror", "data": [3.0]},
        {"name": "norm", "type": "normsys", "data": {"hi": 1.05, "lo": 0.95}},
        {"name": "alpha", "type": "normsys", "data": {"hi": 1.02, "lo": 0.97}},
        {"name": "k", "type": "normfactor", "data": null}]}]}],
  "measurements": [
    {"name": "m", "config": {"poi": "mu", "parameters": [
      {"name": "lumi", "inits": [1.0], "bounds": [[0.5, 1.5]], "auxdata": [1.01],
       "sigmas": [0.02], "fixed": true},
      {"name": "mu", "inits": [2.0], "bounds": [[-1.0, 5.0]]},
      {"name": "shape", "auxdata": [20.0, 3.0]},
      {"name": "both", "auxdata": [0.25]}]}},
    {"name": "bare", "config": {"poi": "", "parameters": []}}],
  "observations": [{"name": "b", "data": [16, 21]}, {"name": "A", "data": [29]}],
  "version": "1.0.0"})");
}

const std::string modifiers = "/channels/0/samples/0/modifiers";
const std::string parameters = "/measurements/0/config/parameters";

ModelSpec spec_of(const Json& document, const ModelOptions& options = {}) {
  return make_model_spec(slalom::parse_workspace(document), options);
}

Json with(const std::string& pointer, const std::string& value) {
  Json document = example();
  document[Json::json_pointer(pointer)] = slalom::parse_json(value);
  return document;
}

// With another modifier in the signal sample, or in the sample of the other channel.
Json with_modifier(const std::string& sample, const std::string& modifier) {
  Json document = example();
  document[Json::json_pointer(sample)]["modifiers"].push_back(slalom::parse_json(modifier));
  return document;
}

// With a configuration of another parameter.
Json with_config(const std::string& config) {
  Json document = example();
  document[Json::json_pointer(parameters)].push_back(slalom::parse_json(config));
  return document;
}

ModelOptions measurement(const std::string& name) {
  ModelOptions options;
  options.measurement = name;
  return options;
}

ModelOptions poi(const std::string& name) {
  ModelOptions options;
  options.poi = name;
  return options;
}

template <class Get>
std::vector<double> values(const ModelSpec& spec, Get get) {
  std::vector<double> result;
  for (const slalom::Parameter& p : spec.parameters) result.push_back(get(p));
  return result;
}

}  // namespace

TEST_CASE("parameters come in pyhf's order", "[core][model_spec]") {
  const ModelSpec spec = spec_of(example());
  std::vector<std::string> names;
  for (const slalom::Parameter& p : spec.parameters) names.push_back(p.name);
  CHECK(names == std::vector<std::string>{"both", "lumi", "k", "mu", "alpha", "norm", "free[0]",
                                          "free[1]", "shape[0]", "shape[1]", "aa[0]", "zz[0]",
                                          "zz[1]"});
  REQUIRE(spec.sets.size() == 10);
  CHECK(spec.sets[0].type == ModifierType::histosys);
  CHECK(spec.sets[0].scalar);
  CHECK(spec.sets[8].name == "aa");
  CHECK(spec.sets[8].size == 1);
  CHECK_FALSE(spec.sets[8].scalar);
  CHECK(spec.sets[9].first == 11);
}

TEST_CASE("starting values, bounds and fixed parameters are pyhf's", "[core][model_spec]") {
  const ModelSpec spec = spec_of(example());
  CHECK(spec.initial() == std::vector<double>{0, 1, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1});
  CHECK(values(spec, [](const auto& p) { return p.lower; }) ==
        std::vector<double>{-5, 0.5, 0, -1, -5, -5, 0, 0, 1e-10, 1e-10, 1e-10, 1e-10, 1e-10});
  CHECK(values(spec, [](const auto& p) { return p.upper; }) ==
        std::vector<double>{5, 1.5, 10, 5, 5, 5, 10, 10, 10, 10, 10, 10, 10});
  // lumi by configuration, the second bin of the shapesys because it has no uncertainty
  CHECK(values(spec, [](const auto& p) { return p.fixed ? 1.0 : 0.0; }) ==
        std::vector<double>{0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0});
}

TEST_CASE("auxiliary data come in pyhf's order", "[core][model_spec]") {
  const ModelSpec spec = spec_of(example());
  CHECK(spec.auxiliary == std::vector<std::size_t>{0, 1, 4, 5, 8, 9, 10, 11, 12});
  CHECK(spec.observed == std::vector<double>{29, 16, 21});
  CHECK(spec.data() == std::vector<double>{29, 16, 21, 0.25, 1.01, 0, 0, 20, 3, 1, 1, 1});
  CHECK(spec.n_bins() == 3);
}

TEST_CASE("constraints have pyhf's widths", "[core][model_spec]") {
  const ModelSpec spec = spec_of(example());
  const auto& p = spec.parameters;
  CHECK(p[0].constraint == ConstraintType::gaussian);
  CHECK(p[0].sigma == 1.0);
  CHECK(p[1].sigma == 0.02);
  CHECK(p[3].constraint == ConstraintType::none);
  CHECK(p[3].prefit_uncertainty() == 0.0);
  CHECK(p[6].constraint == ConstraintType::none);
  CHECK(p[8].constraint == ConstraintType::poisson);
  CHECK(p[8].tau == 25.0);
  CHECK_THAT(p[8].prefit_uncertainty(), WithinRel(0.2, 1e-15));
  CHECK(p[9].tau == 1.0);
  CHECK_THAT(p[10].sigma, WithinRel(0.1, 1e-15));
  CHECK_THAT(p[11].sigma, WithinRel(0.07453559924999299, 1e-14));
  CHECK_THAT(p[12].prefit_uncertainty(), WithinRel(0.1, 1e-15));
}

TEST_CASE("a staterror without uncertainty is held, with unit width", "[core][model_spec]") {
  for (const char* data : {"[0.0]", "[-0.0]"}) {
    const ModelSpec spec = spec_of(with("/channels/1/samples/0/modifiers/0/data", data));
    CHECK(spec.parameters[10].fixed);
    CHECK(spec.parameters[10].sigma == 1.0);
  }
  const ModelSpec negative = spec_of(with("/channels/1/samples/0/data", "[-30.0]"));
  CHECK(negative.parameters[10].fixed);
  CHECK(negative.parameters[10].sigma == 1.0);
}

TEST_CASE("channels and samples are sorted by name", "[core][model_spec]") {
  const ModelSpec spec = spec_of(example());
  REQUIRE(spec.channels.size() == 2);
  CHECK(spec.channels[0].name == "A");
  CHECK(spec.channels[1].name == "b");
  CHECK(spec.channels[1].first_bin == 1);
  CHECK(spec.channels[1].n_bins == 2);
  REQUIRE(spec.channels[1].samples.size() == 2);
  const slalom::SampleSpec& s1 = spec.channels[1].samples[0];
  CHECK(s1.name == "s1");
  CHECK(s1.nominal == std::vector<double>{5, 0});
  REQUIRE(s1.factors.size() == 1);
  CHECK(s1.factors[0].parameter == 3);
  REQUIRE(s1.binwise.size() == 2);
  CHECK(s1.binwise[0].parameters == std::vector<std::size_t>{6, 7});
  CHECK(s1.binwise[1].parameters == std::vector<std::size_t>{11, 12});
  const slalom::SampleSpec& s2 = spec.channels[1].samples[1];
  REQUIRE(s2.histosys.size() == 1);
  REQUIRE(s2.normsys.size() == 1);
  CHECK(s2.histosys[0].parameter == s2.normsys[0].parameter);
  CHECK(s2.histosys[0].hi == std::vector<double>{11, 21});
}

TEST_CASE("a measurement overrides the defaults", "[core][model_spec]") {
  const Json document = with_config(
      R"({"name": "zz", "sigmas": [0.3, 0.4], "inits": [0.9, 1.1], "bounds": [[0, 2], [0.5, 3]],
          "auxdata": [1.2, 1.3], "fixed": true})");
  const ModelSpec spec = spec_of(document);
  const slalom::Parameter& p = spec.parameters[12];
  CHECK(p.sigma == 0.4);
  CHECK(p.init == 1.1);
  CHECK(p.lower == 0.5);
  CHECK(p.upper == 3.0);
  CHECK(p.auxdata == 1.3);
  CHECK(p.fixed);
  CHECK(spec_of(with_config(R"({"name": "zz", "fixed": false})")).parameters[12].fixed == false);
  CHECK(spec.parameters[8].auxdata == 20.0);
  CHECK(spec.parameters[8].tau == 25.0);
}

TEST_CASE("a configuration can release what is held by default", "[core][model_spec]") {
  Json document = example();
  document[Json::json_pointer(parameters)][2]["fixed"] = false;
  CHECK_FALSE(spec_of(document).parameters[9].fixed);
}

TEST_CASE("factors of a Poisson constraint can be configured", "[core][model_spec]") {
  Json document = example();
  document[Json::json_pointer(parameters)][2]["factors"] = {4.0, 9.0};
  const ModelSpec spec = spec_of(document);
  CHECK(spec.parameters[8].tau == 4.0);
  CHECK(spec.parameters[9].tau == 9.0);
}

TEST_CASE("the parameter of interest comes from the measurement or the options",
          "[core][model_spec]") {
  CHECK(spec_of(example()).poi == 3);
  CHECK(spec_of(example(), poi("k")).poi == 2);
  CHECK_FALSE(spec_of(example(), poi("")).poi.has_value());
  CHECK_FALSE(spec_of(with("/measurements/0/config/poi", "\"\"")).poi.has_value());
  check_fails(ErrorKind::model, "poi", "the parameter of interest 'signal'",
              [] { spec_of(example(), poi("signal")); });
  check_fails(ErrorKind::model, "poi", "'zz'", [] { spec_of(example(), poi("zz")); });
  check_fails(ErrorKind::model, "/measurements/0/config/poi", "'XS'",
              [] { spec_of(with("/measurements/0/config/poi", "\"XS\"")); });
}

TEST_CASE("parameters are found by their names", "[core][model_spec]") {
  const ModelSpec spec = spec_of(example());
  CHECK(spec.find("mu") == 3);
  CHECK(spec.find("mu[0]") == 3);
  CHECK(spec.find("aa") == 10);
  CHECK(spec.find("aa[0]") == 10);
  CHECK(spec.find("zz[1]") == 12);
  for (const char* name : {"", "m", "zz", "zz[2]", "zz[-1]", "zz[01]", "zz[", "mu[1]", "mu "}) {
    CAPTURE(name);
    CHECK_FALSE(spec.find(name).has_value());
  }
}

TEST_CASE("what makes no model is an error with its place", "[core][model_spec]") {
  struct Case {
    Json document;
    std::string where, fragment;
  };
  const std::string sample1 = "/channels/0/samples/1", other = "/channels/1/samples/0";
  Json bare = example();
  bare["measurements"].erase(0);
  Json incomplete = example();
  incomplete[Json::json_pointer(parameters)][0].erase("sigmas");
  const std::vector<Case> cases = {
      {bare, "/measurements/0/config/parameters", "modifier 'lumi' is used, so the measurement"},
      {incomplete, parameters + "/0", "'lumi' has no default for 'sigmas'"},
      {with_modifier(sample1, R"({"name": "shape", "type": "shapesys", "data": [1, 1]})"),
       modifiers + "/1", "a shapesys belongs to one sample"},
      {with_modifier(other, R"({"name": "shape", "type": "shapesys", "data": [1]})"),
       modifiers + "/1", "is shared with " + other},
      {with_modifier(other, R"({"name": "mu", "type": "normsys", "data": {"hi": 1, "lo": 1}})"),
       sample1 + "/modifiers/1", "name 'mu' is a normfactor here but a normsys at " + other},
      {with_modifier(other, R"({"name": "zz", "type": "shapefactor", "data": null})"),
       sample1 + "/modifiers/0", "only histosys and normsys can share a parameter"},
      {with_modifier(sample1, R"({"name": "mu", "type": "shapefactor", "data": null})"),
       sample1 + "/modifiers/4", "name 'mu' is a shapefactor here but a normfactor"},
      {with_modifier(other, R"({"name": "zz", "type": "staterror", "data": [1]})"), "zz",
       "in different channels"},
      {with(parameters + "/1/inits", "[1, 2]"), parameters + "/1/inits",
       "1 values expected, found 2"},
      {with(parameters + "/1/bounds", "[[0, 1], [0, 1]]"), parameters + "/1/bounds", "found 2"},
      {with(parameters + "/2/auxdata", "[1]"), parameters + "/2/auxdata",
       "2 values expected, found 1"},
      {with(parameters + "/1/sigmas", "[1]"), parameters + "/1/sigmas",
       "the parameter has no sigmas"},
      {with(parameters + "/3/sigmas", "[1]"), parameters + "/3/sigmas",
       "the parameter has no sigmas"},
      {with(parameters + "/3/factors", "[1]"), parameters + "/3/factors",
       "the parameter has no factors"},
      {with(parameters + "/1/auxdata", "[1]"), parameters + "/1/auxdata",
       "the parameter has no auxdata"},
      {with(parameters + "/1/inits", "[7]"), parameters + "/1/inits/0",
       "initial value outside the bounds of 'mu'"},
      {with(parameters + "/1/bounds", "[[3, 4]]"), parameters + "/1/inits/0",
       "initial value outside the bounds"},
      {with(parameters + "/2/auxdata", "[-1, 1]"), parameters + "/2/auxdata/0", "auxdata >= 0"},
      {with(parameters + "/2/bounds", "[[0, 2], [-1, 2]]"), parameters + "/2/bounds/1",
       "lower bound >= 0"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.where, c.fragment);
    check_fails(ErrorKind::model, c.where, c.fragment, [&] { spec_of(c.document); });
  }
}

TEST_CASE("a shapefactor fits the first channel that uses it", "[core][model_spec]") {
  // A (one bin) comes first, so there is one parameter, too few for b.
  const Json document = with_modifier("/channels/1/samples/0",
                                      R"({"name": "free", "type": "shapefactor", "data": null})");
  check_fails(ErrorKind::model, "b/s1", "has 1 parameters", [&] { spec_of(document); });
}

TEST_CASE("the configuration of an unknown parameter is a warning", "[core][model_spec]") {
  slalom::Warnings warnings;
  const Json document = with_config(R"({"name": "Mu", "inits": [1, 2, 3]})");
  make_model_spec(slalom::parse_workspace(document), {}, &warnings);
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0].where == parameters + "/4");
  CHECK(warnings[0].message.find("'Mu'") != std::string::npos);
  CHECK_NOTHROW(spec_of(document));
}

TEST_CASE("a measurement is chosen by name", "[core][model_spec]") {
  check_fails(ErrorKind::model, "/measurements", "no measurement 'n'",
              [] { spec_of(example(), measurement("n")); });
  check_fails(ErrorKind::model, "/measurements/1/config/parameters", "'lumi'",
              [] { spec_of(example(), measurement("bare")); });
  CHECK(spec_of(example(), measurement("m")).poi == 3);
}

TEST_CASE("factors that are not positive are replaced", "[core][model_spec]") {
  const ModelSpec spec = spec_of(with(modifiers + "/2/data", R"({"hi": 1.5, "lo": -0.5})"));
  CHECK(spec.channels[1].samples[1].normsys[0].hi == 1.5);
  CHECK(spec.channels[1].samples[1].normsys[0].lo == 0.01);
}

TEST_CASE("published workspaces have the sizes that pyhf finds", "[core][model_spec]") {
  SLALOM_REQUIRE_DATA("workspaces");
  struct Case {
    std::string name;
    std::size_t parameters, fixed, auxiliary, bins;
  };
  const std::vector<Case> cases = {
      {"2L0J/BkgOnly.json", 1, 0, 1, 39},
      {"pyhf/issue1720_greedy_staterror.json", 1, 0, 1, 1},
      {"pyhf/2-bin_1-channel.json", 3, 0, 2, 2},
      {"pyhf/poiless.json", 3, 0, 2, 2},
      {"pyhf/example_bkgonly.json", 7, 1, 6, 2},
      {"pyhf/xmlimport_input_bkg.json", 7, 2, 6, 2},
      {"ttbar/three_sr_13par.json", 13, 0, 12, 3},
      {"agc/agc_34par.json", 34, 0, 33, 22},
      {"sbottom/RegionB/BkgOnly.json", 59, 0, 58, 3},
      {"3LRJR/BkgOnly.json", 62, 1, 60, 4},
      {"sbottom/RegionA/BkgOnly.json", 65, 0, 64, 9},
      {"sbottom/RegionC/BkgOnly.json", 69, 0, 67, 9},
      {"ttbar/ttbar_ljets_132par.json", 132, 1, 131, 37},
      {"agc/agc_ml_187par.json", 187, 0, 186, 175},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const Json document = slalom::read_json(slalom::test::data_path("workspaces/" + c.name));
    const ModelSpec spec = spec_of(document, poi(""));
    CHECK(spec.parameters.size() == c.parameters);
    CHECK(std::count_if(spec.parameters.begin(), spec.parameters.end(), [](const auto& p) {
            return p.fixed;
          }) == static_cast<std::ptrdiff_t>(c.fixed));
    CHECK(spec.auxiliary.size() == c.auxiliary);
    CHECK(spec.n_bins() == c.bins);
  }
}
