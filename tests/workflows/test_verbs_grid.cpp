// SPDX-License-Identifier: Apache-2.0
/// \file
/// `patchset run` and `patchset merge`.
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "slalom/core/json.hpp"
#include "support/catch.hpp"
#include "support/command_line.hpp"
#include "support/xml.hpp"

using Catch::Matchers::WithinRel;
using nlohmann::json;
using slalom::test::Outcome;
using slalom::test::small_workspace;
using slalom::test::TemporaryFolder;
using slalom::test::text_of;
using Words = std::vector<std::string>;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

Words operator+(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// The small workspace without its signal.
std::string background() {
  json workspace = json::parse(small_workspace());
  workspace["channels"][0]["samples"].erase(0);
  return workspace.dump();
}

json signal_patch(double first, double second) {
  json signal = json::parse(small_workspace())["channels"][0]["samples"][0];
  signal["data"] = {first, second};
  return {{{"op", "add"}, {"path", "/channels/0/samples/0"}, {"value", signal}}};
}

/// A grid of `n` signals in a folder; number `bad` cannot be applied.
class GridFolder {
 public:
  explicit GridFolder(std::size_t n = 6, std::size_t bad = 100) {
    json set = json::parse(R"json({
      "metadata": {"references": {"hepdata": "ins1234567"}, "digests": {},
                   "labels": ["mass", "kind"], "description": "signals"},
      "patches": [], "version": "1.0.0"})json");
    set["metadata"]["digests"]["sha256"] = slalom::digest(json::parse(background()));
    for (std::size_t i = 0; i < n; ++i) {
      json patch = signal_patch(3.0 + static_cast<double>(i), 6.0);
      if (i == bad) patch[0]["path"] = "/channels/7/samples/0";
      set["patches"].push_back(
          {{"metadata", {{"name", "s" + std::to_string(i)}, {"values", {100 * i, "a,b"}}}},
           {"patch", patch}});
    }
    folder_.file("background.json", background());
    folder_.file("set.json", set.dump(1));
  }

  std::string path(const std::string& name) const { return folder_.path(name); }
  std::string file(const std::string& name, const std::string& text) const {
    return folder_.file(name, text);
  }
  Outcome run(const Words& more) const {
    return slalom::test::slalom(
        Words{"patchset", "run", path("background.json"), path("set.json")} + more);
  }

 private:
  TemporaryFolder folder_;
};

/// Results without what differs from run to run.
json timeless(json document) {
  for (json& row : document["results"]) row.erase("seconds");
  return document;
}

json document_of(const Outcome& outcome) { return json::parse(outcome.out); }

std::size_t lines_of(const std::string& path) {
  const std::string text = text_of(path);
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace

TEST_CASE("a grid has the numbers of the single verbs", "[workflows][verbs_grid]") {
  const GridFolder folder(2);
  const Outcome outcome = folder.run({"--limit", "--discovery", "--mu", "0.5", "--json"});
  REQUIRE(outcome.code == slalom::exit_success);
  const json document = document_of(outcome);
  CHECK(document["n_signals"] == 2);
  CHECK(document["complete"] == true);
  CHECK(document["labels"] == json({"mass", "kind"}));
  const json& row = document["results"][1];
  CHECK(row["name"] == "s1");
  CHECK(row["values"] == json({100, "a,b"}));
  CHECK(row["status"] == "ok");
  CHECK(row["converged"] == true);
  CHECK(row["seconds"] > 0.0);
  const Words model{folder.path("background.json"),
                    "--patchset",
                    folder.path("set.json"),
                    "--patch-name",
                    "s1",
                    "--json"};
  const auto single = [&](const Words& verb) {
    const Outcome one = slalom::test::slalom(verb + model);
    CAPTURE(one.out, one.err);
    REQUIRE(one.code == slalom::exit_success);
    return document_of(one);
  };
  const auto close = [](const json& a, const json& b) {
    CHECK_THAT(a.get<double>(), WithinRel(b.get<double>(), 1e-7));
  };
  const json cls = single(Words{"cls"} + Words{"--mu", "0.5"});
  for (const char* key : {"cls_observed", "clsb", "clb", "test_statistic", "best_fit"}) {
    close(row[key], cls[key]);
  }
  const json limit = single({"limit"});
  close(row["limit"]["observed"], limit["observed"]);
  for (std::size_t i = 0; i < 5; ++i) {
    close(row["cls_expected"][i], cls["cls_expected"][i]);
    close(row["limit"]["expected"][i], limit["expected"][i]);
  }
  const json discovery = single({"discovery"});
  close(row["discovery"]["z_observed"], discovery["z_observed"]);
  close(row["discovery"]["p0_expected"], discovery["p0_expected"]);
}

TEST_CASE("a grid does not depend on threads or on warm starts", "[workflows][verbs_grid]") {
  const GridFolder folder;
  const json one = timeless(document_of(folder.run({"--json", "--threads", "1"})));
  CHECK(timeless(document_of(folder.run({"--json", "--threads", "4"}))) == one);
  const json cold = timeless(document_of(folder.run({"--json", "--cold"})));
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK_THAT(cold["results"][i]["cls_observed"].get<double>(),
               WithinRel(one["results"][i]["cls_observed"].get<double>(), 1e-8));
  }
}

