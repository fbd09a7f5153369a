// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/log.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <cmath>
#include <limits>
#include <vector>

#include "slalom/core/random.hpp"
#include "slalom/modules/adapted_mixture.hpp"
#include "slalom/modules/autodiff.hpp"
#include "slalom/modules/learned_mixture.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/gradients.hpp"
#include "support/tensors.hpp"

using at::Tensor;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::adapted_log_ratio;
using slalom::adapted_loss;
using slalom::adapted_parameters;
using slalom::AdaptedFitOptions;
using slalom::AdaptedLossOptions;
using slalom::AdaptedSample;
using slalom::ErrorKind;
using slalom::MixtureFamily;
using slalom::RandomStream;
using slalom::test::check_fails;
using slalom::test::check_gradients;
using slalom::test::distance;
using slalom::test::sequence;
using slalom::test::tensor;
using slalom::test::values;

namespace {

/// Log ratios to a flat reference on (-2, 2), of Gaussians of width .5 and of some slopes.
AdaptedSample sample_of(const Tensor& x) {
  std::vector<Tensor> s, b;
  for (const double mean : {-0.2, 0.1, 0.25}) {
    const Tensor d = (x - mean) / 0.5;
    s.push_back(-0.5 * d * d + std::log(4.0 * 0.79788456 / 1.0));
  }
  for (const double slope : {0.2, -0.1}) {
    b.push_back(slope * x - std::log(std::sinh(2.0 * slope) / (2.0 * slope)));
  }
  return {at::stack(s, 1), at::stack(b, 1)};
}

/// Points in the window with that share of a Gaussian in the middle, the rest flat.
Tensor draw(std::int64_t n, double kappa, std::uint64_t seed) {
  RandomStream random(seed, 0);
  std::vector<double> x;
  while (static_cast<std::int64_t>(x.size()) < n) {
    if (random.uniform() > kappa) {
      x.push_back(4.0 * random.uniform() - 2.0);
    } else {
      const double candidate = 0.5 * random.normal();
      if (std::abs(candidate) < 2.0) x.push_back(candidate);
    }
  }
  return tensor(x);
}

/// The reference in even steps.
Tensor grid(std::int64_t n) {
  std::vector<double> x;
  for (std::int64_t i = 0; i < n; ++i) {
    x.push_back(-2.0 + 4.0 * (static_cast<double>(i) + 0.5) / static_cast<double>(n));
  }
  return tensor(x);
}

const std::vector<double> k_point = {0.3, 1.1, 0.9, 0.5, 0.3, 0.4};

Tensor loss_of(const Tensor& x, const AdaptedSample& data, const AdaptedSample& reference,
               MixtureFamily family = MixtureFamily::exponential) {
  AdaptedLossOptions o;
  o.family = family;
  return adapted_loss(adapted_parameters(x, 3, 2), data, reference, o);
}

}  // namespace

TEST_CASE("log ratios of adapted mixtures", "[modules][adapted_mixture]") {
  const Tensor l = sequence(12).reshape({4, 3}) * 4.0 - 2.0, w = tensor({0.7, 0.5, -0.2});
  const std::vector<double> x = values(l), found = values(adapted_log_ratio(l, w));
  const Tensor positive = tensor({0.7, 0.0, 0.3});
  const std::vector<double> sums = values(adapted_log_ratio(l, positive, MixtureFamily::linear));
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK_THAT(found[i],
               WithinAbs(0.7 * x[3 * i] + 0.5 * x[3 * i + 1] - 0.2 * x[3 * i + 2], 1e-13));
    CHECK_THAT(sums[i],
               WithinAbs(std::log(0.7 * std::exp(x[3 * i]) + 0.3 * std::exp(x[3 * i + 2])), 1e-13));
  }
  CHECK(values(slalom::affine_weights(tensor({0.5, 0.75}))) ==
        std::vector<double>{0.5, 0.75, -0.25});
  CHECK(values(slalom::affine_weights(at::zeros({0}, at::kDouble))) == std::vector<double>{1.0});
  // Ratios beyond what doubles hold.
  const Tensor huge = tensor({2000.0, -3000.0, -2000.0, 3000.0}).reshape({2, 2});
  CHECK(distance(adapted_log_ratio(huge, tensor({0.5, 0.5}), MixtureFamily::linear),
                 tensor({2000.0 - std::log(2.0), 3000.0 - std::log(2.0)})) < 1e-10);
  CHECK(distance(adapted_log_ratio(huge, tensor({1.0, 0.0}), MixtureFamily::linear),
                 tensor({2000.0, -2000.0})) < 1e-10);
  for (const MixtureFamily family : {MixtureFamily::exponential, MixtureFamily::linear}) {
    check_gradients(
        [&](const std::vector<Tensor>& in) { return adapted_log_ratio(in[0], in[1], family); },
        {l, tensor({0.4, 0.5, 0.1})});
  }
  check_fails(ErrorKind::usage, "adapted_mixture", "not negative",
              [&] { adapted_log_ratio(l, w, MixtureFamily::linear); });
  check_fails(ErrorKind::usage, "adapted_mixture", "as many weights",
              [&] { adapted_log_ratio(l, tensor({1.0})); });
}

