// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones_like.h>
#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "experiments/experiments.hpp"
#include "slalom/core/fit.hpp"
#include "slalom/core/model.hpp"
#include "slalom/core/random.hpp"
#include "slalom/modules/tensor_files.hpp"
#include "slalom/workflows/experiment.hpp"
#include "support/catch.hpp"
#include "support/command_line.hpp"
#include "support/data.hpp"
#include "support/fails.hpp"

using namespace slalom;
using namespace slalom::test;

namespace {

NamedTensors weights_after(const Json& document) {
  Experiment experiment(read_experiment(document));
  experiment.run();
  return named_tensors(*experiment.pipeline());
}

bool same(const NamedTensors& a, const NamedTensors& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [name, tensor] : a) {
    const auto found = b.find(name);
    if (found == b.end() || !at::equal(tensor, found->second)) return false;
  }
  return true;
}

Json with(Json document, const std::vector<std::string>& assignments) {
  for (const std::string& assignment : assignments) set_value(document, assignment);
  return document;
}

}  // namespace

TEST_CASE("an experiment trains, and its result is that of the workspace it leaves",
          "[workflows][experiment]") {
  Experiment experiment(read_experiment(small_experiment(60)));
  const ExperimentResult result = experiment.run();
  CHECK(result.steps == 60);
  CHECK(result.test.sigma.front() < result.before.sigma.front());
  CHECK(result.test.stat.front() < result.test.sigma.front());
  CHECK(result.samples.size() == 2);
  CHECK(result.edges.size() == 5);
  double signal = 0.0;
  for (std::size_t k = 0; k < 2; ++k) {
    if (result.samples[k] != "signal") continue;
    for (const double yield : result.yields[k]) signal += yield;
  }
  CHECK(signal == Approx(50.0).epsilon(1e-9));
  CHECK(result.signal_yield == Approx(50.0).epsilon(1e-9));

  // core agrees with the result: the Asimov data of the published workspace.
  const Model model(make_model_spec(experiment.workspace()));
  Fitter fitter(model);
  const FitResult best = fitter.fit();
  REQUIRE(best.converged());
  const std::size_t mu = *model.spec().poi;
  CHECK(best.parameters[mu] == Approx(1.0).epsilon(1e-6));
  CHECK(fitter.errors(best)[mu] == Approx(result.test.sigma.front()).epsilon(1e-4));
  CHECK(result.mu_error.value() == Approx(fitter.errors(best)[mu]).epsilon(1e-9));
}

TEST_CASE("the same seed gives the same weights, another one others", "[workflows][experiment]") {
  const NamedTensors first = weights_after(small_experiment());
  CHECK(same(first, weights_after(small_experiment())));
  CHECK_FALSE(same(first, weights_after(with(small_experiment(), {"seed=2"}))));
}

TEST_CASE("inputs are normalised, or not", "[workflows][experiment]") {
  Experiment experiment(read_experiment(small_experiment()));
  const NamedTensors normalised = named_tensors(*experiment.pipeline());
  const Tensor mean = experiment.data().train.features.mean(0);
  CHECK(at::allclose(normalised.at("classifier.mean"), mean.to(at::kFloat), 1e-4, 1e-5));
  Experiment other(read_experiment(with(small_experiment(), {"classifier.normalise=false"})));
  const NamedTensors raw = named_tensors(*other.pipeline());
  CHECK(raw.at("classifier.mean").abs().max().item<double>() == 0.0);
  CHECK(at::equal(raw.at("classifier.scale"), at::ones_like(raw.at("classifier.scale"))));
}

TEST_CASE("gradients: in two passes, averaged, of a batch", "[workflows][experiment]") {
  // With batches of all events there is only one gradient.
  const std::vector<std::string> whole{"training.batch_size=100000", "training.averaging_rate=1"};
  std::vector<double> sigma;
  for (const char* mode : {"two_pass", "averaged", "batch"}) {
    Json document = with(small_experiment(), whole);
    set_value(document, std::string("training.gradient=") + mode);
    Experiment experiment(read_experiment(document));
    sigma.push_back(experiment.run().test.sigma.front());
  }
  CHECK(sigma[1] == Approx(sigma[0]).epsilon(1e-3));
  CHECK(sigma[2] == Approx(sigma[1]).epsilon(1e-9));
}

