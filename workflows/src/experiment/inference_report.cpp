// SPDX-License-Identifier: Apache-2.0
#include "experiment/inference_report.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <map>

#include "cli/report/html.hpp"
#include "cli/text.hpp"
#include "slalom/workflows/contour_plot.hpp"
#include "slalom/workflows/profile_plot.hpp"

namespace slalom::experiment {

namespace {

using cli::brief;
using cli::html_element;
using cli::HtmlTable;

/// Bins of a shape that can be told apart.
constexpr std::size_t k_bins = 100;

std::string text_of(const Json& object, const char* key, int digits = 4) {
  if (!object.contains(key)) return "";
  return cli::typeset(brief(object.at(key).get<double>(), digits));
}

std::string with_error(const Json& object, const char* value, const char* error) {
  return fmt::format("{} ± {}", cli::typeset(brief(object.at(value).get<double>(), 3)),
                     cli::typeset(brief(object.at(error).get<double>(), 2)));
}

std::vector<std::pair<double, double>> points_of(const Json& pair) {
  std::vector<std::pair<double, double>> points;
  for (std::size_t i = 0; i < pair.at(0).size(); ++i) {
    points.emplace_back(pair.at(0).at(i).get<double>(), pair.at(1).at(i).get<double>());
  }
  return points;
}

std::string truth_text(double theta) {
  return fmt::format("θ = {}", cli::typeset(brief(theta, 3)));
}

/// Values of theta of all fits, in order, each once.
std::vector<double> truths_of(const Json& inferences) {
  std::vector<double> truths;
  for (const Json& inference : inferences) {
    for (const Json& fit : inference.at("fits")) {
      const auto theta = fit.at("theta").get<double>();
      if (std::find(truths.begin(), truths.end(), theta) == truths.end()) truths.push_back(theta);
    }
  }
  return truths;
}

const Json* fit_at(const Json& inference, double theta) {
  for (const Json& fit : inference.at("fits")) {
    if (fit.at("theta").get<double>() == theta) return &fit;
  }
  return nullptr;
}

std::string intervals_table(const Json& inferences) {
  HtmlTable table("llrrrrrr", {"Inference", "Data at", "Best fit", "Half-width", "σ(θ)",
                               "Correlation", "Network at θ", "Spread by templates"});
  for (const auto& item : inferences.items()) {
    for (const Json& fit : item.value().at("fits")) {
      const bool good = fit.at("converged").get<bool>();
      table.row({item.key(), truth_text(fit.at("theta").get<double>()), text_of(fit, "mu"),
                 good ? text_of(fit, "half_width") : "no fit", text_of(fit, "sigma_theta", 3),
                 text_of(fit, "correlation", 2), text_of(fit, "frozen_at", 3),
                 text_of(fit, "template_spread", 2)},
                good ? "" : "mark");
    }
  }
  return table.str();
}

std::string toys_table(const Json& inferences) {
  HtmlTable table("llrrrrr", {"Inference", "Data at", "Toys", "Bias", "Half-width", "Spread",
                              "Coverage of 68.27 %"});
  bool any = false;
  for (const auto& item : inferences.items()) {
    for (const Json& fit : item.value().at("fits")) {
      if (!fit.contains("toys")) continue;
      any = true;
      const Json& toys = fit.at("toys");
      const auto failed = toys.at("failed").get<std::int64_t>();
      table.row({item.key(), truth_text(fit.at("theta").get<double>()),
                 fmt::format("{}{}", toys.at("toys").get<std::int64_t>(),
                             failed > 0 ? fmt::format(" ({} failed)", failed) : ""),
                 with_error(toys, "bias", "bias_error"), text_of(toys, "half_width"),
                 text_of(toys, "spread"), with_error(toys, "coverage", "coverage_error")});
    }
  }
  return any ? html_element("h3", "Toys") + table.str() : "";
}

/// Profiles of named curves at one truth.
ProfilePlot profiles(const std::vector<std::pair<std::string, const Json*>>& fits,
                     const std::string& parameter, const char* key) {
  ProfilePlot plot;
  plot.parameter = parameter;
  int colour = 0;
  for (const auto& [name, fit] : fits) {
    if (fit != nullptr) {
      plot.curves.push_back({name, colour, points_of(fit->at(key))});
      if (plot.curves.back().points.empty()) plot.curves.pop_back();
    }
    ++colour;
  }
  return plot;
}

std::string contours(const std::vector<std::pair<std::string, const Json*>>& fits,
                     const std::string& poi, const std::string& name, cli::Pictures& pictures) {
  ContourPlot plot;
  plot.parameters = {poi, "θ"};
  for (const auto& [label, fit] : fits) {
    if (fit == nullptr) continue;
    const auto points = points_of(fit->at("contour"));
    if (points.size() < 3) continue;
    plot.curves.push_back({label, points, true});
    plot.best = {fit->at("mu").get<double>(), fit->at("theta_hat").get<double>()};
  }
  if (plot.curves.empty()) return "";
  return pictures.figure(name, [&] { return picture(plot); });
}

/// Shapes of the samples at the ends and the middle of the grid.
std::string shapes(const std::string& name, const Json& inference, cli::Pictures& pictures) {
  const Json& templates = inference.at("templates");
  const auto theta = templates.at("theta").get<std::vector<double>>();
  if (theta.empty()) return "";
  ShapePlot plot{.label = "Events per bin", .axis = "Bin of the observable", .curves = {}};
  int dashed = 0;
  for (const auto& item : templates.at("yields").items()) {
    int colour = 0;
    for (const std::size_t k : {std::size_t{0}, theta.size() / 2, theta.size() - 1}) {
      const auto values = item.value().at(k).get<std::vector<double>>();
      if (values.size() > k_bins) return "";
      plot.curves.push_back(
          {fmt::format("{}, {}", item.key(), truth_text(theta[k])), colour++, dashed > 0, values});
    }
    ++dashed;
  }
  return html_element("h3", "Templates of " + name) +
         pictures.figure("templates_" + name, [&] { return picture(plot); });
}

}  // namespace

std::string inferences_section(const Json& result, const std::string& poi,
                               cli::Pictures& pictures) {
  if (!result.is_object() || !result.contains("inferences")) return "";
  const Json& inferences = result.at("inferences");
  std::string text = intervals_table(inferences) +
                     html_element("p",
                                  "Data without fluctuations at the θ given. Half-width: of the "
                                  "interval in which −2 Δ ln L rises by 1, θ profiled. Spread by "
                                  "templates: of the best fit, over bootstraps of the events that "
                                  "the templates are made of.",
                                  "note") +
                     toys_table(inferences);
  int index = 0;
  for (const double truth : truths_of(inferences)) {
    std::vector<std::pair<std::string, const Json*>> fits;
    for (const auto& item : inferences.items()) {
      fits.emplace_back(item.key(), fit_at(item.value(), truth));
    }
    const ProfilePlot plot = profiles(fits, poi, "profile");
    if (plot.curves.empty()) continue;
    ++index;
    text += html_element("h3", "Data at " + truth_text(truth)) +
            pictures.figure(fmt::format("profile_{}", index), [&] { return picture(plot); });
    const ProfilePlot other = profiles(fits, "θ", "theta_profile");
    if (!other.curves.empty()) {
      text +=
          pictures.figure(fmt::format("theta_profile_{}", index), [&] { return picture(other); });
    }
    text += contours(fits, poi, fmt::format("contour_{}", index), pictures);
  }
  for (const auto& item : inferences.items()) text += shapes(item.key(), item.value(), pictures);
  return cli::html_section("inferences", "Inferences", text);
}

std::string overlaid_profiles(const std::vector<std::pair<std::string, Json>>& results,
                              cli::Pictures& pictures) {
  // Inferences in the order in which they first come.
  std::vector<std::string> names;
  for (const auto& [variant, result] : results) {
    if (!result.contains("inferences")) continue;
    for (const auto& item : result.at("inferences").items()) {
      if (std::find(names.begin(), names.end(), item.key()) == names.end()) {
        names.push_back(item.key());
      }
    }
  }
  std::string text;
  int index = 0;
  for (const std::string& name : names) {
    Json all = Json::object();
    for (const auto& [variant, result] : results) {
      if (!result.contains("inferences") || !result.at("inferences").contains(name)) continue;
      all[variant] = result.at("inferences").at(name);
    }
    for (const double truth : truths_of(all)) {
      std::vector<std::pair<std::string, const Json*>> fits;
      for (const auto& [variant, result] : results) {
        fits.emplace_back(variant,
                          all.contains(variant) ? fit_at(all.at(variant), truth) : nullptr);
      }
      const ProfilePlot plot = profiles(fits, "μ", "profile");
      if (plot.curves.empty()) continue;
      text += html_element("h3", fmt::format("{}, data at {}", name, truth_text(truth))) +
              pictures.figure(fmt::format("profiles_{}", ++index), [&] { return picture(plot); });
    }
  }
  if (text.empty()) return "";
  text += html_element("p", "Of the first seed that is finished.", "note");
  return cli::html_section("profiles", "Profiles", text);
}

}  // namespace slalom::experiment
