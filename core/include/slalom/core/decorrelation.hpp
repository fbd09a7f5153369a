// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "slalom/core/error.hpp"

/// \file
/// Splits one nuisance parameter of a workspace into several that are not, or only partly,
/// correlated. Like the other operations it works on documents (see workspace_operations.hpp).
namespace slalom {

/// What gets a parameter of its own.
enum class DecorrelateBy {
  channel,  ///< each channel
  sample,   ///< each sample, in all channels together
  bins,     ///< each range of bins, in all channels and samples together
};

/// The method of that name: "channel", "sample" or "bins". \throws Error (usage)
DecorrelateBy parse_decorrelate_by(const std::string& name);

/// How a parameter is split.
struct Decorrelation {
  std::string modifier;                       ///< name of the modifier and so of the parameter
  DecorrelateBy by = DecorrelateBy::channel;  ///< what gets a parameter of its own
  std::vector<std::string> channels{};        ///< only there; elsewhere it stays; empty for all
  std::vector<std::string> samples{};         ///< only there; elsewhere it stays; empty for all
  /// First and last bin of each range; bins in none of them keep the parameter. Empty for one
  /// parameter per bin.
  std::vector<std::pair<std::size_t, std::size_t>> bins{};
  /// Names of the new parameters, in the order of the channels or samples in the document or of
  /// the ranges. Empty for `modifier_<channel>`, `modifier_<sample>`, `modifier_bin3` or
  /// `modifier_bins0-3`.
  std::vector<std::string> names{};
  /// Correlation rho that remains between any two parts, 0 <= rho < 1. A part then follows
  /// sqrt(rho) of the common parameter, which keeps its name, and sqrt(1 - rho) of its own:
  /// yields as n + sqrt(.) (varied - n), factors as factor^sqrt(.). The total pre-fit effect of a
  /// part is as before where it is linear in the parameter.
  double correlation = 0.0;
};

/// The workspace with a parameter split.
///
/// normsys, histosys (both of one name together), normfactor, shapefactor and staterror can be
/// split by channel or sample. By bins only yields can: histosys, and normsys, which become
/// histosys with the same yields at +-1 (a warning says so: the factors between and beyond, and
/// products with other variations, change). Refused are lumi, whose name is fixed; shapesys, which
/// belongs to one sample; normfactor by bins; whatever has one parameter per bin by bins; a
/// correlation of anything but normsys and histosys. What a measurement configures is copied to
/// the new parameters (cut to the bins that belong to them).
/// \param warnings where warnings are appended; a null pointer drops them
/// \throws Error (usage) for names that are not there or are taken, the POI of a measurement,
/// ranges
///   that overlap or do not fit, a split that changes nothing, or types that cannot be split so
/// \throws Error (workspace, model) if document or result are no valid workspace or model
nlohmann::json decorrelate(const nlohmann::json& document, const Decorrelation& how,
                           Warnings* warnings = nullptr);

}  // namespace slalom
