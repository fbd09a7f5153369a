// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "slalom/core/error.hpp"
#include "slalom/core/morphed_likelihood.hpp"
#include "slalom/modules/observable.hpp"
#include "slalom/workflows/fields.hpp"

/// \file
/// What is measured with a trained network: a likelihood of the signal strength mu and of nuisance
/// parameters over their whole range, with templates on a grid; its fits, profiles and toys.
namespace slalom {

/// What is histogrammed, or not.
enum class InferenceObservable {
  summary,   ///< the bins of the experiment
  score,     ///< the network at theta = 0: one observable for all hypotheses
  aware,     ///< the network at each hypothesis' theta: another histogram of the data for each
  frozen,    ///< the network at the best fit's theta: one observable again
  unbinned,  ///< calibrated ratios of the network at the best fit's theta, which is held
};

/// How nuisance parameters are profiled.
enum class InferenceProfile {
  continuous,  ///< as real numbers
  grid,        ///< the first one at the points of its grid alone, as in arXiv:2105.08742
};

/// How logits become ratios for the unbinned likelihood.
enum class InferenceCalibration { none, platt, binned };

/// A nuisance parameter of an inference.
struct InferenceParameter {
  std::string name = {};                             ///< of the experiment's nuisances
  std::vector<double> grid = {-1.0, 0.0, 1.0};       ///< theta of its templates, rising; its bounds
  MorphingKind morphing = MorphingKind::log_spline;  ///< between them
  std::optional<double> prior = {};  ///< standard deviation of its constraint; none: free
};

/// A measurement of the first nuisance parameter beside the events: x ~ N(theta, sigma) in bins.
struct InferenceMeasurement {
  double events = 0.0;    ///< expected; 0: there is none
  double sigma = 1.0;     ///< width of x
  std::int64_t bins = 4;  ///< of equal width
  double low = -1.0;      ///< lower end of them
  double high = 1.0;      ///< upper end of them
};

/// An inference.
struct InferenceOptions {
  std::string name = {};                                          ///< in the result
  InferenceObservable observable = InferenceObservable::summary;  ///< what is histogrammed
  std::int64_t bins = 10;                                         ///< of the score
  ScoreBinning binning = ScoreBinning::equal_width;               ///< of the score
  std::int64_t slope_bins = 0;  ///< of d logit / d theta in each bin of the score; 0: none
  std::vector<InferenceParameter> parameters = {};          ///< the first one is the network's
  InferenceMeasurement measurement = {};                    ///< of the first one
  InferenceProfile profile = InferenceProfile::continuous;  ///< of nuisance parameters
  DataForm form = DataForm::poisson;                        ///< how data enter
  /// Steps of theta in which the best fit is rounded before the network is frozen there.
  double freeze_step = 0.02;
  double data_step = 0.02;   ///< aware: theta between histograms of the data around the best fit
  double data_range = 0.25;  ///< aware: how far they reach, and theta with them, on each side
  InferenceCalibration calibration = InferenceCalibration::platt;  ///< unbinned
  double mu = 1.0;                                                 ///< signal of the data
  std::vector<double> truths = {0.0};  ///< theta of the data, of the first parameter
  std::int64_t toys = 0;               ///< data sets with fluctuations, for each truth
  /// Bootstraps of the events that templates are made of.
  std::int64_t template_bootstraps = 0;
};

/// Visits all members.
void inference_fields(Fields& fields, InferenceOptions& options);

/// Toys at one truth.
struct ToySummary {
  std::int64_t toys = 0;        ///< fits that converged
  std::int64_t failed = 0;      ///< others
  std::string message = {};     ///< of the first that failed
  double bias = 0.0;            ///< mean of mu-hat - mu
  double bias_error = 0.0;      ///< its statistical error
  double spread = 0.0;          ///< standard deviation of mu-hat
  double half_width = 0.0;      ///< mean error of mu
  double coverage = 0.0;        ///< share whose 68.27 % interval holds mu
  double coverage_error = 0.0;  ///< binomial
  double theta_bias = 0.0;      ///< mean of theta-hat - theta
};

/// What came out for data of one theta.
struct InferenceFit {
  double theta = 0.0;                    ///< true, of the first parameter
  bool converged = false;                ///< of the fit and its interval
  std::string message = {};              ///< why not
  double mu_hat = 0.0;                   ///< best fit of data without fluctuations
  double theta_hat = 0.0;                ///< likewise; that it is held at, without a fit of it
  double lower = 0.0;                    ///< end of the interval of mu, rise of -2 log L by 1
  double upper = 0.0;                    ///< likewise
  double half_width = 0.0;               ///< (upper - lower) / 2
  double sigma_theta = 0.0;              ///< uncertainty of theta; 0 if it was not fitted
  double correlation = 0.0;              ///< of mu and theta
  std::optional<double> frozen_at = {};  ///< theta of the network
  std::vector<std::pair<double, double>> profile = {};        ///< mu and rise of -2 log L
  std::vector<std::pair<double, double>> theta_profile = {};  ///< theta and rise of -2 log L
  std::vector<std::pair<double, double>> contour = {};        ///< mu and theta, 68.27 % of both
  std::optional<ToySummary> toys = {};                        ///< if there were any
  /// Standard deviation of mu-hat over bootstraps of the templates.
  std::optional<double> template_spread = {};
};

/// Templates of one observable at the points of the first grid, for pictures.
struct InferenceTemplates {
  std::vector<double> theta = {};                             ///< [G]
  std::vector<std::string> samples = {};                      ///< names
  std::vector<std::vector<std::vector<double>>> yields = {};  ///< [samples][G][B]
};

/// What an inference found.
struct InferenceResult {
  std::string name = {};                ///< as given
  std::vector<InferenceFit> fits = {};  ///< for each truth
  InferenceTemplates templates = {};    ///< of binned ones; aware: each with the network there
  /// Largest relative error of a bin when a grid point is left out; none for three points.
  std::optional<double> morphing_error = {};
  Warnings warnings = {};  ///< over-constraint, morphing
};

/// As a document. \throws Error (numerical) for what is not finite
nlohmann::ordered_json inference_document(const InferenceResult& result);

}  // namespace slalom