TEST_CASE("a grid comes as a table and as comma-separated values", "[workflows][verbs_grid]") {
  const GridFolder folder(3, 1);
  const Outcome table = folder.run({});
  CHECK(table.code == slalom::exit_failure);
  CHECK(contains(table.out, "expected"));
  CHECK(contains(table.out, "3 of 3 signals"));
  CHECK(contains(table.out, "1 signal failed"));
  CHECK(contains(table.out, "there is no index '7'"));
  const Outcome csv = folder.run({"--csv", "--limit"});
  CHECK(csv.code == slalom::exit_failure);
  std::istringstream lines(csv.out);
  std::string line;
  std::getline(lines, line);
  CHECK(line.rfind("name,mass,kind,status,mu,cls_observed,cls_expected_minus2,", 0) == 0);
  CHECK(contains(line, ",limit_observed,"));
  CHECK_FALSE(contains(line, "p0"));
  std::getline(lines, line);
  CHECK(line.rfind("s0,0,\"a,b\",ok,1,0.", 0) == 0);
  std::getline(lines, line);
  CHECK(line.rfind("s1,100,\"a,b\",failed,,,", 0) == 0);
  const std::string file = folder.path("grid.csv");
  CHECK(folder.run({"-o", file}).code == slalom::exit_failure);
  CHECK(text_of(file).rfind("name,mass,", 0) == 0);
}

TEST_CASE("one bad patch does not stop the others", "[workflows][verbs_grid]") {
  const GridFolder folder(4, 2);
  const Outcome outcome = folder.run({"--json"});
  CHECK(outcome.code == slalom::exit_failure);
  const json document = document_of(outcome);
  CHECK(document["n_failed"] == 1);
  REQUIRE(document["results"].size() == 4);
  const json& bad = document["results"][2];
  CHECK(bad["status"] == "failed");
  CHECK(contains(bad["message"], "there is no index '7'"));
  CHECK(contains(bad["where"], "set.json#/patches/2/patch/0"));
  CHECK_FALSE(bad.contains("cls_observed"));
  CHECK(document["results"][3]["status"] == "ok");
  CHECK(folder.run({"--json", "--accept-failures"}).code == slalom::exit_success);
}

TEST_CASE("fits that do not converge are rows with exit code 3", "[workflows][verbs_grid]") {
  const TemporaryFolder folder;
  json workspace = json::parse(background());
  json patch = signal_patch(3.0, 6.0);
  // Two factors on the same sample: only their product is determined.
  patch[0]["value"]["modifiers"].push_back(
      {{"name", "nu"}, {"type", "normfactor"}, {"data", nullptr}});
  const Outcome outcome =
      slalom::test::slalom({"patchset", "run", folder.file("b.json", workspace.dump()),
                            folder.file("flat.json", patch.dump()),
                            folder.file("good.json", signal_patch(3.0, 6.0).dump()), "--json"});
  CHECK(outcome.code == slalom::exit_not_converged);
  const json document = document_of(outcome);
  CHECK(document["n_not_converged"] == 1);
  CHECK(document["results"][0]["status"] == "not_converged");
  CHECK(document["results"][0]["converged"] == false);
  CHECK_FALSE(document["results"][0]["message"].get<std::string>().empty());
  CHECK(document["results"][1]["status"] == "ok");
}

