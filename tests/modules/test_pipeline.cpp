// SPDX-License-Identifier: Apache-2.0
// The composition of all stages: against the stages one by one, finite differences and batches.
#include "slalom/modules/torch_module.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <torch/optim/adam.h>
#include <unistd.h>
#include <vector>

#include "slalom/core/fit.hpp"
#include "slalom/core/json.hpp"
#include "slalom/core/random.hpp"
#include "slalom/modules/pipeline.hpp"
#include "support/blobs.hpp"
#include "support/catch.hpp"
#include "support/fails.hpp"

using at::Tensor;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using slalom::EventBatch;
using slalom::Pipeline;
using slalom::PipelineOptions;
using slalom::PipelineResult;
using slalom::test::blobs;

namespace {

slalom::Workspace workspace(bool with_statistics = true) {
  slalom::Json document = slalom::read_json(std::string(SLALOM_SOURCE_DIR) +
                                            "/workflows/examples/blobs/workspace.json");
  if (!with_statistics) document["channels"][0]["samples"][0]["modifiers"].erase(1);
  return slalom::parse_workspace(document);
}

slalom::Mlp network() {
  return slalom::Mlp(slalom::MlpOptions{.inputs = 2,
                                        .hidden = {8},
                                        .activation = slalom::Activation::tanh,
                                        .seed = 3,
                                        .float64 = true});
}

slalom::SoftHistogram histogram(double bandwidth = 0.1) {
  slalom::SoftHistogramOptions options;
  options.axes[0].edges = {0.0, 0.25, 0.5, 0.75, 1.0};
  options.axes[0].bandwidth = bandwidth;
  options.axes[0].learnable = true;
  return slalom::SoftHistogram(options);
}

slalom::Selection cut() {
  slalom::SelectionOptions options;
  options.cuts = {{.column = "y", .threshold = -0.5, .slope = 4.0}};
  return slalom::Selection(options);
}

PipelineOptions options_with_scale() {
  PipelineOptions options;
  options.variations = {slalom::scale_variation("energy_scale", {"x", "y"}, 0.2)};
  options.variations[0].processes = {"background"};
  return options;
}

std::vector<Tensor> take_gradients(Pipeline& pipeline) {
  std::vector<Tensor> result;
  for (const Tensor& p : pipeline->parameters()) {
    result.push_back(p.grad().clone());
    p.mutable_grad().reset();
  }
  return result;
}

/// Resident memory in MiB.
double resident() {
  std::ifstream file("/proc/self/statm");
  double size = 0.0, pages = 0.0;
  file >> size >> pages;
  return pages * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1024.0 * 1024.0);
}

}  // namespace

TEST_CASE("the pipeline is its stages one by one", "[modules][pipeline]") {
  const EventBatch events = blobs(200, 1);
  auto mlp = network();
  auto bins = histogram();
  auto selection = cut();
  Pipeline pipeline(workspace(), slalom::as_classifier(mlp.ptr()), selection, bins,
                    options_with_scale());
  CHECK(pipeline->samples() == std::vector<std::string>{"background", "signal"});
  const PipelineResult result = pipeline->forward(events);
  CHECK(result.yields.sizes() == at::IntArrayRef({2, 3, 2, 4}));
  const auto direct = [&](const EventBatch& of) {
    const Tensor scores = mlp->forward(of.features);
    return bins->forward(scores, of.weights * selection->forward(of));
  };
  const EventBatch background = events.of_process("background");
  const auto nominal = direct(background);
  const auto copies = slalom::shifted_copies(background, pipeline->options().variations[0]);
  const auto near = [](const Tensor& a, const Tensor& b) {
    return (a - b).abs().max().item<double>() < 1e-12 * b.abs().max().item<double>();
  };
  CHECK(near(result.yields[0][0][0], nominal.sumw));
  CHECK(near(result.yields[0][0][1], nominal.sumw2));
  CHECK(near(result.yields[0][1][0], direct(copies.up).sumw));
  CHECK(near(result.yields[0][2][0], direct(copies.down).sumw));
  CHECK(near(result.yields[1][0][0], direct(events.of_process("signal")).sumw));
  CHECK(near(result.yields[1][1][0], result.yields[1][0][0]));  // signal is not scaled
  // Templates and loss.
  CHECK(near(result.templates.nominal, at::cat({nominal.sumw, result.yields[1][0][0]})));
  CHECK(near(result.templates.uncertainty, nominal.sumw2.sqrt()));
  CHECK(near(result.templates.histosys_hi, direct(copies.up).sumw));
  const slalom::ProfileLoss figure(pipeline->likelihood());
  CHECK_THAT(result.loss.item<double>(), WithinRel(figure(result.templates).item<double>(), 1e-12));
  // Hard: counts of hard cuts in hard bins.
  const Tensor scores = mlp->forward(background.features),
               pass = selection->hard(background.matrix({"y"}));
  const auto hard = slalom::hard_histogram(scores.detach(), background.weights * pass,
                                           bins->edges().detach(), slalom::FlowBins::fold);
  CHECK(near(result.hard_yields[0][0][0], hard.sumw));
  CHECK(near(result.hard_yields[0][0][1], hard.sumw2));
  CHECK_FALSE(result.hard_yields.requires_grad());
  // In evaluation mode soft is hard.
  pipeline->eval();
  const PipelineResult evaluated = pipeline->forward(events);
  CHECK(near(evaluated.yields, result.hard_yields));
}

