// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/repeat_interleave.h>
#include <ATen/ops/stack.h>
#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "experiment/bootstrap.hpp"
#include "experiment/data.hpp"
#include "experiment/inference.hpp"
#include "experiment/learning.hpp"
#include "experiment/stages.hpp"
#include "experiment/state.hpp"
#include "experiment/to_vector.hpp"
#include "slalom/core/fit.hpp"
#include "slalom/core/interval.hpp"
#include "slalom/core/model.hpp"
#include "slalom/modules/diagnostics.hpp"

namespace slalom {

using experiment::to_vector;

namespace {

/// Guards of the result.
constexpr double k_few_entries = 20.0;
constexpr double k_over_constrained = 0.2;
constexpr double k_soft_hard = 0.05;

std::vector<std::vector<double>> to_rows(const Tensor& matrix) {
  std::vector<std::vector<double>> rows;
  for (std::int64_t k = 0; k < matrix.size(0); ++k) rows.push_back(to_vector(matrix[k]));
  return rows;
}

/// Events [begin, end), in order.
EventBatch part_of(const EventBatch& events, std::int64_t begin, std::int64_t end) {
  return events.select(at::arange(begin, end, events.weights.options().dtype(at::kLong)));
}

/// All parameters but that of interest, held.
FitOptions held_nuisances(const ModelSpec& spec) {
  FitOptions options;
  for (std::size_t p = 0; p < spec.parameters.size(); ++p) {
    if (p != *spec.poi && !spec.parameters[p].fixed) {
      options.fixed.emplace_back(p, spec.parameters[p].init);
    }
  }
  return options;
}

double number(const ProfileLoss& figure, const Templates& templates) {
  return figure(templates).item<double>();
}

/// Nothing if a fit does not converge.
std::optional<double> number_of_fits(const Likelihood& likelihood,
                                     const ProfileLossOptions& options,
                                     const Templates& templates) {
  try {
    return number(ProfileLoss(likelihood, options), templates);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::numerical) throw;
    return std::nullopt;
  }
}

}  // namespace

Tensor Experiment::State::hard_sums(Pipeline& pipeline, const EventBatch& events, bool soft,
                                    const ThetaPoint& point, const Tensor& theta) const {
  const at::NoGradGuard no_graph;
  Tensor total;
  const std::int64_t chunk = options.evaluation.chunk;
  for (std::int64_t begin = 0; begin < events.size(); begin += chunk) {
    const std::int64_t end = std::min(begin + chunk, events.size());
    const bool whole = begin == 0 && end == events.size();
    const EventBatch part = whole ? events : part_of(events, begin, end);
    Tensor sums;
    if (point.nuisance >= 0) {
      sums = pipeline->yields_at(part, place_of(point), !soft, theta);
    } else {
      sums = soft ? pipeline->yields(part, theta) : pipeline->hard_yields(part, theta);
    }
    total = total.defined() ? total + sums : sums;
  }
  return total;
}

/// Of the information of a linear summary's outputs.
double Experiment::State::sigma_at(const EventBatch& events, const ThetaPoint& point) const {
  const at::NoGradGuard no_graph;
  const Tensor information =
      linear_information(moments_of(classifier, events, point), prior, options.summary.ridge);
  return std::exp(log_uncertainty(information).item<double>());
}

/// At the first mu.
double Experiment::State::sigma_of(const Pipeline& pipeline, const Tensor& sums) const {
  const at::NoGradGuard no_graph;
  const ProfileLossOptions figure{.figure = Figure::sigma, .mu = options.evaluation.mu.front()};
  return number(ProfileLoss(pipeline->likelihood(), figure), templates_of(pipeline, sums));
}

HardFigures Experiment::State::figures_of(const Pipeline& pipeline, const Tensor& sums) const {
  const at::NoGradGuard no_graph;
  const Likelihood& likelihood = pipeline->likelihood();
  const Templates templates = templates_of(pipeline, sums);
  const FitOptions held = held_nuisances(likelihood.spec());
  HardFigures result;
  for (const double mu : options.evaluation.mu) {
    ProfileLossOptions figure{.figure = Figure::sigma, .mu = mu};
    result.sigma.push_back(number(ProfileLoss(likelihood, figure), templates));
    figure.fit = held;
    result.stat.push_back(number(ProfileLoss(likelihood, figure), templates));
  }
  const double mu = options.evaluation.mu.front() > 0.0 ? options.evaluation.mu.front() : 1.0;
  result.log_cls = number_of_fits(likelihood, {.figure = Figure::log_cls, .mu = mu}, templates);
  result.z = number_of_fits(likelihood, {.figure = Figure::minus_z, .mu = mu}, templates);
  if (result.z) result.z = -*result.z;
  return result;
}