TEST_CASE("signals come from files and folders, too", "[workflows][verbs_grid]") {
  const GridFolder folder(1);
  std::filesystem::create_directory(folder.path("patches"));
  folder.file("patches/b.json", signal_patch(4.0, 6.0).dump());
  folder.file("patches/a.json", "\n " + signal_patch(5.0, 6.0).dump());
  folder.file("patches/workspace.json", background());
  folder.file("patches/notes.txt", "[");
  const Outcome outcome = folder.run(
      {folder.file("own.json", signal_patch(3.0, 6.0).dump()), folder.path("patches"), "--json"});
  REQUIRE(outcome.code == slalom::exit_success);
  const json document = document_of(outcome);
  std::vector<std::string> names;
  for (const json& row : document["results"]) names.push_back(row["name"]);
  CHECK(names == std::vector<std::string>{"s0", "own", "a", "b"});
  CHECK(document["results"][1]["cls_observed"] == document["results"][0]["cls_observed"]);
  CHECK(document["results"][1]["values"] == json::array());

  const auto fails = [&](const Words& words, const std::string& message) {
    const Outcome failed = folder.run(words + Words{"--json"});
    CHECK(failed.code == slalom::exit_usage);
    CHECK(contains(failed.error("message"), message));
  };
  fails({folder.file("s0.json", signal_patch(3.0, 6.0).dump())}, "a second signal named 's0'");
  std::filesystem::create_directory(folder.path("empty"));
  fails({folder.path("empty")}, "no file *.json that holds a JSON patch");
  fails({folder.path("nowhere.json")}, "cannot be read");
  fails({folder.file("broken.json", "{")}, "");
}

TEST_CASE("a patch for the background comes before the signals", "[workflows][verbs_grid]") {
  const GridFolder folder(1);
  const std::string patch = folder.file(
      "p.json", R"([{"op": "replace", "path": "/observations/0/data", "value": [90, 90]}])");
  const json plain = document_of(folder.run({"--json"}));
  const json patched = document_of(folder.run({"--json", "--patch", patch}));
  CHECK(patched["results"][0]["best_fit"] > plain["results"][0]["best_fit"]);
  CHECK(patched["workspace"] != plain["workspace"]);
  const json fixed = document_of(folder.run({"--json", "--fix", "scale=0"}));
  CHECK(fixed["results"][0]["cls_observed"] != plain["results"][0]["cls_observed"]);
  CHECK(fixed["options"]["fix"] == json({"scale=0"}));
  const Outcome unknown = folder.run({"--json", "--fix", "nothing=0"});
  CHECK(document_of(unknown)["results"][0]["status"] == "failed");
}

TEST_CASE("a workspace that the set was not made for is a warning", "[workflows][verbs_grid]") {
  const GridFolder folder(1);
  json other = json::parse(background());
  other["observations"][0]["data"] = {1, 2};
  const std::string path = folder.file("background.json", other.dump());
  const Outcome outcome = folder.run({"--json"});
  CHECK(outcome.code == slalom::exit_success);
  CHECK(contains(outcome.err, "the patch set belongs to another document"));
  CHECK_FALSE(document_of(outcome)["warnings"].empty());
  CHECK(folder.run({"--json", "--no-verify"}).err.empty());
  CHECK(folder.run({"--json", "--strict"}).code == slalom::exit_usage);
}

TEST_CASE("warnings of a signal belong to its row", "[workflows][verbs_grid]") {
  const GridFolder folder(1);
  json patch = signal_patch(3.0, 6.0);
  patch.push_back({{"op", "remove"}, {"path", "/channels/1"}});
  const std::string path = folder.file("drops.json", patch.dump());
  const Outcome outcome = folder.run({path, "--json"});
  CHECK(outcome.code == slalom::exit_success);
  const json document = document_of(outcome);
  CHECK_FALSE(document["results"][0].contains("warnings"));
  REQUIRE(document["results"][1]["warnings"].size() == 1);
  CHECK(contains(document["results"][1]["warnings"][0]["message"], "control_region"));
  const Outcome strict = folder.run({path, "--json", "--strict"});
  CHECK(strict.code == slalom::exit_failure);
  CHECK(document_of(strict)["results"][0]["status"] == "ok");
  CHECK(document_of(strict)["results"][1]["status"] == "failed");
}