TEST_CASE("the gradient of the whole chain is that of finite differences", "[modules][pipeline]") {
  const EventBatch events = blobs(150, 2);
  for (const slalom::Figure figure : {slalom::Figure::log_sigma, slalom::Figure::log_cls}) {
    PipelineOptions options = options_with_scale();
    options.loss.figure = figure;
    options.one_sidedness = 0.1;
    Pipeline pipeline(workspace(), slalom::as_classifier(network().ptr()), cut(), histogram(),
                      options);
    pipeline->forward(events).loss.backward();
    const std::vector<Tensor> found = take_gradients(pipeline);
    const std::vector<Tensor> parameters = pipeline->parameters();
    slalom::RandomStream random(7, 0);
    for (std::size_t p = 0; p < parameters.size(); ++p) {  // network, cut and edges
      const std::int64_t i =
          static_cast<std::int64_t>(random.bits() % static_cast<std::uint64_t>(found[p].numel()));
      const auto at = [&](double step) {
        const at::NoGradGuard no_graph;
        Tensor flat = parameters[p].reshape({-1});
        flat[i] += step;
        const double value = pipeline->loss(pipeline->yields(events)).item<double>();
        flat[i] -= step;
        return value;
      };
      const double h = 1e-3;
      const double expected = (8.0 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12.0 * h);
      INFO("parameter " << p << ", element " << i);
      CHECK_THAT(found[p].reshape({-1})[i].item<double>(),
                 WithinRel(expected, 1e-6) || WithinAbs(expected, 1e-8));
    }
  }
}

TEST_CASE("mini-batches give the gradient of all events", "[modules][pipeline]") {
  const EventBatch events = blobs(100, 3);
  Pipeline pipeline(workspace(), slalom::as_classifier(network().ptr()), cut(), histogram(),
                    options_with_scale());
  const Tensor full = pipeline->forward(events).loss;
  full.backward();
  const std::vector<Tensor> expected = take_gradients(pipeline);
  for (const std::int64_t size : {7, 50, 200}) {
    std::vector<EventBatch> batches;
    for (std::int64_t first = 0; first < events.size(); first += size) {
      Tensor mask = at::zeros({events.size()}, at::kBool);
      mask.slice(0, first, std::min(first + size, events.size())).fill_(true);
      batches.push_back(events.select(mask));
    }
    CHECK_THAT(pipeline->backward(batches), WithinRel(full.item<double>(), 1e-12));
    const std::vector<Tensor> found = take_gradients(pipeline);
    for (std::size_t p = 0; p < found.size(); ++p) {
      CHECK((found[p] - expected[p]).abs().max().item<double>() <
            1e-12 * (1.0 + expected[p].abs().max().item<double>()));
    }
  }
}

