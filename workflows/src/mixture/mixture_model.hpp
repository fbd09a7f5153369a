// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "mixture/mixture_data.hpp"
#include "slalom/core/mixture_interval.hpp"
#include "slalom/core/template_mixture.hpp"

/// \file
/// From simulations to core's mixtures.
namespace slalom::mixture {

/// The mixture of some simulations, with its priors and without data.
/// \throws Error (usage, model) that names the option that does not suit
TemplateMixture make_mixture(const Simulations& simulations, const std::vector<std::size_t>& chosen,
                             const MixtureModelOptions& options, std::uint64_t seed);

/// Whether the weight of a last simulation follows from the others'.
bool has_last_weight(const MixtureModelOptions& options);
/// "weights", "coordinates" or "topics": what the parameters of a process are.
const char* parameters_of(const MixtureModelOptions& options);

/// Some of n simulations in random order, without repetition; all of them, in their order, if that
/// is how many are wanted.
std::vector<std::size_t> draw_simulations(std::size_t n, std::size_t wanted, std::uint64_t seed,
                                          std::uint64_t draw);

/// What is quoted. \param seed of samplers
MixtureIntervalOptions interval_options(const MixtureExperimentOptions& options);

}  // namespace slalom::mixture
