// SPDX-License-Identifier: Apache-2.0
#include "parameter_of_interest.hpp"

namespace slalom::detail {

namespace {

bool is_held(const Model& model, const FitOptions& options, std::size_t parameter) {
  bool held = model.spec().parameters[parameter].fixed;
  for (std::size_t i : options.floating) held = held && i != parameter;
  for (const auto& [i, value] : options.fixed) held = held || i == parameter;
  return held;
}

}  // namespace

std::size_t parameter_of_interest(const Model& model, const FitOptions& options) {
  if (!model.spec().poi) {
    throw Error(ErrorKind::model, "the model has no parameter of interest", "poi");
  }
  const std::size_t poi = *model.spec().poi;
  if (is_held(model, options, poi)) {
    throw Error(ErrorKind::model,
                "the parameter of interest '" + model.spec().parameters[poi].name + "' is held",
                "poi");
  }
  return poi;
}

void require_floating(const Model& model, const FitOptions& options, std::size_t parameter) {
  if (parameter >= model.n_parameters()) {
    throw Error(ErrorKind::model, "no parameter has index " + std::to_string(parameter),
                "parameter");
  }
  if (is_held(model, options, parameter)) {
    const std::string& name = model.spec().parameters[parameter].name;
    throw Error(ErrorKind::model, "the parameter '" + name + "' is held", name);
  }
}

}  // namespace slalom::detail
