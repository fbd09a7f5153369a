// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "slalom/core/fit.hpp"
#include "slalom/core/interval.hpp"

/// \file
/// A mixture of a signal and a background whose densities are themselves combined from simulations,
/// none of which needs to be right (template-adapted mixture model, TAMM, arXiv:2604.02219).
///
///     -log L = -sum_i n_i ln( kappa s_i + (1 - kappa) b_i ) - log prior
///     exponential: ln s_i = base_i + sum_d theta_d column_di - ln Z(theta), sum_i q_i s_i = 1
///     linear:      s_i = sum_d theta_d column_di / sum_d theta_d, theta >= 0
///
/// Points i are bins, or events and the points of a quadrature: n are counts of data, q the
/// measure. A density is one per measure; ratios to a common reference density are densities for
/// the measure of that reference.
namespace slalom {

/// How the simulations of a process are combined.
enum class MixtureFamily {
  exponential,  ///< a product of powers, normalised; weights of any sign that sum to 1
  linear,       ///< a sum, with weights that are not negative and sum to 1
};
/// "exponential" or "linear".
const char* to_string(MixtureFamily family);

/// The shapes that a process may take.
struct MixtureProcess {
  MixtureFamily family = MixtureFamily::exponential;  ///< of the combination
  std::vector<double> base{};     ///< exponential: log of a density [P], up to a constant
  std::vector<double> columns{};  ///< directions of the log density, or densities [D * P]
  std::vector<double> start{};    ///< theta of a fit's start [D]; D may be 0 if exponential
  /// linear: of a Dirichlet prior with this many events in each component; 1 is flat.
  double concentration = 1.0;
};

/// prod_k p_k^w_k with sum_k w_k = 1: the last simulation is the base, and the others' weights are
/// theta [K - 1], from 1 / K. \param log_densities [K * P], finite
MixtureProcess exponential_mixture(const std::vector<double>& log_densities, std::size_t k);
/// sum_k theta_k t_k, from equal weights. \param densities [K * P], not negative
MixtureProcess linear_mixture(std::vector<double> densities, std::size_t k,
                              double concentration = 1.0);

/// A prior of some neighbouring parameters x [M]: Gaussian, or the multivariate Student's t that a
/// Gaussian with an estimated covariance becomes. With d = x - mean and Q = d^T precision d,
/// -log is Q / 2 or (degrees + M) / 2 ln(1 + Q / degrees), without constants.
struct ShapePrior {
  std::size_t first = 1;            ///< index of the first of these parameters
  std::vector<double> mean{};       ///< [M]
  std::vector<double> precision{};  ///< [M * M], symmetric, not negative
  double degrees = std::numeric_limits<double>::infinity();  ///< of freedom; infinity: Gaussian
};

/// lambda / 2 sum_k (w_k - 1 / K)^2 over all K weights of an exponential mixture.
/// \param first index of its first parameter: 1 for the signal's \param k simulations, at least 2
ShapePrior ridge_prior(std::size_t first, std::size_t k, double lambda = 1.0);

/// -log L with exact derivatives. Parameters: kappa, those of the signal, those of the background
/// [N]. Constant methods may run in several threads.
class TemplateMixture {
 public:
  /// \param measure q [P], not negative
  /// \throws Error (model) with the name of the process or the number of the prior, for shapes and
  ///   values that make no sense
  TemplateMixture(MixtureProcess signal, MixtureProcess background, std::vector<double> measure,
                  std::vector<ShapePrior> priors = {});

  /// N.
  std::size_t size() const { return 1 + processes_[0].start.size() + processes_[1].start.size(); }
  /// P.
  std::size_t points() const { return measure_.size(); }
  /// As given.
  const MixtureProcess& signal() const { return processes_[0]; }
  /// As given.
  const MixtureProcess& background() const { return processes_[1]; }
  /// As given.
  const std::vector<ShapePrior>& priors() const { return priors_; }
  /// n [P].
  const std::vector<double>& data() const { return data_; }

  /// \param data n [P], not negative: counts of bins, or 1 for events and 0 for points of the
  ///   quadrature. \throws Error (model)
  void set_data(std::vector<double> data);
  /// \throws Error (model) if there are other than P numbers, or an index is out of range
  void set_priors(std::vector<ShapePrior> priors);

