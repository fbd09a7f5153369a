// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/mass_spectrum_plot.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <limits>

#include "cli/plot/script.hpp"
#include "cli/text.hpp"
#include "slalom/core/error.hpp"
#include "slalom/core/yields.hpp"

namespace slalom {

namespace {

using cli::Frame;
using cli::number;

constexpr double k_width = 720.0;
constexpr double k_panel = 400.0;
constexpr double k_gap = 16.0;
constexpr double k_lower = 130.0;
constexpr double k_below = 68.0;
constexpr double k_line = 26.0;
/// Range of the lower panel at least and at most, in standard deviations.
constexpr double k_least_range = 3.2, k_widest_range = 12.0;

struct Ranges {
  double low, high, deviation;
};

double error_of(const MassSpectrumPlot& plot, std::size_t b) {
  return plot.background_error.empty() ? 0.0 : plot.background_error[b];
}
double signal_of(const MassSpectrumPlot& plot, std::size_t b) {
  return plot.signal.empty() ? 0.0 : plot.signal[b];
}
double unit_of(const MassSpectrumPlot& plot, std::size_t b) {
  return std::sqrt(std::max(plot.background[b], 0.0) + std::pow(error_of(plot, b), 2));
}

void check(const MassSpectrumPlot& plot) {
  const std::size_t bins = plot.data.size();
  const auto fits = [bins](std::size_t n) { return n == 0 || n == bins; };
  if (bins > 0 && plot.edges.size() == bins + 1 && plot.background.size() == bins &&
      fits(plot.background_error.size()) && fits(plot.signal.size())) {
    return;
  }
  throw Error(ErrorKind::usage, "edges, data, background and signal of the same bins expected",
              "mass_spectrum_plot");
}

/// Two rows for each bin: x, background with its band, with signal, and the signal in the unit of
/// the lower panel.
std::vector<std::vector<double>> step_rows(const MassSpectrumPlot& plot, double low) {
  std::vector<std::vector<double>> rows;
  for (std::size_t b = 0; b < plot.data.size(); ++b) {
    const double expected = plot.background[b], error = error_of(plot, b);
    const double unit = unit_of(plot, b);
    std::vector<double> row{plot.edges[b],
                            expected,
                            std::max(expected - error, low),
                            expected + error,
                            expected + signal_of(plot, b),
                            unit > 0.0 ? error / unit : 0.0,
                            unit > 0.0 ? signal_of(plot, b) / unit : 0.0};
    rows.push_back(row);
    row.front() = plot.edges[b + 1];
    rows.push_back(std::move(row));
  }
  return rows;
}

/// x, events and their interval, and the deviation with that of one count more or less.
std::vector<std::vector<double>> point_rows(const MassSpectrumPlot& plot) {
  std::vector<std::vector<double>> rows;
  for (std::size_t b = 0; b < plot.data.size(); ++b) {
    const double n = plot.data[b], unit = unit_of(plot, b);
    const auto [low, high] = poisson_interval(n);
    const double deviation =
        unit > 0.0 ? (n - plot.background[b]) / unit : std::numeric_limits<double>::quiet_NaN();
    rows.push_back({0.5 * (plot.edges[b] + plot.edges[b + 1]), n, low, high, deviation,
                    unit > 0.0 ? (low - plot.background[b]) / unit : deviation,
                    unit > 0.0 ? (high - plot.background[b]) / unit : deviation});
  }
  return rows;
}

Ranges ranges_of(const MassSpectrumPlot& plot, double room) {
  double top = 1.0, least = HUGE_VAL, deviation = k_least_range;
  for (std::size_t b = 0; b < plot.data.size(); ++b) {
    top = std::max({top, poisson_interval(plot.data[b]).second,
                    plot.background[b] + signal_of(plot, b) + error_of(plot, b)});
    for (const double value : {plot.data[b], plot.background[b]}) {
      if (value > 0.0) least = std::min(least, value);
    }
    const double unit = unit_of(plot, b);
    if (unit > 0.0) {
      deviation =
          std::max(deviation, 1.15 * (std::abs(plot.data[b] - plot.background[b]) / unit + 0.5));
    }
  }
  Ranges ranges{0.0, top / (1.0 - room), std::min(deviation, k_widest_range)};
  if (plot.logarithmic) {
    ranges.low = std::max(0.4 * std::min(least, top), 1e-6 * top);
    ranges.high = top * std::pow(top / ranges.low, room / (1.0 - room));
  }
  return ranges;
}

std::string window_of(const MassSpectrumPlot& plot) {
  if (!plot.window) return "";
  return fmt::format(
      "set object 1 rectangle from first {},graph 0 to first {},graph 1 fc rgb '#ffd67a' fs "
      "transparent solid 0.35 noborder behind\n",
      number(plot.window->low), number(plot.window->high));
}

/// "Events / 0.05 TeV"
std::string events_label(const MassSpectrumPlot& plot) {
  const double width = plot.edges[1] - plot.edges[0];
  for (std::size_t b = 1; b + 1 < plot.edges.size(); ++b) {
    if (std::abs(plot.edges[b + 1] - plot.edges[b] - width) > 1e-6 * width) return "Events / bin";
  }
  const std::size_t open = plot.axis.rfind('['), close = plot.axis.rfind(']');
  const bool unit = open != std::string::npos && close != std::string::npos && close > open;
  return fmt::format("Events / {}{}", cli::brief(width, 3),
                     unit ? " " + plot.axis.substr(open + 1, close - open - 1) : "");
}

std::string main_panel(const MassSpectrumPlot& plot, const Ranges& ranges, const PlotStyle& style) {
  std::string text = fmt::format(
      "set yrange [{}:{}]\nset format x ''; set format y '{}'\n{}\nset ytics auto; set mytics\n"
      "set key top right Left reverse samplen 1.8 spacing SPACING\n"
      "plot $points using 1:2 with points ls 1 title 'Data'",
      number(ranges.low), number(ranges.high), plot.logarithmic ? "10^{%T}" : "%g",
      plot.logarithmic ? "set logscale y" : "unset logscale y");
  const bool signal = !plot.signal.empty();
  if (signal) {
    text += fmt::format(
        ", \\\n  $steps using 1:2:5 with filledcurves fc rgb '{0}' fs transparent solid 0.55 "
        "noborder title {1}",
        cli::k_signal_colour, cli::gnuplot_text(cli::label_of(style, plot.signal_name, 40)));
  }
  if (!plot.background_error.empty()) {
    text += ", \\\n  $steps using 1:3:4 with filledcurves @UNCERTAINTY title 'Uncertainty'";
  }
  text += fmt::format(", \\\n  $steps using 1:2 with lines lc rgb '{}' lw 2 title {}",
                      cli::k_palette[0],
                      cli::gnuplot_text(cli::label_of(style, plot.background_name, 40)));
  return text +
         ", \\\n  $points using 1:3:(0):($4-$3) with vectors nohead ls 1 notitle"
         ", \\\n  '' using 1:2 with points ls 1 notitle\n";
}

std::string lower_panel(const MassSpectrumPlot& plot, const Ranges& ranges) {
  std::string text = fmt::format(
      "unset logscale y\nset format x '%g'; set format y '%g'\nset yrange [{0}:{1}]\n"
      "set ytics autofreq {2}; set mytics\nunset key\nplot 0 with lines lc rgb '{3}' lw 2",
      number(-ranges.deviation), number(ranges.deviation),
      number(cli::tick_step(2.0 * ranges.deviation, 4.5)), cli::k_palette[0]);
  if (!plot.background_error.empty()) {
    text += ", \\\n  $steps using 1:(-$6):6 with filledcurves @UNCERTAINTY";
  }
  if (!plot.signal.empty()) {
    text +=
        fmt::format(", \\\n  $steps using 1:7 with lines lc rgb '{}' lw 2", cli::k_signal_colour);
  }
  return text +
         ", \\\n  $points using 1:6:(0):($7-$6) with vectors nohead ls 1"
         ", \\\n  '' using 1:5 with points ls 1\n";
}

}  // namespace

MassSpectrumPlot mass_spectrum_plot(std::span<const double> counts, const BumpHuntResult& hunt) {
  MassSpectrumPlot plot;
  plot.edges = hunt.sidebands.edges;
  plot.data.assign(counts.begin(), counts.end());
  plot.background = hunt.sidebands.expected;
  plot.background_error = hunt.sidebands.error;
  plot.window = hunt.window;
  if (hunt.signal > 0.0) {
    for (const double share : hunt.shape) plot.signal.push_back(hunt.signal * share);
  }
  const int decimals = cli::decimals_for(hunt.signal_error);
  plot.results.push_back(fmt::format("S = {} ± {}", cli::fixed_point(hunt.signal, decimals),
                                     cli::fixed_point(hunt.signal_error, decimals)));
  plot.results.push_back(fmt::format("Z = {}", cli::fixed_point(hunt.z, 2)));
  check(plot);
  return plot;
}

Picture picture(const MassSpectrumPlot& plot, const PlotStyle& style) {
  check(plot);
  const double top = std::max(cli::heading_height(style, k_width - 125.0) + 10.0, 28.0);
  const Frame main{100.0, top, k_width - 25.0, top + k_panel};
  const Frame lower{100.0, main.bottom + k_gap, main.right, main.bottom + k_gap + k_lower};
  Picture page{k_width, lower.bottom + k_below, "",
               fmt::format("Spectrum of {} with background", plot.axis)};
  std::vector<std::string> lines = style.lines;
  lines.insert(lines.end(), plot.results.begin(), plot.results.end());
  for (std::string& line : lines) line = without_markup(line);
  const double rows = std::max(4.0, static_cast<double>(lines.size()));
  const Ranges ranges = ranges_of(plot, std::min(0.5, (k_line * rows + 10.0) / k_panel));
  page.script = "set multiplot\n" + cli::data_block("steps", step_rows(plot, ranges.low)) +
                cli::data_block("points", point_rows(plot)) + cli::margins(page, main) +
                cli::heading(page, main, style) + cli::inner_lines(page, main, lines) +
                cli::text_at(page, 32.0, 0.5 * (main.top + main.bottom), events_label(plot),
                             "center rotate by 90") +
                fmt::format("set xrange [{}:{}]; set mxtics\n", number(plot.edges.front()),
                            number(plot.edges.back())) +
                window_of(plot) + main_panel(plot, ranges, style) + "unset label\n" +
                cli::margins(page, lower) +
                cli::text_at(page, 32.0, 0.5 * (lower.top + lower.bottom), "(Data − bkg.) / σ",
                             "center rotate by 90") +
                cli::text_at(page, 0.5 * (lower.left + lower.right), lower.bottom + 48.0, plot.axis,
                             "center") +
                lower_panel(plot, ranges) + "unset multiplot\n";
  return page;
}

}  // namespace slalom
