// SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <cmath>
#include <limits>
#include <numbers>

#include "slalom/core/error.hpp"
#include "slalom/modules/events.hpp"
#include "slalom/modules/flow.hpp"
#include "slalom/workflows/ranode.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using Catch::Matchers::WithinAbs;
using slalom::ErrorKind;
using slalom::RanodeOptions;
using slalom::Tensor;
using slalom::test::check_fails;

namespace {

/// Events of a unit Gaussian in the plane, and a narrow one at (1.5, -1).
struct Plane {
  Tensor features, log_background;
};

Plane plane(std::int64_t background, std::int64_t signal, std::uint64_t seed) {
  Tensor x = slalom::normal_rows(background, 2, seed, 1);
  if (signal > 0) {
    const Tensor s = slalom::normal_rows(signal, 2, seed, 2) * 0.3;
    x = at::cat({x, at::stack({s.select(1, 0) + 1.5, s.select(1, 1) - 1.0}, 1)});
  }
  // In no particular order, as folds need it.
  const slalom::EventLoader order(slalom::make_events({"i"}, at::zeros({x.size(0), 1})),
                                  {.batch_size = x.size(0), .seed = seed, .stratified = false});
  x = x.index_select(0, order.indices({0, 0}));
  return {x.to(at::kFloat), -0.5 * (x * x).sum(1) - std::log(2.0 * std::numbers::pi)};
}

RanodeOptions small_options() {
  RanodeOptions options;
  options.make_signal = [](std::uint64_t seed) {
    slalom::FlowOptions flow;
    flow.features = 2;
    flow.layers = 4;
    flow.hidden = 16;
    flow.seed = seed;
    return slalom::as_density(slalom::Flow(flow).ptr());
  };
  options.epochs = 20;
  options.batch_size = 128;
  options.learning_rate = 5e-3;
  return options;
}

}  // namespace

TEST_CASE("RANODE finds the fraction and where the signal is", "[workflows][ranode]") {
  const Plane events = plane(8000, 400, 1);
  const slalom::RanodeFit result =
      slalom::fit_ranode(events.features, events.log_background, small_options());
  REQUIRE(result.fit.converged());
  CHECK_THAT(result.fit.mu, WithinAbs(400.0 / 8400.0, 0.012));
  CHECK(result.fit.q0 > 200.0);
  CHECK(result.interval.lower < result.fit.mu);
  CHECK(result.interval.upper > result.fit.mu);
  CHECK(result.signal.densities.size() == 2);
  // The trained density is large at the signal, and small at its mirror image.
  const Tensor place = at::tensor({1.5F, -1.0F, -1.5F, 1.0F}).reshape({2, 2});
  const Tensor log_p = result.signal.densities[0].ptr()->log_prob(place, {});
  CHECK(log_p[0].item<double>() > log_p[1].item<double>() + 3.0);
}

TEST_CASE("RANODE finds nothing in the background alone", "[workflows][ranode]") {
  for (const std::uint64_t seed : {2U, 3U}) {
    const Plane events = plane(8000, 0, seed);
    const slalom::RanodeFit result =
        slalom::fit_ranode(events.features, events.log_background, small_options());
    CHECK(result.fit.q0 < 9.0);
    // What the training itself believes is another matter.
    for (const double w : result.signal.fractions) CHECK(w > 0.0);
  }
}

TEST_CASE("RANODE's scan has its maximum near the fraction", "[workflows][ranode]") {
  const Plane events = plane(8000, 400, 4);
  const slalom::RanodeScan scan = slalom::scan_ranode(events.features, events.log_background,
                                                      {0.01, 0.04, 0.12}, small_options(), 20);
  CHECK_THAT(scan.best, WithinAbs(400.0 / 8400.0, 0.022));
  CHECK(scan.lower < scan.best);
  CHECK(scan.upper > scan.best);
  CHECK(scan.lower_95 < scan.lower);
  CHECK(scan.upper_95 > scan.upper);
  CHECK(scan.q0 > 200.0);
  REQUIRE(scan.error.size() == 3);
  for (const double error : scan.error) CHECK(error >= 0.0);
  const Plane nothing = plane(8000, 0, 5);
  const slalom::RanodeScan null = slalom::scan_ranode(nothing.features, nothing.log_background,
                                                      {0.003, 0.01, 0.03}, small_options(), 20);
  CHECK(null.q0 < 6.0);
  CHECK(null.lower == 0.0);
}

TEST_CASE("RANODE: same seed, same result, whatever the number of threads", "[workflows][ranode]") {
  const Plane events = plane(2000, 100, 6);
  RanodeOptions options = small_options();
  options.epochs = 2;
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const Tensor one =
      slalom::train_ranode(events.features, events.log_background, options).log_ratio;
  at::set_num_threads(2);
  const Tensor two =
      slalom::train_ranode(events.features, events.log_background, options).log_ratio;
  at::set_num_threads(before);
  CHECK(one.equal(two));
  options.seed = 2;
  CHECK_FALSE(
      one.equal(slalom::train_ranode(events.features, events.log_background, options).log_ratio));
}

TEST_CASE("RANODE: bad input", "[workflows][ranode]") {
  const Plane events = plane(200, 0, 7);
  RanodeOptions options = small_options();
  options.epochs = 1;
  const auto train = [&](const RanodeOptions& with) {
    slalom::train_ranode(events.features, events.log_background, with);
  };
  RanodeOptions wrong = options;
  wrong.folds = 1;
  check_fails(ErrorKind::usage, "ranode", "at least 2 folds", [&] { train(wrong); });
  wrong = options;
  wrong.start = 0.0;
  CHECK_THROWS_AS(train(wrong), slalom::Error);
  wrong = options;
  wrong.make_signal = {};
  CHECK_THROWS_AS(train(wrong), slalom::Error);
  Tensor bad = events.log_background.clone();
  bad[3] = -std::numeric_limits<double>::infinity();
  check_fails(ErrorKind::numerical, "ranode", "event 3",
              [&] { slalom::train_ranode(events.features, bad, options); });
  CHECK_THROWS_AS(slalom::scan_ranode(events.features, events.log_background, {0.1, 0.2}, options),
                  slalom::Error);
  CHECK_THROWS_AS(
      slalom::scan_ranode(events.features, events.log_background, {0.1, 0.3, 0.2}, options),
      slalom::Error);
}
