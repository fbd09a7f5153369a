// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <cstdint>
#include <memory>
#include <string>

#include "slalom/core/model_spec.hpp"

/// \file
/// Templates and nuisance parameters to expected yields: the rate model of HistFactory as a graph.
///
///     rate_b = sum_s (nominal_sb + sum_histosys delta_sb(alpha)) prod_factors kappa_sb
///
/// Built from the same specification that core compiles. Every template may be a node of a graph;
/// the result is differentiable in templates and parameters to any order.
namespace slalom {

/// The numbers of a model as tensors, float64, in the order of the specification: channel by
/// channel, sample by sample, term by term, bin by bin. Replace any of them by a node of a graph.
struct Templates {
  Tensor nominal;      ///< yields of all samples [R]
  Tensor histosys_hi;  ///< yields at +1 of all histosys [H]
  Tensor histosys_lo;  ///< yields at -1 [H]
  Tensor normsys_hi;   ///< factors at +1 of all normsys [N], > 0
  Tensor normsys_lo;   ///< factors at -1 [N], > 0
  Tensor uncertainty;  ///< absolute uncertainties of staterror and shapesys [U]
  Tensor observed;     ///< observed main data [B]

  /// The same on another device; graphs are kept.
  Templates to(const at::Device& device) const;
};

/// A range of one of the tensors of Templates.
struct Range {
  std::int64_t first = 0;  ///< index of the first element
  std::int64_t size = 0;   ///< number of elements
};

/// `whole` with the elements of a range replaced; differentiable in both.
/// \throws Error (model) if the sizes do not match
Tensor replace_range(const Tensor& whole, const Range& range, const Tensor& part);

/// The rate model. Immutable; copies share their index tensors.
class Systematics {
 public:
  /// Lists what acts on what. \throws Error (model) for a specification that is not consistent
  explicit Systematics(const ModelSpec& spec);

  /// What it was built from.
  const ModelSpec& spec() const;
  /// The templates of the specification, without graphs.
  Templates templates() const;

  /// Place of a sample's yields in Templates::nominal.
  /// \throws Error (model) if there is no such channel or sample
  Range nominal_range(const std::string& channel, const std::string& sample) const;
  /// Place of a histosys in Templates::histosys_hi and histosys_lo.
  /// \param parameter name of the modifier \throws Error (model)
  Range histosys_range(const std::string& channel, const std::string& sample,
                       const std::string& parameter) const;
  /// Place of a normsys in Templates::normsys_hi and normsys_lo.
  /// \param parameter name of the modifier \throws Error (model)
  Range normsys_range(const std::string& channel, const std::string& sample,
                      const std::string& parameter) const;
  /// Place of a staterror or shapesys in Templates::uncertainty.
  /// \param modifier name of the modifier \throws Error (model)
  Range uncertainty_range(const std::string& channel, const std::string& sample,
                          const std::string& modifier) const;

  /// Expected yields of every sample [R].
  /// \param parameters [P], float64
  /// \param templates see Templates
  Tensor expected_samples(const Tensor& parameters, const Templates& templates) const;
  /// Expected main data [B].
  Tensor expected(const Tensor& parameters, const Templates& templates) const;

  /// Width of every parameter's Gaussian constraint and factor of its Poisson constraint [P], 1
  /// where there is none. Those of staterror follow from uncertainties and yields,
  /// sqrt(sum u^2) / sum nominal, those of shapesys as (nominal / u)^2, unless the measurement
  /// configures other values.
  Tensor constraint_scale(const Templates& templates) const;
  /// The same from yields and uncertainties in a specification of the same structure, into its
  /// parameters.
  void put_constraint_scales(ModelSpec& spec) const;

  /// The same on another device.
  Systematics to(const at::Device& device) const;

 private:
  struct Indices;
  std::shared_ptr<const Indices> indices_;
};

}  // namespace slalom
