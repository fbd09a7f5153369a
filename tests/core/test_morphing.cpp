// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "interpolation.hpp"
#include "slalom/core/morphing.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::ErrorKind;
using slalom::Morphing;
using slalom::morphing_closure;
using slalom::morphing_kind;
using slalom::morphing_weights;
using slalom::MorphingKind;
using slalom::MorphingWeights;
using slalom::test::check_fails;

namespace {

std::vector<MorphingKind> all_kinds() {
  std::vector<MorphingKind> kinds;
  for (const std::string& name : slalom::morphing_kind_names())
    kinds.push_back(*morphing_kind(name));
  return kinds;
}

/// A grid of unequal steps, or one that the codes take.
std::vector<double> grid_for(MorphingKind kind) {
  if (slalom::is_histfactory(kind)) return {-0.7, 0.5, 1.7};
  return {-1.0, -0.4, 0.1, 0.9, 1.3, 2.0};
}

/// Four bins of smooth positive templates.
std::vector<double> templates_on(const std::vector<double>& grid) {
  std::vector<double> t;
  for (double z : grid) {
    t.push_back(5.0 + std::sin(2.0 * z));
    t.push_back(80.0 * std::exp(0.4 * z - 0.1 * z * z));
    t.push_back(3.0 + 0.5 * z * z);
    t.push_back(0.01 * (2.5 + z));
  }
  return t;
}

/// On points, between them and beyond.
std::vector<double> places(const std::vector<double>& grid) {
  std::vector<double> z = {grid.front() - 1.7, grid.front() - 0.01, grid.back() + 0.02,
                           grid.back() + 1.1};
  for (std::size_t k = 0; k < grid.size(); ++k) {
    z.push_back(grid[k]);
    if (k > 0) {
      z.push_back(0.3 * grid[k - 1] + 0.7 * grid[k]);
      z.push_back(0.61 * grid[k - 1] + 0.39 * grid[k]);
    }
  }
  return z;
}

double scale_of(double x) { return 1.0 + std::abs(x); }

}  // namespace

TEST_CASE("kinds of morphing have names", "[core][morphing]") {
  CHECK(slalom::morphing_kind_names().size() == 11);
  for (MorphingKind kind : all_kinds()) CHECK(morphing_kind(to_string(kind)) == kind);
  CHECK_FALSE(morphing_kind("cubic"));
  CHECK(slalom::is_logarithmic(MorphingKind::code1));
  CHECK_FALSE(slalom::is_logarithmic(MorphingKind::spline));
  CHECK(slalom::is_histfactory(MorphingKind::code4p));
  CHECK_FALSE(slalom::is_histfactory(MorphingKind::polynomial));
}

TEST_CASE("weights are 1 at their own point and add up to 1 everywhere", "[core][morphing]") {
  for (MorphingKind kind : all_kinds()) {
    if (kind == MorphingKind::code4) continue;
    const std::vector<double> grid = grid_for(kind);
    INFO(to_string(kind));
    for (std::size_t k = 0; k < grid.size(); ++k) {
      const MorphingWeights w = morphing_weights(kind, grid, grid[k]);
      for (std::size_t j = 0; j < grid.size(); ++j) {
        CHECK_THAT(w.value[j], WithinAbs(j == k ? 1.0 : 0.0, 1e-14));
      }
    }
    for (double z : places(grid)) {
      const MorphingWeights w = morphing_weights(kind, grid, z);
      double value = 0.0, first = 0.0, second = 0.0, moment = 0.0;
      for (std::size_t j = 0; j < grid.size(); ++j) {
        value += w.value[j];
        first += w.first[j];
        second += w.second[j];
        moment += w.value[j] * grid[j];
      }
      CHECK_THAT(value, WithinAbs(1.0, 1e-11));
      CHECK_THAT(first, WithinAbs(0.0, 1e-10));
      CHECK_THAT(second, WithinAbs(0.0, 1e-9));
      CHECK_THAT(moment, WithinAbs(z, 1e-10));  // straight lines are exact in every kind
    }
  }
}

