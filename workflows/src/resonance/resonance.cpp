// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/resonance.hpp"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "experiment/paths.hpp"
#include "experiment/stage_files.hpp"
#include "resonance/search.hpp"
#include "slalom/core/version.hpp"

namespace slalom {

namespace {

using experiment::StageFiles;
namespace fs = std::filesystem;
using nlohmann::ordered_json;
using resonance::Search;
using resonance::StageOutput;
using resonance::StageProgress;

/// What all stages have found so far.
struct Findings {
  ordered_json document;
  NamedTensors events;  // scores of the events in the region

  void add_method(const std::string& name, const StageOutput& output) {
    document["methods"][name] = output.figures;
    for (const auto& [column, tensor] : output.tensors) events[name + "_" + column] = tensor;
  }
  /// A mean that a few events carry divides the ratio by chance.
  void warn_of_mean() {
    constexpr double k_large = 0.1;
    const double error = document["methods"]["paws"]["mean_error"].get<double>();
    if (error <= k_large) return;
    warn(fmt::format("the mean of the ratio over the background is known to {:.0f} % only: "
                     "reference_factor asks for more events",
                     100.0 * error),
         "paws");
  }
  void warn(const std::string& message, const std::string& where) {
    document["warnings"].push_back({{"message", message}, {"where", where}});
  }
};

void run_methods(const Search& search, StageFiles& stages, Findings& findings) {
  const ResonanceOptions& options = search.options();
  const auto method = [&](const std::string& name, bool enabled, const auto& run) {
    if (enabled) findings.add_method(name, stages.get(name, run));
  };
  method("ranode", options.ranode.enabled,
         [&](const StageProgress& progress) { return search.ranode(progress); });
  method("anomaly_detector", options.anomaly_detector.enabled,
         [&](const StageProgress& progress) { return search.anomaly_detector(progress); });
  const bool simulation = search.data().has_simulation();
  const bool paws = options.paws.enabled && search.data().theta.defined();
  method("paws", paws, [&](const StageProgress& progress) { return search.paws(progress); });
  if (paws) findings.warn_of_mean();
  method("supervised", options.supervised.enabled && simulation,
         [&](const StageProgress& progress) { return search.supervised(progress); });
  method("bump_hunt", options.bump_hunt.enabled,
         [&](const StageProgress&) { return search.bump_hunt(); });
  if (search.has_exact()) {
    method("exact", true, [&](const StageProgress&) { return search.exact(); });
  }
}

ordered_json run_stages(Search& search, StageFiles& stages, const fs::path& directory) {
  const ResonanceOptions& options = search.options();
  Findings findings;
  ordered_json& document = findings.document;
  document["name"] = options.name;
  document["version"] = version();
  document["warnings"] = ordered_json::array();
  const StageOutput events =
      stages.get("events", [&](const StageProgress&) { return search.events(); });
  document["events"] = events.figures;
  if (events.figures.at("out_of_range").get<std::int64_t>() > 0) {
    findings.warn(fmt::format("{} events in the signal region are outside of the range of a "
                              "feature, which the sidebands give, and take no part",
                              events.figures.at("out_of_range").get<std::int64_t>()),
                  "events");
  }
  const StageOutput background = stages.get(
      "background", [&](const StageProgress& progress) { return search.background(progress); });
  document["background"] = background.figures;
  search.set_background(background);
  if (options.guard.enabled) {
    const StageOutput guard =
        stages.get("guard", [&](const StageProgress& progress) { return search.guard(progress); });
    document["guard"] = guard.figures;
    if (!guard.figures.at("passed").get<bool>()) {
      findings.warn(
          "the density of the background does not describe sideband events that it has "
          "not seen: what RANODE finds is no signal until it does",
          "guard");
    }
  }
  search.set_reference(
      stages.get("reference", [&](const StageProgress&) { return search.reference(); }));
  document["methods"] = ordered_json::object();
  run_methods(search, stages, findings);
  findings.events["mass"] =
      search.data().region.column(options.data.mass).to(at::kDouble).contiguous();
  if (search.data().has_truth()) findings.events["label"] = search.data().region.labels;
  write_npz((directory / "events.npz").string(), findings.events);
  return document;
}

}  // namespace

ResonanceOptions with_absolute_paths(ResonanceOptions options) {
  for (std::string* path : {&options.data.path, &options.data.simulation}) {
    if (path->empty()) continue;
    const fs::path file = options.base.empty() ? fs::path(*path) : fs::path(options.base) / *path;
    *path = fs::absolute(file).lexically_normal().string();
  }
  options.base.clear();
  return options;
}

bool is_resonance(const fs::path& directory) {
  return fs::exists(directory / experiment::k_stages_document) &&
         is_resonance_document(experiment::stages_document(directory));
}

ResonanceOptions resonance_of(const fs::path& directory) {
  return read_resonance(experiment::stages_document(directory));
}

std::optional<ordered_json> run_resonance_in_directory(const ResonanceOptions& given,
                                                       const fs::path& directory,
                                                       const ResonanceHooks& hooks) {
  const ResonanceOptions options = with_absolute_paths(given);
  const std::string text = resonance_document(options).dump(2) + "\n";
  experiment::check_stages_directory(directory, text);
  at::set_num_threads(static_cast<int>(options.threads));
  Search search(options);
  write_text(directory / experiment::k_stages_document, text);
  StageFiles stages(directory / "stages", hooks.progress);
  try {
    ordered_json result = run_stages(search, stages, directory);
    write_text(directory / experiment::k_stages_result, result.dump(2) + "\n");
    return result;
  } catch (const experiment::StageStopped&) {
    return std::nullopt;
  }
}

}  // namespace slalom
