// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "slalom/modules/torch.hpp"

#include <cstdint>
#include <vector>

/// \file
/// Poisson bootstraps of events.
namespace slalom::experiment {

/// Numbers of Poisson(1), one for each event [n], float64. They depend on the event's number, the
/// seed and the bootstrap alone. \param ids [n] int64
Tensor bootstrap_counts(const Tensor& ids, std::uint64_t seed, std::int64_t bootstrap);

/// How far the values of a figure are apart: those of bootstraps, or of seeds.
struct Spread {
  std::size_t n = 0;    ///< values
  double median = 0.0;  ///< of them
  double error = 0.0;   ///< standard deviation (n - 1); 0 below 2
  double low = 0.0;     ///< lower end of the central 95 %
  double high = 0.0;    ///< upper end
};

/// Of one figure. Quantiles are interpolated between the values. \param values not empty
Spread spread_of(std::vector<double> values);

}  // namespace slalom::experiment
