// SPDX-License-Identifier: Apache-2.0
#include "cli/model_arguments.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/suggest.hpp"
#include "cli/text.hpp"
#include "slalom/core/patch.hpp"

namespace slalom::cli {

namespace {

/// Indices of a whole parameter set or of one parameter. \throws Error (usage)
std::vector<std::size_t> find_parameters(const ModelSpec& spec, const std::string& name,
                                         const std::string& where) {
  for (const ParameterSet& set : spec.sets) {
    if (set.name != name) continue;
    std::vector<std::size_t> indices(set.size);
    for (std::size_t i = 0; i < set.size; ++i) indices[i] = set.first + i;
    return indices;
  }
  return {find_parameter(spec, name, where)};
}

void set_value(ModelSpec& spec, std::size_t index, double value, const std::string& where) {
  Parameter& parameter = spec.parameters[index];
  if (!(value >= parameter.lower && value <= parameter.upper)) {
    throw Error(ErrorKind::usage,
                fmt::format("{} is outside the bounds [{}, {}] of parameter '{}'", exact(value),
                            exact(parameter.lower), exact(parameter.upper), parameter.name),
                where);
  }
  parameter.init = value;
}

double json_number(const Json& value, const std::string& where) {
  if (value.is_number()) return value.get<double>();
  throw Error(ErrorKind::usage, fmt::format("a number was expected, got {}", value.type_name()),
              where);
}

void set_values(ModelSpec& spec, const std::vector<std::size_t>& indices, const Json& value,
                const std::string& where) {
  if (!value.is_array()) {
    if (indices.size() != 1) {
      throw Error(ErrorKind::usage,
                  fmt::format("an array of {} was expected", count(indices.size(), "number")),
                  where);
    }
    set_value(spec, indices[0], json_number(value, where), where);
    return;
  }
  if (value.size() != indices.size()) {
    throw Error(ErrorKind::usage,
                fmt::format("{} expected, got {}", count(indices.size(), "value"), value.size()),
                where);
  }
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const std::string place = fmt::format("{}/{}", where, i);
    set_value(spec, indices[i], json_number(value[i], place), place);
  }
}

void apply_values(const Json& document, const std::string& path, ModelSpec& spec) {
  for (const auto& [name, value] : document.items()) {
    const std::string where = fmt::format("{}#/{}", path, name);
    set_values(spec, find_parameters(spec, name, where), value, where);
  }
}

/// The name may itself contain '='; values do not.
void apply_fix(const std::string& text, ModelSpec& spec) {
  const std::size_t equal = text.rfind('=');
  const std::string name = text.substr(0, equal);
  const auto indices = find_parameters(spec, name, "--fix");
  for (const std::size_t index : indices) {
    if (equal != std::string::npos) {
      set_value(spec, index, parse_number(text.substr(equal + 1), "--fix"), "--fix");
    }
    spec.parameters[index].fixed = true;
  }
}

void apply_float(const std::string& name, const std::vector<std::string>& fixed, ModelSpec& spec) {
  for (const std::string& other : fixed) {
    if (other.substr(0, other.rfind('=')) == name) {
      throw Error(ErrorKind::usage, fmt::format("'{}' is also given to --fix", name), "--float");
    }
  }
  for (const std::size_t index : find_parameters(spec, name, "--float")) {
    spec.parameters[index].fixed = false;
  }
}

std::vector<double> asimov_data(const Model& model, const std::vector<double>& point,
                                const std::string& where) {
  std::vector<double> data = model.expected_data(point);
  const auto wrong = [](double value) { return !(value >= 0.0) || !std::isfinite(value); };
  const auto main_end = data.begin() + static_cast<std::ptrdiff_t>(model.n_bins());
  if (std::any_of(data.begin(), main_end, wrong)) {
    throw Error(ErrorKind::numerical, "the expected number of events is negative in some bin",
                where);
  }
  return data;
}

/// Point of a fit to the observed data, the POI held at `mu` unless it is "best".
std::vector<double> fitted_point(const Model& model, std::size_t poi, const std::string& mu) {
  FitOptions options;
  if (mu != "best") options.fixed = {{poi, parse_number(mu, "--asimov-fit")}};
  const FitResult result = fit(model, options);
  if (!result.converged()) {
    throw Error(ErrorKind::numerical,
                "the fit that is to give the Asimov data did not converge: " + result.message,
                "--asimov-fit");
  }
  return result.parameters;
}

void make_data(const ModelArguments& options, LoadedModel& loaded) {
  if (!options.asimov && !options.asimov_fit) return;
  if (options.asimov && options.asimov_fit) {
    throw Error(ErrorKind::usage, "--asimov cannot be used together with --asimov-fit", "--asimov");
  }
  const std::size_t poi = require_poi(loaded.spec());
  const std::string where = options.asimov ? "--asimov" : "--asimov-fit";
  std::vector<double> point = loaded.spec().initial();
  if (options.asimov) {
    point[poi] = *options.asimov;
  } else {
    point = fitted_point(loaded.model, poi, *options.asimov_fit);
  }
  loaded.data = asimov_data(loaded.model, point, where);
  loaded.asimov_point = std::move(point);
}

/// Adds what the user can do about a parameter of interest that is not there.
[[noreturn]] void advise_on_poi(const Error& error, const std::vector<std::string>& names) {
  if (error.where() == "poi") {
    const std::size_t begin = error.message().find('\'') + 1;
    const std::size_t end = error.message().find('\'', begin);
    const std::string poi = error.message().substr(begin, end - begin);
    throw Error(error.kind(), error.message() + did_you_mean(poi, names), "--poi");
  }
  throw Error(error.kind(),
              error.message() +
                  "; apply the signal with --patch or --patchset, or give --poi none for a model "
                  "without parameter of interest",
              error.where());
}

void check_patch_options(const WorkspaceArguments& options) {
  if (options.patchset.empty() && !options.patch_name.empty()) {
    throw Error(ErrorKind::usage, "needs --patchset", "--patch-name");
  }
  if (!options.patchset.empty() && options.patch_name.empty()) {
    throw Error(
        ErrorKind::usage,
        fmt::format("needs --patch-name; `slalom patchset list {}` lists them", options.patchset),
        "--patchset");
  }
}

/// Applies one patch of a set.
Json apply_checked(Command& command, const PatchSet& set, Json document, const std::string& name,
                   bool verify) {
  const auto& patch = find_patch(set, name);  // a wrong name is the likelier mistake
  if (verify) warn_if_other_workspace(command, set, document);
  return apply_patch(std::move(document), patch.operations, name);
}

bool is_about_poi(const Error& error) {
  return error.kind() == ErrorKind::model &&
         (error.where() == "poi" || error.where().ends_with("/config/poi"));
}

}  // namespace

