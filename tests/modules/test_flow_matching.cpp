// SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <cmath>

#include "slalom/modules/autodiff.hpp"
#include "slalom/modules/flow_matching.hpp"
#include "slalom/modules/tensor_files.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/tensors.hpp"

using at::Tensor;
using slalom::Activation;
using slalom::as_density;
using slalom::Density;
using slalom::ErrorKind;
using slalom::FlowMatching;
using slalom::FlowMatchingOptions;
using slalom::OdeMethod;
using slalom::test::check_fails;
using slalom::test::distance;
using slalom::test::tensor;

namespace {

constexpr double k_log_2_pi = 1.8378770664093453;

Tensor normals(std::int64_t n, std::int64_t k, std::uint64_t seed = 1) {
  return slalom::normal_rows(n, k, seed);
}

FlowMatchingOptions small(std::int64_t features, std::int64_t conditions) {
  return {.features = features,
          .conditions = conditions,
          .hidden = 16,
          .hidden_layers = 2,
          .frequencies = 2,
          .steps = 20,
          .seed = 3,
          .float64 = true};
}

}  // namespace

TEST_CASE("a linear velocity has the density of its matrix exponential",
          "[modules][flow_matching]") {
  // No hidden layer: v = A x + b c + d, with A symmetric of eigenvalues 0.5 and -0.3. From t = 0 to
  // 1, x goes to e^A x + (e^A - 1) A^-1 (b c + d), and log |det| is the trace.
  FlowMatchingOptions options = small(2, 1);
  options.hidden_layers = 0;
  options.frequencies = 0;
  FlowMatching density(options);
  const double c = 0.6, s = 0.8, l = 0.5, m = -0.3;  // eigenvectors (c, s), (-s, c)
  const double a00 = l * c * c + m * s * s, a01 = (l - m) * c * s, a11 = l * s * s + m * c * c;
  slalom::load_tensors(*density,
                       {{"weight0", tensor({a00, a01, 0.4, 0, a01, a11, -0.2, 0}).view({2, 4})},
                        {"bias0", tensor({0.1, 0.7})}});
  const Tensor x = 1.5 * normals(30, 2), y = normals(30, 1, 2), ends = tensor({0.1, 0.7}),
               push = y * tensor({0.4, -0.2}) + ends, first = tensor({c, s}),
               second = tensor({-s, c});
  // Back to t = 0, along each eigenvector.
  const auto back = [&](const Tensor& v, double rate) {
    const Tensor here = (x * v).sum(1), pushed = (push * v).sum(1);
    return here * std::exp(-rate) + pushed * (std::exp(-rate) - 1.0) / rate;
  };
  const Tensor u = back(first, l), w = back(second, m);
  const Tensor expected = -0.5 * (u * u + w * w) - k_log_2_pi - (l + m);
  CHECK(distance(density->log_prob(x, y), expected) < 1e-7);
  // The order of the methods: an error 16 or 4 times smaller with half the step.
  for (const auto& [method, order] :
       {std::pair(OdeMethod::rk4, 4.0), std::pair(OdeMethod::midpoint, 2.0)}) {
    density->options().method = method;
    density->options().steps = 4;
    const double coarse = distance(density->log_prob(x, y), expected);
    density->options().steps = 8;
    const double fine = distance(density->log_prob(x, y), expected);
    CAPTURE(coarse, fine);
    CHECK(std::abs(std::log2(coarse / fine) - order) < 0.4);
  }
}

TEST_CASE("the divergence is the trace of autograd's Jacobian", "[modules][flow_matching]") {
  for (const Activation activation :
       {Activation::silu, Activation::tanh, Activation::sigmoid, Activation::softplus}) {
    FlowMatchingOptions options = small(3, 1);
    options.activation = activation;
    FlowMatching density(options);
    const Tensor condition = normals(1, 1, 5);
    const Tensor x = normals(1, 3).squeeze(0).requires_grad_(true);
    const Tensor t = at::full({1}, 0.3, at::kDouble);
    const Tensor v = density->velocity(x.unsqueeze(0), t, condition).squeeze(0);
    const auto flux = density->flux(x.unsqueeze(0), 0.3, condition);
    CHECK(distance(flux.velocity.squeeze(0), v) < 1e-14);
    const Tensor trace = slalom::jacobian(v, x).trace();
    CHECK(std::abs(trace.item<double>() - flux.divergence.item<double>()) < 1e-12);
  }
}

