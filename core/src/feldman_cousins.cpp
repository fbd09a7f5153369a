// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/feldman_cousins.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <optional>
#include <utility>

#include "parameter_of_interest.hpp"
#include "slalom/core/interval.hpp"
#include "slalom/core/normal.hpp"
#include "toy_statistics.hpp"

namespace slalom {

namespace {

constexpr std::uint32_t k_family = 4;
constexpr std::size_t k_first_batch = 250;
/// A p-value that differs from the threshold by so many standard deviations needs no more toys.
constexpr double k_clear = 4.0;
constexpr std::size_t k_most_points = 60;
constexpr double k_new_minimum = 1e-9;

/// Where a value lies: in the interval, outside, or too near its end to say.
enum class Side { inside, outside, close };

/// A scanned value, and how many toys were above the statistic of the data.
struct ScannedValue {
  FeldmanCousinsPoint point;
  std::size_t above = 0;
};

/// What is known of one end. Distances are counted outwards from the best fit.
struct Bracket {
  double inner = 0.0;                     ///< outermost value inside
  std::optional<double> outer;            ///< innermost value outside beyond it
  std::optional<double> close, farthest;  ///< range of values between that are too near to say

  void put(double distance, Side side) {
    if (side == Side::inside) {
      inner = std::max(inner, distance);
      // What lies further in does not matter: of several crossings the outermost one counts.
      if (farthest && *farthest <= inner) close = farthest = std::nullopt;
      if (close && *close <= inner) close = farthest;
    } else if (side == Side::outside && !(close && distance < *close)) {
      outer = std::min(outer.value_or(distance), distance);
      if (farthest && *farthest >= *outer) farthest = close;
    } else {
      close = std::min(close.value_or(distance), distance);
      farthest = std::max(farthest.value_or(distance), distance);
    }
  }
  double half_width() const { return 0.5 * (*outer - inner); }
};

/// Finds both ends. The parameter's values are called mu.
class Construction {
 public:
  Construction(Fitter& fitter, std::size_t parameter, const FeldmanCousinsOptions& options,
               const ToyOptions& toys, const FitOptions& fit)
      : fitter_(fitter),
        parameter_(parameter),
        options_(options),
        toys_(toys),
        fit_(fit),
        declared_(fitter.model().spec().parameters[parameter]),
        threshold_(1.0 - options.confidence),
        z_(-normal_quantile_of_log(std::log(0.5 * (1.0 - options.confidence)))),
        best_(fitter.fit(fit)) {
    if (toys_.auxiliary.empty()) {
      const auto bins = static_cast<std::ptrdiff_t>(fitter.model().n_bins());
      toys_.auxiliary.assign(fitter.data().begin() + bins, fitter.data().end());
    }
  }

  FeldmanCousinsInterval find() {
    result_.confidence = options_.confidence;
    if (!best_.converged()) {
      result_.message = "the fit of the data did not converge: " + best_.message;
      result_.best_fit = best_.parameters[parameter_];
      return std::move(result_);
    }
    const Interval asymptotic = minos(fitter_, best_, parameter_, fit_, z_ * z_);
    result_.upper = find_end(1.0, declared_.upper, asymptotic.upper);
    result_.lower = find_end(-1.0, declared_.lower, asymptotic.lower);
    finish();
    return std::move(result_);
  }

 private:
  bool going_on() const { return !result_.interrupted && failure_.empty(); }

  double best_value() const { return best_.parameters[parameter_]; }

  /// Standard deviation on one side, from the asymptotic interval or what else is known.
  double scale(const IntervalSide& side) {
    const double distance = std::abs(side.value - best_value());
    if (side.converged && !side.at_bound && distance > 0.0) return distance / z_;
    const double error = fitter_.errors(best_)[parameter_];
    if (error > 0.0) return error;
    const double prefit = declared_.prefit_uncertainty();
    return prefit > 0.0 ? prefit : 0.1 * (declared_.upper - declared_.lower);
  }

  /// Conditional fit of the data; a new minimum replaces the best fit.
  FitResult conditional(double mu) {
    FitOptions held = fit_;
    held.fixed.emplace_back(parameter_, mu);
    FitResult result = fitter_.fit(held);
    held.init = best_.parameters;
    held.search_minima = false;
    FitResult near = fitter_.fit(held);
    if (near.converged() && (!result.converged() || near.twice_nll < result.twice_nll)) {
      result = std::move(near);
    }
    if (result.converged() && result.twice_nll < best_.twice_nll - k_new_minimum) {
      FitOptions restart = fit_;
      restart.init = result.parameters;
      FitResult better = fitter_.fit(restart);
      if (better.converged() && better.twice_nll < best_.twice_nll) best_ = std::move(better);
    }
    return result;
  }

