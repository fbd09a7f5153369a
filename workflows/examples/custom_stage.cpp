// SPDX-License-Identifier: Apache-2.0
// A stage and a loss of one's own: a learnable direction as the score, trained on s^2 / (s + b).
#include <iostream>
#include <slalom/core/json.hpp>
#include <slalom/modules.hpp>
#include <torch/optim/adam.h>

#include "blobs/blobs.hpp"

using namespace slalom;

struct DirectionImpl : ClassifierImpl {
  Tensor direction = register_parameter("direction", at::zeros({2}, at::kFloat));
  Tensor outputs(const Tensor& features, const Tensor&) override {
    return features.matmul(direction).unsqueeze(1);
  }
  bool piecewise_linear() const override { return true; }
};
Tensor minus_significance(const Likelihood& likelihood, const Templates& templates) {
  const auto yields = [&](const char* sample) {
    const Range range = likelihood.systematics().nominal_range("c", sample);
    return templates.nominal.slice(0, range.first, range.first + range.size);
  };
  return -(yields("signal").square() / (yields("signal") + yields("background"))).sum();
}

int main(int argc, char** argv) {
  if (argc != 2) return std::cerr << "usage: custom_stage WORKSPACE.json\n", 2;
  const EventBatch events = blobs(2000, 1);
  const auto stage = std::make_shared<DirectionImpl>();
  const SoftHistogram bins(
      SoftHistogramOptions{.axes = {{.edges = {0.0, 0.25, 0.5, 0.75, 1.0}, .bandwidth = 0.1}}});
  Pipeline pipeline(parse_workspace(read_json(argv[1])), as_classifier(stage), nullptr, bins,
                    PipelineOptions{.objective = minus_significance});
  torch::optim::Adam optimiser(pipeline->parameters(), torch::optim::AdamOptions(5e-2));
  for (int step = 0; step < 100; ++step, optimiser.step(), optimiser.zero_grad())
    if (const double loss = pipeline->backward({events}); step % 33 == 0)
      std::cout << "step " << step << "  s^2 / (s + b) " << -loss << '\n';
  std::cout << "direction\n" << stage->direction << '\n';
}
