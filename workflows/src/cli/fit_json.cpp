// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "cli/csv.hpp"
#include "cli/fit_report.hpp"

namespace slalom::cli {

namespace {

OrderedJson parameter_json(const FitReport& report, std::size_t i) {
  const Parameter& parameter = report.spec().parameters[i];
  OrderedJson object;
  append(object, "value", finite(report.result.parameters[i], parameter.name));
  append(object, "error", finite(report.covariance.errors[i], parameter.name));
  append(object, "fixed", bool{report.result.fixed[i]});
  append(object, "at_bound", bool{report.result.at_bound[i]});
  append(object, "init", parameter.init);
  if (const auto& pull = report.pulls[i]) {
    append(object, "pull", finite(pull->pull, parameter.name));
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

/// Bins whose rate the end of the likelihood holds at zero.
OrderedJson empty_bins_json(const FitReport& report) {
  OrderedJson array = OrderedJson::array();
  for (const EmptyBin& empty : report.result.empty_bins) {
    for (const ChannelSpec& channel : report.spec().channels) {
      if (empty.bin < channel.first_bin || empty.bin >= channel.first_bin + channel.n_bins)
        continue;
      OrderedJson object;
      append(object, "channel", channel.name);
      append(object, "bin", empty.bin - channel.first_bin);
      append(object, "force", finite(empty.force, channel.name));
      array.push_back(std::move(object));
    }
  }
  return array;
}

OrderedJson goodness_json(const GoodnessOfFit& goodness) {
  OrderedJson object;
  append(object, "statistic", number_or_null(goodness.statistic));
  append(object, "degrees_of_freedom", goodness.degrees_of_freedom);
  append(object, "p_value", number_or_null(goodness.p_value));
  return object;
}

OrderedJson mixtures_json(const FitReport& report) {
  OrderedJson array = OrderedJson::array();
  for (const MixtureFitReport& m : report.mixtures) {
    OrderedJson object, weights, directions = OrderedJson::array();
    for (const FittedWeight& w : m.weights) {
      append(weights, w.simulation,
             {{"weight", finite(w.value, m.name)}, {"error", finite(w.error, m.name)}});
    }
    for (const FittedDirection& d : m.directions) {
      directions.push_back({{"parameter", d.parameter},
                            {"share", finite(d.share, d.parameter)},
                            {"pull", finite(d.pull, d.parameter)},
                            {"constraint", finite(d.constraint, d.parameter)}});
    }
    append(object, "name", m.name);
    append(object, "weights", std::move(weights));
    append(object, "weights_unique", m.complete);
    append(object, "directions", std::move(directions));
    append(object, "chi2", finite(m.chi2, m.name));
    append(object, "degrees_of_freedom", m.degrees);
    append(object, "p_value", finite(m.p_value, m.name));
    append(object, "chi2_prior", finite(m.chi2_prior, m.name));
    append(object, "narrowest", finite(m.narrowest, m.name));
    append(object, "channel", m.channel);
    append(object, "channel_part", finite(m.channel_part, m.name));
    append(object, "over_constrained", m.over_constrained);
    append(object, "outside", m.outside);
    array.push_back(std::move(object));
  }
  return array;
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
      row[j] = correlation_of(covariance, i, j);
    }
    matrix.push_back(number_array(row, "correlation"));
  }
  OrderedJson object;
  append(object, "names", std::move(names));
  append(object, "matrix", std::move(matrix));
  return object;
}

}  // namespace

double correlation_of(const Covariance& covariance, std::size_t i, std::size_t j) {
  if (i == j) return 1.0;
  const std::size_t n = covariance.parameters.size();
  // The upper triangle for both, so that the matrix is symmetric to the last bit.
  const auto [a, b] = std::minmax(i, j);
  const double variances = covariance.matrix[a * n + a] * covariance.matrix[b * n + b];
  return covariance.matrix[a * n + b] / std::sqrt(variances);
}

std::string fit_csv(const FitReport& report) {
  Csv csv({"name", "value", "error", "pull", "constraint", "minos_lower", "minos_upper", "fixed",
           "at_bound"});
  for (std::size_t i = 0; i < report.spec().parameters.size(); ++i) {
    std::optional<double> pull, constraint, lower, upper;
    if (report.pulls[i]) {
      pull = report.pulls[i]->pull;
      constraint = report.pulls[i]->constraint;
    }
    const auto interval = report.minos.find(i);
    if (interval != report.minos.end()) {
      lower = interval->second.lower.value;
      upper = interval->second.upper.value;
    }
    csv.row({csv_cell(report.spec().parameters[i].name), csv_cell(report.result.parameters[i]),
             csv_cell(report.covariance.errors[i]), csv_cell(pull), csv_cell(constraint),
             csv_cell(lower), csv_cell(upper), csv_flag(report.result.fixed[i]),
             csv_flag(report.result.at_bound[i])});
  }
  return csv.str();
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
  if (!result.empty_bins.empty()) append(document, "empty_bins", empty_bins_json(report));
  if (report.goodness) append(document, "goodness_of_fit", goodness_json(*report.goodness));
  if (!report.mixtures.empty()) append(document, "mixtures", mixtures_json(report));
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
