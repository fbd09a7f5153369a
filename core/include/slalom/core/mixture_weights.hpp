// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

#include "slalom/core/template_mixture.hpp"

/// \file
/// The fitted shape of a process beside what its prior expected.
namespace slalom {

/// Parameters of one process [D], or weights of its simulations [K].
struct MixtureWeights {
  std::vector<double> value{};        ///< best fit
  std::vector<double> error{};        ///< Laplace; 0 at a bound
  std::vector<double> prior_mean{};   ///< empty without a prior of all of them
  std::vector<double> prior_width{};  ///< standard deviation; Student's t: of its scale matrix
};

/// Linear weights are divided by their sum.
/// \param process 0: signal, 1: background
/// \param last adds 1 - sum, the weight of the last simulation of `exponential_mixture`
/// \throws Error (usage) for a fit of another mixture, or `last` for a linear process
MixtureWeights mixture_weights(const TemplateMixture& mixture, const MixtureFit& best,
                               std::size_t process, bool last = false);

}  // namespace slalom
