// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>
#include <cmath>

#include "slalom/modules/density.hpp"
#include "slalom/modules/diagnostics.hpp"
#include "slalom/modules/two_sample.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using Catch::Matchers::WithinAbs;
using slalom::EventBatch;
using slalom::Tensor;
using slalom::TwoSampleOptions;
using slalom::test::check_fails;

namespace {

/// Unit Gaussians in the plane, displaced along x.
EventBatch gaussians(std::int64_t n, double shift, std::uint64_t seed) {
  Tensor x = slalom::normal_rows(n, 2, seed);
  x.select(1, 0) += shift;
  return slalom::make_events({"x", "y"}, x.to(at::kFloat));
}

TwoSampleOptions quick() {
  return {.hidden = {16}, .steps = 150, .batch_size = 1000, .learning_rate = 1e-2};
}

double auc(const Tensor& first, const Tensor& second) {
  const Tensor scores = at::cat({first, second}),
               labels = at::cat({at::zeros({first.size(0)}, at::kLong),
                                 at::zeros({second.size(0)}, at::kLong) + 1});
  return slalom::area_under_curve(scores, labels);
}

}  // namespace

TEST_CASE("a classifier of two samples approaches the ratio of their densities",
          "[modules][two_sample]") {
  const EventBatch first = gaussians(8000, 0.0, 1), second = gaussians(4000, 1.0, 2);
  const slalom::Classifier network = slalom::train_two_sample(first, second, quick());
  const Tensor at_points =
      network.ptr()->outputs(at::tensor({-0.5F, 0.0F, 0.5F, 0.0F, 1.5F, 0.0F}).reshape({3, 2}), {});
  // log of the ratio: x - 1/2, whatever the sizes of the samples.
  CHECK_THAT(at_points[0].item<double>(), WithinAbs(-1.0, 0.2));
  CHECK_THAT(at_points[1].item<double>(), WithinAbs(0.0, 0.2));
  CHECK_THAT(at_points[2].item<double>(), WithinAbs(1.0, 0.2));
}

TEST_CASE("cross-fitted logits of equal samples say nothing", "[modules][two_sample]") {
  const EventBatch first = gaussians(3000, 0.0, 3), second = gaussians(3000, 0.0, 4);
  TwoSampleOptions options = quick();
  options.hidden = {64, 64};  // large enough to learn events by heart
  options.steps = 400;
  const slalom::TwoSampleLogits logits = slalom::cross_fitted_logits(first, second, 3, options);
  REQUIRE(logits.first.size(0) == 3000);
  REQUIRE(logits.second.size(0) == 3000);
  CHECK_THAT(auc(logits.first, logits.second), WithinAbs(0.5, 0.03));
  // On the events that it was trained with, the same network believes otherwise.
  const slalom::Classifier network = slalom::train_two_sample(first, second, options);
  const auto in_sample = [&](const EventBatch& events) {
    return network.ptr()->outputs(events.features, {}).squeeze(1).to(at::kDouble);
  };
  CHECK(auc(in_sample(first), in_sample(second)) > 0.53);
}

TEST_CASE("cross-fitted logits separate what differs", "[modules][two_sample]") {
  const EventBatch first = gaussians(3000, 0.0, 5), second = gaussians(2000, 1.0, 6);
  TwoSampleOptions options = quick();
  options.ensemble = 2;
  const slalom::TwoSampleLogits logits = slalom::cross_fitted_logits(first, second, 2, options);
  // Phi(1 / sqrt 2)
  CHECK_THAT(auc(logits.first, logits.second), WithinAbs(0.7602, 0.02));
  const slalom::TwoSampleLogits again = slalom::cross_fitted_logits(first, second, 2, options);
  CHECK(logits.second.equal(again.second));
}

TEST_CASE("folds cover all events once", "[modules][two_sample]") {
  Tensor count = at::zeros({11}, at::kLong);
  for (std::int64_t fold = 0; fold < 3; ++fold) {
    const Tensor inside = slalom::fold_indices(11, 3, fold),
                 rest = slalom::fold_indices(11, 3, fold, true);
    CHECK(inside.size(0) + rest.size(0) == 11);
    count.index_add_(0, inside, at::zeros({inside.size(0)}, at::kLong) + 1);
  }
  CHECK((count == 1).all().item<bool>());
}

TEST_CASE("classifiers of two samples: bad input", "[modules][two_sample]") {
  const EventBatch first = gaussians(100, 0.0, 7), second = gaussians(100, 0.0, 8);
  const EventBatch other = slalom::make_events({"x", "z"}, second.features);
  check_fails(slalom::ErrorKind::usage, "two_sample", "other columns",
              [&] { slalom::train_two_sample(first, other, quick()); });
  TwoSampleOptions wrong = quick();
  wrong.steps = 0;
  check_fails(slalom::ErrorKind::usage, "two_sample", "positive",
              [&] { slalom::train_two_sample(first, second, wrong); });
  check_fails(slalom::ErrorKind::usage, "two_sample", "at least 2 folds",
              [&] { slalom::cross_fitted_logits(first, second, 1, quick()); });
  check_fails(slalom::ErrorKind::usage, "two_sample", "fewer events than folds",
              [&] { slalom::cross_fitted_logits(first, second, 101, quick()); });
  check_fails(slalom::ErrorKind::usage, "two_sample", "a fold from 0",
              [&] { slalom::fold_indices(10, 2, 2); });
}
