// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/contour.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <utility>

#include "parallel_fits.hpp"
#include "slalom/core/interval.hpp"
#include "slalom/core/test_statistic.hpp"

namespace slalom {

namespace {

/// A rise of -2 log L below zero by more than this is a new minimum, not rounding.
constexpr double k_new_minimum = 1e-6;
/// Precision of the rise on the curve, relative to 1 + level.
constexpr double k_curve_tolerance = 1e-9;
/// The same next to a wall so steep that the coordinates have no more digits.
constexpr double k_wall_tolerance = 1e-4;
/// Smallest step, as a part of the usual one.
constexpr double k_smallest_step = 1.0 / 64.0;
/// Largest turn between two points, in radians, unless the curve has a corner.
constexpr double k_largest_turn = 0.6;
constexpr int k_most_corrections = 10;
constexpr int k_most_halvings = 80;
constexpr int k_most_restarts = 4;

using Vector2 = std::array<double, 2>;

double dot(const Vector2& a, const Vector2& b) { return a[0] * b[0] + a[1] * b[1]; }
double norm(const Vector2& a) { return std::hypot(a[0], a[1]); }
Vector2 minus(const Vector2& a, const Vector2& b) { return {a[0] - b[0], a[1] - b[1]}; }

/// A conditional fit in the plane.
struct Place {
  Vector2 at{};        ///< x, y
  double rise = 0.0;   ///< of -2 log L, above the best fit
  Vector2 gradient{};  ///< of the rise with respect to x and y: by the envelope theorem the partial
  bool converged = false;
  std::vector<double> parameters{};
};

/// Conditional fits with two parameters held.
class Plane {
 public:
  Plane(Fitter& fitter, const FitResult& best, Vector2 best_at, std::array<std::size_t, 2> axes,
        const FitOptions& options)
      : fitter_(fitter),
        evaluator_(fitter.model()),
        options_(options),
        axes_(axes),
        best_(best),
        best_at_(best_at),
        lowest_(best.twice_nll),
        gradient_(fitter.model().n_parameters()) {
    evaluator_.set_data(fitter.data());
    for (std::size_t axis : axes) options_.fixed.emplace_back(axis, 0.0);
  }

  /// Fits at a place, from the fit at another one or, where that fails, from the usual start.
  Place at(const Vector2& where, const std::vector<double>& near) {
    options_.fixed[options_.fixed.size() - 2].second = where[0];
    options_.fixed.back().second = where[1];
    FitOptions warm = options_;
    warm.init = near;
    warm.warm_start = true;
    FitResult result = fitter_.fit(warm);
    if (!result.converged()) {
      FitResult again = fitter_.fit(options_);
      if (again.converged()) result = std::move(again);
    }
    Place place{where, result.twice_nll - best_.twice_nll, {}, result.converged(), {}};
    if (place.converged) {
      evaluator_.logpdf(result.parameters, gradient_);
      place.gradient = {-2.0 * gradient_[axes_[0]], -2.0 * gradient_[axes_[1]]};
      note_lower(result);
    }
    place.parameters = std::move(result.parameters);
    return place;
  }

  /// Keeps a fit that is lower than the best one.
  void note_lower(const FitResult& result) {
    if (!result.converged() || !(result.twice_nll < lowest_ - k_new_minimum)) return;
    lowest_ = result.twice_nll;
    lower_ = result.parameters;
  }
  /// The lowest point below the best fit; empty if there was none.
  const std::vector<double>& lower() const { return lower_; }

  double bound(std::size_t axis, bool upper) const {
    const Parameter& p = fitter_.model().spec().parameters[axes_[axis]];
    return upper ? p.upper : p.lower;
  }
  const Vector2& best_at() const { return best_at_; }
  const FitResult& best() const { return best_; }
  Fitter& fitter() { return fitter_; }

 private:
  Fitter& fitter_;
  Evaluator evaluator_;
  FitOptions options_;
  std::array<std::size_t, 2> axes_;
  const FitResult& best_;
  Vector2 best_at_;
  double lowest_;
  std::vector<double> lower_;
  std::vector<double> gradient_;
};

/// Linear map that makes the region about a unit circle.
struct Metric {
  Vector2 centre{}, width{1.0, 1.0};
  double rho = 0.0;

