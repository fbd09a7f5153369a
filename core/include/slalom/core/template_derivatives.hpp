// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "slalom/core/model.hpp"

/// \file
/// Derivatives with respect to what a model is made of: templates, variations, widths and data.
///
/// They are what implicit differentiation of a fit needs: with the optimum theta of -log L(theta;
/// T), d theta / d T = -H^-1 d^2(-log L) / d theta d T, so for any function of the optimum one
/// solve with H gives a direction v, and `logpdf_mixed` gives the derivative with respect to all T
/// at once.
namespace slalom {

/// Kinds of inputs of a model.
enum class InputKind {
  nominal,      ///< yield of a sample in a bin
  histosys_hi,  ///< varied yield at +1
  histosys_lo,  ///< varied yield at -1
  normsys_hi,   ///< factor at +1
  normsys_lo,   ///< factor at -1
  sigma,        ///< width of a Gaussian constraint
  tau,          ///< factor of a Poisson constraint
  observed,     ///< main datum
  auxiliary,    ///< auxiliary datum
  uncertainty,  ///< yield uncertainty of a shapesys or staterror; see WorkspaceSensitivity
};

/// One input. Members that do not apply are 0.
struct Input {
  InputKind kind;             ///< what it is
  std::size_t channel = 0;    ///< index in ModelSpec::channels
  std::size_t sample = 0;     ///< index in ChannelSpec::samples
  std::size_t term = 0;       ///< index in SampleSpec::histosys, normsys or binwise
  std::size_t bin = 0;        ///< bin of the channel
  std::size_t parameter = 0;  ///< of a variation or a constraint
};

/// Second derivatives along a direction v in parameter space: v' d^2/d theta^2 (.) v.
struct LogpdfCurvature {
  std::vector<double> inputs;      ///< of d log L / d input [I]
  std::vector<double> parameters;  ///< of d log L / d theta [P]
};

/// Derivatives of a weighted sum of expected main data.
struct RateDerivatives {
  std::vector<double> inputs;      ///< by inputs [I]
  std::vector<double> parameters;  ///< by parameters [P]
};

/// Derivatives with respect to all inputs of a model.
///
/// The widths of constraints are inputs of their own: that the width of a staterror follows from
/// uncertainties and yields is for the caller to put in by the chain rule.
class TemplateDerivatives {
 public:
  /// Lists the inputs.
  explicit TemplateDerivatives(const Model& model);

  /// All inputs: for each channel and sample nominal, then each histosys (hi, lo), then each
  /// normsys (hi, lo); then the constraints, the observed and the auxiliary data.
  const std::vector<Input>& inputs() const { return inputs_; }
  /// Number of inputs I.
  std::size_t size() const { return inputs_.size(); }

  /// d log L / d input [I] at `parameters` [P] and `data` [B + A].
  /// \throws Error (numerical) where log L is not finite
  std::vector<double> logpdf(std::span<const double> parameters,
                             std::span<const double> data) const;

  /// sum_p v_p d^2 log L / d theta_p d input [I], for a direction v [P].
  /// At a kink of an interpolation code the derivative is that of the side the parameter is on.
  /// \throws Error (numerical) where log L is not finite
  std::vector<double> logpdf_mixed(std::span<const double> parameters, std::span<const double> data,
                                   std::span<const double> direction) const;

  /// Derivatives of v' (d^2 log L / d theta^2) v for a direction v [P] that is held: what the
  /// curvature, and so an uncertainty, hangs on. \throws Error (numerical) as logpdf_mixed
  LogpdfCurvature logpdf_curvature(std::span<const double> parameters, std::span<const double> data,
                                   std::span<const double> direction) const;

  /// sum_b u_b d rate_b / d input [I], for weights u [B] of the expected main data.
  std::vector<double> expected(std::span<const double> parameters,
                               std::span<const double> weights) const;
  /// sum_b u_b d rate_b / d theta [P], for weights u [B] of the expected main data.
  std::vector<double> expected_by_parameters(std::span<const double> parameters,
                                             std::span<const double> weights) const;
  /// Both at once.
  RateDerivatives rates(std::span<const double> parameters, std::span<const double> weights) const;

 private:
  Model model_;
  std::vector<Input> inputs_;
};

}  // namespace slalom
