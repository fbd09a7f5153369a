// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "slalom/core/contour.hpp"
#include "slalom/core/interval.hpp"
#include "slalom/core/test_statistic.hpp"
#include "support/catch.hpp"
#include "support/data.hpp"
#include "support/models.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::Contour;
using slalom::ContourOptions;
using slalom::ContourPoint;
using slalom::FitOptions;
using slalom::FitResult;
using slalom::Fitter;
using slalom::Model;
using slalom::ProfileGrid;
using slalom::test::published_model;

namespace {

constexpr double k_level = 0.6826894921370859;

/// Twice the enclosed area; positive if the points run anticlockwise.
double twice_area(const Contour& contour) {
  double area = 0.0;
  for (std::size_t i = 0; i < contour.points.size(); ++i) {
    const ContourPoint& a = contour.points[i];
    const ContourPoint& b = contour.points[(i + 1) % contour.points.size()];
    area += a.x * b.y - b.x * a.y;
  }
  return area;
}

/// Checks what every contour promises, with fits of its own.
void check_contour(Fitter& fitter, const Contour& contour) {
  INFO(contour.message);
  REQUIRE(contour.converged);
  CHECK(contour.closed);
  CHECK(contour.points.size() >= 8);
  CHECK(twice_area(contour) > 0.0);
  const std::vector<slalom::Parameter>& parameters = fitter.model().spec().parameters;
  for (const ContourPoint& p : contour.points) {
    INFO(p.x << ", " << p.y);
    FitOptions held;
    held.fixed = {{contour.x, p.x}, {contour.y, p.y}};
    const FitResult fit = fitter.fit(held);
    REQUIRE(fit.converged());
    CHECK_THAT(p.twice_nll, WithinAbs(fit.twice_nll, 1e-6));
    const double rise = fit.twice_nll - contour.best.twice_nll;
    if (p.at_bound) {
      CHECK(rise < contour.delta);
      CHECK((p.x == parameters[contour.x].lower || p.x == parameters[contour.x].upper ||
             p.y == parameters[contour.y].lower || p.y == parameters[contour.y].upper));
    } else {
      CHECK_THAT(rise, WithinAbs(contour.delta, 1e-6));
    }
  }
}

double largest(const Contour& contour, double sign, double ContourPoint::*axis) {
  double value = -1e300;
  for (const ContourPoint& p : contour.points) value = std::max(value, sign * (p.*axis));
  return sign * value;
}

/// Two unconstrained factors of two bins: the likelihood is a product, known in closed form.
Model two_counts() {
  slalom::Workspace w;
  const auto factor = [](const char* name) {
    return slalom::Modifier{name, slalom::ModifierType::normfactor, {}, {}, 1.0, 1.0, {}};
  };
  w.channels = {
      {"c", {{"first", {100.0, 0.0}, {factor("a")}}, {"second", {0.0, 100.0}, {factor("b")}}}}};
  w.observations = {{"c", {100.0, 110.0}}};
  w.measurements = {{"m", "a", {}}};
  return Model(make_model_spec(w));
}

}  // namespace

TEST_CASE("the contour of two counts is the one that can be written down", "[core][contour]") {
  const Model model = two_counts();
  Fitter fitter(model);
  const FitResult best = fitter.fit();
  const Contour c = contour(fitter, best, 0, 1, k_level);
  check_contour(fitter, c);
  CHECK_THAT(c.delta, WithinRel(2.295748928898636, 1e-12));
  const auto rise = [](double n, double rate) { return 2.0 * (rate - n - n * std::log(rate / n)); };
  for (const ContourPoint& p : c.points) {
    CHECK_THAT(rise(100.0, 100.0 * p.x) + rise(110.0, 100.0 * p.y), WithinAbs(c.delta, 1e-7));
  }
  CHECK(c.points.size() >= 35);
  CHECK(c.points.size() <= 50);
  // Points are spread evenly: no gap is much longer than the usual step.
  for (std::size_t i = 0; i < c.points.size(); ++i) {
    const ContourPoint& a = c.points[i];
    const ContourPoint& b = c.points[(i + 1) % c.points.size()];
    CHECK(std::hypot(a.x - b.x, a.y - b.y) < 0.06);
  }
}