TEST_CASE("morphed templates are those of the weights", "[core][morphing]") {
  for (MorphingKind kind : all_kinds()) {
    if (kind == MorphingKind::code4) continue;
    INFO(to_string(kind));
    const std::vector<double> grid = grid_for(kind), t = templates_on(grid);
    const Morphing morphing(kind, grid, t);
    CHECK(morphing.n_bins() == 4);
    std::vector<double> value(4), first(4), second(4);
    for (double z : places(grid)) {
      morphing.evaluate(z, value, first, second);
      const MorphingWeights w = morphing_weights(kind, grid, z);
      for (std::size_t b = 0; b < 4; ++b) {
        double v = 0.0, f = 0.0, s = 0.0;
        for (std::size_t k = 0; k < grid.size(); ++k) {
          const double x = is_logarithmic(kind) ? std::log(t[4 * k + b]) : t[4 * k + b];
          v += w.value[k] * x;
          f += w.first[k] * x;
          s += w.second[k] * x;
        }
        if (is_logarithmic(kind)) {
          v = std::exp(v);
          s = v * (s + f * f);
          f *= v;
        }
        CHECK_THAT(value[b], WithinRel(v, 1e-11));
        CHECK_THAT(first[b], WithinAbs(f, 1e-10 * scale_of(f)));
        CHECK_THAT(second[b], WithinAbs(s, 1e-9 * scale_of(s)));
      }
    }
  }
}

TEST_CASE("derivatives of morphed templates are those of finite differences", "[core][morphing]") {
  for (MorphingKind kind : all_kinds()) {
    const std::vector<double> grid = grid_for(kind);
    const Morphing morphing(kind, grid, templates_on(grid));
    const auto derivatives = [&](double z) {
      std::vector<double> all(12);
      const std::span<double> s(all);
      morphing.evaluate(z, s.subspan(0, 4), s.subspan(4, 4), s.subspan(8, 4));
      return all;
    };
    for (double z : places(grid)) {
      INFO(to_string(kind) << " at " << z);
      const bool kink = std::any_of(morphing.kinks().begin(), morphing.kinks().end(),
                                    [&](double k) { return std::abs(k - z) < 1e-6; });
      const bool point = std::any_of(grid.begin(), grid.end(), [&](double k) { return k == z; });
      const std::vector<double> here = derivatives(z);
      const double h = 1e-5;
      if (!kink) {
        const std::vector<double> up = derivatives(z + h), down = derivatives(z - h);
        for (std::size_t b = 0; b < 4; ++b) {
          const double slope = (up[b] - down[b]) / (2.0 * h);
          CHECK_THAT(here[4 + b], WithinAbs(slope, 1e-4 * scale_of(slope)));
          if (point) continue;  // the curvature may jump there
          const double curvature = (up[4 + b] - down[4 + b]) / (2.0 * h);
          CHECK_THAT(here[8 + b], WithinAbs(curvature, 1e-6 * scale_of(curvature)));
        }
      } else if (kind != MorphingKind::parabola) {  // the right side of a kink
        const std::vector<double> up = derivatives(z + h);
        for (std::size_t b = 0; b < 4; ++b) {
          const double slope = (up[b] - here[b]) / h;
          CHECK_THAT(here[4 + b], WithinAbs(slope, 1e-4 * scale_of(slope)));
        }
      }
    }
  }
}

TEST_CASE("splines are smooth at points, exact for cubics, and natural if they are few",
          "[core][morphing]") {
  const auto cubic = [](double z) { return 4.0 - z + 0.7 * z * z + 0.3 * z * z * z; };
  const std::vector<double> grid = {-1.0, -0.4, 0.1, 0.9, 1.3, 2.0};
  std::vector<double> t;
  for (double z : grid) t.push_back(cubic(z));
  const Morphing exact(MorphingKind::spline, grid, t);
  std::vector<double> v(1), f(1), s(1);
  for (double z = -1.0; z <= 2.0; z += 0.07) {
    exact.evaluate(z, v, f, s);
    CHECK_THAT(v[0], WithinRel(cubic(z), 1e-12));
    CHECK_THAT(s[0], WithinAbs(1.4 + 1.8 * z, 1e-10));
  }
  const Morphing wavy(MorphingKind::spline, grid, {1.0, 3.0, -2.0, 0.5, 4.0, 1.0});
  // scipy.interpolate.CubicSpline(grid, values)([-0.7, 0.5, 1.0, 1.6])
  const std::vector<double> z = {-0.7, 0.5, 1.0, 1.6},
                            expected = {4.364308828542963, -2.293349300007612, 1.431200365028735,
                                        4.974457159737723};
  for (std::size_t i = 0; i < z.size(); ++i) {
    wavy.evaluate(z[i], v);
    CHECK_THAT(v[0], WithinAbs(expected[i], 1e-12));
  }
  for (std::size_t k = 1; k + 1 < grid.size(); ++k) {
    std::vector<double> left(1), right(1);
    wavy.evaluate(grid[k] - 1e-9, {}, {}, left);
    wavy.evaluate(grid[k] + 1e-9, {}, {}, right);
    CHECK_THAT(left[0], WithinAbs(right[0], 1e-5));
  }
  const Morphing three(MorphingKind::spline, {0.0, 1.0, 2.0}, {0.0, 1.0, 0.0});
  three.evaluate(0.5, v, f, s);
  CHECK_THAT(v[0], WithinRel(0.6875, 1e-14));  // (3 z - z^3) / 2
  three.evaluate(0.0, v, f, s);
  CHECK_THAT(s[0], WithinAbs(0.0, 1e-14));
  const Morphing two(MorphingKind::spline, {0.0, 2.0}, {1.0, 2.0});
  two.evaluate(3.0, v);
  CHECK_THAT(v[0], WithinRel(2.5, 1e-14));
}