  /// -log L without constants; infinity where a density of something found is not above 0. Sums of
  /// weights of linear processes, which mean nothing, are held near 1 by an additional quadratic
  /// term. \param x [N] \param gradient [N] or empty \param hessian [N * N] or empty
  double nll(std::span<const double> x, std::span<double> gradient = {},
             std::span<double> hessian = {}) const;
  /// sum n Cov(score) [N * N]: of the derivatives of the log density over the data (without
  /// priors).
  std::vector<double> score_covariance(std::span<const double> x) const;
  /// Density of a process at each point [P]. \param process 0: signal, 1: background
  std::vector<double> density(std::size_t process, std::span<const double> x) const;
  /// Start of a fit [N]. \param kappa its first element
  std::vector<double> start(double kappa = 0.1) const;

 private:
  struct Work;
  double evaluate(std::span<const double> x, Work& work) const;
  double add_priors(std::span<const double> x, std::span<double> gradient,
                    std::span<double> hessian) const;

  MixtureProcess processes_[2];
  std::vector<double> rows_;  // columns of both processes, per point [P * (N - 1)]
  std::vector<double> measure_, data_;
  double total_ = 0.0;
  std::vector<ShapePrior> priors_;
};

/// How to fit.
struct MixtureFitOptions {
  std::vector<double> init{};  ///< start [N]; empty for that of the processes
  double kappa_low = 0.0;      ///< bound; below 0 a fit may subtract signal
  double kappa_high = 1.0;     ///< bound
  bool hold_kappa = false;     ///< at its start
  double tolerance = 1e-7;     ///< as in MinimizeOptions
};

/// Best fit. Parameters at a bound have no error, and the others' are those with them fixed.
struct MixtureFit {
  FitStatus status = FitStatus::infeasible;  ///< look at it before using anything else
  std::string message{};                     ///< in words, for people
  double nll = 0.0;                          ///< -log L at the parameters
  std::vector<double> parameters{};          ///< [N]
  std::vector<bool> at_bound{};              ///< [N]
  /// Laplace: inverse Hessian with priors [N * N], with 0 where there is none.
  std::vector<double> covariance{};
  /// Sandwich: scatter of the fit over data, without that of the truth about the prior [N * N].
  std::vector<double> sandwich{};
  int evaluations = 0;  ///< of the likelihood
  /// Signal fraction.
  double kappa() const { return parameters.at(0); }
  /// Its error; 0 where there is none.
  double laplace_error() const;
  /// Its error; 0 where there is none.
  double sandwich_error() const;
  /// True if the result is a minimum to the tolerance.
  bool converged() const { return status == FitStatus::converged; }
};

/// Minimises -log L from one start; not convex, but unimodal near simulations that are nearly
/// right. A fit that does not converge is a status, no exception. \throws Error (model) for options
/// that make no sense
MixtureFit fit(const TemplateMixture& mixture, const MixtureFitOptions& options = {});

/// Where the profiled -2 log L has risen by `level`. \param best a converged fit of the same data
Interval profile_interval(const TemplateMixture& mixture, const MixtureFit& best,
                          const MixtureFitOptions& options = {}, double level = 1.0);

/// kappa with all other parameters integrated over, each conditional integral by Laplace's
/// approximation; flat in kappa between the bounds.
struct KappaPosterior {
  std::vector<double> kappa;    ///< grid
  std::vector<double> density;  ///< normalised on it
  double mean = 0.0;            ///< of the density
  double sigma = 0.0;           ///< standard deviation
  /// Central interval. \param probability inside
  Interval central(double probability = 0.6827) const;
  /// Half of the density is below it: the estimate with the smallest bias.
  double median() const;
};
/// On a grid of `points` within `range` Laplace errors of the best fit, which may be at a bound of
/// kappa, and within the bounds.
/// \throws Error (numerical) if a conditional fit fails
KappaPosterior kappa_posterior(const TemplateMixture& mixture, const MixtureFit& best,
                               const MixtureFitOptions& options = {}, std::size_t points = 41,
                               double range = 5.0);

/// Whether the fitted shapes lie where the prior expects them.
struct PullTest {
  /// Sum of squares of the fitted parameters in the prior's metric: for prior information only,
  /// small where the data say little.
  double chi2_prior = 0.0;
  double p_prior = 1.0;  ///< chance of more, as if fitted without shrinkage (too large)
  /// Sum of squares over the directions that data measure, each in units of the scatter that the
  /// prior predicts for its fit: prior covariance less that of the posterior.
  double chi2 = 0.0;
  std::size_t degrees = 0;  ///< such directions
  double p_value = 1.0;     ///< chance of more if the truth is drawn from the prior
};
/// \param best a converged fit with priors that are not singular
/// \param least directions of which data take away a smaller part of the prior's variance are left
///   out
PullTest pull_test(const TemplateMixture& mixture, const MixtureFit& best, double least = 0.1);

}  // namespace slalom