TEST_CASE("warnings of all signals are told once", "[workflows][verbs_grid]") {
  const GridFolder folder(3, 1);
  json workspace = json::parse(background());
  workspace["measurements"][0]["config"]["parameters"].push_back(
      {{"name", "nothing"}, {"inits", {1}}});
  folder.file("background.json", workspace.dump());
  const Outcome outcome = folder.run({"--json", "--no-verify"});
  const json document = document_of(outcome);
  REQUIRE(document["warnings"].size() == 1);
  CHECK(contains(document["warnings"][0]["message"], "parameter 'nothing'"));
  CHECK(contains(outcome.err, "parameter 'nothing'"));
  for (const json& row : document["results"]) CHECK_FALSE(row.contains("warnings"));
}

TEST_CASE("a run is resumed from complete lines", "[workflows][verbs_grid]") {
  const GridFolder folder(6, 4);
  const std::string journal = folder.path("results.jsonl");
  const json whole = timeless(document_of(folder.run({"--json"})));
  const Outcome first = folder.run({"--json", "--resume", journal, "--threads", "1"});
  CHECK(first.code == slalom::exit_failure);
  CHECK(timeless(document_of(first)) == whole);
  REQUIRE(lines_of(journal) == 7);

  SECTION("nothing is left to do but what failed") {
    const std::string before = text_of(journal);
    CHECK(timeless(document_of(folder.run({"--json", "--resume", journal}))) == whole);
    CHECK(text_of(journal).rfind(before, 0) == 0);
    CHECK(lines_of(journal) == 8);
  }
  SECTION("a line that was cut is dropped, and its signal tested again") {
    const std::string text = text_of(journal);
    std::size_t fourth = 0;
    for (int i = 0; i < 4; ++i) fourth = text.find('\n', fourth) + 1;
    for (const std::size_t cut : {fourth + 1, fourth + 40, fourth}) {
      folder.file("results.jsonl", text.substr(0, cut));
      const Outcome second = folder.run({"--json", "--resume", journal, "--threads", "1"});
      CHECK(timeless(document_of(second)) == whole);
      CHECK(lines_of(journal) == 7);
      CHECK(text_of(journal).substr(0, fourth) == text.substr(0, fourth));
    }
    folder.file("results.jsonl", text.substr(0, 20));
    CHECK(timeless(document_of(folder.run({"--json", "--resume", journal}))) == whole);
  }
  SECTION("results of other work are refused") {
    const auto refused = [&](const Words& words, const std::string& message) {
      const Outcome outcome = folder.run(Words{"--json", "--resume", journal} + words);
      CAPTURE(outcome.out, message);
      CHECK(outcome.code == slalom::exit_usage);
      CHECK(contains(outcome.error("message"), message));
      CHECK(contains(outcome.error("where"), "results.jsonl"));
    };
    refused({"--mu", "2"}, "mu is 1.0 there and 2.0 here");
    refused({"--limit"}, "level is null there and 0.05 here");
    refused({folder.file("more.json", signal_patch(1, 2).dump())}, "the signals are not the same");
    refused({"--patch", folder.file("p.json", R"([{"op": "remove", "path": "/measurements/1"}])")},
            "the workspace is sha256:");
  }
  SECTION("a file that is something else is refused and left alone") {
    for (const std::string text : {"hello\n", "{}\n", "{\"format\": 3}\n"}) {
      folder.file("results.jsonl", text);
      CHECK(folder.run({"--json", "--resume", journal}).code == slalom::exit_usage);
      CHECK(text_of(journal) == text);
    }
    const std::string header = text_of(folder.path("set.json"));
    CHECK(folder.run({"--json", "--resume", folder.path("set.json")}).code == slalom::exit_usage);
    CHECK(text_of(folder.path("set.json")) == header);
  }
  SECTION("what is damaged in the middle is named") {
    std::ofstream(journal, std::ios::app) << "garbage\n";
    const Outcome outcome = folder.run({"--json", "--resume", journal});
    CHECK(outcome.code == slalom::exit_usage);
    CHECK(contains(outcome.error("where"), "results.jsonl:8"));
  }
}

