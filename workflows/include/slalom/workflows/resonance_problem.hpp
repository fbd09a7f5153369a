// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "slalom/modules/classifier.hpp"
#include "slalom/modules/events.hpp"

/// \file
/// Built-in resonance searches: a background that is smooth in a mass, a signal that is narrow in
/// it, and the densities of both, so that what a method finds can be held against the truth.
namespace slalom {

/// A resonance search with known densities. Events of one seed do not depend on threads; the first
/// n of them do not depend on how many follow.
struct ResonanceProblem {
  std::string name;                        ///< "dijets", ...
  std::string summary;                     ///< one sentence with the source
  std::string mass;                        ///< column of the mass
  std::vector<std::string> features;       ///< the other columns
  double mass_low = 0.0;                   ///< smallest mass of the background
  double mass_high = 0.0;                  ///< largest one
  double region_low = 0.0;                 ///< lower end of the signal region
  double region_high = 0.0;                ///< upper end of the signal region
  double region_share = 0.0;               ///< of the background that lies in the signal region
  std::vector<ParameterInput> parameters;  ///< theta of the signal, with their ranges
  std::vector<double> theta;               ///< of the signal that is looked for

  /// Background events, label 0: the mass and the features, float32. \param n > 0
  std::function<EventBatch(std::int64_t n, std::uint64_t seed)> background;
  /// Signal events in the signal region, label 1. \param theta [parameters] of each event,
  /// [n, parameters] or [parameters], in the ranges
  std::function<EventBatch(std::int64_t n, const Tensor& theta, std::uint64_t seed)> signal;
  /// log p(features | mass) of the background [n], float64. \param features [n, features]
  /// \param mass [n]
  std::function<Tensor(const Tensor& features, const Tensor& mass)> log_background;
  /// log p(features | theta) of the signal [n], float64; it does not depend on the mass.
  /// Differentiable. \param theta [parameters] or [n, parameters]
  std::function<Tensor(const Tensor& features, const Tensor& theta)> log_signal;
};

/// Names that make_resonance_problem() knows.
const std::vector<std::string>& resonance_problem_names();
/// A problem by its name. \throws Error (usage) for one that does not exist, with the nearest name
ResonanceProblem make_resonance_problem(const std::string& name);

}  // namespace slalom
