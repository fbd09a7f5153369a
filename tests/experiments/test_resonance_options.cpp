// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/error.hpp"
#include "slalom/core/json.hpp"
#include "slalom/workflows/resonance_options.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using slalom::ErrorKind;
using slalom::Json;
using slalom::read_resonance;
using slalom::ResonanceOptions;
using slalom::test::check_fails;

namespace {

ResonanceOptions with(const std::string& set) {
  Json document = Json::parse(R"({"kind": "resonance"})");
  if (!set.empty()) slalom::set_value(document, set);
  return read_resonance(document);
}

}  // namespace

TEST_CASE("a resonance search reads its own document and has a schema",
          "[workflows][resonance_options]") {
  const ResonanceOptions options = with("data.maps=[\"log\",\"linear\",\"logit\",\"cube_root\"]");
  const auto document = resonance_document(options);
  CHECK(document.at("kind") == "resonance");
  CHECK(document.at("data").at("maps").at(0) == "log");
  CHECK(resonance_document(read_resonance(Json::parse(document.dump()))) == document);
  const auto schema = slalom::resonance_schema();
  for (const auto& item : document.items()) CHECK(schema.at("properties").contains(item.key()));
  CHECK(schema.at("additionalProperties") == false);
}

TEST_CASE("a resonance search is recognised by its kind", "[workflows][resonance_options]") {
  CHECK(slalom::is_resonance_document(Json::parse(R"({"kind": "resonance"})")));
  CHECK_FALSE(slalom::is_resonance_document(Json::parse(R"({"name": "resonance"})")));
  CHECK_FALSE(slalom::is_resonance_document(Json::parse("[]")));
  check_fails(ErrorKind::usage, "/kind", "expected resonance",
              [] { slalom::is_resonance_document(Json::parse(R"({"kind": "resonanc"})")); });
}

TEST_CASE("errors in a resonance search have their place", "[workflows][resonance_options]") {
  struct Case {
    const char *set, *where, *message;
  };
  const Case cases[] = {
      {"ranod=1", "/ranod", "did you mean 'ranode'"},
      {"kind=experiment", "/kind", "expected resonance"},
      {"data.problem=dijet", "/data/problem", "did you mean 'dijets'"},
      {"data.maps=[\"cube_rot\"]", "/data/maps/0", "did you mean"},
      {"data.low=[0]", "/data/low", "one for each"},
      {"data.theta=[0.1]", "/data/theta", "expected 2 parameters"},
      {"data.signal_fraction=1", "/data/signal_fraction", "1"},
      {"data.region_low=3.9", "/data/region_low", "mass_low < region_low"},
      {"data.path=events.csv", "/data/path", "either a problem or a file"},
      {"data.problem=", "/data/path", "expected a problem or the path"},
      {"ranode.scan=[0.1,0.2]", "/ranode/scan", "at least 3"},
      {"ranode.scan=[0.1,0.3,0.2]", "/ranode/scan", "rising"},
      {"ranode.folds=1", "/ranode/folds", "2"},
      {"background.type=kde", "/background/type", "flow"},
      {"guard.max_auc=0.4", "/guard/max_auc", "0.5"},
  };
  for (const Case& each : cases) {
    INFO(each.set);
    check_fails(ErrorKind::usage, each.where, each.message, [&] { with(each.set); });
  }
  Json files = Json::parse(
      R"({"kind": "resonance", "data": {"problem": "", "path": "x.csv"}, "background": {"type": "exact"}})");
  check_fails(ErrorKind::usage, "/background/type", "no exact density",
              [&] { read_resonance(files); });
}
