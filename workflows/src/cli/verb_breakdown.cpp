// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom breakdown`.
#include <cmath>
#include <fmt/format.h>
#include <set>

#include "cli/command.hpp"
#include "cli/csv.hpp"
#include "cli/model_arguments.hpp"
#include "cli/parameter_groups.hpp"
#include "cli/result.hpp"
#include "cli/text.hpp"
#include "slalom/core/impacts.hpp"
#include "slalom/workflows/cli.hpp"

namespace slalom::cli {

namespace {

constexpr std::size_t k_name_width = 34;

struct BreakdownArguments : ModelArguments {
  std::string parameter;
  std::vector<std::string> groups;
};

void declare_breakdown(Command& command, BreakdownArguments& options) {
  declare_model(command, options);
  declare_point(command, options);
  declare_data(command, options);
  Arguments& arguments = command.arguments;
  arguments.group("Breakdown");
  arguments.text(
      "--parameter", options.parameter, "NAME",
      "Parameter whose uncertainty is broken down; default is the parameter of interest");
  arguments.texts("--group", options.groups, "NAME=PATTERN[,PATTERN]",
                  "A group of the parameters that match; repeatable, all others are in 'other'; "
                  "default is groups by the type of the modifier");
  command.declare_csv();
}

/// Everything that is printed.
struct Breakdown {
  const LoadedModel& loaded;
  std::size_t target;
  const FitResult& best;
  const std::vector<ParameterGroup>& groups;
  const UncertaintyBreakdown& parts;

