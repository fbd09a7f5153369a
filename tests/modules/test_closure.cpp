// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <cmath>

#include "slalom/core/normal.hpp"
#include "slalom/core/random.hpp"
#include "slalom/modules/closure.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/tensors.hpp"

using at::Tensor;
using slalom::ClosureOptions;
using slalom::compare_samples;
using slalom::ErrorKind;
using slalom::EventBatch;
using slalom::SampleComparison;
using slalom::test::check_fails;
using slalom::test::tensor;

namespace {

Tensor normal(std::int64_t n, std::uint64_t seed, double mean = 0.0) {
  slalom::RandomStream random(seed, 0, 77);
  std::vector<double> x;
  for (std::int64_t i = 0; i < n; ++i) x.push_back(mean + random.normal());
  return tensor(x);
}

Tensor ones(std::int64_t n) { return at::ones({n}, at::kDouble); }

/// Two features, of which the first is shifted.
EventBatch sample(std::int64_t n, std::uint64_t seed, double shift = 0.0) {
  return slalom::make_events({"x", "y"},
                             at::stack({normal(n, seed, shift), normal(n, seed + 999)}, 1));
}

}  // namespace

TEST_CASE("chi2 of two histograms, by hand", "[modules][closure]") {
  // The second has half of its events in each bin, the first 3/4 and 1/4; variances are sums of
  // squared weights, of which each of 4 events has 1 / 16.
  std::int64_t ndf = 0;
  const double chi2 = slalom::shape_chi2(tensor({0, 1, 2, 9}), ones(4), tensor({1, 2, 3, 4}),
                                         3.0 * ones(4), 2, ndf);
  CHECK(chi2 == Approx(0.0625 / (5.0 / 16.0) + 0.0625 / (3.0 / 16.0)).epsilon(1e-12));
  CHECK(ndf == 1);
}

TEST_CASE("chi2 of equal distributions is ndf in the mean", "[modules][closure]") {
  double sum = 0.0, square = 0.0;
  const int repeats = 200;
  for (int k = 0; k < repeats; ++k) {
    // Weights of very different sizes, which do not hang on the feature.
    slalom::RandomStream random(static_cast<std::uint64_t>(k), 1, 78);
    std::vector<double> w;
    for (int i = 0; i < 2000; ++i) w.push_back(random.uniform() < 0.5 ? 1.0 : 0.2);
    std::int64_t ndf = 0;
    const double chi2 =
        slalom::shape_chi2(normal(2000, static_cast<std::uint64_t>(k)), tensor(w),
                           normal(3000, static_cast<std::uint64_t>(k) + 5000), ones(3000), 8, ndf);
    REQUIRE(ndf == 7);
    sum += chi2;
    square += chi2 * chi2;
  }
  const double mean = sum / repeats, variance = square / repeats - mean * mean;
  CHECK(mean == Approx(7.0).margin(5.0 * std::sqrt(14.0 / repeats)));
  CHECK(variance > 7.0);
  CHECK(variance < 30.0);
}

TEST_CASE("samples that are equal, and samples that are not", "[modules][closure]") {
  const ClosureOptions options{.hidden = {8}, .steps = 150, .batch_size = 1000};
  const SampleComparison same = compare_samples(sample(8000, 1), sample(8000, 2), options);
  CHECK(same.columns == std::vector<std::string>{"x", "y"});
  CHECK(same.auc == Approx(0.5).margin(4.0 * same.auc_error));
  CHECK(same.auc_error == Approx(std::sqrt(2.0 / 4000.0 / 12.0)).epsilon(1e-9));
  for (std::size_t c = 0; c < 2; ++c) {
    CHECK(same.ndf[c] == 19);
    CHECK(same.chi2[c] < 20.0 + 4.0 * std::sqrt(40.0));
  }
  const EventBatch nominal = sample(8000, 3), moved = sample(8000, 4, 0.5);
  const SampleComparison other = compare_samples(nominal, moved, options);
  CHECK(other.chi2[0] > 500.0);
  CHECK(other.chi2[1] < 20.0 + 4.0 * std::sqrt(40.0));
  // Of two unit Gaussians 0.5 apart.
  CHECK(other.auc ==
        Approx(slalom::normal_cdf(0.5 / std::sqrt(2.0))).margin(4.0 * other.auc_error));

  // With the exact ratio, exp(x / 2 - 1 / 8), nothing is left.
  const auto ratio = slalom::as_classifier(
      std::make_shared<slalom::FunctionClassifierImpl>([](const Tensor& x, const Tensor& theta) {
        const Tensor shift = theta[0];
        return x.select(1, 0) * shift - 0.5 * shift * shift;
      }));
  const EventBatch there = slalom::reweighted(nominal, ratio, tensor({0.5}));
  CHECK(there.weights.mean().item<double>() == Approx(1.0).margin(0.03));
  const SampleComparison closed = compare_samples(there, moved, options);
  CHECK(closed.chi2[0] < 20.0 + 4.0 * std::sqrt(40.0));
  CHECK(closed.auc == Approx(0.5).margin(4.0 * closed.auc_error));
  // The same numbers again.
  CHECK(compare_samples(there, moved, options).auc == closed.auc);
}

TEST_CASE("comparisons refuse what they cannot compare", "[modules][closure]") {
  const EventBatch a = sample(50, 1);
  EventBatch b = a;
  b.columns = {"x", "z"};
  check_fails(ErrorKind::usage, "closure", "other columns", [&] { return compare_samples(a, b); });
  check_fails(ErrorKind::usage, "closure", "too few",
              [&] { return compare_samples(sample(2, 1), a); });
  check_fails(ErrorKind::usage, "closure", "too few events for the bins",
              [&] { return compare_samples(a, a, {.bins = 51}); });
  check_fails(ErrorKind::usage, "closure", "positive",
              [&] { return compare_samples(a, a, {.steps = 0}); });
  check_fails(ErrorKind::numerical, "closure", "no positive sum",
              [&] { return compare_samples(a.with_weights(at::zeros({50}, at::kDouble)), a); });
}
