// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "slalom/core/error.hpp"
#include "slalom/core/fit.hpp"

/// \file
/// Samples that several simulations describe, none of which needs to be right: a mixture of all of
/// them in place of an interpolation between two (two-point and many-point systematics).
///
/// With yields t_k of K simulations, in all bins of all samples that they describe,
///
///     t = sum_k w_k t_k,   sum_k w_k = 1,   w = base + M theta,   theta_d ~ N(0, 1).
///
/// The directions M are the principal components of the simulations about the centre, in units of
/// the statistical error of the data, by falling variance; each is one nuisance parameter that all
/// samples and channels share. Weights may be negative: t is linear everywhere.
///
/// The truth is taken for one more draw of the population of the simulations. About their mean m
/// its covariance is (1 + 1/K) sum_k (t_k - m)(t_k - m)^T / (K - 1); about one of them, c, it is
/// sum_k (t_k - c)(t_k - c)^T / (K - 1), which for K = 2 is the usual symmetrised variation.
namespace slalom {

/// What is kept of the yields of the simulations.
enum class Normalise {
  none,     ///< all of it: yields and shapes
  sample,   ///< shapes and ratios of channels: totals of a sample are those of the workspace
  channel,  ///< shapes: totals of a sample in each channel are those of the workspace
};
/// "none", "sample" or "channel".
const char* to_string(Normalise normalise);

/// Yields of one sample in one channel as the simulations have it.
struct SimulatedSample {
  std::string channel;                        ///< name
  std::string sample;                         ///< name
  std::vector<std::vector<double>> yields{};  ///< [K][n_bins], in the order of the simulations
};

/// Simulations of some samples that go together.
struct Alternatives {
  std::string name;  ///< of the nuisance parameter; with several directions `name_1`, `name_2`, ...
  std::vector<std::string> simulations{};  ///< names, without that of the workspace, sorted
  std::string nominal{};  ///< name of the workspace's own yields, which are one more simulation
                          ///< then; empty if they are none
  std::string centre{};   ///< name of a simulation, or of the workspace's; empty for the mean
  Normalise normalise = Normalise::none;   ///< before anything else
  std::vector<std::string> replaces{};     ///< modifiers that these samples lose
  std::size_t max_directions = 0;          ///< those of the largest variance; 0 for all
  double scale = 1.0;                      ///< factor on the widths of the prior
  std::vector<SimulatedSample> samples{};  ///< at least one
};

/// Reads a document:
///
///     {"alternatives": [{"name": "ttbar_generator", "nominal": "powheg", "centre": "mean",
///       "normalise": "none", "replaces": ["ttbar_shower"], "max_directions": 3, "scale": 1,
///       "samples": [{"channel": "SR", "sample": "ttbar",
///                    "simulations": {"herwig": [...], "sherpa": [...]}}]}]}
///
/// All but `name` and `samples` have defaults.
/// \throws Error (usage) with the JSON pointer: keys, types, numbers that are not finite, lists of
///   other lengths, other simulations than in the first sample, fewer than two simulations, two
///   that are equal, names that occur twice
std::vector<Alternatives> parse_alternatives(const nlohmann::json& document);

/// One direction of a mixture: a nuisance parameter.
struct MixtureDirection {
  std::string parameter;  ///< its name
  double share = 0.0;     ///< of the variance of all directions, in units of statistical errors
  std::vector<double> weights;  ///< d w_k / d theta [K]; sum 0
};

/// How a mixture depends on its parameters.
struct SampleMixture {
  std::string name;                            ///< of the alternatives
  std::vector<std::string> simulations{};      ///< names [K], the workspace's own first
  std::vector<double> base{};                  ///< weights of the centre [K]; sum 1
  std::vector<MixtureDirection> directions{};  ///< by falling variance [D]
  bool complete = true;  ///< no direction was left out: the simulations fix the weights
};

/// The workspace with mixtures in place of the samples: nominal yields at the centre, and one
/// histosys a direction whose variations lie opposite each other, so that code0 and code4p are
/// lines (code2 jumps at +-1). Other variations and per-bin uncertainties keep their size relative
/// to the nominal yields (where these were 0, their absolute size).
/// \param mixtures where the mixtures are appended, in the order of the alternatives; null drops
///   them
/// \param warnings where warnings are appended: yields below 0 within one width of the prior
/// \throws Error (usage) at `/alternatives/...`: channels, samples or modifiers that are not there,
///   numbers of bins, names of parameters that are taken, samples in two alternatives unless the
///   centre of both is the workspace, simulations that do not differ
/// \throws Error (workspace) if document or result are no valid workspace
nlohmann::json mix(const nlohmann::json& document, const std::vector<Alternatives>& alternatives,
                   std::vector<SampleMixture>* mixtures = nullptr, Warnings* warnings = nullptr);

/// What a fit says of a direction.
struct FittedDirection {
  std::string parameter;    ///< its name
  double share = 0.0;       ///< as in MixtureDirection
  double pull = 0.0;        ///< (value - auxiliary datum) / width of the prior
  double constraint = 0.0;  ///< error / width of the prior; 0 where it is held
};
/// Weight of a simulation at the best fit.
struct FittedWeight {
  std::string simulation;  ///< its name
  double value = 0.0;      ///< w_k; all sum to 1
  double error = 0.0;      ///< from the covariance of the fit
};
/// What the data say of a mixture.
struct MixtureFitReport {
  std::string name;                           ///< of the alternatives
  std::vector<FittedWeight> weights{};        ///< [K]
  std::vector<FittedDirection> directions{};  ///< [D]
  bool complete = true;  ///< as in SampleMixture: otherwise the weights are the smallest ones
  /// Sum of squares of the pulls over the combinations that data measure, each in units of the
  /// scatter that the prior predicts for its fit: prior variance less that of the posterior.
  double chi2 = 0.0;
  std::size_t degrees = 0;    ///< combinations of which data take away 10 % of the variance or more
  double p_value = 1.0;       ///< chance of more if the truth is drawn from the prior
  double chi2_prior = 0.0;    ///< plain sum of squares of the pulls
  double narrowest = 1.0;     ///< smallest posterior width of a combination / that of the prior
  std::string channel{};      ///< that tells most about this combination
  double channel_part = 0.0;  ///< its part of the information, 0 to 1
  bool over_constrained = false;  ///< narrowest < k_over_constraint
  /// A weight is below 0 by more than two of its errors.
  bool outside = false;
};

/// Data that know a combination better than this part of the prior's width claim to know a
/// difference of simulations that nobody has shown to be the right one.
inline constexpr double k_over_constraint = 0.5;
/// A p-value of the pulls below this is a warning.
inline constexpr double k_least_pull_p_value = 0.05;

/// Reports every mixture at a fit. Without a valid covariance weights have no errors, and nothing
/// is tested. \param warnings where warnings are appended: combinations that are over-constrained,
/// fits outside of the simulations, pulls that the prior does not explain
/// \param data main and auxiliary data of the fit [B + A]
/// \throws Error (model) if the model does not have the parameters of the mixtures
std::vector<MixtureFitReport> mixture_report(const std::vector<SampleMixture>& mixtures,
                                             const Model& model, const std::vector<double>& data,
                                             const FitResult& fit, const Covariance& covariance,
                                             Warnings* warnings = nullptr);

}  // namespace slalom
