// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "slalom/workflows/plot.hpp"

/// \file
/// Fitted weights of simulations, or coordinates of a shape, beside what their prior expected.
namespace slalom {

/// What the prior expected of one number.
struct WeightPrior {
  double mean = 0.0;   ///< expected
  double width = 0.0;  ///< standard deviation
};

/// One number.
struct WeightPoint {
  double value = 0.0;                  ///< best fit
  double error = 0.0;                  ///< its error; 0: none
  std::optional<WeightPrior> prior{};  ///< a band
};

/// Numbers of one process.
struct WeightPanel {
  std::string name;                   ///< of the process
  std::vector<WeightPoint> points{};  ///< from left to right
};

/// Panels below each other.
struct WeightPlot {
  std::string axis = "Simulation";  ///< horizontal, with markup
  std::string label = "Weight";     ///< vertical, with markup
  std::vector<WeightPanel> panels;  ///< at least one
};

/// The picture.
Picture picture(const WeightPlot& plot, const PlotStyle& style = {});

}  // namespace slalom
