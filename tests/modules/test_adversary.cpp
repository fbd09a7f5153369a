// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <cmath>
#include <numbers>
#include <torch/optim/adam.h>

#include "slalom/core/random.hpp"
#include "slalom/modules/adversary.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/gradients.hpp"
#include "support/tensors.hpp"

using at::Tensor;
using slalom::Activation;
using slalom::Adversary;
using slalom::AdversaryKind;
using slalom::AdversaryOptions;
using slalom::ErrorKind;
using slalom::test::check_fails;
using slalom::test::check_gradients;
using slalom::test::distance;
using slalom::test::sequence;
using slalom::test::tensor;
using slalom::test::values;
using Vector = std::vector<double>;

namespace {

constexpr double k_pi = std::numbers::pi;

AdversaryOptions options_of(AdversaryKind type) {
  AdversaryOptions options;
  options.type = type;
  options.hidden = {4};
  options.components = 3;
  options.parameters = {{"z", -1.0, 3.0}, {"w", 0.0, 0.5}};
  options.seed = 5;
  options.float64 = true;
  return options;
}

double log_gauss(double x, double mean, double width) {
  const double pull = (x - mean) / width;
  return -0.5 * pull * pull - std::log(width * std::sqrt(2.0 * k_pi));
}

}  // namespace

TEST_CASE("a gradient that is turned round", "[modules][adversary][gradient]") {
  // Forward nothing happens; backward, the derivative is -scale times the true one.
  const Tensor x = (sequence(6) - 0.4).requires_grad_();
  CHECK(distance(slalom::reverse_gradient(x, 3.0), x) == 0.0);
  const auto f = [](const Tensor& t) { return (t * t * t).sum() + at::sin(t).sum(); };
  const Tensor reversed = slalom::gradient(f(slalom::reverse_gradient(x, 3.0)), x);
  // Finite differences of f itself.
  const double step = 1e-5;
  for (std::int64_t i = 0; i < 6; ++i) {
    const at::NoGradGuard guard;
    Tensor up = x.clone(), down = x.clone();
    up[i] += step;
    down[i] -= step;
    const double slope = (f(up) - f(down)).item<double>() / (2.0 * step);
    CHECK(reversed[i].item<double>() == Approx(-3.0 * slope).epsilon(1e-8));
  }
  // Only what lies in front of it: a weight behind keeps the sign.
  const Tensor weight = tensor({2.0}).requires_grad_();
  const Tensor loss = (weight * slalom::reverse_gradient(x, 0.5)).sum();
  const auto both = slalom::gradients(loss, {x, weight});
  CHECK(distance(both[0], at::zeros({6}, at::kDouble) - 1.0) < 1e-15);
  CHECK(both[1].item<double>() == Approx(x.sum().item<double>()).epsilon(1e-14));
}

TEST_CASE("losses are their formulas", "[modules][adversary]") {
  const Tensor score = sequence(5, 0.2), theta = sequence(10, 0.9).reshape({5, 2});
  const Vector t = values(theta);
  for (const auto type : {AdversaryKind::mse, AdversaryKind::gaussian, AdversaryKind::mixture}) {
    CAPTURE(static_cast<int>(type));
    Adversary adversary(options_of(type));
    const Tensor out = adversary->outputs(score);
    const Vector loss = values(adversary->losses(score, theta));
    for (std::int64_t i = 0; i < 5; ++i) {
      const Vector o = values(out[i]);
      // Means and widths come in units of half a range, about its middle.
      const double z = t[2 * static_cast<std::size_t>(i)],
                   w = t[2 * static_cast<std::size_t>(i) + 1];
      const auto mean_z = [](double m) { return 1.0 + 2.0 * m; };
      const auto mean_w = [](double m) { return 0.25 + 0.25 * m; };
      double expected = 0.0;
      if (type == AdversaryKind::mse) {
        REQUIRE(o.size() == 2);
        expected = std::pow(z - mean_z(o[0]), 2) + std::pow(w - mean_w(o[1]), 2);
      } else if (type == AdversaryKind::gaussian) {
        REQUIRE(o.size() == 4);
        expected = -log_gauss(z, mean_z(o[0]), 2.0 * std::exp(o[2])) -
                   log_gauss(w, mean_w(o[1]), 0.25 * std::exp(o[3]));
      } else {
        REQUIRE(o.size() == 15);
        double norm = 0.0, density = 0.0;
        for (std::size_t k = 0; k < 3; ++k) norm += std::exp(o[k]);
        for (std::size_t k = 0; k < 3; ++k) {
          const std::size_t m = 3 + 2 * k, s = 9 + 2 * k;
          density += std::exp(o[k]) / norm *
                     std::exp(log_gauss(z, mean_z(o[m]), 2.0 * std::exp(o[s])) +
                              log_gauss(w, mean_w(o[m + 1]), 0.25 * std::exp(o[s + 1])));
        }
        expected = -std::log(density);
      }
      CHECK(loss[static_cast<std::size_t>(i)] == Approx(expected).epsilon(1e-12));
    }
    const Tensor weights = tensor({1.0, 0.0, 2.0, 0.0, 1.0});
    CHECK(adversary->loss(score, theta, weights).item<double>() ==
          Approx((loss[0] + 2.0 * loss[2] + loss[4]) / 4.0).epsilon(1e-14));
    CHECK(adversary->loss(score, theta).item<double>() ==
          Approx((loss[0] + loss[1] + loss[2] + loss[3] + loss[4]) / 5.0).epsilon(1e-14));
  }
}