void declare_document(Command& command, WorkspaceArguments& options) {
  Arguments& arguments = command.arguments;
  arguments.positional("WORKSPACE", options.workspace,
                       "HistFactory workspace (pyhf JSON); - is standard input");
  arguments.group("Workspace");
  arguments.texts("--patch", options.patches, "FILE",
                  "JSON Patch for the whole document; repeatable, applied in order");
  arguments.text("--patchset", options.patchset, "FILE",
                 "Patch set to take a signal from, applied before any --patch");
  arguments.text("--patch-name", options.patch_name, "NAME", "Which patch of the patch set");
  arguments.flag("--no-verify", options.no_verify,
                 "Do not compare the digest of the workspace with that of the patch set");
}

void declare(Command& command, WorkspaceArguments& options) {
  declare_document(command, options);
  command.arguments.flag("--strict", command.strict, "Warnings are errors");
}

void declare_model(Command& command, ModelArguments& options) {
  declare(command, options);
  command.arguments.text("--alternatives", options.alternatives, "FILE",
                         "Alternative simulations of samples, of which mixtures are made after all "
                         "patches (see `slalom mix`)");
  declare_interpretation(command, options);
}

void declare_interpretation(Command& command, ModelArguments& options) {
  Arguments& arguments = command.arguments;
  arguments.group("Model");
  arguments.text("--measurement", options.measurement, "NAME",
                 "Measurement to use; default is the first one");
  arguments.text("--poi", options.poi, "NAME",
                 "Parameter of interest in place of that of the measurement; none for no such "
                 "parameter");
  arguments.choice("--normsys-code", options.normsys_code, {"code1", "code4"},
                   "Interpolation of normalisation factors; default code4");
  arguments.choice("--histosys-code", options.histosys_code, {"code0", "code2", "code4p"},
                   "Interpolation of yields; default code4p");
}

