// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom fit`.
#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/fit_report.hpp"
#include "cli/model_arguments.hpp"
#include "cli/plot_arguments.hpp"
#include "cli/result.hpp"
#include "cli/text.hpp"
#include "slalom/workflows/cli.hpp"

namespace slalom::cli {

namespace {

/// Beyond this many parameters the correlation matrix is left out unless it is asked for.
constexpr std::size_t k_many_parameters = 400;

struct FitArguments : ModelArguments {
  std::vector<std::string> minos;
  bool correlation = false;
  bool goodness = false;
  bool all = false;
  PlotArguments plot;
};

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
  declare_plot(command, options.plot);
  command.declare_csv();
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
  if (!report.covariance.valid) {
    command.note({"the Hessian is not positive definite: there are no uncertainties", "fit"});
  }
}

/// A plot that cannot be drawn is no reason to lose the fit. \return false then
bool try_to_draw(Command& command, const FitReport& report, const PlotOptions& options,
                 const std::string& file) {
  if (file.empty()) return true;
  try {
    draw_fit(report, options, file);
    return true;
  } catch (const Error& error) {
    command.note({"there is no plot: " + error.message(), error.where()});
    return false;
  }
}

}  // namespace

int run_fit(Command& command) {
  FitArguments arguments;
  declare_fit(command, arguments);
  command.arguments.example("slalom fit workspace.json --minos mu --plot fit.svg");
  if (!command.parse()) return exit_success;
  const LoadedModel loaded = load_model(command, arguments);
  const auto intervals = minos_parameters(arguments, loaded.spec());
  const PlotOptions plot = plot_options(arguments.plot, loaded.spec());
  Fitter fitter = make_fitter(loaded);
  FitReport report{loaded, fitter.fit()};
  const bool few = loaded.model.n_parameters() <= k_many_parameters;
  const bool matrix = arguments.correlation || (command.wants_json() && few);
  add_uncertainties(fitter, matrix || !arguments.plot.file.empty(), report);
  warn_about(command, report);
  run_minos(command, fitter, intervals, report);
  if (arguments.goodness) {
    report.goodness = goodness_of_fit(loaded.model, loaded.data, report.result);
  }
  const bool converged = all_converged(report);
  if (!command.wants_json()) add_poi_interval(fitter, report);
  const bool drawn = try_to_draw(command, report, plot, arguments.plot.file);
  if (!matrix) report.covariance.matrix.clear();
  if (command.wants_json()) {
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
