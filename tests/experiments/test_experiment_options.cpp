// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "experiments/experiments.hpp"
#include "slalom/workflows/experiment.hpp"
#include "slalom/workflows/mixture_options.hpp"
#include "slalom/workflows/resonance_options.hpp"
#include "support/catch.hpp"
#include "support/command_line.hpp"
#include "support/fails.hpp"

using namespace slalom;
using namespace slalom::test;

namespace {

Json changed(const std::vector<std::string>& assignments) {
  Json document = small_experiment();
  for (const std::string& assignment : assignments) set_value(document, assignment);
  return document;
}

/// What is wrong with a document is found when it is read or when the stages are built.
void fails(const std::vector<std::string>& assignments, const std::string& where,
           const std::string& fragment, ErrorKind kind = ErrorKind::usage) {
  CAPTURE(assignments);
  check_fails(kind, where, fragment,
              [&] { Experiment experiment(read_experiment(changed(assignments))); });
}

}  // namespace

TEST_CASE("the document in full reads back as itself", "[workflows][experiment_options]") {
  const ExperimentOptions options = read_experiment(small_experiment());
  const auto document = experiment_document(options);
  CHECK(experiment_document(read_experiment(Json::parse(document.dump()))) == document);
  CHECK(document["optimizer"]["learning_rate"]["steps"] == 12);
  CHECK(document["training"]["gradient"] == "averaged");
}

TEST_CASE("the schema of the docs is that of the code", "[workflows][experiment_options]") {
  const auto file = std::filesystem::path(SLALOM_SOURCE_DIR) / "docs/experiment.schema.json";
  const std::string text = text_of(file.string());
  REQUIRE_FALSE(text.empty());
  CHECK(Json::parse(text) == Json::parse(experiment_schema().dump()));
}

TEST_CASE("all experiments of the project can be read", "[workflows][experiment_options]") {
  const auto folder = std::filesystem::path(SLALOM_SOURCE_DIR) / "workflows/experiments";
  int found = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() != ".json" || name.find("study") != std::string::npos) continue;
    INFO(name);
    const Json document = parse_commented_json(text_of(entry.path().string()), name);
    if (slalom::is_resonance_document(document)) {
      CHECK_NOTHROW(slalom::read_resonance(document, folder.string()));
    } else if (slalom::is_mixture_document(document)) {
      CHECK_NOTHROW(slalom::read_mixture(document, folder.string()));
    } else {
      CHECK_NOTHROW(read_experiment(document, folder.string()));
    }
    ++found;
  }
  CHECK(found >= 7);
}