TEST_CASE("a contour reaches as far as the intervals of its level", "[core][contour]") {
  SLALOM_REQUIRE_DATA("workspaces");
  const Model model = published_model("agc/agc_34par.json");
  Fitter fitter(model);
  const FitResult best = fitter.fit();
  const std::size_t x = *model.spec().poi;
  const std::size_t y = *model.spec().find("ttbar scale variations");
  for (double level : {k_level, 0.9544997361036416}) {
    const Contour c = contour(fitter, best, x, y, level, {200});
    check_contour(fitter, c);
    const slalom::Interval in_x = minos(fitter, best, x, {}, c.delta);
    const slalom::Interval in_y = minos(fitter, best, y, {}, c.delta);
    const auto near = [](double a, double b, const slalom::Interval& i) {
      CHECK_THAT(a, WithinAbs(b, 1e-3 * (i.upper.value - i.lower.value)));
    };
    near(largest(c, 1.0, &ContourPoint::x), in_x.upper.value, in_x);
    near(largest(c, -1.0, &ContourPoint::x), in_x.lower.value, in_x);
    near(largest(c, 1.0, &ContourPoint::y), in_y.upper.value, in_y);
    near(largest(c, -1.0, &ContourPoint::y), in_y.lower.value, in_y);
  }
}

TEST_CASE("a contour goes along the bounds", "[core][contour]") {
  const Model model =
      slalom::test::uncorrelated_background({12.0, 11.0}, {50.0, 52.0}, {3.0, 7.0}, {51.0, 48.0});
  Fitter fitter(model);
  const FitResult best = fitter.fit();
  REQUIRE(best.at_bound[0]);
  for (std::size_t y : {1u, 2u}) {
    const Contour c = contour(fitter, best, 0, y, 0.95);
    check_contour(fitter, c);
    CHECK(largest(c, -1.0, &ContourPoint::x) == 0.0);
    CHECK(std::any_of(c.points.begin(), c.points.end(),
                      [](const ContourPoint& p) { return p.at_bound; }));
    // The other order of the parameters gives the same region.
    const Contour other = contour(fitter, best, y, 0, 0.95);
    check_contour(fitter, other);
    CHECK_THAT(twice_area(other), WithinRel(twice_area(c), 0.02));
  }
}

TEST_CASE("a region that fills all that is allowed is a rectangle", "[core][contour]") {
  Model model = two_counts();
  slalom::ModelSpec spec = model.spec();
  for (slalom::Parameter& p : spec.parameters) {
    p.lower = 0.95;
    p.upper = 1.15;
    p.init = 1.0;
  }
  model = Model(spec);
  Fitter fitter(model);
  const Contour c = contour(fitter, fitter.fit(), 0, 1, 0.999);
  check_contour(fitter, c);
  CHECK(std::all_of(c.points.begin(), c.points.end(),
                    [](const ContourPoint& p) { return p.at_bound; }));
  CHECK_THAT(twice_area(c), WithinRel(2.0 * 0.2 * 0.2, 1e-12));
}

TEST_CASE("a contour that bounds cut on all sides has its four arcs or edges", "[core][contour]") {
  Model model = two_counts();
  slalom::ModelSpec spec = model.spec();
  spec.parameters[0].lower = 0.9;
  spec.parameters[0].upper = 1.1;
  spec.parameters[1].lower = 1.0;
  spec.parameters[1].upper = 1.2;
  model = Model(spec);
  Fitter fitter(model);
  // About a circle of radius 0.152 around (1, 1.1) in a square of side 0.2, or wholly outside it.
  for (double level : {0.4, 0.6, 0.65, 0.9}) {
    INFO(level);
    const Contour c = contour(fitter, fitter.fit(), 0, 1, level);
    check_contour(fitter, c);
  }
}

