// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <cstdint>
#include <string>
#include <vector>

#include "slalom/modules/likelihood.hpp"

/// \file
/// Guards against templates that please the loss and nobody else.
///
/// A network that is trained on a likelihood learns its weak points. The Fisher information sees
/// the difference of variations only: where both lie far above the nominal yields, next to nothing
/// is paid. Bins with a handful of simulated events look precise. And a nuisance parameter that is
/// measured far better than its prior may be measured with a model that is too simple. Each of
/// these has a number here, and the first two a penalty for the loss.
namespace slalom {

/// One-sidedness of a variation in each bin [B], in units of the statistical uncertainty:
/// ((up + down) / 2 - nominal) / sqrt(expected). 0 where nothing is expected.
/// \param expected yields of all samples, signal included
Tensor one_sidedness(const Tensor& expected, const Tensor& nominal, const Tensor& up,
                     const Tensor& down);

/// Penalty sum_b ((up + down) / 2 - nominal)^2 / expected, a scalar, to be added to a loss with a
/// factor of the order of 0.1. Bins without expected yield do not count.
Tensor one_sidedness_penalty(const Tensor& expected, const Tensor& nominal, const Tensor& up,
                             const Tensor& down);

/// Events by which a variation lies on one side, where the signal is: the mean over bins, weighted
/// with the signal, of min(|up - nominal|, |down - nominal|) where both have the same sign. A
/// scalar; 0 without a signal. \param signal yields [B], not negative
Tensor one_sided_events(const Tensor& signal, const Tensor& nominal, const Tensor& up,
                        const Tensor& down);

/// Simulated events that a bin is worth: sumw^2 / sumw2 [B]; 0 for an empty bin.
Tensor effective_entries(const Tensor& sumw, const Tensor& sumw2);

/// Penalty sum_b max(0, 1 - effective / minimum)^2, a scalar. An empty bin costs 1, and has no
/// derivative of its own. \param minimum > 0
Tensor effective_entries_penalty(const Tensor& sumw, const Tensor& sumw2, double minimum);

/// How well the data would constrain a nuisance parameter.
struct ParameterConstraint {
  std::string name;     ///< of the parameter
  double prior = 0.0;   ///< width of its constraint
  double sigma = 0.0;   ///< uncertainty with all others profiled
  double ratio = 0.0;   ///< sigma / prior; far below 1: over-constrained
  double impact = 0.0;  ///< |shift of the parameter of interest for a shift of sigma|
};

/// Of all constrained parameters that float, from the Fisher information at the initial values with
/// the signal `mu`, in the order of the model.
/// \throws Error (model) without a parameter of interest, Error (numerical) if the information is
/// not positive definite
std::vector<ParameterConstraint> parameter_constraints(const Likelihood& likelihood,
                                                       const Templates& templates, double mu = 1.0);

/// Area under the curve of signal against background efficiency, P(score of a signal event > score
/// of a background event) + P(equal) / 2, with weights; 0.5 for a score that says nothing.
/// \param scores [n] \param labels [n], 1 for signal \param weights [n], not negative; undefined: 1
/// each \throws Error (usage) for shapes, Error (numerical) for scores or weights that are not
/// finite, negative weights or a class without weight
double area_under_curve(const Tensor& scores, const Tensor& labels, const Tensor& weights = {});

}  // namespace slalom
