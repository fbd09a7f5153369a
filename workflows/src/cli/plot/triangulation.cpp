// SPDX-License-Identifier: Apache-2.0
#include "cli/plot/triangulation.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

namespace slalom::cli {

namespace {

using Edge = std::pair<std::size_t, std::size_t>;

/// How far points are moved, in units of the range, so that no four of them lie on a circle: grids
/// have nothing but rectangles.
constexpr double k_jiggle = 1e-6;
/// Triangles with less area than this, in units of both ranges, come from that alone.
constexpr double k_flat = 1e-5;

/// The same "random" number between -1 and 1 for the same i.
double jiggle(std::size_t i) {
  const double x = std::sin(static_cast<double>(i) * 12.9898 + 1.0) * 43758.5453;
  return 2.0 * (x - std::floor(x)) - 1.0;
}

/// Points with coordinates between 0 and 1.
std::vector<PlanePoint> scaled(const std::vector<PlanePoint>& points) {
  const auto map = [&](double PlanePoint::*axis) {
    const auto [low, high] = std::minmax_element(
        points.begin(), points.end(),
        [axis](const PlanePoint& a, const PlanePoint& b) { return a.*axis < b.*axis; });
    const double width = (*high).*axis - (*low).*axis;
    return std::pair((*low).*axis, width > 0.0 ? 1.0 / width : 1.0);
  };
  const auto [x, per_x] = map(&PlanePoint::first);
  const auto [y, per_y] = map(&PlanePoint::second);
  std::vector<PlanePoint> result;
  for (const auto& [px, py] : points) result.emplace_back((px - x) * per_x, (py - y) * per_y);
  return result;
}

/// Twice the area of a triangle, positive if c lies to the left of the way from a to b.
double turn(const PlanePoint& a, const PlanePoint& b, const PlanePoint& c) {
  return (b.first - a.first) * (c.second - a.second) - (b.second - a.second) * (c.first - a.first);
}

/// The point to the left of an edge from which it looks longest: no other point is in the circle.
std::optional<std::size_t> partner(const std::vector<PlanePoint>& points, const Edge& edge) {
  const PlanePoint &a = points[edge.first], &b = points[edge.second];
  std::optional<std::size_t> best;
  double smallest = HUGE_VAL;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (i == edge.first || i == edge.second) continue;
    const PlanePoint& c = points[i];
    const double area = turn(a, b, c);
    if (!(area > 0.0)) continue;
    const double along =
        (a.first - c.first) * (b.first - c.first) + (a.second - c.second) * (b.second - c.second);
    if (const double cotangent = along / area; cotangent < smallest) {
      smallest = cotangent;
      best = i;
    }
  }
  return best;
}

/// An edge of the convex hull that has all points to its left.
Edge hull_edge(const std::vector<PlanePoint>& points) {
  const auto lowest = static_cast<std::size_t>(
      std::min_element(points.begin(), points.end(),
                       [](const PlanePoint& a, const PlanePoint& b) {
                         return std::pair(a.second, a.first) < std::pair(b.second, b.first);
                       }) -
      points.begin());
  std::size_t next = lowest == 0 ? 1 : 0;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (i != lowest && i != next && turn(points[lowest], points[next], points[i]) < 0.0) next = i;
  }
  return {lowest, next};
}

/// Where a function that is `a` at one end and `b` at the other is zero.
PlanePoint between(const PlanePoint& p, const PlanePoint& q, double a, double b) {
  const double part = a / (a - b);
  return {p.first + part * (q.first - p.first), p.second + part * (q.second - p.second)};
}

/// A corner of a polygon with the values of two functions.
struct Corner {
  PlanePoint place;
  std::array<double, 2> values;
};

/// The part of a convex polygon where `sign` times the function is at least 0.
std::vector<Corner> clipped(const std::vector<Corner>& polygon, std::size_t function, double sign) {
  std::vector<Corner> result;
  for (std::size_t i = 0; i < polygon.size(); ++i) {
    const Corner &p = polygon[i], &q = polygon[(i + 1) % polygon.size()];
    const double a = sign * p.values[function], b = sign * q.values[function];
    if (a >= 0.0) result.push_back(p);
    if ((a >= 0.0) == (b >= 0.0)) continue;
    const double part = a / (a - b);
    Corner cut{between(p.place, q.place, a, b), {}};
    for (std::size_t k = 0; k < 2; ++k) {
      cut.values[k] = p.values[k] + part * (q.values[k] - p.values[k]);
    }
    cut.values[function] = 0.0;
    result.push_back(cut);
  }
  return result;
}

