// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <numeric>

#include "slalom/modules/autodiff.hpp"
#include "slalom/modules/events.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"
#include "support/tensors.hpp"

using at::Tensor;
using slalom::ErrorKind;
using slalom::EventBatch;
using slalom::EventLoader;
using slalom::EventLoaderOptions;
using slalom::test::check_fails;
using slalom::test::distance;
using slalom::test::sequence;
using slalom::test::tensor;
using slalom::test::values;
using Vector = std::vector<double>;

namespace {

EventBatch example() {
  return slalom::make_events({"pt", "eta"}, tensor({10, 1, 20, 2, 30, 3}).reshape({3, 2}),
                             tensor({1.0, -0.5, 2.0}), tensor({1, 0, 1}), tensor({1, 0, 1}),
                             {"background", "signal"});
}

/// n events with feature x = number of the event; a third of the processes a, b and few of c.
EventBatch numbered(std::int64_t n) {
  const Tensor number = at::arange(n, at::kDouble);
  const Tensor process = (number.to(at::kLong) % 2) + (number < 3).to(at::kLong) * 2;
  return slalom::make_events({"x"}, number.unsqueeze(1), {}, {}, process.clamp(0, 2),
                             {"a", "b", "c"});
}

}  // namespace

TEST_CASE("columns, labels and processes are found by name", "[modules][events]") {
  const EventBatch events = example();
  CHECK(events.size() == 3);
  CHECK(values(events.column("eta")) == Vector{1, 2, 3});
  CHECK(values(events.matrix({"eta", "pt"})) == Vector{1, 10, 2, 20, 3, 30});
  CHECK(events.matrix({"pt", "eta"}).is_same(events.features));
  const EventBatch signal = events.of_process("signal");
  CHECK(values(signal.weights) == Vector{1.0, 2.0});
  CHECK(values(signal.column("pt")) == Vector{10, 30});
  check_fails(ErrorKind::usage, "events", "no column named 'phi' (there are: pt, eta)",
              [&] { events.column("phi"); });
  check_fails(ErrorKind::usage, "events", "no process named 'zz'",
              [&] { events.of_process("zz"); });
}

TEST_CASE("shifted copies share what does not change", "[modules][events]") {
  const EventBatch events = example();
  Tensor scale = tensor({1.1}).requires_grad_();
  const EventBatch up = events.with_column("pt", events.column("pt") * scale);
  CHECK(distance(up.column("pt"), tensor({11, 22, 33})) < 1e-14);
  CHECK(values(up.column("eta")) == values(events.column("eta")));
  CHECK(values(events.column("pt")) == Vector{10, 20, 30});
  CHECK(up.weights.is_same(events.weights));
  CHECK(up.labels.is_same(events.labels));
  CHECK(up.process.is_same(events.process));
  CHECK(slalom::gradient(up.features.sum(), scale).item<double>() == 60.0);
  const EventBatch more = events.with_column("phi", tensor({7, 8, 9}));
  CHECK(more.columns == std::vector<std::string>{"pt", "eta", "phi"});
  CHECK(values(more.column("phi")) == Vector{7, 8, 9});
  const EventBatch lighter = events.with_weights(0.5 * events.weights);
  CHECK(lighter.features.is_same(events.features));
  CHECK(values(lighter.weights) == Vector{0.5, -0.25, 1.0});
}

TEST_CASE("events are selected by mask or index", "[modules][events]") {
  const EventBatch events = example();
  CHECK(values(events.select(events.column("pt") > 15.0).weights) == Vector{-0.5, 2.0});
  CHECK(values(events.select(tensor({2, 0}).to(at::kLong)).column("pt")) == Vector{30, 10});
  CHECK(events.select(events.column("pt") > 99.0).size() == 0);
  check_fails(ErrorKind::usage, "events", "a mask [2] for 3 events", [&] {
    events.select(tensor({1, 0}) > 0.5);
  });
}

TEST_CASE("concatenation matches processes by name", "[modules][events]") {
  const EventBatch a = example();
  const EventBatch b = slalom::make_events({"pt", "eta"}, tensor({5, 6}).reshape({1, 2}), {},
                                           tensor({0}), tensor({1}), {"signal", "other"});
  const EventBatch both = slalom::concatenate({a, b});
  CHECK(both.size() == 4);
  CHECK(both.processes == std::vector<std::string>{"background", "signal", "other"});
  CHECK(values(both.process) == Vector{1, 0, 1, 2});
  CHECK(values(both.weights) == Vector{1.0, -0.5, 2.0, 1.0});
  EventBatch unlabelled = a;
  unlabelled.labels = Tensor();
  check_fails(ErrorKind::usage, "events", "labels in some", [&] {
    slalom::concatenate({a, unlabelled});
  });
  EventBatch other = a;
  other.columns = {"pt", "phi"};
  check_fails(ErrorKind::usage, "events", "different columns", [&] {
    slalom::concatenate({a, other});
  });
}

