// SPDX-License-Identifier: Apache-2.0
/// \file
/// `slalom contour`.
#include <algorithm>
#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/csv.hpp"
#include "cli/levels.hpp"
#include "cli/model_arguments.hpp"
#include "cli/plot_arguments.hpp"
#include "cli/result.hpp"
#include "cli/text.hpp"
#include "slalom/core/contour.hpp"
#include "slalom/workflows/cli.hpp"
#include "slalom/workflows/contour_plot.hpp"

namespace slalom::cli {

namespace {

constexpr long k_default_points = 40;
constexpr long k_fewest_points = 8;
/// A grid reaches beyond the outermost contour by this part of its size.
constexpr double k_grid_margin = 0.15;

struct ContourArguments : ModelArguments {
  std::string x, y;
  std::vector<std::string> levels;
  std::optional<long> points;
  std::vector<std::pair<std::string, std::string>> grid;
  PlotArguments plot;
};

/// Contours of two parameters, and a grid if one was asked for.
struct Contours {
  std::string x, y;
  std::vector<Contour> contours;
  std::optional<ProfileGrid> grid;
};

void declare_contour(Command& command, ContourArguments& options) {
  declare_model(command, options);
  declare_point(command, options);
  declare_data(command, options);
  Arguments& arguments = command.arguments;
  arguments.group("Contour");
  arguments.text("--x", options.x, "NAME", "First parameter; default is that of interest");
  arguments.text("--y", options.y, "NAME",
                 "Second parameter; default is the one most correlated with the first");
  declare_levels(command, options.levels);
  arguments.integer("--points", options.points, k_fewest_points, "N",
                    fmt::format("Points of each contour, roughly; default {}", k_default_points));
  arguments.pairs("--grid", options.grid, "NX NY",
                  "The profile on a grid around the contours as well, and a warning if it has "
                  "allowed points that no contour encloses");
  declare_plot(command, options.plot, "the contours and the best fit");
  command.declare_csv();
}

std::size_t free_parameter(const ModelSpec& spec, const std::string& name,
                           const std::string& where) {
  const std::size_t index = name.empty() ? require_poi(spec) : find_parameter(spec, name, where);
  if (!spec.parameters[index].fixed) return index;
  throw Error(ErrorKind::usage,
              fmt::format("parameter '{0}' is fixed; let it float with --float {0}",
                          spec.parameters[index].name),
              where);
}

std::array<long, 2> grid_size(const ContourArguments& options) {
  if (options.grid.size() > 1) throw Error(ErrorKind::usage, "is given more than once", "--grid");
  return {parse_integer(options.grid[0].first, "--grid", 2),
          parse_integer(options.grid[0].second, "--grid", 2)};
}

/// Even steps over the contours and a margin, within the bounds.
std::vector<double> grid_values(const std::vector<Contour>& contours, double ContourPoint::*axis,
                                const Parameter& parameter, double best, long n) {
  double low = best, high = best;
  for (const Contour& contour : contours) {
    for (const ContourPoint& point : contour.points) {
      low = std::min(low, point.*axis);
      high = std::max(high, point.*axis);
    }
  }
  const double margin = k_grid_margin * (high - low);
  low = std::max(low - margin, parameter.lower);
  high = std::min(high + margin, parameter.upper);
  if (!(low < high)) {
    low = parameter.lower;
    high = parameter.upper;
  }
  std::vector<double> values;
  for (long i = 0; i < n; ++i) {
    const double part = static_cast<double>(i) / static_cast<double>(n - 1);
    values.push_back(i == n - 1 ? high : low + part * (high - low));
  }
  return values;
}

Contours find_contours(const LoadedModel& loaded, const ContourArguments& options,
                       const std::vector<double>& levels) {
  const ModelSpec& spec = loaded.spec();
  const std::size_t x = free_parameter(spec, options.x, "--x");
  Fitter fitter = make_fitter(loaded);
  FitResult best = fitter.fit();
  const std::size_t y =
      options.y.empty() ? most_correlated(fitter, best, x) : free_parameter(spec, options.y, "--y");
  if (x == y) throw Error(ErrorKind::usage, "must differ from --x", "--y");
  Contours result{spec.parameters[x].name, spec.parameters[y].name, {}, {}};
  ContourOptions contour_options;
  contour_options.points = static_cast<std::size_t>(options.points.value_or(k_default_points));
  for (double level : levels) {
    result.contours.push_back(contour(fitter, best, x, y, level, contour_options));
    best = result.contours.back().best;
  }
  if (options.grid.empty()) return result;
  const auto [n_x, n_y] = grid_size(options);
  const std::vector<double> x_values =
      grid_values(result.contours, &ContourPoint::x, spec.parameters[x], best.parameters[x], n_x);
  const std::vector<double> y_values =
      grid_values(result.contours, &ContourPoint::y, spec.parameters[y], best.parameters[y], n_y);
  result.grid = profile_grid(fitter, best, x, y, x_values, y_values, {}, threads_of(options));
  return result;
}

bool all_converged(const Contours& result) {
  const auto ok = [](const Contour& contour) { return contour.converged; };
  return std::all_of(result.contours.begin(), result.contours.end(), ok) &&
         (!result.grid || std::all_of(result.grid->converged.begin(), result.grid->converged.end(),
                                      [](bool c) { return c; }));
}

/// Allowed grid points that are not inside the contour, nor next to it.
std::size_t points_elsewhere(const ProfileGrid& grid, const Contour& contour) {
  const std::size_t n_x = grid.x_values.size(), n_y = grid.y_values.size();
  const double step_x = grid.x_values[1] - grid.x_values[0];
  const double step_y = grid.y_values[1] - grid.y_values[0];
  std::size_t elsewhere = 0;
  for (std::size_t i = 0; i < n_x; ++i) {
    for (std::size_t j = 0; j < n_y; ++j) {
      if (!(grid.delta_twice_nll[i * n_y + j] < contour.delta)) continue;
      bool near = false;
      for (const double a : {-1.0, 0.0, 1.0}) {
        for (const double b : {-1.0, 0.0, 1.0}) {
          near = near ||
                 encloses(contour, grid.x_values[i] + a * step_x, grid.y_values[j] + b * step_y);
        }
      }
      if (!near) ++elsewhere;
    }
  }
  return elsewhere;
}

void warn_about(Command& command, const Contours& result) {
  for (const Contour& contour : result.contours) {
    if (!contour.converged) {
      command.note({contour.message, fmt::format("contour of {}", percent(contour.level))});
    }
  }
  const double lowest = result.contours.back().best.twice_nll;
  constexpr double k_clearly = 1e-6;
  if (result.contours.front().best.twice_nll > lowest + k_clearly) {
    command.note(
        {"a lower minimum was found on the way; contours of lower levels are around the "
         "other one",
         "fit"});
  }
  if (!result.grid) return;
  if (result.grid->best.twice_nll < lowest - k_clearly) {
    command.note({"the grid has a minimum that is lower than that of the contours", "--grid"});
  }
  const auto failed = static_cast<std::size_t>(
      std::count(result.grid->converged.begin(), result.grid->converged.end(), false));
  if (failed > 0) {
    command.note({fmt::format("{} of the grid did not converge", count(failed, "fit")), "--grid"});
  }
  for (const Contour& contour : result.contours) {
    const std::size_t elsewhere = points_elsewhere(*result.grid, contour);
    if (elsewhere == 0 || !contour.converged) continue;
    command.note({fmt::format("{} of the grid are allowed at {} but not enclosed by the contour: "
                              "the region has another part",
                              count(elsewhere, "point"), percent(contour.level)),
                  "--grid"});
  }
}

OrderedJson contour_json(const Contour& contour) {
  OrderedJson result, points = OrderedJson::array();
  for (const ContourPoint& p : contour.points) {
    points.push_back(number_array(std::vector<double>{p.x, p.y}, "points"));
  }
  OrderedJson at_bound = OrderedJson::array();
  for (const ContourPoint& p : contour.points) at_bound.push_back(p.at_bound);
  append(result, "level", contour.level);
  append(result, "delta_twice_nll", finite(contour.delta, "delta_twice_nll"));
  append(result, "points", std::move(points));
  append(result, "at_bound", std::move(at_bound));
  append(result, "closed", contour.closed);
  append(result, "converged", contour.converged);
  return result;
}

OrderedJson grid_json(const ProfileGrid& grid) {
  OrderedJson result, rows = OrderedJson::array(), converged = OrderedJson::array();
  const std::size_t n_y = grid.y_values.size();
  for (std::size_t i = 0; i < grid.x_values.size(); ++i) {
    const auto begin = grid.delta_twice_nll.begin() + static_cast<std::ptrdiff_t>(i * n_y);
    rows.push_back(number_array(
        std::vector<double>(begin, begin + static_cast<std::ptrdiff_t>(n_y)), "delta_twice_nll"));
    OrderedJson row = OrderedJson::array();
    for (std::size_t j = 0; j < n_y; ++j) row.push_back(bool(grid.converged[i * n_y + j]));
    converged.push_back(std::move(row));
  }
  append(result, "x", number_array(grid.x_values, "x"));
  append(result, "y", number_array(grid.y_values, "y"));
  append(result, "delta_twice_nll", std::move(rows));
  append(result, "converged", std::move(converged));
  return result;
}

OrderedJson contours_json(const Contours& result, const std::string& measurement) {
  OrderedJson document, best, list = OrderedJson::array();
  const Contour& last = result.contours.back();
  append(best, "x", finite(last.best.parameters[last.x], "best"));
  append(best, "y", finite(last.best.parameters[last.y], "best"));
  append(best, "twice_nll", finite(last.best.twice_nll, "best"));
  append(best, "converged", last.best.converged());
  for (const Contour& contour : result.contours) list.push_back(contour_json(contour));
  append(document, "x", result.x);
  append(document, "y", result.y);
  append(document, "best", std::move(best));
  append(document, "contours", std::move(list));
  if (result.grid) append(document, "grid", grid_json(*result.grid));
  append(document, "converged", all_converged(result));
  append(document, "measurement", measurement);
  return document;
}

std::string contours_csv(const Contours& result) {
  Csv csv({"level", "x", "y", "at_bound", "converged"});
  for (const Contour& contour : result.contours) {
    for (const ContourPoint& p : contour.points) {
      csv.row({csv_cell(contour.level), csv_cell(p.x), csv_cell(p.y), csv_flag(p.at_bound),
               csv_flag(contour.converged && p.converged)});
    }
  }
  return csv.str();
}

std::string contours_text(const Contours& result) {
  const Contour& last = result.contours.back();
  std::string text =
      fmt::format("  best fit: {} = {}, {} = {}\n", result.x, brief(last.best.parameters[last.x]),
                  result.y, brief(last.best.parameters[last.y]));
  for (const Contour& contour : result.contours) {
    text += fmt::format("\n  {} region, 2 Delta NLL = {}{}\n\n", percent(contour.level),
                        brief(contour.delta), contour.converged ? "" : ", NOT CONVERGED");
    Table table("rrl");
    table.row({shorten(result.x, 20), shorten(result.y, 20), ""});
    for (const ContourPoint& p : contour.points) {
      table.row({brief(p.x), brief(p.y), p.at_bound ? "bound" : ""});
    }
    text += table.str();
  }
  if (result.grid) text += "\n  the grid is in the output of --json\n";
  return text;
}

}  // namespace

int run_contour(Command& command) {
  ContourArguments arguments;
  declare_contour(command, arguments);
  command.arguments.example(
      "slalom contour workspace.json --x mu --y background_norm --level 0.95");
  if (!command.parse()) return exit_success;
  const std::vector<double> levels = parse_levels(arguments.levels);
  if (!arguments.grid.empty()) grid_size(arguments);
  const LoadedModel loaded = load_model(command, arguments);
  const PlotStyle style = plot_style(arguments.plot, loaded);
  const Contours result = find_contours(loaded, arguments, levels);
  warn_about(command, result);
  const bool drawn = try_to_draw(command, arguments.plot.file, [&] {
    return picture(contour_plot(loaded.spec(), result.contours), style);
  });
  if (command.wants_json()) {
    command.answer(contours_json(result, loaded.measurement));
  } else if (command.wants_csv()) {
    command.answer(contours_csv(result));
  } else {
    command.answer(contours_text(result));
  }
  if (!all_converged(result)) return exit_not_converged;
  return drawn ? exit_success : exit_failure;
}

}  // namespace slalom::cli
