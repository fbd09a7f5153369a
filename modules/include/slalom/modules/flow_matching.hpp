// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch_module.hpp"

#include <cstdint>
#include <vector>

#include "slalom/modules/classifier.hpp"
#include "slalom/modules/density.hpp"

/// \file
/// Conditional flow matching (Lipman et al., arXiv:2210.02747) with straight paths: a network v
/// learns the velocity of x_t = (1 - t) x_0 + t x_1 from a standard normal x_0 to an event x_1,
///
///     loss = |v(x_t, t, c) - (x_1 - x_0)|^2,
///
/// and events follow dx/dt = v from t = 0 to 1. Their density is that of the ordinary differential
/// equation, by the instantaneous change of variables (Chen et al., arXiv:1806.07366):
///
///     log p(x_1) = log N(x_0) - integral of tr dv/dx dt,
///
/// the trace being exact: f + 1 passes through the network at each time, for few features.
namespace slalom {

/// How the differential equation is solved.
enum class OdeMethod {
  midpoint,  ///< second order, 2 velocities a step
  rk4,       ///< Runge and Kutta's, fourth order, 4 velocities a step
};

/// Options of FlowMatching.
struct FlowMatchingOptions {
  std::int64_t features = 1;                 ///< f of an event
  std::int64_t conditions = 0;               ///< c of an event
  std::int64_t hidden = 128;                 ///< width of the network
  std::int64_t hidden_layers = 3;            ///< of the network
  std::int64_t frequencies = 4;              ///< sin and cos of pi k t, k = 1 ... , beside t
  Activation activation = Activation::silu;  ///< smooth: silu, tanh, sigmoid or softplus
  OdeMethod method = OdeMethod::rk4;         ///< for densities and samples
  std::int64_t steps = 10;                   ///< of the method, from 0 to 1
  std::uint64_t seed = 0;                    ///< of the weights
  bool float64 = false;                      ///< weights in float64 instead of float32
  /// Equal in all members.
  bool operator==(const FlowMatchingOptions&) const = default;
};

/// A density that follows a velocity. log_prob() is exact but for the steps of the method.
class FlowMatchingImpl : public DensityImpl {
 public:
  /// \throws Error (usage) for sizes that are not positive or an activation with kinks
  explicit FlowMatchingImpl(FlowMatchingOptions options = {});
  Tensor log_prob(const Tensor& x, const Tensor& condition) override;
  Tensor sample(std::int64_t n, const Tensor& condition, std::uint64_t seed) override;
  /// path_losses() for a random t and x_0 of each event.
  Tensor losses(const Tensor& x, const Tensor& condition, std::uint64_t seed) override;
  /// The loss above [n]. \param t [n] times \param x_0 [n, f] normal numbers
  Tensor path_losses(const Tensor& x, const Tensor& condition, const Tensor& t, const Tensor& x_0);
  /// v [n, f]. \param t [n]
  Tensor velocity(const Tensor& x, const Tensor& t, const Tensor& condition = {});
  /// v, with tr dv/dx.
  struct Flux {
    Tensor velocity;    ///< [n, f]
    Tensor divergence;  ///< [n]
  };
  /// Both at one time. \param t in [0, 1]
  Flux flux(const Tensor& x, double t, const Tensor& condition = {});
  /// As given. method and steps may be changed: they are no part of the weights.
  FlowMatchingOptions& options() { return options_; }

 private:
  Tensor inputs(const Tensor& x, const Tensor& t, const Tensor& condition) const;
  void check(const Tensor& x, const Tensor& condition) const;

  FlowMatchingOptions options_;
  std::vector<Tensor> weights_, biases_;
};
/// Handle of a FlowMatchingImpl; copies share it.
TORCH_MODULE(FlowMatching);

}  // namespace slalom
