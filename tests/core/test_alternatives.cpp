// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "slalom/core/alternatives.hpp"
#include "slalom/core/json.hpp"
#include "slalom/core/random.hpp"
#include "slalom/core/workspace.hpp"
#include "support/catch.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using namespace slalom;
using Yields = std::vector<double>;

namespace {

/// Two channels with 3 and 2 bins; a signal, and a background with variations.
Json workspace() {
  return parse_json(R"json({
    "channels": [
      {"name": "SR", "samples": [
        {"name": "signal", "data": [20, 60, 20],
         "modifiers": [{"name": "mu", "type": "normfactor", "data": null}]},
        {"name": "ttbar", "data": [1000, 800, 500], "modifiers": [
          {"name": "jes", "type": "histosys",
           "data": {"hi_data": [1100, 800, 450], "lo_data": [900, 800, 550]}},
          {"name": "shower", "type": "histosys",
           "data": {"hi_data": [1010, 810, 510], "lo_data": [990, 790, 490]}},
          {"name": "stat", "type": "staterror", "data": [10, 8, 5]}]}]},
      {"name": "CR", "samples": [
        {"name": "ttbar", "data": [3000, 2000], "modifiers": [
          {"name": "shower", "type": "normsys", "data": {"hi": 1.02, "lo": 0.98}}]}]}],
    "observations": [{"name": "SR", "data": [1020, 860, 520]}, {"name": "CR", "data": [3000, 2000]}],
    "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": [
      {"name": "mu", "bounds": [[-10, 10]]},
      {"name": "shower", "inits": [0.5]}]}}],
    "version": "1.0.0"})json");
}

/// Four simulations of ttbar in both channels, and the workspace's own as a fifth if asked for.
Json four(bool nominal = false) {
  Json document = parse_json(R"json({"alternatives": [{"name": "gen", "samples": [
    {"channel": "SR", "sample": "ttbar", "simulations": {
      "a": [1020, 790, 480], "b": [950, 830, 520], "c": [1040, 840, 490], "d": [1000, 770, 530]}},
    {"channel": "CR", "sample": "ttbar", "simulations": {
      "a": [3100, 1950], "b": [2900, 2100], "c": [2950, 2020], "d": [3030, 2060]}}]}]})json");
  if (nominal) document["alternatives"][0]["nominal"] = "own";
  return document;
}

Json& entry(Json& document) { return document["alternatives"][0]; }

Json mixed(const Json& document, std::vector<SampleMixture>* mixtures = nullptr,
           Warnings* warnings = nullptr) {
  return mix(workspace(), parse_alternatives(document), mixtures, warnings);
}

const Json& sample_of(const Json& document, std::size_t channel, const std::string& name) {
  for (const Json& s : document["channels"][channel]["samples"]) {
    if (s["name"] == name) return s;
  }
  throw std::runtime_error("no sample " + name);
}

const Json* modifier_of(const Json& sample, const std::string& name) {
  for (const Json& m : sample["modifiers"]) {
    if (m["name"] == name) return &m;
  }
  return nullptr;
}

/// Yields of ttbar in both channels of a document [5], or of a simulation.
Yields ttbar(const Json& document) {
  Yields y = sample_of(document, 0, "ttbar")["data"].get<Yields>();
  const Yields more = sample_of(document, 1, "ttbar")["data"].get<Yields>();
  y.insert(y.end(), more.begin(), more.end());
  return y;
}
Yields simulation(const Json& alternatives, const std::string& name) {
  const Json& samples = alternatives["alternatives"][0]["samples"];
  Yields y = samples[0]["simulations"][name].get<Yields>();
  const Yields more = samples[1]["simulations"][name].get<Yields>();
  y.insert(y.end(), more.begin(), more.end());
  return y;
}

/// Half of what a parameter changes from -1 to 1 [5].
Yields effect(const Json& document, const std::string& parameter) {
  Yields result;
  for (const std::size_t channel : {std::size_t{0}, std::size_t{1}}) {
    const Json& sample = sample_of(document, channel, "ttbar");
    const Json* m = modifier_of(sample, parameter);
    for (std::size_t b = 0; b < sample["data"].size(); ++b) {
      result.push_back(m == nullptr ? 0.0
                                    : 0.5 * ((*m)["data"]["hi_data"][b].get<double>() -
                                             (*m)["data"]["lo_data"][b].get<double>()));
    }
  }
  return result;
}

