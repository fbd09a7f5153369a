// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/interval.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>
#include <string>
#include <utility>

#include "fit_state.hpp"
#include "profile_path.hpp"

namespace slalom {

namespace {

/// A rise of -2 log L below zero by more than this is a new minimum, not rounding.
constexpr double k_new_minimum = 1e-6;
constexpr double k_crossing_tolerance = 1e-9;
/// Of the value of a parameter beyond which the likelihood is zero.
constexpr double k_end_tolerance = 1e-8;
constexpr int k_most_fits = 60;

/// Conditional fits along one parameter, with the slope of the profile.
class Profile {
 public:
  Profile(Fitter& fitter, const FitResult& best, std::size_t parameter, const FitOptions& options)
      : fitter_(fitter),
        evaluator_(fitter.model()),
        options_(options),
        parameter_(parameter),
        best_(best),
        gradient_(fitter.model().n_parameters()) {
    evaluator_.set_data(fitter.data());
    options_.fixed.emplace_back(parameter, 0.0);
    last_ = best;
  }

  /// Fits with the parameter at `value`, from the last fit or, where that fails, from the start of
  /// the options. Other minima are looked for at the first point, and where it is asked for.
  const FitResult& at(double value, bool search) {
    FitOptions near = options_;
    near.fixed.back().second = value;
    near.init = last_.parameters;
    near.warm_start = true;
    near.search_minima = options_.search_minima && (search || !begun_);
    const auto first = begun_ ? detail::FirstFactor::last : detail::FirstFactor::none;
    FitResult result = detail::run_fit(fitter_, near, first);
    searched_ = near.search_minima;
    begun_ = true;
    if (!result.converged()) {
      options_.fixed.back().second = value;
      FitResult again = fitter_.fit(options_);
      searched_ = options_.search_minima;
      if (again.converged()) result = std::move(again);
    }
    infeasible_ = result.status == FitStatus::infeasible;
    if (!infeasible_) last_ = std::move(result);
    converged_ = !infeasible_ && last_.converged() && last_.parameters[parameter_] == value;
    return last_;
  }

  /// Whether other minima have been looked for at the last point as the options want it.
  bool searched() const { return searched_ || !options_.search_minima; }

  /// Rise of -2 log L above the best fit at the last point.
  double rise() const { return last_.twice_nll - best_.twice_nll; }
  /// Derivative of the rise with respect to the parameter: by the envelope theorem the partial one.
  double slope() {
    const bool at_end = !last_.empty_bins.empty();
    if (at_end) evaluator_.set_data(stationary_data(fitter_.model(), fitter_.data(), last_));
    evaluator_.logpdf(last_.parameters, gradient_);
    if (at_end) evaluator_.set_data(fitter_.data());
    return -2.0 * gradient_[parameter_];
  }
  bool converged() const { return converged_; }
  /// Whether the likelihood is zero at the last value, whatever the other parameters are.
  bool infeasible() const { return infeasible_; }

