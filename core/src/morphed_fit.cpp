// SPDX-License-Identifier: Apache-2.0
#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

#include "rising_root.hpp"
#include "slalom/core/minimize.hpp"
#include "slalom/core/morphed_likelihood.hpp"

namespace slalom {

namespace {

constexpr double k_infinity = std::numeric_limits<double>::infinity();
/// A rise of -2 log L below zero by more than this is a new minimum, not rounding.
constexpr double k_new_minimum = 1e-6;
/// Places per nuisance parameter that a scan looks at, at least.
constexpr std::size_t k_scan_places = 16;
/// Curvature, in units of one over the square of the range, of a parameter that has no error: -log
/// L changes by less than half of this over the range.
constexpr double k_no_curvature = 1e-6;
/// Minimisations of one fit.
constexpr std::size_t k_most_starts = 5;
/// How near to a kink, relative to the range, a fit must have stalled to be at it.
constexpr double k_at_kink = 1e-7;
constexpr int k_most_kinks = 4;

[[noreturn]] void refuse(const std::string& what, const std::string& where) {
  throw Error(ErrorKind::model, what, where);
}

void check_index(const MorphedLikelihood& l, std::size_t parameter, const char* where) {
  if (parameter < l.parameters().size()) return;
  refuse("no parameter has index " + std::to_string(parameter), where);
}

/// Calls `action` for all effects in the channels.
template <class Action>
void for_effects(const MorphedLikelihood& l, const Action& action) {
  for (const MorphedChannel& c : l.channels()) {
    for (const auto* samples : {&c.samples, &c.integrals}) {
      for (const MorphedSample& s : *samples) {
        for (const MorphedEffect& e : s.effects) action(e);
      }
    }
    if (c.data_effect) action(*c.data_effect);
    if (c.reference) action(*c.reference);
  }
}

/// What a scan looks at: the points of all grids of a nuisance parameter, and some between them.
std::vector<double> scan_places(const MorphedLikelihood& l, std::size_t parameter) {
  const MorphedParameter& p = l.parameters()[parameter];
  std::vector<double> places = {p.low, p.high};
  for_effects(l, [&](const MorphedEffect& e) {
    if (1 + e.nuisance != parameter) return;
    for (double z : e.morphing.grid()) {
      if (z > p.low && z < p.high) places.push_back(z);
    }
  });
  std::sort(places.begin(), places.end());
  const double near = 1e-9 * (p.high - p.low);
  places.erase(
      std::unique(places.begin(), places.end(), [&](double a, double b) { return b - a <= near; }),
      places.end());
  while (places.size() < k_scan_places) {
    std::vector<double> finer;
    for (std::size_t i = 0; i + 1 < places.size(); ++i) {
      finer.push_back(places[i]);
      finer.push_back(0.5 * (places[i] + places[i + 1]));
    }
    finer.push_back(places.back());
    places = std::move(finer);
  }
  return places;
}

/// A place to start from, with -log L as far as it is known.
struct Start {
  std::vector<double> x;
  double nll = k_infinity;
};

/// One fit.
class Fit {
 public:
  Fit(const MorphedLikelihood& likelihood, const MorphedFitOptions& options)
      : l_(likelihood), options_(options), n_(likelihood.parameters().size()) {
    bounds_.tolerance = options.tolerance;
    bounds_.held.assign(n_, false);
    for (const MorphedParameter& p : l_.parameters()) {
      first_.x.push_back(p.init);
      bounds_.lower.push_back(p.low);
      bounds_.upper.push_back(p.high);
    }
    read_options();
  }

  MorphedFit run() {
    objective_ = [this](std::span<const double> x, std::span<double> g, std::span<double> h) {
      ++result_.evaluations;
      return l_.nll(x, g, h);
    };
    std::vector<Start> starts = {first_};
    if (options_.scan) add_starts(starts);
    std::optional<MinimizeResult> best;
    for (const Start& start : starts) {
      MinimizeResult found = minimize(objective_, start.x, bounds_);
      if (found.status == FitStatus::stalled) settle_at_kinks(found);
      ++result_.starts;
      if (!best || better(found, *best)) best = std::move(found);
    }
    take(*best);
    return std::move(result_);
  }

 private:
  static bool better(const MinimizeResult& a, const MinimizeResult& b) {
    const double rounding = 1e-11 * (1.0 + std::abs(b.value));
    if (a.converged() != b.converged()) {
      return a.converged() ? a.value <= b.value + k_new_minimum : a.value < b.value - k_new_minimum;
    }
    return a.value < b.value - rounding;
  }

