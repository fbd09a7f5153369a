// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom feldman-cousins`.
#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/text.hpp"
#include "cli/toy_arguments.hpp"
#include "slalom/core/feldman_cousins.hpp"
#include "slalom/workflows/cli.hpp"

namespace slalom::cli {

namespace {

constexpr long k_default_toys = 20000;

struct IntervalArguments : ModelArguments {
  ToyArguments toys;
  std::string parameter;
  std::optional<double> confidence;
  std::optional<double> tolerance;
};

void declare_interval(Command& command, IntervalArguments& options) {
  declare_model(command, options);
  declare_point(command, options);
  declare_data(command, options);
  Arguments& arguments = command.arguments;
  arguments.group("Interval");
  arguments.text("--parameter", options.parameter, "NAME",
                 "Parameter; default is the parameter of interest");
  arguments.number("--confidence", options.confidence, "LEVEL", "Confidence level; default 0.95");
  arguments.number("--tolerance", options.tolerance, "T",
                   "Uncertainty wanted for each end, in standard deviations; default 0.1");
  declare_toys(command, options.toys,
               fmt::format("Most toys for one value of the parameter; default {}", k_default_toys));
}

OrderedJson point_json(const FeldmanCousinsPoint& point) {
  OrderedJson result;
  append(result, "value", finite(point.value, "points"));
  append(result, "t", finite(point.statistic, "points"));
  append(result, "p_value", point.p_value.value);
  append(result, "p_value_error", point.p_value.error);
  append(result, "toys", counts_json(point.toys));
  return result;
}

OrderedJson interval_json(const FeldmanCousinsInterval& interval, const std::string& parameter) {
  OrderedJson result;
  append(result, "parameter", parameter);
  append(result, "confidence", interval.confidence);
  append(result, "best_fit", finite(interval.best_fit, "best_fit"));
  for (const auto& [name, end] :
       {std::pair{std::string("lower"), &interval.lower}, {"upper", &interval.upper}}) {
    append(result, name, finite(end->value, name));
    append(result, name + "_error", finite(end->error, name));
    append(result, name + "_at_bound", end->at_bound);
    append(result, name + "_converged", end->converged);
  }
  append(result, "toys", counts_json(interval.toys));
  OrderedJson points = OrderedJson::array();
  for (const FeldmanCousinsPoint& point : interval.points) points.push_back(point_json(point));
  append(result, "points", std::move(points));
  return result;
}

std::string end_text(const FeldmanCousinsEnd& end) {
  if (end.at_bound) return brief(end.value) + " (bound)";
  return fmt::format("{} +- {}{}", brief(end.value, 4), brief(end.error, 2),
                     end.converged ? "" : " NOT CONVERGED");
}

std::string interval_text(const FeldmanCousinsInterval& interval, const std::string& name) {
  Table table("lr");
  table.row({"best fit", brief(interval.best_fit)});
  table.row({"lower end", end_text(interval.lower)});
  table.row({"upper end", end_text(interval.upper)});
  table.row({"toys", fmt::format("{} at {}, {} failed", interval.toys.done,
                                 count(interval.points.size(), "value"), interval.toys.failed)});
  return fmt::format("  {} % interval of {}, Feldman-Cousins\n\n{}",
                     brief(100.0 * interval.confidence), name, table.str());
}

void check(const FeldmanCousinsOptions& options) {
  if (!(options.confidence > 0.0 && options.confidence < 1.0)) {
    throw Error(ErrorKind::usage, "must lie between 0 and 1", "--confidence");
  }
  if (!(options.tolerance > 0.0)) throw Error(ErrorKind::usage, "must be positive", "--tolerance");
}

}  // namespace

int run_feldman_cousins(Command& command) {
  IntervalArguments arguments;
  declare_interval(command, arguments);
  command.arguments.example("slalom feldman-cousins workspace.json --confidence 0.9");
  if (!command.parse()) return exit_success;
  const LoadedModel loaded = load_model(command, arguments);
  const std::size_t parameter =
      arguments.parameter.empty()
          ? require_poi(loaded.spec())
          : find_parameter(loaded.spec(), arguments.parameter, "--parameter");
  FeldmanCousinsOptions options;
  options.confidence = arguments.confidence.value_or(options.confidence);
  options.tolerance = arguments.tolerance.value_or(options.tolerance);
  check(options);
  const auto n = static_cast<std::size_t>(arguments.toys.toys.value_or(k_default_toys));
  ToyRun run(command, arguments.toys, arguments, loaded, n, 0);
  Fitter fitter = make_fitter(loaded);
  const FeldmanCousinsInterval interval =
      feldman_cousins(fitter, parameter, options, run.options());
  const std::string& name = loaded.spec().parameters[parameter].name;
  const int code = run.finish(command, !interval.interrupted, interval.converged, interval.message);
  if (command.wants_json()) {
    OrderedJson result = interval_json(interval, name);
    run.append_to(result);
    append(result, "converged", interval.converged);
    append(result, "measurement", loaded.measurement);
    command.answer(std::move(result));
  } else {
    command.answer(interval_text(interval, name));
  }
  return code;
}

}  // namespace slalom::cli
