// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "slalom/core/alternatives.hpp"
#include "slalom/core/fit.hpp"
#include "slalom/core/model.hpp"
#include "slalom/core/patchset.hpp"
#include "slalom/core/workspace.hpp"

/// \file
/// The options that all verbs which read a workspace or build a model have in common.
namespace slalom::cli {

/// Which document: a file, and what is to be done to it before it is read as a workspace.
struct WorkspaceArguments {
  std::string workspace;             ///< file, or `-`
  std::vector<std::string> patches;  ///< --patch, in order
  std::string patchset;              ///< --patchset
  std::string patch_name;            ///< --patch-name
  bool no_verify = false;            ///< --no-verify: the digest of the patch set may differ
  std::string alternatives{};        ///< --alternatives
};

/// Which model, at which point, with which data.
struct ModelArguments : WorkspaceArguments {
  std::string measurement;                ///< --measurement
  std::optional<std::string> poi;         ///< --poi; "none" or "" for a model without
  std::string parameters;                 ///< --parameters FILE
  std::vector<std::string> fixed;         ///< --fix NAME[=VALUE]
  std::vector<std::string> floating;      ///< --float NAME
  std::optional<double> asimov;           ///< --asimov MU
  std::optional<std::string> asimov_fit;  ///< --asimov-fit MU|best
  std::optional<long> threads;            ///< --threads
  std::optional<long> seed;               ///< --seed
  std::string normsys_code = "code4";     ///< --normsys-code
  std::string histosys_code = "code4p";   ///< --histosys-code
};

/// A model with the data to use: the observed ones, or an Asimov set.
struct LoadedModel {
  std::string measurement;   ///< name of the measurement in use
  Model model;               ///< initial values and fixed flags as the options ask
  std::vector<double> data;  ///< main and auxiliary data [B + A]
  /// Where the Asimov data were made; empty for observed data.
  std::vector<double> asimov_point{};
  std::vector<SampleMixture> mixtures{};  ///< those of --alternatives

  /// The specification of the model.
  const ModelSpec& spec() const { return model.spec(); }
};

/// Declares WORKSPACE, --patch, --patchset, --patch-name and --no-verify.
void declare_document(Command& command, WorkspaceArguments& options);
/// Declares the same and --strict.
void declare(Command& command, WorkspaceArguments& options);
/// Declares those of a workspace, and --alternatives, --measurement, --poi, --normsys-code,
/// --histosys-code.
void declare_model(Command& command, ModelArguments& options);
/// Declares --measurement, --poi, --normsys-code and --histosys-code alone.
void declare_interpretation(Command& command, ModelArguments& options);
/// Declares --parameters, --fix, --float.
void declare_point(Command& command, ModelArguments& options);
/// Declares --asimov, --asimov-fit, --threads and --seed. Scripts may give the last two to any
/// verb; they matter where work is parallel, or random.
void declare_data(Command& command, ModelArguments& options);

/// Reads a patch set; places in errors start with the path. \throws Error
PatchSet load_patchset(Command& command, const std::string& path);
/// Warns if the digest of a document is not one that the set was made for: published patch sets
/// exist whose workspace was regenerated later. `slalom patchset verify` and `apply` make it an
/// error. \throws Error under --strict
void warn_if_other_workspace(Command& command, const PatchSet& set, const Json& document);
/// Mixes the simulations of a document of alternatives into a workspace; places in errors start
/// with the path. \param mixtures as in `mix` \throws Error
Json mix_alternatives(Command& command, const Json& document, const std::string& path,
                      std::vector<SampleMixture>* mixtures = nullptr);
/// Reads the document, applies the patches, and then mixes --alternatives. \throws Error
/// \param mixtures where the mixtures are appended; a null pointer drops them
Json load_document(Command& command, const WorkspaceArguments& options,
                   std::vector<SampleMixture>* mixtures = nullptr);
/// Reads the workspace; warnings go to the command. \throws Error
Workspace load_workspace(Command& command, const WorkspaceArguments& options);
/// The options of the core that belong to the arguments.
ModelOptions model_options(const ModelArguments& options);
/// Resolves the model's specification, with advice if the POI is missing; `measurement` overrides
/// that of the options. \throws Error
ModelSpec load_spec(Command& command, const Workspace& workspace, const ModelOptions& options);
/// The document of --parameters, read once for several models; null without one. \throws Error
Json read_parameters(Command& command, const ModelArguments& options);
/// Changes initial values and fixed flags as the options ask. \throws Error (usage)
/// \param parameters what read_parameters() gave
void apply_point(const ModelArguments& options, const Json& parameters, ModelSpec& spec);
/// Reads, builds and compiles, and makes the data. \throws Error
LoadedModel load_model(Command& command, const ModelArguments& options);
/// The same from a document that was loaded before, with the mixtures in it. \throws Error
LoadedModel load_model(Command& command, const ModelArguments& options, const Json& document,
                       std::vector<SampleMixture> mixtures);

/// Names of all parameters.
std::vector<std::string> parameter_names(const ModelSpec& spec);
/// Index of a scalar parameter. \throws Error (usage) with the nearest name at `where`
std::size_t find_parameter(const ModelSpec& spec, const std::string& name,
                           const std::string& where);
/// Index of the POI. \throws Error (model) if the model has none
std::size_t require_poi(const ModelSpec& spec);
/// Index of the parameter that --parameter names, or of the POI for an empty name. \throws Error
/// (usage, model) also for one that is held
std::size_t floating_parameter(const ModelSpec& spec, const std::string& name);
/// A fitter that holds the data of a model.
Fitter make_fitter(const LoadedModel& loaded);
/// --threads, or 0 for as many as the machine has.
std::size_t threads_of(const ModelArguments& options);

}  // namespace slalom::cli
