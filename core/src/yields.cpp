// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/yields.hpp"

#include <boost/math/special_functions/gamma.hpp>
#include <cmath>

namespace slalom {

namespace {

/// Step of the derivatives in units of the error: far above rounding, and so small that the
/// curvature of the rates does not show.
constexpr double k_step = 1e-3;

/// Derivatives that are not zero: most parameters touch few bins.
struct SparseRow {
  std::vector<std::size_t> columns;
  std::vector<double> values;

  void add(std::size_t column, double value) {
    if (value == 0.0) return;
    columns.push_back(column);
    values.push_back(value);
  }
};

double error_of(const SparseRow& row, const Covariance& covariance) {
  const std::size_t n = covariance.parameters.size();
  double variance = 0.0;
  for (std::size_t i = 0; i < row.columns.size(); ++i) {
    const double* line = covariance.matrix.data() + row.columns[i] * n;
    double sum = 0.0;
    for (std::size_t j = 0; j < row.columns.size(); ++j)
      sum += line[row.columns[j]] * row.values[j];
    variance += row.values[i] * sum;
  }
  return std::sqrt(std::max(variance, 0.0));
}

/// Derivatives of all rates by one parameter.
std::vector<double> derivatives(Evaluator& evaluator, std::vector<double>& point,
                                std::size_t parameter, double error) {
  const std::size_t n_bins = evaluator.model().n_bins();
  const double centre = point[parameter];
  std::vector<double> up(n_bins);
  std::vector<double> down(n_bins);
  point[parameter] = centre + k_step * error;
  const double high = point[parameter];
  evaluator.expected_main(point, up);
  point[parameter] = centre - k_step * error;
  const double width = high - point[parameter];
  evaluator.expected_main(point, down);
  point[parameter] = centre;
  for (std::size_t bin = 0; bin < n_bins; ++bin) up[bin] = (up[bin] - down[bin]) / width;
  return up;
}

}  // namespace

RateErrors rate_errors(Evaluator& evaluator, std::span<const double> parameters,
                       const Covariance& covariance) {
  const auto& channels = evaluator.model().spec().channels;
  const std::size_t n_bins = evaluator.model().n_bins();
  RateErrors errors{std::vector<double>(n_bins, 0.0), std::vector<double>(channels.size(), 0.0)};
  const std::size_t n = covariance.parameters.size();
  if (!covariance.valid || covariance.matrix.size() != n * n) return errors;
  std::vector<SparseRow> bins(n_bins);
  std::vector<SparseRow> sums(channels.size());
  SparseRow total;
  std::vector<double> point(parameters.begin(), parameters.end());
  for (std::size_t i = 0; i < n; ++i) {
    const double error = std::sqrt(covariance.matrix[i * n + i]);
    const auto slopes = derivatives(evaluator, point, covariance.parameters[i], error);
    double all = 0.0;
    for (std::size_t c = 0; c < channels.size(); ++c) {
      double sum = 0.0;
      for (std::size_t k = 0; k < channels[c].n_bins; ++k) {
        const std::size_t bin = channels[c].first_bin + k;
        bins[bin].add(i, slopes[bin]);
        sum += slopes[bin];
      }
      sums[c].add(i, sum);
      all += sum;
    }
    total.add(i, all);
  }
  for (std::size_t bin = 0; bin < n_bins; ++bin) errors.bins[bin] = error_of(bins[bin], covariance);
  for (std::size_t c = 0; c < sums.size(); ++c) errors.channels[c] = error_of(sums[c], covariance);
  errors.total = error_of(total, covariance);
  return errors;
}

std::pair<double, double> poisson_interval(double count, double level) {
  const double tail = 0.5 * (1.0 - level);
  const double lower = count > 0.0 ? boost::math::gamma_p_inv(count, tail) : 0.0;
  return {lower, boost::math::gamma_q_inv(count + 1.0, tail)};
}

}  // namespace slalom
