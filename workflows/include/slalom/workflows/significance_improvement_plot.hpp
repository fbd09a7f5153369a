// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "slalom/workflows/plot.hpp"

/// \file
/// Significance improvement eps_S / sqrt(eps_B) against signal efficiency, of several methods.
namespace slalom {

/// One cut.
struct SignificanceImprovementPoint {
  double signal_efficiency = 0.0;  ///< eps_S
  double value = 0.0;              ///< eps_S / sqrt(eps_B)
  double error = 0.0;              ///< statistical
};

/// One method.
struct SignificanceImprovementLine {
  std::string name;     ///< in the legend
  int colour = 0;       ///< index into the palette; -1 for the signal's
  bool dashed = false;  ///< broken line: bounds that no method reaches
  std::vector<SignificanceImprovementPoint> points{};  ///< by signal efficiency
};

/// Several methods over each other.
struct SignificanceImprovementPlot {
  std::vector<SignificanceImprovementLine> curves;  ///< later ones are above
  std::size_t error_bars = 12;  ///< how many points of each curve have one; 0: none
};

/// The picture, with a line at 1: no cut.
Picture picture(const SignificanceImprovementPlot& plot, const PlotStyle& style = {});

}  // namespace slalom
