// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch_module.hpp"

#include <cstdint>
#include <functional>
#include <vector>

#include "slalom/modules/pipeline.hpp"

/// \file
/// Several channels of one workspace, filled from the same events: control and signal regions with
/// one network, trained on one figure of merit.
namespace slalom {

/// What all channels share.
struct JointPipelineOptions {
  ProfileLossOptions loss = {};  ///< the figure of merit
  /// Another loss in place of the figure of merit.
  std::function<Tensor(const Likelihood&, const Templates&)> objective = {};
};

/// What came out of all channels together.
struct JointPipelineResult {
  Tensor yields;             ///< of all channels one after another, each as Pipeline::yields, flat
  Tensor hard_yields;        ///< the same with hard cuts and bins, no graph
  Templates templates;       ///< the model's, with soft histograms; on the CPU
  Templates hard_templates;  ///< the model's, with hard ones: what is reported
  Tensor loss;               ///< of the soft templates; on the CPU
};

/// A pipeline for each of several channels. Stages may be shared: parameters() has each once.
class JointPipelineImpl : public torch::nn::Module {
 public:
  /// \param channels pipelines of the same workspace, each for another channel, with its own
  ///   region, cuts and bins; their loss and objective are not used, their one_sidedness is
  /// \throws Error (model) for none, for two of one channel, or for other workspaces
  explicit JointPipelineImpl(std::vector<Pipeline> channels, JointPipelineOptions options = {});

  /// Everything; each channel takes the events of its region.
  /// \throws Error (usage) for events in two regions, if all channels have one
  JointPipelineResult forward(const EventBatch& events, const Tensor& theta = {});

  /// Sums over events; what a mini-batch contributes. \throws Error (usage) as forward()
  Tensor yields(const EventBatch& events, const Tensor& theta = {});
  /// The same with hard cuts and bins, without a graph.
  Tensor hard_yields(const EventBatch& events, const Tensor& theta = {});
  /// The model's templates with yields in their places.
  Templates templates(const Tensor& yields) const;
  /// The loss of yields.
  Tensor loss(const Tensor& yields) const;
  /// The exact gradient of the loss of all batches together; see PipelineImpl::backward()
  double backward(const std::vector<EventBatch>& batches, const Tensor& theta = {});
  /// Sharpness, bandwidth or temperature of a step.
  void set_step(std::int64_t step);
  /// The workspace with hard templates in all its filled channels.
  Workspace publish(const EventBatch& events, const Tensor& theta = {});

  /// The statistical model.
  const Likelihood& likelihood() const { return channels_.front()->likelihood(); }
  /// As given.
  const std::vector<Pipeline>& channels() const { return channels_; }
  /// As given.
  const JointPipelineOptions& options() const { return options_; }

 private:
  void check_workspaces() const;
  void check_regions(const EventBatch& events) const;
  Tensor part(std::size_t channel, const Tensor& yields) const;
  Templates filled_templates(const Tensor& yields) const;

  std::vector<Pipeline> channels_;
  JointPipelineOptions options_;
  ProfileLoss figure_;
};
TORCH_MODULE(JointPipeline);  ///< copies share one module

}  // namespace slalom
