// SPDX-License-Identifier: Apache-2.0
/// \file
/// ranking, breakdown, gof and yields.
#include <algorithm>
#include <cmath>
#include <sstream>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/command_line.hpp"
#include "support/data.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::test::Outcome;
using slalom::test::small_workspace;
using slalom::test::TemporaryFolder;
using slalom::test::text_of;
using Words = std::vector<std::string>;
using Document = nlohmann::ordered_json;

namespace {

const std::string k_h4l = SLALOM_SOURCE_DIR "/workflows/examples/h4l/workspace.json";

Outcome run(const Words& words, const std::string& input = small_workspace()) {
  return slalom::test::slalom(words, input);
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

double number(const Document& document, const char* key) { return document.at(key).get<double>(); }

std::string error_where(Words words, const std::string& type = "usage") {
  words.push_back("--json");
  const Outcome outcome = run(words);
  INFO(outcome.out);
  CHECK(outcome.code == slalom::exit_usage);
  CHECK(outcome.error("type") == type);
  return outcome.error("where");
}

std::string error_message(Words words) {
  words.push_back("--json");
  return run(words).error("message");
}

Document named(const Document& list, const std::string& name) {
  for (const Document& item : list) {
    if (item.at("name") == name) return item;
  }
  FAIL("no member " << name);
  return {};
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

/// Two factors on one sample: only their product is determined.
std::string flat_workspace() {
  std::string text = small_workspace();
  const std::string one = R"({"name": "mu", "type": "normfactor", "data": null})";
  const std::string two = R"({"name": "nu", "type": "normfactor", "data": null})";
  text.replace(text.find(one), one.size(), one + ", " + two);
  return text;
}

}  // namespace

TEST_CASE("ranking against cabinetry", "[workflows][verbs_interpretation]") {
  // cabinetry 0.6.0 with pyhf 0.7.6 and iminuit 2.33.0: fit.ranking of the four-lepton workspace,
  // tolerance 1e-6, strategy 2. Its errors come from a numerical Hessian; those of the exact one
  // were calculated with numpy.
  const auto result = run({"ranking", k_h4l, "--measurement", "zz_floating", "--json"}).json();
  CHECK(result.at("parameter") == "mu");
  CHECK_THAT(number(result, "value"), WithinAbs(0.845409732942844, 1e-5));
  CHECK_THAT(number(result, "error"), WithinRel(0.3971777062092437, 4e-3));
  CHECK_THAT(number(result, "error"), WithinRel(0.39854036, 1e-7));
  REQUIRE(result.at("parameters").size() == 1);
  const auto& zz = result.at("parameters").at(0);
  CHECK(zz.at("name") == "zz_norm");
  CHECK_THAT(number(zz, "postfit_up"), WithinAbs(-0.06571217, 3e-5));
  CHECK_THAT(number(zz, "postfit_down"), WithinAbs(0.06970808, 5e-5));
  CHECK_THAT(number(zz, "postfit_up"), WithinAbs(-0.06572509283762729, 1e-8));
  CHECK_THAT(number(zz, "postfit_down"), WithinAbs(0.0697436249019121, 1e-8));
  CHECK(zz.at("prefit_up").is_null());
  CHECK(zz.at("pull").is_null());
  CHECK(result.at("converged") == true);
}

TEST_CASE("ranking has every parameter, and the fixed names", "[workflows][verbs_interpretation]") {
  const auto result = run({"ranking", "-", "--json", "--max", "1"}).json();
  REQUIRE(result.at("parameters").size() == 3);
  double last = 1e300;
  for (const auto& parameter : result.at("parameters")) {
    for (const char* key : {"pull", "constraint", "prefit_up", "prefit_down", "postfit_up",
                            "postfit_down", "linear_postfit", "linear_global"}) {
      CHECK(parameter.at(key).is_number());
    }
    const double size = std::max(std::abs(number(parameter, "postfit_up")),
                                 std::abs(number(parameter, "postfit_down")));
    CHECK(size <= last);
    last = size;
  }
  const auto fit = run({"fit", "-", "--json"}).json();
  const auto scale = named(result.at("parameters"), "scale");
  CHECK(scale.at("pull") == fit.at("parameters").at("scale").at("pull"));
  CHECK_THAT(number(scale, "constraint"),
             WithinRel(number(fit.at("parameters").at("scale"), "constraint"), 1e-12));
  // By hand: the fit with the parameter held at its best fit plus one.
  const double value = number(fit.at("parameters").at("scale"), "value");
  const auto moved = run({"fit", "-", "--json", "--fix", "scale=" + std::to_string(value + 1.0)});
  CHECK_THAT(number(moved.json().at("parameters").at("mu"), "value") - number(result, "value"),
             WithinAbs(number(scale, "prefit_up"), 1e-5));
  // The results do not depend on the number of threads.
  const Words one{"ranking", "-", "--json", "--threads", "1"};
  const Words two{"ranking", "-", "--json", "--threads", "2"};
  CHECK(run(one).out == run(two).out);
}

TEST_CASE("ranking without re-fits, of another parameter, as a table and as CSV",
          "[workflows][verbs_interpretation]") {
  const auto linear = run({"ranking", "-", "--json", "--linear", "--parameter", "scale"}).json();
  CHECK(linear.at("parameter") == "scale");
  CHECK(linear.at("refit") == false);
  REQUIRE(linear.at("parameters").size() == 3);
  const auto mu = named(linear.at("parameters"), "mu");
  CHECK(mu.at("postfit_up").is_null());
  CHECK(mu.at("linear_postfit").is_number());
  CHECK(mu.at("linear_global").is_null());
  const std::string table = run({"ranking", "-", "--max", "1"}).out;
  CHECK(contains(table, "impacts of 3 parameters"));
  CHECK(contains(table, "2 parameters with smaller impact: not shown"));
  CHECK_FALSE(contains(run({"ranking", "-", "--max", "0"}).out, "not shown"));
  CHECK(contains(run({"ranking", "-", "--linear"}).out, "in linear form"));
  CHECK(contains(run({"ranking", k_h4l}).out, "nothing to rank"));
  const auto csv = lines_of(run({"ranking", "-", "--csv"}).out);
  REQUIRE(csv.size() == 4);
  CHECK(csv[0] ==
        "name,pull,constraint,prefit_up,prefit_down,postfit_up,postfit_down,linear_postfit,"
        "linear_global,value,error,converged");
  CHECK(contains(run({"ranking", "-", "--csv", "--linear"}).out, ",,,,,"));
  const TemporaryFolder folder;
  CHECK(run({"ranking", "-", "-o", folder.path("r.csv")}).out.empty());
  CHECK(lines_of(text_of(folder.path("r.csv"))) == csv);
}

TEST_CASE("ranking and breakdown refuse what makes no sense", "[workflows][verbs_interpretation]") {
  for (const char* verb : {"ranking", "breakdown"}) {
    INFO(verb);
    CHECK(error_where({verb, "-", "--poi", "none"}, "model") == "--poi");
    CHECK(error_where({verb, "-", "--parameter", "scal"}) == "--parameter");
    CHECK(contains(error_message({verb, "-", "--parameter", "scal"}), "did you mean 'scale'"));
    CHECK(error_where({verb, "-", "--fix", "mu=1"}) == "--poi");
    CHECK(error_where({verb, "-", "--csv"}) == "--csv");
  }
  CHECK(error_where({"ranking", "-", "--linear", "--refit"}) == "--linear");
}

TEST_CASE("fits that fail are reported by all of them", "[workflows][verbs_interpretation]") {
  for (const char* verb : {"ranking", "breakdown", "gof", "yields"}) {
    INFO(verb);
    const Outcome outcome = run({verb, "-", "--json"}, flat_workspace());
    CHECK(outcome.code == slalom::exit_not_converged);
    CHECK(outcome.json().at("converged") == false);
    CHECK_FALSE(outcome.json().at("warnings").empty());
    CHECK(run({verb, "-"}, flat_workspace()).code == slalom::exit_not_converged);
  }
}

TEST_CASE("breakdown by type and by pattern", "[workflows][verbs_interpretation]") {
  const auto result = run({"breakdown", "-", "--json"}).json();
  CHECK(result.at("valid") == true);
  const auto& groups = result.at("groups");
  REQUIRE(groups.size() == 2);
  CHECK(named(groups, "normalisation systematics").at("parameters") == Document{"scale"});
  CHECK(named(groups, "per-bin uncertainties").at("parameters") ==
        Document{"statistics[0]", "statistics[1]"});
  const double total = number(result, "error");
  double cumulative = std::pow(number(result, "rest"), 2);
  double global = std::pow(number(result, "global_data"), 2);
  for (const auto& group : groups) {
    cumulative += std::pow(number(group, "cumulative"), 2);
    global += std::pow(number(group, "global"), 2);
    CHECK(number(group, "contribution") < total);
  }
  CHECK_THAT(std::sqrt(cumulative), WithinRel(total, 1e-12));
  CHECK_THAT(std::sqrt(global), WithinRel(total, 1e-12));
  // Frozen: the error of a fit with the parameter held at its best fit.
  const auto fit = run({"fit", "-", "--json"}).json();
  const auto best = fit.at("parameters").at("scale").at("value").dump();
  const auto held = run({"fit", "-", "--json", "--fix", "scale=" + best}).json();
  CHECK_THAT(number(named(groups, "normalisation systematics"), "frozen_error"),
             WithinRel(number(held.at("parameters").at("mu"), "error"), 1e-6));

  const auto mine =
      run({"breakdown", "-", "--json", "--group", "first=statistics[0],scale"}).json();
  REQUIRE(mine.at("groups").size() == 2);
  CHECK(mine.at("groups").at(0).at("parameters") == Document{"scale", "statistics[0]"});
  CHECK(mine.at("groups").at(1).at("name") == "other");
  CHECK(mine.at("groups").at(1).at("parameters") == Document{"statistics[1]"});
  const auto all = run({"breakdown", "-", "--json", "--group", "s=s*"}).json();
  CHECK(all.at("groups").size() == 1);
  CHECK_THAT(number(all.at("groups").at(0), "contribution"),
             WithinRel(number(all, "systematic"), 1e-9));
  CHECK(run({"breakdown", "-", "--json", "--group", "s=statistics"})
            .json()
            .at("groups")
            .at(0)
            .at("parameters")
            .size() == 2);
}

TEST_CASE("breakdown warns and refuses", "[workflows][verbs_interpretation]") {
  CHECK(error_where({"breakdown", "-", "--group", "x=scalf"}) == "--group");
  CHECK(contains(error_message({"breakdown", "-", "--group", "x=scalf"}),
                 "no parameter matches 'scalf'; did you mean 'scale'?"));
  CHECK(contains(error_message({"breakdown", "-", "--group", "x=jes_*"}), "no parameter matches"));
  for (const char* wrong : {"scale", "=scale", "x=", "other=scale"}) {
    CHECK(error_where({"breakdown", "-", "--group", wrong}) == "--group");
  }
  CHECK(error_where({"breakdown", "-", "--group", "x=scale", "--group", "x=stat*"}) == "--group");
  const Outcome twice = run({"breakdown", "-", "--group", "x=scale", "--group", "y=s*"});
  CHECK(twice.code == slalom::exit_success);
  CHECK(contains(twice.err, "'scale' is in an earlier group"));
  const Outcome held = run({"breakdown", "-", "--group", "x=scale", "--fix", "scale"});
  CHECK(contains(held.err, "all its parameters are held"));
  const std::string table = run({"breakdown", "-"}).out;
  CHECK(contains(table, "statistical"));
  CHECK(contains(table, "cumulative"));
  const auto csv = lines_of(run({"breakdown", "-", "--csv"}).out);
  CHECK(csv.size() == 5);
  CHECK(csv[0] == "name,parameters,contribution,cumulative,global,frozen_error");
  // A best fit at a bound has no uncertainty.
  std::string deficit = small_workspace();
  deficit.replace(deficit.find("[53, 65]"), 8, "[30, 35]");
  const Outcome bound = run({"breakdown", "-", "--json"}, deficit);
  CHECK(bound.code == slalom::exit_failure);
  CHECK(bound.json().at("valid") == false);
  CHECK(bound.json().at("converged") == true);
}

TEST_CASE("goodness of fit against cabinetry", "[workflows][verbs_interpretation]") {
  // cabinetry 0.6.0: fit.fit(..., goodness_of_fit=True) of the four-lepton workspace
  const Words words{k_h4l, "--measurement", "zz_floating", "--json"};
  Words gof{"gof"};
  gof.insert(gof.end(), words.begin(), words.end());
  const auto result = run(gof).json();
  CHECK_THAT(number(result, "p_value"), WithinAbs(0.36265669982812526, 1e-7));
  CHECK(result.at("degrees_of_freedom") == 35);
  Words fit{"fit", "--goodness-of-fit"};
  fit.insert(fit.end(), words.begin(), words.end());
  const auto in_fit = run(fit).json().at("goodness_of_fit");
  CHECK(in_fit.at("p_value") == result.at("p_value"));
  CHECK(in_fit.at("statistic") == result.at("statistic"));
  CHECK(contains(run({"fit", "-", "--goodness-of-fit"}).out, "of freedom, p = "));
  CHECK_FALSE(run({"fit", "-", "--json"}).json().contains("goodness_of_fit"));
}

TEST_CASE("goodness of fit has parts and toys", "[workflows][verbs_interpretation]") {
  const auto result =
      run({"gof", "-", "--json", "--toys", "200", "--seed", "3", "--threads", "2"}).json();
  double sum = number(result, "constraints");
  for (const auto& channel : result.at("channels")) sum += number(channel, "statistic");
  CHECK_THAT(sum, WithinAbs(number(result, "statistic"), 1e-9));
  const auto& toys = result.at("toys");
  CHECK(toys.at("done") == 200);
  CHECK(toys.at("failed") == 0);
  CHECK(toys.at("samples").size() == 200);
  CHECK(std::abs(number(toys, "p_value") - number(result, "p_value")) < 0.2);
  const auto again = run({"gof", "-", "--json", "--toys", "200", "--seed", "3", "--threads", "1"});
  CHECK(again.json().at("toys") == toys);
  const auto fixed = run({"gof", "-", "--json", "--toys", "20", "--conditional"}).json().at("toys");
  CHECK(fixed.at("samples") !=
        run({"gof", "-", "--json", "--toys", "20"}).json().at("toys").at("samples"));
  CHECK(error_where({"gof", "-", "--conditional"}) == "--conditional");
  CHECK(error_where({"gof", "-", "--toys", "0"}) == "--toys");
  const std::string table = run({"gof", "-", "--toys", "50"}).out;
  CHECK(contains(table, "(asymptotic)"));
  CHECK(contains(table, "50 toys, 0 failed"));
  CHECK(contains(table, "control_region"));
  CHECK(lines_of(run({"gof", "-", "--csv"}).out).back().substr(0, 8) == "total,3,");
}

TEST_CASE("yields against cabinetry", "[workflows][verbs_interpretation]") {
  // cabinetry 0.6.0: model_utils.prediction of the four-lepton workspace at its fit (tolerance
  // 1e-6, strategy 2). Everything is linear in the parameters, so half differences are derivatives;
  // what differs is its numerical Hessian. Those of the exact one were calculated with numpy.
  const auto result =
      run({"yields", k_h4l, "--measurement", "zz_floating", "--json", "--bins"}).json();
  const auto channel = result.at("postfit").at("channels").at(0);
  CHECK(channel.at("name") == "four_leptons");
  const auto signal = named(channel.at("samples"), "hzz_mH125");
  const auto zz = named(channel.at("samples"), "zz");
  CHECK_THAT(number(signal, "yield"), WithinRel(8.226285423800334, 1e-5));
  CHECK_THAT(number(signal, "error"), WithinRel(3.8647498933732365, 4e-3));
  CHECK_THAT(number(zz, "yield"), WithinRel(90.97214713050208, 1e-6));
  CHECK_THAT(number(zz, "error"), WithinRel(9.991778319044547, 4e-3));
  CHECK_THAT(number(channel.at("total"), "error"), WithinRel(10.083456619652377, 4e-3));
  CHECK_THAT(number(channel.at("total"), "error"), WithinRel(10.0886543914382, 1e-8));
  const auto errors = channel.at("total").at("bin_errors").get<std::vector<double>>();
  CHECK_THAT(errors.at(17), WithinRel(0.9346729744621002, 4e-3));
  CHECK_THAT(errors.at(18), WithinRel(1.912658601059307, 4e-3));
  CHECK_THAT(errors.at(19), WithinRel(0.38652664888905863, 4e-3));
  CHECK_THAT(errors.at(17), WithinRel(0.9378648698238137, 1e-8));
  CHECK_THAT(errors.at(18), WithinRel(1.9192607408438778, 1e-8));
  CHECK_THAT(errors.at(19), WithinRel(0.387685573706474, 1e-8));
  const auto before = result.at("prefit").at("channels").at(0);
  CHECK(before.at("total").at("error") == 0.0);
  CHECK(before.at("data") == channel.at("data"));
}

TEST_CASE("forms of the table of yields", "[workflows][verbs_interpretation]") {
  const auto both = run({"yields", "-", "--json"}).json();
  CHECK(both.contains("prefit"));
  CHECK(both.contains("postfit"));
  CHECK_FALSE(both.at("prefit").at("channels").at(0).contains("bin_data"));
  const auto region = named(both.at("prefit").at("channels"), "signal_region");
  CHECK(region.at("data") == 118.0);
  CHECK_THAT(number(region, "ratio"), WithinRel(118.0 / 125.0, 1e-12));
  // Pre-fit: 110 times the slope of the normalisation at 0, and 5 and 6 events per bin.
  const auto background = named(region.at("samples"), "background");
  CHECK(number(background, "yield") == 110.0);
  CHECK_THAT(number(background, "error"), WithinRel(std::sqrt(11.0 * 11.0 + 61.0), 2e-3));
  CHECK(number(named(region.at("samples"), "signal"), "error") == 0.0);
  CHECK_FALSE(run({"yields", "-", "--json", "--prefit"}).json().contains("postfit"));
  CHECK_FALSE(run({"yields", "-", "--json", "--postfit"}).json().contains("prefit"));

  const std::string text = run({"yields", "-"}).out;
  CHECK(contains(text, "pre-fit"));
  CHECK(contains(text, "data / total"));
  CHECK_FALSE(contains(text, "bin 2"));
  CHECK(contains(run({"yields", "-", "--bins"}).out, "bin 2"));

  const auto csv = lines_of(run({"yields", "-", "--csv", "--prefit", "--bins"}).out);
  CHECK(csv[0] == "stage,channel,bin,kind,sample,yield,error");
  // control_region: (1 sum + 1 bin) x (1 sample + total + data); signal_region: 3 x (2 + 2)
  CHECK(csv.size() == 1 + 6 + 12);
  CHECK(std::find(csv.begin(), csv.end(), "prefit,signal_region,2,data,,65,") != csv.end());

  const std::string latex = run({"yields", "-", "--latex"}).out;
  CHECK(contains(latex, "\\begin{tabular}{lrr}"));
  CHECK(contains(latex, "signal\\_region"));
  CHECK(contains(latex, " \\pm "));
  CHECK(contains(run({"yields", "-", "--latex", "--bins"}).out, "% pre-fit, signal_region\n"));
  const TemporaryFolder folder;
  CHECK(run({"yields", "-", "-o", folder.path("y.tex")}).out.empty());
  CHECK(text_of(folder.path("y.tex")) == latex);
  CHECK(error_where({"yields", "-", "--latex"}) == "--latex");
}

TEST_CASE("an option with a value does not take the file that follows",
          "[workflows][verbs_interpretation]") {
  CHECK(run({"scan", "--points", "3", "-", "--measurement", "wide"}).code == 0);
  CHECK(run({"gof", "--toys", "5", "-", "--conditional"}).code == 0);
}

TEST_CASE("scan and fit as comma-separated values", "[workflows][verbs_interpretation]") {
  const auto scan = lines_of(run({"scan", "-", "--csv", "--values", "1", "2"}).out);
  REQUIRE(scan.size() == 3);
  CHECK(scan[0] == "parameter,value,delta_twice_nll,converged");
  CHECK(scan[1].substr(0, 5) == "mu,1,");
  CHECK(scan[2].ends_with(",true"));
  const auto asimov = run({"scan", "-", "--json", "--values", "1", "2", "--asimov", "1"}).json();
  CHECK_THAT(asimov.at("delta_twice_nll").at(0).get<double>(), WithinAbs(0.0, 1e-9));
  const auto fit = lines_of(run({"fit", "-", "--csv"}).out);
  CHECK(fit[0] == "name,value,error,pull,constraint,minos_lower,minos_upper,fixed,at_bound");
  CHECK(fit.size() == 5);
  const std::string table = run({"fit", "-", "--correlation"}).out;
  CHECK(contains(table, "strongest correlations"));
  CHECK_FALSE(contains(run({"fit", "-"}).out, "strongest correlations"));
}