  double across() const { return std::sqrt(1.0 - rho * rho); }
  Vector2 scaled(const Vector2& p) const {
    const double u = (p[0] - centre[0]) / width[0], v = (p[1] - centre[1]) / width[1];
    return {u, (v - rho * u) / across()};
  }
  Vector2 plain(const Vector2& z) const {
    return {centre[0] + width[0] * z[0], centre[1] + width[1] * (rho * z[0] + across() * z[1])};
  }
  Vector2 gradient(const Vector2& g) const {
    return {g[0] * width[0] + g[1] * width[1] * rho, g[1] * width[1] * across()};
  }
  /// Length of x or y that has the scaled length `step`.
  double length(std::size_t axis, double step) const { return step * width[axis] * across(); }
};

/// The sides of the rectangle of allowed values, anticlockwise.
enum class Edge { right, top, left, bottom };

std::size_t across_axis(Edge edge) { return edge == Edge::right || edge == Edge::left ? 0 : 1; }
bool is_upper(Edge edge) { return edge == Edge::right || edge == Edge::top; }
Edge next_edge(Edge edge) { return static_cast<Edge>((static_cast<int>(edge) + 1) % 4); }
/// Direction of the other coordinate on the way round.
double way_along(Edge edge) { return edge == Edge::right || edge == Edge::bottom ? 1.0 : -1.0; }

/// Follows the boundary of the region from one place back to it.
class Tracer {
 public:
  Tracer(Plane& plane, const Metric& metric, double delta, std::size_t points)
      : plane_(plane),
        metric_(metric),
        delta_(delta),
        usual_(2.0 * std::numbers::pi / static_cast<double>(points)),
        most_(20 * points + 200) {}

  /// \param on_edge the first place is on that side and inside the region
  void run(Place first, bool on_edge, Edge edge, Contour& contour) {
    on_edge_ = on_edge;
    edge_ = edge;
    current_ = std::move(first);
    step_ = usual_;
    add(current_, on_edge && !on_curve(current_), contour);
    while (contour.points.size() < most_) {
      if (!(on_edge_ ? step_on_edge() : step_on_curve())) {
        contour.message = message_;
        return;
      }
      if (contour.points.size() > 2 && closes(contour)) {
        contour.closed = true;
        return;
      }
      current_ = next_;
      add(current_, !on_curve(current_), contour);
      if (!plane_.lower().empty()) return;
    }
    contour.message = "the curve does not close after " + std::to_string(most_) + " points";
  }

 private:
  double tolerance() const { return k_curve_tolerance * (1.0 + delta_); }
  bool on_curve(const Place& p) const {
    return std::abs(p.rise - delta_) <= k_wall_tolerance * (1.0 + delta_);
  }

  void add(const Place& p, bool at_bound, Contour& contour) const {
    contour.points.push_back(
        {p.at[0], p.at[1], plane_.best().twice_nll + p.rise, at_bound, p.converged});
  }

  /// Whether the segment to the next place ends at the first point or passes it.
  bool closes(const Contour& contour) const {
    const auto scaled = [&](const ContourPoint& p) { return metric_.scaled({p.x, p.y}); };
    const Vector2 first = scaled(contour.points[0]);
    const Vector2 here = metric_.scaled(current_.at), there = metric_.scaled(next_.at);
    if (norm(minus(there, first)) < 0.02 * usual_) return true;
    const Vector2 segment = minus(there, here), away = minus(scaled(contour.points[1]), first);
    const double length = norm(segment);
    if (!(length > 0.0) || dot(segment, away) <= 0.0) return false;
    const double along = dot(minus(first, here), segment) / (length * length);
    if (along <= 0.0 || along > 1.0) return false;
    const Vector2 foot = {here[0] + along * segment[0], here[1] + along * segment[1]};
    return norm(minus(first, foot)) < 0.3 * std::max(length, 0.1 * usual_);
  }

  /// Unit vector along the curve, the region on its left.
  Vector2 tangent(const Place& p) const {
    const Vector2 g = metric_.gradient(p.gradient);
    const double size = norm(g);
    return {-g[1] / size, g[0] / size};
  }

