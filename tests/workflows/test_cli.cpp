// SPDX-License-Identifier: Apache-2.0
/// \file
/// What is common to all verbs: help, errors, exit codes, options of workspace and model.
#include <cmath>
#include <string>
#include <vector>

#include "slalom/core/json.hpp"
#include "slalom/workflows/cli.hpp"
#include "support/bad_workspaces.hpp"
#include "support/catch.hpp"
#include "support/command_line.hpp"

using Catch::Matchers::WithinAbs;
using slalom::test::Outcome;
using slalom::test::small_workspace;
using slalom::test::TemporaryFolder;
using slalom::test::text_of;
using Words = std::vector<std::string>;

namespace {

Outcome run(const Words& words, const std::string& input = small_workspace()) {
  return slalom::test::slalom(words, input);
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Every failure: exit code, one line for people, one document for programs.
void expect_failure(Words words, int code, const std::string& type, const std::string& where,
                    const std::string& message, const std::string& input = small_workspace()) {
  INFO(message);
  const Outcome plain = run(words, input);
  CHECK(plain.code == code);
  CHECK(plain.out.empty());
  INFO(plain.err);
  CHECK(plain.err.rfind("slalom: error: ", 0) == 0);
  CHECK(plain.err.find('\n') == plain.err.size() - 1);
  CHECK(contains(plain.err, message));
  words.push_back("--json");
  const Outcome json = run(words, input);
  CHECK(json.code == code);
  CHECK(json.err.empty());
  REQUIRE_NOTHROW(json.json());
  CHECK(json.error("type") == type);
  CHECK(json.error("where") == where);
  CHECK(contains(json.error("message"), message));
}

}  // namespace

TEST_CASE("help and version succeed", "[workflows][cli]") {
  for (const Words& words : {Words{"help"}, Words{"--help"}, Words{"-h"}}) {
    const Outcome outcome = run(words);
    CHECK(outcome.code == slalom::exit_success);
    CHECK(contains(outcome.out, "Usage: slalom VERB"));
    CHECK(contains(outcome.out, "inspect"));
  }
  for (const Words& words : {Words{"help", "fit"}, Words{"fit", "--help"}, Words{"fit", "-h"}}) {
    const Outcome outcome = run(words);
    CHECK(outcome.code == slalom::exit_success);
    CHECK(contains(outcome.out, "Usage: slalom fit [OPTIONS] WORKSPACE"));
    CHECK(contains(outcome.out, "--minos"));
  }
  for (const Words& words : {Words{"version"}, Words{"--version"}, Words{"-V"}}) {
    CHECK(run(words).out.rfind("slalom ", 0) == 0);
  }
  CHECK(run({"version", "--json"}).json().contains("version"));
}

TEST_CASE("wrong usage says what is wrong and what was probably meant", "[workflows][cli]") {
  const auto usage = [](const Words& words, const std::string& where, const std::string& message) {
    expect_failure(words, slalom::exit_usage, "usage", where, message);
  };
  CHECK(contains(run({}).err, "slalom: error: slalom: a verb is missing"));
  usage({"--quiet"}, "slalom", "options come after the verb, got '--quiet'");
  usage({"fti"}, "slalom", "there is no verb 'fti'; did you mean 'fit'?");
  usage({"zzzzzzzz"}, "slalom", "there is no verb 'zzzzzzzz'; `slalom --help`");
  usage({"fit"}, "slalom fit", "WORKSPACE is required");
  usage({"fit", "-", "--mino"}, "slalom fit",
        "there is no option '--mino'; did you mean '--minos'?");
  usage({"fit", "-", "--mino=mu"}, "slalom fit", "did you mean '--minos'?");
  usage({"fit", "-", "extra.json"}, "slalom fit", "one argument too many: 'extra.json'");
  CHECK(contains(run({"fit", "-", "--asimov"}).err, "slalom: error: --asimov: 1 required MU"));
  usage({"fit", "-", "--asimov", "much"}, "--asimov", "expected a finite number, got 'much'");
  usage({"fit", "-", "--asimov", "nan"}, "--asimov", "expected a finite number, got 'nan'");
  usage({"fit", "-", "--asimov", "1", "--asimov-fit", "1"}, "--asimov", "cannot be used together");
  usage({"contour", "-", "--threads", "0"}, "--threads", "expected an integer >= 1, got '0'");
  usage({"fit", "-", "--normsys-code", "code2"}, "--normsys-code",
        "'code2' is none of code1, code4");
  usage({"fit", "-", "--fix", "mv=1"}, "--fix", "there is no parameter 'mv'; did you mean 'mu'?");
  usage({"fit", "-", "--fix", "mu=x"}, "--fix", "expected a finite number, got 'x'");
  usage({"fit", "-", "--fix", "mu=11"}, "--fix", "11 is outside the bounds [0, 10]");
  usage({"fit", "-", "--fix", "mu", "--float", "mu"}, "--float", "also given to --fix");
  usage({"fit", "-", "--float", "nothing"}, "--float", "there is no parameter 'nothing'");
  usage({"fit", "-", "--minos", "scal"}, "--minos", "did you mean 'scale'?");
  usage({"fit", "-", "--minos", "mu", "--fix", "mu=1"}, "--minos", "parameter 'mu' is fixed");
  usage({"fit", "-", "--minos", "statistics"}, "--minos", "vector of 2 parameters");
  usage({"fit", "-", "--parameters", "-"}, "-", "standard input can be read only once");
}

TEST_CASE("wrong input names its place", "[workflows][cli]") {
  const auto with = [](const std::string& from, const std::string& to) {
    std::string text = small_workspace();
    text.replace(text.find(from), from.size(), to);
    return text;
  };
  const auto fails = [](const std::string& type, const std::string& where,
                        const std::string& message, const std::string& input) {
    for (const char* verb : {"validate", "inspect", "logpdf", "expected", "fit", "scan"}) {
      INFO(verb);
      expect_failure({verb, "-"}, slalom::exit_usage, type, where, message, input);
    }
  };
  expect_failure({"fit", "/nowhere/workspace.json"}, slalom::exit_usage, "io",
                 "/nowhere/workspace.json", "");
  fails("json", "<stdin>:1:1", "", "");
  fails("json", "<stdin>:1:2", "", "{]");
  fails("workspace", "/version", "", with("\"1.0.0\"", "\"2.0.0\""));
  fails("workspace", "/channels/0/samples/0/modifiers/0/type", "",
        with("\"normfactor\"", "\"normfacto\""));
  fails("workspace", "/observations/0/data", "", with("[53, 65]", "[53]"));
  expect_failure({"fit", "-", "--measurement", "nominl"}, slalom::exit_usage, "model",
                 "/measurements", "did you mean 'nominal'?");
}

TEST_CASE("every broken rule of a workspace is exit code 2 with its place", "[workflows][cli]") {
  for (const slalom::test::BadWorkspace& c : slalom::test::bad_workspaces()) {
    INFO(c.where);
    expect_failure({"validate", "-"}, slalom::exit_usage, "workspace", c.where, c.fragment,
                   slalom::dump_json(c.document));
  }
}

TEST_CASE("a parameter of interest that is not there is an error with advice", "[workflows][cli]") {
  std::string input = small_workspace();
  input.replace(input.find("\"poi\": \"mu\""), 11, "\"poi\": \"mu_signal\"");
  expect_failure({"fit", "-"}, slalom::exit_usage, "model", "/measurements/0/config/poi",
                 "--poi none", input);
  expect_failure({"validate", "-"}, slalom::exit_usage, "model", "/measurements/0/config/poi",
                 "--patch", input);
  expect_failure({"fit", "-", "--poi", "mux"}, slalom::exit_usage, "model", "--poi",
                 "did you mean 'mu'?", input);
  for (const Words& words : {Words{"fit", "-", "--poi", "none"}, Words{"fit", "-", "--poi", ""},
                             Words{"fit", "-", "--poi="}, Words{"fit", "-", "--poi", "mu"}}) {
    CHECK(run(words, input).code == slalom::exit_success);
  }
  expect_failure({"fit", "-", "--poi", "none", "--asimov", "1"}, slalom::exit_usage, "model",
                 "--poi", "no parameter of interest", input);
  const Outcome inspected = run({"inspect", "-", "--json"}, input);
  CHECK(inspected.code == slalom::exit_success);
  CHECK(inspected.json().at("poi").is_null());
  CHECK(inspected.json().at("warnings").at(0).at("where") == "/measurements/0/config/poi");
  CHECK(inspected.err.rfind("slalom: warning: /measurements/0/config/poi: ", 0) == 0);
}

TEST_CASE("warnings are lines, members of the document, or errors", "[workflows][cli]") {
  std::string input = small_workspace();
  input.replace(input.find("\"parameters\": []"), 16,
                R"("parameters": [{"name": "nobody", "inits": [1]}])");
  const Outcome plain = run({"logpdf", "-"}, input);
  CHECK(plain.code == slalom::exit_success);
  CHECK(plain.err.rfind("slalom: warning: /measurements/0/config/parameters/0: ", 0) == 0);
  CHECK(run({"logpdf", "-", "--quiet"}, input).err.empty());
  const Outcome json = run({"logpdf", "-", "--json", "--quiet"}, input);
  CHECK(json.json().at("warnings").size() == 1);
  expect_failure({"logpdf", "-", "--strict"}, slalom::exit_usage, "model",
                 "/measurements/0/config/parameters/0", "nobody", input);
}

TEST_CASE("results go to a file completely or not at all", "[workflows][cli]") {
  const TemporaryFolder folder;
  const Outcome table = run({"logpdf", "-", "-o", folder.path("value.txt")});
  CHECK(table.code == slalom::exit_success);
  CHECK(table.out.empty());
  CHECK(contains(text_of(folder.path("value.txt")), "log L = "));
  run({"logpdf", "-", "-o", folder.path("value.json")});
  CHECK(nlohmann::json::parse(text_of(folder.path("value.json"))).contains("logpdf"));
  run({"logpdf", "-", "--json", "--output=" + folder.path("value.txt")});
  CHECK(nlohmann::json::parse(text_of(folder.path("value.txt"))).contains("logpdf"));
  const std::string kept = folder.file("kept.json", "kept");
  CHECK(run({"logpdf", "-", "--fix", "mu=99", "-o", kept}).code == slalom::exit_usage);
  CHECK(text_of(kept) == "kept");
  const Outcome refused = run({"logpdf", "-", "-o", folder.path("no/such/folder.json")});
  CHECK(refused.code != slalom::exit_success);
  CHECK(contains(refused.err, "folder.json"));
}

TEST_CASE("the point of evaluation comes from a file and from options", "[workflows][cli]") {
  const TemporaryFolder folder;
  const auto point = [&](const std::string& text) {
    return Words{"logpdf", "-", "--parameters", folder.file("point.json", text), "--json"};
  };
  const Outcome vector = run(point(R"({"mu": 2, "statistics": [0.5, 1.5]})"));
  REQUIRE(vector.code == slalom::exit_success);
  CHECK(vector.json().at("parameters").at("mu") == 2.0);
  CHECK(vector.json().at("parameters").at("statistics[1]") == 1.5);
  CHECK(vector.json().at("parameters").at("scale") == 0.0);
  CHECK(run(point(R"({"statistics[0]": 0.5})")).json().at("parameters").at("statistics[0]") == 0.5);
  Words words = point(R"({"mu": 2})");
  words.insert(words.end(), {"--fix", "mu=3", "--fix", "statistics=2"});
  CHECK(run(words).json().at("parameters").at("mu") == 3.0);
  CHECK(run(words).json().at("parameters").at("statistics[1]") == 2.0);

  const std::string path = folder.path("point.json");
  const auto fails = [&](const std::string& text, const std::string& where,
                         const std::string& message) {
    folder.file("point.json", text);
    expect_failure({"logpdf", "-", "--parameters", path}, slalom::exit_usage, "usage", where,
                   message);
  };
  fails("[]", path, "an object");
  fails(R"({"nu": 1})", path + "#/nu", "did you mean 'mu'?");
  fails(R"({"mu": -1})", path + "#/mu", "-1 is outside the bounds [0, 10]");
  fails(R"({"mu": "1"})", path + "#/mu", "a number was expected, got string");
  fails(R"({"mu": true})", path + "#/mu", "a number was expected, got boolean");
  fails(R"({"statistics": 1})", path + "#/statistics", "an array of 2 numbers");
  fails(R"({"statistics": [1]})", path + "#/statistics", "2 values expected, got 1");
  fails(R"({"statistics": [1, 99]})", path + "#/statistics/1", "outside the bounds");
}

TEST_CASE("interpolation codes change the likelihood away from the nominal", "[workflows][cli]") {
  const auto value = [](const std::string& code) {
    return run({"logpdf", "-", "--json", "--fix", "scale=0.5", "--normsys-code", code})
        .json()
        .at("logpdf")
        .get<double>();
  };
  CHECK(std::abs(value("code1") - value("code4")) > 1e-9);
  CHECK_THAT(value("code1"), WithinAbs(value("code4"), 0.1));
}

TEST_CASE("completion scripts name verbs and options", "[workflows][cli]") {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const Outcome outcome = run({"completion", shell});
    CHECK(outcome.code == slalom::exit_success);
    CHECK(contains(outcome.out, "inspect"));
    CHECK(contains(outcome.out, "normsys-code"));
    CHECK(contains(outcome.out, "code4p"));
  }
  expect_failure({"completion", "csh"}, slalom::exit_usage, "usage", "SHELL",
                 "'csh' is none of bash, zsh, fish");
}
