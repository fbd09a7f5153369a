// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/core/template_mixture.hpp"

/// \file
/// A wider prior for data whose truth is not like the simulations: all widths are scaled until the
/// fitted pulls are as large as the prior expects them.
///
/// The widths are then those that the data suggest (empirical Bayes) and no longer those of the
/// population. This repairs a part of what a truth outside of the simulations does to coverage.
namespace slalom {

/// When to widen, and how far.
struct WideningOptions {
  double below = 0.05;  ///< p-value of `pull_test` below which priors are widened; above 1: always
  double more = 1.0;    ///< factor on the widths after that: the pulls know them badly
  double tolerance = 0.01;  ///< of the sum of squares of the pulls, relative
  int max_steps = 20;       ///< of the iteration: the fit moves with the widths
};

/// What became of the prior.
struct WidenedPrior {
  MixtureFit fit{};      ///< with the priors that the mixture now has; look at its status
  PullTest before{};     ///< with the priors as they were
  bool widened = false;  ///< the pulls were flagged
  double factor = 1.0;   ///< on all widths, `more` included; at least 1 before it
  bool settled = true;   ///< the pulls are as expected, or smaller with the factor 1
};

/// Scales all priors of a mixture if the pulls of its best fit ask for it; the mixture keeps them.
/// \param best a converged fit of the same data \param fitting as for `fit`
/// \throws Error (usage) for options that make no sense, and as `pull_test`
WidenedPrior widen_priors(TemplateMixture& mixture, const MixtureFit& best,
                          const MixtureFitOptions& fitting = {},
                          const WideningOptions& options = {});

}  // namespace slalom
