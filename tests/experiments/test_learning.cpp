// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <cmath>
#include <numbers>

#include "experiments/experiments.hpp"
#include "slalom/modules/tensor_files.hpp"
#include "slalom/workflows/experiment.hpp"
#include "slalom/workflows/problem.hpp"
#include "support/catch.hpp"
#include "support/command_line.hpp"
#include "support/fails.hpp"

using namespace slalom;
using namespace slalom::test;

namespace {

Json with(Json document, const std::vector<std::string>& assignments) {
  for (const std::string& assignment : assignments) set_value(document, assignment);
  return document;
}

using Set = std::vector<std::string>;

const Set k_adversarial{"training.keep_best=false", "learning.adversary.hidden=[8]",
                        "learning.adversary.pretraining=3", "learning.adversary.adversary_only=2",
                        "learning.adversary.adversary_steps=2"};
const Set k_two{"classifier.type=two_networks", "learning.alone=4"};
const Set k_linear{"summary.type=linear", "classifier.outputs=3",
                   "loss=[{\"term\": \"log_sigma\", \"at\": [-0.6, 0.6]}]"};
// Three bins, so that none is empty.
const Set k_softmax{"summary.type=softmax", "summary.bins=3", "classifier.outputs=3",
                    "loss=[{\"term\": \"log_sigma\", \"at\": [-0.6, 0.6]}]"};

NamedTensors weights_after(const Json& document, std::int64_t steps) {
  Experiment experiment(read_experiment(document));
  experiment.start();
  while (experiment.step() < steps) experiment.advance();
  return named_tensors(*experiment.pipeline());
}

bool same(const NamedTensors& a, const NamedTensors& b, const std::string& part = "") {
  bool any = false;
  for (const auto& [name, tensor] : a) {
    if (name.find(part) == std::string::npos) continue;
    any = true;
    const auto found = b.find(name);
    if (found == b.end() || !at::equal(tensor, found->second)) return false;
  }
  return any;
}

}  // namespace

TEST_CASE("every strategy goes on from a checkpoint as if nothing had happened",
          "[workflows][learning]") {
  std::vector<std::pair<std::string, Set>> kinds{
      {"augmentation", {}},
      {"parameterised", {}},
      {"parameterised", k_two},
      {"nominal", k_linear},
      {"nominal", k_softmax},
      {"adversarial", k_adversarial},
      {"adversarial", k_adversarial},
      {"reweighting", {"learning.process=signal", "summary.bins=1"}}};
  kinds[6].second.push_back("learning.adversary.schedule=reversal");
  for (const auto& [strategy, set] : kinds) {
    CAPTURE(strategy, set);
    const Json document = with(small_learning(strategy), set);
    Experiment whole(read_experiment(document));
    const ExperimentResult expected = whole.run();
    const TemporaryFolder folder;
    for (const std::int64_t stop : {2, 4, 7}) {
      CAPTURE(stop);
      Experiment first(read_experiment(document));
      first.start();
      while (first.step() < stop) first.advance();
      first.save(folder.path("c.npz"));
      Experiment second(read_experiment(document));
      second.restore(folder.path("c.npz"));
      const ExperimentResult result = second.run();
      CHECK(result.test.sigma == expected.test.sigma);
      CHECK(same(named_tensors(*whole.pipeline()), named_tensors(*second.pipeline())));
      if (expected.adversary) CHECK(result.adversary->loss == expected.adversary->loss);
    }
  }
}

TEST_CASE("a network that is told theta learns to turn with it", "[workflows][learning]") {
  const Problem problem = make_problem("gaussian");
  const EventBatch events = problem.events(5000, 77);
  // Mean squared distance of a network's logits from the exact ones, at theta.
  const auto distance_at = [&](const std::string& strategy, double theta, const Set& set = {}) {
    const Tensor at = at::full({1}, theta, at::kDouble);
    const Tensor x = apply_variation(events, problem.variations[0], at).features;
    Experiment experiment(read_experiment(with(small_learning(strategy, 250), set)));
    experiment.run();
    // A frozen network takes theta if it is given.
    const Tensor told = strategy == "parameterised" ? at : Tensor();
    const Tensor difference =
        experiment.pipeline()->classifier->outputs(x, told).squeeze(1) - problem.log_ratio(x, at);
    return (difference * difference).mean().item<double>();
  };
  for (const double theta : {0.0, 0.7}) {
    CAPTURE(theta);
    CHECK(distance_at("parameterised", theta) < 1.0);
    CHECK(distance_at("parameterised", theta, {"classifier.type=two_networks"}) < 1.0);
  }
  CHECK(distance_at("nominal", 0.0) < 0.5);
  CHECK(distance_at("nominal", 0.7) > 3.0);
  CHECK(distance_at("augmentation", 0.7) > 3.0);
}

