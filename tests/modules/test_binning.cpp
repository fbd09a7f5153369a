// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>
#include <limits>

#include "slalom/modules/binning.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/gradients.hpp"
#include "support/tensors.hpp"

using at::Tensor;
using slalom::ErrorKind;
using slalom::FlowBins;
using slalom::Histogram;
using slalom::test::check_fails;
using slalom::test::distance;
using slalom::test::tensor;
using slalom::test::values;
using Vector = std::vector<double>;

TEST_CASE("the hard histogram counts as numpy does", "[modules][binning]") {
  const Tensor edges = tensor({0.0, 1.0, 3.0});
  const Tensor x = tensor({-0.5, 0.0, 0.999, 1.0, 2.0, 3.0, 3.0001, INFINITY, -INFINITY});
  const Tensor w = tensor({1, 2, 4, 8, 16, -32, 64, 128, 256});
  CHECK(values(slalom::hard_histogram(x, w, edges, FlowBins::drop).sumw) == Vector{6, -8});
  CHECK(values(slalom::hard_histogram(x, w, edges, FlowBins::keep).sumw) ==
        Vector{257, 6, -8, 192});
  CHECK(values(slalom::hard_histogram(x, w, edges, FlowBins::fold).sumw) == Vector{263, 184});
  CHECK(values(slalom::hard_histogram(x, w, edges, FlowBins::drop).sumw2) == Vector{20, 1344});
  const Histogram two = slalom::hard_histogram(x, at::stack({w, 2.0 * w}), edges, FlowBins::drop);
  CHECK(values(two.sumw) == Vector{6, -8, 12, -16});
  CHECK(values(two.sumw2) == Vector{20, 1344, 80, 5376});
}

TEST_CASE("histograms of no events are empty, and of NaN refused", "[modules][binning]") {
  const Tensor none = tensor({}), edges = tensor({0.0, 1.0, 3.0});
  CHECK(values(slalom::hard_histogram(none, none, edges, FlowBins::keep).sumw) ==
        Vector{0, 0, 0, 0});
  const Tensor nan = tensor({0.5, NAN, 0.1});
  check_fails(ErrorKind::numerical, "histogram", "1 of 3 values are NaN",
              [&] { slalom::hard_histogram(nan, nan, edges, FlowBins::fold); });
  check_fails(ErrorKind::usage, "histogram", "weights [3] for 2 events", [&] {
    slalom::hard_histogram(tensor({1, 2}), nan, edges, FlowBins::fold);
  });
}

TEST_CASE("the hard histogram is differentiable in the weights", "[modules][binning][gradient]") {
  const Tensor x = tensor({0.1, 0.5, 0.5, 1.5, 9.0}), edges = tensor({0.0, 0.4, 1.0, 2.0});
  slalom::test::check_gradients(
      [&](const std::vector<Tensor>& in) {
        const Histogram h = slalom::hard_histogram(x, in[0], edges, FlowBins::drop);
        return at::stack({h.sumw, h.sumw2});
      },
      {tensor({1.0, 2.0, -0.5, 0.0, 3.0})});
}

TEST_CASE("learned edges keep their order and their ends", "[modules][binning]") {
  const Tensor raw = tensor({3.0, -700.0, 0.0, 700.0, 1e-3});
  const Vector edges = values(slalom::ordered_edges(raw, -1.0, 2.0, 0.01));
  REQUIRE(edges.size() == 6);
  CHECK(edges.front() == -1.0);
  CHECK(edges.back() == 2.0);
  for (std::size_t i = 1; i < edges.size(); ++i) CHECK(edges[i] - edges[i - 1] > 0.03 * 0.999999);
}

TEST_CASE("raw numbers give back the edges they were made from", "[modules][binning]") {
  const Tensor edges = tensor({-2.0, -1.9, 0.0, 5.0, 5.5});
  const Tensor raw = slalom::raw_edges(edges, 0.001);
  CHECK(distance(slalom::ordered_edges(raw, -2.0, 5.5, 0.001), edges) < 1e-14);
  check_fails(ErrorKind::usage, "edges", "increase", [&] {
    slalom::raw_edges(tensor({0.0, 1.0, 1.0}), 0.0);
  });
  check_fails(ErrorKind::usage, "edges", "smallest width", [&] {
    slalom::raw_edges(tensor({0.0, 0.1, 1.0}), 0.2);
  });
  check_fails(ErrorKind::usage, "edges", "[0, 1 / bins)",
              [&] { slalom::ordered_edges(raw, 0.0, 1.0, 0.25); });
}

TEST_CASE("learned edges have the derivatives of their formula", "[modules][binning][gradient]") {
  slalom::test::check_gradients(
      [](const std::vector<Tensor>& in) { return slalom::ordered_edges(in[0], -1.0, 3.0, 0.05); },
      {tensor({0.3, -1.0, 2.0, 0.0})});
}
