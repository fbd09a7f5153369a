// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/workspace_operations.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>

#include "slalom/core/error.hpp"
#include "slalom/core/json.hpp"
#include "text.hpp"
#include "workspace_document.hpp"

namespace slalom {
namespace {

using detail::checked_result;
using detail::in_quotes;
using detail::name_of;

std::string list_of(const std::set<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + in_quotes(name);
  return list;
}

// --- combine ---

/// pyhf's `_join_items`: items of one list, then those of the other that the join lets in.
/// \param deep if not null, the list inside of items with a common name that is joined as well
Json join_items(Join join, const Json& left, const Json& right, const char* deep = nullptr) {
  const Json& primary = join == Join::right_outer ? right : left;
  const Json& secondary = join == Join::right_outer ? left : right;
  Json joined = primary;
  std::unordered_map<std::string, std::size_t> index_of;
  for (std::size_t i = 0; i < primary.size(); ++i) index_of.emplace(name_of(primary[i]), i);
  for (const Json& item : secondary) {
    const auto known = index_of.find(name_of(item));
    const bool is_new = known == index_of.end();
    if (!is_new && deep != nullptr) {
      Json& list = joined[known->second][deep];
      list = join_items(Join::left_outer, list, item[deep]);
    } else if (is_new || join == Join::none ||
               (join == Join::outer && item != primary[known->second])) {
      joined.push_back(item);  // the caller complains about the two of the same name
    }
  }
  return joined;
}

std::set<std::string> repeated_names(const Json& items) {
  std::set<std::string> seen;
  std::set<std::string> repeated;
  for (const Json& item : items) {
    if (!seen.insert(name_of(item)).second) repeated.insert(name_of(item));
  }
  return repeated;
}

[[noreturn]] void fail_join(const std::string& message, const std::string& where) {
  throw Error(ErrorKind::workspace, message, where);
}

void check_repeated(Join join, const Json& items, const std::string& noun,
                    const std::string& where) {
  const std::set<std::string> names = repeated_names(items);
  if (names.empty()) return;
  if (join == Join::none) {
    fail_join("both workspaces have the " + noun + " " + list_of(names) +
                  "; another join can combine them",
              where);
  }
  fail_join("the " + noun + " " + list_of(names) +
                " differ between the workspaces; a left or right outer join takes one of them",
            where);
}

Json join_parameters(const Json& left, const Json& right, const std::string& measurement) {
  Json joined = join_items(Join::outer, left, right);
  const std::set<std::string> names = repeated_names(joined);
  if (!names.empty()) {
    fail_join("the workspaces configure parameters differently in measurement " +
                  in_quotes(measurement) + ": " + list_of(names),
              "/measurements");
  }
  return joined;
}

/// Two measurements with the same name; pyhf merges what they say about the parameters.
Json merge_measurements(const Json& left, const Json& right) {
  const Json& config = left["config"];
  if (config["poi"] != right["config"]["poi"]) {
    fail_join("measurement " + in_quotes(name_of(left)) + " has the POI " +
                  in_quotes(config["poi"].get_ref<const std::string&>()) +
                  " in one workspace and " +
                  in_quotes(right["config"]["poi"].get_ref<const std::string&>()) + " in the other",
              "/measurements");
  }
  return {{"name", name_of(left)},
          {"config",
           {{"poi", config["poi"]},
            {"parameters", join_parameters(config["parameters"], right["config"]["parameters"],
                                           name_of(left))}}}};
}

Json join_measurements(Join join, const Json& left, const Json& right) {
  Json joined = join_items(join, left, right);
  if (join != Join::outer) {
    check_repeated(join, joined, "measurements", "/measurements");
    return joined;
  }
  Json merged = Json::array();
  std::unordered_map<std::string, std::size_t> index_of;
  for (const Json& measurement : joined) {
    const auto [known, inserted] = index_of.emplace(name_of(measurement), merged.size());
    if (inserted) {
      merged.push_back(measurement);
    } else {
      merged[known->second] = merge_measurements(merged[known->second], measurement);
    }
  }
  return merged;
}

// --- prune and rename ---

/// The names that a workspace has.
struct Inventory {
  std::set<std::string> modifiers, modifier_types, samples, channels, measurements;

