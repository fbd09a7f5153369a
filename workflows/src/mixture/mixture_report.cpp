// SPDX-License-Identifier: Apache-2.0
#include "mixture/mixture_report.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <string>
#include <vector>

#include "cli/report/html.hpp"
#include "cli/report/page.hpp"
#include "cli/text.hpp"
#include "experiment/stage_page.hpp"
#include "experiment/to_vector.hpp"
#include "slalom/modules/tensor_files.hpp"
#include "slalom/workflows/comparison_plot.hpp"
#include "slalom/workflows/coverage_plot.hpp"
#include "slalom/workflows/estimate_plot.hpp"
#include "slalom/workflows/mixture_experiment.hpp"
#include "slalom/workflows/weight_plot.hpp"

namespace slalom::mixture {

namespace {

namespace fs = std::filesystem;
using cli::html_element;
using cli::html_section;
using nlohmann::ordered_json;
using Numbers = std::vector<double>;

// ------------------------------------------------------------------------------------------------
// The fit

WeightPanel panel_of(const std::string& name, const ordered_json& process) {
  WeightPanel panel;
  panel.name = name;
  const auto value = process.at("value").get<Numbers>(), error = process.at("error").get<Numbers>();
  Numbers mean, width;
  if (process.contains("prior_mean")) {
    mean = process.at("prior_mean").get<Numbers>();
    width = process.at("prior_width").get<Numbers>();
  }
  for (std::size_t i = 0; i < value.size(); ++i) {
    WeightPoint point{value[i], error[i], {}};
    if (i < mean.size()) point.prior = WeightPrior{mean[i], width[i]};
    panel.points.push_back(point);
  }
  return panel;
}

std::string weights_section(const ordered_json& fit, cli::Pictures& pictures) {
  if (!fit.contains("signal")) return "";
  const auto kind = fit.at("signal").at("parameters").get<std::string>();
  const bool coordinates = kind == "coordinates";
  return html_section(
      "shapes", "Fitted shapes",
      pictures.figure(
          "weights",
          [&] {
            WeightPlot plot;
            plot.axis = coordinates ? "Direction" : kind == "topics" ? "Topic" : "Simulation";
            plot.label = coordinates ? "Coordinate" : "Weight";
            plot.panels = {panel_of("Signal", fit.at("signal")),
                           panel_of("Background", fit.at("background"))};
            return picture(plot);
          },
          coordinates ? "Natural parameters in directions that are orthonormal in the Fisher "
                        "metric, by falling variance among the simulations; bars: what the prior "
                        "expects."
                      : "Bars: what the prior expects."));
}

double median_of(Numbers values) {
  std::sort(values.begin(), values.end());
  return 0.5 * (values[(values.size() - 1) / 2] + values[values.size() / 2]);
}

void add_distances(ComparisonPlot& plot, const std::string& name, int colour,
                   const ordered_json& distance) {
  const auto simulations = distance.at("simulations").get<Numbers>();
  const auto fitted = distance.at("fitted").get<double>();
  plot.rows.push_back({name + ", simulations", colour, simulations, median_of(simulations)});
  plot.rows.push_back({name + ", fitted", colour, {fitted}, fitted});
}

std::string distance_section(const ordered_json& fit, cli::Pictures& pictures) {
  if (!fit.contains("distance")) return "";
  const bool truth = fit.at("signal").contains("distance");
  return html_section(
      "distances", "Distances",
      pictures.figure(
          "distances",
          [&] {
            ComparisonPlot plot;
            plot.label =
                truth ? "Hellinger distance to truth and data" : "Hellinger distance to data";
            if (truth) {
              add_distances(plot, "Signal", 0, fit.at("signal").at("distance"));
              add_distances(plot, "Background", 1, fit.at("background").at("distance"));
            }
            add_distances(plot, "Data", 2, fit.at("distance"));
            return picture(plot);
          },
          "A point for each simulation; lines: medians. Data are compared with the sum of signal "
          "and background at the fitted fraction; statistics alone keep them apart."));
}

// ------------------------------------------------------------------------------------------------
// Coverage

/// Numbers of all data sets, draw by draw; of one draw, data set by data set.
EstimatePlot estimate_plot(const ordered_json& toys, const fs::path& directory) {
  const NamedTensors tensors = read_npz((directory / "toys.npz").string());
  const Numbers kappa = experiment::to_vector(tensors.at("kappa")),
                error = experiment::to_vector(tensors.at("error")),
                valid = experiment::to_vector(tensors.at("valid"));
  EstimatePlot plot;
  plot.truth = toys.at("truth").get<double>();
  auto n = toys.at("toys").get<std::size_t>();
  if (n == kappa.size()) {
    n = 1;
    plot.axis = "Data set";
  }
  for (std::size_t first = 0; first < kappa.size(); first += n) {
    EstimateColumn column;
    double sum = 0.0, errors = 0.0;
    for (std::size_t t = first; t < first + n; ++t) {
      if (valid[t] == 0.0) continue;
      column.values.push_back(kappa[t]);
      sum += kappa[t];
      errors += error[t];
    }
    if (column.values.empty()) continue;
    column.mean = sum / static_cast<double>(column.values.size());
    column.error = errors / static_cast<double>(column.values.size());
    plot.columns.push_back(std::move(column));
  }
  std::stable_sort(plot.columns.begin(), plot.columns.end(),
                   [](const auto& a, const auto& b) { return a.mean < b.mean; });
  return plot;
}

std::string estimate_figure(const ordered_json& toys, const fs::path& directory,
                            cli::Pictures& pictures) {
  return pictures.figure(
      "estimates", [&] { return picture(estimate_plot(toys, directory)); },
      "Estimates with the quoted error, by size; where a draw has several data sets these are "
      "grey, "
      "and means are shown. Line: truth.");
}

std::string coverage_section(const ordered_json& result, const fs::path& directory,
                             cli::Pictures& pictures) {
  if (!result.contains("toys")) return "";
  const ordered_json& toys = result.at("toys");
  std::string text = estimate_figure(toys, directory, pictures);
  text += pictures.figure(
      "coverage",
      [&] {
        CoveragePlot plot;
        CoverageLine line{"Quoted intervals", 0, true, {}};
        for (const auto& point : toys.at("curve")) {
          line.points.push_back(
              {point.at(0).get<double>(), point.at(1).get<double>(), point.at(2).get<double>()});
        }
        plot.curves.push_back(std::move(line));
        const auto two = [&](const char* name, const char* key, int colour) {
          const ordered_json& figures = toys.at(key);
          plot.curves.push_back({name,
                                 colour,
                                 false,
                                 {{0.6827, figures.at("coverage_68").get<double>(), 0.0},
                                  {0.95, figures.at("coverage_95").get<double>(), 0.0}}});
        };
        two("Laplace errors", "laplace", 1);
        two("Sandwich errors", "sandwich", 3);
        return picture(plot);
      },
      "Part of the intervals that hold the truth; errors from the scatter between draws.");
  return html_section("coverage", "Coverage", text);
}

std::string leave_one_out_section(const ordered_json& result) {
  if (!result.contains("leave_one_out")) return "";
  cli::HtmlTable table("rrrrrr", {"K", "Strength", "68 %", "95 %", "Half-width", "Bias"});
  const ordered_json& chosen = result.at("leave_one_out").at("chosen");
  for (const auto& row : result.at("leave_one_out").at("rows")) {
    const auto number = [&](const char* key, int digits = 3) {
      return cli::brief(row.at(key).get<double>(), digits);
    };
    const bool best = !chosen.is_null() && row.at("simulations") == chosen.at("simulations") &&
                      row.at("strength") == chosen.at("strength");
    table.row({number("simulations") + (best ? " *" : ""), number("strength"),
               number("coverage_68") + " ± " + number("coverage_68_error", 2),
               number("coverage_95"), number("half_width"), cli::typeset(number("bias", 2))});
  }
  return html_section("leave_one_out", "Leaving simulations out",
                      table.str() + html_element("p",
                                                 "Each simulation of the fit in turn is the truth, "
                                                 "and K others make the mixture. *: shortest "
                                                 "intervals of those that cover 68 % within their "
                                                 "error.",
                                                 "note"));
}

}  // namespace

std::string write_mixture_report(const fs::path& directory, const fs::path& page) {
  const MixtureExperimentOptions options = mixture_of(directory);
  return experiment::write_stage_page(
      directory, page,
      [&](const ordered_json& result, cli::Pictures& pictures) -> experiment::StagePage {
        const ordered_json& fit = result.at("fit");
        const std::string sections =
            weights_section(fit, pictures) + distance_section(fit, pictures) +
            leave_one_out_section(result) + coverage_section(result, directory, pictures);
        return {options.name, options.description,      "", result_text(result),
                sections,     mixture_document(options)};
      });
}

}  // namespace slalom::mixture
