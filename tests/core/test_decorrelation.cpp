// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "slalom/core/decorrelation.hpp"
#include "slalom/core/fit.hpp"
#include "slalom/core/json.hpp"
#include "slalom/core/model.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::decorrelate;
using slalom::DecorrelateBy;
using slalom::Decorrelation;
using slalom::ErrorKind;
using slalom::Json;
using slalom::Model;
using slalom::test::check_fails;

namespace {

/// Two channels of two samples with every modifier that can be split, and some that cannot.
Json document() {
  return slalom::parse_json(R"({"channels": [
    {"name": "SR", "samples": [
      {"name": "signal", "data": [5, 10, 4], "modifiers": [
        {"name": "mu", "type": "normfactor", "data": null},
        {"name": "jes", "type": "normsys", "data": {"hi": 1.1, "lo": 0.8}},
        {"name": "lumi", "type": "lumi", "data": null},
        {"name": "stat", "type": "staterror", "data": [1, 1, 1]}]},
      {"name": "ttbar", "data": [50, 60, 30], "modifiers": [
        {"name": "jes", "type": "normsys", "data": {"hi": 1.2, "lo": 0.9}},
        {"name": "jes", "type": "histosys",
         "data": {"hi_data": [51, 63, 36], "lo_data": [49, 57, 24]}},
        {"name": "norm", "type": "normfactor", "data": null},
        {"name": "stat", "type": "staterror", "data": [2, 3, 4]},
        {"name": "pdf", "type": "histosys",
         "data": {"hi_data": [52, 60, 27], "lo_data": [48, 60, 33]}}]}]},
    {"name": "CR", "samples": [
      {"name": "ttbar", "data": [1000, 500], "modifiers": [
        {"name": "jes", "type": "normsys", "data": {"hi": 1.05, "lo": 0.95}},
        {"name": "norm", "type": "normfactor", "data": null},
        {"name": "stat", "type": "staterror", "data": [20, 15]},
        {"name": "pdf", "type": "histosys",
         "data": {"hi_data": [1010, 495], "lo_data": [990, 505]}},
        {"name": "unc", "type": "shapesys", "data": [10, 10]}]},
      {"name": "signal", "data": [3, 2], "modifiers": [
        {"name": "mu", "type": "normfactor", "data": null},
        {"name": "jes", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}},
        {"name": "stat", "type": "staterror", "data": [0.5, 0.5]}]}]}],
  "measurements": [
    {"name": "m", "config": {"poi": "mu", "parameters": [
      {"name": "lumi", "auxdata": [1.0], "bounds": [[0.5, 1.5]], "inits": [1.0], "sigmas": [0.02]},
      {"name": "jes", "inits": [0.1], "bounds": [[-3, 3]]},
      {"name": "stat", "inits": [1.1, 1.2, 1.3, 1.4, 1.5]}]}}],
  "observations": [{"name": "SR", "data": [56, 75, 36]}, {"name": "CR", "data": [1010, 510]}],
  "version": "1.0.0"})");
}

Decorrelation split(const std::string& modifier, DecorrelateBy by) {
  Decorrelation how;
  how.modifier = modifier;
  how.by = by;
  return how;
}

Model model_of(const Json& document) {
  return Model(make_model_spec(slalom::parse_workspace(document)));
}

/// The modifiers of that name in one sample.
std::vector<Json> uses(const Json& document, const std::string& channel, const std::string& sample,
                       const std::string& name) {
  std::vector<Json> found;
  for (const Json& c : document["channels"]) {
    if (c["name"] != channel) continue;
    for (const Json& s : c["samples"]) {
      if (s["name"] != sample) continue;
      for (const Json& m : s["modifiers"]) {
        if (m["name"] == name) found.push_back(m);
      }
    }
  }
  return found;
}

Json config_of(const Json& document, const std::string& name) {
  for (const Json& p : document["measurements"][0]["config"]["parameters"]) {
    if (p["name"] == name) return p;
  }
  return nullptr;
}

