// SPDX-License-Identifier: Apache-2.0
/// \file
/// The program as a process: streams, exit codes, files, signals.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "slalom/core/json.hpp"
#include "support/catch.hpp"

#if SLALOM_HAS_CLI && defined(SLALOM_EXECUTABLE)
#include "support/command_line.hpp"
#include "support/data.hpp"

using slalom::test::small_workspace;
using slalom::test::TemporaryFolder;
using slalom::test::text_of;

namespace {

const std::string k_program = "'" SLALOM_EXECUTABLE "'";
const std::string k_h4l = "'" SLALOM_SOURCE_DIR "/workflows/examples/h4l/workspace.json'";

struct Result {
  int code;
  std::string out;
  std::string err;
};

/// Runs a line of shell in which `slalom` stands for the program.
Result shell(const TemporaryFolder& folder, std::string line) {
  const std::string word = "slalom ";
  for (std::size_t at = line.find(word); at != std::string::npos;
       at = line.find(word, at + k_program.size())) {
    line.replace(at, word.size() - 1, k_program);
  }
  const std::string out = folder.path("stdout");
  const std::string err = folder.path("stderr");
  const std::string script =
      folder.file("line.sh", "set -o pipefail\ncd '" + folder.path("") + "'\n{ " + line +
                                 "\n} > '" + out + "' 2> '" + err + "'\n");
  const int status = std::system(("bash '" + script + "'").c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), text_of(out),
          text_of(err)};
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

bool is_one_document(const std::string& text) {
  return nlohmann::json::accept(text) && !text.empty() && text.back() == '\n';
}

}  // namespace

TEST_CASE("exit codes reach the shell", "[integration][program]") {
  const TemporaryFolder folder;
  folder.file("w.json", small_workspace());
  CHECK(shell(folder, "slalom --version").code == 0);
  CHECK(shell(folder, "slalom fit --help").code == 0);
  CHECK(shell(folder, "slalom fit w.json").code == 0);
  CHECK(shell(folder, "slalom ").code == 2);
  CHECK(shell(folder, "slalom ftt w.json").code == 2);
  CHECK(shell(folder, "slalom fit nowhere.json").code == 2);
  CHECK(shell(folder, "slalom fit w.json --no-such-option").code == 2);
  CHECK(shell(folder, "echo '{' | slalom validate -").code == 2);
  const Result wrong = shell(folder, "slalom ftt w.json");
  CHECK(wrong.out.empty());
  CHECK(contains(wrong.err, "did you mean 'fit'?"));
}

TEST_CASE("a fit without a minimum is exit code 3 with a result", "[integration][program]") {
  const TemporaryFolder folder;
  std::string text = small_workspace();
  // Two factors on the same sample: only their product is determined.
  const std::string one = R"({"name": "mu", "type": "normfactor", "data": null})";
  const std::string two = R"({"name": "nu", "type": "normfactor", "data": null})";
  text.replace(text.find(one), one.size(), one + ", " + two);
  folder.file("w.json", text);
  const Result json = shell(folder, "slalom fit w.json --json");
  CHECK(json.code == 3);
  REQUIRE(is_one_document(json.out));
  CHECK(nlohmann::json::parse(json.out).at("converged") == false);
  CHECK(contains(json.err, "did not converge"));
  const Result table = shell(folder, "slalom fit w.json --strict");
  CHECK(table.code == 3);
  CHECK(contains(table.out, "NOT CONVERGED"));
}

TEST_CASE("standard input and pipes", "[integration][program]") {
  const TemporaryFolder folder;
  folder.file("w.json", small_workspace());
  CHECK(shell(folder, "slalom fit - < w.json").code == 0);
  const Result chain = shell(folder,
                             "cat w.json | slalom prune - --channel control_region "
                             "| slalom rename - --modifier mu strength "
                             "| slalom fit - --json --quiet");
  CHECK(chain.code == 0);
  REQUIRE(is_one_document(chain.out));
  CHECK(nlohmann::json::parse(chain.out).at("poi") == "strength");
  const Result same = shell(folder,
                            "slalom sort w.json | slalom digest -; slalom sort w.json "
                            "| slalom sort - | slalom digest -");
  CHECK(same.out.substr(0, 72) == same.out.substr(72));
}

