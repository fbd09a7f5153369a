// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "slalom/core/contour.hpp"
#include "slalom/workflows/plot.hpp"

/// \file
/// Regions of two parameters.
namespace slalom {

/// Edge of the region of one level; several curves may have the same label.
struct ContourCurve {
  std::string label;                              ///< e.g. "68.3 %"
  std::vector<std::pair<double, double>> points;  ///< along the curve
  bool closed = true;                             ///< its ends are joined
};

/// What is drawn.
struct ContourPlot {
  std::array<std::string, 2> parameters;                ///< names, horizontal first
  std::vector<ContourCurve> curves;                     ///< innermost first
  std::pair<double, double> best;                       ///< best fit
  std::optional<std::pair<double, double>> expected{};  ///< a point to compare with
  std::string expected_label{"Expected"};               ///< its name in the legend
};

/// Collects contours of one pair of parameters, in any order of their levels.
/// \param spec names of the parameters
/// \param contours not empty; the last one has the best fit
ContourPlot contour_plot(const ModelSpec& spec, const std::vector<Contour>& contours);

/// The picture.
Picture picture(const ContourPlot& plot, const PlotStyle& style = {});

}  // namespace slalom
