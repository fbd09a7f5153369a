// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/model_arguments.hpp"
#include "cli/result.hpp"
#include "slalom/core/fit.hpp"
#include "slalom/core/interval.hpp"

/// \file
/// The outcome of `slalom fit` as a document and as a table.
namespace slalom::cli {

/// How a constrained parameter moved, in units of its pre-fit uncertainty.
struct Pull {
  double value;       ///< (best fit - auxiliary measurement) / pre-fit uncertainty
  double constraint;  ///< error / pre-fit uncertainty
};

/// Everything that one fit found out.
struct FitReport {
  const LoadedModel& loaded;               ///< model and data
  FitResult result;                        ///< the fit
  Covariance covariance;                   ///< `matrix` is empty if it was not asked for
  std::vector<std::optional<Pull>> pulls;  ///< of constrained parameters [P]
  std::map<std::size_t, Interval> minos;   ///< by parameter

  /// The specification of the model.
  const ModelSpec& spec() const { return loaded.spec(); }
};

/// Pulls of all parameters; nothing for those without a constraint term.
std::vector<std::optional<Pull>> pulls_of(const LoadedModel& loaded, const FitResult& result,
                                          const std::vector<double>& errors);

/// The document of `slalom fit`, without warnings.
OrderedJson fit_json(const FitReport& report);

/// "mu = 0.922 +- 0.397", with as many digits as the uncertainty deserves.
std::string parameter_summary(const FitReport& report, std::size_t parameter);

/// What the table shows.
struct FitTableOptions {
  bool all = false;     ///< per-bin parameters that did not move as well
  bool colour = false;  ///< marks in colour
};

/// The table of `slalom fit`.
std::string fit_text(const FitReport& report, const FitTableOptions& options);

}  // namespace slalom::cli
