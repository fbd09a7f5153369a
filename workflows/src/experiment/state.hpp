// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <torch/optim/optimizer.h>
#include <vector>

#include "experiment/inference.hpp"
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

/// A term of the loss that is a figure of merit.
struct FigureTerm {
  LossOptions options;  ///< as given
  ProfileLoss figure;   ///< of the pipeline's likelihood
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
  Tensor sums_of(const EventBatch& events);
  Tensor loss_of(const Tensor& sums, std::int64_t at_step) const;
  Tensor cross_entropy_of(const EventBatch& events, const Tensor& theta);
  Tensor theta_for(const EventBatch& events, std::int64_t at_step, bool validation) const;
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
  Tensor hard_sums(Pipeline& stages, const EventBatch& events, bool soft = false) const;
  Templates templates_of(const Pipeline& stages, const Tensor& sums) const;
  double sigma_of(const Pipeline& stages, const Tensor& sums) const;
  HardFigures figures_of(const Pipeline& stages, const Tensor& sums) const;
  Pipeline finished(const Classifier& network);
  Pipeline evaluate_into(EvaluationSums& sums);
  ExperimentResult result_of(const Pipeline& pipeline, const EvaluationSums& sums);
  void describe_samples(const Pipeline& pipeline, const Tensor& test,
                        ExperimentResult& result) const;
  LinearMoments moments_of(const Classifier& network, const EventBatch& events) const;
  experiment::InferencePart inference_part() const;
  Tensor entries_of(const Classifier& network, const EventBatch& events, Tensor& weights,
                    Tensor& slopes) const;

  ExperimentOptions options;
  ExperimentData data;
  std::vector<Variation> variations;
  Classifier classifier{nullptr};  // as trained: with theta, if it is told
  Pipeline stages{nullptr};        // null while a linear summary is trained
  std::vector<FigureTerm> figures;
  std::unique_ptr<torch::optim::Optimizer> optimizer;
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