TEST_CASE("codes are those of the compiled model", "[core][morphing]") {
  using Jet = slalom::detail::Jet<2>;
  const double low = 7.0, nominal = 9.0, high = 13.0;
  const std::vector<double> grid = {-1.0, 0.0, 1.0}, t = {low, nominal, high};
  std::vector<double> v(1), f(1), s(1);
  for (double alpha : {-2.3, -1.0, -0.8, -0.1, 0.0, 0.4, 0.99, 1.0, 1.6}) {
    INFO(alpha);
    Jet x(alpha);
    x.c[1] = 1.0;
    for (auto [kind, code] : {std::pair{MorphingKind::code1, slalom::NormsysCode::code1},
                              {MorphingKind::code4, slalom::NormsysCode::code4}}) {
      const auto factor =
          slalom::detail::normsys_factor(code, {0, high / nominal, low / nominal}, x);
      Morphing(kind, grid, t).evaluate(alpha, v, f, s);
      CHECK_THAT(v[0], WithinRel(nominal * factor.value.c[0], 1e-13));
      CHECK_THAT(f[0], WithinRel(nominal * factor.value.c[1], 1e-12));
      CHECK_THAT(s[0], WithinAbs(nominal * factor.value.top(), 1e-11));
    }
    for (auto [kind, code] : {std::pair{MorphingKind::code0, slalom::HistosysCode::code0},
                              {MorphingKind::code2, slalom::HistosysCode::code2},
                              {MorphingKind::code4p, slalom::HistosysCode::code4p}}) {
      // The compiled model has pyhf's jump of code2.
      if (kind == MorphingKind::code2 && std::abs(alpha) > 1.0) continue;
      const auto w = slalom::detail::histosys_weights(code, x);
      Morphing(kind, grid, t).evaluate(alpha, v);
      const double delta =
          0.5 * w.s.value() * (high - low) + w.w.value() * (high + low - 2.0 * nominal) / 16.0;
      CHECK_THAT(v[0], WithinRel(nominal + delta, 1e-13));
    }
  }
  // code2 goes on straight, without a jump
  const Morphing code2(MorphingKind::code2, grid, t);
  code2.evaluate(1.0, v, f, s);
  CHECK_THAT(v[0], WithinRel(high, 1e-14));
  const double slope = f[0];
  code2.evaluate(1.5, v, f, s);
  CHECK_THAT(v[0], WithinRel(high + 0.5 * slope, 1e-14));
  CHECK(s[0] == 0.0);
  // and alpha is 1 at the ends of any grid
  Morphing(MorphingKind::code4, {0.9, 1.0, 1.2}, t).evaluate(1.2, v);
  CHECK_THAT(v[0], WithinRel(high, 1e-14));
  CHECK(Morphing(MorphingKind::code4, {0.9, 1.0, 1.2}, t).kinks() == std::vector<double>{1.0});
  CHECK(Morphing(MorphingKind::code4, grid, t).kinks().empty());
}

TEST_CASE("a bin with a zero is interpolated without the logarithm", "[core][morphing]") {
  for (auto [kind, instead] : {std::pair{MorphingKind::log_linear, MorphingKind::linear},
                               {MorphingKind::log_spline, MorphingKind::spline},
                               {MorphingKind::code1, MorphingKind::code0},
                               {MorphingKind::code4, MorphingKind::code4p}}) {
    const std::vector<double> grid = grid_for(kind);
    std::vector<double> t = templates_on(grid);
    t[4 * 1 + 2] = 0.0;
    const Morphing morphing(kind, grid, t), other(instead, grid, t);
    INFO(to_string(kind));
    REQUIRE(morphing.warnings().size() == 1);
    CHECK(morphing.warnings()[0].message.find("1 bin is 0 or negative") == 0);
    CHECK(morphing.warnings()[0].message.find("(2)") != std::string::npos);
    CHECK(other.warnings().empty());
    CHECK(morphing.multiplies(1));
    CHECK_FALSE(morphing.multiplies(2));
    CHECK_FALSE(other.multiplies(1));
    std::vector<double> a(12), b(12);
    for (double z : places(grid)) {
      const std::span<double> sa(a), sb(b);
      morphing.evaluate(z, sa.subspan(0, 4), sa.subspan(4, 4), sa.subspan(8, 4));
      other.evaluate(z, sb.subspan(0, 4), sb.subspan(4, 4), sb.subspan(8, 4));
      for (std::size_t i : {2U, 6U, 10U}) CHECK_THAT(a[i], WithinAbs(b[i], 1e-11 * scale_of(b[i])));
      CHECK(std::isfinite(a[1]));
    }
  }
}

