// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>
#include <string>

#include "slalom/core/json.hpp"
#include "slalom/core/pruning.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using Catch::Matchers::WithinRel;
using slalom::Json;
using slalom::prune_small;
using slalom::PrunedPart;
using slalom::PruningReport;

namespace {

/// Effects: tiny 0.1 %; large 10 %; both: 10 % norm and 1 % shape; shape: no norm, 5 % shape;
/// norm: 2 % norm without shape; drop: 0.2 % norm, 0.1 % shape.
Json document() {
  return slalom::parse_json(R"({"channels": [{"name": "SR", "samples": [
      {"name": "b", "data": [100, 100], "modifiers": [
        {"name": "tiny", "type": "normsys", "data": {"hi": 1.001, "lo": 0.9995}},
        {"name": "large", "type": "normsys", "data": {"hi": 1.1, "lo": 0.999}},
        {"name": "both", "type": "histosys",
         "data": {"hi_data": [111.1, 108.9], "lo_data": [90, 90]}},
        {"name": "shape", "type": "histosys",
         "data": {"hi_data": [105, 95], "lo_data": [95, 105]}},
        {"name": "norm", "type": "histosys",
         "data": {"hi_data": [102, 102], "lo_data": [98, 98]}},
        {"name": "drop", "type": "histosys",
         "data": {"hi_data": [100.3, 100.1], "lo_data": [100, 100]}}]},
      {"name": "s", "data": [0, 10], "modifiers": [
        {"name": "mu", "type": "normfactor", "data": null},
        {"name": "tiny", "type": "histosys",
         "data": {"hi_data": [0.001, 10], "lo_data": [0, 10]}},
        {"name": "poi_like", "type": "normsys", "data": {"hi": 1.0001, "lo": 0.9999}}]}]}],
    "measurements": [
      {"name": "m", "config": {"poi": "mu", "parameters": [{"name": "drop", "inits": [0.0]}]}},
      {"name": "n", "config": {"poi": "poi_like", "parameters": []}}],
    "observations": [{"name": "SR", "data": [100, 110]}], "version": "1.0.0"})");
}

const Json* modifier(const Json& document, std::size_t sample, const std::string& name) {
  for (const Json& m : document["channels"][0]["samples"][sample]["modifiers"]) {
    if (m["name"] == name) return &m;
  }
  return nullptr;
}

const slalom::PrunedVariation* entry(const PruningReport& report, const std::string& name) {
  for (const auto& p : report.pruned) {
    if (p.modifier == name) return &p;
  }
  return nullptr;
}

}  // namespace

TEST_CASE("small variations go, others stay as they are", "[core][pruning]") {
  PruningReport report;
  const Json result = prune_small(document(), {0.005, 0.02}, &report);
  CHECK(report.n_variations == 7);  // that of a POI does not count
  CHECK(modifier(result, 0, "tiny") == nullptr);
  CHECK(modifier(result, 0, "drop") == nullptr);
  REQUIRE(modifier(result, 0, "large") != nullptr);
  CHECK(*modifier(result, 0, "large") == *modifier(document(), 0, "large"));
  CHECK(*modifier(result, 0, "norm") == *modifier(document(), 0, "norm"));
  // The shape of `both` is 1 %: its normalisation remains.
  REQUIRE(entry(report, "both") != nullptr);
  CHECK(entry(report, "both")->part == PrunedPart::shape);
  CHECK_THAT(entry(report, "both")->normalisation, WithinRel(0.1, 1e-9));
  CHECK_THAT(entry(report, "both")->shape, WithinRel(0.01, 1e-9));
  const Json& both = *modifier(result, 0, "both");
  CHECK_THAT(both["data"]["hi_data"][0].get<double>(), WithinRel(110.0, 1e-12));
  CHECK_THAT(both["data"]["hi_data"][1].get<double>(), WithinRel(110.0, 1e-12));
  CHECK(*modifier(result, 0, "shape") == *modifier(document(), 0, "shape"));
  // A variation where there is no nominal yield has no size to judge; a POI is not touched.
  CHECK(modifier(result, 1, "tiny") != nullptr);
  CHECK(modifier(result, 1, "poi_like") != nullptr);
  CHECK(report.parameters == std::vector<std::string>{"drop"});
  CHECK(result["measurements"][0]["config"]["parameters"].empty());
}

TEST_CASE("each threshold by itself", "[core][pruning]") {
  PruningReport report;
  const Json normalisation = prune_small(document(), {0.15, {}}, &report);
  CHECK(modifier(normalisation, 0, "large") == nullptr);
  CHECK(modifier(normalisation, 0, "norm") == nullptr);
  // Without a threshold of shapes a shape stays, scaled to the nominal sum.
  REQUIRE(entry(report, "both") != nullptr);
  CHECK(entry(report, "both")->part == PrunedPart::normalisation);
  CHECK_THAT((*modifier(normalisation, 0, "both"))["data"]["hi_data"][0].get<double>(),
             WithinRel(101.0, 1e-12));
  CHECK_THAT((*modifier(normalisation, 0, "both"))["data"]["lo_data"][1].get<double>(),
             WithinRel(100.0, 1e-12));
  CHECK(*modifier(normalisation, 0, "shape") == *modifier(document(), 0, "shape"));
  report = {};
  const Json shape = prune_small(document(), {{}, 0.06}, &report);
  CHECK(modifier(shape, 0, "tiny") != nullptr);
  CHECK(modifier(shape, 0, "drop") != nullptr);
  CHECK(entry(report, "drop")->part == PrunedPart::shape);
  // It has no normalisation, so nothing is left of it.
  CHECK(modifier(shape, 0, "shape") == nullptr);
  CHECK(entry(report, "shape")->part == PrunedPart::all);
  report = {};
  CHECK(prune_small(document(), {}, &report) == document());
  CHECK(report.pruned.empty());
}

TEST_CASE("pruning refuses what makes no sense", "[core][pruning]") {
  using slalom::ErrorKind;
  using slalom::test::check_fails;
  check_fails(ErrorKind::usage, "normalisation", "negative", [] {
    prune_small(document(), {-0.1, {}});
  });
  check_fails(ErrorKind::usage, "shape", "negative", [] { prune_small(document(), {{}, -1.0}); });
  Json broken = document();
  broken.erase("version");
  check_fails(ErrorKind::workspace, "", "version", [&] { prune_small(broken, {0.1, 0.1}); });
  CHECK(std::string(to_string(PrunedPart::all)) == "all");
  CHECK(std::string(to_string(PrunedPart::normalisation)) == "normalisation");
  CHECK(std::string(to_string(PrunedPart::shape)) == "shape");
}
