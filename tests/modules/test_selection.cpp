// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <cmath>

#include "slalom/modules/selection.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/gradients.hpp"
#include "support/tensors.hpp"

using at::Tensor;
using slalom::Bound;
using slalom::ErrorKind;
using slalom::EventBatch;
using slalom::Keep;
using slalom::Selection;
using slalom::SelectionOptions;
using slalom::test::check_fails;
using slalom::test::check_gradients;
using slalom::test::distance;
using slalom::test::sequence;
using slalom::test::tensor;
using slalom::test::values;
using Vector = std::vector<double>;

namespace {

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

EventBatch example() {
  return slalom::make_events({"pt", "score"}, (sequence(200) * 2.0).reshape({100, 2}));
}

SelectionOptions two_cuts() {
  return {.cuts = {{.column = "score", .threshold = 0.8, .slope = 5.0},
                   {.column = "pt",
                    .threshold = 1.5,
                    .slope = 3.0,
                    .keep = Keep::below,
                    .learnable = false}}};
}

}  // namespace

TEST_CASE("a soft cut is a sigmoid around its threshold", "[modules][selection]") {
  const Vector above = values(slalom::soft_cut(tensor({-1, 0.5, 3}), tensor({0.5}), 2.0));
  CHECK_THAT(above[0], Catch::Matchers::WithinRel(sigmoid(-3.0), 1e-14));
  CHECK(above[1] == 0.5);
  CHECK_THAT(above[2], Catch::Matchers::WithinRel(sigmoid(5.0), 1e-14));
  const Vector below =
      values(slalom::soft_cut(tensor({-1, 0.5, 3}), tensor({0.5}), 2.0, Keep::below));
  CHECK_THAT(below[2], Catch::Matchers::WithinRel(sigmoid(-5.0), 1e-14));
  // Far away: no overflow, and nothing that is exactly 0.
  const Vector far = values(slalom::soft_cut(tensor({-700.0, 1e300}), tensor({0.0}), 1.0));
  CHECK_THAT(far[0], Catch::Matchers::WithinRel(std::exp(-700.0), 1e-12));
  CHECK(far[1] == 1.0);
}

TEST_CASE("a cut that sharpens becomes the hard cut", "[modules][selection]") {
  const Tensor x = sequence(1000), threshold = tensor({0.37});
  for (const Keep keep : {Keep::above, Keep::below}) {
    const Tensor hard = slalom::hard_cut(x, threshold, keep);
    CHECK(distance(slalom::soft_cut(x, threshold, 1e7, keep), hard) < 1e-15);
    CHECK(distance(slalom::soft_cut(x, threshold, 10.0, keep), hard) > 0.3);
  }
  CHECK(values(slalom::hard_cut(tensor({0.3, 0.37, 0.4}), threshold)) == Vector{0, 1, 1});
  CHECK(values(slalom::hard_cut(tensor({0.3, 0.37, 0.4}), threshold, Keep::below)) ==
        Vector{1, 0, 0});
}

TEST_CASE("soft cuts have the derivatives of their formula", "[modules][selection][gradient]") {
  for (const Keep keep : {Keep::above, Keep::below}) {
    check_gradients(
        [&](const std::vector<Tensor>& in) { return slalom::soft_cut(in[0], in[1], 3.0, keep); },
        {tensor({-2.0, 0.4, 0.5, 0.9}), tensor({0.4})}, {.second_tolerance = 1e-6});
  }
}

TEST_CASE("a selection is the product of its cuts, hard in evaluation", "[modules][selection]") {
  const EventBatch events = example();
  Selection selection(two_cuts());
  CHECK(selection->parameters().size() == 1);
  const Tensor soft = selection->forward(events);
  const Tensor expected = slalom::soft_cut(events.column("score"), tensor({0.8}), 5.0) *
                          slalom::soft_cut(events.column("pt"), tensor({1.5}), 3.0, Keep::below);
  CHECK(distance(soft, expected) < 1e-15);
  selection->eval();
  const Tensor hard =
      ((events.column("score") >= 0.8) & (events.column("pt") < 1.5)).to(at::kDouble);
  CHECK(distance(selection->forward(events), hard) == 0.0);
  CHECK(distance(selection->hard(events.matrix({"score", "pt"})), hard) == 0.0);
  CHECK(values(Selection()->forward(tensor({1, 2}).reshape({2, 1}).narrow(1, 0, 0))) ==
        Vector{1, 1});
}

TEST_CASE("sharpness follows its schedule to the hard cut", "[modules][selection]") {
  SelectionOptions options = two_cuts();
  options.sharpness = {
      .shape = slalom::ScheduleShape::geometric, .start = 1.0, .end = 1e4, .steps = 10};
  Selection selection(options);
  const EventBatch events = example();
  const Tensor hard = selection->hard(events.matrix({"score", "pt"}));
  double last = 1e9;
  for (const int step : {0, 5, 10}) {
    selection->set_step(step);
    const double now = (selection->forward(events) - hard).abs().sum().item<double>();
    CHECK((now < last || now == 0.0));  // 0 is reached before the end
    last = now;
  }
  CHECK(last < 1e-12);
}

