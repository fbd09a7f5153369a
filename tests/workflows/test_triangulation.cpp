// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "cli/plot/triangulation.hpp"
#include "support/catch.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using namespace slalom::cli;

namespace {

double area(const std::vector<PlanePoint>& corners) {
  double twice = 0.0;
  for (std::size_t i = 0; i < corners.size(); ++i) {
    const auto& [x, y] = corners[i];
    const auto& [u, v] = corners[(i + 1) % corners.size()];
    twice += x * v - y * u;
  }
  return 0.5 * std::abs(twice);
}

double total_area(const std::vector<PlanePoint>& points, const std::vector<Triangle>& triangles) {
  double sum = 0.0;
  for (const Triangle& t : triangles) sum += area({points[t[0]], points[t[1]], points[t[2]]});
  return sum;
}

/// A grid of rectangles whose axes have very different units.
std::vector<PlanePoint> grid(std::size_t nx, std::size_t ny) {
  std::vector<PlanePoint> points;
  for (std::size_t i = 0; i < nx; ++i) {
    for (std::size_t j = 0; j < ny; ++j) {
      points.emplace_back(1000.0 * static_cast<double>(i), 0.01 * static_cast<double>(j));
    }
  }
  return points;
}

std::vector<double> values(const std::vector<PlanePoint>& points,
                           double (*function)(double, double)) {
  std::vector<double> result;
  for (const auto& [x, y] : points) result.push_back(function(x / 1000.0, y / 0.01));
  return result;
}

double length(const PlaneLine& line) {
  double sum = 0.0;
  for (std::size_t i = 1; i < line.size(); ++i) {
    sum += std::hypot((line[i].first - line[i - 1].first) / 1000.0,
                      (line[i].second - line[i - 1].second) / 0.01);
  }
  return sum;
}

}  // namespace

TEST_CASE("triangles cover a grid once", "[workflows][triangulation]") {
  const auto points = grid(7, 5);
  const auto triangles = triangulate(points);
  CHECK(triangles.size() == 2 * 6 * 4);
  CHECK_THAT(total_area(points, triangles), WithinRel(6000.0 * 0.04, 1e-9));
  // Delaunay: no rectangle is cut but by its own diagonals.
  for (const Triangle& t : triangles) {
    CHECK_THAT(area({points[t[0]], points[t[1]], points[t[2]]}), WithinRel(5.0, 1e-9));
  }
}

TEST_CASE("triangles of scattered points have empty circles", "[workflows][triangulation]") {
  std::vector<PlanePoint> points{{0, 0}, {1, 0}, {0, 1}, {1, 1}};
  for (int i = 1; i < 40; ++i) {
    points.emplace_back(std::fmod(0.618034 * i, 1.0), std::fmod(0.754878 * i, 1.0));
  }
  const auto triangles = triangulate(points);
  CHECK_THAT(total_area(points, triangles), WithinRel(1.0, 1e-9));
  for (const Triangle& t : triangles) {
    const auto& [ax, ay] = points[t[0]];
    const auto& [bx, by] = points[t[1]];
    const auto& [cx, cy] = points[t[2]];
    const double d = 2.0 * (ax * (by - cy) + bx * (cy - ay) + cx * (ay - by));
    const double a = ax * ax + ay * ay, b = bx * bx + by * by, c = cx * cx + cy * cy;
    const double ux = (a * (by - cy) + b * (cy - ay) + c * (ay - by)) / d;
    const double uy = (a * (cx - bx) + b * (ax - cx) + c * (bx - ax)) / d;
    const double radius = std::hypot(ax - ux, ay - uy);
    for (const auto& [x, y] : points) CHECK(std::hypot(x - ux, y - uy) > radius - 1e-4);
  }
}

TEST_CASE("points on a line have no triangles", "[workflows][triangulation]") {
  CHECK(triangulate({}).empty());
  CHECK(triangulate({{0, 0}, {1, 1}}).empty());
  CHECK(triangulate({{0, 0}, {1, 1}, {2, 2}, {5, 5}}).empty());
  CHECK(triangulate({{0, 3}, {1, 3}, {2, 3}}).empty());
}

TEST_CASE("lines are where a function is zero", "[workflows][triangulation]") {
  const auto points = grid(9, 9);
  const auto triangles = triangulate(points);
  const auto straight =
      zero_lines(points, triangles, values(points, [](double x, double y) { return x + y - 4.3; }));
  REQUIRE(straight.size() == 1);
  for (const auto& [x, y] : straight[0]) CHECK_THAT(x / 1000.0 + y / 0.01, WithinAbs(4.3, 1e-9));
  CHECK_THAT(length(straight[0]), WithinRel(4.3 * std::sqrt(2.0), 1e-9));
  // A closed one.
  const auto round = zero_lines(points, triangles, values(points, [](double x, double y) {
                                  return 2.6 - std::hypot(x - 4.0, y - 4.0);
                                }));
  REQUIRE(round.size() == 1);
  CHECK(round[0].front() == round[0].back());
  CHECK_THAT(length(round[0]), WithinRel(2.0 * std::acos(-1.0) * 2.6, 0.03));
  CHECK(zero_lines(points, triangles, std::vector<double>(points.size(), 1.0)).empty());
}

TEST_CASE("areas lie between two functions", "[workflows][triangulation]") {
  const auto points = grid(9, 9);
  const auto triangles = triangulate(points);
  const auto inner = values(points, [](double x, double) { return 2.25 - x; });
  const auto outer = values(points, [](double x, double) { return 5.75 - x; });
  double sum = 0.0;
  for (const PlaneLine& polygon : area_between(points, triangles, outer, inner)) {
    sum += area(polygon);
  }
  CHECK_THAT(sum, WithinRel(3500.0 * 0.08, 1e-9));
  CHECK(area_between(points, triangles, inner, outer).empty());
}
