// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "slalom/core/json.hpp"
#include "slalom/core/patch.hpp"
#include "slalom/core/patchset.hpp"
#include "support/catch.hpp"
#include "support/data.hpp"
#include "support/fails.hpp"

using slalom::ErrorKind;
using slalom::Json;
using slalom::LazyPatchSet;
using slalom::parse_json;
using slalom::parse_patchset;
using slalom::PatchSet;
using slalom::PatchValue;
using slalom::test::check_fails;

namespace {

const Json target = {{"a", 2.0}, {"b", 3.0}, {"c", 1.0}};

Json example() {
  return parse_json(R"({
    "metadata": {
      "references": {"hepdata": "ins1234567"},
      "digests": {
        "md5": "2c0633f242928eb55c3672fed5ba8612",
        "sha256": "A38f6093800189b79bc22ef677baf90c75705af2cfc7ff594159eca54eaa7928"},
      "labels": ["mass", "kind"], "description": "signals", "analysis_id": "X"},
    "patches": [
      {"metadata": {"name": "s_100", "values": [100, "light"], "colour": 3},
       "patch": [{"op": "replace", "path": "/a", "value": 5}]},
      {"metadata": {"name": "s_200", "values": [200.0, "light"]},
       "patch": [{"op": "remove", "path": "/x"}]},
      {"metadata": {"name": "s_100h", "values": [100, "heavy"]}, "patch": []}],
    "version": "1.0.0"})");
}

Json with(const std::string& pointer, const std::string& value) {
  Json document = example();
  document[Json::json_pointer(pointer)] = parse_json(value);
  return document;
}

Json without(const std::string& pointer, const std::string& key) {
  Json document = example();
  document[Json::json_pointer(pointer)].erase(key);
  return document;
}

}  // namespace

TEST_CASE("a patch set is read in file order", "[core][patchset]") {
  const PatchSet set = parse_patchset(example());
  CHECK(set.references.at("hepdata") == "ins1234567");
  CHECK(set.digests.size() == 2);
  CHECK(set.labels == std::vector<std::string>{"mass", "kind"});
  CHECK(set.description == "signals");
  CHECK(set.version == "1.0.0");
  REQUIRE(set.patches.size() == 3);
  CHECK(set.patches[0].name == "s_100");
  CHECK(set.patches[0].values == std::vector<PatchValue>{100.0, "light"});
  CHECK(set.patches[2].operations == Json::array());
}

