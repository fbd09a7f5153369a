// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/weight_plot.hpp"

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
constexpr double k_panel = 210.0;
constexpr double k_gap = 34.0;
/// Half the width of the bar of a prior, in units of the axis.
constexpr double k_bar = 0.32;
/// Share of a panel that stays free for its name.
constexpr double k_room = 0.14;

std::pair<double, double> range_of(const WeightPanel& panel) {
  double low = HUGE_VAL, high = -HUGE_VAL;
  const auto take = [&](double value, double error) {
    low = std::min(low, value - error);
    high = std::max(high, value + error);
  };
  for (const WeightPoint& p : panel.points) {
    take(p.value, p.error);
    if (p.prior) take(p.prior->mean, p.prior->width);
  }
  if (!(low <= high)) return {0.0, 1.0};
  const double span = high > low ? high - low : std::max(std::abs(high), 1.0);
  return {low - 0.06 * span, high + span * (0.04 + k_room) / (1.0 - k_room)};
}

/// One panel: its data, axes and curves.
std::string panel_script(const Picture& page, const Frame& frame, const WeightPlot& plot,
                         std::size_t number_of_panel) {
  const WeightPanel& panel = plot.panels[number_of_panel];
  std::vector<std::vector<double>> points, bars;
  for (std::size_t i = 0; i < panel.points.size(); ++i) {
    const WeightPoint& p = panel.points[i];
    const double x = static_cast<double>(i + 1);
    points.push_back({x, p.value, p.error});
    if (p.prior) {
      bars.push_back({x, p.prior->mean, x - k_bar, x + k_bar, p.prior->mean - p.prior->width,
                      p.prior->mean + p.prior->width});
    }
  }
  const auto [low, high] = range_of(panel);
  const double n = static_cast<double>(std::max<std::size_t>(panel.points.size(), 1));
  std::string script =
      cli::data_block(fmt::format("points_{}", number_of_panel), points) +
      cli::data_block(fmt::format("bars_{}", number_of_panel), bars) + cli::margins(page, frame) +
      cli::text_at(page, frame.left + 14.0, frame.top + 20.0, without_markup(panel.name)) +
      cli::text_at(page, 30.0, 0.5 * (frame.top + frame.bottom), plot.label,
                   "center rotate by 90") +
      fmt::format(
          "set xrange [{}:{}]; set yrange [{}:{}]; set mytics 2\n"
          "set xtics {}, {} scale 0.5; unset mxtics; unset key; set ytics {}\n",
          number(0.4), number(n + 0.6), number(low), number(high), 1,
          number(std::max(1.0, cli::tick_step(n, 12.0))), number(cli::tick_step(high - low, 6.0)));
  script += "plot 0 with lines lc rgb '#b0b0b0' lw 1 notitle";
  if (!bars.empty()) {
    script += fmt::format(
        ", \\\n  $bars_{0} using 1:2:3:4:5:6 with boxxyerror fc rgb '{1}' fs transparent solid "
        "0.35 "
        "noborder notitle, \\\n  $bars_{0} using 3:2:($4-$3):(0) with vectors nohead lc rgb '{1}' "
        "lw 1.6 notitle",
        number_of_panel, cli::k_palette[2]);
  }
  if (!points.empty()) {
    script += fmt::format(
        ", \\\n  $points_{0} using 1:($2-$3):(0):(2*$3) with vectors nohead lc rgb '{1}' lw 1.6 "
        "notitle, \\\n  $points_{0} using 1:2 with points pt 7 ps 0.8 lc rgb '{1}' notitle",
        number_of_panel, cli::k_palette[number_of_panel % cli::k_palette.size()]);
  }
  return script + "\nunset label\n";
}

}  // namespace

Picture picture(const WeightPlot& plot, const PlotStyle& style) {
  const double top = std::max(cli::heading_height(style, k_width - 125.0) + 10.0, 28.0);
  const double n = static_cast<double>(std::max<std::size_t>(plot.panels.size(), 1));
  const double bottom = top + n * k_panel + (n - 1.0) * k_gap;
  Picture page{
      k_width, bottom + k_below, "",
      fmt::format("Fitted numbers of {}", plot.panels.size() == 1
                                              ? "1 process"
                                              : fmt::format("{} processes", plot.panels.size()))};
  page.script = "set multiplot\n";
  for (std::size_t i = 0; i < plot.panels.size(); ++i) {
    const double above = top + static_cast<double>(i) * (k_panel + k_gap);
    const Frame frame{100.0, above, k_width - 25.0, above + k_panel};
    if (i == 0) {
      std::vector<std::string> lines = style.lines;
      for (std::string& line : lines) line = without_markup(line);
      page.script += cli::heading(page, frame, style) + cli::inner_lines(page, frame, lines, 24.0);
    }
    if (i + 1 == plot.panels.size()) {
      page.script += cli::text_at(page, 0.5 * (frame.left + frame.right), frame.bottom + 48.0,
                                  plot.axis, "center");
    }
    page.script += panel_script(page, frame, plot, i);
  }
  page.script += "unset multiplot\n";
  return page;
}

}  // namespace slalom
