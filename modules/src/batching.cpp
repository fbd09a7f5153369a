// SPDX-License-Identifier: Apache-2.0
#include "slalom/modules/batching.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/max.h>
#include <ATen/ops/zeros_like.h>
#include <algorithm>
#include <cmath>
#include <torch/csrc/autograd/autograd.h>

#include "slalom/core/error.hpp"

namespace slalom {

namespace {

/// Largest difference of the two passes, in units of the largest yield: kernels may round
/// differently with and without a graph.
constexpr double k_same_yields = 1e-5;

/// The loss and its derivative by the yields; other leaves have got theirs.
struct LossSlope {
  double value;
  Tensor cotangent;
};

LossSlope slope_of(const Tensor& yields, const YieldLoss& loss) {
  const at::AutoGradMode with_graph(true);
  const Tensor leaf = yields.detach().clone().requires_grad_(true);
  const Tensor value = loss(leaf);
  if (value.numel() != 1) {
    throw Error(ErrorKind::usage, "a loss has to be one number", "batching");
  }
  const double number = value.item<double>();
  if (!std::isfinite(number)) {
    throw Error(ErrorKind::numerical, "the loss is not finite", "batching");
  }
  if (value.requires_grad()) torch::autograd::backward({value});
  return {number, leaf.grad().defined() ? leaf.grad() : at::zeros_like(yields)};
}

void send_back(const Tensor& yields, const Tensor& cotangent) {
  if (yields.requires_grad()) torch::autograd::backward({yields}, {cotangent});
}

}  // namespace

double two_pass_backward(std::int64_t batches, const BatchYields& yields, const YieldLoss& loss) {
  if (batches <= 0) throw Error(ErrorKind::usage, "there are no batches", "batching");
  if (batches == 1) {  // its graph is there already
    const Tensor all = yields(0);
    const LossSlope slope = slope_of(all, loss);
    send_back(all, slope.cotangent);
    return slope.value;
  }
  Tensor total;
  {
    const at::NoGradGuard no_graph;
    for (std::int64_t b = 0; b < batches; ++b) {
      const Tensor part = yields(b);
      total = total.defined() ? total + part : part.clone();
    }
  }
  const LossSlope slope = slope_of(total, loss);
  Tensor again = at::zeros_like(total);
  for (std::int64_t b = 0; b < batches; ++b) {
    const Tensor part = yields(b);
    again += part.detach();
    send_back(part, slope.cotangent);
  }
  if (total.numel() > 0) {
    const double scale = at::abs(total).max().item<double>();
    const double worst = at::abs(again - total).max().item<double>();
    if (!(worst <= k_same_yields * scale)) {
      throw Error(ErrorKind::numerical, "the second pass has other yields than the first",
                  "batching");
    }
  }
  return slope.value;
}

AveragedYields::AveragedYields(double rate) : rate_(rate) {
  if (!(rate > 0.0 && rate <= 1.0)) {
    throw Error(ErrorKind::usage, "the rate must lie in (0, 1]", "rate");
  }
}

double AveragedYields::backward(const Tensor& yields, const YieldLoss& loss) {
  const Tensor plain = yields.detach();
  const double rate = std::max(rate_, 1.0 / static_cast<double>(state_.steps + 1));
  if (!state_.average.defined()) {
    state_.average = plain.clone();
  } else if (state_.average.sizes() == plain.sizes()) {
    const Tensor before = state_.average.to(plain.device());  // a checkpoint's is on the CPU
    state_.average = before + rate * (plain - before);
  } else {
    throw Error(ErrorKind::usage, "the yields have another shape than before", "batching");
  }
  ++state_.steps;
  const LossSlope slope = slope_of(state_.average, loss);
  send_back(yields, slope.cotangent);
  return slope.value;
}

void AveragedYields::restore(const State& state) {
  state_ = {state.average.defined() ? state.average.detach().clone() : Tensor(), state.steps};
}

double naive_backward(const Tensor& yields, const YieldLoss& loss) {
  const LossSlope slope = slope_of(yields, loss);
  send_back(yields, slope.cotangent);
  return slope.value;
}

}  // namespace slalom
