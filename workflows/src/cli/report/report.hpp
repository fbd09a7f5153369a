// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cli/fit_report.hpp"
#include "cli/model_arguments.hpp"
#include "slalom/core/contour.hpp"
#include "slalom/core/goodness_of_fit.hpp"
#include "slalom/core/hypotest.hpp"
#include "slalom/core/impacts.hpp"
#include "slalom/core/interval.hpp"
#include "slalom/core/yields.hpp"
#include "slalom/workflows/distribution_plot.hpp"
#include "slalom/workflows/plot.hpp"

/// \file
/// The report of one workspace: what it is made of, computed once, and its page.
namespace slalom::cli {

/// The parts that can be left out, in the order of the page.
inline const std::vector<std::string> k_report_parts{
    "distributions", "yields", "gof",       "parameters", "pulls",
    "ranking",       "scan",   "breakdown", "limit",      "correlation"};

/// What the report is to have.
struct ReportOptions {
  std::set<std::string> without{};  ///< parts that are left out
  /// Parameters whose regions with the POI are shown; an empty name is the one that is most
  /// correlated with it.
  std::vector<std::string> contours{};
  std::size_t toys = 0;     ///< toys of the goodness of fit; 0 for none
  std::size_t seed = 0;     ///< of the toys
  std::size_t threads = 0;  ///< 0 for all of the machine
  /// Called now and then with what is done; returning false ends the re-fits or toys under way.
  std::function<bool(const char* what, std::size_t done, std::size_t total)> progress{};
  /// Whether a part is wanted.
  bool has(const std::string& part) const { return !without.contains(part); }
};

/// Everything that the page shows. What is absent was not asked for, or cannot be had.
struct Report {
  explicit Report(const LoadedModel& model) : fit{model, {}, {}, {}, {}} {}

  FitReport fit;                               ///< with the interval of the POI, if there is one
  std::vector<slalom::Pull> pulls{};           ///< of all parameters that float
  std::optional<GoodnessOfFit> gof{};          ///< asymptotic
  std::optional<ToyGoodnessOfFit> gof_toys{};  ///< by toys
  std::vector<ChannelYields> prefit{};         ///< before the fit
  std::vector<ChannelYields> postfit{};        ///< after it
  std::optional<Impacts> impacts{};            ///< on the POI
  bool refitted = true;                        ///< impacts are by re-fits
  std::optional<UncertaintyBreakdown> breakdown{};  ///< of the POI
  std::optional<Scan> scan{};                       ///< of the POI
  std::vector<std::vector<Contour>> contours{};     ///< of the POI and another one, by pair
  std::vector<HypothesisTest> tests{};              ///< CLs against the POI
  std::optional<UpperLimit> limit{};                ///< on the POI
  std::optional<DiscoveryTest> discovery{};         ///< of a signal
  Warnings warnings{};                              ///< all there are
  bool converged = true;                            ///< all fits of all parts

  /// The model and its data.
  const LoadedModel& loaded() const { return fit.loaded; }
  /// The specification of the model.
  const ModelSpec& spec() const { return fit.spec(); }
  /// The parameter of interest, if it floats.
  std::optional<std::size_t> poi() const;
};

/// What is printed about where the report comes from.
struct Provenance {
  std::string file;     ///< the workspace, as it was named
  std::string digest;   ///< sha256 of the document, patches applied
  std::string command;  ///< that made the report
  std::string date;     ///< empty for none
};

/// How it is shown.
struct ReportStyle {
  PlotStyle plot{};              ///< title, note and labels of the pictures
  std::vector<PlotAxis> axes{};  ///< of some channels
  bool logarithmic = false;      ///< axis of events
};

/// The page, and what went wrong with its pictures.
struct ReportPage {
  std::string html;           ///< well-formed XML, nothing outside is referred to
  std::string no_pictures{};  ///< why there are none; empty if there are
};

/// Fits, and computes all parts. Problems are warnings of the result.
Report collect_report(const LoadedModel& loaded, const ReportOptions& options);

/// Writes the page.
ReportPage write_report(const Report& report, const ReportOptions& options,
                        const ReportStyle& style, const Provenance& provenance);

}  // namespace slalom::cli
