// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log.h>
#include <ATen/ops/special_ndtri.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <cmath>
#include <utility>

#include "slalom/core/random.hpp"
#include "slalom/modules/soft_histogram.hpp"
#include "slalom/modules/tensor_files.hpp"
#include "slalom/modules/variations.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/gradients.hpp"
#include "support/tensors.hpp"

using at::Tensor;
using slalom::Activation;
using slalom::ErrorKind;
using slalom::EventBatch;
using slalom::Mlp;
using slalom::MlpOptions;
using slalom::ShiftedEvents;
using slalom::SlopeMethod;
using slalom::Variation;
using slalom::test::check_fails;
using slalom::test::check_gradients;
using slalom::test::distance;
using slalom::test::sequence;
using slalom::test::tensor;
using slalom::test::values;
using Vector = std::vector<double>;

namespace {

EventBatch example() {
  return slalom::make_events({"pt", "met", "mt"}, (sequence(15) + 0.5).reshape({5, 3}),
                             sequence(5, 0.3) - 0.2, {}, tensor({0, 1, 0, 1, 1}),
                             {"signal", "background"});
}

/// mt^2 = 2 pt met, after the missing momentum took up what pt gained.
EventBatch recompute(const EventBatch& scaled, const EventBatch& nominal) {
  const EventBatch moved = scaled.with_column(
      "met", nominal.column("met") - 0.5 * (scaled.column("pt") - nominal.column("pt")));
  return moved.with_column("mt", at::sqrt(2.0 * moved.column("pt") * moved.column("met")));
}

Tensor at_theta(double theta) { return tensor({theta}); }

/// Background of the toy of de Castro and Dorigo (2019) in the two features that matter, with its
/// shift r of x0 ~ N(2 + r, 5).
EventBatch toy(std::int64_t n, std::uint64_t index) {
  slalom::RandomStream random(1, index);
  std::vector<double> x;
  for (std::int64_t i = 0; i < n; ++i) {
    x.push_back(2.0 + std::sqrt(5.0) * random.normal());
    x.push_back(3.0 * random.normal());
  }
  return slalom::make_events({"x0", "x1"}, tensor(x).reshape({n, 2}));
}

}  // namespace

TEST_CASE("scales and shifts move features", "[modules][variations]") {
  const EventBatch events = example();
  const EventBatch scaled = slalom::apply_variation(
      events, slalom::scale_variation("jes", {"pt", "mt"}, 0.1), at_theta(-2.0));
  CHECK(distance(scaled.column("pt"), 0.8 * events.column("pt")) < 1e-15);
  CHECK(distance(scaled.column("mt"), 0.8 * events.column("mt")) < 1e-15);
  CHECK(distance(scaled.column("met"), events.column("met")) == 0.0);
  CHECK(scaled.weights.is_same(events.weights));
  const EventBatch shifted =
      slalom::apply_variation(events, slalom::shift_variation("met", {"met"}, 3.0), at_theta(0.5));
  CHECK(distance(shifted.column("met"), events.column("met") + 1.5) < 1e-15);
}

TEST_CASE("reweighting moves weights alone", "[modules][variations]") {
  const EventBatch events = example();
  const auto number = [](const EventBatch& e) { return e.column("pt") - 1.0; };
  const EventBatch linear =
      slalom::apply_variation(events, slalom::linear_reweighting("pdf", number), at_theta(2.0));
  CHECK(distance(linear.weights, events.weights * (1.0 + 2.0 * number(events))) < 1e-15);
  CHECK(linear.features.is_same(events.features));
  const EventBatch exponential = slalom::apply_variation(
      events, slalom::exponential_reweighting("pdf", number), at_theta(2.0));
  CHECK(distance(exponential.weights, events.weights * at::exp(2.0 * number(events))) < 1e-15);
}

