// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "slalom/core/interval.hpp"
#include "slalom/core/model.hpp"
#include "slalom/core/morphed_likelihood.hpp"
#include "slalom/core/random.hpp"
#include "slalom/core/workspace.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::DataForm;
using slalom::ErrorKind;
using slalom::Interval;
using slalom::MorphedChannel;
using slalom::MorphedEffect;
using slalom::MorphedFit;
using slalom::MorphedFitOptions;
using slalom::MorphedLikelihood;
using slalom::MorphedParameter;
using slalom::MorphedSample;
using slalom::Morphing;
using slalom::MorphingKind;
using slalom::test::check_fails;

namespace {

constexpr std::size_t k_bins = 5;
const std::vector<double> k_grid = {-1.5, -0.6, 0.2, 1.0, 1.7};

/// Smooth positive templates of k_bins bins that are `nominal` at 0.
std::vector<double> varied(const std::vector<double>& nominal, double size,
                           const std::vector<double>& grid) {
  std::vector<double> t;
  for (double z : grid) {
    for (std::size_t b = 0; b < nominal.size(); ++b) {
      const double slope = size * std::cos(1.0 + 2.0 * static_cast<double>(b));
      t.push_back(nominal[b] * std::exp(slope * z + 0.05 * z * z));
    }
  }
  return t;
}

MorphedEffect effect(std::size_t nuisance, MorphingKind kind, const std::vector<double>& nominal,
                     double size) {
  const std::vector<double> grid =
      is_histfactory(kind) ? std::vector<double>{-1.0, 0.0, 1.0} : k_grid;
  return {nuisance, Morphing(kind, grid, varied(nominal, size, grid))};
}

const std::vector<double> k_signal = {1.0, 3.0, 9.0, 14.0, 6.0};
const std::vector<double> k_background = {90.0, 60.0, 41.0, 22.0, 11.0};
const std::vector<double> k_other = {5.0, 7.0, 7.0, 0.0, 3.0};

/// Three samples that follow three nuisance parameters, by factors and by sums.
MorphedChannel channel() {
  MorphedChannel c;
  c.name = "main";
  c.samples = {{"signal",
                true,
                k_signal,
                {effect(0, MorphingKind::log_spline, k_signal, 0.2),
                 effect(1, MorphingKind::code4, k_signal, 0.1)}},
               {"background",
                false,
                k_background,
                {effect(0, MorphingKind::spline, k_background, 0.1),
                 effect(1, MorphingKind::log_spline, k_background, 0.05),
                 effect(2, MorphingKind::code4p, k_background, 0.15),
                 effect(0, MorphingKind::code4, k_background, 0.02)}},
               {"other", false, {}, {effect(2, MorphingKind::log_spline, k_other, 0.3)}}};
  c.data = {97.0, 66.0, 0.0, 41.0, 22.5};
  return c;
}

std::vector<MorphedParameter> nuisances() {
  return {{"za", 0.0, -2.0, 2.0, 0.1, 0.8},
          {"zb", 0.0, -2.0, 2.0, {}, {}},
          {"zc", 0.0, -2.0, 2.0, {}, {}}};
}

MorphedLikelihood likelihood(MorphedChannel c) {
  return {{"mu", 1.0, 0.0, 10.0, {}, {}}, nuisances(), {std::move(c)}};
}

/// Gradient and Hessian against finite differences.
void check_derivatives(const MorphedLikelihood& l, const std::vector<double>& x) {
  const std::size_t n = x.size();
  std::vector<double> g(n), h(n * n), up_g(n), down_g(n), unused(n * n);
  const double value = l.nll(x, g, h);
  REQUIRE(std::isfinite(value));
  CHECK_THAT(l.nll(x), WithinRel(value, 1e-14));
  for (std::size_t i = 0; i < n; ++i) {
    const double step = 1e-5;
    std::vector<double> up = x, down = x;
    up[i] += step;
    down[i] -= step;
    const double slope = (l.nll(up, up_g, unused) - l.nll(down, down_g, unused)) / (2.0 * step);
    CHECK_THAT(g[i], WithinAbs(slope, 1e-5 * (1.0 + std::abs(slope))));
    for (std::size_t j = 0; j < n; ++j) {
      const double curvature = (up_g[j] - down_g[j]) / (2.0 * step);
      INFO("parameters " << i << " and " << j);
      CHECK_THAT(h[i * n + j], WithinAbs(curvature, 1e-5 * (1.0 + std::abs(curvature))));
      CHECK(h[i * n + j] == h[j * n + i]);
    }
  }
}

/// Parameters where to try.
std::vector<std::vector<double>> points() {
  return {{1.0, 0.3, -0.4, 0.5}, {0.0, -0.9, 1.3, -0.2}, {3.2, 1.9, -1.2, 1.4}};
}

}  // namespace

