// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "slalom/core/hypotest.hpp"
#include "slalom/workflows/plot.hpp"

/// \file
/// Observed and expected CLs against the signal strength, and upper limits against a mass or
/// another label of a signal grid, with bands of one and two standard deviations.
namespace slalom {

/// Observed and expected numbers at one place of the horizontal axis.
struct BandPoint {
  double x = 0.0;                    ///< signal strength, mass, ...
  std::optional<double> observed{};  ///< absent before the data are looked at
  std::array<double, 5> expected{};  ///< at -2, -1, 0, 1, 2 sigma of the background
};

/// CLs against the signal strength.
struct ClsPlot {
  std::string parameter;             ///< name of the parameter of interest
  std::vector<BandPoint> points;     ///< CLs, by signal strength
  double level = 0.05;               ///< CLs at the limit
  std::optional<BandPoint> limit{};  ///< upper limits; x is not used
  bool logarithmic = false;          ///< axis of CLs
};

/// Collects tests in the order of their mu, without those that did not converge.
/// \param parameter name of the parameter of interest
/// \param tests at several mu
/// \param limit if it converged, it is marked
ClsPlot cls_plot(const std::string& parameter, const std::vector<HypothesisTest>& tests,
                 const UpperLimit& limit);

/// Upper limits, or other numbers, of a signal grid.
struct LimitPlot {
  std::string axis;                   ///< horizontal axis, with markup: "m_{X} [GeV]"
  std::string quantity;               ///< vertical axis, with markup
  std::string caption{};              ///< first line inside; "95 % CL upper limits" if empty
  std::vector<BandPoint> points;      ///< limits, by x
  double level = 0.05;                ///< CLs at the limits
  bool logarithmic = true;            ///< vertical axis
  std::optional<double> excluded{1};  ///< line below which a signal is excluded
  std::string excluded_label{};       ///< its name in the legend, with markup; none if empty
  /// Ends of the vertical axis; what is drawn decides if there are none.
  std::optional<std::array<double, 2>> range{};
};

/// The picture of CLs.
Picture picture(const ClsPlot& plot, const PlotStyle& style = {});
/// The picture of limits.
Picture picture(const LimitPlot& plot, const PlotStyle& style = {});

}  // namespace slalom
