// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "slalom/modules/events.hpp"
#include "slalom/modules/variations.hpp"

/// \file
/// Built-in problems: generators of events with known answers, and what nuisance parameters do to
/// them. An experiment names one of them in the place of files.
namespace slalom {

/// One process of a problem.
struct ProblemProcess {
  std::string name;     ///< of the sample in the statistical model
  double yield = 0.0;   ///< events expected
  bool signal = false;  ///< its rate is the parameter of interest times `yield`
};

/// A problem. Events of one seed do not depend on how many others are generated, nor on threads.
struct Problem {
  std::string name;                       ///< "inferno", "blobs", ...
  std::string summary;                    ///< one sentence with the source
  std::vector<std::string> columns;       ///< features
  std::vector<ProblemProcess> processes;  ///< background and signal
  /// What its nuisances do, in units of their own (not of a prior), with scores where densities are
  /// known.
  std::vector<Variation> variations;
  /// Events of one process, weights 1, labels 1 for signal, features in float32.
  /// \param process index \param n events, > 0 \param seed one sample; others are independent
  std::function<EventBatch(std::size_t process, std::int64_t n, std::uint64_t seed)> generate;
  /// log (signal density / background density) [n], float64, differentiable in both; empty where
  /// the densities are not here. \param features [n, columns]
  /// \param theta of all variations, [variations] or [n, variations]; undefined: 0
  std::function<Tensor(const Tensor& features, const Tensor& theta)> log_ratio = {};
  /// Events of one process on a lattice, with weights density times cell that add up to 1: sums
  /// over them are quadratures. Empty where the densities are not here. \param points along each
  /// axis, > 1
  std::function<EventBatch(std::size_t process, std::int64_t points)> lattice = {};

  /// Events of all processes, whose weights add up to the yields of each.
  /// \param n events of each process
  EventBatch events(std::int64_t n, std::uint64_t seed) const;
  /// The same on lattices. \throws Error (usage) where there are none
  EventBatch lattice_events(std::int64_t points) const;
};

/// Names that make_problem() knows.
const std::vector<std::string>& problem_names();
/// A problem by its name. \throws Error (usage) for one that does not exist, with the nearest name
Problem make_problem(const std::string& name);

}  // namespace slalom