TEST_CASE("the exact classifier on a lattice has the figures of the quadrature",
          "[workflows][learning]") {
  Json document = with(small_learning("parameterised", 0),
                       {"classifier.type=exact", "data.test=360000",
                        "evaluation.auc=[-0.7853981633974483, 0, 0.7853981633974483]",
                        "evaluation.at=[0, 0.7853981633974483]"});
  Experiment experiment(read_experiment(document));
  const ExperimentResult result = experiment.run();
  CHECK(result.steps == 0);
  // Ten equal bins of s / (s + b) at z = pi / 4, where the score is insensitive to z.
  CHECK(result.test.stat.front() == Approx(0.0867).epsilon(2e-3));
  CHECK(result.test.sigma.front() == Approx(0.0867).epsilon(2e-3));
  REQUIRE(result.at.size() == 2);
  CHECK(result.at[0].parameter == "z");
  CHECK(result.at[0].sigma == Approx(result.test.sigma.front()).epsilon(1e-6));
  // The score of this angle where the events are: as good.
  CHECK(result.at[1].sigma == Approx(0.0867).epsilon(3e-3));
  // Area under the curve: Phi(2 / (0.7 sqrt 2)); turned away, the separation shrinks by cos.
  const auto phi = [](double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); };
  for (const AucResult& point : result.auc) {
    CAPTURE(point.theta);
    const double full = 2.0 / (0.7 * std::numbers::sqrt2);
    CHECK(point.auc == Approx(phi(full)).margin(1e-4));
    CHECK(point.frozen.value() == Approx(phi(full * std::cos(point.theta))).margin(1e-4));
  }
  // Without theta it is the nominal ratio.
  Experiment nominal(read_experiment(with(document, {"learning.strategy=nominal"})));
  const ExperimentResult other = nominal.run();
  CHECK(other.auc[2].auc == Approx(result.auc[2].frozen.value()).epsilon(1e-12));
  CHECK_FALSE(other.auc[2].frozen.has_value());
  CHECK(other.test.sigma.front() == Approx(result.test.sigma.front()).epsilon(1e-9));
  // The score of pi / 4 at pi / 2: worse, and sensitive to z.
  CHECK(other.at[1].sigma == Approx(0.1866).epsilon(3e-3));
}

TEST_CASE("two networks are trained alone at first", "[workflows][learning]") {
  const Json document = with(small_learning("parameterised"), k_two);
  const NamedTensors start = weights_after(document, 0), first = weights_after(document, 4),
                     second = weights_after(document, 8), end = weights_after(document, 12);
  CHECK(same(start, first, ".below."));
  CHECK_FALSE(same(start, first, ".above.weight"));
  CHECK(same(first, second, ".above."));
  CHECK_FALSE(same(first, second, ".below.weight"));
  CHECK_FALSE(same(second, end, ".above.weight"));
  CHECK_FALSE(same(second, end, ".below.weight"));
}

TEST_CASE("a term at several theta is the mean of those at each", "[workflows][learning]") {
  for (const Set& kind : {k_linear, k_softmax}) {
    const auto loss_at = [&](const std::string& at) {
      Json document = with(small_learning("nominal"), kind);
      set_value(document, "loss.0.at=" + at);
      set_value(document, "training.gradient=batch");
      Experiment experiment(read_experiment(document));
      return experiment.advance().loss.value();
    };
    const double nominal = loss_at("[]");
    CHECK(loss_at("[0]") == Approx(nominal).epsilon(1e-6));
    CHECK(std::abs(loss_at("[0.6]") - nominal) > 1e-4);
    CHECK(loss_at("[-0.6, 0.6, 0.1]") ==
          Approx((loss_at("[-0.6]") + loss_at("[0.6]") + loss_at("[0.1]")) / 3.0).epsilon(1e-9));
  }
}

