// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/prior_widening.hpp"

#include <algorithm>
#include <cmath>

#include "slalom/core/error.hpp"

namespace slalom {

namespace {

std::vector<ShapePrior> scaled(std::vector<ShapePrior> priors, double square) {
  for (ShapePrior& prior : priors) {
    for (double& x : prior.precision) x /= square;
  }
  return priors;
}

/// Sum of squares over what is expected of it.
double excess(const PullTest& test) {
  return test.chi2 / static_cast<double>(std::max<std::size_t>(test.degrees, 1));
}

}  // namespace

WidenedPrior widen_priors(TemplateMixture& mixture, const MixtureFit& best,
                          const MixtureFitOptions& fitting, const WideningOptions& options) {
  const bool fine = std::isfinite(options.more) && options.more >= 1.0 && options.tolerance > 0.0 &&
                    options.max_steps > 0 && options.below >= 0.0;
  if (!fine) {
    throw Error(ErrorKind::usage,
                "a factor below 1, or a tolerance, number of steps or p-value that makes no sense",
                "widening");
  }
  WidenedPrior result;
  result.fit = best;
  result.before = pull_test(mixture, best);
  if (!(result.before.p_value < options.below)) return result;
  result.widened = true;
  const std::vector<ShapePrior> given = mixture.priors();
  double square = 1.0;
  const auto refit = [&] {
    mixture.set_priors(scaled(given, square));
    result.fit = fit(mixture, fitting);
    return result.fit.converged();
  };
  PullTest test = result.before;
  result.settled = false;
  for (int step = 0; step < options.max_steps; ++step) {
    const double factor = excess(test);
    result.settled = std::abs(factor - 1.0) < options.tolerance || (square == 1.0 && factor <= 1.0);
    if (result.settled) break;
    square = std::max(1.0, square * factor);
    if (!refit()) break;
    test = pull_test(mixture, result.fit);
  }
  if (options.more != 1.0 && result.fit.converged()) {
    square *= options.more * options.more;
    refit();
  }
  result.factor = std::sqrt(square);
  return result;
}

}  // namespace slalom
