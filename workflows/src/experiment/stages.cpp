// SPDX-License-Identifier: Apache-2.0
#include "experiment/stages.hpp"

#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>
#include <algorithm>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/suggest.hpp"
#include "experiment/data.hpp"
#include "experiment/learning.hpp"
#include "slalom/core/json.hpp"
#include "slalom/core/patch.hpp"
#include "slalom/modules/linear_summary.hpp"
#include "slalom/modules/tensor_files.hpp"
#include "slalom/workflows/problem.hpp"

namespace slalom::experiment {

namespace {

[[noreturn]] void fail(const std::string& message, const std::string& where) {
  throw Error(ErrorKind::usage, message, where);
}

/// Errors of what is built from options get the place of these; those of files keep their own.
template <class Build>
auto at_place(const std::string& where, const Build& build) {
  try {
    return build();
  } catch (const Error& error) {
    const bool of_file = error.kind() == ErrorKind::io || error.kind() == ErrorKind::patch;
    if (of_file || error.where().rfind("/classifier", 0) == 0) throw;
    throw Error(error.kind(), error.message(), where);
  }
}

const std::vector<std::string>& features_of(const ExperimentOptions& options,
                                            const ExperimentData& data) {
  const auto& chosen = options.classifier.features;
  return chosen.empty() ? data.train.columns : chosen;
}

void check_column(const std::string& column, const ExperimentData& data, bool score,
                  const std::string& where) {
  const auto& columns = data.train.columns;
  if (score && column == "score") return;
  if (std::find(columns.begin(), columns.end(), column) != columns.end()) return;
  fail(fmt::format("there is no column '{}'{}", column, cli::did_you_mean(column, columns)), where);
}

void check_columns(const ExperimentOptions& options, const ExperimentData& data) {
  const auto& features = options.classifier.features;
  for (std::size_t i = 0; i < features.size(); ++i) {
    check_column(features[i], data, false, fmt::format("/classifier/features/{}", i));
  }
  const auto& cuts = options.selection.cuts;
  for (std::size_t i = 0; i < cuts.size(); ++i) {
    check_column(cuts[i].column, data, true, fmt::format("/selection/cuts/{}/column", i));
  }
  const auto& axes = options.summary.columns;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    check_column(axes[i], data, true, fmt::format("/summary/columns/{}", i));
  }
}

Classifier make_mlp(const ExperimentOptions& options, const ExperimentData& data,
                    std::int64_t member) {
  const auto& features = features_of(options, data);
  MlpOptions network = options.classifier.network;
  network.inputs = static_cast<std::int64_t>(features.size());
  // Members of an ensemble are far apart, whatever the seeds of neighbouring experiments are.
  network.seed = options.seed + (static_cast<std::uint64_t>(member) << 32U);
  if (options.summary.type != SummaryKind::histogram) network.score = Score::linear;
  if (knows_theta(options)) {
    for (const LearningParameter& parameter : options.learning.parameters) {
      network.parameters.push_back({parameter.name, parameter.low, parameter.high});
    }
  }
  const Tensor seen = data.train.matrix(features).to(at::kCPU);
  if (options.classifier.type == ClassifierKind::two_networks) {
    TwoNetworks two(network, 0, options.classifier.threshold);
    if (options.classifier.normalise) two->fit_normalisation(seen);
    return as_classifier(two.ptr());
  }
  Mlp mlp(network);
  if (options.classifier.normalise) mlp->fit_normalisation(seen);
  return as_classifier(mlp.ptr());
}

/// The exact log ratio, of features and of theta of the learning parameters if it is to know them.
Classifier make_exact(const ExperimentOptions& options) {
  const Problem problem = make_problem(options.data.problem);
  std::vector<std::int64_t> places;  // of the learning parameters among the variations
  for (const std::size_t p : learning_places(options)) {
    const NuisanceOptions& nuisance = options.nuisances[p];
    const std::string& name = nuisance.variation.empty() ? nuisance.name : nuisance.variation;
    const auto found = std::find_if(problem.variations.begin(), problem.variations.end(),
                                    [&](const Variation& v) { return v.name == name; });
    places.push_back(found - problem.variations.begin());
  }
  const auto count = static_cast<std::int64_t>(problem.variations.size());
  const auto outputs = [ratio = problem.log_ratio, places, count](const Tensor& features,
                                                                  const Tensor& theta) {
    if (!theta.defined()) return ratio(features, {});
    std::vector<Tensor> all(static_cast<std::size_t>(count), at::zeros_like(theta.select(-1, 0)));
    for (std::size_t p = 0; p < places.size(); ++p) {
      all[static_cast<std::size_t>(places[p])] = theta.select(-1, static_cast<std::int64_t>(p));
    }
    return ratio(features, at::stack(all, -1));
  };
  const bool bins = options.summary.type == SummaryKind::histogram;
  return as_classifier(std::make_shared<FunctionClassifierImpl>(
      outputs, bins ? Score::sigmoid : Score::linear, false));
}

/// Of the weights that an experiment leaves, those of the classifier, under its own names.
NamedTensors classifier_weights(const NamedTensors& all) {
  NamedTensors result;
  for (const auto& [name, tensor] : all) {
    for (const std::string prefix :
         {"classifier.network.network.", "classifier.network.", "classifier."}) {
      if (name.rfind(prefix, 0) != 0) continue;
      if (name != "classifier.coefficients") result[name.substr(prefix.size())] = tensor;
      break;
    }
  }
  return result;
}

Json modifiers_of(const ExperimentOptions& options, const std::vector<Variation>& variations,
                  const std::string& process, std::int64_t bins) {
  const std::vector<double> ones(static_cast<std::size_t>(bins), 1.0);
  Json modifiers = Json::array();
  if (process == options.data.signal) {
    modifiers.push_back({{"name", options.model.poi}, {"type", "normfactor"}, {"data", nullptr}});
  }
  for (const Variation& variation : variations) {
    if (!concerns(variation, process)) continue;
    modifiers.push_back({{"name", variation.name},
                         {"type", "histosys"},
                         {"data", {{"hi_data", ones}, {"lo_data", ones}}}});
  }
  if (options.model.mc_statistics) {
    modifiers.push_back({{"name", "staterror_channel"}, {"type", "staterror"}, {"data", ones}});
  }
  return modifiers;
}

Workspace one_channel(const ExperimentOptions& options, const ExperimentData& data,
                      const std::vector<Variation>& variations, std::int64_t bins) {
  const std::vector<double> ones(static_cast<std::size_t>(bins), 1.0);
  const std::string channel =
      options.model.channel.empty() ? std::string("channel") : options.model.channel;
  Json samples = Json::array();
  for (const std::string& process : data.processes) {
    samples.push_back({{"name", process},
                       {"data", ones},
                       {"modifiers", modifiers_of(options, variations, process, bins)}});
  }
  const Json poi{{"name", options.model.poi},
                 {"inits", Json::array({1.0})},
                 {"bounds", Json::array({Json::array({0.0, 10.0})})}};
  const Json document{
      {"channels", Json::array({Json{{"name", channel}, {"samples", samples}}})},
      {"observations", Json::array({Json{{"name", channel}, {"data", ones}}})},
      {"measurements",
       Json::array({Json{{"name", "measurement"},
                         {"config", {{"poi", options.model.poi}, {"parameters", {poi}}}}}})},
      {"version", "1.0.0"}};
  return parse_workspace(document);
}

PipelineOptions pipeline_options(const ExperimentOptions& options,
                                 const std::vector<Variation>& variations) {
  PipelineOptions result;
  result.channel = options.model.workspace.empty() ? std::string() : options.model.channel;
  result.features = options.classifier.features;
  result.variations = variations;
  for (const NuisanceOptions& nuisance : options.nuisances) {
    result.steps.push_back(step_of(nuisance));
    result.slopes.push_back(slope_of(nuisance));
  }
  result.axes = options.summary.type == SummaryKind::histogram ? options.summary.columns
                                                               : std::vector<std::string>();
  result.model.measurement = options.model.measurement;
  return result;
}

/// On the experiment's device, with edges and thresholds.
Pipeline moved(Pipeline pipeline, const ExperimentOptions& options) {
  if (options.device != "cpu") pipeline->to(at::Device(options.device));
  return pipeline;
}

SoftHistogram final_histogram(const std::vector<double>& edges) {
  SoftHistogramOptions options;
  options.axes = {AxisOptions{.edges = edges, .bandwidth = 0.0}};
  return SoftHistogram(options);
}

}  // namespace

