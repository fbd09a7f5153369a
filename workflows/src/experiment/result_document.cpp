// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "cli/result.hpp"
#include "experiment/bootstrap.hpp"
#include "slalom/core/version.hpp"
#include "slalom/workflows/experiment.hpp"

namespace slalom {

namespace {

using nlohmann::ordered_json;

ordered_json finite_list(const std::vector<double>& values, const std::string& what) {
  auto list = ordered_json::array();
  for (const double value : values) list.push_back(cli::finite(value, what));
  return list;
}

ordered_json or_null(const std::optional<double>& value) {
  return value ? ordered_json(*value) : ordered_json(nullptr);
}

ordered_json figures_document(const HardFigures& figures, double yield) {
  ordered_json result;
  result["sigma"] = finite_list(figures.sigma, "sigma");
  result["sigma_stat"] = finite_list(figures.stat, "sigma_stat");
  auto events = ordered_json::array();
  for (const double sigma : figures.sigma) events.push_back(cli::finite(sigma * yield, "sigma"));
  result["sigma_events"] = std::move(events);
  result["log_cls"] = or_null(figures.log_cls);
  result["z"] = or_null(figures.z);
  return result;
}

ordered_json comparison_document(const SampleComparison& comparison) {
  auto features = ordered_json::array();
  for (std::size_t c = 0; c < comparison.columns.size(); ++c) {
    features.push_back({{"name", comparison.columns[c]},
                        {"chi2", cli::finite(comparison.chi2[c], "chi2")},
                        {"ndf", comparison.ndf[c]}});
  }
  return {{"features", std::move(features)},
          {"auc", cli::finite(comparison.auc, "auc")},
          {"auc_error", cli::finite(comparison.auc_error, "auc_error")}};
}

void learning_document(const ExperimentResult& result, ordered_json& document) {
  if (!result.auc.empty()) {
    auto list = ordered_json::array();
    for (const AucResult& point : result.auc) {
      ordered_json line{{"theta", point.theta}, {"auc", cli::finite(point.auc, "auc")}};
      if (point.frozen) line["frozen"] = cli::finite(*point.frozen, "auc");
      list.push_back(std::move(line));
    }
    document["auc"] = std::move(list);
  }
  if (!result.at.empty()) {
    auto list = ordered_json::array();
    for (const PointResult& point : result.at) {
      list.push_back({{"parameter", point.parameter},
                      {"theta", point.theta},
                      {"sigma", cli::finite(point.sigma, "sigma")}});
    }
    document["at"] = std::move(list);
  }
  if (!result.closure.empty()) {
    auto list = ordered_json::array();
    for (const ClosureResult& point : result.closure) {
      list.push_back({{"theta", point.theta},
                      {"before", comparison_document(point.before)},
                      {"after", comparison_document(point.after)}});
    }
    document["closure"] = std::move(list);
  }
  if (result.adversary) {
    document["adversary"] = {{"loss", cli::finite(result.adversary->loss, "adversary")},
                             {"blind", result.adversary->blind},
                             {"entropy", result.adversary->entropy}};
  }
}

}  // namespace

ordered_json result_document(const ExperimentOptions& options, const ExperimentResult& result) {
  ordered_json document;
  document["name"] = options.name;
  document["version"] = version();
  document["seed"] = options.seed;
  document["steps"] = result.steps;
  document["stopped_early"] = result.stopped_early;
  document["best_step"] = result.best_step;
  document["mu"] = result.mu;
  document["signal_yield"] = result.signal_yield;
  document["test"] = figures_document(result.test, result.signal_yield);
  document["train"] = figures_document(result.train, result.signal_yield);
  document["soft"] = figures_document(result.soft, result.signal_yield);
  document["before"] = figures_document(result.before, result.signal_yield);
  ordered_json fit;
  fit["message"] = result.fit_message;
  fit["mu"] = or_null(result.mu_hat);
  fit["error"] = or_null(result.mu_error);
  fit["minos"] = {or_null(result.minos_low), or_null(result.minos_high)};
  document["fit"] = std::move(fit);
  if (!result.bootstrap_sigma.empty()) {
    document["bootstrap_sigma"] = finite_list(result.bootstrap_sigma, "bootstrap_sigma");
    const experiment::Spread spread = experiment::spread_of(result.bootstrap_sigma);
    document["bootstrap"] = {{"n", spread.n},
                             {"median", spread.median},
                             {"error", spread.error},
                             {"low", spread.low},
                             {"high", spread.high}};
  }
  ordered_json yields;
  for (std::size_t k = 0; k < result.samples.size(); ++k) {
    yields[result.samples[k]] = finite_list(result.yields[k], "yields");
  }
  document["yields"] = std::move(yields);
  ordered_json soft;
  for (std::size_t k = 0; k < result.samples.size(); ++k) {
    soft[result.samples[k]] = finite_list(result.soft_yields[k], "soft yields");
  }
  document["soft_yields"] = std::move(soft);
  document["edges"] = finite_list(result.edges, "edges");
  document["thresholds"] = finite_list(result.thresholds, "thresholds");
  if (!result.efficiencies.empty()) {
    ordered_json efficiencies;
    for (std::size_t k = 0; k < result.samples.size(); ++k) {
      efficiencies[result.samples[k]] = cli::finite(result.efficiencies[k], "efficiency");
    }
    document["efficiencies"] = std::move(efficiencies);
  }
  document["effective_entries"] = finite_list(result.effective_entries, "effective_entries");
  auto nuisances = ordered_json::array();
  for (const NuisanceResult& nuisance : result.nuisances) {
    nuisances.push_back({{"name", nuisance.name},
                         {"constraint", cli::finite(nuisance.constraint, "constraint")},
                         {"impact", cli::finite(nuisance.impact, "impact")},
                         {"one_sided", cli::finite(nuisance.one_sided, "one_sided")}});
  }
  document["nuisances"] = std::move(nuisances);
  if (!result.inferences.empty()) {
    ordered_json inferences;
    for (const InferenceResult& inference : result.inferences) {
      inferences[inference.name] = inference_document(inference);
    }
    document["inferences"] = std::move(inferences);
  }
  learning_document(result, document);
  if (!result.warnings.empty()) {
    auto warnings = ordered_json::array();
    for (const Warning& warning : result.warnings) {
      warnings.push_back(warning.where + ": " + warning.message);
    }
    document["warnings"] = std::move(warnings);
  }
  return document;
}

}  // namespace slalom
