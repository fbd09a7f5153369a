// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "experiments/experiments.hpp"
#include "slalom/workflows/experiment.hpp"
#include "slalom/workflows/study.hpp"
#include "support/catch.hpp"
#include "support/command_line.hpp"
#include "support/fails.hpp"
#include "support/xml.hpp"

using namespace slalom;
using namespace slalom::test;
namespace fs = std::filesystem;

namespace {

Json small_study() {
  return Json::parse(R"({
    "name": "two ways",
    "experiment": "small.json",
    "seeds": [2, 1],
    "figures": ["/test/sigma/0", "/test/z"],
    "variants": [{"name": "bins"}, {"name": "fast", "set": ["optimizer.learning_rate=2e-5"]}]
  })");
}

/// A folder with the documents.
struct StudyFolder : TemporaryFolder {
  explicit StudyFolder(std::int64_t steps = 12) {
    Json document = small_experiment(steps);
    // Long trainings on few events would leave bins empty.
    if (steps > 100) document["optimizer"]["learning_rate"] = 1e-5;
    file("small.json", document.dump());
    file("study.json", small_study().dump());
  }
  StudyOptions study() const { return read_study(small_study(), path("")); }
};

StudyHooks hooks() {
  StudyHooks result;
  result.program = SLALOM_EXECUTABLE;
  result.jobs = 2;
  return result;
}

