// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/limit_plot.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <tuple>

#include "cli/plot/script.hpp"
#include "cli/text.hpp"

namespace slalom {

namespace {

using cli::Frame;
using cli::number;

constexpr double k_width = 720.0;
constexpr double k_below = 68.0;
constexpr double k_panel = 460.0;
/// Lowest CLs of a logarithmic axis.
constexpr double k_lowest = 1e-4;

/// x, observed, and the five expected values.
std::string band_data(const std::vector<BandPoint>& points) {
  std::vector<std::vector<double>> rows;
  for (const BandPoint& point : points) {
    std::vector<double> row{point.x, point.observed.value_or(std::nan(""))};
    row.insert(row.end(), point.expected.begin(), point.expected.end());
    rows.push_back(std::move(row));
  }
  return cli::data_block("band", rows);
}

bool any_observed(const std::vector<BandPoint>& points) {
  return std::any_of(points.begin(), points.end(),
                     [](const BandPoint& p) { return p.observed.has_value(); });
}

/// Bands, then the expected and the observed line; the legend has them the other way round.
std::string band_plot(const std::vector<BandPoint>& points, double floor, const std::string& line) {
  if (points.empty()) return "plot NaN notitle\n";
  std::string text = fmt::format(
      "FLOOR = {}\nfloored(y) = y > FLOOR ? y : FLOOR\n"
      "plot $band using 1:(floored($3)):(floored($7)) with filledcurves fc rgb '{}' fs solid "
      "noborder notitle, \\\n"
      "  '' using 1:(floored($4)):(floored($6)) with filledcurves fc rgb '{}' fs solid noborder "
      "notitle, \\\n",
      number(floor), cli::k_two_sigma_colour, cli::k_one_sigma_colour);
  if (any_observed(points)) {
    text +=
        "  '' using 1:2 with linespoints lc rgb 'black' lw 2 pt 7 ps 0.45 title 'Observed', "
        "\\\n";
  }
  return text + fmt::format(
                    "  '' using 1:5 with lines lc rgb 'black' lw 2 dt 2 title 'Expected', \\\n"
                    "  NaN with boxes fc rgb '{}' fs solid noborder title 'Expected ± 1σ', \\\n"
                    "  NaN with boxes fc rgb '{}' fs solid noborder title 'Expected ± 2σ', \\\n"
                    "  NaN with lines lc rgb '{}' lw 1.6 {}\n",
                    cli::k_one_sigma_colour, cli::k_two_sigma_colour, cli::k_signal_colour,
                    line.empty() ? "notitle" : "title " + cli::gnuplot_text(line));
}

std::string confidence(double level) { return cli::brief(100.0 * (1.0 - level), 4) + " % CL"; }

/// "1.20 +0.50 −0.30"
std::string expected_text(const std::array<double, 5>& band) {
  const int decimals = cli::decimals_for(std::min(band[3] - band[2], band[2] - band[1]));
  return fmt::format("{} +{} −{}", cli::fixed_point(band[2], decimals),
                     cli::fixed_point(band[3] - band[2], decimals),
                     cli::fixed_point(band[2] - band[1], decimals));
}

std::string limit_marks(const ClsPlot& plot) {
  std::string text = fmt::format(
      "set arrow from graph 0,first {0} to graph 1,first {0} nohead lc rgb '{1}' lw 1.6 front\n",
      number(plot.level), cli::k_signal_colour);
  if (!plot.limit) return text;
  const auto drop = [&plot](double x, int dash) {
    return fmt::format(
        "set arrow from first {0},first {1} to first {0},graph 0 nohead lc rgb '{2}' lw 1.6 dt "
        "{3} front\n",
        number(x), number(plot.level), cli::k_signal_colour, dash);
  };
  if (plot.limit->observed) text += drop(*plot.limit->observed, 1);
  return text + drop(plot.limit->expected[2], 2);
}

Frame frame_for(const PlotStyle& style) {
  const double top = std::max(cli::heading_height(style, k_width - 125.0) + 10.0, 28.0);
  return {100.0, top, k_width - 25.0, top + k_panel};
}

std::string axis_labels(const Picture& page, const Frame& frame, const std::string& x,
                        const std::string& y) {
  return cli::text_at(page, 30.0, 0.5 * (frame.top + frame.bottom), y, "center rotate by 90") +
         cli::text_at(page, 0.5 * (frame.left + frame.right), frame.bottom + 48.0, x, "center");
}

std::string scale(double low, double high, bool logarithmic) {
  return fmt::format("set yrange [{}:{}]; set mxtics; set mytics; {}\n", number(low), number(high),
                     logarithmic ? "set logscale y; set format y '10^{%T}'" : "");
}

/// Smallest and largest of what is drawn.
std::array<double, 2> range_of(const std::vector<BandPoint>& points) {
  std::array<double, 2> range{HUGE_VAL, 0.0};
  const auto include = [&range](double value) {
    if (value > 0.0) range[0] = std::min(range[0], value);
    range[1] = std::max(range[1], value);
  };
  for (const BandPoint& point : points) {
    for (const double value : point.expected) include(value);
    if (point.observed) include(*point.observed);
  }
  if (!(range[0] <= range[1])) range = {0.1, 1.0};
  return range;
}

}  // namespace

ClsPlot cls_plot(const std::string& parameter, const std::vector<HypothesisTest>& tests,
                 const UpperLimit& limit) {
  ClsPlot plot;
  plot.parameter = parameter;
  plot.level = limit.level;
  for (const HypothesisTest& test : tests) {
    if (test.converged) plot.points.push_back({test.mu, test.cls, test.cls_expected});
  }
  std::sort(plot.points.begin(), plot.points.end(),
            [](const BandPoint& a, const BandPoint& b) { return a.x < b.x; });
  if (limit.converged) plot.limit = BandPoint{0.0, limit.observed, limit.expected};
  return plot;
}

Picture picture(const ClsPlot& plot, const PlotStyle& style) {
  const Frame frame = frame_for(style);
  const std::string name = cli::label_of(style, plot.parameter, 30);
  Picture page{k_width, frame.bottom + k_below, "",
               fmt::format("Observed and expected CLs against {}", plot.parameter)};
  std::vector<std::string> lines;
  if (plot.limit) {
    lines.push_back(confidence(plot.level) + " upper limit on " + name);
    if (plot.limit->observed) lines.push_back("observed " + cli::brief(*plot.limit->observed, 4));
    lines.push_back("expected " + expected_text(plot.limit->expected));
  }
  for (const std::string& line : style.lines) lines.push_back(without_markup(line));
  // The texts stand on the right, above the curves, which fall from left to right.
  std::string texts;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    texts += cli::text_at(page, frame.right - 18.0,
                          frame.top + 165.0 + 26.0 * static_cast<double>(i), lines[i], "right");
  }
  const double low = plot.logarithmic ? k_lowest : 0.0;
  page.script = band_data(plot.points) + cli::margins(page, frame) +
                cli::heading(page, frame, style) + texts +
                axis_labels(page, frame, name, "CL_{s}") + limit_marks(plot) +
                scale(low, plot.logarithmic ? 10.0 : 1.05, plot.logarithmic) +
                "set autoscale xfix\nset key top right Left reverse samplen 2 spacing SPACING\n" +
                band_plot(plot.points, low, "CL_{s} = " + cli::brief(plot.level));
  return page;
}

