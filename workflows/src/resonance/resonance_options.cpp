// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/resonance_options.hpp"

#include <algorithm>
#include <fmt/format.h>

#include "cli/suggest.hpp"
#include "experiment/documents.hpp"
#include "slalom/core/error.hpp"
#include "slalom/workflows/resonance_problem.hpp"

namespace slalom {

namespace {

using experiment::seed_field;
constexpr const char* k_kind = "resonance";
const std::vector<std::string> k_maps{"linear", "log", "cube_root", "logit"};
const std::vector<std::string> k_backgrounds{"flow", "flow_matching", "exact"};
const std::vector<std::string> k_flows{"affine", "spline"};

constexpr Limits k_counts{.low = 1.0, .high = 1e9};
constexpr Limits k_several{.low = 2.0, .high = 1e9};
constexpr Limits k_fraction{.low = 0.0, .high = 1.0, .above = true, .below = true};

[[noreturn]] void fail(const std::string& message, const std::string& where) {
  throw Error(ErrorKind::usage, message, where);
}

void map_fields(Fields& f, std::vector<FeatureMap>& maps) {
  std::vector<std::string> names;
  for (const FeatureMap map : maps) names.push_back(k_maps[static_cast<std::size_t>(map)]);
  f.texts(
      "maps", names,
      "of each feature before it is standardised: linear, log, cube_root or logit; empty: those "
      "of the problem, or linear");
  maps.clear();
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto found = std::find(k_maps.begin(), k_maps.end(), names[i]);
    if (found == k_maps.end()) {
      fail("expected linear, log, cube_root or logit, got '" + names[i] + "'" +
               cli::did_you_mean(names[i], k_maps),
           fmt::format("/data/maps/{}", i));
    }
    maps.push_back(static_cast<FeatureMap>(found - k_maps.begin()));
  }
}

void data_fields(Fields& f, ResonanceDataOptions& data) {
  f.text("problem", data.problem, "built-in problem; empty: files");
  f.integer("region_events", data.region_events,
            "problem: background events expected in the signal region", k_several);
  f.number("signal_fraction", data.signal_fraction,
           "problem: signal events injected, as a share of region_events",
           {.low = 0.0, .high = 1.0, .below = true});
  f.numbers("theta", data.theta, "problem: of the injected signal; empty: the problem's own");
  f.integer("simulated", data.simulated,
            "problem: signal events for the methods that simulate them", k_counts);
  f.text("path", data.path, "CSV, CSV.gz, NPZ or HDF5 file of the data, relative to this document");
  f.text("simulation", data.simulation, "file of simulated signal; empty: none");
  f.flag("lhco", data.lhco, "the files have the columns of the LHC Olympics R&D features");
  f.text("mass", data.mass, "column of the mass");
  f.texts("features", data.features, "columns; empty: all but the mass and the label");
  f.texts("parameters", data.parameters,
          "columns of the simulation with the signal's theta, for PAWS; empty: none");
  f.text("label", data.label, "column that is 1 for signal, for figures that need the truth");
  map_fields(f, data.maps);
  f.numbers("low", data.low,
            "lower end of each feature's range, which a logit takes; empty: that of the sidebands");
  f.numbers("high", data.high, "upper end, likewise");
  f.number("region_low", data.region_low, "lower end of the signal region");
  f.number("region_high", data.region_high, "upper end of the signal region");
  f.number("mass_low", data.mass_low, "lower end of the lower sideband");
  f.number("mass_high", data.mass_high, "upper end of the upper sideband");
  seed_field(f, "seed", data.seed, "of the generator");
}

void background_fields(Fields& f, BackgroundOptions& background) {
  f.choice("type", background.type, k_backgrounds,
           "normalising flow, flow matching, or the exact density of the problem");
  f.integer("max_events", background.max_events, "events of the sidebands that are taken at most",
            k_counts);
  f.number("validation", background.validation, "share of them that is kept back", k_fraction);
  f.choice("flow", background.flow, k_flows, "flow: kind of its layers");
  f.integer("layers", background.layers, "of the flow, or of the velocity", k_counts);
  f.integer("hidden", background.hidden, "width of the networks", k_counts);
  f.integer("bins", background.bins, "spline: bins", k_several);
  f.integer("steps", background.steps, "of the training", k_counts);
  f.integer("batch_size", background.batch_size, "events of a batch", k_counts);
  f.number("learning_rate", background.learning_rate, "at first", k_positive);
  f.integer("ensemble", background.ensemble, "densities that are averaged", k_counts);
}

void guard_fields(Fields& f, GuardOptions& guard) {
  f.flag("enabled", guard.enabled, "look whether the background's density can be believed");
  f.number("max_q0", guard.max_q0, "RANODE on sideband events kept back finds no more", k_positive);
  f.number("max_auc", guard.max_auc, "a classifier of those against the density reaches no more",
           {.low = 0.5, .high = 1.0});
}

void ranode_fields(Fields& f, RanodeRunOptions& ranode) {
  f.flag("enabled", ranode.enabled, "run it");
  f.integer("folds", ranode.folds, "of the cross-fitting", k_several);
  f.integer("ensemble", ranode.ensemble, "signal densities of each fold, averaged", k_counts);
  f.integer("layers", ranode.layers, "of the signal's flow", k_counts);
  f.integer("hidden", ranode.hidden, "width of its networks", k_counts);
  f.integer("epochs", ranode.epochs, "of a training", k_counts);
  f.integer("batch_size", ranode.batch_size, "events of a batch", k_counts);
  f.number("learning_rate", ranode.learning_rate, "of the flow, at first", k_positive);
  f.number("fraction_rate", ranode.fraction_rate,
           "of w in the joint fit: share of a step of expectation maximisation in each batch",
           {.low = 0.0, .high = 1.0, .above = true});
  f.number("start", ranode.start, "w at first", k_fraction);
  f.numbers("scan", ranode.scan, "fractions w that are held, rising; empty: no scan", k_fraction);
  f.integer("bootstraps", ranode.bootstraps, "for the error of the scan", {.low = 0, .high = 1e5});
}

void paws_fields(Fields& f, PawsRunOptions& paws) {
  f.flag("enabled", paws.enabled, "run it");
  f.integers("hidden", paws.hidden, "widths of the hidden layers", k_counts);
  f.integer("degree", paws.degree, "of the polynomial in theta", {.low = 1.0, .high = 8.0});
  f.integer("steps", paws.steps, "of the training", k_counts);
  f.integer("batch_size", paws.batch_size, "events of a batch", k_counts);
  f.number("learning_rate", paws.learning_rate, "largest one", k_positive);
  f.integer("starts", paws.starts, "of the fit of (mu, theta)", k_counts);
  f.integer("toys", paws.toys, "of the background for the p-value; 0: none",
            {.low = 0, .high = 1e6});
}

void score_fields(Fields& f, ScoreRunOptions& score) {
  f.flag("enabled", score.enabled, "run it");
  f.integer("folds", score.folds, "of the cross-fitting", k_several);
  f.integer("ensemble", score.ensemble, "networks of each fold", k_counts);
  f.integers("hidden", score.hidden, "widths of the hidden layers", k_counts);
  f.integer("steps", score.steps, "of the training", k_counts);
  f.integer("batch_size", score.batch_size, "events of a batch", k_counts);
  f.number("learning_rate", score.learning_rate, "at first", k_positive);
  f.number("weight_decay", score.weight_decay, "of AdamW", k_not_negative);
}

void bump_hunt_fields(Fields& f, BumpHuntRunOptions& bump) {
  f.flag("enabled", bump.enabled, "run it");
  f.integer("bins", bump.bins, "of the mass spectrum", {.low = 8.0, .high = 1e4});
  f.integer("parameters", bump.parameters, "of the dijet function", {.low = 2.0, .high = 5.0});
  f.number("mass", bump.mass, "of the resonance", k_positive);
  f.number("width", bump.width, "its standard deviation", k_positive);
}

void check(const ResonanceOptions& options) {
  const ResonanceDataOptions& data = options.data;
  if (!(data.mass_low < data.region_low && data.region_low < data.region_high &&
        data.region_high < data.mass_high)) {
    fail("expected mass_low < region_low < region_high < mass_high", "/data/region_low");
  }
  if (data.low.size() != data.high.size()) {
    fail("expected low and high, one for each feature", "/data/low");
  }
  if (data.problem.empty()) {
    if (data.path.empty()) fail("expected a problem or the path of a file", "/data/path");
    if (options.background.type == BackgroundKind::exact) {
      fail("files have no exact density", "/background/type");
    }
    return;
  }
  if (!data.path.empty()) fail("either a problem or a file", "/data/path");
  const auto& names = resonance_problem_names();
  if (std::find(names.begin(), names.end(), data.problem) == names.end()) {
    fail("there is no resonance problem '" + data.problem + "'" +
             cli::did_you_mean(data.problem, names),
         "/data/problem");
  }
  const ResonanceProblem problem = make_resonance_problem(data.problem);
  if (!data.theta.empty() && data.theta.size() != problem.parameters.size()) {
    fail(
        fmt::format("expected {} parameters, got {}", problem.parameters.size(), data.theta.size()),
        "/data/theta");
  }
  const std::vector<double>& scan = options.ranode.scan;
  if (!scan.empty() && scan.size() < 3) fail("expected none or at least 3", "/ranode/scan");
  if (!std::is_sorted(scan.begin(), scan.end(), std::less_equal<>())) {
    fail("expected rising fractions", "/ranode/scan");
  }
}

}  // namespace

