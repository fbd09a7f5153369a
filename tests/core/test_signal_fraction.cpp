// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "slalom/core/error.hpp"
#include "slalom/core/signal_fraction.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::ErrorKind;
using slalom::fit_signal_fraction;
using slalom::FitStatus;
using slalom::RandomStream;
using slalom::SignalFractionFit;
using slalom::SignalFractionInterval;
using slalom::SignalFractionLikelihood;
using slalom::SignalFractionOptions;
using slalom::test::check_fails;

namespace {

constexpr double k_infinity = std::numeric_limits<double>::infinity();

/// n events of r = 2 and m of r = 0: log L = n log(1 + mu) + m log(1 - mu).
std::vector<double> twos_and_nothings(std::size_t n, std::size_t m) {
  std::vector<double> result(n, std::log(2.0));
  result.insert(result.end(), m, -k_infinity);
  return result;
}

/// log r of Gaussians of unit width, signal at 0 and background at d.
double gaussian_log_ratio(double x, double d) { return 0.5 * d * d - d * x; }

std::vector<double> gaussians(std::size_t n, double mu, double d, std::uint64_t seed) {
  RandomStream random(seed, 0);
  std::vector<double> result(n);
  for (double& l : result) {
    const double mean = random.uniform() < mu ? 0.0 : d;
    l = gaussian_log_ratio(mean + random.normal(), d);
  }
  return result;
}

}  // namespace

TEST_CASE("score and information are derivatives of the likelihood", "[core][signal_fraction]") {
  std::vector<double> l = gaussians(237, 0.2, 3.0, 1);
  std::vector<double> w(l.size());
  for (std::size_t i = 0; i < w.size(); ++i) w[i] = 0.3 + 0.01 * static_cast<double>(i % 7);
  for (const bool weighted : {false, true}) {
    const SignalFractionLikelihood likelihood(l, weighted ? w : std::vector<double>{});
    for (const double mu : {0.02, 0.2, 0.7, 0.95}) {
      CAPTURE(mu, weighted);
      const double h = 1e-5;
      const auto at = likelihood.evaluate(mu), up = likelihood.evaluate(mu + h),
                 down = likelihood.evaluate(mu - h);
      double direct = 0.0;
      for (std::size_t i = 0; i < l.size(); ++i) {
        direct += (weighted ? w[i] : 1.0) * std::log1p(mu * std::expm1(l[i]));
      }
      CHECK_THAT(at.value, WithinAbs(direct, 1e-10));
      CHECK_THAT(at.value, WithinAbs(likelihood.value(mu), 1e-15));
      CHECK_THAT(at.score, WithinAbs((up.value - down.value) / (2.0 * h), 1e-4));
      CHECK_THAT(at.information, WithinRel((down.score - up.score) / (2.0 * h), 1e-5));
    }
  }
  CHECK(SignalFractionLikelihood(l).value(0.0) == 0.0);
}

TEST_CASE("a likelihood whose maximum is known", "[core][signal_fraction]") {
  const auto fit = fit_signal_fraction(twos_and_nothings(30, 10));
  REQUIRE(fit.converged());
  CHECK_THAT(fit.mu, WithinRel(0.5, 1e-10));
  // 1 / I = 1 / (30 / 1.5^2 + 10 / 0.5^2)
  CHECK_THAT(fit.error, WithinRel(1.0 / std::sqrt(30.0 / 2.25 + 40.0), 1e-9));
  CHECK_THAT(fit.sandwich_error, WithinRel(fit.error, 1e-9));
  const double q0 = 2.0 * (30.0 * std::log(1.5) + 10.0 * std::log(0.5));
  CHECK_THAT(fit.q0, WithinRel(q0, 1e-12));
  CHECK_THAT(fit.z, WithinRel(std::sqrt(q0), 1e-12));
  CHECK_THAT(fit.log_likelihood, WithinRel(0.5 * q0, 1e-12));
  CHECK_FALSE(fit.at_bound);
  CHECK(std::abs(fit.score) < 1e-6);
  CHECK(fit.events == 40);
  CHECK(fit.iterations < 20);
}

