// SPDX-License-Identifier: Apache-2.0
#include "problems/generator.hpp"

namespace slalom::detail {

namespace {

void draw(RandomStream& random, std::size_t process, double* event) {
  event[0] = process == k_signal ? 50.0 + 5.0 * random.normal() : 40.0 + 10.0 * random.normal();
}

}  // namespace

Problem cuts() {
  Problem result;
  result.name = "cuts";
  result.summary =
      "The cut of A. Held's notebook on differentiable significances: a narrow signal on a wide "
      "background in one feature, and nothing uncertain.";
  result.columns = {"x"};
  result.processes = two_processes(8000.0, 300.0);
  set_generator(result, draw);
  return result;
}

}  // namespace slalom::detail