bool is_resonance_document(const Json& document) { return experiment::has_kind(document, k_kind); }

void resonance_fields(Fields& f, ResonanceOptions& options) {
  experiment::kind_field(f, k_kind);
  f.text("name", options.name, "for people");
  f.text("description", options.description, "for the report");
  seed_field(f, "seed", options.seed, "of weights and batches");
  f.integer("threads", options.threads, "of LibTorch", {.low = 1.0, .high = 1024.0});
  f.object("data", "events", [&](Fields& g) { data_fields(g, options.data); });
  f.object("background", "its density, from the sidebands",
           [&](Fields& g) { background_fields(g, options.background); });
  f.integer("reference_factor", options.reference_factor,
            "background events drawn from the density for each event in the region", k_counts);
  f.object("guard", "against a bad density of the background",
           [&](Fields& g) { guard_fields(g, options.guard); });
  f.object("ranode", "signal's density and fraction, fitted jointly",
           [&](Fields& g) { ranode_fields(g, options.ranode); });
  f.object("paws", "pre-trained ratio, fitted to the data",
           [&](Fields& g) { paws_fields(g, options.paws); });
  f.object("anomaly_detector", "classifier of the data against the reference",
           [&](Fields& g) { score_fields(g, options.anomaly_detector); });
  f.object("supervised", "classifier of simulated signal against the reference",
           [&](Fields& g) { score_fields(g, options.supervised); });
  f.object("bump_hunt", "fit of the mass spectrum",
           [&](Fields& g) { bump_hunt_fields(g, options.bump_hunt); });
  f.number("background_efficiency", options.background_efficiency, "of the cuts on scores",
           k_fraction);
}

ResonanceOptions read_resonance(const Json& document, const std::string& base) {
  ResonanceOptions options;
  options.base = base;
  read_fields(document, "", [&](Fields& fields) { resonance_fields(fields, options); });
  check(options);
  return options;
}

nlohmann::ordered_json resonance_document(const ResonanceOptions& options) {
  ResonanceOptions copy = options;
  return write_fields([&](Fields& fields) { resonance_fields(fields, copy); });
}

nlohmann::ordered_json resonance_schema() {
  ResonanceOptions options;
  return experiment::document_schema("slalom resonance search",
                                     [&](Fields& fields) { resonance_fields(fields, options); });
}

}  // namespace slalom
