// SPDX-License-Identifier: Apache-2.0
#include "parameter_of_interest.hpp"

namespace slalom::detail {

std::size_t parameter_of_interest(const Model& model, const FitOptions& options) {
  if (!model.spec().poi) {
    throw Error(ErrorKind::model, "the model has no parameter of interest", "poi");
  }
  const std::size_t poi = *model.spec().poi;
  bool held = model.spec().parameters[poi].fixed;
  for (std::size_t i : options.floating) held = held && i != poi;
  for (const auto& [i, value] : options.fixed) held = held || i == poi;
  if (held) {
    throw Error(ErrorKind::model,
                "the parameter of interest '" + model.spec().parameters[poi].name + "' is held",
                "poi");
  }
  return poi;
}

}  // namespace slalom::detail
