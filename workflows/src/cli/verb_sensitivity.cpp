// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom sensitivity`.
#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/csv.hpp"
#include "cli/model_arguments.hpp"
#include "cli/result.hpp"
#include "cli/text.hpp"
#include "slalom/core/sensitivity.hpp"
#include "slalom/workflows/cli.hpp"

namespace slalom::cli {

namespace {

/// Relative change that effects are given for.
constexpr double k_step = 0.01;
constexpr long k_default_rows = 10;

struct SensitivityArguments : ModelArguments {
  std::vector<std::string> figures;
  std::optional<double> level;
  std::optional<double> mu;
  std::optional<long> rows;
  std::string statistic = "qtilde";
  bool all = false;
};

const std::vector<std::string>& figure_names() {
  static const std::vector<std::string> names{
      "expected_error", "expected_significance", "expected_limit", "best_fit",
      "error",          "significance",          "limit"};
  return names;
}

/// One figure with all that is said about it.
struct Figure {
  std::string name;
  std::string title;
  Sensitivity sensitivity;
  WorkspaceSensitivity derivatives;
  SensitivityRanking ranking;
};

struct SensitivityReport {
  const LoadedModel& loaded;
  std::string poi;
  std::vector<Figure> figures;
  bool all;
  std::size_t rows;
};

void declare_sensitivity(Command& command, SensitivityArguments& options) {
  declare_model(command, options);
  declare_point(command, options);
  declare_data(command, options);
  Arguments& arguments = command.arguments;
  arguments.group("Sensitivity");
  arguments.choices("--figure", options.figures, figure_names(),
                    "What to differentiate; repeatable; default the three expected ones");
  arguments.number("--mu", options.mu, "MU",
                   "Signal of the Asimov data of expected_error and expected_significance; "
                   "default 1");
  arguments.number("--level", options.level, "LEVEL", "CLs at a limit; default 0.05");
  arguments.choice("--test-stat", options.statistic, {"q", "qtilde"},
                   "Test statistic of the observed limit");
  arguments.integer("--max", options.rows, 0, "N",
                    fmt::format("Rows of each table; 0 for all; default {}. JSON and CSV have all",
                                k_default_rows));
  arguments.flag("--all", options.all,
                 "In JSON and CSV the derivatives by every number of the workspace");
}

SensitivityOptions sensitivity_options(const SensitivityArguments& arguments,
                                       const LoadedModel& loaded) {
  SensitivityOptions options;
  options.statistic = arguments.statistic == "q" ? TestStatistic::q : TestStatistic::qtilde;
  options.asimov_point = loaded.asimov_point;
  if (arguments.asimov_fit) {
    FitOptions how;
    if (*arguments.asimov_fit != "best") {
      how.fixed = {{*loaded.spec().poi, parse_number(*arguments.asimov_fit, "--asimov-fit")}};
    }
    options.asimov_fit = fit(loaded.model, how);
  }
  return options;
}

Figure compute(const std::string& name, SensitivityCalculator& calculator,
               const SensitivityArguments& arguments, const LoadedModel& loaded) {
  const double mu = arguments.mu.value_or(1.0), level = arguments.level.value_or(0.05);
  const std::string& poi = loaded.spec().parameters[*loaded.spec().poi].name;
  Figure figure{name, "", {}, {}, {}};
  if (name == "best_fit") {
    figure.title = fmt::format("best fit of {}", poi);
    figure.sensitivity = calculator.best_fit();
  } else if (name == "error") {
    figure.title = fmt::format("uncertainty of {} at the best fit", poi);
    figure.sensitivity = calculator.error();
  } else if (name == "significance") {
    figure.title = "observed significance";
    figure.sensitivity = calculator.significance();
  } else if (name == "limit") {
    figure.title = fmt::format("observed upper limit on {} where CLs = {}", poi, brief(level));
    figure.sensitivity = calculator.upper_limit(level);
  } else if (name == "expected_error") {
    figure.title = fmt::format("expected uncertainty of {0} for {0} = {1}", poi, brief(mu));
    figure.sensitivity = calculator.expected_error(mu);
  } else if (name == "expected_significance") {
    figure.title = fmt::format("expected significance for {} = {}", poi, brief(mu));
    figure.sensitivity = calculator.expected_significance(mu);
  } else {
    figure.title = fmt::format("expected upper limit on {} where CLs = {}", poi, brief(level));
    figure.sensitivity = calculator.expected_upper_limit(level);
  }
  figure.derivatives =
      workspace_sensitivity(loaded.model, calculator.templates(), figure.sensitivity);
  figure.ranking = rank(loaded.model, figure.derivatives);
  return figure;
}

// --- JSON

const char* kind_name(InputKind kind) {
  static constexpr std::array<const char*, 10> names{
      "nominal", "histosys_hi", "histosys_lo", "normsys_hi", "normsys_lo",
      "sigma",   "tau",         "observed",    "auxiliary",  "uncertainty"};
  return names[static_cast<std::size_t>(kind)];
}

/// What an input is called; "" or nothing where it has no such thing.
struct InputNames {
  std::string channel, sample, parameter;
  std::optional<std::size_t> bin;

