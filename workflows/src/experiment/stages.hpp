// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "slalom/core/workspace.hpp"
#include "slalom/modules/pipeline.hpp"
#include "slalom/workflows/experiment.hpp"

/// \file
/// The stages of an experiment.
namespace slalom::experiment {

/// t(x) . c + c_K of another classifier's outputs: the efficient score of a linear summary.
class EfficientScoreImpl : public ClassifierImpl {
 public:
  /// \param network its outputs are t \param coefficients [K + 1]
  EfficientScoreImpl(Classifier network, const Tensor& coefficients);
  Tensor outputs(const Tensor& features, const Tensor& theta) override;
  bool piecewise_linear() const override;

 private:
  Classifier network_;
  Tensor coefficients_;
};

/// The workspace of the document, or one channel with a sample for each process: the signal's
/// normfactor, a histosys for each nuisance parameter of a process, a staterror if asked for.
/// \param bins of the channel
Workspace make_workspace(const ExperimentOptions& options, const ExperimentData& data,
                         const std::vector<Variation>& variations, std::int64_t bins);
/// The classifier; a network's normalisation is that of the training events.
Classifier make_classifier(const ExperimentOptions& options, const ExperimentData& data);
/// The axes of a histogram.
std::vector<AxisOptions> axes_of(const SummaryOptions& summary);
/// Everything in the order of the data; a classifier that knows theta is fixed at 0. \param edges
/// of a linear summary's final histogram; empty for any other
Pipeline make_pipeline(const ExperimentOptions& options, const ExperimentData& data,
                       const std::vector<Variation>& variations, const Classifier& classifier,
                       const std::vector<double>& edges = {});

}  // namespace slalom::experiment
