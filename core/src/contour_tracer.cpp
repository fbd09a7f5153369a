// SPDX-License-Identifier: Apache-2.0
#include "contour_tracer.hpp"

#include <algorithm>
#include <numbers>
#include <string>
#include <utility>

namespace slalom::detail {

Plane::Plane(Fitter& fitter, const FitResult& best, std::array<std::size_t, 2> axes,
             const FitOptions& options)
    : fitter_(fitter),
      evaluator_(fitter.model()),
      options_(options),
      axes_(axes),
      best_(best),
      lowest_(best.twice_nll),
      gradient_(fitter.model().n_parameters()) {
  evaluator_.set_data(fitter.data());
  for (std::size_t axis : axes) options_.fixed.emplace_back(axis, 0.0);
}

Place Plane::at(const Vector2& where, const std::vector<double>& near) {
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
    const bool at_end = !result.empty_bins.empty();
    if (at_end) evaluator_.set_data(stationary_data(fitter_.model(), fitter_.data(), result));
    evaluator_.logpdf(result.parameters, gradient_);
    if (at_end) evaluator_.set_data(fitter_.data());
    place.gradient = {-2.0 * gradient_[axes_[0]], -2.0 * gradient_[axes_[1]]};
    note_lower(result);
  }
  place.parameters = std::move(result.parameters);
  return place;
}

void Plane::note_lower(const FitResult& result) {
  if (!result.converged() || !(result.twice_nll < lowest_ - k_contour_new_minimum)) return;
  lowest_ = result.twice_nll;
  lower_ = result.parameters;
}

namespace {

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

double dot(const Vector2& a, const Vector2& b) { return a[0] * b[0] + a[1] * b[1]; }
double norm(const Vector2& a) { return std::hypot(a[0], a[1]); }
Vector2 minus(const Vector2& a, const Vector2& b) { return {a[0] - b[0], a[1] - b[1]}; }

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

}  // namespace

void trace_boundary(Plane& plane, const Metric& metric, double delta, std::size_t points,
                    Place first, bool on_edge, Edge edge, Contour& contour) {
  Tracer(plane, metric, delta, points).run(std::move(first), on_edge, edge, contour);
}

}  // namespace slalom::detail
