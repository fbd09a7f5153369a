// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "slalom/core/json.hpp"
#include "support/catch.hpp"
#include "support/data.hpp"
#include "support/fails.hpp"

using slalom::digest;
using slalom::dump_json;
using slalom::ErrorKind;
using slalom::Json;
using slalom::parse_json;
using slalom::python_dumps;
using slalom::test::check_fails;

namespace {

namespace fs = std::filesystem;

// A folder that is gone after the test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::random_device random;
    path_ = fs::temp_directory_path() / ("slalom_test_json_" + std::to_string(random()));
    fs::create_directories(path_);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  fs::path operator/(const std::string& name) const { return path_ / name; }
  std::size_t n_files() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(path_), fs::directory_iterator()));
  }

 private:
  fs::path path_;
};

std::string nested(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

// Everything that JSON writers do differently from each other.
const char* const awkward =
    R"({"é→\u0001\"\\\n\t\r\b\f\u007f/":[1e-5,1e16,123456789012345680.0,1e15,120.0,-0.0,0,-0,0.0001,
1.7976931348623157e308,5e-324,0.1,2e0,100,18446744073709551615,-9223372036854775808,
9007199254740993.0,1.5e300,123456.789,true,false,null,{},[],""],
"a":{"Z":1,"B":2,"a":3,"":4,"𝔘":5,"ﬀ":6}})";

}  // namespace

TEST_CASE("integers and floating-point numbers stay distinct", "[core][json]") {
  const Json document = parse_json(R"({"a": 1, "b": 1.0, "c": -7, "d": 1e3})");
  CHECK(document["a"].is_number_unsigned());
  CHECK(document["b"].is_number_float());
  CHECK(document["c"].is_number_integer());
  CHECK(document["d"].is_number_float());
}

TEST_CASE("every kind of value is read", "[core][json]") {
  const Json document = parse_json(R"( [null, true, false, "\u00e9\n", {}, [], {"a": [1, {}]}] )");
  CHECK(document.size() == 7);
  CHECK(document[0].is_null());
  CHECK(document[3] == "é\n");
  CHECK(document[6]["a"][0] == 1);
  CHECK(parse_json("3") == 3);
  CHECK(parse_json("\xEF\xBB\xBF{}") == Json::object());
}

TEST_CASE("text that is no strict JSON is refused with its place", "[core][json]") {
  struct Case {
    std::string text, where, fragment;
  };
  const std::vector<Case> cases = {
      {"", "f:1:1", "the text is empty"},
      {" \n\t ", "f:2:3", "the text is empty"},
      {"\xEF\xBB\xBF", "f:1:1", "the text is empty"},
      {"{\"a\": 1", "f:1:8", "ends too early"},
      {"[1,\n 2", "f:2:3", "ends too early"},
      {"{\"a\"", "f:1:5", "ends too early"},
      {"[1, 2,]", "f:1:7", "unexpected ']'"},
      {"{\"a\": 1,}", "f:1:9", "unexpected '}'"},
      {"{a: 1}", "f:1:2", "invalid literal"},
      {"{'a': 1}", "f:1:2", "invalid literal"},
      {"[1 2]", "f:1:4", "unexpected number literal"},
      {"{} {}", "f:1:4", "expected end of input"},
      {"[1] x", "f:1:5", "found 'x'"},
      {"[\n  1,\n  oops\n]", "f:3:3", "invalid literal"},
      {"{\"a\": tru, \"b\": 1}", "f:1:7", "found 'tru,"},
      {"{\"a\": [1, 2}", "f:1:12", "unexpected '}'"},
      {"{\"a\" true}", "f:1:6", "unexpected true literal"},
      {"{\"a\": 1 \"b\"}", "f:1:9", "unexpected string literal"},
      {"[NaN]", "f:1:2", "NaN and Infinity are no JSON numbers"},
      {"[1, Infinity]", "f:1:5", "NaN and Infinity are no JSON numbers"},
      {"[1, -Infinity]", "f:1:5", "NaN and Infinity are no JSON numbers"},
      {"[nan]", "f:1:2", "NaN and Infinity are no JSON numbers"},
      {"[1e999]", "f:1:2", "'1e999' does not fit into a double"},
      {"[0, -1e400]", "f:1:5", "'-1e400' does not fit into a double"},
      {"[01]", "f:1:3", "unexpected number literal"},
      {"[1.]", "f:1:2", "invalid number"},
      {"[+1]", "f:1:2", "invalid literal"},
      {"[.5]", "f:1:2", "invalid literal"},
      {"[0x10]", "f:1:2", "invalid literal"},
      {"[1, // two\n 2]", "f:1:5", "invalid literal"},
      {"[\"a\nb\"]", "f:1:4", "control character"},
      {"[\"\\q\"]", "f:1:4", "forbidden character after backslash"},
      {"[\"\\ud800\"]", "f:1:9", "surrogate"},
      {"[\"ab\xFF\"]", "f:1:5", "ill-formed UTF-8"},
      {"[\"abc]", "f:1:7", "ends too early"},
      {"{\"a\": 1, \"a\": 2}", "f#/a", "duplicate key 'a'"},
      {"{\"x\": [0, {\"b/c\": 1, \"d\": 2, \"b/c\": 1}]}", "f#/x/1/b~1c", "duplicate key 'b/c'"},
      {"[[{\"k\": {\"k\": 1, \"l\": 2, \"k\": 3}}]]", "f#/0/0/k/k", "duplicate key 'k'"},
      {"{\"\": 1, \"\": 2}", "f#/", "duplicate key ''"},
      {nested(201), "f:1:201", "more than 200 levels"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.text);
    check_fails(ErrorKind::json, c.where, c.fragment, [&] { parse_json(c.text, "f"); });
  }
}

