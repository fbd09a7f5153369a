// SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/log.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <cmath>
#include <limits>

#include "slalom/core/random.hpp"
#include "slalom/modules/autodiff.hpp"
#include "slalom/modules/density.hpp"
#include "slalom/modules/flow.hpp"
#include "slalom/modules/tensor_files.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/tensors.hpp"

using at::Tensor;
using slalom::as_density;
using slalom::Density;
using slalom::DensityTraining;
using slalom::ErrorKind;
using slalom::FeatureMap;
using slalom::FeatureTransform;
using slalom::FeatureTransformOptions;
using slalom::Flow;
using slalom::FlowOptions;
using slalom::FunctionDensity;
using slalom::TransformedDensity;
using slalom::test::check_fails;
using slalom::test::distance;
using slalom::test::sequence;
using slalom::test::tensor;
using slalom::test::values;

namespace {

constexpr double k_log_2_pi = 1.8378770664093453;
const double k_infinity = std::numeric_limits<double>::infinity();

Tensor normal_log_density(const Tensor& x, const Tensor& mean, const Tensor& log_width) {
  const Tensor pull = (x - mean) * at::exp(-log_width);
  return -0.5 * pull * pull - log_width - 0.5 * k_log_2_pi;
}

/// Normal in one feature, of mean a c and width e^(b c).
Density moving_normal(double a, double b) {
  return as_density(FunctionDensity(
                        [=](const Tensor& x, const Tensor& c) {
                          return normal_log_density(x.to(at::kDouble), a * c.to(at::kDouble),
                                                    b * c.to(at::kDouble))
                              .squeeze(1);
                        },
                        [=](std::int64_t n, const Tensor& c, std::uint64_t seed) {
                          return a * c + at::exp(b * c) * slalom::normal_rows(n, 1, seed);
                        })
                        .ptr());
}

/// Two features whose means, widths and correlation move with one condition in [-1, 1]: a cosine
/// that the first one's mean follows, and the second one around a parabola of the first.
struct Toy {
  static Tensor conditions(std::int64_t n, std::uint64_t seed) {
    Tensor c = at::zeros({n, 1}, at::kDouble);
    for (std::int64_t i = 0; i < n; ++i) {
      slalom::RandomStream random(seed, static_cast<std::uint64_t>(i), 77);
      c.data_ptr<double>()[i] = 2.0 * random.uniform() - 1.0;
    }
    return c;
  }
  static Tensor mean(const Tensor& c) { return 1.5 * at::cos(1.2 * c); }
  static Tensor log_width(const Tensor& c) { return 0.4 * c; }
  static Tensor sample(const Tensor& c, std::uint64_t seed) {
    const Tensor z = slalom::normal_rows(c.size(0), 2, seed), first = z.slice(1, 0, 1),
                 a = mean(c) + at::exp(log_width(c)) * first;
    return at::cat({a, 0.5 * first * first + c + 0.6 * z.slice(1, 1, 2)}, 1);
  }
  static Tensor log_prob(const Tensor& x, const Tensor& c) {
    const Tensor a = x.slice(1, 0, 1), b = x.slice(1, 1, 2),
                 first = (a - mean(c)) * at::exp(-log_width(c));
    return (normal_log_density(a, mean(c), log_width(c)) +
            normal_log_density(b, 0.5 * first * first + c, at::zeros_like(c) + std::log(0.6)))
        .squeeze(1);
  }
};

TransformedDensity toy_flow(std::uint64_t seed, std::int64_t layers = 6, std::int64_t hidden = 32) {
  return TransformedDensity(
      FeatureTransform(FeatureTransformOptions{.maps = {FeatureMap::linear, FeatureMap::linear}}),
      as_density(
          Flow(
              FlowOptions{
                  .features = 2, .conditions = 1, .layers = layers, .hidden = hidden, .seed = seed})
              .ptr()),
      1);
}

}  // namespace