TEST_CASE("an energy scale recomputes what depends on it", "[modules][variations]") {
  const EventBatch events = recompute(example(), example());
  const Variation tes = slalom::energy_scale("tes", {"pt"}, 0.03, recompute);
  const EventBatch up = slalom::apply_variation(events, tes, at_theta(1.0));
  const Tensor pt = 1.03 * events.column("pt"),
               met = events.column("met") - 0.015 * events.column("pt");
  CHECK(distance(up.column("met"), met) < 1e-14);
  CHECK(distance(up.column("mt"), at::sqrt(2.0 * pt * met)) < 1e-14);
  CHECK(distance(slalom::apply_variation(events, tes, at_theta(0.0)).features, events.features) <
        1e-15);
}

TEST_CASE("variations are differentiable in theta and in the features",
          "[modules][variations][gradient]") {
  const EventBatch events = recompute(example(), example());
  const std::vector<Variation> all = {
      slalom::energy_scale("tes", {"pt"}, 0.1, recompute),
      slalom::shift_variation("met", {"met"}, 0.2),
      slalom::exponential_reweighting("pdf", [](const EventBatch& e) { return e.column("mt"); }),
      {.name = "mine", .apply = [](const EventBatch& e, const Tensor& theta) {
         return e.with_column(
             "pt", at::exp(theta.reshape({}) * at::log(e.column("pt"))) * e.column("pt"));
       }}};
  for (const Vector& theta : {Vector{0, 0, 0, 0}, Vector{1, -1, 0.5, 0.3}}) {
    check_gradients(
        [&](const std::vector<Tensor>& in) {
          const EventBatch moved =
              slalom::apply_variations(events.with_features(in[1]), all, in[0]);
          return at::cat({moved.features.flatten(), moved.weights});
        },
        {tensor(theta), events.features}, {.second_tolerance = 1e-5});
  }
  check_fails(ErrorKind::usage, "variations", "theta [4] expected, found [1]",
              [&] { slalom::apply_variations(events, all, at_theta(0.0)); });
}

TEST_CASE("a theta for each event", "[modules][variations][gradient]") {
  const EventBatch events = example();
  const std::vector<Variation> all = {
      slalom::scale_variation("jes", {"pt"}, 0.1), slalom::shift_variation("met", {"met"}, 2.0),
      slalom::energy_scale("tes", {"pt"}, 0.03, recompute),
      slalom::exponential_reweighting("w", [](const EventBatch& e) { return e.column("pt"); }),
      slalom::linear_reweighting("l", [](const EventBatch& e) { return e.column("met"); })};
  const Tensor each = sequence(25, 0.7).reshape({5, 5});
  const EventBatch moved = slalom::apply_variations(events, all, each);
  for (std::int64_t i = 0; i < 5; ++i) {
    const Tensor place = tensor({static_cast<double>(i)}).to(at::kLong);
    const EventBatch alone = slalom::apply_variations(events.select(place), all, each[i]);
    CHECK(distance(moved.features[i], alone.features[0]) < 1e-14);
    CHECK(distance(moved.weights[i], alone.weights[0]) < 1e-14);
  }
  check_gradients(
      [&](const std::vector<Tensor>& inputs) {
        const EventBatch m = slalom::apply_variations(events, all, inputs[0]);
        return (m.features * m.features).sum() + (m.weights * m.weights).sum();
      },
      {0.1 * each});
  check_fails(ErrorKind::usage, "jes", "one for each of 5 events, found [3]",
              [&] { return slalom::apply_variation(events, all[0], sequence(3)); });
  check_fails(ErrorKind::usage, "variations", "theta [5] expected, found [4, 5]",
              [&] { return slalom::apply_variations(events, all, each.slice(0, 0, 4)); });
}