TEST_CASE("shards merge into the whole", "[workflows][verbs_grid]") {
  const GridFolder folder(7);
  const json whole = timeless(document_of(folder.run({"--json"})));
  Words parts;
  for (const std::string shard : {"3/3", "1/3", "2/3"}) {
    parts.push_back(folder.path("part" + shard.substr(0, 1) + ".json"));
    const Outcome outcome = folder.run({"--shard", shard, "-o", parts.back()});
    CHECK(outcome.code == slalom::exit_success);
  }
  CHECK(json::parse(text_of(parts[0]))["results"].size() == 2);
  CHECK(json::parse(text_of(parts[0]))["complete"] == false);
  // A file of --resume is as good as a document.
  parts[1] = folder.path("part1.jsonl");
  CHECK(folder.run({"--shard", "1/3", "--resume", parts[1], "--quiet"}).code ==
        slalom::exit_success);
  const auto merge = [&](const Words& files, const Words& more = {"--json"}) {
    return slalom::test::slalom(Words{"patchset", "merge"} + files + more);
  };
  const Outcome merged = merge(parts);
  CHECK(merged.code == slalom::exit_success);
  CHECK(timeless(document_of(merged)) == whole);
  CHECK(contains(merge(parts, {"--csv"}).out, "s6,600,"));
  CHECK(contains(merge(parts, {}).out, "7 of 7 signals"));

  const Outcome missing = merge({parts[0], parts[1]});
  CHECK(missing.code == slalom::exit_usage);
  CHECK(contains(missing.error("message"), "2 of 7 signals missing, the first is number 2"));
  const Outcome partial = merge({parts[0], parts[1]}, {"--json", "--partial"});
  CHECK(partial.code == slalom::exit_success);
  CHECK(document_of(partial)["complete"] == false);
  CHECK(document_of(partial)["results"].size() == 5);
  CHECK(contains(partial.err, "2 of 7 signals missing"));

  const Outcome twice = merge(parts + Words{parts[0]});
  CHECK(twice.code == slalom::exit_usage);
  CHECK(contains(twice.error("message"), "signal 's2' is also in"));
  const std::string other = folder.path("other.json");
  folder.run({"--shard", "2/3", "--mu", "2", "-o", other});
  CHECK(contains(merge({parts[0], other}).error("message"), "mu is 1.0 there and 2.0 here"));
  CHECK(merge({folder.path("set.json")}).error("type") == "usage");
  CHECK(merge({folder.file("text.json", "{\"a\": NaN}")}).error("type") == "json");
}

TEST_CASE("options of a grid that make no sense are refused", "[workflows][verbs_grid]") {
  const GridFolder folder(2);
  const auto where = [&](const Words& words) {
    const Outcome outcome = folder.run(words + Words{"--json"});
    CHECK(outcome.code == slalom::exit_usage);
    return outcome.error("where");
  };
  for (const std::string shard : {"0/2", "3/2", "1", "a/b", "1/0", "-1/2"}) {
    CAPTURE(shard);
    CHECK(where({"--shard", shard}) == "--shard");
  }
  CHECK(where({"--level", "0.1"}) == "--level");
  CHECK(where({"--limit", "--level", "1"}) == "--level");
  CHECK(where({"--resume", "-"}) == "--resume");
  CHECK(where({"--csv"}) == "--csv");
  // More shards than signals: some have nothing to do.
  const Outcome empty = folder.run({"--shard", "3/3", "--json"});
  CHECK(empty.code == slalom::exit_success);
  CHECK(document_of(empty)["results"] == json::array());
}

namespace {

/// A grid over two masses; `n` values of each.
std::string plane_set(std::size_t n) {
  json set = json::parse(R"json({
    "metadata": {"references": {"hepdata": "ins1234567"}, "digests": {},
                 "labels": ["mass", "other"], "description": "signals"},
    "patches": [], "version": "1.0.0"})json");
  set["metadata"]["digests"]["sha256"] = slalom::digest(json::parse(background()));
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      const double yield = 40.0 / static_cast<double>(1 + i + j);
      set["patches"].push_back(
          {{"metadata",
            {{"name", "s" + std::to_string(10 * i + j)}, {"values", {100 * i, 10 * j}}}},
           {"patch", signal_patch(yield, 2.0 * yield)}});
    }
  }
  return set.dump();
}

/// What is printed in a picture.
slalom::test::Xml picture_of(const std::string& path) {
  return slalom::test::read_xml(text_of(path));
}

}  // namespace

