// SPDX-License-Identifier: Apache-2.0
// Values and derivatives against slalom::Morphing and finite differences.
#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <cmath>
#include <string>
#include <vector>

#include "slalom/core/morphing.hpp"
#include "slalom/modules/autodiff.hpp"
#include "slalom/modules/morphed_templates.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using at::Tensor;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::morph;
using slalom::Morphing;
using slalom::MorphingKind;

namespace {

constexpr std::size_t k_bins = 4;

std::vector<double> grid_for(MorphingKind kind) {
  if (slalom::is_histfactory(kind)) return {-0.7, 0.5, 1.7};
  return {-1.0, -0.4, 0.1, 0.9, 1.3, 2.0};
}

/// Smooth templates; bin 3 is 0 at the first point.
std::vector<double> templates_on(const std::vector<double>& grid) {
  std::vector<double> t;
  for (double z : grid) {
    t.push_back(5.0 + std::sin(2.0 * z));
    t.push_back(80.0 * std::exp(0.4 * z - 0.1 * z * z));
    t.push_back(3.0 + 0.5 * z * z);
    t.push_back(0.5 * (z - grid.front()));
  }
  return t;
}

Tensor tensor_of(const std::vector<double>& values, std::vector<std::int64_t> shape) {
  return at::tensor(values, at::kDouble).reshape(shape).clone();
}

Tensor scalar(double z) { return at::zeros({}, at::kDouble).fill_(z); }

std::vector<MorphingKind> all_kinds() {
  std::vector<MorphingKind> kinds;
  for (const std::string& name : slalom::morphing_kind_names()) {
    kinds.push_back(*slalom::morphing_kind(name));
  }
  return kinds;
}

}  // namespace

TEST_CASE("morphed tensors are the morphed templates of core, to second order",
          "[modules][morphed_templates]") {
  for (MorphingKind kind : all_kinds()) {
    const std::vector<double> grid = grid_for(kind), t = templates_on(grid);
    const Morphing reference(kind, grid, t);
    const Tensor templates = tensor_of(t, {static_cast<std::int64_t>(grid.size()), 2, 2});
    std::vector<double> v(k_bins), f(k_bins), s(k_bins);
    // Inside, beyond both ends, and on a point where nothing has a kink.
    for (double z : {-0.95, -0.1, 0.3, 1.05, 1.25, -1.6, 2.7, grid.back()}) {
      INFO(to_string(kind) << " at " << z);
      reference.evaluate(z, v, f, s);
      for (std::size_t b = 0; b < k_bins; ++b) {
        const Tensor at = scalar(z).requires_grad_(true);
        const Tensor value =
            morph(kind, grid, templates, at).reshape({-1})[static_cast<std::int64_t>(b)];
        const Tensor first = slalom::gradient(value, at, true);
        const Tensor second = slalom::gradient(first, at);
        CHECK_THAT(value.item<double>(), WithinAbs(v[b], 1e-12 * (1.0 + std::abs(v[b]))));
        CHECK_THAT(first.item<double>(), WithinAbs(f[b], 1e-11 * (1.0 + std::abs(f[b]))));
        if (z == grid.back()) continue;  // the curvature may jump there
        CHECK_THAT(second.item<double>(), WithinAbs(s[b], 1e-10 * (1.0 + std::abs(s[b]))));
      }
    }
  }
}

TEST_CASE("several z are morphed at once", "[modules][morphed_templates]") {
  for (MorphingKind kind : all_kinds()) {
    const std::vector<double> grid = grid_for(kind);
    const auto g = static_cast<std::int64_t>(grid.size());
    const Tensor templates = tensor_of(templates_on(grid), {g, 2, 2});
    const Tensor z = tensor_of({-0.3, 0.8, 2.2}, {3});
    const Tensor all = morph(kind, grid, templates, z);
    REQUIRE(all.sizes() == at::IntArrayRef({3, 2, 2}));
    for (std::int64_t i = 0; i < 3; ++i) {
      const Tensor one = morph(kind, grid, templates, z[i]);
      REQUIRE(one.sizes() == at::IntArrayRef({2, 2}));
      CHECK((one - all[i]).abs().max().item<double>() < 1e-12);
    }
    CHECK(morph(kind, grid, templates.reshape({g, 4}).select(1, 0), z[0]).dim() == 0);
  }
}

