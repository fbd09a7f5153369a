// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/error.hpp"
#include "slalom/core/json.hpp"
#include "slalom/workflows/mixture_options.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using slalom::ErrorKind;
using slalom::Json;
using slalom::MixtureExperimentOptions;
using slalom::read_mixture;
using slalom::test::check_fails;

namespace {

MixtureExperimentOptions with(const std::string& set, Json document) {
  if (!set.empty()) slalom::set_value(document, set);
  return read_mixture(document);
}

Json problem() { return Json::parse(R"({"kind": "mixture"})"); }

Json templates() {
  return Json::parse(R"({
    "kind": "mixture",
    "data": {"problem": "", "templates": "t.csv", "signal": ["s0", "s1"], "background": ["b0", "b1"]},
    "densities": "binned",
    "mixture": {"simulations": 0}
  })");
}

Json events() {
  Json document = templates();
  document["data"] = Json::parse(R"({"problem": "", "signal": ["s0.csv", "s1.csv"],
    "background": ["b0.csv", "b1.csv"], "observed": "data.csv",
    "features": ["x", "y"], "low": [0, 0], "high": [1, 1], "bins": [10, 5]})");
  return document;
}

}  // namespace

TEST_CASE("a measurement with a mixture reads its own document and has a schema",
          "[workflows][mixture_options]") {
  for (const Json& given : {problem(), templates(), events()}) {
    const auto document = mixture_document(with("", given));
    CHECK(document.at("kind") == "mixture");
    CHECK(mixture_document(read_mixture(Json::parse(document.dump()))) == document);
    const auto schema = slalom::mixture_schema();
    for (const auto& item : document.items()) CHECK(schema.at("properties").contains(item.key()));
    CHECK(schema.at("additionalProperties") == false);
  }
}

TEST_CASE("a measurement with a mixture is recognised by its kind",
          "[workflows][mixture_options]") {
  CHECK(slalom::is_mixture_document(problem()));
  CHECK_FALSE(slalom::is_mixture_document(Json::parse(R"({"kind": "resonance"})")));
  CHECK_FALSE(slalom::is_mixture_document(Json::parse(R"({"name": "mixture"})")));
  check_fails(ErrorKind::usage, "/kind", "expected resonance or mixture",
              [] { slalom::is_mixture_document(Json::parse(R"({"kind": "mixtur"})")); });
}

TEST_CASE("errors in a measurement with a mixture have their place",
          "[workflows][mixture_options]") {
  struct Case {
    const char *set, *where, *message;
  };
  const Case of_problem[] = {
      {"mixtur=1", "/mixtur", "did you mean 'mixture'"},
      {"kind=resonance", "/kind", "expected mixture"},
      {"data.problem=biased_gaussian", "/data/problem", "did you mean 'biased_gaussians'"},
      {"data.signal_pairs=s.csv", "/data/signal_pairs", "both processes"},
      {"data.templates=t.csv", "/data/templates", "either a problem or files"},
      {"data.observed=data.csv", "/data/observed", "either a problem or files"},
      {"data.bins=[10,10]", "/data/bins", "one number"},
      {"data.bins=[0]", "/data/bins/0", "1"},
      {"data.truth=targe", "/data/truth", "target"},
      {"data.distance=2", "/data/distance", "held out"},
      {"data.signal_events=-1", "/data/signal_events", "0"},
      {"densities=learnt", "/densities", "exact"},
      {"mixture.family=product", "/mixture/family", "exponential"},
      {"mixture.family=linear", "/mixture/prior", "expected dirichlet"},
      {"mixture.prior=dirichlet", "/mixture/prior", "expected ridge or population"},
      {"mixture.simulations=1", "/mixture/simulations", "at least 2"},
      {"mixture.strength=0", "/mixture/strength", "0"},
      {"mixture.kappa_high=-1", "/mixture/kappa_high", "more than kappa_low"},
      {"error.type=bootstrap", "/error/type", "laplace"},
      {"error.points=2", "/error/points", "3"},
      {"leave_one_out.simulations=[0]", "/leave_one_out/simulations/0", "1"},
      {"leave_one_out.strengths=[1,-1]", "/leave_one_out/strengths/1", "0"},
      {"toys.levels=[0.5,0.5]", "/toys/levels", "rising"},
      {"toys.levels=[1]", "/toys/levels/0", "1"},
      {"toys.draws=0", "/toys/draws", "1"},
  };
  for (const Case& each : of_problem) {
    INFO(each.set);
    check_fails(ErrorKind::usage, each.where, each.message, [&] { with(each.set, problem()); });
  }
  const Case of_templates[] = {
      {"densities=exact", "/densities", "no exact densities"},
      {"data.signal=[]", "/data/signal", "at least one simulation"},
      {"data.background=[\"b0\"]", "/data/background", "as many as of the signal, 2, got 1"},
      {"data.signal=[\"s0\",\"s0\"]", "/data/signal/1", "there already"},
      {"data.features=[\"x\"]", "/data/features", "files of events"},
      {"data.signal_pairs=s.csv", "/data/signal_pairs", "is for a problem"},
      {"data.true_signal=s", "/data/true_signal", "both processes"},
  };
  for (const Case& each : of_templates) {
    INFO(each.set);
    check_fails(ErrorKind::usage, each.where, each.message, [&] { with(each.set, templates()); });
  }
  const Case of_events[] = {
      {"data.features=[]", "/data/features", "columns of the events"},
      {"data.low=[0]", "/data/low", "expected 2 numbers"},
      {"data.high=[1,0]", "/data/high/1", "more than the lower end"},
      {"data.bins=[2,2,2]", "/data/bins", "one number, or 2"},
      {"data.bins=[2000]", "/data/bins", "more than"},
  };
  for (const Case& each : of_events) {
    INFO(each.set);
    check_fails(ErrorKind::usage, each.where, each.message, [&] { with(each.set, events()); });
  }
  Json linear = problem();
  linear["mixture"] = {{"family", "topics"}, {"prior", "dirichlet"}, {"strength", 0.5}};
  check_fails(ErrorKind::usage, "/mixture/strength", "at least 1", [&] { read_mixture(linear); });
  linear["mixture"] = {{"prior", "ridge"}, {"student", true}};
  check_fails(ErrorKind::usage, "/mixture/student", "population", [&] { read_mixture(linear); });
}
