// SPDX-License-Identifier: Apache-2.0
// The program of README.md: a workspace in, a fit out, with nothing but slalom::core.
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>
#include <slalom/core/fit.hpp>
#include <slalom/core/json.hpp>
#include <slalom/core/version.hpp>

namespace {

constexpr const char* k_workspace = R"({
  "channels": [{"name": "SR", "samples": [
    {"name": "signal", "data": [12, 11],
     "modifiers": [{"name": "mu", "type": "normfactor", "data": null}]},
    {"name": "background", "data": [50, 52],
     "modifiers": [{"name": "statistics", "type": "shapesys", "data": [3, 7]}]}]}],
  "observations": [{"name": "SR", "data": [51, 48]}],
  "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
  "version": "1.0.0"
})";

}  // namespace

int main() {
  std::cout << "slalom " << slalom::version() << '\n';
  if (slalom::version() != SLALOM_VERSION_STRING) return 1;
  const auto workspace = slalom::parse_workspace(slalom::parse_json(k_workspace));
  const slalom::Model model(slalom::make_model_spec(workspace));
  const slalom::FitResult result = slalom::fit(model);
  std::cout << result.message << ": -2 log L = " << result.twice_nll << '\n';
  // The closed form of two bins with mu at its bound.
  const bool right = std::abs(result.twice_nll - 24.98393520034148) < 1e-10;
  return result.converged() && right ? 0 : 1;
}
