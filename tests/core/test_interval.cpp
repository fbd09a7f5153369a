// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "slalom/core/interval.hpp"
#include "slalom/core/json.hpp"
#include "support/catch.hpp"
#include "support/data.hpp"
#include "support/models.hpp"

using Catch::Matchers::WithinAbs;
using slalom::FitOptions;
using slalom::FitResult;
using slalom::Fitter;
using slalom::Interval;
using slalom::Model;
using slalom::test::published_model;

TEST_CASE("an interval ends where the profile has risen by the level", "[core][interval]") {
  SLALOM_REQUIRE_DATA("workspaces");
  const Model model = published_model("agc/agc_34par.json");
  Fitter fitter(model);
  const FitResult best = fitter.fit();
  for (const char* name : {"ttbar_norm", "ttbar scale variations", "staterror_4j1b-CR[0]"}) {
    INFO(name);
    const auto p = model.spec().find(name);
    REQUIRE(p);
    for (double level : {1.0, 3.8414588}) {
      const Interval interval = minos(fitter, best, *p, {}, level);
      for (const slalom::IntervalSide& side : {interval.lower, interval.upper}) {
        CHECK(side.converged);
        FitOptions options;
        options.fixed = {{*p, side.value}};
        CHECK_THAT(fitter.fit(options).twice_nll - best.twice_nll, WithinAbs(level, 1e-6));
      }
      CHECK(interval.lower.value < best.parameters[*p]);
      CHECK(interval.upper.value > best.parameters[*p]);
    }
  }
}

TEST_CASE("an interval stops at the bound of the parameter", "[core][interval]") {
  const Model model =
      slalom::test::uncorrelated_background({12.0, 11.0}, {50.0, 52.0}, {3.0, 7.0}, {51.0, 48.0});
  Fitter fitter(model);
  const FitResult best = fitter.fit();
  const Interval interval = minos(fitter, best, 0);
  CHECK(interval.lower.at_bound);
  CHECK(interval.lower.value == 0.0);
  CHECK(interval.lower.converged);
  CHECK(interval.upper.converged);
  CHECK_FALSE(interval.upper.at_bound);
}

TEST_CASE("every parameter of a large model has an interval", "[core][interval]") {
  SLALOM_REQUIRE_DATA("workspaces");
  const Model model = published_model("3LRJR/BkgOnly.json", "3LRJR/patchset.json#ERJR_100p0_20p0");
  Fitter fitter(model);
  const FitResult best = fitter.fit();
  for (std::size_t p = 0; p < model.n_parameters(); ++p) {
    if (best.fixed[p]) continue;
    INFO(model.spec().parameters[p].name);
    const Interval interval = minos(fitter, best, p);
    CHECK(interval.lower.converged);
    CHECK(interval.upper.converged);
  }
}

TEST_CASE("a scan follows the lower branch", "[core][interval]") {
  // Rises from the local minimum 30.800356 are quoted for both branches; the profile is the lower.
  const Model model = slalom::test::coupled_histosys();
  Fitter fitter(model);
  const slalom::Scan scan = profile_scan(fitter, 1, {3.0, 0.0, 1.0, 2.0, 0.427067});
  const double local = 30.8003559886;
  CHECK_THAT(scan.best.twice_nll, WithinAbs(29.3311315, 1e-6));
  CHECK_THAT(scan.fits[2].twice_nll, WithinAbs(local + 0.445381, 2e-6));
  CHECK_THAT(scan.fits[3].twice_nll, WithinAbs(local + 6.543328, 2e-6));
  CHECK_THAT(scan.fits[0].twice_nll, WithinAbs(local + 19.041645, 2e-6));
  CHECK_THAT(scan.delta_twice_nll[4], WithinAbs(0.0, 1e-6));
  for (const FitResult& fit : scan.fits) CHECK(fit.converged());
}

TEST_CASE("an interval moves to the lower minimum that it meets", "[core][interval]") {
  const Model model = slalom::test::coupled_histosys();
  Fitter fitter(model);
  FitOptions local;
  local.init = {-0.4, 0.6};
  local.search_minima = false;
  local.warm_start = true;
  FitResult best = fitter.fit(local);
  REQUIRE(best.twice_nll > 30.0);
  CHECK_FALSE((minos(fitter, best, 0).upper.converged && minos(fitter, best, 0).lower.converged));
  const Interval interval = profile_interval(fitter, best, 0);
  CHECK_THAT(best.twice_nll, WithinAbs(29.3311315, 1e-6));
  CHECK(interval.lower.converged);
  CHECK(interval.upper.converged);
  CHECK(interval.lower.value < best.parameters[0]);
  CHECK(interval.upper.value > best.parameters[0]);
}

TEST_CASE("scans and intervals refuse what makes no sense", "[core][interval]") {
  const Model model = slalom::test::uncorrelated_background({12.0}, {50.0}, {3.0}, {51.0});
  Fitter fitter(model);
  const FitResult best = fitter.fit();
  CHECK_THROWS_AS(minos(fitter, best, 9), slalom::Error);
  CHECK_THROWS_AS(minos(fitter, best, 0, {}, 0.0), slalom::Error);
  CHECK_THROWS_AS(profile_scan(fitter, 9, {1.0}), slalom::Error);
}

TEST_CASE("an interval stops where the likelihood ends", "[core][interval]") {
  const std::string path = SLALOM_SOURCE_DIR "/workflows/examples/h4l/workspace.json";
  slalom::ModelSpec spec =
      slalom::make_model_spec(slalom::parse_workspace(slalom::read_json(path)));
  const std::size_t mu = *spec.poi;
  spec.parameters[mu].lower = -10.0;
  for (std::size_t bin = 16; bin < 20; ++bin) spec.observed[bin] = 0.0;
  // No signal is more negative than this; the largest bin of the signal has no events.
  double background = 0.0, signal = 0.0;
  for (const slalom::SampleSpec& sample : spec.channels[0].samples) {
    (sample.name == "hzz_mH125" ? signal : background) += sample.nominal[18];
  }
  const double end = -background / signal;
  for (const double events : {0.0, 4.0}) {  // the best fit is there, or near it
    INFO(events);
    spec.observed[17] = events;
    const Model model(spec);
    Fitter fitter(model);
    const FitResult best = fitter.fit();
    REQUIRE(best.converged());
    CHECK(best.empty_bins.empty() == (events > 0.0));
    CHECK((fitter.errors(best)[mu] == 0.0) == (events == 0.0));
    const Interval interval = minos(fitter, best, mu);
    CHECK(interval.lower.converged);
    CHECK(interval.lower.at_bound);
    CHECK_THAT(interval.lower.value, WithinAbs(end, 1e-6));
    CHECK(interval.upper.converged);
    FitOptions options;
    options.fixed = {{mu, interval.upper.value}};
    CHECK_THAT(fitter.fit(options).twice_nll - best.twice_nll, WithinAbs(1.0, 1e-6));
  }
}
