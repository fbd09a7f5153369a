// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "slalom/workflows/plot.hpp"

/// \file
/// Estimates of many data sets against their truth: a column for each draw, its data sets as
/// points, their mean and the mean quoted error in front of them.
namespace slalom {

/// Data sets with something in common.
struct EstimateColumn {
  std::vector<double> values;  ///< estimates; may be empty
  double mean = 0.0;           ///< of them
  double error = 0.0;          ///< quoted, mean
};

/// What is drawn, from left to right.
struct EstimatePlot {
  std::string axis = "Draw of simulations";            ///< horizontal, with markup
  std::string label = "Signal fraction {/:Italic κ}";  ///< vertical, with markup
  std::vector<EstimateColumn> columns;                 ///< at least one
  std::optional<double> truth{};                       ///< a line
};

/// The picture.
Picture picture(const EstimatePlot& plot, const PlotStyle& style = {});

}  // namespace slalom
