// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/_make_dual.h>
#include <ATen/ops/_unpack_dual.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <boost/math/distributions/normal.hpp>
#include <cmath>
#include <torch/csrc/autograd/forward_grad.h>
#include <tuple>

#include "slalom/modules/soft_histogram.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/gradients.hpp"
#include "support/tensors.hpp"

using at::Tensor;
using slalom::AxisOptions;
using slalom::ErrorKind;
using slalom::FlowBins;
using slalom::Histogram;
using slalom::Kernel;
using slalom::SmearingOptions;
using slalom::soft_histogram;
using slalom::SoftHistogram;
using slalom::SoftHistogramOptions;
using slalom::SoftHistogramResult;
using slalom::test::check_fails;
using slalom::test::check_gradients;
using slalom::test::distance;
using slalom::test::sequence;
using slalom::test::tensor;
using slalom::test::values;
using Vector = std::vector<double>;

namespace {

const std::vector<Kernel> k_kernels = {Kernel::gaussian, Kernel::sigmoid};

std::vector<SmearingOptions> all_options() {
  std::vector<SmearingOptions> result;
  for (const Kernel kernel : k_kernels) {
    for (const FlowBins flow : {FlowBins::fold, FlowBins::keep, FlowBins::drop}) {
      for (const bool reflect : {false, true}) result.push_back({kernel, flow, reflect});
    }
  }
  return result;
}

Tensor bandwidth(double value) { return tensor({value}); }

/// F(b) - F(a), by the tail that loses no digits.
double integral(Kernel kernel, double a, double b) {
  const auto above = [&](double z) {
    if (kernel == Kernel::sigmoid) return 1.0 / (1.0 + std::exp(z));
    return boost::math::cdf(boost::math::complement(boost::math::normal(), z));
  };
  return a > 0.0 ? above(a) - above(b) : above(-b) - above(-a);
}

Tensor flat(const Histogram& h) { return at::cat({h.sumw.flatten(), h.sumw2.flatten()}); }

}  // namespace

TEST_CASE("a smeared event fills bins with the integral of its kernel",
          "[modules][soft_histogram]") {
  const Vector e = {-1.0, 0.0, 0.3, 2.0};
  for (const Kernel kernel : k_kernels) {
    for (const double x : {-3.0, -1.0, -0.2, 0.0, 0.3, 1.7, 2.0, 4.5}) {
      INFO("x " << x);
      const double h = 0.25, w = 1.5;
      const Histogram found = soft_histogram(tensor({x}), tensor({w}), tensor(e), bandwidth(h),
                                             {kernel, FlowBins::keep, false});
      const Vector sumw = values(found.sumw), sumw2 = values(found.sumw2);
      REQUIRE(sumw.size() == 5);
      for (std::size_t j = 0; j < 5; ++j) {
        const double low = j == 0 ? -1e9 : e[j - 1], high = j == 4 ? 1e9 : e[j];
        const double share = integral(kernel, (low - x) / h, (high - x) / h);
        CHECK_THAT(sumw[j], Catch::Matchers::WithinRel(w * share, 1e-11) ||
                                Catch::Matchers::WithinAbs(w * share, 1e-16));
        CHECK_THAT(sumw2[j], Catch::Matchers::WithinAbs(w * w * share, 1e-15));
      }
    }
  }
}

TEST_CASE("far tails keep their digits", "[modules][soft_histogram]") {
  // 20 and 30 standard deviations away on either side: a plain difference of F would give 0.
  for (const double x : {-2.0, 5.0}) {
    const Vector found =
        values(soft_histogram(tensor({x}), tensor({1.0}), tensor({0.0, 1.0, 2.0, 3.0}),
                              bandwidth(0.1), {Kernel::gaussian, FlowBins::drop, false})
                   .sumw);
    const std::size_t near = x < 0.0 ? 0 : 2;
    CHECK_THAT(found[near],
               Catch::Matchers::WithinRel(integral(Kernel::gaussian, 20.0, 30.0), 1e-11));
    CHECK_THAT(found[1], Catch::Matchers::WithinRel(integral(Kernel::gaussian, 30.0, 40.0), 1e-11));
  }
}

