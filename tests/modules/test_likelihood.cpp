// SPDX-License-Identifier: Apache-2.0
// The graph against the compiled model, on models of the comparison with pyhf and on published
// ones.
#include <ATen/ops/from_blob.h>
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "slalom/core/json.hpp"
#include "slalom/core/model.hpp"
#include "slalom/core/patch.hpp"
#include "slalom/core/patchset.hpp"
#include "slalom/modules/autodiff.hpp"
#include "slalom/modules/likelihood.hpp"
#include "support/catch.hpp"
#include "support/data.hpp"
#include "support/models.hpp"

using at::Tensor;
using slalom::Likelihood;
using slalom::Model;
using slalom::ModelSpec;
using slalom::Templates;
using Vector = std::vector<double>;

namespace {

Tensor tensor(const Vector& values) {
  return at::from_blob(const_cast<double*>(values.data()), {static_cast<long>(values.size())},
                       at::kDouble)
      .clone();
}

/// Largest difference in units of the largest element.
double difference(const Tensor& found, const Vector& expected) {
  double scale = 1e-300, worst = 0.0;
  const double* f = found.data_ptr<double>();
  for (std::size_t i = 0; i < expected.size(); ++i) {
    scale = std::max(scale, std::abs(expected[i]));
    worst = std::max(worst, std::abs(f[i] - expected[i]));
  }
  return worst / scale;
}

void check_equal(const ModelSpec& spec, const Vector& point, bool with_hessian) {
  const Model model(spec);
  const Likelihood likelihood(spec);
  const Templates templates = likelihood.templates();
  const std::size_t n = point.size();
  const Vector data = spec.data();
  Tensor theta = tensor(point).requires_grad_();
  CHECK(difference(likelihood.data(templates), data) < 1e-12);
  CHECK(difference(likelihood.expected_data(theta, templates).detach(),
                   model.expected_data(point)) < 1e-12);
  slalom::Evaluator evaluator(model);
  Vector gradient(n), hessian(n * n);
  const double expected =
      with_hessian ? evaluator.logpdf(point, gradient, hessian) : evaluator.logpdf(point, gradient);
  const Tensor value = likelihood.log_prob(theta, templates);
  if (!std::isfinite(expected)) {
    CHECK(value.item<double>() == expected);
    return;
  }
  CHECK_THAT(value.item<double>(), Catch::Matchers::WithinRel(expected, 1e-12));
  CHECK(difference(slalom::gradient(value, theta).contiguous(), gradient) < 1e-11);
  if (with_hessian) {
    CHECK(difference(slalom::hessian(value, theta).contiguous().reshape({-1}), hessian) < 1e-11);
  }
}

ModelSpec published(const std::string& workspace, const std::string& patch,
                    const std::string& name) {
  slalom::Json document = slalom::read_json(slalom::test::data_path("workspaces/" + workspace));
  if (!patch.empty()) {
    const slalom::Json operations =
        slalom::read_json(slalom::test::data_path("workspaces/" + patch));
    document = slalom::apply_patch(
        document, name.empty()
                      ? operations
                      : slalom::find_patch(slalom::parse_patchset(operations), name).operations);
  }
  return slalom::make_model_spec(slalom::parse_workspace(document));
}

}  // namespace

TEST_CASE("the graph is the compiled model for every modifier and code", "[modules][likelihood]") {
  const slalom::Json golden =
      slalom::read_json(std::string(SLALOM_SOURCE_DIR) + "/tests/validation/golden.json");
  for (const slalom::Json& entry : golden.at("cases")) {
    INFO("model " << entry.at("name"));
    slalom::ModelOptions options;
    options.measurement = entry.at("measurement").get<std::string>();
    options.normsys_code = entry.at("normsys_code") == "code1" ? slalom::NormsysCode::code1
                                                               : slalom::NormsysCode::code4;
    const std::string code = entry.at("histosys_code");
    options.histosys_code = code == "code0"   ? slalom::HistosysCode::code0
                            : code == "code2" ? slalom::HistosysCode::code2
                                              : slalom::HistosysCode::code4p;
    const ModelSpec spec =
        slalom::make_model_spec(slalom::parse_workspace(entry.at("workspace")), options);
    for (const slalom::Json& point : entry.at("points")) {
      INFO("point " << point.at("name"));
      check_equal(spec, point.at("parameters").get<Vector>(), true);
    }
  }
}

TEST_CASE("the graph is the compiled model on published likelihoods", "[modules][likelihood]") {
  struct Case {
    const char *workspace, *patch, *name;
    bool hessian;
  };
  for (const Case& c :
       {Case{"pyhf/2-bin_1-channel.json", "", "", true}, Case{"agc/agc_34par.json", "", "", true},
        Case{"sbottom/RegionA/BkgOnly.json", "sbottom/RegionA/patch.sbottom_1300_205_60.json", "",
             true},
        Case{"sbottom/RegionC/BkgOnly.json", "sbottom/RegionC/patch.sbottom_1600_850_60.json", "",
             false},
        Case{"3LRJR/BkgOnly.json", "3LRJR/patchset.json", "ERJR_100p0_20p0", true},
        Case{"ttbar/ttbar_ljets_132par.json", "", "", false},
        Case{"agc/agc_ml_187par.json", "", "", false}}) {
    SLALOM_REQUIRE_DATA(std::string("workspaces/") + c.workspace);
    INFO(c.workspace);
    const ModelSpec spec = published(c.workspace, c.patch, c.name);
    check_equal(spec, spec.initial(), c.hessian);
    check_equal(spec, slalom::test::second_reference_point(spec), c.hessian);
  }
}