TEST_CASE("two passes do not depend on the size of the batches", "[workflows][experiment]") {
  Json document = with(small_experiment(),
                       {"training.gradient=two_pass", "loss=[{}]", "classifier.float64=true"});
  std::vector<double> sigma;
  for (const char* size : {"37", "200", "100000"}) {
    Experiment experiment(
        read_experiment(with(document, {std::string("training.batch_size=") + size})));
    sigma.push_back(experiment.run().test.sigma.front());
  }
  CHECK(sigma[1] == Approx(sigma[0]).epsilon(1e-9));
  CHECK(sigma[2] == Approx(sigma[0]).epsilon(1e-9));
}

TEST_CASE("restored from a checkpoint of any step, nothing differs", "[workflows][experiment]") {
  const std::vector<std::vector<std::string>> kinds{
      {},
      {"training.gradient=batch", "optimizer.type=sgd", "optimizer.momentum=0.9"},
      {"optimizer.type=adamw", "optimizer.weight_decay=0.01", "optimizer.clip=1"},
      {"optimizer.type=rmsprop", "summary.learnable=true"},
      {"summary.type=softmax", "classifier.outputs=4", "loss=[{}]"},
      {"summary.type=linear", "classifier.outputs=3", "loss=[{}]"}};
  for (const auto& kind : kinds) {
    CAPTURE(kind);
    const Json document = with(small_experiment(), kind);
    Experiment whole(read_experiment(document));
    const ExperimentResult expected = whole.run();
    const TemporaryFolder folder;
    for (const std::int64_t stop : {1, 3, 7, 12}) {
      CAPTURE(stop);
      Experiment first(read_experiment(document));
      first.start();
      while (first.step() < stop) first.advance();
      first.save(folder.path("c.npz"));
      Experiment second(read_experiment(document));
      second.restore(folder.path("c.npz"));
      CHECK(second.step() == stop);
      const ExperimentResult result = second.run();
      CHECK(same(named_tensors(*whole.pipeline()), named_tensors(*second.pipeline())));
      CHECK(result.test.sigma == expected.test.sigma);
      CHECK(result.best_step == expected.best_step);
    }
  }
}

TEST_CASE("a checkpoint of another experiment is refused", "[workflows][experiment]") {
  const TemporaryFolder folder;
  Experiment one(read_experiment(small_experiment()));
  one.save(folder.path("c.npz"));
  Experiment other(read_experiment(with(small_experiment(), {"seed=9"})));
  check_fails(ErrorKind::usage, folder.path("c.npz"), "another experiment",
              [&] { other.restore(folder.path("c.npz")); });
  write_npz(folder.path("w.npz"), named_tensors(*one.pipeline()));
  check_fails(ErrorKind::io, folder.path("w.npz"), "not a checkpoint",
              [&] { one.restore(folder.path("w.npz")); });
}

TEST_CASE("bins in which nothing is expected say nothing", "[workflows][experiment]") {
  // The last bin has events where they are moved up, and none otherwise.
  const TemporaryFolder folder;
  std::string text = "x,process\n";
  for (int i = 0; i < 200; ++i) {
    text += std::to_string(0.0049 * i) + (i % 3 == 0 ? ",signal\n" : ",background\n");
  }
  Json document = Json::parse(R"({
    "nuisances": [{"name": "tilt", "effect": "shift", "columns": ["x"], "amount": 0.3}],
    "classifier": {"type": "column", "column": "x"}, "training": {"steps": 0},
    "summary": {"axes": [{"edges": [-0.5, 0.2, 0.5, 1, 1.5]}]}, "evaluation": {"fit": false}
  })");
  document["data"]["files"] =
      Json::array({{{"path", folder.file("e.csv", text)}, {"process_column", "process"}}});
  const auto evaluated = [&] {
    Experiment experiment(read_experiment(document));
    return experiment.run();
  };
  const ExperimentResult result = evaluated();
  CHECK(result.yields[0][3] + result.yields[1][3] == 0.0);
  CHECK(result.test.sigma.front() > result.test.stat.front());
  // As if the bin were not there, and what is moved there were lost.
  set_value(document, "summary.axes.0.edges=[-0.5, 0.2, 0.5, 1]");
  set_value(document, "summary.axes.0.flow=drop");
  CHECK(result.test.sigma.front() == Approx(evaluated().test.sigma.front()).epsilon(1e-9));
}