TEST_CASE("a patch set that breaks a rule is refused with its place", "[core][patchset]") {
  struct Case {
    Json document;
    std::string where, fragment;
  };
  const std::string hex = "hexadecimal digits expected";
  const std::string m0 = "/patches/0/metadata";
  const std::vector<Case> cases = {
      {Json::array(), "", "an object expected, found an array"},
      {without("", "patches"), "", "missing key 'patches'"},
      {without("", "metadata"), "", "missing key 'metadata'"},
      {without("", "version"), "", "missing key 'version'"},
      {with("/patchs", "[]"), "/patchs", "did you mean 'patches'?"},
      {with("/version", "\"2.0.0\""), "/version", "found '2.0.0'"},
      {with("/version", "1"), "/version", "a string expected"},
      {with("/metadata", "[]"), "/metadata", "an object expected, found an array"},
      {without("/metadata", "references"), "/metadata", "missing key 'references'"},
      {without("/metadata", "digests"), "/metadata", "missing key 'digests'"},
      {without("/metadata", "labels"), "/metadata", "missing key 'labels'"},
      {without("/metadata", "description"), "/metadata", "missing key 'description'"},
      {with("/metadata/description", "1"), "/metadata/description", "a string expected"},
      {with("/metadata/references", "{}"), "/metadata/references", "missing key 'hepdata'"},
      {with("/metadata/references/doi", "\"x\""), "/metadata/references/doi", "unknown key 'doi'"},
      {with("/metadata/references/hepdata", "\"ins123\""), "/metadata/references/hepdata",
       "'ins' and seven digits expected, found 'ins123'"},
      {with("/metadata/references/hepdata", "\"xyz1234567\""), "/metadata/references/hepdata",
       "seven digits"},
      {with("/metadata/digests", "{}"), "/metadata/digests", "at least one of 'md5' and 'sha256'"},
      {with("/metadata/digests/sha1", "\"0\""), "/metadata/digests/sha1", "unknown key 'sha1'"},
      {with("/metadata/digests/md5", "\"0\""), "/metadata/digests/md5", "32 " + hex},
      {with("/metadata/digests/sha256", "\"2c0633f242928eb55c3672fed5ba8612\""),
       "/metadata/digests/sha256", "64 " + hex},
      {with("/metadata/digests/md5", "\"2c0633f242928eb55c3672fed5ba861g\""),
       "/metadata/digests/md5", "32 " + hex},
      {with("/metadata/digests/md5", "7"), "/metadata/digests/md5", "a string expected"},
      {with("/metadata/labels", "[]"), "/metadata/labels", "at least 1 element"},
      {with("/metadata/labels", "[\"a b\", \"c\"]"), "/metadata/labels/0",
       "letters, digits and '_' expected, found 'a b'"},
      {with("/metadata/labels", "[\"mass\"]"), m0 + "/values",
       "1 value expected as in /metadata/labels, found 2"},
      {with("/patches", "[]"), "/patches", "at least 1 element"},
      {with("/patches/0", "[]"), "/patches/0", "an object expected"},
      {without("/patches/0", "patch"), "/patches/0", "missing key 'patch'"},
      {with("/patches/0/metdata", "{}"), "/patches/0/metdata", "did you mean 'metadata'?"},
      {without(m0, "name"), m0, "missing key 'name'"},
      {without(m0, "values"), m0, "missing key 'values'"},
      {with(m0 + "/name", "\"\""), m0 + "/name", "a name of letters, digits and '_' expected"},
      {with(m0 + "/name", "\"s-100\""), m0 + "/name", "found 's-100'"},
      {with(m0 + "/name", "\"s_200\""), "/patches/1/metadata/name",
       "a second patch named 's_200'; the first is at /patches/0"},
      {with(m0 + "/values", "[100]"), m0 + "/values", "2 values expected"},
      {with(m0 + "/values", "[100, null]"), m0 + "/values/1", "a number or a string expected"},
      {with(m0 + "/values", "7"), m0 + "/values", "an array expected"},
      {with(m0 + "/values", "[200, \"light\"]"), "/patches/1/metadata/values",
       "a second patch with the values [200.0, \"light\"]; the first is at /patches/0"},
      {with("/patches/0/patch", "{}"), "/patches/0/patch", "a patch is an array of operations"},
      {with("/patches/0/patch/0/op", "\"ad\""), "/patches/0/patch/0", "did you mean 'add'?"},
      {without("/patches/0/patch/0", "value"), "/patches/0/patch/0", "missing key 'value'"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.where, c.fragment);
    check_fails(ErrorKind::patch, c.where, c.fragment, [&] { parse_patchset(c.document); });
  }
}

TEST_CASE("a patch is found by its name or by its values", "[core][patchset]") {
  const PatchSet set = parse_patchset(example());
  CHECK(&find_patch(set, "s_200") == &set.patches[1]);
  CHECK(&find_patch(set, std::vector<PatchValue>{100.0, "heavy"}) == &set.patches[2]);
  check_fails(ErrorKind::patch, "/patches", "no patch 's_20'; did you mean 's_200'?",
              [&] { find_patch(set, "s_20"); });
  check_fails(ErrorKind::patch, "/patches", "there is 's_100', 's_200', 's_100h'",
              [&] { find_patch(set, "signal"); });
  check_fails(ErrorKind::patch, "/patches", "no patch with the values [100.0, \"other\"]", [&] {
    find_patch(set, std::vector<PatchValue>{100.0, "other"});
  });
  check_fails(ErrorKind::patch, "/patches", "no patch with the values []",
              [&] { find_patch(set, std::vector<PatchValue>{}); });
}

