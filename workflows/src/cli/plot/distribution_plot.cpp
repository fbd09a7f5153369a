// SPDX-License-Identifier: Apache-2.0
/// \file
/// The picture of distributions; distributions.cpp collects their content.
#include "slalom/workflows/distribution_plot.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "cli/plot/script.hpp"
#include "cli/text.hpp"
#include "slalom/core/yields.hpp"

namespace slalom {

namespace {

using cli::Frame;
using cli::gnuplot_text;
using cli::number;

/// One channel in pixels, with room for numbers below the bins.
constexpr double k_width = 720.0;
constexpr double k_height = 640.0;
constexpr double k_left = 101.0;
constexpr double k_right = 25.0;
constexpr double k_bottom = 70.0;
constexpr double k_ratio = 125.0;
constexpr double k_gap = 19.0;
/// An overview: pixels per bin, and where its width ends.
constexpr double k_bin_width = 26.0;
constexpr double k_widest = 1500.0;
/// Relative uncertainty beyond which the ratio has no useful range.
constexpr double k_widest_ratio = 2.95;
/// Height of a row of the legend, and widths of its columns in characters.
constexpr double k_legend_row = 21.5;
constexpr std::size_t k_wide_label = 36;
constexpr std::size_t k_narrow_label = 17;

/// Ranges of the axes of one channel.
struct Ranges {
  double low = 0.0;         ///< events
  double high = 1.0;        ///< events, with room for the legend
  double ratio_low = 0.0;   ///< data over model
  double ratio_high = 2.0;  ///< data over model
};

/// Where one channel goes, and the names of its blocks of data.
struct Cell {
  Frame main;
  Frame ratio;
  std::string steps;
  std::string points;
};

struct Legend {
  std::size_t columns = 1;
  std::size_t rows = 1;
  std::size_t characters = k_wide_label;
};

/// The longest name below the bins, in pixels; 0 if they are numbered.
double name_height(const ChannelPlot& plot, const PlotStyle& style) {
  double longest = 0.0;
  for (const BinGroup& group : plot.groups) {
    longest = std::max(longest, cli::text_width(cli::label_of(style, group.name, 30)));
  }
  return longest;
}

double cell_width(const DistributionPlot& plot) {
  const ChannelPlot& first = plot.channels.front();
  if (first.groups.empty()) return k_width;
  const double bins = k_bin_width * static_cast<double>(first.total.size());
  return std::clamp(bins + k_left + k_right, k_width, k_widest);
}

Legend legend_of(const ChannelPlot& plot, const PlotStyle& style, double width) {
  const std::size_t entries = plot.samples.size() + 2;
  std::size_t longest = 11;
  for (const PlotSample& sample : plot.samples) {
    const double pixels = cli::text_width(cli::label_of(style, sample.name));
    longest = std::max(longest, static_cast<std::size_t>(pixels / cli::k_character));
  }
  Legend legend;
  if (width > 1.3 * k_width && entries > 4) {
    legend = {3, (entries + 2) / 3, k_narrow_label + 5};
  } else if (entries > 7 || (entries > 4 && longest <= k_narrow_label)) {
    legend = {2, (entries + 1) / 2, k_narrow_label};
  } else {
    legend.rows = entries;
  }
  legend.characters = std::min(legend.characters, longest);
  return legend;
}

double highest(const ChannelPlot& plot) {
  double top = 0.0;
  for (std::size_t i = 0; i < plot.total.size(); ++i) {
    top =
        std::max({top, plot.total[i] + plot.total_error[i], poisson_interval(plot.data[i]).second});
  }
  return top > 0.0 ? top : 1.0;
}

double lowest_positive(const ChannelPlot& plot) {
  double low = HUGE_VAL;
  for (std::size_t i = 0; i < plot.total.size(); ++i) {
    for (const double value : {plot.total[i], plot.data[i]}) {
      if (value > 0.0) low = std::min(low, value);
    }
  }
  return std::isfinite(low) ? low : 0.1;
}

/// Small deviations get a narrow range around 1, large ones 0 to at most k_widest_ratio. What a
/// tenth of the bins needs beyond that is not worth flattening the others for: arrows stand for it.
void set_ratio_range(const ChannelPlot& plot, Ranges& ranges) {
  std::vector<double> deviations{0.02};
  for (std::size_t i = 0; i < plot.total.size(); ++i) {
    if (!(plot.total[i] > 0.0) || plot.data[i] == 0.0) continue;
    const auto [low, high] = poisson_interval(plot.data[i]);
    deviations.push_back(std::max({plot.total_error[i] / plot.total[i], 1.0 - low / plot.total[i],
                                   high / plot.total[i] - 1.0}));
  }
  std::sort(deviations.begin(), deviations.end());
  const std::size_t last = deviations.size() - 1;
  const double margin = 1.2 * deviations[last - last / 10];
  ranges.ratio_low = margin < 1.0 ? 1.0 - margin : 0.0;
  ranges.ratio_high = std::min(1.0 + margin, k_widest_ratio);
}

Ranges ranges_of(const ChannelPlot& plot, double room, bool logarithmic) {
  Ranges ranges;
  const double top = highest(plot);
  if (logarithmic) {
    ranges.low = std::max(0.3 * std::min(lowest_positive(plot), top), 1e-6 * top);
    ranges.high = top * std::pow(top / ranges.low, room / (1.0 - room));
  } else {
    ranges.high = top / (1.0 - room);
  }
  set_ratio_range(plot, ranges);
  return ranges;
}

/// Two rows per bin: x, top of each layer, lower and upper end of the band, the same as ratios.
std::vector<std::vector<double>> step_rows(const ChannelPlot& plot) {
  std::vector<std::vector<double>> rows;
  for (std::size_t i = 0; i < plot.total.size(); ++i) {
    std::vector<double> row{plot.edges[i]};
    double sum = 0.0;
    for (const PlotSample& sample : plot.samples) row.push_back(sum += sample.yields[i]);
    const double total = plot.total[i];
    const double error = plot.total_error[i];
    const double relative = total > 0.0 ? error / total : 0.0;
    row.insert(row.end(), {total, std::max(total - error, 0.0), total + error, 1.0 - relative,
                           1.0 + relative});
    rows.push_back(row);
    row.front() = plot.edges[i + 1];
    rows.push_back(std::move(row));
  }
  return rows;
}

/// x, events and their interval, the ratio and its interval, and where an arrow replaces a ratio
/// outside the frame.
std::vector<std::vector<double>> point_rows(const ChannelPlot& plot, const Ranges& ranges) {
  constexpr double k_none = std::numeric_limits<double>::quiet_NaN();
  std::vector<std::vector<double>> rows;
  const double inside = 0.05 * (ranges.ratio_high - ranges.ratio_low);
  for (std::size_t i = 0; i < plot.data.size(); ++i) {
    const double n = plot.data[i];
    const auto [low, high] = poisson_interval(n);
    std::vector<double> row{0.5 * (plot.edges[i] + plot.edges[i + 1]), n, low, high};
    const double total = plot.total[i];
    const double ratio = n / total;
    if (!(total > 0.0) || n == 0.0) {
      row.insert(row.end(), 5, k_none);
    } else if (ratio > ranges.ratio_high) {
      row.insert(row.end(), {k_none, k_none, k_none, ranges.ratio_high - inside, k_none});
    } else if (ratio < ranges.ratio_low) {
      row.insert(row.end(), {k_none, k_none, k_none, k_none, ranges.ratio_low + inside});
    } else {
      row.insert(row.end(), {ratio, low / total, high / total, k_none, k_none});
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string colour_of(const PlotSample& sample) {
  if (sample.colour < 0) return cli::k_signal_colour;
  return cli::k_palette[static_cast<std::size_t>(sample.colour) % cli::k_palette.size()];
}

/// "Events / 3 GeV" from "m_{4l} [GeV]" and the width of a bin.
std::string events_label(const ChannelPlot& plot) {
  if (plot.axis.empty()) return plot.groups.empty() ? "Events" : "Events / bin";
  const double width = plot.edges[1] - plot.edges[0];
  const std::size_t open = plot.axis.rfind('[');
  const std::size_t close = plot.axis.rfind(']');
  if (open == std::string::npos || close == std::string::npos || close < open) {
    return "Events / " + cli::brief(width, 4);
  }
  const std::string unit = plot.axis.substr(open + 1, close - open - 1);
  return fmt::format("Events / {} {}", cli::brief(width, 4), unit);
}

/// Left of the widest number at the axis.
double label_position(const Frame& frame, const Ranges& ranges, bool logarithmic) {
  const double digits = 1.0 + std::floor(std::max(std::log10(ranges.high), 0.0));
  const double ratio_digits = ranges.ratio_high < 1.1 ? 5.0 : 3.0;
  const double widest = std::max(logarithmic || ranges.high >= 1e7 ? 5.0 : digits, ratio_digits);
  return std::max(frame.left - 25.0 - 9.0 * widest, frame.left - k_left + 13.0);
}

std::vector<std::string> lines_of(const ChannelPlot& plot, const PlotStyle& style, bool only) {
  std::vector<std::string> lines;
  const bool labelled = style.labels.contains(plot.channel);
  if (!plot.channel.empty() && (labelled || !only)) {
    lines.push_back(cli::label_of(style, plot.channel, 30));
  }
  for (const std::string& line : style.lines) lines.push_back(without_markup(line));
  return lines;
}

/// Whether lines have room on the left of the legend.
bool lines_fit(const std::vector<std::string>& lines, const Legend& legend, double width) {
  // gnuplot takes characters of SVG for wider than they are.
  constexpr double k_sample = 52.0;
  constexpr double k_legend_character = 10.2;
  const double column = k_sample + k_legend_character * static_cast<double>(legend.characters);
  const double left = width - column * static_cast<double>(legend.columns) - 30.0;
  return std::all_of(lines.begin(), lines.end(),
                     [left](const std::string& line) { return cli::text_width(line) < left; });
}

std::string frame_of(const Picture& page, const Frame& frame, const ChannelPlot& plot) {
  return cli::margins(page, frame) + "unset key\n" +
         fmt::format("set xrange [{}:{}]\n", number(plot.edges.front()), number(plot.edges.back()));
}

/// Bins that are numbered have ticks at whole numbers; named ones have none.
std::string ticks(const ChannelPlot& plot) {
  if (!plot.groups.empty()) return "unset xtics; unset mxtics\n";
  if (!plot.axis.empty()) return "set xtics auto; set mxtics\n";
  const auto step = static_cast<int>(std::ceil(static_cast<double>(plot.total.size()) / 12.0));
  return fmt::format("set xtics 1,{}; unset mxtics\n", step);
}

/// Lines between groups of bins, up to a fraction of the frame.
std::string separators(const ChannelPlot& plot, double height) {
  std::string text = "unset arrow\n";
  double edge = 0.5;
  for (std::size_t g = 0; g + 1 < plot.groups.size(); ++g) {
    edge += static_cast<double>(plot.groups[g].n_bins);
    text += fmt::format(
        "set arrow from first {0},graph 0 to first {0},graph {1:.3f} nohead lc rgb '#909090' dt 3 "
        "lw 1 front\n",
        edge, height);
  }
  return text;
}

std::string group_names(const Picture& page, const Frame& frame, const ChannelPlot& plot,
                        const PlotStyle& style) {
  std::string text;
  const double per_bin = frame.width() / static_cast<double>(plot.total.size());
  double before = 0.0;
  for (const BinGroup& group : plot.groups) {
    const double width = per_bin * static_cast<double>(group.n_bins);
    text += cli::text_at(page, frame.left + before + 0.5 * width, frame.bottom + 10.0,
                         cli::label_of(style, group.name, 30), "right rotate by 90");
    before += width;
  }
  return text;
}

std::string main_panel(const Picture& page, const Cell& cell, const ChannelPlot& plot,
                       const Ranges& ranges, const Legend& legend, const PlotStyle& style,
                       bool logarithmic) {
  const std::size_t n = plot.samples.size();
  std::string text = frame_of(page, cell.main, plot);
  text += fmt::format(
      "set yrange [{}:{}]\nset format x ''; unset xlabel; set format y '{}'\n"
      "{}\nset ytics auto; set mytics\n"
      "set key top right Left reverse samplen 1.6 spacing SPACING maxrows {}\n",
      number(ranges.low), number(ranges.high),
      logarithmic                              ? "10^{%T}"
      : ranges.high > 1e4 && ranges.high < 1e7 ? "%.0f"
                                               : "%g",
      logarithmic ? "set logscale y" : "unset logscale y", legend.rows);
  text += fmt::format("plot ${} using 1:2 with points ls 1 title 'Data'", cell.points);
  for (std::size_t i = n; i-- > 0;) {
    const PlotSample& sample = plot.samples[i];
    text += fmt::format(
        ", \\\n  ${} using 1:{} with filledcurves y={} fc rgb '{}' fs solid noborder title {}",
        cell.steps, i + 2, number(ranges.low), colour_of(sample),
        gnuplot_text(cli::label_of(style, sample.name, legend.characters)));
  }
  return text +
         fmt::format(
             ", \\\n  ${0} using 1:{1} with lines ls 2 notitle"
             ", \\\n  ${0} using 1:{2}:{3} with filledcurves @UNCERTAINTY title 'Uncertainty'"
             ", \\\n  ${4} using 1:3:(0):($4-$3) with vectors nohead ls 1 notitle"
             ", \\\n  '' using 1:2 with points ls 1 notitle\n",
             cell.steps, n + 2, n + 3, n + 4, cell.points);
}

std::string ratio_panel(const Picture& page, const Cell& cell, const ChannelPlot& plot,
                        const Ranges& ranges) {
  const std::size_t n = plot.samples.size();
  return frame_of(page, cell.ratio, plot) +
         fmt::format(
             "unset logscale y\nset format x '%g'; set format y '%g'\nset yrange [{}:{}]\n"
             "set ytics autofreq {}\n"
             "plot ${} using 1:{}:{} with filledcurves @UNCERTAINTY notitle"
             ", \\\n  1 with lines ls 2 notitle"
             ", \\\n  ${} using 1:6:(0):($7-$6) with vectors nohead ls 1 notitle"
             ", \\\n  '' using 1:5 with points ls 1 notitle"
             ", \\\n  '' using 1:8 with points ls 4 notitle"
             ", \\\n  '' using 1:9 with points ls 5 notitle\n",
             number(ranges.ratio_low), number(ranges.ratio_high),
             number(cli::tick_step(ranges.ratio_high - ranges.ratio_low, 4.5)), cell.steps, n + 5,
             n + 6, cell.points);
}

std::string channel_script(const Picture& page, const Cell& cell, const ChannelPlot& plot,
                           const PlotStyle& style, bool logarithmic, bool only) {
  const std::vector<std::string> lines = lines_of(plot, style, only);
  const Legend legend = legend_of(plot, style, cell.main.width());
  const double legend_height = k_legend_row * static_cast<double>(legend.rows);
  const double lines_height = 26.0 * static_cast<double>(lines.size());
  const bool beside = lines_fit(lines, legend, cell.main.width());
  const double rows = beside ? std::max(legend_height, lines_height) : legend_height + lines_height;
  const double room = std::min((rows + 30.0) / cell.main.height(), 0.55);
  const Ranges ranges = ranges_of(plot, room, logarithmic);
  const double label = label_position(cell.main, ranges, logarithmic);
  const double middle = 0.5 * (cell.ratio.top + cell.ratio.bottom);
  std::string text = cli::data_block(cell.steps, step_rows(plot)) +
                     cli::data_block(cell.points, point_rows(plot, ranges)) + ticks(plot) +
                     separators(plot, 1.0 - room) + cli::heading(page, cell.main, style) +
                     cli::inner_lines(page, cell.main, lines, beside ? 0.0 : legend_height) +
                     cli::text_at(page, label, 0.5 * (cell.main.top + cell.main.bottom),
                                  events_label(plot), "center rotate by 90");
  text += main_panel(page, cell, plot, ranges, legend, style, logarithmic) + "unset label\n";
  text += cli::text_at(page, label, middle, "Data / model", "center rotate by 90");
  const std::string axis =
      plot.axis.empty() ? "Bin of " + without_markup(cli::shorten(plot.channel, 50)) : plot.axis;
  text += plot.groups.empty() ? cli::text_at(page, 0.5 * (cell.ratio.left + cell.ratio.right),
                                             cell.ratio.bottom + 47.0, axis, "center")
                              : group_names(page, cell.ratio, plot, style);
  return text + separators(plot, 1.0) + ratio_panel(page, cell, plot, ranges) + "unset label\n";
}

}  // namespace

Picture picture(const DistributionPlot& plot, const PlotStyle& style) {
  const std::size_t n = plot.channels.size();
  const auto columns = static_cast<std::size_t>(std::ceil(std::sqrt(static_cast<double>(n))));
  const std::size_t rows = (n + columns - 1) / columns;
  const double width = cell_width(plot);
  const double top = std::max(cli::heading_height(style, width - k_left - k_right) + 12.0, 30.0);
  const double bottom = std::max(k_bottom, name_height(plot.channels.front(), style) + 25.0);
  const double height = k_height - k_bottom + bottom + top - 48.0;
  Picture page{width * static_cast<double>(columns), height * static_cast<double>(rows), "",
               fmt::format("Data and model of {}", cli::count(n, "channel"))};
  page.script = "set multiplot\n";
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t row = i / columns, column = i % columns;
    const double x = width * static_cast<double>(column);
    const double y = height * static_cast<double>(row);
    const double end = y + height - bottom;
    const Cell cell{{x + k_left, y + top, x + width - k_right, end - k_ratio - k_gap},
                    {x + k_left, end - k_ratio, x + width - k_right, end},
                    fmt::format("steps_{}", i),
                    fmt::format("points_{}", i)};
    page.script += channel_script(page, cell, plot.channels[i], style, plot.logarithmic, n == 1);
  }
  page.script += "unset multiplot\n";
  return page;
}

}  // namespace slalom
