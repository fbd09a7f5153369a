// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/variation_plot.hpp"

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
constexpr double k_left = 105.0;
constexpr double k_right = 25.0;
constexpr double k_below = 68.0;
constexpr double k_gap = 14.0;
constexpr double k_main = 330.0;
constexpr double k_panel = 112.0;
constexpr double k_legend_row = 21.5;
constexpr std::size_t k_label = 30;
/// Largest over smallest number of events beyond which the axis is logarithmic.
constexpr double k_logarithmic = 200.0;

const char* colour_of(const VariationSample& sample) {
  if (sample.colour < 0) return cli::k_signal_colour;
  return cli::k_palette[static_cast<std::size_t>(sample.colour) % cli::k_palette.size()];
}

/// Two rows per bin, so that lines are steps.
std::string steps_block(const std::string& name, const std::vector<double>& edges,
                        const std::vector<std::vector<double>>& columns) {
  std::vector<std::vector<double>> rows;
  for (std::size_t b = 0; b + 1 < edges.size(); ++b) {
    for (const double x : {edges[b], edges[b + 1]}) {
      std::vector<double> row{x};
      for (const auto& column : columns)
        row.push_back(b < column.size() ? column[b] : std::nan(""));
      rows.push_back(std::move(row));
    }
  }
  return cli::data_block(name, rows);
}

std::string middle_block(const std::string& name, const std::vector<double>& edges,
                         const std::vector<double>& values) {
  std::vector<std::vector<double>> rows;
  for (std::size_t b = 0; b + 1 < edges.size() && b < values.size(); ++b) {
    rows.push_back({0.5 * (edges[b] + edges[b + 1]), values[b]});
  }
  return cli::data_block(name, rows);
}

std::string main_panel(const Picture& page, const Frame& frame, const VariationPlot& plot,
                       const PlotStyle& style) {
  double high = 0.0, low = HUGE_VAL;
  bool soft = false;
  for (const VariationSample& sample : plot.samples) {
    for (const auto* values : {&sample.hard, &sample.soft}) {
      for (const double value : *values) {
        high = std::max(high, value);
        if (value > 0.0) low = std::min(low, value);
      }
    }
    soft = soft || !sample.soft.empty();
  }
  if (high <= 0.0) high = low = 1.0;
  const bool logarithmic = high > k_logarithmic * low;
  const std::size_t entries = plot.samples.size() + (soft ? 2 : 0);
  const double above = k_legend_row * static_cast<double>(entries) +
                       26.0 * static_cast<double>(style.lines.size()) + 10.0;
  const double room = std::min(above / frame.height(), 0.5);
  const double base = 0.4 * low;
  const double top =
      logarithmic ? high * std::pow(high / base, room / (1.0 - room)) : high / (1.0 - room);
  std::vector<std::string> inner;
  for (const std::string& line : style.lines) inner.push_back(without_markup(line));
  std::string text =
      cli::margins(page, frame) + cli::heading(page, frame, style) +
      cli::inner_lines(page, frame, inner) +
      cli::text_at(page, 30.0, 0.5 * (frame.top + frame.bottom), "Events", "center rotate by 90") +
      fmt::format(
          "set yrange [{}:{}]; {}\nset ytics; set mytics\n"
          "set key top right Left reverse spacing SPACING samplen 2\n",
          number(logarithmic ? base : 0.0), number(top),
          logarithmic ? "set logscale y" : "unset logscale y");
  std::string curves = "plot NaN notitle";
  for (std::size_t k = 0; k < plot.samples.size(); ++k) {
    const VariationSample& sample = plot.samples[k];
    curves += fmt::format(", \\\n  $hard_{} using 1:2 with lines lc rgb '{}' lw 2.2 title {}", k,
                          colour_of(sample),
                          cli::gnuplot_text(cli::label_of(style, sample.name, k_label)));
    if (sample.soft.empty()) continue;
    curves +=
        fmt::format(", \\\n  $soft_{} using 1:2 with points lc rgb '{}' pt 6 ps 0.8 lw 1.8 notitle",
                    k, colour_of(sample));
  }
  if (soft) {
    curves +=
        ", \\\n  NaN with lines lc rgb '#505050' lw 2.2 title 'Hard bins'"
        ", \\\n  NaN with points lc rgb '#505050' pt 6 ps 0.8 lw 1.8 title 'Soft bins'";
  }
  return text + curves + "\nunset label\nunset logscale y\n";
}

double largest(const VariationPanel& panel) {
  double size = 0.0;
  for (const auto* values : {&panel.up, &panel.down, &panel.signal_up, &panel.signal_down}) {
    for (const double value : *values) size = std::max(size, std::abs(value));
  }
  return size > 0.0 ? size : 0.01;
}