TEST_CASE("two hundred levels are read, however many more there are", "[core][json]") {
  CHECK_NOTHROW(parse_json(nested(200)));
  CHECK_THROWS_AS(parse_json(std::string(1000000, '[')), slalom::Error);
  CHECK_THROWS_AS(parse_json("{\"[\\\"[\": " + nested(200) + "}"), slalom::Error);
}

TEST_CASE("text is written as Python writes it", "[core][json]") {
  CHECK(python_dumps(parse_json(R"({"b":[1,2.0],"a":null})")) == R"({"a": null, "b": [1, 2.0]})");
  CHECK(python_dumps(parse_json(awkward)) ==
        "{\"a\": {\"\": 4, \"B\": 2, \"Z\": 1, \"a\": 3, \"ﬀ\": 6, \"𝔘\": 5}, "
        "\"é→\\u0001\\\"\\\\\\n\\t\\r\\b\\f\x7f/\": [1e-05, 1e+16, 1.2345678901234568e+17, "
        "1000000000000000.0, 120.0, -0.0, 0, 0, 0.0001, 1.7976931348623157e+308, 5e-324, 0.1, "
        "2.0, 100, 18446744073709551615, -9223372036854775808, 9007199254740992.0, 1.5e+300, "
        "123456.789, true, false, null, {}, [], \"\"]}");
}

TEST_CASE("digests are those of pyhf", "[core][json]") {
  const Json document = parse_json(R"({"a":2.0,"b":3.0,"c":1.0})");
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"md5", "2c0633f242928eb55c3672fed5ba8612"},
      {"sha1", "49a27f499e763766c9545b294880df277be6f545"},
      {"sha224", "bf08486f60957951addb375b281dcdc311ded2c4c736efe68a785bfb"},
      {"sha256", "a38f6093800189b79bc22ef677baf90c75705af2cfc7ff594159eca54eaa7928"},
      {"sha384",
       "d16801b11af4f9b61488d8c06b3256b66d1ce5903b86b14e34868b5e0d6d2390adad5bb686ddc79073c1c3104e"
       "4e849a"},
      {"sha512",
       "cee9fdf8e5147075bad59418b19e40d89d413c677b38d05e2c5fa2c248d82a4d98824dc1d8a679bf1ecf4fec0d"
       "2817dbbca7b4ceb11a57d2e8fa45a095f03aab"},
      {"sha3_224", "389026359bb4ad9a7f9925f904ad93529ee4efd48415fcf6c91273b5"},
      {"sha3_256", "da815e48e3327e042ee44ae7e91f470527ef9e53e1a5fb1251f0516281bcf3d9"},
      {"sha3_384",
       "c729e9e26192aeefe5fb04c40c7d1e129b02865e5d8d61d1a93b87f80eddfe9c0e24c77363cb84930141be6e50"
       "f5e887"},
      {"sha3_512",
       "aadddc552c4e40741b236dd2944ce716cd11f2e8bbf606e32d033802c19dd63c7b695a319bf05051edf51c55f0"
       "b0a86af63ec2555bf1441b05ddd4ec95adc401"},
  };
  for (const auto& [algorithm, hexadecimal] : expected) {
    CAPTURE(algorithm);
    CHECK(digest(document, algorithm) == hexadecimal);
  }
  CHECK(digest(document) == expected[3].second);
  CHECK(digest(parse_json(awkward)) ==
        "d1ec7e401b131e7660af6077f6c83947f558a5b58c527658954b1b369600457c");
  check_fails(ErrorKind::usage, "", "did you mean 'sha256'?", [&] { digest(document, "sha265"); });
  check_fails(ErrorKind::usage, "", "there is 'md5'", [&] { digest(document, ""); });
}