TEST_CASE("patience ends a training, and the best weights are the result",
          "[workflows][experiment]") {
  const Json document =
      with(small_experiment(400), {"optimizer.learning_rate=0.2", "training.patience=2",
                                   "training.validate_every=2", "data.train=60"});
  Experiment experiment(read_experiment(document));
  const ExperimentResult result = experiment.run();
  CHECK(result.stopped_early);
  CHECK(result.steps < 400);
  CHECK(result.best_step == result.steps - 2 * 2);
}

TEST_CASE("a training that diverges names the step", "[workflows][experiment]") {
  Json document =
      with(small_experiment(200), {"loss=[{\"term\": \"cross_entropy\"}]", "optimizer.type=sgd",
                                   "optimizer.learning_rate=1e38"});
  Experiment experiment(read_experiment(document));
  const auto error = error_of([&] { experiment.run(); });
  REQUIRE(error.has_value());
  CHECK(error->kind() == ErrorKind::numerical);
  CHECK(error->where().rfind("step ", 0) == 0);
}

TEST_CASE("a run in a directory, stopped and gone on with", "[workflows][experiment]") {
  const TemporaryFolder folder;
  const ExperimentOptions options = read_experiment(small_experiment());
  REQUIRE(run_in_directory(options, folder.path("whole")).has_value());
  RunHooks stop;
  stop.progress = [](const Metrics& now, std::int64_t) { return now.step != 5; };
  CHECK_FALSE(run_in_directory(options, folder.path("parts"), stop).has_value());
  CHECK_FALSE(std::filesystem::exists(folder.path("parts/result.json")));
  REQUIRE(run_in_directory(experiment_of(folder.path("parts")), folder.path("parts")).has_value());
  for (const char* file :
       {"experiment.json", "metrics.jsonl", "result.json", "workspace.json", "weights.npz"}) {
    INFO(file);
    CHECK(text_of(folder.path(std::string("whole/") + file)) ==
          text_of(folder.path(std::string("parts/") + file)));
  }
  check_fails(ErrorKind::io, folder.path("nothing"), "not a result directory",
              [&] { experiment_of(folder.path("nothing")); });
}

TEST_CASE("killed at random moments, the end is the same", "[workflows][experiment][slow]") {
  // Through the executable: SIGKILL after a random time, twenty times, then to the end.
  const std::filesystem::path program =
      std::filesystem::path(SLALOM_EXECUTABLE).parent_path() / "slalom-train";
  const TemporaryFolder folder;
  const Json document = with(small_experiment(3000), {"training.checkpoint_every=7"});
  const std::string file = folder.file("small.json", document.dump());
  const auto start = [&](const std::string& directory) {
    const pid_t child = fork();
    if (child == 0) {
      execl(program.c_str(), program.c_str(), "run", file.c_str(), "-d", directory.c_str(),
            "--quiet", "-o", folder.path("out.txt").c_str(), nullptr);
      _exit(127);
    }
    return child;
  };
  const auto wait = [](pid_t child) {
    int status = 0;
    waitpid(child, &status, 0);
    return status;
  };
  REQUIRE(wait(start(folder.path("whole"))) == 0);
  RandomStream random(7, 0);
  int killed = 0;
  for (int k = 0; k < 20; ++k) {
    const pid_t child = start(folder.path("parts"));
    usleep(static_cast<useconds_t>(300000 + 500000 * random.uniform()));
    kill(child, SIGKILL);
    if (WIFSIGNALED(wait(child))) ++killed;
    if (std::filesystem::exists(folder.path("parts/result.json"))) break;
  }
  CHECK(killed > 0);
  if (!std::filesystem::exists(folder.path("parts/result.json"))) {
    REQUIRE(wait(start(folder.path("parts"))) == 0);
  }
  for (const char* name : {"weights.npz", "metrics.jsonl", "result.json", "workspace.json"}) {
    INFO(name);
    CHECK(text_of(folder.path(std::string("whole/") + name)) ==
          text_of(folder.path(std::string("parts/") + name)));
  }
}