TEST_CASE("a contour finds the lower minimum and follows both branches", "[core][contour]") {
  const Model model = slalom::test::coupled_histosys();
  Fitter fitter(model);
  // With a local minimum as the best fit the curve leads to the global one.
  FitOptions local;
  local.init = {-0.4, 0.6};
  local.search_minima = false;
  local.warm_start = true;
  const FitResult start = fitter.fit(local);
  const Contour c = contour(fitter, start, 1, 0, 0.95);
  check_contour(fitter, c);
  CHECK_THAT(c.best.twice_nll, WithinAbs(29.3311315, 1e-6));
}

TEST_CASE("contours of every pair of a large model close", "[core][contour][slow]") {
  SLALOM_REQUIRE_DATA("workspaces/sbottom");
  const Model model = published_model("sbottom/RegionA/BkgOnly.json",
                                      "sbottom/RegionA/patch.sbottom_1300_205_60.json");
  Fitter fitter(model);
  const FitResult best = fitter.fit();
  const std::size_t x = *model.spec().poi;
  std::size_t closed = 0, all = 0;
  for (std::size_t y = 0; y < model.n_parameters(); ++y) {
    if (y == x || best.fixed[y]) continue;
    INFO(model.spec().parameters[y].name);
    const Contour c = contour(fitter, best, x, y, 0.95);
    ++all;
    if (c.converged) ++closed;
    INFO(c.message);
    CHECK(c.converged);
  }
  CHECK(closed == all);
}

TEST_CASE("a contour turns round in front of a wall", "[core][contour]") {
  // The rate of a bin with almost no auxiliary events may fall to the lower bound of 1e-10; the
  // profile is a logarithm there, and the curve turns at 1e-9.
  SLALOM_REQUIRE_DATA("workspaces/3LRJR");
  const Model model = published_model("3LRJR/BkgOnly.json", "3LRJR/patchset.json#ERJR_100p0_20p0");
  Fitter fitter(model);
  const FitResult best = fitter.fit();
  const std::size_t x = *model.spec().find("JET_Flavor_Response");
  const std::size_t y = *model.spec().find("shape_mcstat_top_SRlow_obs_cuts[0]");
  for (double level : {k_level, 0.9544997361036416}) {
    const Contour c = contour(fitter, best, x, y, level);
    INFO(c.message);
    CHECK(c.converged);
    for (const ContourPoint& p : c.points) {
      const double rise = p.twice_nll - c.best.twice_nll;
      if (p.at_bound) {
        CHECK(rise < c.delta);
      } else {
        CHECK_THAT(rise, WithinAbs(c.delta, 1e-4 * (1.0 + c.delta)));
      }
    }
  }
}

TEST_CASE("a grid has the profile, whatever the number of threads", "[core][contour]") {
  const Model model = slalom::test::coupled_histosys();
  Fitter fitter(model);
  const FitResult best = fitter.fit();
  const std::vector<double> x = {0.0, 0.5, 1.0, 1.5}, y = {-0.8, -0.4, 0.0, 0.4, 0.8};
  const ProfileGrid grid = profile_grid(fitter, best, 1, 0, x, y, {}, 1);
  REQUIRE(grid.delta_twice_nll.size() == 20);
  slalom::Evaluator evaluator(model);
  for (std::size_t i = 0; i < x.size(); ++i) {
    for (std::size_t j = 0; j < y.size(); ++j) {
      CHECK(grid.converged[i * y.size() + j]);
      CHECK_THAT(grid.delta_twice_nll[i * y.size() + j] + grid.best.twice_nll,
                 WithinRel(-2.0 * evaluator.logpdf(std::vector<double>{y[j], x[i]}), 1e-12));
    }
  }
  SLALOM_REQUIRE_DATA("workspaces");
  const Model large = published_model("agc/agc_34par.json");
  Fitter large_fitter(large);
  const FitResult large_best = large_fitter.fit();
  const std::size_t poi = *large.spec().poi;
  const std::vector<double> a = {0.8, 0.9, 1.0, 1.1}, b = {-1.0, 0.0, 1.0};
  const ProfileGrid one = profile_grid(large_fitter, large_best, poi, 0, a, b, {}, 1);
  const ProfileGrid three = profile_grid(large_fitter, large_best, poi, 0, a, b, {}, 3);
  CHECK(one.delta_twice_nll == three.delta_twice_nll);
  for (std::size_t i = 0; i < a.size(); ++i) {
    FitOptions held;
    held.fixed = {{poi, a[i]}, {0, b[1]}};
    CHECK_THAT(one.delta_twice_nll[i * b.size() + 1],
               WithinAbs(large_fitter.fit(held).twice_nll - large_best.twice_nll, 1e-7));
  }
}

