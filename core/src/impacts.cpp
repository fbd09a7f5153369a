// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/impacts.hpp"

#include <algorithm>
#include <cmath>

#include "parallel_fits.hpp"

namespace slalom {

namespace {

void check_parameter(const Model& model, std::size_t parameter) {
  if (parameter < model.n_parameters()) return;
  throw Error(ErrorKind::model, "no parameter has index " + std::to_string(parameter), "parameter");
}

/// Best fit of the target with one parameter moved and held.
class Refit {
 public:
  Refit(Fitter& fitter, const FitOptions& options, const FitResult& best, std::size_t target)
      : fitter_(fitter), options_(options), best_(best), target_(target) {
    options_.init = best.parameters;
    options_.warm_start = true;
    options_.fixed.emplace_back(0, 0.0);
  }

  /// Change of the target when `parameter` moves by `shift`; notes a failure in `impact`.
  double change(std::size_t parameter, double shift, Impact& impact) {
    if (shift == 0.0) return 0.0;
    const Parameter& p = fitter_.model().spec().parameters[parameter];
    const double value = std::clamp(best_.parameters[parameter] + shift, p.lower, p.upper);
    options_.fixed.back() = {parameter, value};
    const FitResult fit = fitter_.fit(options_);
    if (!fit.converged()) {
      impact.converged = false;
      impact.message =
          "the fit with " + p.name + " = " + std::to_string(value) + ": " + fit.message;
    }
    return fit.parameters[target_] - best_.parameters[target_];
  }