TEST_CASE("the density of a flow of velocities has the integral 1", "[modules][flow_matching]") {
  FlowMatching one(small(1, 1));
  const std::int64_t n = 2001;
  const Tensor x = at::linspace(-12.0, 12.0, n, at::kDouble).unsqueeze(1);
  const at::NoGradGuard no_graph;
  const Tensor p = at::exp(one->log_prob(x, at::zeros({n, 1}) + 0.7));
  CHECK(distance(one->log_prob(x, at::zeros({n, 1}) + 0.7), -0.5 * x * x - 0.5 * k_log_2_pi) > 0.1);
  CHECK(std::abs(p.sum().item<double>() * 24.0 / static_cast<double>(n - 1) - 1.0) < 1e-6);
  FlowMatching two(small(2, 0));
  const std::int64_t m = 161;
  const Tensor side = at::linspace(-8.0, 8.0, m, at::kDouble);
  const Tensor grid = at::stack({side.unsqueeze(1).expand({m, m}).reshape({-1}),
                                 side.unsqueeze(0).expand({m, m}).reshape({-1})},
                                1);
  const double integral = at::exp(two->log_prob(grid, {})).sum().item<double>() * 0.01;
  CHECK(std::abs(integral - 1.0) < 1e-5);
}

TEST_CASE("samples go where the density says", "[modules][flow_matching]") {
  // The mean and the second moments of a sample against integrals over a grid.
  FlowMatching density(small(2, 0));
  const std::int64_t m = 161, n = 50000;
  const Tensor side = at::linspace(-8.0, 8.0, m, at::kDouble);
  const Tensor grid = at::stack({side.unsqueeze(1).expand({m, m}).reshape({-1}),
                                 side.unsqueeze(0).expand({m, m}).reshape({-1})},
                                1);
  const at::NoGradGuard no_graph;
  const Tensor p = (at::exp(density->log_prob(grid, {})) * 0.01).unsqueeze(1);
  const Tensor x = density->sample(n, {}, 8);
  const Tensor mean = (p * grid).sum(0), square = (p * grid * grid).sum(0);
  const double cross = (p.squeeze(1) * grid.select(1, 0) * grid.select(1, 1)).sum().item<double>();
  CHECK(distance(x.mean(0), mean) < 0.025);
  CHECK(distance((x * x).mean(0), square) < 0.05);
  CHECK(std::abs((x.select(1, 0) * x.select(1, 1)).mean().item<double>() - cross) < 0.03);
  CHECK(distance(mean, at::zeros({2}, at::kDouble)) > 0.05);  // what the last checks could miss
  CHECK(distance(density->sample(10, {}, 8), x.slice(0, 0, 10)) < 1e-13);
}

TEST_CASE("the loss of flow matching and its gradient", "[modules][flow_matching]") {
  FlowMatching density(small(2, 1));
  const Tensor x = normals(6, 2), c = normals(6, 1, 2), x_0 = normals(6, 2, 3),
               t = slalom::test::sequence(6);
  const Tensor x_t = x_0 * (1.0 - t).unsqueeze(1) + x * t.unsqueeze(1);
  const Tensor miss = density->velocity(x_t, t, c) - x + x_0;
  CHECK(distance(density->path_losses(x, c, t, x_0), (miss * miss).sum(1)) < 1e-13);
  // Random numbers are those of the seed.
  CHECK(density->losses(x, c, 4).equal(density->losses(x, c, 4)));
  CHECK(distance(density->losses(x, c, 4), density->losses(x, c, 5)) > 1e-3);
  const auto loss = [&] { return density->path_losses(x, c, t, x_0).mean(); };
  std::vector<Tensor> parameters = density->parameters();
  const auto slopes = slalom::gradients(loss(), parameters);
  // Of log p as well.
  const auto log_p = [&] { return density->log_prob(x, c).mean(); };
  density->options().steps = 3;
  const auto log_slopes = slalom::gradients(log_p(), parameters);
  const at::NoGradGuard no_graph;
  for (std::size_t k = 0; k < parameters.size(); ++k) {
    Tensor flat = parameters[k].view({-1});
    for (std::int64_t i = 0; i < flat.size(0); i += 7) {
      const double h = 1e-6, here = flat[i].item<double>();
      flat[i].fill_(here + h);
      const double up = loss().item<double>(), log_up = log_p().item<double>();
      flat[i].fill_(here - h);
      const double down = loss().item<double>(), log_down = log_p().item<double>();
      flat[i].fill_(here);
      CHECK(std::abs((up - down) / (2 * h) - slopes[k].view({-1})[i].item<double>()) < 1e-7);
      CHECK(std::abs((log_up - log_down) / (2 * h) - log_slopes[k].view({-1})[i].item<double>()) <
            1e-7);
    }
  }
}

