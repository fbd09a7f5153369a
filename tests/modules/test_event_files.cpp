// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <cmath>
#include <iterator>

#include "slalom/modules/event_files.hpp"
#include "slalom/modules/tensor_files.hpp"
#include "support/catch.hpp"
#include "support/data.hpp"
#include "support/fails.hpp"
#include "support/temporary_file.hpp"
#include "support/tensors.hpp"

using at::Tensor;
using slalom::ErrorKind;
using slalom::EventBatch;
using slalom::EventFileOptions;
using slalom::MissingPolicy;
using slalom::test::check_fails;
using slalom::test::TemporaryFile;
using slalom::test::tensor;
using slalom::test::values;
using Vector = std::vector<double>;
using Names = std::vector<std::string>;

namespace {

const std::string k_csv = "x,y,w,label,process\n1,2.5,0.5,s,zz\n-3e2,4,-1,b,top\n";
const unsigned char k_gzip[] = {31,  139, 8,   0,   0,  0,   0,   0,   2,  3,  171, 208, 169, 212,
                                41,  215, 201, 73,  76, 74,  205, 209, 41, 40, 202, 79,  78,  45,
                                46,  230, 50,  212, 49, 210, 51,  213, 49, 0,  226, 98,  157, 170,
                                42,  46,  93,  227, 84, 35,  29,  19,  29, 93, 67,  157, 36,  157,
                                146, 252, 2,   46,  0,  160, 112, 21,  58, 51, 0,   0,   0};

const EventFileOptions k_options{
    .weight = "w", .label = "label", .label_values = {"b", "s"}, .process = "process"};

EventBatch read(const std::string& text, const EventFileOptions& options) {
  const TemporaryFile file("events.csv", text);
  return slalom::read_csv(file.path(), options);
}

void check_refused(const std::string& text, const EventFileOptions& options,
                   const std::string& line, const std::string& message) {
  const TemporaryFile file("events.csv", text);
  check_fails(ErrorKind::io, file.path() + line, message,
              [&] { slalom::read_csv(file.path(), options); });
}

void check_example(const EventBatch& events) {
  CHECK(events.columns == Names{"x", "y"});
  CHECK(values(events.features) == Vector{1, 2.5, -300, 4});
  CHECK(events.features.scalar_type() == at::kFloat);
  CHECK(values(events.weights) == Vector{0.5, -1});
  CHECK(values(events.labels) == Vector{1, 0});
  CHECK(values(events.process) == Vector{0, 1});
  CHECK(events.processes == Names{"zz", "top"});
}

}  // namespace

TEST_CASE("events are read from CSV, plain or compressed", "[modules][event_files]") {
  check_example(read(k_csv, k_options));
  check_example(read(std::string(std::begin(k_gzip), std::end(k_gzip)), k_options));
  check_example(read(
      "\xef\xbb\xbfx, y ,w,\"label\",process\r\n+1,2.5,0.5,s,\"zz\"\r\n-3e2, 4,-1,b,top\r\n\r\n",
      k_options));
}

TEST_CASE("columns are chosen, in the order asked for", "[modules][event_files]") {
  const EventBatch events = read(k_csv, {.columns = {"y", "w"}, .float64 = true});
  CHECK(values(events.features) == Vector{2.5, 0.5, 4, -1});
  CHECK(events.features.scalar_type() == at::kDouble);
  CHECK(values(events.weights) == Vector{1, 1});
  CHECK_FALSE(events.labels.defined());
  CHECK_FALSE(events.process.defined());
  CHECK(read(k_csv, {.ignore = {"label", "process"}, .max_events = 1}).columns ==
        Names{"x", "y", "w"});
  CHECK(read(k_csv, {.columns = {"x"}, .max_events = 1}).size() == 1);
  EventFileOptions named = k_options;
  named.processes = {"other", "top", "zz"};
  CHECK(values(read(k_csv, named).process) == Vector{2, 1});
  CHECK(read("x\n", {}).size() == 0);
}

TEST_CASE("numbers are read to the last digit", "[modules][event_files]") {
  const EventBatch events = read(
      "x\n0.1\n2.2250738585072014e-308\n1e-400\n-1e400\n123456789012345678\n", {.float64 = true});
  CHECK(values(events.features) ==
        Vector{0.1, 2.2250738585072014e-308, 0.0, -INFINITY, 123456789012345678.0});
}

TEST_CASE("undefined features are refused, dropped, replaced or kept", "[modules][event_files]") {
  const std::string text = "x,y\n1,2\n-999,3\n,4\n5,nan\n";
  EventFileOptions options{.missing = -999.0};
  check_refused(text, options, ":3", "'x' is undefined");
  options.missing.reset();
  check_refused(text, options, ":4", "'x' is undefined");
  options.missing = -999.0;
  options.on_missing = MissingPolicy::drop_event;
  CHECK(values(read(text, options).features) == Vector{1, 2});
  options.on_missing = MissingPolicy::replace;
  options.replacement = -7.0;
  CHECK(values(read(text, options).features) == Vector{1, 2, -7, 3, -7, 4, 5, -7});
  options.on_missing = MissingPolicy::keep;
  const Vector kept = values(read(text, options).features);
  CHECK(std::isnan(kept[2]));
  CHECK(std::isnan(kept[4]));
  CHECK(kept[6] == 5.0);
}

