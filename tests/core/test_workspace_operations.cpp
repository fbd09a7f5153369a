// SPDX-License-Identifier: Apache-2.0
// The digests are those of pyhf 0.7.6 for the same operations on the same documents.
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "slalom/core/json.hpp"
#include "slalom/core/workspace.hpp"
#include "slalom/core/workspace_operations.hpp"
#include "support/catch.hpp"
#include "support/data.hpp"
#include "support/fails.hpp"
#include "support/workspaces.hpp"

using slalom::combine;
using slalom::digest;
using slalom::ErrorKind;
using slalom::Join;
using slalom::Json;
using slalom::prune;
using slalom::Renaming;
using slalom::Selection;
using slalom::test::check_fails;
using slalom::test::left_workspace;
using slalom::test::right_workspace;

namespace {

Json published(const std::string& name) {
  return slalom::read_json(slalom::test::data_path("workspaces/" + name));
}

Json with(Json document, const std::string& pointer, const Json& value) {
  document[Json::json_pointer(pointer)] = value;
  return document;
}

Selection select(std::vector<std::string> modifiers, std::vector<std::string> types = {},
                 std::vector<std::string> samples = {}, std::vector<std::string> channels = {},
                 std::vector<std::string> measurements = {}) {
  return {std::move(modifiers), std::move(types), std::move(samples), std::move(channels),
          std::move(measurements)};
}

const std::string digest_of_left =
    "1b000ce2ea5a9772591693c0ca7b0c62a19d74a8ac0bbfffd3a6ce58c36416b1";

}  // namespace

TEST_CASE("joins have pyhf's names, with or without a space", "[core][workspace_operations]") {
  using slalom::parse_join;
  CHECK(parse_join("none") == Join::none);
  CHECK(parse_join("outer") == Join::outer);
  CHECK(parse_join("left outer") == Join::left_outer);
  CHECK(parse_join("left-outer") == Join::left_outer);
  CHECK(parse_join("right outer") == Join::right_outer);
  CHECK(parse_join("right-outer") == Join::right_outer);
  check_fails(ErrorKind::usage, "", "did you mean 'left-outer'?", [] { parse_join("leftouter"); });
  check_fails(ErrorKind::usage, "", "there is 'none', 'outer'", [] { parse_join(""); });
}

TEST_CASE("the documents of these tests are the ones pyhf was given",
          "[core][workspace_operations]") {
  CHECK(digest(left_workspace()) == digest_of_left);
  CHECK(digest(right_workspace()) ==
        "d1e57a0bb3f4aa2a770360a8b4f274f9add4232d67f253b51d09a36e2f5b5cb8");
}

TEST_CASE("workspaces without common names are combined", "[core][workspace_operations]") {
  const Json left = left_workspace();
  const Json right =
      slalom::rename(right_workspace(), {{}, {}, {{"CR", "CR2"}}, {{"nominal", "nominal2"}}});
  CHECK(digest(right) == "1f8a3feda8a3a83cc58dc4fa17ba46a23a5d086513206733d97c495108f27975");
  CHECK(digest(combine(left, right)) ==
        "ee0774fb4a29eaf155e140853414c34e607feda0b58d5e39e58929a0514a0287");
  CHECK(digest(combine(right, left)) ==
        "bc7792c4f118ec97de790c9b37e3151095b6b0f9b014e386acee5a9cff3c2461");
}

TEST_CASE("an outer join merges measurements with the same POI", "[core][workspace_operations]") {
  const Json left = left_workspace();
  const Json right = slalom::rename(right_workspace(), {{}, {}, {{"CR", "CR2"}}, {}});
  CHECK(digest(combine(left, right, Join::outer)) ==
        "f75be4de8adaac068d3f88062bca348e2b435af7c4f74b0a45339d1d484bf26b");
  CHECK(digest(combine(right, left, Join::outer)) ==
        "d07ba00c5d41ea1c6eda89990558b90da7b6f022cb3d56d155a74d4f9a237347");
}

TEST_CASE("common channels are merged or taken from one side", "[core][workspace_operations]") {
  const Json left = left_workspace();
  const Json right = right_workspace();
  CHECK(digest(combine(left, right, Join::outer, true)) ==
        "f082f90aac0971c23382f5b2153c3f7761ab99b989a948429810bde08763d1be");
  CHECK(digest(combine(left, right, Join::left_outer)) ==
        "95f1b2cb1ed7084cf0f6da712dd7b2e4e531dc7c0f2f8b72bef7fceeffa6cc0c");
  CHECK(digest(combine(left, right, Join::left_outer, true)) ==
        "2a27e2b57710759b34af4b5d7d7b27a49995402e0ed972583dbd1c3239783f1c");
  CHECK(digest(combine(left, right, Join::right_outer)) ==
        "c112ad905318703a0000bc986324e6929ea74c3c1c7f6228b4367b9c176180d8");
  CHECK(digest(combine(left, right, Join::right_outer, true)) ==
        "c112ad905318703a0000bc986324e6929ea74c3c1c7f6228b4367b9c176180d8");
}

