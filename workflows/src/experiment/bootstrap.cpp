// SPDX-License-Identifier: Apache-2.0
#include "experiment/bootstrap.hpp"

#include <ATen/ops/empty.h>
#include <algorithm>
#include <cmath>

#include "slalom/core/random.hpp"

namespace slalom::experiment {

Tensor bootstrap_counts(const Tensor& ids, std::uint64_t seed, std::int64_t bootstrap) {
  constexpr std::uint32_t k_family = 0xB0075;
  const Tensor on_cpu = ids.to(at::kCPU).contiguous();
  Tensor counts = at::empty({ids.size(0)}, at::kDouble);
  const auto* id = on_cpu.data_ptr<std::int64_t>();
  auto* count = counts.data_ptr<double>();
  for (std::int64_t i = 0; i < ids.size(0); ++i) {
    RandomStream stream(seed + (static_cast<std::uint64_t>(bootstrap) << 32U),
                        static_cast<std::uint64_t>(id[i]), k_family);
    count[i] = stream.poisson(1.0);
  }
  return counts;
}

Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto quantile = [&](double share) {
    const double place = share * static_cast<double>(values.size() - 1);
    const auto below = static_cast<std::size_t>(place);
    const std::size_t above = std::min(below + 1, values.size() - 1);
    return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
  };
  Spread result{values.size(), quantile(0.5), 0.0, quantile(0.025), quantile(0.975)};
  if (values.size() < 2) return result;
  double mean = 0.0, squares = 0.0;
  for (const double value : values) mean += value / static_cast<double>(values.size());
  for (const double value : values) squares += (value - mean) * (value - mean);
  result.error = std::sqrt(squares / static_cast<double>(values.size() - 1));
  return result;
}

}  // namespace slalom::experiment
