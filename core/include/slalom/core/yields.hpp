// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "slalom/core/fit.hpp"

/// \file
/// Expected and observed numbers of events with uncertainties, as tables and plots show them.
///
/// To first order the variance of a rate is J C J^T, with the covariance C of the parameters and
/// the exact derivatives J of the rate by them (cabinetry's yield_stdev takes half differences
/// over one standard deviation in their place).
namespace slalom {

/// Diagonal covariance before any fit: the pre-fit uncertainties of the constrained parameters that
/// float. Parameters without a constraint have none. Always valid.
Covariance prefit_covariance(const Model& model);

/// Uncertainties of expected rates, correlations included.
struct RateErrors {
  std::vector<double> bins;      ///< of every bin of the main data [B]
  std::vector<double> channels;  ///< of the sum of every channel, in the order of the spec
  double total = 0.0;            ///< of the sum over all bins
  /// Of every bin of every sample, laid out as by Evaluator::expected_samples.
  std::vector<double> samples;
  /// Of the sum of every sample over its channel: channel by channel, sample by sample.
  std::vector<double> sample_sums;
};

/// Propagates a covariance to the expected rates.
/// \param parameters where the rates are linearised [P]; best fit, or initial values
/// \param covariance of the parameters; invalid or empty gives zeros
/// \throws Error (model) for parameters of another length
RateErrors rate_errors(const Model& model, std::span<const double> parameters,
                       const Covariance& covariance);

/// An expected number of events.
struct Yield {
  double value = 0.0;  ///< rate
  double error = 0.0;  ///< its uncertainty
};

/// One sample of one channel, or their sum.
struct SampleYields {
  std::string name;         ///< of the sample; empty for the sum of all
  std::vector<Yield> bins;  ///< [n_bins]
  Yield sum;                ///< over the bins
};

/// One channel.
struct ChannelYields {
  std::string name;                   ///< of the channel
  std::vector<SampleYields> samples;  ///< in the order of the spec
  SampleYields total;                 ///< their sum
  std::vector<double> data;           ///< observed [n_bins]
  double data_sum = 0.0;              ///< over the bins
};

/// Table of yields, channel by channel.
/// \param parameters, covariance see rate_errors
/// \param data main data, anything that follows is ignored [B + ...]
/// \throws Error (model) for parameters or data of another length
std::vector<ChannelYields> yields(const Model& model, std::span<const double> parameters,
                                  const Covariance& covariance, std::span<const double> data);

/// Central interval of a Poisson mean for an observed count (Garwood): each side excludes the count
/// with half of 1 - level. The lower end is 0 for count 0.
/// \param count observed, >= 0; need not be an integer (gamma functions continue the sums)
/// \param level probability content, in (0, 1)
std::pair<double, double> poisson_interval(double count, double level = 0.682689492137086);

}  // namespace slalom
