// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom inspect` and `slalom validate`.
#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <set>

#include "cli/command.hpp"
#include "cli/experiment_verbs.hpp"
#include "cli/model_arguments.hpp"
#include "cli/result.hpp"
#include "cli/text.hpp"
#include "slalom/workflows/cli.hpp"

namespace slalom::cli {

namespace {

/// What `inspect` tells about one workspace.
struct Inspection {
  Workspace workspace;
  ModelSpec spec;
  const Measurement* measurement;
};

const char* name_of(ConstraintType type) {
  switch (type) {
    case ConstraintType::none:
      return "none";
    case ConstraintType::gaussian:
      return "gaussian";
    case ConstraintType::poisson:
      return "poisson";
  }
  return "none";
}

/// A parameter of interest that is not there is no reason not to look at the rest.
ModelSpec spec_for_inspection(Command& command, const Workspace& workspace,
                              const ModelArguments& arguments) {
  ModelOptions options = model_options(arguments);
  try {
    return load_spec(command, workspace, options);
  } catch (const Error& error) {
    if (options.poi || !error.where().ends_with("/config/poi")) throw;
    command.warn({error.message(), error.where()}, ErrorKind::model);
  }
  options.poi = "";
  return load_spec(command, workspace, options);
}

/// Names and types of all modifiers, sorted as pyhf does.
std::set<std::pair<std::string, std::string>> modifiers_of(const Workspace& workspace) {
  std::set<std::pair<std::string, std::string>> modifiers;
  for (const Channel& channel : workspace.channels) {
    for (const Sample& sample : channel.samples) {
      for (const Modifier& modifier : sample.modifiers) {
        modifiers.emplace(modifier.name, to_string(modifier.type));
      }
    }
  }
  return modifiers;
}

std::vector<std::string> sample_names(const ChannelSpec& channel) {
  std::vector<std::string> names;
  for (const SampleSpec& sample : channel.samples) names.push_back(sample.name);
  return names;
}

std::set<std::string> all_sample_names(const ModelSpec& spec) {
  std::set<std::string> names;
  for (const ChannelSpec& channel : spec.channels) {
    for (const SampleSpec& sample : channel.samples) names.insert(sample.name);
  }
  return names;
}

OrderedJson parameters_json(const ModelSpec& spec) {
  OrderedJson list = OrderedJson::array();
  for (const Parameter& parameter : spec.parameters) {
    list.push_back({{"name", parameter.name},
                    {"init", parameter.init},
                    {"bounds", {parameter.lower, parameter.upper}},
                    {"fixed", parameter.fixed},
                    {"constraint", name_of(parameter.constraint)}});
    if (parameter.constraint != ConstraintType::none) {
      list.back()["auxdata"] = parameter.auxdata;
      list.back()["prefit_uncertainty"] = parameter.prefit_uncertainty();
    }
  }
  return list;
}

OrderedJson channels_json(const ModelSpec& spec) {
  OrderedJson list = OrderedJson::array();
  for (const ChannelSpec& channel : spec.channels) {
    list.push_back(
        {{"name", channel.name}, {"n_bins", channel.n_bins}, {"samples", sample_names(channel)}});
  }
  return list;
}

OrderedJson measurements_json(const Workspace& workspace) {
  OrderedJson list = OrderedJson::array();
  for (const Measurement& measurement : workspace.measurements) {
    OrderedJson configured = OrderedJson::array();
    for (const ParameterConfig& config : measurement.parameters) configured.push_back(config.name);
    list.push_back({{"name", measurement.name},
                    {"poi", measurement.poi},
                    {"configured_parameters", configured}});
  }
  return list;
}

OrderedJson systematics_json(const Inspection& inspection) {
  std::map<std::string, std::vector<std::string>> types;
  for (const auto& [name, type] : modifiers_of(inspection.workspace)) types[name].push_back(type);
  OrderedJson list = OrderedJson::array();
  for (const ParameterSet& set : inspection.spec.sets) {
    const Parameter& first = inspection.spec.parameters[set.first];
    list.push_back({{"name", set.name},
                    {"types", types[set.name]},
                    {"constraint", name_of(first.constraint)},
                    {"n_parameters", set.size}});
  }
  return list;
}

OrderedJson modifiers_json(const Workspace& workspace) {
  OrderedJson list = OrderedJson::array();
  for (const auto& [name, type] : modifiers_of(workspace)) {
    list.push_back({{"name", name}, {"type", type}});
  }
  return list;
}

OrderedJson inspection_json(const Inspection& inspection) {
  const ModelSpec& spec = inspection.spec;
  OrderedJson result;
  result["measurement"] = inspection.measurement->name;
  result["poi"] = spec.poi ? OrderedJson(spec.parameters[*spec.poi].name) : OrderedJson(nullptr);
  result["n_channels"] = spec.channels.size();
  result["n_bins"] = spec.n_bins();
  result["n_parameters"] = spec.parameters.size();
  result["n_auxiliary"] = spec.auxiliary.size();
  result["channels"] = channels_json(spec);
  result["samples"] = all_sample_names(spec);
  result["parameters"] = parameters_json(spec);
  result["modifiers"] = modifiers_json(inspection.workspace);
  result["systematics"] = systematics_json(inspection);
  result["measurements"] = measurements_json(inspection.workspace);
  return result;
}

double total(const std::vector<double>& values, std::size_t first, std::size_t n) {
  double sum = 0.0;
  for (std::size_t i = 0; i < n; ++i) sum += values[first + i];
  return sum;
}

std::string channels_table(const ModelSpec& spec) {
  Table table("lrrl");
  table.row({"channel", "bins", "observed", "samples"});
  for (const ChannelSpec& channel : spec.channels) {
    table.row({shorten(channel.name, 36), std::to_string(channel.n_bins),
               brief(total(spec.observed, channel.first_bin, channel.n_bins)),
               shorten(listing(sample_names(channel), 5), 40)});
  }
  return table.str();
}

/// One line per parameter set: vectors would hide the rest.
std::string parameters_table(const Inspection& inspection) {
  const ModelSpec& spec = inspection.spec;
  std::map<std::string, std::string> types;
  for (const auto& [name, type] : modifiers_of(inspection.workspace)) {
    types[name] += (types[name].empty() ? "" : ", ") + type;
  }
  Table table("llrrlll");
  table.row({"parameter", "modifier", "n", "init", "bounds", "constraint", ""});
  for (const ParameterSet& set : spec.sets) {
    const Parameter& first = spec.parameters[set.first];
    std::size_t fixed = 0;
    for (std::size_t i = 0; i < set.size; ++i) fixed += spec.parameters[set.first + i].fixed;
    std::string note = spec.poi == set.first ? "POI" : "";
    if (fixed == set.size) note += note.empty() ? "fixed" : ", fixed";
    if (fixed > 0 && fixed < set.size) note = fmt::format("{} fixed", fixed);
    table.row({shorten(set.name, 36), types[set.name], std::to_string(set.size), brief(first.init),
               fmt::format("[{}, {}]", brief(first.lower), brief(first.upper)),
               name_of(first.constraint), note});
  }
  return table.str();
}

std::string measurements_table(const Inspection& inspection) {
  Table table("lll");
  table.row({"measurement", "POI", "configures"});
  for (const Measurement& measurement : inspection.workspace.measurements) {
    std::vector<std::string> configured;
    for (const ParameterConfig& config : measurement.parameters) configured.push_back(config.name);
    const bool used = &measurement == inspection.measurement;
    table.row({measurement.name + (used ? " (shown)" : ""),
               measurement.poi.empty() ? "-" : measurement.poi, shorten(listing(configured), 50)});
  }
  return table.str();
}

std::string inspection_text(const Inspection& inspection) {
  const ModelSpec& spec = inspection.spec;
  return fmt::format("{}, {}, {}, {}, {}\n\n{}\n{}\n{}", count(spec.channels.size(), "channel"),
                     count(spec.n_bins(), "bin"), count(all_sample_names(spec).size(), "sample"),
                     count(spec.parameters.size(), "parameter"),
                     count(inspection.workspace.measurements.size(), "measurement"),
                     channels_table(spec), parameters_table(inspection),
                     measurements_table(inspection));
}

}  // namespace

int run_inspect(Command& command) {
  ModelArguments arguments;
  declare_model(command, arguments);
  command.arguments.example("slalom inspect workspace.json");
  if (!command.parse()) return exit_success;
  Inspection inspection{load_workspace(command, arguments), {}, nullptr};
  inspection.spec = spec_for_inspection(command, inspection.workspace, arguments);
  inspection.measurement = &find_measurement(inspection.workspace, arguments.measurement);
  if (command.wants_json()) {
    command.answer(inspection_json(inspection));
  } else {
    command.answer(inspection_text(inspection));
  }
  return exit_success;
}

int run_validate(Command& command) {
  ModelArguments arguments;
  declare_model(command, arguments);
  command.arguments.example("slalom validate workspace.json");
  if (!command.parse()) return exit_success;
  if (arguments.workspace != "-" && looks_like_experiment(command.read(arguments.workspace))) {
    if (experiment_verbs().run == nullptr) start_companion(command, "validate");
    RunArguments check;
    check.document = arguments.workspace;
    check.check = true;
    return experiment_verbs().run(command, check);
  }
  const Workspace workspace = load_workspace(command, arguments);
  ModelOptions options = model_options(arguments);
  OrderedJson checked = OrderedJson::array();
  for (const Measurement& measurement : workspace.measurements) {
    if (!arguments.measurement.empty() && measurement.name != arguments.measurement) continue;
    options.measurement = measurement.name;
    const Model model(load_spec(command, workspace, options));
    checked.push_back(measurement.name);
  }
  if (checked.empty()) find_measurement(workspace, arguments.measurement);
  if (command.wants_json()) {
    command.answer(OrderedJson{{"valid", true}, {"measurements", checked}});
    return exit_success;
  }
  const std::string found =
      command.warnings.empty() ? "" : ", " + count(command.warnings.size(), "warning");
  command.answer(fmt::format("valid: {}{}\n", count(checked.size(), "measurement"), found));
  return exit_success;
}

}  // namespace slalom::cli
