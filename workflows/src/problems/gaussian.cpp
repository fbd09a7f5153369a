// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/where.h>
#include <numbers>

#include "problems/generator.hpp"

namespace slalom::detail {

namespace {

constexpr double k_width = 0.7;
constexpr double k_centre = 0.5 * std::numbers::sqrt2;  // of the signal, in x and y, at z = pi / 4

void draw(RandomStream& random, std::size_t process, double* event) {
  const double centre = process == k_signal ? k_centre : -k_centre;
  event[0] = centre + k_width * random.normal();
  event[1] = centre + k_width * random.normal();
}

/// The blobs are round, so that turning the events about the origin turns their centres alone.
Variation angle() {
  Variation result;
  result.name = "z";
  result.apply = [](const EventBatch& events, const Tensor& theta) {
    const Tensor t = theta_of(theta, events, "z"), c = at::cos(t), s = at::sin(t);
    const Tensor x = events.column("x"), y = events.column("y");
    return events.with_column("x", c * x - s * y).with_column("y", s * x + c * y);
  };
  result.score = [](const EventBatch& events) {
    const Tensor turn = (events.column("y").to(at::kDouble) - events.column("x").to(at::kDouble)) *
                        (k_centre / (k_width * k_width));
    return at::where(events.process == events.process_index("signal"), turn, -turn);
  };
  return result;
}

/// 2 (x . centre) / width^2, the logarithm of the ratio of two round Gaussians at +-centre.
Tensor log_ratio(const Tensor& features, const Tensor& theta) {
  const Tensor z = 0.25 * std::numbers::pi + theta_at(theta, 0).to(features.device());
  const Tensor x = features.select(1, 0).to(at::kDouble), y = features.select(1, 1).to(at::kDouble);
  return (x * at::cos(z) + y * at::sin(z)) * (2.0 / (k_width * k_width));
}

}  // namespace

Problem gaussian() {
  Problem result;
  result.name = "gaussian";
  result.summary =
      "The toy of uncertainty-aware learning (Ghosh, Nachman and Whiteson, Phys. Rev. D 104 (2021) "
      "056026): two round blobs on a circle, at an uncertain angle.";
  result.columns = {"x", "y"};
  result.processes = two_processes(50000.0, 500.0);
  result.variations = {angle()};
  result.log_ratio = log_ratio;
  set_generator(result, draw);
  set_lattice(result, {{-k_centre, -k_centre, k_width, 0.0, k_width},
                       {k_centre, k_centre, k_width, 0.0, k_width}});
  return result;
}

}  // namespace slalom::detail