TEST_CASE("bad experiments: one clear message with its place", "[workflows][experiment_options]") {
  // Keys, types and ranges.
  fails({"trainig.steps=3"}, "/trainig", "did you mean 'training'");
  fails({"training.stps=3"}, "/training/stps", "did you mean 'steps'");
  fails({"training.steps=many"}, "/training/steps", "expected an integer");
  fails({"training.steps=-1"}, "/training/steps", ">= 0");
  fails({"training.batch_size=0"}, "/training/batch_size", ">= 1");
  fails({"training.gradient=exact"}, "/training/gradient", "two_pass, averaged, batch");
  fails({"training.averaging_rate=0"}, "/training/averaging_rate", "> 0");
  fails({"optimizer.type=adamm"}, "/optimizer/type", "did you mean 'adam'");
  fails({"optimizer.learning_rate=-1"}, "/optimizer/learning_rate", ">= 0");
  fails({"optimizer.momentum=1"}, "/optimizer/momentum", "< 1");
  fails({"seed=-3"}, "/seed", ">= 0");
  fails({"seed=1.5"}, "/seed", "expected an integer");
  fails({"device=gpu"}, "/device", "expected cpu or cuda");
  fails({"device=cuda:x"}, "/device", "expected cpu or cuda, got 'cuda:x'");
  fails({"loss=[]"}, "/loss", "at least one term");
  fails({"loss=[{\"term\": \"log_sigm\"}]"}, "/loss/0/term", "did you mean 'log_sigma'");
  fails({"loss=[{\"from\": 5, \"until\": 5}]"}, "/loss/0/until", "more than `from`");
  fails({"loss=[{\"from\": 5}]"}, "/loss", "no term counts at step 0");
  // Data.
  fails({"data.problem="}, "/data", "expected a built-in problem or files");
  fails({"data.problem=wunch"}, "/data/problem", "wunsch");
  fails({"data.train=0"}, "/data/train", ">= 1");
  fails({"data.signal=sgnal"}, "/data/signal", "did you mean 'signal'");
  fails({"data.split=[1]"}, "/data/split", "add up to 1");
  fails({"data.files=[{\"path\": \"x.csv\"}]"}, "/data", "not both");
  fails({"data.test_sampling=latice"}, "/data/test_sampling", "did you mean 'lattice'");
  fails({"data.test_sampling=lattice"}, "/data/test_sampling", "no lattice");
  const std::vector<std::string> toy{"data.problem=gaussian", "nuisances=[{\"name\": \"z\"}]",
                                     "data.test_sampling=lattice"};
  const auto fails_in_toy = [&](std::vector<std::string> more, const std::string& where,
                                const std::string& fragment) {
    more.insert(more.begin(), toy.begin(), toy.end());
    fails(more, where, fragment);
  };
  fails_in_toy({"model.mc_statistics=true"}, "/model/mc_statistics", "no statistical");
  fails_in_toy({"evaluation.bootstrap=3"}, "/evaluation/bootstrap", "no statistical");
  // Learning.
  fails({"learning.strategy=augmentatoin"}, "/learning/strategy", "did you mean 'augmentation'");
  fails({"learning.strategy=parameterised"}, "/learning/parameters", "at least one");
  fails({"learning.strategy=augmentation"}, "/learning/parameters", "at least one");
  fails({"learning.parameters=[{\"name\": \"shft\"}]"}, "/learning/parameters/0/name",
        "did you mean 'shift'");
  fails({"learning.parameters=[{\"name\": \"shift\"}, {\"name\": \"shift\"}]"},
        "/learning/parameters/1/name", "there already");
  fails({"learning.parameters=[{\"name\": \"shift\", \"low\": 1}]"}, "/learning/parameters/0/high",
        "more than `low`");
  fails({"learning.parameters=[{\"name\": \"shift\", \"distribution\": \"flat\"}]"},
        "/learning/parameters/0/distribution", "uniform, normal");
  fails({"classifier.type=column", "classifier.column=x1", "learning.strategy=parameterised",
         "learning.parameters=[{\"name\": \"shift\"}]"},
        "/learning/strategy", "knows no parameters");
  fails({"classifier.type=exact"}, "/classifier/type", "'wunsch' are not here");
  fails_in_toy({"classifier.type=exact", "classifier.features=[\"x\"]"}, "/classifier/features",
               "all features");
  fails_in_toy({"classifier.type=exact", "summary.type=softmax"}, "/summary/type", "one output");
  fails_in_toy({"classifier.type=exact"}, "/training/steps", "nothing to train");
  fails_in_toy({"classifier.type=exact", "nuisances.0.effect=shift", "nuisances.0.columns=[\"x\"]",
                "learning.parameters=[{\"name\": \"z\"}]"},
               "/learning/parameters/0/name", "variations of the problem");
  fails({"learning.alone=3"}, "/learning/alone", "only two networks");
  fails({"classifier.type=two_networks"}, "/learning/strategy", "need the strategy parameterised");
  const auto fails_to_learn = [&](const std::string& strategy, const std::vector<std::string>& set,
                                  const std::string& where, const std::string& fragment) {
    CAPTURE(strategy, set);
    check_fails(ErrorKind::usage, where, fragment, [&] {
      Json document = small_learning(strategy);
      set_value(document, "training.keep_best=false");
      for (const std::string& assignment : set) set_value(document, assignment);
      Experiment experiment(read_experiment(document));
    });
  };
  const std::string two = "classifier.type=two_networks";
  fails_to_learn("parameterised", {two, "classifier.threshold=1"}, "/classifier/threshold",
                 "inside the range of 'z'");
  fails_to_learn("parameterised", {two, "classifier.members=2"}, "/classifier/members", "one");
  fails_to_learn("parameterised", {two, "learning.alone=7"}, "/learning/alone", "half");
  const std::string early = "learning.adversary.pretraining=2",
                    soon = "learning.adversary.adversary_only=2";
  fails_to_learn("adversarial", {}, "/learning/adversary/pretraining", "fewer steps");
  fails_to_learn("adversarial", {early, soon, "training.keep_best=true"}, "/training/keep_best",
                 "game");
  fails_to_learn("adversarial", {early, soon, "training.patience=2"}, "/training/patience", "game");
  fails_to_learn("adversarial", {early, soon, "loss.0.term=log_sigma"}, "/loss/0/term", "alone");
  fails_to_learn("adversarial", {early, soon, "classifier.type=exact"}, "/learning/strategy",
                 "no network");
  fails_to_learn("adversarial", {early, soon, "learning.adversary.processes=[\"sgnal\"]"},
                 "/learning/adversary/processes/0", "did you mean 'signal'");
  fails_to_learn("adversarial", {early, soon, "learning.adversary.type=mdn"},
                 "/learning/adversary/type", "mse, gaussian, mixture");
  fails_to_learn("adversarial", {early, soon, "learning.adversary.strength=-1"},
                 "/learning/adversary/strength", ">= 0");
  fails_to_learn("reweighting", {}, "/learning/process", "expected a process");
  const std::string one = "summary.bins=1";
  fails_to_learn("reweighting", {"learning.process=signal"}, "/summary/bins", "1 bin");
  fails_to_learn("reweighting", {one, "learning.process=sgnal"}, "/learning/process",
                 "did you mean 'signal'");
  fails_to_learn("reweighting", {one, "learning.process=signal", "loss.0.term=log_sigma"},
                 "/loss/0/term", "cross entropy alone");
  fails_to_learn("reweighting", {one, "learning.process=signal", "classifier.type=exact"},
                 "/learning/strategy", "no network");
  fails_to_learn("reweighting", {one, "learning.process=signal", "evaluation.closure=[1]"},
                 "/evaluation/closure", "lattice");
  fails_to_learn("reweighting", {one, "learning.process=signal", "evaluation.auc=[1]"},
                 "/evaluation/auc", "does not separate");
  fails_to_learn("reweighting",
                 {one, "learning.process=signal", "data={\"folds\": 2, \"higgsml\": \"x.csv\"}",
                  "nuisances.0.effect=tau_energy_scale", "evaluation.closure=[1]"},
                 "/evaluation/closure", "one training");
  fails_to_learn("nominal", {"evaluation.closure=[1]"}, "/evaluation/closure", "reweighting");
  // Figures of moved events.
  fails({"evaluation.auc=[0]"}, "/evaluation/auc", "expected a parameter");
  fails({"evaluation.at=[0]"}, "/evaluation/at", "expected a parameter");
  const std::string sigma = "loss=[{\"term\": \"log_sigma\", \"at\": [0.1]}]";
  fails({sigma}, "/loss/0/parameter", "expected a name");
  fails_to_learn("nominal", {sigma, "loss.0.parameter=y"}, "/loss/0/parameter", "no nuisance");
  fails_to_learn("nominal", {sigma, "nuisances.0.slope=score"}, "/nuisances/0/slope", "copies");
  fails_to_learn("nominal", {"loss.0.at=[0.1]"}, "/loss/0/at", "cross entropy");
  fails_to_learn("nominal", {"loss.0.parameter=z"}, "/loss/0/at", "expected values");
  fails_to_learn("nominal", {"evaluation.at=[0.1]", "nuisances.0.slope=score"},
                 "/nuisances/0/slope", "copies");
  fails_to_learn("nominal",
                 {"summary.type=softmax", "classifier.outputs=10",
                  "loss=[{\"term\": \"log_sigma\"}]", "evaluation.auc=[0]"},
                 "/evaluation/auc", "one score");
  // Nuisance parameters.
  fails({"nuisances.0.name="}, "/nuisances/0/name", "needs a name");
  fails({"nuisances.0.name=shft"}, "/nuisances/0/name", "did you mean 'shift'");
  fails({"nuisances.0.name=mu"}, "/nuisances/0/name", "another parameter 'mu'");
  fails({"nuisances.0.variation=rotation"}, "/nuisances/0/variation", "it has shift");
  fails({"nuisances.0.prior=0"}, "/nuisances/0/prior", "> 0");
  fails({"nuisances.0.slope=automatic"}, "/nuisances/0/slope", "copies or score");
  fails({"nuisances.0.effect=scale"}, "/nuisances/0/columns", "expected columns");
  fails({"nuisances.0.effect=scale", "nuisances.0.columns=[\"x3\"]"}, "/nuisances/0/columns/0",
        "no column 'x3'");
  fails({"nuisances.0.effect=scale", "nuisances.0.columns=[\"x1\"]", "nuisances.0.slope=score"},
        "/nuisances/0/slope", "use copies");
  fails({"nuisances.0.effect=log_weight"}, "/nuisances/0/columns", "expected one column");
  fails({"nuisances.0.processes=[\"bkg\"]"}, "/nuisances/0/processes/0", "no process 'bkg'");
  fails({"nuisances.0.effect=normalisation", "nuisances.0.amount=0"}, "/nuisances/0",
        "changes neither features nor weights");
  fails({"optimizer.phases=[{\"from\": 12}]"}, "/optimizer/phases/0/from", "before");
  // Stages.
  fails({"classifier.features=[\"x0\"]"}, "/classifier/features/0", "no column 'x0'");
  fails({"classifier.hidden=[0]"}, "/classifier/hidden/0", ">= 1");
  fails({"classifier.activation=relue"}, "/classifier/activation", "did you mean 'relu'");
  fails({"classifier.outputs=2"}, "/classifier/outputs", "needs one output");
  fails({"classifier.type=torch_script"}, "/classifier/path", "a file is needed");
  fails({"classifier.type=torch_script", "classifier.path=/nowhere.pt"}, "/nowhere.pt", "",
        ErrorKind::io);
  fails({"classifier.type=column"}, "/classifier/column", "a column is needed");
  fails({"classifier.type=column", "classifier.column=x1"}, "/training/steps", "nothing to train");
  fails({"classifier.weights=/nowhere.npz"}, "/nowhere.npz", "", ErrorKind::io);
  fails({"selection.cuts=[{\"column\": \"u\"}]"}, "/selection/cuts/0/column", "no column 'u'");
  fails({"selection.cuts=[{\"column\": \"x1\", \"slope\": 0}]"}, "/selection/cuts/0/slope", "> 0");
  fails({"summary.type=softmax"}, "/classifier/outputs", "as many outputs as bins (4)");
  fails({"summary.type=softmax", "classifier.outputs=4"}, "/loss/0/term", "needs one output");
  fails({"summary.axes=[{\"edges\": [1, 0]}]"}, "/summary/axes/0/edges/1", "increase");
  fails({"summary.axes=[{\"edges\": [1]}]"}, "/summary/axes/0/edges", "at least 2");
  fails({"summary.columns=[\"score\", \"x1\"]"}, "/summary/columns", "as many columns as axes");
  fails({"summary.columns=[\"scores\"]"}, "/summary/columns/0", "no column 'scores'");
  fails({"summary.bandwidth=-1"}, "/summary/bandwidth", ">= 0");
  fails({"summary.type=linear", "summary.bins=1", "loss=[{}]"}, "/summary/bins", "at least 2");
  fails({"summary.type=linear", "loss=[{\"term\": \"log_cls\"}]"}, "/loss/0/term", "log_sigma");
  fails({"model.workspace=/nowhere.json"}, "/nowhere.json", "", ErrorKind::io);
  fails({"model.patches=[\"p.json\"]"}, "/model/patches", "no workspace");
  fails({"evaluation.mu=[]"}, "/evaluation/mu", "at least one");
  // Efficiencies.
  fails({"loss=[{\"term\": \"efficiency\"}]"}, "/loss/0/term", "there are no cuts");
  const std::string cut = "selection.cuts=[{\"column\": \"x1\"}]";
  fails({cut, "loss=[{\"term\": \"efficiency\", \"process\": \"sginal\"}]"}, "/loss/0/process",
        "did you mean 'signal'");
  fails({cut, "loss=[{\"term\": \"efficiency\", \"target\": 0}]"}, "/loss/0/target", "> 0");
  fails({cut, "loss=[{\"term\": \"efficiency\", \"target\": 1.2}]"}, "/loss/0/target", "<= 1");
  fails({cut, "loss=[{\"term\": \"efficiency\", \"width\": 0}]"}, "/loss/0/width", "> 0");
  fails({cut, "loss=[{\"term\": \"efficiency\", \"bound\": \"least\"}]"}, "/loss/0/bound",
        "at_least");
}

