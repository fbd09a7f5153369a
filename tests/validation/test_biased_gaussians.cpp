// SPDX-License-Identifier: Apache-2.0
// The Gaussian toy of arXiv:2604.02219 with exact densities and the published simulations: tables
// of docs/validation.md.
#include <cmath>
#include <cstdio>
#include <initializer_list>
#include <string>
#include <tbb/global_control.h>
#include <vector>

#include "slalom/core/leave_one_out.hpp"
#include "slalom/core/mixture_posterior.hpp"
#include "slalom/core/topics.hpp"
#include "support/biased_gaussians.hpp"
#include "support/catch.hpp"
#include "support/data.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using namespace slalom;
using slalom::test::BinSampler;
using slalom::test::draw_counts;
using slalom::test::draw_points;
using slalom::test::k_tamm_background;
using slalom::test::k_tamm_kappa;
using slalom::test::k_tamm_signal;
using slalom::test::k_tamm_truth;
using slalom::test::MixtureStudy;
using slalom::test::MixtureStudyOptions;
using slalom::test::PlaneBins;
using slalom::test::PlanePair;
using slalom::test::published_pairs;
using slalom::test::row_of;
using slalom::test::run_study;

namespace {

using Sizes = std::initializer_list<std::size_t>;

double sum_of(const std::vector<double>& values) {
  double sum = 0.0;
  for (double v : values) sum += v;
  return sum;
}

MixtureStudyOptions ridge(std::size_t k, std::size_t toys) {
  MixtureStudyOptions o;
  o.k = k;
  o.toys = toys;
  return o;
}

/// The truth of each draw is a pair that it does not contain.
MixtureStudyOptions held_out(std::size_t k, std::size_t draws, Shrinkage shrinkage) {
  MixtureStudyOptions o;
  o.k = k;
  o.draws = draws;
  o.toys = 1;
  o.seed = 7;
  o.held_out = true;
  o.prior = MixtureStudyOptions::Prior::population;
  o.population.shrinkage = shrinkage;
  return o;
}

/// Exactly what is expected of the published truth.
std::vector<double> expected_counts(const PlaneBins& bins) {
  const std::vector<double> s = bins.contents(k_tamm_truth.signal);
  const std::vector<double> b = bins.contents(k_tamm_truth.background);
  const double all_s = sum_of(s), all_b = sum_of(b);
  std::vector<double> n;
  for (std::size_t i = 0; i < s.size(); ++i) {
    n.push_back(static_cast<double>(k_tamm_signal) * s[i] / all_s +
                static_cast<double>(k_tamm_background) * b[i] / all_b);
  }
  return n;
}

void print(const std::string& row) { std::printf("%s\n", row.c_str()); }

void print_intervals(const MixtureStudy& s) {
  std::printf("%24s intervals: coverage %.3f, half-width %.4f, middle %+.4f, median %+.4f\n", "",
              s.interval_coverage(), s.mean_half_width(), s.interval_bias(), s.median_bias());
}

}  // namespace

TEST_CASE("efficiencies and errors with known shapes", "[validation][biased_gaussians]") {
  // Published or exact: .9111, .5101; sigma .00757 with all events, .00768 in 10 x 10 bins.
  const PlaneBins fine(100);
  CHECK_THAT(sum_of(fine.contents(k_tamm_truth.signal)), WithinAbs(0.9111, 5e-5));
  CHECK_THAT(sum_of(fine.contents(k_tamm_truth.background)), WithinAbs(0.5101, 5e-5));
  for (const auto& [side, sigma] : {std::pair{100, 0.00757}, {10, 0.00768}}) {
    const PlaneBins bins(static_cast<std::size_t>(side));
    std::vector<double> logs[2];
    for (double c : bins.contents(k_tamm_truth.signal)) logs[0].push_back(std::log(c));
    for (double c : bins.contents(k_tamm_truth.background)) logs[1].push_back(std::log(c));
    TemplateMixture m(exponential_mixture(logs[0], 1), exponential_mixture(logs[1], 1),
                      std::vector<double>(bins.size(), 1.0));
    m.set_data(expected_counts(bins));
    const MixtureFit best = fit(m);
    REQUIRE(best.converged());
    CHECK_THAT(best.kappa(), WithinAbs(k_tamm_kappa, 1e-8));
    CHECK_THAT(best.laplace_error(), WithinAbs(sigma, 0.00002));
  }
}

