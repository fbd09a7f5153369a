// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom interval`.
#include <algorithm>
#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/csv.hpp"
#include "cli/levels.hpp"
#include "cli/model_arguments.hpp"
#include "cli/result.hpp"
#include "cli/text.hpp"
#include "slalom/core/hypotest.hpp"
#include "slalom/core/interval.hpp"
#include "slalom/workflows/cli.hpp"

namespace slalom::cli {

namespace {

struct IntervalArguments : ModelArguments {
  std::string parameter;
  std::vector<std::string> levels;
  std::string statistic = "t";
};

/// Intervals of one parameter.
struct Intervals {
  std::string parameter;
  FitResult best;
  double value = 0.0, error = 0.0;
  std::vector<double> levels;
  std::vector<Interval> intervals;  ///< one per level
};

std::size_t parameter_of(const IntervalArguments& options, const ModelSpec& spec) {
  const std::size_t index = floating_parameter(spec, options.parameter);
  if (options.statistic == "ttilde" && spec.poi != index) {
    throw Error(ErrorKind::usage,
                fmt::format("ttilde is for the parameter of interest; choose '{}' with --poi",
                            spec.parameters[index].name),
                "--test-stat");
  }
  return index;
}

Intervals find_intervals(Command& command, const LoadedModel& loaded, std::size_t parameter,
                         const std::vector<double>& levels, const std::string& statistic) {
  Fitter fitter = make_fitter(loaded);
  Intervals result;
  result.parameter = loaded.spec().parameters[parameter].name;
  result.levels = levels;
  if (statistic == "ttilde") {
    AsymptoticCalculator calculator(fitter, {}, TestStatistic::ttilde);
    for (double level : levels) result.intervals.push_back(calculator.interval(level));
    result.best = calculator.best();
    const std::string advice =
        statistic_mismatch(TestStatistic::ttilde, loaded.spec().parameters[parameter]);
    if (!advice.empty()) command.note({advice, "--test-stat"});
  } else {
    result.best = fitter.fit();
    // The widest first: if its profile leads to a lower minimum, all are around that one.
    double lowest = 0.0;
    do {
      lowest = result.best.twice_nll;
      result.intervals.clear();
      for (auto level = levels.rbegin(); level != levels.rend(); ++level) {
        result.intervals.insert(
            result.intervals.begin(),
            profile_interval(fitter, result.best, parameter, {}, rise_at_level(*level, 1)));
      }
    } while (result.best.twice_nll < lowest);
  }
  result.value = result.best.parameters[parameter];
  result.error = fitter.errors(result.best)[parameter];
  return result;
}

bool converged(const Interval& interval) {
  return interval.lower.converged && interval.upper.converged;
}

bool all_converged(const Intervals& result) {
  return result.best.converged() &&
         std::all_of(result.intervals.begin(), result.intervals.end(), converged);
}

void warn_about(Command& command, const Intervals& result) {
  if (!result.best.converged()) command.note({result.best.message, "fit"});
  for (const Interval& interval : result.intervals) {
    for (const IntervalSide* side : {&interval.lower, &interval.upper}) {
      if (!side->converged && result.best.converged()) {
        command.note({side->message, result.parameter});
      }
    }
  }
}

OrderedJson interval_json(const Interval& interval, double level, const std::string& statistic) {
  OrderedJson result;
  append(result, "level", level);
  if (statistic == "t") append(result, "delta_twice_nll", rise_at_level(level, 1));
  append(result, "lower", finite(interval.lower.value, "lower"));
  append(result, "upper", finite(interval.upper.value, "upper"));
  append(result, "lower_at_bound", interval.lower.at_bound);
  append(result, "upper_at_bound", interval.upper.at_bound);
  append(result, "converged", converged(interval));
  return result;
}

OrderedJson intervals_json(const Intervals& result, const std::string& statistic,
                           const std::string& measurement) {
  OrderedJson document, best, list = OrderedJson::array();
  append(best, "value", finite(result.value, "best"));
  append(best, "error", finite(result.error, "error"));
  append(best, "twice_nll", finite(result.best.twice_nll, "twice_nll"));
  append(best, "converged", result.best.converged());
  for (std::size_t i = 0; i < result.levels.size(); ++i) {
    list.push_back(interval_json(result.intervals[i], result.levels[i], statistic));
  }
  append(document, "parameter", result.parameter);
  append(document, "test_stat", statistic);
  append(document, "best", std::move(best));
  append(document, "intervals", std::move(list));
  append(document, "converged", all_converged(result));
  append(document, "measurement", measurement);
  return document;
}

std::string intervals_csv(const Intervals& result) {
  Csv csv({"parameter", "level", "best", "lower", "upper", "lower_at_bound", "upper_at_bound",
           "converged"});
  for (std::size_t i = 0; i < result.levels.size(); ++i) {
    const Interval& interval = result.intervals[i];
    csv.row({csv_cell(result.parameter), csv_cell(result.levels[i]), csv_cell(result.value),
             csv_cell(interval.lower.value), csv_cell(interval.upper.value),
             csv_flag(interval.lower.at_bound), csv_flag(interval.upper.at_bound),
             csv_flag(converged(interval))});
  }
  return csv.str();
}

std::string end_of(const IntervalSide& side) {
  return brief(side.value) + (side.at_bound ? " (bound)" : "") +
         (side.converged ? "" : " NOT CONVERGED");
}

std::string intervals_text(const Intervals& result, const std::string& statistic) {
  Table table("lrr");
  table.row({"level", "lower", "upper"});
  for (std::size_t i = 0; i < result.levels.size(); ++i) {
    table.row({percent(result.levels[i]), end_of(result.intervals[i].lower),
               end_of(result.intervals[i].upper)});
  }
  const std::string error = result.error > 0.0 ? fmt::format(" +- {}", brief(result.error, 4))
                                               : std::string(" (at a bound)");
  return fmt::format("  {} = {}{}, intervals of {}, asymptotic\n\n{}", result.parameter,
                     brief(result.value), error, statistic, table.str());
}

}  // namespace

int run_interval(Command& command) {
  IntervalArguments arguments;
  declare_model(command, arguments);
  declare_point(command, arguments);
  declare_data(command, arguments);
  command.arguments.group("Interval");
  command.arguments.text("--parameter", arguments.parameter, "NAME",
                         "Parameter; default is the parameter of interest");
  declare_levels(command, arguments.levels);
  command.arguments.choice("--test-stat", arguments.statistic, {"t", "ttilde"},
                           "t, the rise of the profile of -2 log L; ttilde knows that the best fit "
                           "cannot be below 0");
  command.declare_csv();
  command.arguments.example("slalom interval workspace.json --level 0.68 --level 0.95");
  if (!command.parse()) return exit_success;
  const std::vector<double> levels = parse_levels(arguments.levels);
  const LoadedModel loaded = load_model(command, arguments);
  const std::size_t parameter = parameter_of(arguments, loaded.spec());
  const Intervals result = find_intervals(command, loaded, parameter, levels, arguments.statistic);
  warn_about(command, result);
  if (command.wants_json()) {
    command.answer(intervals_json(result, arguments.statistic, loaded.measurement));
  } else if (command.wants_csv()) {
    command.answer(intervals_csv(result));
  } else {
    command.answer(intervals_text(result, arguments.statistic));
  }
  return all_converged(result) ? exit_success : exit_not_converged;
}

}  // namespace slalom::cli