/// log L of both documents agrees where every new parameter has the value of the old one (and
/// auxiliary terms are left out), so the split changes nothing but the correlation.
void check_same_rates(const Json& before, const Json& after, const std::string& name) {
  const Model old_model = model_of(before), new_model = model_of(after);
  for (double value : {-1.7, -1.0, -0.4, 0.0, 0.6, 1.0, 2.1}) {
    const auto point = [&](const Model& model) {
      std::vector<double> theta = model.spec().initial();
      for (std::size_t i = 0; i < theta.size(); ++i) {
        const std::string& parameter = model.spec().parameters[i].name;
        theta[i] = 1.0;
        if (parameter.starts_with(name)) theta[i] = value;
        if (parameter == "pdf" && name != "pdf") theta[i] = 0.4;
        if (parameter == "jes" && name != "jes") theta[i] = -0.3;
      }
      return theta;
    };
    const std::vector<double> a = old_model.expected_data(point(old_model), false);
    const std::vector<double> b = new_model.expected_data(point(new_model), false);
    REQUIRE(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i) CHECK_THAT(b[i], WithinRel(a[i], 1e-12));
  }
}

}  // namespace

TEST_CASE("a parameter per channel", "[core][decorrelation]") {
  const Json before = document();
  const Json after = decorrelate(before, split("jes", DecorrelateBy::channel));
  CHECK(uses(after, "SR", "ttbar", "jes_SR").size() == 2);
  CHECK(uses(after, "SR", "signal", "jes_SR").size() == 1);
  CHECK(uses(after, "CR", "ttbar", "jes_CR").size() == 1);
  CHECK(uses(after, "SR", "ttbar", "jes").empty());
  CHECK(config_of(after, "jes") == nullptr);
  CHECK(config_of(after, "jes_SR")["inits"] == Json::array({0.1}));
  CHECK(config_of(after, "jes_CR")["bounds"] == Json::parse("[[-3, 3]]"));
  check_same_rates(before, after, "jes");
  SECTION("of one channel only: the others keep it") {
    Decorrelation how = split("jes", DecorrelateBy::channel);
    how.channels = {"SR"};
    const Json one = decorrelate(before, how);
    CHECK(uses(one, "SR", "ttbar", "jes_SR").size() == 2);
    CHECK(uses(one, "CR", "ttbar", "jes").size() == 1);
    CHECK(config_of(one, "jes")["inits"] == Json::array({0.1}));
    check_same_rates(before, one, "jes");
  }
  SECTION("with names of one's own") {
    Decorrelation how = split("norm", DecorrelateBy::channel);
    how.names = {"a", "b"};
    const Json named = decorrelate(before, how);
    CHECK(uses(named, "SR", "ttbar", "a").size() == 1);
    CHECK(uses(named, "CR", "ttbar", "b").size() == 1);
  }
}

TEST_CASE("a parameter per sample", "[core][decorrelation]") {
  const Json before = document();
  const Json after = decorrelate(before, split("jes", DecorrelateBy::sample));
  CHECK(uses(after, "SR", "ttbar", "jes_ttbar").size() == 2);
  CHECK(uses(after, "CR", "ttbar", "jes_ttbar").size() == 1);
  CHECK(uses(after, "CR", "signal", "jes_signal").size() == 1);
  check_same_rates(before, after, "jes");
  Decorrelation how = split("stat", DecorrelateBy::sample);
  const Json full = decorrelate(before, how);
  CHECK(config_of(full, "stat_ttbar")["inits"].size() == 5);
  CHECK(model_of(full).n_parameters() == model_of(before).n_parameters() + 5);
}

TEST_CASE("vector parameters per channel take their part of the configuration",
          "[core][decorrelation]") {
  const Json after = decorrelate(document(), split("stat", DecorrelateBy::channel));
  // Components are in the order of the sorted channels: CR first.
  CHECK(config_of(after, "stat_CR")["inits"] == Json::parse("[1.1, 1.2]"));
  CHECK(config_of(after, "stat_SR")["inits"] == Json::parse("[1.3, 1.4, 1.5]"));
  const Model before = model_of(document()), model = model_of(after);
  CHECK_THAT(slalom::fit(model).twice_nll, WithinAbs(slalom::fit(before).twice_nll, 1e-8));
}

