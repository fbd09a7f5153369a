// SPDX-License-Identifier: Apache-2.0
// Values at the anchors, continuity at the joints, derivatives against finite differences.
#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <cmath>
#include <functional>
#include <vector>

#include "slalom/modules/autodiff.hpp"
#include "slalom/modules/interpolation.hpp"
#include "support/catch.hpp"

using at::Tensor;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::HistosysCode;
using slalom::NormsysCode;

namespace {

Tensor scalar(double value) { return at::zeros({}, at::kDouble).fill_(value).requires_grad_(true); }

double delta(HistosysCode code, double alpha, double hi = 13.0, double lo = 8.0) {
  return slalom::histosys_delta(code, scalar(alpha), scalar(10.0), scalar(hi), scalar(lo))
      .item<double>();
}

double factor(NormsysCode code, double alpha, double hi = 1.3, double lo = 0.85) {
  return slalom::normsys_factor(code, scalar(alpha), scalar(hi), scalar(lo)).item<double>();
}

/// First and second derivative by autograd against central differences of a scalar function.
void check_derivatives(const std::function<Tensor(const Tensor&)>& f, double x) {
  const Tensor at = scalar(x);
  const Tensor first = slalom::gradient(f(at), at, true);
  const Tensor second = slalom::gradient(first, at);
  const double h = 1e-3;
  const auto value = [&](double y) { return f(scalar(y)).item<double>(); };
  const double slope =
      (8.0 * (value(x + h) - value(x - h)) - (value(x + 2 * h) - value(x - 2 * h))) / (12.0 * h);
  const double curvature = (-value(x + 2 * h) + 16.0 * value(x + h) - 30.0 * value(x) +
                            16.0 * value(x - h) - value(x - 2 * h)) /
                           (12.0 * h * h);
  INFO("at " << x);
  CHECK_THAT(first.item<double>(), WithinAbs(slope, 1e-8 * (1.0 + std::abs(slope))));
  CHECK_THAT(second.item<double>(), WithinAbs(curvature, 1e-6 * (1.0 + std::abs(curvature))));
}

}  // namespace

TEST_CASE("a histosys has its templates at 0 and +-1", "[modules][interpolation]") {
  for (const HistosysCode code : {HistosysCode::code0, HistosysCode::code4p}) {
    CHECK(delta(code, 0.0) == 0.0);
    CHECK_THAT(delta(code, 1.0), WithinAbs(3.0, 1e-14));
    CHECK_THAT(delta(code, -1.0), WithinAbs(-2.0, 1e-14));
    CHECK_THAT(delta(code, 2.5), WithinAbs(7.5, 1e-13));
    CHECK_THAT(delta(code, -2.5), WithinAbs(-5.0, 1e-13));
  }
  // code2 has its templates inside, and is discontinuous as pyhf has it.
  CHECK_THAT(delta(HistosysCode::code2, 1.0), WithinAbs(3.0, 1e-14));
  CHECK_THAT(delta(HistosysCode::code2, 2.0), WithinAbs(3.5, 1e-14));
  CHECK_THAT(delta(HistosysCode::code2, -2.0), WithinAbs(-3.0, 1e-14));
}

TEST_CASE("a normsys has its factors at 0 and +-1", "[modules][interpolation]") {
  for (const NormsysCode code : {NormsysCode::code1, NormsysCode::code4}) {
    CHECK_THAT(factor(code, 0.0), WithinRel(1.0, 1e-15));
    CHECK_THAT(factor(code, 1.0), WithinRel(1.3, 1e-14));
    CHECK_THAT(factor(code, -1.0), WithinRel(0.85, 1e-14));
    CHECK_THAT(factor(code, 2.0), WithinRel(1.69, 1e-14));
    CHECK_THAT(factor(code, -2.0), WithinRel(0.7225, 1e-14));
  }
}

TEST_CASE("interpolations have the derivatives of finite differences", "[modules][interpolation]") {
  for (const double alpha : {-2.2, -0.7, 0.3, 0.95, 1.6}) {
    for (const HistosysCode code :
         {HistosysCode::code0, HistosysCode::code2, HistosysCode::code4p}) {
      check_derivatives(
          [&](const Tensor& a) {
            return slalom::histosys_delta(code, a, scalar(10.0), scalar(13.0), scalar(8.0));
          },
          alpha);
    }
    for (const NormsysCode code : {NormsysCode::code1, NormsysCode::code4}) {
      check_derivatives(
          [&](const Tensor& a) {
            return slalom::normsys_factor(code, a, scalar(1.3), scalar(0.85));
          },
          alpha);
      check_derivatives(
          [&](const Tensor& hi) {
            return slalom::normsys_factor(code, scalar(alpha), hi, scalar(0.85));
          },
          1.3);
    }
  }
}

TEST_CASE("sixth-order codes are smooth at zero and at the joints", "[modules][interpolation]") {
  for (const double alpha : {0.0, 1.0, -1.0}) {
    for (const double side : {-1e-9, 1e-9}) {
      const Tensor at = scalar(alpha), near = scalar(alpha + side);
      const auto second = [](const Tensor& x, bool additive) {
        const Tensor value =
            additive ? slalom::histosys_delta(HistosysCode::code4p, x, scalar(10.0), scalar(13.0),
                                              scalar(8.0))
                     : slalom::normsys_factor(NormsysCode::code4, x, scalar(1.3), scalar(0.85));
        return slalom::gradient(slalom::gradient(value, x, true), x).item<double>();
      };
      CHECK_THAT(second(near, true), WithinAbs(second(at, true), 1e-6));
      CHECK_THAT(second(near, false), WithinAbs(second(at, false), 1e-6));
    }
  }
}

TEST_CASE("at a kink the derivatives are the mean of both sides", "[modules][interpolation]") {
  const Tensor a = scalar(0.0);
  CHECK(slalom::gradient(
            slalom::histosys_delta(HistosysCode::code0, a, scalar(10.0), scalar(13.0), scalar(8.0)),
            a)
            .item<double>() == 2.5);
  const double mean = 0.5 * (std::log(1.3) - std::log(0.85));
  CHECK_THAT(
      slalom::gradient(slalom::normsys_factor(NormsysCode::code1, a, scalar(1.3), scalar(0.85)), a)
          .item<double>(),
      WithinRel(mean, 1e-14));
}