std::string where_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::usage);
    return error.where() + " " + error.message();
  }
  return "no error";
}

bool starts(const std::string& text, const std::string& with) {
  INFO(text);
  return text.rfind(with, 0) == 0;
}

}  // namespace

TEST_CASE("one alternative about the nominal is the usual variation", "[core][alternatives]") {
  Json document = parse_json(R"json({"alternatives": [{"name": "gen", "nominal": "own",
    "centre": "own", "samples": [{"channel": "SR", "sample": "ttbar",
                                  "simulations": {"other": [1100, 790, 450]}}]}]})json");
  std::vector<SampleMixture> mixtures;
  const Json result = mixed(document, &mixtures);
  const Json& sample = sample_of(result, 0, "ttbar");
  CHECK(sample["data"] == Json({1000, 800, 500}));  // the same numbers, of the same kind
  CHECK(*modifier_of(sample, "jes") == *modifier_of(sample_of(workspace(), 0, "ttbar"), "jes"));
  const Json& data = (*modifier_of(sample, "gen"))["data"];
  const Yields hi{1100, 790, 450}, lo{900, 810, 550};
  for (std::size_t b = 0; b < 3; ++b) {
    CHECK_THAT(data["hi_data"][b].get<double>(), WithinRel(hi[b], 1e-14));
    CHECK_THAT(data["lo_data"][b].get<double>(), WithinRel(lo[b], 1e-14));
  }
  REQUIRE(mixtures.size() == 1);
  CHECK(mixtures[0].simulations == std::vector<std::string>{"own", "other"});
  CHECK(mixtures[0].base == Yields{1.0, 0.0});
  REQUIRE(mixtures[0].directions.size() == 1);
  CHECK_THAT(mixtures[0].directions[0].weights[0], WithinAbs(-1.0, 1e-14));
  CHECK_THAT(mixtures[0].directions[0].weights[1], WithinAbs(1.0, 1e-14));
  CHECK(mixtures[0].complete);
  // About the mean: half-way, and sqrt(3 / 4) of the difference as the width.
  entry(document).erase("centre");
  const Json about = mixed(document);
  const Json& moved = sample_of(about, 0, "ttbar");
  CHECK(moved["data"] == Json({1050.0, 795.0, 475.0}));
  const Json& both = (*modifier_of(moved, "gen"))["data"];
  CHECK_THAT(std::abs(both["hi_data"][0].get<double>() - 1050.0),
             WithinRel(100.0 * std::sqrt(0.75), 1e-12));
}

TEST_CASE("directions have the covariance of the simulations", "[core][alternatives]") {
  for (const char* centre : {"mean", "own", "c"}) {
    Json document = four(true);
    entry(document)["centre"] = centre;
    std::vector<SampleMixture> mixtures;
    const Json result = mixed(document, &mixtures);
    REQUIRE(mixtures[0].directions.size() == 4);
    const Yields c = ttbar(result);
    std::vector<Yields> all{ttbar(workspace())};
    for (const char* name : {"a", "b", "c", "d"}) all.push_back(simulation(document, name));
    const double factor = std::string(centre) == "mean" ? 1.2 / 4.0 : 1.0 / 4.0;
    for (std::size_t i = 0; i < 5; ++i) {
      for (std::size_t j = 0; j < 5; ++j) {
        double expected = 0.0, found = 0.0;
        for (const Yields& t : all) expected += factor * (t[i] - c[i]) * (t[j] - c[j]);
        for (const MixtureDirection& d : mixtures[0].directions) {
          const Yields f = effect(result, d.parameter);
          found += f[i] * f[j];
        }
        CHECK_THAT(found, WithinAbs(expected, 1e-8));
      }
    }
    // Orthogonal in units of the statistical error of all that is expected, by falling variance.
    double last = 1.0, sum = 0.0;
    for (const MixtureDirection& d : mixtures[0].directions) {
      CHECK(d.share <= last);
      last = d.share;
      sum += d.share;
      double weights = 0.0;
      for (double w : d.weights) weights += w;
      CHECK_THAT(weights, WithinAbs(0.0, 1e-14));
      for (const MixtureDirection& e : mixtures[0].directions) {
        if (d.parameter == e.parameter) continue;
        const Yields f = effect(result, d.parameter), g = effect(result, e.parameter);
        const Yields signal{20, 60, 20, 0, 0};
        double product = 0.0;
        for (std::size_t b = 0; b < 5; ++b) product += f[b] * g[b] / (c[b] + signal[b]);
        CHECK_THAT(product, WithinAbs(0.0, 1e-10));
      }
    }
    CHECK_THAT(sum, WithinAbs(1.0, 1e-12));
  }
}

