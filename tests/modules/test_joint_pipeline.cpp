// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "slalom/core/fit.hpp"
#include "slalom/core/json.hpp"
#include "slalom/core/random.hpp"
#include "slalom/modules/joint_pipeline.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using at::Tensor;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::EventBatch;
using slalom::JointPipeline;
using slalom::Pipeline;
using slalom::PipelineOptions;

namespace {

/// A control region of one bin and a signal region of four; place holders in both.
slalom::Workspace workspace() {
  return slalom::parse_workspace(slalom::parse_json(R"({
    "channels": [
      {"name": "control", "samples": [
        {"name": "background", "data": [1], "modifiers": [
          {"name": "energy_scale", "type": "histosys",
           "data": {"hi_data": [1], "lo_data": [1]}},
          {"name": "rate", "type": "normfactor", "data": null},
          {"name": "mc_control", "type": "staterror", "data": [0.1]}]}]},
      {"name": "signal", "samples": [
        {"name": "background", "data": [1, 1, 1, 1], "modifiers": [
          {"name": "energy_scale", "type": "histosys",
           "data": {"hi_data": [1, 1, 1, 1], "lo_data": [1, 1, 1, 1]}},
          {"name": "rate", "type": "normfactor", "data": null},
          {"name": "mc_signal", "type": "staterror", "data": [0.1, 0.1, 0.1, 0.1]}]},
        {"name": "signal", "data": [1, 1, 1, 1],
         "modifiers": [{"name": "mu", "type": "normfactor", "data": null}]}]}],
    "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
    "observations": [{"name": "control", "data": [1]}, {"name": "signal", "data": [2, 2, 2, 2]}],
    "version": "1.0.0"})"));
}

/// A quarter of the events, background alone, lies in the control region (1).
EventBatch events(std::int64_t n, std::uint64_t seed) {
  slalom::RandomStream random(seed, 0);
  Tensor x = at::zeros({n, 3}, at::kDouble), w = at::zeros({n}, at::kDouble),
         process = at::zeros({n}, at::kLong);
  for (std::int64_t i = 0; i < n; ++i) {
    const bool signal = i % 4 == 0, control = i % 4 == 1;
    x[i][0] = random.normal() + (signal ? -0.4 : 1.0);
    x[i][1] = random.normal() + (signal ? 1.0 : 0.3);
    x[i][2] = control ? 1.0 : 0.0;
    w[i] = (signal ? 60.0 : 500.0) / static_cast<double>(n);
    process[i] = signal ? 1 : 0;
  }
  return slalom::make_events({"x", "y", "region"}, x, w, {}, process, {"background", "signal"});
}

slalom::Mlp network() {
  return slalom::Mlp(slalom::MlpOptions{.inputs = 2,
                                        .hidden = {8},
                                        .activation = slalom::Activation::tanh,
                                        .seed = 3,
                                        .float64 = true});
}

slalom::SoftHistogram histogram(const std::vector<double>& edges) {
  slalom::SoftHistogramOptions options;
  options.axes[0].edges = edges;
  options.axes[0].bandwidth = 0.1;
  return slalom::SoftHistogram(options);
}

Pipeline channel(const std::string& name, const slalom::Mlp& mlp, bool in_region = true) {
  PipelineOptions options;
  options.channel = name;
  options.features = {"x", "y"};
  options.variations = {slalom::scale_variation("energy_scale", {"x", "y"}, 0.2)};
  options.variations[0].processes = {"background"};
  if (in_region) {
    options.region = slalom::column_region("region", name == "control" ? 1.0 : 0.0);
  }
  options.one_sidedness = 0.05;
  const bool control = name == "control";
  return Pipeline(
      workspace(), slalom::as_classifier(mlp.ptr()), nullptr,
      histogram(control ? std::vector<double>{0.0, 1.0} : std::vector{0.0, 0.3, 0.5, 0.8, 1.0}),
      options);
}

JointPipeline joint(const slalom::Mlp& mlp, slalom::JointPipelineOptions options = {}) {
  return JointPipeline(std::vector<Pipeline>{channel("control", mlp), channel("signal", mlp)},
                       options);
}

double distance(const Tensor& a, const Tensor& b) {
  return (a - b).abs().max().item<double>() / (1e-300 + b.abs().max().item<double>());
}

}  // namespace

TEST_CASE("each channel of a joint pipeline has the events of its region",
          "[modules][joint_pipeline]") {
  const EventBatch all = events(200, 1);
  const slalom::Mlp mlp = network();
  JointPipeline both = joint(mlp);
  const slalom::JointPipelineResult result = both->forward(all);
  // By hand: no regions, but the events picked before.
  const Tensor region = all.column("region");
  const Tensor control = channel("control", mlp, false)->yields(all.select(region == 1.0)),
               signal = channel("signal", mlp, false)->yields(all.select(region == 0.0));
  CHECK(distance(result.yields, at::cat({control.flatten(), signal.flatten()})) < 1e-14);
  CHECK_THAT(control[0][0][0].sum().item<double>(), WithinRel(125.0, 1e-12));
  const slalom::Systematics& places = both->likelihood().systematics();
  const auto filled = [&](const Tensor& whole, const slalom::Range& range) {
    return whole.narrow(0, range.first, range.size);
  };
  CHECK(distance(filled(result.templates.nominal, places.nominal_range("control", "background")),
                 control[0][0][0]) < 1e-14);
  CHECK(distance(filled(result.templates.nominal, places.nominal_range("signal", "signal")),
                 signal[1][0][0]) < 1e-14);
  CHECK(distance(filled(result.templates.histosys_lo,
                        places.histosys_range("signal", "background", "energy_scale")),
                 signal[0][2][0]) < 1e-14);
  // Asimov data in both.
  CHECK(distance(result.templates.observed,
                 at::cat({control[0][0][0], (signal[0][0][0] + signal[1][0][0])})) < 1e-14);
  const double figure = slalom::ProfileLoss(both->likelihood())(result.templates).item<double>();
  double penalty = 0.0;
  penalty += both->channels()[0]->penalty(control).item<double>();
  penalty += both->channels()[1]->penalty(signal).item<double>();
  CHECK(penalty > 0.0);
  CHECK_THAT(result.loss.item<double>(), WithinRel(figure + penalty, 1e-12));
  CHECK_FALSE(result.hard_yields.requires_grad());
}

