// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>

#include "problems/generator.hpp"

namespace slalom::detail {

namespace {

constexpr double k_background_mean = 1.0;

void draw(RandomStream& random, std::size_t process, double* event) {
  const double mean = process == k_signal ? 0.0 : k_background_mean;
  event[0] = mean + random.normal();
  event[1] = mean + random.normal();
}

}  // namespace

Problem wunsch() {
  Problem result;
  result.name = "wunsch";
  result.summary =
      "The toy of Wunsch, Joerger, Wolf and Quast (Comput. Softw. Big Sci. 5 (2021) 4): two "
      "Gaussians in the plane, and a background that moves along the second feature.";
  result.columns = {"x1", "x2"};
  result.processes = two_processes(1000.0, 50.0);
  Variation shift = shift_variation("shift", {"x2"}, 1.0);
  shift.score = [](const EventBatch& events) {
    return events.column("x2").to(at::kDouble) - k_background_mean;
  };
  shift.processes = {"background"};
  result.variations = {shift};
  set_generator(result, draw);
  return result;
}

}  // namespace slalom::detail
