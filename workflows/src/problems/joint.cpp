// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/log.h>
#include <ATen/ops/where.h>
#include <cmath>

#include "problems/generator.hpp"

namespace slalom::detail {

namespace {

constexpr double k_scale = 0.2;  // of the energy, for one standard deviation

/// Means of x1, x2 and u, whose variances are 1; mean and width of ln E.
struct Shape {
  double x, u, log_energy, width;
};

const Shape& shape_of(std::size_t process) {
  static const Shape background{0.0, 0.0, std::log(40.0), 0.6};
  static const Shape signal{0.8, 1.0, std::log(70.0), 0.3};
  return process == k_signal ? signal : background;
}

void draw(RandomStream& random, std::size_t process, double* event) {
  const Shape& shape = shape_of(process);
  event[0] = shape.x + random.normal();
  event[1] = shape.x + random.normal();
  event[2] = shape.u + random.normal();
  event[3] = std::exp(shape.log_energy + shape.width * random.normal());
}

/// d log density / d alpha as that of one process.
Tensor score_of(const Tensor& x2, const Tensor& log_energy, const Shape& shape) {
  return (x2 - shape.x) + k_scale * (log_energy - shape.log_energy) / (shape.width * shape.width);
}

Variation alpha() {
  Variation result;
  result.name = "alpha";
  result.apply = [](const EventBatch& events, const Tensor& theta) {
    const Tensor t = theta_above(theta, events, k_scale, "alpha");
    return events.with_column("x2", events.column("x2") + t)
        .with_column("E", events.column("E") * (1.0 + k_scale * t));
  };
  result.score = [](const EventBatch& events) {
    const Tensor x2 = events.column("x2").to(at::kDouble),
                 log_energy = at::log(events.column("E").to(at::kDouble));
    return at::where(events.process == events.process_index("signal"),
                     score_of(x2, log_energy, shape_of(k_signal)),
                     score_of(x2, log_energy, shape_of(k_background)));
  };
  return result;
}

}  // namespace

Problem joint() {
  Problem result;
  result.name = "joint";
  result.summary =
      "A problem of this project, for training classifier, cut and edges together: two features to "
      "classify, one to cut on, and an energy, with one nuisance that moves all events.";
  result.columns = {"x1", "x2", "u", "E"};
  result.processes = two_processes(1000.0, 60.0);
  result.variations = {alpha()};
  set_generator(result, draw);
  return result;
}

}  // namespace slalom::detail
