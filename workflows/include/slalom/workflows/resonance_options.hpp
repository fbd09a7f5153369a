// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "slalom/core/json.hpp"
#include "slalom/modules/feature_transform.hpp"
#include "slalom/modules/flow.hpp"
#include "slalom/workflows/fields.hpp"

/// \file
/// A resonance search as a JSON document: an object of the members' names with `"kind":
/// "resonance"` (docs/resonance.md).
namespace slalom {

/// Events of a search.
struct ResonanceDataOptions {
  std::string problem = "dijets";          ///< built-in; empty: files
  std::int64_t region_events = 60'000;     ///< problem: background events expected in the region
  double signal_fraction = 0.01;           ///< problem: injected, of `region_events`
  std::vector<double> theta = {};          ///< problem: of the injected signal; empty: its own
  std::int64_t simulated = 100'000;        ///< problem: signal events for methods that simulate it
  std::string path = {};                   ///< file of the data: CSV, NPZ or HDF5
  std::string simulation = {};             ///< file of simulated signal; empty: none
  bool lhco = false;                       ///< files have the columns of the LHC Olympics
  std::string mass = "mjj";                ///< column of the mass
  std::vector<std::string> features = {};  ///< columns; empty: all but the mass and the label
  std::vector<std::string> parameters = {};  ///< columns of theta in the simulation
  std::string label = {};                    ///< column that says what is signal; empty: none
  std::vector<FeatureMap> maps = {};         ///< of each feature; empty: those of the problem
  std::vector<double> low = {};   ///< of each feature, for its logit; empty: from the sidebands
  std::vector<double> high = {};  ///< likewise
  double region_low = 3.3;        ///< lower end of the signal region
  double region_high = 3.7;       ///< upper end of the signal region
  double mass_low = 2.5;          ///< lower end of the lower sideband
  double mass_high = 5.0;         ///< upper end of the upper sideband
  std::uint64_t seed = 1;         ///< of the generator
};

/// Where the background's density comes from.
enum class BackgroundKind { flow, flow_matching, exact };

/// The density of the background p_B(x | mass), from the sidebands.
struct BackgroundOptions {
  BackgroundKind type = BackgroundKind::flow;  ///< what it is
  std::int64_t max_events = 200'000;           ///< of the sidebands, at random
  double validation = 0.25;                    ///< share of them kept back, also for the guard
  FlowKind flow = FlowKind::affine;            ///< flow: kind of its layers
  std::int64_t layers = 8;                     ///< of the flow, or of the velocity
  std::int64_t hidden = 64;                    ///< width of its networks
  std::int64_t bins = 8;                       ///< spline: bins
  std::int64_t steps = 3'000;                  ///< of the training
  std::int64_t batch_size = 2'048;             ///< events of a batch
  double learning_rate = 2e-3;                 ///< at first
  std::int64_t ensemble = 1;                   ///< densities that are averaged
};

/// The guard against a bad density of the background.
struct GuardOptions {
  bool enabled = true;    ///< look
  double max_q0 = 9.0;    ///< a signal is found in sideband events: not passed
  double max_auc = 0.51;  ///< a classifier tells sideband events from the density: not passed
};

/// RANODE: the signal's density and fraction from the data alone.
struct RanodeRunOptions {
  bool enabled = true;             ///< run it
  std::int64_t folds = 2;          ///< of the cross-fitting, > 1
  std::int64_t ensemble = 1;       ///< signal densities of each fold
  std::int64_t layers = 4;         ///< of the signal's flow
  std::int64_t hidden = 16;        ///< width of its networks
  std::int64_t epochs = 30;        ///< of a training
  std::int64_t batch_size = 1024;  ///< events of a batch
  double learning_rate = 2e-3;     ///< of the flow
  double fraction_rate = 0.03;     ///< of w in the joint fit: share of a step of EM
  double start = 1e-3;             ///< w at first
  std::vector<double> scan = {1e-4, 3e-4, 1e-3, 2e-3, 4e-3, 7e-3, 0.012, 0.02, 0.04};  ///< w held
  std::int64_t bootstraps = 100;  ///< for the error of the scan
};

/// PAWS: a ratio learned from simulated signal of all theta, fitted to the data.
struct PawsRunOptions {
  bool enabled = true;                          ///< run it
  std::vector<std::int64_t> hidden = {64, 64};  ///< of the network (SiLU, with a linear part)
  std::int64_t degree = 3;                      ///< of the polynomial in theta
  std::int64_t steps = 4000;                    ///< of its training
  std::int64_t batch_size = 4096;               ///< events of a batch
  double learning_rate = 5e-3;                  ///< largest one
  std::int64_t starts = 4;                      ///< of the fit of (mu, theta)
  std::int64_t toys = 0;                        ///< of the background for the p-value; 0: none
};

/// A classifier of two samples with cross-fitting, whose score is cut on.
struct ScoreRunOptions {
  bool enabled = true;                          ///< run it
  std::int64_t folds = 5;                       ///< of the cross-fitting, > 1
  std::int64_t ensemble = 2;                    ///< networks of each fold
  std::vector<std::int64_t> hidden = {64, 64};  ///< of a network (SiLU)
  std::int64_t steps = 600;                     ///< of its training
  std::int64_t batch_size = 4096;               ///< events of a batch
  double learning_rate = 2e-3;                  ///< at first
  double weight_decay = 0.01;                   ///< of AdamW
};

/// The bump hunt.
struct BumpHuntRunOptions {
  bool enabled = true;          ///< run it
  std::int64_t bins = 50;       ///< of the spectrum, between the ends of the sidebands
  std::int64_t parameters = 3;  ///< of the dijet function
  double mass = 3.5;            ///< of the resonance
  double width = 0.1;           ///< its standard deviation
};

/// A whole search.
struct ResonanceOptions {
  std::string name = "resonance";         ///< for people
  std::string description = {};           ///< for the report
  std::uint64_t seed = 1;                 ///< of weights and batches
  std::int64_t threads = 1;               ///< of LibTorch
  ResonanceDataOptions data = {};         ///< events
  BackgroundOptions background = {};      ///< its density
  std::int64_t reference_factor = 10;     ///< background events drawn for each event in the region
  GuardOptions guard = {};                ///< of the density
  RanodeRunOptions ranode = {};           ///< method
  PawsRunOptions paws = {};               ///< method
  ScoreRunOptions anomaly_detector = {};  ///< data against the reference
  ScoreRunOptions supervised = {};        ///< simulated signal against the reference
  BumpHuntRunOptions bump_hunt = {};      ///< mass spectrum alone, and after the best cut
  double background_efficiency = 1e-3;    ///< of the cuts on scores
  std::string base = {};                  ///< folder of relative paths; not part of the document
};

/// Whether a document is a resonance search: its member `kind` says so. \throws Error (usage) for a
/// kind that does not exist
bool is_resonance_document(const Json& document);
/// Visits all members.
void resonance_fields(Fields& fields, ResonanceOptions& options);
/// Reads and checks a document. \param base folder that relative paths are relative to
/// \throws Error (usage) with a JSON pointer
ResonanceOptions read_resonance(const Json& document, const std::string& base = "");
/// The document in full.
nlohmann::ordered_json resonance_document(const ResonanceOptions& options);
/// Its JSON Schema.
nlohmann::ordered_json resonance_schema();

}  // namespace slalom
