// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/workspace.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>
#include <unordered_map>

#include "place.hpp"
#include "sealed_workspace.hpp"
#include "slalom/core/json.hpp"
#include "text.hpp"

namespace slalom {
namespace {

using detail::ChannelPart;
using detail::check_array;
using detail::check_object;
using detail::in_quotes;
using detail::Place;
using detail::read_name;
using detail::read_number;
using detail::read_numbers;
using detail::read_string;
using detail::Sealed;
using detail::WorkspaceParts;

constexpr std::array<const char*, 7> type_names = {
    "histosys", "lumi", "normfactor", "normsys", "shapefactor", "shapesys", "staterror"};

/// More warnings of one kind than this are told in one line.
constexpr std::size_t most_warnings_of_a_kind = 5;
constexpr std::size_t places_in_a_group = 3;

std::string shortest(double value) { return dump_json(value); }

/// Warnings by kind, so that a mistake made in every modifier of a file takes one line.
class WarningCollector {
 public:
  void add(const std::string& kind, std::string message, const Place& place) {
    const auto known = std::find_if(kinds_.begin(), kinds_.end(),
                                    [&](const Kind& entry) { return entry.name == kind; });
    Kind& entry = known != kinds_.end() ? *known : kinds_.emplace_back(Kind{kind, 0, {}});
    if (++entry.count <= most_warnings_of_a_kind) {
      entry.first.push_back({std::move(message), place.pointer()});
    }
  }

  void append_to(Warnings& warnings) const {
    for (const Kind& kind : kinds_) {
      if (kind.count <= most_warnings_of_a_kind) {
        warnings.insert(warnings.end(), kind.first.begin(), kind.first.end());
      } else {
        warnings.push_back(summary(kind));
      }
    }
  }

 private:
  struct Kind {
    std::string name;
    std::size_t count;
    Warnings first;
  };

  static Warning summary(const Kind& kind) {
    std::string places;
    for (std::size_t i = 1; i < places_in_a_group; ++i) places += ", " + kind.first[i].where;
    return {kind.first[0].message + " (" + std::to_string(kind.count) +
                " places like this, the next are" + places.substr(1) + ")",
            kind.first[0].where};
  }

  std::vector<Kind> kinds_;
};

/// Names that have been used in one array.
class UniqueNames {
 public:
  explicit UniqueNames(const char* noun) : noun_(noun) {}

  /// \param name key that outlives this object, of the element with that index
  void add(std::string_view name, std::size_t index, const Place& array) {
    const auto [known, inserted] = index_of_.emplace(name, index);
    if (inserted) return;
    array.at(index).at("name").fail("a second " + std::string(noun_) + " named " + in_quotes(name) +
                                    "; the first is at " + array.at(known->second).pointer());
  }

 private:
  const char* noun_;
  std::unordered_map<std::string_view, std::size_t> index_of_;
};

std::string count_of_values(std::size_t count) {
  return std::to_string(count) + (count == 1 ? " value" : " values");
}

/// The bins that everything in a channel has to have, and where that was laid down.
struct Binning {
  std::size_t count = 0;
  std::string pointer;

  std::vector<double> read(const nlohmann::json& value, const Place& place) const {
    std::vector<double> numbers = read_numbers(value, place);
    if (numbers.size() != count) {
      place.fail(count_of_values(count) + " expected as in " + pointer + ", found " +
                 std::to_string(numbers.size()));
    }
    return numbers;
  }
};

/// Reads a document from its root to its leaves. What is sealed has been read before.
class WorkspaceReader {
 public:
  explicit WorkspaceReader(const detail::SealedWorkspace* seals) : seals_(seals) {}

  WorkspaceParts read(const nlohmann::json& document) {
    const Place root(ErrorKind::workspace);
    check_object(document, root, {"channels", "measurements", "observations", "version"});
    parts_.version = read_version(document["version"], root.at("version"));
    parts_.channels = read_channels(document["channels"], root.at("channels"));
    parts_.measurements = read_measurements(document["measurements"], root.at("measurements"));
    parts_.observations = read_observations(document["observations"], root.at("observations"));
    return std::move(parts_);
  }

  const WarningCollector& warnings() const { return warnings_; }

