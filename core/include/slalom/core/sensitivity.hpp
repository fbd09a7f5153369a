// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "slalom/core/fit.hpp"
#include "slalom/core/hypotest.hpp"
#include "slalom/core/template_derivatives.hpp"

/// \file
/// What a result hangs on: the exact derivative, through the profiling, of sigma(mu), of
/// significances and of upper limits with respect to everything a workspace holds.
///
/// With theta(T) the optimum of f = -log L, and F its free parameters that are not at a bound,
/// d theta_F / dT = -H_FF^-1 d^2 f / d theta_F dT; -2 log L at an optimum needs its partial
/// derivative only; sigma^2 = e' H^-1 e has d sigma^2 = -v' dH v with v = H^-1 e, where dH holds
/// what moves with the optimum; a limit mu(T), the root of g(mu, T) = 0, has d mu = -dg / (dg/dmu).
/// Asimov data are the rates at a fit: they move with the templates and with that fit. Each figure
/// costs its fits, at most three solutions with a Hessian, and a few passes over the templates,
/// whatever the number of inputs.
namespace slalom {

/// A figure of merit with its derivatives.
struct Sensitivity {
  double value = 0.0;  ///< the figure
  std::vector<double>
      derivatives;         ///< by TemplateDerivatives::inputs() [I]; zeros if not converged
  bool converged = false;  ///< all fits converged and the derivative exists
  std::string message;     ///< why not
};

/// Which data, and how the fits are done.
struct SensitivityOptions {
  /// Fixed and floating nuisance parameters, start and tolerance. Without `search_minima` each fit
  /// is done from one start only, for use in a loop whose models change little.
  FitOptions fit{};
  TestStatistic statistic = TestStatistic::qtilde;  ///< of log_cls and upper_limit
  /// Data [B + A] in place of the observed ones.
  std::vector<double> data{};
  /// The data are those expected at this point [P], in place of the above: they move with the
  /// templates.
  std::vector<double> asimov_point{};
  /// Fit of the above data at which `asimov_point` lies; if given, the point moves as well.
  std::optional<FitResult> asimov_fit{};
};

/// Figures of merit of one model, with derivatives. Fits that figures have in common are done once.
///
/// A parameter at a bound is held there: the derivative is that of the side on which it stays. So
/// it is with the kinks of interpolation codes 0 and 1. \throws Error (numerical) where log L is
/// not finite at a best point
class SensitivityCalculator {
 public:
  /// \throws Error (model) for a model without a POI or with one that is held, and for data or
  ///   points of the wrong length
  explicit SensitivityCalculator(const Model& model, SensitivityOptions options = {});
  ~SensitivityCalculator();
  /// Takes over the state of another calculator.
  SensitivityCalculator(SensitivityCalculator&&) noexcept;
  /// Takes over the state of another calculator.
  SensitivityCalculator& operator=(SensitivityCalculator&&) noexcept;

  /// Changes numbers of the model: templates, variations, widths and data, not what acts on what.
  /// Then everything is as if the calculator were a new one for the changed specification, to the
  /// last bit, but the model is not compiled again where it need not be.
  /// \param change gets the specification, to change in place; if it throws, the calculator must
  ///   be updated again before it is used
  /// \throws Error (model) for a specification that is not consistent
  void update(const std::function<void(ModelSpec&)>& change);
  /// The model, with all updates.
  const Model& model() const;

  /// The inputs that the derivatives belong to.
  const TemplateDerivatives& templates() const;

  // Of the data.
  /// Best fit of the POI.
  Sensitivity best_fit();
  /// sigma(mu): its uncertainty from the exact Hessian at the best fit.
  Sensitivity error();
  /// Significance sqrt(q0) of the data.
  Sensitivity significance();
  /// log p0, whose derivative exists for q0 = 0 as well (and is then 0).
  Sensitivity log_p0();
  /// log CLs at mu.
  Sensitivity log_cls(double mu);
  /// Upper limit. \param level value of CLs there
  Sensitivity upper_limit(double level = 0.05);

  // Expected ones: of Asimov data at the conditional fit to the data.
  /// sigma(mu) from the Hessian at the Asimov data of `mu`, where it is the Fisher information.
  Sensitivity expected_error(double mu = 1.0);
  /// Median significance sqrt(q0) for the signal `mu`.
  Sensitivity expected_significance(double mu = 1.0);
  /// log p0 of the same.
  Sensitivity expected_log_p0(double mu = 1.0);
  /// log CLs at mu, `n_sigma` standard deviations above the background-only median.
  Sensitivity expected_log_cls(double mu, double n_sigma = 0.0);
  /// Upper limit, `n_sigma` standard deviations above the background-only median.
  Sensitivity expected_upper_limit(double level = 0.05, double n_sigma = 0.0);

 private:
  struct Fits;
  std::unique_ptr<Fits> fits_;
};

/// Derivatives with respect to what the workspace holds.
///
/// The width of a shapesys or staterror follows from uncertainties and nominal yields, which are
/// then the inputs in its place (kind InputKind::uncertainty); so do the auxiliary data of a
/// shapesys. Widths that a measurement sets, and those of the other constraints, stay inputs.
struct WorkspaceSensitivity {
  std::vector<Input> inputs;   ///< in the order of TemplateDerivatives, uncertainties at the end
  std::vector<double> values;  ///< of the inputs
  std::vector<double> derivatives;  ///< of the figure
};

/// Changes the variables of a figure's derivatives to those of the workspace.
WorkspaceSensitivity workspace_sensitivity(const Model& model, const TemplateDerivatives& templates,
                                           const Sensitivity& figure);

/// Effects of relative changes, d figure / d log size: times 0.01 for one percent.
struct SensitivityRanking {
  /// All yields of one sample of one channel, its variations and uncertainties included.
  struct SampleEffect {
    std::size_t channel = 0;  ///< index
    std::size_t sample = 0;   ///< index
    double effect = 0.0;      ///< of all bins
  };
  /// All yields in one bin, of all samples.
  struct BinEffect {
    std::size_t channel = 0;  ///< index
    std::size_t bin = 0;      ///< of the channel
    double effect = 0.0;      ///< of the expected yields
    double datum = 0.0;       ///< one sqrt(n) more observed events, not a relative change
  };
  /// One parameter set.
  struct ParameterEffect {
    std::size_t set = 0;      ///< index in ModelSpec::sets
    double width = 0.0;       ///< wider constraints
    double variations = 0.0;  ///< larger variations (hi and lo), for normsys and histosys
    double datum = 0.0;       ///< auxiliary data larger by one pre-fit width
  };
  std::vector<SampleEffect> samples;        ///< largest first
  std::vector<BinEffect> bins;              ///< largest first
  std::vector<ParameterEffect> parameters;  ///< constrained ones, largest width first
};

/// Sums derivatives into effects.
SensitivityRanking rank(const Model& model, const WorkspaceSensitivity& figure);

}  // namespace slalom
