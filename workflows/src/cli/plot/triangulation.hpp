// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <utility>
#include <vector>

/// \file
/// Functions of two variables that are known at scattered points: linear on the triangles between
/// them. Lines where such a function is zero, and areas between two of them.
namespace slalom::cli {

/// A place in the plane.
using PlanePoint = std::pair<double, double>;
/// Corners of a triangle, as indices of points.
using Triangle = std::array<std::size_t, 3>;

/// The Delaunay triangulation of points; axes count by their ranges, not by their units. The order
/// of the points does not matter but for rectangles, whose diagonal may be either. Points must
/// differ from each other. Empty if all lie on one line.
std::vector<Triangle> triangulate(const std::vector<PlanePoint>& points);

/// A line from point to point; a closed one ends where it begins.
using PlaneLine = std::vector<PlanePoint>;
/// Where the function with those values at the points is zero.
std::vector<PlaneLine> zero_lines(const std::vector<PlanePoint>& points,
                                  const std::vector<Triangle>& triangles,
                                  const std::vector<double>& values);

/// The parts of the triangles in which `above` is at least 0 and `below` at most 0, as convex
/// polygons.
std::vector<PlaneLine> area_between(const std::vector<PlanePoint>& points,
                                    const std::vector<Triangle>& triangles,
                                    const std::vector<double>& above,
                                    const std::vector<double>& below);

}  // namespace slalom::cli
