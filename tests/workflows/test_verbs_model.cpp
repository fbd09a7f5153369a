// SPDX-License-Identifier: Apache-2.0
/// \file
/// inspect, validate, logpdf, expected, fit and scan.
#include <cmath>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/command_line.hpp"

using Catch::Matchers::WithinAbs;
using slalom::test::Outcome;
using slalom::test::small_workspace;
using Words = std::vector<std::string>;

namespace {

const std::string k_h4l = SLALOM_SOURCE_DIR "/workflows/examples/h4l/workspace.json";

Outcome run(const Words& words, const std::string& input = small_workspace()) {
  return slalom::test::slalom(words, input);
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("inspect tells what is in a workspace", "[workflows][verbs_model]") {
  const auto result = run({"inspect", "-", "--json"}).json();
  CHECK(result.at("n_parameters") == 4);
  CHECK(result.at("n_bins") == 3);
  CHECK(result.at("poi") == "mu");
  CHECK(result.at("measurement") == "nominal");
  CHECK(result.at("samples") == Words{"background", "signal"});
  CHECK(result.at("channels").at(0).at("name") == "control_region");
  CHECK(result.at("channels").at(1).at("n_bins") == 2);
  CHECK(result.at("channels").at(1).at("samples") == Words{"background", "signal"});
  CHECK(result.at("modifiers").size() == 3);
  CHECK(result.at("measurements").at(1).at("name") == "wide");
  CHECK(result.at("measurements").at(1).at("poi") == "mu");
  const auto& parameter = result.at("parameters").at(0);
  CHECK(parameter.at("name") == "mu");
  CHECK(parameter.at("init") == 1.0);
  CHECK(parameter.at("bounds") == std::vector<double>{0.0, 10.0});
  CHECK(parameter.at("fixed") == false);
  CHECK(parameter.at("constraint") == "none");
  CHECK(result.at("parameters").at(1).at("constraint") == "gaussian");
  CHECK(result.at("parameters").at(2).at("constraint") == "poisson");
  CHECK(result.at("systematics").at(2).at("n_parameters") == 2);

  const Outcome table = run({"inspect", "-", "--measurement", "wide"});
  CHECK(contains(table.out, "2 channels, 3 bins, 2 samples, 4 parameters, 2 measurements"));
  CHECK(contains(table.out, "wide (shown)"));
  CHECK(contains(table.out, "[-5, 20]"));
}

TEST_CASE("validate says that all measurements can be used", "[workflows][verbs_model]") {
  CHECK(run({"validate", "-"}).out == "valid: 2 measurements\n");
  const auto result = run({"validate", "-", "--json"}).json();
  CHECK(result.at("valid") == true);
  CHECK(result.at("measurements") == Words{"nominal", "wide"});
  CHECK(run({"validate", "-", "--measurement", "wide"}).out == "valid: 1 measurement\n");
  CHECK(run({"validate", "-", "--measurement", "none"}).code == slalom::exit_usage);
}

TEST_CASE("logpdf prints numbers that read back exactly", "[workflows][verbs_model]") {
  const Outcome outcome = run({"logpdf", "-", "--json"});
  const auto result = outcome.json();
  CHECK(result.at("twice_nll").get<double>() == -2.0 * result.at("logpdf").get<double>());
  CHECK(result.at("parameter_order") == Words{"mu", "scale", "statistics[0]", "statistics[1]"});
  Words names;
  for (const auto& item : result.at("parameters").items()) names.push_back(item.key());
  CHECK(result.at("parameter_order") == names);
  CHECK(contains(run({"logpdf", "-"}).out, "log L = -"));
}

TEST_CASE("a likelihood that is not defined is an error", "[workflows][verbs_model]") {
  // No events can come from nothing.
  std::string input = small_workspace();
  input.replace(input.find("[100]"), 5, "[0]");
  const Outcome plain = run({"logpdf", "-"}, input);
  CHECK(plain.code == slalom::exit_failure);
  const Outcome json = run({"logpdf", "-", "--json"}, input);
  CHECK(json.code == slalom::exit_failure);
  CHECK(json.error("type") == "numerical");
}

TEST_CASE("expected data come by channel and in pyhf's order", "[workflows][verbs_model]") {
  const auto result = run({"expected", "-", "--json", "--samples"}).json();
  CHECK(result.at("main").at("control_region") == std::vector<double>{100.0});
  CHECK(result.at("main").at("signal_region") == std::vector<double>{55.0, 70.0});
  CHECK(result.at("auxiliary").size() == 3);
  CHECK(result.at("data").size() == 6);
  CHECK(result.at("data").at(0) == 100.0);
  CHECK(result.at("samples").at("signal_region").at("signal") == std::vector<double>{5.0, 10.0});
  const auto asimov = run({"expected", "-", "--json", "--asimov", "2"}).json();
  CHECK(asimov.at("main").at("signal_region") == std::vector<double>{60.0, 80.0});
  CHECK(contains(run({"expected", "-", "--samples"}).out, "signal_region"));
}

TEST_CASE("fit finds a minimum and says why", "[workflows][verbs_model]") {
  const auto result = run({"fit", "-", "--json"}).json();
  CHECK(result.at("converged") == true);
  CHECK(result.at("status") == "converged");
  CHECK(result.at("poi") == "mu");
  CHECK(result.at("measurement") == "nominal");
  CHECK(result.at("kkt_residual").get<double>() < 1e-6);
  CHECK(result.at("smallest_eigenvalue").get<double>() > 0.0);
  CHECK(result.at("evaluations").get<int>() >= result.at("iterations").get<int>());
  const auto& scale = result.at("parameters").at("scale");
  CHECK_THAT(scale.at("pull").get<double>(), WithinAbs(scale.at("value").get<double>(), 1e-15));
  CHECK_THAT(scale.at("constraint").get<double>(),
             WithinAbs(scale.at("error").get<double>(), 1e-15));
  CHECK_FALSE(result.at("parameters").at("mu").contains("pull"));
  const auto& correlation = result.at("correlation");
  CHECK(correlation.at("names").size() == 4);
  CHECK(correlation.at("matrix").at(0).at(0) == 1.0);
  CHECK(correlation.at("matrix").at(0).at(1) == correlation.at("matrix").at(1).at(0));

  const Outcome table = run({"fit", "-"});
  CHECK(table.code == slalom::exit_success);
  CHECK(contains(table.out, "converged"));
  CHECK(contains(table.out, "68.3 % interval ["));
  CHECK(contains(table.out, "not shown (--all shows them)"));
  CHECK(contains(run({"fit", "-", "--all"}).out, "statistics[1]"));
  CHECK_FALSE(contains(table.out, "\033["));
}

TEST_CASE("a fit where the likelihood ends names the bins", "[workflows][verbs_model]") {
  // The signal may be negative, and no events were seen where it is alone.
  const std::string workspace = R"({"channels": [{"name": "SR", "samples": [
      {"name": "s", "data": [3.0, 1.0],
       "modifiers": [{"name": "mu", "type": "normfactor", "data": null}]},
      {"name": "b", "data": [50.0, 0.0],
       "modifiers": [{"name": "n", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}]}]}],
    "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": [
      {"name": "mu", "bounds": [[-5, 10]]}]}}],
    "observations": [{"name": "SR", "data": [45, 0]}], "version": "1.0.0"})";
  const Outcome fit = run({"fit", "-", "--json", "--minos", "mu"}, workspace);
  CHECK(fit.code == slalom::exit_success);
  const auto result = fit.json();
  CHECK(result.at("converged") == true);
  const auto& bins = result.at("empty_bins");
  REQUIRE(bins.size() == 1);
  CHECK(bins.at(0).at("channel") == "SR");
  CHECK(bins.at(0).at("bin") == 1);
  CHECK(bins.at(0).at("force").get<double>() > 0.0);
  CHECK_FALSE(result.at("warnings").empty());
  const auto& mu = result.at("parameters").at("mu");
  CHECK_THAT(mu.at("value").get<double>(), WithinAbs(0.0, 1e-8));
  CHECK(mu.at("minos_at_bound").at(0) == true);
  CHECK(mu.at("minos_converged") == true);
  CHECK(contains(run({"fit", "-"}, workspace).out, "no events are expected in bin 1"));
  for (const char* verb : {"cls", "limit", "discovery"}) {
    INFO(verb);
    const Outcome asimov = run({verb, "-", "--json", "--asimov", "0"}, workspace);
    const bool discovery = std::string(verb) == "discovery";  // its Asimov data exclude mu = 0
    CHECK(asimov.code == (discovery ? slalom::exit_not_converged : slalom::exit_success));
  }
}

