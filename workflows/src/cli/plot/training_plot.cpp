// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/training_plot.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <set>

#include "cli/plot/script.hpp"
#include "cli/text.hpp"

namespace slalom {

namespace {

using cli::Frame;
using cli::number;

constexpr double k_width = 720.0;
constexpr double k_left = 105.0;
constexpr double k_right = 25.0;
constexpr double k_below = 68.0;
constexpr double k_gap = 16.0;
constexpr double k_single = 400.0;
constexpr double k_several = 235.0;
/// Values over more than this factor get a logarithmic axis.
constexpr double k_decade = 10.0;
constexpr double k_legend_row = 21.5;
constexpr std::size_t k_label = 30;

struct Range {
  double low = HUGE_VAL;
  double high = -HUGE_VAL;

  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return !(low <= high); }
};

struct Axis {
  Range range;
  bool logarithmic = false;
};

/// Names in the legend, in order.
std::vector<std::string> names_of(const TrainingPanel& panel) {
  std::vector<std::string> names;
  for (const TrainingCurve& curve : panel.curves) {
    if (curve.name.empty()) continue;
    if (std::find(names.begin(), names.end(), curve.name) == names.end()) {
      names.push_back(curve.name);
    }
  }
  return names;
}

/// The first points of a training are often far away from all others: what a fiftieth of a line
/// needs is left out if the rest then takes less than half of the room.
Axis axis_of(const TrainingPanel& panel, double room) {
  Range all, rest;
  for (const TrainingCurve& curve : panel.curves) {
    const std::size_t skipped = curve.points.size() / 50;
    for (std::size_t i = 0; i < curve.points.size(); ++i) {
      all.include(curve.points[i].second);
      if (i >= skipped) rest.include(curve.points[i].second);
    }
  }
  if (panel.line) {
    all.include(*panel.line);
    rest.include(*panel.line);
  }
  if (all.empty()) return {{0.0, 1.0}, false};
  Axis axis{all, all.low > 0.0 && all.high > k_decade * all.low};
  if (!axis.logarithmic && rest.high - rest.low < 0.5 * (all.high - all.low) &&
      rest.high > rest.low) {
    axis.range = rest;
  }
  Range& range = axis.range;
  if (axis.logarithmic) {
    const double span = std::log(range.high / range.low) / (1.0 - room - 0.08);
    range.high *= std::exp(span * (room + 0.04));
    range.low *= std::exp(-0.04 * span);
    return axis;
  }
  const double least = 1e-6 * std::max(std::abs(range.high), 1e-300);
  const double span = std::max(range.high - range.low, least) / (1.0 - room - 0.1);
  range.high += span * (room + 0.05);
  range.low -= 0.05 * span;
  return axis;
}

const char* colour_of(const TrainingCurve& curve) {
  if (curve.colour < 0) return "#9c9c9c";
  return cli::k_palette[static_cast<std::size_t>(curve.colour) % cli::k_palette.size()];
}

std::string block_name(std::size_t panel, std::size_t curve) {
  return fmt::format("curve_{}_{}", panel, curve);
}

std::string data_blocks(const TrainingPlot& plot) {
  std::string text;
  for (std::size_t p = 0; p < plot.panels.size(); ++p) {
    const auto& curves = plot.panels[p].curves;
    for (std::size_t c = 0; c < curves.size(); ++c) {
      std::vector<std::vector<double>> rows;
      for (const auto& [step, value] : curves[c].points) rows.push_back({step, value});
      text += cli::data_block(block_name(p, c), rows);
    }
  }
  return text;
}

double last_step(const TrainingPlot& plot) {
  double last = 1.0;
  for (const TrainingPanel& panel : plot.panels) {
    for (const TrainingCurve& curve : panel.curves) {
      if (!curve.points.empty()) last = std::max(last, curve.points.back().first);
    }
  }
  return last;
}

std::string curves_text(const TrainingPanel& panel, std::size_t index, const PlotStyle& style) {
  std::string text = "plot NaN notitle";
  for (std::size_t c = 0; c < panel.curves.size(); ++c) {
    const TrainingCurve& curve = panel.curves[c];
    // Thin lines are too pale in a legend, which gets a line of its own.
    const bool single = curve.points.size() == 1;
    text += fmt::format(", \\\n  ${} using 1:2 with {} lc rgb '{}' lw {} pt 7 ps 0.5 notitle",
                        block_name(index, c), single ? "points" : "lines", colour_of(curve),
                        curve.thin ? 1.0 : 2.2);
  }
  std::set<std::string> shown;
  for (const TrainingCurve& curve : panel.curves) {
    if (curve.name.empty() || !shown.insert(curve.name).second) continue;
    text += fmt::format(", \\\n  NaN with lines lc rgb '{}' lw 2.2 title {}", colour_of(curve),
                        cli::gnuplot_text(cli::label_of(style, curve.name, k_label)));
  }
  return text + "\n";
}

/// As many columns as there is room for.
std::size_t legend_columns(const std::vector<std::string>& names, const PlotStyle& style,
                           double width) {
  double longest = 0.0;
  for (const std::string& name : names) {
    longest = std::max(longest, cli::text_width(cli::label_of(style, name, k_label)));
  }
  constexpr double k_sample = 60.0;
  const auto most = static_cast<std::size_t>(std::max(width / (longest + k_sample), 1.0));
  return std::clamp<std::size_t>(names.size(), 1, std::min<std::size_t>(most, 4));
}

std::string panel_text(const Picture& page, const Frame& frame, const TrainingPlot& plot,
                       std::size_t index, const PlotStyle& style) {
  const TrainingPanel& panel = plot.panels[index];
  const bool last = index + 1 == plot.panels.size();
  const std::vector<std::string> names = names_of(panel);
  const std::size_t columns = legend_columns(names, style, frame.width());
  const std::size_t rows = (names.size() + columns - 1) / columns;
  const std::size_t lines = index == 0 ? style.lines.size() : 0;
  const double lines_height = 26.0 * static_cast<double>(lines);
  const double above =
      lines_height + k_legend_row * static_cast<double>(rows) + (rows + lines > 0 ? 8.0 : 0.0);
  const Axis axis = axis_of(panel, std::min(above / frame.height(), 0.5));
  std::vector<std::string> inner;
  if (index == 0) {
    for (const std::string& line : style.lines) inner.push_back(without_markup(line));
  }
  std::string text =
      cli::margins(page, frame) + cli::inner_lines(page, frame, inner) +
      cli::text_at(page, 30.0, 0.5 * (frame.top + frame.bottom), panel.label,
                   "center rotate by 90") +
      (index == 0 ? cli::heading(page, frame, style) : "") +
      (last ? cli::text_at(page, 0.5 * (frame.left + frame.right), frame.bottom + 48.0, "Step",
                           "center")
            : "") +
      fmt::format(
          "set format x '{}'\nset key at graph 0.985, screen {:.6f} right top Left reverse "
          "spacing SPACING samplen 2 maxcols {} maxrows {}\n",
          last ? "%.10g" : "", 1.0 - (frame.top + lines_height + 6.0) / page.height, columns,
          std::max<std::size_t>(rows, 1)) +
      fmt::format("set yrange [{}:{}]; unset ytics; set ytics; set mxtics; set mytics\n",
                  number(axis.range.low), number(axis.range.high));
  // The step of the panel above would be a factor here.
  text += axis.logarithmic ? "set logscale y; set ytics autofreq\n" : "unset logscale y\n";
  if (!axis.logarithmic) {
    text +=
        fmt::format("set ytics {}\n", number(cli::tick_step(axis.range.high - axis.range.low,
                                                            std::max(frame.height() / 55.0, 2.0))));
  }
  if (plot.best) {
    text += fmt::format(
        "set arrow from first {0},graph 0 to first {0},graph {1:.4f} nohead lc rgb '{2}' dt 3 "
        "lw 1.5 back\n",
        number(*plot.best), 1.0 - above / frame.height(), cli::k_signal_colour);
  }
  if (panel.line) {
    text += fmt::format(
        "set arrow from graph 0,first {0} to graph 1,first {0} nohead lc rgb '#707070' dt 2 lw 1 "
        "back\n",
        number(*panel.line));
  }
  return text + curves_text(panel, index, style) + "unset label\nunset arrow\n";
}

}  // namespace