TEST_CASE("yields are those of the weights, inside and outside of the prior's width",
          "[core][alternatives]") {
  std::vector<SampleMixture> mixtures;
  const Json document = four();
  const Workspace w = parse_workspace(mixed(document, &mixtures));
  const SampleMixture& m = mixtures[0];
  REQUIRE(m.directions.size() == 3);
  for (const HistosysCode code : {HistosysCode::code0, HistosysCode::code4p}) {
    ModelOptions options;
    options.histosys_code = code;
    const Model model(make_model_spec(w, options));
    std::vector<double> x = model.spec().initial();
    x[*model.spec().find("mu")] = 0.0;
    x[*model.spec().find("shower")] = 0.0;
    std::vector<double> weights = m.base;
    const double theta[3] = {-2.3, 0.4, 1.7};
    for (std::size_t d = 0; d < 3; ++d) {
      x[*model.spec().find(m.directions[d].parameter)] = theta[d];
      for (std::size_t k = 0; k < 4; ++k) weights[k] += theta[d] * m.directions[d].weights[k];
    }
    // Channels are sorted by name: CR first.
    const std::vector<double> expected = model.expected_data(x, false);
    for (std::size_t b = 0; b < 5; ++b) {
      double y = 0.0;
      for (std::size_t k = 0; k < 4; ++k)
        y += weights[k] * simulation(document, m.simulations[k])[b];
      CHECK_THAT(expected[b < 3 ? b + 2 : b - 3], WithinRel(y, 1e-12));
    }
  }
}

TEST_CASE("other variations keep their relative size, and some are replaced",
          "[core][alternatives]") {
  Json document = four();
  entry(document)["replaces"] = {"shower"};
  entry(document)["name"] = "shower";  // the name is free again
  entry(document)["max_directions"] = 1;
  std::vector<SampleMixture> mixtures;
  const Json result = mixed(document, &mixtures);
  CHECK_FALSE(mixtures[0].complete);
  CHECK(mixtures[0].directions[0].parameter == "shower");
  const Json& sample = sample_of(result, 0, "ttbar");
  const Yields n = sample["data"].get<Yields>();
  CHECK_THAT(n[0], WithinRel(1002.5, 1e-14));
  CHECK_THAT((*modifier_of(sample, "jes"))["data"]["hi_data"][0].get<double>() / n[0],
             WithinRel(1.1, 1e-14));
  CHECK_THAT((*modifier_of(sample, "stat"))["data"][2].get<double>() / n[2],
             WithinRel(0.01, 1e-14));
  CHECK((*modifier_of(sample_of(result, 1, "ttbar"), "shower"))["type"] == "histosys");
  // What was configured of the old parameter is gone.
  CHECK(result["measurements"][0]["config"]["parameters"].size() == 1);
  CHECK(sample_of(result, 0, "signal") == sample_of(workspace(), 0, "signal"));
}

TEST_CASE("simulations with the totals of the workspace", "[core][alternatives]") {
  for (const char* normalise : {"sample", "channel"}) {
    Json document = four();
    entry(document)["normalise"] = normalise;
    std::vector<SampleMixture> mixtures;
    const Json result = mixed(document, &mixtures);
    const Yields t = ttbar(result);
    CHECK_THAT(t[0] + t[1] + t[2] + t[3] + t[4], WithinRel(7300.0, 1e-12));
    const bool each = std::string(normalise) == "channel";
    CHECK((std::abs(t[0] + t[1] + t[2] - 2300.0) < 1e-9) == each);
    for (const MixtureDirection& d : mixtures[0].directions) {
      const Yields f = effect(result, d.parameter);
      CHECK_THAT(f[0] + f[1] + f[2] + f[3] + f[4], WithinAbs(0.0, 1e-9));
    }
  }
}

