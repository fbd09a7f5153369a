// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "problems/generator.hpp"

namespace slalom::detail {

namespace {

constexpr double k_resolution = 0.1;

void draw(RandomStream& random, std::size_t process, double* event) {
  const double normal = random.normal();
  event[0] =
      process == k_signal ? 2.0 + 0.5 * normal : k_resolution * normal - std::log(random.uniform());
}

}  // namespace

Problem exponential_cut() {
  Problem result;
  result.name = "exponential_cut";
  result.summary =
      "The cut of the example notebook of relaxed: a peak on a falling background in one feature, "
      "and nothing uncertain.";
  result.columns = {"x"};
  result.processes = two_processes(1000.0, 100.0);
  set_generator(result, draw);
  return result;
}

}  // namespace slalom::detail
