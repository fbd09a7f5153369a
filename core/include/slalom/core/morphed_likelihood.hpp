// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "slalom/core/contour.hpp"
#include "slalom/core/interval.hpp"
#include "slalom/core/morphing.hpp"

/// \file
/// A likelihood of a signal strength mu and nuisance parameters z whose templates are known on
/// grids.
///
///     nu_b(mu, z) = sum_samples (signal ? mu : 1) y_sb(z)
///     y_sb(z)     = nominal_sb prod_(effects that multiply) t(z_p) / nominal_sb
///                   + sum_(other effects) (t(z_p) - nominal_sb)
///
/// An effect multiplies in a bin if its Morphing does and the nominal content is above 0.
/// docs/morphed_likelihood.md says which form of data is a likelihood and which is not.
namespace slalom {

/// Templates that follow one nuisance parameter.
struct MorphedEffect {
  std::size_t nuisance = 0;  ///< index into the nuisance parameters
  Morphing morphing;         ///< [G] points, [B] bins
};

/// A process in a channel.
struct MorphedSample {
  std::string name;                      ///< for messages
  bool signal = false;                   ///< scaled by mu
  std::vector<double> nominal{};         ///< [B]; empty with one effect: y = t(z)
  std::vector<MorphedEffect> effects{};  ///< with [B] bins each
};

/// How data enter; n is what was counted, or a function of z.
enum class DataForm {
  poisson,          ///< nu - n ln nu + lnGamma(n + 1)
  saturated,        ///< nu - n + n ln(n / nu)
  reference_ratio,  ///< nu - n ln(nu / reference(z)): biased where n depends on z, kept to show it
};
/// "poisson", "saturated" or "reference_ratio".
const char* to_string(DataForm form);

/// Bins, or events, with what is expected and what was found.
struct MorphedChannel {
  std::string name{};                    ///< for messages
  std::vector<MorphedSample> samples{};  ///< at least one
  std::vector<double> data{};            ///< n [B]; ignored with data_effect
  /// n(z): the events histogrammed in an observable that depends on z. Below 0 it counts as 0.
  std::optional<MorphedEffect> data_effect{};
  DataForm form = DataForm::poisson;         ///< how the data enter
  std::optional<MorphedEffect> reference{};  ///< reference_ratio: expected for the reference, > 0
  /// Relative uncertainty of nu from the finite simulation [B]; empty for none. A factor
  /// gamma_b ~ N(1, this) per bin is minimised in closed form (Barlow and Beeston, "lite").
  std::vector<double> mc_relative{};
  /// Makes the channel unbinned: "bins" are events, samples hold densities there and `data` their
  /// weights, and the sum of nu over bins is replaced by the sum of these, with one bin each.
  std::vector<MorphedSample> integrals{};
};

/// mu or a nuisance parameter.
struct MorphedParameter {
  std::string name{};             ///< for messages
  double init = 0.0;              ///< start of a fit
  double low = 0.0;               ///< lower bound
  double high = 0.0;              ///< upper bound
  std::optional<double> mean{};   ///< Gaussian constraint, with sigma
  std::optional<double> sigma{};  ///< its width
};

/// -log L with exact derivatives. Constant methods may run in several threads. Copies share
/// templates.
class MorphedLikelihood {
 public:
  /// \throws Error (model) with the name of the parameter, or channel and sample, for shapes,
  /// indices,
  ///   bounds and values that make no sense
  MorphedLikelihood(MorphedParameter mu, std::vector<MorphedParameter> nuisances,
                    std::vector<MorphedChannel> channels);

  /// mu, then the nuisance parameters [N].
  const std::vector<MorphedParameter>& parameters() const { return parameters_; }
  /// As given, with the data in use.
  const std::vector<MorphedChannel>& channels() const { return channels_; }

  /// -log L with all constants, constraint terms included; infinity where an expectation is
  /// negative, or 0 and something was found. \param x [N], inside the bounds or not
  double nll(std::span<const double> x) const;
  /// The same with gradient [N] and Hessian [N * N].
  double nll(std::span<const double> x, std::span<double> gradient,
             std::span<double> hessian) const;
  /// nu [B] of a channel.
  std::vector<double> expected(std::size_t channel, std::span<const double> x) const;

  /// New data [B], independent of z.
  void set_data(std::size_t channel, std::vector<double> data);
  /// New data as a function of z.
  void set_data(std::size_t channel, MorphedEffect data);
  /// All data become what is expected at x (unbinned channels are refused, see `set_data`).
  void set_asimov(std::span<const double> x);

 private:
  void find_remainders(std::size_t channel);

