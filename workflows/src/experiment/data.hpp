// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/workflows/experiment.hpp"

/// \file
/// Events of an experiment, and what its nuisance parameters do to them.
namespace slalom::experiment {

/// Reads or generates, splits and scales. \throws Error (usage, io)
ExperimentData load_data(const ExperimentOptions& options);
/// What the nuisance parameters do, in units of the standard deviations of their constraints.
/// \throws Error (usage) for a variation, process or column that is not there
std::vector<Variation> make_variations(const ExperimentOptions& options,
                                       const ExperimentData& data);
/// \throws Error (usage) for a process that is not there
void check_process(const std::string& process, const ExperimentData& data,
                   const std::string& where);
/// Standard deviation of a constraint in units of theta; that of a free parameter is wide.
double prior_of(const NuisanceOptions& nuisance);
/// Step of its copies, in units of that standard deviation.
double step_of(const NuisanceOptions& nuisance);
/// How yields get their derivative: effects that are linear in the weights need no copies.
SlopeMethod slope_of(const NuisanceOptions& nuisance);
/// A path relative to the document.
std::string resolve(const ExperimentOptions& options, const std::string& path);

}  // namespace slalom::experiment
