// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/log.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sigmoid.h>
#include <cmath>
#include <limits>
#include <vector>

#include "slalom/modules/autodiff.hpp"
#include "slalom/modules/mixture.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/gradients.hpp"
#include "support/tensors.hpp"

using at::Tensor;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::ErrorKind;
using slalom::test::check_fails;
using slalom::test::check_gradients;
using slalom::test::tensor;
using slalom::test::values;

namespace {

constexpr double k_infinity = std::numeric_limits<double>::infinity();

Tensor scalar(double x) { return at::full({}, x, at::kDouble); }

}  // namespace

TEST_CASE("the logarithm of a mixture", "[modules][mixture]") {
  const std::vector<double> l{-30.0, -2.0, -1e-9, 0.0, 1e-9, 0.5, 5.0, 30.0};
  for (const double mu : {0.0, 1e-12, 1e-4, 0.3, 1.0}) {
    const auto found = values(slalom::mixture_log_ratio(tensor(l), scalar(mu)));
    for (std::size_t i = 0; i < l.size(); ++i) {
      CAPTURE(mu, l[i]);
      const double expected = mu == 1.0 ? l[i] : std::log1p(mu * std::expm1(l[i]));
      CHECK_THAT(found[i], WithinAbs(expected, 1e-14 * (1.0 + std::abs(expected))));
    }
  }
  // A fraction for each event.
  const auto each = values(slalom::mixture_log_ratio(tensor({1.0, 1.0}), tensor({0.0, 1.0})));
  CHECK_THAT(each[0], WithinAbs(0.0, 1e-15));
  CHECK_THAT(each[1], WithinAbs(1.0, 1e-15));
}

TEST_CASE("the probability of an event to be signal", "[modules][mixture]") {
  const std::vector<double> l{-k_infinity, -800.0, -3.0, 0.0, 2.0, 800.0, k_infinity};
  for (const double mu : {0.0, 1e-6, 0.3, 1.0}) {
    const auto found = values(slalom::signal_probability(tensor(l), scalar(mu)));
    for (std::size_t i = 0; i < l.size(); ++i) {
      CAPTURE(mu, l[i]);
      const double expected =
          mu == 0.0 || mu == 1.0 ? mu : 1.0 / (1.0 + (1.0 - mu) / mu * std::exp(-l[i]));
      CHECK_THAT(found[i], WithinAbs(expected, 1e-12));
    }
  }
  // At mu = 0 its slope is r.
  const Tensor none = scalar(0.0).requires_grad_();
  const Tensor sum = slalom::signal_probability(tensor({-1.0, 0.5}), none).sum();
  CHECK_THAT(slalom::gradient(sum, none).item<double>(),
             WithinRel(std::exp(-1.0) + std::exp(0.5), 1e-12));
  check_gradients(
      [](const std::vector<Tensor>& x) { return slalom::signal_probability(x[0], x[1]).sum(); },
      {tensor({-2.0, 0.3, 4.0}), scalar(0.2)});
}

TEST_CASE("ratios of any size give the limits", "[modules][mixture]") {
  const std::vector<double> l{-k_infinity, -1e300, 600.0, 800.0, 1e300, k_infinity};
  const double mu = 1e-4;
  Tensor x = tensor(l).requires_grad_(), fraction = scalar(mu).requires_grad_();
  const Tensor value = slalom::mixture_log_ratio(x, fraction);
  const auto found = values(value);
  CHECK_THAT(found[0], WithinAbs(std::log1p(-mu), 1e-15));
  CHECK_THAT(found[1], WithinAbs(std::log1p(-mu), 1e-15));
  CHECK_THAT(found[2], WithinRel(600.0 + std::log(mu), 1e-14));
  CHECK_THAT(found[3], WithinRel(800.0 + std::log(mu), 1e-14));
  CHECK(found[4] == 1e300);
  CHECK(found[5] == k_infinity);
  // Shares of signal, and (r - 1) / (1 + mu (r - 1)).
  const auto share = values(slalom::gradient(value.sum(), x, true));
  CHECK(share == std::vector<double>{0.0, 0.0, 1.0, 1.0, 1.0, 1.0});
  const double slope = slalom::gradient(value.sum(), fraction).item<double>();
  CHECK_THAT(slope, WithinRel(4.0 / mu - 2.0 / (1.0 - mu), 1e-12));
  // At the ends of the fraction.
  const auto none = values(slalom::mixture_log_ratio(tensor(l), scalar(0.0)));
  for (const double v : none) CHECK(v == 0.0);
  const auto all = values(slalom::mixture_log_ratio(tensor(l), scalar(1.0)));
  CHECK(all[0] == -k_infinity);
  CHECK(all[5] == k_infinity);
  Tensor zero = scalar(0.0).requires_grad_();
  const Tensor one_event = slalom::mixture_log_ratio(tensor({3.0}), zero).sum();
  CHECK_THAT(slalom::gradient(one_event, zero).item<double>(), WithinRel(std::expm1(3.0), 1e-13));
}