TEST_CASE("digests of published workspaces are those of pyhf", "[core][json]") {
  SLALOM_REQUIRE_DATA("workspaces");
  const std::vector<std::vector<std::string>> cases = {
      {"pyhf/example_bkgonly.json", "sha256",
       "7c32ca3b8db75cbafcf5cd7ed4672fa2b1fa69e391c9b89068dd947a521866ec"},
      {"pyhf/example_bkgonly.json", "md5", "202eb7615102c35ba86be47eb6fa5e78"},
      {"3LRJR/BkgOnly.json", "sha256",
       "a20207ad6da9dc3e3e53dc159155a8371d7b44487e03fb4af4c6be20be4ad695"},
      {"agc/agc_34par.json", "sha256",
       "a1626f7de544e06259196347651ababab6946a2fa967b8457f995d0ffde1d640"},
      {"sbottom/RegionC/BkgOnly.json", "sha256",
       "223c07cd7e0a9423f072b0aef6ba1be2dbfe3934f5e6a315e444792a0646e460"},
      {"ttbar/ttbar_ljets_132par.json", "sha256",
       "e1bd1687a355c36b3ce862dd7d4d885ea927e4d96612ca8d4ef07d1b677d08b3"},
  };
  for (const auto& c : cases) {
    CAPTURE(c[0]);
    const Json document = slalom::read_json(slalom::test::data_path("workspaces/" + c[0]));
    CHECK(digest(document, c[1]) == c[2]);
  }
}

TEST_CASE("what is written reads back as the same values of the same kind", "[core][json]") {
  const Json document = parse_json(awkward);
  for (const int indent : {-1, 0, 2, 8}) {
    const Json again = parse_json(dump_json(document, indent));
    CHECK(again == document);
    CHECK(python_dumps(again) == python_dumps(document));
  }
}

TEST_CASE("random numbers are written exactly", "[core][json]") {
  std::mt19937_64 random(7);
  for (int i = 0; i < 20000; ++i) {
    const std::uint64_t bits = random();
    double value = 0.0;
    std::memcpy(&value, &bits, sizeof value);
    if (!std::isfinite(value)) continue;
    const Json again = parse_json(dump_json(Json(value)));
    REQUIRE(again.is_number_float());
    REQUIRE(again.get<double>() == value);
  }
}

TEST_CASE("lists of numbers and small objects are written on one line", "[core][json]") {
  const Json document = parse_json(
      R"({"data":[1,2.5],"bounds":[[0,10]],"empty":[],"list":[{"name":"mu","data":null}]})");
  CHECK(dump_json(document) == R"({
  "bounds": [[0, 10]],
  "data": [1, 2.5],
  "empty": [],
  "list": [
    {"data": null, "name": "mu"}
  ]
})");
  CHECK(dump_json(document, -1) == python_dumps(document));
  CHECK(dump_json(Json(1.0)) == "1.0");
}

TEST_CASE("long lists of numbers are wrapped", "[core][json]") {
  const Json document = {{"data", std::vector<double>(100, 0.125)}};
  const std::string text = dump_json(document);
  CHECK(parse_json(text) == document);
  std::size_t longest = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    longest = std::max(longest, end - at);
    at = end + 1;
  }
  CHECK(longest > 80);
  CHECK(longest <= 100);
}

TEST_CASE("what is no JSON is not written", "[core][json]") {
  const Json nan = {{"a", std::numeric_limits<double>::quiet_NaN()}};
  const Json infinite = {-std::numeric_limits<double>::infinity()};
  const Json broken = std::string("a\xC3");
  const Json binary = Json::binary({1, 2});
  for (const Json& document : {nan, infinite, broken, binary}) {
    CHECK_THROWS_AS(dump_json(document), slalom::Error);
    CHECK_THROWS_AS(dump_json(document, -1), slalom::Error);
    CHECK_THROWS_AS(python_dumps(document), slalom::Error);
  }
}

TEST_CASE("files are written completely and read back", "[core][json]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "a.json";
  slalom::write_text(path, "{\"a\": 1}");
  slalom::write_text(path, "{\"a\": 2}\n");
  CHECK(slalom::read_text(path) == "{\"a\": 2}\n");
  CHECK(slalom::read_json(path)["a"] == 2);
  CHECK(folder.n_files() == 1);
  const std::string with_zeros("\0\xFF\n", 3);
  slalom::write_text(path, with_zeros);
  CHECK(slalom::read_text(path) == with_zeros);
}