  /// Throws the next toys at a value. \return false if the run was stopped
  bool add_toys(const FitResult& truth, std::size_t n, ScannedValue& scanned) {
    FeldmanCousinsPoint& point = scanned.point;
    ToyOptions options = toys_;
    options.first = point.toys.asked;
    options.n_toys = n;
    const std::vector<Toy> toys = run_toys(fitter_.model(), truth.parameters, parameter_,
                                           point.value, options, fit_, k_family);
    point.toys.asked += n;
    const std::size_t before = point.toys.done;
    const double least = detail::least_above(point.statistic);
    for (const Toy& toy : toys) {
      if (!toy.done) continue;
      ++point.toys.done;
      if (!toy.converged()) {
        ++point.toys.failed;
      } else if (toy.t() >= least) {
        ++scanned.above;
      }
    }
    point.p_value = toy_fraction(scanned.above, point.toys.done - point.toys.failed);
    return point.toys.done == before + n;
  }

  /// Toys at mu until its side is clear, or as many as asked for.
  Side scan(double mu, std::size_t most) {
    ScannedValue& scanned = scanned_[mu];
    FeldmanCousinsPoint& point = scanned.point;
    point.value = mu;
    const auto distance = [&] { return point.p_value.value - threshold_; };
    const auto clear = [&] {
      return point.toys.done > point.toys.failed &&
             std::abs(distance()) > k_clear * point.p_value.error;
    };
    if (!clear() && point.toys.asked < most) {
      const FitResult truth = conditional(mu);
      if (!truth.converged()) {
        failure_ = "the fit of the data at " + std::to_string(mu) + " did not converge";
        return Side::close;
      }
      point.statistic = std::max(0.0, truth.twice_nll - best_.twice_nll);
      while (going_on() && !clear() && point.toys.asked < most) {
        const std::size_t more = std::max(k_first_batch, point.toys.asked);
        result_.interrupted = !add_toys(truth, std::min(more, most - point.toys.asked), scanned);
        if (point.toys.failed == point.toys.done) failure_ = "no fit of a toy converged";
      }
    }
    if (std::abs(distance()) <= point.p_value.error) return Side::close;
    return distance() > 0.0 ? Side::inside : Side::outside;
  }

  /// Toys that give an end to half the tolerance where p falls as the asymptotic formula says,
  /// p = 2 Phi(-|mu - best| / sigma).
  std::size_t enough_toys() const {
    const double slope = 2.0 * std::exp(-0.5 * z_ * z_) / std::sqrt(2.0 * std::numbers::pi);
    const double error = 0.5 * options_.tolerance * slope;
    const double n = threshold_ * (1.0 - threshold_) / (error * error);
    return static_cast<std::size_t>(std::clamp(n, 1.0, static_cast<double>(toys_.n_toys)));
  }

  /// Finds an end: outwards until something is outside, then by bisection of what is not known,
  /// with more and more toys.
  FeldmanCousinsEnd find_end(double direction, double bound, const IntervalSide& asymptotic) {
    if (!going_on()) return {best_value(), 0.0, false, false};
    if (best_value() == bound) return {bound, 0.0, true, true};
    const double unit = scale(asymptotic);
    const double farthest = std::abs(bound - best_value());
    const auto at = [&](double distance) {
      return distance == farthest ? bound : best_value() + direction * distance;
    };
    std::size_t n = enough_toys();
    Bracket bracket;
    double next = std::min(farthest, asymptotic.converged && asymptotic.value != best_value()
                                         ? std::abs(asymptotic.value - best_value())
                                         : z_ * unit);
    double step = 0.5 * unit;
    const std::size_t limit = scanned_.size() + k_most_points;
    while (going_on() && scanned_.size() < limit) {
      const Side side = side_of(next, at(next), n, farthest);
      if (!going_on()) break;
      if (next == farthest && side == Side::inside) return {bound, 0.0, true, true};
      bracket.put(next, side);
      if (!bracket.outer) {
        next = std::min(farthest, next + step);
        step *= 2.0;
        continue;
      }
      const double resolution = 0.5 * options_.tolerance * unit;
      if (const auto place = where_to_look(bracket, resolution)) {
        next = *place;
        continue;
      }
      const double error = bracket.half_width();
      if (error <= 1.0001 * options_.tolerance * unit || n >= toys_.n_toys) {
        const double value = best_value() + direction * estimate(bracket, at);
        return {value, error, false, error <= 1.0001 * options_.tolerance * unit};
      }
      // The values that are too near to say once more, with more toys, the outermost one first.
      n = std::min(toys_.n_toys, 4 * n);
      next = bracket.farthest.value_or(bracket.inner);
      bracket.close = bracket.farthest = std::nullopt;
    }
    if (going_on()) failure_ = "an end was not found with the allowed number of values";
    return {at(bracket.inner), 0.0, false, false};
  }

