// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "slalom/workflows/plot.hpp"

/// \file
/// Expected events per bin with hard and soft bins, and below them what nuisance parameters do.
namespace slalom {

/// Templates of one sample, or of several together.
struct VariationSample {
  std::string name;            ///< of the sample
  int colour = 0;              ///< index into the palette; -1 for the signal
  std::vector<double> hard;    ///< events [n_bins]
  std::vector<double> soft{};  ///< with soft bins [n_bins]; may be empty
};

/// One nuisance parameter at +1 and -1, relative to its nominal value.
struct VariationPanel {
  std::string name;                   ///< of the parameter
  std::vector<double> up;             ///< background, relative change [n_bins]
  std::vector<double> down;           ///< background, relative change [n_bins]
  std::vector<double> signal_up{};    ///< signal, relative change [n_bins]; empty if it has none
  std::vector<double> signal_down{};  ///< signal, relative change [n_bins]; empty if it has none
};

/// What is drawn.
struct VariationPlot {
  std::string axis = "Bin";              ///< label of the horizontal axis, with markup
  std::vector<double> edges;             ///< of the bins [n_bins + 1]
  std::vector<VariationSample> samples;  ///< at least one
  std::vector<VariationPanel> panels{};  ///< below, from top to bottom
};

/// The picture.
Picture picture(const VariationPlot& plot, const PlotStyle& style = {});

}  // namespace slalom
