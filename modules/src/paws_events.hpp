// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "polynomial.hpp"
#include "slalom/modules/paws.hpp"

/// \file
/// Sums over events of functions of a parameterised ratio, with derivatives: what the likelihoods
/// of PAWS are made of.
namespace slalom::detail {

/// A copy on the CPU.
std::vector<double> to_vector(const Tensor& tensor);

/// log r of some events with its derivatives by theta.
struct RatioJets {
  std::vector<double> value;     ///< [n]
  std::vector<double> gradient;  ///< [n][p]
  std::vector<double> hessian;   ///< [n][p][p]
};

/// One ratio on one set of events. Const functions may be called from several threads.
class RatioOnEvents {
 public:
  RatioOnEvents(ParameterisedRatio ratio, const Tensor& events);
  /// log r [n].
  std::vector<double> log_ratio(const std::vector<double>& theta) const;
  /// The same with derivatives, of a part of the events.
  RatioJets jets(const std::vector<double>& theta, std::size_t begin, std::size_t end) const;
  std::size_t size() const { return static_cast<std::size_t>(events_.size(0)); }

  /// Events at a time.
  static constexpr std::size_t k_step = 16384;

 private:
  Tensor chunk(std::size_t begin, std::size_t end) const;
  RatioJets graph_jets(const std::vector<double>& theta, std::size_t begin, std::size_t end) const;
  RatioJets polynomial_jets(const std::vector<double>& theta, std::size_t begin, std::size_t end,
                            bool derivatives) const;

  ParameterisedRatio ratio_;
  Tensor events_;
  // Of a polynomial in theta.
  Polynomials basis_, calibration_;
  std::vector<double> slope_, offset_, coefficients_;
};

/// log E_B[r(x | theta)] of one ratio, a mean over background events.
class RatioMean {
 public:
  /// At one theta.
  struct Point {
    double value = 0.0;            ///< its logarithm
    std::vector<double> gradient;  ///< [p]
    std::vector<double> hessian;   ///< [p][p]
  };

  /// \param weights [n] or empty
  RatioMean(RatioOnEvents events, std::vector<double> weights);
  /// Its logarithm alone; remembered, since grids of theta come back to the same points.
  double value(const std::vector<double>& theta) const;
  Point evaluate(const std::vector<double>& theta) const;
  /// Relative statistical error of the mean.
  double error(const std::vector<double>& theta) const;
  /// Adds the outer products of what each event of the mean does to a score that is moved by
  /// -`by_value` (a change of the logarithm) - `by_slope` (a change of its gradient).
  /// \param by_value [1 + p] \param by_slope of the elements 1 ... p \param sum [(1 + p)^2]
  void add_influence(const std::vector<double>& theta, const std::vector<double>& by_value,
                     double by_slope, double factor, std::vector<double>& sum) const;

 private:
  double weight(std::size_t i) const { return weights_.empty() ? 1.0 : weights_[i]; }

  RatioOnEvents events_;
  std::vector<double> weights_;
  double total_ = 0.0;
  mutable std::mutex mutex_;
  mutable std::map<std::vector<double>, double> known_;
};

/// Function of t = log(1 + mu (r - 1)) that is summed over events.
enum class PawsTerm {
  likelihood,  ///< t
  data,        ///< -softplus(-t), the data's part of the weak cross entropy
  reference,   ///< -softplus(t), that of the reference
};

/// Events with one or more ratios on them, and weights.
struct EventSet {
  std::vector<RatioOnEvents> ratios;
  std::vector<std::shared_ptr<const RatioMean>> means;  ///< [ratios], or empty: r as it is
  bool sampled = false;                                 ///< the means have a statistical error
  std::vector<double> weights;                          ///< empty: 1 each

  /// log r of all events by one ratio, normalised.
  std::vector<double> log_ratio(const std::vector<double>& theta, std::size_t ratio) const;
  double total_weight() const;
};

/// Adds factor * sum_i w_i term(t_i) and its derivatives.
/// \param moments if not null: sum_i w_i^2 of the outer products of gradients is added [(1 + p)^2]
void add_sum(const EventSet& sample, double mu, const std::vector<double>& theta, PawsTerm term,
             double factor, PawsLikelihood::Point& sum, std::vector<double>* moments = nullptr);

/// Covariance of the score of log L(mu, theta) by the finite samples behind the means
/// [(1 + p)^2]. Ratios are taken to see the same events.
std::vector<double> reference_moments(const EventSet& sample, double mu,
                                      const std::vector<double>& theta);

}  // namespace slalom::detail