 private:
  /// What stands behind a value that is sealed, or null.
  const Sealed* sealed(const nlohmann::json& value) const {
    if (seals_ == nullptr) return nullptr;
    const std::size_t number = seals_->number(value);
    return number == detail::k_not_sealed ? nullptr : &seals_->behind(number);
  }

  const nlohmann::json& open(const nlohmann::json& value) const {
    return seals_ == nullptr ? value : seals_->open(value);
  }

  static std::string read_version(const nlohmann::json& value, const Place& place) {
    const std::string& version = read_string(value, place);
    if (version != "1.0.0") {
      place.fail("version '1.0.0' of the schema expected, found " + in_quotes(version));
    }
    return version;
  }

  std::vector<ChannelPart> read_channels(const nlohmann::json& value, const Place& place) {
    check_array(value, place, 1);
    std::vector<ChannelPart> channels;
    channels.reserve(value.size());
    UniqueNames names("channel");
    for (std::size_t i = 0; i < value.size(); ++i) {
      const Sealed* known = sealed(value[i]);
      if (known != nullptr && known->channel) {
        channels.push_back(*known->channel);
      } else {
        channels.push_back(read_channel(open(value[i]), place.at(i)));
      }
      names.add(channels.back().name, i, place);
    }
    return channels;
  }

  ChannelPart read_channel(const nlohmann::json& value, const Place& place) {
    check_object(value, place, {"name", "samples"});
    ChannelPart channel{read_name(value["name"], place.at("name")), {}};
    const nlohmann::json& samples = value["samples"];
    const Place at_samples = place.at("samples");
    check_array(samples, at_samples, 1);
    Binning channel_bins;
    UniqueNames names("sample");
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const Place at_sample = at_samples.at(i);
      const nlohmann::json& sample = open(samples[i]);
      check_object(sample, at_sample, {"name", "data", "modifiers"});
      const nlohmann::json& data = sample["data"];
      if (i == 0) channel_bins = {data.size(), at_sample.at("data").pointer()};
      const Sealed* known = sealed(samples[i]);
      // A number of bins that does not fit is found by reading again.
      if (known != nullptr && known->sample != nullptr &&
          known->sample->data.size() == channel_bins.count) {
        channel.samples.push_back({known->sample, seals_->number(samples[i])});
      } else {
        parts_.new_samples.push_back(read_sample(sample, at_sample, channel_bins));
        channel.samples.push_back({&parts_.new_samples.back(), detail::k_not_sealed});
      }
      names.add(channel.samples.back().sample->name, i, at_samples);
    }
    return channel;
  }

  Sample read_sample(const nlohmann::json& value, const Place& place, const Binning& bins) {
    Sample sample;
    sample.name = read_name(value["name"], place.at("name"));
    sample.data = bins.read(value["data"], place.at("data"));
    const Binning own{sample.data.size(), place.at("data").pointer()};
    const nlohmann::json& modifiers = value["modifiers"];
    const Place at_modifiers = place.at("modifiers");
    check_array(modifiers, at_modifiers, 0);
    std::map<std::pair<ModifierType, std::string_view>, std::size_t> known;
    sample.modifiers.reserve(modifiers.size());
    for (std::size_t i = 0; i < modifiers.size(); ++i) {
      const Place at_modifier = at_modifiers.at(i);
      sample.modifiers.push_back(read_modifier(modifiers[i], at_modifier, sample, own));
      const ModifierType type = sample.modifiers.back().type;
      const auto [first, inserted] =
          known.try_emplace({type, modifiers[i]["name"].get_ref<const std::string&>()}, i);
      if (!inserted) {
        at_modifier.fail(std::string("a second ") + to_string(type) + " named " +
                         in_quotes(sample.modifiers.back().name) + "; the first is at " +
                         at_modifiers.at(first->second).pointer());
      }
    }
    return sample;
  }