TEST_CASE("losses have derivatives by scores and weights", "[modules][adversary][gradient]") {
  const Tensor theta = sequence(8, 0.9).reshape({4, 2}) - 0.3, weights = sequence(4, 0.4) + 1.5;
  for (const auto type : {AdversaryKind::mse, AdversaryKind::gaussian, AdversaryKind::mixture}) {
    CAPTURE(static_cast<int>(type));
    Adversary adversary(options_of(type));
    check_gradients(
        [&](const std::vector<Tensor>& inputs) {
          return adversary->loss(inputs[0], theta, weights);
        },
        {sequence(4, 0.2)});
    // By the weights of the network.
    const Tensor scores = sequence(4, 0.2);
    const auto parameters = adversary->parameters();
    const auto found = slalom::gradients(adversary->loss(scores, theta, weights), parameters);
    const at::NoGradGuard guard;
    for (std::size_t p = 0; p < parameters.size(); ++p) {
      Tensor flat = parameters[p].view({-1});
      for (std::int64_t j = 0; j < flat.size(0); ++j) {
        const double before = flat[j].item<double>(), step = 1e-5;
        const auto at_value = [&](double value) {
          flat[j] = value;
          return adversary->loss(scores, theta, weights).item<double>();
        };
        const double slope = (at_value(before + step) - at_value(before - step)) / (2.0 * step);
        flat[j] = before;
        CHECK(found[p].view({-1})[j].item<double>() == Approx(slope).margin(1e-8).epsilon(1e-6));
      }
    }
  }
}

TEST_CASE("a trained adversary reaches the entropy that is left", "[modules][adversary]") {
  // theta = +-1 + 0.5 g, score = sign + noise: one Gaussian cannot describe what the score leaves
  // open, a mixture can.
  const std::int64_t n = 4000;
  slalom::RandomStream random(3, 0);
  std::vector<double> s, t;
  for (std::int64_t i = 0; i < n; ++i) {
    const double side = random.uniform() < 0.5 ? -1.0 : 1.0;
    s.push_back(random.normal());  // says nothing
    t.push_back(side + 0.2 * random.normal());
  }
  const Tensor scores = tensor(s), theta = tensor(t).unsqueeze(1);
  const auto trained = [&](AdversaryKind type) {
    AdversaryOptions options;
    options.type = type;
    options.hidden = {16};
    options.components = 2;
    options.parameters = {{"theta", -2.0, 2.0}};
    Adversary adversary(options);
    torch::optim::Adam optimizer(adversary->parameters(), torch::optim::AdamOptions(0.01));
    for (int step = 0; step < 300; ++step) {
      optimizer.zero_grad();
      adversary->loss(scores, theta).backward();
      optimizer.step();
    }
    return adversary->loss(scores, theta).item<double>();
  };
  // Entropy of the mixture: log 2 + that of one Gaussian, as they hardly overlap.
  const double one = 0.5 * std::log(2.0 * k_pi * std::numbers::e * 0.04);
  CHECK(trained(AdversaryKind::mixture) == Approx(one + std::log(2.0)).margin(0.03));
  // The best Gaussian of the same variance 1.04, and the variance.
  CHECK(trained(AdversaryKind::gaussian) ==
        Approx(0.5 * std::log(2.0 * k_pi * std::numbers::e * 1.04)).margin(0.03));
  CHECK(trained(AdversaryKind::mse) == Approx(1.04).margin(0.03));
}

TEST_CASE("adversaries refuse what they cannot be", "[modules][adversary]") {
  const auto fails = [](const std::function<void(AdversaryOptions&)>& change,
                        const std::string& fragment) {
    AdversaryOptions options = options_of(AdversaryKind::mixture);
    change(options);
    check_fails(ErrorKind::usage, "adversary", fragment, [&] { Adversary wrong(options); });
  };
  fails([](AdversaryOptions& o) { o.parameters = {}; }, "no parameter");
  fails([](AdversaryOptions& o) { o.components = 0; }, "positive");
  fails([](AdversaryOptions& o) { o.inputs = 0; }, "positive");
  fails([](AdversaryOptions& o) { o.parameters[1].high = 0.0; }, "empty range of parameter 'w'");
  Adversary adversary(options_of(AdversaryKind::gaussian));
  check_fails(ErrorKind::usage, "adversary", "theta [3, 2] expected, found [3]",
              [&] { return adversary->losses(sequence(3), sequence(3)); });
  check_fails(ErrorKind::usage, "adversary", "weights [n]", [&] {
    return adversary->loss(sequence(3), sequence(6).reshape({3, 2}), sequence(2));
  });
  check_fails(ErrorKind::numerical, "adversary", "no positive sum", [&] {
    return adversary->loss(sequence(3), sequence(6).reshape({3, 2}), at::zeros({3}, at::kDouble));
  });
}