TEST_CASE("all digests of a patch set are compared", "[core][patchset]") {
  const PatchSet set = parse_patchset(example());
  CHECK_NOTHROW(verify_patchset(set, target));
  Json other = target;
  other["a"] = 2;  // the kind of number counts
  check_fails(ErrorKind::patch, "/metadata/digests/md5",
              "md5 2c0633f242928eb55c3672fed5ba8612 expected, found",
              [&] { verify_patchset(set, other); });
  PatchSet wrong = set;
  wrong.digests["sha256"][0] = '0';
  check_fails(ErrorKind::patch, "/metadata/digests/sha256", "belongs to another document",
              [&] { verify_patchset(wrong, target); });
}

TEST_CASE("a patch of a set is applied to the document of the set only", "[core][patchset]") {
  const PatchSet set = parse_patchset(example());
  CHECK(apply_patchset(set, target, "s_100")["a"] == 5);
  CHECK(apply_patchset(set, target, "s_100h") == target);
  check_fails(ErrorKind::patch, "/patches/1/patch/0", "remove '/x': the document has no key 'x'",
              [&] { apply_patchset(set, target, "s_200"); });
  check_fails(ErrorKind::patch, "/metadata/digests/md5", "belongs to another document",
              [&] { apply_patchset(set, Json::object(), "s_100"); });
  check_fails(ErrorKind::patch, "/patches", "no patch 'x'",
              [&] { apply_patchset(set, target, "x"); });
}

TEST_CASE("published patch sets are read and give pyhf's documents", "[core][patchset]") {
  SLALOM_REQUIRE_DATA("workspaces");
  struct Case {
    std::string set, document, name;
    std::vector<PatchValue> values;
    std::size_t size;
    bool verifies;
    std::string digest;
  };
  const std::vector<Case> cases = {
      {"3LRJR/patchset.json",
       "3LRJR/BkgOnly.json",
       "ERJR_100p0_20p0",
       {100.0, 20.0},
       64,
       true,
       "263eff9169c51ae431b6c589a9905b91136084051a273f98fbb0c5891d52d30c"},
      // made for a version of the document that was never published
      {"2L0J/patchset.json",
       "2L0J/BkgOnly.json",
       "C1C1_WW_175p0_1p0_dummy",
       {175.0, 1.0},
       106,
       false,
       "b24ec1ac41d0a4aced572f9a10cc7edc28f7995fb4fa0102389ce3e1fee2a688"},
      {"pyhf/example_patchset.json",
       "pyhf/example_bkgonly.json",
       "patch_channel1_signal_syst1",
       {0.0},
       1,
       true,
       "4baffd0b88c8dce9427d0b716cd654f770037711246e0fa6ecc9438bd2ab460e"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.set);
    const auto folder = slalom::test::data_path("workspaces");
    const PatchSet set = parse_patchset(slalom::read_json(folder / c.set));
    const Json document = slalom::read_json(folder / c.document);
    CHECK(set.patches.size() == c.size);
    const slalom::Patch& patch = find_patch(set, c.name);
    CHECK(&find_patch(set, c.values) == &patch);
    CHECK(slalom::digest(slalom::apply_patch(document, patch.operations)) == c.digest);
    if (c.verifies) {
      CHECK_NOTHROW(verify_patchset(set, document));
    } else {
      CHECK_THROWS_AS(verify_patchset(set, document), slalom::Error);
    }
  }
}

