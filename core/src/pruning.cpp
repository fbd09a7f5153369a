// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/pruning.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <set>

#include "slalom/core/hypotest.hpp"
#include "slalom/core/json.hpp"
#include "workspace_document.hpp"

namespace slalom {

namespace {

using detail::name_of;

/// One side of a histosys, split.
struct Side {
  double normalisation = 1.0;  ///< k
  double shape = 0.0;          ///< effect
  bool valid = false;          ///< k > 0, and no variation where there is no nominal yield
};

Side split(const Json& nominal, const Json& varied) {
  Side side;
  double sum = 0.0, total = 0.0;
  for (std::size_t b = 0; b < nominal.size(); ++b) {
    const double n = nominal[b].get<double>(), v = varied[b].get<double>();
    if (n == 0.0 && v != 0.0) return side;
    total += n;
    sum += v;
  }
  side.normalisation = sum / total;
  side.valid = total > 0.0 && side.normalisation > 0.0 && std::isfinite(side.normalisation);
  if (!side.valid) return side;
  for (std::size_t b = 0; b < nominal.size(); ++b) {
    const double expected = side.normalisation * nominal[b].get<double>();
    if (expected == 0.0) continue;
    side.shape = std::max(side.shape, std::abs(varied[b].get<double>() / expected - 1.0));
  }
  return side;
}

/// Effects that are rounding.
constexpr double k_nothing = 1e-12;

bool is_below(double effect, const std::optional<double>& threshold) {
  return threshold && effect < *threshold;
}

/// Prunes one document.
class Pruner {
 public:
  Pruner(Json& document, const PruningThresholds& thresholds, PruningReport& report)
      : document_(document), thresholds_(thresholds), report_(report) {
    for (const Json& measurement : document["measurements"]) {
      pois_.insert(measurement["config"]["poi"].get<std::string>());
    }
  }

  void run() {
    const std::set<std::string> before = parameters();
    for (Json& channel : document_["channels"]) {
      for (Json& sample : channel["samples"]) prune(name_of(channel), sample);
    }
    const std::set<std::string> after = parameters();
    for (const std::string& name : before) {
      if (!after.contains(name)) report_.parameters.push_back(name);
    }
    for (Json& measurement : document_["measurements"]) {
      auto& list = measurement["config"]["parameters"].get_ref<Json::array_t&>();
      const auto is_gone = [&](const Json& p) {
        return before.contains(name_of(p)) && !after.contains(name_of(p));
      };
      list.erase(std::remove_if(list.begin(), list.end(), is_gone), list.end());
    }
  }

 private:
  std::set<std::string> parameters() const {
    std::set<std::string> names;
    for (const Json& channel : document_["channels"]) {
      for (const Json& sample : channel["samples"]) {
        for (const Json& modifier : sample["modifiers"]) names.insert(name_of(modifier));
      }
    }
    return names;
  }

  void prune(const std::string& channel, Json& sample) {
    Json kept = Json::array();
    for (Json& modifier : sample["modifiers"]) {
      const std::string type = modifier["type"].get<std::string>();
      bool keep = true;
      if ((type == "normsys" || type == "histosys") && !pois_.contains(name_of(modifier))) {
        ++report_.n_variations;
        PrunedVariation pruned{channel, name_of(sample), name_of(modifier), type, PrunedPart::all};
        keep = type == "normsys" ? keep_normsys(modifier, pruned)
                                 : keep_histosys(sample["data"], modifier, pruned);
      }
      if (keep) kept.push_back(std::move(modifier));
    }
    sample["modifiers"] = std::move(kept);
  }

  bool keep_normsys(const Json& modifier, PrunedVariation& pruned) {
    const double hi = modifier["data"]["hi"].get<double>();
    const double lo = modifier["data"]["lo"].get<double>();
    pruned.normalisation = std::max(std::abs(hi - 1.0), std::abs(lo - 1.0));
    if (!is_below(pruned.normalisation, thresholds_.normalisation)) return true;
    report_.pruned.push_back(pruned);
    return false;
  }