  /// At the bound there is nothing further out: a side is taken, with as many toys as it takes.
  Side side_of(double distance, double mu, std::size_t n, double farthest) {
    const Side side = scan(mu, n);
    if (distance != farthest || side != Side::close || !going_on()) return side;
    const Side last = scan(mu, toys_.n_toys);
    if (last != Side::close) return last;
    return scanned_[mu].point.p_value.value > threshold_ ? Side::inside : Side::outside;
  }

  /// The middle of the part that is not known yet, further out first; nothing if all is known to
  /// the resolution.
  static std::optional<double> where_to_look(const Bracket& bracket, double resolution) {
    const double high = bracket.farthest.value_or(bracket.inner);
    if (*bracket.outer - high > resolution) return 0.5 * (high + *bracket.outer);
    if (bracket.close && *bracket.close - bracket.inner > resolution) {
      return 0.5 * (bracket.inner + *bracket.close);
    }
    return std::nullopt;
  }

  /// Where a straight line through the p-values of the bracket crosses the threshold.
  template <typename Position>
  double estimate(const Bracket& bracket, const Position& at) const {
    double w = 0.0, x = 0.0, y = 0.0, xx = 0.0, xy = 0.0;
    const double middle = 0.5 * (bracket.inner + *bracket.outer);
    const double low = std::min(at(bracket.inner), at(*bracket.outer));
    const double high = std::max(at(bracket.inner), at(*bracket.outer));
    for (const auto& [mu, scanned] : scanned_) {
      if (mu < low || mu > high) continue;
      const double weight = 1.0 / std::pow(scanned.point.p_value.error, 2);
      const double dx = std::abs(mu - best_value()) - middle;
      const double dy = scanned.point.p_value.value - threshold_;
      w += weight;
      x += weight * dx;
      y += weight * dy;
      xx += weight * dx * dx;
      xy += weight * dx * dy;
    }
    const double slope = (w * xy - x * y) / (w * xx - x * x);
    const double root = middle + (x * slope - y) / (w * slope);
    return slope < 0.0 ? std::clamp(root, bracket.inner, *bracket.outer) : middle;
  }

  void finish() {
    for (const auto& [mu, scanned] : scanned_) {
      result_.points.push_back(scanned.point);
      result_.toys.asked += scanned.point.toys.asked;
      result_.toys.done += scanned.point.toys.done;
      result_.toys.failed += scanned.point.toys.failed;
    }
    result_.best_fit = best_value();
    result_.converged = going_on() && result_.lower.converged && result_.upper.converged;
    result_.message = failure_;
    if (result_.interrupted) {
      result_.message = "stopped after " + std::to_string(result_.toys.done) + " toys";
    } else if (failure_.empty() && !result_.converged) {
      result_.message = "more toys per value are needed to reach the tolerance";
    } else if (failure_.empty() && result_.toys.failed > 0) {
      result_.message = "the fits of " + std::to_string(result_.toys.failed) + " of " +
                        std::to_string(result_.toys.done) +
                        " toys did not converge; they are left out";
    }
  }

  Fitter& fitter_;
  std::size_t parameter_;
  FeldmanCousinsOptions options_;
  ToyOptions toys_;
  FitOptions fit_;
  const Parameter& declared_;
  double threshold_;
  double z_;
  FitResult best_;
  std::map<double, ScannedValue> scanned_;
  FeldmanCousinsInterval result_;
  std::string failure_;
};

}  // namespace

FeldmanCousinsInterval feldman_cousins(Fitter& fitter, std::size_t parameter,
                                       const FeldmanCousinsOptions& options, const ToyOptions& toys,
                                       const FitOptions& fit) {
  detail::require_floating(fitter.model(), fit, parameter);
  if (!(options.confidence > 0.0 && options.confidence < 1.0)) {
    throw Error(ErrorKind::usage, "the confidence level must lie between 0 and 1", "confidence");
  }
  if (!(options.tolerance > 0.0)) {
    throw Error(ErrorKind::usage, "the tolerance must be positive", "tolerance");
  }
  if (toys.n_toys == 0 || toys.first != 0) {
    throw Error(ErrorKind::usage, "toys are needed, the first one having index 0", "toys");
  }
  return Construction(fitter, parameter, options, toys, fit).find();
}

}  // namespace slalom
