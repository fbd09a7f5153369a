// SPDX-License-Identifier: Apache-2.0
// Methods made of several stages, and their trainings, on a second device against the same on the
// CPU.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <functional>
#include <string>
#include <vector>

#include "slalom/modules/adapted_mixture.hpp"
#include "slalom/modules/calibration.hpp"
#include "slalom/modules/class_ratio.hpp"
#include "slalom/modules/closure.hpp"
#include "slalom/modules/density.hpp"
#include "slalom/modules/density_ratio.hpp"
#include "slalom/modules/diagnostics.hpp"
#include "slalom/modules/flow.hpp"
#include "slalom/modules/flow_matching.hpp"
#include "slalom/modules/learned_mixture.hpp"
#include "slalom/modules/paws.hpp"
#include "slalom/modules/significance_improvement.hpp"
#include "slalom/modules/two_sample.hpp"
#include "support/catch.hpp"
#include "support/devices.hpp"

using at::Tensor;
using slalom::as_classifier;
using slalom::as_density;
using slalom::Density;
using slalom::EventBatch;
using slalom::ParameterisedRatio;
using slalom::test::compare;
using slalom::test::compare_numbers;
using slalom::test::leaf;
using slalom::test::on_second_devices;
using slalom::test::sequence;
using slalom::test::values;
using slalom::test::with_gradients;