/// The stages that are evaluated. Those of a linear summary get their edges here.
Pipeline Experiment::State::finished(const Classifier& network) {
  if (!linear()) {
    return network.ptr() == classifier.ptr()
               ? stages
               : experiment::make_pipeline(options, data, variations, network);
  }
  const at::NoGradGuard no_graph;
  // Edges from twice as many events lie better: those of the validation are used as well.
  const bool both = data.validation.features.defined();
  const EventBatch events = both ? concatenate({data.train, data.validation}) : data.train;
  Tensor weights, slopes;
  const Tensor outputs = entries_of(
      network, both ? events.with_weights(0.5 * events.weights) : events, {}, weights, slopes);
  const Tensor coefficients = efficient_score_coefficients(linear_moments(outputs, weights, slopes),
                                                           prior, 0, options.summary.ridge);
  const Tensor score = efficient_score(outputs, coefficients);
  const std::vector<double> inner = to_vector(
      find_edges(score, weights, slopes, prior,
                 {.bins = options.summary.bins, .min_effective = options.summary.min_effective}));
  // Bins beyond the outermost inner edges are open: their ends are for drawing.
  const double low = std::min(score.min().item<double>(), inner.front() - 1.0);
  const double high = std::max(score.max().item<double>(), inner.back() + 1.0);
  std::vector<double> edges{low};
  edges.insert(edges.end(), inner.begin(), inner.end());
  edges.push_back(high);
  const auto scored = std::make_shared<experiment::EfficientScoreImpl>(
      experiment::observable(options, network), coefficients);
  return experiment::make_pipeline(options, data, variations, as_classifier(scored), edges);
}

namespace {

void fit_published(const Workspace& workspace, const std::string& measurement,
                   ExperimentResult& result) {
  ModelOptions options;
  options.measurement = measurement;
  const Model model(make_model_spec(workspace, options));
  Fitter fitter(model);
  FitResult best = fitter.fit();
  result.fit_message = best.message;
  if (!best.converged()) {
    result.warnings.push_back(
        {"the fit of the workspace did not converge: " + best.message, "fit"});
    return;
  }
  const std::size_t poi = *model.spec().poi;
  result.mu_hat = best.parameters[poi];
  result.mu_error = fitter.errors(best)[poi];
  const Interval interval = profile_interval(fitter, best, poi);
  if (interval.lower.converged) result.minos_low = interval.lower.value;
  if (interval.upper.converged) result.minos_high = interval.upper.value;
}

void describe_stages(const Pipeline& pipeline, ExperimentResult& result) {
  if (!pipeline->histogram.is_empty()) result.edges = to_vector(pipeline->histogram->edges());
  if (pipeline->selection.is_empty()) return;
  for (std::size_t c = 0; c < pipeline->selection->options().cuts.size(); ++c) {
    result.thresholds.push_back(pipeline->selection->threshold(c).item<double>());
  }
}

void warn(const ExperimentOptions& options, ExperimentResult& result) {
  for (std::size_t b = 0; b < result.effective_entries.size(); ++b) {
    if (result.effective_entries[b] >= k_few_entries) continue;
    result.warnings.push_back(
        {fmt::format("the background of bin {} is worth {:.3g} simulated events", b,
                     result.effective_entries[b]),
         "summary"});
  }
  for (std::size_t i = 0; i < result.nuisances.size(); ++i) {
    const NuisanceResult& nuisance = result.nuisances[i];
    if (!options.nuisances[i].prior || nuisance.constraint > k_over_constrained) continue;
    result.warnings.push_back(
        {fmt::format("the data would constrain it to {:.3g} of its prior", nuisance.constraint),
         nuisance.name});
  }
  if (!result.test.log_cls || !result.test.z) {
    result.warnings.push_back(
        {"a fit for the expected CLs or significance did not converge", "fit"});
  }
  const double soft = result.soft.sigma.front(), hard = result.test.sigma.front();
  if (std::abs(soft / hard - 1.0) > k_soft_hard) {
    result.warnings.push_back(
        {fmt::format("sigma(mu) is {:.4g} with soft and {:.4g} with hard bins", soft, hard),
         "summary"});
  }
}

}  // namespace

/// What the result is computed from: sums over events, which can be those of several folds.
struct EvaluationSums {
  Tensor before, test, soft, train;
  std::vector<Tensor> bootstraps;  // of test
  std::vector<Tensor> at;          // of test events at each theta of the evaluation
  Tensor totals;                   // weights of all test events [samples]
};