void declare_point(Command& command, ModelArguments& options) {
  Arguments& arguments = command.arguments;
  arguments.group("Parameters");
  arguments.text("--parameters", options.parameters, "FILE",
                 "JSON object from names to values (arrays for vectors): the point to start from "
                 "or to evaluate at");
  arguments.texts("--fix", options.fixed, "NAME[=VALUE]",
                  "Hold a parameter at VALUE, or at its initial value; repeatable");
  arguments.texts("--float", options.floating, "NAME",
                  "Let a parameter float that the workspace holds; repeatable");
}

void declare_data(Command& command, ModelArguments& options) {
  Arguments& arguments = command.arguments;
  arguments.group("Data");
  arguments.number("--asimov", options.asimov, "MU",
                   "Replace the data by those expected with the parameter of interest at MU and "
                   "all others at their initial values");
  arguments.text("--asimov-fit", options.asimov_fit, "MU|best",
                 "The same with the others fitted to the observed data, at MU or at the best fit");
  arguments.group("Resources");
  arguments.integer("--threads", options.threads, 1, "N", "Threads to use where work is parallel");
  arguments.integer("--seed", options.seed, 0, "N", "Seed of random numbers where there are any");
}

void warn_if_other_workspace(Command& command, const PatchSet& set, const Json& document) {
  try {
    verify_patchset(set, document);
  } catch (const Error& error) {
    command.warn({error.message() + "; --no-verify silences this", error.where()}, error.kind());
  }
}

PatchSet load_patchset(Command& command, const std::string& path) {
  const Json document = command.read_document(path);
  try {
    return parse_patchset(document);
  } catch (const Error& error) {
    throw Error(error.kind(), error.message(), fmt::format("{}#{}", path, error.where()));
  }
}

Json mix_alternatives(Command& command, const Json& document, const std::string& path,
                      std::vector<SampleMixture>* mixtures) {
  const Json alternatives = command.read_document(path);
  Warnings warnings;
  const auto placed = [&](const std::string& where) {
    return where.empty() || where.front() == '/' ? path + "#" + where : where;
  };
  try {
    Json result = mix(document, parse_alternatives(alternatives), mixtures, &warnings);
    for (const Warning& w : warnings) {
      command.warn({w.message, placed(w.where)}, ErrorKind::usage);
    }
    return result;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::usage) throw;  // of the workspace
    throw Error(error.kind(), error.message(), placed(error.where()));
  }
}

Json load_document(Command& command, const WorkspaceArguments& options,
                   std::vector<SampleMixture>* mixtures) {
  check_patch_options(options);
  Json document = command.read_document(options.workspace);
  if (!options.patchset.empty()) {
    const PatchSet set = load_patchset(command, options.patchset);
    document =
        apply_checked(command, set, std::move(document), options.patch_name, !options.no_verify);
  }
  for (const std::string& path : options.patches) {
    document = apply_patch(std::move(document), command.read_document(path), path + "#");
  }
  if (!options.alternatives.empty()) {
    document = mix_alternatives(command, document, options.alternatives, mixtures);
  }
  return document;
}

namespace {

Workspace checked_workspace(Command& command, const Json& document) {
  Warnings warnings;
  Workspace workspace = parse_workspace(document, &warnings);
  command.warn_all(warnings, ErrorKind::workspace);
  return workspace;
}

}  // namespace

Workspace load_workspace(Command& command, const WorkspaceArguments& options) {
  return checked_workspace(command, load_document(command, options));
}

ModelOptions model_options(const ModelArguments& options) {
  ModelOptions result;
  result.measurement = options.measurement;
  result.poi = options.poi;
  if (options.poi == "none") result.poi = "";
  if (options.normsys_code == "code1") result.normsys_code = NormsysCode::code1;
  if (options.histosys_code == "code0") result.histosys_code = HistosysCode::code0;
  if (options.histosys_code == "code2") result.histosys_code = HistosysCode::code2;
  return result;
}

