// SPDX-License-Identifier: Apache-2.0
// Experiments whose tensors are on a second device, against the same on the CPU: training,
// checkpoints, evaluation.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "experiments/experiments.hpp"
#include "slalom/modules/tensor_files.hpp"
#include "slalom/workflows/experiment.hpp"
#include "slalom/workflows/fields.hpp"
#include "slalom/workflows/problem.hpp"
#include "support/catch.hpp"
#include "support/command_line.hpp"
#include "support/devices.hpp"
#include "support/fails.hpp"

using namespace slalom;
using slalom::test::deviation;
using slalom::test::labelled_rows;
using slalom::test::on_second_devices;
using slalom::test::small_experiment;
using slalom::test::small_folds;
using slalom::test::small_learning;
using slalom::test::TemporaryFolder;

namespace {

using Set = std::vector<std::string>;

/// Networks in float64, so that kernels which round in another way change nothing that is seen.
Json with(Json document, const Set& assignments) {
  set_value(document, "classifier.float64=true");
  for (const std::string& assignment : assignments) set_value(document, assignment);
  return document;
}

/// What the JSON document of an experiment cannot ask for: any device.
ExperimentOptions options_on(const Json& document, const at::Device& device) {
  ExperimentOptions options = read_experiment(document);
  options.device = device.str();
  return options;
}

/// Numbers and texts of both are the same, numbers to the tolerance.
void compare_documents(const Json& found, const Json& expected, double tolerance,
                       const std::string& place = "") {
  INFO(place);
  if (expected.is_number() && found.is_number()) {
    const auto x = found.get<double>(), y = expected.get<double>();
    CHECK_THAT(x, Catch::Matchers::WithinAbs(y, tolerance * std::max(1.0, std::abs(y))));
    return;
  }
  REQUIRE(found.type() == expected.type());
  if (!expected.is_structured()) {
    CHECK(found == expected);
    return;
  }
  REQUIRE(found.size() == expected.size());
  for (auto it = expected.begin(); it != expected.end(); ++it) {
    if (expected.is_object()) {
      REQUIRE(found.contains(it.key()));
      compare_documents(found[it.key()], *it, tolerance, place + "/" + it.key());
    } else {
      const auto i = static_cast<std::size_t>(it - expected.begin());
      compare_documents(found[i], *it, tolerance, place + "/" + std::to_string(i));
    }
  }
}

Json document_of(const ExperimentOptions& options, const ExperimentResult& result) {
  return Json::parse(result_document(options, result).dump());
}

/// Result, weights and published workspace of an experiment there and here.
void compare_experiments(const Json& document, const at::Device& device, double tolerance = 1e-6) {
  Experiment here(read_experiment(document)), there(options_on(document, device));
  CHECK(there.data().train.features.device() == device);
  const Json expected = document_of(here.options(), here.run()),
             found = document_of(here.options(), there.run());
  compare_documents(found, expected, tolerance);
  compare_documents(to_json(there.workspace()), to_json(here.workspace()), tolerance);
  const NamedTensors weights = named_tensors(*there.pipeline());
  for (const auto& [name, tensor] : named_tensors(*here.pipeline())) {
    INFO(name);
    REQUIRE(weights.count(name) == 1);
    CHECK(weights.at(name).device() == device);
    CHECK(deviation(weights.at(name), tensor) < tolerance);
  }
}

const Set k_adversarial{"training.keep_best=false", "learning.adversary.hidden=[8]",
                        "learning.adversary.pretraining=2", "learning.adversary.adversary_only=2"};
const Set k_moved{"loss=[{\"term\": \"log_sigma\", \"at\": [-0.6, 0.6]}]"};
const Set k_evaluation{"evaluation.auc=[0, 0.5]", "evaluation.at=[0, 0.5]"};

Set joined(Set first, const std::vector<Set>& others) {
  for (const Set& other : others) first.insert(first.end(), other.begin(), other.end());
  return first;
}

/// Few events: as fast as tests are to be.
Json learning(const std::string& strategy, const Set& set) {
  return with(small_learning(strategy, 6),
              joined({"data.train=2000", "data.validation=1000", "data.test=4000",
                      "training.batch_size=500", "training.validate_every=3"},
                     {set}));
}

const std::vector<Set>& trainings() {
  static const std::vector<Set> all{
      {"evaluation.bootstrap=5", "evaluation.mu=[1, 0]"},
      {"training.gradient=averaged",
       "loss=[{\"term\": \"log_cls\"}, {\"term\": \"one_sidedness\"}]"},
      {"training.gradient=batch", "optimizer.type=sgd", "optimizer.momentum=0.9",
       "loss=[{\"term\": \"log_p0\"}, {\"term\": \"effective_entries\"}]"},
      {"training.gradient=two_pass", "optimizer.type=adamw", "optimizer.clip=1",
       "loss=[{\"term\": \"upper_limit\"}]"},
      {"optimizer.type=rmsprop", "summary.learnable=true", "classifier.members=2"},
      {"summary.type=softmax", "classifier.outputs=4", "loss=[{}]", "model.mc_statistics=true"},
      {"summary.type=linear", "classifier.outputs=3", "loss=[{}]", "evaluation.bootstrap=3"}};
  return all;
}

}  // namespace