  explicit Inventory(const Json& document) {
    for (const Json& channel : document["channels"]) {
      channels.insert(name_of(channel));
      for (const Json& sample : channel["samples"]) {
        samples.insert(name_of(sample));
        for (const Json& modifier : sample["modifiers"]) {
          modifiers.insert(name_of(modifier));
          modifier_types.insert(modifier["type"].get<std::string>());
        }
      }
    }
    for (const Json& measurement : document["measurements"]) {
      measurements.insert(name_of(measurement));
    }
  }
};

void check_known(const std::string& name, const std::set<std::string>& known,
                 const std::string& noun) {
  if (known.contains(name)) return;
  throw Error(ErrorKind::usage, "the workspace has no " + noun + " " + in_quotes(name) +
                                    detail::suggestion(name, {known.begin(), known.end()}));
}

void check_known(const std::vector<std::string>& names, const std::set<std::string>& known,
                 const std::string& noun) {
  for (const std::string& name : names) check_known(name, known, noun);
}

void check_known(const std::map<std::string, std::string>& names,
                 const std::set<std::string>& known, const std::string& noun) {
  for (const auto& [name, replacement] : names) check_known(name, known, noun);
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// Removes the elements of an array whose member `key` is one of the names.
void remove_named(Json& array, const std::vector<std::string>& names, const char* key = "name") {
  auto& elements = array.get_ref<Json::array_t&>();
  const auto named = [&](const Json& element) {
    return contains(names, element[key].get_ref<const std::string&>());
  };
  elements.erase(std::remove_if(elements.begin(), elements.end(), named), elements.end());
}

void rename_member(Json& object, const std::map<std::string, std::string>& names,
                   const char* key = "name") {
  const auto replacement = names.find(object[key].get_ref<const std::string&>());
  if (replacement != names.end()) object[key] = replacement->second;
}

// --- sorted ---

void sort_by_name(Json& array) {
  auto& elements = array.get_ref<Json::array_t&>();
  std::stable_sort(elements.begin(), elements.end(),
                   [](const Json& a, const Json& b) { return name_of(a) < name_of(b); });
}

void sort_by_name_and_type(Json& modifiers) {
  auto& elements = modifiers.get_ref<Json::array_t&>();
  std::stable_sort(elements.begin(), elements.end(), [](const Json& a, const Json& b) {
    const int order = name_of(a).compare(name_of(b));
    if (order != 0) return order < 0;
    return a["type"].get_ref<const std::string&>() < b["type"].get_ref<const std::string&>();
  });
}

}  // namespace

Join parse_join(const std::string& name) {
  if (name == "none") return Join::none;
  if (name == "outer") return Join::outer;
  if (name == "left outer" || name == "left-outer") return Join::left_outer;
  if (name == "right outer" || name == "right-outer") return Join::right_outer;
  throw Error(ErrorKind::usage,
              "unknown join " + in_quotes(name) +
                  detail::suggestion(name, {"none", "outer", "left-outer", "right-outer"}));
}

nlohmann::json combine(const nlohmann::json& left, const nlohmann::json& right, Join join,
                       bool merge_channels) {
  if (merge_channels && join == Join::none) {
    throw Error(ErrorKind::usage,
                "channels can be merged by an outer, left outer or right outer join only");
  }
  detail::check_workspace(left, "the left workspace");
  detail::check_workspace(right, "the right workspace");
  Json result = {{"version", left["version"]}};
  result["channels"] =
      join_items(join, left["channels"], right["channels"], merge_channels ? "samples" : nullptr);
  check_repeated(join, result["channels"], "channels", "/channels");
  result["observations"] = join_items(join, left["observations"], right["observations"]);
  check_repeated(join, result["observations"], "observations", "/observations");
  result["measurements"] = join_measurements(join, left["measurements"], right["measurements"]);
  return checked_result(std::move(result), "combine");
}

nlohmann::json prune(const nlohmann::json& document, const Selection& selection) {
  detail::check_workspace(document, "the workspace");
  const Inventory inventory(document);
  check_known(selection.modifier_types, inventory.modifier_types, "modifier of type");
  check_known(selection.modifiers, inventory.modifiers, "modifier");
  check_known(selection.samples, inventory.samples, "sample");
  check_known(selection.channels, inventory.channels, "channel");
  check_known(selection.measurements, inventory.measurements, "measurement");
  Json result = document;
  remove_named(result["channels"], selection.channels);
  remove_named(result["observations"], selection.channels);
  remove_named(result["measurements"], selection.measurements);
  for (Json& channel : result["channels"]) {
    remove_named(channel["samples"], selection.samples);
    for (Json& sample : channel["samples"]) {
      remove_named(sample["modifiers"], selection.modifiers);
      remove_named(sample["modifiers"], selection.modifier_types, "type");
    }
  }
  for (Json& measurement : result["measurements"]) {
    remove_named(measurement["config"]["parameters"], selection.modifiers);
  }
  return checked_result(std::move(result), "prune");
}

nlohmann::json rename(const nlohmann::json& document, const Renaming& renaming) {
  detail::check_workspace(document, "the workspace");
  const Inventory inventory(document);
  check_known(renaming.modifiers, inventory.modifiers, "modifier");
  check_known(renaming.samples, inventory.samples, "sample");
  check_known(renaming.channels, inventory.channels, "channel");
  check_known(renaming.measurements, inventory.measurements, "measurement");
  Json result = document;
  for (Json& channel : result["channels"]) {
    rename_member(channel, renaming.channels);
    for (Json& sample : channel["samples"]) {
      rename_member(sample, renaming.samples);
      for (Json& modifier : sample["modifiers"]) rename_member(modifier, renaming.modifiers);
    }
  }
  for (Json& observation : result["observations"]) rename_member(observation, renaming.channels);
  for (Json& measurement : result["measurements"]) {
    rename_member(measurement, renaming.measurements);
    Json& config = measurement["config"];
    rename_member(config, renaming.modifiers, "poi");
    for (Json& parameter : config["parameters"]) rename_member(parameter, renaming.modifiers);
  }
  return checked_result(std::move(result), "rename");
}

nlohmann::json sorted(const nlohmann::json& document) {
  detail::check_workspace(document, "the workspace");
  Json result = document;
  sort_by_name(result["channels"]);
  sort_by_name(result["observations"]);
  sort_by_name(result["measurements"]);
  for (Json& channel : result["channels"]) {
    sort_by_name(channel["samples"]);
    for (Json& sample : channel["samples"]) sort_by_name_and_type(sample["modifiers"]);
  }
  for (Json& measurement : result["measurements"]) {
    sort_by_name(measurement["config"]["parameters"]);
  }
  return result;
}

}  // namespace slalom
