// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom scan`.
#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/csv.hpp"
#include "cli/model_arguments.hpp"
#include "cli/other_formats.hpp"
#include "cli/plot_arguments.hpp"
#include "cli/result.hpp"
#include "cli/scan_points.hpp"
#include "cli/text.hpp"
#include "slalom/core/interval.hpp"
#include "slalom/workflows/cli.hpp"
#include "slalom/workflows/scan_plot.hpp"

namespace slalom::cli {

namespace {

constexpr long k_default_points = 21;
/// Standard deviations on each side of the best fit that a scan covers by default.
constexpr double k_default_reach = 2.0;

struct ScanArguments : ModelArguments {
  std::string parameter;
  std::optional<std::array<double, 2>> range;
  std::optional<long> points;
  std::vector<double> values;
  PlotArguments plot;
  bool parabola = false;
};

void declare_scan(Command& command, ScanArguments& options) {
  declare_model(command, options);
  declare_point(command, options);
  declare_data(command, options);
  Arguments& arguments = command.arguments;
  arguments.group("Scan");
  arguments.text("--parameter", options.parameter, "NAME",
                 "Parameter to scan; default is the parameter of interest");
  arguments.range("--range", options.range,
                  "Ends of the scan; default is 2 sigma on both sides, within the bounds");
  arguments.integer("--points", options.points, 2, "N",
                    fmt::format("Number of points; default {}", k_default_points));
  arguments.numbers("--values", options.values, "VALUE",
                    "The points, in place of range and number");
  declare_plot(command, options.plot, "the profile, with lines at 1 and 2 sigma,");
  arguments.flag("--parabola", options.parabola, "Draw the parabola of the Hessian as well");
  command.declare_csv();
  command.declare_format({"combine"});
}

void check_consistent(const ScanArguments& options) {
  if (!options.values.empty() && (options.range || options.points)) {
    throw Error(ErrorKind::usage, "cannot be used together with --range or --points", "--values");
  }
  if (options.range && !((*options.range)[0] < (*options.range)[1])) {
    throw Error(ErrorKind::usage, "LOW must be below HIGH", "--range");
  }
}

void check_within_bounds(const Parameter& parameter, const std::vector<double>& values,
                         const std::string& where) {
  for (const double value : values) {
    if (value >= parameter.lower && value <= parameter.upper) continue;
    throw Error(ErrorKind::usage,
                fmt::format("{} is outside the bounds [{}, {}] of parameter '{}'", exact(value),
                            exact(parameter.lower), exact(parameter.upper), parameter.name),
                where);
  }
}

std::vector<double> scan_values(const ScanArguments& options, Fitter& fitter, const FitResult& best,
                                std::size_t parameter) {
  const Parameter& declared = fitter.model().spec().parameters[parameter];
  if (!options.values.empty()) {
    check_within_bounds(declared, options.values, "--values");
    return options.values;
  }
  if (options.range) {
    check_within_bounds(declared, {options.range->begin(), options.range->end()}, "--range");
  }
  const std::array<double, 2> range =
      options.range ? *options.range : scan_range(fitter, best, parameter, k_default_reach);
  return evenly(range, options.points.value_or(k_default_points));
}

/// The profile with the interval at one standard deviation, if it can be had.
Picture scan_picture(Fitter& fitter, const Scan& scan, const PlotStyle& style, bool parabola) {
  ScanPlot plot = scan_plot(fitter.model().spec(), scan);
  if (scan.best.converged()) {
    const double error = fitter.errors(scan.best)[scan.parameter];
    if (parabola && error > 0.0) plot.error = error;
    const Interval interval = minos(fitter, scan.best, scan.parameter);
    if (interval.lower.converged && interval.upper.converged) {
      plot.interval = {interval.lower.value, interval.upper.value};
    }
  }
  return picture(plot, style);
}

bool all_converged(const Scan& scan) {
  return scan.best.converged() && std::all_of(scan.fits.begin(), scan.fits.end(),
                                              [](const FitResult& fit) { return fit.converged(); });
}

OrderedJson scan_json(const Scan& scan, const ModelSpec& spec, const std::string& measurement) {
  OrderedJson converged = OrderedJson::array();
  for (const FitResult& fit : scan.fits) converged.push_back(fit.converged());
  OrderedJson result;
  append(result, "parameter", spec.parameters[scan.parameter].name);
  append(result, "values", number_array(scan.values, "values"));
  append(result, "delta_twice_nll", number_array(scan.delta_twice_nll, "delta_twice_nll"));
  append(result, "converged", std::move(converged));
  OrderedJson best;
  append(best, "value", finite(scan.best.parameters[scan.parameter], "best"));
  append(best, "twice_nll", finite(scan.best.twice_nll, "best"));
  append(best, "converged", scan.best.converged());
  append(result, "best", std::move(best));
  append(result, "measurement", measurement);
  return result;
}

/// The intervals of the profile at 1 and 2 standard deviations.
OrderedJson combine_json(Fitter& fitter, const Scan& scan) {
  constexpr double k_two_sigma = 4.0;
  const Interval one = minos(fitter, scan.best, scan.parameter);
  const Interval two = minos(fitter, scan.best, scan.parameter, {}, k_two_sigma);
  OrderedJson document;
  append(document, fitter.model().spec().parameters[scan.parameter].name,
         combine_interval(scan.best.parameters[scan.parameter], one, &two));
  return document;
}

std::string scan_csv(const Scan& scan, const ModelSpec& spec) {
  Csv csv({"parameter", "value", "delta_twice_nll", "converged"});
  const std::string name = csv_cell(spec.parameters[scan.parameter].name);
  for (std::size_t i = 0; i < scan.values.size(); ++i) {
    csv.row({name, csv_cell(scan.values[i]), csv_cell(scan.delta_twice_nll[i]),
             csv_flag(scan.fits[i].converged())});
  }
  return csv.str();
}

/// One character per quarter of a unit, up to 2.5 standard deviations.
std::string bar_of(double delta) {
  constexpr double k_per_unit = 6.0;
  constexpr double k_longest = 54.0;
  const double length = std::round(k_per_unit * delta);
  if (!(length <= k_longest)) return std::string(static_cast<std::size_t>(k_longest), '#') + ">";
  return std::string(static_cast<std::size_t>(std::max(length, 0.0)), '#');
}

std::string scan_text(const Scan& scan, const ModelSpec& spec) {
  const std::string& name = spec.parameters[scan.parameter].name;
  Table table("rrll");
  table.row({shorten(name, 20), "2 Delta NLL", ""});
  for (std::size_t i = 0; i < scan.values.size(); ++i) {
    std::string mark = bar_of(scan.delta_twice_nll[i]);
    if (!scan.fits[i].converged()) mark += " NOT CONVERGED";
    table.row({brief(scan.values[i]), fixed_point(scan.delta_twice_nll[i], 6), mark});
  }
  return fmt::format("  best fit: {} = {}, -2 log L = {:.9g}\n\n{}", name,
                     brief(scan.best.parameters[scan.parameter]), scan.best.twice_nll, table.str());
}

void warn_about(Command& command, const Scan& scan, const FitResult& free_fit,
                const std::string& name) {
  for (std::size_t i = 0; i < scan.fits.size(); ++i) {
    if (scan.fits[i].converged()) continue;
    command.note({fmt::format("the fit at {} did not converge: {}", exact(scan.values[i]),
                              scan.fits[i].message),
                  name});
  }
  constexpr double k_clearly = 1e-6;
  if (scan.best.twice_nll < free_fit.twice_nll - k_clearly) {
    command.note({fmt::format("the scan found a minimum that is lower by {} than that of the free "
                              "fit; heights are above the lower one",
                              brief(free_fit.twice_nll - scan.best.twice_nll, 3)),
                  name});
  }
}

}  // namespace

int run_scan(Command& command) {
  ScanArguments arguments;
  declare_scan(command, arguments);
  command.arguments.example("slalom scan workspace.json --range 0 3 --points 31");
  if (!command.parse()) return exit_success;
  check_consistent(arguments);
  const LoadedModel loaded = load_model(command, arguments);
  const std::size_t parameter = floating_parameter(loaded.spec(), arguments.parameter);
  if (arguments.parabola && arguments.plot.file.empty()) {
    throw Error(ErrorKind::usage, "needs --plot", "--parabola");
  }
  const PlotStyle style = plot_style(arguments.plot, loaded);
  Fitter fitter = make_fitter(loaded);
  const FitResult free_fit = fitter.fit();
  const std::vector<double> values = scan_values(arguments, fitter, free_fit, parameter);
  const Scan scan = profile_scan(fitter, parameter, values);
  warn_about(command, scan, free_fit, loaded.spec().parameters[parameter].name);
  const bool drawn = try_to_draw(command, arguments.plot.file, [&] {
    return scan_picture(fitter, scan, style, arguments.parabola);
  });
  if (command.wants_format("combine")) {
    if (!scan.best.converged()) {
      throw Error(ErrorKind::numerical, "the fit did not converge: " + scan.best.message, "fit");
    }
    command.answer_foreign(combine_json(fitter, scan));
  } else if (command.wants_json()) {
    command.answer(scan_json(scan, loaded.spec(), loaded.measurement));
  } else if (command.wants_csv()) {
    command.answer(scan_csv(scan, loaded.spec()));
  } else {
    command.answer(scan_text(scan, loaded.spec()));
  }
  if (!all_converged(scan)) return exit_not_converged;
  return drawn ? exit_success : exit_failure;
}

}  // namespace slalom::cli