TEST_CASE("fractions at the bounds and beyond", "[core][signal_fraction]") {
  const auto zero = fit_signal_fraction(twos_and_nothings(10, 30));
  REQUIRE(zero.converged());
  CHECK(zero.mu == 0.0);
  CHECK(zero.at_bound);
  CHECK(zero.score == -20.0);
  CHECK(zero.q0 == 0.0);
  CHECK(zero.z == 0.0);
  // The maximum is at -1/2 if it may be; no density is negative above -1.
  SignalFractionOptions negative;
  negative.lower = -k_infinity;
  const SignalFractionLikelihood likelihood(twos_and_nothings(10, 30));
  CHECK_THAT(likelihood.lowest(), WithinRel(-1.0, 1e-14));
  const auto below = likelihood.fit(negative);
  REQUIRE(below.converged());
  CHECK_THAT(below.mu, WithinRel(-0.5, 1e-10));
  CHECK(below.q0 == 0.0);
  CHECK_FALSE(below.at_bound);
  CHECK(below.log_likelihood > 0.0);
  // All r below 1, one event or many.
  for (const auto& l : {std::vector<double>{-0.1}, std::vector<double>{-3.0, -0.2, -k_infinity}}) {
    const auto none = fit_signal_fraction(l);
    CHECK(none.converged());
    CHECK(none.mu == 0.0);
    CHECK(none.at_bound);
    negative.lower = -0.5;
    CHECK(fit_signal_fraction(l, {}, negative).mu == -0.5);
  }
  const auto all = fit_signal_fraction(std::vector<double>{0.7});
  CHECK(all.converged());
  CHECK(all.mu == 1.0);
  CHECK(all.at_bound);
  CHECK_THAT(all.q0, WithinRel(1.4, 1e-14));
  SignalFractionOptions half;
  half.upper = 0.5;
  CHECK(fit_signal_fraction(std::vector<double>{0.7}, {}, half).mu == 0.5);
}

TEST_CASE("ratios of any size do no harm", "[core][signal_fraction]") {
  // Three events that only signal makes, 97 that only background makes: mu = 0.03.
  for (const double l : {40.0, 500.0, 800.0, 1e300, k_infinity}) {
    CAPTURE(l);
    std::vector<double> ratios(97, -k_infinity);
    ratios.insert(ratios.end(), 3, l);
    const SignalFractionLikelihood likelihood(ratios);
    const auto fit = likelihood.fit();
    REQUIRE(fit.converged());
    CHECK_THAT(fit.mu, WithinRel(0.03, 1e-9));
    CHECK_THAT(fit.error, WithinRel(std::sqrt(0.03 * 0.97 / 100.0), 1e-9));
    CHECK_THAT(fit.q0,
               WithinRel(2.0 * (3.0 * (l + std::log(0.03)) + 97.0 * std::log(0.97)), 1e-12));
    const auto interval = likelihood.interval(fit);
    CHECK(interval.lower > 0.01);
    CHECK(interval.upper < 0.06);
    CHECK_FALSE(interval.lower_at_bound);
    const auto binomial = [](double mu) { return 3.0 * std::log(mu) + 97.0 * std::log(1.0 - mu); };
    CHECK_THAT(binomial(interval.lower), WithinAbs(binomial(0.03) - 0.5, 1e-9));
    CHECK_THAT(binomial(interval.upper), WithinAbs(binomial(0.03) - 0.5, 1e-9));
    SignalFractionOptions negative;
    negative.lower = -1.0;
    CHECK_THAT(likelihood.fit(negative).mu, WithinRel(0.03, 1e-9));
  }
  // Infinity is an event of signal: it never lets the fraction go to 0.
  std::vector<double> one(100000, -5.0);
  one.push_back(k_infinity);
  const auto fit = fit_signal_fraction(one);
  CHECK(fit.converged());
  CHECK_THAT(fit.mu, WithinRel(1e-5, 0.01));
  CHECK(fit.q0 == k_infinity);
  one.push_back(-k_infinity);
  CHECK(SignalFractionLikelihood(one).value(1.0) == -k_infinity);
  CHECK(SignalFractionLikelihood(one).value(0.5) == k_infinity);
}

TEST_CASE("ratios that say nothing", "[core][signal_fraction]") {
  const auto fit = fit_signal_fraction(std::vector<double>(5, 0.0));
  CHECK(fit.status == FitStatus::stalled);
  CHECK(fit.error == k_infinity);
  CHECK(fit.q0 == 0.0);
  check_fails(ErrorKind::usage, "signal_fraction", "has converged",
              [&] { SignalFractionLikelihood(std::vector<double>(5, 0.0)).interval(fit); });
}

