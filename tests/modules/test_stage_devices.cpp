// SPDX-License-Identifier: Apache-2.0
// Each differentiable stage on a second device against the same on the CPU, value and gradients.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <functional>
#include <string>
#include <torch/csrc/jit/api/module.h>
#include <vector>

#include "slalom/modules/adversary.hpp"
#include "slalom/modules/batching.hpp"
#include "slalom/modules/binning.hpp"
#include "slalom/modules/classifier.hpp"
#include "slalom/modules/criteria.hpp"
#include "slalom/modules/density_ratio.hpp"
#include "slalom/modules/distributions.hpp"
#include "slalom/modules/feature_transform.hpp"
#include "slalom/modules/interpolation.hpp"
#include "slalom/modules/linear_summary.hpp"
#include "slalom/modules/mixture.hpp"
#include "slalom/modules/morphed_templates.hpp"
#include "slalom/modules/observable.hpp"
#include "slalom/modules/selection.hpp"
#include "slalom/modules/soft_histogram.hpp"
#include "slalom/modules/tensor_files.hpp"
#include "slalom/modules/variations.hpp"
#include "support/catch.hpp"
#include "support/devices.hpp"
#include "support/temporary_file.hpp"

using at::Tensor;
using slalom::as_classifier;
using slalom::Classifier;
using slalom::EventBatch;
using slalom::Keep;
using slalom::Mlp;
using slalom::MlpOptions;
using slalom::SoftHistogram;
using slalom::SoftHistogramOptions;
using slalom::Variation;
using slalom::test::compare;
using slalom::test::compare_numbers;
using slalom::test::deviation;
using slalom::test::leaf;
using slalom::test::on_second_devices;
using slalom::test::sequence;
using slalom::test::with_gradients;

