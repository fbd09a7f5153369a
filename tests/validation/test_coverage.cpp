// SPDX-License-Identifier: Apache-2.0
/// \file
/// Do intervals and limits cover the true value as often as they claim? docs/coverage.md has the
/// figures. Toys are thrown at a known truth; seeds are fixed, so that nothing here is a matter of
/// luck twice.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "slalom/core/hypotest.hpp"
#include "slalom/core/interval.hpp"
#include "slalom/core/json.hpp"
#include "slalom/core/normal.hpp"
#include "slalom/core/toy_summary.hpp"
#include "support/catch.hpp"
#include "support/data.hpp"
#include "support/models.hpp"

using Catch::Matchers::WithinAbs;
using slalom::AsymptoticCalculator;
using slalom::Fitter;
using slalom::Model;
using slalom::ModelSpec;
using slalom::RandomStream;
using slalom::TestStatistic;
using slalom::Toy;
using slalom::toy_fraction;
using slalom::ToyOptions;
using slalom::ToyProbability;
using slalom::ToySummary;

namespace {

constexpr double k_68 = 0.6826894921370859, k_95 = 0.95;
constexpr std::uint32_t k_family = 40;

/// The model with its parameter of interest allowed below zero, so that no bound is in the way.
Model without_bound(const Model& model) {
  ModelSpec spec = model.spec();
  spec.parameters[*spec.poi].lower = -10.0;
  return Model(spec);
}

Model two_bins() {
  return slalom::test::uncorrelated_background({12.0, 11.0}, {50.0, 52.0}, {3.0, 7.0},
                                               {51.0, 48.0});
}

Model four_leptons() {
  const std::string path = SLALOM_SOURCE_DIR "/workflows/examples/h4l/workspace.json";
  return Model(slalom::make_model_spec(slalom::parse_workspace(slalom::read_json(path))));
}

Model sbottom() {
  return slalom::test::published_model("sbottom/RegionA/BkgOnly.json",
                                       "sbottom/RegionA/patch.sbottom_1300_205_60.json");
}

Model ttbar() { return slalom::test::published_model("agc/agc_34par.json"); }

std::vector<double> truth_at(const Model& model, double mu) {
  std::vector<double> truth = model.spec().initial();
  truth[*model.spec().poi] = mu;
  return truth;
}

/// Coverage of profile-likelihood intervals: the truth is inside where t <= the level.
ToySummary intervals(const char* name, const Model& model, double mu, std::size_t n) {
  ToyOptions options;
  options.n_toys = n;
  options.seed = 2024;
  const std::vector<double> truth = truth_at(model, mu);
  const ToySummary summary = summarise(run_toys(model, truth, mu, options), truth, mu);
  std::printf(
      "%-10s mu %.3g: 68 %% interval %.4f +- %.4f, 95 %% %.4f +- %.4f (%zu toys, %zu failed)\n",
      name, mu, summary.within_one_sigma.value, summary.within_one_sigma.error,
      summary.within_95.value, summary.within_95.error, summary.counts.done, summary.counts.failed);
  return summary;
}

/// How often limits at 95 % are above the truth: by CLs, and by CLs+b.
struct LimitCoverage {
  ToyProbability cls, clsb;
  std::size_t failed = 0;
};

LimitCoverage limits(const char* name, const Model& model, double mu, std::size_t n,
                     TestStatistic statistic) {
  const std::vector<double> truth = truth_at(model, mu);
  Fitter fitter(model);
  std::size_t cls = 0, clsb = 0;
  LimitCoverage result;
  for (std::size_t i = 0; i < n; ++i) {
    RandomStream random(2024, i, k_family);
    fitter.set_data(throw_toy(model, truth, random));
    const slalom::HypothesisTest test = AsymptoticCalculator(fitter, {}, statistic).test(mu);
    if (!test.converged) {
      ++result.failed;
      continue;
    }
    // A limit is at least mu exactly where mu is not excluded.
    cls += test.cls >= 0.05 ? 1U : 0U;
    clsb += test.clsb >= 0.05 ? 1U : 0U;
  }
  result.cls = toy_fraction(cls, n - result.failed);
  result.clsb = toy_fraction(clsb, n - result.failed);
  std::printf(
      "%-10s mu %.3g: CLs limit %.4f +- %.4f, CLs+b limit %.4f +- %.4f (%zu toys, %zu failed)\n",
      name, mu, result.cls.value, result.cls.error, result.clsb.value, result.clsb.error, n,
      result.failed);
  return result;
}

/// Coverage of CLs limits by the asymptotic formulae: 1 - alpha', where alpha' is the CLs+b at
/// which CLs is 0.05 if sqrt(q of the Asimov data) is a.
double cls_coverage(double a) {
  double low = 0.0, high = 10.0;
  for (int i = 0; i < 100; ++i) {
    const double s = 0.5 * (low + high);
    (slalom::normal_cdf(-s) / slalom::normal_cdf(a - s) > 0.05 ? low : high) = s;
  }
  return slalom::normal_cdf(low);
}

double asimov_root(const Model& model, double mu) {
  Fitter fitter(model);
  fitter.set_data(model.expected_data(truth_at(model, mu)));
  return std::sqrt(AsymptoticCalculator(fitter).test(mu).asimov_statistic);
}

/// 95 % quantile of q at the truth, by toys.
double critical_value(const Model& model, double mu, std::size_t n) {
  ToyOptions options;
  options.n_toys = n;
  options.seed = 2025;
  std::vector<double> q;
  for (const Toy& toy : run_toys(model, truth_at(model, mu), mu, options)) q.push_back(toy.q(mu));
  std::sort(q.begin(), q.end());
  return q[static_cast<std::size_t>(0.95 * static_cast<double>(n))];
}

void check_within(const ToyProbability& measured, double expected, double sigmas = 3.0) {
  CAPTURE(measured.value, measured.error, expected);
  CHECK_THAT(measured.value, WithinAbs(expected, sigmas * measured.error));
}

}  // namespace

