// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <torch/optim/optimizer.h>
#include <vector>

#include "experiment/inference.hpp"
#include "slalom/modules/adversary.hpp"
#include "slalom/modules/batching.hpp"
#include "slalom/modules/linear_summary.hpp"
#include "slalom/modules/loss.hpp"
#include "slalom/modules/tensor_files.hpp"
#include "slalom/workflows/experiment.hpp"

/// \file
/// What an experiment holds, shared by its source files.
namespace slalom {

/// Where the best validation was.
struct BestWeights {
  std::int64_t step = -1;     ///< -1: there was none
  double loss = 0.0;          ///< there
  std::int64_t since = 0;     ///< validations without improvement
  NamedTensors tensors = {};  ///< of the trained stages
};

/// Where sums over events are taken: a nuisance parameter that moves them, or nominal events.
struct ThetaPoint {
  std::int64_t nuisance = -1;  ///< place in the document; -1: nominal
  double theta = 0.0;          ///< in its units
  bool operator==(const ThetaPoint&) const = default;
};

/// A term of the loss that is a function of sums over events.
struct SumsTerm {
  std::size_t place = 0;              ///< in the document
  std::optional<ProfileLoss> figure;  ///< of the pipeline's likelihood, if it is a figure of merit
  std::vector<std::int64_t> points;   ///< of State::points: the term is the mean over them
  std::int64_t sample = -1;           ///< efficiency: whose
  double total = 0.0;                 ///< efficiency: of all its events
};

/// Events at random theta.
struct LearningBatch {
  EventBatch events;  ///< moved there
  Tensor theta;       ///< [n, p], in units of theta
};

struct EvaluationSums;

/// Everything that an experiment holds.
struct Experiment::State {
  explicit State(ExperimentOptions given);

  // What is trained: the pipeline, or the network of a linear summary.
  torch::nn::Module& trained();
  const torch::nn::Module& trained() const;
  bool linear() const { return options.summary.type == SummaryKind::linear; }

  // Sums over events, of which the loss is a function.
  Tensor sums_at(const EventBatch& events, const ThetaPoint& point);
  Tensor sums_of(const EventBatch& events);
  Tensor value_of(const SumsTerm& term, const Tensor& sums) const;
  Tensor loss_of(const Tensor& sums, std::int64_t at_step) const;
  void make_terms();
  void make_efficiency(SumsTerm& term) const;
  Tensor place_of(const ThetaPoint& point) const;

  // Cross entropy.
  LearningBatch batch_at(std::int64_t number) const;
  LearningBatch moved(const EventBatch& nominal, const Tensor& theta) const;
  LearningBatch validation_batch() const;
  Tensor outputs_of(const LearningBatch& batch);
  Tensor cross_entropy_of(const LearningBatch& batch);
  void choose_network();

  // The game with an adversary.
  void make_adversary();
  double backward_adversarial();
  double train_adversary(const LearningBatch& batch);
  Tensor adversary_loss_of(const LearningBatch& batch, const Tensor& scores);
  double adversary_on(const LearningBatch& batch);
  double weight_of(const LossOptions& term, std::int64_t at_step) const;
  double weight_of(LossKind kind, std::int64_t at_step) const;
  bool has_sums_term(std::int64_t at_step) const;

  // One step.
  double learning_rate(bool& network) const;
  double set_schedules();
  double backward();
  double backward_sums();
  double backward_cross_entropy();
  void check_finite(double loss);
  void validate(Metrics& metrics);

  // Evaluation.
  Tensor hard_sums(Pipeline& stages, const EventBatch& events, bool soft = false,
                   const ThetaPoint& point = {}, const Tensor& theta = {}) const;
  Templates templates_of(const Pipeline& stages, const Tensor& sums) const;
  double sigma_of(const Pipeline& stages, const Tensor& sums) const;
  double sigma_at(const EventBatch& events, const ThetaPoint& point) const;
  HardFigures figures_of(const Pipeline& stages, const Tensor& sums) const;
  Pipeline finished(const Classifier& network);
  Pipeline evaluate_into(EvaluationSums& sums);
  ExperimentResult result_of(const Pipeline& pipeline, const EvaluationSums& sums);
  void describe_samples(const Pipeline& pipeline, const Tensor& test,
                        ExperimentResult& result) const;
  Tensor first_theta(double value) const;
  AucResult auc_at(Pipeline& pipeline, double value) const;
  ThetaPoint first_point(double value) const;
  Tensor sums_there(Pipeline& pipeline, double value) const;
  ClosureResult closure_at(double value) const;
  AdversaryResult adversary_in_the_end();
  void describe_learning(Pipeline& pipeline, ExperimentResult& result);
  experiment::InferencePart inference_part() const;
  LinearMoments moments_of(const Classifier& network, const EventBatch& events,
                           const ThetaPoint& point = {}) const;
  Tensor entries_of(const Classifier& network, const EventBatch& events, const ThetaPoint& point,
                    Tensor& weights, Tensor& slopes) const;

  ExperimentOptions options;
  ExperimentData data;
  std::vector<Variation> variations;
  Classifier classifier{nullptr};  // as trained: with theta, if it is told
  Pipeline stages{nullptr};        // null while a linear summary is trained
  std::vector<ThetaPoint> points;  // of sums, in the order of their first dimension
  std::vector<SumsTerm> terms;
  std::unique_ptr<torch::optim::Optimizer> optimizer;
  Adversary adversary{nullptr};
  std::unique_ptr<torch::optim::Optimizer> adversary_optimizer;
  std::vector<double> rate_factors;    // of the optimiser's groups
  std::vector<bool> group_is_network;  // of the optimiser's groups
  std::optional<EventLoader> shuffled, in_order;
  AveragedYields averaged{1.0};
  Tensor prior;  // information of constraints [1 + nuisances]
  std::int64_t step = 0;
  bool stopped = false;
  BestWeights best;
  std::optional<Workspace> workspace;  // of the last evaluation
};

}  // namespace slalom