TEST_CASE("derivatives with published simulations", "[validation][biased_gaussians]") {
  SLALOM_REQUIRE_DATA("tamm/signal_msd_500.csv");
  const std::vector<PlanePair> pairs = published_pairs();
  REQUIRE(pairs.size() == 500);
  const PlaneBins bins;
  std::vector<double> logs[2];
  for (std::size_t k = 0; k < 10; ++k) {
    bins.add_log_density(pairs[k].signal, logs[0]);
    bins.add_log_density(pairs[k].background, logs[1]);
  }
  TemplateMixture m(exponential_mixture(logs[0], 10), exponential_mixture(logs[1], 10),
                    bins.measure(), {ridge_prior(1, 10), ridge_prior(10, 10)});
  m.set_data(expected_counts(bins));
  std::vector<double> x = m.start();
  for (std::size_t i = 1; i < x.size(); ++i) x[i] += 0.1 * std::sin(static_cast<double>(7 * i));
  const std::size_t n = x.size();
  std::vector<double> g(n), h(n * n), up(n), down(n);
  m.nll(x, g, h);
  double largest_g = 0.0, largest_h = 0.0;
  for (double v : g) largest_g = std::max(largest_g, std::abs(v));
  for (double v : h) largest_h = std::max(largest_h, std::abs(v));
  for (std::size_t i = 0; i < n; ++i) {
    std::vector<double> a = x, b = x;
    a[i] += 1e-5;
    b[i] -= 1e-5;
    CHECK_THAT(g[i], WithinAbs((m.nll(a, up) - m.nll(b, down)) / 2e-5, 1e-5 * largest_g));
    for (std::size_t j = 0; j < n; ++j) {
      CHECK_THAT(h[i * n + j], WithinAbs((up[j] - down[j]) / 2e-5, 1e-5 * largest_h));
    }
  }
}

TEST_CASE("one pair is biased, ten with a ridge are not by much",
          "[validation][biased_gaussians]") {
  SLALOM_REQUIRE_DATA("tamm/signal_msd_500.csv");
  const std::vector<PlanePair> pairs = published_pairs();
  const MixtureStudy one = run_study(pairs, ridge(1, 10));
  INFO(row_of("one pair", one));
  CHECK(one.failures() == 0);
  CHECK(one.mean() > 0.105);
  CHECK(one.mean() < 0.150);
  CHECK(one.coverage(true, 1.0) < 0.25);
  const MixtureStudy ten = run_study(pairs, ridge(10, 6));
  INFO(row_of("ten pairs", ten));
  CHECK(ten.failures() == 0);
  CHECK(ten.mean() > 0.105);
  CHECK(ten.mean() < 0.138);
  CHECK(ten.coverage(true, 1.0) > 0.46);
  CHECK(ten.coverage(true, 1.0) < 0.68);
  CHECK(ten.coverage(false, 1.0) > 0.78);
  CHECK(ten.coverage(false, 1.0) < 0.95);
  CHECK(ten.median_sandwich() > 0.032);
  CHECK(ten.median_sandwich() < 0.042);
}

TEST_CASE("the result does not depend on threads", "[validation][biased_gaussians]") {
  SLALOM_REQUIRE_DATA("tamm/signal_msd_500.csv");
  const std::vector<PlanePair> pairs = published_pairs();
  MixtureStudyOptions o = held_out(6, 6, Shrinkage::oas);
  const MixtureStudy many = run_study(pairs, o);
  tbb::global_control one(tbb::global_control::max_allowed_parallelism, 1);
  const MixtureStudy alone = run_study(pairs, o);
  for (std::size_t i = 0; i < many.results.size(); ++i) {
    CHECK(many.results[i].kappa == alone.results[i].kappa);
    CHECK(many.results[i].laplace == alone.results[i].laplace);
  }
}

TEST_CASE("fifty bins a side stand for events", "[validation][biased_gaussians]") {
  SLALOM_REQUIRE_DATA("tamm/signal_msd_500.csv");
  const std::vector<PlanePair> pairs = published_pairs();
  const PlaneBins bins;
  MixtureFitOptions options;
  options.kappa_low = -0.3;
  double square = 0.0;
  const int toys = 2;
  for (int t = 0; t < toys; ++t) {
    RandomStream random(3, static_cast<std::uint64_t>(t));
    const auto points = draw_points(k_tamm_truth, random);
    std::vector<double> counts(bins.size(), 0.0), logs[2], event_logs[2];
    for (const auto& [x0, x1] : points) counts[bins.bin_of(x0, x1)] += 1.0;
    for (std::size_t k = 0; k < 6; ++k) {
      const PlanePair& p = pairs[k + 6 * static_cast<std::size_t>(t)];
      for (const auto& [x0, x1] : points) {
        event_logs[0].push_back(p.signal.log_density(x0, x1));
        event_logs[1].push_back(p.background.log_density(x0, x1));
      }
      bins.add_log_density(p.signal, logs[0]);
      bins.add_log_density(p.background, logs[1]);
      bins.add_log_density(p.signal, event_logs[0]);
      bins.add_log_density(p.background, event_logs[1]);
    }
    std::vector<double> measure(points.size(), 0.0), weights(points.size(), 1.0);
    for (double q : bins.measure()) measure.push_back(q);
    weights.resize(measure.size(), 0.0);
    const std::vector<ShapePrior> priors = {ridge_prior(1, 6), ridge_prior(6, 6)};
    TemplateMixture binned(exponential_mixture(logs[0], 6), exponential_mixture(logs[1], 6),
                           bins.measure(), priors);
    TemplateMixture unbinned(exponential_mixture(event_logs[0], 6),
                             exponential_mixture(event_logs[1], 6), measure, priors);
    binned.set_data(counts);
    unbinned.set_data(weights);
    const MixtureFit a = fit(binned, options), b = fit(unbinned, options);
    REQUIRE(a.converged());
    REQUIRE(b.converged());
    CHECK_THAT(b.laplace_error(), WithinRel(a.laplace_error(), 0.05));
    square += std::pow(a.kappa() - b.kappa(), 2) / toys;
  }
  CHECK(std::sqrt(square) < 0.012);  // a third of the error; .006 over many toys
}

