// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "slalom/core/hypotest.hpp"
#include "slalom/core/json.hpp"
#include "slalom/core/workspace.hpp"
#include "support/catch.hpp"
#include "support/data.hpp"
#include "support/models.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::AsymptoticCalculator;
using slalom::Fitter;
using slalom::HypothesisTest;
using slalom::Model;
using slalom::TestStatistic;
using slalom::test::published_model;
using slalom::test::uncorrelated_background;

TEST_CASE("the two-bin model has its exact CLs, band and limits", "[core][hypotest]") {
  const Model model = uncorrelated_background({12.0, 11.0}, {50.0, 52.0}, {3.0, 7.0}, {51.0, 48.0});
  Fitter fitter(model);
  AsymptoticCalculator calculator(fitter);
  const HypothesisTest test = calculator.test(1.0);
  REQUIRE(test.converged);
  CHECK_THAT(test.test_statistic, WithinRel(3.938244933375, 1e-11));
  CHECK_THAT(test.asimov_statistic, WithinRel(3.418869071611, 1e-11));
  CHECK_THAT(test.cls, WithinRel(0.052515525146, 1e-10));
  const double band[] = {0.002606404584, 0.013820640038, 0.064455154770, 0.235260903124,
                         0.573041654982};
  for (std::size_t i = 0; i < 5; ++i) CHECK_THAT(test.cls_expected[i], WithinRel(band[i], 1e-9));
  AsymptoticCalculator q(fitter, {}, TestStatistic::q);
  CHECK_THAT(q.test(1.0).cls, WithinRel(0.052901143120, 1e-10));
  const slalom::UpperLimit limit = calculator.upper_limit();
  REQUIRE(limit.converged);
  CHECK_THAT(limit.observed, WithinRel(1.0115718814, 1e-9));
  const double expected[] = {0.5598842551, 0.7570290235, 1.0623550007, 1.5011808271, 2.0508020218};
  for (std::size_t i = 0; i < 5; ++i) CHECK_THAT(limit.expected[i], WithinRel(expected[i], 1e-9));
}

TEST_CASE("the two-bin model has its exact discovery significance", "[core][hypotest]") {
  const Model model = uncorrelated_background({12.0, 11.0}, {50.0, 52.0}, {3.0, 7.0}, {60.0, 65.0});
  Fitter fitter(model);
  const slalom::DiscoveryTest test = AsymptoticCalculator(fitter).discovery();
  REQUIRE(test.converged);
  CHECK_THAT(test.test_statistic, WithinRel(2.983394810965, 1e-11));
  CHECK_THAT(test.p0, WithinRel(0.042061328898, 1e-10));
  CHECK_THAT(test.z, WithinRel(std::sqrt(2.983394810965), 1e-11));
}

TEST_CASE("one-bin validation cases of pyhf have their exact values", "[core][hypotest]") {
  // pyhf/tests/test_validation.py, 1bin_example1 and 1bin_example1_q0; exact values by fits to
  // rounding.
  const Model cls = uncorrelated_background({10.0}, {50.0}, {7.0}, {55.0});
  Fitter fitter(cls);
  CHECK_THAT(AsymptoticCalculator(fitter, {}, TestStatistic::q).test(1.0).cls,
             WithinRel(0.454186530216, 1e-10));
  const Model q0 = uncorrelated_background({25.0}, {50.0}, {7.0}, {80.0});
  Fitter discovery_fitter(q0);
  const slalom::DiscoveryTest test = AsymptoticCalculator(discovery_fitter).discovery();
  CHECK_THAT(test.p0, WithinRel(0.003936878440, 1e-9));
  CHECK_THAT(test.test_statistic, WithinRel(7.061965414, 1e-9));
  // pyhf's stored band, good to 3e-4.
  const double band[] = {1.22047147e-5, 6.4052374e-4, 0.01320286716, 0.11119604158, 0.41286079728};
  for (std::size_t i = 0; i < 5; ++i) CHECK_THAT(test.p0_band[i], WithinRel(band[i], 1e-3));
}

