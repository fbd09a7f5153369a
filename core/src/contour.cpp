// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/contour.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "contour_tracer.hpp"
#include "parallel_fits.hpp"
#include "slalom/core/interval.hpp"
#include "slalom/core/test_statistic.hpp"

namespace slalom {

using detail::Edge;
using detail::k_contour_new_minimum;
using detail::Metric;
using detail::Place;
using detail::Plane;
using detail::Vector2;

namespace {

/// Times that a contour begins anew because its curve led to a lower minimum.
constexpr int k_most_restarts = 4;

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
  Plane plane(fitter, contour.best, axes, fit);
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
  trace_boundary(plane, metric, contour.delta, std::max<std::size_t>(options.points, 8),
                 std::move(first), at_right || at_top, at_right ? Edge::right : Edge::top, contour);
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
  evaluator.set_data(stationary_data(fitter.model(), fitter.data(), best));
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
  const bool lower = fit.twice_nll < point.twice_nll - k_contour_new_minimum;
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
  if (lowest != nullptr && lowest->twice_nll < best.twice_nll - k_contour_new_minimum) {
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