TEST_CASE("a grid of one label is drawn as a band", "[workflows][verbs_grid]") {
  if (!slalom::test::has_gnuplot()) return;
  const GridFolder folder;
  const std::string file = folder.path("grid.json"), plot = folder.path("plot.svg");
  const Words texts{"--plot", plot, "--label", "mass", "m_{X} [GeV]", "--note", "139 fb^{-1}"};
  REQUIRE(folder.run(Words{"--limit", "-o", file} + texts).code == 0);
  auto svg = picture_of(plot);
  CHECK(svg.contains("95 % CL upper limit on mu"));
  CHECK(svg.contains("[GeV]"));
  CHECK(svg.contains("139 fb"));
  // The same from the results; CLs without limits.
  const std::string first = text_of(plot);
  REQUIRE(slalom::test::slalom(Words{"patchset", "merge", file} + texts).code == 0);
  CHECK(text_of(plot) == first);
  REQUIRE(folder.run(texts).code == 0);
  svg = picture_of(plot);
  CHECK(svg.contains("Test of mu = 1"));
  CHECK_FALSE(svg.contains("upper limit"));
}

TEST_CASE("a grid of two labels is drawn as a region", "[workflows][verbs_grid]") {
  if (!slalom::test::has_gnuplot()) return;
  const GridFolder folder;
  folder.file("set.json", plane_set(4));
  const std::string plot = folder.path("plot.svg");
  for (const char* limit : {"--limit", "--discovery"}) {
    REQUIRE(folder.run({limit, "--plot", plot, "--x", "other"}).code == 0);
    const auto svg = picture_of(plot);
    CHECK(svg.contains("95 % CL exclusion"));
    CHECK(svg.contains("mu = 1"));
    CHECK(svg.contains("Excluded signal"));
  }
  REQUIRE(folder.run({"--limit", "--plot", plot, "--slice", "other=20"}).code == 0);
  CHECK(picture_of(plot).contains("other = 20"));
  CHECK(picture_of(plot).contains("95 % CL upper limits"));
  // A picture that cannot be drawn does not take the result away.
  const Outcome none = folder.run({"--json", "--plot", plot, "--slice", "other=25"});
  CHECK(none.code == 1);
  CHECK(document_of(none).at("results").size() == 16);
  CHECK(contains(none.err, "there are no signals"));
}

TEST_CASE("grids come in the form of Combine and of pyhf", "[workflows][verbs_grid]") {
  const GridFolder folder(4, 2);
  const json own = document_of(folder.run({"--limit", "--json"}));
  const Outcome combine = folder.run({"--limit", "--format", "combine"});
  CHECK(combine.code == 1);  // one signal failed
  const json limits = document_of(combine);
  REQUIRE(limits.size() == 3);
  CHECK(limits.at("300.0").at("obs") == own.at("results").at(3).at("limit").at("observed"));
  CHECK(limits.at("0.0").at("exp+1") == own.at("results").at(0).at("limit").at("expected").at(3));
  const json cls = document_of(folder.run({"--format", "pyhf"}));
  REQUIRE(cls.size() == 3);
  CHECK(cls.at("s1").at("CLs_obs") == own.at("results").at(1).at("cls_observed"));
  CHECK(cls.at("s1").at("CLs_exp") == own.at("results").at(1).at("cls_expected"));
  folder.file("set.json", plane_set(3));
  const Outcome both = folder.run({"--limit", "--format", "combine"});
  CHECK(both.code == 2);
  CHECK(contains(both.err, "'other' varies as well"));
  const json slice = document_of(
      folder.run({"--limit", "--format", "combine", "--slice", "mass=100", "--x", "other"}));
  CHECK(slice.size() == 3);
  CHECK(slice.contains("20.0"));
}

TEST_CASE("wrong options of pictures of grids are told first", "[workflows][verbs_grid]") {
  const GridFolder folder;
  const auto refused = [&](const Words& words) {
    const Outcome outcome = folder.run(words);
    CHECK(outcome.code == 2);
    return outcome.err;
  };
  CHECK(contains(refused({"--plot", "x.gif"}), "x.gif"));
  CHECK(contains(refused({"--note", "text"}), "--note: needs --plot"));
  CHECK(contains(refused({"--x", "mass"}), "--x"));
  CHECK(contains(refused({"--plot", "x.svg", "--x", "mas"}), "did you mean 'mass'"));
  CHECK(contains(refused({"--plot", "x.svg", "--slice", "mass"}), "LABEL=VALUE"));
  CHECK(contains(refused({"--format", "combine"}), "--limit"));
}
