// SPDX-License-Identifier: Apache-2.0
#include "cli/plot_arguments.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <set>

#include "cli/suggest.hpp"

namespace slalom::cli {

namespace {

/// Names that a label may be given to.
std::vector<std::string> drawn_names(const ModelSpec& spec) {
  std::set<std::string> names;
  for (const ChannelSpec& channel : spec.channels) {
    names.insert(channel.name);
    for (const SampleSpec& sample : channel.samples) names.insert(sample.name);
  }
  return {names.begin(), names.end()};
}

/// The options that only make sense together with --plot.
const char* needless_option(const PlotArguments& options) {
  if (!options.axes.empty()) return "--axis";
  if (!options.labels.empty()) return "--label";
  if (!options.title.empty()) return "--title";
  if (!options.note.empty()) return "--note";
  return options.logarithmic ? "--log" : nullptr;
}

/// Text that gnuplot's markup leaves as it is.
std::string without_markup(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (std::string("_^{}@&~\\").find(c) != std::string::npos) escaped += '\\';
    escaped += c;
  }
  return escaped;
}

}  // namespace

void declare_plot(Command& command, PlotArguments& options) {
  Arguments& arguments = command.arguments;
  arguments.group("Plot");
  arguments.text("--plot", options.file, "FILE",
                 "Draw data and fitted model of every channel with gnuplot into FILE (.svg, .png, "
                 ".pdf)");
  arguments.texts("--axis", options.axes, "CHANNEL:LABEL:LOW:HIGH",
                  "What the bins of a channel stand for, e.g. 'SR:m_{T} [GeV]:0:500'; repeatable");
  arguments.pairs("--label", options.labels, "NAME TEXT",
                  "Text for a sample or channel in place of its name; repeatable");
  arguments.text("--title", options.title, "TEXT", "Above the frame on the left");
  arguments.text("--note", options.note, "TEXT",
                 "Above the frame on the right: energy, luminosity");
  arguments.flag("--log", options.logarithmic, "Logarithmic scale of events");
}

PlotOptions plot_options(const PlotArguments& options, const ModelSpec& spec) {
  if (options.file.empty()) {
    const char* needless = needless_option(options);
    if (needless != nullptr) throw Error(ErrorKind::usage, "needs --plot", needless);
    return {};
  }
  check_plot_format(options.file);
  PlotOptions result;
  for (const std::string& text : options.axes) result.axes.push_back(parse_plot_axis(text, spec));
  const std::vector<std::string> names = drawn_names(spec);
  for (const auto& [name, text] : options.labels) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      throw Error(
          ErrorKind::usage,
          fmt::format("there is no sample or channel '{}'{}", name, did_you_mean(name, names)),
          "--label");
    }
    result.labels[name] = text;
  }
  result.title = options.title;
  result.note = options.note;
  result.logarithmic = options.logarithmic;
  return result;
}

void draw_fit(const FitReport& report, PlotOptions options, const std::string& file) {
  if (options.title.empty()) options.title = without_markup(report.loaded.measurement);
  const bool asimov = !report.loaded.asimov_point.empty();
  if (asimov) options.lines.emplace_back("Asimov data");
  if (report.spec().poi) options.lines.push_back(parameter_summary(report, *report.spec().poi));
  if (!report.result.converged()) options.lines.emplace_back("FIT NOT CONVERGED");
  draw(channel_plots(report.loaded.model, report.result.parameters, report.covariance,
                     report.loaded.data, options),
       options, file);
}

}  // namespace slalom::cli
