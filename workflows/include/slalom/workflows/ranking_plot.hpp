// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "slalom/core/impacts.hpp"
#include "slalom/workflows/plot.hpp"

/// \file
/// Ranking of nuisance parameters by their impact: impacts on the upper axis, pulls on the lower.
namespace slalom {

/// One nuisance parameter.
struct RankedParameter {
  std::string name;           ///< of the parameter
  bool constrained = true;    ///< pull and constraint mean something
  double pull = 0.0;          ///< in units of the pre-fit uncertainty
  double constraint = 0.0;    ///< post-fit / pre-fit uncertainty
  double value = 0.0;         ///< best fit
  double error = 0.0;         ///< post-fit uncertainty
  double prefit_up = 0.0;     ///< impact of + the pre-fit uncertainty
  double prefit_down = 0.0;   ///< impact of - the pre-fit uncertainty
  double postfit_up = 0.0;    ///< impact of + the post-fit uncertainty
  double postfit_down = 0.0;  ///< impact of - the post-fit uncertainty
};

/// What is drawn, the largest impact on top.
struct RankingPlot {
  std::string target;                       ///< name of the parameter of interest
  double value = 0.0;                       ///< its best fit
  double error = 0.0;                       ///< its uncertainty
  std::vector<RankedParameter> parameters;  ///< largest impact first
  std::size_t hidden = 0;                   ///< how many smaller ones were left out
  bool prefit = true;                       ///< there are pre-fit impacts
};

/// Collects the largest impacts; the linear form stands for post-fit impacts without re-fits.
/// \param spec names of the parameters
/// \param impacts from slalom::impacts
/// \param pulls of the same fit, from slalom::pulls
/// \param most how many parameters to keep
RankingPlot ranking_plot(const ModelSpec& spec, const Impacts& impacts,
                         const std::vector<Pull>& pulls, std::size_t most = 20);

/// The picture: pre-fit impacts are outlines, post-fit ones are filled, pulls are points. For
/// parameters without a constraint the best fit is printed in place of the pull.
Picture picture(const RankingPlot& plot, const PlotStyle& style = {});

}  // namespace slalom
