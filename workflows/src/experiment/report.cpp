// SPDX-License-Identifier: Apache-2.0
#include "experiment/report.hpp"

#include <cmath>
#include <fmt/format.h>
#include <torch/version.h>

#include "cli/report/html.hpp"
#include "cli/report/page.hpp"
#include "cli/text.hpp"
#include "experiment/inference_report.hpp"
#include "experiment/learning_report.hpp"
#include "experiment/run_files.hpp"
#include "experiment/templates_plot.hpp"
#include "slalom/core/version.hpp"
#include "slalom/workflows/training_plot.hpp"

namespace slalom {

namespace {

namespace fs = std::filesystem;
using cli::brief;
using cli::html_element;
using cli::html_section;
using cli::HtmlTable;
using cli::key_table;

/// Points of a line that are worth drawing.
constexpr std::size_t k_points = 500;
/// What stands for a number whose fit did not converge.
constexpr const char* k_failed = "no fit";
/// Bins that have room as columns of a table.
constexpr std::size_t k_columns = 12;

/// Everything that the sections are made of.
struct Files {
  ExperimentOptions options;
  std::vector<std::vector<Metrics>> metrics;  // of each fold, or of the one training
  Json result;                                // null if it is not finished
  Json workspace;                             // null if there is none
};

Files read_files(const fs::path& directory) {
  Files files{experiment_of(directory), {}, nullptr, nullptr};
  for (const fs::path& place : experiment::training_directories(directory)) {
    files.metrics.push_back(experiment::read_metrics(place));
  }
  if (fs::exists(directory / "result.json")) {
    files.result = read_json(directory / "result.json");
    if (fs::exists(directory / "workspace.json")) {
      files.workspace = read_json(directory / "workspace.json");
    }
  }
  return files;
}

std::string significant(double value) { return cli::typeset(brief(value, 4)); }

/// Steps of all folds.
std::int64_t steps_of(const ExperimentOptions& options) {
  return options.training.steps * std::max<std::int64_t>(options.data.folds, 1);
}

double first_sigma(const Json& result, const char* stage) {
  return result.at(stage).at("sigma").at(0).get<double>();
}

// ---- the top of the page

std::string mu_text(const Files& files, std::size_t index) {
  return fmt::format("{} = {}", files.options.model.poi,
                     significant(files.result.at("mu").at(index).get<double>()));
}

std::string head(const Files& files) {
  const ExperimentOptions& options = files.options;
  std::string text = html_element("h1", options.name);
  if (!options.description.empty()) text += html_element("p", options.description, "source");
  if (files.result.is_null()) {
    std::int64_t steps = 0;
    for (const auto& metrics : files.metrics) steps += metrics.empty() ? 0 : metrics.back().step;
    return text + html_element("p",
                               fmt::format("Not finished: step {} of {}. There is no result yet.",
                                           steps, steps_of(options)),
                               "bad");
  }
  const double before = first_sigma(files.result, "before");
  const double after = first_sigma(files.result, "test");
  return text +
         html_element("p",
                      fmt::format("σ({}) for {}: {} before training, {} after it ({}{:.1f} %), on "
                                  "test events with hard bins.",
                                  options.model.poi, mu_text(files, 0), significant(before),
                                  significant(after), after < before ? "−" : "+",
                                  100.0 * std::abs(after / before - 1.0)),
                      "good");
}

// ---- summary

/// An uncertainty and its parts, by stage.
std::string uncertainties(const Files& files, std::size_t index) {
  const std::string& poi = files.options.model.poi;
  HtmlTable table("lrrrr", {fmt::format("σ({}) for {}", poi, mu_text(files, index)), "Total",
                            "Statistical", "Systematic", "Total, events"});
  const auto row = [&](const std::string& name, const char* stage, const std::string& css) {
    const Json& figures = files.result.at(stage);
    const auto total = figures.at("sigma").at(index).get<double>();
    const auto stat = figures.at("sigma_stat").at(index).get<double>();
    const double systematic = std::sqrt(std::max(total * total - stat * stat, 0.0));
    table.row({name, significant(total), significant(stat), significant(systematic),
               significant(figures.at("sigma_events").at(index).get<double>())},
              css);
  };
  row("Test events, before training", "before", "");
  row("Test events", "test", "sum");
  row("Training events", "train", "");
  row("Test events, soft bins", "soft", "");
  return table.str();
}

/// How far the figure may be trusted: bootstraps of the test events.
std::string bootstrap_table(const Files& files) {
  if (!files.result.contains("bootstrap")) return "";
  const Json& spread = files.result.at("bootstrap");
  const auto number = [&](const char* key) { return significant(spread.at(key).get<double>()); };
  HtmlTable table("lrrrr", {fmt::format("σ({}) for {}", files.options.model.poi, mu_text(files, 0)),
                            "Test events", "Error", "Median", "Central 95 %"});
  table.row({fmt::format("Bootstraps: {}", spread.at("n").get<std::size_t>()),
             significant(first_sigma(files.result, "test")),
             "±" + cli::typeset(brief(spread.at("error").get<double>(), 2)), number("median"),
             number("low") + " to " + number("high")});
  return table.str() +
         html_element("p",
                      "Poisson bootstraps of the simulated test events, with the stages as they "
                      "are: what another simulation of the same size would give. Error: their "
                      "standard deviation.",
                      "note");
}

std::string summary_section(const Files& files) {
  const Json& result = files.result;
  if (result.is_null()) return "";
  std::string text;
  for (std::size_t i = 0; i < result.at("mu").size(); ++i) text += uncertainties(files, i);
  HtmlTable table("lrr", {"Expected", "ln CLs", "Significance"});
  const auto row = [&](const std::string& name, const char* stage, const std::string& css) {
    const Json& log_cls = result.at(stage).at("log_cls");
    const Json& z = result.at(stage).at("z");
    table.row({name, log_cls.is_null() ? k_failed : significant(log_cls.get<double>()),
               z.is_null() ? k_failed : fmt::format("{:.3f} σ", z.get<double>())},
              css);
  };
  row("Test events, before training", "before", "");
  row("Test events", "test", "sum");
  row("Training events", "train", "");
  row("Test events, soft bins", "soft", "");
  text += table.str() + bootstrap_table(files);
  const double train = first_sigma(result, "train"), test = first_sigma(result, "test");
  text += html_element(
      "p",
      fmt::format(
          "Expected uncertainties of the profile likelihood; all with hard cuts and bins "
          "unless said otherwise. Statistical: with all nuisance parameters held; "
          "systematic: the square root of total² − statistical². In events: times the "
          "expected signal of {}. Training events give {:+.2f} % compared with test events.",
          significant(result.at("signal_yield").get<double>()), 100.0 * (train / test - 1.0)),
      "note");
  return html_section("summary", "Summary", text);
}

std::string guards_section(const Files& files) {
  if (files.result.is_null()) return "";
  Warnings warnings;
  if (files.result.contains("warnings")) {
    for (const Json& text : files.result.at("warnings")) {
      warnings.push_back({text.is_string() ? text.get<std::string>() : text.dump(), ""});
    }
  }
  const std::string text =
      warnings.empty() ? html_element("p",
                                      "None: no bin is nearly empty, no nuisance parameter is "
                                      "constrained beyond belief, and soft and hard bins "
                                      "agree.")
                       : cli::warnings_list(warnings);
  return html_section("guards", "Guards", text);
}

// ---- training

TrainingPlot training_plot(const Files& files) {
  using namespace experiment;
  TrainingPlot plot;
  TrainingPanel losses{.label = "Loss", .curves = {}};
  TrainingPanel sigmas{.label = "σ(" + without_markup(files.options.model.poi) + "), validation",
                       .curves = {}};
  for (const auto& metrics : files.metrics) {
    const Curve loss = loss_curve(metrics);
    const std::string name = loss.size() > k_points ? "Batches, mean" : "Batches";
    if (!loss.empty()) losses.curves.push_back({name, -1, true, thinned(loss, k_points)});
  }
  const bool several = files.metrics.size() > 1;
  for (std::size_t k = 0; k < files.metrics.size(); ++k) {
    const Curve validation = validation_curve(files.metrics[k]);
    const Curve sigma = sigma_curve(files.metrics[k]);
    const int colour = static_cast<int>(k);
    const std::string fold = several ? fmt::format("Fold {}", k) : "";
    if (!validation.empty()) {
      losses.curves.push_back(
          {several ? fold : "Validation, hard bins", colour, false, thinned(validation, k_points)});
    }
    if (!sigma.empty()) sigmas.curves.push_back({fold, colour, false, thinned(sigma, k_points)});
  }
  for (TrainingPanel* panel : {&losses, &sigmas}) {
    if (!panel->curves.empty()) plot.panels.push_back(std::move(*panel));
  }
  if (!several && !files.result.is_null()) {
    const auto best = files.result.at("best_step").get<double>();
    if (best >= 0.0) plot.best = best;
  }
  return plot;
}

std::string training_section(const Files& files, cli::Pictures& pictures) {
  const TrainingPlot plot = training_plot(files);
  if (plot.panels.empty()) return "";
  std::string text = pictures.figure("training", [&] { return picture(plot); });
  if (files.metrics.size() > 1) {
    text += html_element("p", "Folds: their validation events, with hard bins.", "note");
  }
  const ExperimentOptions& options = files.options;
  std::vector<std::vector<std::string>> rows;
  if (!files.result.is_null()) {
    const bool early = files.result.at("stopped_early").get<bool>();
    rows.push_back({"Steps", fmt::format("{} of {}{}", files.result.at("steps").get<std::int64_t>(),
                                         options.training.steps, early ? ", stopped early" : "")});
    const auto best = files.result.at("best_step").get<std::int64_t>();
    // Each fold has its own.
    if (files.metrics.size() == 1) {
      rows.push_back({"Smallest validation loss",
                      best < 0 ? "none"
                               : fmt::format("at step {} (dotted line){}", best,
                                             options.training.keep_best
                                                 ? ", whose weights are kept"
                                                 : "; the weights are those of the end")});
    }
  }
  rows.push_back({"Batches", fmt::format("{} events", options.training.batch_size)});
  return html_section("training", "Training", text + key_table(rows));
}

// ---- templates

std::string yields_table(const Json& yields, const Json& effective) {
  std::vector<std::string> names;
  for (const auto& item : yields.items()) names.push_back(item.key());
  if (names.empty()) return "";
  const std::size_t bins = yields.begin()->size();
  const auto cell = [](const Json& row, std::size_t b) {
    return significant(row.at(b).get<double>());
  };
  if (bins <= k_columns) {
    std::vector<std::string> header{"Bin"};
    for (std::size_t b = 0; b < bins; ++b) header.push_back(std::to_string(b + 1));
    HtmlTable table("l" + std::string(bins, 'r'), header);
    for (const std::string& name : names) {
      std::vector<std::string> row{name};
      for (std::size_t b = 0; b < bins; ++b) row.push_back(cell(yields.at(name), b));
      table.row(row);
    }
    if (effective.size() == bins) {
      std::vector<std::string> row{"Effective entries of the background"};
      for (std::size_t b = 0; b < bins; ++b) row.push_back(cell(effective, b));
      table.row(row);
    }
    return table.str();
  }
  std::vector<std::string> header{"Bin"};
  header.insert(header.end(), names.begin(), names.end());
  if (effective.size() == bins) header.emplace_back("Effective entries of the background");
  HtmlTable table(std::string(header.size(), 'r'), header);
  for (std::size_t b = 0; b < bins; ++b) {
    std::vector<std::string> row{std::to_string(b + 1)};
    for (const std::string& name : names) row.push_back(cell(yields.at(name), b));
    if (effective.size() == bins) row.push_back(cell(effective, b));
    table.row(row);
  }
  return table.str();
}

std::string list_of(const Json& numbers) {
  std::string text;
  for (const Json& number : numbers) {
    text += (text.empty() ? "" : ", ") + significant(number.get<double>());
  }
  return text;
}

std::string templates_section(const Files& files, cli::Pictures& pictures) {
  if (files.result.is_null()) return "";
  std::string text;
  if (!files.workspace.is_null()) {
    const VariationPlot plot =
        experiment::templates_plot(files.options, files.workspace, files.result);
    text += pictures.figure("templates", [&] { return picture(plot); });
    text += html_element("p",
                         "Expected events of test events; below, what nuisance parameters do to "
                         "the sum of backgrounds and to the signal in hard bins.",
                         "note");
  }
  text += html_element("h3", "Hard bins") +
          yields_table(files.result.at("yields"), files.result.at("effective_entries")) +
          html_element("h3", "Soft bins") +
          yields_table(files.result.at("soft_yields"), Json::array());
  std::vector<std::vector<std::string>> rows;
  if (!files.result.at("edges").empty()) {
    rows.push_back({"Edges of the bins", list_of(files.result.at("edges"))});
  }
  if (!files.result.at("thresholds").empty()) {
    rows.push_back({"Thresholds of the cuts", list_of(files.result.at("thresholds"))});
  }
  if (files.result.contains("efficiencies")) {
    for (const auto& item : files.result.at("efficiencies").items()) {
      rows.push_back(
          {"Efficiency of the cuts, " + item.key(), significant(item.value().get<double>())});
    }
  }
  return html_section("templates", "Yields per bin", text + key_table(rows));
}

// ---- nuisance parameters

const char* effect_text(NuisanceEffect effect) {
  switch (effect) {
    case NuisanceEffect::problem:
      return "of the problem";
    case NuisanceEffect::scale:
      return "scale of columns";
    case NuisanceEffect::shift:
      return "shift of columns";
    case NuisanceEffect::log_weight:
      return "logarithm of weights";
    case NuisanceEffect::weight_slope:
      return "slope of weights";
    case NuisanceEffect::normalisation:
      return "normalisation";
    case NuisanceEffect::tau_energy_scale:
      return "τ energy scale";
  }
  return "";
}

std::string nuisances_section(const Files& files) {
  if (files.result.is_null() || files.result.at("nuisances").empty()) return "";
  HtmlTable table("llrrrr", {"Parameter", "Effect", "Prior", "Constraint", "Impact", "One-sided"});
  for (const Json& nuisance : files.result.at("nuisances")) {
    const auto name = nuisance.at("name").get<std::string>();
    std::string effect, prior;
    for (const NuisanceOptions& option : files.options.nuisances) {
      if (option.name != name) continue;
      effect = effect_text(option.effect);
      prior = option.prior ? significant(*option.prior) : "none";
    }
    table.row({name, effect, prior, brief(nuisance.at("constraint").get<double>(), 3),
               brief(nuisance.at("impact").get<double>(), 3),
               brief(nuisance.at("one_sided").get<double>(), 3)});
  }
  const std::string note = html_element(
      "p",
      fmt::format("Expected, on test events with hard bins. Constraint: uncertainty after the fit "
                  "over that of the prior. Impact: change of {} for one uncertainty after the fit. "
                  "One-sided: events by which both variations lie on the same side of the nominal "
                  "templates, averaged over the signal.",
                  files.options.model.poi),
      "note");
  return html_section("nuisances", "Nuisance parameters", table.str() + note);
}

// ---- fit

std::string workspace_sections(const Files& files, cli::Pictures& pictures) {
  if (files.workspace.is_null() || !files.options.evaluation.fit) return "";
  const std::string title = "Fit of workspace.json";
  try {
    const Workspace workspace = parse_workspace(files.workspace);
    ModelOptions model;
    model.measurement = files.options.model.measurement;
    ModelSpec spec = make_model_spec(workspace, model);
    std::vector<double> data = spec.data();
    const cli::LoadedModel loaded{find_measurement(workspace, model.measurement).name,
                                  Model(std::move(spec)), std::move(data)};
    cli::ReportOptions options;
    options.without = {"gof", "yields", "correlation"};
    options.threads = static_cast<std::size_t>(files.options.threads);
    const cli::Report report = collect_report(loaded, options);
    std::string text = fit_sections(report, options, {}, pictures, title);
    if (!report.warnings.empty()) {
      text +=
          html_section("fit_warnings", "Warnings of the fit", cli::warnings_list(report.warnings));
    }
    return text;
  } catch (const Error& error) {
    return html_section("result", title, html_element("p", error.what(), "bad"));
  }
}

// ---- the end of the page

std::string document_section(const Files& files) {
  return html_section("document", "Experiment in full",
                      experiment::preformatted(experiment_document(files.options).dump(2)));
}

std::string provenance_section(const Files& files, const std::string& no_pictures) {
  const ExperimentOptions& options = files.options;
  std::vector<std::vector<std::string>> rows{
      {"Page made by", fmt::format("slalom {}, LibTorch {}", version(), TORCH_VERSION)}};
  if (!files.result.is_null()) {
    rows.push_back({"Result made by",
                    fmt::format("slalom {}", files.result.at("version").get<std::string>())});
  }
  rows.push_back({"Seed", std::to_string(options.seed)});
  rows.push_back({"Seed of the data", std::to_string(options.data.seed)});
  rows.push_back(
      {"Device", fmt::format("{}, {}", options.device,
                             cli::count(static_cast<std::size_t>(options.threads), "thread"))});
  const Json document = Json::parse(experiment_document(options).dump());
  rows.push_back({"SHA-256 of the experiment", digest(document)});
  if (!files.workspace.is_null()) {
    rows.push_back({"SHA-256 of the workspace", digest(files.workspace)});
  }
  if (!no_pictures.empty()) rows.push_back({"Pictures", "none: " + no_pictures});
  return html_section("provenance", "Provenance", key_table(rows));
}

std::string page_of(const Files& files, cli::Pictures& pictures) {
  std::string sections =
      summary_section(files) + guards_section(files) + training_section(files, pictures) +
      templates_section(files, pictures) + nuisances_section(files) +
      experiment::learning_section(files.result, files.options.model.poi) +
      experiment::inferences_section(files.result, files.options.model.poi, pictures) +
      workspace_sections(files, pictures) + document_section(files);
  sections += provenance_section(files, pictures.failure());
  std::string top = head(files);
  if (!pictures.failure().empty()) {
    top += html_element("p", "This report has no pictures: " + pictures.failure(), "bad");
  }
  return cli::html_page("slalom: " + files.options.name, top, sections);
}

}  // namespace

std::string experiment::preformatted(const std::string& text) {
  std::string lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines += cli::html_text(std::string_view(text).substr(at, end - at)) + "\n";
    at = end + 1;
  }
  return "<pre>" + lines + "</pre>\n";
}

std::string write_experiment_report(const fs::path& directory, const fs::path& page) {
  const Files files = read_files(directory);
  const fs::path folder = directory / "plots";
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (failure) throw Error(ErrorKind::io, failure.message(), folder.string());
  cli::Pictures pictures(folder);
  try {
    write_text(page.empty() ? directory / "report.html" : page, page_of(files, pictures));
  } catch (const Json::exception& error) {
    throw Error(ErrorKind::json, fmt::format("not what an experiment writes: {}", error.what()),
                (directory / "result.json").string());
  }
  return pictures.failure();
}

}  // namespace slalom