std::vector<std::pair<double, double>> thinned(const std::vector<std::pair<double, double>>& points,
                                               std::size_t most) {
  if (points.size() <= most || most < 3) return points;
  std::vector<std::pair<double, double>> result{points.front()};
  const std::size_t groups = most - 2, inner = points.size() - 2;
  for (std::size_t g = 0; g < groups; ++g) {
    const std::size_t begin = 1 + g * inner / groups, end = 1 + (g + 1) * inner / groups;
    double step = 0.0, value = 0.0;
    for (std::size_t i = begin; i < end; ++i) {
      step += points[i].first;
      value += points[i].second;
    }
    const auto n = static_cast<double>(end - begin);
    result.emplace_back(step / n, value / n);
  }
  result.push_back(points.back());
  return result;
}

Picture picture(const TrainingPlot& plot, const PlotStyle& style) {
  const double top = std::max(cli::heading_height(style, k_width - k_left - k_right) + 10.0, 28.0);
  const double height = plot.panels.size() == 1 ? k_single : k_several;
  const auto n = static_cast<double>(plot.panels.size());
  Picture page{k_width, top + n * height + (n - 1.0) * k_gap + k_below, "",
               fmt::format("Training, {}", cli::count(plot.panels.size(), "panel"))};
  page.script = data_blocks(plot) + "set multiplot\n" +
                fmt::format("set xrange [0:{}]\n", number(last_step(plot)));
  for (std::size_t p = 0; p < plot.panels.size(); ++p) {
    const double y = top + static_cast<double>(p) * (height + k_gap);
    page.script += panel_text(page, {k_left, y, k_width - k_right, y + height}, plot, p, style);
  }
  page.script += "unset multiplot\n";
  return page;
}

}  // namespace slalom
