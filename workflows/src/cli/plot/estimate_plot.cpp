// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/estimate_plot.hpp"

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
/// Columns beyond which means have no marker of their own.
constexpr std::size_t k_many = 80;

std::pair<double, double> range_of(const EstimatePlot& plot) {
  double low = plot.truth.value_or(HUGE_VAL), high = plot.truth.value_or(-HUGE_VAL);
  const auto take = [&](double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  };
  for (const EstimateColumn& column : plot.columns) {
    for (const double value : column.values) take(value);
    if (column.values.empty()) continue;
    take(column.mean - column.error);
    take(column.mean + column.error);
  }
  if (!(low <= high)) return {0.0, 1.0};
  const double margin = std::max(0.06 * (high - low), 1e-3 * std::max(std::abs(high), 1e-300));
  return {low - margin, high + margin};
}

}  // namespace

Picture picture(const EstimatePlot& plot, const PlotStyle& style) {
  const double top = std::max(cli::heading_height(style, k_width - 125.0) + 10.0, 28.0);
  const Frame frame{100.0, top, k_width - 25.0, top + k_panel};
  Picture page{k_width, frame.bottom + k_below, "",
               fmt::format("Estimates of {}", cli::count(plot.columns.size(), "draw"))};
  std::vector<std::vector<double>> values, means;
  for (std::size_t c = 0; c < plot.columns.size(); ++c) {
    const EstimateColumn& column = plot.columns[c];
    const double x = static_cast<double>(c + 1);
    if (column.values.size() > 1) {
      for (const double value : column.values) values.push_back({x, value});
    }
    if (!column.values.empty()) means.push_back({x, column.mean, column.error});
  }
  std::vector<std::string> lines = style.lines;
  for (std::string& line : lines) line = without_markup(line);
  const auto [low, high] = range_of(plot);
  const double n = static_cast<double>(std::max<std::size_t>(plot.columns.size(), 1));
  const bool many = plot.columns.size() > k_many;
  page.script = cli::data_block("values", values) + cli::data_block("means", means) +
                cli::margins(page, frame) + cli::heading(page, frame, style) +
                cli::inner_lines(page, frame, lines) +
                cli::text_at(page, 30.0, 0.5 * (frame.top + frame.bottom), plot.label,
                             "center rotate by 90") +
                cli::text_at(page, 0.5 * (frame.left + frame.right), frame.bottom + 48.0, plot.axis,
                             "center") +
                fmt::format(
                    "set xrange [{}:{}]; set yrange [{}:{}]; set mytics\n"
                    "set xtics {} scale 0.5; unset mxtics; unset key\n",
                    number(0.0), number(n + 1.0), number(low), number(high),
                    number(std::max(1.0, cli::tick_step(n, 8.0))));
  if (plot.truth) {
    page.script += fmt::format(
        "set arrow from graph 0,first {0} to graph 1,first {0} nohead lc rgb '{1}' lw 1.8 back\n",
        number(*plot.truth), cli::k_signal_colour);
  }
  page.script += "plot NaN notitle";
  if (!values.empty()) {
    page.script += ", \\\n  $values using 1:2 with points pt 7 ps 0.35 lc rgb '#a0a4a8' notitle";
  }
  if (!means.empty()) {
    page.script += fmt::format(
        ", \\\n  $means using 1:($2-$3):(0):(2*$3) with vectors nohead lc rgb '{0}' lw {1} notitle"
        ", \\\n  $means using 1:2 with points pt 7 ps {2} lc rgb '{0}' notitle",
        cli::k_palette[0], many ? 0.8 : 1.6, many ? 0.35 : 0.7);
  }
  page.script += "\n";
  return page;
}

}  // namespace slalom
