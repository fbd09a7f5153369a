// SPDX-License-Identifier: Apache-2.0
/// \file
/// Small experiments.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "slalom/core/json.hpp"
#include "slalom/core/random.hpp"

namespace slalom::test {

/// Wunsch's toy with few events and a small network: a step takes about a millisecond.
inline Json small_experiment(std::int64_t steps = 12) {
  return Json::parse(R"({
    "name": "small",
    "data": {"problem": "wunsch", "train": 400, "validation": 400, "test": 2000},
    "nuisances": [{"name": "shift"}],
    "classifier": {"hidden": [8]},
    "summary": {"bins": 4, "bandwidth": 0.1,
                "annealing": {"shape": "geometric", "start": 1, "end": 0.2}},
    "loss": [{"term": "cross_entropy", "until": 3}, {"term": "log_sigma", "from": 3}],
    "optimizer": {"learning_rate": {"shape": "cosine", "start": 1e-2, "end": 0}},
    "training": {"steps": )" +
                     std::to_string(steps) +
                     R"(, "batch_size": 200, "validate_every": 4, "checkpoint_every": 3,
                 "keep_best": true}
  })");
}

/// A CSV file of 300 signal and 600 background events in x and y.
inline std::string labelled_rows() {
  std::string text = "x,y,process\n";
  RandomStream random(3, 0);
  for (int i = 0; i < 900; ++i) {
    const bool signal = i % 3 == 0;
    text += std::to_string(random.normal() + (signal ? 1.0 : 0.0)) + "," +
            std::to_string(random.normal()) + "," + (signal ? "signal" : "background") + "\n";
  }
  return text;
}

/// Three folds of these, with bootstraps. \param file that has labelled_rows()
inline Json small_folds(const std::string& file) {
  Json document = small_experiment(6);
  document["data"] = {{"files", Json::array({{{"path", file}, {"process_column", "process"}}})},
                      {"folds", 3}};
  document["nuisances"][0] = {
      {"name", "tilt"}, {"effect", "shift"}, {"columns", {"y"}}, {"amount", 0.3}};
  document["evaluation"] = {{"bootstrap", 20}};
  return document;
}

/// The rotated blobs, with their angle to learn about.
inline Json small_learning(const std::string& strategy, std::int64_t steps = 12) {
  return Json::parse(R"({
    "name": "learning",
    "data": {"problem": "gaussian", "train": 20000, "validation": 2000, "test": 10000,
             "test_sampling": "lattice"},
    "nuisances": [{"name": "z", "prior": 0.5, "step": 0.05}],
    "classifier": {"hidden": [16], "activation": "silu"},
    "learning": {"strategy": ")" +
                     strategy +
                     R"(", "parameters": [{"name": "z", "low": -0.7854, "high": 0.7854}]},
    "summary": {"bins": 10},
    "loss": [{"term": "cross_entropy"}],
    "optimizer": {"learning_rate": {"shape": "cosine", "start": 3e-2, "end": 0}},
    "training": {"steps": )" +
                     std::to_string(steps) +
                     R"(, "batch_size": 1000, "validate_every": 6, "keep_best": true},
    "evaluation": {"fit": false}
  })");
}

}  // namespace slalom::test