  /// The side that a point lies beyond, if any.
  bool outside(const Vector2& p, Edge& edge) const {
    for (Edge e : {Edge::right, Edge::top, Edge::left, Edge::bottom}) {
      const std::size_t axis = across_axis(e);
      const double excess = (p[axis] - plane_.bound(axis, is_upper(e))) * (is_upper(e) ? 1 : -1);
      if (excess > 0.0) {
        edge = e;
        return true;
      }
    }
    return false;
  }

  bool step_on_curve() {
    const Vector2 direction = tangent(current_), here = metric_.scaled(current_.at);
    for (double step = std::min(usual_, 2.0 * step_);; step *= 0.5) {
      on_edge_ = false;
      const bool smallest = step <= k_smallest_step * usual_;
      const Vector2 guess = {here[0] + step * direction[0], here[1] + step * direction[1]};
      if (correct(guess, step)) {
        const bool forward = dot(minus(metric_.scaled(next_.at), here), direction) > 0.0;
        const bool turns = !on_edge_ && dot(tangent(next_), direction) < std::cos(k_largest_turn);
        if (forward && (!turns || smallest)) {
          step_ = step;
          return true;
        }
      }
      if (smallest) break;
    }
    for (const double step : {0.25 * usual_, usual_ / 16.0, k_smallest_step * usual_}) {
      if (!search_circle(direction, step)) continue;
      step_ = step;
      return true;
    }
    message_ = "the curve could not be followed beyond (" + std::to_string(current_.at[0]) + ", " +
               std::to_string(current_.at[1]) + ")";
    return false;
  }

  /// Newton's method across the curve from a guess; leads to the side of the rectangle if the curve
  /// leaves it.
  bool correct(Vector2 guess, double step) {
    const Vector2 begin = guess;
    for (int i = 0; i < k_most_corrections; ++i) {
      const Vector2 at = metric_.plain(guess);
      Edge edge{};
      if (outside(at, edge)) return correct_on_edge(edge, at, step);
      next_ = plane_.at(at, current_.parameters);
      if (!next_.converged) return false;
      const double excess = next_.rise - delta_;
      if (std::abs(excess) <= tolerance()) return true;
      const Vector2 g = metric_.gradient(next_.gradient);
      const double size = dot(g, g);
      if (!(size > 0.0)) return false;
      guess = {guess[0] - excess * g[0] / size, guess[1] - excess * g[1] / size};
      if (norm(minus(guess, begin)) > 2.0 * step) return false;
    }
    return false;
  }

  /// Finds where the curve meets a half circle in front of the current place, by halving the angle:
  /// slow, but it needs no slopes, which are of no use next to a wall.
  bool search_circle(const Vector2& direction, double step) {
    const Vector2 here = metric_.scaled(current_.at), left = {-direction[1], direction[0]};
    double inside = 0.5 * std::numbers::pi, outside_angle = -inside;
    Edge edge{};
    for (int i = 0; i < k_most_halvings; ++i) {
      const double angle = i == 0 ? inside : 0.5 * (inside + outside_angle);
      const double c = step * std::cos(angle), s = step * std::sin(angle);
      const Vector2 at = metric_.plain(
          {here[0] + c * direction[0] + s * left[0], here[1] + c * direction[1] + s * left[1]});
      if (outside(at, edge)) {
        if (i == 0) return false;
        outside_angle = angle;
        continue;
      }
      next_ = plane_.at(at, current_.parameters);
      if (!next_.converged) return false;
      if (i > 0 && std::abs(next_.rise - delta_) <= tolerance()) return true;
      if (i == 0 && next_.rise >= delta_) return false;
      (next_.rise < delta_ ? inside : outside_angle) = angle;
    }
    return on_curve(next_);
  }

