// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch_module.hpp"

#include <cstdint>
#include <functional>
#include <vector>

#include "slalom/modules/classifier.hpp"
#include "slalom/modules/schedule.hpp"

/// \file
/// Density ratios of many simulations, from one network that tells all of them apart.
///
/// With C classes of events and as much weight on each, cross entropy is least where the logits are
/// log p_k(x) up to a function of x alone, so that
///
///     log f_k(x) = logit_k - log( 1/C sum_j exp logit_j ) = log p_k(x) / p_ref(x),
///
/// p_ref = 1/C sum_j p_j: the reference are the events of all classes. Several members i, each
/// trained on a bootstrap sample, are combined for each class,
///
///     log r_k = sum_i a_ki log f_ik + a_k0,
///
/// by their mean, or by weights that are fitted (arXiv:2506.00113).
namespace slalom {

/// Options of ClassNetwork.
struct ClassNetworkOptions {
  std::int64_t features = 1;                        ///< of an event
  std::int64_t classes = 2;                         ///< C
  std::vector<std::int64_t> hidden = {64, 64, 64};  ///< widths of the hidden layers
  Activation activation = Activation::silu;         ///< between them
  /// Functions of x that all logits are linear combinations of; 0: as many as classes. Simulations
  /// that differ in a few parameters need few, and less noise is learned with fewer.
  std::int64_t rank = 0;
  /// Products of up to so many features are added to the network's functions, with weights that
  /// begin at 0; 0, 1 or 2. Gaussians need no more than 2.
  std::int64_t degree = 0;
  std::uint64_t seed = 0;  ///< of the weights
  bool float64 = false;    ///< weights in float64 instead of float32
  /// Equal in all members.
  bool operator==(const ClassNetworkOptions&) const = default;
};

/// Logits [n, C] = head( mlp(x) + products(x) ); the head is a linear map of `rank` functions, or
/// none. Without parameters theta.
class ClassNetworkImpl : public ClassifierImpl {
 public:
  /// \throws Error (usage) for sizes that make no sense
  explicit ClassNetworkImpl(const ClassNetworkOptions& options = {});
  Tensor outputs(const Tensor& features, const Tensor& theta) override;
  bool piecewise_linear() const override;
  /// Mean 0 and standard deviation 1 of features and products. See MlpImpl::fit_normalisation().
  void fit_normalisation(const Tensor& features, const Tensor& weights = {});
  /// As given.
  const ClassNetworkOptions& options() const { return options_; }

 private:
  Tensor products(const Tensor& features) const;

  ClassNetworkOptions options_;
  Mlp network_{nullptr}, products_{nullptr}, head_{nullptr};
  Tensor mean_, scale_;  // of the features, those of network_
};
/// Handle of a ClassNetworkImpl; copies share it.
TORCH_MODULE(ClassNetwork);

/// log r_k = sum_i weights_ki log f_ik + offsets_k.
struct RatioCombination {
  Tensor weights;  ///< [C, M], float64
  Tensor offsets;  ///< [C], float64
};

/// Log ratios of C classes to their reference, from M networks and a combination of them.
class ClassRatiosImpl : public torch::nn::Module {
 public:
  /// Begins with the mean of the members. \param members with C outputs each. Shared
  /// \throws Error (usage) for no members, or fewer than two classes
  ClassRatiosImpl(std::vector<Classifier> members, std::int64_t classes);
  /// log f_ik [M, n, C], float64. \throws Error (usage) for shapes
  Tensor member_log_ratios(const Tensor& features);
  /// log r_k [n, C], float64.
  Tensor log_ratios(const Tensor& features);
  /// The same of members' log ratios [M, n, C].
  Tensor combined(const Tensor& member_log_ratios) const;
  /// A copy.
  RatioCombination combination() const;
  /// \throws Error (usage) for shapes, or numbers that are not finite
  void set_combination(const RatioCombination& combination);
  /// M.
  std::int64_t size() const { return static_cast<std::int64_t>(members_.size()); }
  /// C.
  std::int64_t classes() const { return offsets_.size(0); }
  /// Networks.
  const std::vector<Classifier>& members() const { return members_; }

