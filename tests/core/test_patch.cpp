// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "slalom/core/json.hpp"
#include "slalom/core/patch.hpp"
#include "slalom/core/workspace.hpp"
#include "support/catch.hpp"
#include "support/data.hpp"
#include "support/fails.hpp"

using slalom::apply_patch;
using slalom::ErrorKind;
using slalom::Json;
using slalom::parse_json;
using slalom::test::check_fails;

namespace {

Json nested(std::size_t depth) {
  return parse_json(std::string(depth, '[') + std::string(depth, ']'));
}

}  // namespace

TEST_CASE("operations do what RFC 6902 says", "[core][patch]") {
  struct Case {
    std::string document, operations, expected;
  };
  const std::vector<Case> cases = {
      {R"({"a":1})", "[]", R"({"a":1})"},
      // appendix A of the RFC
      {R"({"foo":"bar"})", R"([{"op":"add","path":"/baz","value":"qux"}])",
       R"({"baz":"qux","foo":"bar"})"},
      {R"({"foo":["bar","baz"]})", R"([{"op":"add","path":"/foo/1","value":"qux"}])",
       R"({"foo":["bar","qux","baz"]})"},
      {R"({"baz":"qux","foo":"bar"})", R"([{"op":"remove","path":"/baz"}])", R"({"foo":"bar"})"},
      {R"({"foo":["bar","qux","baz"]})", R"([{"op":"remove","path":"/foo/1"}])",
       R"({"foo":["bar","baz"]})"},
      {R"({"baz":"qux"})", R"([{"op":"replace","path":"/baz","value":"boo"}])", R"({"baz":"boo"})"},
      {R"({"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}})",
       R"([{"op":"move","from":"/foo/waldo","path":"/qux/thud"}])",
       R"({"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}})"},
      {R"({"foo":["all","grass","cows","eat"]})",
       R"([{"op":"move","from":"/foo/1","path":"/foo/3"}])",
       R"({"foo":["all","cows","eat","grass"]})"},
      {R"({"baz":"qux","foo":["a",2,"c"]})",
       R"([{"op":"test","path":"/baz","value":"qux"},{"op":"test","path":"/foo/1","value":2}])",
       R"({"baz":"qux","foo":["a",2,"c"]})"},
      {R"({"foo":"bar"})", R"([{"op":"add","path":"/child","value":{"grandchild":{}}}])",
       R"({"child":{"grandchild":{}},"foo":"bar"})"},
      {R"({"foo":"bar"})", R"([{"op":"add","path":"/baz","value":"qux","xyz":123}])",
       R"({"baz":"qux","foo":"bar"})"},
      {R"({"/":9,"~1":10})", R"([{"op":"test","path":"/~01","value":10}])", R"({"/":9,"~1":10})"},
      {R"({"foo":["bar"]})", R"([{"op":"add","path":"/foo/-","value":["abc","def"]}])",
       R"({"foo":["bar",["abc","def"]]})"},
      // what it says elsewhere
      {R"({"a":1})", R"([{"op":"add","path":"/a","value":null}])", R"({"a":null})"},
      {R"([1,2])", R"([{"op":"add","path":"/2","value":3}])", "[1,2,3]"},
      {R"([])", R"([{"op":"add","path":"/0","value":3}])", "[3]"},
      {R"({"a":1})", R"([{"op":"replace","path":"","value":[1]}])", "[1]"},
      {R"({"a":1})", R"([{"op":"add","path":"","value":2}])", "2"},
      {R"({"a":[1]})", R"([{"op":"copy","from":"/a","path":"/b"},
                           {"op":"add","path":"/b/0","value":0}])",
       R"({"a":[1],"b":[0,1]})"},
      {R"({"a":1})", R"([{"op":"move","from":"/a","path":"/a"}])", R"({"a":1})"},
      {R"({"a":{"b":1}})", R"([{"op":"move","from":"/a/b","path":"/a"}])", R"({"a":1})"},
      {R"({"":{"":1}})", R"([{"op":"replace","path":"//","value":2}])", R"({"":{"":2}})"},
      {R"([1,[2]])", R"([{"op":"remove","path":"/0"},{"op":"remove","path":"/0/0"}])", "[[]]"},
      {R"({"a":1})", R"([{"op":"test","path":"/a","value":1.0}])", R"({"a":1})"},
      {R"({"a":[1,{"b":2}]})", R"([{"op":"test","path":"","value":{"a":[1.0,{"b":2}]}}])",
       R"({"a":[1,{"b":2}]})"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.document, c.operations);
    CHECK_NOTHROW(slalom::check_patch(parse_json(c.operations)));
    const Json patched = apply_patch(parse_json(c.document), parse_json(c.operations));
    CHECK(slalom::python_dumps(patched) == slalom::python_dumps(parse_json(c.expected)));
  }
}

