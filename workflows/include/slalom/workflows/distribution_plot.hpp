// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <vector>

#include "slalom/core/fit.hpp"
#include "slalom/workflows/plot.hpp"

/// \file
/// Data and model of every channel: stacked samples, their sum with its uncertainty, the data with
/// Poisson error bars, and the ratio of both.
namespace slalom {

/// What the bins of one channel stand for.
struct PlotAxis {
  std::string channel;  ///< name of the channel
  std::string label;    ///< quantity, with its unit in brackets at the end if it has one
  double low = 0.0;     ///< lower edge of the first bin
  double high = 0.0;    ///< upper edge of the last bin; all bins are equally wide
};

/// One sample, or several small ones together.
struct PlotSample {
  std::string name;            ///< of the sample
  int colour = 0;              ///< index into the palette; -1 for the signal
  std::vector<double> yields;  ///< events [n_bins]
};

/// Neighbouring bins with a common name below them.
struct BinGroup {
  std::string name;        ///< of the channel
  std::size_t n_bins = 0;  ///< how many bins
};

/// Everything that is drawn for one channel.
struct ChannelPlot {
  std::string channel;              ///< name; empty if several are drawn together
  std::vector<double> edges;        ///< of the bins [n_bins + 1]
  std::string axis;                 ///< label of the horizontal axis; empty: the bins are numbered
  std::vector<BinGroup> groups;     ///< names in place of numbers below the bins
  std::vector<PlotSample> samples;  ///< from bottom to top; those with the POI are on top
  std::vector<double> total;        ///< sum of the samples [n_bins]
  std::vector<double> total_error;  ///< its uncertainty [n_bins]
  std::vector<double> data;         ///< observed [n_bins]
};

/// One picture, with a cell for every channel.
struct DistributionPlot {
  std::vector<ChannelPlot> channels;  ///< at least one
  bool logarithmic = false;           ///< axis of events
};

/// Reads `CHANNEL:LABEL:LOW:HIGH`. Channel names and labels may contain colons.
/// \param text the argument
/// \param spec where the channel must be
/// \throws Error (usage)
PlotAxis parse_plot_axis(const std::string& text, const ModelSpec& spec);

/// Collects what is drawn.
/// \param model its channels are drawn
/// \param parameters where the model is evaluated [P]
/// \param covariance of the parameters; an empty one gives no uncertainty
/// \param data observed main data [B], more entries are ignored
/// \param axes of some channels
DistributionPlot distribution_plot(const Model& model, std::span<const double> parameters,
                                   const Covariance& covariance, std::span<const double> data,
                                   const std::vector<PlotAxis>& axes = {});

/// The bins of all channels beside each other, under the names of their channels: what models with
/// many channels of few bins need. The axis of events is logarithmic.
DistributionPlot overview(const DistributionPlot& plot);

/// The picture. Each channel is 720 x 640 pixels, an overview is wider.
Picture picture(const DistributionPlot& plot, const PlotStyle& style = {});

}  // namespace slalom
