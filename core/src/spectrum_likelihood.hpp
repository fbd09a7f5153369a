// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Eigen/Core>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "slalom/core/mass_spectrum.hpp"

/// \file
/// The Poisson likelihood of a binned mass spectrum with a log-linear background function, and an
/// optional signal of known shape.
namespace slalom::detail {

/// Neighbouring bins [first, last) that are counted together.
struct BinRange {
  std::size_t first = 0;
  std::size_t last = 0;
};

/// A background function on the bins of a spectrum: values of its terms at the nodes of the
/// integrals over the bins. The terms are combined such that they are orthonormal there, without
/// which a narrow range of masses leaves no digits. Immutable; shared by threads.
class SpectrumBasis {
 public:
  /// \throws Error (usage) for edges or options that make no sense
  SpectrumBasis(std::span<const double> edges, const SpectrumOptions& options);

  std::size_t bins() const { return edges_.size() - 1; }
  std::size_t terms() const { return options_.parameters; }
  const std::vector<double>& edges() const { return edges_; }
  const SpectrumOptions& options() const { return options_; }
  /// Orthonormal terms [bins * k_nodes, terms].
  const Eigen::MatrixXd& features() const { return features_; }
  /// Weights of the nodes [bins * k_nodes].
  const Eigen::VectorXd& weights() const { return weights_; }
  /// p = transform q, from coefficients of the orthonormal terms to those of the function.
  const Eigen::MatrixXd& transform() const { return transform_; }
  /// Coefficients of a weighted least-squares fit to the logarithms of some bins.
  Eigen::VectorXd start(std::span<const double> counts, const std::vector<bool>& use) const;
  /// Expected events in all bins [bins] and their derivatives by the coefficients [bins, terms].
  std::pair<Eigen::VectorXd, Eigen::MatrixXd> rates(const Eigen::VectorXd& coefficients) const;

  static constexpr std::size_t k_nodes = 5;  ///< in each bin

 private:
  std::vector<double> edges_;
  SpectrumOptions options_;
  Eigen::MatrixXd features_, transform_;
  Eigen::VectorXd weights_;
};

/// Best fit of coefficients q [K] and, if there is a shape, the signal S.
struct SpectrumMinimum {
  FitStatus status = FitStatus::infeasible;
  std::string message;
  double nll = 0.0;  ///< above that of the saturated model, >= 0
  Eigen::VectorXd coefficients;
  double signal = 0.0;
  Eigen::MatrixXd covariance;  ///< of q and, unless it is held or at its bound, S
  bool signal_free = false;    ///< S is in the covariance
  bool converged() const { return status == FitStatus::converged; }
  double signal_error() const;
};

/// What is done about the signal.
struct SignalTerm {
  std::span<const double> shape{};  ///< [groups]; empty: none
  double start = 0.0;
  double lower = 0.0;  ///< bound, may be -infinity
  bool held = false;   ///< at `start`
};

/// Minimises the likelihood of the counts [groups] of groups of bins.
SpectrumMinimum fit_groups(const SpectrumBasis& basis, const std::vector<BinRange>& groups,
                           std::span<const double> counts, const SignalTerm& signal,
                           const Eigen::VectorXd& start);

/// Counts of groups. \param counts of bins
std::vector<double> grouped(const std::vector<BinRange>& groups, std::span<const double> counts);

/// Whether bins are in none of the ranges.
std::vector<bool> outside(std::span<const double> edges, const std::vector<MassWindow>& ranges);

/// A group for each bin that is used.
std::vector<BinRange> single_bins(const std::vector<bool>& use);

/// \throws Error (usage) for counts that are negative, not finite or of another number, for groups
/// with fewer bins than parameters or without events
void check_counts(const SpectrumBasis& basis, std::span<const double> counts);
void check_groups(const SpectrumBasis& basis, const std::vector<BinRange>& groups,
                  std::span<const double> grouped_counts);

/// The fit as users see it.
SpectrumFit describe(const SpectrumBasis& basis, const std::vector<BinRange>& groups,
                     std::span<const double> counts, const SpectrumMinimum& minimum);

/// P(chi2 of so many degrees of freedom > x); 1 for none.
double chi2_above(double x, std::size_t degrees_of_freedom);

}  // namespace slalom::detail