  Modifier read_modifier(const nlohmann::json& value, const Place& place, const Sample& sample,
                         const Binning& bins) {
    check_object(value, place, {"name", "type", "data"});
    Modifier modifier{read_name(value["name"], place.at("name")),
                      read_type(value["type"], place.at("type")),
                      {},
                      {}};
    const nlohmann::json& data = value["data"];
    const Place at_data = place.at("data");
    switch (modifier.type) {
      case ModifierType::histosys:
        read_histosys(data, at_data, sample, bins, modifier);
        break;
      case ModifierType::normsys:
        read_normsys(data, at_data, modifier);
        break;
      case ModifierType::shapesys:
      case ModifierType::staterror:
        read_uncertainty(data, at_data, bins, modifier);
        break;
      case ModifierType::lumi:
        if (modifier.name != "lumi") {
          place.at("name").fail("a modifier of type lumi must be named 'lumi', found " +
                                in_quotes(modifier.name));
        }
        [[fallthrough]];
      case ModifierType::normfactor:
      case ModifierType::shapefactor:
        if (!data.is_null()) {
          at_data.fail(std::string("null expected for a ") + to_string(modifier.type) + ", found " +
                       detail::type_name(data));
        }
        break;
    }
    return modifier;
  }

  static ModifierType read_type(const nlohmann::json& value, const Place& place) {
    const std::string& name = read_string(value, place);
    const std::optional<ModifierType> type = modifier_type(name);
    if (!type) {
      place.fail("unknown modifier type " + in_quotes(name) +
                 detail::suggestion(name, {type_names.begin(), type_names.end()}));
    }
    return *type;
  }

  void read_histosys(const nlohmann::json& data, const Place& place, const Sample& sample,
                     const Binning& bins, Modifier& modifier) {
    check_object(data, place, {"hi_data", "lo_data"});
    modifier.hi_data = bins.read(data["hi_data"], place.at("hi_data"));
    modifier.lo_data = bins.read(data["lo_data"], place.at("lo_data"));
    for (std::size_t b = 0; b < bins.count; ++b) {
      const double nominal = sample.data[b];
      const bool both_above = modifier.hi_data[b] > nominal && modifier.lo_data[b] > nominal;
      const bool both_below = modifier.hi_data[b] < nominal && modifier.lo_data[b] < nominal;
      if (!both_above && !both_below) return;
    }
    warnings_.add("same side",
                  "hi_data and lo_data of histosys " + in_quotes(modifier.name) +
                      " lie on the same side of the nominal yields in every bin",
                  place);
  }

  void read_normsys(const nlohmann::json& data, const Place& place, Modifier& modifier) {
    check_object(data, place, {"hi", "lo"});
    modifier.hi = read_factor(data["hi"], place.at("hi"));
    modifier.lo = read_factor(data["lo"], place.at("lo"));
  }

  double read_factor(const nlohmann::json& value, const Place& place) {
    const double factor = read_number(value, place);
    if (factor <= 0.0) {
      warnings_.add(
          "factor",
          "a factor above 0 expected, found " + shortest(factor) + "; 0.01 is used instead", place);
    }
    return factor;
  }

  void read_uncertainty(const nlohmann::json& data, const Place& place, const Binning& bins,
                        Modifier& modifier) {
    modifier.uncertainty = bins.read(data, place);
    for (std::size_t b = 0; b < bins.count; ++b) {
      if (modifier.uncertainty[b] < 0.0) {
        warnings_.add("uncertainty",
                      "the uncertainty " + shortest(modifier.uncertainty[b]) + " of " +
                          to_string(modifier.type) + " " + in_quotes(modifier.name) +
                          " is negative",
                      place.at(b));
      }
    }
  }

  std::vector<const Measurement*> read_measurements(const nlohmann::json& sealable,
                                                    const Place& place) {
    const Sealed* known = sealed(sealable);
    if (known != nullptr && !known->measurements.empty()) return known->measurements;
    const nlohmann::json& value = open(sealable);
    check_array(value, place, 1);
    std::vector<const Measurement*> measurements;
    UniqueNames names("measurement");
    for (std::size_t i = 0; i < value.size(); ++i) {
      parts_.new_measurements.push_back(read_measurement(value[i], place.at(i)));
      measurements.push_back(&parts_.new_measurements.back());
      names.add(measurements.back()->name, i, place);
    }
    return measurements;
  }

