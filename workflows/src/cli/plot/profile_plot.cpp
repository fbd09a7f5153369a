// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/profile_plot.hpp"

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
constexpr double k_highest = 10.0;  // rise of a profile that is drawn
constexpr double k_legend_row = 21.5;
constexpr std::size_t k_label = 40;

const char* colour_of(int index) {
  return cli::k_palette[static_cast<std::size_t>(index) % cli::k_palette.size()];
}

/// Share of the frame that a legend of so many rows takes.
double legend_room(std::size_t rows) {
  return std::min(0.6, (k_legend_row * static_cast<double>(rows) + 12.0) / k_panel);
}

std::string sigma_lines() {
  std::string text;
  for (const int sigma : {1, 2, 3}) {
    text += fmt::format(
        "set arrow from graph 0,first {0} to graph 1,first {0} nohead lc rgb '#707070' dt 2 lw 1 "
        "back\nset label '{1}σ' at graph 0.985,first {0} right offset 0,0.5 textcolor rgb "
        "'#505050'\n",
        sigma * sigma, sigma);
  }
  return text;
}

struct Page {
  Picture picture;
  Frame frame;
};

Page page_of(const PlotStyle& style, const std::string& description) {
  const double top = std::max(cli::heading_height(style, k_width - 125.0) + 10.0, 28.0);
  const Frame frame{100.0, top, k_width - 25.0, top + k_panel};
  return {{k_width, frame.bottom + k_below, "", description}, frame};
}

std::string labels(const Page& page, const PlotStyle& style, const std::string& vertical,
                   const std::string& horizontal) {
  const Frame& frame = page.frame;
  return cli::margins(page.picture, frame) + cli::heading(page.picture, frame, style) +
         cli::text_at(page.picture, 35.0, 0.5 * (frame.top + frame.bottom), vertical,
                      "center rotate by 90") +
         cli::text_at(page.picture, 0.5 * (frame.left + frame.right), frame.bottom + 48.0,
                      horizontal, "center");
}

}  // namespace

Picture picture(const ProfilePlot& plot, const PlotStyle& style) {
  Page page = page_of(style, fmt::format("Profiles of {}", plot.parameter));
  std::string blocks, curves = "plot NaN notitle";
  for (std::size_t c = 0; c < plot.curves.size(); ++c) {
    const ProfileCurve& curve = plot.curves[c];
    std::vector<std::vector<double>> rows;
    for (const auto& [x, y] : curve.points) {
      if (y <= 2.0 * k_highest) rows.push_back({x, y});
    }
    if (rows.empty()) continue;
    blocks += cli::data_block(fmt::format("profile_{}", c), rows);
    curves += fmt::format(", \\\n  $profile_{} using 1:2 with lines lc rgb '{}' lw 2.2 title {}", c,
                          colour_of(curve.colour),
                          cli::gnuplot_text(cli::label_of(style, curve.name, k_label)));
  }
  const double room = legend_room(plot.curves.size());
  page.picture.script =
      blocks + labels(page, style, "−2 Δ ln {/:Italic L}", cli::label_of(style, plot.parameter)) +
      sigma_lines();
  if (plot.truth) {
    page.picture.script += fmt::format(
        "set arrow from first {0},graph 0 to first {0},graph {1} nohead lc rgb '#707070' dt 3 lw "
        "1.5\n",
        number(*plot.truth), number(1.0 - room));
  }
  page.picture.script += fmt::format(
      "set yrange [0:{}]; set mxtics; set mytics\nset autoscale xfix\n"
      "set key top right Left reverse spacing SPACING samplen 2\n",
      number(k_highest / (1.0 - room)));
  page.picture.script += curves + "\n";
  return page.picture;
}

Picture picture(const ShapePlot& plot, const PlotStyle& style) {
  Page page = page_of(style, plot.label);
  double low = HUGE_VAL, high = 0.0;
  std::string blocks, curves = "plot NaN notitle";
  std::size_t bins = 1;
  for (std::size_t c = 0; c < plot.curves.size(); ++c) {
    const ShapeCurve& curve = plot.curves[c];
    std::vector<std::vector<double>> rows;
    bins = std::max(bins, curve.values.size());
    for (std::size_t b = 0; b < curve.values.size(); ++b) {
      const double value = curve.values[b];
      if (value > 0.0) low = std::min(low, value);
      high = std::max(high, value);
      // Ends of the bin, so that the line is a step.
      rows.push_back({static_cast<double>(b) + 0.5, value});
      rows.push_back({static_cast<double>(b) + 1.5, value});
    }
    if (rows.empty()) continue;
    blocks += cli::data_block(fmt::format("shape_{}", c), rows);
    curves += fmt::format(", \\\n  $shape_{} using 1:2 with lines lc rgb '{}' lw 2{} title {}", c,
                          colour_of(curve.colour), curve.dashed ? " dt 2" : "",
                          cli::gnuplot_text(cli::label_of(style, curve.name, k_label)));
  }
  const double room = legend_room(plot.curves.size());
  const bool logarithmic = low < high && high > 100.0 * low;
  page.picture.script =
      blocks + labels(page, style, plot.label, plot.axis) +
      fmt::format("set xrange [0.5:{}]; set mytics\n", number(static_cast<double>(bins) + 0.5)) +
      "set key top right Left reverse spacing SPACING samplen 2\n";
  if (logarithmic) {
    const double span = std::log(high / low) / (1.0 - room - 0.05);
    page.picture.script +=
        fmt::format("set logscale y; set yrange [{}:{}]\n", number(low * std::exp(-0.05 * span)),
                    number(high * std::exp(room * span)));
  } else {
    page.picture.script +=
        fmt::format("set yrange [0:{}]\n", number(high > 0.0 ? high / (1.0 - room) : 1.0));
  }
  page.picture.script += curves + "\n";
  return page.picture;
}

}  // namespace slalom
