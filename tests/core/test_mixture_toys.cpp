// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <numeric>
#include <tbb/global_control.h>

#include "slalom/core/hellinger.hpp"
#include "slalom/core/mixture_toys.hpp"
#include "support/bump_mixture.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::CoveragePoint;
using slalom::ErrorKind;
using slalom::MixtureCoverage;
using slalom::MixtureDraw;
using slalom::MixtureError;
using slalom::MixtureToys;
using slalom::MixtureToysOptions;
using slalom::RandomStream;
using slalom::run_mixture_toys;
using namespace slalom::test;
using Numbers = std::vector<double>;

namespace {

/// Shapes that are known: the truth alone.
MixtureDraw known(std::size_t) {
  return {{slalom::exponential_mixture(bump_logs(0, 2.05, 0.52), 1),
           slalom::exponential_mixture(bump_logs(1, 2.05, 0.52), 1), bump_measure()},
          bump_truth(0),
          bump_truth(1),
          bump_measure()};
}

MixtureDraw biased(std::size_t) {
  return {bump_mixture(), bump_truth(0), bump_truth(1), bump_measure()};
}

MixtureToysOptions options_of(MixtureError error, std::size_t draws, std::size_t toys) {
  MixtureToysOptions options;
  options.draws = draws;
  options.toys = toys;
  options.signal_events = 1000;
  options.background_events = 4000;
  options.interval.error = error;
  options.interval.fit.kappa_low = -0.2;
  return options;
}

}  // namespace

TEST_CASE("data sets have the events that were asked for", "[core][mixture_toys]") {
  RandomStream random(1, 0), again(1, 0);
  const Numbers signal{0.0, 1.0, 3.0}, background{5.0, 5.0, 0.0};
  const Numbers n = slalom::draw_mixture_data(signal, background, 4000, 6000, random);
  CHECK(std::accumulate(n.begin(), n.end(), 0.0) == 10000.0);
  CHECK_THAT(n[0], WithinAbs(3000.0, 200.0));
  CHECK_THAT(n[1], WithinAbs(4000.0, 200.0));
  CHECK_THAT(n[2], WithinAbs(3000.0, 150.0));
  CHECK(slalom::draw_mixture_data(signal, background, 4000, 6000, again) == n);
  check_fails(ErrorKind::model, "background", "2 bins for 3", [&] {
    slalom::draw_mixture_data(signal, {1.0, 1.0}, 1, 1, random);
  });
  check_fails(ErrorKind::model, "signal", "negative", [&] {
    slalom::draw_mixture_data({-1.0, 2.0, 1.0}, background, 1, 1, random);
  });
  check_fails(ErrorKind::model, "signal", "no sum above 0", [&] {
    slalom::draw_mixture_data({0.0, 0.0, 0.0}, background, 1, 1, random);
  });
}

TEST_CASE("a truth farther from the mean", "[core][mixture_toys]") {
  const Numbers logs = bump_simulations(0), measure = bump_measure();
  const auto distance = [&](std::size_t i, double factor) {
    return slalom::hellinger_distance(slalom::farther_simulation(logs, measure, i, factor),
                                      slalom::farther_simulation(logs, measure, i, 0.0));
  };
  const Numbers itself = slalom::farther_simulation(logs, measure, 2, 1.0);
  CHECK_THAT(std::accumulate(itself.begin(), itself.end(), 0.0), WithinAbs(1.0, 1e-12));
  CHECK_THAT(itself[5] / itself[20], WithinRel(std::exp(logs[85] - logs[100]), 1e-12));
  CHECK_THAT(distance(2, 2.0), WithinRel(2.0 * distance(2, 1.0), 0.05));
  CHECK_THAT(slalom::hellinger_distance(slalom::farther_simulation(logs, measure, 0, 0.0),
                                        slalom::farther_simulation(logs, measure, 1, 0.0)),
             WithinAbs(0.0, 1e-12));
  check_fails(ErrorKind::model, "farther simulation", "no such simulation",
              [&] { slalom::farther_simulation(logs, measure, 3, 1.0); });
}

