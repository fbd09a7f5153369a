// SPDX-License-Identifier: Apache-2.0
// Gradients batch by batch against that of all events at once.
#include "slalom/modules/torch.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/log.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <cmath>
#include <limits>
#include <torch/csrc/autograd/autograd.h>
#include <vector>

#include "slalom/core/random.hpp"
#include "slalom/modules/batching.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using at::Tensor;
using Catch::Matchers::WithinRel;

namespace {

Tensor random(std::vector<std::int64_t> shape, std::uint64_t seed, at::ScalarType type) {
  Tensor values = at::zeros(shape, at::kDouble);
  slalom::RandomStream stream(seed, 0);
  double* at = values.data_ptr<double>();
  for (std::int64_t i = 0; i < values.numel(); ++i) at[i] = stream.normal();
  return values.to(type);
}

/// Signal and background events, a network of two layers and softmax bins.
struct Problem {
  std::int64_t n = 1000;
  Tensor signal, background, w1, w2;

  explicit Problem(at::ScalarType type)
      : signal(random({n, 2}, 1, type)),
        background(random({n, 2}, 2, type) + 1.0),
        w1(random({16, 2}, 3, type).requires_grad_(true)),
        w2((0.3 * random({4, 16}, 4, type)).requires_grad_(true)) {}

  Tensor histogram(const Tensor& x) const {
    const Tensor hidden = at::sigmoid(x.matmul(w1.t()));
    return at::softmax(hidden.matmul(w2.t()), 1).to(at::kDouble).sum(0);
  }
  /// Signal and background yields of some events [8].
  Tensor yields(std::int64_t first, std::int64_t last) const {
    return at::cat({0.05 * histogram(signal.slice(0, first, last)),
                    1.0 * histogram(background.slice(0, first, last))});
  }
  static Tensor loss(const Tensor& y) {
    const Tensor s = y.slice(0, 0, 4), b = y.slice(0, 4, 8);
    return -at::log((s * s / (s + b)).sum());
  }
  slalom::BatchYields batches(std::int64_t size) const {
    return [this, size](std::int64_t b) { return yields(b * size, std::min((b + 1) * size, n)); };
  }
  std::vector<Tensor> take_gradients() {
    std::vector<Tensor> result{w1.grad().clone(), w2.grad().clone()};
    w1.mutable_grad().reset();
    w2.mutable_grad().reset();
    return result;
  }
};

double distance(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  double worst = 0.0, scale = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    worst = std::max(worst, (a[i] - b[i]).abs().max().item<double>());
    scale = std::max(scale, b[i].abs().max().item<double>());
  }
  return worst / scale;
}

}  // namespace

TEST_CASE("two passes give the gradient of all events for any batch size", "[modules][batching]") {
  for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
    Problem p(type);
    const Tensor full = Problem::loss(p.yields(0, p.n));
    torch::autograd::backward({full});
    const std::vector<Tensor> expected = p.take_gradients();
    for (const std::int64_t size : {1, 7, 100, 333, 1000}) {
      INFO("batches of " << size << ", " << (type == at::kDouble ? "float64" : "float32"));
      const double value =
          slalom::two_pass_backward((p.n + size - 1) / size, p.batches(size), &Problem::loss);
      CHECK_THAT(value, WithinRel(full.item<double>(), type == at::kDouble ? 1e-13 : 1e-6));
      CHECK(distance(p.take_gradients(), expected) < (type == at::kDouble ? 1e-12 : 1e-6));
    }
  }
}

TEST_CASE("what the loss depends on besides yields gets its gradient", "[modules][batching]") {
  Problem p(at::kDouble);
  Tensor scale = at::zeros({}, at::kDouble).fill_(2.0).requires_grad_(true);
  const auto loss = [&](const Tensor& y) { return (scale * scale * y).sum(); };
  const double value = slalom::two_pass_backward(4, p.batches(250), loss);
  CHECK_THAT(scale.grad().item<double>(), WithinRel(value, 1e-13));  // d(s^2 y)/ds = s y * 2, s = 2
  p.take_gradients();
}