TEST_CASE("trainings on a device", "[workflows][experiment_devices]") {
  on_second_devices([](const at::Device& device) {
    for (const Set& set : trainings()) {
      CAPTURE(set);
      compare_experiments(with(small_experiment(6), set), device);
    }
  });
}

TEST_CASE("cuts and efficiencies on a device", "[workflows][experiment_devices]") {
  const Json document = Json::parse(R"({
    "data": {"problem": "cuts", "train": 2000, "validation": 1000, "test": 4000},
    "classifier": {"type": "column", "column": "x", "trainable": false},
    "selection": {"cuts": [{"column": "x", "threshold": 43, "slope": 1}]},
    "summary": {"axes": [{"edges": [-1000, 1000], "bandwidth": 0}], "columns": ["x"]},
    "loss": [{"term": "minus_z"},
             {"term": "efficiency", "bound": "at_least", "target": 0.95, "width": 0.05}],
    "optimizer": {"learning_rate": {"shape": "cosine", "start": 0.3, "end": 0}},
    "training": {"steps": 5, "batch_size": 1000, "averaging_rate": 0.5, "validate_every": 2},
    "evaluation": {"fit": false}
  })");
  on_second_devices([&](const at::Device& device) { compare_experiments(document, device); });
}

TEST_CASE("learning methods on a device", "[workflows][experiment_devices]") {
  const std::vector<std::pair<std::string, Set>> kinds{
      {"nominal", k_evaluation},
      {"augmentation", k_evaluation},
      {"parameterised", k_evaluation},
      {"parameterised",
       joined({"classifier.type=two_networks", "learning.alone=2"}, {k_evaluation})},
      {"parameterised", joined({"classifier.type=exact", "training.steps=0"}, {k_evaluation})},
      {"nominal", joined({"summary.type=linear", "classifier.outputs=3"}, {k_moved})},
      {"nominal",
       joined({"summary.type=softmax", "summary.bins=3", "classifier.outputs=3"}, {k_moved})},
      {"adversarial", k_adversarial},
      {"adversarial", joined({"learning.adversary.schedule=reversal"}, {k_adversarial})},
      {"reweighting", {"learning.process=signal", "summary.bins=1"}}};
  on_second_devices([&](const at::Device& device) {
    for (const auto& [strategy, set] : kinds) {
      CAPTURE(strategy, set);
      // Adversaries are in float32.
      compare_experiments(learning(strategy, set), device, strategy == "adversarial" ? 1e-3 : 1e-6);
    }
  });
}

TEST_CASE("a ratio closes on a device as it does on the CPU", "[workflows][experiment_devices]") {
  // The networks of a closure are in float32.
  const Json document =
      learning("reweighting", {"learning.process=signal", "summary.bins=1",
                               "data.test_sampling=random", "evaluation.closure=[0.5]"});
  on_second_devices([&](const at::Device& device) { compare_experiments(document, device, 0.02); });
}

TEST_CASE("inferences on a device", "[workflows][experiment_devices]") {
  Json document = learning("parameterised", {"data.test=20000"});
  document["inferences"] = Json::parse(R"([
    {"name": "baseline", "observable": "score", "truths": [0.2],
     "parameters": [{"name": "z", "grid": [-0.6, -0.3, 0, 0.3, 0.6]}]},
    {"name": "pair", "observable": "frozen", "binning": "equal_signal", "slope_bins": 2,
     "truths": [0.2], "parameters": [{"name": "z", "grid": [-0.6, -0.3, 0, 0.3, 0.6]}]},
    {"name": "unbinned", "observable": "unbinned", "truths": [0.2],
     "parameters": [{"name": "z", "grid": [-0.6, -0.3, 0, 0.3, 0.6]}]}])");
  Json linear = learning(
      "nominal", {"summary.type=linear", "classifier.outputs=3", "loss=[{}]", "data.test=20000"});
  linear["inferences"] = Json::parse(R"([
    {"name": "pair", "observable": "frozen", "binning": "equal_signal", "slope_bins": 2, "toys": 2,
     "truths": [0.2], "parameters": [{"name": "z", "grid": [-0.6, -0.3, 0, 0.3, 0.6]}]}])");
  on_second_devices([&](const at::Device& device) {
    compare_experiments(document, device, 1e-5);
    compare_experiments(linear, device, 1e-5);
  });
}

