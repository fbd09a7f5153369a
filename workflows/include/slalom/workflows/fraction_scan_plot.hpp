// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "slalom/workflows/plot.hpp"

/// \file
/// A noisy scan of a likelihood over a signal fraction: points with error bars, the curve that
/// smooths them, the best value and its interval.
namespace slalom {

/// One point of a scan.
struct FractionScanPoint {
  double x = 0.0;      ///< signal fraction
  double value = 0.0;  ///< of the likelihood
  double error = 0.0;  ///< its standard deviation, such as that of a bootstrap
};

/// The smoothed scan at one place.
struct FractionScanCurvePoint {
  double x = 0.0;      ///< signal fraction
  double value = 0.0;  ///< of the curve
  double error = 0.0;  ///< half of the width of its band; 0: none
};

/// What is drawn.
struct FractionScanPlot {
  std::string axis = "Signal fraction";                        ///< of the scan
  std::string label = "ln {/:Italic L} − ln {/:Italic L}(0)";  ///< of the vertical axis
  std::vector<FractionScanPoint> points;                       ///< by x
  std::vector<FractionScanCurvePoint> curve{};                 ///< by x; empty: none
  std::optional<double> best{};                                ///< a vertical line
  std::optional<std::pair<double, double>> interval{};         ///< shaded
  std::optional<double> truth{};                               ///< a dotted vertical line
  std::optional<double> level{};                               ///< a broken horizontal line
  bool logarithmic = true;  ///< axis of x; points at 0 or below are left out
};

/// The picture.
Picture picture(const FractionScanPlot& plot, const PlotStyle& style = {});

}  // namespace slalom