TEST_CASE("a patch set read lazily is the same set", "[core][patchset]") {
  const PatchSet whole = parse_patchset(example());
  const std::vector<std::string> texts = {
      slalom::dump_json(example()), slalom::dump_json(example(), -1),
      "\xEF\xBB\xBF" + slalom::dump_json(example()), slalom::python_dumps(example()),
      // escapes in keys and quotes in texts: found all the same
      slalom::dump_json(with("/metadata/description", R"("[\" \\ {")")), [] {
        std::string escaped = slalom::dump_json(example(), -1);
        escaped.replace(escaped.find("\"patches\""), 9, "\"p\\u0061tches\"");
        return escaped;
      }()};
  for (const std::string& text : texts) {
    CAPTURE(text);
    const LazyPatchSet set(text);
    REQUIRE(set.set().patches.size() == whole.patches.size());
    CHECK(set.set().labels == whole.labels);
    CHECK(set.set().digests == whole.digests);
    for (std::size_t i = 0; i < whole.patches.size(); ++i) {
      CHECK(set.set().patches[i].name == whole.patches[i].name);
      CHECK(set.set().patches[i].values == whole.patches[i].values);
      CHECK(set.operations(i) == whole.patches[i].operations);
    }
    CHECK_THROWS(set.operations(whole.patches.size()));
  }
}

TEST_CASE("a mistake in one patch of a lazy set is found when it is asked for",
          "[core][patchset]") {
  const std::string text = "{\"metadata\": " + slalom::python_dumps(example()["metadata"]) +
                           R"(, "version": "1.0.0", "patches": [
    {"metadata": {"name": "a", "values": [1, 1]}, "patch": [{"op": "remove", "path": "/x"}]},
    {"metadata": {"name": "b", "values": [2, 1]},
     "patch": [{"op": "remove"
                "path": "/x"}]},
    {"metadata": {"name": "c", "values": [3, 1]}, "patch": [{"op": "ad", "path": "/x"}]},
    {"metadata": {"name": "d", "values": [4, 1]}, "patch": {}},
    {"metadata": {"name": "e", "values": [5, 1]},
     "patch": [{"op": "add", "path": "/ x", "value": [ 1 , "\\ \" a\\" ,true ]}]},
    {"metadata": {"name": "f", "values": [6, 1]},
     "patch": [{"op": "add", "path": "/x", "value": [1 2]}]},
    {"metadata": {"name": "g", "values": [7, 1]},
     "patch": [{"op": "add", "path": "/x", "value": [tr ue]}]}]})";
  const LazyPatchSet set(text, "set.json");
  CHECK(set.operations(0).size() == 1);
  check_fails(ErrorKind::json, "set.json:5:17", "", [&] { set.operations(1); });
  check_fails(ErrorKind::patch, "set.json#/patches/2/patch/0", "did you mean 'add'?",
              [&] { set.operations(2); });
  check_fails(ErrorKind::patch, "set.json#/patches/3/patch", "a patch is an array",
              [&] { set.operations(3); });
  CHECK(set.operations(4)[0]["path"] == "/ x");
  CHECK(set.operations(4)[0]["value"] == Json({1, "\\ \" a\\", true}));
  check_fails(ErrorKind::json, "set.json:11:56", "", [&] { set.operations(5); });
  check_fails(ErrorKind::json, "set.json:13:54", "", [&] { set.operations(6); });
}

TEST_CASE("mistakes outside the patches of a lazy set are found at once", "[core][patchset]") {
  const auto fails = [](const std::string& text, ErrorKind kind, const std::string& where,
                        const std::string& fragment) {
    CAPTURE(text);
    check_fails(kind, where, fragment, [&] { LazyPatchSet(text, "set.json"); });
  };
  const auto text_with = [](const std::string& pointer, const std::string& value) {
    return slalom::dump_json(with(pointer, value), -1);
  };
  fails("", ErrorKind::json, "set.json:1:1", "empty");
  fails("[1, 2", ErrorKind::json, "set.json:1:6", "");
  fails("[]", ErrorKind::patch, "set.json#", "an object expected");
  fails("{\"patches\": [{\"patch\": [}", ErrorKind::json, "set.json:1:25", "");
  fails("{\"patches\": [{\"patch\": \"abc", ErrorKind::json, "set.json:1:28", "");
  fails(text_with("/version", "\"2\""), ErrorKind::patch, "set.json#/version", "found '2'");
  fails(text_with("/patches", "[]"), ErrorKind::patch, "set.json#/patches", "at least 1 element");
  fails(text_with("/patches/1/metadata/name", "\"s_100\""), ErrorKind::patch,
        "set.json#/patches/1/metadata/name", "a second patch named 's_100'");
  std::string twice = slalom::dump_json(example(), -1);
  twice.insert(twice.find("\"patch\""), "\"patch\": [], ");
  fails(twice, ErrorKind::json, "set.json#/patches/0/patch", "duplicate key 'patch'");
}
