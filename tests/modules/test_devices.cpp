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
#include "slalom/modules/joint_pipeline.hpp"
#include "slalom/modules/profile_fit.hpp"
#include "support/catch.hpp"
#include "support/devices.hpp"

using at::Tensor;
using Catch::Matchers::WithinRel;
using slalom::EventBatch;
using slalom::Likelihood;
using slalom::Pipeline;
using slalom::PipelineOptions;
using slalom::Templates;
using slalom::test::second_devices;

namespace {

slalom::Workspace workspace() {
  return slalom::parse_workspace(slalom::read_json(std::string(SLALOM_SOURCE_DIR) +
                                                   "/workflows/examples/blobs/workspace.json"));
}

EventBatch blobs(std::int64_t n, std::uint64_t seed) {
  slalom::RandomStream random(seed, 0);
  Tensor x = at::zeros({2 * n, 2}, at::kDouble), w = at::zeros({2 * n}, at::kDouble),
         process = at::zeros({2 * n}, at::kLong);
  for (std::int64_t i = 0; i < 2 * n; ++i) {
    const bool signal = i % 2 == 0;
    x[i][0] = random.normal() + (signal ? -0.4 : 1.0);
    x[i][1] = random.normal() + (signal ? 1.0 : 0.3);
    w[i] = (signal ? 40.0 : 400.0) / static_cast<double>(n);
    process[i] = signal ? 1 : 0;
  }
  return slalom::make_events({"x", "y"}, x, w, {}, process, {"background", "signal"});
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

double distance(const Tensor& a, const Tensor& b) {
  const Tensor x = a.detach().cpu(), y = b.detach().cpu();
  return (x - y).abs().max().item<double>() / (1e-12 + y.abs().max().item<double>());
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
      CHECK(distance(y.yields, x.yields) < 1e-10);
      CHECK(distance(y.hard_yields, x.hard_yields) < 1e-12);
      CHECK_THAT(y.loss.item<double>(), WithinRel(x.loss.item<double>(), 1e-9));
      x.loss.backward();
      y.loss.backward();
      const std::vector<Tensor> p = a->parameters(), q = b->parameters();
      for (std::size_t i = 0; i < p.size(); ++i) {
        CHECK(q[i].grad().device() == device);
        CHECK(distance(q[i].grad(), p[i].grad()) < 1e-7);
      }
      // In mini-batches, and published.
      b->zero_grad();
      const Tensor half = at::arange(here.size(), at::kLong).to(device) < here.size() / 2;
      b->backward({there.select(half), there.select(half.logical_not())});
      for (std::size_t i = 0; i < p.size(); ++i) CHECK(distance(q[i].grad(), p[i].grad()) < 1e-7);
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
  const auto compare = [&](const auto& figure) {
    Templates a = as_leaves(plain), b = as_leaves(moved);
    const Tensor x = figure(here, a), y = figure(there, b);
    CHECK(distance(y, x) < 1e-9);
    x.sum().backward();
    y.sum().backward();
    CHECK(b.nominal.grad().device() == device);
    CHECK(distance(b.nominal.grad(), a.nominal.grad()) < 1e-7);
    CHECK(distance(b.uncertainty.grad(), a.uncertainty.grad()) < 1e-7);
  };
  compare([](const Likelihood& l, const Templates& t) { return slalom::ProfileLoss(l)(t); });
  compare([](const Likelihood& l, const Templates& t) {
    return slalom::ProfileLoss(l)(t, {0.5, 1.0});
  });
  compare([](const Likelihood& l, const Templates& t) { return slalom::expected_sigma(l, t); });
  compare([](const Likelihood& l, const Templates& t) { return slalom::expected_log_cls(l, t); });
  compare([](const Likelihood& l, const Templates& t) {
    return slalom::profile_fit(l, t, l.data(t)).parameters;
  });
}

void compare_soft_histograms(const at::Device& device) {
  slalom::RandomStream random(5, 0);
  Tensor x = at::zeros({500}, at::kDouble), w = at::zeros({2, 500}, at::kDouble);
  for (std::int64_t i = 0; i < 500; ++i) {
    x[i] = random.uniform();
    w[0][i] = random.normal();
    w[1][i] = random.uniform();
  }
  for (const bool reflect : {false, true}) {
    for (const slalom::FlowBins flow :
         {slalom::FlowBins::keep, slalom::FlowBins::fold, slalom::FlowBins::drop}) {
      slalom::SoftHistogramOptions options;
      options.axes[0].edges = {0.1, 0.4, 0.7, 0.9};
      options.axes[0].bandwidth = 0.05;
      options.axes[0].smearing = {slalom::Kernel::gaussian, flow, reflect};
      slalom::SoftHistogram here(options), there(options);
      there->to(device);
      Tensor a = x.clone().requires_grad_(true), b = x.to(device).clone().requires_grad_(true);
      const auto p = here->forward(a, w), q = there->forward(b, w.to(device));
      CHECK(distance(q.sumw, p.sumw) < 1e-12);
      CHECK(distance(q.sumw2, p.sumw2) < 1e-12);
      CHECK(distance(q.hard.sumw, p.hard.sumw) < 1e-12);
      (p.sumw * p.sumw).sum().backward();
      (q.sumw * q.sumw).sum().backward();
      CHECK(distance(b.grad(), a.grad()) < 1e-10);
    }
  }
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

void on_second_devices(void (*compare)(const at::Device&)) {
  for (const at::Device& device : second_devices()) {
    INFO("on " << device);
    compare(device);
  }
}

}  // namespace

TEST_CASE("the emulated device refuses what a GPU refuses", "[modules][devices]") {
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

TEST_CASE("soft histograms give what they give on the CPU", "[modules][devices][cuda]") {
  on_second_devices(compare_soft_histograms);
}
