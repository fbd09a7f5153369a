// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "slalom/core/template_derivatives.hpp"
#include "support/catch.hpp"
#include "support/data.hpp"
#include "support/models.hpp"

using Catch::Matchers::WithinAbs;
using slalom::ConstraintType;
using slalom::Evaluator;
using slalom::HistosysCode;
using slalom::Input;
using slalom::InputKind;
using slalom::Model;
using slalom::ModelSpec;
using slalom::ModifierType;
using slalom::NormsysCode;
using slalom::TemplateDerivatives;

namespace {

/// One channel of four bins and one of two, with every modifier.
Model all_modifiers(NormsysCode normsys, HistosysCode histosys) {
  slalom::Workspace w;
  const std::vector<slalom::Modifier> common = {
      {"jes", ModifierType::histosys, {12.0, 33.0, 25.0, 8.0}, {8.5, 27.0, 28.0, 7.0}, 1, 1, {}},
      {"jes", ModifierType::normsys, {}, {}, 1.08, 0.9, {}},
      {"theory", ModifierType::normsys, {}, {}, 1.3, 0.8, {}},
      {"lumi", ModifierType::lumi, {}, {}, 1, 1, {}},
      {"stat", ModifierType::staterror, {}, {}, 1, 1, {1.0, 2.0, 1.5, 0.7}}};
  std::vector<slalom::Modifier> signal = common;
  signal.push_back({"mu", ModifierType::normfactor, {}, {}, 1, 1, {}});
  const std::vector<slalom::Modifier> free = {
      {"shape", ModifierType::shapefactor, {}, {}, 1, 1, {}},
      {"free", ModifierType::shapesys, {}, {}, 1, 1, {2.0, 3.0}}};
  w.channels = {
      {"wide", {{"s", {10.0, 30.0, 26.0, 7.5}, signal}, {"b", {40.0, 20.0, 11.0, 9.0}, common}}},
      {"narrow", {{"b", {50.0, 30.0}, free}}}};
  w.observations = {{"wide", {52.0, 44.0, 40.0, 0.0}}, {"narrow", {49.0, 33.0}}};
  slalom::ParameterConfig lumi;
  lumi.name = "lumi";
  lumi.inits = lumi.auxdata = std::vector<double>{1.0};
  lumi.sigmas = std::vector<double>{0.02};
  lumi.bounds = std::vector<std::pair<double, double>>{{0.5, 1.5}};
  w.measurements = {{"m", "mu", {lumi}}};
  slalom::ModelOptions options;
  options.normsys_code = normsys;
  options.histosys_code = histosys;
  return Model(make_model_spec(w, options));
}

/// The model and data with one input moved by `step`.
double logpdf_with(const Model& model, const Input& input, std::size_t auxiliary, double step,
                   const std::vector<double>& theta, std::vector<double> data) {
  ModelSpec spec = model.spec();
  slalom::SampleSpec& sample = spec.channels[input.channel].samples[input.sample];
  switch (input.kind) {
    case InputKind::nominal:
      sample.nominal[input.bin] += step;
      break;
    case InputKind::histosys_hi:
      sample.histosys[input.term].hi[input.bin] += step;
      break;
    case InputKind::histosys_lo:
      sample.histosys[input.term].lo[input.bin] += step;
      break;
    case InputKind::normsys_hi:
      sample.normsys[input.term].hi += step;
      break;
    case InputKind::normsys_lo:
      sample.normsys[input.term].lo += step;
      break;
    case InputKind::sigma:
      spec.parameters[input.parameter].sigma += step;
      break;
    case InputKind::tau:
      spec.parameters[input.parameter].tau += step;
      break;
    case InputKind::observed:
      data[spec.channels[input.channel].first_bin + input.bin] += step;
      break;
    case InputKind::auxiliary:
      data[spec.n_bins() + auxiliary] += step;
      break;
    case InputKind::uncertainty:  // no input of a model
      break;
  }
  return Model(spec).logpdf(theta, data);
}

std::vector<double> test_point(const ModelSpec& spec, double size) {
  std::vector<double> theta = spec.initial();
  for (std::size_t i = 0; i < theta.size(); ++i) {
    const double wave = std::sin(static_cast<double>(i) + 1.0);
    theta[i] += theta[i] == 0.0 ? size * wave : 0.05 * wave;
  }
  return theta;
}

}  // namespace

