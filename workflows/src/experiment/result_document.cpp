// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "cli/result.hpp"
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
