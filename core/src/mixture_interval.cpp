// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/mixture_interval.hpp"

#include <algorithm>
#include <cmath>

#include "slalom/core/error.hpp"
#include "slalom/core/mixture_posterior.hpp"

namespace slalom {

namespace {

constexpr double k_68 = 0.682689492137086, k_95 = 0.95;
/// Normal quantile, and chi2 of one degree, of the central 95 %.
constexpr double k_z_95 = 1.959963984540054, k_rise_95 = 3.841458820694124;

/// Probability of the central interval of a posterior that ends where `below` of it is below.
double central_level(double below) { return std::clamp(std::abs(2.0 * below - 1.0), 0.0, 1.0); }

/// Part of the density, linear between the points of its grid, below a value.
double part_below(const KappaPosterior& posterior, double kappa) {
  const std::vector<double>&x = posterior.kappa, &p = posterior.density;
  double sum = 0.0;
  for (std::size_t i = 0; i + 1 < x.size() && x[i] < kappa; ++i) {
    const double h = x[i + 1] - x[i], part = std::min(1.0, (kappa - x[i]) / h);
    sum += h * part * (p[i] + 0.5 * part * (p[i + 1] - p[i]));
  }
  return std::clamp(sum, 0.0, 1.0);
}

void set_ends(const Interval& narrow, const Interval& wide, MixtureInterval& result) {
  result.lower = narrow.lower.value;
  result.upper = narrow.upper.value;
  result.lower_95 = wide.lower.value;
  result.upper_95 = wide.upper.value;
}

void symmetric(const MixtureFit& best, double error, std::optional<double> truth,
               MixtureInterval& result) {
  if (!(error > 0.0)) {
    result.message = "the fit has no error: kappa is at a bound, or a direction has no curvature";
    return;
  }
  result.error = error;
  result.lower = best.kappa() - error;
  result.upper = best.kappa() + error;
  result.lower_95 = best.kappa() - k_z_95 * error;
  result.upper_95 = best.kappa() + k_z_95 * error;
  if (truth) result.needed = std::erf(std::abs(best.kappa() - *truth) / error / std::sqrt(2.0));
  result.valid = true;
}

void by_profile(const TemplateMixture& mixture, const MixtureFit& best,
                const MixtureFitOptions& options, std::optional<double> truth,
                MixtureInterval& result) {
  const Interval narrow = profile_interval(mixture, best, options, 1.0),
                 wide = profile_interval(mixture, best, options, k_rise_95);
  for (const Interval* i : {&narrow, &wide}) {
    for (const IntervalSide* side : {&i->lower, &i->upper}) {
      if (side->converged) continue;
      result.message = side->message;
      return;
    }
  }
  set_ends(narrow, wide, result);
  result.error = 0.5 * (result.upper - result.lower);
  if (truth) {
    MixtureFitOptions held = options;
    held.init = best.parameters;
    held.init[0] = *truth;
    held.hold_kappa = true;
    const MixtureFit there = fit(mixture, held);
    if (!there.converged()) {
      result.message = "the fit at the truth failed: " + there.message;
      return;
    }
    result.needed = std::erf(std::sqrt(std::max(there.nll - best.nll, 0.0)));
  }
  result.valid = true;
}

void by_posterior(const KappaPosterior& posterior, std::optional<double> truth,
                  MixtureInterval& result) {
  result.kappa = posterior.mean;
  result.error = posterior.sigma;
  set_ends(posterior.central(k_68), posterior.central(k_95), result);
  if (truth) result.needed = central_level(part_below(posterior, *truth));
  result.valid = true;
}

void by_draws(const MixturePosterior& posterior, std::optional<double> truth,
              MixtureInterval& result) {
  result.kappa = posterior.kappa.mean;
  result.error = posterior.kappa.sigma;
  result.r_hat = posterior.kappa.r_hat;
  result.ess = posterior.kappa.ess;
  result.divergences = posterior.chains.divergences;
  set_ends(posterior.central(k_68), posterior.central(k_95), result);
  if (truth) {
    double below = 0.0, all = 0.0;
    for (std::size_t i = 0; i < posterior.samples.size(); i += posterior.dimension) {
      below += posterior.samples[i] < *truth ? 1.0 : 0.0;
      all += 1.0;
    }
    result.needed = central_level(below / all);
  }
  result.valid = true;
}

}  // namespace

const char* to_string(MixtureError error) {
  switch (error) {
    case MixtureError::laplace:
      return "laplace";
    case MixtureError::sandwich:
      return "sandwich";
    case MixtureError::profile:
      return "profile";
    case MixtureError::marginal:
      return "marginal";
    case MixtureError::hmc:
      return "hmc";
  }
  return "unknown";
}

MixtureInterval mixture_interval(const TemplateMixture& mixture, const MixtureFit& best,
                                 const MixtureIntervalOptions& options,
                                 std::optional<double> truth) {
  MixtureInterval result;
  // Chains need no minimum, only a place to start from.
  const bool usable = best.converged() || (options.error == MixtureError::hmc &&
                                           best.parameters.size() == mixture.size());
  if (!usable) {
    result.message = "the fit did not converge: " + best.message;
    return result;
  }
  result.kappa = best.kappa();
  try {
    switch (options.error) {
      case MixtureError::laplace:
        symmetric(best, best.laplace_error(), truth, result);
        break;
      case MixtureError::sandwich:
        symmetric(best, best.sandwich_error(), truth, result);
        break;
      case MixtureError::profile:
        by_profile(mixture, best, options.fit, truth, result);
        break;
      case MixtureError::marginal:
        by_posterior(kappa_posterior(mixture, best, options.fit, options.points, options.range),
                     truth, result);
        break;
      case MixtureError::hmc:
        by_draws(sample_posterior(mixture, best, options.fit, options.sampling), truth, result);
        break;
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::numerical) throw;
    result.message = error.what();
  }
  return result;
}

}  // namespace slalom
