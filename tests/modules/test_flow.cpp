// SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/log.h>
#include <ATen/ops/slogdet.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>
#include <cmath>
#include <numbers>
#include <set>
#include <sstream>

#include "slalom/modules/autodiff.hpp"
#include "slalom/modules/flow.hpp"
#include "slalom/modules/tensor_files.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/tensors.hpp"

using at::Tensor;
using slalom::ErrorKind;
using slalom::Flow;
using slalom::FlowKind;
using slalom::FlowOptions;
using slalom::test::check_fails;
using slalom::test::distance;
using slalom::test::sequence;
using slalom::test::tensor;
using slalom::test::values;

namespace {

constexpr double k_log_2_pi = 1.8378770664093453;

/// A flow whose weights are no longer those of the identity.
Flow random_flow(FlowOptions options, double size = 0.3) {
  Flow flow(options);
  const at::NoGradGuard no_graph;
  std::uint32_t family = 0;
  for (const auto& entry : flow->named_parameters()) {
    Tensor parameter = entry.value();
    parameter.add_(size * slalom::normal_rows(1, parameter.numel(), 17, ++family)
                              .view(parameter.sizes())
                              .to(parameter.scalar_type()));
  }
  return flow;
}

FlowOptions small(FlowKind kind, std::int64_t features, std::int64_t conditions) {
  return {.features = features,
          .conditions = conditions,
          .layers = 4,
          .hidden = 16,
          .kind = kind,
          .bins = 5,
          .tail_bound = 3.0,
          .seed = 3,
          .float64 = true};
}

Tensor normals(std::int64_t n, std::int64_t k, std::uint64_t seed = 1) {
  return slalom::normal_rows(n, k, seed);
}

Tensor conditions_of(std::int64_t n, std::int64_t c) {
  return c == 0 ? Tensor() : normals(n, c, 99);
}

const std::vector<FlowKind> k_kinds{FlowKind::affine, FlowKind::spline};

}  // namespace

TEST_CASE("a new flow is the identity", "[modules][flow]") {
  for (const FlowKind kind : k_kinds) {
    Flow flow(small(kind, 3, 2));
    const Tensor x = 2.0 * normals(50, 3), c = normals(50, 2, 2);
    CHECK(distance(flow->forward(x, c).value, x) < 1e-14);
    CHECK(distance(flow->log_prob(x, c), -0.5 * (x * x).sum(1) - 1.5 * k_log_2_pi) < 1e-13);
  }
}

TEST_CASE("an affine flow is what its weights say", "[modules][flow]") {
  // One layer, no hidden one: z_b = x_b e^s + t, s = 2 tanh((w x_a + v c + b) / 2), t likewise.
  Flow flow(FlowOptions{
      .features = 2, .conditions = 1, .layers = 1, .hidden_layers = 0, .float64 = true});
  const std::int64_t b = flow->changed(0).front(), a = 1 - b;
  slalom::load_tensors(*flow, {{"layer0_weight0", tensor({0.5, -1, 2, 0.25}).view({2, 2})},
                               {"layer0_bias0", tensor({0.1, -0.3})}});
  const Tensor x = normals(20, 2), c = normals(20, 1, 2), y = c.squeeze(1);
  const Tensor kept = x.select(1, a), raw = 0.5 * kept - y + 0.1;
  const Tensor s = 2.0 * at::tanh(0.5 * raw),
               z = x.select(1, b) * at::exp(s) + 2.0 * kept + 0.25 * y - 0.3;
  const auto image = flow->forward(x, c);
  CHECK(distance(image.value.select(1, b), z) < 1e-14);
  CHECK(distance(image.value.select(1, a), kept) < 1e-14);
  CHECK(distance(image.log_det, s) < 1e-14);
  CHECK(distance(flow->log_prob(x, c), s - 0.5 * (z * z + kept * kept) - k_log_2_pi) < 1e-13);
}

