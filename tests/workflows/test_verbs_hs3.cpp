// SPDX-License-Identifier: Apache-2.0
/// \file
/// hs3 export and import.
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "slalom/workflows/cli.hpp"
#include "support/catch.hpp"
#include "support/command_line.hpp"

using slalom::test::Outcome;
using slalom::test::small_workspace;
using slalom::test::TemporaryFolder;
using Words = std::vector<std::string>;

TEST_CASE("hs3 export and import give back the likelihood", "[workflows][verbs_hs3]") {
  const TemporaryFolder folder;
  const auto workspace = folder.file("workspace.json", small_workspace());
  const auto hs3 = folder.path("workspace.hs3.json");
  const auto back = folder.path("back.json");
  CHECK(slalom::test::slalom({"hs3", "export", workspace, "-o", hs3}, "").code ==
        slalom::exit_success);
  CHECK(slalom::test::slalom({"hs3", "import", hs3, "-o", back}, "").code == slalom::exit_success);
  const auto value = [](const std::string& file) {
    return slalom::test::slalom({"logpdf", file, "--json"}, "").json().at("logpdf").get<double>();
  };
  CHECK_THAT(value(back), Catch::Matchers::WithinRel(value(workspace), 1e-12));
}

TEST_CASE("hs3 import names the file and the place of an error", "[workflows][verbs_hs3]") {
  const Outcome wrong =
      slalom::test::slalom({"hs3", "import", "-", "--json"}, R"({"distributions": [{}]})");
  CHECK(wrong.code == slalom::exit_usage);
  CHECK(wrong.error("type") == "workspace");
  CHECK(wrong.error("where") == "<stdin>#/distributions/0");
  CHECK(slalom::test::slalom({"hs3", "import", "-"}, "[").code == slalom::exit_usage);
  CHECK(slalom::test::slalom({"hs3", "export", "-", "--shapesys-vals", "odd"}, small_workspace())
            .code == slalom::exit_usage);
  CHECK(slalom::test::slalom({"hs3"}, "").code == slalom::exit_usage);
}