TEST_CASE("expectations combine factors and sums", "[core][morphed_likelihood]") {
  const MorphedLikelihood l = likelihood(channel());
  const std::vector<double> x = {2.0, 0.3, -0.4, 0.5};
  const std::vector<double> nu = l.expected(0, x);
  const auto at = [&](MorphingKind kind, const std::vector<double>& nominal, double size, double z,
                      std::size_t b) {
    std::vector<double> v(k_bins);
    effect(0, kind, nominal, size).morphing.evaluate(z, v);
    return v[b];
  };
  for (std::size_t b = 0; b < k_bins; ++b) {
    const double s = at(MorphingKind::log_spline, k_signal, 0.2, 0.3, b) *
                     at(MorphingKind::code4, k_signal, 0.1, -0.4, b) / k_signal[b];
    const double n = k_background[b];
    const double product = at(MorphingKind::log_spline, k_background, 0.05, -0.4, b) *
                           at(MorphingKind::code4, k_background, 0.02, 0.3, b) / n;
    const double sum = at(MorphingKind::spline, k_background, 0.1, 0.3, b) - n +
                       at(MorphingKind::code4p, k_background, 0.15, 0.5, b) - n;
    const double other = at(MorphingKind::log_spline, k_other, 0.3, 0.5, b);
    CHECK_THAT(nu[b], WithinRel(2.0 * s + product + sum + other, 1e-12));
  }
}

TEST_CASE("-log L is what the formula says", "[core][morphed_likelihood]") {
  MorphedChannel c = channel();
  const std::vector<double> x = {2.0, 0.3, -0.4, 0.5};
  const std::vector<double> nu = likelihood(c).expected(0, x), n = c.data;
  const double constraint =
      0.5 * std::pow((0.3 - 0.1) / 0.8, 2) + std::log(0.8 * std::sqrt(2.0 * std::acos(-1.0)));
  double poisson = constraint, saturated = constraint;
  for (std::size_t b = 0; b < k_bins; ++b) {
    poisson += nu[b] - n[b] * std::log(nu[b]) + std::lgamma(n[b] + 1.0);
    saturated += nu[b] - n[b] + (n[b] > 0.0 ? n[b] * std::log(n[b] / nu[b]) : 0.0);
  }
  CHECK_THAT(likelihood(c).nll(x), WithinRel(poisson, 1e-13));
  c.form = DataForm::saturated;
  CHECK_THAT(likelihood(c).nll(x), WithinRel(saturated, 1e-13));
}

TEST_CASE("derivatives are exact in every form of data", "[core][morphed_likelihood]") {
  const std::vector<double> counts = {95.0, 70.0, 50.0, 30.0, 18.0};
  for (DataForm form : {DataForm::poisson, DataForm::saturated, DataForm::reference_ratio}) {
    for (bool varies : {false, true}) {
      for (bool simulated : {false, true}) {
        if (form == DataForm::reference_ratio && simulated) continue;
        INFO(to_string(form) << (varies ? ", n(z)" : "") << (simulated ? ", simulated" : ""));
        MorphedChannel c = channel();
        c.form = form;
        if (varies) c.data_effect = effect(1, MorphingKind::spline, counts, 0.2);
        if (simulated) c.mc_relative = {0.1, 0.0, 0.02, 0.3, 1.5};
        if (form == DataForm::reference_ratio) {
          c.reference = effect(1, MorphingKind::log_spline, counts, 0.25);
        }
        const MorphedLikelihood l = likelihood(std::move(c));
        for (const std::vector<double>& x : points()) check_derivatives(l, x);
      }
    }
  }
}

