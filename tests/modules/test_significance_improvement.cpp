// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <vector>

#include "slalom/core/normal.hpp"
#include "slalom/core/random.hpp"
#include "slalom/modules/significance_improvement.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/tensors.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::ErrorKind;
using slalom::normal_cdf;
using slalom::significance_improvement;
using slalom::significance_improvement_at;
using slalom::SignificanceImprovement;
using slalom::SignificanceImprovementCurve;
using slalom::test::check_fails;
using slalom::test::tensor;

namespace {

/// Scores of a normal background at 0 and a normal signal at 2.
struct Normal {
  std::vector<double> scores, labels;
  Normal(std::size_t background, std::size_t signal, std::uint64_t seed) {
    slalom::RandomStream random(seed, 0);
    for (std::size_t i = 0; i < background + signal; ++i) {
      const bool is_signal = i >= background;
      scores.push_back(random.normal() + (is_signal ? 2.0 : 0.0));
      labels.push_back(is_signal ? 1.0 : 0.0);
    }
  }
};

double exact(double threshold) {
  return normal_cdf(2.0 - threshold) / std::sqrt(normal_cdf(-threshold));
}

}  // namespace

TEST_CASE("two normal distributions in closed form", "[modules][significance_improvement]") {
  const Normal events(200000, 50000, 1);
  const SignificanceImprovementCurve curve =
      significance_improvement(tensor(events.scores), tensor(events.labels));
  REQUIRE(curve.points.size() > 190);
  CHECK(curve.points.front().signal_efficiency == 1.0);
  CHECK(curve.points.front().background_efficiency == 1.0);
  CHECK(curve.points.front().value == 1.0);
  CHECK(curve.points.front().error == 0.0);
  CHECK_THAT(curve.points.back().background_efficiency, WithinRel(1e-3, 0.02));
  int inside = 0;
  for (const SignificanceImprovement& point : curve.points) {
    CHECK_THAT(point.value, WithinAbs(exact(point.threshold), 5.0 * point.error + 1e-5));
    if (std::abs(point.value - exact(point.threshold)) <= 2.0 * point.error) ++inside;
  }
  CHECK(inside > 150);
  double best = 0.0;
  for (double t = 0.0; t < 3.09; t += 0.001) best = std::max(best, exact(t));
  CHECK_THAT(curve.best.value, WithinRel(best, 0.04));
  CHECK(curve.best.value >= exact(curve.best.threshold) - 3.0 * curve.best.error);
}

TEST_CASE("the error is the spread of repetitions", "[modules][significance_improvement]") {
  double mean = 0.0, square = 0.0, error = 0.0;
  constexpr int k_repetitions = 200;
  for (int i = 0; i < k_repetitions; ++i) {
    const Normal events(4000, 500, static_cast<std::uint64_t>(i) + 10);
    const SignificanceImprovement point =
        significance_improvement_at(tensor(events.scores), tensor(events.labels), 1.5);
    mean += point.value / k_repetitions;
    square += point.value * point.value / k_repetitions;
    error += point.error / k_repetitions;
  }
  CHECK_THAT(mean, WithinAbs(exact(1.5), 3.0 * error / std::sqrt(k_repetitions)));
  CHECK_THAT(std::sqrt(square - mean * mean), WithinRel(error, 0.15));
}

TEST_CASE("weights, ties and the limit", "[modules][significance_improvement]") {
  const std::vector<double> scores{3, 2, 2, 1, 0}, labels{1, 0, 1, 0, 0}, weights{1, 1, 3, 1, 2};
  slalom::SignificanceImprovementOptions options;
  options.min_background_efficiency = 0.25;
  const SignificanceImprovementCurve curve =
      significance_improvement(tensor(scores), tensor(labels), tensor(weights), options);
  // Above 2 there is signal alone: less than a quarter of the background. Below 2 no more signal
  // is won, which leaves both ends of the curve.
  REQUIRE(curve.points.size() == 2);
  CHECK(curve.points[0].threshold == 0.0);
  CHECK(curve.points[0].value == 1.0);
  CHECK(curve.points[1].threshold == 2.0);
  CHECK(curve.points[1].signal_efficiency == 1.0);
  CHECK(curve.points[1].background_efficiency == 0.25);
  CHECK_THAT(curve.points[1].value, WithinRel(2.0, 1e-12));
  // Background: 16 / 6 effective events, a quarter of which pass.
  CHECK_THAT(curve.points[1].error,
             WithinRel(2.0 * 0.5 * std::sqrt(0.75 / (0.25 * 16.0 / 6.0)), 1e-12));
  CHECK(curve.best.threshold == 2.0);
  const SignificanceImprovement above =
      significance_improvement_at(tensor(scores), tensor(labels), 2.5, tensor(weights));
  CHECK(above.background_efficiency == 0.0);
  CHECK(above.value == 0.0);
  CHECK(above.signal_efficiency == 0.25);
}

TEST_CASE("a score without information improves nothing", "[modules][significance_improvement]") {
  const SignificanceImprovementCurve curve =
      significance_improvement(tensor({1, 1, 1, 1}), tensor({0, 1, 0, 1}));
  REQUIRE(curve.points.size() == 1);
  CHECK(curve.best.value == 1.0);
}

TEST_CASE("the cut that a share of the events passes", "[modules][significance_improvement]") {
  const at::Tensor scores = tensor({5, 1, 4, 2, 3});
  CHECK(slalom::score_threshold(scores, 0.2) == 4.5);
  CHECK(slalom::score_threshold(scores, 0.4) == 3.5);
  CHECK(slalom::score_threshold(scores, 0.8) == 1.5);
  // At least one event on each side.
  CHECK(slalom::score_threshold(scores, 1e-9) == 4.5);
  CHECK(slalom::score_threshold(scores, 0.999) == 1.5);
  check_fails(ErrorKind::usage, "significance_improvement", "an efficiency between",
              [&] { slalom::score_threshold(scores, 0.0); });
  check_fails(ErrorKind::usage, "significance_improvement", "two events and more",
              [] { slalom::score_threshold(tensor({1}), 0.5); });
}

TEST_CASE("scores that are none", "[modules][significance_improvement]") {
  check_fails(ErrorKind::usage, "significance_improvement", "[n] expected", [] {
    significance_improvement(tensor({1, 2}), tensor({1}));
  });
  check_fails(ErrorKind::numerical, "significance_improvement[1]", "finite scores", [] {
    significance_improvement(tensor({1, std::nan("")}), tensor({1, 0}));
  });
  check_fails(ErrorKind::numerical, "significance_improvement[0]", "weights >= 0", [] {
    significance_improvement(tensor({1, 2}), tensor({1, 0}), tensor({-1, 1}));
  });
  check_fails(ErrorKind::numerical, "significance_improvement", "need weights", [] {
    significance_improvement(tensor({1, 2}), tensor({1, 1}));
  });
  check_fails(ErrorKind::usage, "significance_improvement", "min_background_efficiency", [] {
    significance_improvement(tensor({1, 2}), tensor({1, 0}), {},
                             {.min_background_efficiency = 0.0});
  });
}
