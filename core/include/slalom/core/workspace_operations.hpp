// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

/// \file
/// Combining, pruning, renaming and sorting workspaces, as pyhf does it.
/// They work on documents rather than on Workspace, so that numbers keep their kind and digests of
/// the results agree with pyhf's. Documents are validated before, and results after the operation.
namespace slalom {

/// What happens to channels, observations and measurements that both workspaces have.
enum class Join {
  none,         ///< they are errors
  outer,        ///< equal ones are taken once; measurements with the same POI are merged
  left_outer,   ///< those of the left workspace win
  right_outer,  ///< those of the right workspace win, and come first
};

/// The join of that name: "none", "outer", "left outer" or "left-outer", "right outer" or
/// "right-outer". \throws Error (usage)
Join parse_join(const std::string& name);

/// One workspace with the channels, observations and measurements of both.
/// \param left first workspace
/// \param right second workspace
/// \param join what happens to common names
/// \param merge_channels channels with a common name keep their place, and get the samples of the
///   other workspace whose names they do not have; not for Join::none
/// \throws Error (usage) for merge_channels with Join::none
/// \throws Error (workspace) for common names that the join does not allow, and for a left, right
///   or resulting document that is no valid workspace
nlohmann::json combine(const nlohmann::json& left, const nlohmann::json& right,
                       Join join = Join::none, bool merge_channels = false);

/// Names of parts of a workspace.
struct Selection {
  std::vector<std::string> modifiers;       ///< names of modifiers
  std::vector<std::string> modifier_types;  ///< types of modifiers
  std::vector<std::string> samples;         ///< names of samples, in every channel
  std::vector<std::string> channels;        ///< names of channels, with their observations
  std::vector<std::string> measurements;    ///< names of measurements
};

/// The workspace without the parts that are named. Modifiers go with their configuration, but a
/// measurement keeps the name of its POI.
/// \throws Error (usage) for a name that is not in the workspace, with the nearest one
/// \throws Error (workspace) if document or result are no valid workspace
nlohmann::json prune(const nlohmann::json& document, const Selection& selection);

/// New names by old names.
struct Renaming {
  std::map<std::string, std::string> modifiers;     ///< with configurations and POI
  std::map<std::string, std::string> samples;       ///< in every channel
  std::map<std::string, std::string> channels;      ///< with their observations
  std::map<std::string, std::string> measurements;  ///< names of measurements
};

/// The workspace with other names.
/// \throws Error (usage) for a name that is not in the workspace, with the nearest one
/// \throws Error (workspace) if document or result are no valid workspace, e.g. because the new
///   name is already there
nlohmann::json rename(const nlohmann::json& document, const Renaming& renaming);

/// The workspace with everything that has a name sorted by it, modifiers by name and type.
/// \throws Error (workspace) if the document is no valid workspace
nlohmann::json sorted(const nlohmann::json& document);

}  // namespace slalom