TEST_CASE("weights stay float64 whatever the features are", "[modules][events]") {
  const EventBatch events = example().to(at::kFloat);
  CHECK(events.features.scalar_type() == at::kFloat);
  CHECK(events.weights.scalar_type() == at::kDouble);
  CHECK(events.to(at::Device(at::kCPU)).size() == 3);
}

TEST_CASE("inconsistent events are refused", "[modules][events]") {
  const Tensor x = at::ones({3, 2}, at::kDouble);
  const auto fails = [&](const std::string& text, auto make) {
    check_fails(ErrorKind::usage, "events", text, make);
  };
  fails("[events, 1] expected, found [3, 2]", [&] { slalom::make_events({"a"}, x); });
  fails("two columns named 'a'", [&] { slalom::make_events({"a", "a"}, x); });
  fails("weights [2] for 3 events", [&] { slalom::make_events({"a", "b"}, x, tensor({1, 2})); });
  fails("no name", [&] {
    slalom::make_events({"a", "b"}, x, {}, {}, tensor({0, 1, 2}), {"p", "q"});
  });
  fails("float32 or float64", [&] { slalom::make_events({"a", "b"}, x.to(at::kLong)); });
}

TEST_CASE("a loader deals out every event once an epoch", "[modules][events]") {
  for (const bool stratified : {true, false}) {
    for (const std::int64_t size : {1, 7, 40, 101, 1000}) {
      EventLoader loader(numbered(101), {.batch_size = size, .seed = 5, .stratified = stratified});
      CHECK(loader.batches() == (101 + size - 1) / size);
      for (int epoch = 0; epoch < 2; ++epoch) {
        Vector seen;
        for (std::int64_t b = 0; b < loader.batches(); ++b) {
          const Vector x = values(loader.next().column("x"));
          seen.insert(seen.end(), x.begin(), x.end());
        }
        std::sort(seen.begin(), seen.end());
        Vector all(101);
        std::iota(all.begin(), all.end(), 0.0);
        CHECK(seen == all);
      }
      CHECK(loader.state() == EventLoader::State{2, 0});
    }
  }
}

TEST_CASE("batches have their share of every process", "[modules][events]") {
  EventLoader loader(numbered(1000), {.batch_size = 100});
  for (std::int64_t b = 0; b < loader.batches(); ++b) {
    const EventBatch batch = loader.next();
    const double a = (batch.process == 0).sum().item<double>();
    const double c = (batch.process == 2).sum().item<double>();
    CHECK(std::abs(a - 49.9) <= 1.0);
    CHECK(c <= 1.0);
  }
}

TEST_CASE("the order is that of the seed, and can be taken up again", "[modules][events]") {
  const EventLoaderOptions options{.batch_size = 10, .seed = 3};
  EventLoader first(numbered(60), options), second(numbered(60), options);
  for (int i = 0; i < 8; ++i)
    CHECK(values(first.next().features) == values(second.next().features));
  const EventLoader::State state = first.state();
  CHECK(state == EventLoader::State{1, 2});
  const Vector expected = values(first.next().features);
  EventLoader resumed(numbered(60), options);
  resumed.restore(state);
  CHECK(values(resumed.next().features) == expected);
  // Other epochs and seeds have other orders; without shuffling it is that of the events.
  const Vector epoch0 = values(first.batch({0, 0}).features);
  CHECK(epoch0 != values(first.batch({1, 0}).features));
  EventLoader other(numbered(60), {.batch_size = 10, .seed = 4});
  CHECK(epoch0 != values(other.batch({0, 0}).features));
  EventLoader plain(numbered(60), {.batch_size = 3, .shuffle = false, .stratified = false});
  CHECK(values(plain.next().features) == Vector{0, 1, 2});
  check_fails(ErrorKind::usage, "event loader", "batch 6 of epoch 0", [&] {
    first.restore({0, 6});
  });
  check_fails(ErrorKind::usage, "event loader", "positive",
              [] { EventLoader(numbered(3), {.batch_size = 0}); });
  check_fails(ErrorKind::usage, "event loader", "no events", [] { EventLoader{numbered(0)}; });
}

TEST_CASE("rescaled weights of a batch stand for all events", "[modules][events]") {
  for (const bool stratified : {true, false}) {
    EventLoader loader(numbered(1003),
                       {.batch_size = 100, .stratified = stratified, .rescale = true});
    for (std::int64_t b = 0; b < loader.batches(); ++b) {
      const EventBatch batch = loader.next();
      if (!stratified) {
        CHECK_THAT(batch.weights.sum().item<double>(), Catch::Matchers::WithinRel(1003.0, 1e-12));
        continue;
      }
      const EventBatch a = batch.of_process("a");
      CHECK_THAT(a.weights.sum().item<double>(),
                 Catch::Matchers::WithinRel(
                     loader.events().of_process("a").weights.sum().item<double>(), 1e-12));
    }
  }
}