 private:
  Fitter& fitter_;
  FitOptions options_;
  const FitResult& best_;
  std::size_t target_;
};

/// Linear forms of all parameters in the covariance but the target.
std::vector<Impact> linear_impacts(const Model& model, const FitResult& best,
                                   const Covariance& covariance, std::size_t target) {
  std::vector<Impact> result;
  const std::size_t n = covariance.parameters.size();
  const auto at = std::find(covariance.parameters.begin(), covariance.parameters.end(), target);
  const auto row = static_cast<std::size_t>(at - covariance.parameters.begin());
  for (std::size_t j = 0; j < n; ++j) {
    if (covariance.parameters[j] == target) continue;
    Impact impact;
    impact.parameter = covariance.parameters[j];
    impact.converged = true;
    const Parameter& p = model.spec().parameters[impact.parameter];
    const double shared = row < n ? covariance.matrix[row * n + j] : 0.0;
    impact.linear_postfit = shared / covariance.errors[impact.parameter];
    if (p.constraint == ConstraintType::gaussian) impact.linear_global = shared / p.sigma;
    if (p.constraint == ConstraintType::poisson) {
      // A datum of mean tau theta has the width sqrt(tau theta) and the effect shared / theta.
      const double theta = best.parameters[impact.parameter];
      impact.linear_global = shared * std::sqrt(p.tau / theta);
    }
    result.push_back(impact);
  }
  return result;
}

/// What the ranking is by.
double size_of(const Impact& impact, bool refit) {
  return refit ? std::max(std::abs(impact.postfit_up), std::abs(impact.postfit_down))
               : std::abs(impact.linear_postfit);
}

void refit_all(Fitter& fitter, const FitOptions& options, const Covariance& covariance,
               std::size_t threads, Impacts& result) {
  const auto refit = [&](std::size_t i, Fitter& with) {
    Impact& impact = result.impacts[i];
    const double prefit = with.model().spec().parameters[impact.parameter].prefit_uncertainty();
    const double postfit = covariance.errors[impact.parameter];
    Refit moved(with, options, result.best, result.target);
    impact.prefit_up = moved.change(impact.parameter, prefit, impact);
    impact.prefit_down = moved.change(impact.parameter, -prefit, impact);
    impact.postfit_up = moved.change(impact.parameter, postfit, impact);
    impact.postfit_down = moved.change(impact.parameter, -postfit, impact);
  };
  if (threads == 1) {
    for (std::size_t i = 0; i < result.impacts.size(); ++i) refit(i, fitter);
    return;
  }
  const std::vector<double> data(fitter.data().begin(), fitter.data().end());
  const auto task = [&](std::size_t i, Fitter& with) {
    with.set_data(data);
    refit(i, with);
  };
  detail::parallel_fits(fitter.model(), result.impacts.size(), threads, {}, task);
}

}  // namespace

std::vector<Pull> pulls(const Model& model, const FitResult& best,
                        const std::vector<double>& errors, std::size_t target) {
  std::vector<Pull> result;
  for (std::size_t i = 0; i < model.n_parameters(); ++i) {
    if (i == target || best.fixed[i]) continue;
    const Parameter& p = model.spec().parameters[i];
    Pull pull{i, best.parameters[i], errors[i], 0.0, 0.0};
    const double prefit = p.prefit_uncertainty();
    if (prefit > 0.0) {
      const double centre = p.constraint == ConstraintType::poisson ? p.auxdata / p.tau : p.auxdata;
      pull.pull = (pull.value - centre) / prefit;
      pull.constraint = pull.error / prefit;
    }
    result.push_back(pull);
  }
  return result;
}

Impacts impacts(Fitter& fitter, std::size_t target, const FitOptions& options,
                const ImpactOptions& how) {
  check_parameter(fitter.model(), target);
  Impacts result;
  result.target = target;
  result.best = fitter.fit(options);
  if (result.best.fixed[target]) {
    throw Error(ErrorKind::model, "impacts on a parameter that is held",
                fitter.model().spec().parameters[target].name);
  }
  result.value = result.best.parameters[target];
  const Covariance covariance = fitter.covariance(result.best);
  if (!result.best.converged() || !covariance.valid) {
    result.message = result.best.converged() ? "the Hessian at the best fit is not positive"
                                             : "the free fit: " + result.best.message;
    return result;
  }
  result.error = covariance.errors[target];
  result.impacts = linear_impacts(fitter.model(), result.best, covariance, target);
  if (how.refit) refit_all(fitter, options, covariance, how.threads, result);
  result.converged = true;
  for (const Impact& impact : result.impacts) {
    if (impact.converged) continue;
    result.converged = false;
    if (result.message.empty()) result.message = impact.message;
  }
  std::stable_sort(result.impacts.begin(), result.impacts.end(),
                   [&](const Impact& a, const Impact& b) {
                     return size_of(a, how.refit) > size_of(b, how.refit);
                   });
  return result;
}

namespace {

/// Uncertainty of the target with some parameters held at the best fit; < 0 if there is none.
double frozen_error(Fitter& fitter, FitResult best, std::size_t target,
                    const std::vector<std::size_t>& held) {
  for (std::size_t i : held) {
    check_parameter(fitter.model(), i);
    if (i != target) best.fixed[i] = true;
  }
  const double error = fitter.errors(best)[target];
  return error > 0.0 ? error : -1.0;
}

double quadratic_difference(double total, double part) {
  return std::sqrt(std::max(0.0, (total - part) * (total + part)));
}

}  // namespace

UncertaintyBreakdown uncertainty_breakdown(Fitter& fitter, const FitResult& best,
                                           std::size_t target,
                                           const std::vector<ParameterGroup>& groups) {
  check_parameter(fitter.model(), target);
  UncertaintyBreakdown result;
  result.total = frozen_error(fitter, best, target, {});
  result.statistical = frozen_error(fitter, best, target, fitter.model().spec().auxiliary);
  result.systematic = quadratic_difference(result.total, result.statistical);
  result.valid = best.converged() && result.total > 0.0 && result.statistical > 0.0;
  for (const ParameterGroup& group : groups) {
    const double frozen = frozen_error(fitter, best, target, group.parameters);
    result.valid = result.valid && frozen > 0.0;
    result.groups.push_back({group.name, quadratic_difference(result.total, frozen), frozen});
  }
  return result;
}

}  // namespace slalom