namespace {

using Device = at::Device;

const std::vector<slalom::ParameterInput> k_theta{{"a", -1.0, 1.0}, {"b", 0.0, 2.0}};

void append(std::vector<Tensor>& to, const std::vector<Tensor>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

Tensor features(std::int64_t n, std::int64_t columns = 2) {
  return 3.0 * sequence(n * columns).reshape({n, columns}) - 1.2;
}

/// theta of each event, within the ranges of k_theta.
Tensor thetas(std::int64_t n) {
  return at::stack({2.0 * sequence(n, 0.1) - 1.0, 2.0 * sequence(n, 0.3)}, 1);
}

/// Events of two processes, with signed weights and labels.
EventBatch events(std::int64_t n) {
  const Tensor place = at::arange(n, at::kLong);
  return slalom::make_events({"x", "y"}, features(n), 1.5 * sequence(n, 0.2) - 0.3,
                             place.remainder(2), place.remainder(3).clamp_max(1),
                             {"background", "signal"});
}

MlpOptions options_of(std::int64_t outputs, bool parameters, std::uint64_t seed = 5) {
  MlpOptions options{.inputs = 2,
                     .hidden = {5, 4},
                     .outputs = outputs,
                     .activation = slalom::Activation::silu,
                     .seed = seed,
                     .float64 = true};
  if (parameters) options.parameters = k_theta;
  return options;
}

/// Outputs and scores of a classifier, with gradients by features, theta and its parameters.
void compare_classifiers(const Device& device, const std::function<Classifier()>& make,
                         bool parameters) {
  const Tensor x = features(20);
  for (const bool own : {false, true}) {
    if (own && !parameters) continue;
    compare(device, [&](const Device& there) {
      Classifier classifier = make();
      classifier->to(there);
      std::vector<Tensor> inputs = classifier->parameters();
      const Tensor at_x = leaf(x, there);
      const Tensor theta = !parameters ? Tensor()
                           : own       ? leaf(thetas(20), there)
                                       : leaf(at::tensor({0.4, 0.9}, at::kDouble), there);
      inputs.push_back(at_x);
      if (parameters) inputs.push_back(theta);
      std::vector<Tensor> result = with_gradients(classifier->outputs(at_x, theta), inputs);
      append(result, with_gradients(classifier->forward(at_x, theta), inputs));
      return result;
    });
  }
}

template <class Module>
Classifier normalised(Module module) {
  module->fit_normalisation(features(50), sequence(50));
  return as_classifier(module.ptr());
}

Classifier scripted() {
  const slalom::test::TemporaryFile file("net.pt", "");
  torch::jit::Module made("net");
  made.register_parameter("weight", sequence(4).reshape({2, 2}).requires_grad_(), false);
  made.register_parameter("bias", sequence(2).requires_grad_(), false);
  made.register_buffer("mean", sequence(2, 0.9));
  made.define(
      "def forward(self, x):\n"
      "    y = torch.matmul(x - self.mean, self.weight.t()) + self.bias\n"
      "    return torch.tanh(y)\n");
  made.save(file.path());
  return slalom::load_script_classifier(file.path());
}

void compare_networks(const Device& device) {
  for (const slalom::Activation activation :
       {slalom::Activation::relu, slalom::Activation::leaky_relu, slalom::Activation::elu,
        slalom::Activation::silu, slalom::Activation::gelu, slalom::Activation::softplus,
        slalom::Activation::tanh, slalom::Activation::sigmoid}) {
    compare_classifiers(
        device,
        [&] {
          MlpOptions options = options_of(1, false);
          options.activation = activation;
          return normalised(Mlp(options));
        },
        false);
  }
  for (const bool parameters : {false, true}) {
    compare_classifiers(
        device,
        [&] {
          MlpOptions options = options_of(3, parameters);
          options.score = slalom::Score::softmax;
          options.temperature = 0.7;
          return normalised(Mlp(options));
        },
        parameters);
    compare_classifiers(
        device, [&] { return normalised(slalom::SkipMlp(options_of(1, parameters))); }, parameters);
    compare_classifiers(
        device,
        [&] {
          return as_classifier(slalom::Ensemble(std::vector<Classifier>{
                                                    normalised(Mlp(options_of(1, parameters, 1))),
                                                    normalised(Mlp(options_of(1, parameters, 2)))})
                                   .ptr());
        },
        parameters);
  }
  compare_classifiers(
      device, [] { return normalised(slalom::TwoNetworks(options_of(1, true), 0, 0.1)); }, true);
  compare_classifiers(
      device, [] { return normalised(slalom::PolynomialRatio(options_of(1, true), 2)); }, true);
  compare_classifiers(
      device,
      [] {
        const slalom::FunctionClassifier f([](const Tensor& x, const Tensor& theta) {
          return x.select(1, 0) * theta.select(-1, 0) + x.select(1, 1) * theta.select(-1, 1);
        });
        return as_classifier(f.ptr());
      },
      true);
  // theta of a frozen one comes along from the CPU.
  compare_classifiers(
      device,
      [] {
        return as_classifier(slalom::FrozenClassifier(normalised(Mlp(options_of(1, true))),
                                                      at::tensor({0.2, 1.1}, at::kDouble))
                                 .ptr());
      },
      false);
  compare_classifiers(device, scripted, false);
  // Made on the device, and written from there.
  compare(device, [&](const Device& there) {
    Mlp mlp(options_of(1, false));
    mlp->to(there);
    mlp->fit_normalisation(features(50).to(there), sequence(50).to(there));
    const slalom::test::TemporaryFile file("weights.npz", "");
    slalom::write_npz(file.path(), slalom::named_tensors(*mlp));
    Mlp other(options_of(1, false, 77));
    other->to(there);
    slalom::load_tensors(*other, slalom::read_npz(file.path()));
    slalom::Ensemble both(std::vector<Classifier>{as_classifier(other.ptr()),
                                                  normalised(Mlp(options_of(1, false, 8)))});
    both->to(there);
    return std::vector<Tensor>{mlp->outputs(features(9).to(there), {}),
                               other->outputs(features(9).to(there), {}),
                               both->spread(features(9).to(there))};
  });
}

void compare_events(const Device& device) {
  const EventBatch all = events(41);
  const auto tensors = [](const EventBatch& e) {
    return std::vector<Tensor>{e.features, e.weights, e.labels, e.process};
  };
  compare(device, [&](const Device& there) {
    const EventBatch moved = all.to(there);
    std::vector<Tensor> result = tensors(moved);
    append(result, tensors(slalom::concatenate({moved, moved.of_process("signal")})));
    append(result, tensors(moved.select(moved.column("x") > 0.0)));
    append(result, tensors(moved.select(at::arange(0, 41, 5, at::kLong))));  // indices of the CPU
    append(result, tensors(moved.with_column("z", moved.column("x") * 2.0).to(at::kFloat)));
    result.push_back(moved.matrix({"y"}));
    // Weights and the rest may come from the CPU.
    append(result, tensors(slalom::make_events({"x", "y"}, moved.features, all.weights, all.labels,
                                               all.process, all.processes)));
    for (const bool stratified : {false, true}) {
      slalom::EventLoader loader(
          moved, {.batch_size = 10, .seed = 3, .stratified = stratified, .rescale = true});
      for (int batch = 0; batch < 6; ++batch) append(result, tensors(loader.next()));
      result.push_back(loader.indices({0, 1}));
    }
    return result;
  });
}

void compare_selections(const Device& device) {
  const EventBatch all = events(60);
  const Tensor positive = sequence(60, 0.4);
  compare(device, [&](const Device& there) {
    const EventBatch moved = all.to(there);
    slalom::SelectionOptions options;
    options.cuts = {
        {.column = "x", .threshold = 0.1, .slope = 3.0},
        {.column = "y", .threshold = 0.8, .slope = 2.0, .keep = Keep::below, .learnable = false}};
    options.sharpness = {slalom::ScheduleShape::geometric, 1.0, 4.0, 10};
    slalom::Selection cuts(options);
    cuts->to(there);
    cuts->set_step(4);
    const Tensor x = leaf(moved.features, there), w = leaf(positive, there);
    const Tensor efficiency = cuts->forward(x);
    std::vector<Tensor> inputs = cuts->parameters();
    append(inputs, {x, w});
    const Tensor mean = slalom::mean_efficiency(efficiency, w);
    std::vector<Tensor> result = with_gradients(efficiency + 0.0 * w, inputs);
    append(result, with_gradients(mean, inputs));
    for (const slalom::Bound bound :
         {slalom::Bound::at_least, slalom::Bound::at_most, slalom::Bound::equal}) {
      append(result, with_gradients(slalom::efficiency_penalty(mean, 0.3, bound, 0.1), inputs));
    }
    for (const Keep keep : {Keep::above, Keep::below}) {
      const Tensor threshold = slalom::soft_quantile(x.select(1, 0), w, 0.3, 5.0, keep);
      append(result, with_gradients(threshold, {x, w}));
      const Tensor slope = slalom::gradient(threshold, x, true);
      append(result, with_gradients(slope, {x, w}));
      result.push_back(at::full({}, slalom::hard_quantile(x.select(1, 0), w, 0.3, keep)).to(there));
    }
    result.push_back(cuts->hard(x));
    cuts->eval();
    result.push_back(cuts->forward(moved));
    return result;
  });
}

std::vector<Variation> variations() {
  std::vector<Variation> result{
      slalom::scale_variation("scale", {"x", "y"}, 0.2),
      slalom::shift_variation("shift", {"y"}, 0.3),
      slalom::exponential_reweighting("log", [](const EventBatch& e) { return e.column("x"); }),
      slalom::linear_reweighting("linear", [](const EventBatch& e) { return e.column("y"); }),
      slalom::energy_scale(
          "energy", {"x"}, 0.1, [](const EventBatch& scaled, const EventBatch& nominal) {
            return scaled.with_column("y", nominal.column("y") * scaled.column("x"));
          })};
  result[1].processes = {"signal"};
  result[3].processes = {"background"};
  return result;
}

void compare_variations(const Device& device) {
  const EventBatch all = events(30);
  for (const bool own : {false, true}) {
    compare(device, [&](const Device& there) {
      const std::vector<Variation> list = variations();
      const Tensor x = leaf(all.features, there);
      const EventBatch moved = all.to(there).with_features(x);
      const auto n = static_cast<std::int64_t>(list.size());
      const Tensor theta =
          leaf(own ? sequence(30 * n).reshape({30, n}) - 0.5 : sequence(n) - 0.5, there);
      const EventBatch there_now = slalom::apply_variations(moved, list, theta);
      std::vector<Tensor> result = with_gradients(there_now.features, {x, theta});
      append(result, with_gradients(there_now.weights, {x, theta}));
      for (const Variation& variation : list) {
        const slalom::ShiftedEvents copies = slalom::shifted_copies(moved, variation, 0.5);
        append(result, {copies.up.features, copies.down.weights,
                        slalom::concerned_events(moved, variation)});
      }
      return result;
    });
  }
  for (const slalom::SlopeMethod method :
       {slalom::SlopeMethod::copies, slalom::SlopeMethod::score, slalom::SlopeMethod::automatic}) {
    compare(device, [&](const Device& there) {
      Mlp mlp(options_of(1, false));
      mlp->to(there);
      const EventBatch moved = all.to(there);
      const auto yields = [&](const EventBatch& e) {
        const Tensor score = mlp->forward(e.features);
        return at::stack({(e.weights * score).sum(), (e.weights * (1.0 - score)).sum()});
      };
      std::vector<Tensor> result;
      for (const Variation& variation : variations()) {
        if (method == slalom::SlopeMethod::score && !variation.score) continue;
        append(result,
               with_gradients(slalom::yield_slopes(yields, moved, variation,
                                                   {.method = method, .step = 0.3}, mlp.get()),
                              mlp->parameters()));
      }
      return result;
    });
  }
}

void compare_transforms(const Device& device) {
  using slalom::FeatureMap;
  const Tensor x = at::stack(
      {features(40).select(1, 0), 0.1 + sequence(40), features(40).select(1, 1), sequence(40, 0.2)},
      1);
  compare(device, [&](const Device& there) {
    slalom::FeatureTransform transform(slalom::FeatureTransformOptions{
        .maps = {FeatureMap::linear, FeatureMap::log, FeatureMap::cube_root, FeatureMap::logit}});
    transform->to(there);
    transform->fit(x.to(there), sequence(40).to(there));
    const Tensor at_x = leaf(x, there);
    const Tensor z = transform->forward(at_x);
    std::vector<Tensor> result = with_gradients(z, {at_x});
    append(result, with_gradients(transform->log_jacobian(at_x), {at_x}));
    const Tensor at_z = leaf(z, there);
    append(result, with_gradients(transform->inverse(at_z), {at_z}));
    result.push_back(transform->inside(2.0 * at_x - 0.7));
    return result;
  });
}

void compare_linear_summaries(const Device& device) {
  const Tensor t = features(400, 3), w = 0.5 + sequence(400), g = sequence(800).reshape({2, 400});
  for (const bool prior_here : {false, true}) {
    compare(
        device,
        [&](const Device& there) {
          const Tensor outputs = leaf(t, there), weights = leaf(w, there), slopes = leaf(g, there);
          const Tensor plain = at::tensor({0.0, 1.0}, at::kDouble);
          const Tensor prior = prior_here ? plain : plain.to(there);
          const slalom::LinearMoments m = slalom::linear_moments(outputs, weights, slopes);
          const Tensor information = slalom::linear_information(m, prior);
          std::vector<Tensor> result = with_gradients(information, {outputs, weights, slopes});
          append(result,
                 with_gradients(slalom::log_uncertainty(information), {outputs, weights, slopes}));
          const Tensor coefficients = slalom::efficient_score_coefficients(m, prior);
          append(result, with_gradients(coefficients, {outputs, weights, slopes}));
          const Tensor score = slalom::efficient_score(outputs, coefficients);
          append(result, with_gradients(score, {outputs, weights, slopes}));
          const Tensor edges =
              slalom::find_edges(score, weights, slopes, prior, {.bins = 4, .candidates = 50});
          result.push_back(edges);
          append(result,
                 with_gradients(slalom::binned_information(score, weights, slopes, prior, edges),
                                {weights, slopes}));
          return result;
        },
        1e-8);
  }
}

void compare_soft_histograms(const Device& device) {
  const Tensor x = 1.2 * sequence(500) - 0.1, w = 2.0 * sequence(1000, 0.7).reshape({2, 500}) - 0.5;
  for (const bool reflect : {false, true}) {
    for (const slalom::FlowBins flow :
         {slalom::FlowBins::keep, slalom::FlowBins::fold, slalom::FlowBins::drop}) {
      for (const slalom::Kernel kernel : {slalom::Kernel::gaussian, slalom::Kernel::sigmoid}) {
        compare(device, [&](const Device& there) {
          SoftHistogramOptions options;
          options.axes[0].edges = {0.1, 0.4, 0.7, 0.9};
          options.axes[0].bandwidth = 0.05;
          options.axes[0].smearing = {kernel, flow, reflect};
          SoftHistogram histogram(options);
          histogram->to(there);
          const Tensor at_x = leaf(x, there), weights = leaf(w, there);
          const slalom::SoftHistogramResult h = histogram->forward(at_x, weights);
          std::vector<Tensor> result = with_gradients(h.sumw, {at_x, weights});
          append(result, with_gradients(h.sumw2, {at_x, weights}));
          append(result, {h.hard.sumw.detach(), h.hard.sumw2.detach(), h.difference()});
          return result;
        });
      }
    }
  }
}

/// Learnable edges, bandwidths of their own for each bin, products, straight-through derivatives.
void compare_products(const Device& device) {
  SoftHistogramOptions options;
  options.axes[0].edges = {0.0, 0.3, 0.6, 1.0};
  options.axes[0].bandwidth = 0.4;
  options.axes[0].relative = true;
  options.axes[0].learnable = true;
  options.axes[0].bandwidth_factors = {1.0, 0.5, 2.0};
  options.annealing = {slalom::ScheduleShape::linear, 1.0, 0.0, 10};
  const Tensor w = sequence(200, 0.2);
  for (const std::size_t axes : {1U, 2U, 3U}) {
    for (const bool straight : {false, true}) {
      SoftHistogramOptions chosen = options;
      chosen.straight_through = straight;
      if (axes > 1) {
        chosen.axes.push_back({.edges = {-1.0, 0.2, 0.5, 2.0}, .bandwidth = 0.2});
        chosen.axes.back().bandwidth_factors = {1.0, 3.0, 1.0};
        chosen.axes.back().smearing.flow = slalom::FlowBins::keep;
      }
      if (axes > 2) chosen.axes.push_back({.edges = {0.0, 0.5, 1.0}, .bandwidth = 0.0});
      const auto n = static_cast<std::int64_t>(axes);
      const Tensor x = sequence(200 * n).reshape({200, n});
      for (const std::int64_t step : {0, 5, 10}) {
        compare(device, [&](const Device& there) {
          SoftHistogram histogram(chosen);
          histogram->to(there);
          histogram->set_step(step);
          const Tensor at_x = leaf(x, there), weights = leaf(w, there);
          std::vector<Tensor> inputs = histogram->parameters();
          append(inputs, {at_x, weights});
          const slalom::SoftHistogramResult h = histogram->forward(at_x, weights);
          std::vector<Tensor> result = with_gradients(h.sumw, inputs);
          append(result, with_gradients(h.soft.sumw2, inputs));
          append(result, {histogram->bin_of(at_x), histogram->edges().detach(),
                          histogram->bandwidth().detach(), h.hard.sumw.detach()});
          histogram->eval();
          result.push_back(histogram->forward(at_x, weights).sumw.detach());
          return result;
        });
      }
    }
  }
  for (const bool straight : {false, true}) {
    compare(device, [&](const Device& there) {
      slalom::SoftmaxHistogram histogram(
          slalom::SoftmaxHistogramOptions{.temperature = 0.5, .straight_through = straight});
      histogram->to(there);
      const Tensor outputs = leaf(features(50, 4), there),
                   weights = leaf(sequence(100).reshape({2, 50}), there);
      std::vector<Tensor> result =
          with_gradients(histogram->forward(outputs, weights).sumw, {outputs, weights});
      histogram->eval();
      result.push_back(histogram->forward(outputs, weights).sumw2.detach());
      return result;
    });
  }
}

void compare_binning(const Device& device) {
  compare(device, [](const Device& there) {
    const Tensor raw = leaf(sequence(5), there), x = sequence(60).to(there);
    const Tensor edges = slalom::ordered_edges(raw, 0.0, 1.0, 0.05);
    std::vector<Tensor> result = with_gradients(edges, {raw});
    append(result, with_gradients(slalom::raw_edges(edges.detach(), 0.05) + 0.0 * raw, {raw}));
    const Tensor w = leaf(sequence(120, 0.1).reshape({2, 60}), there);
    for (const slalom::FlowBins flow :
         {slalom::FlowBins::keep, slalom::FlowBins::fold, slalom::FlowBins::drop}) {
      result.push_back(slalom::bin_index(1.4 * x - 0.2, edges.detach(), flow));
      const slalom::Histogram h = slalom::hard_histogram(1.4 * x - 0.2, w, edges.detach(), flow);
      append(result, with_gradients(h.sumw, {w}));
      append(result, with_gradients(h.sumw2, {w}));
    }
    return result;
  });
}

void compare_criteria(const Device& device) {
  const Tensor root = sequence(16).reshape({4, 4});
  const Tensor information = root.matmul(root.t()) + at::arange(1, 5, at::kDouble).diag();
  for (const slalom::Criterion criterion :
       {slalom::Criterion::a, slalom::Criterion::d, slalom::Criterion::e}) {
    for (const std::int64_t power : {0, 8}) {
      compare(device, [&](const Device& there) {
        const Tensor at_i = leaf(information, there);
        slalom::DesignOptions options;
        options.criterion = criterion;
        options.units = {1.0, 2.0};
        options.power = power;
        std::vector<Tensor> result =
            with_gradients(slalom::design_loss(at_i, {2, 0}, options), {at_i});
        append(result, with_gradients(slalom::profiled_covariance(at_i, {1, 3}), {at_i}));
        return result;
      });
    }
  }
  compare(device, [](const Device& there) {
    const Tensor labels = at::arange(30, at::kLong).remainder(2).to(there),
                 classes = at::arange(30, at::kLong).remainder(3).to(there);
    const Tensor one = leaf(features(30).select(1, 0), there),
                 several = leaf(features(30, 3), there), w = leaf(sequence(30), there);
    const std::vector<Tensor> inputs{one, several, w};
    const auto step = [&](std::int64_t k) {
      return slalom::mixture(
          {{[&] { return slalom::cross_entropy(one, labels, w); }, slalom::until(3)},
           {[&] { return slalom::cross_entropy(several, classes, w); }, slalom::from(3)},
           {[&] { return slalom::cross_entropy(one, labels); }, {}}},
          k);
    };
    std::vector<Tensor> result = with_gradients(step(0), inputs);
    append(result, with_gradients(step(5), inputs));
    append(result,
           {slalom::balanced_weights(labels, w).detach(), slalom::balanced_weights(classes)});
    return result;
  });
}

void compare_interpolations(const Device& device) {
  const Tensor alpha = 4.0 * sequence(20) - 2.0, nominal = 1.0 + sequence(20, 0.1),
               hi = 1.0 + sequence(20, 0.2), lo = 0.5 + sequence(20, 0.3);
  compare(device, [&](const Device& there) {
    const std::vector<Tensor> x{leaf(alpha, there), leaf(nominal, there), leaf(hi, there),
                                leaf(lo, there)};
    std::vector<Tensor> result;
    const auto twice = [&](const Tensor& value) {
      append(result, with_gradients(value + 0.0 * x[1], x));
      const Tensor slope = slalom::gradient(value.sum(), x[0], true);
      append(result, with_gradients(slope + 0.0 * (x[0] * x[1] * x[2] * x[3]), x));
    };
    for (const slalom::HistosysCode code :
         {slalom::HistosysCode::code0, slalom::HistosysCode::code2, slalom::HistosysCode::code4p}) {
      twice(slalom::histosys_delta(code, x[0], x[1], x[2], x[3]));
    }
    for (const slalom::NormsysCode code :
         {slalom::NormsysCode::code1, slalom::NormsysCode::code4}) {
      twice(slalom::normsys_factor(code, x[0], x[2], x[3]));
    }
    return result;
  });
  for (const std::string& name : slalom::morphing_kind_names()) {
    const slalom::MorphingKind kind = *slalom::morphing_kind(name);
    const std::vector<double> grid = slalom::is_histfactory(kind)
                                         ? std::vector<double>{-0.7, 0.5, 1.7}
                                         : std::vector<double>{-1.0, -0.4, 0.1, 0.9, 1.3, 2.0};
    const auto points = static_cast<std::int64_t>(grid.size());
    const Tensor templates = 1.0 + sequence(points * 4).reshape({points, 4});
    INFO(name);
    compare(
        device,
        [&](const Device& there) {
          const Tensor t = leaf(templates, there),
                       z = leaf(at::tensor({-1.3, 0.3, 2.2}, at::kDouble), there);
          const Tensor value = slalom::morph(kind, grid, t, z);
          std::vector<Tensor> result = with_gradients(value, {t, z});
          append(result,
                 with_gradients(slalom::gradient(value.sum(), z, true) + 0.0 * t.sum(), {t, z}));
          append(result, with_gradients(slalom::morph(kind, grid, t, z[1]), {t, z}));
          return result;
        },
        1e-9);
  }
}

void compare_distributions(const Device& device) {
  compare(device, [](const Device& there) {
    const Tensor n = leaf(50.0 * sequence(20), there),
                 rate = leaf(0.5 + 40.0 * sequence(20, 0.3), there),
                 sigma = leaf(0.1 + sequence(20, 0.8), there);
    std::vector<Tensor> result = with_gradients(slalom::poisson_log_prob(n, rate), {n, rate});
    append(result, with_gradients(slalom::normal_log_prob(n, rate, sigma), {n, rate, sigma}));
    append(result, {slalom::jacobian(slalom::poisson_log_prob(n, rate), rate),
                    slalom::hessian(slalom::normal_log_prob(n, rate, sigma).sum(), sigma)});
    // Mixtures of densities.
    const Tensor l = leaf(6.0 * sequence(20) - 3.0, there), b = leaf(-sequence(20, 0.3), there),
                 mu = leaf(at::full({}, 0.3, at::kDouble), there), w = sequence(20, 0.7).to(there);
    append(result, with_gradients(slalom::mixture_log_ratio(l, mu), {l, mu}));
    append(result, with_gradients(slalom::signal_probability(l, mu), {l, mu}));
    append(result, with_gradients(slalom::mixture_nll(l, b, mu, w), {l, b, mu}));
    append(result, with_gradients(slalom::mixture_nll(l, b, mu), {l, b, mu}));
    append(result, with_gradients(slalom::weak_cross_entropy(l, b, mu, w, w), {l, b, mu}));
    append(result, with_gradients(slalom::weak_cross_entropy(l, b, mu), {l, b, mu}));
    return result;
  });
}

void compare_batching(const Device& device) {
  const EventBatch all = events(60);
  const auto loss = [](const Tensor& y) { return (y * y).sum() / (1.0 + y[0]) + y[1].abs(); };
  const auto gradients_of = [&](const Device& there, const auto& backward) {
    Mlp mlp(options_of(1, false));
    mlp->to(there);
    const slalom::EventLoader loader(all.to(there), {.batch_size = 20, .rescale = true});
    const auto yields = [&](std::int64_t b) {
      const EventBatch batch = loader.batch({b / 3, b % 3});
      const Tensor score = mlp->forward(batch.features);
      return at::stack({(batch.weights * score).sum(), batch.weights.dot(score * score)});
    };
    backward(yields);
    std::vector<Tensor> result;
    for (const Tensor& parameter : mlp->parameters()) result.push_back(parameter.grad());
    return result;
  };
  compare(device, [&](const Device& there) {
    return gradients_of(there,
                        [&](const auto& yields) { slalom::two_pass_backward(3, yields, loss); });
  });
  compare(device, [&](const Device& there) {
    return gradients_of(there, [&](const auto& yields) {
      slalom::AveragedYields averaged(0.2);
      for (std::int64_t b = 0; b < 5; ++b) averaged.backward(yields(b), loss);
      // A checkpoint's state is on the CPU.
      slalom::AveragedYields other(0.2);
      other.restore({averaged.state().average.cpu(), averaged.state().steps});
      other.backward(yields(5), loss);
      slalom::naive_backward(yields(0), loss);
    });
  });
}

void compare_adversaries(const Device& device) {
  for (const slalom::AdversaryKind kind :
       {slalom::AdversaryKind::mse, slalom::AdversaryKind::gaussian,
        slalom::AdversaryKind::mixture}) {
    compare(device, [&](const Device& there) {
      slalom::Adversary adversary(slalom::AdversaryOptions{
          .type = kind, .hidden = {6}, .parameters = k_theta, .seed = 2, .float64 = true});
      adversary->to(there);
      const Tensor scores = leaf(sequence(25), there), theta = thetas(25).to(there),
                   w = sequence(25, 0.6).to(there);
      std::vector<Tensor> inputs = adversary->parameters();
      inputs.push_back(scores);
      std::vector<Tensor> result =
          with_gradients(adversary->losses(slalom::reverse_gradient(scores, 0.7), theta), inputs);
      append(result, with_gradients(adversary->loss(scores, theta, w), inputs));
      append(result, with_gradients(adversary->outputs(scores), inputs));
      return result;
    });
  }
}

void compare_observables(const Device& device) {
  const EventBatch all = events(200);
  const EventBatch reference = all.with_weights(all.weights.abs());
  for (const slalom::ScoreBinning binning :
       {slalom::ScoreBinning::equal_width, slalom::ScoreBinning::equal_signal}) {
    for (const std::int64_t slope_bins : {0, 2}) {
      for (const bool theta_here : {false, true}) {
        compare(device, [&](const Device& there) {
          Classifier network = normalised(Mlp(options_of(1, true)));
          network->to(there);
          const Tensor theta = at::tensor({0.2, 0.7}, at::kDouble);
          const slalom::Observable observable(
              network, {"x", "y"}, theta_here ? theta : theta.to(there),
              {.bins = 4, .binning = binning, .slope_bins = slope_bins, .parameter = 1},
              reference.to(there));
          const slalom::LogitSlope values = observable.evaluate(all.to(there));
          std::vector<Tensor> result{observable.bin_of(all.to(there)), values.logit,
                                     observable.logit_edges()};
          if (slope_bins > 0) {
            result.push_back(values.slope);
            append(result, observable.slope_edges());
          }
          result.push_back(slalom::quantile_edges(values.logit, reference.weights.to(there), 5));
          return result;
        });
      }
    }
  }
}

}  // namespace

TEST_CASE("classifiers of all kinds on a device", "[modules][stage_devices][cuda]") {
  on_second_devices(compare_networks);
}

TEST_CASE("events and loaders on a device", "[modules][stage_devices][cuda]") {
  on_second_devices(compare_events);
}

TEST_CASE("cuts on a device", "[modules][stage_devices][cuda]") {
  on_second_devices(compare_selections);
}

TEST_CASE("variations of events on a device", "[modules][stage_devices][cuda]") {
  on_second_devices(compare_variations);
}

TEST_CASE("transforms of features on a device", "[modules][stage_devices][cuda]") {
  on_second_devices(compare_transforms);
}

TEST_CASE("linear summaries on a device", "[modules][stage_devices][cuda]") {
  on_second_devices(compare_linear_summaries);
}

TEST_CASE("soft histograms give what they give on the CPU", "[modules][stage_devices][cuda]") {
  on_second_devices(compare_soft_histograms);
}

TEST_CASE("histograms of several axes on a device", "[modules][stage_devices][cuda]") {
  on_second_devices(compare_products);
}

TEST_CASE("bins on a device", "[modules][stage_devices][cuda]") {
  on_second_devices(compare_binning);
}

TEST_CASE("criteria and mixtures of losses on a device", "[modules][stage_devices][cuda]") {
  on_second_devices(compare_criteria);
}

TEST_CASE("interpolations on a device", "[modules][stage_devices][cuda]") {
  on_second_devices(compare_interpolations);
}

TEST_CASE("densities of numbers on a device", "[modules][stage_devices][cuda]") {
  on_second_devices(compare_distributions);
}

TEST_CASE("losses of sums, batch by batch, on a device", "[modules][stage_devices][cuda]") {
  on_second_devices(compare_batching);
}

TEST_CASE("adversaries on a device", "[modules][stage_devices][cuda]") {
  on_second_devices(compare_adversaries);
}

TEST_CASE("observables on a device", "[modules][stage_devices][cuda]") {
  on_second_devices(compare_observables);
}