TEST_CASE("derivatives of the mixture's logarithm", "[modules][mixture]") {
  const Tensor l = tensor({-7.0, -0.4, 0.3, 2.0, 9.0});
  check_gradients(
      [](const std::vector<Tensor>& x) { return slalom::mixture_log_ratio(x[0], x[1]); },
      {l, scalar(0.2)});
  check_gradients(
      [](const std::vector<Tensor>& x) {
        return slalom::mixture_nll(x[0], x[1], at::sigmoid(x[2]),
                                   tensor({1.0, 2.0, 0.5, 0.0, 3.0}));
      },
      {l, tensor({-3.0, -2.0, 1.0, 0.5, 2.0}), scalar(-1.0)});
  check_gradients(
      [](const std::vector<Tensor>& x) {
        return slalom::weak_cross_entropy(x[0], x[1], at::sigmoid(x[2]));
      },
      {l, tensor({-3.0, -2.0, 1.5}), scalar(-1.0)});
}

TEST_CASE("likelihood of densities far from each other", "[modules][mixture]") {
  // Logarithms whose exponentials underflow: -log(0.01 e^-1000 + 0.99 e^-990), and the reverse.
  const Tensor s = tensor({-1000.0, -990.0, -2000.0, -900.0}),
               b = tensor({-990.0, -1000.0, -900.0, -2000.0});
  const double expected =
      -(-990.0 + std::log(0.99 + 0.01 * std::exp(-10.0)) - 990.0 +
        std::log(0.01 + 0.99 * std::exp(-10.0)) - 900.0 + std::log(0.99) - 900.0 + std::log(0.01)) /
      4.0;
  CHECK_THAT(slalom::mixture_nll(s, b, scalar(0.01)).item<double>(), WithinRel(expected, 1e-14));
  // One density may be 0.
  const double one =
      slalom::mixture_nll(tensor({-k_infinity, -1.0}), tensor({-1.0, -k_infinity}), scalar(0.25))
          .item<double>();
  CHECK_THAT(one, WithinRel(-(std::log(0.75) + std::log(0.25) - 2.0) / 2.0, 1e-14));
  // Gradients by the densities' logarithms are the shares, without NaN.
  Tensor ls = s.clone().requires_grad_(), lb = b.clone().requires_grad_();
  const Tensor loss = slalom::mixture_nll(ls, lb, scalar(0.01));
  const auto g = slalom::gradients(loss, {ls, lb});
  CHECK(at::isfinite(g[0]).all().item<bool>());
  CHECK_THAT((g[0] + g[1]).sum().item<double>(), WithinRel(-1.0, 1e-14));
  CHECK_THAT(values(g[0])[3], WithinRel(-0.25, 1e-14));
  CHECK_THAT(values(g[1])[2], WithinRel(-0.25, 1e-14));
  // float32 in, float64 out, gradient in float32.
  Tensor narrow = at::full({3}, 2.0F).requires_grad_();
  const Tensor wide = slalom::mixture_nll(narrow, at::ones({3}), scalar(0.5));
  CHECK(wide.scalar_type() == at::kDouble);
  CHECK(slalom::gradient(wide, narrow).scalar_type() == at::kFloat);
}

