// SPDX-License-Identifier: Apache-2.0
#include "slalom/workflows/experiment_options.hpp"

#include <algorithm>
#include <limits>
#include <set>

#include "cli/suggest.hpp"
#include "experiment/documents.hpp"
#include "experiment/inference.hpp"
#include "slalom/core/error.hpp"
#include "slalom/workflows/problem.hpp"

namespace slalom {

namespace {

using experiment::seed_field;
const std::vector<std::string> k_missing{"refuse", "drop_event", "replace", "keep"};
const std::vector<std::string> k_effects{
    "problem", "scale", "shift", "log_weight", "weight_slope", "normalisation", "tau_energy_scale"};
const std::vector<std::string> k_slopes{"copies", "score", "automatic"};
const std::vector<std::string> k_classifiers{"mlp", "torch_script", "column", "exact",
                                             "two_networks"};
const std::vector<std::string> k_samplings{"random", "lattice"};
const std::vector<std::string> k_strategies{"nominal", "augmentation", "adversarial",
                                            "parameterised", "reweighting"};
const std::vector<std::string> k_adversaries{"mse", "gaussian", "mixture"};
const std::vector<std::string> k_games{"alternating", "reversal"};
const std::vector<std::string> k_distributions{"uniform", "normal"};
const std::vector<std::string> k_activations{"relu", "leaky_relu", "elu",  "silu",
                                             "gelu", "softplus",   "tanh", "sigmoid"};
const std::vector<std::string> k_initialisations{"he_normal", "he_uniform", "xavier_normal",
                                                 "xavier_uniform"};
const std::vector<std::string> k_summaries{"histogram", "softmax", "linear"};
const std::vector<std::string> k_kernels{"gaussian", "sigmoid"};
const std::vector<std::string> k_flows{"fold", "keep", "drop"};
const std::vector<std::string> k_sides{"above", "below"};
const std::vector<std::string> k_losses{
    "sigma",       "log_sigma",     "variance",      "log_cls",           "log_p0",    "minus_z",
    "upper_limit", "cross_entropy", "one_sidedness", "effective_entries", "efficiency"};
const std::vector<std::string> k_bounds{"at_least", "at_most", "equal"};
const std::vector<std::string> k_optimizers{"adam", "adamw", "sgd", "rmsprop"};
const std::vector<std::string> k_gradients{"two_pass", "averaged", "batch"};

void file_process_fields(Fields& f, FileProcess& process) {
  f.text("value", process.value,
         "CSV: text in the process_column; empty: the name. NPZ, HDF5: places in the list are "
         "indices");
  f.text("name", process.name, "of the process; a workspace has a sample of this name");
  f.optional_number("yield", process.yield,
                    "expected events: weights are scaled to this sum; null: as they are",
                    k_not_negative);
}

void file_fields(Fields& f, DataFile& file) {
  EventFileOptions& read = file.read;
  f.text("path", file.path, "CSV, CSV.gz, NPZ or HDF5 file, relative to this document");
  f.text("process", file.process, "process of all its events; empty: see process_column");
  f.optional_number("yield", file.yield,
                    "expected events: weights are scaled to this sum; null: as they are",
                    k_not_negative);
  f.texts("columns", read.columns, "features; empty: all columns without another meaning");
  f.texts("ignore", read.ignore, "columns that are no features");
  f.text("weight_column", read.weight, "column of weights; empty: 1 each");
  f.text("label_column", read.label, "column of labels; empty: 1 for the signal, 0 for others");
  f.texts("label_values", read.label_values, "texts that stand for 0, 1, ...");
  f.text("process_column", read.process, "column with the name of the process");
  f.list("processes", file.processes,
         "with a process_column: names and yields of all that are in it; empty: as found",
         file_process_fields);
  f.optional_number("missing", read.missing, "number that stands for an undefined feature");
  f.choice("on_missing", read.on_missing, k_missing, "what is done about undefined features");
  f.number("replacement", read.replacement, "for on_missing: replace");
  f.integer("max_events", read.max_events, "rows that are read at most; negative: all");
  f.text("table", read.table, "HDF5: name of the object in the file; empty: the only one");
}

void data_fields(Fields& f, DataOptions& data) {
  const Limits counts{.low = 1.0, .high = 1e9};
  f.text("problem", data.problem, "built-in problem; empty: files");
  f.integer("train", data.train, "problem: events of each process to train with", counts);
  f.integer("validation", data.validation, "problem: events of each process to watch the training",
            counts);
  f.integer("test", data.test, "problem: events of each process for the result", counts);
  f.choice("test_sampling", data.test_sampling, k_samplings,
           "problem: test events are drawn, or about as many lie on a lattice (quadrature)");
  f.list("files", data.files, "files of events, which are split", file_fields);
  f.text("higgsml", data.higgsml, "the ATLAS HiggsML file (CSV), in the place of files");
  f.integer("folds", data.folds,
            "files: cross-fitting with so many trainings, each tested on what it has not seen; 0: "
            "one training",
            {.low = 0.0, .high = 100.0});
  f.numbers("split", data.split, "files: shares of training, validation and test", k_share);
  seed_field(f, "seed", data.seed, "of the generator and the split");
  f.text("signal", data.signal, "process that the parameter of interest scales");
}

void nuisance_fields(Fields& f, NuisanceOptions& nuisance) {
  f.text("name", nuisance.name, "of the parameter");
  f.choice("effect", nuisance.effect, k_effects, "what it does to events");
  f.text("variation", nuisance.variation, "problem: name of its variation; empty: the name");
  f.texts("columns", nuisance.columns, "scale, shift: which; log_weight, weight_slope: one");
  f.number("amount", nuisance.amount, "of scale, shift and normalisation, for theta = 1");
  f.texts("processes", nuisance.processes, "which events; empty: all, or the problem's choice");
  f.optional_number("prior", nuisance.prior,
                    "standard deviation of its constraint, in units of theta; null: free",
                    k_positive);
  f.choice("slope", nuisance.slope, k_slopes,
           "how yields get their derivative: shifted copies, or score weights");
  f.number("step", nuisance.step, "of shifted copies, in units of theta", k_positive);
}

void model_fields(Fields& f, ModelSource& model) {
  f.text("workspace", model.workspace, "HistFactory workspace; empty: one channel is made");
  f.texts("patches", model.patches,
          "files of JSON Patches that are applied to the workspace, in this order");
  f.text("channel", model.channel, "channel that is filled; empty: the first");
  f.text("measurement", model.measurement, "of the workspace; empty: the first");
  f.text("poi", model.poi, "without a workspace: name of the signal's normfactor");
  f.flag("mc_statistics", model.mc_statistics,
         "without a workspace: a staterror from the sums of squared weights");
  f.number("mc_factor", model.mc_factor, "factor of the sums of squared weights", k_not_negative);
}

void classifier_fields(Fields& f, ClassifierSource& classifier) {
  MlpOptions& network = classifier.network;
  f.choice("type", classifier.type, k_classifiers, "what it is");
  f.texts("features", classifier.features, "columns it sees; empty: all");
  f.integers("hidden", network.hidden, "mlp: widths of the hidden layers",
             {.low = 1.0, .high = 65536.0});
  f.integer("outputs", network.outputs, "mlp: real outputs; softmax: as many as bins",
            {.low = 1.0, .high = 4096.0});
  f.choice("activation", network.activation, k_activations, "mlp: between layers");
  f.choice("initialisation", network.initialisation, k_initialisations, "mlp: of the weights");
  f.flag("float64", network.float64, "mlp: weights in double precision");
  f.flag("normalise", classifier.normalise,
         "mlp: inputs are brought to the mean 0 and the width 1 of the training events");
  f.integer("members", classifier.members, "mlp: members of an ensemble",
            {.low = 1.0, .high = 1000.0});
  f.text("path", classifier.path, "torch_script: file");
  f.text("column", classifier.column, "column: the score");
  f.number("threshold", classifier.threshold,
           "two_networks: between them, in units of theta of the first parameter to be learned");
  f.flag("trainable", classifier.trainable, "whether its weights are trained");
  f.text("weights", classifier.weights, "mlp: weights.npz of another experiment to start from");
}

void parameter_fields(Fields& f, LearningParameter& parameter) {
  f.text("name", parameter.name, "one of the nuisance parameters");
  f.choice("distribution", parameter.distribution, k_distributions,
           "of theta: uniform from low to high, or normal with these one standard deviation off");
  f.number("low", parameter.low, "in units of its theta");
  f.number("high", parameter.high, "in units of its theta");
}

void adversary_fields(Fields& f, AdversarialOptions& adversary) {
  AdversaryOptions& network = adversary.network;
  f.choice("type", network.type, k_adversaries,
           "what it says about theta: its mean, a Gaussian, or a mixture of Gaussians");
  f.integers("hidden", network.hidden, "widths of the hidden layers",
             {.low = 1.0, .high = 65536.0});
  f.choice("activation", network.activation, k_activations, "between layers");
  f.integer("components", network.components, "mixture: Gaussians", {.low = 1.0, .high = 1000.0});
  f.number("strength", adversary.strength, "lambda, factor of its loss in the classifier's",
           k_not_negative);
  f.choice("schedule", adversary.schedule, k_games,
           "in turns, or at once with the gradient turned round");
  f.integer("pretraining", adversary.pretraining, "steps of the classifier alone at first",
            k_not_negative);
  f.integer("adversary_only", adversary.adversary_only, "then steps of the adversary alone",
            k_not_negative);
  f.integer("adversary_steps", adversary.adversary_steps,
            "alternating: steps of the adversary for one of the classifier",
            {.low = 1.0, .high = 1e6});
  f.number("learning_rate", adversary.learning_rate, "of the adversary (Adam)", k_positive);
  f.texts("processes", adversary.processes, "whose events it sees; empty: all");
}

void learning_fields(Fields& f, LearningOptions& learning) {
  f.choice("strategy", learning.strategy, k_strategies,
           "what cross entropy is trained on: nominal events, or events at random theta, which the "
           "score may be made to hide, or the network be told; or these against nominal ones");
  f.list("parameters", learning.parameters, "nuisance parameters that are drawn", parameter_fields);
  f.object("adversary", "adversarial: the adversary and the game with it",
           [&](Fields& g) { adversary_fields(g, learning.adversary); });
  f.integer("alone", learning.alone,
            "two_networks: first steps of the upper network alone, then as many of the lower",
            {.low = 0.0, .high = 1e9});
  f.text("process", learning.process, "reweighting: whose events");
}

void cut_fields(Fields& f, CutOptions& cut) {
  f.text("column", cut.column, "what is cut on; `score` is the classifier's");
  f.number("threshold", cut.threshold, "where it is, or where learning starts");
  f.number("slope", cut.slope, "steepness per unit of the column", k_positive);
  f.choice("keep", cut.keep, k_sides, "side that is kept");
  f.flag("learnable", cut.learnable, "whether the threshold is trained");
}

void selection_fields(Fields& f, SelectionOptions& selection) {
  f.list("cuts", selection.cuts, "all of which an event has to pass", cut_fields);
  f.schedule("sharpness", selection.sharpness, "factor of all slopes", k_positive);
}

void axis_fields(Fields& f, AxisOptions& axis) {
  f.numbers("edges", axis.edges, "increasing; where learning starts");
  f.number("bandwidth", axis.bandwidth, "of the smearing; 0: hard", k_not_negative);
  f.flag("relative", axis.relative, "whether the bandwidth is in units of bin widths");
  f.numbers("bandwidth_factors", axis.bandwidth_factors, "per bin; empty: 1", k_positive);
  f.choice("kernel", axis.smearing.kernel, k_kernels, "of the smearing");
  f.choice("flow", axis.smearing.flow, k_flows, "events outside: folded, kept or dropped");
  f.flag("reflect", axis.smearing.reflect, "whether what leaves the range is reflected");
  f.flag("learnable", axis.learnable, "whether the inner edges are trained");
  f.number("min_width", axis.min_width, "smallest width of learnable bins, share of the range",
           {.low = 0.0, .high = 1.0, .below = true});
}

void summary_fields(Fields& f, SummaryOptions& summary) {
  f.choice("type", summary.type, k_summaries,
           "bins of the score, softmax bins of several outputs, or the linear summary");
  f.integer("bins", summary.bins, "number of bins where no edges are given",
            {.low = 1.0, .high = 10000.0});
  f.list("axes", summary.axes, "histogram: axes; empty: equal bins in [0, 1]", axis_fields);
  f.texts("columns", summary.columns, "histogram: of the axes; `score` is the classifier's");
  f.number("bandwidth", summary.bandwidth, "histogram without axes: of the smearing",
           k_not_negative);
  f.flag("learnable", summary.learnable, "histogram without axes: whether edges are trained");
  f.flag("straight_through", summary.straight_through, "hard values with soft derivatives");
  f.number("temperature", summary.temperature, "softmax", k_positive);
  f.schedule("annealing", summary.annealing, "factor of bandwidths or of the temperature",
             k_positive);
  f.number("ridge", summary.ridge, "linear: share of the diagonal that is added", k_not_negative);
  f.number("min_effective", summary.min_effective, "linear: effective entries of a bin, at least",
           k_not_negative);
}

void loss_fields(Fields& f, LossOptions& loss) {
  f.choice("term", loss.term, k_losses, "what it is");
  f.schedule("weight", loss.weight, "its factor", k_not_negative);
  f.integer("from", loss.from, "first step it counts in", k_not_negative);
  f.integer("until", loss.until, "first step it no longer counts in; negative: the end");
  f.number("mu", loss.mu, "signal of the Asimov data, or the signal tested", k_not_negative);
  f.number("n_sigma", loss.n_sigma, "log_cls, upper_limit: place in the band");
  f.number("level", loss.level, "upper_limit: CLs there",
           {.low = 0.0, .high = 1.0, .above = true, .below = true});
  f.number("minimum", loss.minimum, "effective_entries: wanted in each bin", k_positive);
  f.text("process", loss.process, "efficiency: whose; empty: the signal's");
  f.choice("bound", loss.bound, k_bounds, "efficiency: what it has to be");
  f.number("target", loss.target,
           "efficiency: the bound, as the share of the weight that passes the cuts into bins",
           {.low = 0.0, .high = 1.0, .above = true});
  f.number("width", loss.width, "efficiency: the penalty is 1 when it is so far off", k_positive);
  f.numbers("at", loss.at,
            "theta of one parameter where events are moved to; the term is the mean there");
  f.text("parameter", loss.parameter, "of `at`; empty: the first to be learned");
}

void phase_fields(Fields& f, PhaseOptions& phase) {
  f.integer("from", phase.from, "first step of it", {.low = 1.0});
  f.schedule("learning_rate", phase.learning_rate, "of the network, counted from there",
             k_not_negative);
  f.flag("network", phase.network, "whether the network is trained in it");
}

void optimizer_fields(Fields& f, OptimizerOptions& optimizer) {
  f.choice("type", optimizer.type, k_optimizers, "algorithm");
  f.schedule("learning_rate", optimizer.learning_rate, "of the network", k_not_negative);
  f.number("edges", optimizer.edges, "factor of the learning rate for edges", k_not_negative);
  f.number("cuts", optimizer.cuts, "factor of the learning rate for thresholds", k_not_negative);
  f.number("weight_decay", optimizer.weight_decay, "as PyTorch defines it", k_not_negative);
  f.number("momentum", optimizer.momentum, "sgd and rmsprop",
           {.low = 0.0, .high = 1.0, .below = true});
  f.number("clip", optimizer.clip, "largest norm of the gradient; 0: any", k_not_negative);
  f.list("phases", optimizer.phases, "later parts with other learning rates", phase_fields);
}

void training_fields(Fields& f, TrainingOptions& training) {
  f.integer("steps", training.steps, "of the optimiser", {.low = 0.0, .high = 1e9});
  f.integer("batch_size", training.batch_size, "events of a batch", {.low = 1.0, .high = 1e9});
  f.choice("gradient", training.gradient, k_gradients,
           "exact in two passes, from averaged yields, or of one batch (biased)");
  f.number("averaging_rate", training.averaging_rate, "of averaged yields",
           {.low = 0.0, .high = 1.0, .above = true});
  f.integer("validate_every", training.validate_every, "steps between validations; 0: none",
            k_not_negative);
  f.integer("patience", training.patience, "validations without improvement; 0: any number",
            k_not_negative);
  f.flag("keep_best", training.keep_best, "whether the result has the best validation's weights");
  f.integer("checkpoint_every", training.checkpoint_every,
            "steps between checkpoints; 0: only at the end", k_not_negative);
}

void evaluation_fields(Fields& f, EvaluationOptions& evaluation) {
  f.numbers("mu", evaluation.mu, "signals for sigma(mu); CLs and p0 are for the first",
            k_not_negative);
  f.flag("fit", evaluation.fit, "whether the published workspace is fitted");
  f.integer("chunk", evaluation.chunk, "events that are evaluated at a time",
            {.low = 1.0, .high = 1e9});
  f.integer("bootstrap", evaluation.bootstrap, "Poisson bootstraps of the test events",
            {.low = 0.0, .high = 1e6});
  f.numbers(
      "auc", evaluation.auc,
      "theta of the first parameter to be learned: area under the curve of test events there");
  f.numbers("at", evaluation.at,
            "theta of the first parameter to be learned: sigma(mu) of test events there");
  f.numbers("closure", evaluation.closure,
            "reweighting: theta of the same parameter where reweighted test events are compared");
}

[[noreturn]] void fail(const std::string& message, const std::string& where) {
  throw Error(ErrorKind::usage, message, where);
}

void check_file_processes(const DataFile& file, const std::string& where) {
  if (!file.processes.empty() && file.read.process.empty()) {
    fail("these need a process_column", where + "/processes");
  }
  std::set<std::string> names, values;
  for (std::size_t i = 0; i < file.processes.size(); ++i) {
    const FileProcess& process = file.processes[i];
    const std::string place = where + "/processes/" + std::to_string(i);
    if (process.name.empty()) fail("a process needs a name", place + "/name");
    if (!names.insert(process.name).second) fail("it is there already", place + "/name");
    if (!values.insert(process.value.empty() ? process.name : process.value).second) {
      fail("it is there already", place + "/value");
    }
  }
}

void check_data(const ExperimentOptions& options) {
  const DataOptions& data = options.data;
  const int sources = (data.problem.empty() ? 0 : 1) + (data.files.empty() ? 0 : 1) +
                      (data.higgsml.empty() ? 0 : 1);
  if (sources != 1) fail("expected a built-in problem or files, and not both", "/data");
  if (data.folds == 1) fail("expected 0, or at least 2 folds", "/data/folds");
  if (data.folds > 0 && !data.problem.empty()) {
    fail("a problem has events enough: no cross-fitting", "/data/folds");
  }
  if (!data.problem.empty()) {
    try {
      make_problem(data.problem);
    } catch (const Error& error) {
      fail(error.message(), "/data/problem");
    }
  }
  if (data.test_sampling == TestSampling::lattice) {
    if (data.problem.empty() || !make_problem(data.problem).lattice) {
      fail("there is no lattice for these events", "/data/test_sampling");
    }
    if (options.model.mc_statistics) {
      fail("a lattice has no statistical uncertainty", "/model/mc_statistics");
    }
    if (options.evaluation.bootstrap > 0) {
      fail("a lattice has no statistical uncertainty", "/evaluation/bootstrap");
    }
  }
  for (std::size_t i = 0; i < data.files.size(); ++i) {
    const std::string where = "/data/files/" + std::to_string(i);
    const DataFile& file = data.files[i];
    if (file.path.empty()) fail("a file needs a path", where + "/path");
    if (file.process.empty() == file.read.process.empty()) {
      fail("expected a process or a process_column, and not both", where + "/process");
    }
    if (file.yield && file.process.empty()) {
      fail("a yield needs a process that all events have", where + "/yield");
    }
    check_file_processes(file, where);
  }
  double sum = 0.0;
  for (const double share : data.split) sum += share;
  if (data.split.size() != 3 || std::abs(sum - 1.0) > 1e-9 || data.split[0] <= 0.0 ||
      data.split[2] <= 0.0) {
    fail("expected shares of training, validation and test that add up to 1", "/data/split");
  }
}

void check_nuisances(const ExperimentOptions& options) {
  std::set<std::string> names{options.model.poi};
  for (std::size_t i = 0; i < options.nuisances.size(); ++i) {
    const NuisanceOptions& nuisance = options.nuisances[i];
    const std::string where = "/nuisances/" + std::to_string(i);
    if (nuisance.name.empty()) fail("a nuisance parameter needs a name", where + "/name");
    if (!names.insert(nuisance.name).second) {
      fail("there is another parameter '" + nuisance.name + "'", where + "/name");
    }
    const NuisanceEffect effect = nuisance.effect;
    if (effect == NuisanceEffect::problem && options.data.problem.empty()) {
      fail("files have no variations of their own: give another effect", where + "/effect");
    }
    if (effect == NuisanceEffect::tau_energy_scale && options.data.higgsml.empty()) {
      fail("only the HiggsML sample has a tau energy scale", where + "/effect");
    }
    const bool scales = effect == NuisanceEffect::scale || effect == NuisanceEffect::shift;
    const bool moves = scales || effect == NuisanceEffect::tau_energy_scale;
    if (scales && nuisance.columns.empty()) fail("expected columns", where + "/columns");
    const bool weighs =
        effect == NuisanceEffect::log_weight || effect == NuisanceEffect::weight_slope;
    if (weighs && nuisance.columns.size() != 1) {
      fail("expected one column", where + "/columns");
    }
    if (nuisance.slope == SlopeMethod::automatic) {
      fail("expected copies or score", where + "/slope");
    }
    if (nuisance.slope == SlopeMethod::score && moves) {
      fail("moved features have no score: use copies", where + "/slope");
    }
  }
}

void check_axes(const SummaryOptions& summary) {
  for (std::size_t i = 0; i < summary.axes.size(); ++i) {
    const std::vector<double>& edges = summary.axes[i].edges;
    const std::string where = "/summary/axes/" + std::to_string(i) + "/edges";
    if (edges.size() < 2) fail("expected at least 2 edges", where);
    for (std::size_t e = 1; e < edges.size(); ++e) {
      if (edges[e] <= edges[e - 1]) {
        fail("edges have to increase", where + "/" + std::to_string(e));
      }
    }
  }
  const std::size_t axes = std::max<std::size_t>(summary.axes.size(), 1);
  if (!summary.columns.empty() && summary.columns.size() != axes) {
    fail("expected as many columns as axes", "/summary/columns");
  }
}

void check_exact(const ExperimentOptions& options) {
  if (options.classifier.type != ClassifierKind::exact) return;
  const std::string& name = options.data.problem;
  if (name.empty()) fail("the densities of events in files are not known", "/classifier/type");
  const Problem problem = make_problem(name);
  if (!problem.log_ratio) {
    fail("the densities of the problem '" + name + "' are not here", "/classifier/type");
  }
  if (!options.classifier.features.empty() && options.classifier.features != problem.columns) {
    fail("exact densities need all features, in their order", "/classifier/features");
  }
  if (options.summary.type == SummaryKind::softmax) {
    fail("exact densities have one output", "/summary/type");
  }
}

void check_stages(const ExperimentOptions& options) {
  const ClassifierSource& classifier = options.classifier;
  const SummaryOptions& summary = options.summary;
  if (classifier.type == ClassifierKind::torch_script && classifier.path.empty()) {
    fail("a file is needed", "/classifier/path");
  }
  if (classifier.type == ClassifierKind::column && classifier.column.empty()) {
    fail("a column is needed", "/classifier/column");
  }
  check_exact(options);
  check_axes(summary);
  const bool is_mlp =
      classifier.type == ClassifierKind::mlp || classifier.type == ClassifierKind::two_networks;
  if (summary.type == SummaryKind::softmax && is_mlp &&
      classifier.network.outputs != summary.bins) {
    fail("softmax bins need as many outputs as bins (" + std::to_string(summary.bins) + ")",
         "/classifier/outputs");
  }
  if (summary.type == SummaryKind::histogram && is_mlp && classifier.network.outputs != 1) {
    fail("a histogram needs one output", "/classifier/outputs");
  }
  if (summary.type == SummaryKind::linear && summary.bins < 2) {
    fail("expected at least 2 bins", "/summary/bins");
  }
  if (summary.type == SummaryKind::linear && !options.selection.cuts.empty()) {
    fail("the linear summary is trained without cuts", "/selection/cuts");
  }
  if (!options.model.patches.empty() && options.model.workspace.empty()) {
    fail("there is no workspace to apply them to", "/model/patches");
  }
  if (summary.type == SummaryKind::linear && !options.model.workspace.empty()) {
    fail("the linear summary needs the model that is made here", "/model/workspace");
  }
}

/// Figures of events that are moved need slopes there.
void check_copies(const ExperimentOptions& options) {
  for (std::size_t k = 0; k < options.nuisances.size(); ++k) {
    if (options.nuisances[k].slope == SlopeMethod::score) {
      fail("scores are slopes at theta = 0: figures elsewhere needs copies",
           "/nuisances/" + std::to_string(k) + "/slope");
    }
  }
}

void check_two_networks(const ExperimentOptions& options) {
  const LearningOptions& learning = options.learning;
  if (options.classifier.type != ClassifierKind::two_networks) {
    if (learning.alone > 0) fail("only two networks are trained alone", "/learning/alone");
    return;
  }
  if (learning.strategy != Strategy::parameterised && learning.strategy != Strategy::reweighting) {
    fail("two networks need the strategy parameterised", "/learning/strategy");
  }
  if (options.classifier.members != 1) fail("expected one member", "/classifier/members");
  const LearningParameter& first = learning.parameters.front();
  if (!(options.classifier.threshold > first.low && options.classifier.threshold < first.high)) {
    fail("expected a value inside the range of '" + first.name + "'", "/classifier/threshold");
  }
  if (learning.alone > 0 && 2 * learning.alone > options.training.steps) {
    fail("expected at most half of the training's steps", "/learning/alone");
  }
}

void check_adversary(const ExperimentOptions& options) {
  if (options.learning.strategy != Strategy::adversarial) return;
  const AdversarialOptions& adversary = options.learning.adversary;
  for (std::size_t i = 0; i < options.loss.size(); ++i) {
    if (options.loss[i].term == LossKind::cross_entropy) continue;
    fail("adversarial training is one of cross entropy alone",
         "/loss/" + std::to_string(i) + "/term");
  }
  if (options.training.keep_best) {
    fail("there is no best validation of a game", "/training/keep_best");
  }
  if (options.training.patience > 0) {
    fail("there is no best validation of a game", "/training/patience");
  }
  if (adversary.pretraining + adversary.adversary_only >= options.training.steps) {
    fail("expected fewer steps before the game than the training has",
         "/learning/adversary/pretraining");
  }
  if (options.classifier.type == ClassifierKind::exact ||
      options.classifier.type == ClassifierKind::column || !options.classifier.trainable) {
    fail("there is no network to train", "/learning/strategy");
  }
}

void check_reweighting(const ExperimentOptions& options) {
  const LearningOptions& learning = options.learning;
  if (learning.strategy != Strategy::reweighting) {
    if (!options.evaluation.closure.empty()) {
      fail("closure is that of the strategy reweighting", "/evaluation/closure");
    }
    return;
  }
  if (learning.process.empty()) fail("expected a process", "/learning/process");
  if (options.summary.type != SummaryKind::histogram || options.summary.bins != 1 ||
      !options.summary.axes.empty()) {
    fail("a ratio of one process is no observable: expected a histogram of 1 bin", "/summary/bins");
  }
  if (options.classifier.type == ClassifierKind::exact ||
      options.classifier.type == ClassifierKind::column || !options.classifier.trainable) {
    fail("there is no network to train", "/learning/strategy");
  }
  for (std::size_t i = 0; i < options.loss.size(); ++i) {
    if (options.loss[i].term == LossKind::cross_entropy) continue;
    fail("a ratio is trained with cross entropy alone", "/loss/" + std::to_string(i) + "/term");
  }
  if (!options.evaluation.auc.empty()) {
    fail("a ratio of one process does not separate signal and background", "/evaluation/auc");
  }
  if (!options.evaluation.closure.empty() && options.data.test_sampling == TestSampling::lattice) {
    fail("a lattice has no statistical uncertainty", "/evaluation/closure");
  }
}

void check_learning(const ExperimentOptions& options) {
  const LearningOptions& learning = options.learning;
  std::set<std::string> names;
  for (std::size_t i = 0; i < learning.parameters.size(); ++i) {
    const LearningParameter& parameter = learning.parameters[i];
    const std::string where = "/learning/parameters/" + std::to_string(i);
    std::vector<std::string> known;
    for (const NuisanceOptions& nuisance : options.nuisances) known.push_back(nuisance.name);
    const auto found = std::find(known.begin(), known.end(), parameter.name);
    if (found == known.end()) {
      fail("there is no nuisance parameter '" + parameter.name + "'" +
               cli::did_you_mean(parameter.name, known),
           where + "/name");
    }
    if (!names.insert(parameter.name).second) fail("it is there already", where + "/name");
    if (!(parameter.low < parameter.high)) fail("expected more than `low`", where + "/high");
    const auto& nuisance = options.nuisances[static_cast<std::size_t>(found - known.begin())];
    if (options.classifier.type == ClassifierKind::exact &&
        nuisance.effect != NuisanceEffect::problem) {
      fail("exact densities are known for variations of the problem alone", where + "/name");
    }
  }
  if (learning.strategy != Strategy::nominal && learning.parameters.empty()) {
    fail("expected at least one nuisance parameter", "/learning/parameters");
  }
  check_two_networks(options);
  check_adversary(options);
  check_reweighting(options);
  const EvaluationOptions& evaluation = options.evaluation;
  if (!evaluation.auc.empty() && learning.parameters.empty()) {
    fail("expected a parameter among those to be learned", "/evaluation/auc");
  }
  if (!evaluation.at.empty() && learning.parameters.empty()) {
    fail("expected a parameter among those to be learned", "/evaluation/at");
  }
  if (!evaluation.at.empty()) check_copies(options);
  if (!evaluation.auc.empty() && options.summary.type == SummaryKind::softmax) {
    fail("an area under the curve needs one score", "/evaluation/auc");
  }
  if (learning.strategy == Strategy::parameterised &&
      options.classifier.type == ClassifierKind::column) {
    fail("a column knows no parameters", "/learning/strategy");
  }
}

/// theta of a term of the loss.
void check_at(const ExperimentOptions& options, std::size_t i) {
  const LossOptions& loss = options.loss[i];
  const std::string where = "/loss/" + std::to_string(i);
  if (loss.at.empty()) {
    if (!loss.parameter.empty()) fail("expected values in `at`", where + "/at");
    return;
  }
  if (loss.term == LossKind::cross_entropy) {
    fail("cross entropy has its events where `learning` says", where + "/at");
  }
  if (loss.parameter.empty()) {
    if (options.learning.parameters.empty()) {
      fail("expected a name, or a parameter among those to be learned", where + "/parameter");
    }
  } else {
    std::vector<std::string> known;
    for (const NuisanceOptions& nuisance : options.nuisances) known.push_back(nuisance.name);
    if (std::find(known.begin(), known.end(), loss.parameter) == known.end()) {
      fail("there is no nuisance parameter '" + loss.parameter + "'" +
               cli::did_you_mean(loss.parameter, known),
           where + "/parameter");
    }
  }
  check_copies(options);
}

void check_loss(const ExperimentOptions& options) {
  if (options.loss.empty()) fail("expected at least one term", "/loss");
  for (std::size_t i = 0; i < options.loss.size(); ++i) {
    const LossOptions& loss = options.loss[i];
    const std::string where = "/loss/" + std::to_string(i);
    if (loss.until >= 0 && loss.until <= loss.from)
      fail("expected more than `from`", where + "/until");
    check_at(options, i);
    if (loss.term == LossKind::efficiency && options.selection.cuts.empty()) {
      fail("there are no cuts", where + "/term");
    }
    const bool linear = options.summary.type == SummaryKind::linear;
    if (linear && loss.term != LossKind::log_sigma && loss.term != LossKind::cross_entropy) {
      fail("the linear summary is trained with log_sigma or cross_entropy", where + "/term");
    }
  }
  const std::int64_t steps = options.training.steps;
  for (std::int64_t step : {std::int64_t{0}, std::max<std::int64_t>(steps - 1, 0)}) {
    const bool any = std::any_of(options.loss.begin(), options.loss.end(), [&](const auto& loss) {
      return step >= loss.from && (loss.until < 0 || step < loss.until);
    });
    if (steps > 0 && !any) fail("no term counts at step " + std::to_string(step), "/loss");
  }
}

/// Schedules without a length last as long as the training.
void complete(Schedule& schedule, std::int64_t steps) {
  if (schedule.shape == ScheduleShape::constant || schedule.steps > 0) return;
  schedule.steps = std::max<std::int64_t>(steps - schedule.warm_up, 1);
}

/// A phase lasts until the next one.
void complete_phases(OptimizerOptions& optimizer, std::int64_t steps) {
  std::int64_t end = steps;
  for (std::size_t k = optimizer.phases.size(); k-- > 0;) {
    PhaseOptions& phase = optimizer.phases[k];
    if (phase.from >= end) {
      fail("expected a step before the next phase and the end",
           "/optimizer/phases/" + std::to_string(k) + "/from");
    }
    complete(phase.learning_rate, end - phase.from);
    end = phase.from;
  }
  complete(optimizer.learning_rate, end);
}

}  // namespace

void experiment_fields(Fields& f, ExperimentOptions& options) {
  f.text("name", options.name, "for people");
  f.text("description", options.description, "for the report");
  seed_field(f, "seed", options.seed, "of the weights and of the order of events");
  f.integer("threads", options.threads, "of LibTorch", {.low = 1.0, .high = 1024.0});
  f.text("device", options.device, "cpu or cuda");
  f.object("data", "events", [&](Fields& g) { data_fields(g, options.data); });
  f.list("nuisances", options.nuisances, "nuisance parameters that act on events", nuisance_fields);
  f.object("model", "the rest of the likelihood",
           [&](Fields& g) { model_fields(g, options.model); });
  f.object("classifier", "score", [&](Fields& g) { classifier_fields(g, options.classifier); });
  f.object("learning", "what the classifier learns about nuisance parameters",
           [&](Fields& g) { learning_fields(g, options.learning); });
  f.object("selection", "cuts", [&](Fields& g) { selection_fields(g, options.selection); });
  f.object("summary", "bins", [&](Fields& g) { summary_fields(g, options.summary); });
  f.list("loss", options.loss, "terms that are added", loss_fields);
  f.object("optimizer", "steps", [&](Fields& g) { optimizer_fields(g, options.optimizer); });
  f.object("training", "loop", [&](Fields& g) { training_fields(g, options.training); });
  f.object("evaluation", "result", [&](Fields& g) { evaluation_fields(g, options.evaluation); });
  f.list("inferences", options.inferences,
         "likelihoods over the range of nuisance parameters, with templates on a grid",
         inference_fields);
}

namespace {

/// cpu, cuda or cuda with a number; whether it is here is seen when it is needed.
bool is_device(const std::string& text) {
  if (text == "cpu") return true;
  try {
    return at::Device(text).is_cuda();
  } catch (const c10::Error&) {
    return false;
  }
}

}  // namespace

ExperimentOptions read_experiment(const Json& document, const std::string& base) {
  ExperimentOptions options;
  options.base = base;
  read_fields(document, "", [&](Fields& fields) { experiment_fields(fields, options); });
  if (!is_device(options.device)) {
    fail("expected cpu or cuda, got '" + options.device + "'", "/device");
  }
  check_data(options);
  check_nuisances(options);
  check_stages(options);
  check_learning(options);
  check_loss(options);
  const std::int64_t steps = options.training.steps;
  complete_phases(options.optimizer, steps);
  complete(options.summary.annealing, steps);
  complete(options.selection.sharpness, steps);
  for (LossOptions& loss : options.loss) complete(loss.weight, steps);
  if (options.data.folds > 0 && !options.evaluation.closure.empty()) {
    fail("closure is that of one training", "/evaluation/closure");
  }
  if (options.data.folds > 0 && options.summary.type == SummaryKind::linear) {
    fail("the edges of a linear summary differ between folds", "/data/folds");
  }
  if (options.evaluation.mu.empty()) fail("expected at least one signal", "/evaluation/mu");
  experiment::check_inferences(options);
  return options;
}

nlohmann::ordered_json experiment_document(const ExperimentOptions& options) {
  ExperimentOptions copy = options;
  return write_fields([&](Fields& fields) { experiment_fields(fields, copy); });
}

nlohmann::ordered_json experiment_schema() {
  ExperimentOptions options;
  return experiment::document_schema("slalom experiment",
                                     [&](Fields& fields) { experiment_fields(fields, options); });
}

}  // namespace slalom