TEST_CASE("wrong documents of alternatives have a place", "[core][alternatives]") {
  const auto changed = [](const std::function<void(Json&)>& change) {
    Json document = four(true);
    change(document);
    return where_of([&] { mixed(document); });
  };
  CHECK(changed([](Json&) {}) == "no error");
  CHECK(starts(changed([](Json& d) { d["alternatives"] = Json::array(); }), "/alternatives at"));
  CHECK(starts(changed([](Json& d) { entry(d)["center"] = "a"; }),
               "/alternatives/0/center unknown key 'center'; did you mean 'centre'"));
  CHECK(starts(changed([](Json& d) { entry(d)["centre"] = "e"; }), "/alternatives/0/centre there"));
  CHECK(starts(changed([](Json& d) { entry(d)["nominal"] = "a"; }), "/alternatives/0/nominal "));
  CHECK(starts(changed([](Json& d) { entry(d)["scale"] = 0; }), "/alternatives/0/scale "));
  CHECK(starts(changed([](Json& d) { entry(d)["max_directions"] = 1.5; }),
               "/alternatives/0/max_directions "));
  CHECK(starts(changed([](Json& d) { entry(d)["normalise"] = "chanel"; }),
               "/alternatives/0/normalise unknown normalisation 'chanel'; did you mean"));
  CHECK(starts(changed([](Json& d) { entry(d)["replaces"] = {"shover"}; }),
               "/alternatives/0/replaces/0 none of these samples"));
  CHECK(starts(changed([](Json& d) {
                 entry(d)["name"] = "jes";
                 entry(d)["max_directions"] = 1;
               }),
               "/alternatives/0/name the name 'jes' is taken"));
  CHECK(starts(changed([](Json& d) { d["alternatives"].push_back(entry(d)); }),
               "/alternatives/1/name the name 'gen' occurs twice"));
  CHECK(
      starts(changed([](Json& d) {
               d["alternatives"].push_back(entry(d));
               d["alternatives"][1]["name"] = "other";
             }),
             "/alternatives/1/samples/0 sample 'ttbar' of channel 'SR' is in alternatives 'gen'"));
  const auto sample = [&](std::size_t j, const std::function<void(Json&)>& change) {
    return changed([&](Json& d) { change(entry(d)["samples"][j]); });
  };
  const std::string first = "/alternatives/0/samples/0";
  CHECK(starts(sample(0, [](Json& s) { s["channel"] = "SRR"; }),
               first + "/channel there is no channel 'SRR'; did you mean 'SR'"));
  CHECK(starts(sample(0, [](Json& s) { s["sample"] = "tbar"; }),
               first + "/sample there is no sample 'tbar'; did you mean 'ttbar'"));
  CHECK(starts(sample(0,
                      [](Json& s) {
                        s["simulations"]["c"] = {1, 2, 3, 4};
                      }),
               first + "/simulations/c 4 bins, but 3 in simulation 'a'"));
  CHECK(starts(sample(0,
                      [](Json& s) {
                        for (Json& y : s["simulations"]) y = {1, 2};
                        s["simulations"]["a"] = {3, 4};
                        s["simulations"]["b"] = {5, 4};
                        s["simulations"]["c"] = {5, 6};
                      }),
               first + "/simulations/a 2 bins, but channel 'SR' has 3"));
  CHECK(starts(
      sample(0,
             [](Json& s) { s["simulations"]["b"][1] = std::numeric_limits<double>::infinity(); }),
      first + "/simulations/b/1 a finite number"));
  CHECK(starts(sample(0, [](Json& s) { s["simulations"]["b"][1] = true; }),
               first + "/simulations/b/1 a number expected"));
  CHECK(starts(sample(1, [](Json& s) { s["simulations"].erase("b"); }),
               "/alternatives/0/samples/1/simulations simulation 'b' is missing"));
  CHECK(starts(sample(1,
                      [](Json& s) {
                        s["simulations"]["e"] = {1, 2};
                      }),
               "/alternatives/0/samples/1/simulations/e the first sample has no simulation 'e'"));
  CHECK(starts(sample(1, [](Json& s) { s["channel"] = "SR"; }),
               "/alternatives/0/samples/1 sample 'ttbar' of channel 'SR' occurs twice"));
  CHECK(starts(changed([](Json& d) {
                 for (Json& s : entry(d)["samples"]) s["simulations"]["b"] = s["simulations"]["a"];
               }),
               "/alternatives/0/samples simulations 'a' and 'b' are equal"));
  CHECK(starts(changed([](Json& d) {
                 entry(d).erase("nominal");
                 for (Json& s : entry(d)["samples"]) {
                   const Json a = s["simulations"]["a"];
                   s["simulations"] = {{"a", a}};
                 }
               }),
               first + "/simulations one simulation is no alternative"));
  // The same shapes with other totals.
  CHECK(starts(changed([](Json& d) {
                 entry(d).erase("nominal");
                 entry(d)["normalise"] = "sample";
                 for (Json& s : entry(d)["samples"]) {
                   Json a = s["simulations"]["a"], b = a;
                   for (Json& y : b) y = 2.0 * y.get<double>();
                   s["simulations"] = {{"a", a}, {"b", b}};
                 }
               }),
               "/alternatives/0 the simulations do not differ once they are normalised"));
  CHECK_THROWS_AS(mix(Json::object(), parse_alternatives(four())), Error);
}