TEST_CASE("a density behind a transform has the Jacobian", "[modules][density]") {
  // x = e^u, u normal of mean 0.3 and width 2: the log-normal density.
  TransformedDensity density(
      FeatureTransform(FeatureTransformOptions{.maps = {FeatureMap::log}}),
      as_density(Flow(FlowOptions{.features = 1, .layers = 1, .float64 = true}).ptr()));
  density->fit(tensor({std::exp(2.3), std::exp(-1.7)}).unsqueeze(1));
  const Tensor x = tensor({0.01, 0.5, 3.0, 700.0}).unsqueeze(1), u = at::log(x);
  const Tensor expected =
      normal_log_density(u, tensor({0.3}), tensor({std::log(2.0)})).squeeze(1) - u.squeeze(1);
  CHECK(distance(density->log_prob(x, {}), expected) < 1e-12);
  // Nothing outside, and a gradient without NaN.
  Tensor with_none = tensor({0.5, -1.0, 0.0, NAN}).unsqueeze(1).requires_grad_(true);
  const Tensor log_p = density->log_prob(with_none, {});
  CHECK(std::abs(values(log_p)[0] - values(expected)[1]) < 1e-14);
  for (const std::size_t i : {1U, 2U, 3U}) CHECK(values(log_p)[i] == -k_infinity);
  const auto slopes = values(slalom::gradient(log_p[0], with_none));
  CHECK(std::isfinite(slopes[0]));
  CHECK(slopes[1] == 0.0);
  const Tensor sample = density->sample(20000, {}, 3);
  CHECK(std::abs(at::log(sample).mean().item<double>() - 0.3) < 0.06);
}

TEST_CASE("conditions are standardised", "[modules][density]") {
  // What the inner density is told.
  const auto told = [](const Tensor& x, const Tensor& c) { return (x * 0.0 + c).squeeze(1); };
  TransformedDensity density(
      FeatureTransform(FeatureTransformOptions{.maps = {FeatureMap::linear}}),
      as_density(FunctionDensity(told).ptr()), 1);
  density->fit(tensor({-1, 1}).unsqueeze(1), tensor({3000, 5000}).unsqueeze(1));
  const Tensor c = tensor({3000, 4500}).unsqueeze(1);
  CHECK(distance(density->log_prob(at::zeros({2, 1}), c), tensor({-1, 0.5})) < 1e-12);
  check_fails(ErrorKind::usage, "density", "conditions [2, 1] expected, found none", [&] {
    density->log_prob(at::zeros({2, 1}), {});
  });
}

TEST_CASE("an ensemble is the mean of its members' densities", "[modules][density]") {
  std::vector<Density> members{moving_normal(1.0, 0.2), moving_normal(-1.0, 0.0),
                               moving_normal(0.3, -0.5)};
  slalom::DensityEnsemble ensemble(members);
  const Tensor x = (4.0 * sequence(50) - 2.0).unsqueeze(1), c = sequence(50, 0.2).unsqueeze(1);
  Tensor sum = at::zeros({50}, at::kDouble);
  for (Density& member : members) sum = sum + at::exp(member->log_prob(x, c));
  CHECK(distance(ensemble->log_prob(x, c), at::log(sum / 3.0)) < 1e-13);
  CHECK(distance(ensemble->log_probs(x, c)[1], members[1]->log_prob(x, c)) < 1e-15);
  // Far from all members, where densities are 0 in float64.
  const Tensor far = at::zeros({1, 1}, at::kDouble) + 300.0;
  CHECK(std::isfinite(ensemble->log_prob(far, c.slice(0, 0, 1)).item<double>()));
  // The mean of a sample is the mean of the members' means, and every row has its condition.
  const std::int64_t n = 60000;
  const Tensor steps =
      at::cat({at::zeros({n / 2, 1}, at::kDouble), at::zeros({n / 2, 1}, at::kDouble) + 2.0});
  const Tensor sample = ensemble->sample(n, steps, 4);
  CHECK(std::abs(sample.slice(0, 0, n / 2).mean().item<double>()) < 0.03);
  CHECK(std::abs(sample.slice(0, n / 2, n).mean().item<double>() - 0.2) < 0.06);
  CHECK(distance(ensemble->sample(100, steps.slice(0, 0, 100), 4), sample.slice(0, 0, 100)) == 0.0);
  check_fails(ErrorKind::usage, "density", "without members",
              [] { slalom::DensityEnsemble(std::vector<Density>{}); });
}

