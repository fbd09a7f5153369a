// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "slalom/workflows/mixture_options.hpp"

/// \file
/// Simulations and data of a measurement, in bins.
namespace slalom::mixture {

/// What a measurement has. Processes: 0 signal, 1 background.
struct Simulations {
  std::size_t count = 0;              ///< N pairs
  std::vector<double> measure;        ///< of each bin [P]
  std::vector<double> logs[2];        ///< log density per measure of each simulation [N * P]
  std::vector<double> target[2];      ///< true probability of each bin [P]; empty: unknown
  std::vector<double> observed;       ///< counts [P]; empty: to be drawn
  std::vector<std::string> names[2];  ///< of the simulations [N]
  double outside = 0.0;               ///< observed events that are in no bin
  /// Probability of each bin of simulation i as the truth, at the document's distance [P].
  std::function<std::vector<double>(std::size_t process, std::size_t i)> held_out;

  /// P.
  std::size_t points() const { return measure.size(); }
  /// log densities of some of them [chosen * P].
  std::vector<double> logs_of(std::size_t process, const std::vector<std::size_t>& chosen) const;
  /// Probability of each bin of one of them [P].
  std::vector<double> contents(std::size_t process, std::size_t i) const;
};

/// Generates or reads them. \throws Error (usage, io) with the place in the document or file
Simulations read_simulations(const MixtureExperimentOptions& options);

}  // namespace slalom::mixture
