// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/contour_plot.hpp"

#include <algorithm>
#include <fmt/format.h>

#include "cli/levels.hpp"
#include "cli/plot/script.hpp"
#include "cli/text.hpp"

namespace slalom {

namespace {

using cli::Frame;
using cli::gnuplot_text;
using cli::number;

constexpr double k_width = 640.0;
constexpr double k_below = 68.0;
constexpr double k_panel = 500.0;

struct Range {
  double low;
  double high;
};

void include(Range& range, double value) {
  range.low = std::min(range.low, value);
  range.high = std::max(range.high, value);
}

/// With room on all sides, and for the legend above.
Range widened(Range range, double above) {
  const double width = range.high > range.low ? range.high - range.low : 1.0;
  return {range.low - 0.08 * width, range.high + above * width};
}

std::string curve_data(const ContourCurve& curve, std::size_t i) {
  std::vector<std::vector<double>> rows;
  for (const auto& [x, y] : curve.points) rows.push_back({x, y});
  if (curve.closed && !rows.empty()) rows.push_back(rows.front());
  return cli::data_block(fmt::format("curve_{}", i), rows);
}

/// Curves of one label look the same and share an entry of the legend.
std::string curves(const ContourPlot& plot) {
  std::string text;
  std::vector<std::string> labels;
  for (std::size_t i = 0; i < plot.curves.size(); ++i) {
    const ContourCurve& curve = plot.curves[i];
    if (curve.points.empty()) continue;
    auto known = std::find(labels.begin(), labels.end(), curve.label);
    const bool first = known == labels.end();
    if (first) known = labels.insert(labels.end(), curve.label);
    const auto look = static_cast<std::size_t>(known - labels.begin());
    constexpr std::array<int, 4> k_dashes{1, 2, 4, 3};
    text += fmt::format("$curve_{} using 1:2 with lines lc rgb '{}' lw 2.2 dt {} {}, \\\n  ", i,
                        cli::k_palette[(look * 5) % cli::k_palette.size()],
                        k_dashes[look % k_dashes.size()],
                        first ? "title " + gnuplot_text(without_markup(curve.label)) : "notitle");
  }
  return text;
}

}  // namespace

ContourPlot contour_plot(const ModelSpec& spec, const std::vector<Contour>& contours) {
  std::vector<const Contour*> order;
  order.reserve(contours.size());
  for (const Contour& contour : contours) order.push_back(&contour);
  std::stable_sort(order.begin(), order.end(),
                   [](const Contour* a, const Contour* b) { return a->level < b->level; });
  const Contour& last = contours.back();
  ContourPlot plot;
  plot.parameters = {spec.parameters[last.x].name, spec.parameters[last.y].name};
  plot.best = {last.best.parameters[last.x], last.best.parameters[last.y]};
  for (const Contour* contour : order) {
    ContourCurve curve{cli::percent(contour->level), {}, contour->closed};
    if (!contour->converged) curve.label += ", not converged";
    for (const ContourPoint& p : contour->points) curve.points.emplace_back(p.x, p.y);
    plot.curves.push_back(std::move(curve));
  }
  return plot;
}

Picture picture(const ContourPlot& plot, const PlotStyle& style) {
  const double top = std::max(cli::heading_height(style, k_width - 125.0) + 10.0, 28.0);
  const Frame frame{100.0, top, k_width - 25.0, top + k_panel};
  Picture page{k_width, frame.bottom + k_below, "",
               fmt::format("Regions of {} and {}", plot.parameters[0], plot.parameters[1])};
  Range x{plot.best.first, plot.best.first};
  Range y{plot.best.second, plot.best.second};
  for (std::size_t i = 0; i < plot.curves.size(); ++i) {
    page.script += curve_data(plot.curves[i], i);
    for (const auto& [px, py] : plot.curves[i].points) {
      include(x, px);
      include(y, py);
    }
  }
  std::vector<std::vector<double>> expected;
  if (plot.expected) {
    expected.push_back({plot.expected->first, plot.expected->second});
    include(x, plot.expected->first);
    include(y, plot.expected->second);
  }
  std::vector<std::string> lines;
  for (const std::string& line : style.lines) lines.push_back(without_markup(line));
  x = widened(x, 0.08);
  y = widened(y, 0.3);
  page.script += cli::data_block("best", {{plot.best.first, plot.best.second}}) +
                 cli::data_block("expected", expected) + cli::margins(page, frame) +
                 cli::heading(page, frame, style) + cli::inner_lines(page, frame, lines) +
                 cli::text_at(page, 28.0, 0.5 * (frame.top + frame.bottom),
                              cli::label_of(style, plot.parameters[1]), "center rotate by 90") +
                 cli::text_at(page, 0.5 * (frame.left + frame.right), frame.bottom + 48.0,
                              cli::label_of(style, plot.parameters[0]), "center") +
                 fmt::format(
                     "set xrange [{}:{}]; set yrange [{}:{}]; set mxtics; set mytics\n"
                     "set key top right Left reverse samplen 2.4 spacing SPACING\nplot ",
                     number(x.low), number(x.high), number(y.low), number(y.high)) +
                 curves(plot);
  if (plot.expected) {
    page.script += fmt::format(
        "$expected using 1:2 with points lc rgb '{}' pt 13 ps 1.3 title {}, "
        "\\\n  ",
        cli::k_signal_colour, gnuplot_text(plot.expected_label));
  }
  page.script += "$best using 1:2 with points lc rgb 'black' lw 2 pt 1 ps 1.4 title 'Best fit'\n";
  return page;
}

}  // namespace slalom