TEST_CASE("weights are conserved", "[modules][soft_histogram]") {
  const Tensor x = 3.0 * sequence(2000) - 1.0, w = sequence(2000, 0.1) - 0.3;
  const Tensor h = tensor({0.1, 0.07, 0.02, 0.3, 0.2}), edges = tensor({0.0, 0.1, 0.5, 0.9, 1.0});
  for (const SmearingOptions& options : all_options()) {
    if (options.flow == FlowBins::drop) continue;
    const Histogram found = soft_histogram(x, w, edges, h, options);
    CHECK_THAT(found.sumw.sum().item<double>(),
               Catch::Matchers::WithinRel(w.sum().item<double>(), 1e-12));
    CHECK_THAT(found.sumw2.sum().item<double>(),
               Catch::Matchers::WithinRel((w * w).sum().item<double>(), 1e-12));
  }
}

TEST_CASE("a bandwidth that goes to 0 leaves the hard histogram", "[modules][soft_histogram]") {
  // Edges of learned bins are no multiples of anything; events on an edge are split in two halves.
  const Tensor x = 1.4 * sequence(5000) - 0.2, w = sequence(5000, 0.7);
  const Tensor edges = tensor({0.0, 0.1234, 0.5, 0.95, 1.0});
  for (const SmearingOptions& options : all_options()) {
    const Histogram hard = slalom::hard_histogram(x, w, edges, options.flow);
    const Histogram soft = soft_histogram(x, w, edges, bandwidth(1e-9), options);
    CHECK(distance(soft.sumw, hard.sumw) == 0.0);
    CHECK(distance(soft.sumw2, hard.sumw2) == 0.0);
    // The difference is of first order in the bandwidth or smaller.
    const double far =
        distance(soft_histogram(x, w, edges, bandwidth(0.02), options).sumw, hard.sumw);
    CHECK(far > 0.1);
    CHECK(distance(soft_histogram(x, w, edges, bandwidth(1e-3), options).sumw, hard.sumw) <
          0.5 * far);
  }
}

TEST_CASE("bins far from all events hold exactly nothing", "[modules][soft_histogram]") {
  const Histogram h = soft_histogram(tensor({0.1, 0.11, 0.93}), tensor({1, -2, 3}),
                                     tensor({0.0, 0.3, 0.6, 1.0}), bandwidth(0.001));
  CHECK(values(h.sumw) == Vector{-1, 0, 3});
  const Histogram none =
      soft_histogram(tensor({}), tensor({}), tensor({0.0, 0.3, 1.0}), bandwidth(0.1));
  CHECK(values(none.sumw) == Vector{0, 0});
}

TEST_CASE("the fused sums are those of the shares of single events", "[modules][soft_histogram]") {
  const Tensor inner = 1.6 * sequence(400) - 0.3;
  const Tensor x = at::cat({inner, tensor({0.0, 0.2, 1.0, -0.3, 7.0})});
  const Tensor w = at::stack({sequence(405, 0.2) - 0.4, sequence(405, 0.9)});
  const Tensor edges = tensor({0.0, 0.2, 0.7, 1.0}), h = tensor({0.1, 0.05, 0.2, 0.1});
  for (const SmearingOptions& options : all_options()) {
    const Histogram found = soft_histogram(x, w, edges, h, options);
    const Tensor shares = slalom::bin_membership(x, edges, h, options);
    CHECK(distance(found.sumw, w.matmul(shares)) < 1e-12);
    CHECK(distance(found.sumw2, (w * w).matmul(shares)) < 1e-12);
  }
}

TEST_CASE("what leaks over a reflecting end comes back", "[modules][soft_histogram]") {
  // One event at the end: half of its kernel leaks, and comes back.
  for (const double x : {0.0, 1.0}) {
    const Tensor shares =
        slalom::bin_membership(tensor({x}), tensor({0.0, 0.5, 1.0}), bandwidth(0.1),
                               {Kernel::gaussian, FlowBins::keep, true});
    const double near = 2.0 * integral(Kernel::gaussian, 0.0, 5.0);
    const Vector found = values(shares);
    CHECK(found.front() == 0.0);
    CHECK(found.back() == 0.0);
    CHECK_THAT(found[x == 0.0 ? 1 : 2], Catch::Matchers::WithinAbs(near, 1e-14));
  }
  // Beyond the end: stays there.
  CHECK(values(slalom::bin_membership(tensor({-0.01, 1.01}), tensor({0.0, 0.5, 1.0}),
                                      bandwidth(0.25), {Kernel::gaussian, FlowBins::keep, true})) ==
        Vector{1, 0, 0, 0, 0, 0, 0, 1});
}