TEST_CASE("where nothing can be written, one message and nothing half-written",
          "[workflows][experiment]") {
  check_fails(ErrorKind::io, "/proc/slalom", "",
              [] { run_in_directory(read_experiment(small_experiment()), "/proc/slalom"); });
  // A full disk, as a limit on the size of files that a child may write.
  const std::filesystem::path program =
      std::filesystem::path(SLALOM_EXECUTABLE).parent_path() / "slalom-train";
  const TemporaryFolder folder;
  const std::string file = folder.file("small.json", small_experiment().dump());
  const std::string errors = folder.path("errors.txt");
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limit{600, 600};
    std::signal(SIGXFSZ, SIG_IGN);
    if (std::freopen(errors.c_str(), "w", stderr) == nullptr) _exit(126);
    setrlimit(RLIMIT_FSIZE, &limit);
    execl(program.c_str(), program.c_str(), "run", file.c_str(), "-d", folder.path("run").c_str(),
          nullptr);
    _exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 2);
  const std::string message = text_of(errors);
  INFO(message);
  CHECK(message.rfind("slalom: error: ", 0) == 0);
  CHECK(std::count(message.begin(), message.end(), '\n') == 1);
  for (const auto& entry : std::filesystem::directory_iterator(folder.path("run"))) {
    INFO(entry.path().string());
    CHECK(entry.path().filename() == "metrics.jsonl");
  }
}

TEST_CASE("a workspace of one's own is the rest of the likelihood", "[workflows][experiment]") {
  // The two channels of small_workspace() beside one that is trained: the control region constrains
  // the same normalisation, and stays as it is.
  const TemporaryFolder folder;
  Json workspace = Json::parse(small_workspace());
  const std::vector<double> ones(4, 1.0);
  const auto sample = [&](const char* name, Json modifiers) {
    return Json{{"name", name}, {"data", ones}, {"modifiers", std::move(modifiers)}};
  };
  const Json scale{{"name", "scale"}, {"type", "normsys"}, {"data", {{"hi", 1.1}, {"lo", 0.9}}}};
  const Json shift{
      {"name", "shift"}, {"type", "histosys"}, {"data", {{"hi_data", ones}, {"lo_data", ones}}}};
  const Json mu{{"name", "mu"}, {"type", "normfactor"}, {"data", nullptr}};
  workspace["channels"].push_back(
      {{"name", "network"},
       {"samples", Json::array({sample("background", Json::array({scale, shift})),
                                sample("signal", Json::array({mu}))})}});
  workspace["observations"].push_back({{"name", "network"}, {"data", ones}});
  Json document = small_experiment(20);
  document["model"] = {{"workspace", folder.file("w.json", workspace.dump())},
                       {"channel", "network"}};
  Experiment experiment(read_experiment(document));
  const ExperimentResult result = experiment.run();
  const Json published = to_json(experiment.workspace());
  CHECK(published["channels"].size() == 3);
  for (const char* name : {"signal_region", "control_region"}) {
    const auto channel = [&](const Json& json) {
      for (const Json& c : json["channels"]) {
        if (c["name"] == name) return c;
      }
      return Json();
    };
    INFO(name);
    CHECK(channel(published) == channel(to_json(parse_workspace(workspace))));
  }
  // The other channels help: against the same channel on its own.
  workspace["channels"].erase(0);
  workspace["channels"].erase(0);
  workspace["observations"].erase(0);
  workspace["observations"].erase(0);
  document["model"]["workspace"] = folder.file("alone.json", workspace.dump());
  Experiment alone(read_experiment(document));
  CHECK(result.test.sigma.front() < alone.run().test.sigma.front());
}