TEST_CASE("factors of the simulation are at their minimum", "[core][morphed_likelihood]") {
  MorphedChannel c = channel();
  const std::vector<double> x = {2.0, 0.3, -0.4, 0.5};
  const std::vector<double> nu = likelihood(c).expected(0, x), d = {0.1, 0.0, 0.02, 0.3, 1.5};
  const double plain = likelihood(c).nll(x);
  c.mc_relative = d;
  double expected = plain;
  for (std::size_t b = 0; b < k_bins; ++b) {
    if (d[b] == 0.0) continue;
    const double n = c.data[b];
    const auto term = [&](double gamma) {
      return gamma * nu[b] - (n > 0.0 ? n * std::log(gamma * nu[b]) : 0.0) +
             0.5 * std::pow((gamma - 1.0) / d[b], 2);
    };
    double low = 0.0, high = 3.0;  // golden section
    const double ratio = 0.5 * (std::sqrt(5.0) - 1.0);
    while (high - low > 1e-9) {
      const double a = high - ratio * (high - low), e = low + ratio * (high - low);
      term(a) < term(e) ? high = e : low = a;
    }
    expected += term(0.5 * (low + high)) - (nu[b] - (n > 0.0 ? n * std::log(nu[b]) : 0.0)) +
                std::log(d[b] * std::sqrt(2.0 * std::acos(-1.0)));
  }
  CHECK_THAT(likelihood(c).nll(x), WithinRel(expected, 1e-10));
}

TEST_CASE("an unbinned channel has the derivatives of its densities",
          "[core][morphed_likelihood]") {
  // More events than a block, so that blocks are put together.
  MorphedChannel c;
  c.name = "events";
  std::vector<double> s, b, weights;
  slalom::RandomStream random(1, 2);
  for (int i = 0; i < 300; ++i) {
    s.push_back(random.uniform());
    b.push_back(0.5 + random.uniform());
    weights.push_back(0.5 + random.uniform());
  }
  c.samples = {{"s", true, {}, {effect(0, MorphingKind::log_spline, s, 0.2)}},
               {"b", false, b, {effect(1, MorphingKind::log_spline, b, 0.1)}}};
  c.data = weights;
  c.integrals = {{"s", true, {}, {effect(0, MorphingKind::log_spline, {40.0}, 0.1)}},
                 {"b", false, {250.0}, {}}};
  const MorphedLikelihood l = likelihood(c);
  for (const std::vector<double>& x : points()) check_derivatives(l, x);
  const std::vector<double> x = {2.0, 0.3, -0.4, 0.5}, nu = l.expected(0, x);
  std::vector<double> integral(1);
  c.integrals[0].effects[0].morphing.evaluate(0.3, integral);
  double expected = 2.0 * integral[0] + 250.0 + 0.5 * std::pow(0.2 / 0.8, 2) +
                    std::log(0.8 * std::sqrt(2.0 * std::acos(-1.0)));
  for (std::size_t i = 0; i < nu.size(); ++i) expected -= weights[i] * std::log(nu[i]);
  CHECK_THAT(l.nll(x), WithinRel(expected, 1e-12));
}

