// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <cstdint>
#include <string>
#include <vector>

#include "slalom/modules/classifier.hpp"
#include "slalom/modules/events.hpp"

/// \file
/// Closure: whether one sample, reweighted, is distributed as another one. What has to hold before
/// a network's ratio of densities is believed.
///
/// Two answers, of which the first sees marginal distributions alone: chi^2 of each feature in bins
/// of equal content; and the area under the curve of a classifier that is trained, on half of the
/// events, to tell the samples apart. Both compare shapes: the sums of weights are made equal.
namespace slalom {

/// Options of compare_samples().
struct ClosureOptions {
  std::int64_t bins = 20;                       ///< of a feature, > 1
  std::vector<std::int64_t> hidden = {32, 32};  ///< of the classifier (SiLU)
  std::int64_t steps = 500;                     ///< of its training (Adam, cosine)
  std::int64_t batch_size = 4096;               ///< events of a batch
  double learning_rate = 5e-3;                  ///< at first
  std::uint64_t seed = 1;                       ///< of its weights and batches
};

/// How different two samples are.
struct SampleComparison {
  std::vector<std::string> columns;  ///< features
  std::vector<double> chi2;          ///< of each
  std::vector<std::int64_t> ndf;     ///< bins with events, less one: what chi2 is on average
  double auc = 0.5;                  ///< of the classifier, on the other half of the events
  double auc_error = 0.0;            ///< standard deviation of it for equal samples
};

/// chi^2 = sum_b (p_b - q_b)^2 / (variance of p_b + variance of q_b) of the shares p and q of two
/// weighted samples of a feature, in bins of equal content of the second. Variances are sums of
/// squared weights; the mean for equal distributions is ndf.
/// \param first [n] \param second [m] \param ndf set to the bins with events, less one
/// \throws Error (usage) for shapes, Error (numerical) for weights without a positive sum
double shape_chi2(const Tensor& first, const Tensor& first_weights, const Tensor& second,
                  const Tensor& second_weights, std::int64_t bins, std::int64_t& ndf);

/// Both answers. The events of the samples have to be independent of each other.
/// \throws Error (usage) for columns that differ, too few events or options, Error (numerical) for
/// weights without a positive sum
SampleComparison compare_samples(const EventBatch& first, const EventBatch& second,
                                 const ClosureOptions& options = {});

/// Events with weights times exp(log ratio), the log ratio being a classifier's output.
/// \param ratio trained to tell the varied events (label 1) from nominal ones (label 0), with equal
/// sums of weights \param theta for its parameters [p]; undefined if it has none
EventBatch reweighted(const EventBatch& events, const Classifier& ratio, const Tensor& theta = {});

}  // namespace slalom
