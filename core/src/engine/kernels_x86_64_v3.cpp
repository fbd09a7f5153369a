// SPDX-License-Identifier: Apache-2.0
// The kernels for processors with AVX2 and FMA; compiled with -march=x86-64-v3.
#define SLALOM_KERNELS x86_64_v3
#include "engine/kernels.inc"

namespace slalom::detail {

const Kernels* x86_64_v3_kernels() {
  static constexpr Kernels table{&x86_64_v3::evaluate, &x86_64_v3::rates, &x86_64_v3::cholesky,
                                 &x86_64_v3::solve, "x86-64-v3"};
  static const bool usable = __builtin_cpu_supports("avx2") != 0 &&
                             __builtin_cpu_supports("fma") != 0 &&
                             __builtin_cpu_supports("bmi2") != 0;
  return usable ? &table : nullptr;
}

}  // namespace slalom::detail