 private:
  std::vector<Classifier> members_;
  Tensor weights_, offsets_;
};
/// Handle of a ClassRatiosImpl; copies share it. Kept with named_tensors(), put back with
/// load_tensors().
TORCH_MODULE(ClassRatios);

/// Untrained ones, whose member i has the seed of the options + 65536 i: what load_tensors() fills.
ClassRatios make_class_ratios(const ClassNetworkOptions& network, std::int64_t members);

/// Options of train_class_ratios(): Adam with a rate that rises over the warm-up.
struct ClassRatioTraining {
  std::int64_t members = 4;        ///< M
  bool bootstrap = true;           ///< events of each member, and of its validation, drawn again
  std::int64_t epochs = 8;         ///< passes over the events
  std::int64_t batch_size = 4096;  ///< events of a batch, of all classes together
  double learning_rate = 4e-3;     ///< after the warm-up
  ScheduleShape rate = ScheduleShape::cosine;  ///< how it goes on: to 0, or constant
  std::int64_t warm_up = 50;                   ///< steps
  double weight_decay = 0.0;                   ///< decoupled
  double validation_share = 0.1;               ///< of each class, in (0, 1)
  std::int64_t patience = 10;  ///< epochs without a better one to stop after; 0: never
  std::uint64_t seed = 1;      ///< of the split, bootstrap samples and order
  /// Called after each epoch of each member, one at a time; false ends that member.
  std::function<bool(std::int64_t member, std::int64_t epoch, double validation_loss)> progress{};
};

/// How the training of one member went.
struct ClassRatioMember {
  std::vector<double> validation_loss;  ///< cross entropy after each epoch, log C without learning
  std::int64_t best_epoch = 0;          ///< from 0; its weights were kept
  double best_loss = 0.0;               ///< cross entropy there
  bool stopped_early = false;           ///< by patience
};

/// Trained ratios.
struct ClassRatioFit {
  ClassRatios ratios{nullptr};            ///< in float64, with the mean of the members
  std::vector<ClassRatioMember> members;  ///< [M]
};

/// Trains all members on the CPU, several at once; the same for any number of threads. The ratios
/// go to the device of the events. All classes have the same weight, whatever their numbers of
/// events, in bootstrap samples too.
/// \param events [n_k, f] of each class k \param network as make_class_ratios(); its features and
/// classes are those of the events
/// \throws Error (usage) for shapes or options, Error (numerical) for events that are not finite or
///   a loss that is not, with the step
ClassRatioFit train_class_ratios(const std::vector<Tensor>& events, ClassNetworkOptions network,
                                 const ClassRatioTraining& training = {});

/// 1/M each, no offset.
RatioCombination mean_combination(std::int64_t classes, std::int64_t members);

/// The w_i f_i combination: for each class the weights and offset of least logistic loss, mean over
/// class k of softplus(-log r_k) + mean over the reference of softplus(log r_k). Convex; exact
/// Hessians.
/// \param member_log_ratios log f_ik [M, n, C] of events of all classes \param labels their classes
/// [n]; all classes together, with the same weight, are the reference
/// \throws Error (usage) for shapes, Error (numerical) for a class without events, or one that is
///   separated from all others completely
RatioCombination fit_combination(const Tensor& member_log_ratios, const Tensor& labels);

/// The combination with log r_k -> slope_k log r_k + offset_k of least logistic loss (Platt), which
/// events that were not trained with decide. Parameters and errors as fit_combination().
RatioCombination calibrate_combination(const RatioCombination& combination,
                                       const Tensor& member_log_ratios, const Tensor& labels);

/// The combination with offsets such that the mean of r_k over the reference is 1. Parameters and
/// errors as fit_combination().
RatioCombination normalise_combination(const RatioCombination& combination,
                                       const Tensor& member_log_ratios, const Tensor& labels);

/// The combination for events in a window, where r_k is r_k eff_ref / eff_k, eff_ref the mean of
/// all. \param efficiencies [C], above 0 \throws Error (usage)
RatioCombination cut_combination(const RatioCombination& combination, const Tensor& efficiencies);

/// Directions in which classes differ. Simulations that differ in few parameters have log ratios
/// that are combinations of few functions of x; what networks say beyond that is noise of their
/// training, to which a mixture with weights of both signs would adapt.
struct RatioSubspace {
  Tensor mean;     ///< over the reference, of log ratios less their mean over classes [C]
  Tensor vectors;  ///< [C, rank], orthonormal
  Tensor spread;   ///< root mean square along all directions, falling [C]: noise is a plateau
};

/// The `rank` directions of largest spread, of all classes together. \param log_ratios [n, C] of
/// the reference, not cut \param weights [n]; undefined: 1 each \throws Error (usage) for shapes,
/// or a rank out of range
RatioSubspace ratio_subspace(const Tensor& log_ratios, std::int64_t rank,
                             const Tensor& weights = {});

/// Log ratios [n, C] without what is outside of the subspace, and such that the mean over classes
/// of exp is 1 again; cut_combination() comes after that. Differentiable.
Tensor projected(const Tensor& log_ratios, const RatioSubspace& subspace);

}  // namespace slalom