TEST_CASE("the published loss and its derivatives", "[modules][adapted_mixture]") {
  const AdaptedSample data = sample_of(draw(40, 0.3, 2)), reference = sample_of(grid(30));
  // Term by term.
  const std::vector<double> s = values(data.signal), b = values(data.background),
                            sr = values(reference.signal), br = values(reference.background);
  const double ws[3] = {0.5, 0.3, 0.2}, wb[2] = {0.4, 0.6};
  const auto signal = [&](const std::vector<double>& l, std::size_t i) {
    return 1.1 * std::exp(ws[0] * l[3 * i] + ws[1] * l[3 * i + 1] + ws[2] * l[3 * i + 2]);
  };
  const auto background = [&](const std::vector<double>& l, std::size_t i) {
    return 0.9 * std::exp(wb[0] * l[2 * i] + wb[1] * l[2 * i + 1]);
  };
  double expected = 0.0, mean_s = 0.0, mean_b = 0.0;
  for (std::size_t i = 0; i < 40; ++i) {
    expected -= std::log(0.3 * signal(s, i) + 0.7 * background(b, i));
  }
  for (std::size_t i = 0; i < 30; ++i) {
    mean_s += signal(sr, i) / 30.0;
    mean_b += background(br, i) / 30.0;
  }
  expected +=
      40.0 * (0.3 * mean_s + 0.7 * mean_b - 1.0) + 20.0 * (mean_b - mean_s) * (mean_b - mean_s);
  for (const double w : ws) expected += 0.5 * (w - 1.0 / 3.0) * (w - 1.0 / 3.0);
  for (const double w : wb) expected += 0.5 * (w - 0.5) * (w - 0.5);
  CHECK_THAT(loss_of(tensor(k_point), data, reference).item<double>(), WithinRel(expected, 1e-12));
  for (const MixtureFamily family : {MixtureFamily::exponential, MixtureFamily::linear}) {
    check_gradients(
        [&](const std::vector<Tensor>& in) {
          return loss_of(in[0], {in[1], in[2]}, {in[3], in[4]}, family);
        },
        {tensor(k_point), data.signal, data.background, reference.signal, reference.background});
  }
}

TEST_CASE("edges of the published loss", "[modules][adapted_mixture]") {
  const AdaptedSample data = sample_of(draw(40, 0.3, 2)), reference = sample_of(grid(30));
  for (const double kappa : {0.0, 1.0}) {
    std::vector<double> x = k_point;
    x[0] = kappa;
    const Tensor at_edge = tensor(x).requires_grad_();
    const Tensor value = loss_of(at_edge, data, reference);
    CHECK(std::isfinite(value.item<double>()));
    // From both sides: kappa outside is allowed where R stays above 0.
    const double h = 1e-4;
    const auto shifted = [&](double by) {
      std::vector<double> y = x;
      y[0] += by;
      return loss_of(tensor(y), data, reference).item<double>();
    };
    const double slope = slalom::gradient(value, at_edge)[0].item<double>();
    const double inward = kappa == 0.0 ? 1.0 : -1.0;  // one side: the other may not exist
    const double one_sided =
        (4.0 * shifted(inward * h) - 3.0 * shifted(0.0) - shifted(2.0 * inward * h)) /
        (2.0 * inward * h);
    CHECK_THAT(slope, WithinAbs(one_sided, 2e-4 * std::abs(slope)));
  }
  // One simulation each: no weights, no ridge.
  const AdaptedSample one{data.signal.slice(1, 0, 1), data.background.slice(1, 0, 1)};
  const AdaptedSample one_reference{reference.signal.slice(1, 0, 1),
                                    reference.background.slice(1, 0, 1)};
  const Tensor x = tensor({0.3, 1.0, 1.0});
  AdaptedLossOptions strong;
  strong.ridge = 1e6;
  CHECK_THAT(adapted_loss(adapted_parameters(x, 1, 1), one, one_reference, strong).item<double>(),
             WithinRel(adapted_loss(adapted_parameters(x, 1, 1), one, one_reference).item<double>(),
                       1e-14));
  const slalom::MinimizeResult single = slalom::fit_adapted(one, one_reference);
  CHECK(single.converged());
  CHECK(single.x.size() == 3);
  // No data: the ridge is all there is.
  const AdaptedSample nothing{data.signal.slice(0, 0, 0), data.background.slice(0, 0, 0)};
  CHECK_THAT(loss_of(tensor(k_point), nothing, reference).item<double>(),
             WithinAbs(0.5 * (0.0277777777777778 + 0.00111111111111111 + 0.0177777777777778 + 0.02),
                       1e-14));
  // Where R is 0 the floor is.
  const AdaptedSample far{at::full({1, 3}, -900.0, at::kDouble),
                          at::full({1, 2}, -900.0, at::kDouble)};
  AdaptedLossOptions only;
  only.penalty = only.ridge = 0.0;
  const double floor =
      adapted_loss(adapted_parameters(tensor(k_point), 3, 2), far, reference, only).item<double>() -
      adapted_loss(adapted_parameters(tensor(k_point), 3, 2),
                   {at::zeros({1, 3}, at::kDouble), at::zeros({1, 2}, at::kDouble)}, reference,
                   only)
          .item<double>();
  CHECK_THAT(floor, WithinRel(std::log(0.3 * 1.1 + 0.7 * 0.9) - std::log(1e-8), 1e-12));
}