  void read_options() {
    if (!options_.init.empty()) {
      if (options_.init.size() != n_) {
        refuse("there are " + std::to_string(n_) + " parameters", "fit.init");
      }
      first_.x = options_.init;
    }
    for (const auto& [i, value] : options_.fixed) {
      check_index(l_, i, "fit.fixed");
      if (!(value >= bounds_.lower[i] && value <= bounds_.upper[i])) {
        refuse("the value is outside the bounds", "fit.fixed[" + std::to_string(i) + "]");
      }
      first_.x[i] = value;
      bounds_.held[i] = true;
    }
    for (std::size_t i = 0; i < n_; ++i) {
      if (!std::isfinite(first_.x[i])) {
        refuse("the start is not finite", "fit.init[" + std::to_string(i) + "]");
      }
    }
  }

  /// Evaluates at a place of a scan, with mu moved to where its slope and curvature say.
  Start look(std::vector<double> x) {
    std::vector<double> g(n_), h(n_ * n_);
    double value = objective_(x, g, h);
    if (!std::isfinite(value)) return {std::move(x), k_infinity};
    if (!bounds_.held[0] && h[0] > 0.0) {
      const double mu = std::clamp(x[0] - g[0] / h[0], bounds_.lower[0], bounds_.upper[0]);
      const double step = mu - x[0];
      value += step * (g[0] + 0.5 * step * h[0]);
      x[0] = mu;
    }
    return {std::move(x), value};
  }

  /// Scans one nuisance parameter after the other, moves to the best place, and keeps the other
  /// local minima.
  void add_starts(std::vector<Start>& starts) {
    Start best = look(first_.x);
    std::vector<Start> others;
    for (std::size_t i = 1; i < n_; ++i) {
      if (bounds_.held[i]) continue;
      std::vector<Start> seen;
      for (double z : scan_places(l_, i)) {
        std::vector<double> x = best.x;
        x[i] = z;
        seen.push_back(look(std::move(x)));
      }
      for (std::size_t k = 0; k < seen.size(); ++k) {
        const bool below_left = k == 0 || seen[k].nll < seen[k - 1].nll;
        const bool below_right = k + 1 == seen.size() || seen[k].nll <= seen[k + 1].nll;
        if (!below_left || !below_right || !std::isfinite(seen[k].nll)) continue;
        if (seen[k].nll < best.nll) std::swap(best, seen[k]);
        others.push_back(seen[k]);
      }
    }
    if (others.empty()) return;
    std::stable_sort(others.begin(), others.end(),
                     [](const Start& a, const Start& b) { return a.nll < b.nll; });
    // The place of the options counts as good as what was found: it may be a previous minimum.
    starts.resize(options_.init.empty() ? 0 : 1);
    starts.push_back(best);
    for (Start& s : others) {
      if (starts.size() < k_most_starts && std::isfinite(s.nll)) starts.push_back(std::move(s));
    }
  }

  /// At a kink the derivative has two sides. If -log L rises on both, that is the minimum;
  /// otherwise the search goes on from the side on which it falls.
  void settle_at_kinks(MinimizeResult& found) {
    for (int tries = 0; tries < k_most_kinks && found.status == FitStatus::stalled; ++tries) {
      const std::optional<Kink> kink = kink_near(found.x);
      if (!kink) return;
      const std::size_t i = kink->parameter;
      const double range = bounds_.upper[i] - bounds_.lower[i];
      MinimizeOptions held = bounds_;
      held.held[i] = true;
      std::vector<double> x = found.x;
      x[i] = kink->z;
      MinimizeResult at = minimize(objective_, x, held);
      if (!at.converged()) return;
      const auto slope = [&](double z) {
        std::vector<double> y = at.x, g(n_), h(n_ * n_);
        y[i] = z;
        return std::isfinite(objective_(y, g, h)) ? g[i] : 0.0;
      };
      const double step = 1e-12 * std::max(range, std::abs(kink->z));
      const bool falls_left = slope(kink->z - step) > 0.0,
                 falls_right = slope(kink->z + step) < 0.0;
      if (!falls_left && !falls_right) {
        at.message = "converged at a kink of the interpolation";
        at.at_bound[i] = true;  // it has no error
        found = std::move(at);
        return;
      }
      x = at.x;
      x[i] += (falls_left ? -2.0 : 2.0) * k_at_kink * range;
      MinimizeResult next = minimize(objective_, x, bounds_);
      if (next.value > found.value + k_new_minimum) return;
      found = std::move(next);
    }
  }