TEST_CASE("intervals of known shapes cover what they should", "[core][mixture_toys]") {
  // Numbers of events are exact, so that the fraction of a data set does not fluctuate by
  // sqrt(kappa (1 - kappa) / n), which errors allow for: they are too large by a known factor.
  const Numbers levels{0.25, 0.5, 0.6827, 0.9};
  const Numbers z{0.31864, 0.67449, 1.0, 1.64485};
  for (const MixtureError error : {MixtureError::laplace, MixtureError::sandwich,
                                   MixtureError::profile, MixtureError::marginal}) {
    CAPTURE(to_string(error));
    const MixtureToys toys = run_mixture_toys(known, options_of(error, 4, 150));
    CHECK(toys.truth == 0.2);
    const MixtureCoverage coverage = mixture_coverage(toys, levels);
    CHECK(coverage.failures == 0);
    const double scatter = std::sqrt(coverage.error * coverage.error - 0.2 * 0.8 / 5000.0);
    const double factor = coverage.error / scatter;
    CHECK_THAT(coverage.mean, WithinAbs(0.2, 4.0 * scatter / std::sqrt(600.0)));
    CHECK_THAT(coverage.rms, WithinRel(scatter, 0.1));
    CHECK_THAT(coverage.pull_width * factor, WithinAbs(1.0, 0.1));
    const auto expected = [&](double of) { return std::erf(of * factor / std::sqrt(2.0)); };
    // 600 data sets: .018 at 68 %, .007 at 95 %.
    CHECK_THAT(coverage.at_68.coverage, WithinAbs(expected(1.0), 0.06));
    CHECK_THAT(coverage.at_95.coverage, WithinAbs(expected(1.96), 0.03));
    CHECK_THAT(coverage.laplace.coverage_68, WithinAbs(expected(1.0), 0.06));
    REQUIRE(coverage.curve.size() == levels.size());
    for (std::size_t i = 0; i < levels.size(); ++i) {
      CHECK(coverage.curve[i].nominal == levels[i]);
      CHECK_THAT(coverage.curve[i].coverage, WithinAbs(expected(z[i]), 0.07));
    }
    if (error == MixtureError::laplace) {
      CHECK_THAT(coverage.laplace.coverage_68, WithinAbs(coverage.at_68.coverage, 1e-12));
      CHECK_THAT(coverage.laplace.pull_width, WithinRel(coverage.pull_width, 1e-9));
      CHECK_THAT(coverage.laplace.mean, WithinRel(coverage.error, 1e-12));
      CHECK_THAT(coverage.half_width, WithinRel(coverage.error, 1e-9));
    }
    for (const double distance : coverage.distance) CHECK_THAT(distance, WithinAbs(0.0, 1e-7));
  }
}

TEST_CASE("mixture toys do not depend on threads, nor on how many follow", "[core][mixture_toys]") {
  const MixtureToysOptions options = options_of(MixtureError::marginal, 3, 6);
  const MixtureToys many = run_mixture_toys(biased, options);
  const tbb::global_control one(tbb::global_control::max_allowed_parallelism, 1);
  const MixtureToys alone = run_mixture_toys(biased, options);
  MixtureToysOptions fewer = options;
  fewer.draws = 2;
  const MixtureToys first = run_mixture_toys(biased, fewer);
  for (std::size_t i = 0; i < many.results.size(); ++i) {
    CHECK(many.results[i].interval.kappa == alone.results[i].interval.kappa);
    CHECK(many.results[i].interval.needed == alone.results[i].interval.needed);
    CHECK(many.results[i].distance[0] == alone.results[i].distance[0]);
    if (i < first.results.size()) CHECK(first.results[i].best == alone.results[i].best);
  }
}

TEST_CASE("mixture toys that are ended, and ones that make no sense", "[core][mixture_toys]") {
  MixtureToysOptions options = options_of(MixtureError::laplace, 1000, 1);
  std::size_t calls = 0;
  options.progress = [&](std::size_t done, std::size_t all) {
    CHECK(all == 1000);
    return ++calls < 3 || done == 0;
  };
  const MixtureToys ended = run_mixture_toys(known, options);
  CHECK(calls == 3);
  CHECK(ended.results.empty());
  check_fails(ErrorKind::model, "coverage", "ended", [&] { mixture_coverage(ended); });
  options = options_of(MixtureError::laplace, 1, 1);
  const MixtureToys toys = run_mixture_toys(known, options);
  check_fails(ErrorKind::model, "coverage", "a level", [&] { mixture_coverage(toys, {1.0}); });
  options.toys = 0;
  check_fails(ErrorKind::model, "toys", "no toys", [&] { run_mixture_toys(known, options); });
  options.toys = 1;
  options.signal_events = options.background_events = 0;
  check_fails(ErrorKind::model, "toys", "no events", [&] { run_mixture_toys(known, options); });
  options.signal_events = 10;
  const auto wrong = [](std::size_t draw) {
    MixtureDraw result = known(draw);
    result.measure.pop_back();
    return result;
  };
  check_fails(ErrorKind::model, "measure", "39 bins", [&] { run_mixture_toys(wrong, options); });
  const auto throws = [](std::size_t) -> MixtureDraw {
    throw slalom::Error(ErrorKind::numerical, "no such draw", "draw");
  };
  check_fails(ErrorKind::numerical, "draw", "no such draw",
              [&] { run_mixture_toys(throws, options); });
}
