// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "cli/command.hpp"
#include "cli/fit_report.hpp"
#include "slalom/workflows/plot.hpp"

/// \file
/// The options of verbs that draw the data with a fitted model.
namespace slalom::cli {

/// What to draw, and where.
struct PlotArguments {
  std::string file;                                         ///< --plot; empty for no plot
  std::vector<std::string> axes;                            ///< --axis
  std::vector<std::pair<std::string, std::string>> labels;  ///< --label
  std::string title;                                        ///< --title
  std::string note;                                         ///< --note
  bool logarithmic = false;                                 ///< --log
};

/// Declares --plot, --axis, --label, --title, --note and --log.
void declare_plot(Command& command, PlotArguments& options);

/// Checks all that can be wrong with them before time is spent on a fit, and reads them.
/// \throws Error (usage)
PlotOptions plot_options(const PlotArguments& options, const ModelSpec& spec);

/// Draws a fit with the value of its POI. \throws Error
void draw_fit(const FitReport& report, PlotOptions options, const std::string& file);

}  // namespace slalom::cli
