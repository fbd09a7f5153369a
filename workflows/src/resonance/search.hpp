// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "experiment/stage_files.hpp"
#include "resonance/resonance_data.hpp"
#include "slalom/modules/density.hpp"
#include "slalom/modules/feature_transform.hpp"
#include "slalom/modules/paws.hpp"
#include "slalom/modules/two_sample.hpp"
#include "slalom/workflows/ranode.hpp"
#include "slalom/workflows/resonance.hpp"

/// \file
/// The stages of a search. Each has figures for result.json and tensors for the stages after it.
namespace slalom::resonance {

using experiment::StageOutput;
using experiment::StageProgress;

/// A search with its events, in the coordinates that the densities work in: z of the features, with
/// the mass as it is.
class Search {
 public:
  /// Generates or reads the events and fits the transform of the features to the sidebands.
  explicit Search(ResonanceOptions options);

  /// Numbers of events.
  StageOutput events() const;
  /// Density of the background from the sidebands: weights, and log p_B of the events in the
  /// region.
  StageOutput background(const StageProgress& progress);
  /// Takes the density over. \param background what that stage has found
  void set_background(const StageOutput& background);
  /// Events drawn from the density, at masses of the region.
  StageOutput reference() const;
  /// Takes them over.
  void set_reference(const StageOutput& reference);
  /// Whether the density can be believed: RANODE and a classifier on sideband events kept back.
  StageOutput guard(const StageProgress& progress) const;
  /// Signal density and fraction, fitted to the region.
  StageOutput ranode(const StageProgress& progress) const;
  /// Classifier of the region against the reference, cross-fitted.
  StageOutput anomaly_detector(const StageProgress& progress) const;
  /// Classifier of simulated signal against the reference.
  StageOutput supervised(const StageProgress& progress) const;
  /// Ratio for all theta, trained with simulated signal and the reference, fitted to the region.
  StageOutput paws(const StageProgress& progress) const;
  /// Fit of the mass spectrum of all data.
  StageOutput bump_hunt() const;
  /// The fraction by the exact densities, where there are any.
  StageOutput exact() const;
  /// Whether there are exact densities.
  bool has_exact() const { return problem_.has_value(); }

  /// As given.
  const ResonanceOptions& options() const { return options_; }
  /// As they are.
  const SearchEvents& data() const { return data_; }

 private:
  Tensor transformed(const EventBatch& events) const;
  Density density() const;
  RanodeOptions ranode_options(std::uint64_t seed, const StageProgress& progress) const;
  static TwoSampleOptions two_sample_options(const ScoreRunOptions& run, std::uint64_t seed);
  /// Edges and events of all data. \param region_weights of the events in the region, or undefined
  std::pair<std::vector<double>, std::vector<double>> mass_spectrum(
      const Tensor& region_weights) const;
  Tensor condition(const EventBatch& events) const;
  Density make_background(std::uint64_t seed) const;
  Tensor exact_log_background(const EventBatch& events) const;
  EventBatch transformed_events(const Tensor& z) const;
  nlohmann::ordered_json closure_figures(const EventBatch& events, const Tensor& drawn) const;
  /// Adds the significance improvement by the truth, if there is one. \param score [region]
  void add_improvement(StageOutput& output, const Tensor& score) const;
  /// Events in bins of the mass that a mixture holds for signal. \param log_ratio [region]
  std::vector<double> signal_spectrum(const Tensor& log_ratio, double fraction) const;
  StageOutput paws_figures(const PawsLikelihood& likelihood, PawsFit& fit,
                           const PawsOptions& options) const;
  /// Fraction and theta with the bias of the ratio taken off by simulation at theta.
  nlohmann::ordered_json corrected_figures(const PawsRatios& ratios, const PawsFit& fit,
                                           const Tensor& background,
                                           const PawsOptions& options) const;
  nlohmann::ordered_json theta_figures(const PawsFit& fit) const;
  StageOutput score_figures(const Tensor& region, const Tensor& reference) const;

  ResonanceOptions options_;
  SearchEvents data_;
  FeatureTransform transform_{nullptr};
  std::optional<ResonanceProblem> problem_;
  std::int64_t trained_ = 0;    // sideband events that the density is trained with: the first ones
  std::int64_t kept_back_ = 0;  // those after them
  std::int64_t out_of_range_ = 0;  // events in the region that were dropped
  std::vector<Density> members_;   // of the background; empty for the exact one
  Tensor log_background_;          // of the region [n]
  Tensor held_out_;                // of the sideband events kept back
  Tensor reference_;               // z [m, d]
};

}  // namespace slalom::resonance
