// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <cstdint>
#include <vector>

/// \file
/// A summary that needs no bins while training.
///
/// A network has K real outputs t(x), to which the constant 1 is added. With nu the expected
/// density of events and theta the parameters,
///
///     C = int nu t t',  D_i = int (d nu / d theta_i) t,  I = D C^-1 D' + prior.
///
/// I is the Fisher information of the best linear combinations of t, hence a lower limit of that of
/// the events. It is trained with 1/2 log [I^-1]_ss; then only the efficient score of the parameter
/// of interest s,
///
///     T(x) = t(x) . C^-1 D' a,  a = I^-1 e_s,
///
/// is kept, one number that is binned with edges for I. Indicators of bins as t give the
/// information of the histogram.
///
/// Integrals are sums over entries. An entry has a weight w, which counts in C, and slopes g_i,
/// which count in D. An event whose weight is known as a function of theta is one entry with its w
/// and g_i = d w / d theta_i. Copies shifted to +-h have w = 0 and g_i = +-w / (2 h). Everything is
/// float64 inside, differentiable to any order.
namespace slalom {

/// Sums over entries, of which those of several batches can be added.
struct LinearMoments {
  Tensor gram;    ///< C [K + 1, K + 1]; the constant comes last
  Tensor slopes;  ///< D [P, K + 1]
};

/// Outputs with the constant appended [n, K + 1], float64.
/// \param outputs [n] or [n, K]
Tensor with_constant(const Tensor& outputs);

/// C and D. \param outputs [n] or [n, K] \param weights w [n] \param slopes g [P, n]
/// \throws Error (usage) for shapes
LinearMoments linear_moments(const Tensor& outputs, const Tensor& weights, const Tensor& slopes);

/// I [P, P]. \param prior information of constraints, [P, P], or [P] for a diagonal
/// \param ridge C gets this fraction of its diagonal in addition
/// \throws Error (usage) for shapes, Error (numerical) if C is not positive definite
Tensor linear_information(const LinearMoments& moments, const Tensor& prior, double ridge = 1e-6);

/// 1/2 log [I^-1]_ss, the logarithm of the uncertainty with all other parameters profiled.
/// \param information [P, P] \throws Error (numerical) if it is not positive definite
Tensor log_uncertainty(const Tensor& information, std::int64_t interest = 0);

/// Coefficients c = C^-1 D' I^-1 e_s [K + 1] of the efficient score T = t . c. They are defined up
/// to a factor; the sign is that of a score which grows with s.
Tensor efficient_score_coefficients(const LinearMoments& moments, const Tensor& prior,
                                    std::int64_t interest = 0, double ridge = 1e-6);

/// T [n]. \param outputs [n] or [n, K] \param coefficients [K + 1]
Tensor efficient_score(const Tensor& outputs, const Tensor& coefficients);

/// Fisher information [P, P] of a histogram with fixed edges: sum_b D_b D_b' / nu_b + prior. Bins
/// without yield say nothing. \param score [n] \param edges inner edges [B - 1], increasing
Tensor binned_information(const Tensor& score, const Tensor& weights, const Tensor& slopes,
                          const Tensor& prior, const Tensor& edges);

/// Options of find_edges().
struct EdgeOptions {
  std::int64_t bins = 10;          ///< B, > 1
  std::int64_t candidates = 2000;  ///< places where edges may be, quantiles; 0: between all scores
  double min_effective = 20.0;     ///< smallest (sum w)^2 / sum w^2 of a bin
  double min_yield = 0.0;          ///< smallest sum w of a bin
  std::int64_t max_sweeps = 100;   ///< of coordinate descent
  std::int64_t interest = 0;       ///< index of s
};

/// Inner edges [B - 1] with the smallest [I^-1]_ss of the histogram, by coordinate descent from
/// quantiles: each edge in turn goes to the best candidate between its neighbours until none moves;
/// and from edges that are the best for a fixed direction of the slopes. A local minimum, the
/// lowest of these; on a training sample, from which the yields of a result must not come. \throws
/// Error (usage) for shapes or too few entries for the bins
Tensor find_edges(const Tensor& score, const Tensor& weights, const Tensor& slopes,
                  const Tensor& prior, const EdgeOptions& options = {});

}  // namespace slalom