TEST_CASE("flow matching learns a moving normal", "[modules][flow_matching]") {
  // Mean c, width e^(0.5 c).
  const auto log_density = [](const Tensor& x, const Tensor& c) {
    const Tensor pull = (x - c) * at::exp(-0.5 * c);
    return (-0.5 * pull * pull - 0.5 * c - 0.5 * k_log_2_pi).squeeze(1);
  };
  const Tensor c = normals(20000, 1, 1).clamp(-1.5, 1.5),
               x = c + at::exp(0.5 * c) * normals(20000, 1, 2);
  const FlowMatchingOptions options{
      .features = 1, .conditions = 1, .hidden = 32, .hidden_layers = 2, .steps = 10, .seed = 1};
  FlowMatching flow(options);
  Density density = as_density(flow.ptr());
  slalom::train_density(density, x, c, {},
                        {.steps = 800, .batch_size = 512, .learning_rate = 5e-3, .average = 0.98});
  const Tensor test_c = normals(10000, 1, 3).clamp(-1.5, 1.5),
               test_x = test_c + at::exp(0.5 * test_c) * normals(10000, 1, 4);
  const at::NoGradGuard no_graph;
  const auto found =
      slalom::kl_divergence(log_density(test_x, test_c), density->log_prob(test_x, test_c));
  CAPTURE(found.value, found.paired);
  CHECK(found.paired < 0.02);
  // Its own samples have the right moments.
  const Tensor sample = density->sample(10000, test_c, 5).to(at::kDouble);
  const Tensor pull = (sample - test_c) * at::exp(-0.5 * test_c);
  CHECK(std::abs(pull.mean().item<double>()) < 0.06);
  CHECK(std::abs((pull * pull).mean().item<double>() - 1.0) < 0.1);
}

TEST_CASE("flow matching does not depend on threads, and is saved", "[modules][flow_matching]") {
  const int before = at::get_num_threads();
  const Tensor c = normals(3000, 1), x = normals(3000, 2, 2);
  std::vector<slalom::NamedTensors> results;
  FlowMatchingOptions options = small(2, 1);
  options.float64 = false;
  for (const int threads : {1, 2}) {
    at::set_num_threads(threads);
    Density density = as_density(FlowMatching(options).ptr());
    slalom::train_density(density, x, c, {}, {.steps = 8, .batch_size = 2100});
    results.push_back(slalom::named_tensors(*density));
  }
  at::set_num_threads(before);
  for (const auto& [name, value] : results[0]) CHECK(value.equal(results[1].at(name)));
  FlowMatching one(options);
  slalom::load_tensors(*one, results[0]);
  FlowMatching two(options);
  slalom::load_tensors(*two, slalom::named_tensors(*one));
  CHECK(two->log_prob(x, c).equal(one->log_prob(x, c)));
  CHECK(two->sample(9, c.slice(0, 0, 9), 1).equal(one->sample(9, c.slice(0, 0, 9), 1)));
  CHECK(one->log_prob(x.slice(0, 0, 0), c.slice(0, 0, 0)).size(0) == 0);
  CHECK(one->sample(0, c.slice(0, 0, 0), 1).size(0) == 0);
}

TEST_CASE("flow matching that cannot be is refused", "[modules][flow_matching]") {
  const auto refused = [](const char* text, const FlowMatchingOptions& options) {
    check_fails(ErrorKind::usage, "flow_matching", text, [&] { FlowMatching{options}; });
  };
  refused("positive", {.features = 0});
  refused("positive", {.hidden = 0});
  refused("smooth", {.activation = Activation::relu});
  FlowMatching density(FlowMatchingOptions{.features = 2, .conditions = 1});
  const Tensor x = at::zeros({3, 2}), c = at::zeros({3, 1});
  check_fails(ErrorKind::usage, "flow_matching", "events [n, 2] expected, found [3, 1]",
              [&] { density->log_prob(c, c); });
  check_fails(ErrorKind::usage, "flow_matching", "conditions [3, 1] expected, found none",
              [&] { density->losses(x, {}, 1); });
  check_fails(ErrorKind::usage, "flow_matching", "conditions [4, 1] expected, found [3, 1]",
              [&] { density->sample(4, c, 1); });
  check_fails(ErrorKind::usage, "flow_matching", "times [n]",
              [&] { density->velocity(x, at::zeros({2}), c); });
  density->options().steps = 0;
  check_fails(ErrorKind::usage, "flow_matching", "number of steps",
              [&] { density->log_prob(x, c); });
}
