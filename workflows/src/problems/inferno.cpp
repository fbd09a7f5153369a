// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <cmath>

#include "problems/generator.hpp"

namespace slalom::detail {

namespace {

constexpr double k_background_rate = 3.0, k_signal_rate = 2.0;
constexpr double k_mean = 2.0, k_variance_0 = 5.0, k_variance_1 = 9.0;

void draw(RandomStream& random, std::size_t process, double* event) {
  const bool signal = process == k_signal;
  const double x0 = random.normal(), x1 = random.normal();
  event[0] = signal ? x0 : k_mean + std::sqrt(k_variance_0) * x0;
  event[1] = signal ? x1 : std::sqrt(k_variance_1) * x1;
  event[2] = -std::log(random.uniform()) / (signal ? k_signal_rate : k_background_rate);
}

Variation mean_of_x0() {
  Variation r = shift_variation("r", {"x0"}, 1.0);
  r.score = [](const EventBatch& events) {
    return (events.column("x0").to(at::kDouble) - k_mean) / k_variance_0;
  };
  r.processes = {"background"};
  return r;
}

Variation rate_of_x2() {
  Variation lambda;
  lambda.name = "lambda";
  lambda.apply = [](const EventBatch& events, const Tensor& theta) {
    const Tensor rate =
        k_background_rate + theta_above(theta, events, 1.0 / k_background_rate, "lambda");
    return events.with_column("x2", events.column("x2") * (k_background_rate / rate));
  };
  lambda.score = [](const EventBatch& events) {
    return 1.0 / k_background_rate - events.column("x2").to(at::kDouble);
  };
  lambda.processes = {"background"};
  return lambda;
}

}  // namespace

Problem inferno() {
  Problem result;
  result.name = "inferno";
  result.summary =
      "The synthetic benchmark of INFERNO (de Castro and Dorigo, Comput. Phys. Commun. 244 (2019) "
      "170): a background with an uncertain mean and an uncertain rate, in three dimensions.";
  result.columns = {"x0", "x1", "x2"};
  result.processes = two_processes(1000.0, 50.0);
  result.variations = {mean_of_x0(), rate_of_x2()};
  set_generator(result, draw);
  return result;
}

}  // namespace slalom::detail
