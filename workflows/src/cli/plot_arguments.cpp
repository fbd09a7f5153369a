// SPDX-License-Identifier: Apache-2.0
#include "cli/plot_arguments.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <set>

#include "cli/suggest.hpp"
#include "cli/text.hpp"
#include "slalom/core/yields.hpp"

namespace slalom::cli {

namespace {

/// Names that a label may be given to.
std::vector<std::string> drawn_names(const ModelSpec& spec) {
  std::set<std::string> names;
  for (const ChannelSpec& channel : spec.channels) {
    names.insert(channel.name);
    for (const SampleSpec& sample : channel.samples) names.insert(sample.name);
  }
  for (const Parameter& parameter : spec.parameters) names.insert(parameter.name);
  return {names.begin(), names.end()};
}

void needs_plot(bool given, const char* option) {
  if (given) throw Error(ErrorKind::usage, "needs --plot", option);
}

}  // namespace

void declare_plot(Command& command, PlotArguments& options, const std::string& what) {
  command.arguments.group("Plot");
  command.arguments.text("--plot", options.file, "FILE",
                         fmt::format("Draw {} with gnuplot into FILE (.svg, .png, .pdf)", what));
  declare_texts(command, options);
}

void declare_texts(Command& command, PlotArguments& options) {
  Arguments& arguments = command.arguments;
  arguments.pairs("--label", options.labels, "NAME TEXT",
                  "Text for a sample, channel or parameter in place of its name; repeatable");
  arguments.text("--title", options.title, "TEXT",
                 "Above the frame on the left; default is the measurement");
  arguments.text("--note", options.note, "TEXT",
                 "Above the frame on the right: luminosity and energy");
}

void declare_distributions(Command& command, DistributionArguments& options) {
  Arguments& arguments = command.arguments;
  arguments.texts("--axis", options.axes, "CHANNEL:LABEL:LOW:HIGH",
                  "What the bins of a channel stand for, e.g. 'SR:m_{T} [GeV]:0:500'; repeatable");
  arguments.flag("--log", options.logarithmic, "Logarithmic scale of events");
  arguments.flag("--overview", options.overview,
                 "The bins of all channels beside each other in one frame");
}

void check_plot_file(const std::string& file) {
  if (!file.empty()) check_plot_format(file);
}

PlotStyle plot_style(const PlotArguments& options, const LoadedModel& loaded, bool drawn) {
  if (!drawn) {
    needs_plot(!options.labels.empty(), "--label");
    needs_plot(!options.title.empty(), "--title");
    needs_plot(!options.note.empty(), "--note");
    return {};
  }
  PlotStyle style;
  const std::vector<std::string> names = drawn_names(loaded.spec());
  for (const auto& [name, text] : options.labels) {
    if (!std::binary_search(names.begin(), names.end(), name)) {
      throw Error(ErrorKind::usage,
                  fmt::format("there is no sample, channel or parameter '{}'{}", name,
                              did_you_mean(name, names)),
                  "--label");
    }
    style.labels[name] = text;
  }
  style.title = options.title.empty() ? without_markup(loaded.measurement) : options.title;
  style.note = options.note;
  if (!loaded.asimov_point.empty()) style.lines.emplace_back("Asimov data");
  return style;
}

PlotStyle plot_style(const PlotArguments& options, const LoadedModel& loaded) {
  check_plot_file(options.file);
  return plot_style(options, loaded, !options.file.empty());
}

std::vector<PlotAxis> plot_axes(const DistributionArguments& options, const ModelSpec& spec,
                                bool drawn) {
  if (!drawn) {
    needs_plot(!options.axes.empty(), "--axis");
    needs_plot(options.logarithmic, "--log");
    needs_plot(options.overview, "--overview");
  }
  std::vector<PlotAxis> axes;
  for (const std::string& text : options.axes) axes.push_back(parse_plot_axis(text, spec));
  return axes;
}

bool try_to_draw(Command& command, const std::string& file, const std::function<Picture()>& make) {
  if (file.empty()) return true;
  try {
    draw(make(), file);
    return true;
  } catch (const Error& error) {
    command.note({"there is no plot: " + error.message(), error.where()});
    return false;
  }
}

DistributionPlot arranged(DistributionPlot plot, const DistributionArguments& options) {
  if (options.overview) return overview(plot);
  plot.logarithmic = options.logarithmic;
  return plot;
}

DistributionPlot prefit_distributions(const LoadedModel& loaded,
                                      const std::vector<PlotAxis>& axes) {
  return distribution_plot(loaded.model, loaded.spec().initial(), prefit_covariance(loaded.model),
                           loaded.data, axes);
}

DistributionPlot postfit_distributions(const FitReport& report, const std::vector<PlotAxis>& axes) {
  return distribution_plot(report.loaded.model, report.result.parameters, report.covariance,
                           report.loaded.data, axes);
}

std::vector<std::string> fit_lines(const FitReport& report) {
  std::vector<std::string> lines;
  if (!report.loaded.asimov_point.empty()) lines.emplace_back("Asimov data");
  if (report.spec().poi) {
    lines.push_back(typeset(parameter_summary(report, *report.spec().poi)));
  }
  if (!report.result.converged()) lines.emplace_back("FIT NOT CONVERGED");
  return lines;
}

}  // namespace slalom::cli
