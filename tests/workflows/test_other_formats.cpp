// SPDX-License-Identifier: Apache-2.0
/// \file
/// Results in the form of other programs: --format.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "cli/other_formats.hpp"
#include "support/catch.hpp"
#include "support/command_line.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using nlohmann::ordered_json;
using slalom::test::Outcome;
using slalom::test::small_workspace;
using Words = std::vector<std::string>;

namespace {

const std::string k_h4l = SLALOM_SOURCE_DIR "/workflows/examples/h4l/workspace.json";

Outcome run(const Words& words, const std::string& input = small_workspace()) {
  return slalom::test::slalom(words, input);
}

std::vector<std::string> keys(const ordered_json& object) {
  std::vector<std::string> names;
  for (const auto& item : object.items()) names.push_back(item.key());
  return names;
}

double number(const ordered_json& object, const std::string& key) {
  return object.at(key).get<double>();
}

std::string refused(const Words& words) {
  const Outcome outcome = run(words);
  INFO(outcome.err);
  CHECK(outcome.code == slalom::exit_usage);
  CHECK(outcome.out.empty());
  return outcome.err;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a mass is written as Python writes it", "[workflows][other_formats]") {
  CHECK(slalom::cli::mass_key(120.0) == "120.0");
  CHECK(slalom::cli::mass_key(125.5) == "125.5");
}

TEST_CASE("CLs in the form of pyhf", "[workflows][other_formats]") {
  const auto own = run({"cls", "-", "--mu", "2", "--json"}).json();
  const auto pyhf = run({"cls", "-", "--mu", "2", "--format", "pyhf"}).json();
  CHECK(keys(pyhf) == Words{"CLs_exp", "CLs_obs"});
  CHECK(pyhf.at("CLs_obs") == own.at("cls_observed"));
  CHECK(pyhf.at("CLs_exp") == own.at("cls_expected"));
  const Words toys{"cls", "-", "--toys", "200", "--seed", "1"};
  auto words = toys;
  words.push_back("--json");
  const auto own_toys = run(words).json();
  words.back() = "--format=pyhf";
  const auto pyhf_toys = run(words).json();
  CHECK(pyhf_toys.at("CLs_obs") == own_toys.at("cls_observed"));
  CHECK(pyhf_toys.at("CLs_exp") == own_toys.at("cls_expected"));
}

TEST_CASE("fits in the form of pyhf", "[workflows][other_formats]") {
  const auto own = run({"fit", "-", "--json"}).json();
  const auto pyhf = run({"fit", "-", "--format", "pyhf"}).json();
  CHECK(keys(pyhf) == Words{"mle_parameters", "twice_nll"});
  CHECK(pyhf.at("twice_nll") == own.at("twice_nll"));
  const auto& parameters = pyhf.at("mle_parameters");
  REQUIRE(parameters.size() == 3);
  CHECK(parameters.at("mu").at(0) == own.at("parameters").at("mu").at("value"));
  REQUIRE(parameters.at("statistics").size() == 2);
  CHECK(parameters.at("statistics").at(1) == own.at("parameters").at("statistics[1]").at("value"));
}

TEST_CASE("limits and significances in the form of Combine", "[workflows][other_formats]") {
  const auto own = run({"limit", "-", "--json"}).json();
  const auto document = run({"limit", "-", "--format", "combine", "--mass", "125"}).json();
  CHECK(keys(document) == Words{"125.0"});
  const auto& entry = document.at("125.0");
  CHECK(keys(entry) == Words{"exp-2", "exp-1", "exp0", "exp+1", "exp+2", "obs"});
  CHECK(entry.at("obs") == own.at("observed"));
  CHECK(entry.at("exp-2") == own.at("expected").at(0));
  CHECK(entry.at("exp0") == own.at("expected").at(2));
  CHECK(entry.at("exp+2") == own.at("expected").at(4));
  const auto z = run({"discovery", k_h4l, "--format", "combine"}).json();
  CHECK(keys(z) == Words{"120.0"});
  CHECK_THAT(number(z.at("120.0"), "obs"), WithinAbs(3.27, 0.005));
  CHECK(number(z.at("120.0"), "exp0") > 3.0);
  const auto toys =
      run({"limit", "-", "--toys", "100", "--seed", "1", "--format", "combine"}).json();
  CHECK(toys.at("120.0").contains("obs"));
  CHECK(number(toys.at("120.0"), "obs_err") > 0.0);
  CHECK(number(toys.at("120.0"), "exp0_err") > 0.0);
}

TEST_CASE("a limit that is not found is left out", "[workflows][other_formats]") {
  slalom::cli::CombineLimit limit;
  limit.expected[2] = 1.5;
  limit.expected[3] = INFINITY;
  CHECK(keys(slalom::cli::combine_limit(limit)) == Words{"exp0"});
}

TEST_CASE("intervals in the form of Combine", "[workflows][other_formats]") {
  const auto own = run({"fit", k_h4l, "--minos", "mu", "--json"}).json().at("parameters").at("mu");
  const auto fit = run({"fit", k_h4l, "--format", "combine"}).json();
  CHECK(keys(fit) == Words{"mu"});
  const auto& mu = fit.at("mu");
  CHECK(mu.at("Val") == own.at("value"));
  CHECK_THAT(number(mu, "Val") + number(mu, "ErrorHi"),
             WithinRel(own.at("minos").at(1).get<double>(), 1e-12));
  CHECK_THAT(number(mu, "Val") + number(mu, "ErrorLo"),
             WithinRel(own.at("minos").at(0).get<double>(), 1e-12));
  CHECK(number(mu, "ErrorLo") < 0.0);
  CHECK(mu.at("ValidErrorHi") == true);
  CHECK(run({"fit", "-", "--format", "combine", "--minos", "all"}).json().size() == 4);
  const auto scan = run({"scan", k_h4l, "--format", "combine", "--points", "5"}).json().at("mu");
  CHECK_THAT(number(scan, "ErrorHi"), WithinRel(number(mu, "ErrorHi"), 1e-6));
  CHECK(number(scan, "2sig_ErrorHi") > 1.9 * number(scan, "ErrorHi"));
  CHECK(number(scan, "2sig_ErrorLo") < number(scan, "ErrorLo"));
  // The best fit is at its bound.
  std::string deficit = small_workspace();
  deficit.replace(deficit.find("[53, 65]"), 8, "[40, 45]");
  const auto bound = run({"fit", "-", "--format", "combine"}, deficit).json().at("mu");
  CHECK(number(bound, "Val") == 0.0);
  CHECK(bound.at("ValidErrorLo") == false);
  CHECK(bound.at("ValidErrorHi") == true);
}

TEST_CASE("impacts in the form of Combine", "[workflows][other_formats]") {
  const auto own = run({"ranking", "-", "--json"}).json();
  const auto document = run({"ranking", "-", "--format", "combine"}).json();
  CHECK(keys(document) == Words{"POIs", "params", "method"});
  CHECK(document.at("method") == "default");
  REQUIRE(document.at("POIs").size() == 1);
  const auto& poi = document.at("POIs").at(0);
  CHECK(poi.at("name") == "mu");
  CHECK(poi.at("fit").at(1) == own.at("value"));
  CHECK(poi.at("fit").at(0) < poi.at("fit").at(1));
  REQUIRE(document.at("params").size() == own.at("parameters").size());
  for (std::size_t i = 0; i < own.at("parameters").size(); ++i) {
    const auto &theirs = document.at("params").at(i), &ours = own.at("parameters").at(i);
    INFO(theirs.dump());
    CHECK(keys(theirs) == Words{"name", "type", "groups", "prefit", "fit", "mu", "impact_mu"});
    CHECK(theirs.at("name") == ours.at("name"));
    CHECK(theirs.at("type") == (ours.at("name") == "scale" ? "Gaussian" : "Poisson"));
    // plotImpacts.py makes pull and impacts of these numbers.
    const auto prefit = theirs.at("prefit").get<std::vector<double>>();
    const auto fit = theirs.at("fit").get<std::vector<double>>();
    const auto mu = theirs.at("mu").get<std::vector<double>>();
    CHECK_THAT((fit[1] - prefit[1]) / (prefit[2] - prefit[1]),
               WithinAbs(number(ours, "pull"), 1e-9));
    CHECK_THAT(mu[2] - mu[1], WithinAbs(number(ours, "postfit_up"), 1e-12));
    CHECK_THAT(mu[0] - mu[1], WithinAbs(number(ours, "postfit_down"), 1e-12));
    CHECK(number(theirs, "impact_mu") ==
          std::max(std::abs(number(ours, "postfit_up")), std::abs(number(ours, "postfit_down"))));
  }
  const auto linear = run({"ranking", "-", "--linear", "--format", "combine"}).json();
  CHECK(linear.at("method") == "hesse");
  const auto free =
      run({"ranking", k_h4l, "--measurement", "zz_floating", "--format", "combine"}).json();
  CHECK(free.at("params").at(0).at("type") == "Unconstrained");
}

TEST_CASE("goodness of fit in the form of Combine", "[workflows][other_formats]") {
  const auto own = run({"gof", "-", "--toys", "50", "--seed", "2", "--json"}).json();
  const auto document = run({"gof", "-", "--toys", "50", "--seed", "2", "--format", "combine"});
  const auto entry = document.json().at("120.0");
  CHECK(keys(entry) == Words{"obs", "toy", "p"});
  CHECK(entry.at("obs").at(0) == own.at("statistic"));
  CHECK(entry.at("toy") == own.at("toys").at("samples"));
  CHECK(entry.at("p") == own.at("toys").at("p_value"));
  CHECK(keys(run({"gof", "-", "--format", "combine"}).json().at("120.0")) == Words{"obs"});
}

TEST_CASE("formats that make no sense are refused", "[workflows][other_formats]") {
  CHECK(contains(refused({"cls", "-", "--format", "combine"}), "--format"));
  CHECK(contains(refused({"limit", "-", "--format", "pyhf"}), "--format"));
  CHECK(contains(refused({"limit", "-", "--mass", "125"}), "--mass"));
  CHECK(contains(refused({"fit", "-", "--csv", "--format", "pyhf"}), "--format pyhf"));
  CHECK(contains(refused({"yields", "-", "--format", "pyhf"}), "--format"));
}

TEST_CASE("warnings stay out of the documents of others", "[workflows][other_formats]") {
  std::string text = small_workspace();
  text.replace(text.find(R"("parameters": [])"), 16,
               R"("parameters": [{"name": "nobody", "inits": [1]}])");
  const Outcome outcome = run({"cls", "-", "--format", "pyhf"}, text);
  CHECK(contains(outcome.err, "nobody"));
  CHECK(keys(outcome.json()) == Words{"CLs_exp", "CLs_obs"});
}
