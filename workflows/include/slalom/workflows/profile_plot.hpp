// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "slalom/workflows/plot.hpp"

/// \file
/// Profiles of -2 log L of several analyses over each other, and shapes of templates over each
/// other.
namespace slalom {

/// One profile.
struct ProfileCurve {
  std::string name;                                 ///< in the legend
  int colour = 0;                                   ///< index into the palette
  std::vector<std::pair<double, double>> points{};  ///< parameter and rise, by parameter; finite
};

/// Profiles of one parameter.
struct ProfilePlot {
  std::string parameter;             ///< name
  std::vector<ProfileCurve> curves;  ///< later ones are above
  std::optional<double> truth{};     ///< a vertical line
};

/// The picture. Curves are drawn up to a rise of 10.
Picture picture(const ProfilePlot& plot, const PlotStyle& style = {});

/// Contents of the same bins under several conditions.
struct ShapeCurve {
  std::string name;              ///< in the legend
  int colour = 0;                ///< index into the palette
  bool dashed = false;           ///< broken line
  std::vector<double> values{};  ///< [bins], >= 0
};

/// Shapes in bins that are numbered.
struct ShapePlot {
  std::string label;               ///< of the vertical axis
  std::string axis = "Bin";        ///< of the horizontal axis
  std::vector<ShapeCurve> curves;  ///< all of the same number of bins
};

/// The picture: steps, on a logarithmic axis where contents cover more than two decades.
Picture picture(const ShapePlot& plot, const PlotStyle& style = {});

}  // namespace slalom