TEST_CASE("outside of the domain -log L is infinite, and empty bins are none of that",
          "[core][morphed_likelihood]") {
  MorphedChannel c;
  c.samples = {{"s", true, {1.0, 1.0}, {}}, {"b", false, {0.0, 2.0}, {}}};
  c.data = {0.0, 3.0};
  MorphedLikelihood l({"mu", 1.0, -5.0, 5.0, {}, {}}, {}, {c});
  std::vector<double> g(1), h(1);
  CHECK_THAT(l.nll(std::vector{0.0}, g, h),
             WithinRel(2.0 - 3.0 * std::log(2.0) + std::log(6.0), 1e-13));
  CHECK_THAT(g[0], WithinRel(1.0 + 1.0 - 1.5, 1e-13));
  CHECK(std::isinf(l.nll(std::vector{-0.5})));
  l.set_data(0, {1.0, 3.0});
  CHECK(std::isinf(l.nll(std::vector{0.0})));
  CHECK(std::isinf(l.nll(std::vector{std::nan("")})));
  const MorphedFit best = slalom::fit(l);  // 2 - 1 / mu - 3 / (2 + mu) = 0
  CHECK(best.converged());
  CHECK_THAT(best.parameters[0], WithinRel(1.0, 1e-8));
}

TEST_CASE("with HistFactory codes it is the compiled model", "[core][morphed_likelihood]") {
  // One histosys and one normsys per sample: the compiled model adds before it multiplies, so each
  // sample has one of the two here.
  using slalom::Modifier;
  using slalom::ModifierType;
  slalom::Workspace w;
  w.channels = {
      {"c",
       {{"s",
         {5.0, 10.0},
         {{"mu", ModifierType::normfactor, {}, {}, 1.0, 1.0, {}},
          {"scale", ModifierType::normsys, {}, {}, 1.2, 0.9, {}}}},
        {"b",
         {50.0, 40.0},
         {{"shape", ModifierType::histosys, {55.0, 41.0}, {44.0, 38.0}, 1.0, 1.0, {}}}}}}};
  w.observations = {{"c", {58.0, 47.0}}};
  w.measurements = {{"m", "mu", {}}};
  const slalom::Model model(make_model_spec(w));
  MorphedChannel c;
  const std::vector<double> alpha = {-1.0, 0.0, 1.0};
  c.samples = {
      {"s",
       true,
       {5.0, 10.0},
       {{0, Morphing(MorphingKind::code4, alpha, {4.5, 9.0, 5.0, 10.0, 6.0, 12.0})}}},
      {"b",
       false,
       {50.0, 40.0},
       {{1, Morphing(MorphingKind::code4p, alpha, {44.0, 38.0, 50.0, 40.0, 55.0, 41.0})}}}};
  c.data = {58.0, 47.0};
  const MorphedLikelihood l(
      {"mu", 1.0, 0.0, 10.0, {}, {}},
      {{"scale", 0.0, -5.0, 5.0, 0.0, 1.0}, {"shape", 0.0, -5.0, 5.0, 0.0, 1.0}}, {c});
  const slalom::FitResult theirs = slalom::fit(model);
  const MorphedFit ours = slalom::fit(l);
  REQUIRE(ours.converged());
  CHECK_THAT(ours.twice_nll, WithinRel(theirs.twice_nll, 1e-10));
  slalom::Fitter fitter(model);
  const std::vector<double> errors = fitter.errors(theirs);
  for (std::size_t i = 0; i < 3; ++i) {
    const std::size_t there = *model.spec().find(l.parameters()[i].name);
    CHECK_THAT(ours.parameters[i], WithinAbs(theirs.parameters[there], 1e-6));
    CHECK_THAT(ours.errors[i], WithinRel(errors[there], 1e-6));
    const Interval a = profile_interval(l, ours, i);
    const Interval b = minos(fitter, theirs, there);
    CHECK_THAT(a.upper.value, WithinAbs(b.upper.value, 1e-6));
    CHECK_THAT(a.lower.value, WithinAbs(b.lower.value, 1e-6));
  }
}