TEST_CASE("operations that do not apply say which and why", "[core][patch]") {
  struct Case {
    std::string operations, where, fragment;
  };
  const std::string good = R"({"op":"test","path":"/a","value":[1,2]})";
  const std::vector<Case> cases = {
      {R"([{"op":"remove","path":"/b"}])", "p#/0", "remove '/b': the document has no key 'b'"},
      {R"([{"op":"remove","path":"/samplse"}])", "p#/0", "did you mean 'samples'?"},
      {"[" + good + R"(,{"op":"remove","path":"/a/2"}])", "p#/1",
       "remove '/a/2': /a has 2 elements, there is no index '2'"},
      {R"([{"op":"remove","path":"/a/-"}])", "p#/0", "there is no index '-'"},
      {R"([{"op":"remove","path":"/a/-1"}])", "p#/0", "there is no index '-1'"},
      {R"([{"op":"remove","path":"/a/01"}])", "p#/0", "there is no index '01'"},
      {R"([{"op":"remove","path":"/a/1e0"}])", "p#/0", "there is no index '1e0'"},
      {R"([{"op":"remove","path":"/a/"}])", "p#/0", "there is no index ''"},
      {R"([{"op":"remove","path":"/a/99999999999999999999"}])", "p#/0", "there is no index"},
      {R"([{"op":"remove","path":""}])", "p#/0", "the whole document cannot be removed"},
      {R"([{"op":"remove","path":"/n/x"}])", "p#/0", "/n is a number, it has no part 'x'"},
      {R"([{"op":"add","path":"/a/3","value":1}])", "p#/0", "/a has 2 elements"},
      {R"([{"op":"add","path":"/x/y","value":1}])", "p#/0", "the document has no key 'x'"},
      {R"([{"op":"add","path":"/samples/0/x/y/z","value":1}])", "p#/0",
       "/samples/0 has no key 'x'; there is 'name'"},
      {R"([{"op":"add","path":"/n/x","value":1}])", "p#/0",
       "/n is a number, nothing can be added to it"},
      {R"([{"op":"replace","path":"/x","value":1}])", "p#/0", "no key 'x'"},
      {R"([{"op":"replace","path":"/a/2","value":1}])", "p#/0", "there is no index '2'"},
      {R"([{"op":"move","from":"/x","path":"/y"}])", "p#/0", "no key 'x'"},
      {R"([{"op":"move","from":"/samples","path":"/samples/0"}])", "p#/0",
       "cannot be moved into itself"},
      {R"([{"op":"copy","from":"/a/7","path":"/y"}])", "p#/0", "there is no index '7'"},
      {R"([{"op":"test","path":"/n","value":4}])", "p#/0", "test '/n': expected 4, found 3"},
      {R"([{"op":"test","path":"/n","value":true}])", "p#/0", "expected true, found 3"},
      {R"([{"op":"test","path":"/a","value":[2,1]}])", "p#/0", "expected [2, 1], found [1, 2]"},
      {R"([{"op":"test","path":"/x","value":1}])", "p#/0", "no key 'x'"},
  };
  const Json document = parse_json(R"({"a":[1,2],"n":3,"samples":[{"name":"s"}]})");
  for (const Case& c : cases) {
    CAPTURE(c.operations);
    const Json operations = parse_json(c.operations);
    CHECK_NOTHROW(slalom::check_patch(operations));
    check_fails(ErrorKind::patch, c.where, c.fragment,
                [&] { apply_patch(document, operations, "p#"); });
  }
}