  /// Newton's method for the place where the curve meets a side.
  bool correct_on_edge(Edge edge, Vector2 at, double step) {
    const std::size_t across = across_axis(edge), along = 1 - across;
    at[across] = plane_.bound(across, is_upper(edge));
    const Vector2 here = metric_.scaled(current_.at);
    for (int i = 0; i < k_most_corrections; ++i) {
      at[along] = std::clamp(at[along], plane_.bound(along, false), plane_.bound(along, true));
      next_ = plane_.at(at, current_.parameters);
      if (!next_.converged) return false;
      const double excess = next_.rise - delta_;
      if (std::abs(excess) <= tolerance()) {
        on_edge_ = true;
        edge_ = edge;
        return norm(minus(metric_.scaled(at), here)) <= 3.0 * step;
      }
      if (next_.gradient[along] == 0.0) return false;
      at[along] -= excess / next_.gradient[along];
    }
    return false;
  }

  /// Goes on along a side, up to the corner or to where the region ends.
  bool step_on_edge() {
    const std::size_t across = across_axis(edge_), along = 1 - across;
    const double way = way_along(edge_);
    const double corner = plane_.bound(along, way > 0.0);
    if (current_.at[along] == corner) {
      edge_ = next_edge(edge_);
      return step_on_edge();
    }
    Vector2 at = current_.at;
    // Short first steps: a piece of the side that is inside may be short.
    for (double step = usual_; step > 1e-4 * usual_; step *= 0.25) {
      at[along] = current_.at[along] + way * metric_.length(along, step);
      if ((at[along] - corner) * way >= 0.0) at[along] = corner;
      next_ = plane_.at(at, current_.parameters);
      if (!next_.converged) break;
      if (next_.rise <= delta_) return true;
      if (current_.rise < delta_ - tolerance()) return leave_edge(along, at[along]);
    }
    message_ = "the curve could not be followed along the bound at (" +
               std::to_string(current_.at[0]) + ", " + std::to_string(current_.at[1]) + ")";
    return false;
  }

  /// Finds the end of the region between the current place, inside, and `outer` on the same side.
  bool leave_edge(std::size_t along, double outer) {
    double inner = current_.at[along];
    Vector2 at = next_.at;
    for (int i = 0; i < 60; ++i) {
      const double excess = next_.rise - delta_;
      if (std::abs(excess) <= tolerance()) {
        on_edge_ = false;
        step_ = 0.25 * usual_;
        return true;
      }
      (excess > 0.0 ? outer : inner) = at[along];
      const double slope = next_.gradient[along];
      double trial = slope != 0.0 ? at[along] - excess / slope : inner;
      if (!(trial > std::min(inner, outer) && trial < std::max(inner, outer))) {
        trial = 0.5 * (inner + outer);
      }
      at[along] = trial;
      next_ = plane_.at(at, current_.parameters);
      if (!next_.converged) break;
    }
    message_ = "the end of the region on a bound was not found near (" + std::to_string(at[0]) +
               ", " + std::to_string(at[1]) + ")";
    return false;
  }

