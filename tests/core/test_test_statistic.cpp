// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <string>
#include <vector>

#include "slalom/core/error.hpp"
#include "slalom/core/test_statistic.hpp"
#include "support/catch.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::asymptotic_band;
using slalom::asymptotic_p_values;
using slalom::BaseDistribution;
using slalom::LogPValues;
using slalom::test_statistic;
using slalom::TestStatistic;

TEST_CASE("a statistic is the rise on the sides that count", "[core][test_statistic]") {
  struct Case {
    TestStatistic statistic;
    double below, above;  // best fit below and above the tested value
  };
  for (const Case& c : {Case{TestStatistic::t, 2.5, 2.5}, Case{TestStatistic::ttilde, 2.5, 2.5},
                        Case{TestStatistic::q, 2.5, 0.0}, Case{TestStatistic::qtilde, 2.5, 0.0}}) {
    INFO(to_string(c.statistic));
    CHECK(test_statistic(c.statistic, 1.0, 0.5, 2.5) == c.below);
    CHECK(test_statistic(c.statistic, 1.0, 1.0, 2.5) == 2.5);
    CHECK(test_statistic(c.statistic, 1.0, 1.5, 2.5) == c.above);
    CHECK(test_statistic(c.statistic, 1.0, 0.5, -1e-12) == 0.0);
  }
  CHECK(test_statistic(TestStatistic::q0, 0.0, 0.5, 2.5) == 2.5);
  CHECK(test_statistic(TestStatistic::q0, 0.0, 0.0, 2.5) == 2.5);
  CHECK(test_statistic(TestStatistic::q0, 0.0, -0.5, 2.5) == 0.0);
}

TEST_CASE("a statistic that does not suit the bounds says so", "[core][test_statistic]") {
  slalom::Parameter bounded;
  bounded.name = "mu";
  bounded.upper = 10.0;
  slalom::Parameter free = bounded;
  free.lower = -10.0;
  for (TestStatistic s : {TestStatistic::t, TestStatistic::q}) {
    CHECK(statistic_mismatch(s, bounded).find("tilde") != std::string::npos);
    CHECK(statistic_mismatch(s, free).empty());
  }
  for (TestStatistic s : {TestStatistic::ttilde, TestStatistic::qtilde}) {
    CHECK(statistic_mismatch(s, bounded).empty());
    CHECK(statistic_mismatch(s, free).find("'mu'") != std::string::npos);
  }
  CHECK(statistic_mismatch(TestStatistic::q0, bounded).empty());
  CHECK(statistic_mismatch(TestStatistic::q0, free).empty());
}