TEST_CASE("derivatives by templates are those of finite differences",
          "[modules][morphed_templates]") {
  for (MorphingKind kind : all_kinds()) {
    const std::vector<double> grid = grid_for(kind), t = templates_on(grid);
    const auto g = static_cast<std::int64_t>(grid.size());
    const double z = 0.3;
    // A function that is curved in all bins.
    const auto f = [&](const Tensor& templates, const Tensor& at) {
      const Tensor m = morph(kind, grid, templates, at);
      return (m * m).sum();
    };
    const Tensor templates = tensor_of(t, {g, 4}).requires_grad_(true);
    const Tensor at = scalar(z).requires_grad_(true);
    const Tensor value = f(templates, at);
    const Tensor by_templates = slalom::gradient(value, templates, true);
    const Tensor direction = tensor_of(std::vector<double>(t.size(), 0.3), {g, 4});
    // d/dz and second derivatives along a direction
    const Tensor mixed = slalom::gradient((by_templates * direction).sum(), at, true);
    const Tensor second = slalom::gradient((by_templates * direction).sum(), templates);
    const double h = 1e-5;
    const auto shifted_gradient = [&](std::size_t k, double step) {
      std::vector<double> moved = t;
      moved[k] += step;
      const Tensor there = tensor_of(moved, {g, 4}).requires_grad_(true);
      return slalom::gradient(f(there, scalar(z)), there);
    };
    for (std::size_t k = 0; k < t.size(); ++k) {
      if (t[k] == 0.0) continue;  // above 0 the bin would have its logarithm
      INFO(to_string(kind) << ", template " << k);
      std::vector<double> up = t, down = t;
      up[k] += h;
      down[k] -= h;
      const double slope = (f(tensor_of(up, {g, 4}), scalar(z)).item<double>() -
                            f(tensor_of(down, {g, 4}), scalar(z)).item<double>()) /
                           (2.0 * h);
      const auto i = static_cast<std::int64_t>(k);
      CHECK_THAT(by_templates.reshape({-1})[i].item<double>(),
                 WithinAbs(slope, 1e-5 * (1.0 + std::abs(slope))));
      const double curvature =
          ((shifted_gradient(k, h) - shifted_gradient(k, -h)) * direction).sum().item<double>() /
          (2.0 * h);
      CHECK_THAT(second.reshape({-1})[i].item<double>(),
                 WithinAbs(curvature, 1e-5 * (1.0 + std::abs(curvature))));
    }
    const auto along = [&](double there) {
      const Tensor at_z = scalar(there);
      return (slalom::gradient(f(templates, at_z), templates) * direction).sum().item<double>();
    };
    const double slope = (along(z + h) - along(z - h)) / (2.0 * h);
    CHECK_THAT(mixed.item<double>(), WithinAbs(slope, 1e-5 * (1.0 + std::abs(slope))));
  }
}

TEST_CASE("a bin with a zero leaks no NaN into gradients", "[modules][morphed_templates]") {
  for (MorphingKind kind : all_kinds()) {
    const std::vector<double> grid = grid_for(kind);
    const auto g = static_cast<std::int64_t>(grid.size());
    const Tensor templates = tensor_of(templates_on(grid), {g, 4}).requires_grad_(true);
    const Tensor z = scalar(0.2).requires_grad_(true);
    const Tensor sum = morph(kind, grid, templates, z).sum();
    const Tensor by_z = slalom::gradient(sum, z, true);
    CHECK(std::isfinite(by_z.item<double>()));
    CHECK(std::isfinite(slalom::gradient(by_z, z, true).item<double>()));
    CHECK(slalom::gradient(by_z, templates).isfinite().all().item<bool>());
    CHECK(slalom::gradient(sum, templates).isfinite().all().item<bool>());
  }
}

TEST_CASE("tensors that do not fit are refused", "[modules][morphed_templates]") {
  const std::vector<double> grid = {0.0, 1.0};
  const Tensor t = at::zeros({2, 3}, at::kDouble), z = scalar(0.5);
  const auto fails = [](const char* where, const char* fragment, auto&& call) {
    slalom::test::check_fails(slalom::ErrorKind::usage, where, fragment, call);
  };
  fails("morph", "[2, ...], not [3, 3]", [&] {
    morph(MorphingKind::linear, grid, at::zeros({3, 3}, at::kDouble), z);
  });
  fails("morph", "float64", [&] { morph(MorphingKind::linear, grid, t.to(at::kFloat), z); });
  fails("morph", "[] or [Z], not [1, 1]", [&] {
    morph(MorphingKind::linear, grid, t, z.reshape({1, 1}));
  });
  fails("morph", "not finite", [&] { morph(MorphingKind::linear, grid, t, scalar(std::nan(""))); });
  fails("grid", "3 points", [&] { morph(MorphingKind::code4, grid, t, z); });
}
