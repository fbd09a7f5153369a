// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch_module.hpp"

#include <cstdint>
#include <vector>

/// \file
/// Features as a density likes them: without ends, of mean 0 and width 1.
///
///     u = map(x),  z = (u - mean) / scale,  log |dz/dx| = sum over features of log |u'(x)| / scale
///
/// All of it is float64, whatever the density computes in: near an end of a range a logit has
/// digits that float32 does not.
namespace slalom {

/// What is done to a feature before it is standardised.
enum class FeatureMap {
  linear,     ///< x
  log,        ///< log x, for x > 0
  cube_root,  ///< sign(x) |x|^(1/3): long tails on both sides. Its slope is held below that at
              ///< |x| = 1e-12, so that densities stay finite at 0
  logit,      ///< log (x - low) / (high - x), for low < x < high
};

/// Options of FeatureTransform.
struct FeatureTransformOptions {
  std::vector<FeatureMap> maps = {};  ///< of each feature
  /// Lower end of each feature's range, for its logit; the other maps do not look at it. Empty, or
  /// NaN for one feature: fit() takes it from the events.
  std::vector<double> low = {};
  std::vector<double> high = {};  ///< upper end, likewise
  /// Share of the range of the events that fit() adds at an end that is not given, > 0.
  double margin = 0.01;
};

/// A map and a standardisation for each feature, in buffers `low`, `high`, `mean` and `scale` [f].
class FeatureTransformImpl : public torch::nn::Module {
 public:
  /// The maps, with mean 0 and scale 1. \throws Error (usage) for no features, ranges that are
  /// empty or not one for each feature, or a margin that is not positive
  explicit FeatureTransformImpl(FeatureTransformOptions options = {});
  /// Sets ends that are not given, then mean and scale to mean and standard deviation of the mapped
  /// events. A feature that does not vary keeps the scale 1.
  /// \param x [n, f] \param weights [n], not negative; undefined: 1 each
  /// \throws Error (usage) for shapes or no events, Error (numerical) for weights without a
  /// positive sum, or events that are not finite or not inside, with the number of the feature
  void fit(const Tensor& x, const Tensor& weights = {});
  /// z [n, f], float64, differentiable. \throws Error (numerical) for events that are not inside
  Tensor forward(const Tensor& x);
  /// x [n, f] from z [n, f], float64, differentiable. A logit's x is inside its range, or at its
  /// end where float64 has no number between.
  Tensor inverse(const Tensor& z);
  /// log |dz/dx| [n], float64, differentiable. \throws as forward()
  Tensor log_jacobian(const Tensor& x);
  /// Which events [n, bool] all maps are defined for; false for numbers that are not finite.
  Tensor inside(const Tensor& x);
  /// Number of features.
  std::int64_t features() const { return static_cast<std::int64_t>(options_.maps.size()); }
  /// As given.
  const FeatureTransformOptions& options() const { return options_; }

 private:
  Tensor checked(const Tensor& x);
  void require_inside(const Tensor& x);
  void set_range(const Tensor& x);
  Tensor mapped(const Tensor& x);

  FeatureTransformOptions options_;
  Tensor low_, high_, mean_, scale_;
};
/// Handle of a FeatureTransformImpl; copies share it.
TORCH_MODULE(FeatureTransform);

}  // namespace slalom
