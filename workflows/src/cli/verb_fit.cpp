// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom fit`.
#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/fit_report.hpp"
#include "cli/model_arguments.hpp"
#include "cli/other_formats.hpp"
#include "cli/plot_arguments.hpp"
#include "cli/result.hpp"
#include "cli/text.hpp"
#include "slalom/core/impacts.hpp"
#include "slalom/workflows/cli.hpp"
#include "slalom/workflows/correlation_plot.hpp"
#include "slalom/workflows/pull_plot.hpp"

namespace slalom::cli {

namespace {

/// Beyond this many parameters the correlation matrix is left out unless it is asked for.
constexpr std::size_t k_many_parameters = 400;

/// Correlations below this are not worth a row of the picture, which has at most that many.
constexpr double k_drawn_correlation = 0.1;
constexpr std::size_t k_drawn_parameters = 40;

struct FitArguments : ModelArguments {
  std::vector<std::string> minos;
  bool correlation = false;
  bool goodness = false;
  bool all = false;
  PlotArguments plot;
  DistributionArguments distributions;
  std::string plot_prefit;
  std::string plot_pulls;
  std::string plot_correlation;
  std::optional<double> threshold;

  bool any_plot() const {
    return !plot.file.empty() || !plot_prefit.empty() || !plot_pulls.empty() ||
           !plot_correlation.empty();
  }
};

void declare_plots(Command& command, FitArguments& options) {
  Arguments& arguments = command.arguments;
  arguments.group("Plots by gnuplot, as .svg, .png or .pdf");
  arguments.text("--plot", options.plot.file, "FILE", "Data and fitted model of every channel");
  arguments.text("--plot-prefit", options.plot_prefit, "FILE",
                 "Data and model at the initial values");
  arguments.text("--plot-pulls", options.plot_pulls, "FILE",
                 "Pulls and constraints of nuisance parameters");
  arguments.text("--plot-correlation", options.plot_correlation, "FILE",
                 fmt::format("Correlation matrix of at most {} parameters", k_drawn_parameters));
  arguments.number("--correlation-threshold", options.threshold, "VALUE",
                   fmt::format("Smallest correlation that keeps a parameter in the picture; "
                               "default {}",
                               k_drawn_correlation));
  declare_texts(command, options.plot);
  declare_distributions(command, options.distributions);
}

void declare_fit(Command& command, FitArguments& options) {
  declare_model(command, options);
  declare_point(command, options);
  declare_data(command, options);
  Arguments& arguments = command.arguments;
  arguments.group("Fit");
  arguments.optional_texts("--minos", options.minos, "", "NAME",
                           "Profile-likelihood interval of NAME, of all free parameters (all), or "
                           "of the parameter of interest; repeatable");
  arguments.flag(
      "--correlation", options.correlation,
      fmt::format("List the strongest correlations; in JSON the matrix also for more than {} "
                  "parameters",
                  k_many_parameters));
  arguments.flag("--goodness-of-fit", options.goodness,
                 "p-value against the saturated model (asymptotic; see `slalom gof`)");
  arguments.flag("--all", options.all, "Show every per-bin parameter in the table");
  declare_plots(command, options);
  command.declare_csv();
  command.declare_format({"combine", "pyhf"});
}

/// What --minos names; an empty name is the parameter of interest. \throws Error (usage)
std::vector<std::size_t> minos_parameters(const FitArguments& options, const ModelSpec& spec) {
  std::vector<std::size_t> indices;
  for (const std::string& name : options.minos) {
    if (name == "all" && !spec.find(name)) {
      for (std::size_t i = 0; i < spec.parameters.size(); ++i) {
        if (!spec.parameters[i].fixed) indices.push_back(i);
      }
      continue;
    }
    const std::size_t index =
        name.empty() ? require_poi(spec) : find_parameter(spec, name, "--minos");
    if (spec.parameters[index].fixed) {
      throw Error(ErrorKind::usage,
                  fmt::format("parameter '{}' is fixed", spec.parameters[index].name), "--minos");
    }
    indices.push_back(index);
  }
  return indices;
}

void run_minos(Command& command, Fitter& fitter, const std::vector<std::size_t>& parameters,
               FitReport& report) {
  if (!report.result.converged()) return;
  for (const std::size_t i : parameters) {
    const Interval interval = minos(fitter, report.result, i);
    for (const IntervalSide* side : {&interval.lower, &interval.upper}) {
      if (side->message.empty()) continue;
      command.note({"interval: " + side->message, report.spec().parameters[i].name});
    }
    report.minos.emplace(i, interval);
  }
}

bool all_converged(const FitReport& report) {
  for (const auto& [parameter, interval] : report.minos) {
    if (!interval.lower.converged || !interval.upper.converged) return false;
  }
  return report.result.converged();
}

/// The table always has the interval of the parameter of interest if it can be had.
void add_poi_interval(Fitter& fitter, FitReport& report) {
  const auto poi = report.spec().poi;
  if (!poi || !report.result.converged() || report.result.fixed[*poi]) return;
  if (report.minos.contains(*poi)) return;
  const Interval interval = minos(fitter, report.result, *poi);
  if (interval.lower.converged && interval.upper.converged) report.minos.emplace(*poi, interval);
}

void add_uncertainties(Fitter& fitter, bool correlation, FitReport& report) {
  if (correlation) {
    report.covariance = fitter.covariance(report.result);
  } else {
    report.covariance.errors = fitter.errors(report.result);
    report.covariance.valid = true;
  }
  report.covariance.errors.resize(report.spec().parameters.size(), 0.0);
  report.pulls.resize(report.spec().parameters.size());
  for (const Pull& pull : pulls(report.loaded.model, report.result, report.covariance.errors, {},
                                report.loaded.data)) {
    const bool free = report.spec().parameters[pull.parameter].constraint == ConstraintType::none;
    if (!free) report.pulls[pull.parameter] = pull;
  }
}

void warn_about(Command& command, const FitReport& report) {
  if (!report.result.converged()) {
    command.note({"the fit did not converge: " + report.result.message, "fit"});
  }
  if (report.result.converged() && !report.result.empty_bins.empty()) {
    command.note({"the fit " + report.result.message, "fit"});
  }
  if (!report.covariance.valid) {
    command.note({"the Hessian is not positive definite: there are no uncertainties", "fit"});
  }
}

/// What the fit says of mixed simulations, with its warnings.
void add_mixtures(Command& command, FitReport& report) {
  Warnings warnings;
  report.mixtures =
      mixture_report(report.loaded.mixtures, report.loaded.model, report.loaded.data, report.result,
                     report.result.converged() ? report.covariance : Covariance{}, &warnings);
  for (const Warning& w : warnings) command.note(w);
}

void check_plots(const FitArguments& options) {
  for (const std::string* file :
       {&options.plot.file, &options.plot_prefit, &options.plot_pulls, &options.plot_correlation}) {
    check_plot_file(*file);
  }
  if (options.threshold && options.plot_correlation.empty()) {
    throw Error(ErrorKind::usage, "needs --plot-correlation", "--correlation-threshold");
  }
}

/// Pulls of the constrained parameters that float.
std::vector<Pull> constrained_pulls(const FitReport& report) {
  std::vector<Pull> result;
  for (const std::optional<Pull>& pull : report.pulls) {
    if (pull) result.push_back(*pull);
  }
  return result;
}

/// The parameters with intervals by name, or the whole fit in pyhf's form.
OrderedJson foreign_json(const Command& command, const FitReport& report) {
  if (command.wants_format("pyhf")) return pyhf_fit(report.spec(), report.result);
  OrderedJson document = OrderedJson::object();
  for (const auto& [parameter, interval] : report.minos) {
    append(document, report.spec().parameters[parameter].name,
           combine_interval(report.result.parameters[parameter], interval));
  }
  return document;
}

PlotStyle with_line(PlotStyle style, const char* line) {
  style.lines.insert(style.lines.begin(), line);
  return style;
}

/// \return false if one could not be drawn
bool draw_all(Command& command, const FitArguments& options, const FitReport& report,
              const PlotStyle& style, const std::vector<PlotAxis>& axes) {
  PlotStyle fitted = style;
  fitted.lines = fit_lines(report);
  bool drawn = try_to_draw(command, options.plot.file, [&] {
    return picture(arranged(postfit_distributions(report, axes), options.distributions),
                   with_line(fitted, "Post-fit"));
  });
  drawn &= try_to_draw(command, options.plot_prefit, [&] {
    return picture(arranged(prefit_distributions(report.loaded, axes), options.distributions),
                   with_line(style, "Pre-fit"));
  });
  drawn &= try_to_draw(command, options.plot_pulls, [&] {
    return picture(pull_plot(report.spec(), constrained_pulls(report)), fitted);
  });
  drawn &= try_to_draw(command, options.plot_correlation, [&] {
    return picture(
        correlation_plot(report.spec(), report.covariance,
                         {options.threshold.value_or(k_drawn_correlation), k_drawn_parameters}),
        fitted);
  });
  return drawn;
}

}  // namespace

int run_fit(Command& command) {
  FitArguments arguments;
  declare_fit(command, arguments);
  command.arguments.example("slalom fit workspace.json --minos mu --plot fit.svg");
  if (!command.parse()) return exit_success;
  const LoadedModel loaded = load_model(command, arguments);
  auto intervals = minos_parameters(arguments, loaded.spec());
  if (command.wants_format("combine") && intervals.empty()) {
    intervals.push_back(floating_parameter(loaded.spec(), ""));
  }
  check_plots(arguments);
  const PlotStyle style = plot_style(arguments.plot, loaded, arguments.any_plot());
  const auto axes = plot_axes(arguments.distributions, loaded.spec(), arguments.any_plot());
  Fitter fitter = make_fitter(loaded);
  FitReport report{loaded, fitter.fit()};
  const bool few = loaded.model.n_parameters() <= k_many_parameters;
  const bool matrix = arguments.correlation || (command.wants_json() && few);
  add_uncertainties(fitter, matrix || arguments.any_plot() || !loaded.mixtures.empty(), report);
  warn_about(command, report);
  add_mixtures(command, report);
  run_minos(command, fitter, intervals, report);
  if (arguments.goodness) {
    report.goodness = goodness_of_fit(loaded.model, loaded.data, report.result);
  }
  const bool converged = all_converged(report);
  if (!command.wants_json()) add_poi_interval(fitter, report);
  const bool drawn = draw_all(command, arguments, report, style, axes);
  if (!matrix) report.covariance.matrix.clear();
  if (!command.wants_format("slalom")) {
    command.answer_foreign(foreign_json(command, report));
  } else if (command.wants_json()) {
    command.answer(fit_json(report));
  } else if (command.wants_csv()) {
    command.answer(fit_csv(report));
  } else {
    command.answer(fit_text(report, {arguments.all, command.wants_colour()}));
  }
  if (!converged) return exit_not_converged;
  return drawn ? exit_success : exit_failure;
}

}  // namespace slalom::cli