TEST_CASE("derivatives by inputs agree with differences", "[core][template_derivatives]") {
  struct Codes {
    NormsysCode normsys;
    HistosysCode histosys;
  };
  for (const Codes codes : {Codes{NormsysCode::code4, HistosysCode::code4p},
                            Codes{NormsysCode::code1, HistosysCode::code0},
                            Codes{NormsysCode::code4, HistosysCode::code2}}) {
    const Model model = all_modifiers(codes.normsys, codes.histosys);
    const TemplateDerivatives derivatives(model);
    for (double size : {0.6, 1.7}) {
      const std::vector<double> theta = test_point(model.spec(), size);
      const std::vector<double> data = model.spec().data();
      const std::vector<double> values = derivatives.logpdf(theta, data);
      REQUIRE(values.size() == derivatives.size());
      std::size_t auxiliary = 0;
      for (std::size_t i = 0; i < values.size(); ++i) {
        const Input& input = derivatives.inputs()[i];
        const bool aux = input.kind == InputKind::auxiliary;
        if (input.kind == InputKind::observed &&
            data[i - (derivatives.size() - data.size())] == 0.0) {
          continue;  // one-sided; checked below
        }
        INFO("input " << i << " of kind " << static_cast<int>(input.kind));
        const double h = 1e-5;
        const double numerical = (logpdf_with(model, input, auxiliary, h, theta, data) -
                                  logpdf_with(model, input, auxiliary, -h, theta, data)) /
                                 (2.0 * h);
        CHECK_THAT(values[i], WithinAbs(numerical, 1e-6 * (1.0 + std::abs(numerical))));
        auxiliary += aux ? 1 : 0;
      }
    }
  }
}

TEST_CASE("mixed derivatives agree with differences", "[core][template_derivatives]") {
  const Model model = all_modifiers(NormsysCode::code4, HistosysCode::code4p);
  const TemplateDerivatives derivatives(model);
  const std::vector<double> data = model.spec().data();
  for (double size : {0.0, 0.6, 1.7}) {
    const std::vector<double> theta = test_point(model.spec(), size);
    std::vector<double> direction(theta.size()), above = theta, below = theta;
    const double h = 1e-5;
    for (std::size_t i = 0; i < theta.size(); ++i) {
      direction[i] = std::cos(2.0 * static_cast<double>(i));
      above[i] += h * direction[i];
      below[i] -= h * direction[i];
    }
    const std::vector<double> mixed = derivatives.logpdf_mixed(theta, data, direction);
    const std::vector<double> up = derivatives.logpdf(above, data);
    const std::vector<double> down = derivatives.logpdf(below, data);
    for (std::size_t i = 0; i < mixed.size(); ++i) {
      INFO("input " << i);
      const double numerical = (up[i] - down[i]) / (2.0 * h);
      CHECK_THAT(mixed[i], WithinAbs(numerical, 1e-6 * (1.0 + std::abs(numerical))));
    }
  }
}

TEST_CASE("every branch of every interpolation code", "[core][template_derivatives]") {
  for (const HistosysCode code : {HistosysCode::code4p, HistosysCode::code0, HistosysCode::code2}) {
    slalom::ModelOptions options;
    options.histosys_code = code;
    const Model model = slalom::test::coupled_histosys(options);
    const TemplateDerivatives derivatives(model);
    const std::vector<double> data = model.spec().data();
    for (double alpha : {-1.2, -0.7, 0.7, 1.2}) {
      INFO("code " << static_cast<int>(code) << " at " << alpha);
      const std::vector<double> theta = {alpha, 0.8}, direction = {1.0, -0.3};
      const std::vector<double> values = derivatives.logpdf(theta, data);
      const std::vector<double> mixed = derivatives.logpdf_mixed(theta, data, direction);
      const double h = 1e-5;
      const std::vector<double> up =
          derivatives.logpdf(std::vector{alpha + h, 0.8 - 0.3 * h}, data);
      const std::vector<double> down =
          derivatives.logpdf(std::vector{alpha - h, 0.8 + 0.3 * h}, data);
      for (std::size_t i = 0; i < values.size(); ++i) {
        const double numerical = (logpdf_with(model, derivatives.inputs()[i], 0, h, theta, data) -
                                  logpdf_with(model, derivatives.inputs()[i], 0, -h, theta, data)) /
                                 (2.0 * h);
        CHECK_THAT(values[i], WithinAbs(numerical, 1e-7 * (1.0 + std::abs(numerical))));
        CHECK_THAT(mixed[i], WithinAbs((up[i] - down[i]) / (2.0 * h), 1e-6));
      }
    }
  }
}

