// SPDX-License-Identifier: Apache-2.0
// Fits as nodes: first and second derivatives against complete refits, bounds, failures.
#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_inv.h>
#include <ATen/ops/zeros.h>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "slalom/core/json.hpp"
#include "slalom/modules/autodiff.hpp"
#include "slalom/modules/profile_fit.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using at::Tensor;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::Likelihood;
using slalom::ProfileFitOptions;
using slalom::Templates;

namespace {

slalom::ModelSpec model(const std::string& data = "[55, 50, 51]", double low = 0.0) {
  slalom::Json document = slalom::parse_json(R"({
    "channels": [{"name": "sr", "samples": [
        {"name": "signal", "data": [4, 9, 14], "modifiers": [
          {"name": "mu", "type": "normfactor", "data": null}]},
        {"name": "one", "data": [40, 30, 20], "modifiers": [
          {"name": "a", "type": "normsys", "data": {"hi": 1.12, "lo": 0.9}},
          {"name": "b", "type": "histosys",
           "data": {"hi_data": [43, 31, 18], "lo_data": [38, 29.5, 21]}},
          {"name": "stat", "type": "staterror", "data": [2, 1.5, 1.4]}]}]}],
    "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
    "observations": [{"name": "sr", "data": []}], "version": "1.0.0"})");
  document["observations"][0]["data"] = slalom::parse_json(data);
  document["measurements"][0]["config"]["parameters"].push_back(
      {{"name", "mu"}, {"bounds", {{low, 10.0}}}});
  return slalom::make_model_spec(slalom::parse_workspace(document));
}

/// Best fit of mu with the second bin of the background at `yield`.
double mu_at(const Likelihood& likelihood, double yield) {
  Templates t = likelihood.templates();
  t.nominal = t.nominal.clone();
  t.nominal[likelihood.systematics().nominal_range("sr", "one").first + 1] = yield;
  const slalom::ModelSpec spec = likelihood.with_templates(t);
  const slalom::Model compiled(spec);
  return slalom::fit(compiled).parameters[*spec.poi];
}

}  // namespace

TEST_CASE("a fit has the derivatives of complete refits, first and second",
          "[modules][profile_fit]") {
  const Likelihood likelihood(model());
  Templates t = likelihood.templates();
  t.nominal = t.nominal.clone().requires_grad_(true);
  const auto poi = static_cast<std::int64_t>(*likelihood.spec().poi);
  const std::int64_t place = likelihood.systematics().nominal_range("sr", "one").first + 1;
  const double h = 0.05, at = 30.0;
  const double slope = (8.0 * (mu_at(likelihood, at + h) - mu_at(likelihood, at - h)) -
                        (mu_at(likelihood, at + 2 * h) - mu_at(likelihood, at - 2 * h))) /
                       (12.0 * h);
  const double curvature =
      (mu_at(likelihood, at + h) - 2.0 * mu_at(likelihood, at) + mu_at(likelihood, at - h)) /
      (h * h);
  for (const int order : {1, 2}) {
    ProfileFitOptions options;
    options.order = order;
    const slalom::ProfileFit fit = slalom::profile_fit(likelihood, t, likelihood.data(t), options);
    CHECK(fit.result.converged());
    CHECK_THAT(fit.parameters[poi].item<double>(), WithinRel(mu_at(likelihood, at), 1e-10));
    CHECK_THAT(fit.twice_nll.item<double>(), WithinRel(fit.result.twice_nll, 1e-12));
    const Tensor first = slalom::gradient(fit.parameters[poi], t.nominal, true);
    CHECK_THAT(first[place].item<double>(), WithinRel(slope, 1e-7));
    if (order == 1) continue;
    CHECK_THAT(slalom::gradient(first[place], t.nominal)[place].item<double>(),
               WithinRel(curvature, 2e-4));
  }
}

