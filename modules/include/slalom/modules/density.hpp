// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch_module.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "slalom/modules/closure.hpp"
#include "slalom/modules/events.hpp"
#include "slalom/modules/feature_transform.hpp"

/// \file
/// Probability densities p(x | condition) of events: log p, samples, training by maximum
/// likelihood, and how far one is from another. All of them are a Density; flow.hpp and
/// flow_matching.hpp have those with weights.
///
/// Shapes: x [n, f], condition [n, c], log p [n]. A density without conditions takes an undefined
/// condition.
namespace slalom {

class DensityImpl;

/// What a training sees of a density: the part with weights, and events as that part takes them.
struct DensityTarget {
  DensityImpl* density;  ///< whose losses() are made small
  Tensor x;              ///< [n, f]
  Tensor condition;      ///< [n, c] or undefined
};

/// What all densities share.
class DensityImpl : public torch::nn::Module {
 public:
  /// log p(x | condition) [n], differentiable in both; -infinity where the density is 0.
  virtual Tensor log_prob(const Tensor& x, const Tensor& condition) = 0;
  /// n events [n, f]. Event i follows from seed, i and the condition of row i alone.
  virtual Tensor sample(std::int64_t n, const Tensor& condition, std::uint64_t seed) = 0;
  /// What a training makes small, for each event [n]: -log p here. \param seed of random numbers
  virtual Tensor losses(const Tensor& x, const Tensor& condition, std::uint64_t seed);
  /// sum of weights [n] times losses(), a scalar: what a training differentiates.
  virtual Tensor total_loss(const Tensor& x, const Tensor& condition, const Tensor& weights,
                            std::uint64_t seed);
  /// This density and these events here; a density around another one passes transformed events.
  virtual DensityTarget target(const Tensor& x, const Tensor& condition);
};
/// Handle of a DensityImpl; copies share it.
TORCH_MODULE(Density);
/// Any of them as a density: `as_density(flow.ptr())`. Shares the module.
inline Density as_density(std::shared_ptr<DensityImpl> module) {
  return Density(std::move(module));
}

/// p(x | c) = q(z(x) | standardised c) |dz/dx|: any density behind a FeatureTransform. Conditions
/// are standardised with buffers `condition_mean` and `condition_scale`. 0 outside of a range.
class TransformedDensityImpl : public DensityImpl {
 public:
  /// Shares both. \param conditions number c
  TransformedDensityImpl(FeatureTransform transform, Density density, std::int64_t conditions = 0);
  /// Fits the transform to x, and mean and scale to the conditions. \throws Error as
  /// FeatureTransformImpl::fit()
  void fit(const Tensor& x, const Tensor& condition = {}, const Tensor& weights = {});
  Tensor log_prob(const Tensor& x, const Tensor& condition) override;
  Tensor sample(std::int64_t n, const Tensor& condition, std::uint64_t seed) override;
  /// Those of the density inside, at z: without the Jacobian, which has no weights.
  Tensor losses(const Tensor& x, const Tensor& condition, std::uint64_t seed) override;
  DensityTarget target(const Tensor& x, const Tensor& condition) override;

 private:
  Tensor standardised(const Tensor& condition, std::int64_t n);

  FeatureTransform transform_;
  Density density_;
  std::int64_t conditions_;
  Tensor condition_mean_, condition_scale_;
};
/// Handle of a TransformedDensityImpl; copies share it.
TORCH_MODULE(TransformedDensity);

/// The mean of several densities, p = sum_m p_m / M. Each event of a sample comes from one member.
class DensityEnsembleImpl : public DensityImpl {
 public:
  /// \throws Error (usage) for no members
  explicit DensityEnsembleImpl(std::vector<Density> members);
  Tensor log_prob(const Tensor& x, const Tensor& condition) override;
  /// log p of each member [M, n].
  Tensor log_probs(const Tensor& x, const Tensor& condition);
  Tensor sample(std::int64_t n, const Tensor& condition, std::uint64_t seed) override;

