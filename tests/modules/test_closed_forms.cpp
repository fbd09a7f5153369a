// SPDX-License-Identifier: Apache-2.0
// Losses against closed forms and published numbers.
#include "slalom/modules/torch.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <numbers>
#include <string>
#include <vector>

#include "slalom/core/json.hpp"
#include "slalom/core/normal.hpp"
#include "slalom/modules/autodiff.hpp"
#include "slalom/modules/loss.hpp"
#include "slalom/modules/profile_fit.hpp"
#include "slalom/modules/selection.hpp"
#include "support/catch.hpp"

using at::Tensor;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::Figure;
using slalom::Json;
using slalom::Likelihood;
using slalom::ProfileLoss;
using slalom::ProfileLossOptions;
using slalom::Templates;

namespace {

using Numbers = std::vector<double>;

Tensor tensor(const Numbers& values) {
  Tensor result = at::zeros({static_cast<std::int64_t>(values.size())}, at::kDouble);
  for (std::size_t i = 0; i < values.size(); ++i) result[static_cast<std::int64_t>(i)] = values[i];
  return result;
}

/// One channel; `modifiers` act on the background.
Likelihood model(const Numbers& signal, const Numbers& background, const Json& modifiers,
                 const Numbers& observed = {}) {
  const Json mu = {{{"name", "mu"}, {"type", "normfactor"}, {"data", nullptr}}};
  const Json document = {
      {"channels",
       {{{"name", "c"},
         {"samples",
          {{{"name", "background"}, {"data", background}, {"modifiers", modifiers}},
           {{"name", "signal"}, {"data", signal}, {"modifiers", mu}}}}}}},
      {"measurements",
       {{{"name", "m"}, {"config", {{"poi", "mu"}, {"parameters", Json::array()}}}}}},
      {"observations", {{{"name", "c"}, {"data", observed.empty() ? background : observed}}}},
      {"version", "1.0.0"}};
  return Likelihood(slalom::make_model_spec(slalom::parse_workspace(document)));
}

Json histosys(const Numbers& up, const Numbers& down) {
  return {
      {{"name", "shape"}, {"type", "histosys"}, {"data", {{"hi_data", up}, {"lo_data", down}}}}};
}

ProfileLoss loss_of(const Likelihood& likelihood, Figure figure) {
  ProfileLossOptions options;
  options.figure = figure;
  return ProfileLoss(likelihood, options);
}

/// Where a rising function is 0.
double root(const std::function<double(double)>& f, double low, double high) {
  for (int i = 0; i < 60; ++i) {
    const double middle = 0.5 * (low + high);
    (f(middle) < 0.0 ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

double asimov_z(double s, double b) { return std::sqrt(2.0 * ((s + b) * std::log1p(s / b) - s)); }

}  // namespace

TEST_CASE("the one-bin problem has its optimum", "[modules][closed_forms]") {
  // s = 15 + phi, b = 45 - 2 phi, sigma_b = c (1 + phi^2 / 5), as an on/off measurement of b.
  struct Case {
    double c, phi, z;
  };
  for (const Case& known : {Case{0.5, 4.63522, 2.739598}, Case{1.0, 2.80874, 2.432716}}) {
    const Likelihood likelihood =
        model({15.0}, {45.0}, {{{"name", "u"}, {"type", "shapesys"}, {"data", {known.c}}}});
    const ProfileLoss loss = loss_of(likelihood, Figure::minus_z);
    double z = 0.0;
    const auto slope = [&](double at) {
      const Tensor phi = tensor({at}).requires_grad_(true);
      Templates t = likelihood.templates();
      t.nominal = at::cat({45.0 - 2.0 * phi, 15.0 + phi});
      t.uncertainty = known.c * (1.0 + phi * phi / 5.0);
      const Tensor value = loss(t);
      z = -value.item<double>();
      return slalom::gradient(value, phi).item<double>();
    };
    CHECK_THAT(root(slope, 0.0, 10.0), WithinAbs(known.phi, 1e-5));
    CHECK_THAT(z, WithinAbs(known.z, 1e-6));
  }
}

TEST_CASE("Wunsch's histogram has its uncertainties", "[modules][closed_forms]") {
  const Likelihood likelihood = model({.93, 2.53, 3.64, 4.83, 6.36, 8.05, 11.06, 12.60},
                                      {252, 221, 161, 125, 98.8, 72.8, 50.6, 18.7},
                                      histosys({516, 223, 114, 67.7, 41.5, 23.4, 11.7, 2.6},
                                               {84.5, 135, 138, 141, 144, 138, 135, 84.5}));
  ProfileLossOptions options;
  options.figure = Figure::sigma;
  // The templates are printed to two or three digits: worth 3e-4.
  CHECK_THAT(ProfileLoss(likelihood, options)(likelihood.templates()).item<double>(),
             WithinAbs(0.4451, 3e-4));
  CHECK_THAT(slalom::expected_sigma(likelihood, likelihood.templates()).item<double>(),
             WithinAbs(0.4451, 3e-4));
  options.fit.fixed.emplace_back(*likelihood.spec().find("shape"), 0.0);
  CHECK_THAT(ProfileLoss(likelihood, options)(likelihood.templates()).item<double>(),
             WithinAbs(0.3421, 3e-4));
}

TEST_CASE("the soft cut of the toy has its optimum", "[modules][closed_forms]") {
  // 300 signal events N(50, 5), 8000 of background N(40, 10); densities on a grid.
  const Tensor x = at::linspace(-30.0, 110.0, 7001, at::kDouble);
  const auto density = [&](double events, double mean, double width) {
    const Tensor z = (x - mean) / width;
    return events * 0.02 / (width * std::sqrt(2.0 * std::numbers::pi)) * at::exp(-0.5 * z * z);
  };
  const Tensor s = density(300.0, 50.0, 5.0), b = density(8000.0, 40.0, 10.0);
  const Likelihood likelihood = model({300.0}, {8000.0}, Json::array());
  const ProfileLoss loss = loss_of(likelihood, Figure::minus_z);
  CHECK_THAT(-loss(likelihood.templates()).item<double>(), WithinAbs(3.3335, 5e-5));
  const auto z_and_slope = [&](double at) {
    const Tensor cut = tensor({at}).requires_grad_(true);
    const Tensor pass = slalom::soft_cut(x, cut, 1.0);
    Templates t = likelihood.templates();
    t.nominal = at::stack({(b * pass).sum(), (s * pass).sum()});
    const Tensor value = loss(t);
    CHECK_THAT(-value.item<double>(),
               WithinRel(asimov_z(t.nominal[1].item<double>(), t.nominal[0].item<double>()), 1e-9));
    return std::pair{-value.item<double>(), slalom::gradient(value, cut).item<double>()};
  };
  const double best = root([&](double c) { return z_and_slope(c).second; }, 30.0, 55.0);
  // Published: 44.85, for one sample of 300 + 8000 random events.
  CHECK_THAT(best, WithinAbs(44.85, 0.35));
  CHECK(z_and_slope(best).first > z_and_slope(best + 0.05).first);
  CHECK(z_and_slope(best).first > z_and_slope(best - 0.05).first);
}

TEST_CASE("a likelihood with two minima has the right q0 and derivative",
          "[modules][closed_forms]") {
  // The closure histogram; at mu = 0 its minima are 5.638 apart in 2 NLL.
  const Numbers background = {90.3, 6.25, 3, 0.4}, first = {1.84, 2.31, 5.04, 10.8};
  Numbers observed;
  for (std::size_t b = 0; b < 4; ++b) observed.push_back(first[b] + background[b]);
  const Likelihood likelihood =
      model(first, background, histosys({72.4, 13.1, 9.3, 5.15}, {72, 14.5, 9.85, 3.75}), observed);
  const Tensor data = likelihood.data(likelihood.templates());
  const auto q0_of = [&](const Tensor& signal) {
    Templates t = likelihood.templates();
    t.nominal = at::cat({tensor(background), signal});
    return slalom::profile_likelihood_ratio(likelihood, t, data, 0.0);
  };
  CHECK_THAT(q0_of(tensor(first)).item<double>(), WithinAbs(12.691, 5e-4));
  // A signal that the data do not want: mu-hat = 0 and q0 = 0 all around, so no slope either.
  const Numbers unwanted = {0.06, 6.6, 12.9, 0.5};
  const Tensor signal = tensor(unwanted).requires_grad_(true);
  const Tensor q0 = q0_of(signal);
  CHECK_THAT(q0.item<double>(), WithinAbs(0.0, 1e-8));
  const Tensor slope = slalom::gradient(q0, signal);
  for (std::int64_t b = 0; b < 4; ++b) {
    CHECK_THAT(slope[b].item<double>(), WithinAbs(0.0, 1e-8));
    Tensor moved = tensor(unwanted);
    moved[b] *= 1.01;
    CHECK_THAT(q0_of(moved).item<double>(), WithinAbs(0.0, 1e-8));
  }
  // A signal in between: the slope is that of complete refits.
  const Numbers between = {1.0, 4.0, 8.0, 6.0};
  const Tensor other = tensor(between).requires_grad_(true);
  const Tensor found = slalom::gradient(q0_of(other), other);
  for (std::int64_t b = 0; b < 4; ++b) {
    const auto at = [&](double h) {
      Tensor moved = tensor(between);
      moved[b] += h;
      return q0_of(moved).item<double>();
    };
    const double h = 1e-3;
    const double expected = (8.0 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12.0 * h);
    CHECK_THAT(found[b].item<double>(), WithinAbs(expected, 1e-6));
  }
}

TEST_CASE("log CLs has a value and a slope far in the tail", "[modules][closed_forms]") {
  const double b = 100.0;
  for (const double s : {50.0, 500.0, 1260.0, 5000.0}) {
    const Likelihood likelihood = model({s}, {b}, Json::array());
    Templates t = likelihood.templates();
    t.nominal = tensor({b, s}).requires_grad_(true);
    const Tensor value = loss_of(likelihood, Figure::log_cls)(t);
    // q of the background-only data at mu = 1.
    const double q = 2.0 * (s - b * std::log1p(s / b)), z = std::sqrt(q);
    INFO("q = " << q);
    const double log_p = slalom::log_normal_cdf(-z);
    CHECK_THAT(value.item<double>(), WithinRel(std::log(2.0) + log_p, 1e-9));
    const double mills = std::exp(-0.5 * q - 0.5 * std::log(2.0 * std::numbers::pi) - log_p);
    const double slope = slalom::gradient(value, t.nominal)[1].item<double>();
    CHECK_THAT(slope, WithinRel(-mills / (2.0 * z) * 2.0 * s / (s + b), 1e-7));
  }
}