  std::vector<MorphedParameter> parameters_;
  std::vector<MorphedChannel> channels_;
  std::vector<std::vector<std::size_t>> active_;  // parameters that matter, per channel
  std::vector<std::vector<double>> remainders_;   // lnGamma(n + 1) - n ln n + n of fixed data
};

/// How to fit.
struct MorphedFitOptions {
  std::vector<double> init{};  ///< start [N]; empty for that of the parameters
  std::vector<std::pair<std::size_t, double>> fixed{};  ///< parameters held at a value
  /// Look at all points of the grids of the templates first, and start from the best and from other
  /// local minima there. Without it only from `init`.
  bool scan = true;
  double tolerance = 1e-8;  ///< as in MinimizeOptions
};

/// Best fit. Parameters that are held, at a bound, or without curvature there have no error.
struct MorphedFit {
  FitStatus status = FitStatus::infeasible;  ///< look at it before using anything else
  std::string message{};                     ///< in words, for people
  double twice_nll = 0.0;                    ///< -2 log L at the parameters
  std::vector<double> parameters{};          ///< [N]
  std::vector<double> errors{};              ///< from the exact Hessian [N]; 0 where there is none
  std::vector<double> covariance{};          ///< [N * N], with 0 where there is none
  std::vector<bool> fixed{};                 ///< held in this fit [N]
  std::vector<bool> at_bound{};              ///< [N]
  bool scan = true;     ///< as in the options; intervals and profiles follow it
  int evaluations = 0;  ///< of the likelihood
  int starts = 0;       ///< minimisations
  /// True if the result is a minimum to the tolerance.
  bool converged() const { return status == FitStatus::converged; }
};

/// Minimises -log L. A fit that does not converge is a status, no exception.
/// \throws Error (model) for options that make no sense
MorphedFit fit(const MorphedLikelihood& likelihood, const MorphedFitOptions& options = {});

/// Where the profiled -2 log L has risen by `level`, by root finding.
/// \param best a converged fit of the same data; its fixed parameters stay fixed
Interval profile_interval(const MorphedLikelihood& likelihood, const MorphedFit& best,
                          std::size_t parameter, double level = 1.0);

/// A profile of -2 log L along one parameter.
struct MorphedProfile {
  std::size_t parameter = 0;            ///< index
  std::vector<double> values;           ///< as asked for
  std::vector<double> delta_twice_nll;  ///< above the best fit (negative: that was not the best)
  std::vector<MorphedFit> fits;         ///< conditional fits
};
/// Conditional fits at given values of a parameter.
MorphedProfile profile(const MorphedLikelihood& likelihood, const MorphedFit& best,
                       std::size_t parameter, const std::vector<double>& values);

/// Points where the doubly profiled -2 log L has risen by `level` (2.2957 for 68.27 % of two
/// parameters), on rays from the best fit that are even in angle where the covariance is a circle.
/// Exact at each point; complete for regions that are star-shaped around the best fit.
std::vector<ContourPoint> contour(const MorphedLikelihood& likelihood, const MorphedFit& best,
                                  std::size_t x, std::size_t y, double level = 2.295748929,
                                  std::size_t points = 48);

/// A profile in which a nuisance parameter takes only given values, as in arXiv:2105.08742.
struct GridProfile {
  std::vector<double> mu_values;        ///< as asked for
  std::vector<double> delta_twice_nll;  ///< above the minimum at `mu` and the best grid point
  double mu = 0.0;                      ///< best fit, mu continuous
  double z = 0.0;                       ///< its point of the grid
  Interval interval;                    ///< of mu where delta_twice_nll is the level
  /// Half of upper - lower.
  double half_width() const { return 0.5 * (interval.upper.value - interval.lower.value); }
};
/// min over the values of nuisance parameter `parameter` (index in N); all others are fitted.
GridProfile grid_profile(const MorphedLikelihood& likelihood, const std::vector<double>& mu_values,
                         const std::vector<double>& z_values, std::size_t parameter = 1,
                         double level = 1.0);

/// A measurement of a nuisance parameter by a variable x ~ N(z, sigma) in bins.
struct AuxiliaryMeasurement {
  std::size_t nuisance = 0;  ///< index into the nuisance parameters
  double truth = 0.0;        ///< z at which the data are taken, without fluctuations
  double sigma = 0.5;        ///< width of x
  double events = 1e4;       ///< expected, over all x
  std::vector<double> edges{-1.0, -0.125, 0.75, 1.625, 2.5};  ///< [bins + 1]
  std::vector<double> grid{};                    ///< of z, where the templates are exact
  MorphingKind kind = MorphingKind::log_spline;  ///< in between
};
/// The channel of such a measurement: no signal, exact templates on the grid. The default is that
/// of arXiv:2105.08742. \throws Error (usage) for numbers that make no sense
MorphedChannel auxiliary_measurement(const AuxiliaryMeasurement& measurement);

}  // namespace slalom