TEST_CASE("a patch adds the channel that is trained", "[workflows][experiment]") {
  const TemporaryFolder folder;
  const std::vector<double> ones(4, 1.0);
  const Json channel = Json::parse(R"({"name": "network", "samples": [
    {"name": "background", "data": [1, 1, 1, 1], "modifiers": [
      {"name": "scale", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}},
      {"name": "shift", "type": "histosys", "data": {"hi_data": [1, 1, 1, 1], "lo_data": [1, 1, 1, 1]}}]},
    {"name": "signal", "data": [1, 1, 1, 1], "modifiers": [
      {"name": "mu", "type": "normfactor", "data": null}]}]})");
  Json patched = Json::parse(small_workspace());
  const Json operations{{{"op", "add"}, {"path", "/channels/-"}, {"value", channel}},
                        {{"op", "add"},
                         {"path", "/observations/-"},
                         {"value", {{"name", "network"}, {"data", ones}}}}};
  Json document = small_experiment(3);
  document["model"] = {{"workspace", folder.file("w.json", small_workspace())},
                       {"patches", {folder.file("p.json", operations.dump())}},
                       {"channel", "network"}};
  Experiment by_patch(read_experiment(document));
  const double sigma = by_patch.run().test.sigma.front();
  patched["channels"].push_back(channel);
  patched["observations"].push_back({{"name", "network"}, {"data", ones}});
  Json whole = document;
  whole["model"] = {{"workspace", folder.file("all.json", patched.dump())}, {"channel", "network"}};
  Experiment at_once(read_experiment(whole));
  CHECK(at_once.run().test.sigma.front() == sigma);
  CHECK(to_json(at_once.workspace()) == to_json(by_patch.workspace()));
  // The directory of a run names both files, and goes on from there.
  const std::string place = folder.path("run");
  REQUIRE(run_in_directory(read_experiment(document), place).has_value());
  CHECK(experiment_of(place).model.patches == by_patch.options().model.patches);

  document["model"]["patches"] = {
      folder.file("bad.json", R"([{"op": "remove", "path": "/channels/7"}])")};
  check_fails(ErrorKind::patch, folder.path("bad.json") + "#/0", "/channels/7",
              [&] { Experiment experiment(read_experiment(document)); });
  document["model"]["patches"] = {folder.path("nowhere.json")};
  check_fails(ErrorKind::io, folder.path("nowhere.json"), "",
              [&] { Experiment experiment(read_experiment(document)); });
}