  const std::string& name() const { return loaded.spec().parameters[target].name; }
  double value() const { return best.parameters[target]; }
};

std::vector<std::string> names_of(const Breakdown& breakdown, const ParameterGroup& group) {
  std::vector<std::string> names;
  for (const std::size_t i : group.parameters) {
    names.push_back(breakdown.loaded.spec().parameters[i].name);
  }
  return names;
}

OrderedJson groups_json(const Breakdown& breakdown) {
  OrderedJson array = OrderedJson::array();
  for (std::size_t g = 0; g < breakdown.groups.size(); ++g) {
    const GroupContribution& part = breakdown.parts.groups[g];
    OrderedJson object;
    append(object, "name", part.name);
    append(object, "contribution", finite(part.contribution, part.name));
    append(object, "cumulative", finite(part.cumulative, part.name));
    append(object, "global", finite(part.global, part.name));
    append(object, "frozen_error", finite(part.frozen_error, part.name));
    append(object, "parameters", names_of(breakdown, breakdown.groups[g]));
    array.push_back(std::move(object));
  }
  return array;
}

OrderedJson breakdown_json(const Breakdown& breakdown) {
  const UncertaintyBreakdown& parts = breakdown.parts;
  OrderedJson result;
  append(result, "parameter", breakdown.name());
  append(result, "value", finite(breakdown.value(), "value"));
  append(result, "error", finite(parts.total, "error"));
  append(result, "statistical", finite(parts.statistical, "statistical"));
  append(result, "systematic", finite(parts.systematic, "systematic"));
  append(result, "rest", finite(parts.rest, "rest"));
  append(result, "global_data", finite(parts.data, "global_data"));
  append(result, "groups", groups_json(breakdown));
  append(result, "valid", parts.valid);
  append(result, "converged", breakdown.best.converged());
  append(result, "measurement", breakdown.loaded.measurement);
  return result;
}

std::string breakdown_csv(const Breakdown& breakdown) {
  const UncertaintyBreakdown& parts = breakdown.parts;
  Csv csv({"name", "parameters", "contribution", "cumulative", "global", "frozen_error"});
  for (std::size_t g = 0; g < parts.groups.size(); ++g) {
    const GroupContribution& part = parts.groups[g];
    csv.row({csv_cell(part.name), std::to_string(breakdown.groups[g].parameters.size()),
             csv_cell(part.contribution), csv_cell(part.cumulative), csv_cell(part.global),
             csv_cell(part.frozen_error)});
  }
  csv.row({"statistical", "", csv_cell(parts.statistical), csv_cell(parts.rest),
           csv_cell(parts.data), ""});
  csv.row({"total", "", csv_cell(parts.total), csv_cell(parts.total), csv_cell(parts.total), ""});
  return csv.str();
}

std::string breakdown_text(const Breakdown& breakdown) {
  const UncertaintyBreakdown& parts = breakdown.parts;
  const int decimals = decimals_for(parts.total) + 1;
  const auto number = [&](double value) { return fixed_point(value, decimals); };
  std::string text = fmt::format("  {} = {} +- {}\n\n", breakdown.name(),
                                 fixed_point(breakdown.value(), decimals - 1),
                                 fixed_point(parts.total, decimals - 1));
  Table table("lrrrr");
  table.row({"group", "parameters", "alone", "cumulative", "global"});
  for (std::size_t g = 0; g < parts.groups.size(); ++g) {
    const GroupContribution& part = parts.groups[g];
    table.row({shorten(part.name, k_name_width),
               std::to_string(breakdown.groups[g].parameters.size()), number(part.contribution),
               number(part.cumulative), number(part.global)});
  }
  table.row({"statistical", "", number(parts.statistical), number(parts.rest), number(parts.data)});
  table.row({"total", "", number(parts.total), number(parts.total), number(parts.total)});
  return text + table.str() +
         "\n  alone: this group held, quadratic difference to the total; does not add up\n"
         "  cumulative: held after the groups above it; adds up in quadrature\n"
         "  global: fluctuations of its auxiliary measurements; adds up in quadrature\n"
         "  statistical: all constrained parameters held; all groups held; the main data\n";
}

/// A parameter in two groups would be counted twice.
void warn_about_overlap(Command& command, const ModelSpec& spec,
                        const std::vector<ParameterGroup>& groups) {
  std::set<std::size_t> seen;
  for (const ParameterGroup& group : groups) {
    if (group.parameters.empty()) {
      command.note({"all its parameters are held: it contributes nothing", group.name});
    }
    for (const std::size_t i : group.parameters) {
      if (seen.insert(i).second) continue;
      command.note({fmt::format("parameter '{}' is in an earlier group as well: global "
                                "contributions do not add up",
                                spec.parameters[i].name),
                    group.name});
      break;
    }
  }
}

}  // namespace

int run_breakdown(Command& command) {
  BreakdownArguments arguments;
  declare_breakdown(command, arguments);
  command.arguments.example("slalom breakdown workspace.json --group 'jets=jes_*,jer_*'");
  if (!command.parse()) return exit_success;
  const LoadedModel loaded = load_model(command, arguments);
  const ModelSpec& spec = loaded.spec();
  const std::size_t target = floating_parameter(spec, arguments.parameter);
  std::vector<bool> floating;
  for (const Parameter& parameter : spec.parameters) floating.push_back(!parameter.fixed);
  const auto groups = arguments.groups.empty()
                          ? groups_by_type(spec, floating, target)
                          : named_groups(spec, floating, target, arguments.groups);
  warn_about_overlap(command, spec, groups);
  Fitter fitter = make_fitter(loaded);
  const FitResult best = fitter.fit();
  const UncertaintyBreakdown parts = uncertainty_breakdown(fitter, best, target, groups);
  if (!parts.valid) command.note({"no breakdown: " + parts.message, spec.parameters[target].name});
  const Breakdown breakdown{loaded, target, best, groups, parts};
  if (command.wants_json()) {
    command.answer(breakdown_json(breakdown));
  } else if (command.wants_csv()) {
    command.answer(breakdown_csv(breakdown));
  } else {
    command.answer(breakdown_text(breakdown));
  }
  if (!best.converged()) return exit_not_converged;
  return parts.valid ? exit_success : exit_failure;
}

}  // namespace slalom::cli