TEST_CASE("the statistic says whether a MINOS interval covers", "[validation][coverage]") {
  for (const Model& model : {without_bound(two_bins()), four_leptons()}) {
    const std::size_t poi = *model.spec().poi;
    const std::vector<double> truth = truth_at(model, 1.0);
    ToyOptions options;
    options.n_toys = 200;
    options.seed = 2024;
    const std::vector<Toy> toys = run_toys(model, truth, 1.0, options);
    Fitter fitter(model);
    for (std::size_t i = 0; i < toys.size(); ++i) {
      RandomStream random(2024, i);
      fitter.set_data(throw_toy(model, truth, random));
      const slalom::FitResult best = fitter.fit();
      for (const double level : {1.0, 3.841458820694124}) {
        const slalom::Interval interval = minos(fitter, best, poi, {}, level);
        CAPTURE(i, level, toys[i].t(), interval.lower.value, interval.upper.value);
        REQUIRE(interval.lower.converged);
        REQUIRE(interval.upper.converged);
        const bool covers = interval.lower.value <= 1.0 && interval.upper.value >= 1.0;
        CHECK(covers == (toys[i].t() <= level));
      }
    }
  }
}

TEST_CASE("profile-likelihood intervals cover as they claim", "[validation][coverage][slow]") {
  const ToySummary small = intervals("two bins", without_bound(two_bins()), 1.0, 20000);
  CHECK(small.counts.failed == 0);
  check_within(small.within_one_sigma, k_68);
  check_within(small.within_95, k_95);
  const ToySummary leptons = intervals("4 leptons", four_leptons(), 1.0, 20000);
  CHECK(leptons.counts.failed == 0);
  check_within(leptons.within_one_sigma, k_68);
  check_within(leptons.within_95, k_95);
  // At the bound best fits below zero are at zero, and t is smaller: intervals cover more.
  const ToySummary bound = intervals("bound", two_bins(), 0.25, 20000);
  CHECK(bound.within_95.value > k_95 + 3.0 * bound.within_95.error);
  if (!slalom::test::has_data("workspaces/agc")) return;
  const ToySummary large = intervals("agc_34par", ttbar(), 1.0, 4000);
  CHECK(large.counts.failed == 0);
  check_within(large.within_one_sigma, k_68);
  check_within(large.within_95, k_95);
}

