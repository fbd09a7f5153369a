// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom ranking`.
#include <algorithm>
#include <array>
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
#include "slalom/core/impacts.hpp"
#include "slalom/core/interval.hpp"
#include "slalom/workflows/cli.hpp"
#include "slalom/workflows/progress.hpp"
#include "slalom/workflows/ranking_plot.hpp"

namespace slalom::cli {

namespace {

constexpr long k_default_rows = 20;
constexpr std::size_t k_name_width = 30;

struct RankingArguments : ModelArguments {
  std::string parameter;
  bool linear = false;
  bool refit = false;
  std::optional<long> max;
  PlotArguments plot;
};

void declare_ranking(Command& command, RankingArguments& options) {
  declare_model(command, options);
  declare_point(command, options);
  declare_data(command, options);
  Arguments& arguments = command.arguments;
  arguments.group("Ranking");
  arguments.text("--parameter", options.parameter, "NAME",
                 "Parameter whose best fit is watched; default is the parameter of interest");
  arguments.flag("--refit", options.refit,
                 "Four fits per parameter, at its best fit +- pre-fit and post-fit uncertainty "
                 "(default)");
  arguments.flag("--linear", options.linear, "No re-fits: only the exact derivatives");
  arguments.integer("--max", options.max, 0, "N",
                    fmt::format("Rows of the table; 0 for all; default {}. JSON and CSV have all",
                                k_default_rows));
  declare_plot(command, options.plot, "impacts and pulls of the largest (--max) parameters");
  command.declare_csv();
  command.declare_format({"combine"});
}

/// One line of the ranking; what a parameter does not have is empty.
struct Line {
  std::string name;
  Pull pull;
  Impact impact;
  bool constrained = false;
};

/// Everything that is printed.
struct Ranking {
  const LoadedModel& loaded;
  const Impacts& impacts;
  std::vector<Line> lines;
  bool refit = true;