TEST_CASE("what is published is the model of the hard templates", "[modules][pipeline]") {
  const EventBatch events = blobs(300, 4);
  Pipeline pipeline(workspace(), slalom::as_classifier(network().ptr()), cut(), histogram(),
                    options_with_scale());
  const PipelineResult result = pipeline->forward(events);
  const slalom::Model model(slalom::make_model_spec(pipeline->publish(events)));
  const slalom::FitResult best = slalom::fit(model);
  REQUIRE(best.converged());
  const std::size_t poi = *model.spec().poi;
  CHECK_THAT(best.parameters[poi], WithinAbs(1.0, 1e-6));  // data are those expected
  const double sigma = slalom::Fitter(model).errors(best)[poi];
  slalom::ProfileLossOptions options;
  options.figure = slalom::Figure::sigma;
  CHECK_THAT(
      slalom::ProfileLoss(pipeline->likelihood(), options)(result.hard_templates).item<double>(),
      WithinRel(sigma, 1e-6));
}

TEST_CASE("a variation by its score is nominal plus and minus the score's yields",
          "[modules][pipeline]") {
  const EventBatch events = blobs(100, 7);
  const auto slope = [](const EventBatch& of) { return 0.3 * of.column("x") - 0.1; };
  const auto make = [&](slalom::Variation variation, slalom::SlopeMethod method, double step) {
    variation.processes = {"background"};
    PipelineOptions options;
    options.variations = {variation};
    options.slopes = {method};
    options.step = step;
    return Pipeline(workspace(), slalom::as_classifier(network().ptr()), cut(), histogram(),
                    options);
  };
  const auto largest = [](const Tensor& a, const Tensor& b) {
    return (a - b).abs().max().item<double>() / b.abs().max().item<double>();
  };
  using slalom::SlopeMethod;
  // Equal to copies where weights are linear in the parameter: soft, hard, and in the gradient.
  Pipeline score = make(slalom::linear_reweighting("energy_scale", slope), SlopeMethod::score, 0.7);
  Pipeline copies =
      make(slalom::linear_reweighting("energy_scale", slope), SlopeMethod::copies, 0.7);
  CHECK(largest(score->yields(events), copies->yields(events)) < 1e-13);
  CHECK(largest(score->hard_yields(events), copies->hard_yields(events)) < 1e-13);
  const Tensor y = score->yields(events), h = score->hard_yields(events);
  CHECK((y.select(1, 1) - y.select(1, 2)).abs().max().item<double>() > 1.0);  // not trivially
  CHECK(at::equal(y[1][1], y[1][0]));  // signal is not concerned
  CHECK(at::equal(h[1][1], h[1][0]));
  copies->forward(events).loss.backward();
  const std::vector<Tensor> expected = take_gradients(copies);
  std::vector<EventBatch> batches;  // by two passes, in parts
  for (const std::int64_t first : {0, 70, 140}) {
    Tensor mask = at::zeros({events.size()}, at::kBool);
    mask.slice(0, first, std::min<std::int64_t>(first + 70, events.size())).fill_(true);
    batches.push_back(events.select(mask));
  }
  score->backward(batches);
  const std::vector<Tensor> found = take_gradients(score);
  for (std::size_t p = 0; p < found.size(); ++p) CHECK(largest(found[p], expected[p]) < 1e-11);
  // Weights that are not: the templates at +-1 meet in the limit of small steps.
  const auto hi = [&](SlopeMethod method, double step) {
    Pipeline p = make(slalom::exponential_reweighting("energy_scale", slope), method, step);
    return p->templates(p->hard_yields(events)).histosys_hi;
  };
  const Tensor limit = hi(SlopeMethod::score, 1.0);
  const double far = largest(hi(SlopeMethod::copies, 1e-2), limit),
               near = largest(hi(SlopeMethod::copies, 1e-4), limit);
  CHECK(near < 1e-4);
  CHECK_THAT(near / far, WithinRel(1e-2, 0.02));  // of first order in the step
}