EfficientScoreImpl::EfficientScoreImpl(Classifier network, const Tensor& coefficients)
    : network_(std::move(network)), coefficients_(coefficients) {
  register_module("network", network_);
  register_buffer("coefficients", coefficients_);
  score = Score::linear;
}

Tensor EfficientScoreImpl::outputs(const Tensor& features, const Tensor& theta) {
  return efficient_score(network_->outputs(features, theta), coefficients_).unsqueeze(1);
}

bool EfficientScoreImpl::piecewise_linear() const { return network_->piecewise_linear(); }

Workspace make_workspace(const ExperimentOptions& options, const ExperimentData& data,
                         const std::vector<Variation>& variations, std::int64_t bins) {
  if (options.model.workspace.empty()) return one_channel(options, data, variations, bins);
  Json document = read_json(resolve(options, options.model.workspace));
  for (const std::string& name : options.model.patches) {
    const std::string file = resolve(options, name);
    document = apply_patch(std::move(document), read_json(file), file + "#");
  }
  return parse_workspace(document);
}

Classifier make_classifier(const ExperimentOptions& options, const ExperimentData& data) {
  check_columns(options, data);
  const ClassifierSource& source = options.classifier;
  Classifier result{nullptr};
  if (source.type == ClassifierKind::torch_script) {
    result = at_place("/classifier/path",
                      [&] { return load_script_classifier(resolve(options, source.path)); });
  } else if (source.type == ClassifierKind::column) {
    check_column(source.column, data, false, "/classifier/column");
    const auto& features = features_of(options, data);
    const auto place = std::find(features.begin(), features.end(), source.column);
    if (place == features.end()) fail("the column is not among the features", "/classifier/column");
    const std::int64_t index = place - features.begin();
    result = as_classifier(std::make_shared<FunctionClassifierImpl>(
        [index](const Tensor& x, const Tensor&) { return x.select(1, index); }, Score::linear,
        true));
  } else if (source.type == ClassifierKind::exact) {
    result = make_exact(options);
  } else if (source.members == 1) {
    result = at_place("/classifier", [&] { return make_mlp(options, data, 0); });
  } else {
    std::vector<Classifier> members;
    for (std::int64_t k = 0; k < source.members; ++k) {
      members.push_back(at_place("/classifier", [&] { return make_mlp(options, data, k); }));
    }
    result = as_classifier(std::make_shared<EnsembleImpl>(members));
    if (options.summary.type == SummaryKind::histogram) result->score = Score::sigmoid;
  }
  if (!source.weights.empty()) {
    at_place("/classifier/weights", [&] {
      load_tensors(*result, classifier_weights(read_npz(resolve(options, source.weights))));
      return 0;
    });
  }
  if (options.device != "cpu") result->to(at::Device(options.device));
  return result;
}

