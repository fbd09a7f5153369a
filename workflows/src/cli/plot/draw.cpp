// SPDX-License-Identifier: Apache-2.0
/// \file
/// The script and the data that gnuplot gets.
#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/format.h>

#include "cli/plot/gnuplot.hpp"
#include "cli/text.hpp"
#include "slalom/core/error.hpp"
#include "slalom/core/json.hpp"
#include "slalom/core/yields.hpp"
#include "slalom/workflows/plot.hpp"

namespace slalom {

namespace {

using cli::gnuplot_text;

/// Colours that stay apart for people with colour vision deficiencies (M. Petroff, 2021), without
/// the red, which is the signal's.
constexpr std::array<const char*, 9> k_palette{"#3f90da", "#ffa90e", "#94a4a2",
                                               "#832db6", "#a96b59", "#e76300",
                                               "#b9ac70", "#717581", "#92dadd"};
constexpr const char* k_signal_colour = "#bd1f01";
/// One channel in pixels.
constexpr double k_width = 720.0;
constexpr double k_height = 640.0;
/// Left end of the frame, fraction of the cell.
constexpr double k_left = 0.14;
/// Relative uncertainty beyond which the ratio has no useful range.
constexpr double k_widest_ratio = 2.95;

/// Filling of the band of uncertainty. Hatches come out too coarse in PDF.
std::string band_style(const std::string& suffix) {
  const char* filling = suffix == ".pdf" ? "solid 0.4" : "pattern 4";
  return fmt::format("fc rgb '#303030' fs transparent {} noborder", filling);
}

/// Where one channel goes, as fractions of the page.
struct Cell {
  double left, right, bottom, top;
  double x(double fraction) const { return left + fraction * (right - left); }
  double y(double fraction) const { return bottom + fraction * (top - bottom); }
};

struct Page {
  std::size_t columns;
  std::size_t rows;

