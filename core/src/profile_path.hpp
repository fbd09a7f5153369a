// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

#include "slalom/core/fit.hpp"

/// \file
/// Where the next conditional fit along a profile will end, from those before it.
namespace slalom::detail {

/// Conditional best fits as a function of one parameter.
class ProfilePath {
 public:
  /// Sets FitState::held_factor for the fits to come.
  /// \param fitter with the factor that was kept after `best` (see keep_factor())
  ProfilePath(Fitter& fitter, const FitResult& best, std::size_t parameter);

  /// Takes a conditional fit along; those far from the next ones should come first.
  void add(const FitResult& fit);
  /// A start for the fit at `value`, inside the bounds: the parabola through the last three fits,
  /// or, as long as there are fewer, the one with the slope that the Hessian gives.
  std::vector<double> predict(double value) const;

 private:
  const Model& model_;
  std::size_t parameter_;
  std::vector<std::vector<double>> points_;  ///< the best fit and at most three more
  std::vector<double> slope_;
};

}  // namespace slalom::detail