TEST_CASE("soft histograms have the derivatives of their formula",
          "[modules][soft_histogram][gradient]") {
  // On edges, at both ends, beyond them, with weights 0 and negative, and in an empty bin.
  const Tensor x = tensor({-0.4, 0.0, 0.11, 0.2, 0.45, 0.7, 1.0, 1.3});
  const Tensor w = tensor({1.0, 2.0, 0.0, -0.7, 1.1, 0.4, 3.0, 0.5});
  const Tensor edges = tensor({0.0, 0.2, 0.7, 1.0}), h = tensor({0.1, 0.12, 0.2, 0.15});
  for (const SmearingOptions& options : all_options()) {
    INFO("kernel " << static_cast<int>(options.kernel) << ", flow "
                   << static_cast<int>(options.flow) << ", reflect " << options.reflect);
    const Tensor inside = options.reflect ? x.clamp(0.05, 0.95) : x;
    check_gradients(
        [&](const std::vector<Tensor>& in) {
          return flat(soft_histogram(in[0], in[1], in[2], in[3], options));
        },
        {inside, w, edges, h}, {.step = 2e-4, .tolerance = 1e-7, .second_tolerance = 1e-5});
    check_gradients(
        [&](const std::vector<Tensor>& in) {
          return slalom::bin_membership(in[0], in[1], in[2], options);
        },
        {inside, edges, h}, {.step = 2e-4, .tolerance = 1e-7, .second_tolerance = 1e-5});
  }
}

TEST_CASE("the pass over blocks has the derivatives of plain operations",
          "[modules][soft_histogram][gradient]") {
  // More events than a block holds; beyond all ends; a weight set of zeros and negative ones.
  const std::int64_t n = 5001;
  const Tensor edges = tensor({0.0, 0.1, 0.4, 0.7, 1.0}), h = tensor({0.1, 0.05, 0.2, 0.1, 0.15});
  const Tensor x = 1.4 * sequence(n) - 0.2,
               w = at::stack({sequence(n, 0.1) - 0.3, sequence(n, 0.6)});
  for (const SmearingOptions& options : all_options()) {
    if (options.reflect) continue;
    INFO("kernel " << static_cast<int>(options.kernel) << ", flow "
                   << static_cast<int>(options.flow));
    std::vector<Tensor> in;
    for (const Tensor& t : {x, w, edges, h}) in.push_back(t.clone().requires_grad_());
    const Histogram fused = soft_histogram(in[0], in[1], in[2], in[3], options);
    const Tensor shares = slalom::bin_membership(in[0], in[2], in[3], options);
    const Tensor plain_sumw = in[1].matmul(shares), plain_sumw2 = (in[1] * in[1]).matmul(shares);
    const auto loss = [](const Tensor& a, const Tensor& b) {
      return (a * a * a).sum() + (a * b).sum();
    };
    const auto found = slalom::gradients(loss(fused.sumw, fused.sumw2), in);
    const auto expected = slalom::gradients(loss(plain_sumw, plain_sumw2), in);
    // The same, but with a graph of the derivatives.
    const auto again = slalom::gradients(loss(fused.sumw, fused.sumw2), in, true);
    for (std::size_t i = 0; i < in.size(); ++i) {
      const double scale = expected[i].abs().max().item<double>();
      CHECK(distance(found[i], expected[i]) < 1e-11 * scale);
      CHECK(distance(again[i], expected[i]) < 1e-11 * scale);
      CHECK(again[i].requires_grad());
    }
  }
}

