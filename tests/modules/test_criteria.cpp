// SPDX-License-Identifier: Apache-2.0
// Criteria of optimal design against closed forms, and cross entropy.
#include "slalom/modules/torch.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/zeros.h>
#include <cmath>
#include <vector>

#include "slalom/modules/autodiff.hpp"
#include "slalom/modules/criteria.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using at::Tensor;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::Criterion;
using slalom::DesignOptions;

namespace {

Tensor numbers(std::vector<double> values) {
  Tensor result = at::zeros({static_cast<std::int64_t>(values.size())}, at::kDouble);
  for (std::size_t i = 0; i < values.size(); ++i) result[static_cast<std::int64_t>(i)] = values[i];
  return result;
}

double loss(const Tensor& information, const DesignOptions& options,
            const std::vector<std::int64_t>& interest = {0, 1}) {
  return slalom::design_loss(information, interest, options).item<double>();
}

}  // namespace

TEST_CASE("criteria have their closed forms in two parameters", "[modules][criteria]") {
  // V = [[4, 1.2], [1.2, 1]]: eigenvalues 2.5 +- sqrt(1.5^2 + 1.2^2).
  const Tensor covariance = numbers({4.0, 1.2, 1.2, 1.0}).reshape({2, 2});
  const Tensor information = covariance.inverse();
  const double root = std::sqrt(1.5 * 1.5 + 1.2 * 1.2), large = 2.5 + root, small = 2.5 - root;
  CHECK_THAT(loss(information, {.criterion = Criterion::a}), WithinAbs(0.5 * std::log(2.5), 1e-13));
  CHECK_THAT(loss(information, {.criterion = Criterion::d}),
             WithinAbs(0.25 * std::log(4.0 - 1.44), 1e-13));
  CHECK_THAT(loss(information, {.criterion = Criterion::e, .power = 0}),
             WithinAbs(0.5 * std::log(large), 1e-13));
  for (const std::int64_t p : {1, 2, 16, 64}) {
    const auto n = static_cast<double>(p);
    const double mean = std::pow(0.5 * (std::pow(large, n) + std::pow(small, n)), 1.0 / n);
    CHECK_THAT(loss(information, {.criterion = Criterion::e, .power = p}),
               WithinAbs(0.5 * std::log(mean), 1e-13));
  }
  // In units of the uncertainties the variances are 1.
  CHECK_THAT(loss(information, {.criterion = Criterion::a, .units = {2.0, 1.0}}),
             WithinAbs(0.0, 1e-13));
}

TEST_CASE("all criteria are log sigma of one parameter, others profiled", "[modules][criteria]") {
  const Tensor information = numbers({5, 1, 0.5, 1, 3, -0.4, 0.5, -0.4, 2}).reshape({3, 3});
  const double expected = 0.5 * std::log(information.inverse()[1][1].item<double>());
  for (const Criterion c : {Criterion::a, Criterion::d, Criterion::e}) {
    for (const std::int64_t power : {0, 16}) {
      CHECK_THAT(loss(information, {.criterion = c, .power = power}, {1}),
                 WithinAbs(expected, 1e-13));
    }
  }
}

TEST_CASE("criteria have the derivatives of finite differences", "[modules][criteria]") {
  const Tensor base = numbers({5, 1, 0.5, 1, 3, -0.4, 0.5, -0.4, 2}).reshape({3, 3});
  Tensor direction = numbers({0.3, 0.1, -0.2, 0.1, -0.4, 0.2, -0.2, 0.2, 0.5}).reshape({3, 3});
  for (const Criterion c : {Criterion::a, Criterion::d, Criterion::e}) {
    for (const std::int64_t power : {0, 8}) {
      const DesignOptions options{.criterion = c, .power = power};
      Tensor x = base.clone().requires_grad_(true);
      const Tensor value = slalom::design_loss(x, {0, 2}, options);
      const double found = (slalom::gradient(value, x) * direction).sum().item<double>();
      const auto at = [&](double h) { return loss(base + h * direction, options, {0, 2}); };
      const double h = 1e-3;
      const double expected = (8.0 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12.0 * h);
      CHECK_THAT(found, WithinAbs(expected, 1e-9));
    }
  }
  // Equal eigenvalues: the power mean still has a derivative.
  Tensor same = at::eye(2, at::kDouble).requires_grad_(true);
  const Tensor slope =
      slalom::gradient(slalom::design_loss(same, {0, 1}, {.criterion = Criterion::e}), same);
  CHECK_THAT(slope[0][0].item<double>(), WithinAbs(-0.25, 1e-12));
  CHECK_THAT(slope[1][1].item<double>(), WithinAbs(-0.25, 1e-12));
}