namespace {

void add(Tensor& total, const Tensor& part) {
  total = total.defined() ? total + part : part.clone();
}

}  // namespace

/// Adds what one training says about its test events.
Pipeline Experiment::State::evaluate_into(EvaluationSums& sums) {
  if (!best.tensors.empty()) load_tensors(trained(), best.tensors);
  Pipeline untrained = finished(experiment::make_classifier(options, data));
  add(sums.before, hard_sums(untrained, data.test));
  Pipeline pipeline = finished(classifier);
  add(sums.test, hard_sums(pipeline, data.test));
  std::vector<Tensor> totals;
  for (const std::string& sample : pipeline->samples()) {
    const Tensor mask = data.test.process == data.test.process_index(sample);
    totals.push_back(data.test.weights.masked_select(mask).sum());
  }
  add(sums.totals, at::stack(totals));
  add(sums.soft, hard_sums(pipeline, data.test, true));
  add(sums.train, hard_sums(pipeline, data.train));
  sums.at.resize(linear() ? 0 : options.evaluation.at.size());
  for (std::size_t k = 0; k < sums.at.size(); ++k) {
    add(sums.at[k], sums_there(pipeline, options.evaluation.at[k]));
  }
  sums.bootstraps.resize(static_cast<std::size_t>(options.evaluation.bootstrap));
  for (std::size_t b = 0; b < sums.bootstraps.size(); ++b) {
    const Tensor counts = experiment::bootstrap_counts(data.test_ids, options.data.seed,
                                                       static_cast<std::int64_t>(b));
    // Copies, not multiplied weights: n of them add n squared weights, and not n squared.
    const Tensor copies = at::repeat_interleave(counts.to(at::kLong));
    add(sums.bootstraps[b],
        hard_sums(pipeline, data.test.select(copies.to(data.test.weights.device()))));
  }
  return pipeline;
}

ExperimentResult Experiment::State::result_of(const Pipeline& pipeline,
                                              const EvaluationSums& sums) {
  ExperimentResult result;
  result.steps = step;
  result.stopped_early = stopped;
  result.best_step = best.step;
  result.mu = options.evaluation.mu;
  result.before = figures_of(pipeline, sums.before);
  result.test = figures_of(pipeline, sums.test);
  result.soft = figures_of(pipeline, sums.soft);
  result.train = figures_of(pipeline, sums.train);
  for (const Tensor& bootstrap : sums.bootstraps) {
    result.bootstrap_sigma.push_back(sigma_of(pipeline, bootstrap));
  }
  for (std::size_t k = 0; k < options.evaluation.at.size(); ++k) {
    const double theta = options.evaluation.at[k];
    result.at.push_back(
        {options.learning.parameters.front().name, theta,
         linear() ? sigma_at(data.test, first_point(theta)) : sigma_of(pipeline, sums.at[k])});
  }
  result.samples = pipeline->samples();
  result.yields = to_rows(sums.test.select(1, 0).select(1, 0));
  result.soft_yields = to_rows(sums.soft.select(1, 0).select(1, 0));
  if (!pipeline->selection.is_empty()) {
    result.efficiencies = to_vector(sums.test.select(1, 0).select(1, 0).sum(1) / sums.totals);
  }
  describe_stages(pipeline, result);
  describe_samples(pipeline, sums.test, result);
  const Workspace frame = experiment::make_workspace(
      options, data, variations, static_cast<std::int64_t>(result.yields.front().size()));
  workspace = export_workspace(frame, pipeline->likelihood(), templates_of(pipeline, sums.test));
  if (options.evaluation.fit) fit_published(*workspace, options.model.measurement, result);
  warn(options, result);
  return result;
}

/// Effective entries of the background, and what the nuisance parameters do.
void Experiment::State::describe_samples(const Pipeline& pipeline, const Tensor& test,
                                         ExperimentResult& result) const {
  std::int64_t signal = 0;
  Tensor sumw, sumw2;
  for (std::size_t k = 0; k < result.samples.size(); ++k) {
    const auto row = static_cast<std::int64_t>(k);
    if (result.samples[k] == options.data.signal) {
      signal = row;
      continue;
    }
    add(sumw, test[row][0][0]);
    add(sumw2, test[row][0][1]);
  }
  if (sumw.defined()) result.effective_entries = to_vector(effective_entries(sumw, sumw2));
  const auto constraints = parameter_constraints(
      pipeline->likelihood(), templates_of(pipeline, test), options.evaluation.mu.front());
  for (std::size_t v = 0; v < variations.size(); ++v) {
    NuisanceResult nuisance{.name = variations[v].name};
    for (const ParameterConstraint& c : constraints) {
      if (c.name != nuisance.name) continue;
      nuisance.constraint = c.ratio;
      nuisance.impact = c.impact;
    }
    for (std::size_t k = 0; k < result.samples.size(); ++k) {
      const Tensor sample = test[static_cast<std::int64_t>(k)];
      const auto column = static_cast<std::int64_t>(1 + 2 * v);
      nuisance.one_sided += one_sided_events(test[signal][0][0], sample[0][0], sample[column][0],
                                             sample[column + 1][0])
                                .item<double>();
    }
    result.nuisances.push_back(nuisance);
  }
}