/// Runs the program. \returns its exit code
int shell(const TemporaryFolder& folder, const std::string& words) {
  const std::string line =
      "cd '" + folder.path("") + "' && '" SLALOM_EXECUTABLE "' " + words + " > stdout 2> stderr";
  const int status = std::system(line.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// Starts the program in a folder.
pid_t start(const TemporaryFolder& folder, const std::vector<std::string>& words) {
  std::vector<std::string> all{SLALOM_EXECUTABLE};
  all.insert(all.end(), words.begin(), words.end());
  std::vector<char*> pointers;
  for (std::string& word : all) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  const std::string place = folder.path(""), log = folder.path("log");
  const pid_t process = fork();
  if (process != 0) return process;
  if (chdir(place.c_str()) != 0 || freopen(log.c_str(), "a", stdout) == nullptr ||
      freopen(log.c_str(), "a", stderr) == nullptr) {
    _exit(1);
  }
  execv(pointers[0], pointers.data());
  _exit(1);
}

int wait_for(pid_t process) {
  int status = 0;
  waitpid(process, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// Waits until something is true. \returns false after a minute
template <class Condition>
bool becomes(Condition&& condition) {
  for (int i = 0; i < 3000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return false;
}

std::size_t lines_of(const std::string& file) {
  const std::string text = text_of(file);
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace

TEST_CASE("bad studies are refused with their place", "[workflows][study]") {
  const StudyFolder folder;
  struct Case {
    std::string set, where, message;
  };
  const std::vector<Case> cases{
      {"variant=1", "/variant", "did you mean 'variants'?"},
      {"name=1", "/name", "expected a text"},
      {"variants=[]", "/variants", "at least one variant"},
      {"variants=3", "/variants", "expected a list"},
      {"variants.0.name=\"\"", "/variants/0/name", "needs a name"},
      {"variants.0.name=a/b", "/variants/0/name", "cannot be the name of a folder"},
      {"variants.0.name=..", "/variants/0/name", "cannot be the name of a folder"},
      {"variants.0.name=-q", "/variants/0/name", "cannot be the name of a folder"},
      {"variants.0.name=plots", "/variants/0/name", "of the study's own"},
      {"variants.0.name=study.json", "/variants/0/name", "of the study's own"},
      {"variants.1.name=bins", "/variants/1/name", "another variant 'bins'"},
      {"variants.1.sets=[]", "/variants/1/sets", "did you mean 'set'?"},
      {"variants.1.set=[\"seed=3\"]", "/variants/1/set/0", "the study sets it"},
      {"experiment=\"\"", "/variants/0/experiment", "names an experiment"},
      {"seeds=[]", "/seeds", "at least one seed"},
      {"seeds=[1, 2, 1]", "/seeds/2", "seed 1 is there already"},
      {"seeds=[1, -2]", "/seeds/1", ">= 0"},
      {"seeds=[1.5]", "/seeds/0", "integer"},
      {"data_seeds=1", "/data_seeds", "true or false"},
      {"figures=[]", "/figures", "at least one figure"},
      {"figures=[\"test.sigma\"]", "/figures/0", "a JSON pointer"},
      {"figures=[\"\"]", "/figures/0", "a JSON pointer"},
      {"figures=[\"/z\", \"/z\"]", "/figures/1", "there already"},
  };
  for (const Case& c : cases) {
    INFO(c.set);
    Json document = small_study();
    set_value(document, c.set);
    check_fails(ErrorKind::usage, c.where, c.message,
                [&] { read_study(document, folder.path("")); });
  }
  check_fails(ErrorKind::usage, "/", "expected an object", [] { read_study(Json::array()); });
}

TEST_CASE("errors in the experiments of a study name the variant", "[workflows][study]") {
  const StudyFolder folder;
  const auto with = [&](const std::string& set) {
    Json document = small_study();
    set_value(document, set);
    return read_study(document, folder.path(""));
  };
  check_fails(ErrorKind::io, "/experiment", "nowhere.json",
              [&] { study_experiments(with("experiment=nowhere.json")); });
  check_fails(ErrorKind::usage, "/variants/1/set/0", "expected KEY.KEY=VALUE",
              [&] { study_experiments(with("variants.1.set=[\"steps\"]")); });
  check_fails(ErrorKind::usage, "/variants/1", "variant 'fast': unknown key 'step'",
              [&] { study_experiments(with("variants.1.set=[\"training.step=1\"]")); });
  folder.file("broken.json", "{\"name\": ");
  check_fails(ErrorKind::json, "/variants/0/experiment", "broken.json",
              [&] { study_experiments(with("variants.0.experiment=broken.json")); });
  const auto experiments = study_experiments(folder.study());
  REQUIRE(experiments.size() == 2);
  const auto rate = [&](std::size_t k) {
    return experiments[k].document.at("optimizer").at("learning_rate");
  };
  CHECK(rate(1) == 2e-5);
  CHECK(rate(0).at("start") == 0.01);
}

TEST_CASE("a study reads its own document and has a schema", "[workflows][study]") {
  const StudyOptions options = read_study(small_study());
  const auto document = study_document(options);
  CHECK(document.at("data_seeds") == false);
  CHECK(study_document(read_study(Json::parse(document.dump()))) == document);
  const auto schema = study_schema();
  for (const auto& item : document.items()) CHECK(schema.at("properties").contains(item.key()));
  CHECK(schema.at("additionalProperties") == false);
}

TEST_CASE("medians and spreads over seeds", "[workflows][study]") {
  const TemporaryFolder folder;
  Json document = small_study();
  document["seeds"] = {1, 2, 3, 4, 5};
  document["figures"] = {"/test/sigma/0", "/nothing", "/name"};
  const StudyOptions options = read_study(document);
  const auto result = [&](const std::string& run, double sigma) {
    fs::create_directories(folder.path(run));
    folder.file(run + "/result.json", Json{{"name", "x"}, {"test", {{"sigma", {sigma}}}}}.dump());
  };
  result("bins/seed-1", 4.0);
  result("bins/seed-2", 1.0);
  result("bins/seed-3", 2.0);
  result("bins/seed-5", 9.0);
  result("fast/seed-2", 7.0);
  const std::vector<StudyRun> runs = study_runs(options, folder.path(""));
  REQUIRE(runs.size() == 10);
  const StudyComparison comparison = compare_runs(options, runs, folder.path(""));
  const FigureSummary& bins = comparison.table[0][0];
  CHECK(bins.n == 4);
  CHECK(bins.median == 3.0);
  CHECK(bins.min == 1.0);
  CHECK(bins.max == 9.0);
  CHECK(*bins.spread == Approx(std::sqrt(38.0 / 3.0)));
  CHECK_FALSE(bins.values[3].has_value());
  CHECK(bins.values[4] == 9.0);
  const FigureSummary& fast = comparison.table[1][0];
  CHECK(fast.median == 7.0);
  CHECK_FALSE(fast.spread.has_value());
  CHECK(comparison.table[0][1].n == 0);
  REQUIRE(comparison.warnings.size() == 2);
  CHECK(comparison.warnings[0].where == "/nothing");
  CHECK(comparison.warnings[1].where == "/name");
  CHECK(comparison_csv(options, comparison).find("bins,/test/sigma/0,4,3,1,9,") !=
        std::string::npos);
  CHECK(comparison_text(options, comparison).find("4/5") != std::string::npos);
  const auto table = comparison_document(options, runs, comparison);
  CHECK(table["variants"][1]["runs"][1]["values"]["/test/sigma/0"] == 7.0);
  CHECK(table["variants"][1]["runs"][0]["state"] == "waiting");
}

TEST_CASE("bootstraps of a study, and their ratio to the first variant", "[workflows][study]") {
  const TemporaryFolder folder;
  Json document = small_study();
  document["seeds"] = {1, 2};
  document["figures"] = {"/test/sigma/0"};
  document["variants"].push_back({{"name", "other"}});
  const StudyOptions options = read_study(document);
  const auto result = [&](const std::string& run, double sigma, const Json& bootstraps,
                          const std::string& data) {
    fs::create_directories(folder.path(run));
    Json text{{"test", {{"sigma", {sigma}}}}};
    if (!bootstraps.is_null()) text["bootstrap_sigma"] = bootstraps;
    folder.file(run + "/result.json", text.dump());
    folder.file(run + "/experiment.json", Json{{"data", {{"problem", data}}}}.dump());
  };
  result("bins/seed-1", 2.0, {1.0, 2.0, 3.0}, "a");
  result("fast/seed-1", 1.0, {0.5, 1.5, 1.2}, "a");
  result("other/seed-1", 1.0, {0.5, 1.5, 1.2}, "b");  // of other events: not the same bootstraps
  result("bins/seed-2", 2.0, nullptr, "a");
  result("fast/seed-2", 1.0, {0.5, 1.5}, "a");  // there is nothing to compare it with
  const std::vector<StudyRun> runs = study_runs(options, folder.path(""));
  const StudyComparison comparison = compare_runs(options, runs, folder.path(""));
  REQUIRE(comparison.bootstraps.size() == 4);
  const BootstrapSummary& bins = comparison.bootstraps[0];
  CHECK(bins.n == 3);
  CHECK(bins.sigma == 2.0);
  CHECK(bins.error == Approx(1.0));
  CHECK(bins.low == Approx(1.05));
  CHECK(bins.high == Approx(2.95));
  CHECK_FALSE(bins.ratio.has_value());
  const BootstrapSummary& fast = comparison.bootstraps[1];
  CHECK(fast.variant == 1);
  CHECK(fast.seed == 1);
  CHECK(fast.ratio == 0.5);
  CHECK(*fast.ratio_low == Approx(0.4 + 0.05 * 0.1));  // of 0.5, 0.75 and 0.4
  CHECK(*fast.ratio_high == Approx(0.75 - 0.05 * 0.25));
  CHECK(comparison.bootstraps[2].seed == 2);
  CHECK_FALSE(comparison.bootstraps[2].ratio.has_value());
  CHECK_FALSE(comparison.bootstraps[3].ratio.has_value());
  const auto table = comparison_document(options, runs, comparison);
  CHECK(table["variants"][1]["runs"][0]["bootstrap"]["ratio"] == 0.5);
  CHECK_FALSE(table["variants"][0]["runs"][1].contains("bootstrap"));
  const std::string text = comparison_text(options, comparison);
  for (const char* words : {"ratio to bins", "0.405 to 0.7375", "1.05 to 2.95"}) {
    INFO(text);
    CHECK(text.find(words) != std::string::npos);
  }
  write_study_results(options, runs, folder.path(""));
  const Xml page = read_xml(text_of(folder.path("report.html")));
  INFO(page.error);
  REQUIRE(page.error.empty());
  CHECK(page.ids.contains("bootstraps"));
  CHECK(page.contains("Ratio to bins"));
  CHECK(page.contains("0.405 to 0.7375"));
}

TEST_CASE("a study runs every variant with every seed", "[workflows][study]") {
  const StudyFolder folder;
  const std::string place = folder.path("out");
  std::vector<StudyRun> runs = run_study_in_directory(folder.study(), place, hooks());
  REQUIRE(runs.size() == 4);
  for (const StudyRun& run : runs) {
    INFO(run.message);
    CHECK(run.state == RunState::finished);
  }
  CHECK(runs[0].directory == fs::path("bins") / "seed-2");
  // What a process finds is what this one finds.
  ExperimentOptions same =
      read_experiment(Json::parse(study_experiments(folder.study())[1].document.dump()));
  same.seed = 1;
  Experiment experiment(same);
  const double sigma = experiment.run().test.sigma.front();
  const StudyComparison comparison = write_study_results(folder.study(), runs, place);
  CHECK(*comparison.table[1][0].values[1] == sigma);
  CHECK(comparison.table[1][0].values[0] != comparison.table[1][0].values[1]);
  for (const char* file : {"study.json", "comparison.json", "comparison.csv", "report.html",
                           "bins/variant.json", "bins/seed-1/log.txt"}) {
    INFO(file);
    CHECK(fs::exists(fs::path(place) / file));
  }
  const Xml page = read_xml(text_of(place + "/report.html"));
  INFO(page.error);
  CHECK(page.error.empty());
  for (const char* text : {"two ways", "bins/seed-2", "4 of 4 runs are finished", "Comparison",
                           "optimizer.learning_rate=2e-5"}) {
    INFO(text);
    CHECK(page.contains(text));
  }

  SECTION("finished runs are left alone, and new seeds are run") {
    const auto time = fs::last_write_time(place + "/fast/seed-1/result.json");
    StudyOptions more = folder.study();
    more.seeds.push_back(8);
    // The documents of the variants are those of the directory.
    folder.file("small.json", small_experiment(13).dump());
    check_fails(ErrorKind::usage, place + "/bins/variant.json", "was another experiment",
                [&] { run_study_in_directory(more, place, hooks()); });
    folder.file("small.json", small_experiment().dump());
    runs = run_study_in_directory(more, place, hooks());
    REQUIRE(runs.size() == 6);
    for (const StudyRun& run : runs) CHECK(run.state == RunState::finished);
    CHECK(fs::last_write_time(place + "/fast/seed-1/result.json") == time);
  }
}

TEST_CASE("a study that is stopped goes on, to the same results", "[workflows][study]") {
  const StudyFolder folder(600);
  static const std::string expected = [] {  // once for all sections
    const StudyFolder once(600);
    const std::vector<StudyRun> whole =
        run_study_in_directory(once.study(), once.path("whole"), hooks());
    write_study_results(once.study(), whole, once.path("whole"));
    return text_of(once.path("whole/comparison.json"));
  }();

  SECTION("by its caller") {
    StudyHooks stop = hooks();
    stop.progress = [](std::size_t, std::int64_t steps, std::int64_t all) {
      CHECK(all == 4 * 600);
      return steps < 10;
    };
    std::vector<StudyRun> runs = run_study_in_directory(folder.study(), folder.path("parts"), stop);
    CHECK(std::any_of(runs.begin(), runs.end(),
                      [](const StudyRun& run) { return run.state == RunState::stopped; }));
    const StudyOptions options = study_of(folder.path("parts"));
    fs::remove(folder.path("small.json"));
    runs = run_study_in_directory(options, folder.path("parts"), hooks());
    for (const StudyRun& run : runs) {
      INFO(run.message);
      CHECK(run.state == RunState::finished);
    }
    write_study_results(options, runs, folder.path("parts"));
  }
  SECTION("by kill -9") {
    const pid_t process = start(folder, {"study", "study.json", "-d", "parts", "-j", "2"});
    CHECK(becomes([&] { return lines_of(folder.path("parts/bins/seed-2/metrics.jsonl")) > 20; }));
    kill(process, SIGKILL);
    CHECK(wait_for(process) == 128 + SIGKILL);
    CHECK_FALSE(fs::exists(folder.path("parts/comparison.json")));
    CHECK(shell(folder, "resume parts -j 2") == 0);
    INFO(text_of(folder.path("stderr")));
    CHECK(text_of(folder.path("stdout")).find("4 of 4 runs finished") != std::string::npos);
  }
  SECTION("by Ctrl-C") {
    const pid_t process = start(folder, {"study", "study.json", "-d", "parts", "-j", "2"});
    CHECK(becomes([&] { return lines_of(folder.path("parts/bins/seed-2/metrics.jsonl")) > 20; }));
    kill(process, SIGINT);
    CHECK(wait_for(process) == 128 + SIGINT);
    CHECK(text_of(folder.path("log")).find("`slalom resume parts` goes on") != std::string::npos);
    CHECK_FALSE(fs::exists(folder.path("parts/bins/seed-2/result.json")));
    CHECK(shell(folder, "resume parts -j 2") == 0);
  }
  CHECK(text_of(folder.path("parts/comparison.json")) == expected);
}

TEST_CASE("a run that fails does not end the others", "[workflows][study]") {
  const StudyFolder folder;
  Json document = small_study();
  document["seeds"] = {1};
  document["variants"].push_back({{"name", "wild"},
                                  {"set",
                                   {"loss=[{\"term\": \"cross_entropy\"}]", "optimizer.type=sgd",
                                    "training.steps=200", "optimizer.learning_rate=1e38"}}});
  folder.file("study.json", "// with comments\n" + document.dump());
  CHECK(shell(folder, "study study.json -d out --json") == 1);
  INFO(text_of(folder.path("stderr")));
  CHECK(text_of(folder.path("stderr")).find("out/wild/seed-1: ") != std::string::npos);
  const Json result = Json::parse(text_of(folder.path("stdout")));
  CHECK(result["variants"][0]["runs"][0]["state"] == "finished");
  CHECK(result["variants"][2]["runs"][0]["state"] == "failed");
  CHECK(result["variants"][2]["runs"][0]["message"].get<std::string>().find("step ") !=
        std::string::npos);
  CHECK(result["variants"][2]["summary"]["/test/z"]["median"].is_null());
  const Xml page = read_xml(text_of(folder.path("out/report.html")));
  CHECK(page.error.empty());
  CHECK(page.contains("2 of 3 runs are finished"));
  CHECK(page.contains("failed"));
}

TEST_CASE("one study at a time works in a directory", "[workflows][study]") {
  const StudyFolder folder(100000);
  const pid_t process = start(folder, {"study", "study.json", "-d", "out", "-j", "1"});
  CHECK(becomes([&] { return lines_of(folder.path("out/bins/seed-2/metrics.jsonl")) > 2; }));
  CHECK(shell(folder, "resume out") == 2);
  CHECK(text_of(folder.path("stderr")).find("another process is at work") != std::string::npos);
  kill(process, SIGTERM);
  CHECK(wait_for(process) == 128 + SIGTERM);
}

TEST_CASE("studies on the command line", "[workflows][study]") {
  const StudyFolder folder;
  CHECK(shell(folder, "validate study.json") == 0);
  CHECK(text_of(folder.path("stdout")) == "valid: 2 variants, 2 seeds\n");
  CHECK(shell(folder, "schema study") == 0);
  CHECK(Json::parse(text_of(folder.path("stdout")))["title"] == "slalom study");
  CHECK(shell(folder, "study nowhere.json") == 2);
  CHECK(shell(folder, "resume nowhere") != 0);
  folder.file("bad.json", "{\"variants\": [{\"name\": \"a\"}], \"sedes\": [1]}");
  CHECK(shell(folder, "study bad.json") == 2);
  CHECK(text_of(folder.path("stderr")).find("did you mean 'seeds'?") != std::string::npos);
  CHECK_FALSE(fs::exists(folder.path("bad")));
  folder.file("file", "");
  CHECK(shell(folder, "study study.json -d file/below") != 0);
  CHECK(text_of(folder.path("stderr")).find("cannot make the directory") != std::string::npos);
}