TEST_CASE("other processes stay where they are", "[modules][variations]") {
  const EventBatch events = example();
  Variation v = slalom::scale_variation("jes", {"pt"}, 0.1);
  v.processes = {"background"};
  const EventBatch up = slalom::apply_variation(events, v, at_theta(1.0));
  const Vector before = values(events.column("pt")), after = values(up.column("pt"));
  for (std::size_t i = 0; i < 5; ++i) {
    const bool moves = i != 0 && i != 2;
    CHECK_THAT(after[i], Catch::Matchers::WithinRel(before[i] * (moves ? 1.1 : 1.0), 1e-14));
  }
  v.processes = {"other"};
  check_fails(ErrorKind::usage, "events", "no process named 'other'",
              [&] { slalom::apply_variation(events, v, at_theta(1.0)); });
  v.processes = {};
  v.apply = [](const EventBatch& e, const Tensor&) { return e.select(tensor({0}).to(at::kLong)); };
  check_fails(ErrorKind::usage, "variations", "changed the number of events",
              [&] { slalom::apply_variation(events, v, at_theta(1.0)); });
}

TEST_CASE("up and down copies share what they can", "[modules][variations]") {
  const EventBatch events = example();
  const ShiftedEvents s =
      slalom::shifted_copies(events, slalom::scale_variation("jes", {"pt"}, 0.1), 0.5);
  CHECK(distance(s.up.column("pt"), 1.05 * events.column("pt")) < 1e-15);
  CHECK(distance(s.down.column("pt"), 0.95 * events.column("pt")) < 1e-15);
  CHECK(s.up.weights.is_same(events.weights));
  CHECK(s.up.process.is_same(s.down.process));
}

TEST_CASE("three ways to the derivative of yields agree", "[modules][variations][gradient]") {
  // N(2 + r, 5) in bins of x0: d share / dr is a difference of densities at the edges.
  const EventBatch events = toy(200000, 0);
  Variation shift = slalom::shift_variation("r", {"x0"}, 1.0);
  shift.score = [](const EventBatch& e) { return (e.column("x0") - 2.0) / 5.0; };
  const Vector edges = {-3.0, 1.0, 2.5, 6.0};
  const auto yields = [&](const EventBatch& e) {
    return slalom::soft_histogram(e.column("x0"), e.weights, tensor(edges), tensor({0.05}),
                                  {.flow = slalom::FlowBins::keep})
               .sumw /
           200000.0;
  };
  const auto density = [](double x) {
    return std::exp(-(x - 2.0) * (x - 2.0) / 10.0) / std::sqrt(10.0 * M_PI);
  };
  Vector expected = {-density(edges[0])};
  for (std::size_t j = 0; j < 3; ++j) expected.push_back(density(edges[j]) - density(edges[j + 1]));
  expected.push_back(density(edges[3]));
  for (const auto& [method, step] :
       {std::pair(SlopeMethod::copies, 0.1), std::pair(SlopeMethod::score, 1.0),
        std::pair(SlopeMethod::automatic, 1.0)}) {
    INFO("method " << static_cast<int>(method));
    const Tensor found =
        slalom::yield_slopes(yields, events, shift, {.method = method, .step = step});
    CHECK(distance(found, tensor(expected)) < 0.01);  // 4 standard deviations of 200,000 events
  }
}

