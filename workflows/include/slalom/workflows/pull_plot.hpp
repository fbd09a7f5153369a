// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "slalom/core/impacts.hpp"
#include "slalom/workflows/plot.hpp"

/// \file
/// Pulls and constraints of nuisance parameters against their pre-fit uncertainty of +-1.
namespace slalom {

/// One nuisance parameter, in units of its pre-fit uncertainty.
struct PullPoint {
  std::string name;    ///< of the parameter
  double pull = 0.0;   ///< (best fit - pre-fit value) / pre-fit uncertainty
  double error = 0.0;  ///< post-fit / pre-fit uncertainty
};

/// What is drawn, from top to bottom.
struct PullPlot {
  std::vector<PullPoint> points;  ///< constrained parameters
  std::size_t hidden = 0;         ///< how many others were left out
};

/// Collects the pulls of constrained parameters.
/// \param spec names of the parameters, and which of them are constrained
/// \param pulls of a fit, from slalom::pulls
/// \param most beyond this number those are kept that are pulled or constrained most
PullPlot pull_plot(const ModelSpec& spec, const std::vector<Pull>& pulls, std::size_t most = 160);

/// The picture: a row per parameter, in columns of at most 40; pulls outside the frame are arrows.
Picture picture(const PullPlot& plot, const PlotStyle& style = {});

}  // namespace slalom
