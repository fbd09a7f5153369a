// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/pull_plot.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <numeric>

#include "cli/plot/script.hpp"
#include "cli/text.hpp"

namespace slalom {

namespace {

using cli::Frame;

constexpr std::size_t k_rows = 40;
constexpr double k_row = 19.0;
constexpr double k_frame = 300.0;
constexpr double k_margin = 25.0;
constexpr double k_below = 62.0;
constexpr double k_small = 0.87;
constexpr std::size_t k_name = 40;
/// The axis covers at least, and at most, this many pre-fit uncertainties.
constexpr double k_least_range = 2.5;
constexpr double k_widest_range = 5.5;

/// How much a parameter deserves to be seen.
double weight(const PullPoint& point) {
  return std::max(std::abs(point.pull), 1.0 - std::min(point.error, 1.0));
}

double axis_range(const PullPlot& plot) {
  double range = k_least_range;
  for (const PullPoint& point : plot.points) {
    range = std::max(range, std::abs(point.pull) + point.error + 0.3);
  }
  return std::min(range, k_widest_range);
}

double names_width(const PullPlot& plot, const PlotStyle& style) {
  double width = 40.0;
  for (const PullPoint& point : plot.points) {
    const std::string name = cli::label_of(style, point.name, k_name);
    width = std::max(width, cli::text_width(name, k_small * cli::k_font_size));
  }
  return width + k_margin;
}

/// Pull, row and error of the points inside the frame, and arrows for those outside.
std::string data_of(const PullPlot& plot, std::size_t first, std::size_t last, double range,
                    const std::string& name) {
  std::vector<std::vector<double>> rows;
  const double nowhere = std::nan("");
  for (std::size_t i = first; i < last; ++i) {
    const PullPoint& point = plot.points[i];
    const double y = static_cast<double>(i - first) + 0.5;
    const bool inside = std::abs(point.pull) <= range;
    const double edge = range - 0.12;
    rows.push_back({inside ? point.pull : nowhere, y, point.error,
                    point.pull > range ? edge : nowhere, point.pull < -range ? -edge : nowhere});
  }
  return cli::data_block(name, rows);
}

std::string bands(double rows) {
  std::string text = "unset object\n";
  for (const auto& [sigma, colour] :
       {std::pair{2, cli::k_two_sigma_colour}, std::pair{1, cli::k_one_sigma_colour}}) {
    text += fmt::format(
        "set object rectangle from first -{0},0 to first {0},{1} behind fc rgb '{2}' fs solid "
        "noborder\n",
        sigma, rows, colour);
  }
  return text;
}

std::string column(const Picture& page, const Frame& frame, const PullPlot& plot,
                   const PlotStyle& style, std::size_t index) {
  const std::size_t first = index * k_rows;
  const std::size_t last = std::min(first + k_rows, plot.points.size());
  const auto rows = static_cast<double>(std::max<std::size_t>(last - first, 1));
  const double range = axis_range(plot);
  const std::string name = fmt::format("pulls_{}", index);
  std::string text = data_of(plot, first, last, range, name);
  for (std::size_t i = first; i < last; ++i) {
    const double y = frame.top + k_row * (static_cast<double>(i - first) + 0.5);
    text += cli::text_at(page, frame.left - 8.0, y,
                         cli::sized(cli::label_of(style, plot.points[i].name, k_name), k_small),
                         "right");
  }
  text += cli::text_at(page, 0.5 * (frame.left + frame.right), frame.bottom + 44.0,
                       "Pull  (θ̂ − θ_{0}) / Δθ", "center");
  if (index == 0) text += cli::heading(page, frame, style);
  return text + cli::margins(page, frame) + bands(rows) +
         fmt::format(
             "set xrange [{0}:{1}]; set yrange [{2}:0]\n"
             "set xtics 1; set mxtics 2; unset ytics; unset key\n"
             "set arrow 1 from 0,0 to 0,{2} nohead lc rgb '#606060' dt 2 lw 1\n"
             "plot NaN notitle, ${3} using 1:2:3 with xerrorbars ls 1 pointsize 0.7 notitle, \\\n"
             "  '' using 4:2 with points lc rgb 'black' pt 7 ps 0.4 notitle, \\\n"
             "  '' using 4:2:(0.1):(0) with vectors filled lc rgb 'black' notitle, \\\n"
             "  '' using 5:2:(-0.1):(0) with vectors filled lc rgb 'black' notitle\n"
             "unset label; unset arrow\n",
             -range, range, rows, name);
}

}  // namespace

PullPlot pull_plot(const ModelSpec& spec, const std::vector<Pull>& pulls, std::size_t most) {
  PullPlot plot;
  for (const Pull& pull : pulls) {
    const Parameter& parameter = spec.parameters[pull.parameter];
    if (parameter.constraint == ConstraintType::none) continue;
    plot.points.push_back({parameter.name, pull.pull, pull.constraint});
  }
  if (plot.points.size() <= most) return plot;
  std::vector<std::size_t> order(plot.points.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&plot](std::size_t a, std::size_t b) {
    return weight(plot.points[a]) > weight(plot.points[b]);
  });
  order.resize(most);
  std::sort(order.begin(), order.end());
  PullPlot kept;
  for (const std::size_t i : order) kept.points.push_back(plot.points[i]);
  kept.hidden = plot.points.size() - most;
  return kept;
}

Picture picture(const PullPlot& plot, const PlotStyle& style) {
  const std::size_t n = std::max<std::size_t>(plot.points.size(), 1);
  const std::size_t columns = (n + k_rows - 1) / k_rows;
  const double names = names_width(plot, style);
  const double width = names + k_frame + k_margin;
  const double top = cli::heading_height(style, k_frame) + 10.0;
  const double height = top + k_row * static_cast<double>(std::min(n, k_rows)) + k_below +
                        (plot.hidden > 0 ? 20.0 : 0.0);
  Picture page{
      std::max(width * static_cast<double>(columns), names + cli::heading_width(style) + k_margin),
      height, "set multiplot\n",
      fmt::format("Pulls of {}", cli::count(plot.points.size(), "parameter"))};
  for (std::size_t c = 0; c < columns; ++c) {
    const double left = width * static_cast<double>(c) + names;
    const auto rows = static_cast<double>(std::min(n - c * k_rows, k_rows));
    page.script += column(page, {left, top, left + k_frame, top + k_row * rows}, plot, style, c);
  }
  if (plot.hidden > 0) {
    page.script += cli::text_at(
        page, k_margin, height - 10.0,
        cli::sized(fmt::format("{} less pulled or constrained: not shown", plot.hidden), k_small));
    page.script +=
        "set margins 0,0,0,0; unset border; unset tics; unset object\n"
        "plot [0:1] [0:1] NaN notitle\n";
  }
  page.script += "unset multiplot\n";
  return page;
}

}  // namespace slalom
