// SPDX-License-Identifier: Apache-2.0
/// \file
/// Small experiments.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "slalom/core/json.hpp"

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