ModelSpec load_spec(Command& command, const Workspace& workspace, const ModelOptions& options) {
  Warnings warnings;
  try {
    ModelSpec spec = make_model_spec(workspace, options, &warnings);
    command.warn_all(warnings, ErrorKind::model);
    return spec;
  } catch (const Error& error) {
    if (!is_about_poi(error)) throw;
    ModelOptions without = options;
    without.poi = "";
    advise_on_poi(error, parameter_names(make_model_spec(workspace, without)));
  }
}

Json read_parameters(Command& command, const ModelArguments& options) {
  if (options.parameters.empty()) return nullptr;
  Json document = command.read_document(options.parameters);
  if (document.is_object()) return document;
  throw Error(ErrorKind::usage, "an object from names to values was expected", options.parameters);
}

void apply_point(const ModelArguments& options, const Json& parameters, ModelSpec& spec) {
  if (!parameters.is_null()) apply_values(parameters, options.parameters, spec);
  for (const std::string& text : options.fixed) apply_fix(text, spec);
  for (const std::string& name : options.floating) apply_float(name, options.fixed, spec);
}

LoadedModel load_model(Command& command, const ModelArguments& options) {
  std::vector<SampleMixture> mixtures;
  const Json document = load_document(command, options, &mixtures);
  return load_model(command, options, document, std::move(mixtures));
}

LoadedModel load_model(Command& command, const ModelArguments& options, const Json& document,
                       std::vector<SampleMixture> mixtures) {
  if (!mixtures.empty() && options.histosys_code == "code2") {
    throw Error(ErrorKind::usage, "code2 jumps at +-1, where mixtures go on straight",
                "--histosys-code");
  }
  const Workspace workspace = checked_workspace(command, document);
  ModelSpec spec = load_spec(command, workspace, model_options(options));
  apply_point(options, read_parameters(command, options), spec);
  const std::string measurement = find_measurement(workspace, options.measurement).name;
  std::vector<double> data = spec.data();
  LoadedModel loaded{measurement, Model(std::move(spec)), std::move(data)};
  loaded.mixtures = std::move(mixtures);
  make_data(options, loaded);
  return loaded;
}

std::vector<std::string> parameter_names(const ModelSpec& spec) {
  std::vector<std::string> names;
  names.reserve(spec.parameters.size());
  for (const Parameter& parameter : spec.parameters) names.push_back(parameter.name);
  return names;
}

std::size_t find_parameter(const ModelSpec& spec, const std::string& name,
                           const std::string& where) {
  if (const auto index = spec.find(name)) return *index;
  for (const ParameterSet& set : spec.sets) {
    if (set.name != name) continue;
    throw Error(
        ErrorKind::usage,
        fmt::format("'{0}' is a vector of {1} parameters; name one as '{0}[0]'", name, set.size),
        where);
  }
  throw Error(
      ErrorKind::usage,
      fmt::format("there is no parameter '{}'{}", name, did_you_mean(name, parameter_names(spec))),
      where);
}

std::size_t require_poi(const ModelSpec& spec) {
  if (spec.poi) return *spec.poi;
  throw Error(ErrorKind::model, "the model has no parameter of interest; name one with --poi",
              "--poi");
}

std::size_t floating_parameter(const ModelSpec& spec, const std::string& name) {
  const std::size_t index =
      name.empty() ? require_poi(spec) : find_parameter(spec, name, "--parameter");
  if (!spec.parameters[index].fixed) return index;
  throw Error(ErrorKind::usage,
              fmt::format("parameter '{0}' is fixed; let it float with --float {0}",
                          spec.parameters[index].name),
              name.empty() ? "--poi" : "--parameter");
}

Fitter make_fitter(const LoadedModel& loaded) {
  Fitter fitter(loaded.model);
  fitter.set_data(loaded.data);
  return fitter;
}

std::size_t threads_of(const ModelArguments& options) {
  return static_cast<std::size_t>(options.threads.value_or(0));
}

}  // namespace slalom::cli
