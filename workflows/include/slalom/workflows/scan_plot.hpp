// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "slalom/core/interval.hpp"
#include "slalom/workflows/plot.hpp"

/// \file
/// Profile of -2 log L along one parameter, with lines at one and two standard deviations.
namespace slalom {

/// What is drawn.
struct ScanPlot {
  std::string parameter;                                ///< name
  std::vector<std::pair<double, double>> points;        ///< value and 2 Delta NLL, by value
  std::vector<std::pair<double, double>> failed;        ///< points whose fit did not converge
  double best = 0.0;                                    ///< best fit
  std::optional<double> error{};                        ///< draws the parabola of this uncertainty
  std::optional<std::pair<double, double>> interval{};  ///< ends where 2 Delta NLL = 1
};

/// Collects a scan. \param spec names of the parameters
ScanPlot scan_plot(const ModelSpec& spec, const Scan& scan);

/// The picture.
Picture picture(const ScanPlot& plot, const PlotStyle& style = {});

}  // namespace slalom
