// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/goodness_of_fit_plot.hpp"

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

/// Equal bins from `low` on.
struct Histogram {
  double low = 0.0;
  double width = 1.0;
  std::vector<double> counts;
};

Histogram histogram(const GoodnessOfFitPlot& plot) {
  const auto dof = static_cast<double>(plot.degrees_of_freedom);
  double low = std::max(dof - 4.0 * std::sqrt(2.0 * dof), 0.0);
  double high = dof + 4.0 * std::sqrt(2.0 * dof);
  for (const double value : plot.samples) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  Histogram result;
  const double bins = std::clamp(std::sqrt(static_cast<double>(plot.samples.size())), 10.0, 50.0);
  result.width = high > low ? (high - low) / std::floor(bins) : 1.0;
  result.low = low;
  result.counts.assign(static_cast<std::size_t>(bins), 0.0);
  for (const double value : plot.samples) {
    const auto bin = static_cast<std::size_t>((value - low) / result.width);
    result.counts[std::min(bin, result.counts.size() - 1)] += 1.0;
  }
  return result;
}

std::string steps(const Histogram& bins) {
  std::vector<std::vector<double>> rows;
  double x = bins.low;
  for (const double count : bins.counts) {
    rows.push_back({x, count});
    x += bins.width;
    rows.push_back({x, count});
  }
  return cli::data_block("toys", rows);
}

/// The chi2 density times the area of the histogram, as an expression of gnuplot.
std::string curve(const GoodnessOfFitPlot& plot, const Histogram& bins) {
  const double half = 0.5 * static_cast<double>(plot.degrees_of_freedom);
  const double area =
      plot.samples.empty() ? 1.0 : bins.width * static_cast<double>(plot.samples.size());
  return fmt::format("x > 0 ? {} * exp(({} - 1) * log(x) - x / 2 - {} * log(2) - lgamma({})) : NaN",
                     number(area), number(half), number(half), number(half));
}

/// Above toys and curve, with room for the texts.
double top_of(const GoodnessOfFitPlot& plot, const Histogram& bins) {
  const double half = 0.5 * static_cast<double>(plot.degrees_of_freedom);
  const double area =
      plot.samples.empty() ? 1.0 : bins.width * static_cast<double>(plot.samples.size());
  double top = *std::max_element(bins.counts.begin(), bins.counts.end());
  if (plot.degrees_of_freedom > 2) {  // at its mode; it has none for fewer
    const double mode = 2.0 * half - 2.0;
    const double log_gamma = std::lgamma(half);  // NOLINT(concurrency-mt-unsafe): not its sign
    top = std::max(top, area * std::exp((half - 1.0) * std::log(mode) - 0.5 * mode -
                                        half * std::log(2.0) - log_gamma));
  }
  return 1.45 * (top > 0.0 ? top : 1.0);
}

std::string probability(double value, double error) {
  if (!(error > 0.0)) return cli::brief(value, 3);
  const int decimals = std::min(cli::decimals_for(error), 6);
  return fmt::format("{} ± {}", cli::fixed_point(value, decimals),
                     cli::fixed_point(error, decimals));
}

std::vector<std::string> lines_of(const GoodnessOfFitPlot& plot, const PlotStyle& style) {
  std::vector<std::string> lines;
  if (plot.degrees_of_freedom > 0) {
    lines.push_back(fmt::format("observed {} for {} degrees of freedom",
                                cli::brief(plot.observed, 4), plot.degrees_of_freedom));
    lines.push_back("p = " + cli::brief(plot.asymptotic_p_value, 3) + " (χ^{2})");
  }
  if (!plot.samples.empty()) {
    lines.push_back(fmt::format("p = {} ({} toys)", probability(plot.p_value, plot.p_value_error),
                                plot.samples.size()));
  }
  for (const std::string& line : style.lines) lines.push_back(without_markup(line));
  return lines;
}

}  // namespace

GoodnessOfFitPlot goodness_of_fit_plot(const ToyGoodnessOfFit& test) {
  return {test.samples,       test.observed.statistic, test.observed.degrees_of_freedom,
          test.p_value.value, test.p_value.error,      test.observed.p_value};
}

Picture picture(const GoodnessOfFitPlot& plot, const PlotStyle& style) {
  const double top = std::max(cli::heading_height(style, k_width - 125.0) + 10.0, 28.0);
  const Frame frame{100.0, top, k_width - 25.0, top + k_panel};
  Picture page{k_width, frame.bottom + k_below, "", "Goodness of fit of data and toys"};
  const Histogram bins = histogram(plot);
  const double end = bins.low + bins.width * static_cast<double>(bins.counts.size());
  const double high = std::max(end, plot.observed) + 0.03 * (end - bins.low);
  page.script =
      steps(bins) + cli::margins(page, frame) + cli::heading(page, frame, style) +
      cli::inner_lines(page, frame, lines_of(plot, style)) +
      cli::text_at(
          page, 30.0, 0.5 * (frame.top + frame.bottom),
          plot.samples.empty() ? "Probability density" : "Toys / " + cli::brief(bins.width, 2),
          "center rotate by 90") +
      cli::text_at(page, 0.5 * (frame.left + frame.right), frame.bottom + 48.0,
                   "Goodness-of-fit statistic  −2 ln ({/:Italic L} / {/:Italic L}_{saturated})",
                   "center") +
      fmt::format(
          "set xrange [{0}:{1}]; set yrange [0:{4}]\n"
          "set mxtics; set mytics; set samples 400\n"
          "set arrow from first {2},graph 0 to first {2},graph 0.6 nohead lc rgb '{3}' lw "
          "2.5 front\n"
          "set key top right Left reverse spacing SPACING samplen 2\n",
          number(std::min(bins.low, plot.observed)), number(high), number(plot.observed),
          cli::k_signal_colour, number(top_of(plot, bins)));
  std::vector<std::string> parts;
  if (!plot.samples.empty()) {
    parts.push_back(
        fmt::format("$toys using 1:2 with filledcurves y=0 fc rgb '{}' fs solid 0.5 "
                    "border lc rgb '{}' title 'Toys'",
                    cli::k_palette[0], cli::k_palette[0]));
  }
  if (plot.degrees_of_freedom > 0) {
    parts.push_back(fmt::format("{} with lines lc rgb 'black' lw 2 title 'χ^{{2}} for {} d.o.f.'",
                                curve(plot, bins), plot.degrees_of_freedom));
  }
  parts.push_back(
      fmt::format("NaN with lines lc rgb '{}' lw 2.5 title 'Data'", cli::k_signal_colour));
  page.script += "plot ";
  for (std::size_t i = 0; i < parts.size(); ++i) page.script += (i == 0 ? "" : ", ") + parts[i];
  page.script += "\n";
  return page;
}

}  // namespace slalom
