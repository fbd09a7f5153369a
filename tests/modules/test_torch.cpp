// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/torch.hpp"

#include <ATen/ops/zeros.h>
#include <type_traits>

#include "support/catch.hpp"

TEST_CASE("tensors are LibTorch's own, and copies share their values", "[modules][torch]") {
  CHECK(std::is_same_v<slalom::Tensor, at::Tensor>);
  slalom::Tensor a = at::zeros({2}, at::kDouble);
  const slalom::Tensor b = a;
  a.fill_(3.0);
  CHECK(b.sum().item<double>() == 6.0);
}
