// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

#include "slalom/core/template_mixture.hpp"

/// \file
/// A hierarchical prior for mixtures: the simulations of a process are draws of a population, and
/// so is the truth. Log densities are written in directions that are orthonormal at their mean,
///
///     ln p_k = mean ln p + sum_d a_kd f_d + const, sum_i q_i p_i f_di f_ei = delta_de,
///
/// so that a_kd are natural parameters in the Fisher metric, and the prior of a is estimated from
/// the a_k.
namespace slalom {

/// Directions in which simulations differ, by falling variance.
struct SimulationSpread {
  std::vector<double> mean{};         ///< mean log density [P]
  std::vector<double> directions{};   ///< f [D * P]
  std::vector<double> coordinates{};  ///< a [K * D]
  std::size_t simulations = 0;        ///< K
  std::size_t dimension = 0;          ///< D
};

/// Which directions to keep.
struct SpreadOptions {
  std::size_t max_directions = 0;  ///< 0 for no limit
  double least_variance = 1e-6;    ///< as a part of the largest one
};

/// \param log_densities [K * P], finite, each up to a constant \param measure q [P]
/// \throws Error (model) for lengths that differ, fewer than 2 simulations, or ones that are equal
SimulationSpread simulation_spread(const std::vector<double>& log_densities,
                                   const std::vector<double>& measure, std::size_t k,
                                   const SpreadOptions& options = {});

/// Mixture whose parameters are a [D], from 0.
MixtureProcess spread_mixture(const SimulationSpread& spread);

/// How covariances are estimated from few draws.
enum class Shrinkage {
  none,  ///< of the sample
  oas,   ///< towards a multiple of the unit matrix, as far as a Gaussian sample of K suggests
         ///< (Chen et al., IEEE Trans. Signal Process. 58 (2010) 5016)
  ledoit_wolf,  ///< the same, as far as the sample itself suggests (J. Multivar. Anal. 88 (2004)
                ///< 365)
};
/// "none", "oas" or "ledoit_wolf".
const char* to_string(Shrinkage shrinkage);

/// What is assumed of the population.
struct PopulationOptions {
  Shrinkage shrinkage = Shrinkage::none;  ///< of the covariance
  /// Take the covariance as unknown: Student's t with K - D degrees of freedom, the prediction of
  /// one more draw with Jeffreys' prior. Otherwise a Gaussian of the same scale.
  bool student = false;
  double scale = 1.0;  ///< factor on all widths
};

/// Prior of one more draw, from K of them: mean, and scale matrix (1 + 1/K) (K - 1) / (K - D) times
/// the sample covariance; with shrinkage (1 + 1/K) times the shrunken one.
/// \param coordinates [K * D] \param first index of the first parameter
/// \throws Error (model) without shrinkage unless K > D + 1 (Student's t: K > D + 2), or for a
///   covariance that is singular
ShapePrior population_prior(const std::vector<double>& coordinates, std::size_t k,
                            std::size_t first, const PopulationOptions& options = {});

}  // namespace slalom