namespace {

/// A channel whose likelihood has two minima in z, of different depth: the bins see z mostly
/// through its square.
MorphedLikelihood two_minima(double at) {
  std::vector<double> grid, t;
  for (int k = -10; k <= 10; ++k) {
    const double z = 0.2 * k;
    grid.push_back(z);
    for (double y : {100.0 + 20.0 * z * z, 200.0 - 30.0 * z * z + 1.5 * z, 60.0 + 10.0 * z * z}) {
      t.push_back(y);
    }
  }
  MorphedChannel c;
  c.samples = {{"s", true, {5.0, 10.0, 30.0}, {}},
               {"b", false, {}, {{0, Morphing(MorphingKind::spline, grid, t)}}}};
  c.data = {0.0, 0.0, 0.0};
  MorphedLikelihood l({"mu", 1.0, 0.0, 10.0, {}, {}}, {{"z", -0.1, -2.0, 2.0, {}, {}}}, {c});
  l.set_asimov(std::vector{1.0, at});
  return l;
}

}  // namespace

TEST_CASE("a fit finds the deeper of two minima", "[core][morphed_likelihood]") {
  for (double at : {1.1, -1.1}) {
    const MorphedLikelihood l = two_minima(at);
    const MorphedFit best = slalom::fit(l);
    CHECK(best.converged());
    CHECK_THAT(best.parameters[0], WithinAbs(1.0, 1e-6));
    CHECK_THAT(best.parameters[1], WithinAbs(at, 1e-6));
    // From the other side, without looking around, it ends in the other one.
    MorphedFitOptions blind;
    blind.scan = false;
    blind.init = {1.0, -at};
    const MorphedFit other = slalom::fit(l, blind);
    CHECK(other.converged());
    CHECK(other.parameters[1] * at < 0.0);
    CHECK(other.twice_nll > best.twice_nll + 0.01);
    // The profile of mu is the lower one of both, the interval of z holds the minimum that is best.
    const Interval mu = profile_interval(l, best, 0);
    CHECK(mu.lower.converged);
    CHECK(mu.upper.converged);
    for (double end : {mu.lower.value, mu.upper.value}) {
      MorphedFitOptions held;
      held.fixed = {{0, end}};
      const double rise = slalom::fit(l, held).twice_nll - best.twice_nll;
      CHECK_THAT(rise, WithinAbs(1.0, 1e-6));
    }
  }
}

TEST_CASE("the error is that of the profile, and the covariance the inverse Hessian",
          "[core][morphed_likelihood]") {
  MorphedLikelihood l = likelihood(channel());
  l.set_asimov(std::vector{1.2, 0.1, 0.2, -0.1});
  const MorphedFit best = slalom::fit(l);
  REQUIRE(best.converged());
  const std::size_t n = 4;
  CHECK_THAT(best.parameters[0], WithinAbs(1.2, 1e-5));
  CHECK_THAT(best.twice_nll, WithinRel(2.0 * l.nll(best.parameters), 1e-14));
  std::vector<double> g(n), h(n * n);
  l.nll(best.parameters, g, h);
  for (std::size_t i = 0; i < n; ++i) {
    CHECK_THAT(g[i], WithinAbs(0.0, 1e-5));
    CHECK_THAT(best.errors[i] * best.errors[i], WithinRel(best.covariance[i * n + i], 1e-12));
    for (std::size_t j = 0; j < n; ++j) {
      double product = 0.0;
      for (std::size_t k = 0; k < n; ++k) product += h[i * n + k] * best.covariance[k * n + j];
      CHECK_THAT(product, WithinAbs(i == j ? 1.0 : 0.0, 1e-8));
    }
  }
  // A small rise follows the parabola.
  const double level = 1e-4;
  const Interval small = profile_interval(l, best, 1, level);
  CHECK_THAT(small.upper.value - best.parameters[1], WithinRel(0.01 * best.errors[1], 0.01));
  CHECK_THAT(best.parameters[1] - small.lower.value, WithinRel(0.01 * best.errors[1], 0.01));
}