TEST_CASE("efficiencies of cuts are held by a penalty", "[workflows][experiment]") {
  // Expected numbers: the smallest loss with exact densities, by quadrature, and what the hard cut
  // keeps there.
  const auto efficiency_after = [](const std::string& loss, const std::string& gradient) {
    Json document = Json::parse(R"({
      "data": {"problem": "cuts", "train": 4000, "validation": 4000, "test": 100000},
      "classifier": {"type": "column", "column": "x", "trainable": false},
      "selection": {"cuts": [{"column": "x", "threshold": 43, "slope": 1}]},
      "summary": {"axes": [{"edges": [-1000, 1000], "bandwidth": 0}], "columns": ["x"]},
      "optimizer": {"learning_rate": {"shape": "cosine", "start": 0.3, "end": 0}},
      "training": {"steps": 150, "batch_size": 8000, "averaging_rate": 0.5, "validate_every": 0},
      "evaluation": {"fit": false}
    })");
    document["loss"] = Json::parse(loss);
    document["training"]["gradient"] = gradient;
    Experiment experiment(read_experiment(document));
    const ExperimentResult result = experiment.run();
    REQUIRE(result.efficiencies.size() == 2);
    REQUIRE(result.samples == std::vector<std::string>{"background", "signal"});
    const double total = result.yields[1][0] / 300.0;
    CHECK(result.efficiencies[1] == Approx(total).epsilon(1e-12));
    const Json document_of = Json::parse(result_document(experiment.options(), result).dump());
    CHECK(document_of["efficiencies"]["signal"] == result.efficiencies[1]);
    return result.efficiencies;
  };
  const std::string free = R"([{"term": "minus_z"}])";
  const double signal = efficiency_after(free, "batch")[1];
  CHECK_THAT(signal, Catch::Matchers::WithinAbs(0.857, 0.03));
  const std::string least =
      R"([{"term": "minus_z"}, {"term": "efficiency", "bound": "at_least", "target": 0.95,
          "width": 0.05}])";
  for (const char* gradient : {"batch", "averaged", "two_pass"}) {
    INFO(gradient);
    CHECK_THAT(efficiency_after(least, gradient)[1], Catch::Matchers::WithinAbs(0.9547, 0.006));
  }
  // What is fulfilled already changes nothing.
  const std::string idle =
      R"([{"term": "minus_z"}, {"term": "efficiency", "bound": "at_least", "target": 0.5}])";
  CHECK(efficiency_after(idle, "batch")[1] == signal);
  const std::string most = R"([{"term": "minus_z"}, {"term": "efficiency", "process": "background",
      "bound": "at_most", "target": 0.15, "width": 0.05}])";
  CHECK_THAT(efficiency_after(most, "batch")[0], Catch::Matchers::WithinAbs(0.1616, 0.006));
  const std::string equal =
      R"([{"term": "efficiency", "bound": "equal", "target": 0.6, "process": "signal"}])";
  CHECK_THAT(efficiency_after(equal, "batch")[1], Catch::Matchers::WithinAbs(0.606, 0.02));
}

TEST_CASE("a trained channel beside a published workspace", "[workflows][experiment]") {
  // workflows/examples/heavy_higgs, with few steps and folds.
  SLALOM_REQUIRE_DATA("workspaces/agc/agc_34par.json");
  SLALOM_REQUIRE_DATA("uci_higgs/uci_higgs_10984.csv.gz");
  const auto example = std::filesystem::path(SLALOM_SOURCE_DIR) / "workflows/examples/heavy_higgs";
  const std::string published = data_path("workspaces/agc/agc_34par.json").string();
  Json document =
      parse_commented_json(text_of((example / "heavy_higgs.json").string()), "heavy_higgs");
  document["data"]["files"][0]["path"] = data_path("uci_higgs/uci_higgs_10984.csv.gz").string();
  document["data"]["folds"] = 0;
  document["data"]["split"] = {0.4, 0.2, 0.4};
  document["model"]["workspace"] = published;
  document["evaluation"] = {{"bootstrap", 0}};
  document = with(document, {"training.steps=46", "loss.0.until=40", "loss.1.from=40",
                             "loss.2.from=40", "optimizer.phases.0.from=40"});
  Experiment experiment(read_experiment(document, example.string()));
  const ExperimentResult together = experiment.run();
  // The other channels are those that were published, to the last number.
  const Json before = read_json(published), after = to_json(experiment.workspace());
  REQUIRE(after["channels"].size() == 3);
  const Json frame = to_json(parse_workspace(before));
  for (std::size_t c = 0; c < 2; ++c) {
    CHECK(after["channels"][c] == frame["channels"][c]);
    CHECK(after["observations"][c] == frame["observations"][c]);
  }
  CHECK(after["measurements"][0] == frame["measurements"][0]);
  // The trained one has their parameters and the yields that are assumed.
  const Json& search = after["channels"][2];
  CHECK(search["name"] == "search");
  REQUIRE(together.samples == std::vector<std::string>{"heavy Higgs", "ttbar"});
  for (std::size_t k = 0; k < 2; ++k) {
    const double kept = together.efficiencies[k];
    CHECK(kept > 0.95);  // of the cuts just above the file's thresholds
    CHECK(kept < 1.0);
    double sum = 0.0;
    for (const double yield : together.yields[k]) sum += yield;
    CHECK(sum == Approx(kept * (k == 0 ? 100.0 : 2000.0)).epsilon(1e-9));
    CHECK(search["samples"][k]["data"][0] == Approx(together.yields[k][0]).epsilon(1e-12));
  }
  ModelOptions measurement;
  measurement.measurement = "search";
  const ModelSpec spec = make_model_spec(experiment.workspace(), measurement),
                  own = make_model_spec(parse_workspace(before));
  // Beside those of the publication: mu, and one factor for the statistics of each bin.
  CHECK(spec.parameters.size() == own.parameters.size() + 1 + together.yields[0].size());
  // Both channels of the publication together constrain scale and normalisation.
  document["model"]["patches"].push_back("alone.patch.json");
  Experiment alone(read_experiment(document, example.string()));
  const ExperimentResult result = alone.run();
  REQUIRE(alone.workspace().channels.size() == 1);
  CHECK(together.test.sigma.front() < 0.9 * result.test.sigma.front());
  REQUIRE(together.nuisances.size() == 1);
  CHECK(together.nuisances[0].constraint < 0.8 * result.nuisances[0].constraint);
}