  bool keep_histosys(const Json& nominal, Json& modifier, PrunedVariation& pruned) {
    static constexpr std::array<const char*, 2> k_sides{"hi_data", "lo_data"};
    std::array<Side, 2> sides;
    for (std::size_t i = 0; i < 2; ++i) {
      sides[i] = split(nominal, modifier["data"][k_sides[i]]);
      if (!sides[i].valid) return true;
      pruned.normalisation = std::max(pruned.normalisation, std::abs(sides[i].normalisation - 1.0));
      pruned.shape = std::max(pruned.shape, sides[i].shape);
    }
    if (nominal.size() == 1) pruned.shape = 0.0;
    const bool no_norm = is_below(pruned.normalisation, thresholds_.normalisation);
    const bool no_shape = is_below(pruned.shape, thresholds_.shape);
    const bool norm_left = pruned.normalisation > k_nothing && !no_norm;
    const bool shape_left = pruned.shape > k_nothing && !no_shape;
    if (!no_norm && !no_shape) return true;
    if (!norm_left && !shape_left) {
      report_.pruned.push_back(pruned);
      return false;
    }
    const double removed = norm_left ? pruned.shape : pruned.normalisation;
    if ((norm_left && shape_left) || removed <= k_nothing) return true;
    pruned.part = shape_left ? PrunedPart::normalisation : PrunedPart::shape;
    for (std::size_t i = 0; i < 2; ++i) {
      for (std::size_t b = 0; b < nominal.size(); ++b) {
        Json& yield = modifier["data"][k_sides[i]][b];
        yield = shape_left ? yield.get<double>() / sides[i].normalisation
                           : nominal[b].get<double>() * sides[i].normalisation;
      }
    }
    report_.pruned.push_back(pruned);
    return true;
  }

  Json& document_;
  const PruningThresholds& thresholds_;
  PruningReport& report_;
  std::set<std::string> pois_;
};

void check(const std::optional<double>& threshold, const char* where) {
  if (threshold && !(*threshold >= 0.0)) {
    throw Error(ErrorKind::usage, "a threshold must not be negative", where);
  }
}

}  // namespace

const char* to_string(PrunedPart part) {
  switch (part) {
    case PrunedPart::all:
      return "all";
    case PrunedPart::normalisation:
      return "normalisation";
    case PrunedPart::shape:
      break;
  }
  return "shape";
}

nlohmann::json prune_small(const nlohmann::json& document, const PruningThresholds& thresholds,
                           PruningReport* report) {
  check(thresholds.normalisation, "normalisation");
  check(thresholds.shape, "shape");
  detail::check_workspace(document, "the workspace");
  PruningReport local;
  Json result = document;
  Pruner(result, thresholds, report != nullptr ? *report : local).run();
  return detail::checked_result(std::move(result), "prune");
}

ResultSummary summarise_result(const Model& model) {
  ResultSummary summary;
  summary.n_parameters = model.n_parameters();
  const std::optional<std::size_t> poi = model.spec().poi;
  summary.has_poi = poi.has_value() && !model.spec().parameters[*poi].fixed;
  Fitter fitter(model);
  FitResult best;
  if (summary.has_poi) {
    AsymptoticCalculator calculator(fitter);
    const UpperLimit limit = calculator.upper_limit();
    const DiscoveryTest discovery = calculator.discovery();
    best = calculator.best();
    summary.best_fit = best.parameters[*poi];
    summary.error = fitter.errors(best)[*poi];
    summary.limit = limit.observed;
    summary.expected_limit = limit.expected[2];
    summary.significance = discovery.z;
    summary.expected_significance = discovery.z_expected;
    summary.converged = best.converged() && limit.converged && discovery.converged;
    summary.message = limit.message.empty() ? discovery.message : limit.message;
  } else {
    best = fitter.fit();
    summary.converged = best.converged();
  }
  if (!best.converged()) summary.message = best.message;
  summary.twice_nll = best.twice_nll;
  for (std::size_t i : model.spec().auxiliary) {
    const Parameter& p = model.spec().parameters[i];
    if (p.constraint != ConstraintType::gaussian) continue;
    summary.twice_nll -= std::log(2.0 * std::numbers::pi * p.sigma * p.sigma);
  }
  return summary;
}

}  // namespace slalom
