// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "slalom/core/model.hpp"

/// \file
/// Removes variations too small to matter, and says which. Like the other operations it works on
/// documents (see workspace_operations.hpp).
///
/// A histosys with varied yields v_b of a sample with nominal yields n_b is split into its
/// normalisation k = sum v / sum n and its shape v_b / k; a normsys is a normalisation. The effect
/// of a normalisation is |k - 1|, that of a shape max_b |v_b / (k n_b) - 1|, each the larger of up
/// and down.
namespace slalom {

/// Effects below which a variation is removed; an absent one removes nothing.
struct PruningThresholds {
  std::optional<double> normalisation;  ///< relative, >= 0: 0.005 is half a percent
  std::optional<double> shape;          ///< relative, >= 0, in the bin with the largest effect
};

/// Which part of a variation was removed.
enum class PrunedPart {
  all,            ///< the modifier
  normalisation,  ///< a histosys keeps its shape: v_b / k
  shape,          ///< a histosys keeps its normalisation: k n_b
};

/// "all", "normalisation" or "shape".
const char* to_string(PrunedPart part);

/// One removal.
struct PrunedVariation {
  std::string channel;         ///< where
  std::string sample;          ///< where
  std::string modifier;        ///< name
  std::string type;            ///< "normsys" or "histosys"
  PrunedPart part;             ///< what
  double normalisation = 0.0;  ///< effect
  double shape = 0.0;          ///< effect; 0 for a normsys and in channels of one bin
};

/// What was done.
struct PruningReport {
  std::vector<PrunedVariation> pruned;  ///< in the order of the document
  std::vector<std::string> parameters;  ///< parameters that no modifier is left of
  std::size_t n_variations = 0;         ///< normsys and histosys before
};

/// The workspace without the normalisation and shape effects below the thresholds, judged for each
/// sample of each channel by itself. Samples without yields, or with a bin that has variations but
/// no nominal yield, keep their histosys; a parameter that some measurement has as its POI keeps
/// everything. The configuration of parameters that vanish goes with them.
/// \param report filled if not null
/// \throws Error (usage) for a threshold below 0
/// \throws Error (workspace) if document or result are no valid workspace
nlohmann::json prune_small(const nlohmann::json& document, const PruningThresholds& thresholds,
                           PruningReport* report = nullptr);

/// The results that pruning should not change: compare those before and after.
struct ResultSummary {
  std::size_t n_parameters = 0;  ///< of the model
  /// -2 log L at the best fit without the constants log(2 pi sigma^2) of Gaussian constraints, so
  /// that removing a parameter whose pull is 0 changes nothing.
  double twice_nll = 0.0;
  bool has_poi = false;                ///< the rest is 0 without a parameter of interest
  double best_fit = 0.0;               ///< of the POI
  double error = 0.0;                  ///< its uncertainty; 0 at a bound
  double limit = 0.0;                  ///< observed upper limit, CLs = 0.05
  double expected_limit = 0.0;         ///< median
  double significance = 0.0;           ///< observed
  double expected_significance = 0.0;  ///< median for a POI of 1
  bool converged = false;              ///< all fits
  std::string message;                 ///< what did not
};

/// Fits the observed data and does the asymptotic tests.
ResultSummary summarise_result(const Model& model);

}  // namespace slalom