TEST_CASE("several sets of weights share the smearing", "[modules][soft_histogram][gradient]") {
  const Tensor x = sequence(7), w = at::stack({sequence(7, 0.1), sequence(7, 0.3) - 0.5});
  const Tensor edges = tensor({0.0, 0.4, 1.0});
  const Histogram both = soft_histogram(x, w, edges, bandwidth(0.1));
  for (int k = 0; k < 2; ++k) {
    const Histogram one = soft_histogram(x, w[k], edges, bandwidth(0.1));
    CHECK(distance(both.sumw[k], one.sumw) < 1e-15);
    CHECK(distance(both.sumw2[k], one.sumw2) < 1e-15);
  }
  check_gradients(
      [&](const std::vector<Tensor>& in) {
        return flat(soft_histogram(in[0], in[1], in[2], bandwidth(0.1)));
      },
      {x, w, edges}, {.second_tolerance = 1e-6});
}

TEST_CASE("float32 scores enter, float64 leaves", "[modules][soft_histogram]") {
  const Tensor x = sequence(50).to(at::kFloat).requires_grad_();
  const Histogram h =
      soft_histogram(x, at::ones({50}, at::kFloat), tensor({0.0, 0.4, 1.0}), bandwidth(0.1));
  CHECK(h.sumw.scalar_type() == at::kDouble);
  CHECK(slalom::gradient(h.sumw[0], x).scalar_type() == at::kFloat);
}

TEST_CASE("edges between bins of different bandwidth take the harmonic mean",
          "[modules][soft_histogram]") {
  const Vector h = values(slalom::edge_bandwidth(tensor({1.0, 3.0, 3.0})));
  CHECK(h == Vector{1.0, 1.5, 3.0, 3.0});
}

TEST_CASE("softmax bins conserve weights and harden", "[modules][soft_histogram]") {
  const Tensor outputs = (sequence(60) * 3.0 - 1.0).reshape({20, 3}), w = sequence(20, 0.4) - 0.2;
  const Histogram h = slalom::softmax_histogram(outputs, w, 0.7);
  CHECK_THAT(h.sumw.sum().item<double>(),
             Catch::Matchers::WithinRel(w.sum().item<double>(), 1e-12));
  slalom::SoftmaxHistogram stage(slalom::SoftmaxHistogramOptions{.temperature = 1e-4});
  const SoftHistogramResult cold = stage->forward(outputs, w);
  CHECK(distance(cold.soft.sumw, cold.hard.sumw) < 1e-12);
  stage->eval();
  CHECK(distance(stage->forward(outputs, w).sumw, cold.hard.sumw) == 0.0);
  check_gradients(
      [](const std::vector<Tensor>& in) {
        return flat(slalom::softmax_histogram(in[0], in[1], 0.7));
      },
      {outputs, w});
}

TEST_CASE("the stage counts in evaluation and knows its bias", "[modules][soft_histogram]") {
  AxisOptions axis{.edges = {0.0, 0.3, 0.5, 1.0}, .bandwidth = 0.1};
  const Tensor x = sequence(300), w = at::ones({300}, at::kDouble);
  SoftHistogram stage(SoftHistogramOptions{.axes = {axis}});
  const SoftHistogramResult training = stage->forward(x, w);
  CHECK(distance(training.sumw, training.soft.sumw) == 0.0);
  CHECK(distance(training.difference(), training.soft.sumw - training.hard.sumw) == 0.0);
  CHECK(distance(training.soft.sumw, training.hard.sumw) > 0.1);
  stage->eval();
  const SoftHistogramResult counted = stage->forward(x, w);
  CHECK(distance(counted.sumw, training.hard.sumw) == 0.0);
  CHECK(distance(counted.sumw2, training.hard.sumw2) == 0.0);
  CHECK(distance(counted.difference(), training.difference()) == 0.0);
}

TEST_CASE("straight-through has hard values and soft derivatives",
          "[modules][soft_histogram][gradient]") {
  const AxisOptions axis{.edges = {0.0, 0.3, 0.5, 1.0}, .bandwidth = 0.1};
  const Tensor x = sequence(30).requires_grad_(), w = sequence(30, 0.2).requires_grad_();
  SoftHistogram stage(SoftHistogramOptions{.axes = {axis}, .straight_through = true});
  const SoftHistogramResult found = stage->forward(x, w);
  CHECK(distance(found.sumw, found.hard.sumw) == 0.0);
  CHECK(distance(found.sumw2, found.hard.sumw2) == 0.0);
  const auto straight = slalom::gradients(found.sumw[1] * found.sumw2[2], {x, w});
  // The chain rule at the hard values.
  const Tensor soft = found.soft.sumw[1] * found.hard.sumw2[2].detach() +
                      found.soft.sumw2[2] * found.hard.sumw[1].detach();
  const auto expected = slalom::gradients(soft, {x, w});
  CHECK(distance(straight[0], expected[0]) < 1e-14);
  CHECK(distance(straight[1], expected[1]) < 1e-14);
}

