// SPDX-License-Identifier: Apache-2.0
// Guards against gaming, on the gamed histogram of the closure test and in closed form.
#include "slalom/modules/torch.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "slalom/core/json.hpp"
#include "slalom/modules/autodiff.hpp"
#include "slalom/modules/diagnostics.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using at::Tensor;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

namespace {

Tensor numbers(std::vector<double> values) {
  Tensor result = at::zeros({static_cast<std::int64_t>(values.size())}, at::kDouble);
  for (std::size_t i = 0; i < values.size(); ++i) result[static_cast<std::int64_t>(i)] = values[i];
  return result;
}

slalom::ModelSpec model() {
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

}  // namespace

TEST_CASE("the area under the curve counts pairs", "[modules][diagnostics]") {
  using slalom::area_under_curve;
  const std::vector<double> x{0.3, 0.1, 0.3, 0.9, 0.4, 0.3, 0.1}, w{1, 2, 0.5, 1, 3, 0, 0.7};
  const std::vector<int> y{1, 0, 0, 1, 0, 1, 1};
  const Tensor scores = numbers(x), weights = numbers(w);
  Tensor labels = at::zeros({7}, at::kLong);
  for (std::size_t i = 0; i < y.size(); ++i) labels[static_cast<std::int64_t>(i)] = y[i];
  const auto pairs = [&](bool weighted) {
    double sum = 0.0, all = 0.0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      for (std::size_t j = 0; j < x.size(); ++j) {
        if (y[i] != 1 || y[j] != 0) continue;
        const double weight = weighted ? w[i] * w[j] : 1.0;
        all += weight;
        sum += weight * (x[i] > x[j] ? 1.0 : x[i] == x[j] ? 0.5 : 0.0);
      }
    }
    return sum / all;
  };
  CHECK_THAT(area_under_curve(scores, labels), WithinRel(pairs(false), 1e-14));
  CHECK_THAT(area_under_curve(scores, labels, weights), WithinRel(pairs(true), 1e-14));
  // Any growing function of the score separates as well; minus the score, the other way round.
  CHECK_THAT(area_under_curve(scores * scores, labels), WithinRel(pairs(false), 1e-14));
  CHECK_THAT(area_under_curve(-scores, labels), WithinRel(1.0 - pairs(false), 1e-14));
  CHECK(area_under_curve(0.0 * scores, labels) == 0.5);

  using slalom::ErrorKind;
  using slalom::test::check_fails;
  check_fails(ErrorKind::usage, "area_under_curve", "[n] expected",
              [&] { return area_under_curve(scores, labels.slice(0, 1)); });
  check_fails(ErrorKind::numerical, "area_under_curve", "finite scores",
              [&] { return area_under_curve(scores / 0.0 * 0.0, labels); });
  check_fails(ErrorKind::numerical, "area_under_curve", "weights >= 0",
              [&] { return area_under_curve(scores, labels, -weights); });
  check_fails(ErrorKind::numerical, "area_under_curve", "need weights",
              [&] { return area_under_curve(scores, at::zeros_like(labels)); });
}

