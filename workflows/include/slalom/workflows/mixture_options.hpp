// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "slalom/core/json.hpp"
#include "slalom/core/mixture_interval.hpp"
#include "slalom/core/simulation_spread.hpp"
#include "slalom/workflows/fields.hpp"

/// \file
/// A measurement with a template-adapted mixture as a JSON document: an object of the members'
/// names with `"kind": "mixture"` (docs/mixture_experiments.md).
namespace slalom {

/// What the data are drawn from.
enum class MixtureTruth {
  target,    ///< the problem's own truth, or the histograms named for it
  held_out,  ///< a simulation that the mixture does not have
};

/// Simulations and data.
struct MixtureDataOptions {
  std::string problem = "biased_gaussians";  ///< built-in; empty: files
  std::string signal_pairs = {};             ///< problem: CSV file of its simulations; empty: drawn
  std::string background_pairs = {};         ///< problem: likewise, of the background
  std::int64_t pairs = 500;                  ///< problem: simulations that are drawn
  std::int64_t simulated = 500'000;          ///< problem: events of a simulation, for histograms
  std::string templates = {};                ///< CSV file with a histogram in each column
  std::vector<std::string> signal = {};      ///< columns of it, or files of events
  std::vector<std::string> background = {};  ///< likewise
  std::string true_signal = {};              ///< column or file that toys are drawn from
  std::string true_background = {};          ///< likewise
  std::string observed = {};                 ///< column of counts or file of events; empty: drawn
  std::vector<std::string> features = {};    ///< event files: columns that are binned
  std::string weight = {};                   ///< event files: column of simulations; empty: none
  std::vector<double> low = {};              ///< of each feature
  std::vector<double> high = {};             ///< of each feature
  std::vector<std::int64_t> bins = {50};     ///< along each axis; one number for all of them
  double epsilon = 1e-5;                     ///< added to the shares of histograms
  MixtureTruth truth = MixtureTruth::target;  ///< of drawn data
  double distance = 1.0;                      ///< held out: factor on its distance from the mean
  std::int64_t signal_events = 5'000;         ///< of a drawn data set
  std::int64_t background_events = 50'000;    ///< of a drawn data set
  std::uint64_t seed = 1;                     ///< of pairs, simulated events and the data
};

/// Where densities of simulations come from.
enum class MixtureDensities {
  exact,   ///< the problem's own
  binned,  ///< histograms
};

/// How a process is made of simulations.
enum class MixtureShape {
  exponential,  ///< product of powers
  linear,       ///< sum
  topics,       ///< sum of topics that are found in all simulations
};

/// What is assumed about its parameters.
enum class MixturePrior {
  ridge,       ///< weights near 1 / K
  population,  ///< natural parameters like those of the simulations
  dirichlet,   ///< linear weights
};

/// How topics are found.
enum class TopicMethod {
  nmf,  ///< non-negative matrix factorisation
  lda,  ///< latent Dirichlet allocation
};

/// Topics.
struct MixtureTopicsOptions {
  TopicMethod method = TopicMethod::nmf;  ///< how they are found
  std::int64_t count = 5;                 ///< of each process
  std::int64_t starts = 1;                ///< of which the best is taken
  std::int64_t iterations = 2'000;        ///< at most
};

/// The mixture.
struct MixtureModelOptions {
  MixtureShape family = MixtureShape::exponential;  ///< how it is made
  MixturePrior prior = MixturePrior::population;    ///< of its parameters
  std::int64_t simulations = 20;                    ///< K, drawn of all; 0: all
  /// Ridge: lambda; population: factor on widths; dirichlet: concentration.
  double strength = 1.0;
  Shrinkage shrinkage = Shrinkage::oas;  ///< population: of the covariance
  bool student = false;                  ///< population: Student's t
  std::int64_t directions = 0;           ///< population: at most; 0: all that there are
  MixtureTopicsOptions topics = {};      ///< of topics
  double kappa_low = -0.3;               ///< bound; below 0 a fit may subtract signal
  double kappa_high = 0.9;               ///< bound
};

/// The quoted error.
struct MixtureErrorOptions {
  MixtureError type = MixtureError::marginal;  ///< which one
  std::int64_t points = 41;                    ///< marginal: of the grid
  double range = 5.0;                          ///< marginal: of the grid, in Laplace errors
  std::int64_t chains = 4;                     ///< hmc
  std::int64_t warmup = 500;                   ///< hmc: draws that are dropped
  std::int64_t draws = 500;                    ///< hmc: of each chain
};

/// Each simulation of the fit in turn is the truth, and others make the mixture.
struct LeaveOneOutRunOptions {
  bool enabled = true;                         ///< look
  std::vector<std::int64_t> simulations = {};  ///< K to try; empty: all that are left
  std::vector<double> strengths = {};          ///< of the prior to try; empty: the mixture's
  std::int64_t toys = 4;                       ///< data sets of each truth
};

/// Draws of simulations times data sets.
struct MixtureToysRunOptions {
  bool enabled = true;      ///< run them
  std::int64_t draws = 30;  ///< of simulations
  std::int64_t toys = 20;   ///< data sets of each
  std::vector<double> levels = {0.05, 0.1,    0.2, 0.3, 0.4,  0.5,
                                0.6,  0.6827, 0.8, 0.9, 0.95, 0.99};  ///< of the coverage curve
};

/// A whole measurement.
struct MixtureExperimentOptions {
  std::string name = "mixture";                          ///< for people
  std::string description = {};                          ///< for the report
  std::uint64_t seed = 1;                                ///< of draws, toys and samplers
  std::int64_t threads = 1;                              ///< of oneTBB
  MixtureDataOptions data = {};                          ///< simulations and data
  MixtureDensities densities = MixtureDensities::exact;  ///< of simulations
  MixtureModelOptions mixture = {};                      ///< how the truth is made of them
  MixtureErrorOptions error = {};                        ///< what is quoted
  LeaveOneOutRunOptions leave_one_out = {};              ///< stage
  MixtureToysRunOptions toys = {};                       ///< stage
  std::string base = {};  ///< folder of relative paths; not part of the document
};

/// Whether a document is one of these: its member `kind` says so. \throws Error (usage) for a kind
/// that does not exist
bool is_mixture_document(const Json& document);
/// Visits all members.
void mixture_fields(Fields& fields, MixtureExperimentOptions& options);
/// Reads and checks a document. \param base folder that relative paths are relative to
/// \throws Error (usage) with a JSON pointer
MixtureExperimentOptions read_mixture(const Json& document, const std::string& base = "");
/// The document in full.
nlohmann::ordered_json mixture_document(const MixtureExperimentOptions& options);
/// Its JSON Schema.
nlohmann::ordered_json mixture_schema();

}  // namespace slalom
