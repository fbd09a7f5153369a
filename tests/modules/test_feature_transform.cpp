// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/log.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <cmath>
#include <limits>

#include "slalom/modules/autodiff.hpp"
#include "slalom/modules/feature_transform.hpp"
#include "slalom/modules/tensor_files.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/tensors.hpp"

using at::Tensor;
using Catch::Matchers::WithinRel;
using slalom::ErrorKind;
using slalom::FeatureMap;
using slalom::FeatureTransform;
using slalom::FeatureTransformOptions;
using slalom::test::check_fails;
using slalom::test::distance;
using slalom::test::sequence;
using slalom::test::tensor;
using slalom::test::values;

namespace {

constexpr const char* k_where = "feature_transform";
const double k_nan = std::numeric_limits<double>::quiet_NaN();

FeatureTransform all_maps() {
  return FeatureTransform(FeatureTransformOptions{
      .maps = {FeatureMap::linear, FeatureMap::log, FeatureMap::cube_root, FeatureMap::logit},
      .low = {k_nan, k_nan, k_nan, -1.0},
      .high = {k_nan, k_nan, k_nan, 3.0}});
}

/// Events that all_maps() is defined for.
Tensor some_events(std::int64_t n) {
  return at::stack({5.0 + 3.0 * sequence(n, 0.1), 0.01 + 40.0 * sequence(n, 0.2),
                    -2.0 + 5.0 * sequence(n, 0.3), -1.0 + 4.0 * sequence(n, 0.4)},
                   1);
}

}  // namespace

TEST_CASE("each feature is mapped and standardised", "[modules][feature_transform]") {
  FeatureTransform transform = all_maps();
  const Tensor x = some_events(500);
  transform->fit(x);
  const Tensor z = transform->forward(x);
  CHECK(distance(z.mean(0), at::zeros({4}, at::kDouble)) < 1e-12);
  CHECK(distance((z * z).mean(0), at::ones({4}, at::kDouble)) < 1e-12);
  CHECK(distance(transform->inverse(z), x) < 1e-12);
  // The maps themselves: differences of z in units of the scale.
  const Tensor scale = transform->named_buffers()["scale"];
  const Tensor step = (z[1] - z[0]) * scale, a = x[0], b = x[1];
  const auto v = values(step), p = values(a), q = values(b);
  CHECK_THAT(v[0], WithinRel(q[0] - p[0], 1e-12));
  CHECK_THAT(v[1], WithinRel(std::log(q[1] / p[1]), 1e-12));
  CHECK_THAT(v[2], WithinRel(std::cbrt(q[2]) - std::cbrt(p[2]), 1e-11));
  CHECK_THAT(v[3], WithinRel(std::log((q[3] + 1) / (3 - q[3])) - std::log((p[3] + 1) / (3 - p[3])),
                             1e-11));
}

TEST_CASE("the Jacobian of a transform is that of autograd", "[modules][feature_transform]") {
  FeatureTransform transform = all_maps();
  transform->fit(some_events(500), sequence(500, 0.7));
  const Tensor x = some_events(20).requires_grad_(true);
  const Tensor slopes = slalom::gradient(transform->forward(x).sum(), x);
  CHECK(distance(transform->log_jacobian(x), at::log(slopes.abs()).sum(1)) < 1e-11);
}

TEST_CASE("means are weighted", "[modules][feature_transform]") {
  FeatureTransform transform(FeatureTransformOptions{.maps = {FeatureMap::linear}});
  transform->fit(tensor({0, 4, 100}).unsqueeze(1), tensor({3, 1, 0}));
  CHECK(values(transform->named_buffers()["mean"]) == std::vector<double>{1.0});
  CHECK(std::abs(values(transform->named_buffers()["scale"])[0] - std::sqrt(3.0)) < 1e-12);
}

TEST_CASE("ends come from the events where they are not given", "[modules][feature_transform]") {
  FeatureTransform transform(FeatureTransformOptions{
      .maps = {FeatureMap::logit, FeatureMap::logit}, .low = {k_nan, 0.0}, .margin = 0.1});
  const Tensor x = at::stack({tensor({2, 3, 4}), tensor({2, 3, 4})}, 1);
  check_fails(ErrorKind::usage, k_where, "not known yet", [&] { transform->forward(x); });
  transform->fit(x);
  CHECK(distance(transform->named_buffers()["low"], tensor({1.8, 0.0})) < 1e-14);
  CHECK(distance(transform->named_buffers()["high"], tensor({4.2, 4.2})) < 1e-14);
}