TEST_CASE("one-sided variations have a number and a penalty", "[modules][diagnostics]") {
  const Tensor s = numbers({1.84, 2.31, 5.04, 10.8}), up = numbers({72.4, 13.1, 9.3, 5.15}),
               down = numbers({72, 14.5, 9.85, 3.75});
  Tensor b = numbers({90.3, 6.25, 3, 0.4}).requires_grad_(true);
  const Tensor found = slalom::one_sidedness(s + b, b, up, down);
  CHECK_THAT(found[3].item<double>(), WithinRel((4.45 - 0.4) / std::sqrt(11.2), 1e-13));
  CHECK_THAT(found[0].item<double>(), WithinRel((72.2 - 90.3) / std::sqrt(92.14), 1e-13));
  const Tensor penalty = slalom::one_sidedness_penalty(s + b, b, up, down);
  CHECK_THAT(penalty.item<double>(), WithinRel((found * found).sum().item<double>(), 1e-13));
  // d/db m^2 / (s + b) = -2 m / (s + b) - m^2 / (s + b)^2
  const double m = 4.45 - 0.4, v = 11.2;
  CHECK_THAT(slalom::gradient(penalty, b)[3].item<double>(),
             WithinRel(-2.0 * m / v - m * m / (v * v), 1e-12));
  // Two-sided ones cost nothing, empty bins neither.
  CHECK(slalom::one_sidedness_penalty(b, b, b + 1.0, b - 1.0).item<double>() < 1e-25);
  Tensor empty = numbers({0.0}).requires_grad_(true);
  // By hand: both above in the last bin, by 4.75 and 3.35 events; below in the first, by 17.9.
  const double by_hand =
      (1.84 * 17.9 + 2.31 * 6.85 + 5.04 * 6.3 + 10.8 * 3.35) / (1.84 + 2.31 + 5.04 + 10.8);
  CHECK_THAT(slalom::one_sided_events(s, b, up, down).item<double>(), WithinRel(by_hand, 1e-12));
  CHECK(slalom::one_sided_events(s, b, b + 1.0, b - 1.0).item<double>() == 0.0);
  CHECK(slalom::one_sided_events(at::zeros_like(s), b, up, down).item<double>() == 0.0);
  const Tensor nothing = slalom::one_sidedness_penalty(empty, empty, empty + 1.0, empty + 1.0);
  CHECK(nothing.item<double>() == 0.0);
  CHECK(std::isfinite(slalom::gradient(nothing, empty).item<double>()));
}

TEST_CASE("effective entries count equal weights", "[modules][diagnostics]") {
  Tensor sumw = numbers({5.0, 3.0, 0.0, -1.0}).requires_grad_(true);
  const Tensor sumw2 = numbers({2.5, 5.0, 0.0, 1.0});
  const Tensor n = slalom::effective_entries(sumw, sumw2);
  CHECK(n[0].item<double>() == 10.0);  // ten events of weight 0.5
  CHECK_THAT(n[1].item<double>(), WithinRel(1.8, 1e-15));
  CHECK(n[2].item<double>() == 0.0);
  const Tensor penalty = slalom::effective_entries_penalty(sumw, sumw2, 4.0);
  CHECK_THAT(penalty.item<double>(), WithinRel(0.0 + 0.55 * 0.55 + 1.0 + 0.75 * 0.75, 1e-14));
  const Tensor slope = slalom::gradient(penalty, sumw);
  CHECK(slope[0].item<double>() == 0.0);
  CHECK_THAT(slope[1].item<double>(), WithinRel(-2.0 * 0.55 / 4.0 * 2.0 * 3.0 / 5.0, 1e-13));
  CHECK(slope[2].item<double>() == 0.0);
  slalom::test::check_fails(slalom::ErrorKind::usage, "minimum", "positive",
                            [&] { slalom::effective_entries_penalty(sumw, sumw2, 0.0); });
}

TEST_CASE("constraints of nuisance parameters are those of the closure test",
          "[modules][diagnostics]") {
  const slalom::Likelihood likelihood(model());
  // Reference: sigma_alpha 0.9015 at mu = 0 and 0.9518 at mu = 1.
  for (const auto& [mu, expected] : {std::pair{0.0, 0.9015}, std::pair{1.0, 0.9518}}) {
    const auto all = slalom::parameter_constraints(likelihood, likelihood.templates(), mu);
    REQUIRE(all.size() == 1);
    CHECK(all[0].name == "shape");
    CHECK(all[0].prior == 1.0);
    CHECK_THAT(all[0].sigma, WithinAbs(expected, 5e-5));
    CHECK(all[0].ratio == all[0].sigma);
    CHECK(all[0].impact > 0.0);
  }
  slalom::ModelSpec none = model();
  none.poi.reset();
  const slalom::Likelihood without(none);
  slalom::test::check_fails(slalom::ErrorKind::model, "diagnostics", "no parameter",
                            [&] { slalom::parameter_constraints(without, without.templates()); });
}
