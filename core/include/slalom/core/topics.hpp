// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

/// \file
/// Topics of histograms: few densities of which many simulations are mixtures.
///
///     expected share of bin v in simulation m: sum_k weight_mk topic_kv
namespace slalom {

/// Densities and how the simulations are made of them.
struct Topics {
  std::size_t count = 0;          ///< K
  std::vector<double> topics{};   ///< probability of each bin [K * V]; sums over bins are 1
  std::vector<double> weights{};  ///< [M * K]; sums over topics are 1
  /// NMF: twice the log likelihood ratio to the histograms themselves; LDA: minus the bound of the
  /// log evidence, up to a constant.
  double loss = 0.0;
  int iterations = 0;      ///< of the best start
  bool converged = false;  ///< the loss stood still
};

/// How to look for topics.
struct TopicOptions {
  std::uint64_t seed = 1;  ///< of the starts
  int starts = 1;          ///< the lowest loss of so many; start s does not depend on their number
  int max_iterations = 2000;  ///< of one start
  double tolerance = 1e-7;    ///< relative change of the loss in ten iterations
  double topic_prior = 1.0;   ///< LDA: Dirichlet concentration of bins in topics (eta)
  double weight_prior = 1.0;  ///< LDA: Dirichlet concentration of topics in simulations (alpha)
};

/// Non-negative matrix factorisation by multiplicative updates (Lee and Seung, Nature 401 (1999)
/// 788) of the Kullback-Leibler divergence: the maximum-likelihood mixture of topics. The loss
/// falls in every iteration, to a local minimum. \param histograms counts [M * V], not negative
/// \throws Error (model) for shapes and values that make no sense, and histograms without entries
Topics nmf_topics(const std::vector<double>& histograms, std::size_t bins, std::size_t topics,
                  const TopicOptions& options = {});

/// Latent Dirichlet allocation by variational expectation maximisation in all simulations at once
/// (Blei, Ng and Jordan, JMLR 3 (2003) 993): posterior means of topics and weights.
/// \param histograms counts [M * V], not negative \throws Error (model) as above
Topics lda_topics(const std::vector<double>& histograms, std::size_t bins, std::size_t topics,
                  const TopicOptions& options = {});

}  // namespace slalom
