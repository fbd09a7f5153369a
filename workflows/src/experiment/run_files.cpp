// SPDX-License-Identifier: Apache-2.0
#include "experiment/run_files.hpp"

#include <cmath>
#include <optional>
#include <sstream>

namespace slalom::experiment {

namespace {

std::optional<double> number_of(const Json& line, const char* key) {
  const auto value = line.find(key);
  if (value == line.end() || !value->is_number()) return std::nullopt;
  return value->get<double>();
}

Curve curve_of(const std::vector<Metrics>& metrics, std::optional<double> Metrics::*value) {
  Curve curve;
  for (const Metrics& line : metrics) {
    const std::optional<double>& y = line.*value;
    if (y && std::isfinite(*y)) curve.emplace_back(static_cast<double>(line.step), *y);
  }
  return curve;
}

}  // namespace

std::vector<std::filesystem::path> training_directories(const std::filesystem::path& directory) {
  constexpr const char* k_metrics = "metrics.jsonl";
  if (std::filesystem::exists(directory / k_metrics)) return {directory};
  std::vector<std::filesystem::path> result;
  for (std::size_t k = 0;; ++k) {
    const std::filesystem::path fold = directory / ("fold-" + std::to_string(k));
    if (!std::filesystem::exists(fold / k_metrics)) return result;
    result.push_back(fold);
  }
}

std::vector<Metrics> read_metrics(const std::filesystem::path& directory) {
  std::istringstream stream(read_text(directory / "metrics.jsonl"));
  std::vector<Metrics> result;
  std::string text;
  while (std::getline(stream, text)) {
    const Json line = Json::parse(text, nullptr, false);
    if (!line.is_object()) continue;
    const std::optional<double> step = number_of(line, "step");
    if (!step) continue;
    Metrics metrics;
    metrics.step = static_cast<std::int64_t>(*step);
    metrics.loss = number_of(line, "loss");
    metrics.learning_rate = number_of(line, "learning_rate").value_or(0.0);
    metrics.validation_loss = number_of(line, "validation_loss");
    metrics.sigma = number_of(line, "sigma");
    metrics.adversary = number_of(line, "adversary");
    result.push_back(metrics);
  }
  return result;
}

Curve loss_curve(const std::vector<Metrics>& metrics) { return curve_of(metrics, &Metrics::loss); }

Curve validation_curve(const std::vector<Metrics>& metrics) {
  return curve_of(metrics, &Metrics::validation_loss);
}

Curve sigma_curve(const std::vector<Metrics>& metrics) {
  return curve_of(metrics, &Metrics::sigma);
}

}  // namespace slalom::experiment
