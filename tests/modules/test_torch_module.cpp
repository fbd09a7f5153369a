// SPDX-License-Identifier: Apache-2.0
// What a stage of one's own needs: registration and handles from this header alone.
#include "slalom/modules/torch_module.hpp"

#include <ATen/ops/ones.h>

#include "support/catch.hpp"

namespace {

struct ScaleImpl : torch::nn::Module {
  at::Tensor factor = register_parameter("factor", at::ones({1}, at::kDouble));
};
TORCH_MODULE(Scale);

}  // namespace

TEST_CASE("copies of a handle share one module", "[modules][torch_module]") {
  Scale a;
  const Scale b = a;
  REQUIRE(a->parameters().size() == 1);
  CHECK(a->parameters()[0].requires_grad());
  CHECK(a.ptr() == b.ptr());
  CHECK(Scale(nullptr).is_empty());
}
