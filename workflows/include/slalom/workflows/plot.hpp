// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "slalom/core/fit.hpp"

/// \file
/// Data and fitted model of every channel as a picture: stacked samples, their sum with its
/// uncertainty, the data with Poisson error bars, and the ratio of both. Drawn by gnuplot, which is
/// started as a program.
namespace slalom {

/// What the bins of one channel stand for.
struct PlotAxis {
  std::string channel;  ///< name of the channel
  std::string label;    ///< quantity, with its unit in brackets at the end if it has one
  double low = 0.0;     ///< lower edge of the first bin
  double high = 0.0;    ///< upper edge of the last bin; all bins are equally wide
};

/// Texts of a picture. Labels and titles may use gnuplot's markup: `m_{T}`, `10^{-3}`,
/// `{/:Italic x}`; names from the workspace are printed as they are.
struct PlotOptions {
  std::vector<PlotAxis> axes{};                 ///< channels without one number their bins
  std::map<std::string, std::string> labels{};  ///< by name of a sample or channel
  std::string title{};                          ///< above the frame on the left, in bold
  std::string note{};                           ///< above the frame on the right
  std::vector<std::string> lines{};             ///< inside the frame, printed as they are
  bool logarithmic = false;                     ///< vertical axis
};

/// One sample, or several small ones together.
struct PlotSample {
  std::string label;           ///< in the legend
  bool markup = false;         ///< the label uses gnuplot's markup
  int colour = 0;              ///< index into the palette; -1 for the signal
  std::vector<double> yields;  ///< events [n_bins]
};

/// Everything that is drawn for one channel.
struct ChannelPlot {
  std::string channel;              ///< name
  std::vector<double> edges;        ///< of the bins [n_bins + 1]
  std::string axis;                 ///< label of the horizontal axis; empty: the bins are numbered
  std::vector<PlotSample> samples;  ///< from bottom to top; those with the POI are on top
  std::vector<double> total;        ///< sum of the samples [n_bins]
  std::vector<double> total_error;  ///< its uncertainty [n_bins]
  std::vector<double> data;         ///< observed [n_bins]
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
/// \param options axes and labels
std::vector<ChannelPlot> channel_plots(const Model& model, std::span<const double> parameters,
                                       const Covariance& covariance, std::span<const double> data,
                                       const PlotOptions& options = {});

/// Whether draw() knows the format of a file: svg, png or pdf. \throws Error (usage) if not
void check_plot_format(const std::filesystem::path& file);

/// Draws all channels into one file, which is written completely or not at all.
/// \param plots at least one
/// \param options titles
/// \param file its suffix is the format: svg, png or pdf
/// \throws Error (usage) for other formats
/// \throws Error (io) if gnuplot is missing or fails, with what it said
void draw(const std::vector<ChannelPlot>& plots, const PlotOptions& options,
          const std::filesystem::path& file);

}  // namespace slalom
