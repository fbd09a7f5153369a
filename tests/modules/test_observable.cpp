// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/stack.h>
#include <cmath>

#include "slalom/modules/binning.hpp"
#include "slalom/modules/observable.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/tensors.hpp"

using at::Tensor;
using slalom::Classifier;
using slalom::ErrorKind;
using slalom::EventBatch;
using slalom::LogitSlope;
using slalom::Observable;
using slalom::ObservableOptions;
using slalom::ScoreBinning;
using slalom::test::check_fails;
using slalom::test::distance;
using slalom::test::sequence;
using slalom::test::tensor;
using slalom::test::values;
using Vector = std::vector<double>;

namespace {

/// f = x0 sin(z) + x1 z^2, with z the second of two parameters.
Classifier formula() {
  return slalom::as_classifier(std::make_shared<slalom::FunctionClassifierImpl>(
      [](const Tensor& x, const Tensor& theta) {
        const Tensor z = theta.select(-1, 1);
        return x.select(1, 0) * at::sin(z) + x.select(1, 1) * z * z;
      },
      slalom::Score::sigmoid, false));
}

EventBatch some_events(std::int64_t n) {
  const Tensor x = 4.0 * sequence(2 * n).reshape({n, 2}) - 2.0;
  const Tensor labels = (sequence(n) > 0.4).to(at::kLong);
  return slalom::make_events({"a", "b"}, x, at::ones({n}, at::kDouble), labels);
}

}  // namespace

TEST_CASE("logits and their derivative by a parameter", "[modules][observable][gradient]") {
  const EventBatch events = some_events(50);
  const Classifier classifier = formula();
  const Tensor theta = tensor({9.0, 0.7});
  const LogitSlope result =
      slalom::logit_and_slope(*classifier.ptr(), events.features, theta, 1, 7);
  const Tensor x = events.features.select(1, 0), y = events.features.select(1, 1);
  CHECK(distance(result.logit, x * std::sin(0.7) + y * 0.49) < 1e-14);
  CHECK(distance(result.slope, x * std::cos(0.7) + y * 1.4) < 1e-14);
  CHECK_FALSE(result.logit.requires_grad());
  CHECK_FALSE(result.slope.requires_grad());
  CHECK(distance(slalom::logit_and_slope(*classifier.ptr(), events.features, theta, 0).slope,
                 0.0 * x) == 0.0);
}

TEST_CASE("the derivative of a network is that of finite differences", "[modules][observable]") {
  slalom::Mlp mlp(slalom::MlpOptions{.inputs = 2,
                                     .hidden = {8, 8},
                                     .activation = slalom::Activation::silu,
                                     .seed = 3,
                                     .parameters = {{"z", -2.0, 2.0}},
                                     .float64 = true});
  const EventBatch events = some_events(20);
  const auto at = [&](double z) {
    return slalom::logit_and_slope(*mlp, events.features, tensor({z}));
  };
  const double h = 1e-5;
  const Tensor difference = (at(0.3 + h).logit - at(0.3 - h).logit) / (2.0 * h);
  CHECK(distance(at(0.3).slope, difference) < 1e-9);
}

TEST_CASE("quantiles split weights evenly and keep equal values together",
          "[modules][observable]") {
  const Tensor x = tensor({5, 1, 4, 2, 3, 0}), w = tensor({1, 1, 1, 1, 1, 1});
  CHECK(values(slalom::quantile_edges(x, w, 3)) == Vector{2, 4});
  CHECK(values(slalom::quantile_edges(x, w, 1)).empty());
  // Half of the weight is at 5, where two edges would be.
  CHECK(values(slalom::quantile_edges(x, tensor({5, 1, 1, 1, 1, 1}), 4)) == Vector{2, 5});
  CHECK(values(slalom::quantile_edges(tensor({1, 1, 1}), tensor({1, 1, 1}), 4)) == Vector{1});
  const Tensor many = sequence(1000);
  const Tensor edges = slalom::quantile_edges(many, at::ones({1000}, at::kDouble), 10);
  const Tensor all = at::cat({tensor({-1.0}), edges, tensor({2.0})});
  const auto sums =
      slalom::hard_histogram(many, at::ones({1000}, at::kDouble), all, slalom::FlowBins::fold);
  for (const double sum : values(sums.sumw)) CHECK(std::abs(sum - 100.0) <= 1.0);
  check_fails(ErrorKind::usage, "observable", "no positive sum",
              [&] { slalom::quantile_edges(x, 0.0 * w, 2); });
  check_fails(ErrorKind::usage, "observable", "[6] and [2]", [&] {
    slalom::quantile_edges(x, tensor({1, 2}), 2);
  });
}

TEST_CASE("equal bins of the score are those of the sigmoid", "[modules][observable]") {
  const EventBatch events = some_events(300);
  const Observable observable(formula(), {}, tensor({0.0, 1.1}), {.bins = 10}, events);
  REQUIRE(observable.bins() == 10);
  const Tensor logit = observable.evaluate(events).logit;
  const Tensor expected = ((1.0 / (1.0 + (-logit).exp())) * 10.0).floor().to(at::kLong);
  CHECK(values(observable.bin_of(events)) == values(expected));
}

TEST_CASE("two-dimensional bins have equal signal, and equal shares of it all within",
          "[modules][observable]") {
  const EventBatch events = some_events(6000);
  const ObservableOptions options{
      .bins = 5, .binning = ScoreBinning::equal_signal, .slope_bins = 4, .parameter = 1};
  const Observable observable(formula(), {"a", "b"}, tensor({0.0, 0.9}), options, events);
  REQUIRE(observable.bins() == 20);
  const Tensor index = observable.bin_of(events);
  const Tensor signal = (events.labels == 1).to(at::kDouble);
  const Tensor all = slalom::sum_by_bin(index, events.weights, 20).reshape({5, 4});
  const Tensor of_signal = slalom::sum_by_bin(index, signal, 20).reshape({5, 4}).sum(1);
  const double share = signal.sum().item<double>() / 5.0;
  for (const double sum : values(of_signal)) CHECK(std::abs(sum - share) <= 1.0);
  for (std::int64_t b = 0; b < 5; ++b) {
    const Vector row = values(all[b]);
    for (const double sum : row) CHECK(std::abs(sum - row[0]) <= 1.0);
  }
}

TEST_CASE("what an observable cannot do is refused", "[modules][observable]") {
  const EventBatch events = some_events(10);
  check_fails(ErrorKind::usage, "observable", "needs a classifier that has it",
              [&] { Observable(formula(), {}, {}, {.slope_bins = 3}, events); });
  check_fails(ErrorKind::usage, "observable", "positive number of bins",
              [&] { Observable(formula(), {}, {}, {.bins = 0}, events); });
  const Classifier nan = slalom::as_classifier(std::make_shared<slalom::FunctionClassifierImpl>(
      [](const Tensor& x, const Tensor&) { return x.select(1, 0) * NAN; }));
  check_fails(ErrorKind::numerical, "observable", "is NaN",
              [&] { Observable(nan, {}, {}, {}, events).bin_of(events); });
}
