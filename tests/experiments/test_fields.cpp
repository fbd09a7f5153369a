// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "slalom/workflows/fields.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using namespace slalom;
using slalom::test::check_fails;

namespace {

struct Inner {
  double width = 0.5;
};

struct Sample {
  double number = 1.5;
  std::optional<double> maybe = 2.0;
  std::int64_t count = 3;
  bool on = false;
  std::string name = "x";
  std::size_t colour = 0;
  std::vector<double> edges = {0.0, 1.0};
  std::vector<std::int64_t> sizes = {};
  std::vector<std::string> columns = {};
  Schedule rate = {};
  Inner inner = {};
  std::vector<Inner> inners = {};
};

void inner_fields(Fields& f, Inner& inner) { f.number("width", inner.width, "w", k_positive); }

void sample_fields(Fields& f, Sample& s) {
  f.number("number", s.number, "a number", k_not_negative);
  f.optional_number("maybe", s.maybe, "or null");
  f.integer("count", s.count, "how many", {.low = 1.0, .high = 9.0});
  f.flag("on", s.on, "whether");
  f.text("name", s.name, "who");
  f.word("colour", s.colour, {"red", "green"}, "which");
  f.numbers("edges", s.edges, "where");
  f.integers("sizes", s.sizes, "how large", k_positive);
  f.texts("columns", s.columns, "names");
  f.schedule("rate", s.rate, "how fast", k_not_negative);
  f.object("inner", "inside", [&](Fields& g) { inner_fields(g, s.inner); });
  f.list("inners", s.inners, "several", inner_fields);
}

Sample read(const std::string& text) {
  Sample sample;
  read_fields(Json::parse(text), "", [&](Fields& f) { sample_fields(f, sample); });
  return sample;
}

}  // namespace

TEST_CASE("what is absent keeps its default", "[workflows][fields]") {
  const Sample sample = read(R"({"count": 5, "inner": {}, "colour": "green", "maybe": null,
      "inners": [{}, {"width": 2}], "sizes": [4], "on": true, "edges": []})");
  CHECK(sample.number == 1.5);
  CHECK_FALSE(sample.maybe.has_value());
  CHECK(sample.count == 5);
  CHECK(sample.on);
  CHECK(sample.colour == 1);
  CHECK(sample.edges.empty());
  CHECK(sample.sizes == std::vector<std::int64_t>{4});
  REQUIRE(sample.inners.size() == 2);
  CHECK(sample.inners[0].width == 0.5);
  CHECK(sample.inners[1].width == 2.0);
}

TEST_CASE("a schedule is a number or an object", "[workflows][fields]") {
  CHECK(value_at(read(R"({"rate": 0.25})").rate, 7) == 0.25);
  const Schedule rate =
      read(R"({"rate": {"shape": "cosine", "start": 2, "end": 0, "steps": 10}})").rate;
  CHECK(value_at(rate, 0) == 2.0);
  CHECK(value_at(rate, 10) == 0.0);
  check_fails(ErrorKind::usage, "/rate", "geometric",
              [] { read(R"({"rate": {"shape": "geometric", "start": 1, "end": 0}})"); });
}