TEST_CASE("a flow and its inverse cancel", "[modules][flow]") {
  for (const FlowKind kind : k_kinds) {
    for (const std::int64_t f : {1, 2, 3, 5}) {
      for (const std::int64_t c : {0, 2}) {
        if (f == 1 && c == 0 && kind == FlowKind::affine) continue;  // below
        // Steep splines are ill-conditioned: slopes here stay within 1e-3 ... 1e3.
        Flow flow = random_flow(small(kind, f, c), kind == FlowKind::affine ? 0.3 : 0.1);
        const Tensor x = 1.5 * normals(200, f), condition = conditions_of(200, c);
        const auto image = flow->forward(x, condition);
        CHECK(distance(image.value, x) > 0.1);
        CHECK(image.log_det.abs().max().item<double>() < 7.0 * static_cast<double>(f));
        const auto back = flow->inverse(image.value, condition);
        CHECK(distance(back.value, x) < 1e-10);
        CHECK(distance(back.log_det, -image.log_det) < 1e-9);
      }
    }
  }
}

TEST_CASE("log |det| is that of autograd's Jacobian", "[modules][flow]") {
  for (const FlowKind kind : k_kinds) {
    Flow flow = random_flow(small(kind, 4, 1));
    for (std::int64_t i = 0; i < 10; ++i) {
      const Tensor x = (1.5 * normals(10, 4))[i].clone().requires_grad_(true);
      const auto image = flow->forward(x.unsqueeze(0), normals(10, 1, 5)[i].unsqueeze(0));
      const Tensor all = slalom::jacobian(image.value.squeeze(0), x);
      CHECK(std::abs(std::get<1>(at::slogdet(all)).item<double>() - image.log_det.item<double>()) <
            1e-10);
    }
  }
}

TEST_CASE("the density of a flow has the integral 1", "[modules][flow]") {
  const std::int64_t n = 4001;
  for (const FlowKind kind : k_kinds) {
    Flow one = random_flow(small(kind, 1, 1), 0.2);
    const Tensor x = at::linspace(-60.0, 60.0, n * 6, at::kDouble);
    for (const double c : {-1.0, 0.5}) {
      const Tensor p = at::exp(one->log_prob(x.unsqueeze(1), at::zeros({n * 6, 1}) + c));
      CHECK(std::abs(p.sum().item<double>() * 120.0 / static_cast<double>(n * 6 - 1) - 1.0) <
            (kind == FlowKind::affine ? 1e-9 : 1e-5));  // kinks at knots
    }
    Flow two = random_flow(small(kind, 2, 0), 0.15);
    const std::int64_t m = 801;
    const Tensor side = at::linspace(-16.0, 16.0, m, at::kDouble);
    const Tensor grid = at::stack({side.unsqueeze(1).expand({m, m}).reshape({-1}),
                                   side.unsqueeze(0).expand({m, m}).reshape({-1})},
                                  1);
    const double cell = 32.0 / static_cast<double>(m - 1);
    const double integral = at::exp(two->log_prob(grid, {})).sum().item<double>() * cell * cell;
    CHECK(std::abs(integral - 1.0) < (kind == FlowKind::affine ? 1e-6 : 1e-3));
  }
}

TEST_CASE("a spline leaves its tails alone, and has no steps at its ends", "[modules][flow]") {
  Flow flow = random_flow(small(FlowKind::spline, 1, 1));
  const Tensor c = at::zeros({4, 1}) + 0.3;
  const Tensor far = tensor({-40, -3.0000001, 3.0000001, 7}).unsqueeze(1);
  const auto image = flow->forward(far, c);
  CHECK(distance(image.value, far) < 1e-14);
  CHECK(distance(image.log_det, at::zeros({4}, at::kDouble)) < 1e-14);
  // Continuous with a continuous slope.
  const Tensor near = tensor({-3.0, -2.9999999, 2.9999999, 3.0}).unsqueeze(1);
  const auto close = flow->forward(near, c);
  CHECK(distance(close.value, near) < 1e-6);
  CHECK(distance(close.log_det, at::zeros({4}, at::kDouble)) < 1e-5);
}