  Measurement read_measurement(const nlohmann::json& value, const Place& place) {
    check_object(value, place, {"name", "config"});
    Measurement measurement;
    measurement.name = read_string(value["name"], place.at("name"));
    // Published workspaces have it, and the first measurement is found without its name.
    if (measurement.name.empty()) {
      warnings_.add("measurement", "the measurement has an empty name", place.at("name"));
    }
    const nlohmann::json& config = value["config"];
    const Place at_config = place.at("config");
    check_object(config, at_config, {"poi", "parameters"});
    measurement.poi = read_string(config["poi"], at_config.at("poi"));
    const nlohmann::json& parameters = config["parameters"];
    const Place at_parameters = at_config.at("parameters");
    check_array(parameters, at_parameters, 0);
    UniqueNames names("configuration of a parameter");
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      measurement.parameters.push_back(read_parameter(parameters[i], at_parameters.at(i)));
      names.add(parameters[i]["name"].get_ref<const std::string&>(), i, at_parameters);
    }
    return measurement;
  }

  static ParameterConfig read_parameter(const nlohmann::json& value, const Place& place) {
    check_object(value, place, {"name"},
                 {"inits", "bounds", "auxdata", "factors", "sigmas", "fixed"});
    ParameterConfig config;
    config.name = read_name(value["name"], place.at("name"));
    const auto read = [&](const char* key, std::optional<std::vector<double>>& into) {
      if (value.contains(key)) into = read_numbers(value[key], place.at(key));
    };
    read("inits", config.inits);
    read("auxdata", config.auxdata);
    read("factors", config.factors);
    read("sigmas", config.sigmas);
    if (config.factors) check_positive(*config.factors, place.at("factors"));
    if (config.sigmas) check_positive(*config.sigmas, place.at("sigmas"));
    if (value.contains("bounds")) config.bounds = read_bounds(value["bounds"], place.at("bounds"));
    if (value.contains("fixed")) {
      const nlohmann::json& fixed = value["fixed"];
      if (!fixed.is_boolean()) {
        place.at("fixed").fail(std::string("true or false expected, found ") +
                               detail::type_name(fixed));
      }
      config.fixed = fixed.get<bool>();
    }
    return config;
  }

