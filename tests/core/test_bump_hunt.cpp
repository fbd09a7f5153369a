// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "slalom/core/bump_hunt.hpp"
#include "slalom/core/normal.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::bump_toys;
using slalom::BumpHuntOptions;
using slalom::BumpHuntResult;
using slalom::BumpScan;
using slalom::BumpScanOptions;
using slalom::BumpSignal;
using slalom::BumpToy;
using slalom::ErrorKind;
using slalom::hunt_bump;
using slalom::SpectrumFamily;
using slalom::test::check_fails;

namespace {

std::vector<double> even_edges(double low, double high, int bins) {
  std::vector<double> edges;
  for (int i = 0; i <= bins; ++i) edges.push_back(low + (high - low) * i / bins);
  return edges;
}

/// A dijet-like spectrum from 2.5 to 5 TeV, 50 bins: some 20,000 events.
struct Spectrum {
  std::vector<double> edges = even_edges(2.5, 5.0, 50);
  std::vector<double> background{};
  Spectrum() {
    double sum = 0.0;
    for (std::size_t b = 0; b < 50; ++b) {
      const double x = 0.5 * (edges[b] + edges[b + 1]) / 13.0;
      background.push_back(std::pow(1.0 - x, 9.0) * std::pow(x, -5.5));
      sum += background.back();
    }
    for (double& value : background) value *= 20000.0 / sum;
  }
  std::vector<double> with(double signal, double mass = 3.5, double width = 0.1) const {
    std::vector<double> result = background;
    for (std::size_t b = 0; b < result.size(); ++b) {
      result[b] += signal * (slalom::normal_cdf((edges[b + 1] - mass) / width) -
                             slalom::normal_cdf((edges[b] - mass) / width));
    }
    return result;
  }
};

/// Counts in a flat spectrum of five bins; the third one is the window.
BumpHuntOptions counting() {
  BumpHuntOptions options;
  options.background.family = SpectrumFamily::exponential_polynomial;
  options.background.parameters = 1;
  options.signal = BumpSignal::count;
  options.mass = 2.5;
  options.window = slalom::MassWindow{2.0, 3.0};
  return options;
}

}  // namespace

TEST_CASE("cut and count on a flat background is the on-off problem", "[core][bump_hunt]") {
  const std::vector<double> edges = even_edges(0.0, 5.0, 5);
  const std::vector<double> counts{12.0, 8.0, 25.0, 11.0, 9.0};
  const BumpHuntResult result = hunt_bump(edges, counts, counting());
  REQUIRE(result.converged);
  // T. Li, Y. Ma, Astrophys. J. 272 (1983) 317, eq. 17, with tau = 1 / alpha = 4.
  const double on = 25.0, off = 40.0, tau = 4.0;
  const double q0 = 2.0 * (on * std::log((1.0 + tau) * on / (on + off)) +
                           off * std::log((1.0 + tau) / tau * off / (on + off)));
  CHECK_THAT(result.q0, WithinRel(q0, 1e-8));
  CHECK_THAT(result.z, WithinRel(std::sqrt(q0), 1e-8));
  CHECK_THAT(result.p0, WithinRel(slalom::normal_cdf(-std::sqrt(q0)), 1e-8));
  CHECK_THAT(result.signal, WithinRel(on - off / tau, 1e-7));
  CHECK_THAT(result.signal_error, WithinRel(std::sqrt(on + off / (tau * tau)), 1e-6));
  CHECK(result.observed == on);
  CHECK_THAT(result.predicted.value, WithinRel(10.0, 1e-8));
  CHECK_THAT(result.predicted.error, WithinRel(std::sqrt(off) / tau, 1e-8));
  CHECK(result.window.low == 2.0);
  CHECK(result.window.high == 3.0);
  CHECK_THAT(result.total[2], WithinRel(on, 1e-7));
}

TEST_CASE("a deficit is no discovery", "[core][bump_hunt]") {
  const std::vector<double> edges = even_edges(0.0, 5.0, 5);
  const BumpHuntResult result =
      hunt_bump(edges, std::vector<double>{12.0, 8.0, 4.0, 11.0, 9.0}, counting());
  REQUIRE(result.converged);
  CHECK_THAT(result.signal, WithinRel(-6.0, 1e-6));
  CHECK(result.q0 == 0.0);
  CHECK(result.p0 == 0.5);
  CHECK_FALSE(result.at_boundary);
  REQUIRE(result.upper_limit);
  CHECK(*result.upper_limit > 0.0);
}

TEST_CASE("an empty window has no minimum with a negative signal", "[core][bump_hunt]") {
  const std::vector<double> edges = even_edges(0.0, 5.0, 5);
  const BumpHuntResult result =
      hunt_bump(edges, std::vector<double>{2.0, 1.0, 0.0, 1.0, 4.0}, counting());
  REQUIRE(result.converged);
  CHECK(result.at_boundary);
  CHECK(result.signal == 0.0);
  CHECK(result.signal_error > 0.0);
  CHECK(result.q0 == 0.0);
  REQUIRE(result.upper_limit);
  // No events: CLs = exp(-s) whatever the background; the asymptotic form is near it.
  CHECK_THAT(*result.upper_limit, WithinAbs(3.0, 1.3));
}

