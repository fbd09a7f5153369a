// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "slalom/core/workspace.hpp"
#include "slalom/modules/systematics.hpp"

/// \file
/// The HistFactory likelihood as a graph: differentiable in parameters, templates and data to any
/// order. It shares no arithmetic with the compiled model of core, and agrees with it to rounding.
namespace slalom {

/// log L = sum_bins log Poisson(n | rate) + sum_constraints, constants included, as pyhf.
/// Immutable; copies share what they hold.
class Likelihood {
 public:
  /// \throws Error (model) for a specification that is not consistent
  explicit Likelihood(const ModelSpec& spec);

  /// What it was built from.
  const ModelSpec& spec() const { return systematics_.spec(); }
  /// The rate model.
  const Systematics& systematics() const { return systematics_; }
  /// The templates of the specification.
  Templates templates() const { return systematics_.templates(); }
  /// Suggested initial values [P].
  Tensor initial() const;

  /// Expected main data [B], followed by the expected auxiliary data [A].
  /// Asimov data of a point are what is expected there.
  Tensor expected_data(const Tensor& parameters, const Templates& templates) const;
  /// Observed main data, followed by the auxiliary data [B + A]. The auxiliary counts of a shapesys
  /// are its factors, which follow from the templates.
  Tensor data(const Templates& templates) const;

  /// log L of `data` [B + A] at `parameters` [P]: a scalar; -infinity where a rate is negative.
  Tensor log_prob(const Tensor& parameters, const Templates& templates, const Tensor& data) const;
  /// log L of the observed data.
  Tensor log_prob(const Tensor& parameters, const Templates& templates) const {
    return log_prob(parameters, templates, data(templates));
  }
  /// The constraint terms of log L alone.
  Tensor constraint_log_prob(const Tensor& parameters, const Templates& templates,
                             const Tensor& auxiliary) const;

  /// Curvature of the constraint terms of -log L [P] where the auxiliary data are those expected at
  /// `parameters`: 1 / sigma^2, tau / theta, or 0 without a constraint.
  Tensor constraint_information(const Tensor& parameters, const Templates& templates) const;

  /// The specification with the values of `templates` in it: what core compiles. Bins that lost
  /// their uncertainty are held at 1, as pyhf holds them.
  /// \throws Error (model) for templates that are not finite
  ModelSpec with_templates(const Templates& templates) const;
  /// The same in place. \param spec spec(), or what with_templates() made of it
  void put_templates(const Templates& templates, ModelSpec& spec) const;

  /// The same on another device.
  Likelihood to(const at::Device& device) const;

 private:
  Systematics systematics_;
  Tensor auxiliary_;      // indices of constrained parameters [A]
  Tensor is_gaussian_;    // [A]
  Tensor auxdata_;        // [A]
  Tensor follows_scale_;  // auxdata that are the factor of their constraint [A]
  Tensor initial_;
  std::vector<bool> auxdata_follow_;  // the values of follows_scale_
};

/// The workspace with the values of `templates` in the place of its own, written to full precision:
/// what pyhf reads. Its model is Likelihood::with_templates().
/// \param workspace the one that `likelihood` was made from
/// \throws Error (model) if they do not belong together, or for templates that are not finite
Workspace export_workspace(const Workspace& workspace, const Likelihood& likelihood,
                           const Templates& templates);

}  // namespace slalom
