// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <cmath>

#include "problems/generator.hpp"

namespace slalom::detail {

namespace {

// The background's covariance [[1, -1/2], [-1/2, 1]] is F F', F = [[1, 0], [-1/2, sqrt(3) / 2]].
constexpr double k_correlation = -0.5;
const double k_factor = std::sqrt(1.0 - k_correlation * k_correlation);

void draw(RandomStream& random, std::size_t process, double* event) {
  const double u = random.normal(), v = random.normal();
  event[0] = process == k_signal ? 1.0 + u : u;
  event[1] = process == k_signal ? 1.0 + v : k_correlation * u + k_factor * v;
}

Variation height() {
  Variation result = shift_variation("z", {"x2"}, 1.0);
  result.score = [](const EventBatch& events) { return events.column("x2").to(at::kDouble) - 1.0; };
  result.processes = {"signal"};
  return result;
}

Tensor log_ratio(const Tensor& features, const Tensor& theta) {
  const Tensor z = theta_at(theta, 0).to(features.device());
  const Tensor x = features.select(1, 0).to(at::kDouble), y = features.select(1, 1).to(at::kDouble),
               v = (y - k_correlation * x) / k_factor;
  const Tensor signal = (x - 1.0) * (x - 1.0) + (y - 1.0 - z) * (y - 1.0 - z),
               background = x * x + v * v;
  return 0.5 * (background - signal) + std::log(k_factor);
}

}  // namespace

Problem pivot() {
  Problem result;
  result.name = "pivot";
  result.summary =
      "The toy of Louppe, Kagan and Cranmer (NeurIPS 2017, arXiv:1611.01046): two Gaussians in the "
      "plane, a signal at an uncertain height.";
  result.columns = {"x1", "x2"};
  result.processes = two_processes(1000.0, 1000.0);
  result.variations = {height()};
  result.log_ratio = log_ratio;
  set_generator(result, draw);
  set_lattice(result, {{0.0, 0.0, 1.0, k_correlation, k_factor}, {1.0, 1.0}});
  return result;
}

}  // namespace slalom::detail