TEST_CASE("fit holds what it is told to hold", "[workflows][verbs_model]") {
  const auto held = run({"fit", "-", "--json", "--fix", "mu=0", "--fix", "statistics[0]=1.1"})
                        .json()
                        .at("parameters");
  CHECK(held.at("mu").at("value") == 0.0);
  CHECK(held.at("mu").at("fixed") == true);
  CHECK(held.at("mu").at("error") == 0.0);
  CHECK(held.at("statistics[0]").at("value") == 1.1);
  CHECK(held.at("statistics[1]").at("fixed") == false);
  const auto floated = run({"fit", k_h4l, "--float", "zz_norm", "--json"}).json();
  CHECK_THAT(floated.at("parameters").at("zz_norm").at("value").get<double>(),
             WithinAbs(1.1356, 1e-3));
}

TEST_CASE("a fit to Asimov data gives back what they were made with", "[workflows][verbs_model]") {
  const auto result = run({"fit", "-", "--json", "--asimov", "2.5"}).json();
  CHECK_THAT(result.at("parameters").at("mu").at("value").get<double>(), WithinAbs(2.5, 1e-7));
  CHECK_THAT(result.at("parameters").at("scale").at("pull").get<double>(), WithinAbs(0.0, 1e-7));
  CHECK(contains(run({"fit", "-", "--asimov", "0"}).out, "Asimov"));
  const auto observed = run({"fit", "-", "--json"}).json().at("parameters");
  const auto best = run({"fit", "-", "--json", "--asimov-fit", "best"}).json().at("parameters");
  for (const char* name : {"mu", "scale", "statistics[0]"}) {
    CHECK_THAT(best.at(name).at("value").get<double>(),
               WithinAbs(observed.at(name).at("value").get<double>(), 1e-6));
  }
  CHECK(run({"fit", "-", "--asimov-fit", "x"}).code == slalom::exit_usage);
}