TEST_CASE("bins may be evaluated in blocks", "[core][morphing]") {
  const std::vector<double> grid = grid_for(MorphingKind::log_spline);
  const Morphing morphing(MorphingKind::log_spline, grid, templates_on(grid));
  std::vector<double> all(4), two(2);
  morphing.evaluate(0.3, all);
  morphing.evaluate(morphing.place(0.3), 1, two);
  CHECK(two == std::vector<double>{all[1], all[2]});
}

TEST_CASE("left-out points show the error of an interpolation", "[core][morphing]") {
  std::vector<double> grid, t;
  for (int k = 0; k <= 8; ++k) {
    grid.push_back(0.1 * k);
    t.push_back(100.0 * std::exp(-8.0 * std::pow(grid.back() - 0.4, 2)));
    t.push_back(0.0);  // counts nothing
  }
  const auto log_spline = morphing_closure(MorphingKind::log_spline, grid, t);
  const auto linear = morphing_closure(MorphingKind::linear, grid, t);
  REQUIRE(log_spline.z == std::vector<double>(grid.begin() + 1, grid.end() - 1));
  for (std::size_t k = 0; k < linear.z.size(); ++k) {
    CHECK(log_spline.largest[k] < 1e-12);  // the logarithm is a parabola
    const double truth = t[2 * (k + 1)];
    const double middle = 0.5 * (t[2 * k] + t[2 * (k + 2)]);
    CHECK_THAT(linear.largest[k], WithinRel(std::abs(middle / truth - 1.0), 1e-12));
    CHECK_THAT(linear.chi2[k], WithinRel(std::pow(middle - truth, 2) / truth, 1e-10));
  }
}

TEST_CASE("grids and templates that make no sense are refused", "[core][morphing]") {
  const auto fails = [](MorphingKind kind, std::vector<double> grid, std::vector<double> t,
                        const char* where, const char* fragment) {
    check_fails(ErrorKind::usage, where, fragment, [&] { Morphing(kind, grid, t); });
  };
  const double nan = std::nan("");
  fails(MorphingKind::linear, {0.0}, {1.0}, "grid", "at least 2");
  fails(MorphingKind::parabola, {0.0, 1.0}, {1.0, 2.0}, "grid", "at least 3");
  fails(MorphingKind::code4, {0.0, 1.0}, {1.0, 2.0}, "grid", "3 points, not 2");
  fails(MorphingKind::spline, {0.0, 2.0, 1.0}, {1.0, 2.0, 3.0}, "grid[2]", "do not rise");
  fails(MorphingKind::spline, {0.0, nan, 1.0}, {1.0, 2.0, 3.0}, "grid[1]", "not finite");
  fails(MorphingKind::linear, {0.0, 1.0}, {1.0, 2.0, 3.0}, "templates", "3 values");
  fails(MorphingKind::linear, {0.0, 1.0}, {}, "templates", "0 values");
  fails(MorphingKind::linear, {0.0, 1.0}, {1.0, 2.0, nan, 3.0}, "templates", "point 1, bin 0");
  check_fails(ErrorKind::usage, "kind", "code4", [] {
    morphing_weights(MorphingKind::code4, std::vector{-1.0, 0.0, 1.0}, 0.0);
  });
  check_fails(ErrorKind::usage, "z", "not finite", [&] {
    morphing_weights(MorphingKind::linear, std::vector{-1.0, 0.0, 1.0}, nan);
  });
  check_fails(ErrorKind::usage, "kind", "point to spare", [] {
    morphing_closure(MorphingKind::code4p, {-1.0, 0.0, 1.0}, {1.0, 1.0, 1.0});
  });
  check_fails(ErrorKind::usage, "grid", "point to spare", [] {
    morphing_closure(MorphingKind::linear, {-1.0, 0.0}, {1.0, 1.0});
  });
  const Morphing morphing(MorphingKind::linear, {0.0, 1.0}, {1.0, 2.0});
  std::vector<double> wrong(2);
  check_fails(ErrorKind::usage, "evaluate", "1 bins", [&] { morphing.evaluate(0.0, wrong); });
}
