// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/correlation_plot.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/format.h>
#include <numeric>

#include "cli/plot/script.hpp"
#include "cli/text.hpp"

namespace slalom {

namespace {

using cli::Frame;

constexpr double k_margin = 20.0;
constexpr double k_bar = 90.0;
constexpr double k_least_side = 240.0;
constexpr double k_small = 0.87;
constexpr std::size_t k_name = 36;
/// Cells of at least this size have their number in them.
constexpr double k_readable = 30.0;

double cell_size(std::size_t n) {
  return n <= 8 ? 52.0 : n <= 16 ? 38.0 : n <= 26 ? k_readable : n <= 40 ? 20.0 : 15.0;
}

/// From blue (-1) through white to red (1), which people with colour vision deficiencies tell
/// apart.
int colour_of(double correlation) {
  constexpr std::array<double, 3> negative{33.0, 102.0, 172.0};
  constexpr std::array<double, 3> positive{178.0, 24.0, 43.0};
  const double weight = std::min(std::abs(correlation), 1.0);
  const std::array<double, 3>& end = correlation < 0.0 ? negative : positive;
  int colour = 0;
  for (const double part : end) {
    colour = 256 * colour + static_cast<int>(std::lround(255.0 + weight * (part - 255.0)));
  }
  return colour;
}

/// A coefficient in the width of a cell.
std::string coefficient(double value) {
  if (std::abs(value) < 0.005) return "0";
  return fmt::format("{:.2f}", value);
}

std::string cells(const CorrelationPlot& plot) {
  const std::size_t n = plot.names.size();
  std::vector<std::vector<double>> rows;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      rows.push_back({static_cast<double>(j) + 0.5, static_cast<double>(i) + 0.5,
                      static_cast<double>(colour_of(plot.matrix[i * n + j]))});
    }
  }
  return cli::data_block("cells", rows);
}

std::string numbers(const Picture& page, const Frame& frame, const CorrelationPlot& plot,
                    double size) {
  std::string text;
  const std::size_t n = plot.names.size();
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      const double value = plot.matrix[i * n + j];
      text += cli::text_at(page, frame.left + size * (static_cast<double>(j) + 0.5),
                           frame.top + size * (static_cast<double>(i) + 0.5),
                           cli::sized(coefficient(value), size < 36.0 ? 0.68 : 0.8),
                           std::abs(value) > 0.6 ? "center textcolor rgb 'white'" : "center");
    }
  }
  return text;
}

std::string names(const Picture& page, const Frame& frame, const CorrelationPlot& plot,
                  const PlotStyle& style, double size) {
  std::string text;
  const double factor = size < 18.0 ? 0.75 : k_small;
  for (std::size_t i = 0; i < plot.names.size(); ++i) {
    const std::string name = cli::sized(cli::label_of(style, plot.names[i], k_name), factor);
    const double middle = size * (static_cast<double>(i) + 0.5);
    text += cli::text_at(page, frame.left - 8.0, frame.top + middle, name, "right") +
            cli::text_at(page, frame.left + middle, frame.bottom + 8.0, name, "right rotate by 90");
  }
  return text;
}

/// The scale of colours on the right.
std::string colour_bar(const Picture& page, const Frame& frame) {
  constexpr int k_steps = 80;
  std::vector<std::vector<double>> rows;
  for (int i = 0; i < k_steps; ++i) {
    const double value = -1.0 + (2.0 * i + 1.0) / k_steps;
    rows.push_back({value, static_cast<double>(colour_of(value))});
  }
  const Frame bar{frame.right + 18.0, frame.top, frame.right + 36.0, frame.bottom};
  return cli::data_block("bar", rows) + cli::margins(page, bar) +
         fmt::format(
             "set xrange [0:1]; set yrange [-1:1]; unset xtics\n"
             "set y2range [-1:1]; set y2tics 0.5 format '%.1f'\n"
             "plot $bar using (0.5):1:(0):(1):($1-{0}):($1+{0}):2 with boxxyerror lc rgb variable "
             "fs solid noborder notitle\n",
             1.0 / k_steps);
}

