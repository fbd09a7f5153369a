// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <cmath>

#include "slalom/core/random.hpp"
#include "slalom/modules/calibration.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/gradients.hpp"
#include "support/tensors.hpp"

using at::Tensor;
using slalom::ErrorKind;
using slalom::test::check_fails;
using slalom::test::tensor;
using slalom::test::values;

namespace {

/// Gaussians of unit width at -1 and 1, so that log s/b = 2 t; labels.
Tensor gaussians(std::int64_t n, Tensor& labels) {
  Tensor t = at::zeros({2 * n}, at::kDouble);
  labels = at::cat({at::zeros({n}, at::kLong), at::ones({n}, at::kLong)});
  slalom::RandomStream random(4, 0);
  for (std::int64_t i = 0; i < 2 * n; ++i) {
    t.data_ptr<double>()[i] = (i < n ? -1.0 : 1.0) + random.normal();
  }
  return t;
}

}  // namespace

TEST_CASE("Platt's calibration undoes a wrong scale and offset", "[modules][calibration]") {
  Tensor labels;
  const Tensor t = gaussians(40000, labels);
  const auto calibrated = slalom::platt_calibration(3.0 * t + 0.5, labels);
  // log s/b = 2 t: slope 2/3, offset -1/3. One standard deviation is about 0.007.
  CHECK(std::abs(calibrated.slope - 2.0 / 3.0) < 0.02);
  CHECK(std::abs(calibrated.offset + 1.0 / 3.0) < 0.04);
  // Scale and offset of what comes in do not matter.
  const auto other = slalom::platt_calibration(-t, labels);
  const double a = other(tensor({-1.7})).item<double>(),
               b = calibrated(tensor({3.0 * 1.7 + 0.5})).item<double>();
  CHECK(std::abs(a - b) < 1e-9);
}

TEST_CASE("classes count equally whatever their weights", "[modules][calibration]") {
  Tensor labels;
  const Tensor t = gaussians(5000, labels);
  const Tensor w = 0.01 + 100.0 * labels.to(at::kDouble);
  const auto one = slalom::platt_calibration(t, labels),
             two = slalom::platt_calibration(t, labels, w);
  CHECK(std::abs(one.slope - two.slope) < 1e-9);
  CHECK(std::abs(one.offset - two.offset) < 1e-9);
}

TEST_CASE("binned calibration counts both classes", "[modules][calibration]") {
  const Tensor logit = tensor({0, 0, 0, 0, 1, 1, 1, 1}),
               labels = tensor({0, 0, 0, 1, 0, 1, 1, 1}).to(at::kLong);
  const auto calibrated = slalom::binned_calibration(logit, labels, {}, 2);
  CHECK(values(calibrated.edges) == std::vector<double>{1.0});
  const auto ratio = values(calibrated(tensor({-5.0, 0.5, 1.0, 9.0})));
  CHECK(std::abs(ratio[0] + std::log(3.0)) < 1e-14);
  CHECK(std::abs(ratio[1] + std::log(3.0)) < 1e-14);
  CHECK(std::abs(ratio[2] - std::log(3.0)) < 1e-14);
  CHECK(std::abs(ratio[3] - std::log(3.0)) < 1e-14);
}

TEST_CASE("bins without one of the classes join their neighbours", "[modules][calibration]") {
  const Tensor logit = tensor({0, 1, 2, 3, 4, 5}),
               labels = tensor({0, 0, 1, 0, 1, 1}).to(at::kLong);
  const auto calibrated = slalom::binned_calibration(logit, labels, {}, 6);
  const auto ratio = values(calibrated(logit));
  // {0, 1, 2} and {3, 4}, which {5} joins.
  CHECK(values(calibrated.edges) == std::vector<double>{3.0});
  CHECK(std::abs(ratio[0] - std::log(0.5)) < 1e-14);
  CHECK(std::abs(ratio[5] - std::log(2.0)) < 1e-14);
  Tensor many;
  const Tensor t = gaussians(400000, many);
  const auto fine = slalom::binned_calibration(0.2 * t, many);
  for (const double x : {-1.0, 0.0, 1.0}) {
    CHECK(std::abs(fine(tensor({0.2 * x})).item<double>() - 2.0 * x) < 0.12);
  }
}

TEST_CASE("isotonic calibration pools what falls", "[modules][calibration]") {
  // Shares of signal 1/2, 0, 1, 1/2: the middle two in order, the outer ones not.
  const Tensor logit = tensor({0, 0, 1, 1, 2, 2, 3, 3}),
               labels = tensor({0, 1, 0, 0, 1, 1, 0, 1}).to(at::kLong);
  const auto calibrated = slalom::isotonic_calibration(logit, labels);
  // {0, 1} has 1 of 4, {2, 3} 3 of 4.
  CHECK(values(calibrated.logit) == std::vector<double>{0.5, 2.5});
  const auto ratio = values(calibrated(tensor({-9.0, 0.5, 1.5, 2.5, 9.0})));
  const std::vector<double> expected{-std::log(3.0), -std::log(3.0), 0.0, std::log(3.0),
                                     std::log(3.0)};
  for (std::size_t i = 0; i < ratio.size(); ++i) CHECK(std::abs(ratio[i] - expected[i]) < 1e-14);
  // Of many events: the truth, whatever monotone function of it the logit is.
  Tensor many;
  const Tensor t = gaussians(100000, many);
  const auto fine = slalom::isotonic_calibration(t * t * t, many);
  for (const double x : {-1.5, -1.0, 0.5, 1.0, 1.5}) {
    CHECK(std::abs(fine(tensor({x * x * x})).item<double>() - 2.0 * x) < 0.2);
  }
  const Tensor sorted = fine.ratio.slice(0, 1) - fine.ratio.slice(0, 0, -1);
  CHECK((sorted > 0.0).all().item<bool>());
  CHECK(at::isfinite(fine.ratio).all().item<bool>());
  // Ends of one class are joined with their neighbours.
  const auto ends = slalom::isotonic_calibration(tensor({0, 1, 2, 3, 4, 5}),
                                                 tensor({0, 1, 0, 1, 0, 1}).to(at::kLong));
  CHECK(at::isfinite(ends.ratio).all().item<bool>());
  slalom::test::check_gradients([&](const std::vector<Tensor>& in) { return calibrated(in[0]); },
                                {tensor({0.9, 1.7, 2.2})});
  check_fails(ErrorKind::numerical, "calibration", "separated", [&] {
    slalom::isotonic_calibration(tensor({0, 1}), tensor({0, 1}).to(at::kLong));
  });
  check_fails(ErrorKind::usage, "calibration", "finite logits", [&] {
    slalom::isotonic_calibration(tensor({0, NAN}), tensor({0, 1}).to(at::kLong));
  });
}

TEST_CASE("calibration without both classes is refused", "[modules][calibration]") {
  const Tensor logit = tensor({0, 1, 2});
  check_fails(ErrorKind::numerical, "calibration", "no events of label 1",
              [&] { slalom::platt_calibration(logit, at::zeros({3}, at::kLong)); });
  check_fails(ErrorKind::usage, "calibration", "labels 0 and 1",
              [&] { slalom::binned_calibration(logit, at::full({3}, 2, at::kLong)); });
  check_fails(ErrorKind::numerical, "calibration", "separated", [&] {
    slalom::platt_calibration(logit, tensor({0, 0, 1}).to(at::kLong));
  });
}
