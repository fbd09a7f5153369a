// SPDX-License-Identifier: Apache-2.0
#include "support/models.hpp"

#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "slalom/core/json.hpp"
#include "slalom/core/workspace.hpp"
#include "support/data.hpp"

namespace slalom::test {

namespace {

Json read_patch(const std::string& patch) {
  const std::size_t hash = patch.find('#');
  const Json document = read_json(data_path("workspaces/" + patch.substr(0, hash)));
  if (hash == std::string::npos) return document;
  for (const Json& p : document.at("patches")) {
    if (p.at("metadata").at("name") == patch.substr(hash + 1)) return p.at("patch");
  }
  throw std::runtime_error("no such patch: " + patch);
}

Modifier histosys(const std::string& name, std::vector<double> hi, std::vector<double> lo) {
  return {name, ModifierType::histosys, std::move(hi), std::move(lo), 1.0, 1.0, {}};
}

}  // namespace

Model published_model(const std::string& workspace, const std::string& patch,
                      const ModelOptions& options) {
  Json document = read_json(data_path("workspaces/" + workspace));
  if (!patch.empty()) document = document.patch(read_patch(patch));
  return Model(make_model_spec(parse_workspace(document), options));
}

Model uncorrelated_background(const std::vector<double>& signal,
                              const std::vector<double>& background,
                              const std::vector<double>& uncertainty,
                              const std::vector<double>& data) {
  Workspace w;
  w.channels = {{"singlechannel",
                 {{"signal", signal, {{"mu", ModifierType::normfactor, {}, {}, 1.0, 1.0, {}}}},
                  {"background",
                   background,
                   {{"uncorr_bkguncrt", ModifierType::shapesys, {}, {}, 1.0, 1.0, uncertainty}}}}}};
  w.observations = {{"singlechannel", data}};
  w.measurements = {{"measurement", "mu", {}}};
  return Model(make_model_spec(w));
}

Model coupled_histosys(const ModelOptions& options) {
  Workspace w;
  w.channels = {
      {"signal",
       {{"signal", {30.0, 35.0}, {{"mu", ModifierType::normfactor, {}, {}, 1.0, 1.0, {}}}},
        {"bkg1", {100.0, 100.0}, {histosys("alpha", {110.0, 110.0}, {90.0, 90.0})}},
        {"bkg2", {50.0, 120.0}, {histosys("alpha", {55.0, 55.0}, {45.0, 45.0})}}}},
      {"control", {{"bkg1", {105.0, 100.0}, {histosys("alpha", {110.0, 115.0}, {95.0, 90.0})}}}}};
  w.observations = {{"signal", {170.0, 220.0}}, {"control", {110.0, 105.0}}};
  w.measurements = {{"measurement", "mu", {}}};
  return Model(make_model_spec(w, options));
}

std::vector<double> second_reference_point(const ModelSpec& spec) {
  std::vector<double> theta = spec.initial();
  for (std::size_t i = 0; i < theta.size(); ++i) {
    const Parameter& p = spec.parameters[i];
    if (p.fixed) continue;
    const double wave = std::sin(static_cast<double>(i) + 1.0);
    if (p.constraint == ConstraintType::gaussian && p.init == 0.0) {
      theta[i] += 0.3 * wave;
    } else {
      theta[i] *= 1.0 + 0.05 * wave;
    }
  }
  return theta;
}

}  // namespace slalom::test
