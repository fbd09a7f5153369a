// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/core/json.hpp"
#include "slalom/workflows/experiment_options.hpp"
#include "slalom/workflows/variation_plot.hpp"

/// \file
/// Templates of a finished experiment as a picture.
namespace slalom::experiment {

/// Samples of the trained channel with what the experiment's nuisance parameters do to them.
/// \param workspace workspace.json \param result result.json
VariationPlot templates_plot(const ExperimentOptions& options, const Json& workspace,
                             const Json& result);

}  // namespace slalom::experiment