  explicit Page(std::size_t n)
      : columns(static_cast<std::size_t>(std::ceil(std::sqrt(static_cast<double>(n))))),
        rows((n + columns - 1) / columns) {}
  Cell cell(std::size_t i) const {
    const double w = 1.0 / static_cast<double>(columns);
    const double h = 1.0 / static_cast<double>(rows);
    const double left = w * static_cast<double>(i % columns);
    const double top = 1.0 - h * static_cast<double>(i / columns);
    return {left, left + w, top - h, top};
  }
};

/// Ranges of the axes of one channel.
struct Ranges {
  double low = 0.0;         ///< events
  double high = 1.0;        ///< events, with room for the legend
  double ratio_low = 0.0;   ///< data over model
  double ratio_high = 2.0;  ///< data over model
  double label_at = 0.05;   ///< of the vertical axes, fraction of the cell
};

std::string terminal(const std::string& suffix, const Page& page) {
  const double width = k_width * static_cast<double>(page.columns);
  const double height = k_height * static_cast<double>(page.rows);
  if (suffix == ".svg") {
    return fmt::format(
        "set terminal svg enhanced size {:.0f},{:.0f} font 'Helvetica,Arial,15' "
        "background rgb 'white'\n",
        width, height);
  }
  if (suffix == ".png") {
    return fmt::format(
        "set terminal pngcairo enhanced size {:.0f},{:.0f} font 'Helvetica,11' "
        "fontscale 2 linewidth 2 pointscale 2\n",
        2.0 * width, 2.0 * height);
  }
  return fmt::format(
      "set terminal pdfcairo enhanced size {:.3f}in,{:.3f}in font 'Helvetica,15' "
      "fontscale 0.75 linewidth 2 pointscale 1.4\n",
      width / 72.0, height / 72.0);
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
  const double margin = 1.2 * deviations[(deviations.size() - 1) * 9 / 10];
  ranges.ratio_low = margin < 1.0 ? 1.0 - margin : 0.0;
  ranges.ratio_high = std::min(1.0 + margin, k_widest_ratio);
}

/// 1, 2 or 5 times a power of ten, so that 1 is one of the ticks.
double ratio_step(const Ranges& ranges) {
  const double wanted = (ranges.ratio_high - ranges.ratio_low) / 4.5;
  const double power = std::pow(10.0, std::floor(std::log10(wanted)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= wanted) return factor * power;
  }
  return 10.0 * power;
}

/// Left of the widest number at the axis.
double label_position(const Ranges& ranges, bool logarithmic) {
  const double digits = 1.0 + std::floor(std::max(std::log10(ranges.high), 0.0));
  const double ratio_digits = ranges.ratio_high < 1.1 ? 5.0 : 3.0;
  const double widest = std::max(logarithmic || ranges.high >= 1e7 ? 6.0 : digits, ratio_digits);
  return std::max(k_left - 0.035 - 0.0125 * widest, 0.018);
}

Ranges ranges_of(const ChannelPlot& plot, std::size_t legend_rows, const PlotOptions& options) {
  Ranges ranges;
  const double top = highest(plot);
  const double room = 0.12 + 0.055 * static_cast<double>(legend_rows);
  if (options.logarithmic) {
    ranges.low = std::max(0.3 * std::min(lowest_positive(plot), top), 1e-6 * top);
    ranges.high = top * std::pow(top / ranges.low, room / (1.0 - room));
  } else {
    ranges.high = top / (1.0 - std::min(room, 0.5));
  }
  set_ratio_range(plot, ranges);
  ranges.label_at = label_position(ranges, options.logarithmic);
  return ranges;
}

/// Two lines per bin: x, top of each layer, lower and upper end of the band, the same as ratios.
std::string steps_text(const ChannelPlot& plot) {
  std::string text;
  for (std::size_t i = 0; i < plot.total.size(); ++i) {
    std::string columns;
    double sum = 0.0;
    for (const PlotSample& sample : plot.samples) {
      sum += sample.yields[i];
      columns += " " + cli::exact(sum);
    }
    const double total = plot.total[i];
    const double error = plot.total_error[i];
    const double relative = total > 0.0 ? error / total : 0.0;
    columns += fmt::format(" {} {} {} {} {}\n", total, std::max(total - error, 0.0), total + error,
                           1.0 - relative, 1.0 + relative);
    text += fmt::format("{}{}{}{}", plot.edges[i], columns, plot.edges[i + 1], columns);
  }
  return text;
}

/// x, events and their interval, the ratio and its interval, and where an arrow replaces a ratio
/// outside the frame. NaN is what gnuplot leaves out.
std::string points_text(const ChannelPlot& plot, const Ranges& ranges) {
  std::string text;
  const double inside = 0.05 * (ranges.ratio_high - ranges.ratio_low);
  for (std::size_t i = 0; i < plot.data.size(); ++i) {
    const double x = 0.5 * (plot.edges[i] + plot.edges[i + 1]);
    const double n = plot.data[i];
    const auto [low, high] = poisson_interval(n);
    text += fmt::format("{} {} {} {}", x, n, low, high);
    const double total = plot.total[i];
    const double ratio = n / total;
    if (!(total > 0.0) || n == 0.0) {
      text += " NaN NaN NaN NaN NaN\n";
    } else if (ratio > ranges.ratio_high) {
      text += fmt::format(" NaN NaN NaN {} NaN\n", ranges.ratio_high - inside);
    } else if (ratio < ranges.ratio_low) {
      text += fmt::format(" NaN NaN NaN NaN {}\n", ranges.ratio_low + inside);
    } else {
      text += fmt::format(" {} {} {} NaN NaN\n", ratio, low / total, high / total);
    }
  }
  return text;
}

std::string colour_of(const PlotSample& sample) {
  if (sample.colour < 0) return k_signal_colour;
  return k_palette[static_cast<std::size_t>(sample.colour) % k_palette.size()];
}

/// "Events / 3 GeV" from "m_{4l} [GeV]" and the width of a bin.
std::string events_label(const ChannelPlot& plot) {
  if (plot.axis.empty()) return "Events";
  const double width = plot.edges[1] - plot.edges[0];
  const std::size_t open = plot.axis.rfind('[');
  const std::size_t close = plot.axis.rfind(']');
  if (open == std::string::npos || close == std::string::npos || close < open) {
    return "Events / " + cli::brief(width, 4);
  }
  const std::string unit = plot.axis.substr(open + 1, close - open - 1);
  return fmt::format("Events / {} {}", cli::brief(width, 4), unit);
}

std::string frame(const ChannelPlot& plot, const Cell& cell, double bottom, double top) {
  return fmt::format(
      "unset label; unset key\n"
      "set lmargin at screen {:.5f}; set rmargin at screen {:.5f}\n"
      "set bmargin at screen {:.5f}; set tmargin at screen {:.5f}\n"
      "set xrange [{}:{}]\n",
      cell.x(k_left), cell.x(0.965), cell.y(bottom), cell.y(top), plot.edges.front(),
      plot.edges.back());
}

/// The label of a vertical axis, at the same distance from the frame for all.
std::string side_label(const std::string& text, const Cell& cell, double x, double height) {
  return fmt::format("set label 100 {} at screen {:.5f},{:.5f} center rotate by 90\n",
                     gnuplot_text(text), cell.x(x), cell.y(height));
}

std::string head_lines(const ChannelPlot& plot, const PlotOptions& options, bool only) {
  std::string text;
  if (!options.title.empty()) {
    text += fmt::format("set label 1 {} at graph 0,1.04 left\n",
                        gnuplot_text("{/:Bold*1.15 " + options.title + "}"));
  }
  if (!options.note.empty()) {
    text += fmt::format("set label 2 {} at graph 1,1.04 right\n", gnuplot_text(options.note));
  }
  std::vector<std::string> lines = options.lines;
  const auto label = options.labels.find(plot.channel);
  const bool labelled = label != options.labels.end();
  if (labelled) lines.insert(lines.begin(), label->second);
  if (!labelled && !only) lines.insert(lines.begin(), plot.channel);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    text += fmt::format("set label {} {} at graph 0.03,{:.3f} left{}\n", i + 3,
                        gnuplot_text(lines[i]), 0.945 - 0.062 * static_cast<double>(i),
                        i == 0 && labelled ? "" : " noenhanced");
  }
  return text;
}

std::string main_panel(const ChannelPlot& plot, const PlotOptions& options, const Cell& cell,
                       const Ranges& ranges, const std::string& file, const std::string& band,
                       bool only) {
  const std::size_t n = plot.samples.size();
  std::string text = frame(plot, cell, 0.335, 0.925) + head_lines(plot, options, only) +
                     side_label(events_label(plot), cell, ranges.label_at, 0.63);
  text += fmt::format(
      "set yrange [{}:{}]\nset format x ''; unset xlabel; set format y '{}'\n"
      "{}\nset ytics auto; set mytics\nset key top right Left reverse samplen 1.6 spacing 1.15{}\n",
      ranges.low, ranges.high,
      !options.logarithmic && ranges.high > 1e4 && ranges.high < 1e7 ? "%.0f" : "%g",
      options.logarithmic ? "set logscale y" : "unset logscale y", n > 6 ? " maxrows 6" : "");
  text += fmt::format("plot '{}.points' using 1:2 with points ls 1 title 'Data'", file);
  for (std::size_t i = n; i-- > 0;) {
    const PlotSample& sample = plot.samples[i];
    text += fmt::format(
        ", \\\n  '{}.steps' using 1:{} with filledcurves y={} fc rgb '{}' fs solid noborder "
        "title {}{}",
        file, i + 2, ranges.low, colour_of(sample), gnuplot_text(sample.label),
        sample.markup ? "" : " noenhanced");
  }
  text += fmt::format(
      ", \\\n  '{0}.steps' using 1:{1} with lines ls 2 notitle"
      ", \\\n  '{0}.steps' using 1:{2}:{3} with filledcurves {4} title 'Uncertainty'"
      ", \\\n  '{0}.points' using 1:3:(0):($4-$3) with vectors nohead ls 1 notitle"
      ", \\\n  '' using 1:2 with points ls 1 notitle\n",
      file, n + 2, n + 3, n + 4, band);
  return text;
}

std::string ratio_panel(const ChannelPlot& plot, const Cell& cell, const Ranges& ranges,
                        const std::string& file, const std::string& band) {
  const std::size_t n = plot.samples.size();
  const std::string axis =
      plot.axis.empty() ? "set xlabel " + gnuplot_text("Bin of " + plot.channel) + " noenhanced\n"
                        : "set xlabel " + gnuplot_text(plot.axis) + "\n";
  return frame(plot, cell, 0.11, 0.305) + axis +
         side_label("Data / model", cell, ranges.label_at, 0.2075) +
         fmt::format(
             "unset logscale y\nset format x '%g'; set format y '%g'\nset yrange [{}:{}]\n"
             "set ytics autofreq {}\n"
             "plot '{}.steps' using 1:{}:{} with filledcurves {} notitle"
             ", \\\n  1 with lines ls 2 notitle"
             ", \\\n  '{}.points' using 1:6:(0):($7-$6) with vectors nohead ls 1 notitle"
             ", \\\n  '' using 1:5 with points ls 1 notitle"
             ", \\\n  '' using 1:8 with points ls 4 notitle"
             ", \\\n  '' using 1:9 with points ls 5 notitle\n",
             ranges.ratio_low, ranges.ratio_high, cli::brief(ratio_step(ranges)), file, n + 5,
             n + 6, band, file);
}

/// Bins that are numbered have ticks at whole numbers.
std::string ticks(const ChannelPlot& plot) {
  if (!plot.axis.empty()) return "set xtics auto; set mxtics\n";
  const auto step = static_cast<int>(std::ceil(static_cast<double>(plot.total.size()) / 12.0));
  return fmt::format("set xtics 1,{}; unset mxtics\n", step);
}

constexpr const char* k_styles =
    "set encoding utf8\n"
    "set style line 1 lc rgb 'black' lw 1.4 pt 7 ps 0.6\n"
    "set style line 2 lc rgb '#202020' lw 1.2\n"