// Probabilities that a normal best fit x (in units of its error; mean a under the tested and 0
// under the alternative hypothesis, the other way round for q0) has a statistic of at least the
// given one, from the ends of that range of x, in mpmath with 60 digits. Logarithms.
TEST_CASE("p-values are exact far into the tails", "[core][test_statistic]") {
  struct Row {
    TestStatistic statistic;
    double value, asimov, tested, alternative, complement;
  };
  const std::vector<Row> rows = {
      {TestStatistic::t, 1.5, 2.5, -1.5110807343572158, -0.44357802011115008, -1.0264855904216596},
      {TestStatistic::t, 3.9382, 3.4189, -3.0533347447874158, -0.80701929387463975,
       -0.59092645286399496},
      {TestStatistic::t, 0.25, 9, -0.4827645810336733, -0.0059949702249544225, -5.1198304447882207},
      {TestStatistic::t, 1368.2, 700, -687.93714655240513, -58.740230847121567,
       -3.0863265678691392e-26},
      {TestStatistic::t, 1368.2, 1500, -687.93714655240513, -0.04173161382864082,
       -3.1972895563398902},
      {TestStatistic::t, 1e5, 4e4, -50005.98226408488, -6760.1213609433357, -0.0},
      {TestStatistic::ttilde, 1.5, 2.5, -1.5110807343572158, -0.44357802011115008,
       -1.0264855904216596},
      {TestStatistic::ttilde, 3.9382, 3.4189, -3.059177069180269, -0.81142369077001951,
       -0.58739206051655222},
      {TestStatistic::ttilde, 0.25, 9, -0.4827645810336733, -0.0059949702249544225,
       -5.1198304447882207},
      {TestStatistic::ttilde, 1368.2, 700, -688.63029373296508, -83.19159300140108,
       -7.4190828126104753e-37},
      {TestStatistic::ttilde, 1368.2, 1500, -687.93714655240513, -0.04173161382864082,
       -3.1972895563398902},
      {TestStatistic::ttilde, 1e5, 4e4, -50006.67541126544, -11255.929618266808, -0.0},
      {TestStatistic::q, 1.5, 2.5, -2.2042279149171611, -0.44749529550071546, -1.0195069467647657},
      {TestStatistic::q, 3.9382, 3.4189, -3.7464819253473611, -0.80716086396941921,
       -0.59081241000695421},
      {TestStatistic::q, 0.25, 9, -1.1759117615936186, -0.0062290254858600024, -5.0816482772786905},
      {TestStatistic::q, 1368.2, 700, -688.63029373296508, -58.740230847121567,
       -3.0863265678691392e-26},
      {TestStatistic::q, 1368.2, 1500, -688.63029373296508, -0.04173161382864082,
       -3.1972895563398902},
      {TestStatistic::q, 1e5, 4e4, -50006.67541126544, -6760.1213609433357, -0.0},
      {TestStatistic::qtilde, 1.5, 2.5, -2.2042279149171611, -0.44749529550071546,
       -1.0195069467647657},
      {TestStatistic::qtilde, 3.9382, 3.4189, -3.7582009075727024, -0.81156588581527319,
       -0.5872784199973821},
      {TestStatistic::qtilde, 0.25, 9, -1.1759117615936186, -0.0062290254858600024,
       -5.0816482772786905},
      {TestStatistic::qtilde, 1368.2, 700, -768.41591722692995, -83.19159300140108,
       -7.4190828126104753e-37},
      {TestStatistic::qtilde, 1368.2, 1500, -688.63029373296508, -0.04173161382864082,
       -3.1972895563398902},
      {TestStatistic::qtilde, 1e5, 4e4, -61256.776879850787, -11255.929618266808, -0.0},
      {TestStatistic::q0, 1.5, 2.5, -2.2042279149171611, -0.44749529550071546, -1.0195069467647657},
      {TestStatistic::q0, 3.9382, 3.4189, -3.7464819253473611, -0.80716086396941921,
       -0.59081241000695421},
      {TestStatistic::q0, 0.25, 9, -1.1759117615936186, -0.0062290254858600024,
       -5.0816482772786905},
      {TestStatistic::q0, 1368.2, 700, -688.63029373296508, -58.740230847121567,
       -3.0863265678691392e-26},
      {TestStatistic::q0, 1368.2, 1500, -688.63029373296508, -0.04173161382864082,
       -3.1972895563398902},
      {TestStatistic::q0, 1e5, 4e4, -50006.67541126544, -6760.1213609433357, -0.0},
  };
  for (const Row& row : rows) {
    INFO(to_string(row.statistic) << " " << row.value << " " << row.asimov);
    const LogPValues p = asymptotic_p_values(row.statistic, row.value, row.asimov);
    CHECK_THAT(p.tested, WithinRel(row.tested, 2e-13));
    CHECK_THAT(p.alternative, WithinRel(row.alternative, 1e-12));
    CHECK_THAT(p.complement, WithinRel(row.complement, 1e-12) || WithinAbs(row.complement, 1e-20));
    CHECK_THAT(p.ratio(), WithinRel(row.tested - row.alternative, 1e-12));
  }
}

TEST_CASE("p-values of 1e-300 and below keep their digits", "[core][test_statistic]") {
  // mpmath: Phi(-z) = 1e-300 and 1e-5000
  for (const auto& [z, power] :
       {std::pair{37.0470962993611992, 300.0}, std::pair{151.703556679850519, 5000.0}}) {
    const LogPValues p = asymptotic_p_values(TestStatistic::q0, z * z, 1.0);
    CHECK_THAT(p.tested, WithinRel(-power * std::log(10.0), 1e-14));
  }
  const double p300 = std::exp(
      asymptotic_p_values(TestStatistic::q0, std::pow(37.0470962993611992, 2), 1.0).tested);
  CHECK_THAT(p300, WithinRel(1e-300, 2e-12));
}

