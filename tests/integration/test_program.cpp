// SPDX-License-Identifier: Apache-2.0
/// \file
/// The program as a process: streams, exit codes, files, signals.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <sys/wait.h>

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
       {"inspect", "validate", "logpdf", "expected", "fit", "scan", "ranking", "breakdown", "gof",
        "yields", "cls", "discovery", "limit", "sensitivity", "sort", "digest"}) {
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

#endif
