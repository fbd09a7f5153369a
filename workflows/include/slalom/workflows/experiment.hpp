// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "slalom/core/error.hpp"
#include "slalom/core/workspace.hpp"
#include "slalom/modules/closure.hpp"
#include "slalom/modules/events.hpp"
#include "slalom/modules/pipeline.hpp"
#include "slalom/workflows/experiment_options.hpp"

/// \file
/// A training with everything around it: step by step in a program, or run() into a directory.
namespace slalom {

/// Events of an experiment. The weights of each sample add up to the expected yields.
struct ExperimentData {
  EventBatch train;                    ///< to train with
  EventBatch validation;               ///< to watch; may be empty (size 0)
  EventBatch test;                     ///< for the result
  Tensor test_ids;                     ///< [n] numbers of the test events, the same in all folds
  std::vector<std::string> processes;  ///< signal included
};

/// Figures of hard templates.
struct HardFigures {
  std::vector<double> sigma;      ///< sigma(mu), for each mu of the evaluation, profiled
  std::vector<double> stat;       ///< the same with all nuisance parameters held
  std::optional<double> log_cls;  ///< log of the median expected CLs at the first mu; absent if a
                                  ///< fit did not converge
  std::optional<double> z;        ///< median expected significance of the first mu; the same
};

/// A nuisance parameter in the result.
struct NuisanceResult {
  std::string name;         ///< of the parameter
  double constraint = 1.0;  ///< expected uncertainty over its prior
  double impact = 0.0;      ///< |change of mu| for one expected uncertainty
  double one_sided = 0.0;   ///< events: sum over bins where both variations lie on one side of
                            ///< min(|up - nominal|, |down - nominal|), by the signal's share
};

/// Separation of signal and background at one theta.
struct AucResult {
  double theta = 0.0;            ///< of the first parameter to be learned
  double auc = 0.0;              ///< test events there; a network that knows theta is told; mean
                                 ///< over folds
  std::optional<double> frozen;  ///< the same with such a network at theta = 0
};

/// A figure of events that are moved.
struct PointResult {
  std::string parameter;  ///< that moves them
  double theta = 0.0;     ///< where to
  /// sigma(mu) at the first mu there; a network that knows theta is told, a linear summary has that
  /// of all outputs.
  double sigma = 0.0;
};

/// Closure of a ratio at one theta.
struct ClosureResult {
  double theta = 0.0;       ///< of the first parameter to be learned
  SampleComparison before;  ///< nominal against moved test events
  SampleComparison after;   ///< the nominal ones reweighted
};

/// What the adversary finds in the end, on test events at random theta.
struct AdversaryResult {
  double loss = 0.0;     ///< L_r
  double blind = 0.0;    ///< the smallest L_r of one of its kind for a score that says nothing
  double entropy = 0.0;  ///< H of theta
};

/// What an experiment found. Everything with hard cuts and hard bins.
struct ExperimentResult {
  std::int64_t steps = 0;                        ///< of the training
  bool stopped_early = false;                    ///< patience ran out
  std::int64_t best_step = -1;                   ///< of the smallest validation loss; -1 without
  std::vector<double> mu;                        ///< of `sigma`
  HardFigures before;                            ///< on the test events, before training
  HardFigures train;                             ///< after it, on the events trained with
  HardFigures test;                              ///< on the test events: the result
  HardFigures soft;                              ///< with soft templates, on the test events
  double signal_yield = 0.0;                     ///< events at mu = 1, before cuts
  std::vector<double> edges;                     ///< of the (first) axis; empty for softmax
  std::vector<double> thresholds;                ///< of the cuts
  std::vector<double> efficiencies;              ///< of the cuts, hard, [samples]; share of the
                                                 ///< weight that is in bins; empty without cuts
  std::vector<std::string> samples;              ///< of `yields`
  std::vector<std::vector<double>> yields;       ///< hard, [samples][bins]
  std::vector<std::vector<double>> soft_yields;  ///< soft, [samples][bins]
  std::vector<double> bootstrap_sigma;           ///< test.sigma[0] of each bootstrap
  std::vector<double> effective_entries;         ///< of the background, by bin
  std::vector<NuisanceResult> nuisances;         ///< of those that act on events
  std::optional<double> mu_hat;                  ///< fit of the published workspace
  std::optional<double> mu_error;                ///< its uncertainty
  std::optional<double> minos_low;               ///< end of its interval
  std::optional<double> minos_high;              ///< end of its interval
  std::string fit_message;                       ///< of the fit
  std::vector<InferenceResult> inferences;       ///< in the order of the options
  std::vector<AucResult> auc;                    ///< for each of the evaluation
  std::vector<PointResult> at;                   ///< for each of the evaluation
  std::optional<AdversaryResult> adversary;      ///< of adversarial training
  std::vector<ClosureResult> closure;            ///< for each of the evaluation
  Warnings warnings;  ///< guards: nearly empty bins, over-constraint, ...
};

/// One line of the metrics.
struct Metrics {
  std::int64_t step = 0;                  ///< after so many steps
  std::optional<double> loss;             ///< of the step before, on its batch
  double learning_rate = 0.0;             ///< of that step
  std::optional<double> validation_loss;  ///< with hard bins
  std::optional<double> sigma;            ///< sigma(mu) at the first mu of the evaluation, hard,
                                          ///< on the validation events
  std::optional<double> adversary;        ///< L_r on the validation events at random theta
};

/// A training that can be advanced, saved, restored and evaluated. Everything that a step does
/// depends on the options and on the number of the step alone.
class Experiment {
 public:
  /// Reads or generates the events and builds the stages.
  /// \throws Error (usage, io, model) with the place in the document or file
  explicit Experiment(ExperimentOptions options);
  ~Experiment();
  /// Takes over the state of another experiment.
  Experiment(Experiment&&) noexcept;
  /// Takes over the state of another experiment.
  Experiment& operator=(Experiment&&) noexcept;