  InputNames(const Input& input, const ModelSpec& spec) {
    const bool constraint = input.kind == InputKind::sigma || input.kind == InputKind::tau ||
                            input.kind == InputKind::auxiliary;
    const bool observed = input.kind == InputKind::observed;
    const bool factor = input.kind == InputKind::normsys_hi || input.kind == InputKind::normsys_lo;
    if (!constraint) channel = spec.channels[input.channel].name;
    if (!constraint && !observed) sample = spec.channels[input.channel].samples[input.sample].name;
    if (!constraint && !factor) bin = input.bin;
    if (!observed && input.kind != InputKind::nominal) {
      parameter = spec.parameters[input.parameter].name;
    }
  }
};

OrderedJson input_json(const Input& input, const ModelSpec& spec) {
  const InputNames names(input, spec);
  OrderedJson result;
  append(result, "kind", kind_name(input.kind));
  if (!names.channel.empty()) append(result, "channel", names.channel);
  if (!names.sample.empty()) append(result, "sample", names.sample);
  if (names.bin) append(result, "bin", *names.bin);
  if (!names.parameter.empty()) append(result, "parameter", names.parameter);
  return result;
}

OrderedJson derivatives_json(const Figure& figure, const ModelSpec& spec) {
  OrderedJson list = OrderedJson::array();
  for (std::size_t i = 0; i < figure.derivatives.inputs.size(); ++i) {
    OrderedJson item = input_json(figure.derivatives.inputs[i], spec);
    append(item, "value", finite(figure.derivatives.values[i], "value"));
    append(item, "derivative", finite(figure.derivatives.derivatives[i], "derivative"));
    list.push_back(std::move(item));
  }
  return list;
}

OrderedJson figure_json(const Figure& figure, const ModelSpec& spec, bool all) {
  OrderedJson result;
  append(result, "figure", figure.name);
  append(result, "converged", figure.sensitivity.converged);
  if (!figure.sensitivity.converged) {
    append(result, "message", figure.sensitivity.message);
    return result;
  }
  append(result, "value", finite(figure.sensitivity.value, "value"));
  OrderedJson samples = OrderedJson::array();
  for (const auto& effect : figure.ranking.samples) {
    const ChannelSpec& channel = spec.channels[effect.channel];
    samples.push_back({{"channel", channel.name},
                       {"sample", channel.samples[effect.sample].name},
                       {"effect", finite(k_step * effect.effect, "effect")}});
  }
  OrderedJson bins = OrderedJson::array();
  for (const auto& effect : figure.ranking.bins) {
    bins.push_back({{"channel", spec.channels[effect.channel].name},
                    {"bin", effect.bin},
                    {"effect", finite(k_step * effect.effect, "effect")},
                    {"data", finite(effect.datum, "data")}});
  }
  OrderedJson parameters = OrderedJson::array();
  for (const auto& effect : figure.ranking.parameters) {
    parameters.push_back({{"name", spec.sets[effect.set].name},
                          {"width", finite(k_step * effect.width, "width")},
                          {"variations", finite(k_step * effect.variations, "variations")},
                          {"data", finite(effect.datum, "data")}});
  }
  append(result, "samples", std::move(samples));
  append(result, "bins", std::move(bins));
  append(result, "parameters", std::move(parameters));
  if (all) append(result, "derivatives", derivatives_json(figure, spec));
  return result;
}

OrderedJson report_json(const SensitivityReport& report) {
  OrderedJson result, figures = OrderedJson::array();
  for (const Figure& figure : report.figures) {
    figures.push_back(figure_json(figure, report.loaded.spec(), report.all));
  }
  append(result, "step", k_step);
  append(result, "figures", std::move(figures));
  append(result, "poi", report.poi);
  append(result, "measurement", report.loaded.measurement);
  return result;
}

// --- comma-separated values

/// One line per effect: what grows by the step, the change of the figure, and that for more data.
std::string effects_csv(const SensitivityReport& report) {
  Csv csv({"figure", "what", "channel", "sample", "bin", "parameter", "effect", "data"});
  const ModelSpec& spec = report.loaded.spec();
  for (const Figure& figure : report.figures) {
    if (!figure.sensitivity.converged) continue;
    for (const auto& e : figure.ranking.samples) {
      const ChannelSpec& channel = spec.channels[e.channel];
      csv.row({csv_cell(figure.name), "sample", csv_cell(channel.name),
               csv_cell(channel.samples[e.sample].name), "", "", csv_cell(k_step * e.effect), ""});
    }
    for (const auto& e : figure.ranking.bins) {
      csv.row({csv_cell(figure.name), "bin", csv_cell(spec.channels[e.channel].name), "",
               fmt::format("{}", e.bin), "", csv_cell(k_step * e.effect), csv_cell(e.datum)});
    }
    for (const auto& e : figure.ranking.parameters) {
      const std::string name = csv_cell(spec.sets[e.set].name);
      csv.row({csv_cell(figure.name), "width", "", "", "", name, csv_cell(k_step * e.width),
               csv_cell(e.datum)});
      csv.row({csv_cell(figure.name), "variations", "", "", "", name,
               csv_cell(k_step * e.variations), ""});
    }
  }
  return csv.str();
}

/// One line per input.
std::string derivatives_csv(const SensitivityReport& report) {
  Csv csv({"figure", "kind", "channel", "sample", "bin", "parameter", "value", "derivative"});
  for (const Figure& figure : report.figures) {
    if (!figure.sensitivity.converged) continue;
    const WorkspaceSensitivity& all = figure.derivatives;
    for (std::size_t i = 0; i < all.inputs.size(); ++i) {
      const InputNames names(all.inputs[i], report.loaded.spec());
      csv.row({csv_cell(figure.name), kind_name(all.inputs[i].kind), csv_cell(names.channel),
               csv_cell(names.sample), names.bin ? fmt::format("{}", *names.bin) : "",
               csv_cell(names.parameter), csv_cell(all.values[i]), csv_cell(all.derivatives[i])});
    }
  }
  return csv.str();
}

// --- text

/// Below this fraction of the figure an effect is rounding.
constexpr double k_nothing = 1e-9;

bool is_nothing(double effect, double value) {
  return std::abs(effect) <= k_nothing * std::abs(value);
}

std::string change(double effect, double value) {
  return is_nothing(effect, value) ? "0" : fmt::format("{:+.3g}", effect);
}

std::string percent(double effect, double value) {
  if (value == 0.0 || is_nothing(effect, value)) return "";
  return fmt::format("{:+.3f} %", 100.0 * effect / std::abs(value));
}

/// "... and N more".
void more(Table& table, std::size_t shown, std::size_t total) {
  if (shown < total) table.row({fmt::format("({} more: --max 0)", total - shown)});
}

std::string figure_text(const Figure& figure, const ModelSpec& spec, std::size_t rows) {
  if (!figure.sensitivity.converged) {
    return fmt::format("{}: NOT CONVERGED: {}\n", figure.title, figure.sensitivity.message);
  }
  const double value = figure.sensitivity.value;
  const SensitivityRanking& ranking = figure.ranking;
  const auto shown = [rows](std::size_t total) { return std::min(rows, total); };
  const bool has_data = std::any_of(ranking.bins.begin(), ranking.bins.end(),
                                    [&](const auto& b) { return !is_nothing(b.datum, value); });
  Table samples("llrr");
  samples.row({"channel", "sample", "1 % more", "relative"});
  for (std::size_t i = 0; i < shown(ranking.samples.size()); ++i) {
    const auto& e = ranking.samples[i];
    const ChannelSpec& channel = spec.channels[e.channel];
    samples.row({shorten(channel.name, 30), shorten(channel.samples[e.sample].name, 30),
                 change(k_step * e.effect, value), percent(k_step * e.effect, value)});
  }
  more(samples, shown(ranking.samples.size()), ranking.samples.size());
  Table bins("lrrrr");
  bins.row({"channel", "bin", "1 % more", "relative", has_data ? "sqrt(n) more data" : ""});
  for (std::size_t i = 0; i < shown(ranking.bins.size()); ++i) {
    const auto& e = ranking.bins[i];
    bins.row({shorten(spec.channels[e.channel].name, 30), fmt::format("{}", e.bin),
              change(k_step * e.effect, value), percent(k_step * e.effect, value),
              has_data ? change(e.datum, value) : ""});
  }
  more(bins, shown(ranking.bins.size()), ranking.bins.size());
  std::string text =
      fmt::format("{} = {}\n\n{}\n{}", figure.title, brief(value), samples.str(), bins.str());
  if (ranking.parameters.empty()) return text;
  Table parameters("lrrrr");
  parameters.row({"parameter", "1 % wider", "relative", "1 % larger variations",
                  has_data ? "auxiliary +1 sigma" : ""});
  for (std::size_t i = 0; i < shown(ranking.parameters.size()); ++i) {
    const auto& e = ranking.parameters[i];
    const ModifierType type = spec.sets[e.set].type;
    const bool varies = type == ModifierType::normsys || type == ModifierType::histosys;
    parameters.row({shorten(spec.sets[e.set].name, 40), change(k_step * e.width, value),
                    percent(k_step * e.width, value),
                    varies ? change(k_step * e.variations, value) : "",
                    has_data ? change(e.datum, value) : ""});
  }
  more(parameters, shown(ranking.parameters.size()), ranking.parameters.size());
  return text + "\n" + parameters.str();
}

std::string report_text(const SensitivityReport& report) {
  std::string text;
  for (const Figure& figure : report.figures) {
    text += (text.empty() ? "" : "\n") + figure_text(figure, report.loaded.spec(), report.rows);
  }
  return text;
}

}  // namespace

int run_sensitivity(Command& command) {
  SensitivityArguments arguments;
  declare_sensitivity(command, arguments);
  command.declare_csv();
  command.arguments.example("slalom sensitivity workspace.json --figure expected_limit");
  if (!command.parse()) return exit_success;
  const LoadedModel loaded = load_model(command, arguments);
  const std::size_t poi = require_poi(loaded.spec());
  if (arguments.figures.empty()) {
    arguments.figures.assign(figure_names().begin(), figure_names().begin() + 3);
  }
  SensitivityCalculator calculator(loaded.model, sensitivity_options(arguments, loaded));
  const auto most = static_cast<std::size_t>(arguments.rows.value_or(k_default_rows));
  const std::size_t rows = most == 0 ? calculator.templates().size() : most;
  SensitivityReport report{loaded, loaded.spec().parameters[poi].name, {}, arguments.all, rows};
  bool converged = true;
  for (const std::string& name : arguments.figures) {
    report.figures.push_back(compute(name, calculator, arguments, loaded));
    const Sensitivity& result = report.figures.back().sensitivity;
    converged = converged && result.converged;
    if (!result.converged) command.note({result.message, name});
  }
  if (command.wants_json()) {
    command.answer(report_json(report));
  } else if (command.wants_csv()) {
    command.answer(report.all ? derivatives_csv(report) : effects_csv(report));
  } else {
    command.answer(report_text(report));
  }
  return converged ? exit_success : exit_not_converged;
}

}  // namespace slalom::cli