TEST_CASE("operations on systematics go through pipes", "[integration][program]") {
  const TemporaryFolder folder;
  folder.file("w.json", small_workspace());
  const Result split = shell(folder,
                             "slalom decorrelate w.json --modifier scale --by channel "
                             "| slalom prune - --below-norm 0.001 --below-shape 0.01 "
                             "| slalom sensitivity - --figure expected_limit --json --quiet");
  CHECK(split.code == 0);
  REQUIRE(is_one_document(split.out));
  const auto figure = nlohmann::json::parse(split.out).at("figures").at(0);
  CHECK(figure.at("parameters").size() == 3);
  const Result pruned = shell(folder, "slalom prune w.json --below-norm 0.2 --refit -o light.json");
  CHECK(pruned.code == 0);
  CHECK(contains(pruned.out, "gone: scale"));
  CHECK(contains(pruned.out, "upper limit, expected"));
  CHECK(is_one_document(text_of(folder.path("light.json"))));
  CHECK(shell(folder, "slalom sensitivity " + k_h4l + " --measurement zz_floating").code == 0);
}

TEST_CASE("--json prints exactly one document", "[integration][program]") {
  const TemporaryFolder folder;
  folder.file("w.json", small_workspace());
  for (const char* verb :
       {"inspect", "validate", "logpdf",          "expected",    "fit",    "scan",  "interval",
        "contour", "ranking",  "breakdown",       "gof",         "yields", "cls",   "discovery",
        "limit",   "toys",     "feldman-cousins", "sensitivity", "sort",   "digest"}) {
    INFO(verb);
    const Result result = shell(folder, std::string("slalom ") + verb + " w.json --json");
    CHECK(result.code == 0);
    CHECK(is_one_document(result.out));
    CHECK(result.err.empty());
    const Result failure = shell(folder, std::string("slalom ") + verb + " no.json --json");
    CHECK(failure.code == 2);
    REQUIRE(is_one_document(failure.out));
    const auto error = nlohmann::json::parse(failure.out).at("error");
    CHECK(error.at("type") == "io");
    CHECK(error.at("where") == "no.json");
    CHECK(failure.err.empty());
  }
  const Result usage = shell(folder, "slalom fit --json");
  CHECK(usage.code == 2);
  REQUIRE(is_one_document(usage.out));
  CHECK(nlohmann::json::parse(usage.out).at("error").at("type") == "usage");
}

TEST_CASE("tables as comma-separated values, and in LaTeX", "[integration][program]") {
  const TemporaryFolder folder;
  folder.file("w.json", small_workspace());
  for (const char* verb : {"fit", "scan", "ranking", "breakdown", "gof", "yields"}) {
    INFO(verb);
    const Result printed = shell(folder, std::string("slalom ") + verb + " w.json --csv");
    CHECK(printed.code == 0);
    const std::size_t header = printed.out.find('\n');
    REQUIRE(header != std::string::npos);
    const std::string line = printed.out.substr(header + 1, printed.out.find('\n', header + 1));
    CHECK(contains(line, ","));
    CHECK(shell(folder, std::string("slalom ") + verb + " w.json -o out.csv").code == 0);
    CHECK(text_of(folder.path("out.csv")) == printed.out);
  }
  CHECK(shell(folder, "slalom yields w.json -o out.tex").code == 0);
  CHECK(contains(text_of(folder.path("out.tex")), "\\begin{tabular}"));
  CHECK(shell(folder, "slalom ranking " + k_h4l + " --measurement zz_floating").code == 0);
  CHECK(shell(folder, "slalom gof " + k_h4l + " --toys 20 --seed 1").code == 0);
}