TEST_CASE("built-in problems on a device", "[workflows][experiment_devices]") {
  on_second_devices([](const at::Device& device) {
    for (const std::string& name : problem_names()) {
      const Problem problem = make_problem(name);
      const EventBatch events = problem.events(50, 1);
      for (const Variation& variation : problem.variations) {
        CAPTURE(name, variation.name);
        slalom::test::compare(device, [&](const at::Device& there) {
          const EventBatch here = events.to(at::kDouble).to(there);
          std::vector<Tensor> result;
          // One theta of the CPU, or one for each event.
          for (const Tensor& theta : {slalom::test::tensor({0.3}),
                                      (0.3 * slalom::test::sequence(here.size())).to(there)}) {
            const EventBatch moved = apply_variation(here, variation, theta);
            result.push_back(moved.features);
            result.push_back(moved.weights);
          }
          if (variation.score) result.push_back(variation.score(here));
          return result;
        });
      }
      if (!problem.log_ratio) continue;
      const auto count = static_cast<std::int64_t>(problem.variations.size());
      slalom::test::compare(device, [&](const at::Device& there) {
        const Tensor x = slalom::test::leaf(events.features.to(at::kDouble), there),
                     theta = slalom::test::leaf(0.1 * slalom::test::sequence(count), there);
        std::vector<Tensor> result =
            slalom::test::with_gradients(problem.log_ratio(x, theta), {x, theta});
        result.push_back(problem.log_ratio(x, {}).detach());
        return result;
      });
    }
  });
}

TEST_CASE("a GPU that is not here is named", "[workflows][experiment_devices]") {
  Json document = small_experiment(1);
  document["device"] = "cuda:63";
  slalom::test::check_fails(ErrorKind::usage, "/device", "there is no device 'cuda:63'",
                            [&] { Experiment(read_experiment(document)); });
}

TEST_CASE("checkpoints of a training on a device", "[workflows][experiment_devices]") {
  std::vector<Json> documents;
  for (const Set& set : trainings()) documents.push_back(with(small_experiment(6), set));
  documents.push_back(learning("adversarial", k_adversarial));
  on_second_devices([&](const at::Device& device) {
    for (const Json& document : documents) {
      CAPTURE(document.dump());
      const ExperimentOptions options = options_on(document, device);
      Experiment whole(options);
      const Json expected = document_of(options, whole.run());
      const TemporaryFolder folder;
      Experiment first(options);
      first.start();
      while (first.step() < 4) first.advance();
      first.save(folder.path("c.npz"));
      Experiment second(options);
      second.restore(folder.path("c.npz"));
      CHECK(document_of(options, second.run()) == expected);
      second.save_weights(folder.path("w.npz"));
      for (const auto& [name, tensor] : read_npz(folder.path("w.npz"))) {
        INFO(name);
        CHECK(deviation(tensor, named_tensors(*whole.pipeline()).at(name)) == 0.0);
      }
    }
  });
}

TEST_CASE("folds and bootstraps on a device", "[workflows][experiment_devices]") {
  const TemporaryFolder folder;
  Json document = with(small_folds(folder.file("e.csv", labelled_rows())), {});
  document["evaluation"]["bootstrap"] = 5;
  const auto here = run_in_directory(read_experiment(document), folder.path("here"));
  REQUIRE(here.has_value());
  int number = 0;
  on_second_devices([&](const at::Device& device) {
    const ExperimentOptions options = options_on(document, device);
    const std::string place = folder.path("there" + std::to_string(number++));
    // Stopped in the first fold, and gone on with.
    RunHooks stop;
    stop.progress = [](const Metrics& now, std::int64_t) { return now.step != 4; };
    CHECK_FALSE(run_in_directory(options, place, stop).has_value());
    const auto there = run_in_directory(options, place);
    REQUIRE(there.has_value());
    compare_documents(document_of(read_experiment(document), *there),
                      document_of(read_experiment(document), *here), 1e-6);
  });
}
