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
using slalom::FitResult;
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
    double q, asimov_q;        // 0: not given
  };
  const std::vector<Case> cases = {
      {"A",
       "1300_205_60",
       0.244436962724,
       {0.0902250905, 0.1937839195, 0.3843234493, 0.6557757334, 0.8910420972},
       1.93565888,
       0.75681940},
      {"A",
       "1400_950_60",
       0.021373265947,
       {0.0026445531, 0.0139761265, 0.0649710582, 0.2364403048, 0.5744785777},
       6.11506442,
       3.40566363},
      {"A",
       "1500_850_60",
       0.045367504278,
       {0.0059843179, 0.0261022401, 0.1009364149, 0.3101924595, 0.6553623337},
       4.67680389,
       2.69065484},
      {"B",
       "1400_550_60",
       0.974465438681,
       {0.9338879895, 0.9569045303, 0.9771296335, 0.9916370124, 0.9983701134},
       0.00914982,
       0.0},
      {"C",
       "1600_850_60",
       0.711027888344,
       {0.2955492910, 0.4446885457, 0.6371473864, 0.8336149624, 0.9585901381},
       0.0,
       0.0}};
  for (const Case& c : cases) {
    INFO(c.region << " " << c.patch);
    const std::string folder = "sbottom/Region" + c.region + "/";
    const Model model =
        published_model(folder + "BkgOnly.json", folder + "patch.sbottom_" + c.patch + ".json");
    Fitter fitter(model);
    AsymptoticCalculator calculator(fitter);
    const HypothesisTest test = calculator.test(1.0);
    REQUIRE(test.converged);
    // The reference fits are good to 3e-8: q_A of the first one is 7e-8 off the minimum.
    CHECK_THAT(test.cls, WithinRel(c.cls, 1e-7));
    for (std::size_t i = 0; i < 5; ++i) {
      CHECK_THAT(test.cls_expected[i], WithinRel(c.band[i], 2e-4));
      CHECK_THAT(test.cls_expected[i], WithinAbs(c.band[i], 5e-5));
    }
    if (c.q > 0.0) CHECK_THAT(test.test_statistic, WithinAbs(c.q, 1e-8));
    // With a tolerance of 1e-12 in place of 1e-8 these change by 1e-10: the quoted ones are off.
    if (c.asimov_q > 0.0) CHECK_THAT(test.asimov_statistic, WithinAbs(c.asimov_q, 3e-7));
    if (c.region == "C") {
      const FitResult& best = calculator.best();
      CHECK_THAT(best.parameters[*model.spec().poi], WithinAbs(0.75166763, 1e-7));
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

TEST_CASE("statistics and tail probabilities are pyhf's", "[core][hypotest]") {
  // pyhf 0.7.6 with Minuit, whose fits are good to 1e-9.
  const Model model = uncorrelated_background({12.0, 11.0}, {50.0, 52.0}, {3.0, 7.0}, {51.0, 48.0});
  slalom::ModelSpec wide = model.spec();
  wide.parameters[0].lower = -10.0;
  const double mus[] = {0.0, 0.5, 1.0};
  const double bounded[] = {0.0, 1.1418922520811066, 3.938244933375927};
  const double unbounded[] = {0.016744296214142196, 1.1586365483223062, 3.9549892296171265};
  Fitter narrow_fitter(model), wide_fitter{Model(wide)};
  for (TestStatistic s :
       {TestStatistic::t, TestStatistic::ttilde, TestStatistic::q, TestStatistic::qtilde}) {
    AsymptoticCalculator narrow(narrow_fitter, {}, s), other(wide_fitter, {}, s);
    for (std::size_t i = 0; i < 3; ++i) {
      INFO(to_string(s) << " " << mus[i]);
      CHECK_THAT(narrow.test(mus[i]).test_statistic, WithinAbs(bounded[i], 1e-8));
      CHECK_THAT(other.test(mus[i]).test_statistic, WithinAbs(unbounded[i], 1e-8));
    }
  }
  CHECK(AsymptoticCalculator(wide_fitter).discovery().test_statistic == 0.0);
  CHECK_THAT(AsymptoticCalculator(wide_fitter).discovery().p0, WithinRel(0.5, 1e-15));
  const HypothesisTest q = AsymptoticCalculator(narrow_fitter, {}, TestStatistic::q).test(1.0);
  CHECK_THAT(q.clsb, WithinRel(0.023599998337656254, 1e-7));
  CHECK_THAT(q.clb, WithinRel(0.44611509074244493, 1e-7));
  const HypothesisTest qtilde = AsymptoticCalculator(narrow_fitter).test(1.0);
  CHECK_THAT(qtilde.clsb, WithinRel(0.02332496267858902, 1e-7));
  CHECK_THAT(qtilde.clb, WithinRel(0.44415365835303205, 1e-7));
  CHECK_THAT(std::exp(qtilde.log_one_minus_clb), WithinRel(1.0 - qtilde.clb, 1e-12));
}

TEST_CASE("an excess counts for two-sided tests only", "[core][hypotest]") {
  const Model model = uncorrelated_background({12.0, 11.0}, {50.0, 52.0}, {3.0, 7.0}, {60.0, 65.0});
  Fitter fitter(model);
  const double mus[] = {0.0, 0.5, 1.0};
  const double t[] = {2.983394811, 0.650465296, 0.00695456067};
  const double q[] = {0.0, 0.0, 0.00695456067};
  AsymptoticCalculator two(fitter, {}, TestStatistic::ttilde), one(fitter);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK_THAT(two.test(mus[i]).test_statistic, WithinAbs(t[i], 2e-9));
    CHECK_THAT(one.test(mus[i]).test_statistic, WithinAbs(q[i], 2e-9));
  }
  // t_0 is q_0 here, and its distribution near the bound has one side.
  CHECK_THAT(two.test(0.0).clsb, WithinRel(one.discovery().p0, 1e-9));
}

TEST_CASE("a clipped base distribution ends at a statistic of zero", "[core][hypotest]") {
  // pyhf 0.7.6 with calc_base_dist = "clipped_normal".
  const Model model = uncorrelated_background({12.0, 11.0}, {50.0, 52.0}, {3.0, 7.0}, {51.0, 48.0});
  Fitter fitter(model);
  AsymptoticCalculator clipped(fitter, {}, TestStatistic::qtilde,
                               slalom::BaseDistribution::clipped_normal);
  const HypothesisTest test = clipped.test(1.0);
  const double band[] = {0.0026064046222010764, 0.01382064019263603, 0.06445515528496834,
                         0.23526090430225333, 0.5166503905763181};
  for (std::size_t i = 0; i < 5; ++i) CHECK_THAT(test.cls_expected[i], WithinRel(band[i], 1e-7));
  CHECK_THAT(test.cls, WithinRel(0.052515525146, 1e-10));
  const Model excess =
      uncorrelated_background({12.0, 11.0}, {50.0, 52.0}, {3.0, 7.0}, {60.0, 65.0});
  Fitter excess_fitter(excess);
  AsymptoticCalculator q0(excess_fitter, {}, TestStatistic::qtilde,
                          slalom::BaseDistribution::clipped_normal);
  const slalom::DiscoveryTest discovery = q0.discovery();
  const double p0_band[] = {6.616473882137886e-05, 0.00238564615202648, 0.03422124533627464,
                            0.20551501368299846, 0.5};
  for (std::size_t i = 0; i < 5; ++i) {
    CHECK_THAT(discovery.p0_band[i], WithinRel(p0_band[i], 1e-6));
    CHECK_THAT(std::exp(discovery.log_p0_band[i]), WithinRel(discovery.p0_band[i], 1e-14));
  }
  CHECK_THAT(std::exp(discovery.log_clb), WithinRel(0.53777574791591, 1e-7));
}

TEST_CASE("limits exist for every level", "[core][hypotest]") {
  // Deficit, excess, and an excess whose limit at a high level is below the best fit.
  for (const std::vector<double>& data :
       {std::vector<double>{51.0, 48.0}, {60.0, 65.0}, {90.0, 95.0}}) {
    const Model model = uncorrelated_background({12.0, 11.0}, {50.0, 52.0}, {3.0, 7.0}, data);
    Fitter fitter(model);
    for (auto base : {slalom::BaseDistribution::normal, slalom::BaseDistribution::clipped_normal}) {
      for (TestStatistic s : {TestStatistic::q, TestStatistic::qtilde}) {
        AsymptoticCalculator calculator(fitter, {}, s, base);
        for (double level : {1e-30, 1e-6, 0.01, 0.05, 0.3, 0.5, 0.7, 0.95}) {
          INFO(data[0] << " " << to_string(base) << " " << to_string(s) << " " << level);
          const slalom::UpperLimit limit = calculator.upper_limit(level);
          REQUIRE(limit.converged);
          const double log_level = std::log(level);
          const HypothesisTest at = calculator.test(limit.observed);
          CHECK_THAT(at.log_cls, WithinAbs(log_level, 1e-7 * (1.0 - log_level)));
          for (std::size_t i = 0; i < 5; ++i) {
            CHECK(limit.expected_found[i]);
            const HypothesisTest band = calculator.test(limit.expected[i]);
            CHECK_THAT(band.log_cls_expected[i], WithinAbs(log_level, 1e-7 * (1.0 - log_level)));
          }
        }
      }
    }
  }
}

TEST_CASE("limits beyond the upper bound of mu", "[core][hypotest]") {
  // One bin, the signal of which is small: the limits are far above mu = 10.
  const Model model = uncorrelated_background({1.0}, {50.0}, {3.0}, {52.0});
  slalom::ModelSpec wide = model.spec();
  wide.parameters[0].upper = 1000.0;
  Fitter fitter(model), wide_fitter{Model(wide)};
  AsymptoticCalculator calculator(fitter);
  REQUIRE(calculator.best().parameters[0] < 10.0);
  const slalom::UpperLimit limit = calculator.upper_limit();
  const slalom::UpperLimit same = AsymptoticCalculator(wide_fitter).upper_limit();
  REQUIRE(limit.converged);
  CHECK(limit.observed > 10.0);
  CHECK(limit.beyond_bound);
  CHECK_FALSE(same.beyond_bound);
  CHECK_THAT(limit.observed, WithinRel(same.observed, 1e-9));
  for (std::size_t i = 0; i < 5; ++i) {
    CHECK_THAT(limit.expected[i], WithinRel(same.expected[i], 1e-9));
  }
  // With the best fit at the bound the observed one is not defined, and says so.
  const Model excess = uncorrelated_background({1.0}, {50.0}, {3.0}, {80.0});
  Fitter excess_fitter(excess);
  AsymptoticCalculator at_bound(excess_fitter);
  REQUIRE(at_bound.best().at_bound[0]);
  const slalom::UpperLimit none = at_bound.upper_limit();
  CHECK_FALSE(none.converged);
  CHECK_FALSE(none.observed_found);
  CHECK(none.message.find("upper bound") != std::string::npos);
  for (bool found : none.expected_found) CHECK(found);
  CHECK_FALSE(at_bound.test(11.0).converged);
  CHECK(at_bound.test(9.0).converged);
  CHECK_THROWS_AS(at_bound.test(-0.1), slalom::Error);
}

TEST_CASE("a signal that changes nothing has no limit", "[core][hypotest]") {
  const Model model = uncorrelated_background({0.0}, {50.0}, {3.0}, {52.0});
  Fitter fitter(model);
  const slalom::UpperLimit limit = AsymptoticCalculator(fitter).upper_limit();
  CHECK_FALSE(limit.converged);
  CHECK_FALSE(limit.message.empty());
}

TEST_CASE("p-values of whole tests stay finite below 1e-300", "[core][hypotest]") {
  // One bin without nuisance parameters: n = b = 1000, s = 1000. With lambda = b + mu s,
  // q_mu = 2 (mu s - n log(1 + mu s / b)) for data and Asimov data alike, so CLb = 1/2.
  slalom::Workspace w;
  w.channels = {
      {"c",
       {{"signal", {1000.0}, {{"mu", slalom::ModifierType::normfactor, {}, {}, 1.0, 1.0, {}}}},
        {"background", {1000.0}, {}}}}};
  w.observations = {{"c", {1000.0}}};
  w.measurements = {{"m", "mu", {}}};
  const Model model(make_model_spec(w));
  Fitter fitter(model);
  for (double mu : {3.0, 10.0}) {
    const HypothesisTest test = AsymptoticCalculator(fitter).test(mu);
    REQUIRE(test.converged);
    const double q = 2.0 * (mu * 1000.0 - 1000.0 * std::log1p(mu));
    CHECK_THAT(test.test_statistic, WithinRel(q, 1e-12));
    CHECK_THAT(test.asimov_statistic, WithinRel(q, 1e-12));
    // log Phi(-x) = -x^2 / 2 - log(x sqrt(2 pi)) + log(1 - 1/x^2 + 3/x^4 - ...)
    const double tail = -0.5 * q - 0.5 * std::log(2.0 * 3.14159265358979323846 * q) +
                        std::log1p(-1.0 / q + 3.0 / (q * q));
    CHECK_THAT(test.log_clsb, WithinRel(tail, 1e-11));
    CHECK_THAT(test.log_clb, WithinRel(std::log(0.5), 1e-6));
    CHECK(test.log_cls < -690.0);
    for (double x : test.log_cls_expected) CHECK((std::isfinite(x) && x < -600.0));
  }
}

TEST_CASE("two-sided intervals end where the p-value is the rest", "[core][hypotest]") {
  const Model model = uncorrelated_background({12.0, 11.0}, {50.0, 52.0}, {3.0, 7.0}, {60.0, 65.0});
  Fitter fitter(model);
  for (TestStatistic s : {TestStatistic::t, TestStatistic::ttilde}) {
    AsymptoticCalculator calculator(fitter, {}, s);
    for (double level : {0.6826894921370859, 0.9, 0.95, 0.999}) {
      INFO(to_string(s) << " " << level);
      const slalom::Interval interval = calculator.interval(level);
      for (const slalom::IntervalSide* side : {&interval.lower, &interval.upper}) {
        INFO(side->message);
        REQUIRE(side->converged);
        const HypothesisTest test = calculator.test(side->value);
        if (side->at_bound) {
          CHECK(side->value == 0.0);
          CHECK(test.clsb >= 1.0 - level);
        } else {
          CHECK_THAT(test.clsb, WithinRel(1.0 - level, 1e-6));
        }
      }
    }
  }
  // p0 = 0.042: 0 is excluded at 90 % by ttilde but not at 95.8 %, by t (p = 0.084) also at 90 %.
  AsymptoticCalculator tilde(fitter, {}, TestStatistic::ttilde), t(fitter, {}, TestStatistic::t);
  CHECK_FALSE(tilde.interval(0.95).lower.at_bound);
  CHECK(t.interval(0.95).lower.at_bound);
  CHECK_FALSE(t.interval(0.9).lower.at_bound);
  CHECK(tilde.interval(0.96).lower.at_bound);
  CHECK_THROWS_AS(t.upper_limit(), slalom::Error);
  CHECK_THROWS_AS(AsymptoticCalculator(fitter).interval(0.9), slalom::Error);
  CHECK_THROWS_AS(t.interval(1.0), slalom::Error);
  CHECK_THROWS_AS(AsymptoticCalculator(fitter, {}, TestStatistic::q0), slalom::Error);
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