TEST_CASE("weights count as repetitions", "[core][signal_fraction]") {
  const std::vector<double> l = gaussians(300, 0.1, 2.0, 2);
  std::vector<double> w, repeated;
  for (std::size_t i = 0; i < l.size(); ++i) {
    w.push_back(static_cast<double>(i % 4));
    repeated.insert(repeated.end(), i % 4, l[i]);
  }
  const auto weighted = fit_signal_fraction(l, w), plain = fit_signal_fraction(repeated);
  CHECK_THAT(weighted.mu, WithinRel(plain.mu, 1e-9));
  CHECK_THAT(weighted.error, WithinRel(plain.error, 1e-9));
  CHECK_THAT(weighted.q0, WithinRel(plain.q0, 1e-9));
  // Repeated events are not independent ones: sqrt(<w^2> / <w>) larger.
  CHECK_THAT(weighted.sandwich_error / weighted.error, WithinAbs(std::sqrt(14.0 / 6.0), 0.15));
  CHECK(weighted.events == 225);
  CHECK(weighted.sum_of_weights == static_cast<double>(repeated.size()));
  // The scale of all weights changes errors, not the fraction nor the sandwich.
  for (double& x : w) x *= 0.01;
  const auto scaled = fit_signal_fraction(l, w);
  CHECK_THAT(scaled.mu, WithinRel(weighted.mu, 1e-9));
  CHECK_THAT(scaled.error, WithinRel(10.0 * weighted.error, 1e-9));
  CHECK_THAT(scaled.sandwich_error, WithinRel(weighted.sandwich_error, 1e-9));
}

TEST_CASE("intervals are where the likelihood has fallen", "[core][signal_fraction]") {
  const SignalFractionLikelihood likelihood(gaussians(20000, 0.01, 3.0, 3));
  const auto fit = likelihood.fit();
  REQUIRE(fit.converged());
  double last = 0.0;
  for (const double drop : {slalom::k_drop_68, slalom::k_drop_published, slalom::k_drop_95}) {
    const auto interval = likelihood.interval(fit, drop);
    const double best = likelihood.value(fit.mu);
    CHECK_THAT(likelihood.value(interval.lower), WithinAbs(best - drop, 1e-8));
    CHECK_THAT(likelihood.value(interval.upper), WithinAbs(best - drop, 1e-8));
    const double width = 0.5 * (interval.upper - interval.lower);
    CHECK_THAT(width, WithinRel(fit.error * std::sqrt(2.0 * drop), 0.02));
    CHECK(width > last);
    last = width;
    const std::vector<double> scan{interval.lower, fit.mu, interval.upper};
    const auto profile = likelihood.profile(fit, scan);
    CHECK_THAT(profile[0], WithinAbs(-drop, 1e-8));
    CHECK(profile[1] == 0.0);
    CHECK_THAT(profile[2], WithinAbs(-drop, 1e-8));
  }
  // 1.6449^2 / 2
  CHECK_THAT(likelihood.upper_limit(fit),
             WithinRel(likelihood.interval(fit, 1.35277173).upper, 1e-7));
}

TEST_CASE("intervals end at the bounds", "[core][signal_fraction]") {
  const SignalFractionLikelihood none(twos_and_nothings(10, 30));
  const auto zero = none.fit();
  const auto interval = none.interval(zero, slalom::k_drop_95);
  CHECK(interval.lower == 0.0);
  CHECK(interval.lower_at_bound);
  CHECK_FALSE(interval.upper_at_bound);
  CHECK_THAT(10.0 * std::log1p(interval.upper) + 30.0 * std::log1p(-interval.upper),
             WithinAbs(-slalom::k_drop_95, 1e-9));
  // A single event of r = 2: log L rises from 0 to log 2 at the other end.
  const SignalFractionLikelihood one(std::vector<double>{std::log(2.0)});
  const auto ends = one.interval(one.fit(), slalom::k_drop_95);
  CHECK(ends.lower == 0.0);
  CHECK(ends.upper == 1.0);
  CHECK(ends.lower_at_bound);
  CHECK(ends.upper_at_bound);
  CHECK_THAT(one.interval(one.fit(), 0.5).lower, WithinRel(2.0 * std::exp(-0.5) - 1.0, 1e-9));
}