  struct Kink {
    std::size_t parameter;
    double z;
  };
  std::optional<Kink> kink_near(const std::vector<double>& x) const {
    std::optional<Kink> found;
    for_effects(l_, [&](const MorphedEffect& e) {
      const std::size_t i = 1 + e.nuisance;
      if (bounds_.held[i]) return;
      for (double z : e.morphing.kinks()) {
        const bool near = std::abs(z - x[i]) <= k_at_kink * (bounds_.upper[i] - bounds_.lower[i]);
        if (near) found = Kink{i, z};
      }
    });
    return found;
  }

  void take(const MinimizeResult& best) {
    result_.status = best.status;
    result_.message = best.message;
    result_.twice_nll = 2.0 * best.value;
    result_.parameters = best.x;
    result_.fixed = bounds_.held;
    result_.scan = options_.scan;
    result_.at_bound = best.at_bound;
    result_.errors.assign(n_, 0.0);
    result_.covariance.assign(n_ * n_, 0.0);
    std::vector<std::size_t> free;
    for (std::size_t i = 0; i < n_; ++i) {
      const double range = bounds_.upper[i] - bounds_.lower[i];
      const bool curved = best.hessian[i * n_ + i] * range * range > k_no_curvature;
      if (!bounds_.held[i] && !best.at_bound[i] && curved) free.push_back(i);
    }
    if (free.empty() || best.status == FitStatus::infeasible) return;
    const auto m = static_cast<Eigen::Index>(free.size());
    Eigen::MatrixXd hessian(m, m);
    for (Eigen::Index a = 0; a < m; ++a) {
      for (Eigen::Index b = 0; b < m; ++b) {
        hessian(a, b) = best.hessian[free[static_cast<std::size_t>(a)] * n_ +
                                     free[static_cast<std::size_t>(b)]];
      }
    }
    const Eigen::LLT<Eigen::MatrixXd> factor(hessian);
    if (factor.info() != Eigen::Success) return;
    const Eigen::MatrixXd covariance = factor.solve(Eigen::MatrixXd::Identity(m, m));
    for (Eigen::Index a = 0; a < m; ++a) {
      const std::size_t i = free[static_cast<std::size_t>(a)];
      result_.errors[i] = std::sqrt(covariance(a, a));
      for (Eigen::Index b = 0; b < m; ++b) {
        result_.covariance[i * n_ + free[static_cast<std::size_t>(b)]] = covariance(a, b);
      }
    }
  }

  const MorphedLikelihood& l_;
  const MorphedFitOptions& options_;
  std::size_t n_;
  MinimizeOptions bounds_;
  Start first_;
  Objective objective_;
  MorphedFit result_;
};

/// Options for conditional fits beside a best one.
MorphedFitOptions conditional(const MorphedFit& best) {
  MorphedFitOptions options;
  options.init = best.parameters;
  options.scan = best.scan;
  for (std::size_t i = 0; i < best.parameters.size(); ++i) {
    if (best.fixed[i]) options.fixed.emplace_back(i, best.parameters[i]);
  }
  return options;
}

/// sqrt of the rise of a profile in one direction, with warm starts.
class Ray {
 public:
  Ray(const MorphedLikelihood& l, const MorphedFit& best, std::vector<std::size_t> parameters,
      std::vector<double> direction)
      : l_(l),
        best_(best),
        parameters_(std::move(parameters)),
        direction_(std::move(direction)),
        options_(conditional(best)),
        n_fixed_(options_.fixed.size()) {}

  /// Where the next fits begin, and whether they look for other minima.
  void restart(bool scan) {
    options_.init = best_.parameters;
    options_.scan = scan;
  }

  /// How far the bounds let one go, and the values there.
  double end() const {
    double end = k_infinity;
    for (std::size_t k = 0; k < parameters_.size(); ++k) {
      const MorphedParameter& p = l_.parameters()[parameters_[k]];
      const double from = best_.parameters[parameters_[k]], d = direction_[k];
      if (d > 0.0) end = std::min(end, (p.high - from) / d);
      if (d < 0.0) end = std::min(end, (p.low - from) / d);
    }
    return end;
  }
  double value(std::size_t k, double r) const {
    const MorphedParameter& p = l_.parameters()[parameters_[k]];
    return std::clamp(best_.parameters[parameters_[k]] + r * direction_[k], p.low, p.high);
  }

