// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom report`.
#include <charconv>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/experiment_verbs.hpp"
#include "cli/model_arguments.hpp"
#include "cli/plot_arguments.hpp"
#include "cli/report/report.hpp"
#include "cli/result.hpp"
#include "cli/text.hpp"
#include "slalom/core/json.hpp"
#include "slalom/workflows/cli.hpp"
#include "slalom/workflows/progress.hpp"

namespace slalom::cli {

namespace {

constexpr const char* k_default_file = "report.html";

struct ReportArguments : ModelArguments {
  std::vector<std::string> without;
  std::vector<std::string> contours;
  std::optional<long> toys;
  bool no_date = false;
  PlotArguments plot;
  std::vector<std::string> axes;
  bool logarithmic = false;
};

void declare_report(Command& command, ReportArguments& options) {
  declare_model(command, options);
  declare_point(command, options);
  declare_data(command, options);
  Arguments& arguments = command.arguments;
  arguments.group("Report");
  arguments.choices("--without", options.without, k_report_parts, "Leave a part out; repeatable");
  arguments.optional_texts("--contour", options.contours, "", "NAME",
                           "Regions of the parameter of interest and NAME, or the one that is most "
                           "correlated with it; repeatable");
  arguments.integer("--toys", options.toys, 1, "N",
                    "Toys of the goodness of fit; none without this option");
  arguments.flag("--no-date", options.no_date,
                 "No date on the page, so that it is the same every time; SOURCE_DATE_EPOCH also "
                 "fixes it");
  arguments.group("Pictures");
  declare_texts(command, options.plot);
  arguments.texts("--axis", options.axes, "CHANNEL:LABEL:LOW:HIGH",
                  "What the bins of a channel stand for, e.g. 'SR:m_{T} [GeV]:0:500'; repeatable");
  arguments.flag("--log", options.logarithmic, "Logarithmic scale of events");
}

/// The date in UTC; that of SOURCE_DATE_EPOCH (reproducible-builds.org) if it is set.
std::string today() {
  std::time_t now = std::time(nullptr);
  // NOLINTNEXTLINE(concurrency-mt-unsafe): never set here
  if (const char* text = std::getenv("SOURCE_DATE_EPOCH"); text != nullptr && *text != '\0') {
    const std::string_view epoch(text);
    long long seconds = 0;
    const auto [end, error] = std::from_chars(epoch.data(), epoch.data() + epoch.size(), seconds);
    if (error != std::errc() || end != epoch.data() + epoch.size()) {
      throw Error(ErrorKind::usage, "expected seconds since 1970", "SOURCE_DATE_EPOCH");
    }
    now = static_cast<std::time_t>(seconds);
  }
  std::tm utc{};
  gmtime_r(&now, &utc);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02} UTC", utc.tm_year + 1900, utc.tm_mon + 1,
                     utc.tm_mday, utc.tm_hour, utc.tm_min);
}

/// A word as a shell reads it back.
std::string quoted(const std::string& word) {
  constexpr const char* k_plain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%";
  if (!word.empty() && word.find_first_not_of(k_plain) == std::string::npos) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? "'\\''" : std::string(1, c);
  return text + "'";
}

/// The command without what only says where the report goes.
std::string command_line(const std::vector<std::string>& words) {
  std::string text = "slalom report";
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "-o" || word == "--output") {
      ++i;
    } else if (word != "--quiet" && word != "--json" && word.rfind("--output=", 0) != 0) {
      text += " " + quoted(word);
    }
  }
  return text;
}

void check_output(const std::string& file) {
  if (file == "-" || file.ends_with(".html") || file.ends_with(".htm")) return;
  throw Error(ErrorKind::usage, "the name must end in .html (or be - for standard output)", file);
}

