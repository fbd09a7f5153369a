// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "slalom/core/model_spec.hpp"

/// \file
/// The compiled statistical model and its evaluation.
///
/// Notation: P parameters, B bins of all channels, A auxiliary data. Vectors of parameters have the
/// order of `ModelSpec::parameters`; data are the B main bins followed by the A auxiliary data,
/// both in pyhf's order. The likelihood is that of pyhf, constants included.
namespace slalom {

namespace detail {
struct Engine;
struct EngineState;
}  // namespace detail

/// A model compiled into flat arrays. Immutable and cheap to copy (copies share the arrays); any
/// number of threads may use one, each through an Evaluator of its own.
class Model {
 public:
  /// Compiles a specification. \throws Error (model) for a specification that is not consistent
  explicit Model(ModelSpec spec);

  /// What the model was compiled from.
  const ModelSpec& spec() const;
  /// Number of parameters P.
  std::size_t n_parameters() const;
  /// Number of bins B.
  std::size_t n_bins() const;
  /// Number of auxiliary data A.
  std::size_t n_auxiliary() const;

  /// Expected main data [B], followed by the expected auxiliary data [A] if asked for.
  std::vector<double> expected_data(std::span<const double> parameters,
                                    bool include_auxdata = true) const;
  /// log L at `parameters` [P] of `data` [B + A]; -infinity where a rate is negative.
  double logpdf(std::span<const double> parameters, std::span<const double> data) const;

  /// The compiled form; for the library's own use.
  const detail::Engine& engine() const { return *engine_; }

 private:
  std::shared_ptr<const detail::Engine> engine_;
};

/// Evaluates a model again and again without allocating. One per thread.
///
/// A point at which an expected rate is negative (or zero where events were observed) has
/// logpdf = -infinity; gradient and Hessian are then left untouched.
class Evaluator {
 public:
  /// Starts with the observed data of the model.
  explicit Evaluator(const Model& model);
  ~Evaluator();
  /// Takes over the state of another evaluator.
  Evaluator(Evaluator&&) noexcept;
  /// Takes over the state of another evaluator.
  Evaluator& operator=(Evaluator&&) noexcept;

  /// The model that is evaluated.
  const Model& model() const { return model_; }

  /// Replaces the data [B + A]. Main data must be >= 0 and finite, Poisson auxiliary data >= 0.
  /// \throws Error (model) otherwise
  void set_data(std::span<const double> data);
  /// The data in use [B + A].
  std::span<const double> data() const;

  /// log L at `parameters` [P].
  double logpdf(std::span<const double> parameters);
  /// log L, and its derivatives d log L / d theta [P].
  double logpdf(std::span<const double> parameters, std::span<double> gradient);
  /// log L, gradient [P] and the exact Hessian [P * P], row-major and symmetric.
  double logpdf(std::span<const double> parameters, std::span<double> gradient,
                std::span<double> hessian);

  /// Expected main data [B].
  void expected_main(std::span<const double> parameters, std::span<double> rates);
  /// Expected main data of every sample: [B] for the first sample of each channel, and so on;
  /// `rates` has one vector of n_bins per sample, channel by channel in the order of the spec.
  void expected_samples(std::span<const double> parameters, std::span<double> rates);

 private:
  friend class Fitter;
  friend class TemplateDerivatives;
  Model model_;
  std::unique_ptr<detail::EngineState> state_;
};

}  // namespace slalom