TEST_CASE("bad files: one clear message with its place", "[workflows][experiment_options]") {
  const TemporaryFolder folder;
  const auto rows = [](const std::string& extra) {
    std::string text = "x,w\n";
    for (int i = 0; i < 40; ++i) text += std::to_string(0.1 * i) + ",1\n";
    return text + extra;
  };
  const std::string good = folder.file("good.csv", rows(""));
  const auto document = [&](const std::string& signal, const std::string& options = "") {
    return Json::parse(R"({"data": {"files": [{"path": ")" + signal +
                       R"(", "process": "signal", "yield": 10, "weight_column": "w")" + options +
                       R"(}, {"path": ")" + good + R"(", "process": "background", "yield": 100,
        "weight_column": "w"}]}, "classifier": {"hidden": [4]}, "training": {"steps": 2}})");
  };
  const auto fails = [&](const Json& json, const std::string& where, const std::string& fragment,
                         ErrorKind kind) {
    INFO(json.dump());
    check_fails(kind, where, fragment, [&] { Experiment experiment(read_experiment(json)); });
  };
  CHECK_NOTHROW(Experiment(read_experiment(document(good))));
  const std::string nan = folder.file("nan.csv", rows("nan,1\n"));
  fails(document(nan), nan + ":42", "", ErrorKind::io);
  const std::string text = folder.file("text.csv", rows("many,1\n"));
  fails(document(text), text + ":42", "", ErrorKind::io);
  const std::string ragged = folder.file("ragged.csv", rows("1\n"));
  fails(document(ragged), ragged + ":42", "", ErrorKind::io);
  const std::string empty = folder.file("empty.csv", "x,w\n");
  fails(document(empty), "/data/files/0", "", ErrorKind::usage);
  const std::string zero = folder.file("zero.csv", "x,w\n1,0\n2,0\n");
  fails(document(zero), "/data/files/0", "no positive sum", ErrorKind::usage);
  const std::string other = folder.file("other.csv", "y,w\n1,1\n");
  fails(document(other), "/data/files/1", "not those of the first file", ErrorKind::usage);
  fails(document(good, R"(, "columns": ["z"])"), good + ":1", "z", ErrorKind::io);
  fails(document(folder.path("nowhere.csv")), folder.path("nowhere.csv"), "", ErrorKind::io);
  Json none = document(good);
  none["data"]["signal"] = "higgs";
  fails(none, "/data/signal", "there are signal, background", ErrorKind::usage);
  const std::string one = folder.file("one.csv", "x,w\n1,1\n");
  const auto error = error_of([&] { Experiment experiment(read_experiment(document(one))); });
  REQUIRE(error.has_value());
  CHECK(error->message().find("no positive sum of weights") != std::string::npos);
}