TEST_CASE("derivatives of the curvature agree with differences", "[core][template_derivatives]") {
  struct Codes {
    NormsysCode normsys;
    HistosysCode histosys;
  };
  for (const Codes codes : {Codes{NormsysCode::code4, HistosysCode::code4p},
                            Codes{NormsysCode::code1, HistosysCode::code0},
                            Codes{NormsysCode::code4, HistosysCode::code2}}) {
    const Model model = all_modifiers(codes.normsys, codes.histosys);
    const TemplateDerivatives derivatives(model);
    const std::vector<double> data = model.spec().data();
    for (double size : {0.6, 1.7}) {
      const std::vector<double> theta = test_point(model.spec(), size);
      const std::size_t n = theta.size();
      std::vector<double> direction(n), above = theta, below = theta;
      const double h = 1e-5;
      for (std::size_t i = 0; i < n; ++i) {
        direction[i] = 0.3 * std::cos(2.0 * static_cast<double>(i));
        above[i] += h * direction[i];
        below[i] -= h * direction[i];
      }
      const slalom::LogpdfCurvature curvature =
          derivatives.logpdf_curvature(theta, data, direction);
      const std::vector<double> up = derivatives.logpdf_mixed(above, data, direction);
      const std::vector<double> down = derivatives.logpdf_mixed(below, data, direction);
      REQUIRE(curvature.inputs.size() == derivatives.size());
      for (std::size_t i = 0; i < up.size(); ++i) {
        INFO("input " << i);
        const double numerical = (up[i] - down[i]) / (2.0 * h);
        CHECK_THAT(curvature.inputs[i], WithinAbs(numerical, 1e-6 * (1.0 + std::abs(numerical))));
      }
      // v' H v, moved along each parameter, is the derivative by it.
      Evaluator evaluator(model);
      std::vector<double> gradient(n), hessian(n * n);
      const auto quadratic_form = [&](const std::vector<double>& at) {
        evaluator.logpdf(at, gradient, hessian);
        double sum = 0.0;
        for (std::size_t i = 0; i < n; ++i) {
          for (std::size_t j = 0; j < n; ++j) {
            sum += direction[i] * hessian[i * n + j] * direction[j];
          }
        }
        return sum;
      };
      for (std::size_t i = 0; i < n; ++i) {
        INFO(model.spec().parameters[i].name);
        std::vector<double> point = theta;
        point[i] += h;
        const double high = quadratic_form(point);
        point[i] -= 2.0 * h;
        const double numerical = (high - quadratic_form(point)) / (2.0 * h);
        CHECK_THAT(curvature.parameters[i],
                   WithinAbs(numerical, 1e-6 * (1.0 + std::abs(numerical))));
      }
    }
  }
}