TEST_CASE("two alternatives of one sample add up about the nominal", "[core][alternatives]") {
  Json document = four(true);
  entry(document)["centre"] = "own";
  document["alternatives"].push_back(entry(document));
  document["alternatives"][1]["name"] = "other";
  std::vector<SampleMixture> mixtures;
  const Json result = mixed(document, &mixtures);
  REQUIRE(mixtures.size() == 2);
  CHECK(effect(result, "gen_1") == effect(result, "other_1"));
  CHECK(ttbar(result) == ttbar(workspace()));
}

TEST_CASE("yields below 0 within the prior are a warning", "[core][alternatives]") {
  Json document = four();
  entry(document)["samples"][0]["simulations"]["a"] = {10, 790, 480};
  entry(document)["scale"] = 3.0;
  Warnings warnings;
  mixed(document, nullptr, &warnings);
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0].where == "/alternatives/0/samples/0");
}

TEST_CASE("weights, pulls and constraints of a fit to mixtures", "[core][alternatives]") {
  std::vector<SampleMixture> mixtures;
  const Json document = four();
  const Model model(make_model_spec(parse_workspace(mixed(document, &mixtures))));
  Fitter fitter(model);
  std::vector<double> data = model.spec().data();
  const auto set = [&](const Yields& y) {
    const Yields signal{20, 60, 20};
    for (std::size_t b = 0; b < 5; ++b) {
      data[b < 3 ? b + 2 : b - 3] = y[b] + (b < 3 ? signal[b] : 0.0);
    }
    fitter.set_data(data);
  };
  SECTION("errors of weights are those of the parameters") {
    set(simulation(document, "b"));
    const FitResult best = fitter.fit();
    REQUIRE(best.converged());
    const Covariance covariance = fitter.covariance(best);
    Warnings warnings;
    const auto reports = mixture_report(mixtures, model, data, best, covariance, &warnings);
    REQUIRE(reports.size() == 1);
    const MixtureFitReport& r = reports[0];
    double sum = 0.0;
    for (const FittedWeight& w : r.weights) sum += w.value;
    CHECK_THAT(sum, WithinAbs(1.0, 1e-12));
    CHECK(r.weights[1].value > r.weights[0].value);
    for (std::size_t k = 0; k < 4; ++k) {
      double variance = 0.0;
      for (std::size_t d = 0; d < 3; ++d) {
        for (std::size_t e = 0; e < 3; ++e) {
          const auto at = [&](std::size_t i) {
            const std::size_t p = *model.spec().find(mixtures[0].directions[i].parameter);
            return static_cast<std::size_t>(
                std::find(covariance.parameters.begin(), covariance.parameters.end(), p) -
                covariance.parameters.begin());
          };
          variance += mixtures[0].directions[d].weights[k] * mixtures[0].directions[e].weights[k] *
                      covariance.matrix[at(d) * covariance.parameters.size() + at(e)];
        }
      }
      CHECK_THAT(r.weights[k].error, WithinRel(std::sqrt(variance), 1e-10));
    }
    double squares = 0.0;
    for (const FittedDirection& d : r.directions) {
      CHECK(d.constraint > 0.0);
      CHECK(d.constraint < 1.0 + 1e-9);
      CHECK(r.narrowest <= d.constraint);
      squares += d.pull * d.pull;
    }
    CHECK_THAT(r.chi2_prior, WithinRel(squares, 1e-12));
    CHECK(r.chi2 >= 0.0);
    CHECK(r.degrees <= 3);
    CHECK(r.channel == "CR");  // most events
    CHECK(r.channel_part > 0.5);
  }
  SECTION("a truth far outside is told") {
    Yields far = simulation(document, "b");
    const Yields mean = ttbar(mixed(document));
    for (std::size_t b = 0; b < 5; ++b) far[b] = mean[b] + 12.0 * (far[b] - mean[b]);
    set(far);
    const FitResult best = fitter.fit();
    REQUIRE(best.converged());
    Warnings warnings;
    const auto reports =
        mixture_report(mixtures, model, data, best, fitter.covariance(best), &warnings);
    CHECK(reports[0].outside);
    CHECK(reports[0].p_value < 0.01);
    CHECK(std::any_of(warnings.begin(), warnings.end(), [](const Warning& w) {
      return w.where == "gen" && w.message.find("outside of the simulations") != std::string::npos;
    }));
  }
  SECTION("a prior much wider than what the data know") {
    Json wide = document;
    entry(wide)["scale"] = 10.0;
    std::vector<SampleMixture> m;
    const Model other(make_model_spec(parse_workspace(mixed(wide, &m))));
    Fitter another(other);
    const FitResult best = another.fit();
    REQUIRE(best.converged());
    Warnings warnings;
    const MixtureFitReport r =
        mixture_report(m, other, other.spec().data(), best, another.covariance(best), &warnings)[0];
    CHECK(r.narrowest < k_over_constraint);
    CHECK(r.over_constrained);
    CHECK(std::any_of(warnings.begin(), warnings.end(), [](const Warning& w) {
      return w.where == "gen" && w.message.find("of the prior's width") != std::string::npos;
    }));
  }
  SECTION("without errors, and with parameters that are held") {
    set(simulation(document, "b"));
    FitOptions options;
    for (const MixtureDirection& d : mixtures[0].directions) {
      options.fixed.push_back({*model.spec().find(d.parameter), 0.0});
    }
    const FitResult best = fitter.fit(options);
    Warnings warnings;
    for (const Covariance& c : {Covariance{}, fitter.covariance(best)}) {
      const auto reports = mixture_report(mixtures, model, data, best, c, &warnings);
      CHECK(reports[0].weights[2].value == 0.25);
      CHECK(reports[0].weights[2].error == 0.0);
      CHECK(reports[0].p_value == 1.0);
    }
    CHECK(warnings.empty());
  }
  SECTION("another model") {
    const Model other(make_model_spec(parse_workspace(workspace())));
    Fitter another(other);
    const FitResult best = another.fit();
    CHECK_THROWS_AS(mixture_report(mixtures, other, other.spec().data(), best, {}), Error);
  }
}

