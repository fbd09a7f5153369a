// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch_module.hpp"

#include <cstdint>
#include <vector>

#include "slalom/modules/classifier.hpp"
#include "slalom/modules/density.hpp"

/// \file
/// Normalising flows: x is carried to a standard normal z by layers that each change some features,
/// the way depending on the others and on the conditions,
///
///     log p(x | c) = log N(z) + sum over layers of log |det dz_l/dz_(l-1)|.
///
/// affine (Dinh et al., arXiv:1605.08803): x e^s + t with s, t from a network, |s| below a limit.
/// spline (Durkan et al., arXiv:1906.04032): a monotone rational-quadratic spline in
/// [-tail_bound, tail_bound], x itself outside.
namespace slalom {

/// What a layer does to a feature.
enum class FlowKind { affine, spline };

/// Options of Flow.
struct FlowOptions {
  std::int64_t features = 1;                 ///< f of an event
  std::int64_t conditions = 0;               ///< c of an event
  std::int64_t layers = 8;                   ///< each changes half of the features
  std::int64_t hidden = 64;                  ///< width of the networks
  std::int64_t hidden_layers = 2;            ///< of the networks
  FlowKind kind = FlowKind::affine;          ///< of all layers
  double scale_limit = 2.0;                  ///< affine: |s| < this, s = limit tanh(raw / limit)
  std::int64_t bins = 8;                     ///< spline: of each feature
  double tail_bound = 5.0;                   ///< spline: beyond, features stay as they are
  Activation activation = Activation::silu;  ///< of the networks
  std::uint64_t seed = 0;                    ///< of the weights
  bool float64 = false;                      ///< weights in float64 instead of float32
  /// Equal in all members.
  bool operator==(const FlowOptions&) const = default;
};

/// A flow of coupling layers. Features go in pairs of layers, of which one changes what the other
/// leaves alone; pairs split them in turn by the bits of their numbers. A single feature is changed
/// by all layers, by the conditions alone. New flows are the identity: p is a standard normal.
class FlowImpl : public DensityImpl {
 public:
  /// \throws Error (usage) for sizes that are not positive
  explicit FlowImpl(FlowOptions options = {});
  Tensor log_prob(const Tensor& x, const Tensor& condition) override;
  Tensor sample(std::int64_t n, const Tensor& condition, std::uint64_t seed) override;
  Tensor total_loss(const Tensor& x, const Tensor& condition, const Tensor& weights,
                    std::uint64_t seed) override;
  /// z of x, with log |det dz/dx|.
  struct Image {
    Tensor value;    ///< [n, f]
    Tensor log_det;  ///< [n]
  };
  /// From events to the normal distribution. \param x [n, f] \param condition [n, c]
  Image forward(const Tensor& x, const Tensor& condition = {});
  /// From the normal distribution to events, with log |det dx/dz|.
  Image inverse(const Tensor& z, const Tensor& condition = {});
  /// Which features a layer changes. \throws Error (usage) for a layer that is not
  std::vector<std::int64_t> changed(std::int64_t layer) const;
  /// As given.
  const FlowOptions& options() const { return options_; }
  /// One line for people.
  void pretty_print(std::ostream& stream) const override;

 private:
  void check(const Tensor& x, const Tensor& condition) const;
  Tensor in_type(const Tensor& tensor) const;
  double constant() const;
  void add_layer(std::int64_t number);
  Image through(const Tensor& x, const Tensor& condition, bool backwards);

  FlowOptions options_;
  std::vector<Tensor> weights_;  // of all layers, weight and bias of each step of their networks
};
/// Handle of a FlowImpl; copies share it.
TORCH_MODULE(Flow);

}  // namespace slalom
