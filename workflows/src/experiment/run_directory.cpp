// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <sstream>
#include <system_error>

#include "experiment/documents.hpp"
#include "experiment/paths.hpp"
#include "slalom/core/json.hpp"
#include "slalom/workflows/experiment.hpp"

namespace slalom {

namespace {

using experiment::make_directory;
namespace fs = std::filesystem;

constexpr const char* k_document = "experiment.json";
constexpr const char* k_metrics = "metrics.jsonl";
constexpr const char* k_checkpoint = "checkpoint.npz";
constexpr const char* k_result = "result.json";

template <class Number>
nlohmann::ordered_json or_null(const std::optional<Number>& value) {
  if (!value || !std::isfinite(static_cast<double>(*value))) return nullptr;
  return *value;
}

std::string line_of(const Metrics& metrics) {
  nlohmann::ordered_json line;
  line["step"] = metrics.step;
  line["loss"] = or_null(metrics.loss);
  line["learning_rate"] = metrics.learning_rate;
  if (metrics.validation_loss) line["validation_loss"] = or_null(metrics.validation_loss);
  if (metrics.sigma) line["sigma"] = or_null(metrics.sigma);
  if (metrics.adversary) line["adversary"] = or_null(metrics.adversary);
  return line.dump() + "\n";
}

/// Lines up to a step; what was written after the checkpoint will be written again.
std::string lines_until(const fs::path& file, std::int64_t step) {
  std::ifstream stream(file);
  std::string result, line;
  while (std::getline(stream, line)) {
    const Json json = Json::parse(line, nullptr, false);
    if (json.is_discarded() || !json.contains("step") || json["step"] > step) break;
    result += line + "\n";
  }
  return result;
}

/// Lines of metrics, each written at once.
class MetricsFile {
 public:
  MetricsFile(fs::path file, std::int64_t step) : file_(std::move(file)) {
    write_text(file_, lines_until(file_, step));
    stream_.open(file_, std::ios::app);
  }
  void write(const Metrics& metrics) {
    stream_ << line_of(metrics);
    stream_.flush();
    if (!stream_)
      throw Error(ErrorKind::io, std::generic_category().message(errno), file_.string());
  }

 private:
  fs::path file_;
  std::ofstream stream_;
};

}  // namespace

ExperimentOptions with_absolute_paths(ExperimentOptions options) {
  const auto absolute = [&](std::string& path) {
    if (path.empty()) return;
    const fs::path file = options.base.empty() ? fs::path(path) : fs::path(options.base) / path;
    path = fs::absolute(file).lexically_normal().string();
  };
  absolute(options.data.higgsml);
  for (DataFile& file : options.data.files) absolute(file.path);
  absolute(options.model.workspace);
  for (std::string& file : options.model.patches) absolute(file);
  absolute(options.classifier.path);
  absolute(options.classifier.weights);
  options.base.clear();
  return options;
}

namespace {

/// Trains to the end, with checkpoints and metrics in a directory. \returns false if it was stopped
bool train_in(Experiment& experiment, const fs::path& directory, const RunHooks& hooks) {
  const ExperimentOptions& options = experiment.options();
  const fs::path checkpoint = directory / k_checkpoint;
  const bool goes_on = fs::exists(checkpoint);
  if (goes_on) experiment.restore(checkpoint);
  MetricsFile metrics(directory / k_metrics, goes_on ? experiment.step() : -1);
  if (!goes_on) {
    metrics.write(experiment.start());
    experiment.save(checkpoint);
  }
  const std::int64_t every = options.training.checkpoint_every;
  while (!experiment.done()) {
    const Metrics now = experiment.advance();
    metrics.write(now);
    if (every > 0 && now.step % every == 0) experiment.save(checkpoint);
    if (hooks.progress && !hooks.progress(now, options.training.steps) && !experiment.done()) {
      experiment.save(checkpoint);
      return false;
    }
  }
  experiment.save(checkpoint);
  return true;
}

void write_results(const ExperimentOptions& options, const ExperimentResult& result,
                   const Workspace& workspace, const fs::path& directory) {
  write_text(directory / "workspace.json", dump_json(to_json(workspace)) + "\n");
  write_text(directory / k_result, result_document(options, result).dump(2) + "\n");
}

std::optional<ExperimentResult> run_folds(const ExperimentOptions& options,
                                          const fs::path& directory, const RunHooks& hooks) {
  std::vector<Experiment> folds;
  for (std::int64_t k = 0; k < options.data.folds; ++k) {
    ExperimentOptions fold = options;
    fold.data.fold = k;
    const fs::path place = directory / fmt::format("fold-{}", k);
    make_directory(place);
    folds.emplace_back(fold);
    if (!train_in(folds.back(), place, hooks)) return std::nullopt;
  }
  std::optional<Workspace> workspace;
  ExperimentResult result = evaluate_folds(folds, workspace);
  for (std::size_t k = 0; k < folds.size(); ++k) {
    folds[k].save_weights(directory / fmt::format("fold-{}", k) / "weights.npz");
  }
  write_results(options, result, *workspace, directory);
  return result;
}

}  // namespace

ExperimentOptions experiment_of(const fs::path& directory) {
  const fs::path file = directory / k_document;
  if (!fs::exists(file)) {
    throw Error(ErrorKind::io, "there is no experiment.json: not a result directory",
                directory.string());
  }
  return read_experiment(read_json(file));
}

std::optional<ExperimentResult> run_in_directory(const ExperimentOptions& given,
                                                 const fs::path& directory, const RunHooks& hooks) {
  const ExperimentOptions options = with_absolute_paths(given);
  make_directory(directory);
  const fs::path document = directory / k_document;
  if (fs::exists(directory / k_result)) {
    throw Error(ErrorKind::usage, "there is a result already: choose another directory",
                directory.string());
  }
  const std::string text = experiment_document(options).dump(2) + "\n";
  if (fs::exists(document) && read_text(document) != text) {
    throw Error(ErrorKind::usage, "there is another experiment already: choose another directory",
                directory.string());
  }
  if (options.data.folds > 0) {
    write_text(document, text);
    return run_folds(options, directory, hooks);
  }
  Experiment experiment(options);
  write_text(document, text);
  if (!train_in(experiment, directory, hooks)) return std::nullopt;
  ExperimentResult result = experiment.evaluate();
  experiment.save_weights(directory / "weights.npz");
  write_results(options, result, experiment.workspace(), directory);
  return result;
}

}  // namespace slalom