TEST_CASE("malformed operations are refused with and without a document", "[core][patch]") {
  struct Case {
    std::string operations, where, fragment;
  };
  const std::vector<Case> cases = {
      {R"({"op":"remove","path":"/a"})", "", "a patch is an array of operations, found an object"},
      {"null", "", "found null"},
      {"[1]", "/0", "an operation must be an object, found a number"},
      {"[{}]", "/0", "missing key 'op'"},
      {R"([{"op":"remove"}])", "/0", "missing key 'path'"},
      {R"([{"op":1,"path":""}])", "/0", "'op' must be a string, found a number"},
      {R"([{"op":"remove","path":["a"]}])", "/0", "'path' must be a string, found an array"},
      {R"([{"op":"delete","path":"/a"}])", "/0", "unknown operation 'delete'; there is 'add'"},
      {R"([{"op":"replcae","path":"/a","value":1}])", "/0", "did you mean 'replace'?"},
      {R"([{"op":"add","path":"/b"}])", "/0", "add '/b': missing key 'value'"},
      {R"([{"op":"replace","path":"/a"}])", "/0", "missing key 'value'"},
      {R"([{"op":"test","path":"/a"}])", "/0", "missing key 'value'"},
      {R"([{"op":"move","path":"/a"}])", "/0", "missing key 'from'"},
      {R"([{"op":"copy","path":"/a","from":0}])", "/0", "'from' must be a string"},
      {R"([{"op":"remove","path":"a"}])", "/0", "a JSON pointer starts with '/', path is 'a'"},
      {R"([{"op":"copy","path":"/a","from":"b"}])", "/0", "from is 'b'"},
      {R"([{"op":"remove","path":"/a~"}])", "/0", "'~' must be followed by 0 or 1"},
      {R"([{"op":"remove","path":"/~2"}])", "/0", "'~' must be followed by 0 or 1"},
  };
  const Json document = {{"a", 1}};
  for (const Case& c : cases) {
    CAPTURE(c.operations);
    const Json operations = parse_json(c.operations);
    check_fails(ErrorKind::patch, c.where, c.fragment, [&] { slalom::check_patch(operations); });
    check_fails(ErrorKind::patch, c.where, c.fragment, [&] { apply_patch(document, operations); });
  }
}

TEST_CASE("a failed test of something long shows where it starts", "[core][patch]") {
  const Json document = {{"a", std::vector<int>(1000, 7)}};
  const Json operations = {{{"op", "test"}, {"path", "/a"}, {"value", 1}}};
  check_fails(ErrorKind::patch, "/0", "found an array that starts with '[7, 7, ",
              [&] { apply_patch(document, operations); });
}

TEST_CASE("a patch can neither nest nor grow a document without limit", "[core][patch]") {
  const auto add = [](const char* op, const Json& value) {
    return Json::array({{{"op", op}, {"path", "/a"}, {"value", value}}});
  };
  const Json document = {{"a", 1}};
  CHECK_NOTHROW(apply_patch(document, add("add", nested(199))));
  check_fails(ErrorKind::patch, "/0", "more than 200 levels",
              [&] { apply_patch(document, add("add", nested(200))); });
  check_fails(ErrorKind::patch, "/0", "more than 200 levels",
              [&] { apply_patch(document, add("replace", nested(200))); });
  Json doubling = Json::array();
  for (int i = 0; i < 60; ++i) {
    doubling.push_back({{"op", "copy"}, {"from", ""}, {"path", "/k" + std::to_string(i)}});
  }
  CHECK_THROWS_AS(apply_patch(document, doubling), slalom::Error);
}

TEST_CASE("numbers keep their kind", "[core][patch]") {
  const Json document = parse_json(R"({"a":[1,2.0]})");
  const Json operations = parse_json(R"([{"op":"add","path":"/a/1","value":3},
                                         {"op":"copy","from":"/a/2","path":"/b"}])");
  CHECK(slalom::python_dumps(apply_patch(document, operations)) ==
        R"({"a": [1, 3, 2.0], "b": 2.0})");
}

TEST_CASE("published patches give the documents that Python's jsonpatch gives", "[core][patch]") {
  SLALOM_REQUIRE_DATA("workspaces/sbottom");
  const std::vector<std::vector<std::string>> cases = {
      {"RegionA", "patch.sbottom_1300_205_60.json",
       "346403b71abb18751b6c4e484d1c19ee4945bc46fc961197a74ecddf69d9c6af", "/observations/1/name"},
      {"RegionB", "patch.sbottom_1400_550_60.json",
       "1f5aee46fe6bc5ee2a15c5044662fd9a67a73d8b33cba5f2f12fd673ec02fd17", "/observations/1/name"},
      {"RegionC", "patch.sbottom_1600_850_60.json",
       "614d9c50f6f7959c9725060032a11e8c8abb3c5468caea3ee6539196ca6a9e85", "/observations/2/name"},
  };
  for (const auto& c : cases) {
    CAPTURE(c[0]);
    const auto folder = slalom::test::data_path("workspaces/sbottom/" + c[0]);
    const Json patched = apply_patch(slalom::read_json(folder / "BkgOnly.json"),
                                     slalom::read_json(folder / c[1]), c[1] + "#");
    CHECK(slalom::digest(patched) == c[2]);
    // The patches drop validation regions, but not what was observed there.
    slalom::Warnings warnings;
    slalom::parse_workspace(patched, &warnings);
    REQUIRE_FALSE(warnings.empty());
    CHECK(std::any_of(warnings.begin(), warnings.end(),
                      [&](const slalom::Warning& warning) { return warning.where == c[3]; }));
  }
}