  static void check_positive(const std::vector<double>& values, const Place& place) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (values[i] <= 0.0) {
        place.at(i).fail("a number above 0 expected, found " + shortest(values[i]));
      }
    }
  }

  static std::vector<std::pair<double, double>> read_bounds(const nlohmann::json& value,
                                                            const Place& place) {
    check_array(value, place, 1);
    std::vector<std::pair<double, double>> bounds;
    for (std::size_t i = 0; i < value.size(); ++i) {
      const Place at_pair = place.at(i);
      const std::vector<double> pair = read_numbers(value[i], at_pair);
      if (pair.size() != 2) {
        at_pair.fail("[lower, upper] expected, found " + count_of_values(pair.size()));
      }
      if (pair[0] > pair[1]) {
        at_pair.fail("the lower bound " + shortest(pair[0]) + " is above the upper bound " +
                     shortest(pair[1]));
      }
      bounds.emplace_back(pair[0], pair[1]);
    }
    return bounds;
  }

  std::vector<const Observation*> read_observations(const nlohmann::json& sealable,
                                                    const Place& place) {
    const nlohmann::json& value = open(sealable);
    check_array(value, place, 1);
    const Sealed* known = sealed(sealable);
    const bool is_known = known != nullptr && !known->observations.empty();
    const std::vector<ChannelPart>& channels = parts_.channels;
    std::unordered_map<std::string_view, std::size_t> channel_of;
    for (std::size_t i = 0; i < channels.size(); ++i) channel_of.emplace(channels[i].name, i);
    std::vector<bool> observed(channels.size(), false);
    std::vector<const Observation*> observations;
    UniqueNames names("observation");
    for (std::size_t i = 0; i < value.size(); ++i) {
      const Observation* observation = is_known ? known->observations[i] : nullptr;
      if (observation != nullptr && fits(*observation, channel_of)) {
        names.add(observation->name, i, place);
      } else {
        check_object(value[i], place.at(i), {"name", "data"});
        const std::string& name = read_name(value[i]["name"], place.at(i).at("name"));
        names.add(name, i, place);
        parts_.new_observations.push_back(
            {name, read_counts(name, value[i]["data"], place.at(i).at("data"), channel_of)});
        observation = &parts_.new_observations.back();
      }
      const auto channel = channel_of.find(observation->name);
      if (channel == channel_of.end()) {
        warn_unknown_channel(observation->name, channels, place.at(i).at("name"));
      } else {
        observed[channel->second] = true;
      }
      observations.push_back(observation);
    }
    check_all_observed(channels, observed, observations, place);
    return observations;
  }

  using ChannelIndex = std::unordered_map<std::string_view, std::size_t>;

  /// Whether an observation that was read before has the bins of its channel, if it has one.
  bool fits(const Observation& observation, const ChannelIndex& channel_of) const {
    const auto channel = channel_of.find(observation.name);
    return channel == channel_of.end() ||
           parts_.channels[channel->second].samples.front().sample->data.size() ==
               observation.data.size();
  }

  /// The counts of the channel with that name; any number of them if there is none.
  std::vector<double> read_counts(const std::string& name, const nlohmann::json& value,
                                  const Place& place, const ChannelIndex& channel_of) const {
    const auto channel = channel_of.find(name);
    std::vector<double> counts =
        channel == channel_of.end()
            ? read_numbers(value, place)
            : binning_of(parts_.channels[channel->second], channel->second).read(value, place);
    check_counts(counts, place);
    return counts;
  }

  static Binning binning_of(const ChannelPart& channel, std::size_t index) {
    return {channel.samples.front().sample->data.size(),
            "/channels/" + std::to_string(index) + "/samples/0/data"};
  }

  static void check_counts(const std::vector<double>& counts, const Place& place) {
    for (std::size_t b = 0; b < counts.size(); ++b) {
      if (counts[b] < 0.0) {
        place.at(b).fail("a count of at least 0 expected, found " + shortest(counts[b]));
      }
    }
  }

  // No error, because published patches drop validation regions but leave their observations.
  void warn_unknown_channel(const std::string& name, const std::vector<ChannelPart>& channels,
                            const Place& place) {
    std::vector<std::string> known;
    known.reserve(channels.size());
    for (const ChannelPart& channel : channels) known.push_back(channel.name);
    warnings_.add("observation",
                  "observation for " + in_quotes(name) + ", which is no channel; it is not used" +
                      detail::suggestion(name, known),
                  place);
  }

  static void check_all_observed(const std::vector<ChannelPart>& channels,
                                 const std::vector<bool>& observed,
                                 const std::vector<const Observation*>& observations,
                                 const Place& place) {
    const auto missing = std::find(observed.begin(), observed.end(), false);
    if (missing == observed.end()) return;
    const auto index = static_cast<std::size_t>(missing - observed.begin());
    // Observations that belong to no channel are what a misspelt name may have been meant for.
    std::vector<std::string> unused;
    for (const Observation* observation : observations) {
      const bool used = std::any_of(
          channels.begin(), channels.end(),
          [&](const ChannelPart& channel) { return channel.name == observation->name; });
      if (!used) unused.push_back(observation->name);
    }
    place.fail("no observation for channel " + in_quotes(channels[index].name) + " (/channels/" +
               std::to_string(index) + ")" + detail::suggestion(channels[index].name, unused));
  }

  const detail::SealedWorkspace* seals_;
  WorkspaceParts parts_;
  WarningCollector warnings_;
};

nlohmann::json data_of(const Modifier& modifier) {
  switch (modifier.type) {
    case ModifierType::histosys:
      return {{"hi_data", modifier.hi_data}, {"lo_data", modifier.lo_data}};
    case ModifierType::normsys:
      return {{"hi", modifier.hi}, {"lo", modifier.lo}};
    case ModifierType::shapesys:
    case ModifierType::staterror:
      return modifier.uncertainty;
    case ModifierType::lumi:
    case ModifierType::normfactor:
    case ModifierType::shapefactor:
      break;
  }
  return nullptr;
}

nlohmann::json document_of(const Sample& sample) {
  nlohmann::json modifiers = nlohmann::json::array();
  for (const Modifier& modifier : sample.modifiers) {
    modifiers.push_back(
        {{"name", modifier.name}, {"type", to_string(modifier.type)}, {"data", data_of(modifier)}});
  }
  return {{"name", sample.name}, {"data", sample.data}, {"modifiers", std::move(modifiers)}};
}