TEST_CASE("the control region constrains what the signal region measures",
          "[modules][joint_pipeline]") {
  const EventBatch all = events(400, 2);
  const slalom::Mlp mlp = network();
  JointPipeline both = joint(mlp);
  const slalom::Model model(slalom::make_model_spec(both->publish(all)));
  slalom::Fitter fitter(model);
  const slalom::FitResult best = fitter.fit();
  REQUIRE(best.converged());
  const std::size_t mu = *model.spec().poi;
  CHECK_THAT(best.parameters[mu], WithinAbs(1.0, 1e-6));  // data are those expected
  // Background and signal are both free: with no control region the uncertainty is larger.
  slalom::Json alone = slalom::to_json(both->publish(all));
  alone["channels"].erase(0);
  alone["observations"].erase(0);
  const slalom::Model single(slalom::make_model_spec(slalom::parse_workspace(alone)));
  slalom::Fitter other(single);
  CHECK(other.errors(other.fit())[*single.spec().poi] > 1.01 * fitter.errors(best)[mu]);
}

TEST_CASE("the gradient of a joint pipeline, whole and in mini-batches",
          "[modules][joint_pipeline]") {
  const EventBatch all = events(160, 3);
  const slalom::Mlp mlp = network();
  slalom::JointPipelineOptions options;
  options.loss.figure = slalom::Figure::log_cls;
  JointPipeline both = joint(mlp, options);
  const std::vector<Tensor> parameters = both->parameters();
  std::set<const void*> distinct;  // a network that channels share is there once
  for (const Tensor& p : parameters) distinct.insert(p.unsafeGetTensorImpl());
  CHECK(distinct.size() == parameters.size());
  CHECK(parameters.size() == mlp->parameters().size());
  both->forward(all).loss.backward();
  std::vector<Tensor> whole;
  for (const Tensor& p : parameters) {
    whole.push_back(p.grad().clone());
    p.mutable_grad().reset();
  }
  for (std::size_t p = 0; p < parameters.size(); ++p) {
    const auto at = [&](double step) {
      const at::NoGradGuard no_graph;
      Tensor flat = parameters[p].reshape({-1});
      flat[0] += step;
      const double value = both->loss(both->yields(all)).item<double>();
      flat[0] -= step;
      return value;
    };
    const double h = 1e-3;
    const double expected = (8.0 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12.0 * h);
    CHECK_THAT(whole[p].reshape({-1})[0].item<double>(),
               WithinRel(expected, 1e-6) || WithinAbs(expected, 1e-8));
  }
  // Batches of one region each, and of both.
  const Tensor control = all.column("region") == 1.0;
  both->backward({all.select(control), all.select(control.logical_not())});
  for (std::size_t p = 0; p < parameters.size(); ++p) {
    CHECK((parameters[p].grad() - whole[p]).abs().max().item<double>() <
          1e-12 * (1.0 + whole[p].abs().max().item<double>()));
  }
}

TEST_CASE("joint pipelines that do not fit together are refused", "[modules][joint_pipeline]") {
  using slalom::test::check_fails;
  const slalom::Mlp mlp = network();
  using Channels = std::vector<Pipeline>;
  check_fails(slalom::ErrorKind::model, "joint_pipeline", "no channel",
              [] { JointPipeline{Channels{}}; });
  check_fails(slalom::ErrorKind::model, "signal", "two pipelines for one channel", [&] {
    JointPipeline{Channels{channel("signal", mlp), channel("signal", mlp)}};
  });
  slalom::Json other = slalom::to_json(workspace());
  other["channels"][1]["samples"][0]["modifiers"].erase(2);
  PipelineOptions options;
  options.channel = "signal";
  options.features = {"x", "y"};
  const Pipeline elsewhere(slalom::parse_workspace(other), slalom::as_classifier(mlp.ptr()),
                           nullptr, histogram({0.0, 0.3, 0.5, 0.8, 1.0}), options);
  check_fails(slalom::ErrorKind::model, "signal", "another workspace", [&] {
    JointPipeline{Channels{channel("control", mlp), elsewhere}};
  });
  // An event that two regions claim.
  PipelineOptions greedy;
  greedy.channel = "signal";
  greedy.features = {"x", "y"};
  greedy.region = [](const EventBatch& e) { return e.column("region") >= 0.0; };
  const Pipeline all(workspace(), slalom::as_classifier(mlp.ptr()), nullptr,
                     histogram({0.0, 0.3, 0.5, 0.8, 1.0}), greedy);
  JointPipeline overlapping(Channels{channel("control", mlp), all});
  check_fails(slalom::ErrorKind::usage, "signal", "more than one region",
              [&] { overlapping->yields(events(8, 1)); });
}
