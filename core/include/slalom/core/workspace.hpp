// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "slalom/core/error.hpp"

/// \file
/// A HistFactory workspace (pyhf JSON, schema 1.0.0) as plain data.
/// Names and semantics follow pyhf; the model itself is made in model_spec.hpp and model.hpp.
namespace slalom {

/// The seven modifiers of HistFactory, in pyhf's order of parameters.
enum class ModifierType { histosys, lumi, normfactor, normsys, shapefactor, shapesys, staterror };

/// pyhf's name of a modifier type.
const char* to_string(ModifierType type);
/// The type with that name, or nothing.
std::optional<ModifierType> modifier_type(const std::string& name);

/// One systematic effect on one sample. Only the members that belong to `type` are filled.
struct Modifier {
  std::string name;                   ///< parameter set that it belongs to
  ModifierType type;                  ///< what it does
  std::vector<double> hi_data;        ///< histosys: yields at +1 [n_bins]
  std::vector<double> lo_data;        ///< histosys: yields at -1 [n_bins]
  double hi = 1.0;                    ///< normsys: factor at +1
  double lo = 1.0;                    ///< normsys: factor at -1
  std::vector<double> uncertainty{};  ///< shapesys, staterror: absolute uncertainty [n_bins]
};

/// One physics process in one channel.
struct Sample {
  std::string name;                 ///< unique in its channel
  std::vector<double> data;         ///< nominal yields [n_bins]
  std::vector<Modifier> modifiers;  ///< in file order
};

/// One region of the analysis.
struct Channel {
  std::string name;             ///< unique in the workspace
  std::vector<Sample> samples;  ///< at least one, all with the same number of bins
};

/// Observed counts of one channel.
struct Observation {
  std::string name;          ///< name of the channel
  std::vector<double> data;  ///< counts [n_bins]; need not be integers
};

/// What a measurement says about one parameter set. Absent members keep pyhf's default.
struct ParameterConfig {
  std::string name;                                              ///< parameter set
  std::optional<std::vector<double>> inits;                      ///< initial values
  std::optional<std::vector<std::pair<double, double>>> bounds;  ///< [lower, upper] each
  std::optional<std::vector<double>> auxdata;                    ///< centres of the constraint
  std::optional<std::vector<double>> factors;                    ///< Poisson constraint: tau
  std::optional<std::vector<double>> sigmas;                     ///< Gaussian constraint: width
  std::optional<bool> fixed;                                     ///< held at its initial value
};

/// A parameter of interest with the configuration that belongs to it.
struct Measurement {
  std::string name;                         ///< unique in the workspace; may be empty
  std::string poi;                          ///< parameter of interest, or ""
  std::vector<ParameterConfig> parameters;  ///< in file order
};

/// The content of a workspace, in file order.
struct Workspace {
  std::vector<Channel> channels;          ///< at least one
  std::vector<Measurement> measurements;  ///< at least one
  std::vector<Observation> observations;  ///< one per channel
  std::string version = "1.0.0";          ///< of the schema
};

/// Checks a document against the schema and the rules that the schema cannot express, and reads it.
///
/// Rejected, each with its JSON pointer and what was expected: unknown or missing keys, wrong types
/// (booleans are not numbers), lengths that do not match, non-finite numbers, empty arrays, empty
/// or duplicate names, missing observations, negative counts, parameters configured twice, inverted
/// bounds, widths and factors of constraints that are not positive.
///
/// Accepted with a warning, because pyhf accepts it although it is probably a mistake: negative
/// uncertainties, factors hi or lo <= 0, histosys whose variations lie on the same side in every
/// bin, observations of channels that do not exist (published patches leave some), measurements
/// with an empty name. More than five warnings of a kind are one warning with their number.
///
/// \param document the whole workspace
/// \param warnings where warnings are appended; a null pointer drops them
/// \throws Error (workspace)
Workspace parse_workspace(const nlohmann::json& document, Warnings* warnings = nullptr);

/// The document of a workspace; parse_workspace(to_json(w)) gives w back exactly.
nlohmann::json to_json(const Workspace& workspace);

/// The measurement with that name, or the first one for an empty name.
/// \throws Error (model) if there is none; the message lists the names that exist
const Measurement& find_measurement(const Workspace& workspace, const std::string& name = {});

}  // namespace slalom