TEST_CASE("a parameter per range of bins", "[core][decorrelation]") {
  const Json before = document();
  SECTION("histosys: exactly the same rates") {
    Decorrelation how = split("pdf", DecorrelateBy::bins);
    how.bins = {{0, 0}, {1, 1}};
    slalom::Warnings warnings;
    const Json after = decorrelate(before, how, &warnings);
    CHECK(warnings.empty());
    CHECK(uses(after, "SR", "ttbar", "pdf_bin0")[0]["data"]["hi_data"] == Json({52, 60, 30}));
    CHECK(uses(after, "SR", "ttbar", "pdf")[0]["data"]["lo_data"] == Json({50, 60, 33}));
    CHECK(uses(after, "CR", "ttbar", "pdf_bin1")[0]["data"]["hi_data"] == Json({1000, 495}));
    CHECK(uses(after, "CR", "ttbar", "pdf").empty());
    check_same_rates(before, after, "pdf");
  }
  SECTION("all bins of one channel") {
    Decorrelation how = split("pdf", DecorrelateBy::bins);
    how.channels = {"SR"};
    const Json after = decorrelate(before, how);
    CHECK(uses(after, "SR", "ttbar", "pdf_bin2").size() == 1);
    CHECK(uses(after, "CR", "ttbar", "pdf").size() == 1);
    check_same_rates(before, after, "pdf");
  }
  SECTION("normsys become histosys with the same yields at +-1") {
    Decorrelation how = split("jes", DecorrelateBy::bins);
    how.channels = {"SR"};
    how.bins = {{0, 1}, {2, 2}};
    slalom::Warnings warnings;
    const Json after = decorrelate(before, how, &warnings);
    REQUIRE(warnings.size() == 1);
    CHECK(warnings[0].where == "jes");
    const Json part = uses(after, "SR", "ttbar", "jes_bins0-1")[0];
    CHECK(part["type"] == "histosys");
    CHECK_THAT(part["data"]["hi_data"][1].get<double>(), WithinRel(63 * 1.2, 1e-12));
    CHECK_THAT(part["data"]["lo_data"][0].get<double>(), WithinRel(49 * 0.9, 1e-12));
    CHECK(part["data"]["lo_data"][2] == 30);
    const Model model = model_of(after), old_model = model_of(before);
    for (double value : {-1.0, 0.0, 1.0}) {
      const auto rates = [&](const Model& m) {
        std::vector<double> theta = m.spec().initial();
        for (std::size_t i = 0; i < theta.size(); ++i) {
          if (m.spec().parameters[i].name.starts_with("jes")) theta[i] = value;
        }
        return m.expected_data(theta, false);
      };
      const std::vector<double> a = rates(old_model), b = rates(model);
      for (std::size_t i = 0; i < a.size(); ++i) CHECK_THAT(b[i], WithinRel(a[i], 1e-12));
    }
  }
}