TEST_CASE("output files are written completely or not at all", "[integration][program]") {
  const TemporaryFolder folder;
  folder.file("w.json", small_workspace());
  CHECK(shell(folder, "slalom fit w.json -o fit.json").out.empty());
  const std::string first = text_of(folder.path("fit.json"));
  CHECK(is_one_document(first));
  CHECK(shell(folder, "slalom fit no.json -o fit.json").code == 2);
  CHECK(text_of(folder.path("fit.json")) == first);
  CHECK(shell(folder, "slalom fit w.json -o no/folder.json").code != 0);
  // Nothing is left beside the results.
  CHECK(shell(folder, "ls").out == "fit.json\nline.sh\nstderr\nstdout\nw.json\n");
}

TEST_CASE("a reader that has seen enough is no failure", "[integration][program]") {
  const TemporaryFolder folder;
  folder.file("w.json", small_workspace());
  const Result head = shell(folder,
                            "slalom sort w.json | head -c 1 > /dev/null; "
                            "echo ${PIPESTATUS[0]}");
  CHECK(head.out == "0\n");
  CHECK(head.err.empty());
  const Result full = shell(folder, "slalom fit w.json > /dev/full");
  CHECK(full.code == 1);
  CHECK(contains(full.err, "standard output cannot be written"));
}

TEST_CASE("numbers do not depend on the locale", "[integration][program]") {
  const TemporaryFolder folder;
  folder.file("w.json", small_workspace());
  const std::string plain = shell(folder, "slalom fit w.json --json").out;
  CHECK(shell(folder, "LC_ALL=de_DE.UTF-8 slalom fit w.json --json").out == plain);
}

namespace {

/// A background, and 41 signals: 20 in set.json, one in patch.json, 20 in more.json.
void write_grid(const TemporaryFolder& folder) {
  using nlohmann::json;
  json workspace = json::parse(small_workspace());
  json signal = workspace["channels"][0]["samples"][0];
  workspace["channels"][0]["samples"].erase(0);
  const auto patch = [&](std::size_t i) {
    signal["data"][0] = 3.0 + 0.1 * static_cast<double>(i);
    return json{{{"op", "add"}, {"path", "/channels/0/samples/-"}, {"value", signal}}};
  };
  const auto write_set = [&](const std::string& name, std::size_t first) {
    json set = {{"metadata",
                 {{"references", {{"hepdata", "ins1234567"}}},
                  {"digests", {{"sha256", slalom::digest(workspace)}}},
                  {"labels", {"mass"}},
                  {"description", "signals"}}},
                {"patches", json::array()},
                {"version", "1.0.0"}};
    for (std::size_t i = first; i < first + 20; ++i) {
      set["patches"].push_back({{"metadata", {{"name", "s" + std::to_string(i)}, {"values", {i}}}},
                                {"patch", patch(i)}});
    }
    folder.file(name, set.dump());
  };
  folder.file("background.json", workspace.dump());
  write_set("set.json", 0);
  write_set("more.json", 30);
  folder.file("patch.json", patch(25).dump());
}

const std::string k_grid =
    "slalom patchset run background.json set.json late.json more.json --limit ";

/// Starts the grid with a pipe in the place of late.json, which is filled once, when the files are
/// looked at: the program then waits for it with 20 results in results.jsonl.
const std::string k_waiting = R"(set -m
mkfifo late.json
cat patch.json > late.json &
)" + k_grid + R"(--threads 1 --resume results.jsonl -o part.json & pid=$!
until [ -f results.jsonl ] && [ $(wc -l < results.jsonl) -ge 21 ]; do sleep 0.01; done
)";

nlohmann::json without_times(const std::string& text) {
  nlohmann::json document = nlohmann::json::parse(text);
  for (nlohmann::json& row : document.at("results")) row.erase("seconds");
  return document;
}

}  // namespace

