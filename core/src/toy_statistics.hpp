// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

namespace slalom::detail {

/// Statistics of toys and data that agree to this are equal: fits end there.
constexpr double k_tie = 1e-7;

/// The smallest statistic that counts as at least `value`.
inline double least_above(double value) { return value - k_tie * (1.0 + std::abs(value)); }

}  // namespace slalom::detail