TEST_CASE("yields about another point are those of events that lie there", "[modules][pipeline]") {
  const EventBatch events = blobs(200, 1);
  PipelineOptions options = options_with_scale();
  options.step = 0.5;
  Pipeline pipeline(workspace(), slalom::as_classifier(network().ptr()), cut(), histogram(),
                    options);
  const auto at_theta = [](double theta) {
    Tensor result = at::zeros({1}, at::kDouble);
    result[0] = theta;
    return result;
  };
  CHECK((pipeline->yields_at(events, at_theta(0.0)) - pipeline->yields(events))
            .abs()
            .max()
            .item<double>() < 1e-12);
  for (const bool hard : {false, true}) {
    const auto nominal_of = [&](double theta) {
      const EventBatch moved =
          slalom::apply_variation(events, options.variations[0], at_theta(theta));
      return (hard ? pipeline->hard_yields(moved) : pipeline->yields(moved)).select(1, 0);
    };
    const Tensor found = pipeline->yields_at(events, at_theta(0.7), hard);
    CHECK((found.select(1, 0) - nominal_of(0.7)).abs().max().item<double>() < 1e-11);
    CHECK((found.select(1, 1) - nominal_of(1.2)).abs().max().item<double>() < 1e-11);
    CHECK((found.select(1, 2) - nominal_of(0.2)).abs().max().item<double>() < 1e-11);
    CHECK(found.requires_grad() != hard);
  }
  options.slopes = {slalom::SlopeMethod::score};
  options.variations[0].score = [](const EventBatch& e) { return e.column("x"); };
  Pipeline by_score(workspace(), slalom::as_classifier(network().ptr()), cut(), histogram(),
                    options);
  slalom::test::check_fails(slalom::ErrorKind::usage, "energy_scale", "use copies",
                            [&] { return by_score->yields_at(events, at_theta(0.7)); });
}

TEST_CASE("variations by score and by copies share a pipeline", "[modules][pipeline]") {
  // Two nuisances in the model; the one by copies must not take the rows of the other.
  slalom::Json document = slalom::read_json(std::string(SLALOM_SOURCE_DIR) +
                                            "/workflows/examples/blobs/workspace.json");
  slalom::Json tilt = document["channels"][0]["samples"][0]["modifiers"][0];
  tilt["name"] = "tilt";
  for (const std::size_t k : {0U, 1U})
    document["channels"][0]["samples"][k]["modifiers"].push_back(tilt);
  const auto slope = [](const EventBatch& of) { return 0.2 * of.column("y"); };
  PipelineOptions options = options_with_scale();
  options.variations.insert(options.variations.begin(), slalom::linear_reweighting("tilt", slope));
  options.slopes = {slalom::SlopeMethod::score, slalom::SlopeMethod::copies};
  const auto make = [&] {
    return Pipeline(slalom::parse_workspace(document), slalom::as_classifier(network().ptr()),
                    nullptr, histogram(), options);
  };
  const EventBatch events = blobs(60, 8);
  Pipeline mixed = make();
  options.slopes = {};
  Pipeline plain = make();
  const Tensor a = mixed->yields(events), b = plain->yields(events);
  CHECK(a.sizes() == at::IntArrayRef({2, 5, 2, 4}));
  CHECK((a - b).abs().max().item<double>() < 1e-12 * b.abs().max().item<double>());
}

TEST_CASE("a training improves the hard result, and its memory does not grow",
          "[modules][pipeline]") {
  const EventBatch events = blobs(1000, 5), few = blobs(50, 5), other = blobs(2000, 6);
  PipelineOptions options = options_with_scale();
  Pipeline pipeline(workspace(), slalom::as_classifier(network().ptr()), nullptr, histogram(),
                    options);
  const auto hard = [&] { return pipeline->loss(pipeline->hard_yields(other)).item<double>(); };
  const double before = hard();
  torch::optim::Adam optimiser(pipeline->parameters(), torch::optim::AdamOptions(1e-2));
  const auto steps = [&](int n, const EventBatch& batch) {
    for (int i = 0; i < n; ++i) {
      optimiser.zero_grad();
      pipeline->backward({batch});
      optimiser.step();
    }
  };
  steps(200, events);
  CHECK(hard() < before - 0.05);
  steps(100, few);
  const double memory = resident();
  steps(2000, few);
  CHECK(resident() < memory + 4.0);
}

