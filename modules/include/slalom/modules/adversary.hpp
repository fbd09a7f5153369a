// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch_module.hpp"

#include <cstdint>
#include <vector>

#include "slalom/modules/classifier.hpp"

/// \file
/// Adversaries: networks that tell the nuisance parameters of an event by its score. A classifier
/// that leaves its adversary nothing to tell is pivotal (Louppe, Kagan and Cranmer, NeurIPS 2017).
///
/// The loss is L_r = <-log q(theta | score)>, or a mean squared error. Of all q, the smallest L_r
/// is the entropy of theta given the score: at most the entropy H of theta, and equal to it if and
/// only if the score says nothing. An adversary of one Gaussian, or of a mean alone, sees less:
/// what it cannot tell may still be there. The classifier is trained with L_f - lambda L_r, the
/// adversary with L_r: in turns, or at once with the gradient turned round between them.
namespace slalom {

/// x itself, whose gradient is multiplied by -scale on the way back (Ganin and Lempitsky, ICML
/// 2015).
Tensor reverse_gradient(const Tensor& x, double scale = 1.0);

/// What an adversary says about theta.
enum class AdversaryKind {
  mse,       ///< its mean: blind to all but a shift of the mean
  gaussian,  ///< mean and width of a Gaussian
  mixture,   ///< a mixture of Gaussians (mixture density network)
};

/// Options of Adversary.
struct AdversaryOptions {
  AdversaryKind type = AdversaryKind::gaussian;                 ///< what it says
  std::vector<std::int64_t> hidden = {64, 64};                  ///< widths of the hidden layers
  Activation activation = Activation::silu;                     ///< between layers
  std::int64_t components = 5;                                  ///< mixture: Gaussians
  std::int64_t inputs = 1;                                      ///< scores of an event
  std::vector<ParameterInput> parameters = {{"theta", -1, 1}};  ///< what is to be told
  std::uint64_t seed = 0;                                       ///< of the weights
  bool float64 = false;                                         ///< weights in float64
  /// Equal in all members.
  bool operator==(const AdversaryOptions&) const = default;
};

/// An adversary. Inside, theta is mapped from its range to [-1, 1]; losses are in its own units.
/// Several parameters are told as if independent of each other within a Gaussian.
class AdversaryImpl : public torch::nn::Module {
 public:
  /// \throws Error (usage) for sizes that are not positive or empty ranges
  explicit AdversaryImpl(AdversaryOptions options = {});
  /// What the network says [n, outputs]: means; means and logarithms of widths; or logits, means
  /// and logarithms of widths of the components, in units of half a range.
  Tensor outputs(const Tensor& scores);
  /// Loss of each event [n], float64: -log q(theta | score), or squared distance.
  /// \param scores [n] or [n, inputs] \param theta [n, parameters] \throws Error (usage) for shapes
  Tensor losses(const Tensor& scores, const Tensor& theta);
  /// L_r, their weighted mean. \param weights [n]; undefined: 1 each
  /// \throws Error (numerical) for weights without a positive sum
  Tensor loss(const Tensor& scores, const Tensor& theta, const Tensor& weights = {});
  /// As given.
  const AdversaryOptions& options() const { return options_; }

 private:
  AdversaryOptions options_;
  Mlp network_{nullptr};
  Tensor middle_, half_;  // of the ranges
};
TORCH_MODULE(Adversary);  ///< copies share one module

}  // namespace slalom
