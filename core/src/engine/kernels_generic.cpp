// SPDX-License-Identifier: Apache-2.0
// The kernels for any processor, and the choice between them.
#define SLALOM_KERNELS generic
#include "engine/kernels.inc"

namespace slalom::detail {

const Kernels& generic_kernels() {
  static constexpr Kernels table{&generic::evaluate, &generic::rates, &generic::cholesky,
                                 &generic::solve, "generic"};
  return table;
}

#ifndef SLALOM_HAVE_X86_64_V3
const Kernels* x86_64_v3_kernels() { return nullptr; }
#endif

const Kernels& kernels() {
  static const Kernels& best = x86_64_v3_kernels() ? *x86_64_v3_kernels() : generic_kernels();
  return best;
}

}  // namespace slalom::detail