TEST_CASE("a user's density is checked", "[modules][density]") {
  FunctionDensity wrong([](const Tensor& x, const Tensor&) { return x; });
  check_fails(ErrorKind::usage, "density", "returned [3, 1]", [&] {
    wrong->log_prob(at::zeros({3, 1}), {});
  });
  check_fails(ErrorKind::usage, "density", "no function that samples",
              [&] { wrong->sample(3, {}, 1); });
  check_fails(ErrorKind::usage, "density", "no function",
              [] { FunctionDensity(FunctionDensity::Impl::LogProb()); });
}

TEST_CASE("the divergence of two normals", "[modules][density]") {
  // KL of N(0, 1) from N(m, w): log w + (1 + m^2) / (2 w^2) - 1/2.
  const double m = 0.1, w = 1.05;
  const double expected = std::log(w) + (1.0 + m * m) / (2.0 * w * w) - 0.5;
  const Tensor x = slalom::normal_rows(100000, 1, 5).squeeze(1);
  const Tensor zero = tensor({0}), log_p = normal_log_density(x, zero, zero),
               log_q = normal_log_density(x, tensor({m}), tensor({std::log(w)}));
  const auto found = slalom::kl_divergence(log_p, log_q);
  CAPTURE(found.value, found.error, found.paired, found.paired_error, expected);
  CHECK(std::abs(found.value - expected) < 4.0 * found.error);
  CHECK(std::abs(found.paired - expected) < 4.0 * found.paired_error);
  CHECK(found.paired_error < 0.25 * found.error);
  // Events counted twice are events of weight two.
  const Tensor head = log_p.slice(0, 0, 10), other = log_q.slice(0, 0, 10);
  const auto twice = slalom::kl_divergence(at::cat({head, head.slice(0, 0, 3)}),
                                           at::cat({other, other.slice(0, 0, 3)}));
  const auto weighted = slalom::kl_divergence(head, other, tensor({2, 2, 2, 1, 1, 1, 1, 1, 1, 1}));
  CHECK(std::abs(twice.value - weighted.value) < 1e-15);
  CHECK(std::abs(slalom::kl_divergence(log_p, log_p).paired) < 1e-15);
  check_fails(ErrorKind::numerical, "density", "not finite",
              [&] { slalom::kl_divergence(tensor({0}), tensor({-k_infinity})); });
  check_fails(ErrorKind::usage, "density", "[1] and [2]", [&] {
    slalom::kl_divergence(tensor({0}), tensor({0, 0}));
  });
}

TEST_CASE("a closure sees what is wrong with a density", "[modules][density]") {
  const std::int64_t n = 8000;
  const Tensor c = Toy::conditions(n, 1);
  Density right = moving_normal(1.0, 0.3), wrong = moving_normal(-1.0, 0.3);
  const auto events = slalom::make_events({"x", "c"}, at::cat({right->sample(n, c, 9), c}, 1));
  const auto good = slalom::density_closure(right, events, {"x"}, {"c"}),
             bad = slalom::density_closure(wrong, events, {"x"}, {"c"});
  CHECK(good.columns == std::vector<std::string>{"x", "c"});
  CHECK(std::abs(good.auc - 0.5) < 4.0 * good.auc_error);
  CHECK(bad.auc > 0.6);
}

TEST_CASE("a training finds the density, and tells how", "[modules][density]") {
  const std::int64_t n = 10000;
  const Tensor c = Toy::conditions(n, 1), x = Toy::sample(c, 2);
  TransformedDensity flow = toy_flow(1);
  flow->fit(x, c);
  Density density = as_density(flow.ptr());
  const Tensor test_c = Toy::conditions(20000, 3), test_x = Toy::sample(test_c, 4);
  const auto divergence = [&] {
    const at::NoGradGuard no_graph;
    return slalom::kl_divergence(Toy::log_prob(test_x, test_c), density->log_prob(test_x, test_c))
        .value;
  };
  CHECK(divergence() > 0.5);
  std::int64_t calls = 0;
  const auto fit = slalom::train_density(
      density, x, c, {},
      {.steps = 600, .batch_size = 512, .learning_rate = 5e-3, .validate_every = 100},
      [&](const slalom::DensityProgress& now) {
        ++calls;
        CHECK(now.step == 100 * calls);
        CHECK(now.steps == 600);
        return true;
      });
  CHECK(divergence() < 0.03);
  CHECK(calls == 6);
  CHECK(fit.history.size() == 6);
  CHECK(fit.steps == 600);
  CHECK_FALSE(fit.stopped_early);
  double best = k_infinity;
  for (const auto& now : fit.history) best = std::min(best, now.validation_loss);
  CHECK(fit.best_loss == best);
  for (const Tensor& parameter : density->parameters()) {
    CHECK(parameter.is_contiguous());
    CHECK(parameter.requires_grad());
  }
}