  /// All steps done, or stopped early.
  bool done() const;
  /// Steps done.
  std::int64_t step() const;
  /// One step, with a validation if it is due.
  /// \throws Error (numerical) that names the stage if something is not finite
  Metrics advance();
  /// Metrics before the first step.
  Metrics start();
  /// The remaining steps and the result.
  ExperimentResult run();
  /// Ends the training: best weights if asked for, edges of a linear summary; then the result on
  /// the test events. The stages stay as they are then.
  ExperimentResult evaluate();
  /// The workspace of the last evaluate(), with hard templates.
  const Workspace& workspace() const;
  /// Everything that the next steps depend on, as bytes of an NPZ file. \throws Error (io)
  void save(const std::filesystem::path& checkpoint) const;
  /// Goes on from there. \throws Error (io, usage) for a file of another experiment
  void restore(const std::filesystem::path& checkpoint);
  /// Writes the trained weights, by their names. \throws Error (io)
  void save_weights(const std::filesystem::path& file) const;

  /// The stages.
  Pipeline& pipeline();
  /// The events.
  const ExperimentData& data() const;
  /// As given.
  const ExperimentOptions& options() const;

 private:
  friend ExperimentResult evaluate_folds(std::vector<Experiment>& folds,
                                         std::optional<Workspace>& workspace);
  struct State;
  std::unique_ptr<State> state_;
};

/// The result as a document. \throws Error (numerical) for what is not finite
nlohmann::ordered_json result_document(const ExperimentOptions& options,
                                       const ExperimentResult& result);

/// How a run is followed.
struct RunHooks {
  /// Called after each step; returning false saves and stops.
  std::function<bool(const Metrics&, std::int64_t steps)> progress = {};
};

/// Result of cross-fitting: the yields of all folds' test events together, each with the training
/// that has not seen them. \param folds trained, in their order \param workspace of the result
/// \throws Error (usage) for no folds
ExperimentResult evaluate_folds(std::vector<Experiment>& folds,
                                std::optional<Workspace>& workspace);

/// Runs an experiment into a directory: experiment.json, metrics.jsonl, checkpoint.npz, and in the
/// end weights.npz, workspace.json and result.json. A directory with a checkpoint is gone on with.
/// With folds, each has its metrics, checkpoint and weights in a directory of its own below.
/// \returns nothing if it was stopped; run again to go on
/// \throws Error (usage) for a directory of another experiment, Error (io) if nothing can be
///   written there, and as Experiment
std::optional<ExperimentResult> run_in_directory(const ExperimentOptions& options,
                                                 const std::filesystem::path& directory,
                                                 const RunHooks& hooks = {});

/// Options of the experiment in a directory. \throws Error (io, usage)
ExperimentOptions experiment_of(const std::filesystem::path& directory);

}  // namespace slalom
