// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <memory>
#include <string>
#include <vector>

#include "slalom/core/fit.hpp"
#include "slalom/core/hypotest.hpp"
#include "slalom/modules/likelihood.hpp"

/// \file
/// What an analysis publishes, as a loss: sigma(mu), log CLs, log p0, Z and the upper limit, with
/// the nuisance parameters profiled and Asimov data that move with the templates.
///
/// `ProfileLoss` is the fast form for training: fits and derivative on the compiled engine, one
/// node in the graph, first derivatives. The functions below it are the same figures as graphs of
/// tensors, differentiable to any order, slower; one is tested against the other.
namespace slalom {

/// What is optimised. All are made smaller by a better analysis.
enum class Figure {
  sigma,        ///< uncertainty of mu from the Fisher information of Asimov data at mu
  log_sigma,    ///< its logarithm
  log_cls,      ///< median expected log CLs at mu for background-only data
  log_p0,       ///< median expected log p0 for data with the signal mu
  minus_z,      ///< minus the median significance of the same; no derivative at 0
  upper_limit,  ///< median expected upper limit on mu
  // Of the observed data, Templates::observed, which may be a node as well.
  observed_log_cls,      ///< log CLs at mu
  observed_log_p0,       ///< log p0; 0 derivative where q0 = 0
  observed_minus_q0,     ///< minus the discovery statistic q0, likewise
  observed_upper_limit,  ///< upper limit on mu
};

/// Settings of a profile loss.
struct ProfileLossOptions {
  Figure figure = Figure::log_sigma;  ///< what is optimised
  double mu = 1.0;                    ///< the signal of the Asimov data, or the one tested
  double n_sigma = 0.0;               ///< log_cls, upper_limit: band instead of the median
  double level = 0.05;                ///< upper limits: value of CLs there
  TestStatistic statistic = TestStatistic::qtilde;  ///< CLs, upper limits
  /// Asimov data at the fit to the observed data; if not, at the initial values of all nuisance
  /// parameters, which is what training on simulation means. Figures of the observed data always
  /// take the former.
  bool observed = false;
  FitOptions fit{};  ///< held and floating parameters of all fits
};

/// Whether the figure hangs on the observed data.
bool uses_observed_data(const ProfileLossOptions& options);

/// A figure of merit as one node of a graph.
class ProfileLoss {
 public:
  /// \throws Error (model) for a model without a POI, or with one that is held
  explicit ProfileLoss(const Likelihood& likelihood, ProfileLossOptions options = {});

  /// The figure for given templates: a scalar, float64, with its exact gradient with respect to
  /// every tensor of Templates that requires one.
  /// \throws Error (numerical) if a fit does not converge or the derivative does not exist; asking
  ///   for second derivatives throws in the backward pass
  Tensor operator()(const Templates& templates) const;

  /// The figure for several hypotheses at once, in place of ProfileLossOptions::mu: [K], with the
  /// gradient of each. What they have in common - Asimov data without a signal, the free fit of
  /// the observed data - is fitted once.
  /// \throws Error (usage) for a figure that does not depend on mu; otherwise as above
  Tensor operator()(const Templates& templates, const std::vector<double>& mu) const;

  /// The settings.
  const ProfileLossOptions& options() const;

 private:
  struct Plan;
  struct Request;
  struct Node;
  Tensor apply(const Templates& templates, const Request& request) const;
  std::shared_ptr<const Plan> plan_;
};

/// sigma(mu) from the Fisher information at the initial values with the signal `mu`; a graph.
/// Parameters that the model holds stay held.
Tensor expected_sigma(const Likelihood& likelihood, const Templates& templates, double mu = 1.0);

/// -2 log of the profile likelihood ratio, t = 2 NLL(mu) - 2 NLL(best) >= 0, of `data`; a graph
/// whose data may be nodes.
Tensor profile_likelihood_ratio(const Likelihood& likelihood, const Templates& templates,
                                const Tensor& data, double mu, int order = 1);

/// Median expected log CLs at `mu` (data expected without a signal at the initial values); a graph.
Tensor expected_log_cls(const Likelihood& likelihood, const Templates& templates, double mu = 1.0,
                        int order = 1);

/// Median expected log p0 (data expected with the signal `mu` at the initial values); a graph.
Tensor expected_log_p0(const Likelihood& likelihood, const Templates& templates, double mu = 1.0,
                       int order = 1);

/// log Phi(-sqrt(q)) for q >= 0, the p-value of a one-sided test in the asymptotic limit (eq. 59
/// and 48 of arXiv:1007.1727). The value and its derivative stay finite for any q; at q = 0, where
/// the derivative by q does not exist, it is that at `smallest`.
Tensor log_p_value(const Tensor& q, double smallest = 1e-12);

}  // namespace slalom
