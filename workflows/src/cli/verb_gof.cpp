// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom gof`.
#include <cmath>
#include <fmt/format.h>
#include <optional>

#include "cli/command.hpp"
#include "cli/csv.hpp"
#include "cli/model_arguments.hpp"
#include "cli/plot_arguments.hpp"
#include "cli/result.hpp"
#include "cli/text.hpp"
#include "slalom/core/goodness_of_fit.hpp"
#include "slalom/workflows/cli.hpp"
#include "slalom/workflows/goodness_of_fit_plot.hpp"
#include "slalom/workflows/progress.hpp"

namespace slalom::cli {

namespace {

struct GofArguments : ModelArguments {
  std::optional<long> toys;
  bool conditional = false;
  PlotArguments plot;
};

void declare_gof(Command& command, GofArguments& options) {
  declare_model(command, options);
  declare_point(command, options);
  declare_data(command, options);
  Arguments& arguments = command.arguments;
  arguments.group("Goodness of fit");
  arguments.integer("--toys", options.toys, 1, "N",
                    "p-value from N toys thrown at the best fit, beside the asymptotic one");
  arguments.flag("--conditional", options.conditional, "Toys keep the auxiliary data as they are");
  declare_plot(command, options.plot, "the statistic of data and toys with the chi2 distribution");
  command.declare_csv();
}

/// Everything that is printed.
struct GofReport {
  const LoadedModel& loaded;
  FitResult best;
  GoodnessOfFit fit;
  std::optional<ToyGoodnessOfFit> toys{};

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

ToyOptions toy_options(const GofArguments& options) {
  ToyOptions toys;
  toys.n_toys = static_cast<std::size_t>(*options.toys);
  toys.seed = static_cast<std::uint64_t>(options.seed.value_or(0));
  toys.threads = threads_of(options);
  toys.throw_auxiliary = !options.conditional;
  return toys;
}

void warn_about(Command& command, const GofReport& report) {
  if (!report.fit.converged) {
    command.note({"the fit did not converge: " + report.best.message, "fit"});
  } else if (report.toys && !report.toys->message.empty()) {
    command.note({report.toys->message, "toys"});
  }
  if (report.fit.free_parameters > report.fit.bins) {
    command.note({"there are more free parameters than bins", "fit"});
  }
}

}  // namespace

int run_gof(Command& command) {
  GofArguments arguments;
  declare_gof(command, arguments);
  command.arguments.example("slalom gof workspace.json --toys 1000 --seed 1");
  if (!command.parse()) return exit_success;
  if (arguments.conditional && !arguments.toys) {
    throw Error(ErrorKind::usage, "needs --toys", "--conditional");
  }
  const LoadedModel loaded = load_model(command, arguments);
  const PlotStyle style = plot_style(arguments.plot, loaded);
  Fitter fitter = make_fitter(loaded);
  FitResult best = fitter.fit();
  GoodnessOfFit fit = goodness_of_fit(loaded.model, loaded.data, best);
  GofReport report{loaded, std::move(best), std::move(fit)};
  ProgressBar bar(command.progress_stream(), "toys");
  const Interruption interruption;
  if (arguments.toys && report.best.converged()) {
    ToyOptions toys = toy_options(arguments);
    toys.progress = [&](std::size_t done, std::size_t total) {
      bar.update(done, total);
      return !interruption.requested();
    };
    report.toys = goodness_of_fit_by_toys(fitter, toys);
    bar.clear();
  }
  warn_about(command, report);
  const bool drawn = try_to_draw(command, arguments.plot.file, [&] {
    ToyGoodnessOfFit shown = report.toys.value_or(ToyGoodnessOfFit());
    shown.observed = report.fit;
    return picture(goodness_of_fit_plot(shown), style);
  });
  if (command.wants_json()) {
    command.answer(gof_json(report));
  } else if (command.wants_csv()) {
    command.answer(gof_csv(report));
  } else {
    command.answer(gof_text(report));
  }
  if (interruption.requested()) return interruption.exit_code();
  if (!report.converged()) return exit_not_converged;
  return drawn ? exit_success : exit_failure;
}

}  // namespace slalom::cli