/// Largest coefficient of each parameter with any other.
std::vector<double> largest(const std::vector<double>& matrix, std::size_t n) {
  std::vector<double> result(n, 0.0);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      if (i != j) result[i] = std::max(result[i], std::abs(matrix[i * n + j]));
    }
  }
  return result;
}

std::vector<double> correlations(const Covariance& covariance) {
  const std::size_t n = covariance.parameters.size();
  std::vector<double> matrix(n * n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      const double variances = covariance.matrix[i * n + i] * covariance.matrix[j * n + j];
      matrix[i * n + j] = i == j ? 1.0 : covariance.matrix[i * n + j] / std::sqrt(variances);
    }
  }
  return matrix;
}

}  // namespace

CorrelationPlot correlation_plot(const ModelSpec& spec, const Covariance& covariance,
                                 const CorrelationOptions& options) {
  const std::size_t n = covariance.matrix.empty() ? 0 : covariance.parameters.size();
  const std::vector<double> matrix = n == 0 ? std::vector<double>{} : correlations(covariance);
  std::vector<double> weights = largest(matrix, n);
  for (std::size_t i = 0; i < n; ++i) {
    if (spec.poi == covariance.parameters[i]) weights[i] = HUGE_VAL;
  }
  std::vector<std::size_t> kept(n);
  std::iota(kept.begin(), kept.end(), std::size_t{0});
  std::erase_if(kept, [&](std::size_t i) { return weights[i] < options.threshold; });
  std::stable_sort(kept.begin(), kept.end(),
                   [&weights](std::size_t a, std::size_t b) { return weights[a] > weights[b]; });
  kept.resize(std::min(kept.size(), options.most));
  std::sort(kept.begin(), kept.end());
  CorrelationPlot plot;
  plot.hidden = n - kept.size();
  for (const std::size_t i : kept) {
    plot.names.push_back(spec.parameters[covariance.parameters[i]].name);
    for (const std::size_t j : kept) plot.matrix.push_back(matrix[i * n + j]);
  }
  return plot;
}

Picture picture(const CorrelationPlot& plot, const PlotStyle& style) {
  const std::size_t n = plot.names.size();
  const double size =
      std::max(cell_size(n), k_least_side / static_cast<double>(std::max<std::size_t>(n, 1)));
  double longest = 60.0;
  for (const std::string& name : plot.names) {
    longest = std::max(
        longest, cli::text_width(cli::label_of(style, name, k_name), k_small * cli::k_font_size));
  }
  const double left = longest + k_margin;
  const double side = std::max(size * static_cast<double>(n), k_least_side);
  const double top = cli::heading_height(style, side) + 10.0;
  const Frame frame{left, top, left + side, top + side};
  Picture page{std::max(frame.right + k_bar, left + cli::heading_width(style) + k_margin),
               frame.bottom + longest + k_margin, "",
               fmt::format("Correlations of {}", cli::count(n, "parameter"))};
  page.script = "set multiplot\n" + cells(plot) + cli::margins(page, frame) +
                cli::heading(page, frame, style) + names(page, frame, plot, style, size) +
                (size >= k_readable ? numbers(page, frame, plot, size) : std::string()) +
                (plot.hidden == 0 ? std::string()
                                  : cli::text_at(page, 12.0, page.height - 12.0,
                                                 cli::sized(fmt::format("{} less correlated: not "
                                                                        "shown",
                                                                        plot.hidden),
                                                            k_small))) +
                fmt::format(
                    "set xrange [0:{0}]; set yrange [{0}:0]; unset xtics; unset ytics; unset key\n"
                    "plot $cells using 1:2:($1-0.5):($1+0.5):($2-0.5):($2+0.5):3 with boxxyerror "
                    "lc rgb variable fs solid noborder notitle\n"
                    "unset label\n",
                    n == 0 ? 1 : n) +
                colour_bar(page, frame) + "unset multiplot\n";
  return page;
}

}  // namespace slalom
