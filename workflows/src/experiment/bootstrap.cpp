// SPDX-License-Identifier: Apache-2.0
#include "experiment/bootstrap.hpp"

#include <ATen/ops/empty.h>

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

}  // namespace slalom::experiment