TEST_CASE("learned edges and a bandwidth in widths are one graph",
          "[modules][soft_histogram][gradient]") {
  const AxisOptions axis{.edges = {0.0, 0.3, 0.5, 1.0},
                         .bandwidth = 0.3,
                         .relative = true,
                         .bandwidth_factors = {1.0, 0.5, 2.0},
                         .learnable = true};
  SoftHistogram stage(SoftHistogramOptions{.axes = {axis}});
  REQUIRE(stage->parameters().size() == 1);
  CHECK(distance(stage->edges(), tensor(axis.edges)) < 1e-14);
  CHECK_THAT(values(stage->bandwidth())[0], Catch::Matchers::WithinRel(0.09, 1e-12));
  const Tensor raw = stage->parameters()[0], x = sequence(40), w = sequence(40, 0.3);
  const Tensor sumw = stage->forward(x, w).sumw;
  const Tensor slope = slalom::gradient(sumw[0], raw);
  CHECK(slope.abs().max().item<double>() > 1e-3);
  check_gradients(
      [&](const std::vector<Tensor>& in) {
        const Tensor edges = slalom::ordered_edges(in[0], 0.0, 1.0, axis.min_width);
        const Tensor widths = edges.slice(0, 1) - edges.slice(0, 0, -1);
        const Tensor h = slalom::edge_bandwidth(0.3 * tensor(axis.bandwidth_factors) * widths);
        return soft_histogram(x, w, edges, h).sumw;
      },
      {raw.detach()}, {.second_tolerance = 1e-6});
}

TEST_CASE("annealing multiplies the bandwidth and ends hard", "[modules][soft_histogram]") {
  SoftHistogramOptions options{.axes = {{.edges = {0.0, 0.5, 1.0}, .bandwidth = 0.2}}};
  options.annealing = {
      .shape = slalom::ScheduleShape::linear, .start = 1.0, .end = 0.0, .steps = 4};
  SoftHistogram stage(options);
  const Tensor x = sequence(100), w = at::ones_like(x);
  stage->set_step(2);
  CHECK(distance(stage->bandwidth(), tensor({0.1, 0.1, 0.1})) < 1e-15);
  stage->set_step(4);
  CHECK(distance(stage->forward(x, w).difference(), at::zeros({2}, at::kDouble)) == 0.0);
}

TEST_CASE("histograms of two and three axes are products", "[modules][soft_histogram][gradient]") {
  const AxisOptions a{.edges = {0.0, 0.5, 1.0}, .bandwidth = 0.1};
  const AxisOptions b{.edges = {0.0, 0.3, 0.6, 1.0},
                      .bandwidth = 0.05,
                      .smearing = {Kernel::sigmoid, FlowBins::keep, false}};
  AxisOptions c = a;
  c.bandwidth = 0.0;
  c.smearing.flow = FlowBins::drop;
  SoftHistogram stage(SoftHistogramOptions{.axes = {a, b, c}});
  CHECK(stage->bins() == 2 * 5 * 2);
  const Tensor x = (sequence(90) * 1.2 - 0.1).reshape({30, 3}), w = sequence(30, 0.2) - 0.3;
  const SoftHistogramResult found = stage->forward(x, w);
  // Element by element, from the shares in the axes.
  const Tensor ma =
      slalom::bin_membership(x.select(1, 0), tensor(a.edges), bandwidth(0.1), a.smearing);
  const Tensor mb =
      slalom::bin_membership(x.select(1, 1), tensor(b.edges), bandwidth(0.05), b.smearing);
  Tensor expected = at::zeros({2, 5, 2}, at::kDouble);
  for (int i = 0; i < 30; ++i) {
    const double z = x[i][2].item<double>();
    if (z < 0.0 || z > 1.0) continue;
    expected.select(2, z < 0.5 ? 0 : 1) += w[i] * ma[i].unsqueeze(1) * mb[i].unsqueeze(0);
  }
  CHECK(distance(found.soft.sumw, expected.flatten()) < 1e-13);
  // In two axes with everything kept, weights are conserved.
  SoftHistogram two(SoftHistogramOptions{.axes = {a, b}});
  const SoftHistogramResult kept = two->forward(x.narrow(1, 0, 2), w);
  for (const Tensor& sum : {kept.soft.sumw.sum(), kept.hard.sumw.sum()}) {
    CHECK_THAT(sum.item<double>(), Catch::Matchers::WithinRel(w.sum().item<double>(), 1e-12));
  }
  check_gradients(
      [&](const std::vector<Tensor>& in) {
        return at::cat({two->forward(in[0], in[1]).sumw, two->forward(in[0], in[1]).sumw2});
      },
      {x.narrow(1, 0, 2), w}, {.second_tolerance = 1e-4});
}

