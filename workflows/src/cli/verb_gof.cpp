// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom gof`.
#include <cmath>
#include <fmt/format.h>
#include <optional>

#include "cli/command.hpp"
#include "cli/csv.hpp"
#include "cli/model_arguments.hpp"
#include "cli/other_formats.hpp"
#include "cli/plot_arguments.hpp"
#include "cli/result.hpp"
#include "cli/text.hpp"
#include "cli/toy_arguments.hpp"
#include "slalom/core/goodness_of_fit.hpp"
#include "slalom/workflows/cli.hpp"
#include "slalom/workflows/goodness_of_fit_plot.hpp"

namespace slalom::cli {

namespace {

struct GofArguments : ModelArguments {
  ToyArguments toys;
  PlotArguments plot;
  MassArgument mass;
};

void declare_gof(Command& command, GofArguments& options) {
  declare_model(command, options);
  declare_point(command, options);
  declare_data(command, options);
  declare_toys(command, options.toys,
               "p-value from N toys thrown at the best fit, beside the asymptotic one");
  declare_plot(command, options.plot, "the statistic of data and toys with the chi2 distribution");
  command.declare_csv();
  declare_combine_format(command, options.mass);
}

/// Everything that is printed.
struct GofReport {
  const LoadedModel& loaded;
  FitResult best;
  GoodnessOfFit fit;
  std::optional<ToyGoodnessOfFit> toys{};
  std::optional<ToyRun> run{};