TEST_CASE("natural parameters with a prior from twenty simulations",
          "[validation][biased_gaussians]") {
  SLALOM_REQUIRE_DATA("tamm/signal_msd_500.csv");
  const MixtureStudy s = run_study(published_pairs(), held_out(20, 200, Shrinkage::oas));
  INFO(row_of("twenty pairs", s));
  CHECK(s.failures() == 0);
  CHECK(s.mean_laplace() > 0.022);
  CHECK(s.mean_laplace() < 0.030);
  CHECK(s.coverage(false, 1.0) > 0.58);
  CHECK(s.coverage(false, 1.0) < 0.76);
  CHECK_THAT(s.mean() - s.truth, WithinAbs(0.0, 0.016));
  CHECK(s.flagged(false) < 0.10);
}

TEST_CASE("truths twice as far away are flagged", "[validation][biased_gaussians]") {
  SLALOM_REQUIRE_DATA("tamm/signal_msd_500.csv");
  MixtureStudyOptions o = held_out(0, 150, Shrinkage::none);
  const MixtureStudy nominal = run_study(published_pairs(), o);
  o.distance = 2.0;
  const MixtureStudy far = run_study(published_pairs(), o);
  INFO(row_of("nominal", nominal) << "\n" << row_of("twice as far", far));
  CHECK(nominal.flagged(false) <= 0.05);
  CHECK(far.flagged(false) >= 0.35);
}

// ------------------------------------------------------------------------------------------------
// Tables

TEST_CASE("table of the ridge", "[validation][biased_gaussians][slow]") {
  SLALOM_REQUIRE_DATA("tamm/signal_msd_500.csv");
  const std::vector<PlanePair> pairs = published_pairs();
  MixtureStudy last;
  for (std::size_t k : Sizes{1, 2, 4, 6, 8, 10}) {
    last = run_study(pairs, ridge(k, 60));
    print(row_of("ridge 1, K = " + std::to_string(k), last));
    CHECK(last.failures() <= last.results.size() / 200);
  }
  CHECK(last.mean() > 0.105);
  CHECK(last.mean() < 0.138);
  CHECK(last.coverage(true, 1.0) > 0.46);
  CHECK(last.coverage(true, 1.0) < 0.68);
}

TEST_CASE("table of natural parameters", "[validation][biased_gaussians][slow]") {
  SLALOM_REQUIRE_DATA("tamm/signal_msd_500.csv");
  const std::vector<PlanePair> pairs = published_pairs();
  for (Shrinkage shrinkage : {Shrinkage::none, Shrinkage::oas, Shrinkage::ledoit_wolf}) {
    for (std::size_t k : Sizes{10, 20, 30, 0}) {
      if (k == 0 && shrinkage != Shrinkage::none) continue;
      const MixtureStudy s = run_study(pairs, held_out(k, 400, shrinkage));
      print(row_of(std::string(to_string(shrinkage)) + ", K = " + std::to_string(k), s));
      CHECK_THAT(s.mean() - s.truth, WithinAbs(0.0, 0.014));
      if (k == 30 || k == 0 || (k == 20 && shrinkage != Shrinkage::none)) {
        CHECK(s.coverage(false, 1.0) > 0.59);
        CHECK(s.coverage(false, 1.0) < 0.74);
        CHECK(s.mean_laplace() < 0.030);
      }
    }
  }
  for (std::size_t k : Sizes{0, 10}) {  // the published truth
    MixtureStudyOptions o = held_out(k, 30, Shrinkage::none);
    o.held_out = false;
    o.toys = 20;
    print(row_of("published truth, K = " + std::to_string(k), run_study(pairs, o)));
  }
}