  Plane& plane_;
  const Metric& metric_;
  double delta_;
  double usual_;  ///< scaled length of a step
  std::size_t most_;
  Place current_, next_;
  bool on_edge_ = false;
  Edge edge_ = Edge::right;
  double step_ = 0.0;
  std::string message_;
};

/// Fit with one parameter held, from the best one.
FitResult fit_along(Plane& plane, std::size_t parameter, double value, FitOptions options) {
  options.fixed.emplace_back(parameter, value);
  FitResult cold = plane.fitter().fit(options);
  options.init = plane.best().parameters;
  options.warm_start = true;
  FitResult warm = plane.fitter().fit(options);
  const bool better = warm.converged() && (!cold.converged() || warm.twice_nll < cold.twice_nll);
  FitResult& lower = better ? warm : cold;
  plane.note_lower(lower);
  return lower;
}

/// The farthest places of the region in one parameter, and what the other one is there.
struct Extent {
  Interval interval;
  FitResult low, high;
  bool converged() const {
    return interval.lower.converged && interval.upper.converged && low.converged() &&
           high.converged();
  }
};

Extent extent_of(Plane& plane, std::size_t parameter, const FitOptions& options, double delta) {
  Extent extent;
  extent.interval = minos(plane.fitter(), plane.best(), parameter, options, delta);
  extent.low = fit_along(plane, parameter, extent.interval.lower.value, options);
  extent.high = fit_along(plane, parameter, extent.interval.upper.value, options);
  return extent;
}

/// Follows the curve once, around a best fit that may turn out not to be the best.
/// \returns the point that is lower, if there is one
std::vector<double> follow(Fitter& fitter, Contour& contour, const ContourOptions& options,
                           const FitOptions& fit) {
  const std::array<std::size_t, 2> axes = {contour.x, contour.y};
  const Vector2 best = {contour.best.parameters[contour.x], contour.best.parameters[contour.y]};
  Plane plane(fitter, contour.best, best, axes, fit);
  std::array<Extent, 2> extents;
  Metric metric;
  metric.centre = best;
  for (std::size_t i = 0; i < 2; ++i) {
    extents[i] = extent_of(plane, axes[i], fit, contour.delta);
    if (!plane.lower().empty()) return plane.lower();
    if (!extents[i].converged()) {
      const Interval& interval = extents[i].interval;
      contour.message = "the ends of the region in '" +
                        fitter.model().spec().parameters[axes[i]].name + "' were not found" +
                        (interval.lower.message.empty() ? "" : ": " + interval.lower.message) +
                        (interval.upper.message.empty() ? "" : ": " + interval.upper.message);
      return {};
    }
    const Interval& interval = extents[i].interval;
    metric.width[i] = std::max(interval.upper.value - best[i], best[i] - interval.lower.value);
  }
  const Extent& x = extents[0];
  const double lean = x.high.parameters[contour.y] - x.low.parameters[contour.y];
  const double reach = x.interval.upper.value - x.interval.lower.value;
  metric.rho = std::clamp(lean / metric.width[1] * metric.width[0] / reach, -0.995, 0.995);

  const Vector2 start = {x.interval.upper.value, x.high.parameters[contour.y]};
  Place first = plane.at(start, x.high.parameters);
  if (!first.converged) {
    contour.message = "the fit at the first point did not converge";
    return {};
  }
  const bool at_top = start[1] >= plane.bound(1, true);
  const bool at_right = x.interval.upper.at_bound;
  Tracer tracer(plane, metric, contour.delta, std::max<std::size_t>(options.points, 8));
  tracer.run(std::move(first), at_right || at_top, at_right ? Edge::right : Edge::top, contour);
  return plane.lower();
}

/// A free fit from a point that a conditional fit has found.
FitResult refit(Fitter& fitter, FitOptions options, const std::vector<double>& start) {
  const std::vector<Parameter>& parameters = fitter.model().spec().parameters;
  options.init = start;
  for (std::size_t i = 0; i < start.size(); ++i) {
    if (parameters[i].fixed) continue;
    options.init[i] = std::clamp(start[i], parameters[i].lower, parameters[i].upper);
  }
  return fitter.fit(options);
}

void check_axes(const Model& model, const FitResult& best, std::size_t x, std::size_t y) {
  const std::size_t n = model.n_parameters();
  if (best.parameters.size() != n || best.fixed.size() != n) {
    throw Error(ErrorKind::model, "the fit does not belong to the model", "best");
  }
  for (std::size_t axis : {x, y}) {
    if (axis >= n) {
      throw Error(ErrorKind::model, "no parameter has index " + std::to_string(axis), "parameter");
    }
    if (best.fixed[axis]) {
      throw Error(ErrorKind::model,
                  "the parameter '" + model.spec().parameters[axis].name + "' is held",
                  "parameter");
    }
  }
  if (x == y) throw Error(ErrorKind::model, "two different parameters are needed", "parameter");
}

}  // namespace

Contour contour(Fitter& fitter, const FitResult& best, std::size_t x, std::size_t y, double level,
                const ContourOptions& options, const FitOptions& fit) {
  check_axes(fitter.model(), best, x, y);
  Contour result;
  result.x = x;
  result.y = y;
  result.level = level;
  result.delta = rise_at_level(level, 2);
  result.best = best;
  if (!best.converged()) {
    result.message = "the best fit did not converge";
    return result;
  }
  for (int attempt = 0; attempt < k_most_restarts; ++attempt) {
    result.points.clear();
    result.message.clear();
    result.closed = false;
    const std::vector<double> lower = follow(fitter, result, options, fit);
    if (lower.empty()) break;
    FitResult better = refit(fitter, fit, lower);
    if (!better.converged() || !(better.twice_nll < result.best.twice_nll)) {
      result.message = "-2 log L is lower on the way than at the best fit";
      result.closed = false;
      break;
    }
    result.best = std::move(better);
    result.message = "the best fit moved again and again";
  }
  result.converged =
      result.closed && std::all_of(result.points.begin(), result.points.end(),
                                   [](const ContourPoint& p) { return p.converged; });
  return result;
}

bool encloses(const Contour& contour, double x, double y) {
  bool inside = false;
  const std::size_t n = contour.points.size();
  for (std::size_t i = 0; i < n; ++i) {
    const ContourPoint &a = contour.points[i], &b = contour.points[(i + 1) % n];
    // Every edge that a ray to the right meets changes sides.
    if ((a.y > y) == (b.y > y)) continue;
    if (x < a.x + (b.x - a.x) * (y - a.y) / (b.y - a.y)) inside = !inside;
  }
  return inside;
}

namespace {

/// Size of the correlation of each parameter with one of them, up to a common factor; 0 for those
/// that are held.
std::vector<double> correlations(Fitter& fitter, FitResult best, std::size_t parameter) {
  const std::size_t n = best.parameters.size();
  std::vector<double> sizes(n, 0.0);
  best.at_bound[parameter] = false;
  const Covariance covariance = fitter.covariance(best);
  const std::vector<std::size_t>& free = covariance.parameters;
  const std::size_t f = free.size();
  const auto row =
      static_cast<std::size_t>(std::find(free.begin(), free.end(), parameter) - free.begin());
  if (covariance.valid && row < f) {
    for (std::size_t i = 0; i < f; ++i) {
      sizes[free[i]] =
          std::abs(covariance.matrix[row * f + i]) / std::sqrt(covariance.matrix[i * f + i]);
    }
    return sizes;
  }
  // Beyond a bound the likelihood may bend the other way; the mixed derivatives remain.
  Evaluator evaluator(fitter.model());
  evaluator.set_data(fitter.data());
  std::vector<double> gradient(n), hessian(n * n);
  evaluator.logpdf(best.parameters, gradient, hessian);
  for (std::size_t i = 0; i < n; ++i) {
    const double own = std::abs(hessian[i * n + i]);
    if (best.fixed[i] || best.at_bound[i] || !(own > 0.0)) continue;
    sizes[i] = std::abs(hessian[parameter * n + i]) / std::sqrt(own);
  }
  return sizes;
}

}  // namespace

std::size_t most_correlated(Fitter& fitter, const FitResult& best, std::size_t parameter) {
  const std::vector<Parameter>& parameters = fitter.model().spec().parameters;
  if (best.parameters.size() != parameters.size() || parameter >= parameters.size()) {
    throw Error(ErrorKind::model, "no parameter has index " + std::to_string(parameter),
                "parameter");
  }
  std::vector<double> sizes = correlations(fitter, best, parameter);
  sizes[parameter] = 0.0;
  const auto largest = std::max_element(sizes.begin(), sizes.end());
  if (!(*largest > 0.0)) {
    throw Error(ErrorKind::model, "no other floating parameter is correlated with it",
                parameters[parameter].name);
  }
  return static_cast<std::size_t>(largest - sizes.begin());
}

namespace {

/// One point of a row.
struct GridPoint {
  double twice_nll = 0.0;
  bool converged = false;
  std::vector<double> parameters;
};

/// Replaces a point by the fit from another start if that is lower.
bool improve(Fitter& fitter, const FitOptions& options, const std::vector<double>& init,
             GridPoint& point) {
  FitOptions warm = options;
  warm.init = init;
  warm.warm_start = !init.empty();
  FitResult fit = fitter.fit(warm);
  const bool lower = fit.twice_nll < point.twice_nll - k_new_minimum;
  const bool better = point.parameters.empty() || (fit.converged() && (!point.converged || lower));
  if (better) point = {fit.twice_nll, fit.converged(), std::move(fit.parameters)};
  return better;
}

/// The conditional fits of one row, outwards from the place that is nearest to the best fit.
std::vector<GridPoint> fit_row(Fitter& fitter, FitOptions options, const FitResult& best,
                               const std::vector<double>& y_values, std::size_t y) {
  std::vector<GridPoint> row(y_values.size());
  std::size_t middle = 0;
  for (std::size_t j = 1; j < row.size(); ++j) {
    const double target = best.parameters[y];
    if (std::abs(y_values[j] - target) < std::abs(y_values[middle] - target)) middle = j;
  }
  const auto fit_at = [&](std::size_t j, const std::vector<double>& near) {
    options.fixed.back().second = y_values[j];
    improve(fitter, options, near, row[j]);
    if (!row[j].converged || j == middle) improve(fitter, options, {}, row[j]);
  };
  fit_at(middle, best.parameters);
  for (std::size_t j = middle + 1; j < row.size(); ++j) fit_at(j, row[j - 1].parameters);
  for (std::size_t j = middle; j-- > 0;) fit_at(j, row[j + 1].parameters);
  // Back from both ends, where a branch that is lower may have begun.
  options.search_minima = false;
  for (std::size_t j = row.size() - 1; j-- > 0;) fit_at(j, row[j + 1].parameters);
  for (std::size_t j = 1; j < row.size(); ++j) fit_at(j, row[j - 1].parameters);
  return row;
}

}  // namespace

ProfileGrid profile_grid(Fitter& fitter, const FitResult& best, std::size_t x, std::size_t y,
                         const std::vector<double>& x_values, const std::vector<double>& y_values,
                         const FitOptions& fit, std::size_t threads) {
  check_axes(fitter.model(), best, x, y);
  ProfileGrid grid{x, y, x_values, y_values, {}, {}, best};
  if (x_values.empty() || y_values.empty()) return grid;
  const std::vector<double> data(fitter.data().begin(), fitter.data().end());
  FitOptions held = fit;
  held.fixed.emplace_back(x, 0.0);
  held.fixed.emplace_back(y, 0.0);
  std::vector<std::vector<GridPoint>> rows(x_values.size());
  const auto x_held_at = [&](std::size_t i) {
    FitOptions options = held;
    options.fixed[options.fixed.size() - 2].second = x_values[i];
    return options;
  };
  detail::parallel_fits(fitter.model(), rows.size(), threads, {}, [&](std::size_t i, Fitter& own) {
    own.set_data(data);
    rows[i] = fit_row(own, x_held_at(i), best, y_values, y);
  });
  // Across the rows, each round from the rows that the last one has changed.
  std::vector<char> moved(rows.size(), 1);
  while (std::find(moved.begin(), moved.end(), 1) != moved.end()) {
    const std::vector<std::vector<GridPoint>> before = rows;
    std::vector<char> changed(rows.size(), 0);
    const auto task = [&](std::size_t i, Fitter& own) {
      own.set_data(data);
      FitOptions options = x_held_at(i);
      options.search_minima = false;
      for (std::size_t j = 0; j < y_values.size(); ++j) {
        options.fixed.back().second = y_values[j];
        for (const std::size_t other : {i - 1, i + 1}) {  // i - 1 wraps to a large number
          if (other >= rows.size() || moved[other] == 0 || !before[other][j].converged) continue;
          if (improve(own, options, before[other][j].parameters, rows[i][j])) changed[i] = 1;
        }
      }
    };
    detail::parallel_fits(fitter.model(), rows.size(), threads, {}, task);
    moved = std::move(changed);
  }
  const GridPoint* lowest = nullptr;
  for (const auto& row : rows) {
    for (const GridPoint& point : row) {
      const bool lower = lowest == nullptr || point.twice_nll < lowest->twice_nll;
      if (point.converged && lower) lowest = &point;
    }
  }
  if (lowest != nullptr && lowest->twice_nll < best.twice_nll - k_new_minimum) {
    FitResult better = refit(fitter, fit, lowest->parameters);
    if (better.converged() && better.twice_nll < best.twice_nll) grid.best = std::move(better);
  }
  for (const auto& row : rows) {
    for (const GridPoint& point : row) {
      grid.delta_twice_nll.push_back(point.twice_nll - grid.best.twice_nll);
      grid.converged.push_back(point.converged);
    }
  }
  return grid;
}

}  // namespace slalom