experiment::InferencePart Experiment::State::inference_part() const {
  experiment::InferencePart part{stages, data.test, data.test_ids, data.train, data.validation};
  if (!linear()) return part;
  part.linear = [this](const EventBatch& reference, std::size_t nuisance) -> Observable::Pair {
    Tensor weights, slopes;
    const Tensor outputs = entries_of(classifier, reference, {}, weights, slopes);
    const LinearMoments moments = linear_moments(outputs, weights, slopes);
    const auto coefficients = [&](std::size_t parameter) {
      return efficient_score_coefficients(moments, prior, static_cast<std::int64_t>(parameter),
                                          options.summary.ridge);
    };
    return [network = classifier, names = options.classifier.features, mu = coefficients(0),
            other = coefficients(1 + nuisance)](const EventBatch& events) {
      const at::NoGradGuard no_graph;
      const Tensor t =
          network.ptr()->outputs(names.empty() ? events.features : events.matrix(names), {});
      return LogitSlope{efficient_score(t, mu), efficient_score(t, other)};
    };
  };
  return part;
}

ExperimentResult Experiment::evaluate() {
  State& s = *state_;
  EvaluationSums sums;
  Pipeline pipeline = s.evaluate_into(sums);
  ExperimentResult result = s.result_of(pipeline, sums);
  s.describe_learning(pipeline, result);
  result.signal_yield =
      s.data.test.weights.masked_select(s.data.test.labels == 1).sum().item<double>();
  s.stages = pipeline;
  result.inferences = experiment::run_inferences(s.options, s.variations, {s.inference_part()});
  return result;
}

namespace {

/// Means over folds of what is said of each network.
void average_learning(const std::vector<ExperimentResult>& folds, ExperimentResult& result) {
  const double share = 1.0 / static_cast<double>(folds.size());
  result.auc = folds.front().auc;
  for (std::size_t k = 0; k < result.auc.size(); ++k) {
    double auc = 0.0, frozen = 0.0;
    for (const ExperimentResult& fold : folds) {
      auc += share * fold.auc[k].auc;
      frozen += share * fold.auc[k].frozen.value_or(0.0);
    }
    result.auc[k].auc = auc;
    if (result.auc[k].frozen) result.auc[k].frozen = frozen;
  }
  result.adversary = folds.front().adversary;
  if (!result.adversary) return;
  result.adversary->loss = 0.0;
  for (const ExperimentResult& fold : folds) result.adversary->loss += share * fold.adversary->loss;
}

}  // namespace

ExperimentResult evaluate_folds(std::vector<Experiment>& folds,
                                std::optional<Workspace>& workspace) {
  if (folds.empty()) throw Error(ErrorKind::usage, "there are no folds", "evaluate_folds");
  EvaluationSums sums;
  Pipeline pipeline{nullptr};
  double yield = 0.0;
  std::vector<experiment::InferencePart> parts;
  std::vector<ExperimentResult> learned(folds.size());
  for (std::size_t k = 0; k < folds.size(); ++k) {
    Experiment::State& s = *folds[k].state_;
    pipeline = s.evaluate_into(sums);
    s.describe_learning(pipeline, learned[k]);
    yield += s.data.test.weights.masked_select(s.data.test.labels == 1).sum().item<double>();
    s.stages = pipeline;
    parts.push_back(s.inference_part());
  }
  sums.train = sums.train / static_cast<double>(folds.size());
  Experiment::State& last = *folds.back().state_;
  ExperimentResult result = last.result_of(pipeline, sums);
  result.signal_yield = yield;
  average_learning(learned, result);
  workspace = last.workspace;
  result.inferences = experiment::run_inferences(last.options, last.variations, std::move(parts));
  return result;
}

const Workspace& Experiment::workspace() const {
  if (!state_->workspace) {
    throw Error(ErrorKind::usage, "the experiment has not been evaluated", "workspace");
  }
  return *state_->workspace;
}

}  // namespace slalom