TEST_CASE("table of integrated intervals", "[validation][biased_gaussians][slow]") {
  SLALOM_REQUIRE_DATA("tamm/signal_msd_500.csv");
  const std::vector<PlanePair> pairs = published_pairs();
  for (std::size_t k : Sizes{10, 20}) {
    for (bool student : {false, true}) {
      MixtureStudyOptions o = held_out(k, 400, student ? Shrinkage::none : Shrinkage::oas);
      o.population.student = student;
      o.interval = MixtureStudyOptions::Interval::marginal;
      const MixtureStudy s = run_study(pairs, o);
      print(row_of((student ? "Student, K = " : "OAS, K = ") + std::to_string(k), s));
      print_intervals(s);
      CHECK(s.interval_coverage() > 0.57);
      CHECK(s.interval_coverage() < 0.78);
      if (k == 20 && !student) {
        // What the method has to show: sigma at most .030, 68 % coverage .62 to .72 (400 truths
        // know it to .024), bias below .012.
        CHECK(s.interval_coverage() > 0.62);
        CHECK(s.interval_coverage() < 0.72);
        CHECK(s.mean_half_width() < 0.030);
        CHECK_THAT(s.median_bias(), WithinAbs(0.0, 0.012));
      }
    }
  }
}

TEST_CASE("table of truths outside", "[validation][biased_gaussians][slow]") {
  SLALOM_REQUIRE_DATA("tamm/signal_msd_500.csv");
  const std::vector<PlanePair> pairs = published_pairs();
  // Flagged below p, then widths as the pulls say and times a factor.
  for (const auto& [below, more] : {std::pair{0.0, 1.0}, {0.05, 1.0}, {0.3, 1.5}}) {
    for (double distance : {1.0, 2.0}) {
      MixtureStudyOptions o = held_out(20, 250, Shrinkage::oas);
      o.distance = distance;
      o.widening.below = below;
      o.widening.more = more;
      o.interval = MixtureStudyOptions::Interval::marginal;
      const MixtureStudy s = run_study(pairs, o);
      char name[80];
      std::snprintf(name, sizeof name, "distance %.0f, p < %.2f, x %.1f", distance, below, more);
      print(row_of(name, s));
      print_intervals(s);
      std::printf("%24s flagged %.3f, by the sum of squares %.3f\n", "", s.flagged(false),
                  s.flagged(true));
      if (distance > 1.0) CHECK(s.flagged(false) >= 0.35);
      // +-.03 each; .61 and .70 over more truths.
      if (more > 1.0) CHECK(s.interval_coverage() > (distance > 1.0 ? 0.53 : 0.61));
    }
  }
}

TEST_CASE("table of widths by leaving simulations out", "[validation][biased_gaussians][slow]") {
  SLALOM_REQUIRE_DATA("tamm/signal_msd_500.csv");
  const std::vector<PlanePair> pairs = published_pairs();
  const PlaneBins bins;
  for (std::size_t k : Sizes{10, 20}) {
    const std::size_t draws = 40 / k;  // groups of different simulations
    LeaveOneOutOptions o;
    o.kappa = k_tamm_kappa;
    o.events = static_cast<double>(k_tamm_signal + k_tamm_background);
    o.toys = 1;
    o.scales = {0.5, 0.75, 1.0, 1.5};
    o.population.shrinkage = Shrinkage::oas;
    o.directions.max_directions = 4;
    o.fit.kappa_low = -0.3;
    std::vector<double> coverage(o.scales.size(), 0.0), width(o.scales.size(), 0.0);
    for (std::size_t d = 0; d < draws; ++d) {
      std::vector<double> logs[2];
      for (std::size_t i = 0; i < k; ++i) {
        bins.add_log_density(pairs[d * k + i].signal, logs[0]);
        bins.add_log_density(pairs[d * k + i].background, logs[1]);
      }
      o.seed = 1 + d;
      const std::vector<LeaveOneOut> rows = leave_one_out(logs[0], logs[1], bins.measure(), k, o);
      for (std::size_t r = 0; r < rows.size(); ++r) {
        CHECK(rows[r].failures == 0);
        coverage[r] += rows[r].coverage_68 / static_cast<double>(draws);
        width[r] += rows[r].half_width / static_cast<double>(draws);
      }
    }
    for (std::size_t r = 0; r < coverage.size(); ++r) {
      std::printf("K = %zu, %zu groups, widths x %.2f: coverage %.3f, half-width %.4f\n", k, draws,
                  o.scales[r], coverage[r], width[r]);
    }
    CHECK(coverage.front() < coverage.back());
    // 40 truths: .074 of statistics on .68.
    CHECK_THAT(coverage[2], WithinAbs(0.6827, 0.19));
  }
}