TEST_CASE("averaged yields are exact where batches are equal, and can be restored",
          "[modules][batching]") {
  Problem p(at::kDouble);
  const Tensor full = Problem::loss(p.yields(0, p.n));
  torch::autograd::backward({full});
  const std::vector<Tensor> expected = p.take_gradients();
  slalom::AveragedYields averaged(0.1);
  for (int i = 0; i < 3; ++i) {
    CHECK_THAT(averaged.backward(p.yields(0, p.n), &Problem::loss),
               WithinRel(full.item<double>(), 1e-13));
    CHECK(distance(p.take_gradients(), expected) < 1e-12);
  }
  // Steps of batches: the restored one goes on as the first would have.
  for (int i = 0; i < 4; ++i)
    averaged.backward(10.0 * p.yields(100 * i, 100 * i + 100), &Problem::loss);
  slalom::AveragedYields other(0.1);
  other.restore(averaged.state());
  p.take_gradients();
  const double a = averaged.backward(10.0 * p.yields(500, 600), &Problem::loss);
  const std::vector<Tensor> of_a = p.take_gradients();
  const double b = other.backward(10.0 * p.yields(500, 600), &Problem::loss);
  CHECK(a == b);
  CHECK(distance(p.take_gradients(), of_a) == 0.0);
  CHECK(averaged.state().steps == 8);
}

TEST_CASE("the naive loss is biased, that of averaged yields hardly", "[modules][batching]") {
  Problem p(at::kDouble);
  const double truth = Problem::loss(p.yields(0, p.n)).item<double>();
  slalom::AveragedYields averaged(0.01);
  const std::int64_t size = 10, batches = p.n / size;
  double naive = 0.0, last = 0.0;
  for (std::int64_t b = 0; b < batches; ++b) {
    const auto yields = [&] {
      return static_cast<double>(batches) * p.yields(b * size, (b + 1) * size);
    };
    naive += slalom::naive_backward(yields(), &Problem::loss) / static_cast<double>(batches);
    last = averaged.backward(yields(), &Problem::loss);
  }
  p.take_gradients();
  CHECK(naive < truth - 0.01);  // a sum of squares over yields is too large in small batches
  CHECK(std::abs(last - truth) < 1e-9);
}

TEST_CASE("batches that cannot be right are refused", "[modules][batching]") {
  using slalom::test::check_fails;
  Problem p(at::kDouble);
  check_fails(slalom::ErrorKind::usage, "batching", "no batches",
              [&] { slalom::two_pass_backward(0, p.batches(10), &Problem::loss); });
  int calls = 0;
  check_fails(slalom::ErrorKind::numerical, "batching", "second pass", [&] {
    slalom::two_pass_backward(
        2, [&](std::int64_t) { return p.yields(0, 100) * static_cast<double>(++calls); },
        &Problem::loss);
  });
  calls = 0;  // one batch needs no second pass
  slalom::two_pass_backward(
      1, [&](std::int64_t) { return p.yields(0, 100) * static_cast<double>(++calls); },
      &Problem::loss);
  CHECK(calls == 1);
  check_fails(slalom::ErrorKind::numerical, "batching", "not finite", [&] {
    slalom::naive_backward(p.yields(0, 10), [](const Tensor& y) {
      return y.sum() * std::numeric_limits<double>::infinity();
    });
  });
  check_fails(slalom::ErrorKind::usage, "rate", "(0, 1]", [] { slalom::AveragedYields{0.0}; });
  slalom::AveragedYields averaged(0.1);
  averaged.backward(p.yields(0, 10), &Problem::loss);
  check_fails(slalom::ErrorKind::usage, "batching", "another shape", [&] {
    averaged.backward(p.yields(0, 10).slice(0, 0, 4), [](const Tensor& y) { return y.sum(); });
  });
}
