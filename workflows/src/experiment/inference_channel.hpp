// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "experiment/inference.hpp"

/// \file
/// Events at any theta, what is seen of them, and templates of it.
namespace slalom::experiment {

/// Data: the events at one theta, with how often each of them was found. All parts together.
struct Dataset {
  double truth = 0.0;                ///< theta of the events
  std::vector<Tensor> weights = {};  ///< [n] of each part; data without fluctuations
  std::vector<std::vector<std::int64_t>> drawn = {};  ///< or the events that were found
};

/// What is seen of events: a bin for each of them.
struct View {
  double theta = 0.0;                   ///< where the network is frozen
  std::int64_t bins = 0;                ///< of the histogram
  std::vector<Observable> observables;  ///< of each part; empty: the bins of the experiment
  /// Bin of each event [n] of each part, -1 for none, by nuisance parameter and theta.
  std::map<std::pair<std::string, double>, std::vector<Tensor>> bins_at = {};
};

/// The events of an experiment, and what the inferences share.
class InferenceEvents {
 public:
  InferenceEvents(const ExperimentOptions& options, const std::vector<Variation>& variations,
                  std::vector<InferencePart> parts);

  /// What events at theta are kept under: 0 is the same for all parameters.
  static std::pair<std::string, double> key_of(const std::string& name, double theta) {
    return {theta == 0.0 ? std::string() : name, theta};
  }
  /// Test events with nuisance parameter `name` at theta.
  const EventBatch& test_at(std::size_t part, const std::string& name, double theta);
  /// Events for calibration likewise: those of the validation, or of the training without them.
  EventBatch calibration_at(std::size_t part, const std::string& name, double theta) const;
  /// Poisson counts for the test events of a part [n].
  Tensor bootstrap_counts(std::size_t part, std::int64_t bootstrap) const;
  /// theta of the network [p] with one of its parameters at a value, the others at 0; undefined if
  /// it has none.
  Tensor network_theta(const std::string& name, double theta) const;

  /// The network frozen at theta.
  View frozen(const InferenceOptions& inference, double theta) const;
  /// The bins of the experiment.
  View summary() const;
  /// Bin of each event of a part with a parameter at theta; kept in the view.
  Tensor bins_of(View& view, std::size_t part, const std::string& name, double theta);
  /// Sums of weights and squared weights of test events [samples, 2, bins].
  /// \param factors of each part's weights [n]; may be empty
  Tensor fill(View& view, const std::string& name, double theta,
              const std::vector<Tensor>& factors = {});
  /// Contents of the bins for data.
  std::vector<double> count(View& view, const std::string& name, const Dataset& data);

  /// Data without fluctuations.
  Dataset asimov(const std::string& name, double theta, double mu);
  /// Data with fluctuations. \throws Error (usage) for negative weights
  Dataset draw(const Dataset& asimov, std::uint64_t toy) const;

  /// As given.
  const ExperimentOptions& options() const { return options_; }
  /// Names of the samples.
  const std::vector<std::string>& samples() const { return samples_; }
  /// As given.
  const std::vector<InferencePart>& parts() const { return parts_; }
  /// Place of a nuisance parameter. \throws Error (usage)
  std::size_t nuisance(const std::string& name) const;
  /// Whether it acts on a sample.
  bool acts_on(const std::string& name, const std::string& sample) const;

 private:
  EventBatch move(const EventBatch& events, const std::string& name, double theta) const;
  EventBatch reference_at(std::size_t part, const std::string& name, double theta,
                          const ObservableOptions& settings) const;

  const ExperimentOptions& options_;
  const std::vector<Variation>& variations_;
  std::vector<InferencePart> parts_;
  std::vector<std::string> samples_;
  std::map<std::pair<std::string, double>, std::vector<EventBatch>> moved_;
};

}  // namespace slalom::experiment