TEST_CASE("gradients of a flow are finite differences", "[modules][flow]") {
  for (const FlowKind kind : k_kinds) {
    FlowOptions options = small(kind, 3, 1);
    options.layers = 2;
    options.hidden = 5;
    Flow flow = random_flow(options);
    const Tensor x = normals(6, 3), c = normals(6, 1, 4);
    const auto loss = [&] { return -flow->log_prob(x, c).mean(); };
    std::vector<Tensor> parameters = flow->parameters();
    const auto slopes = slalom::gradients(loss(), parameters);
    const at::NoGradGuard no_graph;
    for (std::size_t k = 0; k < parameters.size(); ++k) {
      Tensor flat = parameters[k].view({-1});
      for (std::int64_t i = 0; i < flat.size(0); i += 3) {
        const double h = 1e-6, at = flat[i].item<double>();
        flat[i].fill_(at + h);
        const double up = loss().item<double>();
        flat[i].fill_(at - h);
        const double down = loss().item<double>();
        flat[i].fill_(at);
        CHECK(std::abs((up - down) / (2 * h) - slopes[k].view({-1})[i].item<double>()) < 1e-8);
      }
    }
  }
}

TEST_CASE("a flow's gradient by events and conditions", "[modules][flow]") {
  for (const FlowKind kind : k_kinds) {
    Flow flow = random_flow(small(kind, 2, 1));
    const Tensor x = normals(8, 2).requires_grad_(true), c = normals(8, 1, 4).requires_grad_(true);
    const auto slopes = slalom::gradients(flow->log_prob(x, c).sum(), {x, c});
    const at::NoGradGuard no_graph;
    const double h = 1e-6;
    const Tensor step = tensor({h, 0}).unsqueeze(0);
    CHECK(distance((flow->log_prob(x + step, c) - flow->log_prob(x - step, c)) / (2 * h),
                   slopes[0].select(1, 0)) < 1e-7);
    CHECK(distance((flow->log_prob(x, c + h) - flow->log_prob(x, c - h)) / (2 * h),
                   slopes[1].select(1, 0)) < 1e-7);
  }
}

TEST_CASE("samples follow the density", "[modules][flow]") {
  const std::int64_t n = 40000;
  for (const FlowKind kind : k_kinds) {
    FlowOptions options = small(kind, 2, 1);
    options.float64 = false;
    Flow flow = random_flow(options, 0.2);
    const Tensor c = at::zeros({n, 1}) + 0.5;
    const Tensor x = flow->sample(n, c, 5).to(at::kDouble);
    // Shares of events in cells against integrals of the density over them.
    const std::int64_t cells = 6, fine = 40;
    const double low = -3.0, side = 1.0;
    double chi2 = 0.0;
    std::int64_t ndf = 0;
    for (std::int64_t i = 0; i < cells * cells; ++i) {
      const double a = low + side * static_cast<double>(i / cells),
                   b = low + side * static_cast<double>(i % cells);
      const Tensor mid = (at::arange(fine, at::kDouble) + 0.5) * (side / fine);
      const Tensor grid = at::stack({(a + mid).unsqueeze(1).expand({fine, fine}).reshape({-1}),
                                     (b + mid).unsqueeze(0).expand({fine, fine}).reshape({-1})},
                                    1);
      const at::NoGradGuard no_graph;
      const double expected =
          at::exp(flow->log_prob(grid, at::zeros({fine * fine, 1}) + 0.5)).mean().item<double>() *
          side * side * static_cast<double>(n);
      if (expected < 5.0) continue;
      const Tensor here = (x.select(1, 0) >= a)
                              .logical_and(x.select(1, 0) < a + side)
                              .logical_and(x.select(1, 1) >= b)
                              .logical_and(x.select(1, 1) < b + side);
      const double found = static_cast<double>(here.sum().item<std::int64_t>());
      chi2 += (found - expected) * (found - expected) / expected;
      ++ndf;
    }
    CAPTURE(chi2, ndf);
    CHECK(ndf > 15);
    CHECK(chi2 < static_cast<double>(ndf) + 4.0 * std::sqrt(2.0 * static_cast<double>(ndf)));
  }
}

