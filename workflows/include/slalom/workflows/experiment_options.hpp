// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "slalom/modules/adversary.hpp"
#include "slalom/modules/classifier.hpp"
#include "slalom/modules/event_files.hpp"
#include "slalom/modules/linear_summary.hpp"
#include "slalom/modules/loss.hpp"
#include "slalom/modules/selection.hpp"
#include "slalom/modules/soft_histogram.hpp"
#include "slalom/modules/variations.hpp"
#include "slalom/workflows/fields.hpp"
#include "slalom/workflows/inference.hpp"

/// \file
/// An experiment as a document: data, nuisance parameters, statistical model, stages, loss,
/// optimiser, training and evaluation. Every struct is a JSON object of the members' names (see
/// docs/experiments.md and docs/experiment.schema.json).
namespace slalom {

/// One of the processes of a file that has a column of them.
struct FileProcess {
  std::string value = {};       ///< text in that column; empty: `name`. NPZ and HDF5: not used
  std::string name = {};        ///< of the process; a workspace has a sample of this name
  std::optional<double> yield;  ///< expected events: weights are scaled to it; null: as they are
};

/// A file of events, of one process or of several.
struct DataFile {
  std::string path = {};        ///< CSV (.gz) or NPZ; relative to the experiment's document
  std::string process = {};     ///< name of all its events; empty: read.process names a column
  std::optional<double> yield;  ///< expected events of the process: weights are scaled to it
  /// With a column of processes: all that there are, in the order of its indices in NPZ and HDF5;
  /// empty: as found.
  std::vector<FileProcess> processes = {};
  EventFileOptions read = {};  ///< columns, weights, labels, what is missing
};

/// How the test events of a problem are chosen.
enum class TestSampling {
  random,   ///< drawn, as the others
  lattice,  ///< on a lattice, weighted by their density: the result is a quadrature
};

/// Where events come from.
struct DataOptions {
  std::string problem = {};         ///< a built-in problem; empty: files
  std::int64_t train = 10000;       ///< problem: events of each process to train with
  std::int64_t validation = 10000;  ///< problem: to watch the training
  std::int64_t test = 100000;       ///< problem: for the result
  /// Problem: test events are drawn, or about as many lie on a lattice.
  TestSampling test_sampling = TestSampling::random;
  std::string higgsml = {};                       ///< the ATLAS HiggsML file, see higgsml.hpp
  std::vector<DataFile> files = {};               ///< events to split
  std::vector<double> split = {0.5, 0.25, 0.25};  ///< files: shares of training, validation, test
  /// Files: cross-fitting with so many trainings, each tested on the events that it has not seen;
  /// 0: one training with the split above.
  std::int64_t folds = 0;
  std::int64_t fold = 0;          ///< which of them; not part of the document
  std::uint64_t seed = 0;         ///< of generator and split; independent of the training's
  std::string signal = "signal";  ///< process that the parameter of interest scales
};

/// What a nuisance parameter does to events.
enum class NuisanceEffect {
  problem,           ///< what the problem says, by the name of its variation
  scale,             ///< columns times 1 + amount theta
  shift,             ///< columns plus amount theta
  log_weight,        ///< weights times exp(theta column)
  weight_slope,      ///< weights times 1 + theta column
  normalisation,     ///< weights times 1 + amount theta
  tau_energy_scale,  ///< of the HiggsML sample: z = 1 + amount theta
};

/// A nuisance parameter.
struct NuisanceOptions {
  std::string name = {};                            ///< of the parameter
  NuisanceEffect effect = NuisanceEffect::problem;  ///< what it does
  std::string variation = {};                       ///< problem: name there; empty: `name`
  std::vector<std::string> columns = {};            ///< scale, shift: which; log_weight, ...: one
  double amount = 0.1;                              ///< of scale, shift and normalisation
  std::vector<std::string> processes = {};          ///< which events; empty: all, or the problem's
  /// Standard deviation of its constraint, in units of theta; null: none (a constraint of 30).
  std::optional<double> prior = 1.0;
  SlopeMethod slope = SlopeMethod::copies;  ///< how yields get their derivative
  double step = 1.0;                        ///< of the copies, in units of theta
};

/// The statistical model around the trained templates.
struct ModelSource {
  std::string workspace = {};  ///< a HistFactory workspace; empty: one channel is made
  /// Files of JSON Patches that are applied to it, such as one that adds the channel to be filled.
  std::vector<std::string> patches = {};
  std::string channel = {};      ///< that is filled; empty: the first
  std::string measurement = {};  ///< of the workspace; empty: the first
  std::string poi = "mu";        ///< without a workspace: the signal's normfactor
  bool mc_statistics = false;    ///< without a workspace: a staterror for the channel
  double mc_factor = 1.0;        ///< of the sums of squared weights: luminosity of the
                                 ///< templates that will be used over that of these
};

/// Kinds of classifier.
enum class ClassifierKind {
  mlp,           ///< a network
  torch_script,  ///< a network from a file
  column,        ///< a column
  exact,         ///< log ratio of a problem's densities, at theta if it is to know its parameters
  two_networks,  ///< one for theta at or above a threshold, one below
};

/// What a training does about nuisance parameters.
enum class Strategy {
  nominal,        ///< nothing
  augmentation,   ///< trained on events at random theta
  adversarial,    ///< the same, and the score is to say nothing about theta
  parameterised,  ///< the same, and theta is an input of the network
  reweighting,    ///< events at random theta against nominal ones: a ratio of densities
};

/// How theta is drawn.
enum class ThetaDistribution {
  uniform,  ///< in [low, high]
  normal,   ///< of mean (low + high) / 2 and standard deviation (high - low) / 2
};

/// A nuisance parameter that the training moves.
struct LearningParameter {
  std::string name = {};                                        ///< of `nuisances`
  ThetaDistribution distribution = ThetaDistribution::uniform;  ///< of theta
  double low = -1.0;  ///< in units of its theta, not of its prior; a network's input of -1
  double high = 1.0;  ///< likewise; a network's input of 1
};

/// How classifier and adversary take turns.
enum class AdversarialSchedule {
  alternating,  ///< some steps of the adversary, then one of the classifier against it
  reversal,     ///< both at once, the gradient being turned round between them
};

/// The adversary, and the game with it.
struct AdversarialOptions {
  AdversaryOptions network = {};  ///< its type, layers and components
  double strength = 1.0;          ///< lambda: the classifier's loss is L_f - lambda L_r
  AdversarialSchedule schedule = AdversarialSchedule::alternating;  ///< who moves when
  std::int64_t pretraining = 600;     ///< steps of the classifier alone at first
  std::int64_t adversary_only = 200;  ///< then steps of the adversary alone
  std::int64_t adversary_steps = 5;   ///< alternating: of the adversary for one of the classifier
  double learning_rate = 2e-3;        ///< of the adversary (Adam)
  std::vector<std::string> processes = {};  ///< whose events it sees; empty: all
};

/// Learning with nuisance parameters.
struct LearningOptions {
  Strategy strategy = Strategy::nominal;           ///< what is done
  std::vector<LearningParameter> parameters = {};  ///< that are moved, and inputs
  AdversarialOptions adversary = {};               ///< adversarial
  /// two_networks: first steps that train the upper network alone, and as many for the lower one.
  std::int64_t alone = 0;
  std::string process = {};  ///< reweighting: whose events
};

/// The classifier.
struct ClassifierSource {
  ClassifierKind type = ClassifierKind::mlp;  ///< what it is
  std::vector<std::string> features = {};     ///< columns it sees; empty: all
  MlpOptions network = {};                    ///< mlp
  bool normalise = true;                      ///< mlp: inputs to mean 0 and width 1 of the training
  std::int64_t members = 1;                   ///< mlp: an ensemble of so many
  std::string path = {};                      ///< torch_script: file
  std::string column = {};                    ///< column: the score
  double threshold = 0.0;                     ///< two_networks: in units of the first theta
  bool trainable = true;                      ///< whether its weights are trained
  std::string weights = {};                   ///< mlp: NPZ file of another experiment to start from
};

/// Kinds of summary statistic.
enum class SummaryKind { histogram, softmax, linear };

/// What becomes of the score: bins.
struct SummaryOptions {
  SummaryKind type = SummaryKind::histogram;  ///< what it is
  std::int64_t bins = 5;                      ///< softmax, linear; histogram without edges
  std::vector<AxisOptions> axes = {};         ///< histogram: empty: `bins` equal ones in [0, 1]
  std::vector<std::string> columns = {};      ///< histogram: of the axes; empty: the score
  double bandwidth = 0.1;                     ///< histogram: of axes that are not given
  bool learnable = false;                     ///< histogram: edges of axes that are not given
  bool straight_through = false;              ///< hard values, soft derivatives
  double temperature = 1.0;                   ///< softmax
  Schedule annealing = {};                    ///< factor of bandwidths or temperature
  double ridge = 1e-6;                        ///< linear: share of the diagonal that is added
  double min_effective = 20.0;                ///< linear: effective entries of a bin
};

/// What a term of the loss is.
enum class LossKind {
  sigma,              ///< uncertainty of mu, nuisance parameters profiled
  log_sigma,          ///< its logarithm
  variance,           ///< its square: badly scaled, what INFERNO was published with
  log_cls,            ///< log of the median expected CLs
  log_p0,             ///< log of the median expected p0
  minus_z,            ///< minus the median expected significance
  upper_limit,        ///< median expected upper limit
  cross_entropy,      ///< balanced, of the nominal events
  one_sidedness,      ///< penalty, see one_sidedness_penalty()
  effective_entries,  ///< penalty, see effective_entries_penalty()
  efficiency,         ///< penalty of the cuts, see efficiency_penalty()
};

/// A term of the loss.
struct LossOptions {
  LossKind term = LossKind::log_sigma;  ///< what it is
  Schedule weight = {};                 ///< its factor
  std::int64_t from = 0;                ///< first step it counts in
  std::int64_t until = -1;              ///< first step it does not; negative: the end
  double mu = 1.0;                      ///< signal of the Asimov data, or the one tested
  double n_sigma = 0.0;                 ///< log_cls, upper_limit: band instead of the median
  double level = 0.05;                  ///< upper_limit: CLs there
  double minimum = 20.0;                ///< effective_entries: wanted in each bin
  std::string process = {};             ///< efficiency: whose; empty: the signal's
  Bound bound = Bound::at_least;        ///< efficiency: what it has to be
  double target = 0.9;                  ///< efficiency: the bound, share of the weight
  double width = 0.01;                  ///< efficiency: the penalty is 1 when it is so far off
  std::vector<double> at = {};          ///< theta where events are moved to; mean of the term there
  std::string parameter = {};           ///< of `at`; empty: the first to be learned
};

/// Kinds of optimiser.
enum class OptimizerKind { adam, adamw, sgd, rmsprop };

/// A later part of the training with another learning rate.
struct PhaseOptions {
  std::int64_t from = 1;                               ///< first step of it
  Schedule learning_rate{.start = 1e-3, .end = 1e-3};  ///< counted from there
  bool network = true;                                 ///< whether the network is trained in it
};

/// The optimiser.
struct OptimizerOptions {
  OptimizerKind type = OptimizerKind::adam;            ///< algorithm
  Schedule learning_rate{.start = 1e-3, .end = 1e-3};  ///< of the network
  double edges = 1.0;                                  ///< factor of the learning rate for edges
  double cuts = 1.0;                      ///< factor of the learning rate for thresholds
  double weight_decay = 0.0;              ///< as PyTorch defines it for the algorithm
  double momentum = 0.0;                  ///< sgd, rmsprop
  double clip = 0.0;                      ///< largest norm of the gradient; 0: any
  std::vector<PhaseOptions> phases = {};  ///< in the order of their steps
};

/// How the gradient of a loss of sums comes from batches.
enum class GradientMode {
  two_pass,  ///< the exact one of all events, in every step
  averaged,  ///< cotangents from averaged yields
  batch,     ///< the loss of one batch: biased; for large batches and comparisons
};

/// The training.
struct TrainingOptions {
  std::int64_t steps = 1000;                       ///< of the optimiser
  std::int64_t batch_size = 2000;                  ///< events of a batch
  GradientMode gradient = GradientMode::averaged;  ///< see there
  double averaging_rate = 0.05;                    ///< averaged: see AveragedYields
  std::int64_t validate_every = 50;                ///< steps between validations; 0: none
  std::int64_t patience = 0;                       ///< validations without improvement; 0: any
  bool keep_best = false;                          ///< result: weights of the best validation
  std::int64_t checkpoint_every = 200;             ///< steps between checkpoints; 0: at the end
};

/// What is computed with hard bins in the end.
struct EvaluationOptions {
  std::vector<double> mu = {1.0};  ///< sigma(mu) for each of these; CLs and p0 for the first
  bool fit = true;                 ///< profile fit with MINOS of the published workspace
  std::int64_t chunk = 100000;     ///< events at a time
  std::int64_t bootstrap = 0;      ///< Poisson bootstraps of the test events
  std::vector<double> auc = {};    ///< theta of the first parameter to be learned: area under the
                                   ///< curve of test events that are moved there
  std::vector<double> at = {};     ///< likewise: sigma(mu) of the first mu there
  /// reweighting: theta of the same parameter where nominal test events, reweighted, are compared
  /// with moved ones.
  std::vector<double> closure = {};
};

/// An experiment.
struct ExperimentOptions {
  std::string name = "experiment";              ///< for people
  std::string description = {};                 ///< for the report
  std::uint64_t seed = 1;                       ///< of the weights and of the order of the events
  std::int64_t threads = 1;                     ///< of LibTorch; results are the same to rounding
  std::string device = "cpu";                   ///< or "cuda"
  DataOptions data = {};                        ///< events
  std::vector<NuisanceOptions> nuisances = {};  ///< that act on events
  ModelSource model = {};                       ///< the rest of the likelihood
  ClassifierSource classifier = {};             ///< score
  LearningOptions learning = {};                ///< what it learns about nuisance parameters
  SelectionOptions selection = {};              ///< cuts
  SummaryOptions summary = {};                  ///< bins
  std::vector<LossOptions> loss = {LossOptions{}};  ///< terms of the loss
  OptimizerOptions optimizer = {};                  ///< steps
  TrainingOptions training = {};                    ///< loop
  EvaluationOptions evaluation = {};                ///< result
  std::vector<InferenceOptions> inferences = {};    ///< likelihoods over the range of a nuisance
  std::string base = {};  ///< folder of relative paths; not part of the document
};

/// Visits all members.
void experiment_fields(Fields& fields, ExperimentOptions& options);
/// Reads and checks a document.
/// \param base folder that relative paths are relative to
/// \throws Error (usage) with a JSON pointer: unknown keys, wrong types and ranges, and options
/// that
///   do not go together
ExperimentOptions read_experiment(const Json& document, const std::string& base = "");
/// The document in full.
nlohmann::ordered_json experiment_document(const ExperimentOptions& options);
/// Its JSON Schema.
nlohmann::ordered_json experiment_schema();

}  // namespace slalom