  const std::string& target() const { return loaded.spec().parameters[impacts.target].name; }
};

std::vector<Line> lines_of(const LoadedModel& loaded, const Impacts& impacts) {
  std::vector<Line> lines;
  if (impacts.errors.empty()) return lines;
  std::vector<Pull> by_parameter(loaded.spec().parameters.size());
  for (const Pull& pull :
       pulls(loaded.model, impacts.best, impacts.errors, impacts.target, loaded.data)) {
    by_parameter[pull.parameter] = pull;
  }
  for (const Impact& impact : impacts.impacts) {
    const Parameter& parameter = loaded.spec().parameters[impact.parameter];
    lines.push_back({parameter.name, by_parameter[impact.parameter], impact,
                     parameter.constraint != ConstraintType::none});
  }
  return lines;
}

/// The numbers of one line in the order of JSON and CSV.
struct Cell {
  const char* name;
  std::optional<double> value;
};

std::vector<Cell> cells_of(const Line& line, bool refit) {
  const auto if_constrained = [&](double value) {
    return line.constrained ? std::optional(value) : std::nullopt;
  };
  const auto if_refit = [&](double value) { return refit ? std::optional(value) : std::nullopt; };
  const Impact& impact = line.impact;
  return {{"pull", if_constrained(line.pull.pull)},
          {"constraint", if_constrained(line.pull.constraint)},
          {"prefit_up", refit ? if_constrained(impact.prefit_up) : std::nullopt},
          {"prefit_down", refit ? if_constrained(impact.prefit_down) : std::nullopt},
          {"postfit_up", if_refit(impact.postfit_up)},
          {"postfit_down", if_refit(impact.postfit_down)},
          {"linear_postfit", impact.linear_postfit},
          {"linear_global", if_constrained(impact.linear_global)},
          {"value", line.pull.value},
          {"error", line.pull.error}};
}

OrderedJson ranking_json(const Ranking& ranking) {
  OrderedJson parameters = OrderedJson::array();
  for (const Line& line : ranking.lines) {
    OrderedJson object;
    append(object, "name", line.name);
    for (const Cell& cell : cells_of(line, ranking.refit)) {
      append(object, cell.name,
             cell.value ? OrderedJson(finite(*cell.value, line.name)) : OrderedJson(nullptr));
    }
    append(object, "converged", line.impact.converged);
    parameters.push_back(std::move(object));
  }
  const Impacts& impacts = ranking.impacts;
  OrderedJson result;
  append(result, "parameter", ranking.target());
  append(result, "value", finite(impacts.best.parameters[impacts.target], "value"));
  append(result, "error", finite(impacts.error, "error"));
  append(result, "parameters", std::move(parameters));
  append(result, "refit", ranking.refit);
  append(result, "converged", impacts.converged);
  append(result, "measurement", ranking.loaded.measurement);
  return result;
}

const char* combine_type(ConstraintType type) {
  switch (type) {
    case ConstraintType::gaussian:
      return "Gaussian";
    case ConstraintType::poisson:
      return "Poisson";
    case ConstraintType::none:
      break;
  }
  return "Unconstrained";
}

/// -1 sigma, value and +1 sigma before the fit; three times the initial value without a constraint.
std::array<double, 3> combine_prefit(const Line& line, const Parameter& parameter) {
  const double sigma = parameter.prefit_uncertainty();
  if (!line.constrained || !(sigma > 0.0)) {
    return {parameter.init, parameter.init, parameter.init};
  }
  const double centre = line.pull.value - line.pull.pull * sigma;
  return {centre - sigma, centre, centre + sigma};
}

/// A parameter as `combineTool.py -M Impacts` writes it: where it was moved to, and where the
/// target then is.
OrderedJson combine_line(const Ranking& ranking, const Line& line) {
  const Parameter& parameter = ranking.loaded.spec().parameters[line.impact.parameter];
  const double best = ranking.impacts.best.parameters[ranking.impacts.target];
  const double up = ranking.refit ? line.impact.postfit_up : line.impact.linear_postfit;
  const double down = ranking.refit ? line.impact.postfit_down : -line.impact.linear_postfit;
  OrderedJson object;
  append(object, "name", line.name);
  append(object, "type", combine_type(parameter.constraint));
  append(object, "groups", OrderedJson::array());
  append(object, "prefit", number_array(combine_prefit(line, parameter), line.name));
  append(object, "fit",
         number_array(std::array{std::max(line.pull.value - line.pull.error, parameter.lower),
                                 line.pull.value,
                                 std::min(line.pull.value + line.pull.error, parameter.upper)},
                      line.name));
  append(object, ranking.target(),
         number_array(std::array{best + down, best, best + up}, line.name));
  append(object, "impact_" + ranking.target(),
         finite(std::max(std::abs(up), std::abs(down)), line.name));
  return object;
}

/// Parameters whose re-fits failed are left out, as there. The target has its profile-likelihood
/// interval, or the errors of the Hessian in the linear form.
OrderedJson combine_json(Fitter& fitter, const Ranking& ranking) {
  const Impacts& impacts = ranking.impacts;
  const double best = impacts.best.parameters[impacts.target];
  std::array<double, 3> fit{best - impacts.error, best, best + impacts.error};
  if (ranking.refit && impacts.best.converged()) {
    const Interval interval = minos(fitter, impacts.best, impacts.target);
    fit = {interval.lower.value, best, interval.upper.value};
  }
  OrderedJson target;
  append(target, "name", ranking.target());
  append(target, "fit", number_array(fit, ranking.target()));
  OrderedJson parameters = OrderedJson::array();
  for (const Line& line : ranking.lines) {
    if (line.impact.converged) parameters.push_back(combine_line(ranking, line));
  }
  OrderedJson document;
  append(document, "POIs", OrderedJson::array({std::move(target)}));
  append(document, "params", std::move(parameters));
  append(document, "method", ranking.refit ? "default" : "hesse");
  return document;
}

std::string ranking_csv(const Ranking& ranking) {
  std::vector<std::string> columns{"name"};
  for (const Cell& cell : cells_of({}, ranking.refit)) columns.emplace_back(cell.name);
  columns.emplace_back("converged");
  Csv csv(columns);
  for (const Line& line : ranking.lines) {
    std::vector<std::string> row{csv_cell(line.name)};
    for (const Cell& cell : cells_of(line, ranking.refit)) row.push_back(csv_cell(cell.value));
    row.push_back(csv_flag(line.impact.converged));
    csv.row(row);
  }
  return csv.str();
}

std::string ranking_table(const Ranking& ranking, std::size_t rows) {
  const int decimals = decimals_for(ranking.impacts.error) + 1;
  const auto signed_number = [&](const std::optional<double>& value) {
    if (!value) return std::string();
    return (*value > 0.0 ? "+" : "") + fixed_point(*value, decimals);
  };
  Table table(ranking.refit ? "rlrrrrrrrrl" : "rlrrrrl");
  table.row(ranking.refit
                ? std::vector<std::string>{"", "parameter", "pull", "constraint", "pre-fit up",
                                           "down", "post-fit up", "down", "linear", "global", ""}
                : std::vector<std::string>{"", "parameter", "pull", "constraint", "linear",
                                           "global", ""});
  for (std::size_t i = 0; i < rows; ++i) {
    const Line& line = ranking.lines[i];
    std::vector<std::string> row{std::to_string(i + 1), shorten(line.name, k_name_width)};
    row.push_back(line.constrained ? fmt::format("{:+.2f}", line.pull.pull) : "");
    row.push_back(line.constrained ? fmt::format("{:.2f}", line.pull.constraint) : "");
    const auto cells = cells_of(line, ranking.refit);
    for (std::size_t k = ranking.refit ? 2 : 6; k < 8; ++k) {
      row.push_back(signed_number(cells[k].value));
    }
    row.emplace_back(line.impact.converged ? "" : "NOT CONVERGED");
    table.row(std::move(row));
  }
  return table.str();
}

std::string ranking_text(const Ranking& ranking, std::size_t most) {
  const Impacts& impacts = ranking.impacts;
  const int decimals = decimals_for(impacts.error);
  std::string text =
      fmt::format("  {} = {} +- {}, impacts of {} {}\n\n", ranking.target(),
                  fixed_point(impacts.best.parameters[impacts.target], decimals),
                  fixed_point(impacts.error, decimals), count(ranking.lines.size(), "parameter"),
                  ranking.refit ? "by re-fits and in linear form" : "in linear form");
  if (ranking.lines.empty()) return text + "  nothing to rank: no other parameter floats\n";
  const std::size_t rows = most == 0 ? ranking.lines.size() : std::min(most, ranking.lines.size());
  text += ranking_table(ranking, rows);
  const std::size_t hidden = ranking.lines.size() - rows;
  if (hidden > 0) {
    text += fmt::format("  {} with smaller impact: not shown (--max 0 shows all)\n",
                        count(hidden, "parameter"));
  }
  return text;
}

/// The picture of at most that many parameters; 0 for all.
Picture ranking_picture(const Ranking& ranking, std::size_t most, const PlotStyle& style) {
  std::vector<Pull> pulls;
  for (const Line& line : ranking.lines) pulls.push_back(line.pull);
  const std::size_t rows = most == 0 ? ranking.lines.size() : most;
  return picture(ranking_plot(ranking.loaded.spec(), ranking.impacts, pulls, rows), style);
}

/// One warning per parameter whose re-fits failed, or one for the free fit.
void warn_about(Command& command, const Ranking& ranking) {
  const Impacts& impacts = ranking.impacts;
  for (const Impact& impact : impacts.impacts) {
    if (impact.converged) continue;
    command.note({"no impact by re-fits: " + impact.message,
                  ranking.loaded.spec().parameters[impact.parameter].name});
  }
  if (!impacts.converged && impacts.impacts.empty()) {
    command.note({"no impacts: " + impacts.message, "fit"});
  }
  if (impacts.best.at_bound[impacts.target]) {
    command.note({"the best fit is at a bound: the linear forms mean nothing", ranking.target()});
  }
}

}  // namespace

int run_ranking(Command& command) {
  RankingArguments arguments;
  declare_ranking(command, arguments);
  command.arguments.example("slalom ranking workspace.json --max 10");
  if (!command.parse()) return exit_success;
  if (arguments.linear && arguments.refit) {
    throw Error(ErrorKind::usage, "cannot be used together with --refit", "--linear");
  }
  const LoadedModel loaded = load_model(command, arguments);
  const std::size_t target = floating_parameter(loaded.spec(), arguments.parameter);
  const PlotStyle style = plot_style(arguments.plot, loaded);
  Fitter fitter = make_fitter(loaded);
  const bool refit = !arguments.linear;
  ProgressBar bar(command.progress_stream(), "impacts");
  const Interruption interruption;
  const auto progress = [&](std::size_t done, std::size_t total) {
    bar.update(done, total);
    return !interruption.requested();
  };
  const Impacts result = impacts(fitter, target, {}, {refit, threads_of(arguments), progress});
  bar.clear();
  const Ranking ranking{loaded, result, lines_of(loaded, result), refit};
  warn_about(command, ranking);
  const auto most = static_cast<std::size_t>(arguments.max.value_or(k_default_rows));
  const bool drawn = try_to_draw(command, arguments.plot.file,
                                 [&] { return ranking_picture(ranking, most, style); });
  if (command.wants_format("combine")) {
    command.answer_foreign(combine_json(fitter, ranking));
  } else if (command.wants_json()) {
    command.answer(ranking_json(ranking));
  } else if (command.wants_csv()) {
    command.answer(ranking_csv(ranking));
  } else {
    command.answer(ranking_text(ranking, most));
  }
  if (interruption.requested()) return interruption.exit_code();
  if (!result.converged) return exit_not_converged;
  return drawn ? exit_success : exit_failure;
}

}  // namespace slalom::cli
