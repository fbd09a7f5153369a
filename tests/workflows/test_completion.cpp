// SPDX-License-Identifier: Apache-2.0
/// \file
/// Completion scripts: what is in them, and that the shells on this machine can read them.
#include <cstdlib>
#include <string>

#include "support/catch.hpp"
#include "support/command_line.hpp"

using slalom::test::Outcome;
using slalom::test::TemporaryFolder;
using slalom::test::text_of;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string script(const std::string& shell) {
  const Outcome outcome = slalom::test::slalom({"completion", shell});
  REQUIRE(outcome.code == slalom::exit_success);
  return outcome.out;
}

bool has(const std::string& shell) {
  return std::system(("command -v " + shell + " > /dev/null 2>&1").c_str()) == 0;
}

/// What bash would offer for a line whose last word is to be completed.
std::string offered(const TemporaryFolder& folder, const std::string& words) {
  const std::string test =
      folder.file("test.bash", "source '" + folder.path("slalom.bash") + "'\nCOMP_WORDS=(" + words +
                                   ")\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_slalom\n"
                                   "echo \"${COMPREPLY[*]}\" > '" +
                                   folder.path("reply") + "'\n");
  REQUIRE(std::system(("bash '" + test + "'").c_str()) == 0);
  return text_of(folder.path("reply"));
}

}  // namespace

TEST_CASE("scripts know all verbs and options", "[workflows][completion]") {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    INFO(shell);
    const std::string text = script(shell);
    for (const char* word : {"inspect", "discovery", "patchset", "verify", "minos",
                             "merge-channels", "code4p", "sha3_512", "left-outer"}) {
      INFO(word);
      CHECK(contains(text, word));
    }
  }
  const Outcome wrong = slalom::test::slalom({"completion", "bsh", "--json"});
  CHECK(wrong.code == slalom::exit_usage);
  CHECK(contains(wrong.error("message"), "did you mean 'bash'?"));
}

TEST_CASE("bash completes verbs, options and values", "[workflows][completion]") {
  if (!has("bash")) return;
  const TemporaryFolder folder;
  folder.file("slalom.bash", script("bash"));
  CHECK(offered(folder, "slalom ins") == "inspect\n");
  CHECK(offered(folder, "slalom patchset ve") == "verify\n");
  CHECK(offered(folder, "slalom fit --mino") == "--minos\n");
  CHECK(offered(folder, "slalom fit --normsys-code code") == "code1 code4\n");
  CHECK(offered(folder, "slalom patchset apply --na") == "--name\n");
  CHECK(offered(folder, "slalom completion z") == "zsh\n");
  CHECK(offered(folder, "slalom fit --fix m") == "\n");
  const std::string file = folder.file("workspace.json", "{}");
  CHECK(offered(folder, "slalom fit " + folder.path("works")) == file + "\n");
  CHECK(offered(folder, "slalom fit x --patch " + folder.path("works")) == file + "\n");
}

TEST_CASE("zsh and fish accept their scripts", "[workflows][completion]") {
  const TemporaryFolder folder;
  const std::string zsh = folder.file("_slalom", script("zsh"));
  const std::string fish = folder.file("slalom.fish", script("fish"));
  if (has("zsh")) CHECK(std::system(("zsh -n '" + zsh + "'").c_str()) == 0);
  if (has("fish")) CHECK(std::system(("fish --no-execute '" + fish + "'").c_str()) == 0);
  CHECK(contains(text_of(zsh), "#compdef slalom"));
  CHECK(contains(text_of(fish), "complete -c slalom"));
}