TEST_CASE("a grid survives kill -9 and is the same in the end", "[integration][program]") {
  const TemporaryFolder folder;
  write_grid(folder);
  const Result killed = shell(folder, k_waiting + "kill -9 $pid\nwait $pid");
  CHECK(killed.code == 128 + 9);
  CHECK(text_of(folder.path("part.json")).empty());
  const std::string complete = text_of(folder.path("results.jsonl"));
  CHECK(std::count(complete.begin(), complete.end(), '\n') == 21);
  // What it may have been writing.
  const std::string half = complete.substr(complete.size() - 30, 20);
  folder.file("results.jsonl", complete + half);
  const Result resumed = shell(
      folder, "rm late.json; cp patch.json late.json; " + k_grid + "--json --resume results.jsonl");
  REQUIRE(resumed.code == 0);
  const Result whole = shell(folder, k_grid + "--json --threads 2");
  REQUIRE(whole.code == 0);
  CHECK(without_times(resumed.out) == without_times(whole.out));
  CHECK(without_times(resumed.out).at("results").size() == 41);
  // What was complete is still there, and was not computed again.
  const std::string all = text_of(folder.path("results.jsonl"));
  CHECK(all.substr(0, complete.size()) == complete);
  CHECK(std::count(all.begin(), all.end(), '\n') == 42);
}

TEST_CASE("an interrupted grid keeps what it has", "[integration][program]") {
  const TemporaryFolder folder;
  write_grid(folder);
  const Result result =
      shell(folder, k_waiting + "kill -INT $pid\nsleep 0.1\ncat patch.json > late.json\nwait $pid");
  CHECK(result.code == 128 + 2);
  CHECK(contains(result.err, "interrupted; 20 signals missing"));
  const nlohmann::json part = nlohmann::json::parse(text_of(folder.path("part.json")));
  CHECK(part.at("complete") == false);
  CHECK(part.at("results").size() == 21);
  CHECK(part.at("n_failed") == 0);
  const std::string lines = text_of(folder.path("results.jsonl"));
  CHECK(std::count(lines.begin(), lines.end(), '\n') == 22);
}

TEST_CASE("two programs do not write to one file of results", "[integration][program]") {
  const TemporaryFolder folder;
  write_grid(folder);
  const Result result = shell(folder, k_waiting + "cp patch.json other.json\n" +
                                          "slalom patchset run background.json other.json " +
                                          "--resume results.jsonl\n" +
                                          "code=$?; kill -9 $pid; wait $pid; exit $code");
  CHECK(result.code == 2);
  CHECK(contains(result.err, "another program is writing to this file"));
}

TEST_CASE("the main job from the shell", "[integration][program]") {
  const TemporaryFolder folder;
  const Result fixed = shell(folder, "slalom fit " + k_h4l + " --minos mu");
  CHECK(fixed.code == 0);
  CHECK(contains(fixed.out, "mu = 0.922"));
  const Result floating =
      shell(folder, "slalom fit " + k_h4l + " --measurement zz_floating --minos mu --json");
  CHECK(floating.code == 0);
  REQUIRE(is_one_document(floating.out));
}

TEST_CASE("plots and the report are files beside the result", "[integration][program]") {
  if (std::system("gnuplot --version > /dev/null 2>&1") != 0) return;
  const TemporaryFolder folder;
  const Result gof = shell(folder, "slalom gof " + k_h4l + " --toys 20 --json --plot gof.png");
  CHECK(gof.code == 0);
  CHECK(is_one_document(gof.out));
  CHECK(text_of(folder.path("gof.png")).substr(1, 3) == "PNG");
  const Result ranking =
      shell(folder, "slalom ranking " + k_h4l + " --measurement zz_floating --plot ranking.pdf");
  CHECK(ranking.code == 0);
  CHECK(text_of(folder.path("ranking.pdf")).substr(0, 4) == "%PDF");
  const Result limit = shell(folder, "slalom limit " + k_h4l + " --plot limit.svg");
  CHECK(limit.code == 0);
  CHECK(contains(text_of(folder.path("limit.svg")), "</svg>"));
  const Result report =
      shell(folder, "SOURCE_DATE_EPOCH=0 slalom report " + k_h4l + " -o report.html");
  CHECK(report.code == 0);
  CHECK(report.err.empty());
  const std::string page = text_of(folder.path("report.html"));
  CHECK(contains(page, "1970-01-01 00:00 UTC"));
  CHECK(contains(page, "mu = 0.922"));
  CHECK(contains(page, "3.27 σ"));
  CHECK(contains(page, "</html>"));
}