TEST_CASE("a file of several processes: names and yields", "[workflows][experiment_options]") {
  const TemporaryFolder folder;
  std::string rows = "x,w,label\n";
  for (int i = 0; i < 60; ++i) {
    rows += std::to_string(0.1 * i) + "," + std::to_string(1 + i % 2) + "," +
            std::to_string(i % 3 == 0 ? 1 : 0) + "\n";
  }
  const std::string path = folder.file("e.csv", rows);
  const auto document = [&](const std::string& processes) {
    return Json::parse(R"({"data": {"files": [{"path": ")" + path +
                       R"(", "process_column": "label", "weight_column": "w", "processes": )" +
                       processes + R"(}], "signal": "new physics"},
      "classifier": {"hidden": [4]}, "training": {"steps": 2}})");
  };
  const auto total = [](const EventBatch& events, const char* process) {
    return events.of_process(process).weights.sum().item<double>();
  };
  const std::string both =
      R"([{"value": "1", "name": "new physics", "yield": 5}, {"value": "0", "name": "ttbar"}])";
  const ExperimentOptions options = read_experiment(document(both));
  REQUIRE(options.data.files[0].processes.size() == 2);
  const Json again = Json::parse(experiment_document(options).dump());
  CHECK(experiment_document(read_experiment(again)) == experiment_document(options));
  const Experiment experiment(options);
  CHECK(experiment.data().processes == std::vector<std::string>{"new physics", "ttbar"});
  for (const EventBatch* events :
       {&experiment.data().train, &experiment.data().validation, &experiment.data().test}) {
    CHECK_THAT(total(*events, "new physics"), Catch::Matchers::WithinRel(5.0, 1e-12));
    CHECK_THAT(total(*events, "ttbar"), Catch::Matchers::WithinRel(60.0, 1e-12));  // as they are
  }

  const auto fails = [&](const std::string& processes, const std::string& where,
                         const std::string& fragment, ErrorKind kind = ErrorKind::usage) {
    INFO(processes);
    check_fails(kind, where, fragment,
                [&] { Experiment other(read_experiment(document(processes))); });
  };
  const std::string at = "/data/files/0/processes/";
  fails(R"([{"value": "1"}])", at + "0/name", "needs a name");
  fails(R"([{"name": "1"}, {"name": "1"}])", at + "1/name", "already");
  fails(R"([{"name": "a", "value": "0"}, {"name": "b", "value": "0"}])", at + "1/value", "already");
  fails(R"([{"name": "new physics", "value": "1"}])", path + ":3", "'0' (expected: 1",
        ErrorKind::io);
  fails(R"([{"name": "new physics", "value": "1"}, {"name": "b", "value": "0"}, {"name": "c"}])",
        at + "2", "no events");
  fails(R"([{"name": "new physics", "value": "1", "yield": -1}])", at + "0/yield", ">= 0");
  Json without = document(both);
  without["data"]["files"][0]["process_column"] = "";
  without["data"]["files"][0]["process"] = "ttbar";
  check_fails(ErrorKind::usage, "/data/files/0/processes", "process_column",
              [&] { read_experiment(without); });
}
