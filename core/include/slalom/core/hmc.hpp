// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

/// \file
/// Hamiltonian Monte Carlo for smooth densities of unbounded variables: the no-U-turn sampler
/// (Hoffman and Gelman, JMLR 15 (2014) 1593) with multinomial sampling of its paths (Betancourt,
/// arXiv:1701.02434), step sizes by dual averaging, and a dense metric learned in windows.
namespace slalom {

/// log density, up to a constant, and its gradient. \param x [D] \param gradient [D], to fill. It
/// may return -infinity; what it fills does not matter there. Called by several threads at once.
using LogDensity = std::function<double(std::span<const double> x, std::span<double> gradient)>;

/// How to sample.
struct HmcOptions {
  std::size_t chains = 4;            ///< from starting points of their own
  std::size_t warmup = 500;          ///< draws that set step size and metric, and are dropped
  std::size_t draws = 500;           ///< kept, per chain
  double target_accept = 0.8;        ///< mean acceptance; nearer to 1 for curved densities
  std::size_t max_depth = 10;        ///< of a path: at most 2^this steps
  std::uint64_t seed = 1;            ///< of chain c: its stream c
  std::vector<double> covariance{};  ///< guess [D * D], positive; empty for the unit matrix
  double start_spread = 1.0;         ///< of the chains' starts, in units of the guess
};

/// What one variable's draws say, and whether to believe them.
struct ChainSummary {
  double mean = 0.0;   ///< of all chains
  double sigma = 0.0;  ///< standard deviation
  double r_hat = 0.0;  ///< split and rank-normalised; above 1.01 chains disagree
  double ess = 0.0;    ///< effective number of independent draws for the ranks ("bulk")
};
/// R-hat and effective sample size after Vehtari et al., Bayesian Anal. 16 (2021) 667.
/// \param draws [chains * n], n at least 4 \throws Error (usage) for other lengths
ChainSummary summarise_chains(std::span<const double> draws, std::size_t chains);

/// Draws and how they came about.
struct HmcResult {
  std::size_t dimension = 0;              ///< D
  std::size_t chains = 0;                 ///< C
  std::size_t draws = 0;                  ///< N, per chain
  std::vector<double> samples{};          ///< [C * N * D]
  std::vector<double> log_density{};      ///< [C * N]
  std::vector<double> step{};             ///< sizes, in units of the metric [C]
  std::vector<double> acceptance{};       ///< mean of the kept draws [C]
  std::size_t divergences = 0;            ///< kept draws whose path left the energy: look at them
  std::size_t at_max_depth = 0;           ///< kept draws whose path was cut
  std::size_t evaluations = 0;            ///< of the density
  std::vector<ChainSummary> summaries{};  ///< of each variable [D]
  /// All draws of a variable [C * N].
  std::vector<double> variable(std::size_t d) const;
  /// No divergence, and all variables with R-hat below 1.01 and 100 effective draws per chain.
  bool trustworthy() const;
};

/// Samples from a density. Chains run in parallel; the result does not depend on the number of
/// threads. \param start [D], where the density is not 0
/// \throws Error (usage) for options that make no sense; (numerical) where no start is found
HmcResult sample(const LogDensity& density, const std::vector<double>& start,
                 const HmcOptions& options = {});

}  // namespace slalom
