// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "slalom/core/bump_hunt.hpp"
#include "slalom/workflows/plot.hpp"

/// \file
/// A mass spectrum: data, the background with its uncertainty, a signal on top of it, the signal
/// region, and below how far the data are from the background.
namespace slalom {

/// What is drawn, in B bins.
struct MassSpectrumPlot {
  std::string axis = "m [TeV]";           ///< quantity, with its unit in brackets at the end
  std::vector<double> edges;              ///< of the bins [B + 1]
  std::vector<double> data;               ///< observed events [B]
  std::vector<double> background;         ///< expected events [B]
  std::vector<double> background_error;   ///< its uncertainty [B]; empty: none
  std::vector<double> signal;             ///< events on top of it [B]; empty: none
  std::optional<MassWindow> window = {};  ///< shaded: the signal region
  std::string background_name = "Background fit";  ///< in the legend
  std::string signal_name = "Fitted signal";       ///< in the legend
  std::vector<std::string> results = {};           ///< lines in the frame: S, Z
  bool logarithmic = true;                         ///< axis of events, per bin
};

/// Collects a bump hunt: the background that the bins outside of the window predict, with the
/// fitted signal if that is positive. \param counts of events [B] \throws Error (usage) for another
/// number of bins
MassSpectrumPlot mass_spectrum_plot(std::span<const double> counts, const BumpHuntResult& hunt);

/// The picture. The lower panel shows (data - background) / sqrt(background + error^2), the line in
/// it the signal in the same unit. \throws Error (usage) for lengths that differ
Picture picture(const MassSpectrumPlot& plot, const PlotStyle& style = {});

}  // namespace slalom