TEST_CASE("a training does not depend on threads", "[modules][density]") {
  const std::int64_t n = 5000;
  const Tensor c = Toy::conditions(n, 1), x = Toy::sample(c, 2);
  const int before = at::get_num_threads();
  std::vector<slalom::NamedTensors> results;
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    for (const std::int64_t batch : {600, 2500}) {  // one chunk and several
      TransformedDensity flow = toy_flow(1);
      flow->fit(x, c);
      Density density = as_density(flow.ptr());
      slalom::train_density(density, x, c, {}, {.steps = 12, .batch_size = batch, .average = 0.9});
      results.push_back(slalom::named_tensors(*density));
    }
    CHECK(at::get_num_threads() == threads);
  }
  at::set_num_threads(before);
  for (std::size_t i = 2; i < results.size(); ++i) {
    for (const auto& [name, value] : results[i]) {
      CHECK(value.equal(results[i % 2].at(name)));
    }
  }
  CHECK_FALSE(
      results[0].at("density.layer0_weight1").equal(results[1].at("density.layer0_weight1")));
}

TEST_CASE("the best weights are kept, and a training stops early", "[modules][density]") {
  // 60 events are learned by heart soon.
  const Tensor c = Toy::conditions(120, 1), x = Toy::sample(c, 2);
  const DensityTraining options{.steps = 2000,
                                .batch_size = 60,
                                .learning_rate = 1e-2,
                                .validation_share = 0.5,
                                .validate_every = 20,
                                .patience = 5};
  TransformedDensity flow = toy_flow(1);
  flow->fit(x, c);
  Density density = as_density(flow.ptr());
  const auto fit = slalom::train_density(density, x, c, {}, options);
  CHECK(fit.stopped_early);
  CHECK(fit.steps < 2000);
  CHECK(fit.best_step == fit.steps - 5 * 20);
  // The same training stopped by hand where it was best ends with the same weights.
  TransformedDensity other_flow = toy_flow(1);
  other_flow->fit(x, c);
  Density other = as_density(other_flow.ptr());
  const auto stopped = slalom::train_density(
      other, x, c, {}, options,
      [&](const slalom::DensityProgress& now) { return now.step < fit.best_step; });
  CHECK(stopped.steps == fit.best_step);
  CHECK_FALSE(stopped.stopped_early);
  for (const auto& [name, value] : slalom::named_tensors(*other)) {
    CHECK(value.equal(slalom::named_tensors(*density).at(name)));
  }
}

TEST_CASE("weights of events count", "[modules][density]") {
  // One feature, no network: a layer of biases alone finds mean and width of the weighted events.
  const Tensor x = tensor({-2, -1, 0, 1, 2, 5}).unsqueeze(1), w = tensor({1, 2, 4, 2, 1, 0});
  Flow flow(FlowOptions{.features = 1, .layers = 1, .hidden_layers = 0, .float64 = true});
  Density density = as_density(flow.ptr());
  slalom::train_density(density, x, {}, w,
                        {.steps = 800, .learning_rate = 0.05, .validation_share = 0.0});
  const double width = std::sqrt((2 * 4.0 + 4 * 1.0) / 10.0);
  const Tensor expected = normal_log_density(x.squeeze(1), tensor({0}), tensor({std::log(width)}));
  CHECK(distance(density->log_prob(x, {}), expected) < 1e-3);
}

