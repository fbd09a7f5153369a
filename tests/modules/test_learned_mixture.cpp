// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <cmath>
#include <numeric>
#include <vector>

#include "slalom/core/random.hpp"
#include "slalom/modules/learned_mixture.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/tensors.hpp"

using at::Tensor;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::ErrorKind;
using slalom::LearnedFit;
using slalom::LearnedMixtureOptions;
using slalom::LearnedPoints;
using slalom::LearnedPointsOptions;
using slalom::RandomStream;
using slalom::test::check_fails;
using slalom::test::sequence;
using slalom::test::tensor;
using slalom::test::values;

namespace {

/// log p_k / mean of all p_j [n, 6] of Gaussians in one dimension: three signals of width .5, three
/// backgrounds of width 2. `noise` is added to each, times a wave of its own.
Tensor log_ratios(const Tensor& x, double noise = 0.0, double phase = 0.0) {
  std::vector<Tensor> logs;
  const auto add = [&](double mean, double width) {
    const Tensor d = (x - mean) / width;
    logs.push_back(-0.5 * d * d - std::log(width));
  };
  for (const double mean : {-0.2, 0.1, 0.2}) add(mean, 0.5);
  for (const double mean : {-0.3, 0.0, 0.4}) add(mean, 2.0);
  const Tensor l = at::stack(logs, 1);
  Tensor result = l - at::exp(l).mean({1}, true).log();
  for (std::int64_t k = 0; k < 6; ++k) {
    result.select(1, k).add_(at::sin(1.3 * x + phase + static_cast<double>(k)), noise);
  }
  return result;
}

/// Events of all six classes, in turn.
Tensor reference_events(std::int64_t n, std::uint64_t seed) {
  RandomStream random(seed, 0);
  const std::vector<double> means = {-0.2, 0.1, 0.2, -0.3, 0.0, 0.4};
  std::vector<double> x;
  for (std::int64_t i = 0; i < n; ++i) {
    const auto k = static_cast<std::size_t>(i % 6);
    x.push_back(means[k] + (k < 3 ? 0.5 : 2.0) * random.normal());
  }
  return tensor(x);
}

Tensor data_events(std::int64_t n, double kappa, std::uint64_t seed) {
  RandomStream random(seed, 1);
  std::vector<double> x;
  for (std::int64_t i = 0; i < n; ++i) {
    x.push_back((static_cast<double>(i) < kappa * static_cast<double>(n) ? 0.5 : 2.0) *
                random.normal());
  }
  return tensor(x);
}

double mean_ratio(const std::vector<double>& logs, const LearnedPoints& p, std::size_t k) {
  double sum = 0.0;
  for (std::size_t i = 0; i < p.measure.size(); ++i) {
    sum += p.measure[i] * std::exp(logs[k * p.measure.size() + i]);
  }
  return sum;
}

}  // namespace

TEST_CASE("events of data and reference are points", "[modules][learned_mixture]") {
  const Tensor data = log_ratios(sequence(4)), reference = log_ratios(sequence(5, 0.1));
  LearnedPointsOptions o;
  o.signal_classes = 2;
  const LearnedPoints p = slalom::learned_points(data, reference, o);
  CHECK(p.signal_count == 2);
  CHECK(p.background_count == 4);
  REQUIRE(p.measure.size() == 9);
  REQUIRE(p.signal.size() == 18);
  REQUIRE(p.background.size() == 36);
  CHECK(p.counts == std::vector<double>{1, 1, 1, 1, 0, 0, 0, 0, 0});
  for (std::size_t i = 0; i < 9; ++i) CHECK_THAT(p.measure[i], WithinAbs(i < 4 ? 0.0 : 0.2, 1e-15));
  CHECK(p.signal[9 + 2] == data[2][1].item<double>());
  CHECK(p.background[9 + 7] == reference[3][3].item<double>());
  CHECK(slalom::learned_points(data, reference).signal_count == 3);
  check_fails(ErrorKind::usage, "learned_mixture", "a signal and of a background",
              [&] { slalom::learned_points(data.slice(1, 0, 5), reference.slice(1, 0, 5)); });
  check_fails(ErrorKind::usage, "learned_mixture", "data and reference",
              [&] { slalom::learned_points(data.slice(1, 0, 5), reference); });
  check_fails(ErrorKind::numerical, "learned_mixture", "not finite",
              [&] { slalom::learned_points(data / 0.0, reference); });
}