std::string lower_panel(const Picture& page, const Frame& frame, const VariationPanel& panel,
                        std::size_t index, const PlotStyle& style) {
  const double size = 100.0 * largest(panel);
  const bool signal = !panel.signal_up.empty() || !panel.signal_down.empty();
  const double high = 1.75 * size;  // room for the name
  std::string text =
      cli::margins(page, frame) +
      cli::text_at(page, 30.0, 0.5 * (frame.top + frame.bottom), "Change [%]",
                   "center rotate by 90") +
      cli::inner_lines(page, frame, {cli::label_of(style, panel.name, k_label)}) +
      fmt::format(
          "set yrange [{}:{}]; set ytics {}; set mytics\n"
          "set arrow from graph 0,first 0 to graph 1,first 0 nohead lc rgb '#707070' lw 1 "
          "back\nset key top right horizontal Left reverse spacing SPACING samplen 2\n",
          number(-1.2 * size), number(high), number(cli::tick_step(high + 1.2 * size, 4.0)));
  if (index > 0 && !signal) text += "unset key\n";
  const std::string name = fmt::format("panel_{}", index);
  const auto title = [](bool shown, const char* words) {
    return shown ? fmt::format("title '{}'", words) : std::string("notitle");
  };
  text += fmt::format(
      "plot ${0} using 1:(100*$2) with lines lc rgb '{1}' lw 2.2 {3}, \\\n"
      "  '' using 1:(100*$3) with lines lc rgb '{2}' lw 2.2 {4}",
      name, cli::k_up_colour, cli::k_down_colour, title(true, "+1σ"), title(true, "−1σ"));
  if (signal) {
    text += fmt::format(
        ", \\\n  '' using 1:(100*$4) with lines lc rgb '{}' lw 1.6 dt 2 notitle"
        ", \\\n  '' using 1:(100*$5) with lines lc rgb '{}' lw 1.6 dt 2 notitle"
        ", \\\n  NaN with lines lc rgb '#505050' lw 2.2 title 'background'"
        ", \\\n  NaN with lines lc rgb '#505050' lw 1.6 dt 2 title 'signal'",
        cli::k_up_colour, cli::k_down_colour);
  }
  return text + "\nunset label\nunset arrow\n";
}

}  // namespace

Picture picture(const VariationPlot& plot, const PlotStyle& style) {
  const double top = std::max(cli::heading_height(style, k_width - k_left - k_right) + 10.0, 28.0);
  const auto n = static_cast<double>(plot.panels.size());
  Picture page{
      k_width, top + k_main + n * (k_panel + k_gap) + k_below, "",
      fmt::format("Expected events of {}, and {}", cli::count(plot.samples.size(), "sample"),
                  cli::count(plot.panels.size(), "variation"))};
  for (std::size_t k = 0; k < plot.samples.size(); ++k) {
    page.script += steps_block(fmt::format("hard_{}", k), plot.edges, {plot.samples[k].hard}) +
                   middle_block(fmt::format("soft_{}", k), plot.edges, plot.samples[k].soft);
  }
  for (std::size_t p = 0; p < plot.panels.size(); ++p) {
    const VariationPanel& panel = plot.panels[p];
    page.script += steps_block(fmt::format("panel_{}", p), plot.edges,
                               {panel.up, panel.down, panel.signal_up, panel.signal_down});
  }
  const Frame first{k_left, top, k_width - k_right, top + k_main};
  const double bottom = first.bottom + n * (k_panel + k_gap);
  const auto bins = static_cast<double>(plot.edges.size() - 1);
  const std::string label =
      cli::text_at(page, 0.5 * (first.left + first.right), bottom + 48.0, plot.axis, "center");
  page.script += fmt::format("set multiplot\nset xrange [{}:{}]; set mxtics\n",
                             number(plot.edges.front()), number(plot.edges.back()));
  if (plot.edges.front() == 0.5) {  // numbered bins
    page.script +=
        fmt::format("set xtics {}; unset mxtics\n", std::max(1.0, std::ceil(bins / 12.0)));
  }
  const std::string numbers = "set format x '%.6g'\n", none = "set format x ''\n";
  page.script +=
      (plot.panels.empty() ? numbers + label : none) + main_panel(page, first, plot, style);
  for (std::size_t p = 0; p < plot.panels.size(); ++p) {
    const double y = first.bottom + k_gap + static_cast<double>(p) * (k_panel + k_gap);
    page.script +=
        (p + 1 == plot.panels.size() ? numbers + label : none) +
        lower_panel(page, {k_left, y, k_width - k_right, y + k_panel}, plot.panels[p], p, style);
  }
  page.script += "unset multiplot\n";
  return page;
}

}  // namespace slalom