TEST_CASE("samples depend on seed, row and condition alone", "[modules][flow]") {
  Flow flow = random_flow(small(FlowKind::affine, 3, 1));
  const Tensor c = normals(100, 1);
  const Tensor all = flow->sample(100, c, 5);
  CHECK(distance(flow->sample(40, c.slice(0, 0, 40), 5), all.slice(0, 0, 40)) < 1e-13);
  CHECK(distance(flow->sample(100, c, 6), all) > 0.1);
}

TEST_CASE("numbers of a flow do not depend on threads", "[modules][flow]") {
  const int before = at::get_num_threads();
  for (const FlowKind kind : k_kinds) {
    FlowOptions options = small(kind, 4, 1);
    options.float64 = false;
    options.hidden = 64;
    Flow flow = random_flow(options);
    const Tensor x = normals(30000, 4), c = normals(30000, 1, 2);
    const at::NoGradGuard no_graph;
    at::set_num_threads(1);
    const Tensor one = flow->log_prob(x, c), sample = flow->sample(30000, c, 1);
    at::set_num_threads(2);
    CHECK(flow->log_prob(x, c).equal(one));
    CHECK(flow->sample(30000, c, 1).equal(sample));
  }
  at::set_num_threads(before);
}

TEST_CASE("a flow is the same with and without a graph", "[modules][flow]") {
  for (const bool float64 : {false, true}) {
    for (const slalom::Activation activation :
         {slalom::Activation::silu, slalom::Activation::tanh, slalom::Activation::relu}) {
      FlowOptions options = small(FlowKind::affine, 4, 1);
      options.float64 = float64;
      options.activation = activation;
      options.hidden = 37;  // no multiple of anything
      Flow flow = random_flow(options, 0.1);
      const Tensor x = normals(1003, 4), c = normals(1003, 1, 2);
      const Tensor log_p = flow->log_prob(x, c), with = log_p.detach();
      // Differentiable again, the gradient is made of tensor operations, otherwise by the kernel.
      std::vector<Tensor> inputs = flow->parameters();
      const Tensor y = x.clone().requires_grad_(true), d = c.clone().requires_grad_(true);
      inputs.push_back(y);
      inputs.push_back(d);
      const Tensor sum = (flow->log_prob(y, d) * normals(1003, 1, 3).squeeze(1)).sum();
      const auto once = slalom::gradients(sum, inputs),
                 again = slalom::gradients(
                     (flow->log_prob(y, d) * normals(1003, 1, 3).squeeze(1)).sum(), inputs, true);
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        const double size = again[i].abs().max().item<double>();
        CHECK(distance(once[i], again[i]) < (float64 ? 1e-11 : 1e-4) * (1.0 + size));
        CHECK_FALSE(once[i].requires_grad());
      }
      CHECK(again[0].requires_grad());
      // And once more for the loss of a training, whose weights may have a gradient too.
      const Tensor w = normals(1003, 1, 3).squeeze(1).to(float64 ? at::kDouble : at::kFloat);
      Tensor leaf = w.clone().requires_grad_(true);
      const Tensor total = flow->total_loss(y, d, leaf, 0);
      CHECK(std::abs(total.item<double>() + sum.item<double>()) <
            (float64 ? 1e-9 : 1e-3) * (1.0 + std::abs(sum.item<double>())));
      inputs.push_back(leaf);
      for (const bool create_graph : {false, true}) {
        const auto slopes =
            slalom::gradients(2.0 * flow->total_loss(y, d, leaf, 0), inputs, create_graph);
        for (std::size_t i = 0; i + 1 < inputs.size(); ++i) {
          const double size = again[i].abs().max().item<double>();
          CHECK(distance(slopes[i], -2.0 * again[i]) < (float64 ? 2e-11 : 2e-4) * (1.0 + size));
        }
        CHECK(distance(slopes.back(), -2.0 * with) < (float64 ? 1e-10 : 1e-3));
      }
      const auto image = flow->forward(x, c);
      const at::NoGradGuard no_graph;
      const double tolerance = float64 ? 1e-11 : 2e-4;
      CHECK(distance(flow->log_prob(x, c), with) < tolerance);
      CHECK(distance(flow->inverse(image.value.detach(), c).value, x) < tolerance);
    }
  }
}

