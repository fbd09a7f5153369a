// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/scan_plot.hpp"

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
/// 2 Delta NLL beyond which the axis ends, whatever the scan reaches.
constexpr double k_highest = 12.0;

std::vector<std::vector<double>> rows_of(const std::vector<std::pair<double, double>>& points) {
  std::vector<std::vector<double>> rows;
  rows.reserve(points.size());
  for (const auto& [x, y] : points) rows.push_back({x, y});
  return rows;
}

double upper_end(const ScanPlot& plot) {
  double top = 1.5;
  for (const auto& [x, y] : plot.points) top = std::max(top, y);
  return 1.28 * std::min(top, k_highest);
}

/// Horizontal lines at one and two standard deviations, if the scan reaches them.
std::string sigma_lines(double top) {
  std::string text;
  for (const int sigma : {1, 2, 3}) {
    if (sigma * sigma >= 0.96 * top) break;
    text += fmt::format(
        "set arrow from graph 0,first {0} to graph 1,first {0} nohead lc rgb '#707070' dt 2 lw 1 "
        "back\nset label '{1}σ' at graph 0.985,first {0} right offset 0,0.5 textcolor rgb "
        "'#505050'\n",
        sigma * sigma, sigma);
  }
  return text;
}

std::string interval_lines(const ScanPlot& plot) {
  if (!plot.interval) return "";
  std::string text;
  for (const double end : {plot.interval->first, plot.interval->second}) {
    text += fmt::format(
        "set arrow from first {0},graph 0 to first {0},first 1 nohead lc rgb '{1}' dt 3 lw 1.5\n",
        number(end), cli::k_signal_colour);
  }
  return text;
}

/// "mu = 0.922 +0.437 -0.361"
std::string result_line(const ScanPlot& plot, const PlotStyle& style) {
  const std::string name = cli::label_of(style, plot.parameter, 30);
  if (plot.interval) {
    const double down = plot.best - plot.interval->first;
    const double up = plot.interval->second - plot.best;
    const int decimals = cli::decimals_for(std::min(up, down) > 0.0 ? std::min(up, down) : up);
    return fmt::format("{} = {} +{} −{}", name, cli::fixed_point(plot.best, decimals),
                       cli::fixed_point(up, decimals), cli::fixed_point(down, decimals));
  }
  if (!plot.error) return fmt::format("{} = {}", name, cli::brief(plot.best, 4));
  const int decimals = cli::decimals_for(*plot.error);
  return fmt::format("{} = {} ± {}", name, cli::fixed_point(plot.best, decimals),
                     cli::fixed_point(*plot.error, decimals));
}

}  // namespace

ScanPlot scan_plot(const ModelSpec& spec, const Scan& scan) {
  ScanPlot plot;
  plot.parameter = spec.parameters[scan.parameter].name;
  plot.best = scan.best.parameters[scan.parameter];
  for (std::size_t i = 0; i < scan.values.size(); ++i) {
    const std::pair<double, double> point{scan.values[i], scan.delta_twice_nll[i]};
    if (!std::isfinite(point.second)) continue;
    (scan.fits[i].converged() ? plot.points : plot.failed).push_back(point);
  }
  std::sort(plot.points.begin(), plot.points.end());
  std::sort(plot.failed.begin(), plot.failed.end());
  return plot;
}

Picture picture(const ScanPlot& plot, const PlotStyle& style) {
  const double top = std::max(cli::heading_height(style, k_width - 125.0) + 10.0, 28.0);
  const Frame frame{100.0, top, k_width - 25.0, top + k_panel};
  Picture page{k_width, frame.bottom + k_below, "",
               fmt::format("Profile likelihood of {}", plot.parameter)};
  const double high = upper_end(plot);
  std::vector<std::string> lines{result_line(plot, style)};
  for (const std::string& line : style.lines) lines.push_back(without_markup(line));
  page.script = cli::data_block("scan", rows_of(plot.points)) +
                cli::data_block("failed", rows_of(plot.failed)) + cli::margins(page, frame) +
                cli::heading(page, frame, style) + cli::inner_lines(page, frame, lines) +
                cli::text_at(page, 35.0, 0.5 * (frame.top + frame.bottom), "−2 Δ ln {/:Italic L}",
                             "center rotate by 90") +
                cli::text_at(page, 0.5 * (frame.left + frame.right), frame.bottom + 48.0,
                             cli::label_of(style, plot.parameter), "center") +
                sigma_lines(high) + interval_lines(plot) +
                fmt::format(
                    "set yrange [0:{}]; set mxtics; set mytics\nset autoscale xfix\n"
                    "set key top right Left reverse spacing SPACING samplen 2\n",
                    number(high));
  page.script += plot.points.empty() ? "plot NaN notitle"
                                     : fmt::format(
                                           "plot $scan using 1:2 with linespoints lc rgb "
                                           "'{}' lw 2.2 pt 7 ps 0.35 title 'Profile "
                                           "likelihood'",
                                           cli::k_palette[0]);
  if (plot.error && *plot.error > 0.0) {
    page.script += fmt::format(
        ", \\\n  ((x-({}))/{})**2 with lines lc rgb '{}' dt 4 lw 1.6 title "
        "'Parabola (Hessian)'",
        number(plot.best), number(*plot.error), cli::k_palette[5]);
  }
  if (!plot.failed.empty()) {
    page.script += fmt::format(
        ", \\\n  $failed using 1:2 with points lc rgb '{}' pt 2 ps 1 title "
        "'Not converged'",
        cli::k_signal_colour);
  }
  page.script += "\n";
  return page;
}

}  // namespace slalom
