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

void check_floating(const Model& model, const FitResult& best, std::size_t target) {
  check_parameter(model, target);
  if (!best.fixed[target]) return;
  throw Error(ErrorKind::model, "the parameter is held: it has no uncertainty",
              model.spec().parameters[target].name);
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

/// Covariance of the target with every parameter [P]; 0 for those without an uncertainty.
std::vector<double> covariances_with(std::size_t target, const Covariance& covariance) {
  std::vector<double> result(covariance.errors.size(), 0.0);
  const std::vector<std::size_t>& list = covariance.parameters;
  const auto at = std::find(list.begin(), list.end(), target);
  if (at == list.end()) return result;
  const auto row = static_cast<std::size_t>(at - list.begin());
  for (std::size_t j = 0; j < list.size(); ++j) {
    result[list[j]] = covariance.matrix[row * list.size() + j];
  }
  return result;
}

/// d target / d auxiliary datum times the standard deviation of the datum, for every parameter [P].
/// Its square is C_tj^2 times the curvature of the constraint term, which is why they add up.
std::vector<double> global_impacts(const Model& model, std::span<const double> data,
                                   const FitResult& best, const std::vector<double>& shared) {
  std::vector<double> result(shared.size(), 0.0);
  const ModelSpec& spec = model.spec();
  for (std::size_t k = 0; k < spec.auxiliary.size(); ++k) {
    const std::size_t i = spec.auxiliary[k];
    const double datum = data[spec.n_bins() + k];
    const Parameter& p = spec.parameters[i];
    const bool counts = p.constraint == ConstraintType::poisson;
    const double scale = counts ? std::sqrt(datum) / best.parameters[i] : 1.0 / p.sigma;
    if (shared[i] != 0.0) result[i] = shared[i] * scale;
  }
  return result;
}

/// Linear forms of all parameters in the covariance but the target.
std::vector<Impact> linear_impacts(const Fitter& fitter, const FitResult& best,
                                   const Covariance& covariance, std::size_t target) {
  const std::vector<double> shared = covariances_with(target, covariance);
  const std::vector<double> global = global_impacts(fitter.model(), fitter.data(), best, shared);
  std::vector<Impact> result;
  for (const std::size_t i : covariance.parameters) {
    if (i == target) continue;
    Impact impact;
    impact.parameter = i;
    impact.linear_postfit = shared[i] / covariance.errors[i];
    impact.linear_global = global[i];
    impact.converged = true;
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
               const ImpactOptions& how, Impacts& result) {
  const std::size_t n = result.impacts.size();
  for (Impact& impact : result.impacts) {
    impact.converged = false;
    impact.message = "not reached";
  }
  const auto refit = [&](std::size_t i, Fitter& with) {
    Impact& impact = result.impacts[i];
    impact.converged = true;
    impact.message.clear();
    const double prefit = with.model().spec().parameters[impact.parameter].prefit_uncertainty();
    const double postfit = covariance.errors[impact.parameter];
    Refit moved(with, options, result.best, result.target);
    impact.prefit_up = moved.change(impact.parameter, prefit, impact);
    impact.prefit_down = moved.change(impact.parameter, -prefit, impact);
    impact.postfit_up = moved.change(impact.parameter, postfit, impact);
    impact.postfit_down = moved.change(impact.parameter, -postfit, impact);
  };
  if (how.threads == 1) {
    for (std::size_t i = 0; i < n; ++i) {
      refit(i, fitter);
      if (how.progress && !how.progress(i + 1, n)) return;
    }
    return;
  }
  const std::vector<double> data(fitter.data().begin(), fitter.data().end());
  const auto task = [&](std::size_t i, Fitter& with) {
    with.set_data(data);
    refit(i, with);
  };
  detail::parallel_fits(fitter.model(), n, how.threads, how.progress, task);
}

}  // namespace

std::vector<Pull> pulls(const Model& model, const FitResult& best,
                        const std::vector<double>& errors, std::optional<std::size_t> target,
                        std::span<const double> data) {
  const ModelSpec& spec = model.spec();
  if (!data.empty() && data.size() != model.n_bins() + model.n_auxiliary()) {
    throw Error(ErrorKind::model, "main and auxiliary data expected", "data");
  }
  std::vector<double> measured(model.n_parameters(), 0.0);
  for (std::size_t k = 0; k < spec.auxiliary.size(); ++k) {
    const std::size_t i = spec.auxiliary[k];
    measured[i] = data.empty() ? spec.parameters[i].auxdata : data[spec.n_bins() + k];
  }
  std::vector<Pull> result;
  for (std::size_t i = 0; i < model.n_parameters(); ++i) {
    if (i == target || best.fixed[i]) continue;
    const Parameter& p = spec.parameters[i];
    Pull pull{i, best.parameters[i], errors[i], 0.0, 0.0};
    const double prefit = p.prefit_uncertainty();
    if (prefit > 0.0) {
      const bool counts = p.constraint == ConstraintType::poisson;
      const double centre = counts ? measured[i] / p.tau : measured[i];
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
  check_floating(fitter.model(), result.best, target);
  result.value = result.best.parameters[target];
  const Covariance covariance = fitter.covariance(result.best);
  if (!result.best.converged() || !covariance.valid) {
    result.message = result.best.converged() ? "the Hessian at the best fit is not positive"
                                             : "the free fit: " + result.best.message;
    return result;
  }
  result.error = covariance.errors[target];
  result.errors = covariance.errors;
  result.impacts = linear_impacts(fitter, result.best, covariance, target);
  if (how.refit) refit_all(fitter, options, covariance, how, result);
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

double quadratic_difference(double total, double part) {
  return std::sqrt(std::max(0.0, (total - part) * (total + part)));
}

/// Uncertainties of one parameter with others held at a best fit.
class Freezer {
 public:
  Freezer(Fitter& fitter, const FitResult& best, std::size_t target)
      : fitter_(fitter), best_(best), target_(target) {}

  /// 0 if there is no uncertainty; says then why.
  double error(const std::vector<std::size_t>& held, const std::string& what) {
    FitResult fit = best_;
    for (const std::size_t i : held) {
      check_parameter(fitter_.model(), i);
      if (i != target_) fit.fixed[i] = true;
    }
    const double error = fitter_.errors(fit)[target_];
    if (!(error > 0.0) && message.empty()) message = "no uncertainty with " + what;
    return error;
  }

  std::string message;

 private:
  Fitter& fitter_;
  const FitResult& best_;
  std::size_t target_;
};

void add_global(Fitter& fitter, const FitResult& best, std::size_t target,
                const std::vector<ParameterGroup>& groups, UncertaintyBreakdown& result) {
  const std::vector<double> shared = covariances_with(target, fitter.covariance(best));
  std::vector<double> global = global_impacts(fitter.model(), fitter.data(), best, shared);
  global[target] = 0.0;  // the target's own constraint is not a nuisance parameter's
  double sum = 0.0;
  for (const double part : global) sum += part * part;
  result.data = quadratic_difference(result.total, std::sqrt(sum));
  for (std::size_t g = 0; g < groups.size(); ++g) {
    double square = 0.0;
    for (const std::size_t i : groups[g].parameters) square += global[i] * global[i];
    result.groups[g].global = std::sqrt(square);
  }
}

}  // namespace

UncertaintyBreakdown uncertainty_breakdown(Fitter& fitter, const FitResult& best,
                                           std::size_t target,
                                           const std::vector<ParameterGroup>& groups) {
  check_floating(fitter.model(), best, target);
  Freezer freezer(fitter, best, target);
  UncertaintyBreakdown result;
  result.total = freezer.error({}, "everything floating");
  result.statistical =
      freezer.error(fitter.model().spec().auxiliary, "all constrained parameters held");
  result.systematic = quadratic_difference(result.total, result.statistical);
  std::vector<std::size_t> held;
  double before = result.total;
  for (const ParameterGroup& group : groups) {
    GroupContribution part{group.name};
    part.frozen_error = freezer.error(group.parameters, "group '" + group.name + "' held");
    part.contribution = quadratic_difference(result.total, part.frozen_error);
    held.insert(held.end(), group.parameters.begin(), group.parameters.end());
    const double after = freezer.error(held, "the groups up to '" + group.name + "' held");
    part.cumulative = quadratic_difference(before, after);
    before = after;
    result.groups.push_back(std::move(part));
  }
  result.rest = before;
  result.message = best.converged() ? freezer.message : "the fit: " + best.message;
  result.valid = result.message.empty();
  if (result.valid) add_global(fitter, best, target, groups, result);
  return result;
}

}  // namespace slalom