TEST_CASE("MINOS intervals are as asked for", "[workflows][verbs_model]") {
  const Words whole{"fit", "-", "--json", "--minos", "all"};
  const auto all = run(whole).json().at("parameters");
  for (const auto& item : all.items()) {
    CHECK(item.value().at("minos").size() == 2);
  }
  const auto some =
      run({"fit", "-", "--json", "--minos", "mu", "--minos=scale"}).json().at("parameters");
  CHECK(some.at("mu").contains("minos"));
  CHECK(some.at("scale").contains("minos"));
  CHECK_FALSE(some.at("statistics[0]").contains("minos"));
  // Without a name: the parameter of interest.
  for (const Words& words :
       {Words{"fit", "-", "--minos", "--json"}, Words{"fit", "-", "--json", "--minos"}}) {
    const auto parameters = run(words).json().at("parameters");
    CHECK(parameters.at("mu").contains("minos"));
    CHECK_FALSE(parameters.at("scale").contains("minos"));
  }
}

TEST_CASE("scan gives the profile around the best fit", "[workflows][verbs_model]") {
  const auto result = run({"scan", "-", "--json", "--measurement", "wide"}).json();
  CHECK(result.at("parameter") == "mu");
  REQUIRE(result.at("values").size() == 21);
  CHECK_THAT(result.at("delta_twice_nll").at(10).get<double>(), WithinAbs(0.0, 1e-9));
  CHECK_THAT(result.at("delta_twice_nll").at(20).get<double>(), WithinAbs(4.0, 0.5));
  CHECK(result.at("converged").at(3) == true);
  CHECK(result.at("best").at("converged") == true);
  const auto range =
      run({"scan", "-", "--json", "--parameter", "scale", "--range", "-1", "1", "--points", "5"})
          .json();
  CHECK(range.at("values") == std::vector<double>{-1.0, -0.5, 0.0, 0.5, 1.0});
  const auto values = run({"scan", "-", "--json", "--values", "0", "0.5", "2"}).json();
  CHECK(values.at("values") == std::vector<double>{0.0, 0.5, 2.0});
  CHECK(contains(run({"scan", "-"}).out, "best fit: mu = "));
}

TEST_CASE("scan refuses what makes no sense", "[workflows][verbs_model]") {
  const auto where = [](const Words& words) {
    Words all{"scan", "-", "--json"};
    all.insert(all.end(), words.begin(), words.end());
    const Outcome outcome = run(all);
    CHECK(outcome.code == slalom::exit_usage);
    return outcome.error("where");
  };
  CHECK(where({"--range", "1", "0"}) == "--range");
  CHECK(where({"--range", "-1", "1"}) == "--range");
  CHECK(where({"--values", "11"}) == "--values");
  CHECK(where({"--values", "1", "--points", "3"}) == "--values");
  CHECK(where({"--points", "1"}) == "--points");
  CHECK(where({"--parameter", "nobody"}) == "--parameter");
  CHECK(where({"--parameter", "mu", "--fix", "mu"}) == "--parameter");
  CHECK(where({"--poi", "none"}) == "--poi");
}

TEST_CASE("the four-lepton example gives the published result", "[workflows][verbs_model]") {
  const auto check = [](const std::string& measurement, double mu, double low, double high) {
    const auto fit =
        run({"fit", k_h4l, "--json", "--minos", "mu", "--measurement", measurement}).json();
    const auto& result = fit.at("parameters").at("mu");
    CHECK_THAT(result.at("value").get<double>(), WithinAbs(mu, 1e-3));
    CHECK_THAT(result.at("minos").at(0).get<double>(), WithinAbs(low, 1.5e-3));
    CHECK_THAT(result.at("minos").at(1).get<double>(), WithinAbs(high, 1.5e-3));
  };
  check("backgrounds_fixed", 0.922, 0.560, 1.359);
  check("zz_floating", 0.845, 0.483, 1.283);
}
