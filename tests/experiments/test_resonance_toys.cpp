// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <cmath>
#include <vector>

#include "slalom/workflows/resonance_toys.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/gradients.hpp"
#include "support/tensors.hpp"

using at::Tensor;
using Catch::Matchers::WithinAbs;
using slalom::ErrorKind;
using slalom::make_resonance_toy;
using slalom::RandomStream;
using slalom::ResonanceToy;
using slalom::test::check_fails;
using slalom::test::distance;
using slalom::test::tensor;
using slalom::test::values;

TEST_CASE("ratios of the toys are those of their events", "[experiments][resonance_toys]") {
  for (const std::string& name : slalom::resonance_toy_names()) {
    CAPTURE(name);
    const ResonanceToy toy = make_resonance_toy(name);
    CHECK(toy.name == name);
    const auto p = static_cast<std::int64_t>(toy.parameters.size());
    RandomStream random(1, 0);
    const Tensor truth = tensor(toy.truth);
    constexpr std::int64_t k_events = 100000;
    const Tensor s = toy.draw_signal(truth.unsqueeze(0).expand({k_events, p}), random),
                 b = toy.draw_background(k_events, random);
    const Tensor ls = toy.log_ratio(s, truth), lb = toy.log_ratio(b, truth);
    CHECK(at::isfinite(ls).all().item<bool>());
    // E_S[1 / (1 + r)] + E_B[r / (1 + r)] = E_S + E_B of p_B / (p_S + p_B) and of p_S: with bounded
    // terms, E_S[1 / (1 + r)] = E_B[r ... ] means E_S[sigmoid(-l)] = E_B[sigmoid(l)].
    const double left = (1.0 / (1.0 + at::exp(ls))).mean().item<double>(),
                 right = (1.0 / (1.0 + at::exp(-lb))).mean().item<double>();
    CHECK_THAT(left, WithinAbs(right, 5e-3));
    // The same holds weighted by any function: by the first coordinate.
    const double left_x = (s.select(1, 0) / (1.0 + at::exp(ls))).mean().item<double>(),
                 right_x = (b.select(1, 0) / (1.0 + at::exp(-lb))).mean().item<double>();
    CHECK_THAT(left_x, WithinAbs(right_x, 0.03));
    // theta is differentiable, and moves the signal.
    slalom::test::check_gradients(
        [&](const std::vector<Tensor>& in) { return toy.log_ratio(s.slice(0, 0, 3), in[0]); },
        {truth});
    slalom::ParameterisedRatio exact = toy.exact_ratio();
    CHECK(distance(exact->log_ratio(s, truth), ls) == 0.0);
    const slalom::RatioBatch batch = toy.batches(200, 3)(5);
    CHECK(batch.theta.size(0) == 200);
    for (std::int64_t k = 0; k < p; ++k) {
      const auto& box = toy.parameters[static_cast<std::size_t>(k)];
      const Tensor t = batch.theta.select(1, k);
      CHECK((t > box.low).all().item<bool>());
      CHECK((t < box.high).all().item<bool>());
    }
    CHECK(distance(toy.batches(200, 3)(5).signal, batch.signal) == 0.0);
    CHECK(distance(toy.batches(200, 3)(6).signal, batch.signal) > 0.0);
  }
}

TEST_CASE("mixtures have their share of signal", "[experiments][resonance_toys]") {
  const ResonanceToy toy = make_resonance_toy("gaussian_1d");
  RandomStream random(2, 0);
  const Tensor x = toy.draw_mixture(50000, 0.3, {1.0}, random);
  CHECK_THAT(x.mean().item<double>(), WithinAbs(0.3 * 1.0 + 0.7 * 6.0, 0.05));
  // log r at 4.5, half-way between 3 and 6, is 0; its slope is -3.
  const auto l = values(toy.log_ratio(tensor({4.5, 3.5}).unsqueeze(1), tensor({3.0})));
  CHECK_THAT(l[0], WithinAbs(0.0, 1e-13));
  CHECK_THAT(l[1], WithinAbs(3.0, 1e-13));
}

TEST_CASE("toys that are none are refused", "[experiments][resonance_toys]") {
  check_fails(ErrorKind::usage, "gaussian_2d", "no resonance toy of this name",
              [] { make_resonance_toy("gaussian_2d"); });
  const ResonanceToy toy = make_resonance_toy("gaussian_1d");
  RandomStream random(3, 0);
  check_fails(ErrorKind::usage, "resonance_toys", "theta [events, parameters]",
              [&] { toy.draw_signal(tensor({1.0}), random); });
  check_fails(ErrorKind::usage, "resonance_toys", "a fraction between 0 and 1",
              [&] { toy.draw_mixture(10, 1.5, {1.0}, random); });
}
