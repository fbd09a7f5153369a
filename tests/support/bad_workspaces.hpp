// SPDX-License-Identifier: Apache-2.0
/// \file
/// Workspaces that break one rule each, with what has to be said about them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "slalom/core/json.hpp"
#include "support/workspaces.hpp"

namespace slalom::test {

/// left_workspace() with one value replaced, or added if its parent is there.
inline Json with(const std::string& pointer, const std::string& value) {
  Json document = left_workspace();
  document[Json::json_pointer(pointer)] = parse_json(value);
  return document;
}

/// left_workspace() without a key.
inline Json without(const std::string& pointer, const std::string& key) {
  Json document = left_workspace();
  document[Json::json_pointer(pointer)].erase(key);
  return document;
}

/// A document that is no workspace.
struct BadWorkspace {
  Json document;
  std::string where;     ///< place of the error, a JSON pointer
  std::string fragment;  ///< part of its message
};

/// One document for each rule, and for each place where it holds.
inline std::vector<BadWorkspace> bad_workspaces() {
  const std::string c0 = "/channels/0", s1 = "/channels/0/samples/1", m1 = s1 + "/modifiers";
  const std::string config = "/measurements/0/config", mu = config + "/parameters/0";
  return {
      // the document
      {Json::array(), "", "an object expected, found an array"},
      {Json(nullptr), "", "an object expected, found null"},
      {Json::object(), "", "missing key 'channels'"},
      {without("", "measurements"), "", "missing key 'measurements'"},
      {without("", "observations"), "", "missing key 'observations'"},
      {without("", "version"), "", "missing key 'version'"},
      {with("/version", "\"1.0.1\""), "/version", "'1.0.0' of the schema expected, found '1.0.1'"},
      {with("/version", "1.0"), "/version", "a string expected, found a number"},
      {with("/chanels", "[]"), "/chanels", "did you mean 'channels'?"},
      {with("/a~1b", "[]"), "/a~1b", "unknown key 'a/b'; there is 'channels'"},
      // channels
      {with("/channels", "[]"), "/channels", "at least 1 element expected, found 0"},
      {with("/channels", "{}"), "/channels", "an array expected, found an object"},
      {with("/channels/0", "3"), c0, "an object expected, found a number"},
      {without(c0, "samples"), c0, "missing key 'samples'"},
      {without(c0, "name"), c0, "missing key 'name'"},
      {with(c0 + "/name", "\"\""), c0 + "/name", "a name expected, found an empty string"},
      {with(c0 + "/name", "null"), c0 + "/name", "a string expected, found null"},
      {with(c0 + "/name", "\"CR\""), "/channels/1/name",
       "a second channel named 'CR'; the first is at /channels/0"},
      {with(c0 + "/sample", "[]"), c0 + "/sample", "did you mean 'samples'?"},
      {with(c0 + "/samples", "[]"), c0 + "/samples", "at least 1 element"},
      // samples
      {with(s1, "\"x\""), s1, "an object expected, found a string"},
      {without(s1, "modifiers"), s1, "missing key 'modifiers'"},
      {without(s1, "data"), s1, "missing key 'data'"},
      {with(s1 + "/name", "\"signal\""), s1 + "/name", "a second sample named 'signal'"},
      {with(s1 + "/name", "\"\""), s1 + "/name", "a name expected"},
      {with(s1 + "/error", "[]"), s1 + "/error", "unknown key 'error'"},
      {with(s1 + "/data", "[1, 2, 3]"), s1 + "/data",
       "2 values expected as in /channels/0/samples/0/data, found 3"},
      {with(c0 + "/samples/0/data", "[]"), c0 + "/samples/0/data", "at least 1 element"},
      {with(s1 + "/data", "5"), s1 + "/data", "an array expected, found a number"},
      {with(s1 + "/data/1", "true"), s1 + "/data/1", "a number expected, found a boolean"},
      {with(s1 + "/data/1", "\"1\""), s1 + "/data/1", "a number expected, found a string"},
      {with(s1 + "/data/0", "null"), s1 + "/data/0", "a number expected, found null"},
      {with(s1 + "/modifiers", "null"), m1, "an array expected, found null"},
      // modifiers
      {with(m1 + "/0", "[]"), m1 + "/0", "an object expected, found an array"},
      {without(m1 + "/0", "type"), m1 + "/0", "missing key 'type'"},
      {without(m1 + "/0", "data"), m1 + "/0", "missing key 'data'"},
      {without(c0 + "/samples/0/modifiers/0", "data"), c0 + "/samples/0/modifiers/0",
       "missing key 'data'"},
      {with(m1 + "/0/dat", "1"), m1 + "/0/dat", "did you mean 'data'?"},
      {with(m1 + "/0/type", "\"normsyst\""), m1 + "/0/type", "did you mean 'normsys'?"},
      {with(m1 + "/0/type", "\"OverallSys\""), m1 + "/0/type", "there is 'histosys', 'lumi'"},
      {with(m1 + "/0/type", "7"), m1 + "/0/type", "a string expected"},
      {with(m1 + "/0/name", "\"\""), m1 + "/0/name", "a name expected"},
      {with(m1 + "/1/type", "\"normsys\""), m1 + "/1/data/hi_data", "unknown key 'hi_data'"},
      {with(m1 + "/1", R"({"name": "scale", "type": "normsys", "data": {"hi": 1, "lo": 1}})"),
       m1 + "/1", "a second normsys named 'scale'; the first is at " + m1 + "/0"},
      {with(m1 + "/0/data", "null"), m1 + "/0/data", "an object expected, found null"},
      {with(m1 + "/0/data", "{\"hi\": 1}"), m1 + "/0/data", "missing key 'lo'"},
      {with(m1 + "/0/data/hi", "[1.1]"), m1 + "/0/data/hi", "a number expected, found an array"},
      {with(m1 + "/0/data/high", "1"), m1 + "/0/data/high", "unknown key 'high'"},
      {without(m1 + "/1/data", "lo_data"), m1 + "/1/data", "missing key 'lo_data'"},
      {with(m1 + "/1/data/hi_data", "[1, 2, 3, 4]"), m1 + "/1/data/hi_data",
       "2 values expected as in " + s1 + "/data, found 4"},
      {with(m1 + "/1/data/lo_data", "[1]"), m1 + "/1/data/lo_data", "found 1"},
      {with(m1 + "/1/data/lo_data", "[]"), m1 + "/1/data/lo_data", "at least 1 element"},
      {with(m1 + "/2/data", "[1]"), m1 + "/2/data", "2 values expected"},
      {with(m1 + "/2/data", "null"), m1 + "/2/data", "an array expected, found null"},
      {with(m1 + "/2/data/0", "{}"), m1 + "/2/data/0", "a number expected, found an object"},
      {with(c0 + "/samples/0/modifiers/0/data", "1"), c0 + "/samples/0/modifiers/0/data",
       "null expected for a normfactor, found a number"},
      {with(c0 + "/samples/0/modifiers/1/data", "{}"), c0 + "/samples/0/modifiers/1/data",
       "null expected for a lumi, found an object"},
      {with(c0 + "/samples/0/modifiers/1/name", "\"Lumi\""), c0 + "/samples/0/modifiers/1/name",
       "must be named 'lumi', found 'Lumi'"},
      // measurements
      {with("/measurements", "[]"), "/measurements", "at least 1 element"},
      {with("/measurements/1/name", "\"nominal\""), "/measurements/1/name",
       "a second measurement named 'nominal'"},
      {with("/measurements/1/name", "1"), "/measurements/1/name", "a string expected"},
      {without("/measurements/0", "config"), "/measurements/0", "missing key 'config'"},
      {without(config, "poi"), config, "missing key 'poi'"},
      {without(config, "parameters"), config, "missing key 'parameters'"},
      {with(config + "/poi", "null"), config + "/poi", "a string expected, found null"},
      {with(config + "/parameters", "{}"), config + "/parameters", "an array expected"},
      {with(mu + "/name", "\"lumi\""), config + "/parameters/1/name",
       "a second configuration of a parameter named 'lumi'"},
      {without(mu, "name"), mu, "missing key 'name'"},
      {with(mu + "/bound", "[]"), mu + "/bound", "did you mean 'bounds'?"},
      {with(mu + "/init", "[]"), mu + "/init", "did you mean 'inits'?"},
      {with(mu + "/inits", "1"), mu + "/inits", "an array expected, found a number"},
      {with(mu + "/inits", "[]"), mu + "/inits", "at least 1 element"},
      {with(mu + "/inits", "[true]"), mu + "/inits/0", "a number expected, found a boolean"},
      {with(mu + "/bounds", "[0, 10]"), mu + "/bounds/0", "an array expected, found a number"},
      {with(mu + "/bounds", "[[0]]"), mu + "/bounds/0", "[lower, upper] expected, found 1 value"},
      {with(mu + "/bounds", "[[0, 1, 2]]"), mu + "/bounds/0", "found 3 values"},
      {with(mu + "/bounds", "[[3, -1.5]]"), mu + "/bounds/0",
       "the lower bound 3.0 is above the upper bound -1.5"},
      {with(mu + "/bounds", "[]"), mu + "/bounds", "at least 1 element"},
      {with(mu + "/sigmas", "[0.0]"), mu + "/sigmas/0", "a number above 0 expected, found 0.0"},
      {with(mu + "/sigmas", "[1, -1]"), mu + "/sigmas/1", "a number above 0 expected"},
      {with(mu + "/factors", "[0]"), mu + "/factors/0", "a number above 0 expected"},
      {with(mu + "/auxdata", "[null]"), mu + "/auxdata/0", "a number expected, found null"},
      {with(mu + "/fixed", "1"), mu + "/fixed", "true or false expected, found a number"},
      {with(mu + "/fixed", "[true]"), mu + "/fixed", "true or false expected, found an array"},
      // observations
      {with("/observations", "[]"), "/observations", "at least 1 element"},
      {with("/observations/1", "0"), "/observations/1", "an object expected"},
      {with("/observations/1/name", "\"SR\""), "/observations/1/name",
       "a second observation named 'SR'; the first is at /observations/0"},
      {with("/observations/1/name", "\"CRR\""), "/observations",
       "no observation for channel 'CR' (/channels/1); did you mean 'CRR'?"},
      {with("/observations/0/data", "[1]"), "/observations/0/data",
       "2 values expected as in /channels/0/samples/0/data, found 1"},
      {with("/observations/0/data", "[1, true]"), "/observations/0/data/1", "a number expected"},
      {with("/observations/0/data", "[1, -2]"), "/observations/0/data/1",
       "a count of at least 0 expected, found -2.0"},
      {without("/observations/0", "data"), "/observations/0", "missing key 'data'"},
      {with("/observations/0/bins", "2"), "/observations/0/bins", "unknown key 'bins'"},
  };
}

}  // namespace slalom::test
