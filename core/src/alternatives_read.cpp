// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "place.hpp"
#include "slalom/core/alternatives.hpp"
#include "slalom/core/json.hpp"
#include "text.hpp"

namespace slalom {

namespace {

using detail::check_array;
using detail::check_object;
using detail::in_quotes;
using detail::Place;
using detail::read_name;
using detail::read_number;
using detail::read_numbers;

Normalise read_normalise(const Json& value, const Place& place) {
  const std::string& name = read_name(value, place);
  for (const Normalise n : {Normalise::none, Normalise::sample, Normalise::channel}) {
    if (name == to_string(n)) return n;
  }
  place.fail("unknown normalisation " + in_quotes(name) +
             detail::suggestion(name, {"none", "sample", "channel"}));
}

std::size_t read_count(const Json& value, const Place& place) {
  const double number = read_number(value, place);
  if (!(number >= 1.0 && number <= 1e6 && number == std::floor(number))) {
    place.fail("a whole number of at least 1 expected");
  }
  return static_cast<std::size_t>(number);
}

std::vector<std::string> read_names(const Json& value, const Place& place) {
  check_array(value, place, 1);
  std::vector<std::string> names;
  for (std::size_t i = 0; i < value.size(); ++i) {
    names.push_back(read_name(value[i], place.at(i)));
    if (std::find(names.begin(), names.end() - 1, names.back()) != names.end() - 1) {
      place.at(i).fail(in_quotes(names.back()) + " occurs twice");
    }
  }
  return names;
}

/// The yields in the order of `simulations`, which the first sample fills.
SimulatedSample read_sample(const Json& value, const Place& place,
                            std::vector<std::string>& simulations) {
  check_object(value, place, {"channel", "sample", "simulations"});
  SimulatedSample sample;
  sample.channel = read_name(value["channel"], place.at("channel"));
  sample.sample = read_name(value["sample"], place.at("sample"));
  const Json& list = value["simulations"];
  const Place inner = place.at("simulations");
  if (!list.is_object()) {
    inner.fail(std::string("an object from names to yields expected, found ") +
               detail::type_name(list));
  }
  const bool first = simulations.empty();
  for (const auto& [name, yields] : list.items()) {
    if (name.empty()) inner.fail("a simulation without a name");
    if (first) {
      simulations.push_back(name);
    } else if (std::find(simulations.begin(), simulations.end(), name) == simulations.end()) {
      inner.at(name).fail("the first sample has no simulation " + in_quotes(name) +
                          detail::suggestion(name, simulations));
    }
  }
  if (list.empty()) inner.fail("no simulation");
  for (const std::string& name : simulations) {
    if (!list.contains(name)) inner.fail("simulation " + in_quotes(name) + " is missing");
    sample.yields.push_back(read_numbers(list[name], inner.at(name)));
    if (sample.yields.back().size() != sample.yields.front().size()) {
      inner.at(name).fail(std::to_string(sample.yields.back().size()) + " bins, but " +
                          std::to_string(sample.yields.front().size()) + " in simulation " +
                          in_quotes(simulations.front()));
    }
  }
  return sample;
}

void check_different(const Alternatives& a, const Place& place) {
  for (std::size_t i = 0; i < a.simulations.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const bool equal =
          std::all_of(a.samples.begin(), a.samples.end(),
                      [&](const SimulatedSample& s) { return s.yields[i] == s.yields[j]; });
      if (!equal) continue;
      place.fail("simulations " + in_quotes(a.simulations[j]) + " and " +
                 in_quotes(a.simulations[i]) + " are equal in all samples");
    }
  }
}

void check_names(const Alternatives& a, const Place& place) {
  std::vector<std::string> names = a.simulations;
  if (!a.nominal.empty()) {
    if (std::find(names.begin(), names.end(), a.nominal) != names.end()) {
      place.at("nominal").fail("there is a simulation " + in_quotes(a.nominal) +
                               " beside that of the workspace");
    }
    names.push_back(a.nominal);
  }
  if (names.size() < 2) {
    place.at("samples")
        .at(std::size_t{0})
        .at("simulations")
        .fail(
            "one simulation is no alternative: two are needed, or the name of the workspace's own "
            "as \"nominal\"");
  }
  if (!a.centre.empty() && std::find(names.begin(), names.end(), a.centre) == names.end()) {
    names.push_back("mean");
    place.at("centre").fail("there is no simulation " + in_quotes(a.centre) +
                            detail::suggestion(a.centre, names));
  }
}

Alternatives read_alternatives(const Json& value, const Place& place) {
  check_object(value, place, {"name", "samples"},
               {"nominal", "centre", "normalise", "replaces", "max_directions", "scale"});
  Alternatives a;
  a.name = read_name(value["name"], place.at("name"));
  if (value.contains("nominal")) a.nominal = read_name(value["nominal"], place.at("nominal"));
  if (value.contains("centre")) a.centre = read_name(value["centre"], place.at("centre"));
  if (value.contains("normalise")) {
    a.normalise = read_normalise(value["normalise"], place.at("normalise"));
  }
  if (value.contains("replaces")) a.replaces = read_names(value["replaces"], place.at("replaces"));
  if (value.contains("max_directions")) {
    a.max_directions = read_count(value["max_directions"], place.at("max_directions"));
  }
  if (value.contains("scale")) {
    a.scale = read_number(value["scale"], place.at("scale"));
    if (!(a.scale > 0.0)) place.at("scale").fail("a number above 0 expected");
  }
  const Place samples = place.at("samples");
  check_array(value["samples"], samples, 1);
  std::set<std::pair<std::string, std::string>> seen;
  for (std::size_t i = 0; i < value["samples"].size(); ++i) {
    a.samples.push_back(read_sample(value["samples"][i], samples.at(i), a.simulations));
    const SimulatedSample& s = a.samples.back();
    if (!seen.insert({s.channel, s.sample}).second) {
      samples.at(i).fail("sample " + in_quotes(s.sample) + " of channel " + in_quotes(s.channel) +
                         " occurs twice");
    }
  }
  for (const std::string& name : a.simulations) {
    if (name == "mean") samples.at(std::size_t{0}).fail("a simulation cannot be called 'mean'");
  }
  if (a.centre == "mean") a.centre.clear();
  check_names(a, place);
  check_different(a, samples);
  return a;
}

}  // namespace

const char* to_string(Normalise normalise) {
  switch (normalise) {
    case Normalise::none:
      return "none";
    case Normalise::sample:
      return "sample";
    case Normalise::channel:
      return "channel";
  }
  return "unknown";
}

std::vector<Alternatives> parse_alternatives(const nlohmann::json& document) {
  const Place root(ErrorKind::usage);
  check_object(document, root, {"alternatives"});
  const Place list = root.at("alternatives");
  check_array(document["alternatives"], list, 1);
  std::vector<Alternatives> result;
  for (std::size_t i = 0; i < document["alternatives"].size(); ++i) {
    const Place place = list.at(i);
    result.push_back(read_alternatives(document["alternatives"][i], place));
    for (std::size_t j = 0; j < i; ++j) {
      if (result[j].name != result[i].name) continue;
      place.at("name").fail("the name " + in_quotes(result[i].name) + " occurs twice");
    }
  }
  return result;
}

}  // namespace slalom