 private:
  std::vector<Density> members_;
};
/// Handle of a DensityEnsembleImpl; copies share it.
TORCH_MODULE(DensityEnsemble);

/// A density that the user knows.
class FunctionDensityImpl : public DensityImpl {
 public:
  /// log p [n] of (x, condition)
  using LogProb = std::function<Tensor(const Tensor& x, const Tensor& condition)>;
  /// x [n, f] of (n, condition, seed)
  using Sample = std::function<Tensor(std::int64_t n, const Tensor& condition, std::uint64_t seed)>;
  /// \param sample may be empty: sample() is then an Error (usage)
  explicit FunctionDensityImpl(LogProb log_prob, Sample sample = {});
  Tensor log_prob(const Tensor& x, const Tensor& condition) override;
  Tensor sample(std::int64_t n, const Tensor& condition, std::uint64_t seed) override;

 private:
  LogProb log_prob_;
  Sample sample_;
};
/// Handle of a FunctionDensityImpl; copies share it.
TORCH_MODULE(FunctionDensity);

/// Standard normal numbers [n, k], float64, CPU: row i follows from seed, family and i alone.
Tensor normal_rows(std::int64_t n, std::int64_t k, std::uint64_t seed, std::uint32_t family = 0);

/// Options of train_density(): AdamW, with a rate that rises over the warm-up and falls as a cosine
/// to 0.
struct DensityTraining {
  std::int64_t epochs = 30;        ///< passes over the events, if `steps` is 0
  std::int64_t steps = 0;          ///< batches; 0: those of `epochs`
  std::int64_t batch_size = 2048;  ///< events of a batch, at most all of them
  double learning_rate = 2e-3;     ///< after the warm-up
  std::int64_t warm_up = 50;       ///< steps
  double weight_decay = 0.0;       ///< of AdamW
  double clip_norm = 1.0;          ///< largest norm of the gradient; 0: any
  double average = 0.0;  ///< of the weights: a <- average a + (1 - average) weights; 0: none.
                         ///< The averages are validated and kept
  double validation_share = 0.1;    ///< of the events, in [0, 1); 0: all, no best weights
  std::int64_t validate_every = 0;  ///< steps; 0: once in an epoch
  std::int64_t patience = 0;        ///< validations without a better one to stop after; 0: never
  std::uint64_t seed = 1;           ///< of the split, of batches and of losses
};

/// Where a training stands, at a validation.
struct DensityProgress {
  std::int64_t step = 0;         ///< batches done
  std::int64_t steps = 0;        ///< of all
  double training_loss = 0.0;    ///< mean since the last validation
  double validation_loss = 0.0;  ///< mean of the validation events; NaN if there are none
};

/// How a training went.
struct DensityFit {
  std::vector<DensityProgress> history;  ///< all validations
  std::int64_t steps = 0;                ///< batches done
  std::int64_t best_step = 0;            ///< after which the weights that were kept were found
  double best_loss = 0.0;      ///< validation loss there; training loss without validation
  bool stopped_early = false;  ///< by patience
};

/// Trains by losses(), maximum likelihood unless the density says otherwise. The weights of the
/// best validation are kept. The same for any number of threads.
/// \param x [n, f] \param condition [n, c] or undefined \param weights [n], not negative;
/// undefined: 1 each \param progress called at every validation; false stops \throws Error (usage)
/// for shapes, options or a density without weights, Error (numerical) for weights without a
/// positive sum, events that are not finite or a loss that is not
DensityFit train_density(Density& density, const Tensor& x, const Tensor& condition = {},
                         const Tensor& weights = {}, const DensityTraining& options = {},
                         const std::function<bool(const DensityProgress&)>& progress = {});

/// Kullback-Leibler divergence of q from p, the mean of log p/q over events of p.
struct KlEstimate {
  double value = 0.0;   ///< mean of log p/q
  double error = 0.0;   ///< its standard error
  double paired = 0.0;  ///< mean of q/p - 1 - log q/p: the same where q has no events that p has
                        ///< not, and with a much smaller error where q is close to p
  double paired_error = 0.0;  ///< its standard error
};
/// \param log_p [n] \param log_q [n], at events of p \param weights [n]; undefined: 1 each
/// \throws Error (usage) for shapes or no events, Error (numerical) for numbers that are not finite
KlEstimate kl_divergence(const Tensor& log_p, const Tensor& log_q, const Tensor& weights = {});

/// compare_samples() of a sample of the density at the conditions of the events, and the events.
/// The classifier sees features and conditions. \param features,conditions columns
SampleComparison density_closure(Density& density, const EventBatch& events,
                                 const std::vector<std::string>& features,
                                 const std::vector<std::string>& conditions,
                                 const ClosureOptions& options = {});

}  // namespace slalom
