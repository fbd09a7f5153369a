// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/fraction_scan_plot.hpp"

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
/// Share of the frame that stays free for the legend.
constexpr double k_room = 0.2;

/// Range of the vertical axis, from which the horizontal one is free.
std::pair<double, double> values_of(const FractionScanPlot& plot) {
  double low = HUGE_VAL, high = -HUGE_VAL;
  const auto take = [&](double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  };
  for (const FractionScanPoint& p : plot.points) {
    take(p.value - p.error);
    take(p.value + p.error);
  }
  for (const FractionScanCurvePoint& p : plot.curve) take(p.value);
  if (plot.level) take(*plot.level);
  if (!(low <= high)) return {0.0, 1.0};
  const double span = high > low ? high - low : 1.0;
  return {low - 0.05 * span, high + span * (0.05 + k_room) / (1.0 - k_room)};
}

std::string vertical(double x, const char* colour, const char* look) {
  return fmt::format(
      "set arrow from first {0},graph 0 to first {0},graph {1} nohead lc rgb '{2}' {3}\n",
      number(x), number(1.0 - k_room), colour, look);
}

/// Lines and the shaded interval; what the axis cannot show is left out.
std::string marks(const FractionScanPlot& plot, double from, double to) {
  const auto seen = [&](double x) { return x >= from && x <= to; };
  std::string text;
  if (plot.interval) {
    const double low = std::clamp(plot.interval->first, from, to);
    const double high = std::clamp(plot.interval->second, from, to);
    text += fmt::format(
        "set object 1 rectangle from first {},graph 0 to first {},graph {} fc rgb '{}' fs "
        "transparent solid 0.35 noborder behind\n",
        number(low), number(high), number(1.0 - k_room), cli::k_one_sigma_colour);
  }
  if (plot.truth && seen(*plot.truth)) {
    text += vertical(*plot.truth, "#505050", "dt 3 lw 1.8");
  }
  if (plot.best && seen(*plot.best)) {
    text += vertical(*plot.best, cli::k_signal_colour, "lw 1.8");
  }
  if (plot.level) {
    text += fmt::format(
        "set arrow from graph 0,first {0} to graph 1,first {0} nohead lc rgb '#707070' dt 2 lw 1 "
        "back\n",
        number(*plot.level));
  }
  return text;
}

/// "best = 0.0112 (0.0098 to 0.0127)"
std::vector<std::string> result_lines(const FractionScanPlot& plot) {
  std::vector<std::string> lines;
  if (plot.best) {
    std::string line = fmt::format("Best: {}", cli::brief(*plot.best, 3));
    if (plot.interval) {
      line += fmt::format(" ({} to {})", cli::brief(plot.interval->first, 3),
                          cli::brief(plot.interval->second, 3));
    }
    lines.push_back(line);
  }
  if (plot.truth) lines.push_back(fmt::format("True: {}", cli::brief(*plot.truth, 3)));
  return lines;
}

}  // namespace

Picture picture(const FractionScanPlot& plot, const PlotStyle& style) {
  const double top = std::max(cli::heading_height(style, k_width - 125.0) + 10.0, 28.0);
  const Frame frame{100.0, top, k_width - 25.0, top + k_panel};
  Picture page{k_width, frame.bottom + k_below, "", fmt::format("Scan of {}", plot.axis)};
  std::vector<std::vector<double>> points, curve;
  double from = HUGE_VAL, to = -HUGE_VAL;
  const auto seen = [&](double x) { return !plot.logarithmic || x > 0.0; };
  const auto take = [&](double x) {
    from = std::min(from, x);
    to = std::max(to, x);
  };
  for (const FractionScanPoint& p : plot.points) {
    if (!seen(p.x)) continue;
    take(p.x);
    points.push_back({p.x, p.value, p.error});
  }
  bool band = false;
  for (const FractionScanCurvePoint& p : plot.curve) {
    if (!seen(p.x)) continue;
    take(p.x);
    band = band || p.error > 0.0;
    curve.push_back({p.x, p.value, p.value - p.error, p.value + p.error});
  }
  if (!(from < to)) {  // nothing, or one point
    from = std::isfinite(from) ? 0.5 * from : (plot.logarithmic ? 1e-3 : 0.0);
    to = from > 0.0 ? 4.0 * from : from + 1.0;
  }
  // No point lies on the frame.
  const double margin = plot.logarithmic ? std::pow(to / from, 0.03) : 0.03 * (to - from);
  from = plot.logarithmic ? from / margin : from - margin;
  to = plot.logarithmic ? to * margin : to + margin;
  std::vector<std::string> lines = style.lines;
  for (std::string& line : lines) line = without_markup(line);
  for (const std::string& line : result_lines(plot)) lines.push_back(line);
  const auto [low, high] = values_of(plot);
  page.script = cli::data_block("points", points) + cli::data_block("curve", curve) +
                cli::margins(page, frame) + cli::heading(page, frame, style) +
                cli::inner_lines(page, frame, lines) +
                cli::text_at(page, 30.0, 0.5 * (frame.top + frame.bottom), plot.label,
                             "center rotate by 90") +
                cli::text_at(page, 0.5 * (frame.left + frame.right), frame.bottom + 48.0, plot.axis,
                             "center") +
                marks(plot, from, to) +
                (plot.logarithmic ? "set logscale x; set format x '10^{%T}'\n" : "set mxtics\n") +
                fmt::format(
                    "set xrange [{}:{}]; set yrange [{}:{}]; set mytics\n"
                    "set key top right Left reverse spacing SPACING samplen 2\n",
                    number(from), number(to), number(low), number(high)) +
                "plot NaN notitle";
  if (band) {
    page.script += fmt::format(
        ", \\\n  $curve using 1:3:4 with filledcurves fc rgb '{}' fs transparent solid 0.25 "
        "noborder notitle",
        cli::k_palette[0]);
  }
  if (!curve.empty()) {
    page.script += fmt::format(
        ", \\\n  $curve using 1:2 with lines lc rgb '{}' lw 2.2 title "
        "'Smoothed'",
        cli::k_palette[0]);
  }
  if (!points.empty()) {
    page.script +=
        ", \\\n  $points using 1:($2-$3):(0):(2*$3) with vectors nohead ls 1 notitle"
        ", \\\n  $points using 1:2 with points ls 1 title 'Scan'";
  }
  page.script += "\n";
  return page;
}

}  // namespace slalom
