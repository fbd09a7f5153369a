// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "slalom/core/json.hpp"
#include "slalom/core/model.hpp"
#include "slalom/modules/autodiff.hpp"
#include "slalom/modules/likelihood.hpp"
#include "slalom/modules/systematics.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/workspaces.hpp"

using at::Tensor;
using Catch::Matchers::WithinRel;
using slalom::Range;
using slalom::Systematics;
using slalom::Templates;

namespace {

slalom::Workspace workspace() {
  slalom::Json document = slalom::test::left_workspace();
  document["channels"][0]["samples"][0]["modifiers"].push_back(
      {{"name", "stat"}, {"type", "staterror"}, {"data", {0.5, 0.75}}});
  document["channels"][0]["samples"][1]["modifiers"].push_back(
      {{"name", "stat"}, {"type", "staterror"}, {"data", {2.0, 3.0}}});
  return slalom::parse_workspace(document);
}

double element(const Tensor& t, std::int64_t i) { return t[i].item<double>(); }

}  // namespace

TEST_CASE("ranges find every template", "[modules][systematics]") {
  const Systematics systematics(slalom::make_model_spec(workspace()));
  const Templates t = systematics.templates();
  const Range signal = systematics.nominal_range("SR", "signal");
  CHECK(signal.size == 2);
  CHECK(element(t.nominal, signal.first + 1) == 10.5);
  const Range hi = systematics.histosys_range("SR", "background", "scale");
  CHECK(element(t.histosys_hi, hi.first) == 51.0);
  CHECK(element(t.histosys_lo, hi.first + 1) == 59.5);
  const Range norm = systematics.normsys_range("CR", "background", "scale");
  CHECK(element(t.normsys_lo, norm.first) == 0.96);
  const Range stat = systematics.uncertainty_range("SR", "background", "stat");
  CHECK(element(t.uncertainty, stat.first) == 2.0);
  const Range shape = systematics.uncertainty_range("SR", "background", "unc");
  CHECK(element(t.uncertainty, shape.first) == 5.0);
}

TEST_CASE("what is not there is named", "[modules][systematics]") {
  const Systematics systematics(slalom::make_model_spec(workspace()));
  const auto fails = [&](auto&& call, const std::string& where, const std::string& text) {
    slalom::test::check_fails(slalom::ErrorKind::model, where, text, call);
  };
  fails([&] { systematics.nominal_range("SX", "signal"); }, "templates", "no channel named 'SX'");
  fails([&] { systematics.nominal_range("SR", "qcd"); }, "SR", "no sample named 'qcd'");
  fails([&] { systematics.histosys_range("SR", "background", "mu"); }, "SR/background",
        "no histosys named 'mu'");
  fails([&] { systematics.normsys_range("SR", "signal", "scale"); }, "SR/signal", "no normsys");
  fails([&] { systematics.uncertainty_range("CR", "background", "stat"); }, "CR/background",
        "no staterror or shapesys");
  fails(
      [&] {
        slalom::replace_range(systematics.templates().nominal, {0, 2}, at::ones({3}, at::kDouble));
      },
      "template", "2 elements expected, found 3");
  fails([&] { systematics.expected(at::ones({2}, at::kDouble), systematics.templates()); },
        "parameters", "parameters expected");
}

TEST_CASE("a replaced template moves the rates and carries the gradient",
          "[modules][systematics]") {
  const Systematics systematics(slalom::make_model_spec(workspace()));
  Templates t = systematics.templates();
  const Range signal = systematics.nominal_range("SR", "signal");
  const Tensor live = at::full({2}, 7.0, at::kDouble).requires_grad_(true);
  t.nominal = slalom::replace_range(t.nominal, signal, live);
  slalom::Likelihood likelihood(systematics.spec());
  const Tensor rates = systematics.expected(likelihood.initial(), t);
  // Channels are sorted: CR has one bin, then SR. mu and lumi start at 1.
  CHECK_THAT(element(rates, 1), WithinRel(57.0, 1e-14));
  CHECK_THAT(element(rates, 2), WithinRel(67.0, 1e-14));
  const Tensor slope = slalom::gradient(rates.sum(), live);
  CHECK(element(slope, 0) == 1.0);
}

TEST_CASE("widths of constraints follow from uncertainties and yields", "[modules][systematics]") {
  const slalom::ModelSpec spec = slalom::make_model_spec(workspace());
  const Systematics systematics(spec);
  Templates t = systematics.templates();
  t.uncertainty = t.uncertainty.clone().requires_grad_(true);
  const Tensor scale = systematics.constraint_scale(t);
  for (std::size_t i = 0; i < spec.parameters.size(); ++i) {
    const slalom::Parameter& p = spec.parameters[i];
    INFO(p.name);
    const double expected = p.constraint == slalom::ConstraintType::gaussian  ? p.sigma
                            : p.constraint == slalom::ConstraintType::poisson ? p.tau
                                                                              : 1.0;
    CHECK_THAT(element(scale, static_cast<std::int64_t>(i)), WithinRel(expected, 1e-12));
  }
  const auto stat = static_cast<std::int64_t>(*spec.find("stat[0]"));
  const std::int64_t place = systematics.uncertainty_range("SR", "background", "stat").first;
  const double sigma = element(scale, stat);
  // d sigma / d u = u / (sigma total^2)
  CHECK_THAT(element(slalom::gradient(scale[stat], t.uncertainty), place),
             WithinRel(2.0 / (sigma * 55.0 * 55.0), 1e-12));
  // A configured width stays: that of lumi has no template.
  CHECK(element(scale, static_cast<std::int64_t>(*spec.find("lumi"))) == 0.02);
}