/// Pieces of lines from edge to edge: every edge is the end of at most two.
using Pieces = std::map<Edge, std::vector<Edge>>;

Pieces pieces_of(const std::vector<Triangle>& triangles, const std::vector<double>& values) {
  Pieces pieces;
  for (const Triangle& triangle : triangles) {
    std::vector<Edge> ends;
    for (std::size_t k = 0; k < 3; ++k) {
      const auto [a, b] = std::minmax(triangle[k], triangle[(k + 1) % 3]);
      if ((values[a] >= 0.0) != (values[b] >= 0.0)) ends.emplace_back(a, b);
    }
    if (ends.size() != 2) continue;
    pieces[ends[0]].push_back(ends[1]);
    pieces[ends[1]].push_back(ends[0]);
  }
  return pieces;
}

/// Takes the pieces that hang together out of the others, from one edge on.
std::vector<Edge> take_line(Pieces& pieces, Edge at) {
  std::vector<Edge> line{at};
  while (true) {
    std::vector<Edge>& ways = pieces[at];
    if (ways.empty()) return line;
    const Edge next = ways.back();
    ways.pop_back();
    std::vector<Edge>& back = pieces[next];
    back.erase(std::find(back.begin(), back.end(), at));
    line.push_back(next);
    at = next;
  }
}

}  // namespace

std::vector<Triangle> triangulate(const std::vector<PlanePoint>& points) {
  if (points.size() < 3) return {};
  const std::vector<PlanePoint> exact = scaled(points);
  std::vector<PlanePoint> moved = exact;
  for (std::size_t i = 0; i < moved.size(); ++i) {
    moved[i].first += k_jiggle * jiggle(2 * i);
    moved[i].second += k_jiggle * jiggle(2 * i + 1);
  }
  std::vector<Triangle> triangles;
  std::set<Edge> done;
  std::vector<Edge> open{hull_edge(moved)};
  while (!open.empty()) {
    const Edge edge = open.back();
    open.pop_back();
    if (done.contains(edge)) continue;
    const auto third = partner(moved, edge);
    done.insert(edge);
    if (!third) continue;
    const auto [a, b] = edge;
    done.insert({b, *third});
    done.insert({*third, a});
    // The other sides of the new edges.
    open.emplace_back(*third, b);
    open.emplace_back(a, *third);
    if (std::abs(turn(exact[a], exact[b], exact[*third])) > 2.0 * k_flat) {
      triangles.push_back({a, b, *third});
    }
  }
  return triangles;
}

std::vector<PlaneLine> zero_lines(const std::vector<PlanePoint>& points,
                                  const std::vector<Triangle>& triangles,
                                  const std::vector<double>& values) {
  Pieces pieces = pieces_of(triangles, values);
  std::vector<Edge> starts;
  for (const auto& [edge, ways] : pieces) {
    if (ways.size() == 1) starts.push_back(edge);  // at the edge of what is known
  }
  for (const auto& [edge, ways] : pieces) starts.push_back(edge);
  std::vector<PlaneLine> lines;
  for (const Edge& start : starts) {
    const std::vector<Edge> edges = take_line(pieces, start);
    if (edges.size() < 2) continue;
    PlaneLine line;
    for (const auto& [a, b] : edges) {
      line.push_back(between(points[a], points[b], values[a], values[b]));
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

std::vector<PlaneLine> area_between(const std::vector<PlanePoint>& points,
                                    const std::vector<Triangle>& triangles,
                                    const std::vector<double>& above,
                                    const std::vector<double>& below) {
  std::vector<PlaneLine> polygons;
  for (const Triangle& triangle : triangles) {
    std::vector<Corner> polygon;
    for (const std::size_t i : triangle) polygon.push_back({points[i], {above[i], below[i]}});
    polygon = clipped(clipped(polygon, 0, 1.0), 1, -1.0);
    if (polygon.size() < 3) continue;
    PlaneLine line;
    for (const Corner& corner : polygon) line.push_back(corner.place);
    polygons.push_back(std::move(line));
  }
  return polygons;
}

}  // namespace slalom::cli
