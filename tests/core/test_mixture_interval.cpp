// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "slalom/core/mixture_interval.hpp"
#include "support/bump_mixture.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::fit;
using slalom::MixtureError;
using slalom::MixtureFit;
using slalom::MixtureInterval;
using slalom::MixtureIntervalOptions;
using slalom::TemplateMixture;

namespace {

TemplateMixture mixture_with_data() {
  TemplateMixture mixture = slalom::test::bump_mixture();
  mixture.set_data(slalom::test::bump_data(2000.0, 8000.0));
  return mixture;
}

MixtureIntervalOptions options_of(MixtureError error) {
  MixtureIntervalOptions options;
  options.error = error;
  options.points = 201;
  options.sampling.chains = 2;
  options.sampling.draws = 2000;
  return options;
}

}  // namespace

TEST_CASE("five ways to state the error of a fraction", "[core][mixture_interval]") {
  const TemplateMixture mixture = mixture_with_data();
  const MixtureFit best = fit(mixture);
  REQUIRE(best.converged());
  for (const MixtureError error :
       {MixtureError::laplace, MixtureError::sandwich, MixtureError::profile,
        MixtureError::marginal, MixtureError::hmc}) {
    CAPTURE(to_string(error));
    const MixtureIntervalOptions options = options_of(error);
    const MixtureInterval interval = mixture_interval(mixture, best, options);
    REQUIRE(interval.valid);
    CHECK_FALSE(interval.needed.has_value());
    CHECK_FALSE(interval.holds(0.999));
    CHECK(interval.lower_95 < interval.lower);
    CHECK(interval.lower < interval.kappa);
    CHECK(interval.kappa < interval.upper);
    CHECK(interval.upper < interval.upper_95);
    // An end of an interval is where its probability is needed.
    const bool sampled = error == MixtureError::hmc;
    const double tolerance = sampled ? 1e-3 : error == MixtureError::marginal ? 1e-3 : 1e-5;
    for (const auto& [end, probability] : {std::pair{interval.lower, 0.6827},
                                           {interval.upper, 0.6827},
                                           {interval.lower_95, 0.95},
                                           {interval.upper_95, 0.95}}) {
      const MixtureInterval there = mixture_interval(mixture, best, options, end);
      REQUIRE(there.needed.has_value());
      CHECK_THAT(*there.needed, WithinAbs(probability, tolerance + 1e-4));
      CHECK(there.holds(probability + 0.01));
      CHECK_FALSE(there.holds(probability - 0.01));
    }
    // Nearly quadratic: all but the sandwich agree.
    if (error == MixtureError::sandwich) {
      CHECK_THAT(interval.error, WithinRel(best.sandwich_error(), 1e-12));
      CHECK(interval.error < best.laplace_error());
    } else {
      CHECK_THAT(interval.error, WithinRel(best.laplace_error(), sampled ? 0.08 : 0.05));
      CHECK_THAT(0.5 * (interval.upper - interval.lower),
                 WithinRel(best.laplace_error(), sampled ? 0.08 : 0.05));
    }
    if (sampled) {
      CHECK(interval.r_hat < 1.02);
      CHECK(interval.ess > 200.0);
    }
  }
}

TEST_CASE("truths far away need nearly everything", "[core][mixture_interval]") {
  const TemplateMixture mixture = mixture_with_data();
  const MixtureFit best = fit(mixture);
  for (const MixtureError error :
       {MixtureError::laplace, MixtureError::profile, MixtureError::marginal}) {
    CAPTURE(to_string(error));
    const MixtureInterval interval = mixture_interval(mixture, best, options_of(error), 0.9);
    REQUIRE(interval.valid);
    CHECK(interval.needed.value() > 0.9999);
    CHECK(interval.needed.value() <= 1.0);
  }
}

TEST_CASE("fits without an error have no interval", "[core][mixture_interval]") {
  TemplateMixture mixture = slalom::test::bump_mixture();
  mixture.set_data(slalom::test::bump_data(0.0, 8000.0));
  slalom::MixtureFitOptions options;
  options.kappa_low = 0.05;
  const MixtureFit best = fit(mixture, options);
  REQUIRE(best.at_bound[0]);
  MixtureIntervalOptions how = options_of(MixtureError::laplace);
  how.fit = options;
  const MixtureInterval interval = mixture_interval(mixture, best, how);
  CHECK_FALSE(interval.valid);
  CHECK(interval.message.find("at a bound") != std::string::npos);
  how.error = MixtureError::marginal;  // integrates up to the bound
  CHECK(mixture_interval(mixture, best, how).valid);
  MixtureFit failed;
  failed.message = "too many steps";
  CHECK(mixture_interval(mixture, failed, how).message.find("too many steps") != std::string::npos);
  // Chains start from any point.
  failed.parameters = best.parameters;
  how.error = MixtureError::hmc;
  how.sampling.draws = 100;
  CHECK(mixture_interval(mixture, failed, how).valid);
  how.error = MixtureError::marginal;
  CHECK_FALSE(mixture_interval(mixture, failed, how).valid);
  how.points = 2;
  slalom::test::check_fails(slalom::ErrorKind::usage, "kappa", "at least 3 points",
                            [&] { mixture_interval(mixture, best, how); });
}
