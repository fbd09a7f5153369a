// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/significance_improvement_plot.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "cli/plot/script.hpp"
#include "cli/text.hpp"

namespace slalom {

namespace {

using cli::Frame;
using cli::number;

constexpr double k_width = 720.0;
constexpr double k_below = 68.0;
constexpr double k_panel = 430.0;
constexpr double k_legend_row = 21.5;

std::string colour_of(int index) {
  if (index < 0) return cli::k_signal_colour;
  return cli::k_palette[static_cast<std::size_t>(index) % cli::k_palette.size()];
}

/// Points of a curve that have an error bar: evenly spaced in efficiency.
std::vector<std::vector<double>> bars(const SignificanceImprovementLine& curve, std::size_t n) {
  std::vector<std::vector<double>> rows;
  if (curve.points.empty() || n == 0) return rows;
  double next = 0.5 / static_cast<double>(n);
  for (const SignificanceImprovementPoint& p : curve.points) {
    if (p.signal_efficiency < next) continue;
    rows.push_back({p.signal_efficiency, p.value, p.error});
    while (next <= p.signal_efficiency) next += 1.0 / static_cast<double>(n);
  }
  return rows;
}

}  // namespace

Picture picture(const SignificanceImprovementPlot& plot, const PlotStyle& style) {
  const double top = std::max(cli::heading_height(style, k_width - 125.0) + 10.0, 28.0);
  const Frame frame{100.0, top, k_width - 25.0, top + k_panel};
  Picture page{
      k_width, frame.bottom + k_below, "",
      fmt::format("Significance improvement of {}", cli::count(plot.curves.size(), "method"))};
  std::string blocks, curves = "plot 1 with lines lc rgb '#707070' dt 3 lw 1.5 notitle";
  double high = 1.0;
  for (std::size_t c = 0; c < plot.curves.size(); ++c) {
    SignificanceImprovementLine curve = plot.curves[c];
    std::sort(curve.points.begin(), curve.points.end(), [](const auto& a, const auto& b) {
      return a.signal_efficiency < b.signal_efficiency;
    });
    std::vector<std::vector<double>> rows;
    for (const SignificanceImprovementPoint& p : curve.points) {
      high = std::max(high, p.value + p.error);
      rows.push_back({p.signal_efficiency, p.value});
    }
    if (rows.empty()) continue;
    const std::string colour = colour_of(curve.colour);
    blocks += cli::data_block(fmt::format("curve_{}", c), rows);
    curves += fmt::format(", \\\n  $curve_{} using 1:2 with lines lc rgb '{}' lw 2.2{} title {}", c,
                          colour, curve.dashed ? " dt 2" : "",
                          cli::gnuplot_text(cli::label_of(style, curve.name, 44)));
    const auto with_bars = bars(curve, plot.error_bars);
    if (with_bars.empty()) continue;
    blocks += cli::data_block(fmt::format("bars_{}", c), with_bars);
    curves += fmt::format(
        ", \\\n  $bars_{0} using 1:($2-$3):(0):(2*$3) with vectors nohead lc rgb '{1}' lw 1.4 "
        "notitle, \\\n  '' using 1:2 with points pt 7 ps 0.5 lc rgb '{1}' notitle",
        c, colour);
  }
  std::vector<std::string> lines = style.lines;
  for (std::string& line : lines) line = without_markup(line);
  const double room = std::min(
      0.55,
      (k_legend_row * static_cast<double>(std::max(plot.curves.size(), lines.size())) + 14.0) /
          k_panel);
  page.script = blocks + cli::margins(page, frame) + cli::heading(page, frame, style) +
                cli::inner_lines(page, frame, lines) +
                cli::text_at(page, 35.0, 0.5 * (frame.top + frame.bottom), "ε_S / √ε_B",
                             "center rotate by 90") +
                cli::text_at(page, 0.5 * (frame.left + frame.right), frame.bottom + 48.0,
                             "Signal efficiency ε_S", "center") +
                fmt::format(
                    "set xrange [0:1]; set yrange [0:{}]; set mxtics; set mytics\n"
                    "set key top right Left reverse spacing SPACING samplen 2\n",
                    number(1.04 * high / (1.0 - room))) +
                curves + "\n";
  return page;
}

}  // namespace slalom
