// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string>
#include <vector>

#include "slalom/workflows/plot.hpp"

/// \file
/// Which signals of a grid of two values (masses) are excluded.
namespace slalom {

/// One signal. A measure of exclusion is any number that is 0 at the edge of the excluded region,
/// positive where the signal is excluded, and rather linear in between; see exclusion().
struct ExclusionPoint {
  double x = 0.0;                    ///< first value
  double y = 0.0;                    ///< second value
  double observed = 0.0;             ///< measure of exclusion
  std::array<double, 3> expected{};  ///< the same at -1, 0, 1 sigma of the background
};

/// Measure of exclusion by a test: the significance of CLs above that of the level,
/// Phi^-1(1 - cls) - Phi^-1(1 - level), at most 10.
double exclusion_by_cls(double cls, double level);
/// Measure of exclusion by an upper limit on the signal strength: log(mu / limit).
/// \param limit > 0
/// \param mu signal strength that is called excluded where the limit is below it
double exclusion_by_limit(double limit, double mu);

/// Regions of two values of a signal grid.
struct ExclusionPlot {
  std::array<std::string, 2> axes;     ///< titles, with markup: "m_{X} [GeV]"
  std::vector<ExclusionPoint> points;  ///< the signals, in any order
  double level = 0.05;                 ///< CLs at the edge
  std::string caption{};               ///< second line inside, with markup: "mu = 1"
};

/// The picture: lines where the measure is zero on the triangles between the signals, the expected
/// one with its band of one standard deviation, and the signals, filled where they are excluded.
/// \throws Error (usage) for two signals at one place, or if all lie on one line
Picture picture(const ExclusionPlot& plot, const PlotStyle& style = {});

}  // namespace slalom