TEST_CASE("a correlation that remains", "[core][decorrelation]") {
  // One histosys on two channels, linear and symmetric: the covariance of the rates says it all.
  Json before = slalom::parse_json(R"({"channels": [
    {"name": "A", "samples": [{"name": "b", "data": [100], "modifiers": [
      {"name": "x", "type": "histosys", "data": {"hi_data": [110], "lo_data": [90]}}]}]},
    {"name": "B", "samples": [{"name": "b", "data": [50], "modifiers": [
      {"name": "x", "type": "histosys", "data": {"hi_data": [44], "lo_data": [56]}}]}]}],
    "measurements": [{"name": "m", "config": {"poi": "", "parameters": []}}],
    "observations": [{"name": "A", "data": [100]}, {"name": "B", "data": [50]}],
    "version": "1.0.0"})");
  Decorrelation how = split("x", DecorrelateBy::channel);
  how.correlation = 0.3;
  const Json after = decorrelate(before, how);
  const Model model = model_of(after);
  REQUIRE(model.n_parameters() == 3);
  // Pre-fit covariance of the two rates: sum over parameters of the products of their effects.
  double variance_a = 0.0, variance_b = 0.0, covariance = 0.0;
  for (std::size_t i = 0; i < 3; ++i) {
    std::vector<double> theta(3, 0.0);
    theta[i] = 1.0;
    const std::vector<double> rates = model.expected_data(theta, false);
    const double a = rates[0] - 100.0, b = rates[1] - 50.0;
    variance_a += a * a;
    variance_b += b * b;
    covariance += a * b;
  }
  CHECK_THAT(variance_a, WithinRel(100.0, 1e-12));
  CHECK_THAT(variance_b, WithinRel(36.0, 1e-12));
  CHECK_THAT(covariance / std::sqrt(variance_a * variance_b), WithinRel(-0.3, 1e-12));
  SECTION("factors get powers") {
    Decorrelation jes = split("jes", DecorrelateBy::sample);
    jes.correlation = 0.25;
    const Json partly = decorrelate(document(), jes);
    const Json common = uses(partly, "CR", "ttbar", "jes")[0];
    const Json own = uses(partly, "CR", "ttbar", "jes_ttbar")[0];
    CHECK_THAT(common["data"]["hi"].get<double>(), WithinRel(std::pow(1.05, 0.5), 1e-12));
    CHECK_THAT(own["data"]["lo"].get<double>(), WithinRel(std::pow(0.95, std::sqrt(0.75)), 1e-12));
    CHECK(config_of(partly, "jes") == config_of(document(), "jes"));
  }
  SECTION("by bins, other bins keep all of it") {
    Decorrelation pdf = split("pdf", DecorrelateBy::bins);
    pdf.channels = {"SR"};
    pdf.bins = {{0, 0}};
    pdf.correlation = 0.25;
    const Json partly = decorrelate(document(), pdf);
    const Json common = uses(partly, "SR", "ttbar", "pdf")[0];
    CHECK(common["data"]["hi_data"] == Json({51.0, 60, 27}));
    const Json own = uses(partly, "SR", "ttbar", "pdf_bin0")[0];
    CHECK_THAT(own["data"]["hi_data"][0].get<double>(),
               WithinRel(50.0 + 2.0 * std::sqrt(0.75), 1e-12));
    CHECK(own["data"]["hi_data"][2] == 30);
  }
}

TEST_CASE("what cannot be split is refused", "[core][decorrelation]") {
  const auto refused = [](const Decorrelation& how, const std::string& where,
                          const std::string& fragment) {
    check_fails(ErrorKind::usage, where, fragment, [&] { decorrelate(document(), how); });
  };
  using By = DecorrelateBy;
  refused(split("jess", By::channel), "", "did you mean 'jes'?");
  refused(split("mu", By::channel), "", "parameter of interest");
  refused(split("lumi", By::channel), "", "pyhf fixes its name");
  refused(split("unc", By::channel), "", "belongs to one sample");
  refused(split("norm", By::bins), "", "shapefactor");
  refused(split("stat", By::bins), "", "one parameter per bin already");
  refused(split("norm", By::sample), "", "nothing to split");
  refused(split("jes", By::bins), "", "different numbers of bins");
  Decorrelation how = split("norm", By::channel);
  how.correlation = 0.5;
  refused(how, "", "partly correlated");
  how = split("jes", By::channel);
  how.correlation = 1.0;
  refused(how, "correlation", "less than 1");
  how = split("jes", By::channel);
  how.names = {"x"};
  refused(how, "names", "2 names expected");
  how.names = {"x", "x"};
  refused(how, "names", "'x' is taken");
  how.names = {"x", "pdf"};
  refused(how, "names", "'pdf' is taken");
  how = split("jes", By::channel);
  how.channels = {"VR"};
  refused(how, "", "no channel 'VR'");
  how = split("pdf", By::bins);
  how.bins = {{1, 3}};
  refused(how, "bins", "does not fit");
  how.bins = {{0, 1}, {1, 1}};
  refused(how, "bins", "in two ranges");
  how.bins = {{1, 0}};
  refused(how, "bins", "ends before it begins");
  how = split("pdf", By::channel);
  how.samples = {"signal"};
  refused(how, "", "is not used there");
  CHECK_THROWS_AS(slalom::parse_decorrelate_by("region"), slalom::Error);
  CHECK(slalom::parse_decorrelate_by("bins") == By::bins);
  Json broken = document();
  broken.erase("version");
  check_fails(ErrorKind::workspace, "", "version",
              [&] { decorrelate(broken, split("jes", By::channel)); });
}
