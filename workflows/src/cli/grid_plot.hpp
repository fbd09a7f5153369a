// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "cli/command.hpp"
#include "cli/grid_results.hpp"
#include "cli/plot_arguments.hpp"

/// \file
/// Results of a signal grid against the values of its labels: a picture, and Combine's document.
namespace slalom::cli {

/// Which results, and against what.
struct GridPlotArguments {
  PlotArguments plot;               ///< --plot, --label, --title, --note
  std::string x;                    ///< --x
  std::string y;                    ///< --y
  std::vector<std::string> slices;  ///< --slice LABEL=VALUE
};

/// Declares --plot and its texts, --x, --y, --slice, and --format.
void declare_grid_plot(Command& command, GridPlotArguments& options);
/// Checks all that can be wrong before the signals are tested.
/// \param labels of the grid
/// \param limits whether limits are computed
/// \throws Error (usage)
void check_grid_plot(const Command& command, const GridPlotArguments& options,
                     const std::vector<std::string>& labels, bool limits);

/// Whether limits were computed.
bool has_limits(const GridResults& results);
/// Upper limits (CLs if there are none) against one label as a band, or the excluded region of two.
/// Signals that failed or did not converge are left out.
/// \throws Error (usage) if more labels vary than can be drawn, or too few signals are there
Picture grid_picture(const GridResults& results, const GridPlotArguments& options);

/// Limits by the value of a label, as `combineTool.py -M CollectLimits` writes them.
/// \throws Error (usage) if other labels vary as well
OrderedJson grid_combine_json(const GridResults& results, const GridPlotArguments& options);
/// pyhf's CLs by the name of the signal.
OrderedJson grid_pyhf_json(const GridResults& results);

}  // namespace slalom::cli