TEST_CASE("limits cover as they claim", "[validation][coverage][slow]") {
  const auto check = [](const char* name, const Model& model, double mu, std::size_t n,
                        TestStatistic statistic) {
    const LimitCoverage coverage = limits(name, model, mu, n, statistic);
    const double expected = cls_coverage(asimov_root(model, mu));
    std::printf("%-10s mu %.3g: CLs limit expected %.4f\n", name, mu, expected);
    CAPTURE(name, mu);
    CHECK(coverage.failed == 0);
    check_within(coverage.clsb, k_95);
    check_within(coverage.cls, expected);
    CHECK(coverage.cls.value >= coverage.clsb.value);
    CHECK(coverage.cls.value >= k_95 - 2.0 * coverage.cls.error);
  };
  const Model free = without_bound(two_bins());
  for (const double mu : {0.5, 1.0, 2.0}) check("two bins", free, mu, 10000, TestStatistic::q);
  check("bound", two_bins(), 1.0, 10000, TestStatistic::qtilde);
  if (!slalom::test::has_data("workspaces/agc")) return;
  check("agc_34par", ttbar(), 1.0, 2000, TestStatistic::qtilde);
}

namespace {

/// Coverage where the critical value of q comes from toys: an ensemble gives it, another one tests.
void check_by_toys(const char* name, const Model& model, double mu, std::size_t n) {
  const double critical = critical_value(model, mu, n);
  ToyOptions options;
  options.n_toys = n;
  options.seed = 2026;
  std::size_t covered = 0;
  for (const Toy& toy : run_toys(model, truth_at(model, mu), mu, options)) {
    covered += toy.q(mu) <= critical ? 1U : 0U;
  }
  const ToyProbability by_toys = toy_fraction(covered, n);
  std::printf("%-10s mu %.3g: CLs+b limit by toys %.4f +- %.4f, 95 %% quantile of q %.4f\n", name,
              mu, by_toys.value, by_toys.error, critical);
  // Both ensembles have their statistical uncertainty.
  check_within(by_toys, k_95, 3.0 * std::sqrt(2.0));
}

}  // namespace

TEST_CASE("few events: asymptotic limits cover less, limits by toys do not",
          "[validation][coverage][slow]") {
  // The four-lepton signal is ten events, most of them in two bins.
  const Model leptons = four_leptons();
  const LimitCoverage few = limits("4 leptons", leptons, 1.0, 10000, TestStatistic::qtilde);
  CHECK(few.failed == 0);
  CHECK_THAT(few.clsb.value, WithinAbs(k_95, 0.01));
  CHECK_THAT(few.cls.value, WithinAbs(cls_coverage(asimov_root(leptons, 1.0)), 0.01));
  check_by_toys("4 leptons", leptons, 1.0, 20000);
  if (!slalom::test::has_data("workspaces/sbottom/RegionA")) return;
  // Bins with a few events and a best fit that is at its bound in four of ten toys: the formulae
  // for qtilde claim 95 % and CLs+b covers 90 %.
  for (const double mu : {1.0, 4.0}) {
    const LimitCoverage worse = limits("sbottom A", sbottom(), mu, 2000, TestStatistic::qtilde);
    CHECK(worse.failed == 0);
    CHECK_THAT(worse.clsb.value, WithinAbs(0.90, 0.02));
    CHECK(worse.cls.value > (mu < 2.0 ? k_95 : 0.90));
  }
  check_by_toys("sbottom A", sbottom(), 4.0, 3000);
}
