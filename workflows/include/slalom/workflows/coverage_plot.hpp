// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "slalom/workflows/plot.hpp"

/// \file
/// What part of intervals holds the truth, against what they claim.
namespace slalom {

/// Intervals of one nominal probability.
struct CoveragePlotPoint {
  double nominal = 0.0;   ///< what they claim
  double coverage = 0.0;  ///< part that holds the truth
  double error = 0.0;     ///< its standard deviation; 0: none
};

/// Intervals of one kind.
struct CoverageLine {
  std::string name;                         ///< in the legend
  int colour = 0;                           ///< index into the palette
  bool joined = true;                       ///< points by a line
  std::vector<CoveragePlotPoint> points{};  ///< by nominal probability
};

/// Several kinds over each other.
struct CoveragePlot {
  std::vector<CoverageLine> curves;  ///< later ones are above
};

/// The picture, with the diagonal that intervals should follow.
Picture picture(const CoveragePlot& plot, const PlotStyle& style = {});

}  // namespace slalom