TEST_CASE("cross-fitting: every event is tested once, by a training that has not seen it",
          "[workflows][experiment]") {
  const TemporaryFolder folder;
  Json document = small_folds(folder.file("e.csv", labelled_rows()));
  // As many simulated events as are expected: were bootstraps to square their numbers of copies,
  // the uncertainty would grow by a fifth.
  document["model"] = {{"mc_statistics", true}};
  document["learning"] = {{"parameters", Json::array({{{"name", "tilt"}}})}};
  document["evaluation"] = {{"bootstrap", 20}, {"auc", {0, 1}}, {"at", {0, 1}}};
  const auto result = run_in_directory(read_experiment(document), folder.path("folds"));
  REQUIRE(result.has_value());
  double total = 0.0;
  for (const auto& row : result->yields) {
    for (const double yield : row) total += yield;
  }
  CHECK(total == Approx(900.0).epsilon(1e-12));
  CHECK(result->signal_yield == Approx(300.0));
  CHECK(result->bootstrap_sigma.size() == 20);
  double mean = 0.0;
  for (const double sigma : result->bootstrap_sigma) mean += sigma / 20.0;
  CHECK(mean == Approx(result->test.sigma.front()).epsilon(0.1));
  double squares = 0.0;
  for (const double sigma : result->bootstrap_sigma) squares += (sigma - mean) * (sigma - mean);
  const Json bootstrap = read_json(folder.path("folds/result.json"))["bootstrap"];
  CHECK(bootstrap["n"] == 20);
  CHECK_THAT(bootstrap["error"].get<double>(),
             Catch::Matchers::WithinRel(std::sqrt(squares / 19.0), 1e-12));
  std::vector<double> sorted = result->bootstrap_sigma;
  std::sort(sorted.begin(), sorted.end());
  // 2.5 % of 19 steps from the first: between the first two.
  CHECK_THAT(bootstrap["low"].get<double>(),
             Catch::Matchers::WithinRel(0.525 * sorted[0] + 0.475 * sorted[1], 1e-12));
  CHECK_THAT(bootstrap["median"].get<double>(),
             Catch::Matchers::WithinRel(0.5 * (sorted[9] + sorted[10]), 1e-12));
  CHECK(bootstrap["high"].get<double>() <= sorted[19]);
  // Of moved events as well: sums over folds, and mean areas.
  REQUIRE(result->at.size() == 2);
  CHECK(result->at[0].sigma == Approx(result->test.sigma.front()).epsilon(1e-9));
  REQUIRE(result->auc.size() == 2);
  CHECK(result->auc[0].auc != 0.5);
  CHECK(std::abs(result->auc[0].auc - 0.5) < 0.4);
  CHECK(std::filesystem::exists(folder.path("folds/fold-2/weights.npz")));
  CHECK(std::filesystem::exists(folder.path("folds/workspace.json")));
}
