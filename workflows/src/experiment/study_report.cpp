// SPDX-License-Identifier: Apache-2.0
/// \file
/// The pictures and the page of a study.
#include <algorithm>
#include <fmt/format.h>
#include <torch/version.h>

#include "cli/report/html.hpp"
#include "cli/report/page.hpp"
#include "cli/text.hpp"
#include "experiment/inference_report.hpp"
#include "experiment/report.hpp"
#include "experiment/run_files.hpp"
#include "slalom/core/json.hpp"
#include "slalom/core/version.hpp"
#include "slalom/workflows/comparison_plot.hpp"
#include "slalom/workflows/study.hpp"
#include "slalom/workflows/training_plot.hpp"

namespace slalom {

namespace {

namespace fs = std::filesystem;
using cli::brief;
using cli::html_element;
using cli::html_section;
using cli::HtmlTable;

/// Points of a line where many lie above each other.
constexpr std::size_t k_points = 250;

struct Study {
  const StudyOptions& options;
  const std::vector<StudyRun>& runs;
  const StudyComparison& comparison;
  const fs::path& directory;
  const Json& signals;
};

/// Signals of the evaluations, if all finished runs agree.
Json signals_of(const std::vector<StudyRun>& runs, const fs::path& directory) {
  Json signals;
  for (const StudyRun& run : runs) {
    if (run.state != RunState::finished) continue;
    const Json result = read_json(directory / run.directory / "result.json");
    const Json mu = result.value("mu", Json());
    if (!signals.is_null() && mu != signals) return nullptr;
    signals = mu;
  }
  return signals;
}

/// "σ(μ = 1)" of "sigma/0"; nothing for what is no such figure.
std::string quantity(const std::string& figure, const Json& signals) {
  struct Word {
    const char* key;
    const char* text;
  };
  if (figure == "log_cls") return "ln CLs";
  if (figure == "z") return "expected significance";
  constexpr Word k_words[] = {
      {"sigma/", "σ"}, {"sigma_stat/", "statistical σ"}, {"sigma_events/", "σ in events"}};
  for (const Word& word : k_words) {
    const std::string key = word.key;
    if (figure.rfind(key, 0) != 0) continue;
    const std::string index = figure.substr(key.size());
    if (index.empty() || index.find_first_not_of("0123456789") != std::string::npos) return "";
    const Json::json_pointer pointer("/" + index);
    if (!signals.is_array() || !signals.contains(pointer) || !signals.at(pointer).is_number()) {
      return fmt::format("{}, signal {}", word.text, index);
    }
    return fmt::format("{} for μ = {}", word.text, brief(signals.at(pointer).get<double>()));
  }
  return "";
}

/// "σ for μ = 1, test events" of "/test/sigma/0"; other pointers are their own names.
std::string figure_name(const std::string& figure, const Json& signals) {
  constexpr std::pair<const char*, const char*> k_stages[] = {{"/test/", "test events"},
                                                              {"/train/", "training events"},
                                                              {"/soft/", "soft bins"},
                                                              {"/before/", "before training"}};
  for (const auto& [key, text] : k_stages) {
    if (figure.rfind(key, 0) != 0) continue;
    const std::string name = quantity(figure.substr(std::string(key).size()), signals);
    if (!name.empty()) return name + ", " + text;
  }
  return figure;
}

std::string settings(const StudyVariant& variant) {
  std::string text = variant.experiment;
  for (const std::string& set : variant.set) text += (text.empty() ? "" : "; ") + set;
  return text;
}

std::string number_text(const std::optional<double>& value, int digits) {
  return value ? cli::typeset(brief(*value, digits)) : "";
}

// ---- pictures

/// Curves of all runs, a colour per variant.
TrainingPanel curves(const Study& study, const std::string& label,
                     experiment::Curve (*curve_of)(const std::vector<Metrics>&)) {
  TrainingPanel panel{.label = label, .curves = {}};
  for (const StudyRun& run : study.runs) {
    for (const fs::path& place :
         experiment::training_directories(study.directory / run.directory)) {
      const experiment::Curve curve = curve_of(experiment::read_metrics(place));
      if (curve.empty()) continue;
      panel.curves.push_back({study.options.variants[run.variant].name,
                              static_cast<int>(run.variant), true, thinned(curve, k_points)});
    }
  }
  // In the order of the table, whatever ran first.
  std::stable_sort(panel.curves.begin(), panel.curves.end(),
                   [](const auto& a, const auto& b) { return a.colour < b.colour; });
  return panel;
}

std::string training_section(const Study& study, cli::Pictures& pictures) {
  TrainingPlot plot;
  for (TrainingPanel panel : {curves(study, "σ(μ), validation", experiment::sigma_curve),
                              curves(study, "Validation loss", experiment::validation_curve)}) {
    if (!panel.curves.empty()) plot.panels.push_back(std::move(panel));
  }
  if (plot.panels.empty()) return "";
  const std::string note =
      html_element("p", "Thin lines: one per seed, with hard bins on validation events.", "note");
  return html_section("training", "Training",
                      pictures.figure("training", [&] { return picture(plot); }) + note);
}

ComparisonPlot comparison_plot(const Study& study, std::size_t figure) {
  ComparisonPlot plot{
      .label = without_markup(figure_name(study.options.figures[figure], study.signals)),
      .rows = {}};
  for (std::size_t v = 0; v < study.options.variants.size(); ++v) {
    const FigureSummary& summary = study.comparison.table[v][figure];
    ComparisonRow row{study.options.variants[v].name, static_cast<int>(v), {}, summary.median};
    for (const std::optional<double>& value : summary.values) {
      if (value) row.values.push_back(*value);
    }
    plot.rows.push_back(std::move(row));
  }
  return plot;
}

// ---- sections

std::string figure_table(const Study& study, std::size_t figure) {
  HtmlTable table("lrrrrr", {"Variant", "Runs", "Median", "Min", "Max", "Spread"});
  for (std::size_t v = 0; v < study.options.variants.size(); ++v) {
    const FigureSummary& summary = study.comparison.table[v][figure];
    table.row({study.options.variants[v].name,
               fmt::format("{} of {}", summary.n, study.options.seeds.size()),
               number_text(summary.median, 5), number_text(summary.min, 5),
               number_text(summary.max, 5), number_text(summary.spread, 2)});
  }
  return table.str();
}

std::string comparison_section(const Study& study, cli::Pictures& pictures) {
  std::string text;
  for (std::size_t f = 0; f < study.options.figures.size(); ++f) {
    const std::string& pointer = study.options.figures[f];
    const std::string name = figure_name(pointer, study.signals);
    text += html_element("h3", name == pointer ? name : name + " (" + pointer + ")");
    text += figure_table(study, f);
    const bool any = std::any_of(study.comparison.table.begin(), study.comparison.table.end(),
                                 [&](const auto& row) { return row[f].n > 0; });
    if (!any) continue;
    text += pictures.figure(fmt::format("figure_{}", f + 1),
                            [&] { return picture(comparison_plot(study, f)); });
  }
  text += html_element(
      "p", "Points are seeds, lines medians. Spread: standard deviation over seeds.", "note");
  return html_section("comparison", "Comparison", text);
}

/// Of the runs that have bootstraps, with their ratio to the first variant.
std::string bootstraps_section(const Study& study) {
  if (study.comparison.bootstraps.empty()) return "";
  const std::string& first = study.options.variants.front().name;
  HtmlTable table("lrrrrrrr", {"Variant", "Seed", "Bootstraps", "σ(μ)", "Error", "Central 95 %",
                               "Ratio to " + first, "Central 95 %"});
  const auto range = [](double low, double high) {
    return cli::typeset(brief(low, 4)) + " to " + cli::typeset(brief(high, 4));
  };
  for (const BootstrapSummary& b : study.comparison.bootstraps) {
    table.row({study.options.variants[b.variant].name, std::to_string(b.seed), std::to_string(b.n),
               number_text(b.sigma, 4), "±" + number_text(b.error, 2), range(b.low, b.high),
               number_text(b.ratio, 4), b.ratio ? range(*b.ratio_low, *b.ratio_high) : ""});
  }
  const std::string note = html_element(
      "p",
      "Poisson bootstraps of the simulated test events, with the stages as they are. Error: their "
      "standard deviation. Ratios are taken bootstrap by bootstrap, between runs of one seed and "
      "of the same events, so that what is common to both drops out.",
      "note");
  return html_section("bootstraps", "Bootstraps", table.str() + note);
}

/// Profiles of the variants over each other, each of the first seed that has a result.
std::string profiles_section(const Study& study, cli::Pictures& pictures) {
  std::vector<std::pair<std::string, Json>> results;
  for (std::size_t v = 0; v < study.options.variants.size(); ++v) {
    for (const StudyRun& run : study.runs) {
      if (run.variant != v || run.state != RunState::finished) continue;
      results.emplace_back(study.options.variants[v].name,
                           read_json(study.directory / run.directory / "result.json"));
      break;
    }
  }
  return experiment::overlaid_profiles(results, pictures);
}

std::string variants_section(const Study& study) {
  HtmlTable table("ll", {"Variant", "Its own"});
  for (const StudyVariant& variant : study.options.variants) {
    table.row({variant.name, settings(variant)});
  }
  return html_section("variants", "Variants", table.str());
}

std::string runs_section(const Study& study) {
  std::string rows;
  for (std::size_t v = 0; v < study.options.variants.size(); ++v) {
    for (const StudyRun& run : study.runs) {
      if (run.variant != v) continue;
      const std::string page = (run.directory / "report.html").generic_string();
      const std::string name = run.directory.generic_string();
      const bool linked = fs::exists(study.directory / page);
      rows += fmt::format(
          "<tr{}><td>{}</td><td>{}</td><td>{}</td></tr>\n",
          run.state == RunState::failed ? " class=\"mark\"" : "",
          linked ? fmt::format("<a href=\"{}\">{}</a>", cli::html_text(page), cli::html_text(name))
                 : cli::html_text(name),
          to_string(run.state), cli::html_text(run.message));
    }
  }
  return html_section("runs", "Runs",
                      "<table>\n<thead><tr><th>Directory</th><th>State</th><th></th></tr></thead>\n"
                      "<tbody>\n" +
                          rows + "</tbody>\n</table>\n");
}

std::string head(const Study& study, const std::string& no_pictures) {
  std::string text = html_element("h1", study.options.name);
  if (!study.options.description.empty()) {
    text += html_element("p", study.options.description, "source");
  }
  const auto finished = static_cast<std::size_t>(
      std::count_if(study.runs.begin(), study.runs.end(),
                    [](const StudyRun& run) { return run.state == RunState::finished; }));
  const bool all = finished == study.runs.size();
  text += html_element(
      "p",
      fmt::format("{} with {}: {} of {} runs are finished.",
                  cli::count(study.options.variants.size(), "variant"),
                  cli::count(study.options.seeds.size(), "seed"), finished, study.runs.size()),
      all ? "good" : "bad");
  if (!no_pictures.empty()) {
    text += html_element("p", "This report has no pictures: " + no_pictures, "bad");
  }
  return text;
}

std::string page_of(const Study& study, cli::Pictures& pictures) {
  Warnings warnings = study.comparison.warnings;
  std::string sections =
      comparison_section(study, pictures) + bootstraps_section(study) +
      profiles_section(study, pictures) + training_section(study, pictures) +
      html_section("warnings", "Warnings", cli::warnings_list(warnings)) + variants_section(study) +
      runs_section(study) +
      html_section("document", "Study in full",
                   experiment::preformatted(study_document(study.options).dump(2)));
  sections += html_section(
      "provenance", "Provenance",
      cli::key_table(
          {{"Page made by", fmt::format("slalom {}, LibTorch {}", version(), TORCH_VERSION)}}));
  return cli::html_page("slalom: " + study.options.name, head(study, pictures.failure()), sections);
}

}  // namespace

StudyComparison write_study_results(const StudyOptions& options, const std::vector<StudyRun>& runs,
                                    const fs::path& directory, const fs::path& page) {
  StudyComparison comparison = compare_runs(options, runs, directory);
  write_text(directory / "comparison.json",
             comparison_document(options, runs, comparison).dump(2) + "\n");
  write_text(directory / "comparison.csv", comparison_csv(options, comparison));
  const fs::path folder = directory / "plots";
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (failure) throw Error(ErrorKind::io, failure.message(), folder.string());
  cli::Pictures pictures(folder);
  const Json signals = signals_of(runs, directory);
  const Study study{options, runs, comparison, directory, signals};
  write_text(page.empty() ? directory / "report.html" : page, page_of(study, pictures));
  if (!pictures.failure().empty()) {
    comparison.warnings.push_back({"there are no pictures: " + pictures.failure(), "report"});
  }
  return comparison;
}

}  // namespace slalom
