// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "slalom/workflows/plot.hpp"

/// \file
/// One figure of several variants: a point per seed, the median as a line.
namespace slalom {

/// One variant.
struct ComparisonRow {
  std::string name;                ///< of the variant
  int colour = 0;                  ///< index into the palette
  std::vector<double> values;      ///< finite; may be empty
  std::optional<double> median{};  ///< of them
};

/// What is drawn, from top to bottom.
struct ComparisonPlot {
  std::string label;                ///< of the horizontal axis, with markup
  std::vector<ComparisonRow> rows;  ///< at least one
};

/// The picture.
Picture picture(const ComparisonPlot& plot, const PlotStyle& style = {});

}  // namespace slalom