TEST_CASE("pipelines that do not fit together are refused", "[modules][pipeline]") {
  using slalom::test::check_fails;
  const auto build = [](PipelineOptions options, slalom::SoftHistogram bins) {
    Pipeline(workspace(), slalom::as_classifier(network().ptr()), nullptr, bins, options);
  };
  PipelineOptions unknown = options_with_scale();
  unknown.variations[0].name = "nothing";
  check_fails(slalom::ErrorKind::model, "nothing", "no sample has a histosys",
              [&] { build(unknown, histogram()); });
  PipelineOptions no_score = options_with_scale();
  no_score.slopes = {slalom::SlopeMethod::score};
  check_fails(slalom::ErrorKind::usage, "energy_scale", "no score",
              [&] { build(no_score, histogram()); });
  no_score.slopes = {slalom::SlopeMethod::automatic};
  check_fails(slalom::ErrorKind::usage, "energy_scale", "copies or score",
              [&] { build(no_score, histogram()); });
  no_score.slopes = {slalom::SlopeMethod::copies, slalom::SlopeMethod::copies};
  check_fails(slalom::ErrorKind::usage, "slopes", "one for each variation",
              [&] { build(no_score, histogram()); });
  PipelineOptions elsewhere;
  elsewhere.channel = "sr";
  check_fails(slalom::ErrorKind::model, "pipeline", "no channel named",
              [&] { build(elsewhere, histogram()); });
  slalom::SoftHistogramOptions two;
  two.axes[0].edges = {0.0, 0.5, 1.0};
  check_fails(slalom::ErrorKind::model, "pipeline", "4 bins, the histogram 2",
              [&] { build({}, slalom::SoftHistogram(two)); });
}

TEST_CASE("axes of columns beside the score", "[modules][pipeline]") {
  // Two bins of the score times two of x: the hard yields are those of a histogram made by hand.
  const EventBatch events = blobs(300, 3);
  slalom::Mlp mlp = network();
  const slalom::SoftHistogramOptions bins{.axes = {{.edges = {0.0, 0.5, 1.0}, .bandwidth = 0.1},
                                                   {.edges = {-5.0, 0.3, 5.0}, .bandwidth = 0.1}}};
  PipelineOptions options;
  options.axes = {"score", "x"};
  Pipeline pipeline(workspace(false), slalom::as_classifier(mlp.ptr()), nullptr,
                    slalom::SoftHistogram(bins), options);
  const Tensor yields = pipeline->hard_yields(events);
  const Tensor score = mlp->forward(events.features).detach(), x = events.column("x");
  for (std::size_t k = 0; k < pipeline->samples().size(); ++k) {
    const Tensor mask = events.process == events.process_index(pipeline->samples()[k]);
    for (std::int64_t b = 0; b < 4; ++b) {
      const Tensor inside = (score >= 0.5).eq(b / 2 == 1).logical_and((x >= 0.3).eq(b % 2 == 1));
      const double expected = (events.weights * inside.logical_and(mask)).sum().item<double>();
      CHECK_THAT(yields[static_cast<std::int64_t>(k)][0][0][b].item<double>(),
                 WithinAbs(expected, 1e-9));
    }
  }
  options.axes = {"score"};
  slalom::test::check_fails(slalom::ErrorKind::usage, "pipeline", "2 axes", [&] {
    Pipeline(workspace(false), slalom::as_classifier(mlp.ptr()), nullptr,
             slalom::SoftHistogram(bins), options);
  });
}

TEST_CASE("each variation has a step of its own", "[modules][pipeline]") {
  const EventBatch events = blobs(200, 4);
  const auto hi = [&](const PipelineOptions& options) {
    Pipeline pipeline(workspace(), slalom::as_classifier(network().ptr()), nullptr,
                      slalom::SoftHistogram(slalom::SoftHistogramOptions{
                          .axes = {{.edges = {0.0, 0.25, 0.5, 0.75, 1.0}, .bandwidth = 0.1}}}),
                      options);
    return pipeline->templates(pipeline->hard_yields(events)).histosys_hi;
  };
  PipelineOptions options;
  options.variations = {slalom::scale_variation("energy_scale", {"x", "y"}, 0.2)};
  options.variations[0].processes = {"background"};
  options.step = 0.5;
  const Tensor half = hi(options);
  options.step = 1.0;
  CHECK_FALSE(hi(options).equal(half));
  options.steps = {0.5};
  CHECK(hi(options).equal(half));
  options.steps = {0.5, 0.5};
  slalom::test::check_fails(slalom::ErrorKind::usage, "pipeline", "as many steps",
                            [&] { hi(options); });
}
