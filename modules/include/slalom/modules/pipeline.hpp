// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch_module.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "slalom/core/workspace.hpp"
#include "slalom/modules/classifier.hpp"
#include "slalom/modules/events.hpp"
#include "slalom/modules/likelihood.hpp"
#include "slalom/modules/loss.hpp"
#include "slalom/modules/selection.hpp"
#include "slalom/modules/soft_histogram.hpp"
#include "slalom/modules/variations.hpp"

/// \file
/// The composition of all stages, from events to the figure of merit:
///
///     events -> variations -> classifier -> selection -> histogram -> templates -> likelihood ->
///     loss
///
/// with every intermediate in the result, and beside each soft template the hard one: hard cuts,
/// hard bins. Samples of a workspace are filled with the process of their name; the histosys of a
/// variation's name is filled with its up and down copies, a staterror with the root of the sums of
/// squared weights. Everything else of the workspace stays as it is.
///
/// A variation whose score is known needs no copies: its templates are nominal +- the yields of the
/// events with weights times score (SlopeMethod::score), from the same pass through the network.
namespace slalom {

/// What of the events the pipeline uses, and what it makes small.
struct PipelineOptions {
  std::string channel = {};                ///< that is filled; empty: the first of the workspace
  std::vector<std::string> features = {};  ///< columns for the classifier; empty: all
  /// Which events [n, boolean] the channel is filled with, asked of nominal and of shifted events,
  /// which may so come and go; empty: all. A hard choice: what is to be learned is a Selection.
  std::function<Tensor(const EventBatch&)> region = {};
  std::vector<Variation> variations = {};  ///< nuisances that act on events
  double step = 1.0;                       ///< of shifted copies; their effect is divided by it
  std::vector<double> steps = {};          ///< of each variation in its place; empty: `step`
  /// How each variation becomes up and down templates; empty: by copies, all of them.
  std::vector<SlopeMethod> slopes = {};
  /// Columns of the histogram's axes, "score" being the classifier's; empty: the score.
  std::vector<std::string> axes = {};
  ProfileLossOptions loss = {};  ///< the figure of merit
  /// Factor of one_sidedness_penalty(), for each histosys that is filled, added to the loss.
  double one_sidedness = 0.0;
  /// Another loss in place of the figure of merit.
  std::function<Tensor(const Likelihood&, const Templates&)> objective = {};
  ModelOptions model = {};  ///< measurement and interpolation codes
};

/// What came out of each stage.
struct PipelineResult {
  Tensor scores;      ///< of the nominal events (in the region), [n] or [n, K]
  Tensor efficiency;  ///< their soft efficiency of cuts [n]; undefined without cuts
  Tensor yields;      ///< sums of weights and of squared weights, [samples, 1 + 2 variations, 2, B]
  Tensor hard_yields;        ///< the same with hard cuts and bins, no graph
  Templates templates;       ///< the model's, with soft histograms; on the CPU
  Templates hard_templates;  ///< the model's, with hard ones: what is reported
  Tensor loss;               ///< of the soft templates; on the CPU
};

/// The same sums over the same events, in two ways.
struct SoftHardYields {
  Tensor soft;  ///< PipelineImpl::yields()
  Tensor hard;  ///< PipelineImpl::hard_yields()
};

/// A region for PipelineOptions: events with this value in a column.
std::function<Tensor(const EventBatch&)> column_region(std::string column, double value);

/// All stages. Sub-modules are registered: parameters() are those of network, cuts and edges.
class PipelineImpl : public torch::nn::Module {
 public:
  /// \param workspace the statistical model; yields of what is filled are place holders
  /// \param selection may be null: no cuts. A cut on the column "score" is one on the score.
  /// \throws Error (model) for a channel that is not there or has another number of bins, or a
  ///   variation without a histosys in any filled sample; Error (usage) for `slopes` of another
  ///   number than the variations, a missing score, or SlopeMethod::automatic
  PipelineImpl(Workspace workspace, Classifier classifier, Selection selection,
               SoftHistogram histogram, PipelineOptions options = {});
  /// With softmax bins: as many as the classifier has outputs.
  PipelineImpl(Workspace workspace, Classifier classifier, Selection selection,
               SoftmaxHistogram histogram, PipelineOptions options = {});

  /// Everything, for events whose weights add up to expected yields.
  /// \param theta parameters of a parameterised classifier
  /// \throws Error (usage) for events without a process that a sample is filled with
  PipelineResult forward(const EventBatch& events, const Tensor& theta = {});