TEST_CASE("weighted means count as repetitions", "[modules][mixture]") {
  const Tensor s = tensor({0.0, 1.0}), b = tensor({-1.0, 2.0});
  const double weighted = slalom::mixture_nll(s, b, scalar(0.3), tensor({2.0, 1.0})).item<double>();
  const double repeated =
      slalom::mixture_nll(tensor({0.0, 0.0, 1.0}), tensor({-1.0, -1.0, 2.0}), scalar(0.3))
          .item<double>();
  CHECK_THAT(weighted, WithinRel(repeated, 1e-14));
}

TEST_CASE("cross entropy of data against a reference", "[modules][mixture]") {
  const std::vector<double> data{-1.0, 2.0}, reference{0.5, -3.0, 1.0};
  const double mu = 0.4;
  const auto ratio = [&](double l) { return 1.0 + mu * std::expm1(l); };
  double expected = 0.0;
  for (const double l : data) expected -= std::log(ratio(l) / (1.0 + ratio(l))) / 4.0;
  for (const double l : reference) expected -= std::log(1.0 / (1.0 + ratio(l))) / 6.0;
  const double found =
      slalom::weak_cross_entropy(tensor(data), tensor(reference), scalar(mu)).item<double>();
  CHECK_THAT(found, WithinRel(expected, 1e-14));
  // Without a signal both samples look alike: log 2.
  const double none =
      slalom::weak_cross_entropy(tensor(data), tensor(reference), scalar(0.0)).item<double>();
  CHECK_THAT(none, WithinRel(std::log(2.0), 1e-14));
  // Weights: each sample keeps its half.
  const double twice = slalom::weak_cross_entropy(tensor(data), tensor(reference), scalar(mu),
                                                  tensor({7.0, 7.0}), tensor({0.1, 0.1, 0.1}))
                           .item<double>();
  CHECK_THAT(twice, WithinRel(expected, 1e-14));
}

TEST_CASE("mixtures that are none are refused", "[modules][mixture]") {
  const Tensor two = tensor({0.0, 1.0});
  check_fails(ErrorKind::usage, "mixture", "between 0 and 1",
              [&] { slalom::mixture_log_ratio(two, scalar(1.5)); });
  check_fails(ErrorKind::usage, "mixture", "between 0 and 1",
              [&] { slalom::mixture_nll(two, two, scalar(std::nan(""))); });
  check_fails(ErrorKind::usage, "mixture", "found [2] and [1]",
              [&] { slalom::mixture_nll(two, tensor({1.0}), scalar(0.5)); });
  check_fails(ErrorKind::usage, "mixture", "one weight per event",
              [&] { slalom::mixture_nll(two, two, scalar(0.5), tensor({1.0})); });
  check_fails(ErrorKind::numerical, "mixture", "positive sum", [&] {
    slalom::mixture_nll(two, two, scalar(0.5), tensor({0.0, 0.0}));
  });
  check_fails(ErrorKind::usage, "mixture", "one fraction for all",
              [&] { slalom::mixture_nll(two, two, two); });
  check_fails(ErrorKind::numerical, "mixture", "of 1 events is not finite, first of event 1", [&] {
    slalom::mixture_nll(tensor({0.0, std::nan("")}), two, scalar(0.5));
  });
  check_fails(ErrorKind::numerical, "mixture", "first of event 0", [&] {
    slalom::mixture_nll(tensor({-k_infinity, 0.0}), tensor({-k_infinity, 0.0}), scalar(0.5));
  });
  check_fails(ErrorKind::usage, "mixture", "of data and reference",
              [&] { slalom::weak_cross_entropy(two, tensor({}), scalar(0.5)); });
  check_fails(ErrorKind::numerical, "mixture", "reference's ratio",
              [&] { slalom::weak_cross_entropy(two, tensor({std::nan("")}), scalar(0.5)); });
}
