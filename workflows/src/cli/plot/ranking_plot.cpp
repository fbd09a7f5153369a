// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/ranking_plot.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "cli/plot/script.hpp"
#include "cli/text.hpp"

namespace slalom {

namespace {

using cli::Frame;
using cli::number;

constexpr double k_row = 25.0;
constexpr double k_frame = 460.0;
constexpr double k_margin = 30.0;
constexpr double k_below = 62.0;
/// Legend, label and numbers of the upper axis.
constexpr double k_above = 122.0;
constexpr double k_small = 0.9;
constexpr double k_value_column = 130.0;
constexpr std::size_t k_name = 44;

double pull_range(const RankingPlot& plot) {
  double range = 1.6;
  for (const RankedParameter& p : plot.parameters) {
    if (p.constrained) range = std::max(range, std::abs(p.pull) + p.constraint + 0.15);
  }
  return std::min(range, 5.0);
}

double impact_range(const RankingPlot& plot) {
  double range = 0.0;
  for (const RankedParameter& p : plot.parameters) {
    for (const double impact : {p.prefit_up, p.prefit_down, p.postfit_up, p.postfit_down}) {
      range = std::max(range, std::abs(impact));
    }
  }
  return range > 0.0 ? 1.12 * range : 1.0;
}

/// Row, pull, constraint, and the four impacts.
std::string data_of(const RankingPlot& plot) {
  std::vector<std::vector<double>> rows;
  double y = 0.5;
  for (const RankedParameter& p : plot.parameters) {
    const double pull = p.constrained ? p.pull : std::nan("");
    rows.push_back(
        {y, pull, p.constraint, p.prefit_up, p.prefit_down, p.postfit_up, p.postfit_down});
    y += 1.0;
  }
  return cli::data_block("ranking", rows);
}

std::string value_text(const RankedParameter& p) {
  const int decimals = std::min(cli::decimals_for(p.error), 4);
  return fmt::format("{} ± {}", cli::fixed_point(p.value, decimals),
                     cli::fixed_point(p.error, decimals));
}

/// Names on the left, and values of parameters without a constraint on the right.
std::string texts(const Picture& page, const Frame& frame, const RankingPlot& plot,
                  const PlotStyle& style) {
  std::string text;
  double y = frame.top + 0.5 * k_row;
  for (const RankedParameter& p : plot.parameters) {
    text += cli::text_at(page, frame.left - 8.0, y,
                         cli::sized(cli::label_of(style, p.name, k_name), k_small), "right");
    if (!p.constrained) {
      text += cli::text_at(page, frame.right + 8.0, y, cli::sized(value_text(p), k_small));
    }
    y += k_row;
  }
  return text;
}

std::string axis_texts(const Picture& page, const Frame& frame, const RankingPlot& plot,
                       const PlotStyle& style) {
  const double middle = 0.5 * (frame.left + frame.right);
  const std::string target = cli::label_of(style, plot.target, 30);
  std::string text =
      cli::text_at(page, middle, frame.top - 44.0, "Impact on " + target, "center") +
      cli::text_at(page, middle, frame.bottom + 44.0, "Pull  (θ̂ − θ_{0}) / Δθ", "center");
  if (plot.hidden > 0) {
    text += cli::text_at(page, 12.0, frame.bottom + 44.0,
                         cli::sized(fmt::format("{} smaller: not shown", plot.hidden), k_small));
  }
  Frame upper = frame;
  upper.top = frame.top - k_above + 12.0;
  return text + cli::heading(page, upper, style);
}

std::string box(const std::string& column, const std::string& style, const std::string& title) {
  return fmt::format(
      "'' using (0):1:(0):{}:($1-0.38):($1+0.38) axes x2y1 with boxxyerror {} {}, \\\n  ", column,
      style, title);
}

std::string filled(const char* colour) {
  return fmt::format("fc rgb '{}' fs solid noborder", colour);
}

std::string outlined(const char* colour) {
  return fmt::format("lc rgb '{}' lw 1.6 fs empty", colour);
}

/// Entries of the legend in the order of the plot: two columns, then the pull.
std::string plot_command(const RankingPlot& plot) {
  std::string text = "plot " + box("6", filled(cli::k_up_colour), "title 'post-fit, +1σ'") +
                     box("7", filled(cli::k_down_colour), "title 'post-fit, −1σ'");
  if (plot.prefit) {
    text += box("4", outlined("#1a4f80"), "title 'pre-fit, +1σ'") +
            box("5", outlined("#8a5a00"), "title 'pre-fit, −1σ'");
  }
  text += "'' using 2:1:3 with xerrorbars ls 1 pointsize 0.8 title 'Pull'\n";
  return text.replace(text.find("''"), 2, "$ranking");
}

}  // namespace

RankingPlot ranking_plot(const ModelSpec& spec, const Impacts& impacts,
                         const std::vector<Pull>& pulls, std::size_t most) {
  RankingPlot plot{
      spec.parameters[impacts.target].name, impacts.value, impacts.error, {}, 0, false};
  for (const Impact& impact : impacts.impacts) {
    if (plot.parameters.size() == most) break;
    const Parameter& parameter = spec.parameters[impact.parameter];
    const auto pull = std::find_if(pulls.begin(), pulls.end(), [&impact](const Pull& p) {
      return p.parameter == impact.parameter;
    });
    RankedParameter ranked;
    ranked.name = parameter.name;
    ranked.constrained = parameter.constraint != ConstraintType::none;
    ranked.value = impacts.best.parameters[impact.parameter];
    if (pull != pulls.end()) {
      ranked.pull = pull->pull;
      ranked.constraint = pull->constraint;
      ranked.error = pull->error;
    }
    const bool linear = impact.postfit_up == 0.0 && impact.postfit_down == 0.0;
    ranked.prefit_up = impact.prefit_up;
    ranked.prefit_down = impact.prefit_down;
    ranked.postfit_up = linear ? impact.linear_postfit : impact.postfit_up;
    ranked.postfit_down = linear ? -impact.linear_postfit : impact.postfit_down;
    plot.prefit = plot.prefit || impact.prefit_up != 0.0 || impact.prefit_down != 0.0;
    plot.parameters.push_back(std::move(ranked));
  }
  plot.hidden = impacts.impacts.size() - plot.parameters.size();
  return plot;
}

Picture picture(const RankingPlot& plot, const PlotStyle& style) {
  const auto n = static_cast<double>(std::max<std::size_t>(plot.parameters.size(), 1));
  double names = 60.0;
  bool free = false;
  for (const RankedParameter& p : plot.parameters) {
    names = std::max(
        names, cli::text_width(cli::label_of(style, p.name, k_name), k_small * cli::k_font_size));
    free = free || !p.constrained;
  }
  const double left = names + k_margin;
  const double top = cli::heading_height(style, k_frame) + k_above - 12.0;
  const Frame frame{left, top, left + k_frame, top + n * k_row};
  Picture page{std::max(frame.right + (free ? k_value_column : k_margin),
                        left + cli::heading_width(style) + k_margin),
               frame.bottom + k_below, "",
               fmt::format("Impacts of {} on {}, and their pulls",
                           cli::count(plot.parameters.size(), "parameter"), plot.target)};
  const double pulls = pull_range(plot);
  const double impacts = impact_range(plot);
  page.script =
      data_of(plot) + texts(page, frame, plot, style) + axis_texts(page, frame, plot, style) +
      cli::margins(page, frame) +
      fmt::format(
          "set xrange [{0}:{1}]; set x2range [{2}:{3}]; set yrange [{4}:0]\n"
          "set xtics nomirror {5}; set mxtics 2; set x2tics {6}; set mx2tics 2; unset ytics\n"
          "do for [v in \"-1 0 1\"] {{ set arrow from v,0 to v,{4} nohead lc rgb '#909090' dt 2 "
          "lw 1 back }}\n"
          "set key at screen {7:.6f},{8:.6f} left top Left reverse samplen 1.6 spacing SPACING "
          "width -2 maxrows 2\n",
          number(-pulls), number(pulls), number(-impacts), number(impacts), n,
          number(pulls > 3.0 ? 1.0 : 0.5), number(cli::tick_step(2.0 * impacts, 6.0)),
          frame.left / page.width, 1.0 - (frame.top - k_above + 12.0) / page.height) +
      plot_command(plot);
  return page;
}

}  // namespace slalom
