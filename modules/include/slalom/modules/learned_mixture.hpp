// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

#include "slalom/core/simulation_spread.hpp"
#include "slalom/core/template_mixture.hpp"

/// \file
/// Template mixtures of log ratios that were learned: events of data and of the reference are the
/// points of core's TemplateMixture, and the networks' scatter becomes a part of the error.
namespace slalom {

/// Points of a mixture: data events (count 1, measure 0), then reference events (count 0, measure
/// 1/m). What TemplateMixture and SimulationSpread take.
struct LearnedPoints {
  std::vector<double> signal;        ///< log ratios of the signal's simulations [K_s * P]
  std::vector<double> background;    ///< of the background's [K_b * P]
  std::vector<double> measure;       ///< [P]
  std::vector<double> counts;        ///< [P]
  std::size_t signal_count = 0;      ///< K_s
  std::size_t background_count = 0;  ///< K_b
};

/// Options of learned_points().
struct LearnedPointsOptions {
  /// Classes of the signal are the first so many, the others are background; 0: half of them.
  std::size_t signal_classes = 0;
  std::size_t reference = 0;  ///< events of the reference at most, picked at random; 0: all
  /// The measure of the events that were picked is changed, as little as possible, until the means
  /// of all r_k, and of the geometric means of both processes, are those of the whole reference:
  /// this takes most of the noise of a small reference away.
  bool calibrate_measure = true;
  /// Seed of Poisson weights of mean 1 on the reference, for the noise of its own events; 0: none.
  std::uint64_t bootstrap = 0;
};

/// \param data log r_k [n, C] \param reference log r_k [m, C] of events of all classes in equal
/// parts, in any order
/// \throws Error (usage) for shapes or a number of classes, Error (numerical) for log ratios that
///   are not finite, or a measure that cannot be calibrated
LearnedPoints learned_points(const Tensor& data, const Tensor& reference,
                             const LearnedPointsOptions& options = {});

/// Which mixture to make.
struct LearnedMixtureOptions {
  /// Directions of the spread of simulations with a prior of their population; otherwise weights
  /// with a ridge.
  bool population_prior = true;
  double ridge = 1.0;              ///< lambda, without that prior
  PopulationOptions population{};  ///< of the prior
  SpreadOptions directions{};      ///< of the spread
};

/// The exponential mixture of both processes, with its data. A single simulation of a process is
/// kept as it is. \throws Error (model) as TemplateMixture and population_prior()
TemplateMixture learned_mixture(const LearnedPoints& points,
                                const LearnedMixtureOptions& options = {});

/// A fit with the ratios' part of the error.
struct LearnedFit {
  MixtureFit best;                   ///< with the combined ratios
  std::vector<double> member_kappa;  ///< with each member's alone, those that converged
  double ratio_error = 0.0;          ///< sqrt(1 + 1/M) times their standard deviation
  std::size_t failures = 0;          ///< members that did not converge
  /// Signal fraction.
  double kappa() const { return best.kappa(); }
  /// Root of the sum of squares of Laplace's error and ratio_error.
  double error() const;
  /// The same with the sandwich error.
  double sandwich_error() const;
};

/// Fits the combined ratios and those of each member to the same data. Members that were trained on
/// bootstrap samples scatter as much as one would over training samples; all share one training
/// sample, so that their mean scatters as much again, and not 1/sqrt(M) of it.
/// \param members at the same events \throws Error (usage) for fewer than two members
LearnedFit fit_members(const LearnedPoints& combined, const std::vector<LearnedPoints>& members,
                       const LearnedMixtureOptions& mixture = {},
                       const MixtureFitOptions& options = {});

}  // namespace slalom