TEST_CASE("a file keeps its permissions and a link stays a link", "[core][json]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "a.json";
  const fs::path link = folder / "link.json";
  slalom::write_text(path, "1");
  fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
  fs::create_symlink("a.json", link);
  slalom::write_text(link, "2");
  CHECK(fs::is_symlink(link));
  CHECK(slalom::read_text(path) == "2");
  CHECK(fs::status(path).permissions() == (fs::perms::owner_read | fs::perms::owner_write));
}

TEST_CASE("files that cannot be read or written are errors with their name", "[core][json]") {
  const TemporaryFolder folder;
  const std::string missing = (folder / "no/such.json").string();
  check_fails(ErrorKind::io, missing, "No such file", [&] { slalom::read_text(missing); });
  check_fails(ErrorKind::io, missing, "No such file", [&] { slalom::read_json(missing); });
  check_fails(ErrorKind::io, missing, "No such file", [&] { slalom::write_text(missing, ""); });
  const std::string directory = (folder / "").string();
  check_fails(ErrorKind::io, directory, "directory", [&] { slalom::read_text(directory); });
  check_fails(ErrorKind::io, directory, "directory", [&] { slalom::write_text(directory, ""); });
  check_fails(ErrorKind::io, "", "empty", [] { slalom::write_text("", ""); });
  CHECK_NOTHROW(slalom::write_text("/dev/null", "text"));
}

TEST_CASE("errors in a file have its name, line and column", "[core][json]") {
  const TemporaryFolder folder;
  const fs::path path = folder / "bad.json";
  slalom::write_text(path, "{\n  \"a\": tru\n}");
  check_fails(ErrorKind::json, path.string() + ":2:8", "invalid literal",
              [&] { slalom::read_json(path); });
}

TEST_CASE("one byte order mark, and no zero bytes", "[core][json]") {
  CHECK(parse_json("\xEF\xBB\xBF[1]") == Json::parse("[1]"));
  check_fails(ErrorKind::json, "file:1:1", "a second byte order mark",
              [&] { parse_json("\xEF\xBB\xBF\xEF\xBB\xBF[1]", "file"); });
  // nlohmann's parser ends at a zero byte, whatever follows.
  using namespace std::string_literals;
  check_fails(ErrorKind::json, "file:2:2", "a zero byte",
              [&] { parse_json("[1]\n \0 garbage"s, "file"); });
  check_fails(ErrorKind::json, "file:1:3", "a zero byte", [&] { parse_json("[\"\0\"]"s, "file"); });
}

TEST_CASE("documents are those of nlohmann's reader, types of numbers included", "[core][json]") {
  const std::vector<std::string> texts = {
      "[0, 1, -1, 1.0, -0.0, 1e2, 5e-324, 1e-400, 1.7976931348623157e308]",
      "[9223372036854775807, 9223372036854775808, -9223372036854775808, 18446744073709551615]",
      "[18446744073709551616, -9223372036854775809, 123456789012345678901234567890]",
      R"(["", "\u00e9\ud83d\ude00\n\u0000 tab\t", "ä€😀", {"\"key\"": {}, "": []}])",
      "[[[]], {}, true, false, null]",
      "  7\n",
      "\"text\"",
      std::string(200, '[') + std::string(200, ']'),
  };
  for (const std::string& text : texts) {
    INFO(text);
    const Json expected = Json::parse(text), document = parse_json(text);
    CHECK(document == expected);
    CHECK(document.dump() == expected.dump());
    if (!expected.is_array()) continue;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      CHECK(document[i].type() == expected[i].type());
    }
  }
}

TEST_CASE("white space changes neither values nor errors", "[core][json]") {
  Json document = parse_json(awkward);
  for (int i = 0; i < 300; ++i) document["list"].push_back({{"number", i + 0.5}, {"s", " a  b\n"}});
  const std::string text = document.dump(4);
  CHECK(parse_json(text) == document);
  CHECK(parse_json("\n  \n" + text + "\n\n") == document);
  // Tokens that nothing but white space separates stay apart, and errors are where they were.
  const std::size_t at = text.find("250.5");
  const auto line =
      1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
  for (const char* two : {"250 .5", "2 50.5", "true false", "tr ue", "- 1"}) {
    INFO(two);
    std::string changed = text;
    changed.replace(at, 5, two);
    const auto error = slalom::test::error_of([&] { parse_json(changed); });
    REQUIRE(error.has_value());
    CHECK(error->kind() == ErrorKind::json);
    CHECK(error->where().find(":" + std::to_string(line) + ":") != std::string::npos);
  }
  std::string twice = text;
  const std::string key = "\"number\": 250.5";
  twice.replace(twice.find(key), key.size(), "\"s\": 1");
  check_fails(ErrorKind::json, "file#/list/250/s", "duplicate key 's'",
              [&] { parse_json(twice, "file"); });
}