TEST_CASE("a training that cannot be says why", "[modules][density]") {
  const Tensor x = sequence(20).unsqueeze(1);
  Density density = as_density(Flow(FlowOptions{.features = 1, .layers = 1}).ptr());
  const auto fails = [&](ErrorKind kind, const char* text, const Tensor& events,
                         const Tensor& weights, const DensityTraining& options) {
    check_fails(kind, "density training", text,
                [&] { slalom::train_density(density, events, {}, weights, options); });
  };
  const auto usage = ErrorKind::usage, numerical = ErrorKind::numerical;
  fails(usage, "no steps", x, {}, {.epochs = 0});
  fails(usage, "batch size", x, {}, {.batch_size = 0});
  fails(usage, "learning rate", x, {}, {.learning_rate = 0.0});
  fails(usage, "[0, 1)", x, {}, {.average = 1.0});
  fails(usage, "[0, 1)", x, {}, {.validation_share = 1.0});
  fails(usage, "two or more events", x.slice(0, 0, 1), {}, {});
  fails(usage, "weights [events]", x, sequence(3), {});
  fails(usage, "negative", x, sequence(20) - 0.5, {});
  fails(numerical, "positive sum", x, at::zeros({20}), {});
  fails(numerical, "not finite", at::cat({x, tensor({NAN}).unsqueeze(1)}), {}, {});
  Density fixed = moving_normal(1.0, 0.0);
  check_fails(usage, "density training", "no weights to train",
              [&] { slalom::train_density(fixed, x, x); });
  // Events so far out that their density is 0 in float32.
  fails(numerical, "loss is not finite at step 0", 1e30 * x, {}, {});
  // Outside of a range: told by the transform.
  TransformedDensity ranged(FeatureTransform(FeatureTransformOptions{
                                .maps = {FeatureMap::logit}, .low = {0.0}, .high = {1.0}}),
                            density);
  Density bounded = as_density(ranged.ptr());
  check_fails(numerical, "feature_transform", "feature 0 of 20 events is not inside (0, 1)",
              [&] { slalom::train_density(bounded, x + 1.0); });
}

TEST_CASE("a trained density is saved and loaded", "[modules][density]") {
  const Tensor c = Toy::conditions(500, 1), x = Toy::sample(c, 2);
  TransformedDensity one = toy_flow(1), two = toy_flow(2);
  one->fit(x, c);
  Density density = as_density(one.ptr());
  slalom::train_density(density, x, c, {}, {.steps = 10, .batch_size = 100});
  slalom::load_tensors(*two, slalom::named_tensors(*density));
  CHECK(two->log_prob(x, c).equal(one->log_prob(x, c)));
  CHECK(two->sample(10, c.slice(0, 0, 10), 1).equal(one->sample(10, c.slice(0, 0, 10), 1)));
}

TEST_CASE("densities take no events", "[modules][density]") {
  TransformedDensity flow = toy_flow(1);
  const Tensor c = Toy::conditions(50, 1), x = Toy::sample(c, 2), none = x.slice(0, 0, 0),
               no_condition = c.slice(0, 0, 0);
  flow->fit(x, c);
  slalom::DensityEnsemble ensemble(
      std::vector<Density>{as_density(flow.ptr()), as_density(toy_flow(2).ptr())});
  for (Density density : {as_density(flow.ptr()), as_density(ensemble.ptr())}) {
    CHECK(density->log_prob(none, no_condition).size(0) == 0);
    CHECK(density->sample(0, no_condition, 1).sizes() == none.sizes());
    check_fails(ErrorKind::usage, "density", "conditions [50, 1] expected, found [0, 1]",
                [&] { density->log_prob(x, no_condition); });
  }
}

TEST_CASE("a flow interpolates into a window it has not seen", "[modules][density][slow]") {
  // Trained on |c| > 0.2, judged inside.
  const std::int64_t n = 100000;
  Tensor c = Toy::conditions(n, 1);
  c = c.index_select(0, (at::abs(c.squeeze(1)) > 0.2).nonzero().flatten());
  const Tensor x = Toy::sample(c, 2);
  const Tensor test_c = 0.2 * Toy::conditions(40000, 3), test_x = Toy::sample(test_c, 4);
  const Tensor log_p = Toy::log_prob(test_x, test_c);
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    TransformedDensity flow = toy_flow(seed, 8, 64);
    flow->fit(x, c);
    Density density = as_density(flow.ptr());
    slalom::train_density(density, x, c, {}, {.steps = 2500, .seed = seed});
    const at::NoGradGuard no_graph;
    const auto found = slalom::kl_divergence(log_p, density->log_prob(test_x, test_c));
    CAPTURE(seed, found.value, found.error, found.paired, found.paired_error);
    CHECK(found.paired < 0.003);
  }
}