namespace {

/// Toys of the main job: enough to be interrupted, and what is compared of them.
const std::string k_toys = "toys " + k_h4l + " --threads 1 --seed 3 --toys ";
const std::string k_many_toys = k_toys + "60000 ", k_some_toys = k_toys + "3000 --json ";

/// Waits until a file of toys has toys, then sends the signal; the last line is the exit code.
std::string interrupt(const std::string& signal) {
  return "slalom " + k_many_toys +
         "--json --toy-file toys.jsonl > part.json & pid=$!\n"
         "for i in $(seq 600); do\n"
         "  [ $(wc -l < toys.jsonl 2> /dev/null || echo 0) -gt 100 ] && break\n"
         "  sleep 0.05\ndone\n"
         "kill -" +
         signal + " $pid\nwait $pid\necho $?";
}

nlohmann::json document(const std::string& text) {
  nlohmann::json json = nlohmann::json::parse(text);
  json.erase("reused_toys");
  return json;
}

/// The master of a terminal, and what was written to the terminal.
class Terminal {
 public:
  Terminal() : master_(::posix_openpt(O_RDWR | O_NOCTTY)) {
    REQUIRE(master_ >= 0);
    REQUIRE(::grantpt(master_) == 0);
    REQUIRE(::unlockpt(master_) == 0);
    name_ = ::ptsname(master_);
    slave_ = ::open(name_.c_str(), O_RDWR | O_NOCTTY);  // so that the reader sees no early end
    reader_ = std::thread([this] {
      char buffer[4096];
      for (ssize_t n = 0; (n = ::read(master_, buffer, sizeof buffer)) > 0;) {
        text_.append(buffer, static_cast<std::size_t>(n));
      }
    });
  }
  ~Terminal() { close(); }
  const std::string& name() const { return name_; }
  /// Everything up to now; nothing is read afterwards.
  std::string close() {
    if (reader_.joinable()) {
      ::close(slave_);
      reader_.join();
      ::close(master_);
    }
    return text_;
  }

 private:
  int master_;
  int slave_ = -1;
  std::string name_;
  std::string text_;
  std::thread reader_;
};

}  // namespace

TEST_CASE("toys of goodness of fit that are killed go on and end the same",
          "[integration][program]") {
  const TemporaryFolder folder;
  const std::string gof = "gof " + k_h4l + " --threads 1 --seed 3 --json ";
  const Result killed =
      shell(folder, "slalom " + gof + "--toys 200000 --toy-file toys.jsonl > part.json & pid=$!\n" +
                        "until [ $(wc -l < toys.jsonl 2> /dev/null || echo 0) -gt 100 ]; do\n" +
                        "  sleep 0.02\ndone\nkill -KILL $pid\nwait $pid\necho $?");
  CHECK(contains(killed.out, "137"));
  CHECK(text_of(folder.path("part.json")).empty());
  const std::string kept = text_of(folder.path("toys.jsonl"));
  const Result rest = shell(folder, "slalom " + gof + "--toys 3000 --toy-file toys.jsonl --resume");
  REQUIRE(rest.code == 0);
  const nlohmann::json resumed = nlohmann::json::parse(rest.out);
  CHECK(resumed.at("reused_toys").get<std::size_t>() >= 100);
  const Result whole = shell(folder, "slalom " + gof + "--toys 3000");
  REQUIRE(whole.code == 0);
  CHECK(document(rest.out) == document(whole.out));
  // Other data, or another seed, are another run.
  CHECK(shell(folder, "slalom gof " + k_h4l + " --seed 4 --toys 5 --toy-file toys.jsonl --resume")
            .code == 2);
  CHECK(shell(folder, "slalom gof " + k_h4l + " --resume").code == 2);
}