std::vector<AxisOptions> axes_of(const SummaryOptions& summary) {
  if (!summary.axes.empty()) return summary.axes;
  AxisOptions axis;
  axis.edges.clear();
  for (std::int64_t e = 0; e <= summary.bins; ++e) {
    axis.edges.push_back(static_cast<double>(e) / static_cast<double>(summary.bins));
  }
  axis.bandwidth = summary.bandwidth;
  axis.learnable = summary.learnable;
  return {axis};
}

Pipeline make_pipeline(const ExperimentOptions& options, const ExperimentData& data,
                       const std::vector<Variation>& variations, const Classifier& network,
                       const std::vector<double>& edges) {
  const SummaryOptions& summary = options.summary;
  // A linear summary is one of features alone already.
  const Classifier classifier = edges.empty() ? observable(options, network) : network;
  const PipelineOptions settings = pipeline_options(options, variations);
  Selection selection{nullptr};
  if (!options.selection.cuts.empty()) {
    selection = at_place("/selection", [&] { return Selection(options.selection); });
  }
  if (summary.type == SummaryKind::softmax) {
    return at_place("/model", [&] {
      return moved(
          Pipeline(make_workspace(options, data, variations, summary.bins), classifier, selection,
                   SoftmaxHistogram(
                       SoftmaxHistogramOptions{.temperature = summary.temperature,
                                               .annealing = summary.annealing,
                                               .straight_through = summary.straight_through}),
                   settings),
          options);
    });
  }
  const SoftHistogram histogram = at_place("/summary", [&] {
    if (!edges.empty()) return final_histogram(edges);
    return SoftHistogram(SoftHistogramOptions{.axes = axes_of(summary),
                                              .annealing = summary.annealing,
                                              .straight_through = summary.straight_through});
  });
  return at_place("/model", [&] {
    return moved(Pipeline(make_workspace(options, data, variations, histogram->bins()), classifier,
                          selection, histogram, settings),
                 options);
  });
}

}  // namespace slalom::experiment
