// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/mixture_experiment.hpp"

#include <fmt/format.h>
#include <tbb/global_control.h>

#include "experiment/paths.hpp"
#include "experiment/stage_files.hpp"
#include "mixture/measurement.hpp"
#include "slalom/core/version.hpp"

namespace slalom {

namespace {

using experiment::StageFiles;
namespace fs = std::filesystem;
using nlohmann::ordered_json;

void warn(ordered_json& document, const std::string& message, const std::string& where) {
  document["warnings"].push_back({{"message", message}, {"where", where}});
}

void warn_of_fit(ordered_json& document) {
  const ordered_json& fit = document.at("fit");
  if (!fit.at("converged").get<bool>()) {
    warn(document, "there is no estimate: " + fit.at("message").get<std::string>(), "fit");
    return;
  }
  constexpr double k_flag = 0.05;
  if (fit.contains("pulls") && fit.at("pulls").at("p_value").get<double>() < k_flag) {
    warn(document,
         fmt::format("the fitted shapes lie where the simulations do not expect them (p = {:.2g}): "
                     "the truth may not be like them, and the error too small",
                     fit.at("pulls").at("p_value").get<double>()),
         "fit");
  }
  if (fit.contains("hmc")) {
    constexpr double k_agree = 1.01;
    const ordered_json& hmc = fit.at("hmc");
    if (hmc.at("r_hat").get<double>() > k_agree || hmc.at("divergences").get<std::size_t>() > 0) {
      warn(document,
           fmt::format("the chains do not agree, or diverge: R-hat {:.3f}, {} divergences",
                       hmc.at("r_hat").get<double>(), hmc.at("divergences").get<std::size_t>()),
           "fit");
    }
  }
  if (fit.at("outside").get<double>() > 0.0) {
    warn(document,
         fmt::format("{} observed events are outside of the bins and take no part",
                     fit.at("outside").get<double>()),
         "data");
  }
}

void warn_of_failures(ordered_json& document, const ordered_json& figures,
                      const std::string& stage) {
  const auto failures = figures.at("failures").get<std::size_t>();
  if (failures == 0) return;
  warn(document, fmt::format("{} fits failed and are in no figure", failures), stage);
}

ordered_json run_stages(const mixture::Measurement& measurement, StageFiles& stages,
                        const fs::path& directory) {
  using mixture::StageProgress;
  const MixtureExperimentOptions& options = measurement.options();
  ordered_json document;
  document["name"] = options.name;
  document["version"] = version();
  document["warnings"] = ordered_json::array();
  document["data"] = {{"simulations", measurement.simulations().count},
                      {"bins", measurement.simulations().points()}};
  document["fit"] =
      stages.get("fit", [&](const StageProgress&) { return measurement.fit(); }).figures;
  warn_of_fit(document);
  if (options.leave_one_out.enabled) {
    if (measurement.can_leave_one_out()) {
      const ordered_json figures = stages
                                       .get("leave_one_out",
                                            [&](const StageProgress& progress) {
                                              return measurement.leave_one_out(progress);
                                            })
                                       .figures;
      document["leave_one_out"] = figures;
      for (const auto& row : figures.at("rows")) warn_of_failures(document, row, "leave_one_out");
      if (figures.at("chosen").is_null()) {
        warn(document, "no K and strength that were tried cover what they claim", "leave_one_out");
      }
    } else {
      warn(document, "fewer than 3 simulations are fitted: none can be left out", "leave_one_out");
    }
  }
  if (options.toys.enabled) {
    const mixture::StageOutput toys = stages.get(
        "toys", [&](const StageProgress& progress) { return measurement.toys(progress); });
    document["toys"] = toys.figures;
    warn_of_failures(document, toys.figures, "toys");
    write_npz((directory / "toys.npz").string(), toys.tensors);
  }
  return document;
}

}  // namespace

MixtureExperimentOptions with_absolute_paths(MixtureExperimentOptions options) {
  const auto absolute = [&](std::string& path) {
    if (path.empty()) return;
    const fs::path file = options.base.empty() ? fs::path(path) : fs::path(options.base) / path;
    path = fs::absolute(file).lexically_normal().string();
  };
  MixtureDataOptions& data = options.data;
  absolute(data.signal_pairs);
  absolute(data.background_pairs);
  absolute(data.templates);
  if (data.templates.empty()) {  // otherwise they are names of its columns
    for (std::string& path : data.signal) absolute(path);
    for (std::string& path : data.background) absolute(path);
    absolute(data.true_signal);
    absolute(data.true_background);
    absolute(data.observed);
  }
  options.base.clear();
  return options;
}

bool is_mixture(const fs::path& directory) {
  return fs::exists(directory / experiment::k_stages_document) &&
         is_mixture_document(experiment::stages_document(directory));
}

MixtureExperimentOptions mixture_of(const fs::path& directory) {
  return read_mixture(experiment::stages_document(directory));
}

std::optional<ordered_json> run_mixture_in_directory(const MixtureExperimentOptions& given,
                                                     const fs::path& directory,
                                                     const MixtureHooks& hooks) {
  const MixtureExperimentOptions options = with_absolute_paths(given);
  const std::string text = mixture_document(options).dump(2) + "\n";
  experiment::check_stages_directory(directory, text);
  // oneTBB has no more threads than the machine has cores unless it is told so.
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism,
                                  static_cast<std::size_t>(options.threads));
  const mixture::Measurement measurement(options);
  write_text(directory / experiment::k_stages_document, text);
  StageFiles stages(directory / "stages", hooks.progress);
  try {
    ordered_json result = run_stages(measurement, stages, directory);
    write_text(directory / experiment::k_stages_result, result.dump(2) + "\n");
    return result;
  } catch (const experiment::StageStopped&) {
    return std::nullopt;
  }
}

}  // namespace slalom