 private:
  Fitter& fitter_;
  Evaluator evaluator_;
  FitOptions options_;
  std::size_t parameter_;
  const FitResult& best_;
  FitResult last_;
  std::vector<double> gradient_;
  bool begun_ = false;
  bool searched_ = false;
  bool converged_ = true;
  bool infeasible_ = false;
};

/// Finds the crossing on one side. `bound` is the end of the allowed range on that side.
IntervalSide find_side(Profile& profile, double best, double error, double bound, double level) {
  IntervalSide side;
  const double direction = bound > best ? 1.0 : -1.0;
  const double target = std::sqrt(level);
  double inner = best;
  double outer = bound;
  bool has_outer = false;
  double next = best + direction * (error > 0.0 ? target * error : 0.1 * std::abs(bound - best));
  bool search = false;
  for (int fits = 0; fits < k_most_fits; ++fits) {
    const bool end = (next - bound) * direction >= 0.0;
    if (end) next = bound;
    profile.at(next, search);
    if (profile.infeasible()) {  // the likelihood ends on the way
      outer = next;
      has_outer = true;
      next = 0.5 * (inner + outer);
      if (std::abs(outer - inner) > k_end_tolerance * (1.0 + std::abs(inner))) continue;
      side.value = inner;
      side.at_bound = side.converged = true;
      side.message = "the likelihood ends at " + std::to_string(inner);
      return side;
    }
    if (!profile.converged()) {
      side.value = next;
      side.message = "the conditional fit at " + std::to_string(next) + " did not converge";
      return side;
    }
    const double rise = profile.rise();
    if (rise < -k_new_minimum) {
      side.value = next;
      side.message = "-2 log L is lower by " + std::to_string(-rise) + " at " +
                     std::to_string(next) + " than at the best fit";
      return side;
    }
    const double root = std::sqrt(std::max(rise, 0.0));
    const bool crossing = std::abs(rise - level) <= k_crossing_tolerance * (1.0 + level);
    if ((crossing || end) && !profile.searched()) {
      search = true;  // the same point again
      continue;
    }
    search = false;
    if (crossing) {
      side.value = next;
      side.converged = true;
      return side;
    }
    if (root < target) {
      if (end) {
        side.value = bound;
        side.at_bound = side.converged = true;
        return side;
      }
      inner = next;
    } else {
      outer = next;
      has_outer = true;
    }
    // Newton's method for the root of the rise, which is almost linear in the parameter.
    const double slope = root > 0.0 ? profile.slope() / (2.0 * root) : 0.0;
    double step = slope * direction > 0.0 ? (target - root) / slope : 0.0;
    // Never more than four times as far as the known part.
    const double farthest = best + 4.0 * (inner - best) + direction * 4.0 * std::abs(next - best);
    double candidate = next + step;
    const bool inside = (candidate - inner) * direction > 0.0 &&
                        (candidate - outer) * direction < 0.0 &&
                        (farthest - candidate) * direction > 0.0;
    if (!inside || step == 0.0) {
      candidate = has_outer ? 0.5 * (inner + outer) : best + 2.0 * (next - best);
    }
    if (std::abs(candidate - next) <= 1e-13 * (1.0 + std::abs(next))) {
      side.value = next;
      side.converged = std::abs(root - target) < 1e-4;
      if (!side.converged) side.message = "the profile jumps at " + std::to_string(next);
      return side;
    }
    next = candidate;
  }
  side.value = next;
  side.message = "no crossing was found";
  return side;
}

void check_parameter(const Model& model, std::size_t parameter) {
  if (parameter < model.n_parameters()) return;
  throw Error(ErrorKind::model, "no parameter has index " + std::to_string(parameter), "parameter");
}

/// Replaces the fit at a scan point if another start leads lower.
bool improve(Fitter& fitter, FitOptions options, const std::vector<double>& init, double value,
             bool warm, FitResult& fit) {
  options.init = init;
  options.warm_start = warm;
  options.fixed.back().second = value;
  FitResult candidate = fitter.fit(options);
  const bool lower = candidate.twice_nll < fit.twice_nll - k_new_minimum;
  const bool better = fit.parameters.empty() || (candidate.converged() && !fit.converged()) ||
                      (candidate.converged() && lower);
  if (better) fit = std::move(candidate);
  return better;
}

/// Whether neighbouring fits lie on one smooth curve: none differs from the line through its
/// neighbours by much, in units of pre-fit uncertainties.
bool smooth(const Model& model, const Scan& scan, const std::vector<std::size_t>& order) {
  constexpr double most = 0.3;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (!scan.fits[order[i]].converged()) return false;
    if (i < 2) continue;
    const std::vector<double>&a = scan.fits[order[i - 2]].parameters,
          &b = scan.fits[order[i - 1]].parameters, &c = scan.fits[order[i]].parameters;
    const double from = scan.values[order[i - 2]], to = scan.values[order[i]];
    if (from == to) continue;
    const double share = (scan.values[order[i - 1]] - from) / (to - from);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const double width = model.spec().parameters[j].prefit_uncertainty();
      const double off = b[j] - (a[j] + share * (c[j] - a[j]));
      if (width > 0.0 && std::abs(off) > most * width) return false;
    }
  }
  return true;
}

/// Conditional fits away from the best one, in the given order. A lower branch reaches over several
/// points: other minima are looked for at every other one and at the last, and what is found there
/// is followed back to the points between.
void scan_outwards(Fitter& fitter, const FitOptions& options, detail::ProfilePath path,
                   const std::vector<std::size_t>& order, Scan& scan) {
  FitOptions conditional = options;
  conditional.fixed.emplace_back(scan.parameter, 0.0);
  conditional.warm_start = true;
  std::size_t left = order.size();
  for (std::size_t i : order) {
    --left;
    conditional.search_minima = options.search_minima && left % 2 == 0;
    conditional.fixed.back().second = scan.values[i];
    conditional.init = path.predict(scan.values[i]);
    scan.fits[i] = detail::run_fit(fitter, conditional, detail::FirstFactor::held);
    if (!scan.fits[i].converged()) {
      improve(fitter, conditional, options.init, scan.values[i], false, scan.fits[i]);
    }
    if (scan.fits[i].converged()) path.add(scan.fits[i]);
  }
}

}  // namespace

