// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch_module.hpp"

#include <cstdint>
#include <string>
#include <vector>

#include "slalom/modules/events.hpp"
#include "slalom/modules/schedule.hpp"

/// \file
/// Soft cuts: the efficiency of an event is
///
///     p_i = prod_c sigmoid(+- slope_c (x_ic - threshold_c)),
///
/// with + where events above are kept. It multiplies the weight. As the slopes grow, p becomes the
/// hard cut, 1 or 0; an event at the threshold counts as above.
namespace slalom {

/// Side of a threshold that is kept.
enum class Keep { above, below };

/// Efficiency [n] of one cut. Differentiable to any order.
/// \param x [n], float32 or float64; the result is float64
/// \param threshold one element \param slope > 0, per unit of x
Tensor soft_cut(const Tensor& x, const Tensor& threshold, double slope, Keep keep = Keep::above);
/// 1 for what is kept, 0 otherwise [n]; no derivatives.
Tensor hard_cut(const Tensor& x, const Tensor& threshold, Keep keep = Keep::above);

/// Weighted mean of efficiencies: sum w p / sum w. \throws Error (numerical) for weights of sum 0
Tensor mean_efficiency(const Tensor& efficiency, const Tensor& weights);

/// What an efficiency has to be.
enum class Bound { at_least, at_most, equal };

/// ((efficiency - target) / width)^2 on the wrong side of the target, 0 on the right one: a penalty
/// for a loss. Continuous with its first derivative. \param width > 0, scale of the penalty
Tensor efficiency_penalty(const Tensor& efficiency, double target, Bound bound,
                          double width = 0.01);

/// The threshold at which a soft cut has a given mean efficiency: an equation solved by bisection,
/// with exact first and second derivatives in x and weights.
/// \param weights [n], not negative \param efficiency in (0, 1)
/// \throws Error (usage) for no events, negative weights or an efficiency out of range
Tensor soft_quantile(const Tensor& x, const Tensor& weights, double efficiency, double slope,
                     Keep keep = Keep::above);
/// The same for the hard cut: the kept weight is the smallest that is not below `efficiency` of
/// all.
double hard_quantile(const Tensor& x, const Tensor& weights, double efficiency,
                     Keep keep = Keep::above);

/// One cut.
struct CutOptions {
  std::string column = {};  ///< what is cut on; scores can be added to the events as columns
  double threshold = 0.0;   ///< where it is, or where learning starts
  double slope = 1.0;       ///< > 0, per unit of the column, at a sharpness of 1
  Keep keep = Keep::above;  ///< side that is kept
  bool learnable = true;    ///< whether the threshold is a parameter
  /// Equal in all members.
  bool operator==(const CutOptions&) const = default;
};

/// Options of Selection.
struct SelectionOptions {
  std::vector<CutOptions> cuts = {};  ///< all of which an event has to pass
  Schedule sharpness = {};            ///< factor of all slopes, by step
  /// Equal in all members.
  bool operator==(const SelectionOptions&) const = default;
};

/// Cuts as a stage. In evaluation mode they are hard.
class SelectionImpl : public torch::nn::Module {
 public:
  /// \throws Error (usage) for slopes that are not positive or thresholds that are not finite
  explicit SelectionImpl(SelectionOptions options = {});

  /// Efficiency [n] of values [n, cuts], in the order of the cuts.
  Tensor forward(const Tensor& x);
  /// Efficiency [n] of events, by the names of the columns.
  Tensor forward(const EventBatch& events);
  /// The hard cuts, in any mode: 1 or 0 for each event.
  Tensor hard(const Tensor& x) const;
  /// Threshold of a cut; a node of the graph if it is learned.
  const Tensor& threshold(std::size_t cut = 0) const { return thresholds_.at(cut); }
  /// Sets the sharpness to that of a step.
  void set_step(std::int64_t step);
  /// Factor of all slopes.
  double sharpness() const { return sharpness_; }
  /// As given.
  const SelectionOptions& options() const { return options_; }
  /// One line for people.
  void pretty_print(std::ostream& stream) const override;

 private:
  void check(const Tensor& x) const;

  SelectionOptions options_;
  std::vector<Tensor> thresholds_;
  double sharpness_ = 1.0;
};
/// Handle of a SelectionImpl; copies share it.
TORCH_MODULE(Selection);

}  // namespace slalom