TEST_CASE("kinks lose terms of a gradient, and are refused", "[modules][variations][gradient]") {
  // x ~ N(r, 1) and the yield Y = mean of g(x - b) for one unit with activation g and bias -b. For
  // relu dY/dr = P(x > b), and its derivative by the bias is the density at b.
  constexpr std::int64_t n = 20000;
  const double b = 0.3, density = std::exp(-0.5 * b * b) / std::sqrt(2.0 * M_PI);
  const Tensor levels = (at::arange(n, at::kDouble) + 0.5) / static_cast<double>(n);
  const EventBatch events = slalom::make_events({"x"}, at::special_ndtri(levels).unsqueeze(1));
  Variation shift = slalom::shift_variation("r", {"x"}, 1.0);
  shift.score = [](const EventBatch& e) { return e.column("x"); };
  const auto slope_and_gradient = [&](Activation activation, const slalom::SlopeOptions& options) {
    Mlp unit(MlpOptions{.inputs = 1, .hidden = {1}, .activation = activation, .float64 = true});
    slalom::load_tensors(*unit, {{"mean", tensor({0})},
                                 {"scale", tensor({1})},
                                 {"parameter_mid", tensor({})},
                                 {"parameter_half", tensor({})},
                                 {"weight0", tensor({1}).unsqueeze(1)},
                                 {"bias0", tensor({-b})},
                                 {"weight1", tensor({1}).unsqueeze(1)},
                                 {"bias1", tensor({0})}});
    const auto yields = [&](const EventBatch& e) {
      return (e.weights * unit->outputs(e.features, {}).squeeze(1)).mean().unsqueeze(0);
    };
    const Tensor slope = slalom::yield_slopes(yields, events, shift, options, unit.get());
    const Tensor gradient = slalom::gradient(slope[0], unit->named_parameters()["bias0"]);
    return std::pair(slope.item<double>(), gradient.item<double>());
  };
  const double share = 0.5 * std::erfc(b / std::sqrt(2.0));
  const auto near = [](double value) { return Catch::Matchers::WithinAbs(value, 2e-3); };
  const auto [copies, copies_gradient] =
      slope_and_gradient(Activation::relu, {.method = SlopeMethod::copies, .step = 0.1});
  CHECK_THAT(copies, near(share));
  CHECK_THAT(copies_gradient, near(density));
  const auto [score, score_gradient] =
      slope_and_gradient(Activation::relu, {.method = SlopeMethod::score});
  CHECK_THAT(score, near(share));
  CHECK_THAT(score_gradient, near(density));
  // The trap: the slope is right, and its gradient is 0.
  const auto [automatic, automatic_gradient] =
      slope_and_gradient(Activation::relu, {.method = SlopeMethod::automatic, .allow_kinks = true});
  CHECK_THAT(automatic, near(share));
  CHECK(automatic_gradient == 0.0);
  check_fails(ErrorKind::usage, "r", "piecewise linear",
              [&] { slope_and_gradient(Activation::relu, {.method = SlopeMethod::automatic}); });
  // Smooth units are safe.
  const auto [smooth, smooth_gradient] =
      slope_and_gradient(Activation::silu, {.method = SlopeMethod::automatic});
  const auto [reference, reference_gradient] =
      slope_and_gradient(Activation::silu, {.method = SlopeMethod::copies, .step = 0.05});
  CHECK_THAT(smooth, near(reference));
  CHECK_THAT(smooth_gradient, near(reference_gradient));
  CHECK(smooth_gradient > 0.1);
}

TEST_CASE("warnings are for features that move through kinks", "[modules][variations]") {
  Mlp kinks(MlpOptions{.activation = Activation::leaky_relu}),
      smooth(MlpOptions{.activation = Activation::tanh});
  const Variation shift = slalom::shift_variation("r", {"x"}, 1.0);
  const Variation weight =
      slalom::linear_reweighting("w", [](const EventBatch& e) { return e.weights; });
  CHECK(slalom::smoothness_warning(*kinks, shift).has_value());
  CHECK_FALSE(slalom::smoothness_warning(*smooth, shift).has_value());
  CHECK_FALSE(slalom::smoothness_warning(*kinks, weight).has_value());
  const EventBatch events = toy(3, 0);
  check_fails(ErrorKind::usage, "variations", "'r' has no score", [&] {
    slalom::yield_slopes([](const EventBatch& e) { return e.weights; }, events, shift,
                         {.method = SlopeMethod::score});
  });
}

TEST_CASE("which events a variation concerns", "[modules][variations]") {
  const at::Tensor process = at::arange(6, at::kLong).remainder(3);
  const slalom::EventBatch events = slalom::make_events({"x"}, at::zeros({6, 1}, at::kDouble), {},
                                                        {}, process, {"signal", "top", "wjets"});
  slalom::Variation variation = slalom::shift_variation("shift", {"x"}, 1.0);
  CHECK(slalom::concerns(variation, "top"));
  CHECK(slalom::concerned_events(events, variation).all().item<bool>());
  variation.processes = {"top", "signal"};
  CHECK(slalom::concerns(variation, "top"));
  CHECK_FALSE(slalom::concerns(variation, "wjets"));
  CHECK(slalom::concerned_events(events, variation).equal(process < 2));
}
