// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <cmath>
#include <span>

#include "cli/result.hpp"
#include "resonance/search.hpp"
#include "resonance/stage_seeds.hpp"
#include "slalom/core/bump_hunt.hpp"
#include "slalom/core/on_off.hpp"
#include "slalom/core/signal_fraction.hpp"
#include "slalom/modules/calibration.hpp"
#include "slalom/modules/mixture.hpp"
#include "slalom/modules/significance_improvement.hpp"

namespace slalom::resonance {

namespace {

using cli::number_or_null;
using nlohmann::ordered_json;

std::span<const double> span_of(const Tensor& values) {
  return {values.data_ptr<double>(), static_cast<std::size_t>(values.numel())};
}

ordered_json fraction_figures(const SignalFractionLikelihood& likelihood) {
  const SignalFractionFit fit = likelihood.fit();
  ordered_json figures;
  figures["converged"] = fit.converged();
  figures["fraction"] = fit.mu;
  figures["error"] = number_or_null(fit.error);
  if (fit.converged()) {
    const auto narrow = likelihood.interval(fit), wide = likelihood.interval(fit, k_drop_95);
    figures["lower"] = narrow.lower;
    figures["upper"] = narrow.upper;
    figures["lower_95"] = wide.lower;
    figures["upper_95"] = wide.upper;
  }
  figures["q0"] = number_or_null(fit.q0);
  figures["z"] = number_or_null(fit.z);
  return figures;
}

}  // namespace

void Search::add_improvement(StageOutput& output, const Tensor& score) const {
  if (!data_.has_truth()) return;
  const auto signal = (data_.region.labels == 1).sum().item<std::int64_t>();
  if (signal == 0) return;
  SignificanceImprovementOptions options;
  options.points = 40;
  const SignificanceImprovementCurve curve =
      significance_improvement(score, data_.region.labels, {}, options);
  ordered_json& figures = output.figures["sic"];
  figures["max"] = curve.best.value;
  figures["error"] = number_or_null(curve.best.error);
  figures["signal_efficiency"] = curve.best.signal_efficiency;
  figures["background_efficiency"] = curve.best.background_efficiency;
  figures["curve"] = ordered_json::array();
  for (const SignificanceImprovement& point : curve.points) {
    figures["curve"].push_back({point.signal_efficiency, point.value, number_or_null(point.error)});
  }
}

std::vector<double> Search::signal_spectrum(const Tensor& log_ratio, double fraction) const {
  const Tensor share = signal_probability(log_ratio, at::full({}, fraction, at::kDouble));
  const std::vector<double> all = mass_spectrum({}).second,
                            without = mass_spectrum(1.0 - share).second;
  std::vector<double> result;
  for (std::size_t i = 0; i < all.size(); ++i) result.push_back(all[i] - without[i]);
  return result;
}

StageOutput Search::ranode(const StageProgress& progress) const {
  StageOutput result;
  const Tensor z = transformed(data_.region).to(at::kFloat);
  const std::vector<double>& fractions = options_.ranode.scan;
  // One joint fit takes about as long as one point of the scan.
  const auto parts = static_cast<std::int64_t>(fractions.size()) + 1;
  const RanodeOptions joint_options =
      ranode_options(stage_seed(options_, k_of_ranode), [&](std::int64_t done, std::int64_t all) {
        return !progress || progress(done, parts * all);
      });
  const RanodeFit joint = fit_ranode(z, log_background_, joint_options);
  result.figures["joint"] =
      fraction_figures(SignalFractionLikelihood(span_of(joint.signal.log_ratio)));
  result.figures["joint"]["in_sample"] = joint.signal.fractions;
  result.tensors["score"] = joint.signal.log_ratio;
  result.figures["spectrum"] = signal_spectrum(joint.signal.log_ratio, joint.fit.mu);
  add_improvement(result, joint.signal.log_ratio);
  if (!fractions.empty()) {
    const RanodeOptions scan_options =
        ranode_options(stage_seed(options_, k_of_scan), [&](std::int64_t done, std::int64_t all) {
          const std::int64_t one = all / static_cast<std::int64_t>(fractions.size());
          return !progress || progress(one + done, one + all);
        });
    const RanodeScan scan =
        scan_ranode(z, log_background_, fractions, scan_options, options_.ranode.bootstraps);
    ordered_json& figures = result.figures["scan"];
    figures["fraction"] = scan.best;
    figures["largest"] = scan.largest;
    figures["lower"] = scan.lower;
    figures["upper"] = scan.upper;
    figures["lower_95"] = scan.lower_95;
    figures["upper_95"] = scan.upper_95;
    figures["upper_reached"] = scan.upper_reached;
    figures["q0"] = scan.q0;
    figures["z"] = scan.z;
    figures["fractions"] = scan.fraction;
    figures["gain"] = scan.gain;
    figures["gain_error"] = scan.error;
    result.tensors["scan_score"] = scan.log_ratio;
  }
  return result;
}

StageOutput Search::score_figures(const Tensor& region, const Tensor& reference) const {
  StageOutput result;
  const double threshold = score_threshold(reference, options_.background_efficiency);
  const auto on = static_cast<double>((region > threshold).sum().item<std::int64_t>()),
             off = static_cast<double>((reference > threshold).sum().item<std::int64_t>());
  const double tau = static_cast<double>(reference.size(0)) / static_cast<double>(region.size(0));
  const OnOffResult count = count_on_off(on, off, tau);
  result.figures["threshold"] = threshold;
  result.figures["observed"] = on;
  result.figures["background"] = count.background;
  result.figures["q0"] = count.q0;
  result.figures["z"] = count.z;
  add_improvement(result, region);
  result.tensors["score"] = region;
  result.tensors["passes"] = (region > threshold).to(at::kDouble);
  return result;
}

StageOutput Search::anomaly_detector(const StageProgress& progress) const {
  const ScoreRunOptions& run = options_.anomaly_detector;
  if (progress) progress(0, 1);
  const TwoSampleLogits logits = cross_fitted_logits(
      transformed_events(reference_), transformed_events(transformed(data_.region)), run.folds,
      two_sample_options(run, stage_seed(options_, k_of_detector)));
  return score_figures(logits.second, logits.first);
}

TwoSampleOptions Search::two_sample_options(const ScoreRunOptions& run, std::uint64_t seed) {
  TwoSampleOptions result;
  result.hidden = run.hidden;
  result.steps = run.steps;
  result.batch_size = run.batch_size;
  result.learning_rate = run.learning_rate;
  result.weight_decay = run.weight_decay;
  result.ensemble = run.ensemble;
  result.seed = seed;
  return result;
}

StageOutput Search::supervised(const StageProgress& progress) const {
  const ScoreRunOptions& run = options_.supervised;
  if (progress) progress(0, 1);
  const std::uint64_t seed = stage_seed(options_, k_of_supervised);
  // Signal as it is injected, where that is known; half of the reference to train with.
  EventBatch signal = data_.simulated;
  if (problem_) {
    signal = problem_->signal(data_.simulated.size(), at::tensor(data_.truth, at::kDouble), seed);
    signal = signal.select(transform_.ptr()->inside(signal.matrix(data_.features())));
  }
  const EventBatch fresh = signal.select(at::arange(signal.size() / 2, signal.size(), at::kLong));
  signal = signal.select(at::arange(signal.size() / 2, at::kLong));
  const Tensor train = reference_.slice(0, 0, reference_.size(0) / 2).contiguous(),
               rest = reference_.slice(0, reference_.size(0) / 2).contiguous();
  const Classifier network =
      train_two_sample(transformed_events(train), transformed_events(transformed(signal)),
                       two_sample_options(run, seed));
  const at::NoGradGuard no_graph;
  const auto logit = [&](const Tensor& z) {
    return network.ptr()->outputs(z.to(at::kFloat), {}).squeeze(1).to(at::kDouble);
  };
  const Tensor region = logit(transformed(data_.region)), background = logit(rest);
  StageOutput result = score_figures(region, background);
  // As a ratio: calibrated with events that the network has not seen.
  const Tensor signal_logit = logit(transformed(fresh));
  const PlattCalibration platt = platt_calibration(
      at::cat({signal_logit, background}), at::cat({at::ones({signal_logit.size(0)}, at::kLong),
                                                    at::zeros({background.size(0)}, at::kLong)}));
  // Divided by its mean over the background, as the ratio of PAWS is.
  const Tensor log_mean = at::logsumexp(platt(background).to(at::kDouble), {0}) -
                          std::log(static_cast<double>(background.size(0)));
  const Tensor log_ratio = (platt(region).to(at::kDouble) - log_mean).contiguous();
  result.figures["fit"] = fraction_figures(SignalFractionLikelihood(span_of(log_ratio)));
  return result;
}

StageOutput Search::paws(const StageProgress& progress) const {
  const PawsRunOptions& run = options_.paws;
  const std::uint64_t seed = stage_seed(options_, k_of_paws);
  // Events to train with, and others to calibrate with.
  const auto parts = [](const Tensor& all, double share) {
    const std::int64_t n = std::llround(share * static_cast<double>(all.size(0)));
    return std::pair(all.slice(0, 0, n).contiguous(), all.slice(0, n).contiguous());
  };
  constexpr double k_train = 0.4;
  const auto [signal, fresh_signal] = parts(transformed(data_.simulated), k_train);
  const auto [theta, fresh_theta] = parts(data_.theta, k_train);
  const auto [background, fresh_background] = parts(reference_, k_train);
  MlpOptions network;
  network.inputs = signal.size(1);
  network.hidden = run.hidden;
  network.activation = Activation::silu;
  network.seed = seed;
  network.parameters = data_.parameters;
  PolynomialRatio polynomial(network, run.degree);
  polynomial->fit_normalisation(at::cat({signal, background}).to(at::kFloat));
  RatioTraining training;
  training.steps = run.steps;
  training.learning_rate = run.learning_rate;
  constexpr std::int64_t k_reports = 20;
  training.report_every = std::max<std::int64_t>(run.steps / k_reports, 1);
  training.progress = [&](std::int64_t step, double) {
    return !progress || progress(step, run.steps);
  };
  const double loss = train_ratio(
      *polynomial, batches_from_samples(signal, theta, background, run.batch_size, seed), training);
  ParameterisedRatio ratio(as_classifier(polynomial.ptr()), data_.parameters);
  const std::int64_t batches = std::max<std::int64_t>(fresh_background.size(0) / run.batch_size, 1);
  calibrate(*ratio,
            batches_from_samples(fresh_signal, fresh_theta, fresh_background, run.batch_size, seed),
            batches);
  // Divided by its mean over the background at each theta: whatever is wrong with the ratio then
  // makes no signal where there is none.
  const PawsRatios ratios({ratio}, fresh_background);
  const Tensor region = transformed(data_.region);
  PawsOptions fit_options;
  fit_options.mu_upper = 0.5;
  fit_options.starts = run.starts;
  const PawsLikelihood likelihood(ratios, region);
  PawsFit fit = likelihood.fit(fit_options);
  StageOutput result = paws_figures(likelihood, fit, fit_options);
  result.figures["loss"] = loss;
  result.figures["mean_error"] = ratios.mean_error(fit.theta);
  if (problem_ && fit.converged() && fit.mu > 0.0) {
    result.figures["corrected"] = corrected_figures(ratios, fit, fresh_background, fit_options);
  }
  if (run.toys > 0) {
    PawsToyOptions toys;
    toys.n_toys = static_cast<std::size_t>(run.toys);
    toys.seed = seed;
    toys.fit = fit_options;
    // Toys of the background that the ratio was not trained with, as many events as the data have.
    const ToyProbability p = paws_p_value(
        run_paws_toys(
            ratios, bootstrap_sampler(fresh_background, static_cast<double>(region.size(0))), toys),
        fit.q0);
    result.figures["p_value"] = p.value;
    result.figures["p_value_error"] = p.error;
  }
  return result;
}

ordered_json Search::corrected_figures(const PawsRatios& ratios, const PawsFit& fit,
                                       const Tensor& background, const PawsOptions& options) const {
  const std::uint64_t seed = stage_seed(options_, k_of_correction);
  const EventBatch signal =
      problem_->signal(background.size(0), at::tensor(fit.theta, at::kDouble), seed);
  const Tensor inside =
      transformed(signal.select(transform_.ptr()->inside(signal.matrix(data_.features()))));
  const PawsFit corrected = correct_paws(ratios, fit, inside, background, options).fit;
  ordered_json result;
  result["fraction"] = corrected.mu;
  result["error"] = number_or_null(corrected.mu_error);
  result["theta"] = theta_figures(corrected);
  return result;
}

ordered_json Search::theta_figures(const PawsFit& fit) const {
  ordered_json result;
  for (std::size_t k = 0; k < fit.theta.size(); ++k) {
    ordered_json& theta = result[data_.parameters[k].name];
    theta["value"] = fit.theta[k];
    theta["error"] = number_or_null(fit.theta_errors[k]);
    if (k < data_.truth.size()) theta["truth"] = data_.truth[k];
  }
  return result;
}

StageOutput Search::paws_figures(const PawsLikelihood& likelihood, PawsFit& fit,
                                 const PawsOptions& options) const {
  StageOutput result;
  ordered_json& figures = result.figures;
  figures["converged"] = fit.converged();
  if (!fit.converged()) figures["message"] = fit.message;
  figures["fraction"] = fit.mu;
  figures["error"] = number_or_null(fit.mu_error);
  if (fit.converged()) {
    const SignalFractionInterval narrow = paws_interval(likelihood, fit, k_drop_68, options),
                                 wide = paws_interval(likelihood, fit, k_drop_95, options);
    figures["lower"] = narrow.lower;
    figures["upper"] = narrow.upper;
    figures["lower_95"] = wide.lower;
    figures["upper_95"] = wide.upper;
  }
  figures["q0"] = fit.q0;
  figures["z"] = fit.z;
  figures["theta"] = theta_figures(fit);
  const Tensor score = at::tensor(likelihood.log_ratio(fit.theta), at::kDouble);
  figures["spectrum"] = signal_spectrum(score, fit.mu);
  add_improvement(result, score);
  result.tensors["score"] = score;
  return result;
}

StageOutput Search::bump_hunt() const {
  const BumpHuntRunOptions& run = options_.bump_hunt;
  StageOutput result;
  const auto [edges, counts] = mass_spectrum({});
  BumpHuntOptions hunt;
  hunt.background.parameters = static_cast<std::size_t>(run.parameters);
  hunt.mass = run.mass;
  hunt.width = run.width;
  const BumpHuntResult bump = hunt_bump(edges, counts, hunt);
  ordered_json& figures = result.figures;
  figures["converged"] = bump.converged;
  if (!bump.converged) figures["message"] = bump.message;
  figures["signal"] = bump.signal;
  figures["signal_error"] = number_or_null(bump.signal_error);
  figures["q0"] = bump.q0;
  figures["z"] = bump.z;
  figures["background_p_value"] = bump.background.p_value;
  if (bump.upper_limit) figures["upper_limit"] = *bump.upper_limit;
  figures["edges"] = edges;
  figures["counts"] = counts;
  // Of the sidebands alone: what a spectrum of any method is shown with.
  figures["sideband_background"] = bump.sidebands.expected;
  figures["sideband_background_error"] = bump.sidebands.error;
  figures["background"] = bump.background_with_signal;
  figures["total"] = bump.total;
  figures["window"] = {bump.window.low, bump.window.high};
  return result;
}

std::pair<std::vector<double>, std::vector<double>> Search::mass_spectrum(
    const Tensor& region_weights) const {
  const auto bins = static_cast<std::size_t>(options_.bump_hunt.bins);
  const double low = options_.data.mass_low, high = options_.data.mass_high;
  std::vector<double> edges, counts(bins, 0.0);
  for (std::size_t i = 0; i <= bins; ++i) {
    edges.push_back(low + (high - low) * static_cast<double>(i) / static_cast<double>(bins));
  }
  const auto fill = [&](const EventBatch& events, const Tensor& weights) {
    const Tensor mass = events.column(options_.data.mass).to(at::kDouble).contiguous();
    for (std::int64_t i = 0; i < mass.size(0); ++i) {
      const double place =
          (mass.data_ptr<double>()[i] - low) / (high - low) * static_cast<double>(bins);
      const auto bin = std::min(static_cast<std::size_t>(std::max(place, 0.0)), bins - 1);
      counts[bin] += weights.defined() ? weights.data_ptr<double>()[i] : 1.0;
    }
  };
  fill(data_.sidebands, {});
  fill(data_.region, region_weights);
  return {edges, counts};
}

StageOutput Search::exact() const {
  StageOutput result;
  const Tensor x = data_.region.matrix(data_.features());
  const Tensor ratio = (problem_->log_signal(x, at::tensor(data_.truth, at::kDouble)) -
                        problem_->log_background(x, data_.region.column(options_.data.mass)))
                           .contiguous();
  result.figures = fraction_figures(SignalFractionLikelihood(span_of(ratio)));
  add_improvement(result, ratio);
  result.tensors["score"] = ratio;
  return result;
}

}  // namespace slalom::resonance
