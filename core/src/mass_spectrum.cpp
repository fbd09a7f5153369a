// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/mass_spectrum.hpp"

#include <algorithm>
#include <boost/math/special_functions/beta.hpp>
#include <cmath>
#include <utility>

#include "slalom/core/error.hpp"
#include "spectrum_likelihood.hpp"
#include "spectrum_terms.hpp"

namespace slalom {

namespace {

/// Pieces into which an integral between any two masses is cut.
constexpr int k_pieces = 16;

[[noreturn]] void refuse(const std::string& what, const std::string& where) {
  throw Error(ErrorKind::usage, what, where);
}

detail::SpectrumTerms terms_of(const SpectrumFit& fit) {
  return {fit.family, fit.parameters.size(), fit.sqrt_s, fit.edges.front(), fit.edges.back()};
}

double density_of(const SpectrumFit& fit, const Eigen::RowVectorXd& terms) {
  double sum = 0.0;
  for (std::size_t k = 0; k < fit.parameters.size(); ++k) {
    sum += fit.parameters[k] * terms[static_cast<Eigen::Index>(k)];
  }
  return std::exp(sum);
}

void check_mass(const SpectrumFit& fit, double mass) {
  if (!(mass >= fit.edges.front() && mass <= fit.edges.back())) {
    refuse("the mass " + std::to_string(mass) + " is outside of the spectrum", "mass");
  }
}

/// P(F > f) of 1 and d degrees of freedom.
double f_above(double f, double d) {
  return boost::math::ibeta(0.5 * d, 0.5, d / (d + std::max(0.0, f)));
}

OrderStep compare(const SpectrumFit& small, const SpectrumFit& large) {
  OrderStep step;
  step.parameters = large.parameters.size();
  step.likelihood_ratio = std::max(0.0, small.deviance - large.deviance);
  step.p_value = detail::chi2_above(step.likelihood_ratio, 1);
  if (large.degrees_of_freedom > 0 && large.chi2 > 0.0) {
    const auto d = static_cast<double>(large.degrees_of_freedom);
    step.f = std::max(0.0, small.chi2 - large.chi2) / (large.chi2 / d);
    step.f_p_value = f_above(step.f, d);
  }
  return step;
}

void require_converged(const SpectrumFit& fit) {
  if (fit.converged()) return;
  throw Error(ErrorKind::numerical,
              "the fit of " + std::to_string(fit.parameters.size()) +
                  " parameters did not converge: " + fit.message,
              "choose_order");
}

}  // namespace

const char* to_string(SpectrumFamily family) {
  return family == SpectrumFamily::dijet ? "dijet" : "exponential_polynomial";
}

double SpectrumFit::density(double mass) const {
  check_mass(*this, mass);
  return density_of(*this, terms_of(*this).at(mass));
}

SpectrumEstimate SpectrumFit::between(double low, double high) const {
  check_mass(*this, low);
  check_mass(*this, high);
  if (low > high) refuse("the lower mass is above the upper one", "mass");
  const detail::SpectrumTerms terms = terms_of(*this);
  SpectrumEstimate result;
  const auto k = static_cast<Eigen::Index>(parameters.size());
  Eigen::VectorXd gradient = Eigen::VectorXd::Zero(k);
  const double half = 0.5 * (high - low) / k_pieces;
  for (int piece = 0; piece < k_pieces; ++piece) {
    const double centre = low + half * (2.0 * piece + 1.0);
    for (std::size_t i = 0; i < detail::k_gauss_nodes.size(); ++i) {
      const Eigen::RowVectorXd at = terms.at(centre + half * detail::k_gauss_nodes[i]);
      const double part = half * detail::k_gauss_weights[i] * density_of(*this, at);
      result.value += part;
      gradient += part * at.transpose();
    }
  }
  if (!covariance.empty()) {
    const Eigen::Map<const Eigen::MatrixXd> matrix(covariance.data(), k, k);
    result.error = std::sqrt(std::max(0.0, gradient.dot(matrix * gradient)));
  }
  return result;
}

SpectrumFit fit_spectrum(std::span<const double> edges, std::span<const double> counts,
                         const SpectrumOptions& options) {
  const detail::SpectrumBasis basis(edges, options);
  detail::check_counts(basis, counts);
  const std::vector<bool> use = detail::outside(edges, options.blinded);
  const std::vector<detail::BinRange> groups = detail::single_bins(use);
  const std::vector<double> grouped = detail::grouped(groups, counts);
  detail::check_groups(basis, groups, grouped);
  return detail::describe(basis, groups, counts,
                          detail::fit_groups(basis, groups, grouped, {}, basis.start(counts, use)));
}

SpectrumOrder choose_order(std::span<const double> edges, std::span<const double> counts,
                           const SpectrumOptions& options, std::size_t most, OrderTest test,
                           double threshold) {
  if (!(threshold > 0.0 && threshold < 1.0)) refuse("must be between 0 and 1", "threshold");
  if (most < options.parameters) refuse("is below the number to begin with", "most");
  SpectrumOrder result;
  result.fit = fit_spectrum(edges, counts, options);
  require_converged(result.fit);
  SpectrumOptions larger = options;
  while (larger.parameters < most) {
    ++larger.parameters;
    SpectrumFit next = fit_spectrum(edges, counts, larger);
    require_converged(next);
    result.steps.push_back(compare(result.fit, next));
    const OrderStep& step = result.steps.back();
    if ((test == OrderTest::f_test ? step.f_p_value : step.p_value) >= threshold) break;
    result.fit = std::move(next);
  }
  return result;
}

}  // namespace slalom