TEST_CASE("profiles, intervals and contours agree in both directions",
          "[core][morphed_likelihood]") {
  MorphedLikelihood l = likelihood(channel());
  l.set_asimov(std::vector{1.2, 0.1, 0.2, -0.1});
  const MorphedFit best = slalom::fit(l);
  for (std::size_t p : {0U, 1U}) {
    const Interval i = profile_interval(l, best, p);
    REQUIRE(i.upper.converged);
    const slalom::MorphedProfile scan =
        profile(l, best, p, {i.lower.value, best.parameters[p], i.upper.value});
    CHECK(scan.parameter == p);
    CHECK_THAT(scan.delta_twice_nll[1], WithinAbs(0.0, 1e-8));
    CHECK_THAT(scan.delta_twice_nll[2], WithinAbs(1.0, 1e-6));
    if (!i.lower.at_bound) CHECK_THAT(scan.delta_twice_nll[0], WithinAbs(1.0, 1e-6));
    CHECK(scan.fits[2].fixed[p]);
    CHECK(scan.fits[2].errors[p] == 0.0);
  }
  const double level = 1.0;
  const std::vector<slalom::ContourPoint> curve = contour(l, best, 0, 1, level, 24);
  REQUIRE(curve.size() == 24);
  double largest = -1e9;
  for (const slalom::ContourPoint& point : curve) {
    CHECK(point.converged);
    MorphedFitOptions held;
    held.fixed = {{0, point.x}, {1, point.y}};
    const MorphedFit at = slalom::fit(l, held);
    CHECK_THAT(at.twice_nll, WithinAbs(point.twice_nll, 1e-7));
    if (!point.at_bound) CHECK_THAT(at.twice_nll - best.twice_nll, WithinAbs(level, 1e-6));
    largest = std::max(largest, point.x);
  }
  // The curve of a level goes as far as the interval of that level.
  const double end = profile_interval(l, best, 0, level).upper.value;
  CHECK(largest <= end + 1e-6);
  CHECK(largest > best.parameters[0] + 0.98 * (end - best.parameters[0]));
}

TEST_CASE("a fit may end at a bound, or at a kink of the interpolation",
          "[core][morphed_likelihood]") {
  MorphedChannel c;
  c.samples = {{"s", true, {2.0, 3.0}, {}}, {"b", false, {50.0, 60.0}, {}}};
  c.data = {40.0, 55.0};
  const MorphedLikelihood low({"mu", 1.0, 0.0, 10.0, {}, {}}, {}, {c});
  const MorphedFit at_bound = slalom::fit(low);
  CHECK(at_bound.converged());
  CHECK(at_bound.parameters[0] == 0.0);
  CHECK(at_bound.at_bound[0]);
  CHECK(at_bound.errors[0] == 0.0);
  const Interval i = profile_interval(low, at_bound, 0);
  CHECK(i.lower.at_bound);
  CHECK(i.lower.value == 0.0);
  CHECK(i.upper.converged);
  CHECK_THAT(2.0 * low.nll(std::vector{i.upper.value}) - at_bound.twice_nll, WithinAbs(1.0, 1e-8));

  // Slopes on both sides of the point 0 point to it: one says the data are high, the other low.
  MorphedChannel k;
  k.samples = {{"b",
                false,
                {},
                {{0, Morphing(MorphingKind::linear, {-1.0, 0.0, 1.0},
                              {80.0, 90.0, 100.0, 100.0, 120.0, 100.0})}}}};
  k.data = {100.0, 112.0};
  const MorphedLikelihood kinked({"mu", 1.0, 0.0, 2.0, {}, {}}, {{"z", 0.3, -1.0, 1.0, {}, {}}},
                                 {k});
  MorphedFitOptions options;
  options.fixed = {{0, 1.0}};
  const MorphedFit settled = slalom::fit(kinked, options);
  CHECK(settled.converged());
  CHECK_THAT(settled.parameters[1], WithinAbs(0.0, 1e-9));
  for (double z : {-0.01, 0.01}) CHECK(2.0 * kinked.nll(std::vector{1.0, z}) > settled.twice_nll);
}

