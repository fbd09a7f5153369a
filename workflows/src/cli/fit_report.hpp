// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/model_arguments.hpp"
#include "cli/result.hpp"
#include "slalom/core/fit.hpp"
#include "slalom/core/goodness_of_fit.hpp"
#include "slalom/core/impacts.hpp"
#include "slalom/core/interval.hpp"

/// \file
/// The outcome of `slalom fit` as a document, as comma-separated values and as a table.
namespace slalom::cli {

/// Everything that one fit found out.
struct FitReport {
  const LoadedModel& loaded;  ///< model and data
  FitResult result;           ///< the fit
  Covariance covariance{};    ///< `matrix` is empty if it was not asked for
  /// Of the constrained parameters that float [P].
  std::vector<std::optional<Pull>> pulls{};
  std::map<std::size_t, Interval> minos{};   ///< by parameter
  std::optional<GoodnessOfFit> goodness{};   ///< if it was asked for
  std::vector<MixtureFitReport> mixtures{};  ///< of --alternatives

  /// The specification of the model.
  const ModelSpec& spec() const { return loaded.spec(); }
};

/// Correlation of the i-th and j-th parameter of a covariance that has its matrix.
double correlation_of(const Covariance& covariance, std::size_t i, std::size_t j);

/// The document of `slalom fit`, without warnings.
OrderedJson fit_json(const FitReport& report);

/// The parameters as comma-separated values.
std::string fit_csv(const FitReport& report);

/// "mu = 0.922 +- 0.397", with as many digits as the uncertainty deserves.
std::string parameter_summary(const FitReport& report, std::size_t parameter);

/// Best value and uncertainty, "+- 0.12" or "+0.13 -0.11", with as many digits as it deserves; the
/// second text is empty for a parameter without uncertainty.
std::pair<std::string, std::string> parameter_value(const FitReport& report, std::size_t parameter);
/// "fixed", "at bound", "pulled", "over-constrained", or nothing.
std::string parameter_mark(const FitReport& report, std::size_t parameter);

/// Parameters that a table shows, in its order.
struct ParameterRows {
  std::vector<std::size_t> shown;  ///< indices
  std::size_t hidden = 0;          ///< per-bin parameters that were left out
};
/// The POI, then free parameters, then constrained ones, then per-bin ones that moved, or all.
ParameterRows parameter_rows(const FitReport& report, bool all);

/// What the table shows.
struct FitTableOptions {
  bool all = false;     ///< per-bin parameters that did not move as well
  bool colour = false;  ///< marks in colour
};

/// The table of `slalom fit`; with the strongest correlations if the report has the matrix.
std::string fit_text(const FitReport& report, const FitTableOptions& options);

}  // namespace slalom::cli