    "set style line 4 lc rgb 'black' pt 9 ps 0.9\n"
    "set style line 5 lc rgb 'black' pt 11 ps 0.9\n"
    "set tics front\nset border front lw 1.2\n";

}  // namespace

void check_plot_format(const std::filesystem::path& file) {
  const std::string suffix = file.extension().string();
  if (suffix == ".svg" || suffix == ".png" || suffix == ".pdf") return;
  throw Error(ErrorKind::usage, "the name must end in .svg, .png or .pdf", file.string());
}

void draw(const std::vector<ChannelPlot>& plots, const PlotOptions& options,
          const std::filesystem::path& file) {
  check_plot_format(file);
  const cli::TemporaryFolder folder;
  const Page page(plots.size());
  const std::string suffix = file.extension().string();
  const std::string band = band_style(suffix);
  const std::string picture = (folder.path() / ("plot" + suffix)).string();
  std::string script = terminal(suffix, page) + k_styles;
  script += fmt::format("set output {}\nset multiplot\n", gnuplot_text(picture));
  for (std::size_t i = 0; i < plots.size(); ++i) {
    const ChannelPlot& plot = plots[i];
    const std::string name = (folder.path() / fmt::format("channel_{}", i)).string();
    const Ranges ranges =
        ranges_of(plot, std::min<std::size_t>(plot.samples.size() + 2, 6), options);
    write_text(name + ".steps", steps_text(plot));
    write_text(name + ".points", points_text(plot, ranges));
    script += ticks(plot) +
              main_panel(plot, options, page.cell(i), ranges, name, band, plots.size() == 1) +
              ratio_panel(plot, page.cell(i), ranges, name, band);
  }
  cli::run_gnuplot(folder.path(), script + "unset multiplot\nunset output\n");
  write_text(file, read_text(picture));
}

}  // namespace slalom
