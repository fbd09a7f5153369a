// SPDX-License-Identifier: Apache-2.0
// Fused losses against graphs, finite differences of complete refits, and closed forms.
#include <ATen/TensorOperators.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros_like.h>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <torch/csrc/autograd/autograd.h>
#include <vector>

#include "slalom/core/fit.hpp"
#include "slalom/core/hypotest.hpp"
#include "slalom/core/json.hpp"
#include "slalom/core/patch.hpp"
#include "slalom/core/random.hpp"
#include "slalom/modules/autodiff.hpp"
#include "slalom/modules/loss.hpp"
#include "support/catch.hpp"
#include "support/data.hpp"
#include "support/fails.hpp"

using at::Tensor;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::Figure;
using slalom::Likelihood;
using slalom::ProfileLoss;
using slalom::ProfileLossOptions;
using slalom::Templates;

namespace {

/// The histogram that neos printed after five epochs (reference numbers: code4p, N(0, 1)).
slalom::ModelSpec closure_model() {
  return slalom::make_model_spec(slalom::parse_workspace(slalom::parse_json(R"({
    "channels": [{"name": "c", "samples": [
      {"name": "signal", "data": [1.84, 2.31, 5.04, 10.8],
       "modifiers": [{"name": "mu", "type": "normfactor", "data": null}]},
      {"name": "background", "data": [90.3, 6.25, 3, 0.4], "modifiers": [
        {"name": "shape", "type": "histosys",
         "data": {"hi_data": [72.4, 13.1, 9.3, 5.15], "lo_data": [72, 14.5, 9.85, 3.75]}}]}]}],
    "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
    "observations": [{"name": "c", "data": [90.3, 6.25, 3, 0.4]}], "version": "1.0.0"})")));
}

/// Every modifier in one model.
slalom::ModelSpec everything_model() {
  return slalom::make_model_spec(slalom::parse_workspace(slalom::parse_json(R"({
    "channels": [
      {"name": "sr", "samples": [
        {"name": "signal", "data": [4, 9, 14], "modifiers": [
          {"name": "mu", "type": "normfactor", "data": null},
          {"name": "stat", "type": "staterror", "data": [0.4, 0.6, 0.7]}]},
        {"name": "one", "data": [40, 30, 20], "modifiers": [
          {"name": "a", "type": "normsys", "data": {"hi": 1.12, "lo": 0.9}},
          {"name": "b", "type": "histosys",
           "data": {"hi_data": [43, 31, 18], "lo_data": [38, 29.5, 21]}},
          {"name": "stat", "type": "staterror", "data": [2, 1.5, 1.4]}]},
        {"name": "two", "data": [10, 12, 15], "modifiers": [
          {"name": "u", "type": "shapesys", "data": [1, 1.5, 2]},
          {"name": "k", "type": "normfactor", "data": null}]}]},
      {"name": "cr", "samples": [
        {"name": "two", "data": [90, 80], "modifiers": [
          {"name": "k", "type": "normfactor", "data": null},
          {"name": "b", "type": "histosys",
           "data": {"hi_data": [94, 78], "lo_data": [87, 83]}}]}]}],
    "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
    "observations": [{"name": "sr", "data": [55, 50, 51]}, {"name": "cr", "data": [95, 78]}],
    "version": "1.0.0"})")));
}

slalom::ModelSpec published(const std::string& workspace, const std::string& patch = {}) {
  slalom::Json document = slalom::read_json(slalom::test::data_path("workspaces/" + workspace));
  if (!patch.empty()) {
    document = slalom::apply_patch(
        document, slalom::read_json(slalom::test::data_path("workspaces/" + patch)));
  }
  return slalom::make_model_spec(slalom::parse_workspace(document));
}

std::array<Tensor*, 6> inputs_of(Templates& t) {
  return {&t.nominal, &t.histosys_hi, &t.histosys_lo, &t.normsys_hi, &t.normsys_lo, &t.uncertainty};
}

Templates as_leaves(const Templates& plain) {
  Templates t = plain;
  for (Tensor* input : inputs_of(t)) *input = input->clone().requires_grad_(true);
  return t;
}

/// A direction in the space of all templates, each relative to its size.
Templates random_direction(const Templates& t, std::uint64_t seed) {
  Templates direction = t;
  slalom::RandomStream random(seed, 0);
  for (Tensor* input : inputs_of(direction)) {
    Tensor values = at::zeros_like(*input);
    for (std::int64_t i = 0; i < values.numel(); ++i) values[i] = random.normal();
    *input = values * (*input);
  }
  return direction;
}

Templates moved(const Templates& t, const Templates& direction, double step) {
  Templates result = t, d = direction;
  const auto to = inputs_of(result), by = inputs_of(d);
  for (std::size_t i = 0; i < to.size(); ++i) *to[i] = to[i]->detach() + step * *by[i];
  return result;
}

double along(const Tensor& value, Templates& leaves, Templates& direction) {
  std::vector<Tensor> inputs;
  for (Tensor* input : inputs_of(leaves)) inputs.push_back(*input);
  const std::vector<Tensor> slopes = slalom::gradients(value, inputs);
  double sum = 0.0;
  const auto by = inputs_of(direction);
  for (std::size_t i = 0; i < slopes.size(); ++i) sum += (slopes[i] * *by[i]).sum().item<double>();
  return sum;
}

/// Gradient along random directions against central differences of complete refits.
void check_directions(const slalom::ModelSpec& spec, const ProfileLossOptions& options,
                      double step = 1e-4) {
  const Likelihood likelihood(spec);
  const ProfileLoss loss(likelihood, options);
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    Templates leaves = as_leaves(likelihood.templates());
    Templates direction = random_direction(likelihood.templates(), seed);
    const double found = along(loss(leaves), leaves, direction);
    const auto at = [&](double h) {
      return loss(moved(likelihood.templates(), direction, h)).item<double>();
    };
    // Richardson's extrapolation of central differences.
    const double wide = (at(2 * step) - at(-2 * step)) / (4 * step);
    const double narrow = (at(step) - at(-step)) / (2 * step);
    const double expected = (4.0 * narrow - wide) / 3.0;
    INFO("figure " << static_cast<int>(options.figure) << ", direction " << seed);
    CHECK_THAT(found, WithinRel(expected, 1e-5) || WithinAbs(expected, 1e-9));
  }
}

ProfileLossOptions options_of(Figure figure) {
  ProfileLossOptions options;
  options.figure = figure;
  return options;
}

}  // namespace

TEST_CASE("losses have the numbers of the closure test of neos", "[modules][loss]") {
  const Likelihood likelihood(closure_model());
  const Templates t = likelihood.templates();
  const double cls =
      std::exp(ProfileLoss(likelihood, options_of(Figure::log_cls))(t).item<double>());
  CHECK_THAT(cls, WithinRel(1.057e-6, 5e-4));
  CHECK_THAT(ProfileLoss(likelihood, options_of(Figure::sigma))(t).item<double>(),
             WithinAbs(0.2659, 5e-5));
  ProfileLossOptions at_zero = options_of(Figure::sigma);
  at_zero.mu = 0.0;
  CHECK_THAT(ProfileLoss(likelihood, at_zero)(t).item<double>(), WithinAbs(0.0793, 5e-5));
  CHECK_THAT(-ProfileLoss(likelihood, options_of(Figure::minus_z))(t).item<double>(),
             WithinAbs(3.562, 5e-4));
  CHECK_THAT(std::exp(ProfileLoss(likelihood, options_of(Figure::log_p0))(t).item<double>()),
             WithinRel(1.837e-4, 5e-4));
}

TEST_CASE("a fused loss is the graph in value and gradient", "[modules][loss]") {
  for (const slalom::ModelSpec& spec : {closure_model(), everything_model()}) {
    const Likelihood likelihood(spec);
    struct Pair {
      Figure figure;
      Tensor (*graph)(const Likelihood&, const Templates&);
    };
    const std::array<Pair, 3> pairs = {
        Pair{Figure::sigma,
             [](const Likelihood& l, const Templates& t) { return expected_sigma(l, t); }},
        Pair{Figure::log_cls,
             [](const Likelihood& l, const Templates& t) { return expected_log_cls(l, t); }},
        Pair{Figure::log_p0,
             [](const Likelihood& l, const Templates& t) { return expected_log_p0(l, t); }}};
    for (const Pair& pair : pairs) {
      INFO("figure " << static_cast<int>(pair.figure));
      Templates a = as_leaves(likelihood.templates()), b = as_leaves(likelihood.templates());
      const Tensor fused = ProfileLoss(likelihood, options_of(pair.figure))(a);
      const Tensor graph = pair.graph(likelihood, b);
      CHECK_THAT(fused.item<double>(), WithinRel(graph.item<double>(), 1e-9));
      for (std::uint64_t seed = 1; seed <= 3; ++seed) {
        Templates direction = random_direction(likelihood.templates(), seed);
        const double expected = along(graph, b, direction);
        CHECK_THAT(along(fused, a, direction),
                   WithinRel(expected, 1e-7) || WithinAbs(expected, 1e-10));
      }
    }
  }
}

TEST_CASE("gradients are those of complete refits", "[modules][loss]") {
  for (const Figure figure : {Figure::sigma, Figure::log_sigma, Figure::log_cls, Figure::log_p0,
                              Figure::minus_z, Figure::upper_limit}) {
    check_directions(everything_model(), options_of(figure));
    ProfileLossOptions observed = options_of(figure);
    observed.observed = true;
    check_directions(everything_model(), observed);
  }
}

TEST_CASE("figures of observed data are those of the tests, with their gradient",
          "[modules][loss]") {
  const slalom::ModelSpec spec = everything_model();
  const Likelihood likelihood(spec);
  const slalom::Model model(spec);
  slalom::Fitter fitter(model);
  slalom::AsymptoticCalculator reference(fitter);
  const auto value = [&](Figure figure) {
    return ProfileLoss(likelihood, options_of(figure))(likelihood.templates()).item<double>();
  };
  const slalom::DiscoveryTest discovery = reference.discovery();
  REQUIRE(discovery.z > 0.5);
  CHECK_THAT(value(Figure::observed_log_p0), WithinRel(discovery.log_p0, 1e-8));
  CHECK_THAT(value(Figure::observed_minus_q0), WithinRel(-discovery.z * discovery.z, 1e-8));
  CHECK_THAT(value(Figure::observed_log_cls), WithinRel(reference.test(1.0).log_cls, 1e-8));
  CHECK_THAT(value(Figure::observed_upper_limit),
             WithinRel(reference.upper_limit(0.05).observed, 1e-7));
  for (const Figure figure : {Figure::observed_log_cls, Figure::observed_log_p0,
                              Figure::observed_minus_q0, Figure::observed_upper_limit}) {
    CHECK(uses_observed_data(options_of(figure)));
    check_directions(spec, options_of(figure));
    // And by the data themselves.
    const ProfileLoss loss(likelihood, options_of(figure));
    Templates t = likelihood.templates();
    t.observed = t.observed.clone().requires_grad_(true);
    loss(t).backward();
    for (std::int64_t b = 0; b < t.observed.numel(); ++b) {
      const auto at = [&](double step) {
        Templates moved_data = likelihood.templates();
        moved_data.observed = moved_data.observed.clone();
        moved_data.observed[b] += step;
        return loss(moved_data).item<double>();
      };
      const double h = 1e-2;
      const double expected = (8.0 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12.0 * h);
      CHECK_THAT(t.observed.grad()[b].item<double>(), WithinRel(expected, 1e-5));
    }
  }
}

TEST_CASE("a deficit has a discovery statistic of zero, and no gradient but a finite one",
          "[modules][loss]") {
  slalom::ModelSpec spec = everything_model();
  spec.observed = {80.0, 72.0, 30.0, 18.0, 17.0};
  const Likelihood likelihood(spec);
  for (const Figure figure : {Figure::observed_log_p0, Figure::observed_minus_q0}) {
    Templates t = as_leaves(likelihood.templates());
    const Tensor value = ProfileLoss(likelihood, options_of(figure))(t);
    value.backward();
    CHECK_THAT(value.item<double>(),
               WithinAbs(figure == Figure::observed_log_p0 ? -std::log(2.0) : 0.0, 1e-12));
    CHECK(t.nominal.grad().abs().max().item<double>() == 0.0);
  }
}

TEST_CASE("several hypotheses at once are each of them", "[modules][loss]") {
  const Likelihood likelihood(everything_model());
  const std::vector<double> mu = {0.6, 1.0, 1.7};
  for (const Figure figure : {Figure::sigma, Figure::log_sigma, Figure::log_cls, Figure::log_p0,
                              Figure::minus_z, Figure::observed_log_cls}) {
    for (const bool observed : {false, true}) {
      ProfileLossOptions options = options_of(figure);
      options.observed = observed;
      Templates all = as_leaves(likelihood.templates());
      const Tensor values = ProfileLoss(likelihood, options)(all, mu);
      REQUIRE(values.sizes() == at::IntArrayRef({3}));
      const std::vector<double> weights = {0.2, -1.0, 3.0};
      Tensor sum = at::zeros({}, at::kDouble);
      Templates single = as_leaves(likelihood.templates());
      Tensor reference = at::zeros({}, at::kDouble);
      for (std::size_t k = 0; k < mu.size(); ++k) {
        options.mu = mu[k];
        const Tensor one = ProfileLoss(likelihood, options)(single);
        INFO("figure " << static_cast<int>(figure) << " at " << mu[k]);
        CHECK_THAT(values[static_cast<std::int64_t>(k)].item<double>(),
                   WithinRel(one.item<double>(), 1e-9));
        sum = sum + weights[k] * values[static_cast<std::int64_t>(k)];
        reference = reference + weights[k] * one;
      }
      sum.backward();
      reference.backward();
      const auto left = inputs_of(all), right = inputs_of(single);
      for (std::size_t i = 0; i < left.size(); ++i) {
        const Tensor expected = right[i]->grad();
        CHECK((left[i]->grad() - expected).abs().max().item<double>() <
              1e-8 * (1e-3 + expected.abs().max().item<double>()));
      }
      // The whole vector against complete refits.
      Templates direction = random_direction(likelihood.templates(), 5);
      Templates leaves = as_leaves(likelihood.templates());
      const ProfileLoss loss(likelihood, options);
      const double found = along(loss(leaves, mu).sum(), leaves, direction);
      const auto at = [&](double h) {
        return loss(moved(likelihood.templates(), direction, h), mu).sum().item<double>();
      };
      const double h = 1e-4;
      CHECK_THAT(found,
                 WithinRel((8.0 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12.0 * h), 1e-5));
    }
  }
  using slalom::test::check_fails;
  const Templates t = likelihood.templates();
  check_fails(slalom::ErrorKind::usage, "loss", "does not depend on mu",
              [&] { ProfileLoss(likelihood, options_of(Figure::upper_limit))(t, {1.0}); });
  check_fails(slalom::ErrorKind::usage, "loss", "no hypothesis",
              [&] { ProfileLoss(likelihood, options_of(Figure::sigma))(t, {}); });
}

TEST_CASE("gradients by all templates of published likelihoods are those of refits",
          "[modules][loss]") {
  SLALOM_REQUIRE_DATA("workspaces/agc/agc_34par.json");
  SLALOM_REQUIRE_DATA("workspaces/sbottom/RegionA/BkgOnly.json");
  const slalom::ModelSpec sbottom =
      published("sbottom/RegionA/BkgOnly.json", "sbottom/RegionA/patch.sbottom_1300_205_60.json");
  for (const Figure figure :
       {Figure::sigma, Figure::log_cls, Figure::log_p0, Figure::upper_limit}) {
    check_directions(sbottom, options_of(figure), 1e-5);
    if (figure == Figure::sigma || figure == Figure::log_p0) {
      check_directions(published("agc/agc_34par.json"), options_of(figure), 1e-6);
    }
  }
}

TEST_CASE("a loss does not depend on what it was asked before", "[modules][loss]") {
  const Likelihood likelihood(everything_model());
  for (const Figure figure : {Figure::log_sigma, Figure::log_cls, Figure::upper_limit}) {
    for (const bool observed : {false, true}) {
      ProfileLossOptions options = options_of(figure);
      options.observed = observed;
      const ProfileLoss used(likelihood, options);
      for (std::uint64_t step = 0; step < 4; ++step) {
        Templates direction = random_direction(likelihood.templates(), step);
        const Templates plain = moved(likelihood.templates(), direction, step == 2 ? 0.0 : 0.02);
        Templates a = as_leaves(plain), b = as_leaves(plain);
        const Tensor x = used(a), y = ProfileLoss(likelihood, options)(b);
        x.backward();
        y.backward();
        CHECK(x.item<double>() == y.item<double>());
        const auto left = inputs_of(a), right = inputs_of(b);
        for (std::size_t i = 0; i < left.size(); ++i) {
          CHECK(at::equal(left[i]->grad(), right[i]->grad()));
        }
      }
      // Templates that are refused leave nothing behind.
      Templates bad = likelihood.templates();
      bad.nominal = bad.nominal / 0.0;
      CHECK_THROWS_AS(used(bad), slalom::Error);
      const double after = used(likelihood.templates()).item<double>();
      CHECK(after == ProfileLoss(likelihood, options)(likelihood.templates()).item<double>());
    }
  }
}

TEST_CASE("log p-values and their derivatives stay finite", "[modules][loss]") {
  for (const double q : {0.0, 1e-14, 1.0, 25.0, 2000.0, 1e6}) {
    Tensor x = at::zeros({}, at::kDouble).fill_(q).requires_grad_(true);
    const Tensor value = slalom::log_p_value(x);
    const double slope = slalom::gradient(value, x).item<double>();
    INFO("q = " << q);
    CHECK(std::isfinite(value.item<double>()));
    CHECK(std::isfinite(slope));
    if (q >= 1.0) CHECK(slope < 0.0);
  }
  CHECK_THAT(slalom::log_p_value(at::zeros({}, at::kDouble).fill_(2000.0)).item<double>(),
             WithinRel(-1004.7197836, 1e-6));
}

TEST_CASE("second derivatives of a fused loss are refused", "[modules][loss]") {
  const Likelihood likelihood(closure_model());
  Templates t = as_leaves(likelihood.templates());
  const Tensor value = ProfileLoss(likelihood, options_of(Figure::sigma))(t);
  CHECK_THROWS(torch::autograd::grad({value}, {t.nominal}, {}, true, true));
}

TEST_CASE("a loss without a parameter of interest is refused", "[modules][loss]") {
  slalom::ModelSpec spec = closure_model();
  spec.poi.reset();
  const Likelihood likelihood(spec);
  slalom::test::check_fails(slalom::ErrorKind::model, "loss", "no parameter of interest",
                            [&] { ProfileLoss{likelihood}; });
}