TEST_CASE("the published sbottom likelihood has its exact CLs", "[core][hypotest]") {
  SLALOM_REQUIRE_DATA("workspaces/sbottom");
  struct Case {
    std::string region, patch;
    double cls;
    std::vector<double> band;  // pyhf's, whose fits stop early: good to 1e-4
  };
  const std::vector<Case> cases = {
      {"A",
       "1300_205_60",
       0.244436962724,
       {0.0902250905, 0.1937839195, 0.3843234493, 0.6557757334, 0.8910420972}},
      {"A",
       "1400_950_60",
       0.021373265947,
       {0.0026445531, 0.0139761265, 0.0649710582, 0.2364403048, 0.5744785777}},
      {"A",
       "1500_850_60",
       0.045367504278,
       {0.0059843179, 0.0261022401, 0.1009364149, 0.3101924595, 0.6553623337}},
      {"B",
       "1400_550_60",
       0.974465438681,
       {0.9338879895, 0.9569045303, 0.9771296335, 0.9916370124, 0.9983701134}},
      {"C",
       "1600_850_60",
       0.711027888344,
       {0.2955492910, 0.4446885457, 0.6371473864, 0.8336149624, 0.9585901381}}};
  for (const Case& c : cases) {
    INFO(c.region << " " << c.patch);
    const std::string folder = "sbottom/Region" + c.region + "/";
    const Model model =
        published_model(folder + "BkgOnly.json", folder + "patch.sbottom_" + c.patch + ".json");
    Fitter fitter(model);
    const HypothesisTest test = AsymptoticCalculator(fitter).test(1.0);
    REQUIRE(test.converged);
    // The reference fits are good to 3e-8: q_A of the first one is 7e-8 off the minimum.
    CHECK_THAT(test.cls, WithinRel(c.cls, 1e-7));
    for (std::size_t i = 0; i < 5; ++i) {
      CHECK_THAT(test.cls_expected[i], WithinRel(c.band[i], 2e-4));
    }
  }
}

TEST_CASE("all 2L0J signals have their published CLs", "[core][hypotest]") {
  SLALOM_REQUIRE_DATA("workspaces/2L0J");
  using slalom::Json;
  using slalom::test::data_path;
  const Json background = slalom::read_json(data_path("workspaces/2L0J/BkgOnly.json"));
  const Json set = slalom::read_json(data_path("workspaces/2L0J/patchset.json"));
  const Json published = slalom::read_json(data_path("workspaces/2L0J/published_CLs.json"));
  std::size_t compared = 0;
  for (const Json& patch : set.at("patches")) {
    const Json& values = patch.at("metadata").at("values");
    for (const Json& row : published) {
      if (row.at("m1") != values.at(0) || row.at("m2") != values.at(1)) continue;
      const Model model{
          make_model_spec(slalom::parse_workspace(background.patch(patch.at("patch"))))};
      Fitter fitter(model);
      const HypothesisTest test = AsymptoticCalculator(fitter).test(1.0);
      REQUIRE(test.converged);
      CHECK_THAT(test.cls, WithinAbs(row.at("CLs").get<double>(), 5e-5));
      ++compared;
    }
  }
  CHECK(compared == 106);
}

TEST_CASE("the 3LRJR signal that others get wrong has its CLs", "[core][hypotest]") {
  SLALOM_REQUIRE_DATA("workspaces/3LRJR");
  const Model model = published_model("3LRJR/BkgOnly.json", "3LRJR/patchset.json#ERJR_100p0_20p0");
  Fitter fitter(model);
  const HypothesisTest test = AsymptoticCalculator(fitter).test(1.0);
  REQUIRE(test.converged);
  CHECK_THAT(test.cls, WithinAbs(0.14863165, 1e-7));
}

TEST_CASE("with two minima the profiled value is the global one", "[core][hypotest]") {
  slalom::ModelOptions linear;
  linear.normsys_code = slalom::NormsysCode::code1;
  linear.histosys_code = slalom::HistosysCode::code0;
  const Model code0 = slalom::test::coupled_histosys(linear);
  Fitter fitter0(code0);
  CHECK_THAT(AsymptoticCalculator(fitter0, {}, TestStatistic::q).test(1.0).cls,
             WithinAbs(0.1383051517, 2e-8));
  const Model code4p = slalom::test::coupled_histosys();
  Fitter fitter4p(code4p);
  CHECK_THAT(AsymptoticCalculator(fitter4p, {}, TestStatistic::q).test(1.0).cls,
             WithinAbs(0.1140434214, 2e-8));
}

TEST_CASE("tests without a parameter of interest are refused", "[core][hypotest]") {
  const Model model = uncorrelated_background({12.0}, {50.0}, {3.0}, {51.0});
  slalom::ModelSpec spec = model.spec();
  spec.poi.reset();
  Fitter without{Model(spec)};
  CHECK_THROWS_AS(AsymptoticCalculator(without), slalom::Error);
  Fitter fitter(model);
  slalom::FitOptions held;
  held.fixed = {{0, 1.0}};
  CHECK_THROWS_AS(AsymptoticCalculator(fitter, held), slalom::Error);
  AsymptoticCalculator calculator(fitter);
  CHECK_THROWS_AS(calculator.test(std::nan("")), slalom::Error);
  CHECK_THROWS_AS(calculator.upper_limit(1.0), slalom::Error);
}
