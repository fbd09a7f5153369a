// SPDX-License-Identifier: Apache-2.0
#include "cli/grid_plot.hpp"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <map>
#include <optional>

#include "cli/other_formats.hpp"
#include "cli/suggest.hpp"
#include "cli/text.hpp"
#include "slalom/workflows/exclusion_plot.hpp"
#include "slalom/workflows/limit_plot.hpp"

namespace slalom::cli {

bool has_limits(const GridResults& results) {
  return member(results.header.options, "level").is_number();
}

namespace {

/// One signal that can be drawn.
struct Point {
  const OrderedJson* row;
  std::string name;
  const OrderedJson* values;
};

std::size_t find_label(const std::vector<std::string>& labels, const std::string& name,
                       const std::string& where) {
  const auto found = std::find(labels.begin(), labels.end(), name);
  if (found != labels.end()) return static_cast<std::size_t>(found - labels.begin());
  throw Error(ErrorKind::usage,
              labels.empty() ? "the signals have no labels"
                             : fmt::format("there is no label '{}'{}; there are {}", name,
                                           did_you_mean(name, labels), listing(labels)),
              where);
}

/// A label and the value that it must have.
struct Slice {
  std::size_t label;
  std::string text;
  std::optional<double> number;

  bool holds(const OrderedJson& value) const {
    if (value.is_number()) return number && value.get<double>() == *number;
    return value.is_string() && value.get<std::string>() == text;
  }
};

std::vector<Slice> parse_slices(const GridPlotArguments& options,
                                const std::vector<std::string>& labels) {
  std::vector<Slice> slices;
  for (const std::string& text : options.slices) {
    const std::size_t equal = text.find('=');
    if (equal == std::string::npos) {
      throw Error(ErrorKind::usage, fmt::format("LABEL=VALUE expected, got '{}'", text), "--slice");
    }
    Slice slice{find_label(labels, text.substr(0, equal), "--slice"), text.substr(equal + 1), {}};
    try {
      slice.number = parse_number(slice.text, "--slice");
    } catch (const Error&) {
      // Labels may have texts for values.
    }
    slices.push_back(std::move(slice));
  }
  return slices;
}

/// Signals with results in all slices.
std::vector<Point> points_of(const GridResults& results, const GridPlotArguments& options) {
  const std::vector<Slice> slices = parse_slices(options, results.header.labels);
  std::vector<Point> points;
  for (const OrderedJson& row : results.rows) {
    const OrderedJson& values = member(row, "values");
    if (member(row, "status") != "ok" || !values.is_array() ||
        values.size() != results.header.labels.size()) {
      continue;
    }
    const bool inside = std::all_of(slices.begin(), slices.end(), [&](const Slice& slice) {
      return slice.holds(values[slice.label]);
    });
    if (inside) points.push_back({&row, row["name"].get<std::string>(), &values});
  }
  if (points.empty()) {
    throw Error(ErrorKind::usage, "there are no signals with results and labels to show",
                options.slices.empty() ? "plot" : "--slice");
  }
  return points;
}

/// Labels whose values are not all the same.
std::vector<std::size_t> varying(const std::vector<Point>& points, std::size_t n_labels) {
  std::vector<std::size_t> labels;
  for (std::size_t i = 0; i < n_labels; ++i) {
    const bool varies = std::any_of(points.begin(), points.end(), [&](const Point& point) {
      return (*point.values)[i] != (*points.front().values)[i];
    });
    if (varies) labels.push_back(i);
  }
  return labels;
}

double number_at(const Point& point, std::size_t label, const std::vector<std::string>& labels) {
  const OrderedJson& value = (*point.values)[label];
  if (value.is_number()) return value.get<double>();
  throw Error(ErrorKind::usage,
              fmt::format("signal '{}' has no number for '{}'", point.name, labels[label]), "plot");
}

/// The labels of the axes: those that are named, else those that vary.
struct Axes {
  std::size_t x;
  std::optional<std::size_t> y;
};

Axes find_axes(const GridResults& results, const GridPlotArguments& options,
               const std::vector<Point>& points, std::size_t most) {
  const std::vector<std::string>& labels = results.header.labels;
  std::vector<std::size_t> axes;
  if (!options.x.empty()) axes.push_back(find_label(labels, options.x, "--x"));
  if (!options.y.empty()) axes.push_back(find_label(labels, options.y, "--y"));
  if (axes.size() == 2 && axes[0] == axes[1]) {
    throw Error(ErrorKind::usage, "must differ from --x", "--y");
  }
  for (const std::size_t label : varying(points, labels.size())) {
    if (std::find(axes.begin(), axes.end(), label) != axes.end()) continue;
    if (axes.size() == most) {
      throw Error(ErrorKind::usage,
                  fmt::format("'{0}' varies as well: choose one value with --slice {0}=VALUE",
                              labels[label]),
                  "--slice");
    }
    axes.push_back(label);
  }
  // --y alone names the vertical axis.
  if (axes.size() == 2 && options.x.empty() && !options.y.empty()) std::swap(axes[0], axes[1]);
  if (axes.empty()) {
    if (labels.empty()) throw Error(ErrorKind::usage, "the signals have no labels", "plot");
    axes.push_back(0);
  }
  return {axes[0], axes.size() > 1 ? std::optional(axes[1]) : std::nullopt};
}

std::optional<double> known(const OrderedJson& value) {
  return value.is_number() ? std::optional(value.get<double>()) : std::nullopt;
}

double level_of(const GridResults& results) {
  return known(member(results.header.options, "level")).value_or(0.05);
}

double mu_of(const GridResults& results) {
  return known(member(results.header.options, "mu")).value_or(1.0);
}

/// Observed and expected numbers of a signal: limits, or CLs. Nothing if one is missing.
std::optional<BandPoint> band_of(const Point& point, double x, bool limits) {
  const OrderedJson& row = *point.row;
  const OrderedJson& limit = member(row, "limit");
  const OrderedJson& observed = limits ? member(limit, "observed") : member(row, "cls_observed");
  const OrderedJson& expected = limits ? member(limit, "expected") : member(row, "cls_expected");
  BandPoint result{x, known(observed), {}};
  if (!result.observed) return {};
  for (std::size_t i = 0; i < result.expected.size(); ++i) {
    const std::optional<double> value = known(element(expected, i));
    if (!value) return {};
    result.expected[i] = *value;
  }
  return result;
}

std::string title_of(const GridPlotArguments& options, const std::string& name) {
  for (const auto& [known, text] : options.plot.labels) {
    if (known == name) return text;
  }
  return without_markup(name);
}

/// The name of the parameter of interest, the same for all signals or else a word for it.
std::string poi_of(const std::vector<Point>& points) {
  const OrderedJson& first = member(*points.front().row, "poi");
  const bool same = std::all_of(points.begin(), points.end(), [&](const Point& point) {
    return member(*point.row, "poi") == first;
  });
  return same && first.is_string() ? first.get<std::string>() : "signal strength";
}

PlotStyle style_of(const GridResults& results, const GridPlotArguments& options) {
  PlotStyle style;
  style.title = options.plot.title;
  style.note = options.plot.note;
  for (const Slice& slice : parse_slices(options, results.header.labels)) {
    style.lines.push_back(results.header.labels[slice.label] + " = " + slice.text);
  }
  return style;
}

void sort_points(std::vector<BandPoint>& points, const std::string& label) {
  std::sort(points.begin(), points.end(),
            [](const BandPoint& a, const BandPoint& b) { return a.x < b.x; });
  const auto twice =
      std::adjacent_find(points.begin(), points.end(),
                         [](const BandPoint& a, const BandPoint& b) { return a.x == b.x; });
  if (twice == points.end()) return;
  throw Error(ErrorKind::usage, fmt::format("two signals have {} = {}", label, exact(twice->x)),
              "plot");
}

Picture band_picture(const GridResults& results, const GridPlotArguments& options,
                     const std::vector<Point>& points, std::size_t x) {
  const std::vector<std::string>& labels = results.header.labels;
  const bool limits = has_limits(results);
  LimitPlot plot;
  plot.axis = title_of(options, labels[x]);
  plot.level = level_of(results);
  const std::string poi = title_of(options, poi_of(points));
  plot.quantity =
      limits ? fmt::format("{} % CL upper limit on {}", brief(100.0 * (1.0 - plot.level), 4), poi)
             : "CL_{s}";
  plot.excluded_label =
      limits ? poi + " = " + brief(mu_of(results)) : "CL_{s} = " + brief(plot.level);
  if (!limits) {
    constexpr std::array<double, 2> k_cls_range{1e-4, 50.0};
    plot.caption = "Test of " + poi + " = " + brief(mu_of(results));
    plot.range = k_cls_range;
  }
  plot.excluded = limits ? mu_of(results) : plot.level;
  for (const Point& point : points) {
    if (auto band = band_of(point, number_at(point, x, labels), limits)) {
      plot.points.push_back(*band);
    }
  }
  sort_points(plot.points, labels[x]);
  return picture(plot, style_of(results, options));
}

Picture region_picture(const GridResults& results, const GridPlotArguments& options,
                       const std::vector<Point>& points, std::size_t x, std::size_t y) {
  const std::vector<std::string>& labels = results.header.labels;
  const bool limits = has_limits(results);
  const double mu = mu_of(results);
  ExclusionPlot plot;
  plot.axes = {title_of(options, labels[x]), title_of(options, labels[y])};
  plot.level = level_of(results);
  const auto measure = [&](double value) {
    return limits ? exclusion_by_limit(value, mu) : exclusion_by_cls(value, plot.level);
  };
  for (const Point& point : points) {
    const auto band = band_of(point, number_at(point, x, labels), limits);
    if (!band) continue;
    plot.points.push_back(
        {band->x,
         number_at(point, y, labels),
         measure(*band->observed),
         {measure(band->expected[1]), measure(band->expected[2]), measure(band->expected[3])}});
  }
  plot.caption = title_of(options, poi_of(points)) + " = " + brief(mu);
  return picture(plot, style_of(results, options));
}

}  // namespace

void declare_grid_plot(Command& command, GridPlotArguments& options) {
  Arguments& arguments = command.arguments;
  arguments.group("Plot");
  arguments.text("--plot", options.plot.file, "FILE",
                 "Draw limits (CLs without --limit) against one label, or the excluded region of "
                 "two, with gnuplot into FILE (.svg, .png, .pdf)");
  arguments.text("--x", options.x, "LABEL",
                 "Label of the horizontal axis; default is the first one that varies");
  arguments.text("--y", options.y, "LABEL",
                 "Label of the vertical axis; default is the next one that varies, if any");
  arguments.texts("--slice", options.slices, "LABEL=VALUE",
                  "Show only signals with that value of a label; repeatable");
  arguments.pairs("--label", options.plot.labels, "NAME TEXT",
                  "Title of an axis in place of the name of its label, e.g. 'm_{X} [GeV]', or of "
                  "the parameter of interest; repeatable");
  arguments.text("--title", options.plot.title, "TEXT", "Above the frame on the left");
  arguments.text("--note", options.plot.note, "TEXT",
                 "Above the frame on the right: luminosity and energy");
  command.declare_format({"combine", "pyhf"});
}

void check_grid_plot(const Command& command, const GridPlotArguments& options,
                     const std::vector<std::string>& labels, bool limits) {
  check_plot_file(options.plot.file);
  const bool plot = !options.plot.file.empty(), combine = command.wants_format("combine");
  for (const auto& [given, name] : {std::pair{!options.plot.labels.empty(), "--label"},
                                    {!options.plot.title.empty(), "--title"},
                                    {!options.plot.note.empty(), "--note"},
                                    {!options.y.empty(), "--y"}}) {
    if (given && !plot) throw Error(ErrorKind::usage, "needs --plot", name);
  }
  for (const auto& [given, name] :
       {std::pair{!options.x.empty(), "--x"}, {!options.slices.empty(), "--slice"}}) {
    if (given && !plot && !combine) {
      throw Error(ErrorKind::usage, "needs --plot or --format combine", name);
    }
  }
  if (!options.x.empty()) find_label(labels, options.x, "--x");
  if (!options.y.empty()) find_label(labels, options.y, "--y");
  parse_slices(options, labels);
  if (combine && !limits) {
    throw Error(ErrorKind::usage, "has limits, which `patchset run` computes with --limit",
                "--format combine");
  }
  if ((combine || plot) && labels.empty()) {
    throw Error(ErrorKind::usage, "the signals have no labels", plot ? "--plot" : "--format");
  }
}

Picture grid_picture(const GridResults& results, const GridPlotArguments& options) {
  const std::vector<Point> points = points_of(results, options);
  const Axes axes = find_axes(results, options, points, 2);
  return axes.y ? region_picture(results, options, points, axes.x, *axes.y)
                : band_picture(results, options, points, axes.x);
}

OrderedJson grid_combine_json(const GridResults& results, const GridPlotArguments& options) {
  const std::vector<Point> points = points_of(results, options);
  const std::size_t label = find_axes(results, options, points, 1).x;
  std::map<double, OrderedJson> entries;
  for (const Point& point : points) {
    const OrderedJson& limit = member(*point.row, "limit");
    CombineLimit entry;
    entry.observed = known(member(limit, "observed"));
    for (std::size_t i = 0; i < entry.expected.size(); ++i) {
      entry.expected[i] = known(element(member(limit, "expected"), i));
    }
    const double mass = number_at(point, label, results.header.labels);
    if (!entries.emplace(mass, combine_limit(entry)).second) {
      throw Error(
          ErrorKind::usage,
          fmt::format("two signals have {} = {}", results.header.labels[label], exact(mass)),
          "--format combine");
    }
  }
  OrderedJson document;
  for (auto& [mass, entry] : entries) append(document, mass_key(mass), std::move(entry));
  return document;
}

OrderedJson grid_pyhf_json(const GridResults& results) {
  OrderedJson document = OrderedJson::object();
  for (const OrderedJson& row : results.rows) {
    if (member(row, "status") != "ok") continue;
    OrderedJson entry;
    append(entry, "CLs_exp", member(row, "cls_expected"));
    append(entry, "CLs_obs", member(row, "cls_observed"));
    append(document, row["name"].get<std::string>(), std::move(entry));
  }
  return document;
}

}  // namespace slalom::cli