TEST_CASE("weights of a flow follow from the seed, and are saved", "[modules][flow]") {
  const FlowOptions options = small(FlowKind::affine, 3, 1);
  Flow one = random_flow(options), two(options);
  const Tensor x = normals(30, 3), c = normals(30, 1, 2);
  CHECK(distance(one->log_prob(x, c), two->log_prob(x, c)) > 0.01);
  slalom::load_tensors(*two, slalom::named_tensors(*one));
  CHECK(one->log_prob(x, c).equal(two->log_prob(x, c)));
  Flow again(options);
  slalom::FlowOptions other = options;
  other.seed = 4;
  Flow different(other);
  CHECK(again->named_parameters()["layer0_weight0"].equal(
      Flow(options)->named_parameters()["layer0_weight0"]));
  CHECK_FALSE(again->named_parameters()["layer0_weight1"].equal(
      different->named_parameters()["layer0_weight1"]));
  std::ostringstream text;
  one->pretty_print(text);
  CHECK(text.str() == "slalom::Flow(3 features, 4 affine layers of 2 x 16)");
}

TEST_CASE("every feature is changed, and changes others", "[modules][flow]") {
  for (const std::int64_t f : {1, 2, 3, 4, 7}) {
    Flow flow(FlowOptions{.features = f, .layers = 6});
    std::set<std::pair<std::int64_t, std::int64_t>> apart;
    for (std::int64_t pair = 0; pair < 3; ++pair) {
      const auto first = flow->changed(2 * pair);
      const auto second = flow->changed(2 * pair + 1);
      std::set<std::int64_t> all(first.begin(), first.end());
      all.insert(second.begin(), second.end());
      CHECK(all.size() == static_cast<std::size_t>(f));
      if (f > 1) CHECK(first.size() + second.size() == static_cast<std::size_t>(f));
      for (const std::int64_t i : first) {
        for (const std::int64_t j : second) apart.insert({std::min(i, j), std::max(i, j)});
      }
    }
    // Any two features, and each with itself where there is one only.
    CHECK(apart.size() == static_cast<std::size_t>(f == 1 ? 1 : f * (f - 1) / 2));
  }
}

TEST_CASE("a flow takes no events, and one feature without conditions", "[modules][flow]") {
  for (const FlowKind kind : k_kinds) {
    Flow flow(small(kind, 2, 1));
    const Tensor none = at::zeros({0, 2}), c = at::zeros({0, 1});
    CHECK(flow->log_prob(none, c).size(0) == 0);
    CHECK(flow->sample(0, c, 1).size(0) == 0);
    Flow single = random_flow(small(kind, 1, 0));
    const Tensor x = normals(30, 1);
    const auto image = single->forward(x);
    CHECK(distance(single->inverse(image.value).value, x) < 1e-10);
  }
}

TEST_CASE("a flow that cannot be is refused", "[modules][flow]") {
  const auto refused = [](const char* text, const FlowOptions& options) {
    check_fails(ErrorKind::usage, "flow", text, [&] { Flow{options}; });
  };
  refused("positive", {.features = 0});
  refused("positive", {.layers = 0});
  refused("positive", {.hidden = -1});
  refused("limit", {.scale_limit = 0.0});
  refused("bins", {.kind = FlowKind::spline, .bins = 0});
  Flow flow(FlowOptions{.features = 2, .conditions = 1});
  check_fails(ErrorKind::usage, "flow", "events [n, 2] expected, found [3, 1]", [&] {
    flow->log_prob(at::zeros({3, 1}), at::zeros({3, 1}));
  });
  check_fails(ErrorKind::usage, "flow", "conditions [3, 1] expected, found none", [&] {
    flow->log_prob(at::zeros({3, 2}), {});
  });
  check_fails(ErrorKind::usage, "flow", "conditions [3, 1] expected, found [2, 1]", [&] {
    flow->sample(3, at::zeros({2, 1}), 1);
  });
  check_fails(ErrorKind::usage, "flow", "no layer 9", [&] { flow->changed(9); });
}