TEST_CASE("the test of the pulls has its size for truths of the prior", "[core][alternatives]") {
  std::vector<SampleMixture> mixtures;
  const Model model(make_model_spec(parse_workspace(mixed(four(), &mixtures))));
  Fitter fitter(model);
  const std::size_t toys = 400;
  double flagged = 0.0, chi2 = 0.0, degrees = 0.0;
  for (std::size_t t = 0; t < toys; ++t) {
    RandomStream random(11, t);
    std::vector<double> x = model.spec().initial();
    for (std::size_t p = 0; p < x.size(); ++p) {
      const Parameter& parameter = model.spec().parameters[p];
      if (parameter.constraint == ConstraintType::gaussian) {
        x[p] = parameter.auxdata + parameter.sigma * random.normal();
      }
    }
    std::vector<double> data = model.expected_data(x);
    for (std::size_t b = 0; b < model.n_bins(); ++b) {
      data[b] = std::round(data[b] + std::sqrt(data[b]) * random.normal());
    }
    // Auxiliary data stay at the centre: the truth is what varies.
    const std::vector<double> given = model.spec().data();
    std::copy(given.begin() + static_cast<std::ptrdiff_t>(model.n_bins()), given.end(),
              data.begin() + static_cast<std::ptrdiff_t>(model.n_bins()));
    fitter.set_data(data);
    const FitResult best = fitter.fit();
    REQUIRE(best.converged());
    const auto r = mixture_report(mixtures, model, data, best, fitter.covariance(best));
    flagged += r[0].p_value < 0.05 ? 1.0 : 0.0;
    chi2 += r[0].chi2;
    degrees += static_cast<double>(r[0].degrees);
  }
  CHECK_THAT(chi2 / degrees, WithinAbs(1.0, 0.12));  // sqrt(2 / 800) is .05
  CHECK_THAT(flagged / static_cast<double>(toys), WithinAbs(0.05, 0.035));
}