TEST_CASE("events that are none are refused with their place", "[core][signal_fraction]") {
  const std::vector<double> good{0.1, 0.2, 0.3, 0.4};
  std::vector<double> bad = good;
  bad[2] = std::nan("");
  check_fails(ErrorKind::usage, "signal_fraction", "no events",
              [] { fit_signal_fraction(std::vector<double>{}); });
  check_fails(ErrorKind::numerical, "signal_fraction", "event 2 is not a number",
              [&] { fit_signal_fraction(bad); });
  check_fails(ErrorKind::usage, "signal_fraction", "the weight of event 1 is -1", [&] {
    fit_signal_fraction(good, std::vector<double>{1.0, -1.0, 1.0, 1.0});
  });
  check_fails(ErrorKind::usage, "signal_fraction", "the weight of event 3", [&] {
    fit_signal_fraction(good, std::vector<double>{1.0, 1.0, 1.0, std::nan("")});
  });
  check_fails(ErrorKind::usage, "signal_fraction", "found 2 for 4 events", [&] {
    fit_signal_fraction(good, std::vector<double>{1.0, 1.0});
  });
  check_fails(ErrorKind::usage, "signal_fraction", "weights of all events are 0",
              [&] { fit_signal_fraction(good, std::vector<double>(4, 0.0)); });
  SignalFractionOptions options;
  options.lower = 0.1;
  check_fails(ErrorKind::usage, "signal_fraction", "bounds of the fraction",
              [&] { fit_signal_fraction(good, {}, options); });
  options = {};
  options.upper = 1.5;
  check_fails(ErrorKind::usage, "signal_fraction", "bounds of the fraction",
              [&] { fit_signal_fraction(good, {}, options); });
  options = {};
  options.lower = -k_infinity;
  check_fails(ErrorKind::usage, "signal_fraction", "a finite lower bound",
              [&] { fit_signal_fraction(std::vector<double>{-1.0}, {}, options); });
  const SignalFractionLikelihood likelihood(good);
  const auto fit = likelihood.fit();
  check_fails(ErrorKind::usage, "signal_fraction", "positive drop",
              [&] { likelihood.interval(fit, 0.0); });
  check_fails(ErrorKind::usage, "signal_fraction", "confidence level",
              [&] { likelihood.upper_limit(fit, 95.0); });
  check_fails(ErrorKind::usage, "signal_fraction", "no density is negative",
              [&] { likelihood.profile(fit, std::vector<double>{1.1}); });
}

TEST_CASE("an iteration limit is a status", "[core][signal_fraction]") {
  SignalFractionOptions options;
  options.max_iterations = 3;
  const auto fit = fit_signal_fraction(gaussians(1000, 0.3, 3.0, 4), {}, options);
  CHECK(fit.status == FitStatus::iteration_limit);
  CHECK(std::isfinite(fit.mu));
}

TEST_CASE("toys do not depend on threads", "[core][signal_fraction]") {
  const auto background = gaussians(3000, 0.0, 3.0, 5), signal = gaussians(3000, 1.0, 3.0, 6);
  slalom::PoolOptions pool;
  pool.events = 400.0;
  pool.fraction = 0.05;
  const auto sampler = slalom::pool_sampler(background, signal, pool);
  slalom::SignalFractionToyOptions options;
  options.n_toys = 40;
  options.seed = 7;
  options.threads = 1;
  const auto one = run_signal_fraction_toys(sampler, options);
  options.threads = 3;
  const auto three = run_signal_fraction_toys(sampler, options);
  REQUIRE(one.size() == 40);
  REQUIRE(three.size() == 40);
  for (std::size_t i = 0; i < one.size(); ++i) {
    CHECK(one[i].mu == three[i].mu);
    CHECK(one[i].q0 == three[i].q0);
    CHECK(one[i].events == three[i].events);
  }
  CHECK(one[0].events != one[1].events);
  options.family = 1;
  CHECK(run_signal_fraction_toys(sampler, options)[0].mu != one[0].mu);
  std::size_t calls = 0;
  options.threads = 1;
  options.progress = [&](std::size_t done, std::size_t total) {
    ++calls;
    CHECK(total == 40);
    return done < 10;
  };
  CHECK(run_signal_fraction_toys(sampler, options).size() == 10);
  CHECK(calls == 10);
}