namespace {

using Device = at::Device;
using Numbers = std::vector<double>;

/// Trainings in float32: rounding differs between kernels, and steps amplify it.
constexpr double k_single = 1e-3;

template <class List>
void append(List& to, const List& more) {
  to.insert(to.end(), more.begin(), more.end());
}

Tensor normals(std::int64_t n, std::int64_t columns, std::uint64_t seed, double mean = 0.0) {
  return slalom::normal_rows(n, columns, seed) + mean;
}

/// Scores, labels and weights of two overlapping classes.
struct Scored {
  Tensor score, labels, weights;
};

Scored scored(std::int64_t n) {
  const Tensor labels = at::arange(n, at::kLong).remainder(2);
  return {normals(n, 1, 3).select(1, 0) + labels.to(at::kDouble), labels, sequence(n, 0.3)};
}

void compare_calibrations(const Device& device) {
  const Scored all = scored(400);
  compare(device, [&](const Device& there) {
    const Tensor score = all.score.to(there), labels = all.labels.to(there),
                 w = all.weights.to(there);
    const Tensor x = leaf(score, there);
    std::vector<Tensor> result;
    for (const Tensor& weights : {Tensor(), w}) {
      const auto platt = slalom::platt_calibration(score, labels, weights);
      append(result, with_gradients(platt(x), {x}));
      const auto binned = slalom::binned_calibration(score, labels, weights, 20);
      append(result, {binned.edges, binned.ratio, binned(x)});
      const auto isotonic = slalom::isotonic_calibration(score, labels, weights);
      append(result, with_gradients(isotonic(x), {x}));
    }
    return result;
  });
  compare_numbers(device, [&](const Device& there) {
    const Tensor score = all.score.to(there), labels = all.labels.to(there),
                 w = all.weights.to(there);
    const auto best = slalom::significance_improvement(score, labels, w).best;
    const auto one = slalom::significance_improvement_at(score, labels, 0.4, w);
    return Numbers{slalom::area_under_curve(score, labels, w),
                   slalom::area_under_curve(score, labels),
                   best.threshold,
                   best.value,
                   best.error,
                   one.value,
                   slalom::score_threshold(score, 0.2)};
  });
}

/// Densities with two conditions of three features; all weights are moved away from their start.
std::vector<std::function<Density()>> densities() {
  const auto woken = [](Density density) {
    const at::NoGradGuard no_graph;
    for (Tensor& p : density->parameters())
      p += 0.3 * (sequence(p.numel()).reshape(p.sizes()) - 0.5);
    return density;
  };
  const auto flow = [woken](slalom::FlowKind kind, std::uint64_t seed) {
    return woken(as_density(slalom::Flow(slalom::FlowOptions{.features = 3,
                                                             .conditions = 2,
                                                             .layers = 3,
                                                             .hidden = 5,
                                                             .kind = kind,
                                                             .bins = 4,
                                                             .seed = seed,
                                                             .float64 = true})
                                .ptr()));
  };
  const auto matching = [woken] {
    return woken(as_density(slalom::FlowMatching(slalom::FlowMatchingOptions{.features = 3,
                                                                             .conditions = 2,
                                                                             .hidden = 6,
                                                                             .hidden_layers = 2,
                                                                             .steps = 3,
                                                                             .seed = 4,
                                                                             .float64 = true})
                                .ptr()));
  };
  const auto transformed = [flow] {
    slalom::FeatureTransform transform(slalom::FeatureTransformOptions{
        .maps = {slalom::FeatureMap::linear, slalom::FeatureMap::cube_root,
                 slalom::FeatureMap::logit},
        .low = {0.0, 0.0, -6.0},
        .high = {0.0, 0.0, 6.0}});
    slalom::TransformedDensity density(transform, flow(slalom::FlowKind::affine, 3), 2);
    density->fit(normals(50, 3, 7), normals(50, 2, 8), sequence(50));
    return as_density(density.ptr());
  };
  return {[flow] { return flow(slalom::FlowKind::affine, 1); },
          [flow] { return flow(slalom::FlowKind::spline, 1); },
          matching,
          transformed,
          [flow] {
            return as_density(
                slalom::DensityEnsemble(std::vector<Density>{flow(slalom::FlowKind::affine, 1),
                                                             flow(slalom::FlowKind::spline, 2)})
                    .ptr());
          },
          [] {
            const auto log_p = [](const Tensor& x, const Tensor& c) {
              return -0.5 * (x - c.sum(1, true)).square().sum(1);
            };
            const auto sample = [](std::int64_t n, const Tensor& c, std::uint64_t seed) {
              return slalom::normal_rows(n, 3, seed).to(c.device()) + c.sum(1, true);
            };
            return as_density(slalom::FunctionDensity(log_p, sample).ptr());
          }};
}

void compare_densities(const Device& device) {
  const Tensor x = normals(20, 3, 1), c = normals(20, 2, 2), w = sequence(20);
  for (const auto& make : densities()) {
    compare(
        device,
        [&](const Device& there) {
          Density density = make();
          density->to(there);
          const Tensor at_x = leaf(x, there), at_c = leaf(c, there);
          std::vector<Tensor> inputs = density->parameters();
          append(inputs, {at_x, at_c});
          std::vector<Tensor> result = with_gradients(density->log_prob(at_x, at_c), inputs);
          append(result, with_gradients(density->losses(at_x, at_c, 5), inputs));
          append(result, with_gradients(density->total_loss(at_x, at_c, w.to(there), 5), inputs));
          result.push_back(density->sample(12, c.slice(0, 0, 12).to(there), 9));
          const at::NoGradGuard no_graph;
          result.push_back(density->log_prob(at_x, at_c));
          return result;
        },
        1e-9);
  }
  // Outside of a range the density is 0, on every device.
  compare(device, [&](const Device& there) {
    slalom::FeatureTransform transform(slalom::FeatureTransformOptions{
        .maps = {slalom::FeatureMap::logit}, .low = {-1.0}, .high = {1.0}});
    slalom::TransformedDensity density(
        transform, as_density(slalom::Flow(slalom::FlowOptions{.float64 = true}).ptr()));
    density->to(there);
    return std::vector<Tensor>{density->log_prob(normals(30, 1, 3).to(there), {})};
  });
}

void compare_density_trainings(const Device& device) {
  const Tensor x = normals(300, 3, 11), c = normals(300, 2, 12), w = 0.5 + sequence(300);
  std::size_t number = 0;
  for (const auto& make : densities()) {
    if (++number == 5) break;  // ensembles are trained one by one, functions not at all
    compare_numbers(
        device,
        [&](const Device& there) {
          Density density = make();
          density->to(there);
          const slalom::DensityFit fit =
              slalom::train_density(density, x.to(there), c.to(there), w.to(there),
                                    {.steps = 6, .batch_size = 100, .average = 0.5});
          Numbers result{fit.best_loss, static_cast<double>(fit.best_step)};
          for (const slalom::DensityProgress& p : fit.history) result.push_back(p.training_loss);
          append(result, values(density->log_prob(x.to(there), c.to(there))));
          return result;
        },
        1e-7);
  }
  // Of a sample on the device: divergence and closure.
  compare_numbers(
      device,
      [&](const Device& there) {
        Density p = densities()[0](), q = densities()[1]();
        p->to(there);
        q->to(there);
        const at::NoGradGuard no_graph;
        const Tensor log_p = p->log_prob(x.to(there), c.to(there)),
                     log_q = q->log_prob(x.to(there), c.to(there));
        const slalom::KlEstimate kl = slalom::kl_divergence(log_p, log_q, w.to(there));
        return Numbers{kl.value, kl.error, kl.paired, kl.paired_error};
      },
      1e-9);
  compare_numbers(
      device,
      [&](const Device& there) {
        Density density = densities()[0]();
        density->to(there);
        const EventBatch events =
            slalom::make_events({"a", "b", "c", "d", "e"}, at::cat({x, c}, 1), w).to(there);
        const slalom::SampleComparison closure = slalom::density_closure(
            density, events, {"a", "b", "c"}, {"d", "e"}, {.bins = 4, .hidden = {4}, .steps = 4});
        Numbers result = closure.chi2;
        append(result, {closure.auc, closure.auc_error});
        return result;
      },
      k_single);
}

const std::vector<slalom::ParameterInput> k_box{{"mean", 0.5, 1.5}};

slalom::RatioBatches ratio_batches(const Device& there) {
  const Tensor theta = 0.5 + sequence(400).unsqueeze(1);
  return slalom::batches_from_samples((theta + normals(400, 1, 1)).to(there), theta.to(there),
                                      normals(500, 1, 2).to(there), 100, 3);
}

slalom::MlpOptions ratio_network() {
  return {.inputs = 1,
          .hidden = {5},
          .activation = slalom::Activation::silu,
          .seed = 6,
          .parameters = k_box,
          .float64 = true};
}

/// A polynomial in theta (its network is evaluated once), or any network.
ParameterisedRatio make_ratio(bool polynomial) {
  if (polynomial) {
    return ParameterisedRatio(as_classifier(slalom::PolynomialRatio(ratio_network(), 2).ptr()),
                              k_box, 2);
  }
  return ParameterisedRatio(as_classifier(slalom::SkipMlp(ratio_network()).ptr()), k_box, 2);
}

/// Trained and calibrated there.
ParameterisedRatio trained_ratio(bool polynomial, const Device& there) {
  ParameterisedRatio ratio = make_ratio(polynomial);
  ratio->to(there);
  slalom::Classifier network = ratio->network();
  slalom::train_ratio(*network, ratio_batches(there), {.steps = 30, .shares = {0.5, 0.1}});
  slalom::calibrate(*ratio, ratio_batches(there), 4);
  return ratio;
}

void compare_ratios(const Device& device) {
  const Tensor x = normals(30, 1, 5), theta = 0.5 + sequence(30).unsqueeze(1);
  for (const bool polynomial : {false, true}) {
    compare(
        device,
        [&](const Device& there) {
          ParameterisedRatio ratio = trained_ratio(polynomial, there);
          const Tensor at_x = leaf(x, there), at_theta = leaf(theta, there),
                       one = leaf(at::full({1}, 0.9, at::kDouble), there);
          const auto ratios = [&] {
            std::vector<Tensor> inputs = ratio->network()->parameters();
            append(inputs, {at_x, at_theta, one});
            return with_gradients(
                at::stack({ratio->log_ratio(at_x, at_theta), ratio->log_ratio(at_x, one)}), inputs);
          };
          std::vector<Tensor> result = ratios();
          append(result, {ratio->slope().clone(), ratio->offset().clone(),
                          ratio->calibration(at_theta).detach(), ratio->calibration(one).detach()});
          slalom::calibrate_at(*ratio, one.detach(), (1.0 + normals(200, 1, 8)).to(there),
                               normals(300, 1, 9).to(there));
          append(result, ratios());
          for (const Tensor& w : {Tensor(), sequence(300).to(there)}) {
            slalom::normalise(*ratio, normals(300, 1, 9).to(there), w, 4);
            result.push_back(ratio->offset().clone());
          }
          slalom::TwoModes modes(ratio, trained_ratio(!polynomial, there));
          const Tensor both = at::cat({at_theta, 0.3 * at_theta}, 1);
          append(result, with_gradients(modes->outputs(at_x, both), {at_x, at_theta}));
          return result;
        },
        1e-7);
  }
  compare_numbers(
      device,
      [&](const Device& there) {
        ParameterisedRatio ratio = make_ratio(true);
        ratio->to(there);
        slalom::Classifier network = ratio->network();
        const double loss = slalom::train_ratio(*network, ratio_batches(there), {.steps = 10});
        return Numbers{loss, slalom::calibrate(*ratio, ratio_batches(there), 3),
                       slalom::normalise(*ratio, normals(100, 1, 4).to(there), {}, 5)};
      },
      1e-8);
}

void append_fit(Numbers& to, const slalom::PawsFit& fit) {
  append(to, {fit.mu, fit.mu_error, fit.log_likelihood, fit.q0, fit.z, fit.reference_share});
  append(to, fit.theta);
  append(to, fit.theta_errors);
  append(to, fit.covariance);
}

void compare_paws(const Device& device) {
  const Tensor background = normals(400, 1, 21);
  const Tensor data = at::cat({normals(300, 1, 22), normals(60, 1, 23, 1.0)}, 0),
               w = 0.5 + sequence(360);
  for (const bool polynomial : {false, true}) {
    compare_numbers(
        device,
        [&](const Device& there) {
          const ParameterisedRatio ratio = trained_ratio(polynomial, there);
          const slalom::PawsOptions options{.grid = 4, .starts = 1};
          Numbers result;
          for (const bool normalised : {false, true}) {
            const slalom::PawsRatios ratios =
                normalised
                    ? slalom::PawsRatios({ratio}, background.to(there), sequence(400).to(there))
                    : slalom::PawsRatios{ratio};
            const slalom::PawsLikelihood likelihood(ratios, data.to(there), w.to(there));
            const auto point = likelihood.evaluate(0.2, {0.8});
            result.push_back(point.value);
            append(result, point.gradient);
            append(result, point.hessian);
            append(result, likelihood.log_ratio({1.1}));
            slalom::PawsFit fit = likelihood.fit(options);
            append_fit(result, fit);
            append(result, likelihood.sandwich(fit));
            append(result, slalom::paws_profile(likelihood, fit, {0.05, 0.3}, options));
            append(result, slalom::paws_scan(likelihood, fit, {0, 1},
                                             {Numbers{0.1, 0.2}, Numbers{0.7, 1.2}}, options)
                               .log_likelihood);
            const slalom::PawsCorrection corrected = slalom::correct_paws(
                ratios, fit, normals(200, 1, 24, 1.0).to(there), background.to(there), options);
            append_fit(result, corrected.fit);
            const auto toys = slalom::run_paws_toys(
                ratios, slalom::bootstrap_sampler(background.to(there), 100.0),
                {.n_toys = 2, .seed = 3, .fit = options});
            for (const slalom::PawsFit& toy : toys) append_fit(result, toy);
          }
          append_fit(result, slalom::fit_paws(ratio, data.to(there), options, w.to(there)));
          append_fit(result,
                     slalom::fit_paws_weakly(ratio, data.to(there), background.to(there), options));
          return result;
        },
        1e-6);
  }
}

std::vector<Tensor> class_events(const Device& there) {
  std::vector<Tensor> result;
  for (const double mean : {-0.6, 0.0, 0.9}) {
    const auto k = static_cast<std::uint64_t>(result.size());
    result.push_back(normals(120 + 30 * static_cast<std::int64_t>(k), 2, 30 + k, mean).to(there));
  }
  return result;
}

void compare_class_ratios(const Device& device) {
  compare(
      device,
      [](const Device& there) {
        slalom::ClassRatios ratios = slalom::make_class_ratios({.features = 2,
                                                                .classes = 3,
                                                                .hidden = {5},
                                                                .rank = 2,
                                                                .degree = 2,
                                                                .seed = 3,
                                                                .float64 = true},
                                                               2);
        ratios->to(there);
        const std::vector<Tensor> events = class_events(there);
        const Tensor x = leaf(at::cat(events, 0), there);
        std::vector<Tensor> labels;
        for (std::size_t k = 0; k < events.size(); ++k) {
          labels.push_back(at::full({events[k].size(0)}, static_cast<std::int64_t>(k), at::kLong));
        }
        const Tensor label = at::cat(labels).to(there);
        std::vector<Tensor> inputs = ratios->parameters();
        inputs.push_back(x);
        std::vector<Tensor> result = with_gradients(ratios->log_ratios(x), inputs);
        const Tensor logs = ratios->member_log_ratios(x).detach();
        const slalom::RatioCombination fitted = slalom::fit_combination(logs, label);
        const Tensor efficiencies = at::tensor({0.5, 0.7, 0.9}, at::kDouble).to(there);
        for (const slalom::RatioCombination& c :
             {fitted, slalom::calibrate_combination(fitted, logs, label),
              slalom::normalise_combination(fitted, logs, label),
              slalom::cut_combination(fitted, efficiencies)}) {
          append(result, {c.weights, c.offsets});
          ratios->set_combination(c);
          append(result, {ratios->log_ratios(x).detach(), ratios->combination().weights});
        }
        // One that was made on the CPU is taken as well.
        const slalom::RatioCombination mean = slalom::mean_combination(3, 2);
        ratios->set_combination(mean);
        for (const slalom::RatioCombination& c : {slalom::calibrate_combination(mean, logs, label),
                                                  slalom::normalise_combination(mean, logs, label),
                                                  slalom::cut_combination(mean, efficiencies)}) {
          append(result, {c.weights, c.offsets});
        }
        const Tensor l = ratios->log_ratios(x);
        const slalom::RatioSubspace space =
            slalom::ratio_subspace(l.detach(), 1, sequence(x.size(0)).to(there));
        append(result, {space.mean, space.vectors.abs(), space.spread});
        append(result, with_gradients(slalom::projected(l, space), {x}));
        return result;
      },
      1e-7);
  // Trained on the CPU, on several threads: the ratios come back to where the events are.
  compare(
      device,
      [](const Device& there) {
        const slalom::ClassRatioFit fit = slalom::train_class_ratios(
            class_events(there), {.hidden = {5}, .seed = 3, .float64 = true},
            {.members = 2, .epochs = 2, .batch_size = 64});
        slalom::ClassRatios ratios = fit.ratios;
        return std::vector<Tensor>{ratios->log_ratios(class_events(there)[1]).detach()};
      },
      1e-9);
}

/// Log ratios of three simulations of signal and two of background.
slalom::AdaptedSample adapted(std::int64_t n, std::uint64_t seed, const Device& there) {
  const Tensor x = normals(n, 1, seed);
  const Tensor signal = at::cat({0.3 * x, 0.4 * x - 0.1, 0.5 * x}, 1) - 0.05,
               background = at::cat({-0.1 * x, -0.2 * x}, 1);
  return {signal.to(there), background.to(there)};
}

void compare_mixtures(const Device& device) {
  using slalom::MixtureFamily;
  for (const MixtureFamily family : {MixtureFamily::exponential, MixtureFamily::linear}) {
    compare(device, [&](const Device& there) {
      const slalom::AdaptedSample data = adapted(40, 1, there), reference = adapted(60, 2, there);
      const Tensor x = leaf(at::tensor({0.2, 1.0, 1.1, 0.3, 0.4, 0.6}, at::kDouble), there);
      const Tensor logs = leaf(data.signal, there);
      const slalom::AdaptedParameters p = slalom::adapted_parameters(x, 3, 2);
      std::vector<Tensor> result = with_gradients(
          slalom::adapted_loss(p, {logs, data.background}, reference, {.family = family}),
          {x, logs});
      const Tensor r = slalom::adapted_log_ratio(logs, p.signal_weights, family);
      append(result, with_gradients(r + 0.0 * x[0], {x, logs}));
      append(result,
             with_gradients(slalom::adapted_ratio(r.exp(), 1.0 + 0.0 * r, p.kappa), {x, logs}));
      append(result, with_gradients(slalom::symmetrised_mlc_loss(r, -0.5 * r), {x, logs}));
      return result;
    });
  }
  compare_numbers(
      device,
      [](const Device& there) {
        const slalom::MinimizeResult fit =
            slalom::fit_adapted(adapted(200, 1, there), adapted(300, 2, there));
        Numbers result = fit.x;
        result.push_back(fit.value);
        return result;
      },
      1e-6);
  compare_numbers(device, [](const Device& there) {
    const Tensor data =
                     at::cat({adapted(50, 1, there).signal, adapted(50, 1, there).background}, 1),
                 reference =
                     at::cat({adapted(90, 2, there).signal, adapted(90, 2, there).background}, 1);
    const auto normalised = [](const Tensor& l) { return l - l.logsumexp({1}, true); };
    const slalom::LearnedPoints points = slalom::learned_points(
        normalised(data), normalised(reference),
        {.signal_classes = 3, .reference = 60, .calibrate_measure = false, .bootstrap = 4});
    Numbers result = points.signal;
    for (const auto* part : {&points.background, &points.measure, &points.counts}) {
      append(result, *part);
    }
    return result;
  });
}

void compare_two_samples(const Device& device) {
  const EventBatch one = slalom::make_events({"x", "y"}, normals(90, 2, 41), sequence(90)),
                   other = slalom::make_events({"x", "y"}, normals(100, 2, 42, 0.4));
  const slalom::TwoSampleOptions options{
      .hidden = {4}, .steps = 5, .batch_size = 60, .ensemble = 2, .seed = 2};
  compare(
      device,
      [&](const Device& there) {
        const EventBatch a = one.to(there), b = other.to(there);
        slalom::Classifier network = slalom::train_two_sample(a, b, options);
        const slalom::TwoSampleLogits logits = slalom::cross_fitted_logits(a, b, 3, options);
        const at::NoGradGuard no_graph;
        return std::vector<Tensor>{network->outputs(b.features, {}), logits.first, logits.second,
                                   slalom::reweighted(a, network).weights};
      },
      k_single);
  compare_numbers(
      device,
      [&](const Device& there) {
        const EventBatch a = one.to(there), b = other.to(there);
        std::int64_t ndf = 0;
        const double chi2 =
            slalom::shape_chi2(a.column("x"), a.weights, b.column("x"), b.weights, 5, ndf);
        const slalom::SampleComparison closure =
            slalom::compare_samples(a, b, {.bins = 5, .hidden = {4}, .steps = 5});
        Numbers result = closure.chi2;
        append(result, {chi2, static_cast<double>(ndf), closure.auc, closure.auc_error});
        return result;
      },
      k_single);
}

}  // namespace

TEST_CASE("calibrations and figures of scores on a device", "[modules][method_devices][cuda]") {
  on_second_devices(compare_calibrations);
}

TEST_CASE("densities on a device", "[modules][method_devices][cuda]") {
  on_second_devices(compare_densities);
}

TEST_CASE("densities are trained on a device", "[modules][method_devices][cuda]") {
  on_second_devices(compare_density_trainings);
}

TEST_CASE("ratios are trained and calibrated on a device", "[modules][method_devices][cuda]") {
  on_second_devices(compare_ratios);
}

TEST_CASE("PAWS with ratios and events of a device", "[modules][method_devices][cuda]") {
  on_second_devices(compare_paws);
}

TEST_CASE("ratios of many classes on a device", "[modules][method_devices][cuda]") {
  on_second_devices(compare_class_ratios);
}

TEST_CASE("mixtures of simulations on a device", "[modules][method_devices][cuda]") {
  on_second_devices(compare_mixtures);
}

TEST_CASE("two samples on a device", "[modules][method_devices][cuda]") {
  on_second_devices(compare_two_samples);
}
