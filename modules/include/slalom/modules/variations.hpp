// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "slalom/core/error.hpp"
#include "slalom/modules/classifier.hpp"
#include "slalom/modules/events.hpp"

/// \file
/// Nuisances that act on events: differentiable maps of features and weights, with a parameter
/// theta in units of its standard deviation, 0 for the nominal events.
namespace slalom {

/// What a nuisance does to events. A user's own is one with another `apply`.
struct Variation {
  /// Events at theta, a tensor of one element, or one for each event [n] (see theta_of()); at 0 the
  /// events themselves.
  using Map = std::function<EventBatch(const EventBatch& events, const Tensor& theta)>;
  /// Number for each event [n].
  using PerEvent = std::function<Tensor(const EventBatch& events)>;

  std::string name;     ///< of the nuisance parameter
  Map apply;            ///< the map
  PerEvent score = {};  ///< d log density / d theta at theta = 0, where it is known
  bool shifts = true;   ///< whether features change; false: weights alone
  std::vector<std::string> processes = {};  ///< which events; empty: all
};

/// Features times 1 + relative theta.
Variation scale_variation(std::string name, std::vector<std::string> columns, double relative);
/// Features plus amount theta.
Variation shift_variation(std::string name, std::vector<std::string> columns, double amount);
/// Weights times exp(theta log_ratio_i), with log_ratio the logarithm of the weight ratio of +1
/// standard deviation to the nominal one: never negative; its score is log_ratio.
Variation exponential_reweighting(std::string name, Variation::PerEvent log_ratio);
/// Weights times 1 + theta slope_i; its score is slope.
Variation linear_reweighting(std::string name, Variation::PerEvent slope);
/// Momenta or energies times 1 + relative theta, then everything that is derived from them.
/// \param recompute events with scaled columns, and the nominal ones, to events with all features
Variation energy_scale(
    std::string name, std::vector<std::string> columns, double relative,
    std::function<EventBatch(const EventBatch& scaled, const EventBatch& nominal)> recompute);

/// Whether a variation acts on events of a process.
bool concerns(const Variation& variation, const std::string& process);
/// Which events a variation acts on, boolean [n].
Tensor concerned_events(const EventBatch& events, const Variation& variation);

/// theta as a map uses it: one element without dimensions, which changes neither shape nor type of
/// what it meets, or one for each event [n]. \param name in the error
/// \throws Error (usage) for any other shape
Tensor theta_of(const Tensor& theta, const EventBatch& events, const std::string& name);

/// Events at theta; the processes that it does not concern keep their features and weights.
/// Differentiable in theta and in the features, as far as the map is.
/// \param theta one element, or one for each event [n]
EventBatch apply_variation(const EventBatch& events, const Variation& variation,
                           const Tensor& theta);
/// All variations, one after another, at theta [variations], or at one for each event [n,
/// variations].
/// \throws Error (usage) for a theta of another size
EventBatch apply_variations(const EventBatch& events, const std::vector<Variation>& variations,
                            const Tensor& theta);

/// Copies of events at +step and -step.
struct ShiftedEvents {
  EventBatch up;    ///< at +step
  EventBatch down;  ///< at -step
};
/// \param step > 0, in standard deviations
ShiftedEvents shifted_copies(const EventBatch& events, const Variation& variation,
                             double step = 1.0);

/// Ways to a derivative of yields by a nuisance that can be trained on.
enum class SlopeMethod {
  copies,     ///< half the difference of up and down copies
  score,      ///< weights times the score: exact in the mean, nothing is shifted
  automatic,  ///< automatic differentiation through features, classifier and histogram
};

/// Options of yield_slopes().
struct SlopeOptions {
  SlopeMethod method = SlopeMethod::copies;  ///< how
  double step = 1.0;                         ///< of the copies
  bool allow_kinks = false;                  ///< automatic: accept piecewise linear classifiers
  /// Equal in all members.
  bool operator==(const SlopeOptions&) const = default;
};

/// d yields / d theta [bins] at theta = 0, as a node of the graph of `yields`.
/// \param yields events to yields [bins]; linear in the weights
/// \param classifier what `yields` sends features through, for the check; may be null
/// \throws Error (usage) for a score that the variation does not have, or for `automatic` with
/// features that move through a piecewise linear classifier (see smoothness_warning())
Tensor yield_slopes(const std::function<Tensor(const EventBatch&)>& yields,
                    const EventBatch& events, const Variation& variation,
                    const SlopeOptions& options = {}, const ClassifierImpl* classifier = nullptr);

/// What is wrong with an automatic derivative, in forward mode or backwards, by a nuisance through
/// this classifier inside a loss: with piecewise linear activations the second derivative of the
/// score is 0 but for the kinks, and the terms of the kinks are lost. The derivative is right, its
/// gradient by the network's weights is not. Nothing for smooth classifiers or unmoved features.
std::optional<Warning> smoothness_warning(const ClassifierImpl& classifier,
                                          const Variation& variation);

}  // namespace slalom
