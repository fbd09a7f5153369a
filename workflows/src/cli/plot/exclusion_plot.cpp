// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/exclusion_plot.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "cli/plot/script.hpp"
#include "cli/plot/triangulation.hpp"
#include "cli/text.hpp"
#include "slalom/core/error.hpp"
#include "slalom/core/normal.hpp"

namespace slalom {

namespace {

using cli::Frame;
using cli::number;
using cli::PlaneLine;
using cli::PlanePoint;
using cli::Triangle;

constexpr double k_width = 680.0;
constexpr double k_below = 68.0;
constexpr double k_panel = 520.0;
/// What is further from the edge does not move it.
constexpr double k_most = 10.0;

/// Lines or polygons, one after the other, with an empty line between them.
std::string blocks(const std::string& name, const std::vector<PlaneLine>& lines) {
  std::string text = fmt::format("${} << EOD\n", name);
  for (const PlaneLine& line : lines) {
    for (const auto& [x, y] : line) text += number(x) + " " + number(y) + "\n";
    text += "\n";
  }
  return text + "EOD\n";
}

std::vector<double> values_of(const ExclusionPlot& plot, std::size_t sigma) {
  std::vector<double> values;
  for (const ExclusionPoint& point : plot.points) values.push_back(point.expected[sigma]);
  return values;
}

std::vector<double> observed_values(const ExclusionPlot& plot) {
  std::vector<double> values;
  for (const ExclusionPoint& point : plot.points) values.push_back(point.observed);
  return values;
}

std::vector<PlanePoint> places(const ExclusionPlot& plot) {
  std::vector<PlanePoint> points;
  for (const ExclusionPoint& point : plot.points) points.emplace_back(point.x, point.y);
  std::vector<PlanePoint> sorted = points;
  std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice != sorted.end()) {
    throw Error(ErrorKind::usage,
                fmt::format("two signals are at ({}, {})", cli::exact(twice->first),
                            cli::exact(twice->second)),
                "plot");
  }
  return points;
}

/// The signals themselves: observed to be excluded or not.
std::string signal_data(const ExclusionPlot& plot) {
  std::vector<std::vector<double>> excluded, others;
  for (const ExclusionPoint& point : plot.points) {
    (point.observed > 0.0 ? excluded : others).push_back({point.x, point.y});
  }
  return cli::data_block("excluded", excluded) + cli::data_block("others", others);
}

/// Ranges of the axes with room on all sides, and for the legend above.
std::string ranges(const std::vector<PlanePoint>& points) {
  const auto [left, right] = std::minmax_element(points.begin(), points.end());
  const auto [low, high] = std::minmax_element(
      points.begin(), points.end(),
      [](const PlanePoint& a, const PlanePoint& b) { return a.second < b.second; });
  const double width = right->first - left->first, height = high->second - low->second;
  return fmt::format("set xrange [{}:{}]; set yrange [{}:{}]; set mxtics; set mytics\n",
                     number(left->first - 0.06 * width), number(right->first + 0.06 * width),
                     number(low->second - 0.06 * height), number(high->second + 0.42 * height));
}

}  // namespace

double exclusion_by_cls(double cls, double level) {
  const double edge = normal_quantile_of_log(std::log(level));
  if (!(cls > 0.0)) return k_most;
  return std::clamp(edge - normal_quantile_of_log(std::log(std::min(cls, 1.0))), -k_most, k_most);
}

double exclusion_by_limit(double limit, double mu) { return std::log(mu / limit); }

Picture picture(const ExclusionPlot& plot, const PlotStyle& style) {
  const std::vector<PlanePoint> points = places(plot);
  const std::vector<Triangle> triangles = cli::triangulate(points);
  if (triangles.empty()) {
    throw Error(ErrorKind::usage, "the signals lie on one line: there is no region to draw",
                "plot");
  }
  const double top = std::max(cli::heading_height(style, k_width - 125.0) + 10.0, 28.0);
  const Frame frame{100.0, top, k_width - 25.0, top + k_panel};
  Picture page{k_width, frame.bottom + k_below, "",
               fmt::format("Excluded region of {} and {}", plot.axes[0], plot.axes[1])};
  std::vector<std::string> lines{cli::brief(100.0 * (1.0 - plot.level), 4) + " % CL exclusion"};
  if (!plot.caption.empty()) lines.push_back(plot.caption);
  for (const std::string& line : style.lines) lines.push_back(without_markup(line));
  const auto zero = [&](const std::vector<double>& values) {
    return cli::zero_lines(points, triangles, values);
  };
  page.script =
      blocks("observed", zero(observed_values(plot))) + blocks("median", zero(values_of(plot, 1))) +
      blocks("band", cli::area_between(points, triangles, values_of(plot, 0), values_of(plot, 2))) +
      signal_data(plot) + cli::margins(page, frame) + cli::heading(page, frame, style) +
      cli::inner_lines(page, frame, lines) +
      cli::text_at(page, 28.0, 0.5 * (frame.top + frame.bottom), plot.axes[1],
                   "center rotate by 90") +
      cli::text_at(page, 0.5 * (frame.left + frame.right), frame.bottom + 48.0, plot.axes[0],
                   "center") +
      ranges(points) +
      fmt::format(
          "set key top right Left reverse samplen 2.4 spacing SPACING\n"
          "plot $band using 1:2 with filledcurves closed fc rgb '{0}' fs solid border lc rgb '{0}' "
          "notitle, \\\n"
          "  $others using 1:2 with points lc rgb '#606060' lw 1.3 pt 6 ps 0.5 notitle, \\\n"
          "  $excluded using 1:2 with points lc rgb '#606060' pt 7 ps 0.5 notitle, \\\n"
          "  $median using 1:2 with lines lc rgb 'black' lw 2 dt 2 notitle, \\\n"
          "  $observed using 1:2 with lines lc rgb '{1}' lw 2.4 notitle, \\\n"
          "  NaN with lines lc rgb '{1}' lw 2.4 title 'Observed', \\\n"
          "  NaN with lines lc rgb 'black' lw 2 dt 2 title 'Expected', \\\n"
          "  NaN with boxes fc rgb '{0}' fs solid noborder title 'Expected ± 1σ', \\\n"
          "  NaN with points lc rgb '#606060' pt 7 ps 0.5 title 'Excluded signal', \\\n"
          "  NaN with points lc rgb '#606060' lw 1.3 pt 6 ps 0.5 title 'Other signal'\n",
          cli::k_two_sigma_colour, cli::k_signal_colour);
  return page;
}

}  // namespace slalom