TEST_CASE("the published profile takes z from a list", "[core][morphed_likelihood]") {
  const MorphedLikelihood l = two_minima(1.1);
  const std::vector<double> mu = {0.5, 1.0, 2.0}, z = {-1.2, -0.4, 0.9, 1.0};
  const slalom::GridProfile p = grid_profile(l, mu, z);
  const auto lowest = [&](double m) {
    double low = std::numeric_limits<double>::infinity();
    for (double at : z) low = std::min(low, 2.0 * l.nll(std::vector{m, at}));
    return low;
  };
  for (std::size_t k = 0; k < mu.size(); ++k) {
    CHECK_THAT(p.delta_twice_nll[k], WithinAbs(lowest(mu[k]) - lowest(p.mu), 1e-8));
  }
  CHECK(lowest(p.mu) <= lowest(p.mu + 1e-3));
  CHECK(lowest(p.mu) <= lowest(p.mu - 1e-3));
  CHECK(2.0 * l.nll(std::vector{p.mu, p.z}) == lowest(p.mu));
  CHECK_THAT(lowest(p.interval.upper.value) - lowest(p.mu), WithinAbs(1.0, 1e-8));
  CHECK_THAT(p.half_width(),
             WithinRel(0.5 * (p.interval.upper.value - p.interval.lower.value), 1e-14));
  // Other nuisance parameters are fitted.
  MorphedLikelihood more = likelihood(channel());
  more.set_asimov(std::vector{1.2, 0.1, 0.2, -0.1});
  const slalom::GridProfile q = grid_profile(more, {1.5}, {-0.2, 0.2, 0.5}, 2);
  CHECK_THAT(q.mu, WithinAbs(1.2, 1e-4));
  CHECK(q.z == 0.2);
  MorphedFitOptions held;
  held.fixed = {{0, 1.5}, {2, 0.2}};
  CHECK(q.delta_twice_nll[0] <=
        slalom::fit(more, held).twice_nll - slalom::fit(more).twice_nll + 1e-6);
}

TEST_CASE("an auxiliary measurement is a channel", "[core][morphed_likelihood]") {
  slalom::AuxiliaryMeasurement m;
  m.truth = 0.7;
  m.grid = {0.0, 0.4, 0.8, 1.2, 1.6};
  const MorphedChannel c = auxiliary_measurement(m);
  double sum = 0.0;
  for (double n : c.data) sum += n;
  // 1e4 (Phi((2.5 - 0.7) / 0.5) - Phi((-1 - 0.7) / 0.5))
  CHECK_THAT(sum, WithinAbs(1e4 * (1.0 - 0.5 * std::erfc(3.6 / std::sqrt(2.0)) -
                                   0.5 * std::erfc(3.4 / std::sqrt(2.0))),
                            1e-8));
  const MorphedLikelihood l({"mu", 1.0, 0.0, 2.0, {}, {}}, {{"z", 0.5, 0.0, 1.6, {}, {}}}, {c});
  MorphedFitOptions options;
  options.fixed = {{0, 1.0}};
  const MorphedFit best = slalom::fit(l, options);
  CHECK_THAT(best.parameters[1], WithinAbs(0.7, 1e-3));  // off the grid: the error of the spline
  // Without binning it would be 0.5 / sqrt(1e4); four bins lose some.
  CHECK(best.errors[1] > 0.005);
  CHECK(best.errors[1] < 0.0065);
  m.sigma = 0.0;
  check_fails(ErrorKind::usage, "auxiliary_measurement.sigma", "above 0",
              [&] { auxiliary_measurement(m); });
  m.sigma = 0.5;
  m.edges = {0.0, 0.0};
  check_fails(ErrorKind::usage, "auxiliary_measurement.edges", "do not rise",
              [&] { auxiliary_measurement(m); });
}

TEST_CASE("data may be replaced", "[core][morphed_likelihood]") {
  MorphedLikelihood l = likelihood(channel());
  const std::vector<double> x = {1.0, 0.3, -0.4, 0.5}, counts = {95.0, 70.0, 50.0, 30.0, 18.0};
  MorphedChannel c = channel();
  c.data_effect = effect(1, MorphingKind::spline, counts, 0.2);
  const double expected = likelihood(c).nll(x);
  l.set_data(0, *c.data_effect);
  CHECK_THAT(l.nll(x), WithinRel(expected, 1e-14));
  l.set_data(0, channel().data);
  CHECK_THAT(l.nll(x), WithinRel(likelihood(channel()).nll(x), 1e-14));
  check_fails(ErrorKind::model, "channel 'main'", "2 data for 5 bins", [&] {
    l.set_data(0, std::vector{1.0, 2.0});
  });
  check_fails(ErrorKind::model, "channel 'main'", "negative, in bin 2", [&] {
    l.set_data(0, std::vector{1.0, 2.0, -3.0, 0.0, 0.0});
  });
}

