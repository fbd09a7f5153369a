// SPDX-License-Identifier: Apache-2.0
#include "cli/parameter_groups.hpp"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <fnmatch.h>
#include <sstream>

#include "cli/model_arguments.hpp"
#include "cli/suggest.hpp"

namespace slalom::cli {

namespace {

constexpr const char* k_option = "--group";
constexpr const char* k_other = "other";

/// A name may hold brackets, so it is compared as it is first.
bool matches(const std::string& pattern, const std::string& name) {
  return pattern == name || fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
}

/// Name of the set that every parameter belongs to [P].
std::vector<const ParameterSet*> sets_of(const ModelSpec& spec) {
  std::vector<const ParameterSet*> sets(spec.parameters.size(), nullptr);
  for (const ParameterSet& set : spec.sets) {
    for (std::size_t i = set.first; i < set.first + set.size; ++i) sets[i] = &set;
  }
  return sets;
}

ParameterGroup parse_group(const ModelSpec& spec, const std::string& text) {
  const std::size_t equal = text.find('=');
  if (equal == std::string::npos || equal == 0 || equal + 1 == text.size()) {
    throw Error(ErrorKind::usage, "expected NAME=PATTERN[,PATTERN...], got '" + text + "'",
                k_option);
  }
  ParameterGroup group{text.substr(0, equal), {}};
  std::istringstream patterns(text.substr(equal + 1));
  for (std::string pattern; std::getline(patterns, pattern, ',');) {
    for (const std::size_t i : parameters_matching(spec, pattern, k_option)) {
      const auto& list = group.parameters;
      if (std::find(list.begin(), list.end(), i) == list.end()) group.parameters.push_back(i);
    }
  }
  std::sort(group.parameters.begin(), group.parameters.end());
  return group;
}

/// Groups by type in the order in which they are listed.
enum TypeGroup { factors, luminosity, normalisation, shape, per_bin };

TypeGroup group_of(ModifierType type) {
  switch (type) {
    case ModifierType::lumi:
      return luminosity;
    case ModifierType::normsys:
      return normalisation;
    case ModifierType::histosys:
      return shape;
    case ModifierType::shapesys:
    case ModifierType::staterror:
      return per_bin;
    case ModifierType::normfactor:
    case ModifierType::shapefactor:
      break;
  }
  return factors;
}

}  // namespace

std::vector<std::size_t> parameters_matching(const ModelSpec& spec, const std::string& pattern,
                                             const std::string& where) {
  const auto sets = sets_of(spec);
  std::vector<std::size_t> result;
  for (std::size_t i = 0; i < spec.parameters.size(); ++i) {
    const bool by_set = sets[i] != nullptr && matches(pattern, sets[i]->name);
    if (by_set || matches(pattern, spec.parameters[i].name)) result.push_back(i);
  }
  if (!result.empty()) return result;
  std::vector<std::string> names = parameter_names(spec);
  for (const ParameterSet& set : spec.sets) names.push_back(set.name);
  throw Error(ErrorKind::usage,
              fmt::format("no parameter matches '{}'{}", pattern, did_you_mean(pattern, names)),
              where);
}

std::vector<ParameterGroup> named_groups(const ModelSpec& spec, const std::vector<bool>& floating,
                                         std::size_t target,
                                         const std::vector<std::string>& texts) {
  std::vector<ParameterGroup> groups;
  std::vector<bool> grouped(spec.parameters.size(), false);
  for (const std::string& text : texts) {
    ParameterGroup group = parse_group(spec, text);
    const auto same = [&](const ParameterGroup& g) { return g.name == group.name; };
    if (group.name == k_other || std::any_of(groups.begin(), groups.end(), same)) {
      throw Error(ErrorKind::usage, fmt::format("group '{}' exists already", group.name), k_option);
    }
    const auto out = [&](std::size_t i) { return i == target || !floating[i]; };
    std::erase_if(group.parameters, out);
    for (const std::size_t i : group.parameters) grouped[i] = true;
    groups.push_back(std::move(group));
  }
  ParameterGroup other{k_other, {}};
  for (std::size_t i = 0; i < spec.parameters.size(); ++i) {
    if (floating[i] && i != target && !grouped[i]) other.parameters.push_back(i);
  }
  if (!other.parameters.empty()) groups.push_back(std::move(other));
  return groups;
}

std::vector<ParameterGroup> groups_by_type(const ModelSpec& spec, const std::vector<bool>& floating,
                                           std::size_t target) {
  std::array<ParameterGroup, 5> groups{{{"normalisation factors", {}},
                                        {"luminosity", {}},
                                        {"normalisation systematics", {}},
                                        {"shape systematics", {}},
                                        {"per-bin uncertainties", {}}}};
  const auto sets = sets_of(spec);
  for (std::size_t i = 0; i < spec.parameters.size(); ++i) {
    if (!floating[i] || i == target || sets[i] == nullptr) continue;
    groups[group_of(sets[i]->type)].parameters.push_back(i);
  }
  std::vector<ParameterGroup> result;
  for (ParameterGroup& group : groups) {
    if (!group.parameters.empty()) result.push_back(std::move(group));
  }
  return result;
}

}  // namespace slalom::cli