TEST_CASE("the minimum has the derivative of the envelope theorem", "[modules][profile_fit]") {
  const Likelihood likelihood(model());
  const Templates t = likelihood.templates();
  const Tensor data = likelihood.data(t).clone().requires_grad_(true);
  const slalom::ProfileFit fit = slalom::profile_fit(likelihood, t, data);
  const Tensor theta = fit.parameters.detach();
  const Tensor direct =
      slalom::gradient(-2.0 * likelihood.log_prob(theta, t, data), data).contiguous();
  const Tensor through = slalom::gradient(fit.twice_nll, data).contiguous();
  CHECK((direct - through).abs().max().item<double>() < 1e-7);
}

TEST_CASE("a parameter at its bound is a constant", "[modules][profile_fit]") {
  const Likelihood likelihood(model("[35, 25, 15]"));
  Templates t = likelihood.templates();
  t.nominal = t.nominal.clone().requires_grad_(true);
  const slalom::ProfileFit fit = slalom::profile_fit(likelihood, t, likelihood.data(t));
  const auto poi = static_cast<std::int64_t>(*likelihood.spec().poi);
  CHECK(fit.result.at_bound[*likelihood.spec().poi]);
  CHECK(fit.parameters[poi].item<double>() == 0.0);
  CHECK(slalom::gradient(fit.parameters[poi], t.nominal).abs().max().item<double>() == 0.0);
  // The others move.
  CHECK(slalom::gradient(fit.parameters.sum(), t.nominal).abs().max().item<double>() > 1e-3);
}

TEST_CASE("covariance and information agree for Asimov data", "[modules][profile_fit]") {
  const Likelihood likelihood(model());
  const Templates t = likelihood.templates();
  const Tensor point = likelihood.initial();
  const Tensor asimov = likelihood.expected_data(point, t);
  const slalom::ProfileFit fit = slalom::profile_fit(likelihood, t, asimov);
  const Tensor free = slalom::free_parameters(fit.result);
  const Tensor covariance = slalom::covariance(likelihood, t, asimov, point, free);
  const Tensor information =
      slalom::fisher_information(likelihood, t, point).index_select(0, free).index_select(1, free);
  CHECK((covariance - at::linalg_inv(information)).abs().max().item<double>() < 1e-12);
  const slalom::Model compiled(likelihood.spec());
  slalom::Fitter fitter(compiled);
  const auto* begin = asimov.data_ptr<double>();
  fitter.set_data({begin, begin + asimov.numel()});
  const std::vector<double> errors = fitter.errors(fitter.fit());
  const Tensor sigma = covariance.diagonal().sqrt();
  for (std::int64_t i = 0; i < free.size(0); ++i) {
    CHECK_THAT(sigma[i].item<double>(),
               WithinRel(errors[static_cast<std::size_t>(free[i].item<std::int64_t>())], 1e-8));
  }
}

TEST_CASE("a fit that does not converge is an error, not a gradient", "[modules][profile_fit]") {
  // Two factors of one sample are not determined.
  const slalom::ModelSpec spec =
      slalom::make_model_spec(slalom::parse_workspace(slalom::parse_json(R"({
    "channels": [{"name": "c", "samples": [{"name": "s", "data": [10], "modifiers": [
      {"name": "mu", "type": "normfactor", "data": null},
      {"name": "k", "type": "normfactor", "data": null}]}]}],
    "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
    "observations": [{"name": "c", "data": [12]}], "version": "1.0.0"})")));
  const Likelihood likelihood(spec);
  const Templates t = likelihood.templates();
  slalom::test::check_fails(slalom::ErrorKind::numerical, "profile_fit", "not determined",
                            [&] { slalom::profile_fit(likelihood, t, likelihood.data(t)); });
  ProfileFitOptions third;
  third.order = 3;
  slalom::test::check_fails(slalom::ErrorKind::usage, "order", "1 or 2",
                            [&] { slalom::profile_fit(likelihood, t, likelihood.data(t), third); });
}