TEST_CASE("mistakes are named with their place", "[workflows][fields]") {
  const auto fails = [](const std::string& text, const std::string& where,
                        const std::string& fragment) {
    INFO(text);
    check_fails(ErrorKind::usage, where, fragment, [&] { read(text); });
  };
  fails(R"({"cuont": 3})", "/cuont", "did you mean 'count'");
  fails(R"({"zzz": 3})", "/zzz", "known are number");
  fails(R"([])", "/", "expected an object");
  fails(R"({"number": "3"})", "/number", "expected a number >= 0");
  fails(R"({"number": -1})", "/number", "got -1");
  fails(R"({"count": 2.5})", "/count", "expected an integer >= 1 and <= 9");
  fails(R"({"count": 10})", "/count", "got 10");
  fails(R"({"count": 18446744073709551615})", "/count", "expected an integer");
  fails(R"({"on": 1})", "/on", "true or false");
  fails(R"({"name": 1})", "/name", "expected a text");
  fails(R"({"colour": "gren"})", "/colour", "did you mean 'green'");
  fails(R"({"edges": [0, "a"]})", "/edges/1", "expected a number");
  fails(R"({"edges": 0})", "/edges", "expected a list");
  fails(R"({"sizes": [0]})", "/sizes/0", "> 0");
  fails(R"({"columns": [1]})", "/columns/0", "expected a text");
  fails(R"({"rate": true})", "/rate", "a number or a schedule");
  fails(R"({"rate": {"stat": 1}})", "/rate/stat", "did you mean 'start'");
  fails(R"({"inner": {"width": 0}})", "/inner/width", "> 0");
  fails(R"({"inners": [{}, {"wdth": 1}]})", "/inners/1/wdth", "did you mean 'width'");
  fails(R"({"inners": {}})", "/inners", "a list of objects");
  fails(R"({"maybe": "x"})", "/maybe", "expected a number");
  fails(R"({"a/b~": 1})", "/a~1b~0", "unknown key");
}

TEST_CASE("what is written reads back as the same", "[workflows][fields]") {
  Sample sample = read(R"({"inners": [{"width": 3}], "rate": {"shape": "linear", "start": 1,
      "end": 2, "steps": 3, "warm_up": 4, "warm_up_from": 0.5}})");
  const auto written = write_fields([&](Fields& f) { sample_fields(f, sample); });
  Sample again = read(written.dump());
  CHECK(again.rate == sample.rate);
  CHECK(write_fields([&](Fields& f) { sample_fields(f, again); }) == written);
  CHECK(written.begin().key() == "number");
}

TEST_CASE("the schema names every member with its limits and default", "[workflows][fields]") {
  Sample sample;
  const auto schema = fields_schema([&](Fields& f) { sample_fields(f, sample); });
  CHECK(schema["additionalProperties"] == false);
  const auto& members = schema["properties"];
  CHECK(members["number"]["minimum"] == 0.0);
  CHECK(members["number"]["default"] == 1.5);
  CHECK(members["count"]["maximum"] == 9.0);
  CHECK(members["colour"]["enum"] == nlohmann::ordered_json({"red", "green"}));
  CHECK(members["inner"]["properties"]["width"]["exclusiveMinimum"] == 0.0);
  CHECK(members["inners"]["items"]["properties"]["width"]["default"] == 0.5);
  CHECK(members["rate"]["oneOf"].size() == 2);
  CHECK(members.size() == 12);
}

TEST_CASE("comments keep the places of errors", "[workflows][fields]") {
  const std::string text = "// one\n{\"a\": 1, /* two\n lines */ \"b\": \"// no /* comment\"}\n";
  const Json json = parse_commented_json(text, "file");
  CHECK(json["a"] == 1);
  CHECK(json["b"] == "// no /* comment");
  check_fails(ErrorKind::json, "file:3:7", "",
              [] { parse_commented_json("// x\n/* y */\n {\"a\" 1}", "file"); });
  check_fails(ErrorKind::json, "file:2", "no end",
              [] { parse_commented_json("{}\n/* never", "file"); });
}

TEST_CASE("values are put into documents", "[workflows][fields]") {
  Json json = Json::parse(R"({"a": {"b": [1, {"c": 2}]}})");
  set_value(json, "a.b.1.c=3e-1");
  set_value(json, "a.name=some text");
  set_value(json, "new.deep=[1, 2]");
  set_value(json, "a.b.0=null");
  CHECK(json == Json::parse(R"({"a": {"b": [null, {"c": 0.3}], "name": "some text"},
                                "new": {"deep": [1, 2]}})"));
  for (const char* wrong : {"a", "=1", "a..b=1", "a.b.2=1", "a.b.x=1", "a.name.x=1"}) {
    INFO(wrong);
    const auto error = slalom::test::error_of([&] { set_value(json, wrong); });
    REQUIRE(error.has_value());
    CHECK(error->kind() == ErrorKind::usage);
    CHECK(error->where().rfind("--set", 0) == 0);
  }
}