TEST_CASE("the limit of a count above a known background", "[core][bump_hunt]") {
  // Sidebands a million times as wide: the background is 9 without uncertainty.
  BumpHuntOptions options = counting();
  const std::vector<double> edges{-1e6, 2.0, 3.0, 1e6};
  const double b = 9.0, n = 13.0;
  const std::vector<double> counts{b * (1e6 + 2.0), n, b * (1e6 - 3.0)};
  const BumpHuntResult result = hunt_bump(edges, counts, options);
  REQUIRE(result.converged);
  CHECK_THAT(result.signal, WithinRel(4.0, 1e-5));
  const auto q = [&](double s, double count) {
    const double best = std::max(count, b);
    return 2.0 * (s + b - best - count * std::log((s + b) / best));
  };
  REQUIRE(result.upper_limit);
  const double s = *result.upper_limit;
  const double root = std::sqrt(q(s, n)), root_a = std::sqrt(q(s, b));
  REQUIRE(root <= root_a);
  const double cls = slalom::normal_cdf(-root) / slalom::normal_cdf(root_a - root);
  CHECK_THAT(cls, WithinRel(0.05, 1e-4));
  REQUIRE(result.expected_limit);
  // Median: Phi(-sqrt(q_A)) = 0.05 / 2.
  CHECK_THAT(std::sqrt(q((*result.expected_limit)[2], b)), WithinRel(1.959964, 1e-5));
  CHECK(std::is_sorted(result.expected_limit->begin(), result.expected_limit->end()));
  // In the median without signal, the observed limit is the expected one.
  const BumpHuntResult median =
      hunt_bump(edges, std::vector<double>{counts[0], b, counts[2]}, options);
  REQUIRE(median.upper_limit);
  CHECK_THAT(*median.upper_limit, WithinRel((*result.expected_limit)[2], 1e-4));
}

TEST_CASE("a signal that was put in comes out", "[core][bump_hunt]") {
  const Spectrum spectrum;
  const BumpHuntResult result = hunt_bump(spectrum.edges, spectrum.with(300.0));
  REQUIRE(result.converged);
  CHECK_THAT(result.signal, WithinRel(300.0, 1e-3));
  // S / sqrt(S + B) of the signal's own bins, less what the background takes.
  double information = 0.0;
  const std::vector<double> counts = spectrum.with(300.0);
  for (std::size_t b = 0; b < counts.size(); ++b) {
    information += result.shape[b] * result.shape[b] / counts[b];
  }
  CHECK(result.signal_error > 1.0 / std::sqrt(information));
  CHECK(result.signal_error < 1.4 / std::sqrt(information));
  CHECK_THAT(result.z, WithinRel(result.signal / result.signal_error, 0.1));
  CHECK(result.window.low == 3.3);
  CHECK(result.window.high == 3.7);
  CHECK_THAT(result.predicted.value + 300.0, WithinAbs(result.observed, 25.0));
  CHECK_THAT(result.background.degrees_of_freedom, WithinAbs(46.0, 0.0));
  CHECK(result.sidebands.bins == 42);
  // The same shape, given bin by bin, gives the same.
  BumpHuntOptions given;
  given.signal = BumpSignal::shape;
  given.signal_shape = result.shape;
  for (double& value : given.signal_shape) value *= 7.0;  // normalised there
  const BumpHuntResult same = hunt_bump(spectrum.edges, counts, given);
  CHECK_THAT(same.signal, WithinRel(result.signal, 1e-9));
  CHECK_THAT(same.q0, WithinRel(result.q0, 1e-9));
}

TEST_CASE("pulls of the signal and the false alarms", "[core][bump_hunt]") {
  const Spectrum spectrum;
  for (const BumpSignal kind : {BumpSignal::gaussian, BumpSignal::count}) {
    for (const double signal : {0.0, 150.0}) {
      BumpHuntOptions options;
      options.signal = kind;
      options.half_window = 4.0;  // all of the signal, so that none is in the sidebands
      slalom::BumpToyOptions toys;
      toys.n_toys = 4000;
      toys.seed = 11;
      const std::vector<BumpToy> found =
          bump_toys(spectrum.edges, spectrum.with(signal), options, toys);
      double mean = 0.0, square = 0.0, above = 0.0, n = 0.0;
      for (const BumpToy& toy : found) {
        if (!toy.converged) continue;
        const double pull = (toy.signal - signal) / toy.signal_error;
        n += 1.0;
        mean += pull;
        square += pull * pull;
        if (toy.q0 > 2.7055) above += 1.0;
      }
      mean /= n;
      CAPTURE(static_cast<int>(kind), signal, mean, n, above / n);
      CHECK(n == 4000.0);
      CHECK_THAT(mean, WithinAbs(0.0, 0.06));
      CHECK_THAT(std::sqrt(square / n - mean * mean), WithinAbs(1.0, 0.04));
      if (signal == 0.0) CHECK_THAT(above / n, WithinAbs(0.05, 0.0138));
    }
  }
}