  /// Sums over events, [samples, 1 + 2 variations, 2, B]: nominal, then up and down of each
  /// variation; what a mini-batch contributes.
  Tensor yields(const EventBatch& events, const Tensor& theta = {});
  /// The same with hard cuts and bins, without a graph.
  Tensor hard_yields(const EventBatch& events, const Tensor& theta = {});
  /// Both, with each event through the network once.
  SoftHardYields soft_and_hard_yields(const EventBatch& events, const Tensor& theta = {});
  /// Whether each event is in the region and passes the hard cuts, boolean [n].
  Tensor passes(const EventBatch& events, const Tensor& theta = {});
  /// Bin of each event with hard cuts and bins [n]; -1: it is in none.
  Tensor bin_of(const EventBatch& events, const Tensor& theta = {});
  /// yields() about another point: all events are moved to `place` first, and copies lie at one
  /// step from there. \param place theta of the variations [variations] \param hard as
  /// hard_yields() \throws Error (usage) for a variation by score, which is a slope at 0
  Tensor yields_at(const EventBatch& events, const Tensor& place, bool hard = false,
                   const Tensor& theta = {});
  /// The model's templates with yields in their places. The observed data of the channel become
  /// those expected at the initial values, unless the figure of merit is that of observed data.
  Templates templates(const Tensor& yields) const;
  /// The same with `others` in the places that the channel does not fill.
  Templates templates(const Tensor& yields, const Templates& others) const;
  /// The same with the observed data of `others`: all that figures of expected data need.
  Templates filled_templates(const Tensor& yields, const Templates& others) const;
  /// The loss of yields.
  Tensor loss(const Tensor& yields) const;
  /// What PipelineOptions::one_sidedness adds to it; undefined if that is 0.
  Tensor penalty(const Tensor& yields) const;

  /// The exact gradient of the loss of all batches together, added to `.grad` of the parameters,
  /// with the memory of one batch. \returns the loss. See two_pass_backward()
  double backward(const std::vector<EventBatch>& batches, const Tensor& theta = {});

  /// Sharpness, bandwidth or temperature of a step.
  void set_step(std::int64_t step);

  /// The workspace with hard templates, for publication: what pyhf reads.
  Workspace publish(const EventBatch& events, const Tensor& theta = {});

  /// The statistical model.
  const Likelihood& likelihood() const { return likelihood_; }
  /// As given.
  const Workspace& workspace() const { return workspace_; }
  /// Name of the channel that is filled.
  const std::string& channel() const { return channel_->name; }
  /// Names of the channel's samples, all of which are filled, in the order of the yields.
  const std::vector<std::string>& samples() const { return samples_; }
  /// As given.
  const PipelineOptions& options() const { return options_; }

  // The stages, in the order of the data; all may be exchanged.
  Classifier classifier{nullptr};               ///< scores
  Selection selection{nullptr};                 ///< cuts; may be null
  SoftHistogram histogram{nullptr};             ///< bins of one score, or null
  SoftmaxHistogram softmax_histogram{nullptr};  ///< or bins of several outputs

 private:
  enum class Wanted { soft, hard, both };
  struct Filled;
  struct Places;
  void prepare();
  void find_places();
  std::vector<std::int64_t> rows_of_columns() const;
  std::int64_t moving(std::size_t variation) const;
  bool by_score(std::size_t variation) const;
  double step_of(std::size_t variation) const;
  Tensor weights_of(const EventBatch& events, const std::vector<std::string>& samples) const;
  Tensor weight_rows(const EventBatch& events) const;
  Tensor scores_of(const EventBatch& events, const Tensor& theta);
  EventBatch in_region(const EventBatch& events) const;
  Tensor values_of(const EventBatch& events, const Tensor& scores,
                   const std::vector<std::string>& columns) const;
  std::vector<std::string> cut_columns() const;
  SoftHistogramResult bins_of(const Tensor& values, const Tensor& weights);
  Filled fill(const EventBatch& events, const Tensor& scores, const Tensor& weights, Wanted wanted);
  SoftHardYields all_yields(const EventBatch& events, const Tensor& theta, Wanted wanted,
                            Filled& nominal, const Tensor& place = {});
  Tensor columns_of(const std::vector<Tensor>& sums) const;
  ShiftedEvents copies_of(const EventBatch& events, std::size_t variation,
                          const Tensor& place) const;

  Workspace workspace_;
  PipelineOptions options_;
  Likelihood likelihood_;
  ProfileLoss figure_;
  const ChannelSpec* channel_ = nullptr;
  std::vector<std::string> samples_;
  std::shared_ptr<const Places> places_;
};
TORCH_MODULE(Pipeline);  ///< copies share one module

}  // namespace slalom