TEST_CASE("events outside are told, not turned into NaN", "[modules][feature_transform]") {
  FeatureTransform transform = all_maps();
  transform->fit(some_events(100));
  Tensor x = some_events(6);
  x[1][1] = 0.0;
  x[2][3] = -1.0;  // at an end
  x[3][3] = 3.5;
  x[4][0] = k_nan;
  const Tensor inside = transform->inside(x);
  CHECK(values(inside.to(at::kDouble)) == std::vector<double>{1, 0, 0, 0, 0, 1});
  check_fails(ErrorKind::numerical, k_where, "feature 0 of 1 events is not finite",
              [&] { transform->forward(x); });
  check_fails(ErrorKind::numerical, k_where, "feature 1 of 1 events is not positive",
              [&] { transform->log_jacobian(x.slice(0, 1, 2)); });
  check_fails(ErrorKind::numerical, k_where, "feature 3 of 2 events is not inside (-1, 3)",
              [&] { transform->fit(x.slice(0, 2, 4)); });
}

TEST_CASE("a cube root has a finite slope at 0", "[modules][feature_transform]") {
  FeatureTransform transform(FeatureTransformOptions{.maps = {FeatureMap::cube_root}});
  Tensor x = tensor({-8, -1e-20, 0, 1e-13, 1e-6, 27}).unsqueeze(1);
  const Tensor z = transform->forward(x);
  CHECK(std::abs(values(z)[0] + 2.0) < 1e-14);
  CHECK(std::abs(values(z)[4] - 1e-2) < 1e-15);
  CHECK(distance(transform->inverse(z), x) < 1e-13);
  CHECK(std::abs(values(transform->inverse(z))[3] - 1e-13) < 1e-26);
  x.requires_grad_(true);
  const Tensor slopes = slalom::gradient(transform->forward(x).sum(), x);
  CHECK(distance(transform->log_jacobian(x), at::log(slopes).squeeze(1)) < 1e-12);
  CHECK(std::isfinite(slopes.sum().item<double>()));
}

TEST_CASE("a transform is saved and loaded, and takes no events too",
          "[modules][feature_transform]") {
  FeatureTransform one = all_maps(), two = all_maps();
  const Tensor x = some_events(50);
  one->fit(x);
  slalom::load_tensors(*two, slalom::named_tensors(*one));
  CHECK(two->forward(x).equal(one->forward(x)));
  CHECK(one->forward(x.slice(0, 0, 0)).size(0) == 0);
  CHECK(one->log_jacobian(x.slice(0, 0, 0)).size(0) == 0);
  // A feature that does not vary.
  FeatureTransform constant(FeatureTransformOptions{.maps = {FeatureMap::linear}});
  constant->fit(tensor({3, 3}).unsqueeze(1));
  CHECK(values(constant->forward(tensor({3, 4}).unsqueeze(1))) == std::vector<double>{0, 1});
}

TEST_CASE("a transform that cannot be is refused", "[modules][feature_transform]") {
  const auto refused = [](const char* text, const FeatureTransformOptions& options) {
    check_fails(ErrorKind::usage, k_where, text, [&] { FeatureTransform{options}; });
  };
  refused("no features", {});
  refused("for each of 1 features", {.maps = {FeatureMap::logit}, .low = {0, 0}});
  refused("an empty range of feature 0", {.maps = {FeatureMap::logit}, .low = {1}, .high = {1}});
  refused("margin", {.maps = {FeatureMap::logit}, .margin = 0.0});
  FeatureTransform transform(FeatureTransformOptions{.maps = {FeatureMap::linear}});
  check_fails(ErrorKind::usage, k_where, "[events, 1] expected, found [2, 2]", [&] {
    transform->forward(at::zeros({2, 2}));
  });
  const Tensor x = tensor({1, 2}).unsqueeze(1);
  check_fails(ErrorKind::usage, k_where, "[events, 1] expected, found [0, 1]",
              [&] { transform->fit(x.slice(0, 0, 0)); });
  check_fails(ErrorKind::usage, k_where, "weights [events]",
              [&] { transform->fit(x, tensor({1})); });
  check_fails(ErrorKind::usage, k_where, "negative", [&] { transform->fit(x, tensor({1, -1})); });
  check_fails(ErrorKind::numerical, k_where, "positive sum", [&] {
    transform->fit(x, tensor({0, 0}));
  });
  check_fails(ErrorKind::numerical, k_where, "not finite", [&] {
    transform->fit(tensor({1, k_nan}).unsqueeze(1));
  });
}