TEST_CASE("a workspace combined with itself is itself", "[core][workspace_operations]") {
  const Json left = left_workspace();
  for (const Join join : {Join::outer, Join::left_outer, Join::right_outer}) {
    CHECK(digest(combine(left, left, join)) == digest_of_left);
    CHECK(digest(combine(left, left, join, true)) == digest_of_left);
  }
}

TEST_CASE("what a join does not allow is an error", "[core][workspace_operations]") {
  const Json left = left_workspace();
  const Json right = right_workspace();
  const Json renamed = slalom::rename(right, {{}, {}, {{"CR", "CR2"}}, {}});
  const std::string parameter = "/measurements/0/config/parameters/0/inits";
  struct Case {
    Json left, right;
    Join join;
    bool merge;
    ErrorKind kind;
    std::string where, fragment;
  };
  const std::vector<Case> cases = {
      {left, right, Join::none, false, ErrorKind::workspace, "/channels",
       "both workspaces have the channels 'CR'"},
      {left, left, Join::none, false, ErrorKind::workspace, "/channels", "'CR', 'SR'"},
      {left, renamed, Join::none, false, ErrorKind::workspace, "/measurements",
       "both workspaces have the measurements 'nominal'"},
      {left, with(renamed, "/observations/2", {{"name", "SR"}, {"data", {1, 2}}}), Join::none,
       false, ErrorKind::workspace, "/observations", "both workspaces have the observations 'SR'"},
      {left, right, Join::none, true, ErrorKind::usage, "", "channels can be merged by an outer"},
      {left, right, Join::outer, false, ErrorKind::workspace, "/channels",
       "the channels 'CR' differ between the workspaces"},
      {left, with(right, "/observations/1/data/0", 7), Join::outer, true, ErrorKind::workspace,
       "/observations", "the observations 'CR' differ"},
      {left, with(renamed, "/measurements/0/config/poi", "scale"), Join::outer, false,
       ErrorKind::workspace, "/measurements",
       "measurement 'nominal' has the POI 'mu' in one workspace and 'scale' in the other"},
      {left, with(renamed, parameter, {2.0}), Join::outer, false, ErrorKind::workspace,
       "/measurements", "configure parameters differently in measurement 'nominal': 'mu'"},
      {with(left, "/version", "2"), right, Join::outer, true, ErrorKind::workspace, "/version",
       "the left workspace: version '1.0.0'"},
      {left, with(right, "/version", "2"), Join::outer, true, ErrorKind::workspace, "/version",
       "the right workspace: version '1.0.0'"},
      {left, Json::array(), Join::outer, true, ErrorKind::workspace, "", "the right workspace: "},
  };
  for (const Case& c : cases) {
    CAPTURE(c.where, c.fragment);
    check_fails(c.kind, c.where, c.fragment, [&] { combine(c.left, c.right, c.join, c.merge); });
  }
}

TEST_CASE("a combination that is no valid workspace is an error", "[core][workspace_operations]") {
  const Json left = left_workspace();
  Json right = right_workspace();
  for (Json& sample : right["channels"][1]["samples"]) sample["data"] = {1, 2};
  right["observations"][1]["data"] = {1, 2};
  check_fails(ErrorKind::workspace, "/channels/1/samples/1/data",
              "the result of combine is no valid workspace: 1 value expected",
              [&] { combine(left, right, Join::left_outer, true); });
}

TEST_CASE("parts of a workspace are pruned", "[core][workspace_operations]") {
  const Json left = left_workspace();
  const std::vector<std::pair<Selection, std::string>> cases = {
      {select({}), digest_of_left},
      {select({}, {}, {}, {"CR"}),
       "fbe0106d163bba73763b9c3ee702ac9a4f33f4cfc8126a07c14bcf07fff9e543"},
      {select({}, {}, {"signal"}),
       "35c7fdf6818936581ff82308ee03da08586730239f1f8db23b468637b7defbfa"},
      {select({"scale", "lumi"}),
       "03d2ac8a74db8758ddb91b486699d9cbdd110e2a070dbee8201bfe4f26a0ff30"},
      {select({}, {"normsys"}), "535268653dbcf8cae04b0c209def0687f0174d95e05875ce3eca99e5fc8ccbb1"},
      {select({}, {}, {}, {}, {"nominal"}),
       "e113dc788a323717dd07aca14d201dc0d12c4a46abdd94ad87846d56c78b176f"},
      {select({"mu"}), "8ab39f458659558b94fc823ca4a1b428c0e2ab662063ddad474462ff53ecc0ce"},
      {select({"unc"}, {"lumi"}, {"signal"}, {"CR"}, {"other"}),
       "a229bac1bd612884f08bb4f77dc6bd33204a9bb89749f764f12da41a7b8c356c"},
  };
  for (const auto& [selection, expected] : cases) {
    CAPTURE(expected);
    CHECK(digest(prune(left, selection)) == expected);
  }
}

