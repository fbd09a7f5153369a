// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "experiment/stage_files.hpp"
#include "mixture/mixture_data.hpp"
#include "slalom/core/mixture_toys.hpp"
#include "slalom/workflows/mixture_options.hpp"

/// \file
/// The stages of a measurement with a mixture.
namespace slalom::mixture {

using experiment::StageOutput;
using experiment::StageProgress;

/// Simulations of a draw, and the one that is its truth if one is held out.
struct ChosenSimulations {
  std::vector<std::size_t> mixed;  ///< K
  std::size_t truth = 0;           ///< of those that are not mixed
};

/// A measurement with its simulations.
class Measurement {
 public:
  /// Generates or reads the simulations. \throws Error (usage, io)
  explicit Measurement(MixtureExperimentOptions options);

  /// Fits the data: fraction with its intervals, shapes, pull test, distances.
  StageOutput fit() const;
  /// Coverage with each simulation of the fit as the truth, for each K and strength.
  StageOutput leave_one_out(const StageProgress& progress) const;
  /// Coverage over draws of simulations.
  StageOutput toys(const StageProgress& progress) const;
  /// Whether enough simulations are fitted for one to be left out.
  bool can_leave_one_out() const;

  /// As given.
  const MixtureExperimentOptions& options() const { return options_; }
  /// As they are.
  const Simulations& simulations() const { return simulations_; }
  /// The true fraction of data that are drawn.
  double true_fraction() const;

 private:
  /// \param draw its number
  ChosenSimulations choose(std::uint64_t seed, std::uint64_t draw) const;
  std::vector<double> truth(std::size_t process, const ChosenSimulations& chosen) const;
  bool has_truth() const;
  MixtureToysOptions toy_options(std::size_t draws, std::size_t toys) const;
  nlohmann::ordered_json process_figures(std::size_t process, const TemplateMixture& mixture,
                                         const MixtureFit& best,
                                         const ChosenSimulations& chosen) const;
  nlohmann::ordered_json data_figures(const TemplateMixture& mixture, const MixtureFit& best,
                                      const ChosenSimulations& chosen) const;
  nlohmann::ordered_json left_out_row(std::size_t k, double strength,
                                      const std::vector<std::size_t>& all,
                                      const std::function<bool(std::size_t)>& progress) const;

  MixtureExperimentOptions options_;
  Simulations simulations_;
};

}  // namespace slalom::mixture
