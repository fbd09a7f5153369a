// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "slalom/core/hmc.hpp"
#include "slalom/core/template_mixture.hpp"

/// \file
/// The signal fraction of a template mixture with its intervals, by any of the five ways that there
/// are to state its error.
namespace slalom {

/// Where the error of kappa comes from.
enum class MixtureError {
  laplace,   ///< inverse Hessian with the prior
  sandwich,  ///< scatter of the fit over data alone
  profile,   ///< rise of the profiled -2 log L
  marginal,  ///< all other parameters integrated over by Laplace's approximation
  hmc,       ///< all other parameters integrated over by Hamiltonian Monte Carlo
};
/// "laplace", "sandwich", "profile", "marginal" or "hmc".
const char* to_string(MixtureError error);

/// How to find it.
struct MixtureIntervalOptions {
  MixtureError error = MixtureError::marginal;  ///< which one
  MixtureFitOptions fit{};                      ///< bounds of kappa
  std::size_t points = 41;                      ///< marginal: of the grid
  double range = 5.0;                           ///< marginal: of the grid, in Laplace errors
  HmcOptions sampling{};                        ///< hmc
};

/// kappa with central intervals.
struct MixtureInterval {
  bool valid = false;     ///< all fits on the way converged; look at it before using anything else
  std::string message{};  ///< why not
  double kappa = 0.0;     ///< best fit; mean of the posterior for marginal and hmc
  double error = 0.0;     ///< standard deviation; profile: half the 68.27 % interval
  double lower = 0.0;     ///< of the 68.27 % interval
  double upper = 0.0;     ///< of the 68.27 % interval
  double lower_95 = 0.0;  ///< of the 95 % interval
  double upper_95 = 0.0;  ///< of the 95 % interval
  /// The smallest nominal probability whose interval holds the truth, where one was given: if the
  /// intervals are right it is uniform in [0, 1].
  std::optional<double> needed{};
  double r_hat = 0.0;           ///< hmc: of kappa
  double ess = 0.0;             ///< hmc: effective number of draws of kappa
  std::size_t divergences = 0;  ///< hmc
  /// Whether an interval of that probability holds the truth; false without one.
  bool holds(double probability) const { return needed && *needed <= probability; }
};

/// \param best a fit of the same mixture; hmc only starts from it \param truth kappa, for `needed`
/// \throws Error (usage) for options that make no sense; a fit that fails on the way, or one
/// without
///   an error, is an interval that is not valid
MixtureInterval mixture_interval(const TemplateMixture& mixture, const MixtureFit& best,
                                 const MixtureIntervalOptions& options = {},
                                 std::optional<double> truth = {});

}  // namespace slalom