TEST_CASE("toys of a bump hunt do not depend on the number of threads", "[core][bump_hunt]") {
  const Spectrum spectrum;
  slalom::BumpToyOptions toys;
  toys.n_toys = 40;
  toys.threads = 1;
  const std::vector<BumpToy> one = bump_toys(spectrum.edges, spectrum.background, {}, toys);
  toys.threads = 3;
  const std::vector<BumpToy> three = bump_toys(spectrum.edges, spectrum.background, {}, toys);
  REQUIRE(one.size() == three.size());
  for (std::size_t i = 0; i < one.size(); ++i) {
    CHECK(one[i].signal == three[i].signal);
    CHECK(one[i].q0 == three[i].q0);
  }
  toys.seed = 1;
  CHECK(bump_toys(spectrum.edges, spectrum.background, {}, toys)[0].signal != one[0].signal);
}

TEST_CASE("a scan finds the mass and pays for looking elsewhere", "[core][bump_hunt]") {
  const Spectrum spectrum;
  BumpScanOptions options;
  for (int i = 0; i < 9; ++i) options.masses.push_back(2.9 + 0.15 * i);
  options.relative_width = 0.03;
  options.hunt.limits = false;
  options.toys.n_toys = 300;
  const std::vector<double> counts = spectrum.with(130.0, 3.5, 0.105);
  const BumpScan scan = scan_bumps(spectrum.edges, counts, options);
  REQUIRE(scan.converged);
  CHECK(scan.best == 4);
  CHECK(scan.points.size() == 9);
  CHECK_THAT(scan.points[4].signal, WithinRel(130.0, 0.01));
  CHECK(scan.failed_toys == 0);
  CHECK_FALSE(scan.points[4].upper_limit);
  REQUIRE(scan.global_p);
  CHECK(scan.global_p->value > scan.points[4].p0);
  // Between the local p-value and Bonferroni's, up to three standard deviations.
  CHECK(scan.global_p->value < 9.0 * scan.points[4].p0 + 3.0 * scan.global_p->error);
}

TEST_CASE("a scan of one mass has its local p-value", "[core][bump_hunt]") {
  const Spectrum spectrum;
  BumpScanOptions options;
  options.masses = {3.5};
  options.hunt.limits = false;
  options.toys.n_toys = 2000;
  const BumpScan scan = scan_bumps(spectrum.edges, spectrum.with(60.0), options);
  REQUIRE(scan.global_p);
  CHECK_THAT(scan.global_p->value, WithinAbs(scan.points[0].p0, 3.5 * scan.global_p->error));
}

TEST_CASE("hunts that make no sense are refused", "[core][bump_hunt]") {
  const Spectrum spectrum;
  const auto fails = [&](const std::string& where, const std::string& fragment,
                         const BumpHuntOptions& options) {
    check_fails(ErrorKind::usage, where, fragment,
                [&] { hunt_bump(spectrum.edges, spectrum.background, options); });
  };
  BumpHuntOptions options;
  options.width = 0.0;
  fails("width", "positive", options);
  options = {};
  options.mass = std::nan("");
  fails("mass", "finite", options);
  options = {};
  options.mass = 9.0;
  fails("window", "no bin", options);
  options = {};
  options.window = slalom::MassWindow{3.31, 3.7};
  fails("window", "3.31", options);
  options = {};
  options.confidence = 1.0;
  fails("confidence", "between 0 and 1", options);
  options = {};
  options.signal = BumpSignal::shape;
  fails("signal_shape", "0 entries for 50 bins", options);
  options.signal_shape.assign(50, 0.0);
  fails("signal_shape", "positive sum", options);
  options.signal_shape[4] = -1.0;
  fails("signal_shape[4]", "not negative", options);
  options.signal = BumpSignal::gaussian;
  fails("signal_shape", "another kind", options);
  options = {};
  options.background.blinded = {{3.4, 3.6}};
  fails("blinded", "signal window", options);
  options = {};
  options.half_window = 100.0;
  fails("edges", "0 bins for 4 parameters", options);
  BumpScanOptions scan;
  check_fails(ErrorKind::usage, "masses", "no masses",
              [&] { scan_bumps(spectrum.edges, spectrum.background, scan); });
  scan.masses = {3.5, 7.0};
  check_fails(ErrorKind::usage, "masses[1]: window", "no bin",
              [&] { scan_bumps(spectrum.edges, spectrum.background, scan); });
  scan.hunt.window = slalom::MassWindow{3.3, 3.7};
  check_fails(ErrorKind::usage, "hunt", "fixed window",
              [&] { scan_bumps(spectrum.edges, spectrum.background, scan); });
}