  bool converged() const { return fit.converged && (!toys || toys->converged); }
};

OrderedJson channels_json(const GofReport& report) {
  OrderedJson array = OrderedJson::array();
  const auto& channels = report.loaded.spec().channels;
  for (std::size_t c = 0; c < channels.size(); ++c) {
    OrderedJson object;
    append(object, "name", channels[c].name);
    append(object, "bins", channels[c].n_bins);
    append(object, "statistic", number_or_null(report.fit.channels[c]));
    array.push_back(std::move(object));
  }
  return array;
}

OrderedJson toys_json(const ToyGoodnessOfFit& toys) {
  OrderedJson object;
  append(object, "asked", toys.toys.asked);
  append(object, "done", toys.toys.done);
  append(object, "failed", toys.toys.failed);
  append(object, "p_value", finite(toys.p_value.value, "toys"));
  append(object, "p_value_error", finite(toys.p_value.error, "toys"));
  append(object, "samples", number_array(toys.samples, "toys"));
  return object;
}

OrderedJson gof_json(const GofReport& report) {
  const GoodnessOfFit& fit = report.fit;
  OrderedJson result;
  append(result, "statistic", number_or_null(fit.statistic));
  append(result, "degrees_of_freedom", fit.degrees_of_freedom);
  append(result, "p_value", number_or_null(fit.p_value));
  append(result, "bins", fit.bins);
  append(result, "free_parameters", fit.free_parameters);
  append(result, "twice_nll", number_or_null(report.best.twice_nll));
  append(result, "saturated_twice_nll", number_or_null(fit.saturated_twice_nll));
  append(result, "channels", channels_json(report));
  append(result, "constraints", number_or_null(fit.constraints));
  if (report.toys) append(result, "toys", toys_json(*report.toys));
  if (report.run) report.run->append_to(result);
  append(result, "converged", report.converged());
  append(result, "measurement", report.loaded.measurement);
  return result;
}

std::string gof_csv(const GofReport& report) {
  Csv csv({"name", "bins", "statistic"});
  const auto& channels = report.loaded.spec().channels;
  for (std::size_t c = 0; c < channels.size(); ++c) {
    csv.row({csv_cell(channels[c].name), std::to_string(channels[c].n_bins),
             csv_cell(report.fit.channels[c])});
  }
  csv.row({"constraints", "", csv_cell(report.fit.constraints)});
  csv.row({"total", std::to_string(report.fit.bins), csv_cell(report.fit.statistic)});
  return csv.str();
}

std::string gof_text(const GofReport& report) {
  constexpr std::size_t k_name_width = 40;
  const GoodnessOfFit& fit = report.fit;
  Table summary("ll");
  summary.row({"statistic",
               fmt::format("{} for {} ({}, {})", brief(fit.statistic),
                           count(fit.degrees_of_freedom, "degree") + " of freedom",
                           count(fit.bins, "bin"), count(fit.free_parameters, "free parameter"))});
  summary.row({"p-value", fmt::format("{} (asymptotic)", brief(fit.p_value, 4))});
  if (report.toys) {
    const ToyGoodnessOfFit& toys = *report.toys;
    summary.row({"", fmt::format("{} +- {} ({} toys, {} failed)", brief(toys.p_value.value, 4),
                                 brief(toys.p_value.error, 2), toys.toys.done, toys.toys.failed)});
  }
  Table table("lrr");
  table.row({"channel", "bins", "statistic"});
  const auto& channels = report.loaded.spec().channels;
  for (std::size_t c = 0; c < channels.size(); ++c) {
    table.row({shorten(channels[c].name, k_name_width), std::to_string(channels[c].n_bins),
               fixed_point(fit.channels[c], 3)});
  }
  table.row({"(constraints)", "", fixed_point(fit.constraints, 3)});
  return "  best fit against the saturated model\n\n" + summary.str() + "\n" + table.str();
}

OrderedJson combine_json(const GofReport& report) {
  const bool thrown = report.toys && !report.toys->samples.empty();
  return combine_goodness(report.fit.statistic,
                          thrown ? report.toys->samples : std::vector<double>(),
                          thrown ? report.toys->p_value.value : 0.0);
}

void warn_about(Command& command, const GofReport& report) {
  if (!report.fit.converged) {
    command.note({"the fit did not converge: " + report.best.message, "fit"});
  }
  if (report.fit.free_parameters > report.fit.bins) {
    command.note({"there are more free parameters than bins", "fit"});
  }
}

/// \return the exit code
int throw_toys(Command& command, const GofArguments& options, Fitter& fitter, GofReport& report) {
  const auto n = static_cast<std::size_t>(options.toys.toys.value());
  ToyRun& run = report.run.emplace(command, options.toys, options, report.loaded, n, n);
  report.toys = goodness_of_fit_by_toys(fitter, run.options());
  const ToyGoodnessOfFit& toys = *report.toys;
  return run.finish(command, toys.toys.done == toys.toys.asked, toys.converged, toys.message);
}

}  // namespace

int run_gof(Command& command) {
  GofArguments arguments;
  declare_gof(command, arguments);
  command.arguments.example("slalom gof workspace.json --toys 1000 --seed 1");
  if (!command.parse()) return exit_success;
  const bool by_toys = wants_toys(arguments.toys);
  check_mass(command, arguments.mass);
  const LoadedModel loaded = load_model(command, arguments);
  const PlotStyle style = plot_style(arguments.plot, loaded);
  Fitter fitter = make_fitter(loaded);
  FitResult best = fitter.fit();
  GoodnessOfFit fit = goodness_of_fit(loaded.model, loaded.data, best);
  GofReport report{loaded, std::move(best), std::move(fit)};
  warn_about(command, report);
  int code = report.converged() ? exit_success : exit_not_converged;
  if (by_toys && report.best.converged()) code = throw_toys(command, arguments, fitter, report);
  const bool drawn = try_to_draw(command, arguments.plot.file, [&] {
    ToyGoodnessOfFit shown = report.toys.value_or(ToyGoodnessOfFit());
    shown.observed = report.fit;
    return picture(goodness_of_fit_plot(shown), style);
  });
  if (command.wants_format("combine")) {
    command.answer_foreign(at_mass(arguments.mass.value(), combine_json(report)));
  } else if (command.wants_json()) {
    command.answer(gof_json(report));
  } else if (command.wants_csv()) {
    command.answer(gof_csv(report));
  } else {
    command.answer(gof_text(report));
  }
  return code == exit_success && !drawn ? exit_failure : code;
}

}  // namespace slalom::cli
