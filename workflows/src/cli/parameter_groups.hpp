// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "slalom/core/impacts.hpp"
#include "slalom/core/model_spec.hpp"

/// \file
/// Groups of parameters, named on the command line or made from the types of the modifiers.
namespace slalom::cli {

/// Parameters whose name, or the name of whose set, matches a pattern: a name as it is, or one with
/// `*`, `?` and `[...]` as in a shell.
/// \throws Error (usage) with the nearest name at `where` if nothing matches
std::vector<std::size_t> parameters_matching(const ModelSpec& spec, const std::string& pattern,
                                             const std::string& where);

/// Groups written NAME=PATTERN[,PATTERN...], and "other" for all parameters that float and are in
/// none of them. Parameters that are held, and the target, are in no group.
/// \param floating of every parameter [P]
/// \throws Error (usage) at --group
std::vector<ParameterGroup> named_groups(const ModelSpec& spec, const std::vector<bool>& floating,
                                         std::size_t target, const std::vector<std::string>& texts);

/// Groups by the type of the modifier: normalisation factors (normfactor, shapefactor), luminosity,
/// normalisation systematics (normsys), shape systematics (histosys, also with a normsys of the
/// same name), and per-bin uncertainties (staterror, shapesys). Empty groups are left out.
std::vector<ParameterGroup> groups_by_type(const ModelSpec& spec, const std::vector<bool>& floating,
                                           std::size_t target);

}  // namespace slalom::cli