TEST_CASE("nothing is seen where nothing can be", "[core][test_statistic]") {
  for (TestStatistic s : {TestStatistic::q, TestStatistic::qtilde}) {
    const LogPValues p = asymptotic_p_values(s, 0.0, 0.0);
    CHECK_THAT(p.tested, WithinRel(std::log(0.5), 1e-15));
    CHECK(p.ratio() == 0.0);
  }
  for (TestStatistic s : {TestStatistic::t, TestStatistic::ttilde}) {
    const LogPValues p = asymptotic_p_values(s, 0.0, 0.0);
    CHECK_THAT(p.tested, WithinAbs(0.0, 1e-15));
    CHECK_THAT(p.alternative, WithinAbs(0.0, 1e-15));
  }
  // At mu = 0 ttilde sees excesses only.
  CHECK_THAT(asymptotic_p_values(TestStatistic::ttilde, 4.0, 0.0).tested,
             WithinRel(asymptotic_p_values(TestStatistic::q0, 4.0, 0.0).tested, 1e-15));
}

TEST_CASE("p-values are continuous where formulae change", "[core][test_statistic]") {
  for (TestStatistic s : {TestStatistic::ttilde, TestStatistic::qtilde}) {
    const LogPValues below = asymptotic_p_values(s, 2.5 * (1.0 - 1e-12), 2.5);
    const LogPValues above = asymptotic_p_values(s, 2.5 * (1.0 + 1e-12), 2.5);
    CHECK_THAT(below.tested, WithinAbs(above.tested, 1e-11));
    CHECK_THAT(below.alternative, WithinAbs(above.alternative, 1e-11));
  }
}

TEST_CASE("a band is the p-value of data that fluctuate", "[core][test_statistic]") {
  const double asimov = 2.25, a = 1.5;
  for (std::size_t i = 0; i < 5; ++i) {
    const double best = static_cast<double>(i) - 2.0;  // in units of its error
    INFO(best);
    for (TestStatistic s : {TestStatistic::t, TestStatistic::ttilde, TestStatistic::qtilde}) {
      double rise = (a - best) * (a - best);
      if (s != TestStatistic::t && best < 0.0) rise = asimov - 2.0 * a * best;
      const LogPValues data = asymptotic_p_values(s, test_statistic(s, a, best, rise), asimov);
      const LogPValues band = asymptotic_band(s, asimov, BaseDistribution::clipped_normal)[i];
      CHECK_THAT(band.tested, WithinRel(data.tested, 1e-13));
      CHECK_THAT(band.alternative, WithinRel(data.alternative, 1e-13));
    }
    // pyhf's default goes on below zero.
    const LogPValues normal = asymptotic_band(TestStatistic::q, asimov)[i];
    CHECK_THAT(normal.alternative,
               WithinRel(std::log(0.5 * std::erfc(-best / std::sqrt(2.0))), 1e-13));
  }
}

TEST_CASE("levels become rises of -2 log L", "[core][test_statistic]") {
  using slalom::rise_at_level;
  CHECK_THAT(rise_at_level(0.6826894921370859, 1), WithinRel(1.0, 1e-14));
  CHECK_THAT(rise_at_level(0.9544997361036416, 1), WithinRel(4.0, 1e-13));
  CHECK_THAT(rise_at_level(0.95, 1), WithinRel(3.841458820694124, 1e-13));
  CHECK_THAT(rise_at_level(0.6826894921370859, 2), WithinRel(2.295748928898636, 1e-13));
  CHECK_THAT(rise_at_level(0.9544997361036416, 2), WithinRel(6.180074306244168, 1e-13));
  for (double level : {0.0, 1.0, -0.5, std::nan("")}) {
    CHECK_THROWS_AS(rise_at_level(level, 1), slalom::Error);
  }
  CHECK_THROWS_AS(rise_at_level(0.5, 3), slalom::Error);
}
