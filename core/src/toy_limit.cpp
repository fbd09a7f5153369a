// SPDX-License-Identifier: Apache-2.0
#include "slalom/core/toy_limit.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "slalom/core/hypotest.hpp"

namespace slalom {

namespace {

/// Curves of CLs against mu: the five of the band, then the observed one.
constexpr std::size_t k_curves = 6, k_observed = 5;

double cls_of(const ToyHypothesisTest& test, std::size_t curve) {
  return curve == k_observed ? test.cls.value : test.cls_expected[curve];
}

double error_of(const ToyHypothesisTest& test, std::size_t curve) {
  return curve == k_observed ? test.cls.error : test.cls_expected_error[curve];
}

double log_cls_of(const HypothesisTest& test, std::size_t curve) {
  return curve == k_observed ? test.log_cls : test.log_cls_expected[curve];
}

/// Where a curve crosses the level, as far as it is known.
struct Crossing {
  const ToyHypothesisTest* below = nullptr;  ///< smaller mu, CLs above the level
  const ToyHypothesisTest* above = nullptr;  ///< larger mu, CLs at most the level
};

class LimitFinder {
 public:
  LimitFinder(Fitter& fitter, const ToyLimitOptions& options, const ToyOptions& toys,
              const FitOptions& fit)
      : options_(options), asymptotic_(fitter, fit), calculator_(fitter, toys, fit) {}

  ToyUpperLimit find() {
    result_.level = options_.level;
    const UpperLimit guess = asymptotic_.upper_limit(options_.level);
    for (std::size_t curve = 0; curve < k_curves && going_on(); ++curve) {
      const double mu = curve == k_observed ? guess.observed : guess.expected[curve];
      limit(curve) = find_one(curve, mu > 0.0 ? mu : 1.0);
    }
    finish();
    return std::move(result_);
  }

 private:
  ToyLimit& limit(std::size_t curve) {
    return curve == k_observed ? result_.observed : result_.expected[curve];
  }

  bool going_on() const { return !result_.interrupted && failure_.empty(); }

  void test(double mu) {
    ToyHypothesisTest test = calculator_.test(mu);
    for (const ToyCounts& counts : {test.signal, test.background}) {
      result_.toys.asked += counts.asked;
      result_.toys.done += counts.done;
      result_.toys.failed += counts.failed;
    }
    if (test.signal.done + test.background.done < test.signal.asked + test.background.asked) {
      result_.interrupted = test.signal.asked > 0;
    }
    if (!test.converged) {
      if (!result_.interrupted) failure_ = test.message;
      return;
    }
    test.signal_samples = {};
    test.background_samples = {};
    const auto place = std::find_if(result_.points.begin(), result_.points.end(),
                                    [&](const ToyHypothesisTest& t) { return t.mu > mu; });
    result_.points.insert(place, std::move(test));
  }

  /// log CLs - log level; a CLs of 0 counts as half a toy.
  double height(const ToyHypothesisTest& test, std::size_t curve) const {
    const double least = 0.5 / static_cast<double>(std::max<std::size_t>(test.signal.done, 1));
    return std::log(std::max(cls_of(test, curve), least) / options_.level);
  }

  /// The outermost crossing.
  Crossing crossing(std::size_t curve) const {
    Crossing result;
    for (const ToyHypothesisTest& test : result_.points) {
      if (height(test, curve) > 0.0) {
        result = {&test, nullptr};
      } else if (result.above == nullptr) {
        result.above = &test;
      }
    }
    return result;
  }

  double interpolate(const Crossing& c, std::size_t curve) const {
    const double a = height(*c.below, curve), b = height(*c.above, curve);
    return c.below->mu + (c.above->mu - c.below->mu) * a / (a - b);
  }

  ToyLimit find_one(std::size_t curve, double guess) {
    double next = guess;
    while (going_on() && result_.points.size() < static_cast<std::size_t>(options_.max_points)) {
      const Crossing c = crossing(curve);
      if (c.below == nullptr || c.above == nullptr) {
        // All points are on one side: the guess first, then beyond the points.
        const bool tested = std::any_of(result_.points.begin(), result_.points.end(),
                                        [&](const ToyHypothesisTest& t) { return t.mu == next; });
        if (tested) {
          const double step = 1.0 + options_.spacing;
          next = c.below != nullptr ? result_.points.back().mu * step
                                    : result_.points.front().mu / step;
        }
        test(next);
        continue;
      }
      const double width = c.above->mu - c.below->mu;
      const double root = interpolate(c, curve);
      if (width <= options_.spacing * root * 1.0000001) return {root, uncertainty(c, curve), true};
      // A point on each side of the root, a little closer than asked for since the root will move.
      const double reach = 0.5 * options_.spacing * root;
      const bool far_below = root - c.below->mu > reach;
      test(far_below ? root - 0.8 * reach : root + 0.8 * reach);
    }
    if (going_on()) failure_ = "the limits were not found with the allowed number of points";
    const Crossing c = crossing(curve);
    if (c.below == nullptr || c.above == nullptr) return {};
    return {interpolate(c, curve), uncertainty(c, curve), false};
  }

  /// Uncertainty of log CLs near the root over the slope of the asymptotic curve.
  double uncertainty(const Crossing& c, std::size_t curve) {
    const HypothesisTest low = asymptotic_.test(c.below->mu), high = asymptotic_.test(c.above->mu);
    const double slope =
        (log_cls_of(low, curve) - log_cls_of(high, curve)) / (c.above->mu - c.below->mu);
    const double relative =
        0.5 * (error_of(*c.below, curve) / cls_of(*c.below, curve) +
               error_of(*c.above, curve) / std::max(cls_of(*c.above, curve), 1e-300));
    return slope > 0.0 && std::isfinite(relative) ? relative / slope : 0.0;
  }

  void finish() {
    const FitResult& best = calculator_.best();
    result_.best_fit = best.parameters[poi_index()];
    result_.converged = going_on() && result_.observed.converged;
    for (const ToyLimit& limit : result_.expected) result_.converged &= limit.converged;
    result_.message = failure_;
    if (result_.interrupted) {
      result_.message = "stopped after " + std::to_string(result_.toys.done) + " toys";
    } else if (failure_.empty() && result_.toys.failed > 0) {
      result_.message = "the fits of " + std::to_string(result_.toys.failed) + " of " +
                        std::to_string(result_.toys.done) +
                        " toys did not converge; they are left out";
    }
  }

  std::size_t poi_index() const { return calculator_.poi(); }

  ToyLimitOptions options_;
  AsymptoticCalculator asymptotic_;
  ToyCalculator calculator_;
  ToyUpperLimit result_;
  std::string failure_;
};

}  // namespace

ToyUpperLimit upper_limit_by_toys(Fitter& fitter, const ToyLimitOptions& options,
                                  const ToyOptions& toys, const FitOptions& fit) {
  if (!(options.level > 0.0 && options.level < 1.0)) {
    throw Error(ErrorKind::usage, "the level must lie between 0 and 1", "level");
  }
  return LimitFinder(fitter, options, toys, fit).find();
}

}  // namespace slalom
