// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <cmath>

#include "slalom/modules/autodiff.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using at::Tensor;
using Catch::Matchers::WithinAbs;

namespace {

Tensor vector(double a, double b) {
  Tensor result = at::zeros({2}, at::kDouble);
  result[0] = a;
  result[1] = b;
  return result.requires_grad_(true);
}

double at2(const Tensor& m, int i, int j) { return m[i][j].item<double>(); }

}  // namespace

TEST_CASE("derivatives of a function with a known Hessian", "[modules][autodiff]") {
  const Tensor x = vector(0.5, -2.0);
  const Tensor f = x[0] * x[0] * x[1] + at::exp(x[1]);
  const Tensor slope = slalom::gradient(f, x);
  CHECK_THAT(slope[0].item<double>(), WithinAbs(-2.0, 1e-14));
  CHECK_THAT(slope[1].item<double>(), WithinAbs(0.25 + std::exp(-2.0), 1e-14));
  const Tensor h = slalom::hessian(f, x, true);
  CHECK_THAT(at2(h, 0, 0), WithinAbs(-4.0, 1e-14));
  CHECK_THAT(at2(h, 0, 1), WithinAbs(1.0, 1e-14));
  CHECK_THAT(at2(h, 1, 1), WithinAbs(std::exp(-2.0), 1e-14));
  // Third derivative: d (sum of the Hessian) / dx.
  const Tensor third = slalom::gradient(h.sum(), x);
  CHECK_THAT(third[0].item<double>(), WithinAbs(4.0, 1e-14));
  CHECK_THAT(third[1].item<double>(), WithinAbs(2.0 + std::exp(-2.0), 1e-14));
  CHECK_FALSE(x.grad().defined());
}

TEST_CASE("a Jacobian has a row per value, zeros where nothing depends", "[modules][autodiff]") {
  const Tensor x = vector(1.0, 3.0);
  const Tensor j = slalom::jacobian(at::stack({x[0] * x[1], x[1].detach(), 2.0 * x[1]}), x);
  CHECK(j.sizes() == at::IntArrayRef({3, 2}));
  CHECK(at2(j, 0, 0) == 3.0);
  CHECK(at2(j, 1, 1) == 0.0);
  CHECK(at2(j, 2, 1) == 2.0);
}

TEST_CASE("what does not take part has a gradient of zeros", "[modules][autodiff]") {
  const Tensor x = vector(1.0, 3.0), y = vector(2.0, 2.0);
  CHECK(slalom::gradient(x.sum(), y).sum().item<double>() == 0.0);
}

TEST_CASE("values without a graph and vectors are refused", "[modules][autodiff]") {
  const Tensor x = vector(1.0, 3.0);
  slalom::test::check_fails(slalom::ErrorKind::numerical, "gradient", "a scalar expected",
                            [&] { slalom::gradient(2.0 * x, x); });
  slalom::test::check_fails(slalom::ErrorKind::numerical, "gradient", "does not depend",
                            [&] { slalom::gradient(x.detach().sum(), x); });
}