TEST_CASE("the most correlated parameter is found, also from a bound", "[core][contour]") {
  const Model model = two_counts();
  Fitter fitter(model);
  // mu and gamma: the bin with the larger uncertainty has more of it.
  const Model bins =
      slalom::test::uncorrelated_background({12.0, 11.0}, {50.0, 52.0}, {3.0, 20.0}, {60.0, 65.0});
  Fitter bins_fitter(bins);
  CHECK(most_correlated(bins_fitter, bins_fitter.fit(), 0) == 2);
  CHECK(most_correlated(bins_fitter, bins_fitter.fit(), 2) == 0);
  CHECK_THROWS_AS(most_correlated(fitter, fitter.fit(), 7), slalom::Error);
  FitOptions held;
  held.fixed = {{1, 1.0}};
  CHECK_THROWS_AS(most_correlated(fitter, fitter.fit(held), 0), slalom::Error);
  SLALOM_REQUIRE_DATA("workspaces/ttbar");
  const Model model13 = published_model("ttbar/three_sr_13par.json");
  Fitter fitter13(model13);
  const FitResult best = fitter13.fit();
  REQUIRE(best.at_bound[*model13.spec().poi]);
  const std::size_t y = most_correlated(fitter13, best, *model13.spec().poi);
  CHECK(y != *model13.spec().poi);
  check_contour(fitter13, contour(fitter13, best, *model13.spec().poi, y, 0.95));
}

TEST_CASE("a polygon knows what it encloses", "[core][contour]") {
  Contour square;
  square.points = {{1.0, 0.0, 0.0, false, true},
                   {1.0, 1.0, 0.0, false, true},
                   {0.0, 1.0, 0.0, false, true},
                   {0.0, 0.0, 0.0, false, true}};
  CHECK(encloses(square, 0.5, 0.5));
  CHECK_FALSE(encloses(square, 1.5, 0.5));
  CHECK_FALSE(encloses(square, 0.5, -0.5));
  CHECK_FALSE(encloses(square, -0.1, 0.5));
}

TEST_CASE("contours refuse what makes no sense", "[core][contour]") {
  const Model model = two_counts();
  Fitter fitter(model);
  const FitResult best = fitter.fit();
  CHECK_THROWS_AS(contour(fitter, best, 0, 0, 0.5), slalom::Error);
  CHECK_THROWS_AS(contour(fitter, best, 0, 9, 0.5), slalom::Error);
  CHECK_THROWS_AS(contour(fitter, best, 0, 1, 1.0), slalom::Error);
  FitOptions held;
  held.fixed = {{1, 1.0}};
  CHECK_THROWS_AS(contour(fitter, fitter.fit(held), 0, 1, 0.5), slalom::Error);
  CHECK_THROWS_AS(profile_grid(fitter, best, 1, 1, {1.0}, {1.0}), slalom::Error);
  FitResult failed = best;
  failed.status = slalom::FitStatus::stalled;
  CHECK_FALSE(contour(fitter, failed, 0, 1, 0.5).converged);
}
