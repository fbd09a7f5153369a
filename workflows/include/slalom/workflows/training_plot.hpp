// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "slalom/workflows/plot.hpp"

/// \file
/// Quantities against the step of a training, in panels above each other.
namespace slalom {

/// One line.
struct TrainingCurve {
  std::string name;   ///< in the legend, once for all curves of that name; empty for none
  int colour = 0;     ///< index into the palette; -1 for grey
  bool thin = false;  ///< one of many
  std::vector<std::pair<double, double>> points;  ///< step and value, by step; finite
};

/// One frame.
struct TrainingPanel {
  std::string label;                  ///< of the vertical axis, with markup
  std::vector<TrainingCurve> curves;  ///< later ones are above
  std::optional<double> line{};       ///< a horizontal line, dashed
};

/// What is drawn.
struct TrainingPlot {
  std::vector<TrainingPanel> panels;  ///< from top to bottom, at least one
  std::optional<double> best{};       ///< step that is marked
};

/// Fewer points: means of neighbours, and the first and last point as they are.
/// \param points by step \param most at least 3
/// \returns the points themselves if there are not more
std::vector<std::pair<double, double>> thinned(const std::vector<std::pair<double, double>>& points,
                                               std::size_t most);

/// The picture. Axes are logarithmic where values are positive and cover more than a decade.
Picture picture(const TrainingPlot& plot, const PlotStyle& style = {});

}  // namespace slalom
