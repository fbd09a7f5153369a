// SPDX-License-Identifier: Apache-2.0
// Everything on a second device against the same on the CPU: on the emulated one of
// support/emulated_device.hpp, and on a GPU where there is one.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "slalom/core/json.hpp"
#include "slalom/core/random.hpp"
#include "slalom/modules/diagnostics.hpp"
#include "slalom/modules/joint_pipeline.hpp"
#include "slalom/modules/profile_fit.hpp"
#include "support/blobs.hpp"
#include "support/catch.hpp"
#include "support/devices.hpp"
#include "support/workspaces.hpp"

using at::Tensor;
using Catch::Matchers::WithinRel;
using slalom::EventBatch;
using slalom::JointPipeline;
using slalom::Likelihood;
using slalom::Pipeline;
using slalom::PipelineOptions;
using slalom::Templates;
using slalom::test::blobs;
using slalom::test::compare;
using slalom::test::compare_numbers;
using slalom::test::deviation;
using slalom::test::leaf;
using slalom::test::on_second_devices;
using slalom::test::sequence;
using slalom::test::with_gradients;

namespace {

slalom::Workspace workspace() {
  return slalom::parse_workspace(slalom::read_json(std::string(SLALOM_SOURCE_DIR) +
                                                   "/workflows/examples/blobs/workspace.json"));
}

/// Network, cut, learnable edges and an energy scale; float64, so that both devices agree.
Pipeline make_pipeline(slalom::SlopeMethod slopes, bool softmax) {
  const slalom::Mlp mlp(slalom::MlpOptions{.inputs = 2,
                                           .hidden = {8},
                                           .outputs = softmax ? 4 : 1,
                                           .activation = slalom::Activation::tanh,
                                           .seed = 3,
                                           .float64 = true});
  slalom::SelectionOptions cuts;
  cuts.cuts = {{.column = "y", .threshold = -0.5, .slope = 4.0}};
  PipelineOptions options;
  if (slopes == slalom::SlopeMethod::copies) {
    options.variations = {slalom::scale_variation("energy_scale", {"x", "y"}, 0.2)};
  } else {
    options.variations = {slalom::linear_reweighting(
        "energy_scale", [](const EventBatch& e) { return 0.3 * e.column("x"); })};
  }
  options.variations[0].processes = {"background"};
  options.slopes = {slopes};
  options.one_sidedness = 0.1;
  const slalom::Selection selection(cuts);
  if (softmax) {
    return Pipeline(workspace(), slalom::as_classifier(mlp.ptr()), selection,
                    slalom::SoftmaxHistogram(slalom::SoftmaxHistogramOptions{}), options);
  }
  slalom::SoftHistogramOptions bins;
  bins.axes[0].edges = {0.0, 0.25, 0.5, 0.75, 1.0};
  bins.axes[0].bandwidth = 0.1;
  bins.axes[0].learnable = true;
  return Pipeline(workspace(), slalom::as_classifier(mlp.ptr()), selection,
                  slalom::SoftHistogram(bins), options);
}

Templates as_leaves(const Templates& plain) {
  Templates t = plain;
  for (Tensor* x : {&t.nominal, &t.histosys_hi, &t.histosys_lo, &t.uncertainty}) {
    *x = x->detach().clone().requires_grad_(true);
  }
  return t;
}

void compare_pipelines(const at::Device& device) {
  const EventBatch here = blobs(200, 1), there = here.to(device);
  for (const slalom::SlopeMethod slopes :
       {slalom::SlopeMethod::copies, slalom::SlopeMethod::score}) {
    for (const bool softmax : {false, true}) {
      Pipeline a = make_pipeline(slopes, softmax), b = make_pipeline(slopes, softmax);
      b->to(device);
      const slalom::PipelineResult x = a->forward(here), y = b->forward(there);
      CHECK(y.yields.device() == device);
      CHECK(deviation(y.yields, x.yields) < 1e-10);
      CHECK(deviation(y.hard_yields, x.hard_yields) < 1e-12);
      CHECK_THAT(y.loss.item<double>(), WithinRel(x.loss.item<double>(), 1e-9));
      x.loss.backward();
      y.loss.backward();
      const std::vector<Tensor> p = a->parameters(), q = b->parameters();
      for (std::size_t i = 0; i < p.size(); ++i) {
        CHECK(q[i].grad().device() == device);
        CHECK(deviation(q[i].grad(), p[i].grad()) < 1e-7);
      }
      // In mini-batches, and published.
      b->zero_grad();
      const Tensor half = at::arange(here.size(), at::kLong).to(device) < here.size() / 2;
      b->backward({there.select(half), there.select(half.logical_not())});
      for (std::size_t i = 0; i < p.size(); ++i) CHECK(deviation(q[i].grad(), p[i].grad()) < 1e-7);
      CHECK(slalom::to_json(b->publish(there))["channels"].size() == 1);
    }
  }
}

void compare_likelihoods(const at::Device& device) {
  Pipeline pipeline = make_pipeline(slalom::SlopeMethod::copies, false);
  const Templates plain = pipeline->templates(pipeline->hard_yields(blobs(300, 2)));
  const Likelihood& here = pipeline->likelihood();
  const Likelihood there = here.to(device);
  const Templates moved = plain.to(device);
  CHECK_THAT(there.log_prob(there.initial(), moved).item<double>(),
             WithinRel(here.log_prob(here.initial(), plain).item<double>(), 1e-12));
  const auto against = [&](const auto& figure) {
    Templates a = as_leaves(plain), b = as_leaves(moved);
    const Tensor x = figure(here, a), y = figure(there, b);
    CHECK(deviation(y, x) < 1e-9);
    x.sum().backward();
    y.sum().backward();
    CHECK(b.nominal.grad().device() == device);
    CHECK(deviation(b.nominal.grad(), a.nominal.grad()) < 1e-7);
    CHECK(deviation(b.uncertainty.grad(), a.uncertainty.grad()) < 1e-7);
  };
  against([](const Likelihood& l, const Templates& t) { return slalom::ProfileLoss(l)(t); });
  against([](const Likelihood& l, const Templates& t) {
    return slalom::ProfileLoss(l)(t, {0.5, 1.0});
  });
  against([](const Likelihood& l, const Templates& t) { return slalom::expected_sigma(l, t); });
  against([](const Likelihood& l, const Templates& t) { return slalom::expected_log_cls(l, t); });
  against([](const Likelihood& l, const Templates& t) {
    return slalom::profile_fit(l, t, l.data(t)).parameters;
  });
}

/// A control region and a signal region with one network.
JointPipeline make_joint() {
  const slalom::Mlp mlp(slalom::MlpOptions{.inputs = 2,
                                           .hidden = {6},
                                           .activation = slalom::Activation::tanh,
                                           .seed = 4,
                                           .float64 = true});
  const slalom::Workspace both = slalom::parse_workspace(slalom::parse_json(R"({
    "channels": [
      {"name": "control", "samples": [
        {"name": "background", "data": [1, 1], "modifiers": [
          {"name": "energy_scale", "type": "histosys",
           "data": {"hi_data": [1, 1], "lo_data": [1, 1]}},
          {"name": "rate", "type": "normfactor", "data": null}]}]},
      {"name": "signal", "samples": [
        {"name": "background", "data": [1, 1, 1], "modifiers": [
          {"name": "energy_scale", "type": "histosys",
           "data": {"hi_data": [1, 1, 1], "lo_data": [1, 1, 1]}},
          {"name": "rate", "type": "normfactor", "data": null},
          {"name": "mc", "type": "staterror", "data": [0.1, 0.1, 0.1]}]},
        {"name": "signal", "data": [1, 1, 1],
         "modifiers": [{"name": "mu", "type": "normfactor", "data": null}]}]}],
    "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
    "observations": [{"name": "control", "data": [1, 1]}, {"name": "signal", "data": [2, 2, 2]}],
    "version": "1.0.0"})"));
  std::vector<Pipeline> channels;
  for (const std::string name : {"control", "signal"}) {
    const bool control = name == "control";
    PipelineOptions options;
    options.channel = name;
    options.variations = {slalom::scale_variation("energy_scale", {"x", "y"}, 0.2)};
    options.variations[0].processes = {"background"};
    options.one_sidedness = 0.05;
    options.region = [control](const EventBatch& events) {
      const Tensor above = events.column("y") > 0.2;
      const Tensor is_signal = events.process == 1;
      return control ? (above | is_signal).logical_not() : above;
    };
    slalom::SoftHistogramOptions bins;
    bins.axes[0].edges = control ? std::vector{0.0, 0.5, 1.0} : std::vector{0.0, 0.3, 0.6, 1.0};
    bins.axes[0].bandwidth = 0.1;
    channels.emplace_back(both, slalom::as_classifier(mlp.ptr()), nullptr,
                          slalom::SoftHistogram(bins), options);
  }
  return JointPipeline(std::move(channels));
}

void compare_joint_pipelines(const at::Device& device) {
  const EventBatch events = blobs(300, 3);
  const auto joint_on = [&](const at::Device& there) {
    JointPipeline joint = make_joint();
    joint->to(there);
    joint->set_step(2);
    return joint;
  };
  compare(
      device,
      [&](const at::Device& there) {
        JointPipeline joint = joint_on(there);
        const slalom::JointPipelineResult x = joint->forward(events.to(there));
        std::vector<Tensor> result{x.yields.detach(), x.hard_yields};
        // Templates and the loss are those of the statistical model, which stays on the CPU.
        for (const Tensor& t : {x.templates.nominal, x.hard_templates.observed, x.loss}) {
          CHECK(t.device().is_cpu());
          result.push_back(t.detach().to(there));
        }
        for (const Tensor& g : slalom::gradients(x.loss, joint->parameters())) {
          result.push_back(g);
        }
        joint->zero_grad();
        const Tensor half = at::arange(events.size(), at::kLong).to(there) < events.size() / 2;
        const EventBatch all = events.to(there);
        joint->backward({all.select(half), all.select(half.logical_not())});
        for (const Tensor& p : joint->parameters()) result.push_back(p.grad());
        return result;
      },
      1e-7);
  JointPipeline here = joint_on(at::kCPU), there = joint_on(device);
  const auto numbers = [](const slalom::Workspace& published) {
    const slalom::Likelihood model(slalom::make_model_spec(published));
    return model.templates().nominal;
  };
  CHECK(deviation(numbers(there->publish(events.to(device))), numbers(here->publish(events))) <
        1e-12);
}

/// Sums of events at another place, regions, hard cuts, bins: what evaluations ask for.
void compare_evaluations(const at::Device& device) {
  const EventBatch events = blobs(200, 4);
  for (const bool softmax : {false, true}) {
    compare(device, [&](const at::Device& there) {
      Pipeline pipeline = make_pipeline(slalom::SlopeMethod::copies, softmax);
      pipeline->to(there);
      pipeline->set_step(3);
      const EventBatch moved = events.to(there);
      const Tensor place = at::tensor({0.7}, at::kDouble).to(there);
      std::vector<Tensor> result =
          with_gradients(pipeline->yields_at(moved, place), pipeline->parameters());
      result.push_back(pipeline->yields_at(moved, place, true));
      result.push_back(pipeline->passes(moved));
      result.push_back(pipeline->bin_of(moved));
      pipeline->eval();
      result.push_back(pipeline->yields(moved));
      return result;
    });
  }
}

/// Two axes, a cut on the score and a network that is told theta.
void compare_told_pipelines(const at::Device& device) {
  const EventBatch events = blobs(200, 5);
  compare(
      device,
      [&](const at::Device& there) {
        const slalom::Mlp mlp(slalom::MlpOptions{.inputs = 2,
                                                 .hidden = {5},
                                                 .activation = slalom::Activation::silu,
                                                 .seed = 6,
                                                 .parameters = {{"z", -1.0, 1.0}},
                                                 .float64 = true});
        slalom::SelectionOptions cuts;
        cuts.cuts = {{.column = "score", .threshold = 0.2, .slope = 8.0}};
        slalom::SoftHistogramOptions bins;
        bins.axes = {{.edges = {0.0, 0.5, 1.0}, .bandwidth = 0.1},
                     {.edges = {-2.0, 0.5, 3.0}, .bandwidth = 0.3}};
        PipelineOptions options;
        options.axes = {"score", "y"};
        options.variations = {slalom::shift_variation("energy_scale", {"x"}, 0.2)};
        options.variations[0].processes = {"background"};
        Pipeline pipeline(workspace(), slalom::as_classifier(mlp.ptr()), slalom::Selection(cuts),
                          slalom::SoftHistogram(bins), options);
        pipeline->to(there);
        const Tensor theta = at::tensor({0.3}, at::kDouble).to(there);
        const slalom::PipelineResult x = pipeline->forward(events.to(there), theta);
        std::vector<Tensor> result = with_gradients(x.yields, pipeline->parameters());
        for (const Tensor& g : slalom::gradients(x.loss, pipeline->parameters())) {
          result.push_back(g);
        }
        result.push_back(x.scores.detach());
        result.push_back(x.efficiency.detach());
        result.push_back(pipeline->bin_of(events.to(there), theta));
        return result;
      },
      1e-8);
}

/// Every figure of merit, with the gradient by all templates.
void compare_figures(const at::Device& device) {
  using slalom::Figure;
  Pipeline pipeline = make_pipeline(slalom::SlopeMethod::copies, false);
  Templates plain = pipeline->templates(pipeline->hard_yields(blobs(300, 2)));
  plain.observed = plain.observed * at::tensor({1.05, 0.97, 1.02, 1.1}, at::kDouble);
  const auto compare_loss = [&](const slalom::ProfileLossOptions& options,
                                const std::vector<double>& mu) {
    INFO("figure " << static_cast<int>(options.figure) << ", observed " << options.observed);
    compare(
        device,
        [&](const at::Device& there) {
          Templates t = as_leaves(plain.to(there));
          t.observed = leaf(plain.observed, there);
          const slalom::ProfileLoss loss(pipeline->likelihood().to(there), options);
          return with_gradients(
              mu.empty() ? loss(t) : loss(t, mu),
              {t.nominal, t.histosys_hi, t.histosys_lo, t.uncertainty, t.observed});
        },
        1e-9);
  };
  for (const Figure figure :
       {Figure::sigma, Figure::log_sigma, Figure::log_cls, Figure::log_p0, Figure::minus_z,
        Figure::upper_limit, Figure::observed_log_cls, Figure::observed_log_p0,
        Figure::observed_minus_q0, Figure::observed_upper_limit}) {
    compare_loss({.figure = figure}, {});
    compare_loss({.figure = figure, .observed = true}, {});
  }
  compare_loss({.figure = Figure::log_cls}, {0.5, 1.0, 2.0});
  compare_loss({.figure = Figure::upper_limit, .n_sigma = 1.0}, {});
}

/// Graphs of fits, differentiated twice.
void compare_second_derivatives(const at::Device& device) {
  Pipeline pipeline = make_pipeline(slalom::SlopeMethod::copies, false);
  const Templates plain = pipeline->templates(pipeline->hard_yields(blobs(300, 2)));
  const auto twice = [&](const auto& figure) {
    compare(
        device,
        [&](const at::Device& there) {
          const Likelihood likelihood = pipeline->likelihood().to(there);
          const Templates t = as_leaves(plain.to(there));
          const Tensor value = figure(likelihood, t);
          const Tensor slope = slalom::gradient(value.sum(), t.nominal, true);
          return with_gradients(slope, {t.nominal, t.histosys_hi, t.uncertainty});
        },
        1e-7);
  };
  twice([](const Likelihood& l, const Templates& t) {
    return slalom::profile_fit(l, t, l.data(t), {.order = 2}).parameters;
  });
  twice([](const Likelihood& l, const Templates& t) {
    return slalom::profile_likelihood_ratio(l, t, l.data(t), 0.5, 2);
  });
  twice([](const Likelihood& l, const Templates& t) {
    return slalom::expected_log_p0(l, t, 1.0, 2);
  });
  twice([](const Likelihood& l, const Templates& t) {
    return slalom::expected_log_cls(l, t, 1.0, 2);
  });
  twice([](const Likelihood& l, const Templates& t) { return slalom::expected_sigma(l, t); });
  twice([](const Likelihood& l, const Templates& t) {
    const slalom::ProfileFit fit = slalom::profile_fit(l, t, l.data(t), {.order = 2});
    const Tensor free = slalom::free_parameters(fit.result).to(t.nominal.device());
    return slalom::covariance(l, t, l.data(t), fit.parameters, free);
  });
}

/// A model with all modifiers, and everything that is asked of a likelihood.
void compare_modifiers(const at::Device& device) {
  slalom::Json document = slalom::test::left_workspace();
  for (slalom::Json& sample : document["channels"][0]["samples"]) {
    sample["modifiers"].push_back({{"name", "stat"}, {"type", "staterror"}, {"data", {0.5, 0.75}}});
  }
  document["channels"][1]["samples"][0]["modifiers"].push_back(
      {{"name", "shape"}, {"type", "shapefactor"}, {"data", nullptr}});
  document["measurements"][0]["config"]["parameters"][1]["fixed"] = false;
  const slalom::Workspace whole = slalom::parse_workspace(document);
  for (const slalom::NormsysCode normsys :
       {slalom::NormsysCode::code1, slalom::NormsysCode::code4}) {
    for (const slalom::HistosysCode histosys :
         {slalom::HistosysCode::code0, slalom::HistosysCode::code2, slalom::HistosysCode::code4p}) {
      slalom::ModelOptions options;
      options.normsys_code = normsys;
      options.histosys_code = histosys;
      const Likelihood likelihood(slalom::make_model_spec(whole, options));
      compare(device, [&](const at::Device& there) {
        const Likelihood l = likelihood.to(there);
        const Templates t = as_leaves(l.templates());
        const Tensor p = leaf(l.initial() * 1.03 + 0.2, there);
        std::vector<Tensor> result;
        const auto add = [&](const Tensor& value) {
          const std::vector<Tensor> more =
              with_gradients(value, {p, t.nominal, t.histosys_hi, t.histosys_lo, t.uncertainty});
          result.insert(result.end(), more.begin(), more.end());
        };
        add(l.log_prob(p, t));
        add(l.expected_data(p, t));
        add(l.systematics().expected_samples(p, t));
        add(l.systematics().constraint_scale(t));
        add(l.constraint_information(p, t));
        add(slalom::fisher_information(l, t, p));
        const Tensor data = l.data(t);
        add(l.constraint_log_prob(p, t, data.slice(0, t.observed.size(0))));
        result.push_back(slalom::hessian(l.log_prob(p, t), p));
        return result;
      });
      Templates moved = likelihood.templates().to(device);
      moved.nominal = moved.nominal * 1.1;
      const slalom::ModelSpec spec = likelihood.to(device).with_templates(moved);
      CHECK(deviation(Likelihood(spec).templates().nominal, moved.nominal) < 1e-15);
      CHECK(slalom::export_workspace(whole, likelihood.to(device), moved).channels.size() == 2);
    }
  }
}

void compare_diagnostics(const at::Device& device) {
  Pipeline pipeline = make_pipeline(slalom::SlopeMethod::copies, false);
  const Templates plain = pipeline->templates(pipeline->hard_yields(blobs(300, 2)));
  compare_numbers(device, [&](const at::Device& there) {
    std::vector<double> result;
    for (const slalom::ParameterConstraint& c :
         slalom::parameter_constraints(pipeline->likelihood().to(there), plain.to(there))) {
      for (const double x : {c.prior, c.sigma, c.ratio, c.impact}) result.push_back(x);
    }
    return result;
  });
  const Tensor a = 1.0 + sequence(5), b = 1.0 + sequence(5, 0.1), c = 1.0 + sequence(5, 0.2),
               d = 1.0 + sequence(5, 0.3);
  compare(device, [&](const at::Device& there) {
    const std::vector<Tensor> x{leaf(a, there), leaf(b, there), leaf(c, there), leaf(d, there)};
    std::vector<Tensor> result;
    for (const Tensor& value :
         {slalom::one_sidedness(x[0], x[1], x[2], x[3]),
          slalom::one_sidedness_penalty(x[0], x[1], x[2], x[3]),
          slalom::one_sided_events(x[0], x[1], x[2], x[3]),
          slalom::effective_entries(x[0], x[1]) + 0.0 * x[2] * x[3],
          slalom::effective_entries_penalty(x[0], x[1], 3.0) + 0.0 * (x[2] * x[3]).sum()}) {
      for (const Tensor& t : with_gradients(value, x)) result.push_back(t);
    }
    return result;
  });
}

/// Whether LibTorch refuses to mix devices.
template <class Function>
bool is_refused(Function&& function) {
  try {
    function();
  } catch (const c10::Error& error) {
    return std::string(error.what()).find("same device") != std::string::npos;
  }
  return false;
}

}  // namespace

