// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "slalom/core/mass_spectrum.hpp"
#include "slalom/core/toys.hpp"

/// \file
/// A bump on a smooth mass spectrum: nu_i = B_i(p) + S t_i, Poisson, with the background function
/// and the signal fitted together. Discovery by q0, limits by CLs in the asymptotic approximation
/// (Cowan et al., Eur. Phys. J. C 71 (2011) 1554), p-values of a whole scan by toys.
namespace slalom {

/// Shape t of the signal.
enum class BumpSignal {
  /// Events in the window, nothing more: its bins count as one, and the background there comes from
  /// the bins outside (cut and count).
  count,
  gaussian,  ///< a normal distribution of the mass, integrated over the bins
  shape,     ///< one that is given
};

/// What is looked for, and where.
struct BumpHuntOptions {
  SpectrumOptions background{};              ///< the function; `blinded` bins take no part at all
  BumpSignal signal = BumpSignal::gaussian;  ///< kind of signal
  double mass = 3.5;                         ///< mean, in the unit of the edges
  double width = 0.1;                        ///< standard deviation, > 0
  double half_window = 2.0;  ///< half of the signal window in widths: bins with centres inside
  /// The window itself; both ends must be edges of bins. Takes the place of `half_window`.
  std::optional<MassWindow> window{};
  /// Share of the signal in each bin [B], >= 0, for `shape`; normalised to 1 here.
  std::vector<double> signal_shape{};
  double confidence = 0.95;  ///< of upper limits, in (0, 1)
  bool limits = true;        ///< compute them
};

/// What one hypothesis of a mass gives. S is the number of signal events within the spectrum (for
/// `count` in the window).
struct BumpHuntResult {
  bool converged = false;  ///< all fits
  std::string message{};   ///< what has not
  double mass = 0.0;       ///< tested one
  MassWindow window{};     ///< the bins that make up the signal window
  double signal = 0.0;     ///< best fit of S, may be negative
  /// S would be more negative, but a rate would not be positive any more; `signal` is 0.
  bool at_boundary = false;
  double signal_error = 0.0;            ///< from the exact Hessian, background parameters profiled
  double q0 = 0.0;                      ///< -2 ln of the likelihood ratio of S = 0; 0 for S <= 0
  double z = 0.0;                       ///< sqrt(q0)
  double p0 = 0.5;                      ///< asymptotic local p-value, 1 - Phi(z)
  std::optional<double> upper_limit{};  ///< of S, CLs; none if not asked for or not found
  /// The same expected without signal at -2, -1, 0, 1, 2 sigma.
  std::optional<std::array<double, 5>> expected_limit{};
  double observed = 0.0;                         ///< events in the window
  SpectrumEstimate predicted{};                  ///< of the background there, from `sidebands`
  SpectrumFit sidebands{};                       ///< background fitted without the window
  SpectrumFit background{};                      ///< background fitted with S = 0
  std::vector<double> shape{};                   ///< t [B]
  std::vector<double> background_with_signal{};  ///< B of the best fit [B]
  std::vector<double> total{};                   ///< B + S t of the best fit [B]
};

/// Fits a spectrum with and without a signal.
/// \param edges of the bins, rising [B + 1] \param counts of events, >= 0 [B]
/// \throws Error (usage) as fit_spectrum(); for a window without bins, or not between bins; for
/// options out of range
BumpHuntResult hunt_bump(std::span<const double> edges, std::span<const double> counts,
                         const BumpHuntOptions& options = {});

/// How toys are thrown and run.
struct BumpToyOptions {
  std::size_t n_toys = 1000;  ///< how many
  std::uint64_t seed = 0;     ///< toys of different seeds are independent
  std::size_t threads = 0;    ///< 0 for all of the machine; the results do not depend on it
};

/// What a fit of a toy found.
struct BumpToy {
  bool converged = false;     ///< all fits
  double signal = 0.0;        ///< best fit of S, as in BumpHuntResult
  double signal_error = 0.0;  ///< its uncertainty
  double q0 = 0.0;            ///< as in BumpHuntResult
};

/// Toys of an expected spectrum, each fitted with and without signal.
/// \param expected events, >= 0 [B], with or without a signal
/// \throws Error (usage) as hunt_bump()
std::vector<BumpToy> bump_toys(std::span<const double> edges, std::span<const double> expected,
                               const BumpHuntOptions& options, const BumpToyOptions& toys);

/// Which masses are tried.
struct BumpScanOptions {
  BumpHuntOptions hunt{};        ///< `mass` is replaced; no `window`, no `signal_shape`
  std::vector<double> masses{};  ///< at least one
  double relative_width = 0.0;   ///< if > 0, the width is this share of the mass
  /// Toys of the spectrum without signal for the global p-value; n_toys 0 for none.
  BumpToyOptions toys{};
};

/// A scan over masses.
struct BumpScan {
  std::vector<BumpHuntResult> points{};  ///< in the order of the masses
  std::size_t best = 0;                  ///< the one with the largest q0
  double max_q0 = 0.0;                   ///< its q0
  /// Toys without signal whose largest q0 is at least that of the data: the p-value that knows how
  /// many masses were tried. None without toys.
  std::optional<ToyProbability> global_p{};
  std::optional<double> global_z{};  ///< its significance; none for no toy above the data
  std::vector<double> toy_max_q0{};  ///< of the toys whose fits converged, by index
  std::size_t failed_toys = 0;       ///< that did not converge; they are left out
  bool converged = false;            ///< all fits of the data
};

/// Tries several masses. Toys are thrown from the fit without signal to the whole spectrum.
/// \throws Error (usage) as hunt_bump(), with the mass as the place
BumpScan scan_bumps(std::span<const double> edges, std::span<const double> counts,
                    const BumpScanOptions& options);

}  // namespace slalom