TEST_CASE("likelihoods that make no sense are refused", "[core][morphed_likelihood]") {
  const auto fails = [](const std::function<void(MorphedChannel&)>& change, const char* where,
                        const char* fragment) {
    MorphedChannel c = channel();
    change(c);
    check_fails(ErrorKind::model, where, fragment, [&] { likelihood(c); });
  };
  fails([](MorphedChannel& c) { c.samples.clear(); }, "channel 'main'", "no samples");
  fails([](MorphedChannel& c) { c.samples[1].nominal.pop_back(); },
        "channel 'main', sample 'background'", "4 bins instead of 5");
  fails([](MorphedChannel& c) { c.samples[0].nominal.clear(); }, "channel 'main'", "no bins");
  fails([](MorphedChannel& c) { c.samples[0].effects[0].nuisance = 7; },
        "channel 'main', sample 'signal'", "nuisance parameter 7");
  fails([](MorphedChannel& c) { c.data[1] = std::nan(""); }, "channel 'main'", "in bin 1");
  fails([](MorphedChannel& c) { c.mc_relative = {0.1}; }, "channel 'main'", "1 mc_relative");
  fails([](MorphedChannel& c) { c.form = DataForm::reference_ratio; }, "channel 'main'",
        "needs a reference");
  fails([](MorphedChannel& c) { c.reference = effect(0, MorphingKind::spline, k_other, 0.1); },
        "channel 'main'", "needs a reference");
  fails(
      [](MorphedChannel& c) {
        c.form = DataForm::reference_ratio;
        c.reference = effect(0, MorphingKind::spline, k_signal, 0.1);
        c.data_effect = effect(1, MorphingKind::spline, k_signal, 0.1);
      },
      "channel 'main'", "different parameters");
  fails(
      [](MorphedChannel& c) {
        c.form = DataForm::saturated;
        c.integrals = {{"s", true, {4.0}, {}}};
      },
      "channel 'main'", "unbinned");
  const auto parameter = [](MorphedParameter p, const char* fragment) {
    check_fails(ErrorKind::model, "parameter 'za'", fragment, [&] {
      std::vector<MorphedParameter> all = nuisances();
      all[0] = p;
      MorphedLikelihood({"mu", 1.0, 0.0, 10.0, {}, {}}, all, {channel()});
    });
  };
  parameter({"za", 0.0, 1.0, 1.0, {}, {}}, "bounds");
  parameter({"za", 3.0, 0.0, 1.0, {}, {}}, "start");
  parameter({"za", 0.5, 0.0, 1.0, 0.5, {}}, "both");
  parameter({"za", 0.5, 0.0, 1.0, 0.5, 0.0}, "sigma above 0");
  const MorphedLikelihood l = likelihood(channel());
  const MorphedFit best = slalom::fit(l);
  check_fails(ErrorKind::model, "fit.fixed", "no parameter has index 9", [&] {
    MorphedFitOptions o;
    o.fixed = {{9, 0.0}};
    slalom::fit(l, o);
  });
  check_fails(ErrorKind::model, "fit.fixed[1]", "outside the bounds", [&] {
    MorphedFitOptions o;
    o.fixed = {{1, 5.0}};
    slalom::fit(l, o);
  });
  check_fails(ErrorKind::model, "level", "above 0", [&] { profile_interval(l, best, 0, 0.0); });
  check_fails(ErrorKind::model, "y", "two free", [&] { contour(l, best, 1, 1); });
  check_fails(ErrorKind::model, "parameter", "no nuisance", [&] { grid_profile(l, {}, {0.0}, 0); });
}