TEST_CASE("the emulated device refuses what a GPU refuses", "[modules][devices]") {
  if (!slalom::test::has_emulated_device()) {
    WARN("SKIPPED: LibTorch is built for CUDA");
    return;
  }
  const at::Device device = slalom::test::emulated_device();
  const Tensor here = at::arange(6, at::kDouble).reshape({2, 3}), there = here.to(device);
  const std::int64_t before = slalom::test::emulated_kernels();
  CHECK((there + there).cpu().equal(here + here));
  CHECK(slalom::test::emulated_kernels() > before);
  CHECK(is_refused([&] { return there + here; }));
  CHECK(is_refused([&] { return at::cat({there, here}); }));
  CHECK(is_refused([&] { return there.matmul(here.t()); }));
  CHECK((there * at::scalar_tensor(2.0, at::kDouble)).cpu().equal(2.0 * here));
  // Views share memory, and a tensor of an operation that resizes grows.
  Tensor column = there.select(1, 1);
  column.mul_(3.0);
  CHECK(there[1][1].item<double>() == 12.0);
  CHECK(
      there.masked_select(there > 2.0).cpu().equal(at::tensor({3.0, 3.0, 12.0, 5.0}, at::kDouble)));
}

TEST_CASE("a pipeline gives what it gives on the CPU", "[modules][devices][cuda]") {
  on_second_devices(compare_pipelines);
}

TEST_CASE("likelihood, fits and losses take templates of a device", "[modules][devices][cuda]") {
  on_second_devices(compare_likelihoods);
}

TEST_CASE("several channels, and their mini-batches", "[modules][devices][cuda]") {
  on_second_devices(compare_joint_pipelines);
}

TEST_CASE("a pipeline is evaluated on a device", "[modules][devices][cuda]") {
  on_second_devices(compare_evaluations);
}

TEST_CASE("a pipeline that is told theta, with two axes", "[modules][devices][cuda]") {
  on_second_devices(compare_told_pipelines);
}

TEST_CASE("every figure of merit on a device", "[modules][devices][cuda]") {
  on_second_devices(compare_figures);
}

TEST_CASE("second derivatives through fits on a device", "[modules][devices][cuda]") {
  on_second_devices(compare_second_derivatives);
}

TEST_CASE("all modifiers and interpolation codes on a device", "[modules][devices][cuda]") {
  on_second_devices(compare_modifiers);
}

TEST_CASE("guards on a device", "[modules][devices][cuda]") {
  on_second_devices(compare_diagnostics);
}