TEST_CASE("cross entropy has its closed form and weights", "[modules][criteria]") {
  Tensor logits = numbers({0.3, -1.0, 2.0, 0.0}).requires_grad_(true);
  Tensor labels = numbers({1, 0, 1, 0}).to(at::kLong);
  const Tensor weights = numbers({1, 2, 1, 4});
  const auto soft = [](double x) { return std::log1p(std::exp(x)); };
  const double expected = (soft(-0.3) + 2 * soft(-1.0) + soft(-2.0) + 4 * soft(0.0)) / 8.0;
  const Tensor value = slalom::cross_entropy(logits, labels, weights);
  CHECK_THAT(value.item<double>(), WithinRel(expected, 1e-14));
  CHECK_THAT(slalom::gradient(value, logits)[3].item<double>(), WithinRel(0.25, 1e-14));
  // Two outputs (0, x) are one output x.
  Tensor two = at::zeros({4, 2}, at::kDouble);
  for (std::int64_t i = 0; i < 4; ++i) two[i][1] = logits.detach()[i];
  CHECK_THAT(slalom::cross_entropy(two, labels, weights).item<double>(),
             WithinRel(expected, 1e-14));
  const Tensor balanced = slalom::balanced_weights(labels, weights);
  CHECK_THAT(balanced[0].item<double>(), WithinRel(0.25, 1e-15));
  CHECK_THAT(balanced[3].item<double>(), WithinRel(4.0 / 12.0, 1e-15));
  CHECK_THAT(slalom::cross_entropy(logits.to(at::kFloat), labels).item<double>(),
             WithinRel((soft(-0.3) + soft(-1.0) + soft(-2.0) + soft(0.0)) / 4.0, 1e-6));
}

TEST_CASE("criteria refuse what makes no sense", "[modules][criteria]") {
  using slalom::test::check_fails;
  const Tensor good = at::eye(2, at::kDouble);
  check_fails(slalom::ErrorKind::numerical, "criteria", "positive definite",
              [&] { slalom::design_loss(-good, {0}); });
  check_fails(slalom::ErrorKind::usage, "criteria", "no such parameter",
              [&] { slalom::design_loss(good, {2}); });
  check_fails(slalom::ErrorKind::usage, "criteria", "twice", [&] {
    slalom::design_loss(good, {0, 0});
  });
  check_fails(slalom::ErrorKind::usage, "power", "power of 2", [&] {
    slalom::design_loss(good, {0, 1}, {.criterion = Criterion::e, .power = 3});
  });
  check_fails(slalom::ErrorKind::numerical, "cross_entropy", "sum 0", [&] {
    slalom::cross_entropy(numbers({1, 2}), numbers({0, 1}), numbers({1, -1}));
  });
  check_fails(slalom::ErrorKind::numerical, "cross_entropy", "no positive weight", [&] {
    slalom::balanced_weights(numbers({1, 1}));
  });
}

TEST_CASE("a mixture goes from a warm-up to the loss", "[modules][criteria]") {
  int warm_up_calls = 0;
  const std::vector<slalom::LossTerm> terms = {
      {[&] {
         ++warm_up_calls;
         return numbers({3.0}).sum();
       },
       slalom::until(10)},
      {[] { return numbers({5.0}).sum(); }, slalom::from(10)}};
  CHECK(slalom::mixture(terms, 0).item<double>() == 3.0);
  CHECK(slalom::mixture(terms, 9).item<double>() == 3.0);
  CHECK(slalom::mixture(terms, 10).item<double>() == 5.0);
  CHECK(slalom::mixture(terms, 500).item<double>() == 5.0);
  CHECK(warm_up_calls == 2);
  // A slow change from one to the other.
  const slalom::Schedule rise{slalom::ScheduleShape::linear, 0.0, 1.0, 10};
  const slalom::Schedule fall{slalom::ScheduleShape::linear, 1.0, 0.0, 10};
  CHECK_THAT(slalom::mixture({{terms[0].loss, fall}, {terms[1].loss, rise}}, 5).item<double>(),
             WithinAbs(4.0, 1e-14));
  slalom::test::check_fails(slalom::ErrorKind::usage, "mixture", "no loss",
                            [&] { slalom::mixture({terms[1]}, 0); });
}
