// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
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

TEST_CASE("cross-fitting: every event is tested once, by a training that has not seen it",
          "[workflows][experiment]") {
  const TemporaryFolder folder;
  std::string text = "x,y,process\n";
  RandomStream random(3, 0);
  for (int i = 0; i < 900; ++i) {
    const bool signal = i % 3 == 0;
    text += std::to_string(random.normal() + (signal ? 1.0 : 0.0)) + "," +
            std::to_string(random.normal()) + "," + (signal ? "signal" : "background") + "\n";
  }
  Json document = small_experiment(6);
  document["data"] = {
      {"files",
       Json::array({{{"path", folder.file("e.csv", text)}, {"process_column", "process"}}})},
      {"folds", 3}};
  document["nuisances"][0] = {
      {"name", "tilt"}, {"effect", "shift"}, {"columns", {"y"}}, {"amount", 0.3}};
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
  // Of moved events as well: sums over folds, and mean areas.
  REQUIRE(result->at.size() == 2);
  CHECK(result->at[0].sigma == Approx(result->test.sigma.front()).epsilon(1e-9));
  REQUIRE(result->auc.size() == 2);
  CHECK(result->auc[0].auc != 0.5);
  CHECK(std::abs(result->auc[0].auc - 0.5) < 0.4);
  CHECK(std::filesystem::exists(folder.path("folds/fold-2/weights.npz")));
  CHECK(std::filesystem::exists(folder.path("folds/workspace.json")));
}