TEST_CASE("penalties hold efficiencies where they should be", "[modules][selection][gradient]") {
  const Tensor e = tensor({0.4, 0.5, 0.6});
  CHECK(distance(slalom::efficiency_penalty(e, 0.5, Bound::at_least, 0.1), tensor({1, 0, 0})) <
        1e-14);
  CHECK(distance(slalom::efficiency_penalty(e, 0.5, Bound::at_most, 0.1), tensor({0, 0, 1})) <
        1e-14);
  CHECK(distance(slalom::efficiency_penalty(e, 0.5, Bound::equal, 0.1), tensor({1, 0, 1})) < 1e-14);
  const Tensor x = sequence(20), w = sequence(20, 0.3) + 0.1;
  check_gradients(
      [&](const std::vector<Tensor>& in) {
        const Tensor p = slalom::soft_cut(in[0], in[2], 6.0);
        return slalom::efficiency_penalty(slalom::mean_efficiency(p, in[1]), 0.9, Bound::at_least,
                                          0.1);
      },
      {x, w, tensor({0.5})}, {.second_tolerance = 1e-6});
  check_fails(ErrorKind::numerical, "selection", "add up to 0", [] {
    slalom::mean_efficiency(tensor({1, 1}), tensor({1, -1}));
  });
}

TEST_CASE("the threshold of an efficiency has that efficiency", "[modules][selection][gradient]") {
  const Tensor x = 3.0 * sequence(200) - 1.0, w = sequence(200, 0.3);
  for (const Keep keep : {Keep::above, Keep::below}) {
    for (const double efficiency : {0.02, 0.5, 0.9}) {
      for (const double slope : {0.5, 20.0}) {
        const Tensor c = slalom::soft_quantile(x, w, efficiency, slope, keep);
        CHECK_THAT(slalom::mean_efficiency(slalom::soft_cut(x, c, slope, keep), w).item<double>(),
                   Catch::Matchers::WithinAbs(efficiency, 1e-13));
      }
      const double hard = slalom::hard_quantile(x, w, efficiency, keep);
      const double kept =
          slalom::mean_efficiency(slalom::hard_cut(x, tensor({hard}), keep), w).item<double>();
      CHECK(kept >= efficiency - 1e-12);
      CHECK(kept <= efficiency + 1.0 / 50.0);  // one event more at most
      CHECK_THAT(slalom::soft_quantile(x, w, efficiency, 1e4, keep).item<double>(),
                 Catch::Matchers::WithinAbs(hard, 0.03));
    }
    check_gradients(
        [&](const std::vector<Tensor>& in) {
          return slalom::soft_quantile(in[0], in[1], 0.6, 4.0, keep).reshape({1});
        },
        {3.0 * sequence(15) - 1.0, sequence(15, 0.3) + 0.1}, {.second_tolerance = 1e-6});
  }
  check_fails(ErrorKind::usage, "selection", "between 0 and 1",
              [&] { slalom::soft_quantile(x, w, 1.0, 1.0); });
  check_fails(ErrorKind::usage, "selection", "not negative",
              [&] { slalom::hard_quantile(x, w - 0.5, 0.5); });
}

TEST_CASE("a threshold can be learned to separate two classes", "[modules][selection]") {
  // Two straight lines s = x, b = 1 - x on [0, 1]: s - b kept above c is largest at c = 1/2.
  const Tensor x = (at::arange(2000, at::kDouble) + 0.5) / 2000.0;
  Selection selection(SelectionOptions{.cuts = {{.threshold = 0.9, .slope = 50.0}}});
  const Tensor threshold = selection->threshold();
  for (int step = 0; step < 200; ++step) {
    const Tensor gain = ((2.0 * x - 1.0) * selection->forward(x.unsqueeze(1))).mean();
    const Tensor slope = slalom::gradient(gain, threshold);
    at::NoGradGuard guard;
    threshold.add_(0.2 * slope);
  }
  CHECK_THAT(threshold.item<double>(), Catch::Matchers::WithinAbs(0.5, 1e-6));
}

TEST_CASE("selections refuse what they cannot mean", "[modules][selection]") {
  const auto fails = [](const std::string& text, const SelectionOptions& options) {
    check_fails(ErrorKind::usage, "selection", text, [&] { Selection s(options); });
  };
  fails("slopes", {.cuts = {{.slope = 0.0}}});
  fails("finite", {.cuts = {{.threshold = NAN}}});
  Selection selection(two_cuts());
  check_fails(ErrorKind::usage, "selection", "[events, 2] expected, found [3]", [&] {
    selection->forward(tensor({1, 2, 3}));
  });
  check_fails(ErrorKind::usage, "events", "no column named 'pt'", [&] {
    selection->forward(slalom::make_events({"score"}, at::ones({2, 1}, at::kDouble)));
  });
}
