// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <cstddef>
#include <vector>

/// \file
/// Significance improvement of a cut on a score, SIC = eps_S / sqrt(eps_B): by how much S / sqrt(B)
/// grows (Gallicchio, Schwartz: Phys. Rev. Lett. 107 (2011) 172001). area_under_curve() is in
/// diagnostics.hpp.
namespace slalom {

/// Range and density of the curve.
struct SignificanceImprovementOptions {
  /// Background efficiency below which nothing is said: what few events pass would decide.
  double min_background_efficiency = 1e-3;
  std::size_t points = 200;  ///< of the curve, evenly spaced in signal efficiency
};

/// Efficiencies of a cut on the score, and what it brings.
struct SignificanceImprovement {
  double threshold = 0.0;              ///< events with at least this score pass
  double signal_efficiency = 0.0;      ///< eps_S
  double background_efficiency = 0.0;  ///< eps_B
  double value = 0.0;                  ///< eps_S / sqrt(eps_B)
  double error = 0.0;                  ///< statistical, of both samples
};

/// The curve from a cut that all events pass to the tightest one with eps_B at its minimum.
struct SignificanceImprovementCurve {
  std::vector<SignificanceImprovement> points;  ///< by falling signal efficiency
  SignificanceImprovement best;                 ///< the largest value among all cuts
};

/// The curve of scored events. Errors are binomial, with effective numbers of events (sumw^2 /
/// sumw2) for weights: (d SIC / SIC)^2 = (1 - eps_S) / (eps_S n_S) + (1 - eps_B) / (4 eps_B n_B).
/// `best` is chosen among the cuts at all scores, which makes it a little too large by chance; take
/// the cut from one half of the events and its value, significance_improvement_at(), from the
/// other where that matters.
/// \param scores [n] \param labels [n], 1 for signal \param weights [n], not negative; undefined: 1
/// each \throws Error (usage) for shapes or options out of range, Error (numerical) for scores or
/// weights that are not finite, negative weights or a class without weight
SignificanceImprovementCurve significance_improvement(
    const Tensor& scores, const Tensor& labels, const Tensor& weights = {},
    const SignificanceImprovementOptions& options = {});

/// The same for one cut: events with at least this score pass. The value is 0 if no background
/// does. \throws Error as significance_improvement()
SignificanceImprovement significance_improvement_at(const Tensor& scores, const Tensor& labels,
                                                    double threshold, const Tensor& weights = {});

/// The cut that a share of the events passes, between two of their scores. \param scores [n]
/// \param efficiency in (0, 1): at least one event passes, and one does not
/// \throws Error (usage) for fewer than two scores or an efficiency out of range
double score_threshold(const Tensor& scores, double efficiency);

}  // namespace slalom
