// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/coverage_plot.hpp"

#include <algorithm>
#include <fmt/format.h>

#include "cli/plot/script.hpp"
#include "cli/text.hpp"

namespace slalom {

namespace {

using cli::Frame;
using cli::number;

constexpr double k_width = 560.0;
constexpr double k_below = 68.0;
constexpr double k_panel = 440.0;

}  // namespace

Picture picture(const CoveragePlot& plot, const PlotStyle& style) {
  const double top = std::max(cli::heading_height(style, k_width - 115.0) + 10.0, 28.0);
  const Frame frame{90.0, top, k_width - 25.0, top + k_panel};
  Picture page{
      k_width, frame.bottom + k_below, "",
      fmt::format("Coverage of {}", cli::count(plot.curves.size(), "kind") + " of intervals")};
  std::string blocks, curves = "plot x with lines lc rgb '#707070' dt 2 lw 1.4 notitle";
  for (std::size_t c = 0; c < plot.curves.size(); ++c) {
    const CoverageLine& curve = plot.curves[c];
    std::vector<std::vector<double>> rows;
    for (const CoveragePlotPoint& p : curve.points)
      rows.push_back({p.nominal, p.coverage, p.error});
    if (rows.empty()) continue;
    std::sort(rows.begin(), rows.end());
    const auto* colour =
        cli::k_palette[static_cast<std::size_t>(std::max(curve.colour, 0)) % cli::k_palette.size()];
    blocks += cli::data_block(fmt::format("curve_{}", c), rows);
    curves += fmt::format(
        ", \\\n  $curve_{0} using 1:($2-$3):(0):(2*$3) with vectors nohead lc rgb '{1}' lw 1.4 "
        "notitle, \\\n  $curve_{0} using 1:2 with {3} pt 7 ps {4} lc rgb '{1}' lw 1.8 "
        "title "
        "{2}",
        c, colour, cli::gnuplot_text(cli::label_of(style, curve.name, 40)),
        curve.joined ? "linespoints" : "points", curve.joined ? 0.6 : 1.0);
  }
  std::vector<std::string> lines = style.lines;
  for (std::string& line : lines) line = without_markup(line);
  page.script = blocks + cli::margins(page, frame) + cli::heading(page, frame, style) +
                cli::inner_lines(page, frame, lines) +
                cli::text_at(page, 28.0, 0.5 * (frame.top + frame.bottom), "Coverage",
                             "center rotate by 90") +
                cli::text_at(page, 0.5 * (frame.left + frame.right), frame.bottom + 48.0,
                             "Nominal probability", "center") +
                "set xrange [0:1]; set yrange [0:1.02]; set xtics 0.2; set ytics 0.2\n"
                "set mxtics 4; set mytics 4\n"
                "set key bottom right Left reverse spacing SPACING samplen 2\n" +
                curves + "\n";
  return page;
}

}  // namespace slalom