TEST_CASE("the published loss has core's minimum", "[modules][adapted_mixture]") {
  const AdaptedSample data = sample_of(draw(3000, 0.25, 7)), reference = sample_of(grid(400));
  AdaptedFitOptions options;
  options.tolerance = 1e-9;
  const slalom::MinimizeResult loss = slalom::fit_adapted(data, reference, options);
  REQUIRE(loss.converged());
  slalom::LearnedPointsOptions of_points;
  of_points.signal_classes = 3;
  const slalom::LearnedPoints points =
      slalom::learned_points(at::cat({data.signal, data.background}, 1),
                             at::cat({reference.signal, reference.background}, 1), of_points);
  slalom::LearnedMixtureOptions ridge;
  ridge.population_prior = false;
  slalom::MixtureFitOptions how;
  how.tolerance = 1e-9;
  const slalom::MixtureFit exact = slalom::fit(slalom::learned_mixture(points, ridge), how);
  REQUIRE(exact.converged());
  CHECK(std::abs(exact.kappa() - 0.25) < 0.1);
  CHECK_THAT(loss.x[0], WithinAbs(exact.kappa(), 1e-7));
  for (std::size_t i = 1; i < exact.parameters.size(); ++i) {
    CHECK_THAT(loss.x[i + 2], WithinAbs(exact.parameters[i], 1e-6));
  }
  CHECK(std::abs(exact.parameters[1] - 1.0 / 3.0) > 1e-3);  // it moved
  // Both norms are those of densities.
  const auto p = adapted_parameters(tensor(loss.x), 3, 2);
  CHECK_THAT((p.signal_norm * at::exp(adapted_log_ratio(reference.signal, p.signal_weights)))
                 .mean()
                 .item<double>(),
             WithinAbs(1.0, 1e-7));
  CHECK_THAT(
      (p.background_norm * at::exp(adapted_log_ratio(reference.background, p.background_weights)))
          .mean()
          .item<double>(),
      WithinAbs(1.0, 1e-7));
  // The strength of the penalty does not matter.
  options.loss.penalty = 10.0;
  CHECK_THAT(slalom::fit_adapted(data, reference, options).x[0], WithinAbs(loss.x[0], 1e-7));
  check_fails(ErrorKind::usage, "adapted_mixture", "linear", [&] {
    options.loss.family = MixtureFamily::linear;
    slalom::fit_adapted(data, reference, options);
  });
  check_fails(ErrorKind::usage, "adapted_mixture", "a reference without events", [&] {
    slalom::fit_adapted(data,
                        {reference.signal.slice(0, 0, 0), reference.background.slice(0, 0, 0)});
  });
}

TEST_CASE("the symmetrised loss is least at the log ratio", "[modules][adapted_mixture]") {
  // Three kinds of events, as often as they say in both samples.
  const std::vector<double> p = {1.0, 3.0, 6.0}, q = {4.0, 4.0, 2.0};
  const auto spread = [](const Tensor& t, const std::vector<double>& counts) {
    std::vector<Tensor> all;
    for (std::size_t i = 0; i < 3; ++i) {
      all.push_back(t[static_cast<std::int64_t>(i)].expand({static_cast<std::int64_t>(counts[i])}));
    }
    return at::cat(all);
  };
  const auto loss = [&](const Tensor& t) {
    return slalom::symmetrised_mlc_loss(spread(t, p), spread(t, q));
  };
  Tensor t = tensor({std::log(1.0 / 4.0), std::log(3.0 / 4.0), std::log(3.0)}).requires_grad_();
  const Tensor value = loss(t);
  CHECK(distance(slalom::gradient(value, t), at::zeros({3}, at::kDouble)) < 1e-15);
  CHECK(value.item<double>() < loss(t.detach() + 0.1).item<double>());
  CHECK_THAT(loss(at::zeros({3}, at::kDouble)).item<double>(), WithinAbs(0.0, 1e-15));
  check_gradients([&](const std::vector<Tensor>& in) { return loss(in[0]); },
                  {tensor({0.3, -0.5, 0.1})});
  check_fails(ErrorKind::usage, "adapted_mixture", "two samples",
              [&] { slalom::symmetrised_mlc_loss(t.slice(0, 0, 0), t); });
}