TEST_CASE("results in the form of other programs", "[integration][program]") {
  const TemporaryFolder folder;
  folder.file("w.json", small_workspace());
  const Result cls = shell(folder, "slalom cls w.json --format pyhf -o cls.json; cat cls.json");
  CHECK(cls.code == 0);
  CHECK(nlohmann::json::parse(cls.out).at("CLs_exp").size() == 5);
  const Result limit = shell(folder, "slalom limit w.json --format combine --mass 125");
  CHECK(limit.code == 0);
  CHECK(nlohmann::json::parse(limit.out).at("125.0").contains("exp+1"));
  const Result impacts = shell(folder, "slalom ranking w.json --format combine");
  CHECK(impacts.code == 0);
  CHECK(nlohmann::json::parse(impacts.out).at("POIs").at(0).at("name") == "mu");
  CHECK(shell(folder, "slalom fit w.json --format pyhf").code == 0);
  CHECK(shell(folder, "slalom scan w.json --format combine").code == 0);
  CHECK(shell(folder, "slalom gof w.json --format combine --toys 10").code == 0);
  CHECK(shell(folder, "slalom cls w.json --format combine").code == 2);
}

TEST_CASE("a run of toys that is killed goes on and ends the same", "[integration][program]") {
  const TemporaryFolder folder;
  const Result killed = shell(folder, interrupt("KILL"));
  CHECK(contains(killed.out, "137"));
  CHECK(text_of(folder.path("part.json")).empty());
  const Result rest = shell(folder, "slalom " + k_some_toys + "--toy-file toys.jsonl --resume");
  CHECK(rest.code == 0);
  REQUIRE(is_one_document(rest.out));
  CHECK(nlohmann::json::parse(rest.out).at("reused_toys").get<int>() >= 90);
  CHECK(nlohmann::json::parse(rest.out).at("reused_toys").get<int>() < 60000);
  const Result whole = shell(folder, "slalom " + k_some_toys);
  CHECK(document(rest.out) == document(whole.out));
}

TEST_CASE("Ctrl-C keeps and reports the toys so far", "[integration][program]") {
  for (const auto& [signal, code] : {std::pair{"INT", "130\n"}, {"TERM", "143\n"}}) {
    CAPTURE(signal);
    const TemporaryFolder folder;
    // A job in the background of a script ignores SIGINT, unless job control is on.
    const Result ended = shell(folder, "set -m\n" + interrupt(signal));
    CHECK(ended.out == code);
    CHECK(contains(ended.err, "stopped after"));
    const std::string text = text_of(folder.path("part.json"));
    REQUIRE(is_one_document(text));
    const nlohmann::json part = nlohmann::json::parse(text);
    CHECK(part.at("interrupted") == true);
    CHECK(part.at("converged") == false);
    const int done = part.at("summary").at("done");
    CHECK(done >= 90);
    CHECK(done < 60000);
    CHECK(part.at("toys").at("t").size() == static_cast<std::size_t>(done));
    const Result rest = shell(folder, "slalom " + k_some_toys + "--toy-file toys.jsonl --resume");
    CHECK(rest.code == 0);
    CHECK(nlohmann::json::parse(rest.out).at("reused_toys") == done);
  }
}

TEST_CASE("progress is drawn on terminals only", "[integration][program]") {
  const TemporaryFolder folder;
  const std::string line = "TERM=xterm slalom " + k_many_toys;
  Terminal terminal;
  CHECK(shell(folder, line + " > out.txt 2> " + terminal.name()).code == 0);
  const std::string drawn = terminal.close();
  CHECK(contains(drawn, "\rtoys  ["));
  CHECK(contains(drawn, "/60000  "));
  CHECK(contains(drawn, " left"));
  CHECK(drawn.ends_with("\r\x1b[K"));
  CHECK_FALSE(contains(drawn, "\n"));
  Terminal quiet;
  CHECK(shell(folder, line + " --quiet > /dev/null 2> " + quiet.name()).code == 0);
  CHECK(quiet.close().empty());
  const Result file = shell(folder, line + " > /dev/null");
  CHECK(file.code == 0);
  CHECK(file.err.empty());
}

#endif