TEST_CASE("toys are unbiased, and as wide as their errors say", "[core][signal_fraction]") {
  // Exact ratios, fresh events: mu = .05 of 2000 events.
  const slalom::LogRatioSampler sampler = [](RandomStream& random) {
    std::vector<double> l(2000);
    for (double& x : l) {
      const double mean = random.uniform() < 0.05 ? 0.0 : 3.0;
      x = gaussian_log_ratio(mean + random.normal(), 3.0);
    }
    return l;
  };
  slalom::SignalFractionToyOptions options;
  options.n_toys = 400;
  const auto toys = run_signal_fraction_toys(sampler, options);
  double sum = 0.0, squares = 0.0;
  for (const SignalFractionFit& toy : toys) {
    REQUIRE(toy.converged());
    const double pull = (toy.mu - 0.05) / toy.error;
    sum += pull;
    squares += pull * pull;
  }
  const double mean = sum / 400.0;
  CHECK(std::abs(mean) < 0.2);
  CHECK(std::abs(std::sqrt(squares / 400.0 - mean * mean) - 1.0) < 0.15);
}

TEST_CASE("p-values count toys", "[core][signal_fraction]") {
  const slalom::LogRatioSampler sampler = [](RandomStream& random) {
    std::vector<double> l(500);
    for (double& x : l) x = gaussian_log_ratio(2.0 + random.normal(), 2.0);
    return l;
  };
  slalom::SignalFractionToyOptions options;
  options.n_toys = 400;
  const auto toys = run_signal_fraction_toys(sampler, options);
  CHECK(signal_fraction_p_value(toys, 0.0).value == 1.0);
  // About half of all fits end at 0.
  const auto half = signal_fraction_p_value(toys, 1e-12);
  CHECK(half.value > 0.3);
  CHECK(half.value < 0.65);
  const auto small = signal_fraction_p_value(toys, 2.71);
  CHECK(small.value > 0.015);
  CHECK(small.value < 0.085);
  CHECK_THAT(small.error, WithinRel(std::sqrt(small.value * (1.0 - small.value) / 400.0), 1e-9));
  // No event at all: a fit of nothing, which is no evidence.
  const std::vector<double> background{0.1};
  options.n_toys = 3;
  const auto empty =
      run_signal_fraction_toys(slalom::pool_sampler(background, {}, {1e-9, true, 0.0}), options);
  REQUIRE(empty.size() == 3);
  CHECK(empty[0].status == FitStatus::infeasible);
  CHECK(signal_fraction_p_value(empty, 0.1).value == 0.0);
}

TEST_CASE("pools are drawn from in the right shares", "[core][signal_fraction]") {
  const std::vector<double> background{1.0, 2.0}, signal{3.0};
  slalom::PoolOptions options;
  options.events = 40000.0;
  options.fraction = 0.25;
  options.poisson = false;
  RandomStream random(1, 0);
  const auto events = slalom::pool_sampler(background, signal, options)(random);
  REQUIRE(events.size() == 40000);
  const auto share = [&](double x) {
    return static_cast<double>(std::count(events.begin(), events.end(), x)) / 40000.0;
  };
  CHECK_THAT(share(3.0), WithinAbs(0.25, 0.01));
  CHECK_THAT(share(1.0), WithinAbs(0.375, 0.012));
  CHECK_THAT(share(2.0), WithinAbs(0.375, 0.012));
  CHECK(slalom::pool_sampler(background, {}, {0.0, false, 0.0})(random).size() == 2);
  check_fails(ErrorKind::usage, "signal_fraction", "without background",
              [] { slalom::pool_sampler({}); });
  check_fails(ErrorKind::usage, "signal_fraction", "without signal", [&] {
    slalom::pool_sampler(background, {}, {0.0, true, 0.5});
  });
  check_fails(ErrorKind::usage, "signal_fraction", "fraction of signal", [&] {
    slalom::pool_sampler(background, signal, {0.0, true, 1.5});
  });
  check_fails(ErrorKind::usage, "signal_fraction", "number of events", [&] {
    slalom::pool_sampler(background, {}, {-1.0, true, 0.0});
  });
}
