// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>

#include "problems/generator.hpp"

namespace slalom::detail {

namespace {

struct Point {
  double x, y;
};

constexpr Point k_signal_at{-1.0, 1.0}, k_background_at{1.0, -1.0}, k_up{2.5, 2.0},
    k_down{-2.5, -1.5};
/// d mean / d theta at 0, the mean of both sides.
constexpr Point k_slope{0.5 * (k_up.x - k_down.x), 0.5 * (k_up.y - k_down.y)};
/// What moves the same way on both sides.
constexpr Point k_bend{0.5 * (k_up.x + k_down.x) - k_background_at.x,
                       0.5 * (k_up.y + k_down.y) - k_background_at.y};

void draw(RandomStream& random, std::size_t process, double* event) {
  const Point mean = process == k_signal ? k_signal_at : k_background_at;
  event[0] = mean.x + random.normal();
  event[1] = mean.y + random.normal();
}

Variation shape() {
  Variation result;
  result.name = "shape";
  result.apply = [](const EventBatch& events, const Tensor& theta) {
    const Tensor t = theta_of(theta, events, "shape"), size = at::abs(t);
    return events.with_column("x", events.column("x") + (k_slope.x * t + k_bend.x * size))
        .with_column("y", events.column("y") + (k_slope.y * t + k_bend.y * size));
  };
  result.score = [](const EventBatch& events) {
    return k_slope.x * (events.column("x").to(at::kDouble) - k_background_at.x) +
           k_slope.y * (events.column("y").to(at::kDouble) - k_background_at.y);
  };
  result.processes = {"background"};
  return result;
}

}  // namespace

Problem blobs() {
  Problem result;
  result.name = "blobs";
  result.summary =
      "The blobs of neos (Simpson and Heinrich, arXiv:2203.05570): a background in the plane that "
      "jumps to one of two other places.";
  result.columns = {"x", "y"};
  result.processes = two_processes(100.0, 20.0);
  result.variations = {shape()};
  set_generator(result, draw);
  return result;
}

}  // namespace slalom::detail