  detail::CurvePoint at(double r) {
    options_.fixed.resize(n_fixed_);
    for (std::size_t k = 0; k < parameters_.size(); ++k) {
      options_.fixed.emplace_back(parameters_[k], value(k, r));
    }
    last_ = fit(l_, options_);
    if (!last_.converged()) return {0.0, false, "a conditional fit: " + last_.message};
    options_.init = last_.parameters;
    const double rise = last_.twice_nll - best_.twice_nll;
    if (rise < -k_new_minimum) {
      return {0.0, false,
              "-2 log L is lower by " + std::to_string(-rise) + " than at the best fit, at " +
                  std::to_string(value(0, r))};
    }
    return {std::sqrt(std::max(rise, 0.0)), true, {}};
  }
  const MorphedFit& last() const { return last_; }

  /// Solves rise = level; first without, and if that overlooked a minimum, with scans.
  detail::RisingRoot solve(double level, double scale) {
    const auto root = [&](bool scan) {
      restart(scan);
      const double far = end(), target = std::sqrt(level);
      if (far <= 0.0) {
        detail::RisingRoot none;
        none.at_end = true;
        return none;
      }
      return detail::solve_rising([this](double r) { return at(r); }, target,
                                  std::min(target * scale, far), scale, far);
    };
    detail::RisingRoot found = root(false);
    const double near = at(found.x).value;
    if (!best_.scan || found.x <= 0.0) return found;
    options_.scan = true;
    const detail::CurvePoint again = at(found.x);
    if (!again.converged || again.value < near - k_new_minimum) {
      found = root(true);
      at(found.x);
    }
    return found;
  }

 private:
  const MorphedLikelihood& l_;
  const MorphedFit& best_;
  std::vector<std::size_t> parameters_;
  std::vector<double> direction_;
  MorphedFitOptions options_;
  std::size_t n_fixed_;
  MorphedFit last_;
};

IntervalSide side_of(const detail::RisingRoot& root, double value) {
  return {value, root.at_end, root.found || root.at_end, root.message};
}

double scale_of(const MorphedLikelihood& l, const MorphedFit& best, std::size_t parameter) {
  if (best.errors[parameter] > 0.0) return best.errors[parameter];
  const MorphedParameter& p = l.parameters()[parameter];
  return 0.1 * (p.high - p.low);
}

void check_best(const MorphedLikelihood& l, const MorphedFit& best) {
  if (best.parameters.size() == l.parameters().size()) return;
  refuse("the fit has another number of parameters than the likelihood", "best");
}

void check_level(double level) {
  if (!(level > 0.0 && std::isfinite(level))) refuse("the level must be above 0", "level");
}

}  // namespace

MorphedFit fit(const MorphedLikelihood& likelihood, const MorphedFitOptions& options) {
  return Fit(likelihood, options).run();
}

Interval profile_interval(const MorphedLikelihood& likelihood, const MorphedFit& best,
                          std::size_t parameter, double level) {
  check_index(likelihood, parameter, "parameter");
  check_best(likelihood, best);
  check_level(level);
  Interval interval;
  const double value = best.parameters[parameter];
  for (IntervalSide* side : {&interval.lower, &interval.upper}) {
    if (!best.converged()) {
      *side = {value, false, false, "the best fit did not converge"};
      continue;
    }
    if (best.fixed[parameter]) {
      *side = {value, false, true, ""};
      continue;
    }
    Ray ray(likelihood, best, {parameter}, {side == &interval.lower ? -1.0 : 1.0});
    const detail::RisingRoot root = ray.solve(level, scale_of(likelihood, best, parameter));
    *side = side_of(root, ray.value(0, root.x));
  }
  return interval;
}

MorphedProfile profile(const MorphedLikelihood& likelihood, const MorphedFit& best,
                       std::size_t parameter, const std::vector<double>& values) {
  check_index(likelihood, parameter, "parameter");
  check_best(likelihood, best);
  MorphedProfile result;
  result.parameter = parameter;
  result.values = values;
  for (double value : values) {
    MorphedFitOptions options = conditional(best);
    std::erase_if(options.fixed, [&](const auto& f) { return f.first == parameter; });
    options.fixed.emplace_back(parameter, value);
    result.fits.push_back(fit(likelihood, options));
    result.delta_twice_nll.push_back(result.fits.back().twice_nll - best.twice_nll);
  }
  return result;
}

std::vector<ContourPoint> contour(const MorphedLikelihood& likelihood, const MorphedFit& best,
                                  std::size_t x, std::size_t y, double level, std::size_t points) {
  check_index(likelihood, x, "x");
  check_index(likelihood, y, "y");
  check_best(likelihood, best);
  check_level(level);
  if (x == y || best.fixed[x] || best.fixed[y]) refuse("a contour has two free parameters", "y");
  if (!best.converged()) refuse("the best fit did not converge", "best");
  const std::size_t n = best.parameters.size();
  const double sx = scale_of(likelihood, best, x), sy = scale_of(likelihood, best, y);
  // Where one of them has no error, the axes are those of the parameters.
  const double correlation = std::clamp(best.covariance[x * n + y] / (sx * sy), -0.999, 0.999);
  std::vector<ContourPoint> curve;
  for (std::size_t k = 0; k < points; ++k) {
    const double angle =
        2.0 * std::numbers::pi * static_cast<double>(k) / static_cast<double>(points);
    const double u = std::cos(angle), v = std::sin(angle);
    Ray ray(likelihood, best, {x, y},
            {sx * u, sy * (correlation * u + std::sqrt(1.0 - correlation * correlation) * v)});
    const detail::RisingRoot root = ray.solve(level, 1.0);
    curve.push_back({ray.value(0, root.x), ray.value(1, root.x), ray.last().twice_nll, root.at_end,
                     root.found || root.at_end});
  }
  return curve;
}

namespace {

/// Conditional fits with one nuisance parameter at each of its values.
class GridFits {
 public:
  GridFits(const MorphedLikelihood& l, const std::vector<double>& z_values, std::size_t parameter)
      : l_(l), z_values_(z_values), parameter_(parameter), fits_(z_values.size()) {}