TEST_CASE("files that are not as announced are refused with their place",
          "[modules][event_files]") {
  check_refused("", {}, ":1", "empty");
  check_refused("x,x\n", {}, ":1", "two columns named 'x'");
  check_refused(k_csv, {.columns = {"z"}}, ":1",
                "no column 'z' (there are: x, y, w, label, process)");
  check_refused(k_csv, {.weight = "weight"}, ":1", "no column 'weight'");
  check_refused(k_csv, {}, ":2", "'s' in column 'label' is no number");
  check_refused("x,y\n1,2\n3\n", {}, ":3", "the line has 1 fields, the first one 2");
  check_refused("x,y\n1,2\n\n3,4\n", {}, ":3", "1 fields");
  check_refused("x,y\n1,2,3\n", {}, ":2", "3 fields");
  check_refused("x\n1.5e\n", {}, ":2", "'1.5e' in column 'x' is no number");
  check_refused("x\n0x10\n", {}, ":2", "no number");
  check_refused("x\n\"1\n", {}, ":2", "a quote that does not end");
  check_refused("x\n\"1\"2\n", {}, ":2", "text after a quote");
  check_refused("x,w\n1,inf\n", {.weight = "w"}, ":2", "a weight that is not finite");
  check_refused("x,w\n1,\n", {.weight = "w"}, ":2", "a weight that is not finite");
  check_refused("x,l\n1,0.5\n", {.label = "l"}, ":2", "'0.5' is no integer");
  EventFileOptions options = k_options;
  options.label_values = {"b"};
  check_refused(k_csv, options, ":2", "the label 's' (expected: b)");
  options = k_options;
  options.processes = {"zz"};
  check_refused(k_csv, options, ":3", "the process 'top' (expected: zz)");
  check_fails(ErrorKind::io, "/nowhere/a.csv", "cannot be read",
              [] { slalom::read_csv("/nowhere/a.csv"); });
  const std::string cut(std::begin(k_gzip), std::end(k_gzip) - 12);
  check_refused(cut, k_options, "", "damaged or cut off");
}

TEST_CASE("events are read from arrays", "[modules][event_files]") {
  const TemporaryFile file("events.npz", "");
  const Tensor x = tensor({1, 2, 3, 4, 5, 6}).reshape({3, 2}), z = tensor({7, NAN, 9});
  slalom::write_npz(
      file.path(),
      {{"x", x}, {"z", z}, {"w", tensor({1, -1, 2})}, {"p", tensor({1, 0, 1}).to(at::kInt)}});
  EventFileOptions options{.weight = "w", .process = "p", .on_missing = MissingPolicy::drop_event};
  const EventBatch events = slalom::read_events(file.path(), options);
  CHECK(events.columns == Names{"x[0]", "x[1]", "z"});
  CHECK(values(events.features) == Vector{1, 2, 7, 5, 6, 9});
  CHECK(values(events.weights) == Vector{1, 2});
  CHECK(events.processes == Names{"0", "1"});
  options.processes = {"b", "s"};
  CHECK(slalom::read_events(file.path(), options).processes == Names{"b", "s"});
  options.on_missing = MissingPolicy::refuse;
  check_fails(ErrorKind::io, file.path() + ":z[1]", "'z' is undefined",
              [&] { slalom::read_events(file.path(), options); });
  slalom::write_npz(file.path(), {{"a", tensor({1, 2})}, {"b", tensor({1})}});
  check_fails(ErrorKind::io, file.path() + ":b", "1 events, but 'a' has 2",
              [&] { slalom::read_events(file.path()); });
  slalom::write_npz(file.path(), {{"a", at::ones({1, 1, 1})}});
  check_fails(ErrorKind::io, file.path() + ":a", "3 dimensions",
              [&] { slalom::read_events(file.path()); });
}

TEST_CASE("the HiggsML sample has its published sums of weights", "[modules][event_files]") {
  SLALOM_REQUIRE_DATA("higgsml/higgsml_first22889.csv.gz");
  const EventBatch events =
      slalom::read_events(slalom::test::data_path("higgsml/higgsml_first22889.csv.gz").string(),
                          {.ignore = {"EventId", "KaggleSet", "KaggleWeight"},
                           .weight = "Weight",
                           .label = "Label",
                           .label_values = {"b", "s"},
                           .process = "Label",
                           .missing = -999.0,
                           .on_missing = MissingPolicy::replace});
  CHECK(events.size() == 22889);
  CHECK(events.columns.size() == 30);
  const EventBatch signal = events.of_process("s"), background = events.of_process("b");
  CHECK(signal.size() == 7817);
  CHECK_THAT(signal.weights.sum().item<double>(), Catch::Matchers::WithinAbs(19.833, 5e-4));
  CHECK_THAT(background.weights.sum().item<double>(), Catch::Matchers::WithinAbs(11424.25, 5e-3));
}
