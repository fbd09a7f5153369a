// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "slalom/core/fit.hpp"

/// \file
/// A smooth function fitted to the bins of a mass spectrum, B(m; p) = exp(sum_k p_k phi_k(m)):
/// dijets (1 - x)^p1 x^-(p2 + p3 ln x + ...), x = m / sqrt(s) (UA2, CDF: Phys. Rev. D 79 (2009)
/// 112002), or the exponential of a polynomial. Counts are Poisson, expectations are integrals over
/// the bins.
namespace slalom {

/// Families of functions; one with fewer parameters is a special case of one with more.
enum class SpectrumFamily {
  /// ln B = ln p0 + p1 ln(1 - x) - p2 ln x - p3 ln^2 x - p4 ln^3 x: 2 to 5 parameters, without the
  /// last ones for fewer (2: ln p0 and p1 only).
  dijet,
  /// ln B = p0 + p1 u + p2 u^2 + ...: 1 to 8 parameters; u is -1 at the lowest edge and 1 at the
  /// highest one.
  exponential_polynomial,
};

/// "dijet" or "exponential_polynomial".
const char* to_string(SpectrumFamily family);

/// A range of masses, in the unit of the edges.
struct MassWindow {
  double low = 0.0;   ///< lower end
  double high = 0.0;  ///< upper end, above the lower one
};

/// What is fitted to which bins.
struct SpectrumOptions {
  SpectrumFamily family = SpectrumFamily::dijet;  ///< kind of function
  std::size_t parameters = 4;                     ///< number of them, with the normalisation
  double sqrt_s = 13.0;  ///< energy of the collisions in the unit of the edges (dijet only)
  /// Ranges that are left out, such as a signal region. A bin whose centre is inside is left out.
  std::vector<MassWindow> blinded{};
  int max_iterations = 500;  ///< of the minimiser
};

/// A number and its standard deviation.
struct SpectrumEstimate {
  double value = 0.0;  ///< expected events
  double error = 0.0;  ///< from the covariance of the parameters
};

/// A fitted spectrum of B bins, K parameters. Look at `converged()` first.
struct SpectrumFit {
  FitStatus status = FitStatus::infeasible;       ///< of the minimisation
  std::string message{};                          ///< in words, for people
  SpectrumFamily family = SpectrumFamily::dijet;  ///< as asked for
  double sqrt_s = 13.0;                           ///< as asked for
  std::vector<double> edges{};                    ///< [B + 1]
  std::vector<double> parameters{};  ///< ln p0, p1, ... [K]; densities are per unit of mass
  std::vector<double> covariance{};  ///< of the parameters [K * K]; inverse of the exact Hessian
  std::vector<bool> fitted{};        ///< whether a bin took part [B]
  std::vector<double> expected{};    ///< events in all bins, also those left out [B]
  std::vector<double> error{};       ///< their uncertainty from the covariance [B]
  double deviance = 0.0;  ///< -2 ln of the likelihood ratio to the saturated model, fitted bins
  double chi2 = 0.0;      ///< Pearson's, fitted bins
  std::size_t bins = 0;   ///< that took part
  std::size_t degrees_of_freedom = 0;  ///< bins less parameters, or 0
  double p_value = 1.0;                ///< asymptotic, of the deviance; 1 for no degrees of freedom
  double chi2_p_value = 1.0;           ///< the same of chi2
  /// True if the result is a minimum to the tolerance.
  bool converged() const { return status == FitStatus::converged; }
  /// Expected events per unit of mass. \param mass within the edges \throws Error (usage)
  double density(double mass) const;
  /// Expected events between two masses within the edges. \throws Error (usage)
  SpectrumEstimate between(double low, double high) const;
};

/// Fits a function to a spectrum by maximum likelihood, from a least-squares start, with exact
/// derivatives.
/// \param edges of the bins, rising [B + 1]; for dijets within (0, sqrt_s)
/// \param counts of events, >= 0, integers or not (expected spectra) [B]
/// \throws Error (usage) for lengths, edges, counts, more parameters than bins or none of the
/// events in the bins that take part
SpectrumFit fit_spectrum(std::span<const double> edges, std::span<const double> counts,
                         const SpectrumOptions& options = {});

/// Whether one more parameter is worth having.
struct OrderStep {
  std::size_t parameters = 0;     ///< of the larger function
  double likelihood_ratio = 0.0;  ///< deviance of the smaller one less that of the larger, >= 0
  double p_value = 1.0;           ///< of the likelihood ratio: chi2 with one degree of freedom
  double f = 0.0;                 ///< Fisher's statistic of both chi2
  double f_p_value = 1.0;         ///< above it, F distribution of 1 and bins - parameters
};

/// Test that decides about the number of parameters.
enum class OrderTest {
  likelihood_ratio,  ///< difference of deviances
  f_test,            ///< ratio of the fall of chi2 to chi2 per degree of freedom
};

/// The number of parameters that data ask for.
struct SpectrumOrder {
  SpectrumFit fit{};               ///< the chosen one
  std::vector<OrderStep> steps{};  ///< all that were tried, smallest first
};

/// Adds parameters from `options.parameters` on as long as the next one is worth it.
/// \param most largest number of parameters
/// \param threshold p-value from which one more parameter is not worth it, in (0, 1)
/// \throws Error (usage) as fit_spectrum(); Error (numerical) if a fit does not converge
SpectrumOrder choose_order(std::span<const double> edges, std::span<const double> counts,
                           const SpectrumOptions& options, std::size_t most,
                           OrderTest test = OrderTest::likelihood_ratio, double threshold = 0.05);

}  // namespace slalom