TEST_CASE("the game with an adversary has its turns", "[workflows][learning]") {
  const Json document = with(small_learning("adversarial"), k_adversarial);
  const NamedTensors before = weights_after(document, 3), waiting = weights_after(document, 5);
  // At first it is augmentation.
  CHECK(same(before, weights_after(small_learning("augmentation"), 3), "classifier"));
  // Then the classifier waits for the adversary.
  CHECK(same(before, waiting, "classifier"));
  CHECK_FALSE(same(waiting, weights_after(document, 6), "classifier.weight"));
  // Lambda = 0: the adversary does not count, but for the batches that it uses up.
  const auto first_step = [&](const std::string& strength) {
    return weights_after(with(document, {"learning.adversary.strength=" + strength,
                                         "learning.adversary.schedule=reversal"}),
                         6);
  };
  CHECK_FALSE(same(first_step("0"), first_step("5"), "classifier.weight"));
}

TEST_CASE("a score that the adversary cannot read any more", "[workflows][learning]") {
  // The pivot's toy: the mean of the signal is theta, which every good classifier shows.
  const Json base = Json::parse(R"({
    "data": {"problem": "pivot", "train": 20000, "validation": 2000, "test": 10000,
             "test_sampling": "lattice"},
    "nuisances": [{"name": "z", "step": 0.1}],
    "classifier": {"hidden": [16], "activation": "tanh"},
    "learning": {"strategy": "adversarial",
                 "parameters": [{"name": "z", "distribution": "normal"}],
                 "adversary": {"type": "gaussian", "hidden": [16], "pretraining": 100,
                               "adversary_only": 50, "adversary_steps": 5, "learning_rate": 1e-2}},
    "summary": {"bins": 10}, "loss": [{"term": "cross_entropy"}],
    "optimizer": {"learning_rate": {"shape": "cosine", "start": 1e-2, "end": 0}},
    "training": {"steps": 350, "batch_size": 1000, "validate_every": 0},
    "evaluation": {"fit": false, "auc": [0.0]}
  })");
  const double entropy = 0.5 * std::log(2.0 * std::numbers::pi * std::numbers::e);
  const auto result_of = [&](const Set& set) {
    Experiment experiment(read_experiment(with(base, set)));
    return experiment.run();
  };
  const ExperimentResult visible = result_of({"learning.adversary.strength=0"});
  REQUIRE(visible.adversary.has_value());
  CHECK(visible.adversary->entropy == Approx(entropy).epsilon(1e-12));
  CHECK(visible.adversary->blind == Approx(entropy).epsilon(1e-12));
  CHECK(visible.adversary->loss < entropy - 0.02);
  for (const char* schedule : {"alternating", "reversal"}) {
    CAPTURE(schedule);
    const ExperimentResult hidden = result_of(
        {"learning.adversary.strength=10", std::string("learning.adversary.schedule=") + schedule});
    // Hardly anything is left to read, at the price of separation. One step of the adversary for
    // one of the classifier is few: it is still confused in the end.
    CHECK(hidden.adversary->loss > entropy - 0.01);
    CHECK(hidden.adversary->loss < entropy + (schedule[0] == 'a' ? 0.03 : 0.2));
    CHECK(hidden.auc[0].auc < visible.auc[0].auc - 0.02);
  }
}

TEST_CASE("a ratio of moved and nominal events closes", "[workflows][learning]") {
  const Json document =
      with(small_learning("reweighting", 300),
           {"data.test_sampling=random", "data.test=20000", "learning.process=background",
            "summary.bins=1", "evaluation.closure=[0.5]"});
  Experiment experiment(read_experiment(document));
  const ExperimentResult result = experiment.run();
  REQUIRE(result.closure.size() == 1);
  const ClosureResult& point = result.closure.front();
  CHECK(point.theta == 0.5);
  CHECK(point.before.columns == std::vector<std::string>{"x", "y"});
  for (std::size_t c = 0; c < 2; ++c) {
    CHECK(point.before.chi2[c] > 100.0);
    CHECK(point.after.chi2[c] < 0.2 * point.before.chi2[c]);
  }
  // Centres 2 sin(0.25) apart, in units of the width.
  CHECK(point.before.auc == Approx(0.5 * std::erfc(-std::sin(0.25) / 0.7)).margin(0.02));
  CHECK(point.after.auc < 0.54);
  const auto written = result_document(experiment.options(), result);
  CHECK(written["closure"][0]["after"]["features"][1]["name"] == "y");
}
