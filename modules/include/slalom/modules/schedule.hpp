// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

/// \file
/// Values that change during training: temperatures, bandwidths, sharpness, learning rates. A pure
/// function of the step, so that a resumed training has nothing to restore.
namespace slalom {

/// How a schedule gets from its start to its end.
enum class ScheduleShape {
  constant,   ///< stays at the start
  linear,     ///< start + (end - start) t
  geometric,  ///< start (end / start)^t, exponential decay; both of one sign, not 0
  cosine,     ///< end + (start - end) (1 + cos(pi t)) / 2
};

/// A schedule. t = (step - warm_up) / steps, held within [0, 1]; 1 if `steps` is 0.
struct Schedule {
  ScheduleShape shape = ScheduleShape::constant;  ///< way from start to end
  double start = 1.0;                             ///< value at the end of the warm-up
  double end = 1.0;                               ///< value after warm_up + steps; not for constant
  std::int64_t steps = 0;                         ///< length of the way, >= 0
  std::int64_t warm_up = 0;                       ///< steps before it, >= 0
  double warm_up_from = 0.0;  ///< at step 0, from where it rises in a straight line to `start`;
                              ///< equal to `start`: it waits there
  /// Equal in all members.
  bool operator==(const Schedule&) const = default;
};

/// The value at a step >= 0.
/// \throws Error (usage) for negative lengths, values that are not finite, or a geometric schedule
/// whose ends are 0 or of two signs
double value_at(const Schedule& schedule, std::int64_t step);

}  // namespace slalom
