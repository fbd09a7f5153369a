// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>

#include "cli/command.hpp"
#include "cli/result.hpp"
#include "slalom/core/fit.hpp"
#include "slalom/core/interval.hpp"

/// \file
/// Results as the documents of other programs (--format), for the scripts that people have:
/// those that `combineTool.py` (CombineHarvester) collects from Combine, and pyhf's.
namespace slalom::cli {

/// --mass: Combine's documents have one member per mass.
struct MassArgument {
  std::optional<double> mass;  ///< as given
  double value() const { return mass.value_or(120.0); }
};

/// Declares --format with Combine alone, and --mass.
void declare_combine_format(Command& command, MassArgument& mass);
/// Declares --mass. \throws never; see check_mass
void declare_mass(Command& command, MassArgument& mass);
/// \throws Error (usage) for a mass without the format that has one
void check_mass(const Command& command, const MassArgument& mass);

/// The key of a mass: "125.0", as Python prints a number.
std::string mass_key(double mass);

/// Numbers of one mass; what is absent was not found, or is not finite, and is left out.
struct CombineLimit {
  std::optional<double> observed{};                        ///< "obs"
  std::array<std::optional<double>, 5> expected{};         ///< "exp-2" to "exp+2"
  std::optional<double> observed_error{};                  ///< "obs_err"
  std::array<std::optional<double>, 5> expected_errors{};  ///< "exp-2_err" to "exp+2_err"
};
/// {"exp-2", "exp-1", "exp0", "exp+1", "exp+2", "obs"} and, if there are any, "..._err":
/// an entry of CollectLimits.
OrderedJson combine_limit(const CombineLimit& limit);
/// {"120.0": entry}.
OrderedJson at_mass(double mass, OrderedJson entry);

/// {"obs": [x], "toy": [...], "p"}, the last two if there are toys: CollectGoodnessOfFit.
OrderedJson combine_goodness(double observed, std::span<const double> toys, double p_value);

/// {"Val", "ErrorHi", "ErrorLo", "ValidErrorHi", "ValidErrorLo"}, errors with their signs, and the
/// same with "2sig_" if `two_sigma` is given: what plot1DScan.py writes for a parameter.
OrderedJson combine_interval(double value, const Interval& one_sigma,
                             const Interval* two_sigma = nullptr);

/// {"CLs_exp": [five], "CLs_obs": x}.
OrderedJson pyhf_cls(double observed, const std::array<double, 5>& expected);
/// {"mle_parameters": {set: [values]}, "twice_nll": x}.
OrderedJson pyhf_fit(const ModelSpec& spec, const FitResult& fit);

}  // namespace slalom::cli
