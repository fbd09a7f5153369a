// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/comparison_plot.hpp"

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
constexpr double k_right = 25.0;
constexpr double k_below = 68.0;
constexpr double k_row = 44.0;
constexpr std::size_t k_label = 32;
/// Half the height of the line of a median, and how far points are from the middle of their row.
constexpr double k_half = 0.36;
constexpr double k_spread = 0.22;

double label_width(const ComparisonPlot& plot, const PlotStyle& style) {
  double width = 0.0;
  for (const ComparisonRow& row : plot.rows) {
    width = std::max(width, cli::text_width(cli::label_of(style, row.name, k_label)));
  }
  return width;
}

/// Points of a row lie one below the other, so that equal values can be seen.
double height_of(std::size_t index, std::size_t n) {
  if (n < 2) return 0.0;
  return k_spread * (1.0 - 2.0 * static_cast<double>(index) / static_cast<double>(n - 1));
}

std::pair<double, double> range_of(const ComparisonPlot& plot) {
  double low = HUGE_VAL, high = -HUGE_VAL;
  for (const ComparisonRow& row : plot.rows) {
    for (const double value : row.values) {
      low = std::min(low, value);
      high = std::max(high, value);
    }
  }
  if (!(low <= high)) return {0.0, 1.0};
  const double margin = std::max(0.08 * (high - low), 1e-4 * std::max(std::abs(high), 1e-300));
  return {low - margin, high + margin};
}

}  // namespace

Picture picture(const ComparisonPlot& plot, const PlotStyle& style) {
  const auto n = static_cast<double>(plot.rows.size());
  const double left = std::max(label_width(plot, style) + 24.0, 60.0);
  const double top = std::max(cli::heading_height(style, k_width - left - k_right) + 10.0, 28.0);
  const double lines = 26.0 * static_cast<double>(style.lines.size());
  const Frame frame{left, top, k_width - k_right, top + k_row * (n + 0.3) + lines};
  Picture page{k_width, frame.bottom + k_below, "",
               fmt::format("Comparison of {}", cli::count(plot.rows.size(), "variant"))};
  std::vector<std::string> inner;
  for (const std::string& line : style.lines) inner.push_back(without_markup(line));
  std::string labels, curves = "plot NaN notitle";
  for (std::size_t r = 0; r < plot.rows.size(); ++r) {
    const ComparisonRow& row = plot.rows[r];
    const double y = n - static_cast<double>(r);
    const auto* colour =
        cli::k_palette[static_cast<std::size_t>(std::max(row.colour, 0)) % cli::k_palette.size()];
    labels += fmt::format("{}{} {}", r == 0 ? "" : ", ",
                          cli::gnuplot_text(cli::label_of(style, row.name, k_label)), number(y));
    std::vector<std::vector<double>> points;
    for (std::size_t i = 0; i < row.values.size(); ++i) {
      points.push_back({row.values[i], y + height_of(i, row.values.size())});
    }
    page.script += cli::data_block(fmt::format("row_{}", r), points);
    curves += fmt::format(", \\\n  $row_{} using 1:2 with points lc rgb '{}' pt 7 ps 0.8 notitle",
                          r, colour);
    if (!row.median) continue;
    page.script += fmt::format(
        "set arrow from first {0},first {1} to first {0},first {2} nohead lc rgb '{3}' lw 3 back\n",
        number(*row.median), number(y - k_half), number(y + k_half), colour);
  }
  const double room = lines / k_row;
  const auto [low, high] = range_of(plot);
  page.script += cli::margins(page, frame) + cli::heading(page, frame, style) +
                 cli::inner_lines(page, frame, inner) +
                 cli::text_at(page, 0.5 * (frame.left + frame.right), frame.bottom + 48.0,
                              plot.label, "center") +
                 fmt::format(
                     "set xrange [{}:{}]; set yrange [{}:{}]; set mxtics\n"
                     "set xtics {}; set ytics ({}) scale 0\n"
                     "set grid xtics lc rgb '#d0d0d0' lt 1 lw 0.6 back\nunset key\n",
                     number(low), number(high), number(0.35), number(n + 0.65 + room),
                     number(cli::tick_step(high - low, 6.0)), labels) +
                 curves + "\n";
  return page;
}

}  // namespace slalom
