// SPDX-License-Identifier: Apache-2.0
#include "resonance/resonance_report.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <string>
#include <vector>

#include "cli/report/html.hpp"
#include "cli/report/page.hpp"
#include "cli/text.hpp"
#include "experiment/stage_page.hpp"
#include "slalom/workflows/distribution_plot.hpp"
#include "slalom/workflows/fraction_scan_plot.hpp"
#include "slalom/workflows/mass_spectrum_plot.hpp"
#include "slalom/workflows/resonance.hpp"
#include "slalom/workflows/significance_improvement_plot.hpp"

namespace slalom::resonance {

namespace {

namespace fs = std::filesystem;
using cli::html_element;
using cli::html_section;
using nlohmann::ordered_json;
using Numbers = std::vector<double>;

/// What a method is called in pictures.
std::string title_of(const std::string& method) {
  if (method == "ranode") return "RANODE";
  if (method == "paws") return "PAWS";
  if (method == "anomaly_detector") return "Anomaly detector";
  if (method == "supervised") return "Supervised";
  if (method == "exact") return "Exact densities";
  return "Bump hunt";
}

/// What is said at the top of the page.
std::string alarm_of(const ordered_json& result) {
  if (!result.contains("guard") || result.at("guard").at("passed").get<bool>()) return "";
  return "The guard failed: the density of the background does not describe sideband events that "
         "it has not seen. What RANODE finds is no signal.";
}

std::string background_section(const ordered_json& result, cli::Pictures& pictures) {
  std::vector<std::vector<std::string>> rows;
  const auto add = [&](const ordered_json& figures, const char* key, const char* title) {
    const auto found = figures.find(key);
    if (found != figures.end() && found->is_number()) {
      rows.push_back({title, cli::brief(found->get<double>(), 4)});
    }
  };
  const ordered_json& background = result.at("background");
  add(background, "train_nll", "Mean of -ln p, events it was trained on");
  add(background, "validation_nll", "Mean of -ln p, sideband events kept back");
  add(background, "kl", "Divergence from the exact density in the region");
  std::string figure;
  if (result.contains("guard")) {
    const ordered_json& guard = result.at("guard");
    add(guard, "q0", "Guard: q0 of RANODE on sideband events kept back");
    add(guard, "auc", "Guard: AUC against the density");
    if (guard.contains("closure")) {
      figure = pictures.figure(
          "closure",
          [&] {
            DistributionPlot plot;
            for (const auto& one : guard.at("closure")) {
              ChannelPlot channel;
              channel.channel = one.at("feature").get<std::string>();
              channel.axis = channel.channel;
              channel.data = one.at("data").get<Numbers>();
              channel.total = one.at("density").get<Numbers>();
              for (const double n : channel.total) channel.total_error.push_back(std::sqrt(n));
              channel.samples = {{"Density", 0, channel.total}};
              const auto low = one.at("low").get<double>(), high = one.at("high").get<double>();
              for (std::size_t i = 0; i <= channel.data.size(); ++i) {
                channel.edges.push_back(low + (high - low) * static_cast<double>(i) /
                                                  static_cast<double>(channel.data.size()));
              }
              plot.channels.push_back(std::move(channel));
            }
            return picture(plot);
          },
          "Sideband events that the density was not trained on, and as many drawn from it at their "
          "masses.");
    }
  }
  return html_section("background", "Density of the background", cli::key_table(rows) + figure);
}

/// The spectrum with what a method holds for signal.
std::string spectrum_figure(const ordered_json& bump, const std::string& name,
                            const Numbers& signal, const std::vector<std::string>& lines,
                            cli::Pictures& pictures) {
  return pictures.figure("spectrum_" + name, [&] {
    MassSpectrumPlot plot;
    plot.edges = bump.at("edges").get<Numbers>();
    plot.data = bump.at("counts").get<Numbers>();
    plot.background = bump.at("sideband_background").get<Numbers>();
    plot.background_error = bump.at("sideband_background_error").get<Numbers>();
    plot.signal = signal;
    const auto window = bump.at("window").get<Numbers>();
    plot.window = MassWindow{window.at(0), window.at(1)};
    plot.signal_name = "Signal: " + title_of(name);
    plot.results = lines;
    return picture(plot);
  });
}

std::string spectrum_section(const ordered_json& methods, cli::Pictures& pictures) {
  if (!methods.contains("bump_hunt")) return "";
  const ordered_json& bump = methods.at("bump_hunt");
  std::string text;
  const auto line = [](const ordered_json& figures, const char* key, const char* symbol) {
    return fmt::format("{} = {}", symbol, cli::brief(figures.at(key).get<double>(), 3));
  };
  for (const char* name : {"ranode", "paws"}) {
    if (!methods.contains(name)) continue;
    const ordered_json& method = methods.at(name);
    const ordered_json& figures = method.contains("joint") ? method.at("joint") : method;
    text += spectrum_figure(bump, name, method.at("spectrum").get<Numbers>(),
                            {line(figures, "fraction", "w"), line(figures, "z", "Z")}, pictures);
  }
  Numbers signal;
  const auto total = bump.at("total").get<Numbers>(),
             background = bump.at("background").get<Numbers>();
  for (std::size_t i = 0; i < total.size(); ++i) {
    signal.push_back(std::max(total[i] - background[i], 0.0));
  }
  text += spectrum_figure(bump, "bump_hunt", signal,
                          {line(bump, "signal", "S"), line(bump, "z", "Z")}, pictures);
  return html_section(
      "spectrum", "Mass spectrum",
      text + html_element("p",
                          "Background: a dijet function fitted outside of the window of the bump "
                          "hunt, which is shaded. Signal of RANODE and PAWS: the sum over events "
                          "of the share that the fitted mixture holds for signal.",
                          "note"));
}

std::string scan_section(const ordered_json& result, cli::Pictures& pictures) {
  const ordered_json& methods = result.at("methods");
  if (!methods.contains("ranode") || !methods.at("ranode").contains("scan")) return "";
  const ordered_json& scan = methods.at("ranode").at("scan");
  const std::string figure = pictures.figure(
      "scan",
      [&] {
        FractionScanPlot plot;
        const auto x = scan.at("fractions").get<Numbers>(), y = scan.at("gain").get<Numbers>(),
                   errors = scan.at("gain_error").get<Numbers>();
        for (std::size_t i = 0; i < x.size(); ++i) plot.points.push_back({x[i], y[i], errors[i]});
        const auto best = scan.at("fraction").get<double>();
        if (best > 0.0) {
          plot.best = best;
          plot.interval = {scan.at("lower").get<double>(), scan.at("upper").get<double>()};
        }
        if (result.at("events").contains("signal_fraction")) {
          plot.truth = result.at("events").at("signal_fraction").get<double>();
        }
        return picture(plot);
      },
      "Held-out likelihood of trainings with the fraction held; errors from bootstraps of the "
      "events, relative to the largest one.");
  return html_section("scan", "Scan of the fraction", figure);
}

std::string improvement_section(const ordered_json& methods, cli::Pictures& pictures) {
  SignificanceImprovementPlot plot;
  int colour = 0;
  for (const auto& [name, figures] : methods.items()) {
    const auto sic = figures.find("sic");
    if (sic == figures.end()) continue;
    SignificanceImprovementLine line;
    line.name = title_of(name);
    line.colour = colour++;
    line.dashed = name == "exact";
    for (const auto& point : sic->at("curve")) {
      line.points.push_back({point.at(0).get<double>(), point.at(1).get<double>(),
                             point.at(2).is_null() ? 0.0 : point.at(2).get<double>()});
    }
    plot.curves.push_back(std::move(line));
  }
  if (plot.curves.empty()) return "";
  return html_section("improvement", "Significance improvement",
                      pictures.figure(
                          "significance_improvement", [&] { return picture(plot); },
                          "By the truth, for background efficiencies from 0.001 on."));
}

experiment::StagePage page_of(const ResonanceOptions& options, const ordered_json& result,
                              cli::Pictures& pictures) {
  const ordered_json& methods = result.at("methods");
  const std::string sections =
      background_section(result, pictures) + spectrum_section(methods, pictures) +
      scan_section(result, pictures) + improvement_section(methods, pictures);
  return {options.name, options.description,        alarm_of(result), result_text(result),
          sections,     resonance_document(options)};
}

}  // namespace

std::string write_resonance_report(const fs::path& directory, const fs::path& page) {
  const ResonanceOptions options = resonance_of(directory);
  return experiment::write_stage_page(directory, page,
                                      [&](const ordered_json& result, cli::Pictures& pictures) {
                                        return page_of(options, result, pictures);
                                      });
}

}  // namespace slalom::resonance