  /// The best of them, at a mu or with mu free.
  MorphedFit best(std::optional<double> mu) {
    std::size_t lowest = 0;
    for (std::size_t k = 0; k < z_values_.size(); ++k) {
      MorphedFitOptions options;
      options.scan = l_.parameters().size() > 2;
      options.fixed.emplace_back(parameter_, z_values_[k]);
      if (mu) options.fixed.emplace_back(0, *mu);
      if (!fits_[k].parameters.empty()) options.init = fits_[k].parameters;
      fits_[k] = fit(l_, options);
      if (fits_[k].twice_nll < fits_[lowest].twice_nll) lowest = k;
    }
    return fits_[lowest];
  }

 private:
  const MorphedLikelihood& l_;
  const std::vector<double>& z_values_;
  std::size_t parameter_;
  std::vector<MorphedFit> fits_;
};

}  // namespace

GridProfile grid_profile(const MorphedLikelihood& likelihood, const std::vector<double>& mu_values,
                         const std::vector<double>& z_values, std::size_t parameter, double level) {
  check_index(likelihood, parameter, "parameter");
  check_level(level);
  if (parameter == 0) refuse("mu is no nuisance parameter", "parameter");
  if (z_values.empty()) refuse("the grid has no points", "z_values");
  GridFits fits(likelihood, z_values, parameter);
  const MorphedFit best = fits.best(std::nullopt);
  const MorphedParameter& strength = likelihood.parameters()[0];
  GridProfile result;
  result.mu = best.parameters[0];
  result.z = best.parameters[parameter];
  const double error = scale_of(likelihood, best, 0);
  for (IntervalSide* side : {&result.interval.lower, &result.interval.upper}) {
    const double sign = side == &result.interval.lower ? -1.0 : 1.0;
    const double end = sign < 0.0 ? result.mu - strength.low : strength.high - result.mu;
    const auto value = [&](double r) {
      return std::clamp(result.mu + sign * r, strength.low, strength.high);
    };
    const auto rise = [&](double r) -> detail::CurvePoint {
      const MorphedFit at = fits.best(value(r));
      if (!at.converged()) return {0.0, false, "a conditional fit: " + at.message};
      return {std::sqrt(std::max(at.twice_nll - best.twice_nll, 0.0)), true, {}};
    };
    detail::RisingRoot root;
    root.at_end = end <= 0.0;
    if (best.converged() && end > 0.0) {
      root = detail::solve_rising(rise, std::sqrt(level), std::min(std::sqrt(level) * error, end),
                                  error, end);
    }
    *side = side_of(root, value(root.x));
    if (!best.converged()) *side = {result.mu, false, false, "the best fit did not converge"};
  }
  result.mu_values = mu_values;
  for (double mu : mu_values) {
    result.delta_twice_nll.push_back(fits.best(mu).twice_nll - best.twice_nll);
  }
  return result;
}

}  // namespace slalom