/// \throws Error (usage) for a name of --contour that makes no sense
void check_contours(const std::vector<std::string>& names, const ModelSpec& spec) {
  if (names.empty()) return;
  const std::size_t poi = floating_parameter(spec, "");
  for (const std::string& name : names) {
    if (name.empty()) continue;
    const std::size_t index = find_parameter(spec, name, "--contour");
    if (index == poi) {
      throw Error(ErrorKind::usage, "a parameter other than that of interest is needed",
                  "--contour");
    }
    if (spec.parameters[index].fixed) {
      throw Error(ErrorKind::usage, fmt::format("parameter '{}' is fixed", name), "--contour");
    }
  }
}

OrderedJson report_json(const Report& report, const std::string& file) {
  OrderedJson result;
  append(result, "report", file);
  append(result, "converged", report.converged);
  append(result, "fit_converged", report.fit.result.converged());
  const auto poi = report.poi();
  if (poi && report.fit.result.converged()) {
    OrderedJson best;
    append(best, "name", report.spec().parameters[*poi].name);
    append(best, "value", finite(report.fit.result.parameters[*poi], "value"));
    append(best, "error", finite(report.fit.covariance.errors[*poi], "error"));
    append(result, "parameter", std::move(best));
  }
  append(result, "measurement", report.loaded().measurement);
  return result;
}

std::string report_text(const Report& report, const std::string& file) {
  const auto poi = report.poi();
  const bool converged = report.fit.result.converged();
  std::string text = fmt::format("  {}: {}", file, converged ? "fit converged" : "NOT CONVERGED");
  if (poi && converged) text += ", " + parameter_summary(report.fit, *poi);
  return text + "\n";
}

}  // namespace

int run_report(Command& command) {
  ReportArguments arguments;
  declare_report(command, arguments);
  command.arguments.example("slalom report workspace.json -o report.html");
  if (!command.parse()) return exit_success;
  if (std::filesystem::is_directory(arguments.workspace)) {
    if (experiment_verbs().report == nullptr) start_companion(command, "report");
    return experiment_verbs().report(command, arguments.workspace);
  }
  const std::string file = command.output.empty() ? k_default_file : command.output;
  check_output(file);
  std::vector<SampleMixture> mixtures;
  const Json document = load_document(command, arguments, &mixtures);
  const LoadedModel loaded = load_model(command, arguments, document, std::move(mixtures));
  check_contours(arguments.contours, loaded.spec());
  ReportOptions options;
  options.contours = arguments.contours;
  options.without = {arguments.without.begin(), arguments.without.end()};
  options.toys = static_cast<std::size_t>(arguments.toys.value_or(0));
  options.seed = static_cast<std::size_t>(arguments.seed.value_or(0));
  options.threads = threads_of(arguments);
  ReportStyle style{plot_style(arguments.plot, loaded, true), {}, arguments.logarithmic};
  for (const std::string& text : arguments.axes) {
    style.axes.push_back(parse_plot_axis(text, loaded.spec()));
  }
  const Provenance provenance{arguments.workspace, digest(document), command_line(command.words()),
                              arguments.no_date ? "" : today()};
  ProgressBar bar(command.progress_stream());
  const Interruption interruption;
  std::string stage;
  options.progress = [&](const char* what, std::size_t done, std::size_t total) {
    if (stage != what) bar.stage(stage = what);
    bar.update(done, total);
    return !interruption.requested();
  };
  Report report = collect_report(loaded, options);
  bar.clear();
  for (const Warning& warning : report.warnings) command.note(warning);
  report.warnings = command.warnings;  // those of the workspace come first
  const ReportPage page = write_report(report, options, style, provenance);
  if (!page.no_pictures.empty()) {
    command.note({"there are no pictures: " + page.no_pictures, "report"});
  }
  if (file == "-") {
    command.output.clear();
    command.answer(page.html);
  } else {
    write_text(file, page.html);
    command.output.clear();
    if (command.json) {
      command.answer(report_json(report, file));
    } else {
      command.answer(report_text(report, file));
    }
  }
  if (interruption.requested()) return interruption.exit_code();
  if (!report.converged) return exit_not_converged;
  return page.no_pictures.empty() ? exit_success : exit_failure;
}

}  // namespace slalom::cli