nlohmann::json document_of(const Channel& channel) {
  nlohmann::json samples = nlohmann::json::array();
  for (const Sample& sample : channel.samples) samples.push_back(document_of(sample));
  return {{"name", channel.name}, {"samples", std::move(samples)}};
}

nlohmann::json document_of(const ParameterConfig& config) {
  nlohmann::json document = {{"name", config.name}};
  if (config.inits) document["inits"] = *config.inits;
  if (config.auxdata) document["auxdata"] = *config.auxdata;
  if (config.factors) document["factors"] = *config.factors;
  if (config.sigmas) document["sigmas"] = *config.sigmas;
  if (config.fixed) document["fixed"] = *config.fixed;
  if (config.bounds) {
    nlohmann::json bounds = nlohmann::json::array();
    for (const auto& [lower, upper] : *config.bounds) {
      bounds.push_back(std::vector<double>{lower, upper});
    }
    document["bounds"] = std::move(bounds);
  }
  return document;
}

nlohmann::json document_of(const Measurement& measurement) {
  nlohmann::json parameters = nlohmann::json::array();
  for (const ParameterConfig& config : measurement.parameters) {
    parameters.push_back(document_of(config));
  }
  return {{"name", measurement.name},
          {"config", {{"poi", measurement.poi}, {"parameters", std::move(parameters)}}}};
}

}  // namespace

const char* to_string(ModifierType type) { return type_names[static_cast<std::size_t>(type)]; }

std::optional<ModifierType> modifier_type(const std::string& name) {
  const auto found = std::find(type_names.begin(), type_names.end(), name);
  if (found == type_names.end()) return std::nullopt;
  return static_cast<ModifierType>(found - type_names.begin());
}

detail::WorkspaceParts detail::read_parts(const nlohmann::json& document,
                                          const SealedWorkspace* seals, Warnings* warnings) {
  WorkspaceReader reader(seals);
  WorkspaceParts parts = reader.read(document);
  if (warnings != nullptr) reader.warnings().append_to(*warnings);
  return parts;
}

Workspace parse_workspace(const nlohmann::json& document, Warnings* warnings) {
  WorkspaceParts parts = detail::read_parts(document, nullptr, warnings);
  Workspace workspace;
  workspace.version = std::move(parts.version);
  auto sample = parts.new_samples.begin();
  for (ChannelPart& part : parts.channels) {
    Channel channel{std::move(part.name), {}};
    channel.samples.reserve(part.samples.size());
    for (std::size_t i = 0; i < part.samples.size(); ++i) {
      channel.samples.push_back(std::move(*sample++));
    }
    workspace.channels.push_back(std::move(channel));
  }
  std::move(parts.new_measurements.begin(), parts.new_measurements.end(),
            std::back_inserter(workspace.measurements));
  std::move(parts.new_observations.begin(), parts.new_observations.end(),
            std::back_inserter(workspace.observations));
  return workspace;
}

nlohmann::json to_json(const Workspace& workspace) {
  nlohmann::json document = {{"channels", nlohmann::json::array()},
                             {"measurements", nlohmann::json::array()},
                             {"observations", nlohmann::json::array()},
                             {"version", workspace.version}};
  for (const Channel& channel : workspace.channels) {
    document["channels"].push_back(document_of(channel));
  }
  for (const Measurement& measurement : workspace.measurements) {
    document["measurements"].push_back(document_of(measurement));
  }
  for (const Observation& observation : workspace.observations) {
    document["observations"].push_back({{"name", observation.name}, {"data", observation.data}});
  }
  return document;
}

const Measurement& find_measurement(const Workspace& workspace, const std::string& name) {
  std::vector<std::string> names;
  for (const Measurement& measurement : workspace.measurements) {
    if (name.empty() || measurement.name == name) return measurement;
    names.push_back(measurement.name);
  }
  if (names.empty()) throw Error(ErrorKind::model, "the workspace has no measurement");
  throw Error(ErrorKind::model,
              "no measurement " + in_quotes(name) + detail::suggestion(name, names),
              "/measurements");
}

}  // namespace slalom