TEST_CASE("derivatives of rates by parameters", "[core][template_derivatives]") {
  const Model model = all_modifiers(NormsysCode::code4, HistosysCode::code4p);
  const TemplateDerivatives derivatives(model);
  const std::vector<double> theta = test_point(model.spec(), 0.6);
  std::vector<double> weights(model.n_bins());
  for (std::size_t b = 0; b < weights.size(); ++b) {
    weights[b] = std::cos(static_cast<double>(b));
  }
  const std::vector<double> slopes = derivatives.expected_by_parameters(theta, weights);
  REQUIRE(slopes.size() == theta.size());
  const auto sum = [&](const std::vector<double>& at) {
    const std::vector<double> rates = model.expected_data(at, false);
    double total = 0.0;
    for (std::size_t b = 0; b < rates.size(); ++b) total += weights[b] * rates[b];
    return total;
  };
  for (std::size_t i = 0; i < theta.size(); ++i) {
    INFO(model.spec().parameters[i].name);
    std::vector<double> above = theta, below = theta;
    above[i] += 1e-5;
    below[i] -= 1e-5;
    CHECK_THAT(slopes[i], WithinAbs((sum(above) - sum(below)) / 2e-5, 1e-6));
  }
  const slalom::RateDerivatives both = derivatives.rates(theta, weights);
  CHECK(both.parameters == slopes);
  CHECK(both.inputs == derivatives.expected(theta, weights));
}

TEST_CASE("a signal scaled to zero still has derivatives", "[core][template_derivatives]") {
  const Model model = all_modifiers(NormsysCode::code4, HistosysCode::code4p);
  std::vector<double> theta = model.spec().initial();
  theta[model.spec().poi.value()] = 0.0;
  const TemplateDerivatives derivatives(model);
  const std::vector<double> values = derivatives.logpdf(theta, model.spec().data());
  for (double v : values) CHECK(std::isfinite(v));
  std::vector<double> direction(theta.size(), 0.0);
  direction[model.spec().poi.value()] = 1.0;
  const std::vector<double> mixed = derivatives.logpdf_mixed(theta, model.spec().data(), direction);
  CHECK(std::any_of(mixed.begin(), mixed.end(), [](double v) { return v != 0.0; }));
}

TEST_CASE("the derivative of a sum of rates by its templates is the factor",
          "[core][template_derivatives]") {
  const Model model = all_modifiers(NormsysCode::code4, HistosysCode::code4p);
  const TemplateDerivatives derivatives(model);
  const std::vector<double> theta = test_point(model.spec(), 0.6);
  const std::vector<double> weights(model.n_bins(), 1.0);
  const std::vector<double> values = derivatives.expected(theta, weights);
  // Rates are homogeneous of degree one in all yields together.
  const std::vector<double> rates = model.expected_data(theta, false);
  double sum = 0.0, expected = 0.0;
  for (double r : rates) expected += r;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Input& input = derivatives.inputs()[i];
    const slalom::SampleSpec& sample = model.spec().channels[input.channel].samples[input.sample];
    if (input.kind == InputKind::nominal) sum += values[i] * sample.nominal[input.bin];
    if (input.kind == InputKind::histosys_hi) {
      sum += values[i] * sample.histosys[input.term].hi[input.bin];
    }
    if (input.kind == InputKind::histosys_lo) {
      sum += values[i] * sample.histosys[input.term].lo[input.bin];
    }
  }
  CHECK_THAT(sum, WithinAbs(expected, 1e-10 * expected));
}

TEST_CASE("inputs of a published likelihood are all there", "[core][template_derivatives]") {
  SLALOM_REQUIRE_DATA("workspaces");
  const Model model = slalom::test::published_model("agc/agc_34par.json");
  const TemplateDerivatives derivatives(model);
  const std::vector<double> theta = slalom::test::second_reference_point(model.spec());
  const std::vector<double> values = derivatives.logpdf(theta, model.spec().data());
  CHECK(values.size() == derivatives.size());
  for (double v : values) CHECK(std::isfinite(v));
}

TEST_CASE("points without a likelihood are refused", "[core][template_derivatives]") {
  const Model model = slalom::test::uncorrelated_background({12.0}, {50.0}, {3.0}, {51.0});
  const TemplateDerivatives derivatives(model);
  const std::vector<double> negative = {-10.0, 1.0}, fine = {1.0, 1.0};
  CHECK_THROWS_AS(derivatives.logpdf(negative, model.spec().data()), slalom::Error);
  CHECK_THROWS_AS(derivatives.logpdf(std::vector<double>{1.0}, model.spec().data()), slalom::Error);
  CHECK_THROWS_AS(derivatives.expected(fine, std::vector<double>{}), slalom::Error);
}