TEST_CASE("forward mode goes through the histogram too", "[modules][soft_histogram][gradient]") {
  const Tensor x = sequence(20), w = sequence(20, 0.3), edges = tensor({0.0, 0.4, 1.0});
  const SmearingOptions options{Kernel::gaussian, FlowBins::keep, true};
  const Tensor moved = soft_histogram(x + 1e-5, w, edges, bandwidth(0.1), options).sumw -
                       soft_histogram(x - 1e-5, w, edges, bandwidth(0.1), options).sumw;
  const std::uint64_t level = torch::autograd::ForwardADLevel::get_next_idx();
  Tensor tangent;
  {
    const Tensor dual = at::_make_dual(x, at::ones_like(x), static_cast<std::int64_t>(level));
    const Tensor sumw = soft_histogram(dual, w, edges, bandwidth(0.1), options).sumw;
    tangent = std::get<1>(at::_unpack_dual(sumw, static_cast<std::int64_t>(level))).clone();
  }
  torch::autograd::ForwardADLevel::release_idx(level);
  CHECK(distance(tangent, moved / 2e-5) < 1e-8);
}

TEST_CASE("soft histograms refuse what they cannot mean", "[modules][soft_histogram]") {
  const Tensor x = tensor({0.1, 0.2}), edges = tensor({0.0, 1.0});
  check_fails(ErrorKind::usage, "soft_histogram", "weights [1] for events [2]",
              [&] { soft_histogram(x, tensor({1.0}), edges, bandwidth(0.1)); });
  check_fails(ErrorKind::usage, "soft_histogram", "bandwidths [3]", [&] {
    soft_histogram(x, x, edges, tensor({1, 1, 1}));
  });
  check_fails(ErrorKind::numerical, "histogram", "NaN", [&] {
    soft_histogram(tensor({0.1, NAN}), x, edges, bandwidth(0.1));
  });
  const auto with_axis = [](AxisOptions axis) {
    SoftHistogram{SoftHistogramOptions{.axes = {axis}}};
  };
  check_fails(ErrorKind::usage, "soft_histogram", "increase", [&] {
    with_axis({.edges = {0.0, 1.0, 1.0}});
  });
  check_fails(ErrorKind::usage, "soft_histogram", "two edges",
              [&] { with_axis({.edges = {0.0}}); });
  check_fails(ErrorKind::usage, "soft_histogram", "negative",
              [&] { with_axis({.bandwidth = -1.0}); });
  check_fails(ErrorKind::usage, "soft_histogram", "each bin", [&] {
    with_axis({.bandwidth_factors = {1.0, 2.0}});
  });
  check_fails(ErrorKind::usage, "softmax_histogram", "positive", [&] {
    slalom::softmax_histogram(x.reshape({1, 2}), tensor({1.0}), 0.0);
  });
  SoftHistogram stage;
  check_fails(ErrorKind::usage, "soft_histogram", "[events, 1] expected, found [1, 2]", [&] {
    stage->forward(x.reshape({1, 2}), tensor({1.0}));
  });
}
