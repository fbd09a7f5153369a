// SPDX-License-Identifier: Apache-2.0
/// \file
/// Two small workspaces with every modifier, kinds of numbers mixed on purpose.
#pragma once

#include <nlohmann/json.hpp>

#include "slalom/core/json.hpp"

namespace slalom::test {

/// Two channels, two measurements and five of the modifiers.
inline Json left_workspace() {
  return parse_json(R"({"channels": [
    {"name": "SR", "samples": [
      {"name": "signal", "data": [5, 10.5], "modifiers": [
        {"name": "mu", "type": "normfactor", "data": null},
        {"name": "lumi", "type": "lumi", "data": null}]},
      {"name": "background", "data": [50.0, 60], "modifiers": [
        {"name": "scale", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}},
        {"name": "scale", "type": "histosys",
         "data": {"hi_data": [51, 61], "lo_data": [49, 59.5]}},
        {"name": "unc", "type": "shapesys", "data": [5, 1e-5]}]}]},
    {"name": "CR", "samples": [
      {"name": "background", "data": [1e3], "modifiers": [
        {"name": "scale", "type": "normsys", "data": {"hi": 1.05, "lo": 0.96}}]}]}],
  "measurements": [
    {"name": "nominal", "config": {"poi": "mu", "parameters": [
      {"name": "mu", "bounds": [[0, 20]], "inits": [1]},
      {"name": "lumi", "auxdata": [1.0], "bounds": [[0.5, 1.5]], "inits": [1.0],
       "sigmas": [0.02], "fixed": true}]}},
    {"name": "other", "config": {"poi": "", "parameters": []}}],
  "observations": [{"name": "SR", "data": [52, 65]}, {"name": "CR", "data": [1010.0]}],
  "version": "1.0.0"})");
}

/// Shares a channel and a measurement with left_workspace().
inline Json right_workspace() {
  return parse_json(R"({"channels": [
    {"name": "VR", "samples": [
      {"name": "ttbar é", "data": [7], "modifiers": [
        {"name": "scale", "type": "normsys", "data": {"hi": 1.2, "lo": 0.8}}]}]},
    {"name": "CR", "samples": [
      {"name": "qcd", "data": [20.0], "modifiers": []},
      {"name": "background", "data": [999], "modifiers": []}]}],
  "measurements": [
    {"name": "nominal", "config": {"poi": "mu", "parameters": [
      {"name": "mu", "bounds": [[0.0, 20.0]], "inits": [1.0]},
      {"name": "scale", "inits": [0.5]}]}},
    {"name": "third", "config": {"poi": "mu", "parameters": []}}],
  "observations": [{"name": "VR", "data": [8]}, {"name": "CR", "data": [1010]}],
  "version": "1.0.0"})");
}

}  // namespace slalom::test