TEST_CASE("a type is pruned although its names have other types, too",
          "[core][workspace_operations]") {
  // pyhf refuses this one: it looks at one type per name only.
  const Json pruned = prune(left_workspace(), select({}, {"histosys"}));
  CHECK(pruned["channels"][0]["samples"][1]["modifiers"].size() == 2);
}

TEST_CASE("what cannot be pruned is an error", "[core][workspace_operations]") {
  const Json left = left_workspace();
  struct Case {
    Selection selection;
    ErrorKind kind;
    std::string where, fragment;
  };
  const std::vector<Case> cases = {
      {select({"scal"}), ErrorKind::usage, "", "no modifier 'scal'; did you mean 'scale'?"},
      {select({}, {"staterror"}), ErrorKind::usage, "", "no modifier of type 'staterror'"},
      {select({}, {}, {"sgnal"}), ErrorKind::usage, "", "did you mean 'signal'?"},
      {select({}, {}, {}, {"VR"}), ErrorKind::usage, "", "no channel 'VR'"},
      {select({}, {}, {}, {}, {"x"}), ErrorKind::usage, "", "there is 'nominal', 'other'"},
      {select({}, {}, {"background"}), ErrorKind::workspace, "/channels/1/samples",
       "the result of prune is no valid workspace: at least 1 element"},
      {select({}, {}, {}, {"SR", "CR"}), ErrorKind::workspace, "/channels", "at least 1 element"},
      {select({}, {}, {}, {}, {"nominal", "other"}), ErrorKind::workspace, "/measurements",
       "at least 1 element"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.fragment);
    check_fails(c.kind, c.where, c.fragment, [&] { prune(left, c.selection); });
  }
  check_fails(ErrorKind::workspace, "", "the workspace: missing key",
              [] { prune(Json::object(), {}); });
}

TEST_CASE("parts of a workspace are renamed", "[core][workspace_operations]") {
  const Json left = left_workspace();
  CHECK(digest(slalom::rename(left, {})) == digest_of_left);
  CHECK(digest(slalom::rename(left, {{{"mu", "mu_sig"}, {"scale", "jes"}}, {}, {}, {}})) ==
        "5f2ab87e16dbfc82fe05b9b7def479eea10b9acc857a4166fb7e96e12658c17e");
  CHECK(digest(slalom::rename(left, {{}, {{"background", "bkg"}}, {}, {}})) ==
        "4084e71e4ddc197d153d51b73b81c8a482d1fbc4c495ff46c756f1ea90a8dabb");
  CHECK(digest(slalom::rename(left, {{}, {}, {{"SR", "CR"}, {"CR", "SR"}}, {}})) ==
        "e2dde7854867334eb77b0e965b8a50e367534c11a86a0c200ff4a97fc79a930a");
  CHECK(digest(slalom::rename(left, {{}, {}, {}, {{"other", ""}}})) ==
        "6cfb1d04355c36096f7c7a1f4e91ac720c2ac33cef5a85eea46ced1b921c82f8");
  CHECK(digest(slalom::rename(right_workspace(), {{}, {{"ttbar é", "Z→ℓℓ \"q\"\\"}}, {}, {}})) ==
        "583f31a004b44c14f40d7b472ad9c64c4cc2878ece9fc705bb8eea7bc2332c7f");
}

