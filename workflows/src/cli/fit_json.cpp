// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "cli/fit_report.hpp"

namespace slalom::cli {

namespace {

/// Diagnostics of a fit that failed may be undefined.
OrderedJson number_or_null(double value) {
  return std::isfinite(value) ? OrderedJson(value) : OrderedJson(nullptr);
}

OrderedJson parameter_json(const FitReport& report, std::size_t i) {
  const Parameter& parameter = report.spec().parameters[i];
  OrderedJson object;
  append(object, "value", finite(report.result.parameters[i], parameter.name));
  append(object, "error", finite(report.covariance.errors[i], parameter.name));
  append(object, "fixed", bool{report.result.fixed[i]});
  append(object, "at_bound", bool{report.result.at_bound[i]});
  append(object, "init", parameter.init);
  if (const auto& pull = report.pulls[i]) {
    append(object, "pull", finite(pull->value, parameter.name));
    append(object, "constraint", finite(pull->constraint, parameter.name));
  }
  const auto interval = report.minos.find(i);
  if (interval != report.minos.end()) {
    const auto& [lower, upper] = interval->second;
    append(object, "minos", number_array(std::vector{lower.value, upper.value}, parameter.name));
    append(object, "minos_at_bound", OrderedJson{lower.at_bound, upper.at_bound});
    append(object, "minos_converged", lower.converged && upper.converged);
  }
  return object;
}

OrderedJson parameters_json(const FitReport& report) {
  OrderedJson object = OrderedJson::object();
  for (std::size_t i = 0; i < report.spec().parameters.size(); ++i) {
    append(object, report.spec().parameters[i].name, parameter_json(report, i));
  }
  return object;
}

OrderedJson correlation_json(const FitReport& report) {
  const Covariance& covariance = report.covariance;
  const std::size_t n = covariance.parameters.size();
  OrderedJson names = OrderedJson::array();
  OrderedJson matrix = OrderedJson::array();
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t parameter = covariance.parameters[i];
    names.push_back(report.spec().parameters[parameter].name);
    std::vector<double> row(n);
    for (std::size_t j = 0; j < n; ++j) {
      // The upper triangle for both, so that the matrix is symmetric to the last bit.
      const auto [a, b] = std::minmax(i, j);
      const double variances = covariance.matrix[a * n + a] * covariance.matrix[b * n + b];
      row[j] = i == j ? 1.0 : covariance.matrix[a * n + b] / std::sqrt(variances);
    }
    matrix.push_back(number_array(row, "correlation"));
  }
  OrderedJson object;
  append(object, "names", std::move(names));
  append(object, "matrix", std::move(matrix));
  return object;
}

}  // namespace

std::vector<std::optional<Pull>> pulls_of(const LoadedModel& loaded, const FitResult& result,
                                          const std::vector<double>& errors) {
  const ModelSpec& spec = loaded.spec();
  std::vector<std::optional<Pull>> pulls(spec.parameters.size());
  for (std::size_t k = 0; k < spec.auxiliary.size(); ++k) {
    const std::size_t i = spec.auxiliary[k];
    const Parameter& parameter = spec.parameters[i];
    const double measured = loaded.data[spec.n_bins() + k];
    const bool counts = parameter.constraint == ConstraintType::poisson;
    const double centre = counts ? measured / parameter.tau : measured;
    const double sigma = parameter.prefit_uncertainty();
    pulls[i] = Pull{(result.parameters[i] - centre) / sigma, errors[i] / sigma};
  }
  return pulls;
}

OrderedJson fit_json(const FitReport& report) {
  const FitResult& result = report.result;
  const ModelSpec& spec = report.spec();
  OrderedJson document;
  append(document, "converged", result.converged());
  append(document, "message", result.message);
  append(document, "status", to_string(result.status));
  append(document, "twice_nll", number_or_null(result.twice_nll));
  append(document, "parameters", parameters_json(report));
  if (report.covariance.valid && !report.covariance.matrix.empty()) {
    append(document, "correlation", correlation_json(report));
  }
  append(document, "iterations", result.iterations);
  append(document, "evaluations", result.evaluations);
  append(document, "kkt_residual", number_or_null(result.kkt_residual));
  append(document, "edm", number_or_null(result.edm));
  append(document, "smallest_eigenvalue", number_or_null(result.smallest_eigenvalue));
  append(document, "starts", result.starts);
  append(document, "measurement", report.loaded.measurement);
  append(document, "poi",
         spec.poi ? OrderedJson(spec.parameters[*spec.poi].name) : OrderedJson(nullptr));
  return document;
}

}  // namespace slalom::cli