TEST_CASE("a part of the reference keeps its means", "[modules][learned_mixture]") {
  const Tensor data = log_ratios(sequence(4)), all = log_ratios(reference_events(6000, 2));
  const LearnedPoints whole = slalom::learned_points(data, all);
  LearnedPointsOptions o;
  o.reference = 500;
  const LearnedPoints kept = slalom::learned_points(data, all, o);
  o.calibrate_measure = false;
  const LearnedPoints plain = slalom::learned_points(data, all, o);
  REQUIRE(kept.measure.size() == 504);
  CHECK_THAT(std::accumulate(kept.measure.begin(), kept.measure.end(), 0.0), WithinAbs(1.0, 1e-12));
  double worst = 0.0;
  for (std::size_t k = 0; k < 3; ++k) {
    CHECK_THAT(mean_ratio(kept.signal, kept, k),
               WithinAbs(mean_ratio(whole.signal, whole, k), 1e-9));
    CHECK_THAT(mean_ratio(kept.background, kept, k),
               WithinAbs(mean_ratio(whole.background, whole, k), 1e-9));
    worst = std::max(
        worst, std::abs(mean_ratio(plain.signal, plain, k) - mean_ratio(whole.signal, whole, k)));
  }
  CHECK(worst > 1e-3);
  // The mixture at other weights is nearer, too.
  const auto norm = [](const LearnedPoints& p) {
    double sum = 0.0;
    const std::size_t n = p.measure.size();
    for (std::size_t i = 0; i < n; ++i) {
      sum += p.measure[i] *
             std::exp(0.8 * p.signal[i] + 0.5 * p.signal[n + i] - 0.3 * p.signal[2 * n + i]);
    }
    return sum;
  };
  CHECK(std::abs(norm(kept) - norm(whole)) < 0.3 * std::abs(norm(plain) - norm(whole)));
  // Weights of a bootstrap sample: the same for the same seed.
  o.bootstrap = 3;
  const LearnedPoints one = slalom::learned_points(data, all, o);
  CHECK(one.measure == slalom::learned_points(data, all, o).measure);
  o.bootstrap = 4;
  CHECK(one.measure != slalom::learned_points(data, all, o).measure);
}

TEST_CASE("mixtures of learned ratios", "[modules][learned_mixture]") {
  const Tensor reference = log_ratios(reference_events(3000, 2));
  const LearnedPoints p = slalom::learned_points(log_ratios(data_events(2000, 0.2, 5)), reference);
  LearnedMixtureOptions o;
  o.population.shrinkage = slalom::Shrinkage::oas;
  o.directions.max_directions = 1;
  const slalom::TemplateMixture population = slalom::learned_mixture(p, o);
  CHECK(population.size() == 3);
  CHECK(population.priors().size() == 2);
  CHECK(population.data() == p.counts);
  o.population_prior = false;
  o.ridge = 2.0;
  const slalom::TemplateMixture ridge = slalom::learned_mixture(p, o);
  CHECK(ridge.size() == 5);
  REQUIRE(ridge.priors().size() == 2);
  CHECK(ridge.priors()[1].first == 3);
  CHECK(ridge.priors()[1].precision == slalom::ridge_prior(3, 3, 2.0).precision);
  for (const slalom::TemplateMixture* m : {&population, &ridge}) {
    const slalom::MixtureFit best = slalom::fit(*m);
    REQUIRE(best.converged());
    CHECK(std::abs(best.kappa() - 0.2) < 4.0 * best.laplace_error());
    CHECK(best.laplace_error() < 0.1);
  }
  // One simulation of the signal: nothing to adapt there.
  LearnedPointsOptions single;
  single.signal_classes = 1;
  o.population_prior = true;
  const slalom::TemplateMixture one = slalom::learned_mixture(
      slalom::learned_points(reference.slice(0, 0, 100).slice(1, 2), reference.slice(1, 2), single),
      o);
  CHECK(one.signal().start.empty());
  CHECK(one.priors().size() == 1);
  CHECK(one.priors()[0].first == 1);
}

TEST_CASE("the scatter of members is a part of the error", "[modules][learned_mixture]") {
  const Tensor reference = reference_events(3000, 2), data = data_events(2000, 0.2, 5);
  const LearnedPoints combined = slalom::learned_points(log_ratios(data), log_ratios(reference));
  std::vector<LearnedPoints> members;
  for (const double phase : {0.0, 1.0, 2.5}) {
    members.push_back(
        slalom::learned_points(log_ratios(data, 0.05, phase), log_ratios(reference, 0.05, phase)));
  }
  LearnedMixtureOptions o;
  o.population_prior = false;
  const LearnedFit fit = slalom::fit_members(combined, members, o);
  REQUIRE(fit.best.converged());
  CHECK(fit.failures == 0);
  REQUIRE(fit.member_kappa.size() == 3);
  double mean = 0.0, square = 0.0;
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(fit.member_kappa[i] == slalom::fit(slalom::learned_mixture(members[i], o)).kappa());
    mean += fit.member_kappa[i] / 3.0;
  }
  for (const double kappa : fit.member_kappa) square += (kappa - mean) * (kappa - mean);
  CHECK(fit.ratio_error > 1e-3);
  CHECK_THAT(fit.ratio_error, WithinRel(std::sqrt(square / 2.0 * 4.0 / 3.0), 1e-12));
  CHECK(fit.kappa() == fit.best.kappa());
  CHECK_THAT(fit.error(), WithinRel(std::hypot(fit.best.laplace_error(), fit.ratio_error), 1e-14));
  CHECK_THAT(fit.sandwich_error(),
             WithinRel(std::hypot(fit.best.sandwich_error(), fit.ratio_error), 1e-14));
  // Members that are alike add nothing.
  CHECK_THAT(slalom::fit_members(combined, {combined, combined}, o).ratio_error,
             WithinAbs(0.0, 1e-15));
  check_fails(ErrorKind::usage, "learned_mixture", "two members",
              [&] { slalom::fit_members(combined, {combined}, o); });
}