TEST_CASE("what cannot be renamed is an error", "[core][workspace_operations]") {
  const Json left = left_workspace();
  struct Case {
    Renaming renaming;
    ErrorKind kind;
    std::string where, fragment;
  };
  const std::vector<Case> cases = {
      {{{{"nu", "x"}}, {}, {}, {}}, ErrorKind::usage, "", "no modifier 'nu'; did you mean 'mu'?"},
      {{{}, {{"x", "y"}}, {}, {}}, ErrorKind::usage, "", "no sample 'x'"},
      {{{}, {}, {{"x", "y"}}, {}}, ErrorKind::usage, "", "no channel 'x'"},
      {{{}, {}, {}, {{"x", "y"}}}, ErrorKind::usage, "", "no measurement 'x'"},
      {{{}, {}, {{"SR", "CR"}}, {}},
       ErrorKind::workspace,
       "/channels/1/name",
       "the result of rename is no valid workspace: a second channel named 'CR'"},
      {{{}, {{"signal", "background"}}, {}, {}},
       ErrorKind::workspace,
       "/channels/0/samples/1/name",
       "a second sample named 'background'"},
      {{{{"mu", "lumi"}}, {}, {}, {}},
       ErrorKind::workspace,
       "/measurements/0/config/parameters/1/name",
       "a second configuration"},
      {{{}, {}, {}, {{"other", "nominal"}}},
       ErrorKind::workspace,
       "/measurements/1/name",
       "a second measurement named 'nominal'"},
      {{{{"lumi", "L"}}, {}, {}, {}},
       ErrorKind::workspace,
       "/channels/0/samples/0/modifiers/1/name",
       "must be named 'lumi'"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.fragment);
    check_fails(c.kind, c.where, c.fragment, [&] { slalom::rename(left, c.renaming); });
  }
}

TEST_CASE("a sorted workspace is sorted by code points", "[core][workspace_operations]") {
  CHECK(digest(slalom::sorted(left_workspace())) ==
        "3897f9801b4aad72c997eff41c86ff46ad7ad7f746bba5a9fd822279a757a6a7");
  CHECK(digest(slalom::sorted(right_workspace())) ==
        "865de88a4d92d3489c71e7da24d7b0c01a520b5064c55889ff563852b30f23ad");
  const Json once = slalom::sorted(left_workspace());
  CHECK(slalom::sorted(once) == once);
  CHECK_THROWS_AS(slalom::sorted(Json::object()), slalom::Error);
}

TEST_CASE("operations on published workspaces give pyhf's documents",
          "[core][workspace_operations]") {
  SLALOM_REQUIRE_DATA("workspaces");
  const Json agc = published("agc/agc_34par.json");
  CHECK(digest(slalom::sorted(agc)) ==
        "5ccd23bddc4da210e2126cc529f65aa1a514ca619362c9decd378f1c74ef4377");
  CHECK(digest(slalom::sorted(published("sbottom/RegionC/BkgOnly.json"))) ==
        "e35fbcba09776ca5bed6d62616bd02a8308fd89afd2f38c12fba4a8819445950");
  CHECK(digest(slalom::sorted(published("ttbar/ttbar_ljets_132par.json"))) ==
        "ba206be7fcb4f3b302ae001d1df4fd6e6366a1bd243bff8632ee006acdbb992e");
  const Json rjr = published("3LRJR/BkgOnly.json");
  CHECK(digest(slalom::sorted(rjr)) ==
        "4b516782fc3eb40457bf8fbb9439b590a271be74b9d9ae9c51827aec31bef318");
  CHECK(digest(prune(rjr, select({}, {"shapesys"}, {"diboson3LISR"}, {"CRISR_cuts"}))) ==
        "821642f154976d34ebd5b652b0a257bc43260046201cb679dcd8655d5f9e3f8c");
  CHECK(digest(slalom::rename(agc, {{{"ttbar_norm", "mu"}}, {{"W+jets", "x"}}, {}, {}})) ==
        "1922a5eda7047247a4b3e65514dccb4debcf50b463eac95786eebab40d0eba24");
  CHECK(digest(combine(agc, published("ttbar/three_sr_13par.json"))) ==
        "3e283a5aa1b110ae55d344e910a07624c02b88b035841959c2eb831f413935e9");
}

TEST_CASE("published regions are combined as pyhf combines them", "[core][workspace_operations]") {
  SLALOM_REQUIRE_DATA("workspaces/sbottom");
  const Json a = published("sbottom/RegionA/BkgOnly.json");
  const Json b = published("sbottom/RegionB/BkgOnly.json");
  check_fails(ErrorKind::workspace, "/measurements", "'NormalMeasurement'", [&] { combine(a, b); });
  const std::string left = "a185e75ce714c2c7cb545a7e087cc7223c7ac3c4c298ccc2ba090526835b2e16";
  CHECK(digest(combine(a, b, Join::outer)) == left);
  CHECK(digest(combine(a, b, Join::left_outer)) == left);
  CHECK(digest(combine(a, b, Join::right_outer)) ==
        "ea9934dee07b99a6e2d49160ff01ab7e41c13642dc3f01980f25a2a1b8a8adae");
}