Interval minos(Fitter& fitter, const FitResult& best, std::size_t parameter,
               const FitOptions& options, double level) {
  check_parameter(fitter.model(), parameter);
  if (!(level > 0.0)) throw Error(ErrorKind::model, "the level must be positive", "level");
  const Parameter& p = fitter.model().spec().parameters[parameter];
  const double value = best.parameters.at(parameter);
  double error = fitter.errors(best)[parameter];
  if (error == 0.0) error = p.prefit_uncertainty();
  Interval interval;
  for (IntervalSide* side : {&interval.lower, &interval.upper}) {
    const double bound = side == &interval.lower ? p.lower : p.upper;
    if (!best.converged()) {
      *side = {value, false, false, "the best fit did not converge"};
    } else if (value == bound || best.fixed[parameter]) {
      *side = {value, value == bound, true, ""};
    } else {
      Profile profile(fitter, best, parameter, options);
      *side = find_side(profile, value, error, bound, level);
    }
  }
  return interval;
}

namespace {

/// A free fit from where the conditional fit at one end of an interval is, if that is below `best`.
bool improve_best(Fitter& fitter, const IntervalSide& side, std::size_t parameter,
                  const FitOptions& options, FitResult& best) {
  FitOptions held = options;
  held.fixed.emplace_back(parameter, side.value);
  held.init = best.parameters;
  held.warm_start = true;
  const FitResult below = fitter.fit(held);
  if (!below.converged() || !(below.twice_nll < best.twice_nll - k_new_minimum)) return false;
  FitOptions free = options;
  free.init = below.parameters;
  FitResult better = fitter.fit(free);
  if (!better.converged() || !(better.twice_nll < best.twice_nll - k_new_minimum)) return false;
  best = std::move(better);
  return true;
}

}  // namespace

Interval profile_interval(Fitter& fitter, FitResult& best, std::size_t parameter,
                          const FitOptions& options, double level) {
  constexpr int k_most_restarts = 5;
  Interval interval = minos(fitter, best, parameter, options, level);
  for (int i = 0; i < k_most_restarts && best.converged(); ++i) {
    bool improved = false;
    for (const IntervalSide* side : {&interval.lower, &interval.upper}) {
      if (!side->converged && !improved) {
        improved = improve_best(fitter, *side, parameter, options, best);
      }
    }
    if (!improved) break;
    interval = minos(fitter, best, parameter, options, level);
  }
  return interval;
}

Scan profile_scan(Fitter& fitter, std::size_t parameter, const std::vector<double>& values,
                  const FitOptions& options) {
  check_parameter(fitter.model(), parameter);
  Scan scan;
  scan.parameter = parameter;
  scan.values = values;
  scan.best = fitter.fit(options);
  scan.fits.resize(values.size());
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  detail::keep_factor(fitter);
  const detail::ProfilePath path(fitter, scan.best, parameter);
  const auto middle = std::find_if(order.begin(), order.end(), [&](std::size_t i) {
    return values[i] >= scan.best.parameters[parameter];
  });
  scan_outwards(fitter, options, path, {middle, order.end()}, scan);
  scan_outwards(fitter, options, path, {std::reverse_iterator(middle), order.rend()}, scan);
  // Where two branches meet, each is followed past that point from its own side.
  if (!smooth(fitter.model(), scan, order)) {
    FitOptions conditional = options;
    conditional.fixed.emplace_back(parameter, 0.0);
    conditional.search_minima = false;
    for (std::size_t i = 0; i < order.size(); ++i) {
      const FitResult& below = i > 0 ? scan.fits[order[i - 1]] : scan.best;
      improve(fitter, conditional, below.parameters, values[order[i]], true, scan.fits[order[i]]);
    }
    for (std::size_t i = order.size(); i-- > 0;) {
      const FitResult& above = i + 1 < order.size() ? scan.fits[order[i + 1]] : scan.best;
      improve(fitter, conditional, above.parameters, values[order[i]], true, scan.fits[order[i]]);
    }
  }
  // A scan point below the best fit leads to a better one.
  for (std::size_t i : order) {
    if (!(scan.fits[i].converged() &&
          scan.fits[i].twice_nll < scan.best.twice_nll - k_new_minimum)) {
      continue;
    }
    FitOptions restart = options;
    restart.init = scan.fits[i].parameters;
    FitResult better = fitter.fit(restart);
    if (better.converged() && better.twice_nll < scan.best.twice_nll) scan.best = better;
  }
  for (const FitResult& fit : scan.fits) {
    scan.delta_twice_nll.push_back(fit.twice_nll - scan.best.twice_nll);
  }
  return scan;
}

}  // namespace slalom