Picture picture(const LimitPlot& plot, const PlotStyle& style) {
  const Frame frame = frame_for(style);
  Picture page{k_width, frame.bottom + k_below, "",
               fmt::format("Observed and expected upper limits against {}", plot.axis)};
  std::vector<std::string> lines{plot.caption.empty() ? confidence(plot.level) + " upper limits"
                                                      : plot.caption};
  for (const std::string& line : style.lines) lines.push_back(without_markup(line));
  const auto [smallest, largest] = range_of(plot.points);
  double low = plot.logarithmic ? 0.5 * smallest : 0.0;
  double high =
      plot.logarithmic ? 2.0 * largest * std::pow(largest / smallest, 0.5) : 1.45 * largest;
  if (plot.range) std::tie(low, high) = std::pair((*plot.range)[0], (*plot.range)[1]);
  std::string line = "";
  if (plot.excluded) {
    line = fmt::format(
        "set arrow from graph 0,first {0} to graph 1,first {0} nohead lc rgb '{1}' lw 1.6 front\n",
        number(*plot.excluded), cli::k_signal_colour);
  }
  page.script = band_data(plot.points) + cli::margins(page, frame) +
                cli::heading(page, frame, style) + cli::inner_lines(page, frame, lines) +
                axis_labels(page, frame, plot.axis, plot.quantity) + line +
                scale(low, high, plot.logarithmic) +
                "set autoscale xfix\nset key top right Left reverse samplen 2 spacing SPACING\n" +
                band_plot(plot.points, low, plot.excluded ? plot.excluded_label : "");
  return page;
}

}  // namespace slalom
