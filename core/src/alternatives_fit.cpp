// SPDX-License-Identifier: Apache-2.0
#include <Eigen/Dense>
#include <algorithm>
#include <boost/math/special_functions/gamma.hpp>
#include <cmath>
#include <cstdio>

#include "slalom/core/alternatives.hpp"
#include "text.hpp"

namespace slalom {

namespace {

using detail::in_quotes;
using Matrix = Eigen::MatrixXd;
using Vector = Eigen::VectorXd;

/// Combinations of which data take away a smaller part of the prior's variance are not tested.
constexpr double k_least_measured = 0.1;
/// Errors below 0 of a weight that are not explained by the fit's own errors.
constexpr double k_outside = 2.0;

Eigen::Index index(std::size_t i) { return static_cast<Eigen::Index>(i); }

std::string brief(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2g", value);
  return text;
}

/// The parameters of one mixture in a fit.
struct Block {
  std::vector<std::size_t> parameters{};  // of the model [D]
  Vector width, pull;                     // of the prior; of the fit [D]
  Matrix posterior{};                     // covariance in units of the prior's widths [D * D]
  std::vector<std::size_t> floating{};    // those with an error
};

Block block_of(const SampleMixture& mixture, const Model& model, const std::vector<double>& data,
               const FitResult& fit, const Covariance& covariance) {
  const ModelSpec& spec = model.spec();
  const std::size_t n = mixture.directions.size();
  Block block;
  block.width.resize(index(n));
  block.pull.resize(index(n));
  block.posterior = Matrix::Zero(index(n), index(n));
  std::vector<std::size_t> row(n, covariance.parameters.size());
  for (std::size_t d = 0; d < n; ++d) {
    const std::string& name = mixture.directions[d].parameter;
    const auto at = spec.find(name);
    if (!at || spec.parameters[*at].constraint != ConstraintType::gaussian) {
      throw Error(ErrorKind::model, "there is no parameter with a Gaussian constraint of that name",
                  name);
    }
    block.parameters.push_back(*at);
    const Parameter& p = spec.parameters[*at];
    const auto auxiliary = std::find(spec.auxiliary.begin(), spec.auxiliary.end(), *at);
    const auto place =
        model.n_bins() + static_cast<std::size_t>(auxiliary - spec.auxiliary.begin());
    block.width[index(d)] = p.sigma;
    block.pull[index(d)] = (fit.parameters.at(*at) - data.at(place)) / p.sigma;
    if (!covariance.valid || covariance.matrix.empty()) continue;
    const auto found = std::find(covariance.parameters.begin(), covariance.parameters.end(), *at);
    if (found == covariance.parameters.end()) continue;
    row[d] = static_cast<std::size_t>(found - covariance.parameters.begin());
    block.floating.push_back(d);
  }
  for (const std::size_t i : block.floating) {
    for (const std::size_t j : block.floating) {
      block.posterior(index(i), index(j)) =
          covariance.matrix[row[i] * covariance.parameters.size() + row[j]] /
          (block.width[index(i)] * block.width[index(j)]);
    }
  }
  return block;
}

/// Which channel tells most about a combination of the parameters, and its part of the information.
/// Yields are linear in the parameters, so that a difference is the derivative.
std::pair<std::string, double> teller(const Block& block, const Vector& along, const Model& model,
                                      const FitResult& fit) {
  std::vector<double> at = fit.parameters;
  const std::vector<double> here = model.expected_data(at, false);
  constexpr double step = 1e-3;  // of a width: nothing is below 0 that was not
  for (std::size_t d = 0; d < block.parameters.size(); ++d) {
    at[block.parameters[d]] += step * along[index(d)] * block.width[index(d)];
  }
  const std::vector<double> there = model.expected_data(at, false);
  std::string name;
  double most = 0.0, all = 0.0;
  for (const ChannelSpec& channel : model.spec().channels) {
    double information = 0.0;
    for (std::size_t b = channel.first_bin; b < channel.first_bin + channel.n_bins; ++b) {
      const double difference = (there[b] - here[b]) / step;
      if (here[b] > 0.0) information += difference * difference / here[b];
    }
    all += information;
    if (information <= most) continue;
    most = information;
    name = channel.name;
  }
  return {name, all > 0.0 ? most / all : 0.0};
}

void add_weights(const SampleMixture& mixture, const Block& block, const FitResult& fit,
                 MixtureFitReport& report) {
  const std::size_t n = mixture.directions.size();
  for (std::size_t k = 0; k < mixture.simulations.size(); ++k) {
    FittedWeight weight{mixture.simulations[k], mixture.base[k], 0.0};
    Vector slope = Vector::Zero(index(n));
    for (std::size_t d = 0; d < n; ++d) {
      const double m = mixture.directions[d].weights[k];
      weight.value += m * fit.parameters[block.parameters[d]];
      slope[index(d)] = m * block.width[index(d)];
    }
    weight.error = std::sqrt(std::max(0.0, slope.dot(block.posterior * slope)));
    report.weights.push_back(std::move(weight));
  }
}

void test_pulls(const Block& block, const Model& model, const FitResult& fit,
                MixtureFitReport& report) {
  const std::vector<Eigen::Index> used(block.floating.begin(), block.floating.end());
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(Matrix(block.posterior(used, used)));
  const Vector along = solver.eigenvectors().transpose() * Vector(block.pull(used));
  for (Eigen::Index i = 0; i < along.size(); ++i) {
    const double measured = 1.0 - solver.eigenvalues()[i];
    if (measured < k_least_measured) continue;
    report.chi2 += along[i] * along[i] / measured;
    ++report.degrees;
  }
  if (report.degrees > 0) {
    report.p_value =
        boost::math::gamma_q(0.5 * static_cast<double>(report.degrees), 0.5 * report.chi2);
  }
  report.narrowest = std::sqrt(std::max(0.0, solver.eigenvalues()[0]));
  report.over_constrained = report.narrowest < k_over_constraint;
  Vector combination = Vector::Zero(block.pull.size());
  combination(used) = solver.eigenvectors().col(0);
  std::tie(report.channel, report.channel_part) = teller(block, combination, model, fit);
}

void warn(const MixtureFitReport& r, Warnings& warnings) {
  if (r.over_constrained) {
    warnings.push_back({"the data know a combination of simulations to " + brief(r.narrowest) +
                            " of the prior's width, " + brief(100.0 * r.channel_part) +
                            " % of it from channel " + in_quotes(r.channel) +
                            ": the result relies on the truth being a mixture of these simulations",
                        r.name});
  }
  for (const FittedWeight& w : r.weights) {
    if (!r.outside || !(w.value < -k_outside * w.error)) continue;
    warnings.push_back({"the best fit is outside of the simulations: weight " + brief(w.value) +
                            " +- " + brief(w.error) + " of " + in_quotes(w.simulation),
                        r.name});
  }
  if (r.p_value < k_least_pull_p_value) {
    warnings.push_back(
        {"the pulls are larger than the prior explains: chi2 " + brief(r.chi2) + " for " +
             std::to_string(r.degrees) + (r.degrees == 1 ? " degree" : " degrees") +
             " of freedom, p = " + brief(r.p_value) + "; the truth is not like the simulations",
         r.name});
  }
}

}  // namespace

std::vector<MixtureFitReport> mixture_report(const std::vector<SampleMixture>& mixtures,
                                             const Model& model, const std::vector<double>& data,
                                             const FitResult& fit, const Covariance& covariance,
                                             Warnings* warnings) {
  if (data.size() != model.n_bins() + model.n_auxiliary()) {
    throw Error(ErrorKind::model, "other data than those of the model", "mixture report");
  }
  std::vector<MixtureFitReport> result;
  for (const SampleMixture& mixture : mixtures) {
    const Block block = block_of(mixture, model, data, fit, covariance);
    MixtureFitReport report;
    report.name = mixture.name;
    report.complete = mixture.complete;
    for (std::size_t d = 0; d < mixture.directions.size(); ++d) {
      const Eigen::Index i = index(d);
      report.directions.push_back({mixture.directions[d].parameter, mixture.directions[d].share,
                                   block.pull[i], std::sqrt(std::max(0.0, block.posterior(i, i)))});
    }
    add_weights(mixture, block, fit, report);
    report.chi2_prior = block.pull.squaredNorm();
    if (!block.floating.empty()) {
      test_pulls(block, model, fit, report);
      report.outside = std::any_of(
          report.weights.begin(), report.weights.end(),
          [](const FittedWeight& w) { return w.value < -k_outside * w.error && w.value < -1e-9; });
    }
    if (warnings != nullptr) warn(report, *warnings);
    result.push_back(std::move(report));
  }
  return result;
}

}  // namespace slalom
