// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "cli/command.hpp"
#include "cli/fit_report.hpp"
#include "slalom/workflows/distribution_plot.hpp"
#include "slalom/workflows/plot.hpp"

/// \file
/// The options of verbs that draw their result.
namespace slalom::cli {

/// Where to draw, and the texts of the picture.
struct PlotArguments {
  std::string file;                                         ///< --plot; empty for no plot
  std::vector<std::pair<std::string, std::string>> labels;  ///< --label
  std::string title;                                        ///< --title
  std::string note;                                         ///< --note
};

/// How distributions are drawn.
struct DistributionArguments {
  std::vector<std::string> axes;  ///< --axis
  bool logarithmic = false;       ///< --log
  bool overview = false;          ///< --overview
};

/// Declares --plot, --label, --title and --note. \param what "the profile", for the help
void declare_plot(Command& command, PlotArguments& options, const std::string& what);
/// Declares --label, --title and --note.
void declare_texts(Command& command, PlotArguments& options);
/// Declares --axis, --log and --overview.
void declare_distributions(Command& command, DistributionArguments& options);

/// Checks the format of a file, unless its name is empty. \throws Error (usage)
void check_plot_file(const std::string& file);
/// Checks all that can be wrong before time is spent on a fit, and reads the texts. Without a title
/// that is the name of the measurement.
/// \param drawn a picture was asked for; options that need one are errors if not
/// \throws Error (usage)
PlotStyle plot_style(const PlotArguments& options, const LoadedModel& loaded, bool drawn);
/// The same for a verb with one picture.
PlotStyle plot_style(const PlotArguments& options, const LoadedModel& loaded);
/// Reads the axes. \throws Error (usage)
std::vector<PlotAxis> plot_axes(const DistributionArguments& options, const ModelSpec& spec,
                                bool drawn);

/// Draws into a file unless its name is empty. A picture that cannot be drawn is no reason to lose
/// a result: it is a warning. \return false then
bool try_to_draw(Command& command, const std::string& file, const std::function<Picture()>& make);

/// The distributions in the form that was asked for.
DistributionPlot arranged(DistributionPlot plot, const DistributionArguments& options);
/// Data and model before the fit: initial values, uncertainties of the constraints.
DistributionPlot prefit_distributions(const LoadedModel& loaded, const std::vector<PlotAxis>& axes);
/// Data and fitted model.
DistributionPlot postfit_distributions(const FitReport& report, const std::vector<PlotAxis>& axes);
/// Lines for pictures of a fit: what the data are, the POI, whether the fit converged.
std::vector<std::string> fit_lines(const FitReport& report);

}  // namespace slalom::cli
